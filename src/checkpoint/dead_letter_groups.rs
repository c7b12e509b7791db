//! Groups dead letters by reason, so that one problem is one line.
//!
//! Input: reasons as returned by the engine, which contain ids and values of individual documents. Output:
//! [`DeadLetters`].
//! Invariant: every dead letter is counted in exactly one group.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::dead_letters::outstanding;
use super::reader::{number, time};
use super::status::{DeadLetterExample, DeadLetterGroup, DeadLetters};

/// Maximum number of examples in a group.
const MAX_EXAMPLES: usize = 3;

/// Maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 300;

/// Replaces values that differ between documents.
const VALUE: &str = "…";

/// Words before a quoted name that is part of the reason, and not a value of the document.
const BEFORE_NAMES: [&str; 10] = [
    "alias",
    "field",
    "index",
    "option",
    "pipeline",
    "processor",
    "setting",
    "template",
    "type",
    "block",
];

/// Words before a bracketed value of the document.
const BEFORE_VALUES: [&str; 5] = ["date", "string", "text", "timestamp", "value"];

/// Returns the dead letters by cause and reason, most frequent first, at most `most` groups.
pub(super) fn read(connection: &Connection, most: usize) -> rusqlite::Result<DeadLetters> {
    let counted = outstanding(connection)?;
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let mut statement = connection.prepare(
        // With `min(rowid)`, SQLite takes the bare column `id` from the row with the minimum.
        "SELECT cause, reason, count(*), count(accepted), id, min(rowid) FROM dead_letters \
         GROUP BY cause, reason ORDER BY 6",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (cause, reason, id): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(4)?);
        let parts = generalize(&reason, &id);
        let group = groups.entry((cause, key(&parts))).or_insert_with(|| Group::new(parts.clone()));
        group.add(&parts, reason, (number(row, 2)?, number(row, 3)?));
    }
    let mut groups: Vec<((String, String), Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.documents));
    groups.truncate(most);
    let reasons = groups.into_iter().map(|((cause, _), group)| group.into_group(connection, cause));
    Ok(DeadLetters {
        documents: counted.dead_letters + counted.accepted,
        accepted: counted.accepted,
        reasons: reasons.collect::<Result<_, _>>()?,
    })
}

/// The dead letters with one cause and reason.
struct Group {
    /// The reason, with numbers that differ replaced.
    parts: Vec<Part>,
    documents: u64,
    accepted: u64,
    /// The first original reasons.
    reasons: Vec<String>,
}

impl Group {
    fn new(parts: Vec<Part>) -> Self {
        Self { parts, documents: 0, accepted: 0, reasons: Vec::new() }
    }

    fn add(&mut self, parts: &[Part], reason: String, (documents, accepted): (u64, u64)) {
        for (mine, other) in self.parts.iter_mut().zip(parts) {
            if mine != other {
                *mine = Part::Number(VALUE.to_owned());
            }
        }
        self.documents += documents;
        self.accepted += accepted;
        if self.reasons.len() < MAX_EXAMPLES {
            self.reasons.push(reason);
        }
    }

    fn into_group(
        self,
        connection: &Connection,
        cause: String,
    ) -> rusqlite::Result<DeadLetterGroup> {
        let mut examples = Vec::new();
        for reason in &self.reasons {
            let most = MAX_EXAMPLES - examples.len();
            examples.extend(self::examples(connection, &cause, reason, most)?);
        }
        let text: String = self.parts.iter().map(Part::text).collect();
        let reason = match text.char_indices().nth(MAX_REASON_CHARS) {
            Some((end, _)) => format!("{}{VALUE}", &text[..end]),
            None => text,
        };
        let Self { documents, accepted, .. } = self;
        Ok(DeadLetterGroup { cause, reason, documents, accepted, examples })
    }
}

fn examples(
    connection: &Connection,
    cause: &str,
    reason: &str,
    most: usize,
) -> rusqlite::Result<Vec<DeadLetterExample>> {
    let mut statement = connection.prepare_cached(
        "SELECT index_name, id, partition_key, rejected FROM dead_letters WHERE cause = ?1 AND reason = ?2 \
         ORDER BY rowid LIMIT ?3",
    )?;
    let row = |row: &Row<'_>| {
        Ok(DeadLetterExample {
            index: row.get(0)?,
            id: row.get(1)?,
            partition: row.get(2)?,
            rejected: time(row, 3)?,
            reason: reason.to_owned(),
        })
    };
    let most = i64::try_from(most).unwrap_or(0);
    statement.query_map(params![cause, reason, most], row)?.collect()
}

