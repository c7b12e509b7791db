//! Reduces reasons and causes to a pattern, so that one problem is one line although its text contains values.
//!
//! Input: a text, such as `400 mapper_parsing_exception: failed to parse field [a] … in document with id '…'`, and the id of
//! the document, if any. Output: a [`ReasonPattern`].
//! Invariant: no I/O. Texts that differ only in ids, values, positions or numbers have the same key; names of fields,
//! indices, pipelines and types are kept.

/// Maximum length of the text of a pattern, in characters.
const MAX_CHARS: usize = 300;

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

/// The common form of several reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReasonPattern {
    parts: Vec<Part>,
}

impl ReasonPattern {
    /// Returns the pattern of a reason. `id` is the id of the document that it is about, or empty.
    pub(super) fn new(reason: &str, id: &str) -> Self {
        Self { parts: generalize(reason, id) }
    }

    /// Returns the key that reasons with the same pattern share.
    pub(super) fn key(&self) -> String {
        let part = |part: &Part| match part {
            Part::Words(words) => words.clone(),
            Part::Number(_) => "\0".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// Merges a pattern with the same key: numbers that differ are replaced.
    pub(super) fn merge(&mut self, other: &Self) {
        for (part, other) in self.parts.iter_mut().zip(&other.parts) {
            if part != other {
                *part = Part::Number(VALUE.to_owned());
            }
        }
    }

    /// Returns the text of the pattern, truncated if it is very long.
    pub(super) fn text(&self) -> String {
        let text: String = self.parts.iter().map(Part::text).collect();
        match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}{VALUE}", &text[..end]),
            None => text,
        }
    }
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
        let mut pattern = ReasonPattern::new(&reason(10), "a");
        for bytes in [10, 20, 30] {
            let other = ReasonPattern::new(&reason(bytes), "a");
            assert_eq!(other.key(), pattern.key());
            pattern.merge(&other);
        }
        assert_eq!(pattern.text(), "a request of … bytes is too large; 5 MiB at most");
    }

    proptest::proptest! {
        #[test]
        fn no_reason_is_too_odd(reason in ".{0,200}", id in ".{0,40}") {
            generalize(&reason, &id);
        }

        // Without a colon: the value `: ` looks like the text between two quoted values.
        #[test]
        fn the_value_makes_no_difference(value in "[^':]{1,40}") {
            let reason = |value: &str| format!(
                "400 x: failed to parse field [a] of type [ip] in document with id 'abcdefgh'. Preview of field's \
                 value: '{value}': '{value}' is not an IP string literal."
            );
            proptest::prop_assert_eq!(pattern_with_id(&reason(&value), "abcdefgh"), pattern_with_id(&reason("1"), "abcdefgh"));
        }
    }
}