/// A part of a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Words, and names that are part of the reason.
    Words(String),
    /// A number: kept if it is the same in all reasons of the group.
    Number(String),
}

impl Part {
    fn text(&self) -> &str {
        let (Self::Words(text) | Self::Number(text)) = self;
        text
    }
}

/// Returns the key that all reasons of a group share.
fn key(parts: &[Part]) -> String {
    parts.iter().map(|part| if let Part::Words(words) = part { words } else { "\0" }).collect()
}

/// Splits a reason into parts, and replaces what belongs to the individual document: its id, values, text positions.
fn generalize(reason: &str, id: &str) -> Vec<Part> {
    let reason = if id.is_empty() { reason.to_owned() } else { without_id(reason, id) };
    let reason = without_preview(&reason);
    let mut scan = Scan { text: &reason, at: 0, parts: Vec::new() };
    // The status code of a response is not a number that may differ.
    let status = reason.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(0);
    scan.words(&reason[..status]);
    scan.at = status;
    while scan.at < reason.len() {
        scan.advance();
    }
    scan.parts
}

/// Removes the document id, together with the phrase that contains nothing else.
fn without_id(reason: &str, id: &str) -> String {
    let phrase = format!(" in document with id '{id}'.");
    let reason = reason.replace(&phrase, "").replace(phrase.trim_end_matches('.'), "");
    // A very short id may be part of a word.
    if id.len() < 8 { reason } else { reason.replace(id, VALUE) }
}

/// Removes the preview of the value that Elasticsearch adds. It is not escaped, so it may contain quotes.
fn without_preview(reason: &str) -> String {
    let Some((before, preview)) = reason.split_once(" Preview of field's value: '") else {
        return reason.to_owned();
    };
    match preview.rsplit_once("': ") {
        Some((_, after)) => format!("{}: {after}", before.trim_end_matches('.')),
        None => before.to_owned(),
    }
}

/// The state of scanning a reason.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    parts: Vec<Part>,
}

impl<'a> Scan<'a> {
    fn words(&mut self, words: &str) {
        match self.parts.last_mut() {
            Some(Part::Words(before)) => before.push_str(words),
            _ => self.parts.push(Part::Words(words.to_owned())),
        }
    }

    /// Consumes the next word, quoted text or punctuation character.
    fn advance(&mut self) {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return };
        match first {
            '[' => self.bracket(rest),
            '"' | '\'' if self.is_opening() => self.quoted(rest, first),
            _ if first.is_alphanumeric() => self.word(rest),
            _ => {
                self.words(&rest[..first.len_utf8()]);
                self.at += first.len_utf8();
            }
        }
    }

    /// Returns whether a quote at this position is an opening one; within a word it is an apostrophe.
    fn is_opening(&self) -> bool {
        !self.text[..self.at].ends_with(char::is_alphanumeric)
    }

    /// Returns the word before this position.
    fn before(&self) -> &'a str {
        let before = self.text[..self.at].trim_end_matches([' ', ':', '=', '[']);
        before.rsplit(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default()
    }

    fn bracket(&mut self, rest: &str) {
        let Some(end) = rest.find(']') else {
            self.words("[");
            self.at += 1;
            return;
        };
        let inside = &rest[1..end];
        self.at += end + 1;
        let place = inside
            .split_once(':')
            .is_some_and(|(line, column)| is_number(line) && is_number(column));
        if place {
            // Line and column of the document.
            self.at += usize::from(self.text[self.at..].starts_with(' '));
            return;
        }
        self.words("[");
        let before = Self { text: self.text, at: self.at - end - 1, parts: Vec::new() };
        // `date field [2024-13-01]`: here the brackets contain the value and not the name.
        let is_value = BEFORE_VALUES.contains(&before.before())
            || self.text[..before.at].ends_with("date field ");
        if is_number(inside) {
            self.parts.push(Part::Number(inside.to_owned()));
        } else if is_value || !is_name(inside) {
            self.words(VALUE);
        } else {
            self.words(inside);
        }
        self.words("]");
    }

    fn quoted(&mut self, rest: &str, quote: char) {
        let closing = rest[1..]
            .match_indices(quote)
            .find(|(at, _)| !rest[1 + at + 1..].starts_with(|next: char| next.is_alphanumeric()));
        let end = closing.map_or(rest.len(), |(at, _)| 1 + at);
        let inside = &rest[1..end];
        let keep = BEFORE_NAMES.contains(&self.before()) && is_name(inside);
        self.words(&format!("{quote}{}{quote}", if keep { inside } else { VALUE }));
        self.at += (end + 1).min(rest.len());
    }

    fn word(&mut self, rest: &str) {
        let inner =
            |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ',');
        let end = rest.find(|letter: char| !inner(letter)).unwrap_or(rest.len());
        // A full stop or comma at the end is punctuation.
        let word = rest[..end].trim_end_matches(['.', ',', '-']);
        self.at += word.len();
        if is_number(word) {
            self.parts.push(Part::Number(word.to_owned()));
        } else if is_id(word) {
            self.words(VALUE);
        } else {
            self.words(word);
        }
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b','))
}

/// Returns whether a text may be the name of a field, index, pipeline or type.
fn is_name(text: &str) -> bool {
    text.len() <= 255
        && text.contains(|letter: char| letter.is_alphabetic())
        && text.chars().all(|letter| letter.is_alphanumeric() || "_-.@*/:".contains(letter))
        && !is_id(text)
}

/// Returns whether a word is a UUID or a long hexadecimal number.
fn is_id(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = word.bytes().filter(|byte| *byte == b'-').count();
    digits + dashes == word.len() && digits >= 20 && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(reason: &str) -> String {
        pattern_with_id(reason, "11111111-2222-4333-8444-555555555555")
    }

    fn pattern_with_id(reason: &str, id: &str) -> String {
        generalize(reason, id).iter().map(Part::text).collect()
    }

    #[test]
    fn ids_and_values_are_taken_out_and_names_stay() {
        for (reason, expected) in [
            (
                "400 document_parsing_exception: [1:734] failed to parse field [sourceIPAddress] of type [ip] in \
                 document with id '11111111-2222-4333-8444-555555555555'. Preview of field's value: \
                 'ec2.amazonaws.com': 'ec2.amazonaws.com' is not an IP string literal.",
                "400 document_parsing_exception: failed to parse field [sourceIPAddress] of type [ip]: '…' is not an \
                 IP string literal.",
            ),
            (
                "400 mapper_parsing_exception: failed to parse field [x.y] of type [long] in document with id \
                 '11111111-2222-4333-8444-555555555555'. Preview of field's value: 'it's a 'b': c': For input \
                 string: \"it's\"",
                "400 mapper_parsing_exception: failed to parse field [x.y] of type [long]: For input string: \"…\"",
            ),
            (
                "400 mapper_parsing_exception: failed to parse date field [2024-13-01] with format [strict_date_time]",
                "400 mapper_parsing_exception: failed to parse date field […] with format [strict_date_time]",
            ),
            (
                "400 illegal_argument_exception: pipeline with id [no-such] does not exist",
                "400 illegal_argument_exception: pipeline with id [no-such] does not exist",
            ),
            (
                "Failed to parse value [maybe] as only [true] or [false] are allowed.",
                "Failed to parse value […] as only [true] or [false] are allowed.",
            ),
            ("the pipeline 'keep-some' dropped it", "the pipeline 'keep-some' dropped it"),
            (
                "no such thing as 0123456789abcdef0123456789abcdef here, or 'that'",
                "no such thing as … here, or '…'",
            ),
            ("it's [not closed and 'neither is this", "it's [not closed and '…'"),
            ("", ""),
        ] {
            assert_eq!(pattern(reason), expected, "{reason}");
        }
    }

    #[test]
    fn a_number_that_differs_is_taken_out_and_one_that_does_not_stays() {
        let reason = |bytes: u32| format!("a request of {bytes} bytes is too large; 5 MiB at most");
        let mut group = Group::new(generalize(&reason(10), "a"));
        for bytes in [10, 20, 30] {
            let parts = generalize(&reason(bytes), "a");
            assert_eq!(key(&parts), key(&group.parts));
            group.add(&parts, reason(bytes), (2, 1));
        }
        let text: String = group.parts.iter().map(Part::text).collect();
        assert_eq!(text, "a request of … bytes is too large; 5 MiB at most");
        assert_eq!((group.documents, group.accepted), (6, 3));
    }

    proptest::proptest! {
        #[test]
        fn no_reason_is_too_odd(reason in ".{0,200}", id in ".{0,40}") {
            generalize(&reason, &id);
        }

        #[test]
        fn the_value_makes_no_difference(value in "[^']{1,40}") {
            let reason = |value: &str| format!(
                "400 x: failed to parse field [a] of type [ip] in document with id 'abcdefgh'. Preview of field's \
                 value: '{value}': '{value}' is not an IP string literal."
            );
            proptest::prop_assert_eq!(pattern_with_id(&reason(&value), "abcdefgh"), pattern_with_id(&reason("1"), "abcdefgh"));
        }
    }
}
