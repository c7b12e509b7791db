//! Reads the top level of a record once, without parsing its values.
//!
//! Input: text that starts with a record. Output: where the record ends, and the members of its [`EventHeader`].
//! Invariant: of a key that repeats, the last value counts, as in a parsed event. A value that contains an escape
//! sequence is left to the parsed event. Commas are optional, as in everything that reads records.

use std::{ops::Range, str};

use crate::{
    filter::query::{EventHeader, HeaderNeeds},
    source::{SkipError, StringEnd, find_string_end, skip_value},
};

/// What a scan of the top level of a record finds.
#[derive(Debug)]
pub(in crate::pipeline) struct ScannedRecord<'t> {
    /// Offset behind the record.
    pub(in crate::pipeline) end: usize,
    /// Whether the record has a member that this program adds to documents.
    pub(in crate::pipeline) may_be_document: bool,
    /// Whether a key contains an escape sequence, so that the header is empty.
    pub(in crate::pipeline) has_escaped_key: bool,
    header: HeaderMembers<'t>,
}

/// Where a member is in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct MemberRange {
    /// The key without its quotes.
    pub(in crate::pipeline) key: Range<usize>,
    /// The value.
    pub(in crate::pipeline) value: Range<usize>,
}

impl<'t> ScannedRecord<'t> {
    /// Returns the members that decide about most events.
    pub(in crate::pipeline) fn header(&self) -> EventHeader<'t> {
        self.header_for(HeaderNeeds::ALL)
    }

    /// Returns those of them that are needed.
    #[inline]
    pub(in crate::pipeline) fn header_for(&self, needs: HeaderNeeds) -> EventHeader<'t> {
        if self.has_escaped_key { EventHeader::default() } else { self.header.decode(needs) }
    }
}

/// Scans the record that starts with the `{` at `text[start]`, and replaces `ranges` by those of its members.
///
/// # Errors
///
/// Returns [`SkipError`] if the text ends within the record, or if its top level is not JSON.
pub(in crate::pipeline) fn scan_record<'t>(
    text: &'t [u8],
    start: usize,
    ranges: &mut Vec<MemberRange>,
) -> Result<ScannedRecord<'t>, SkipError> {
    ranges.clear();
    let (mut header, mut has_escaped_key, mut may_be_document) =
        (HeaderMembers::default(), false, false);
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => {}
            Some(b',') => {
                at += 1;
                continue;
            }
            Some(b'}') => break,
            Some(_) => return Err(invalid(at, "expected a key")),
            None => return Err(SkipError::Incomplete),
        }
        let key = find_string_end(text, at).ok_or(SkipError::Incomplete)?;
        has_escaped_key |= !key.is_plain;
        let name = at + 1..key.end - 1;
        at = skip_space(text, key.end);
        match text.get(at) {
            Some(b':') => at = skip_space(text, at + 1),
            Some(_) => return Err(invalid(at, "expected a colon")),
            None => return Err(SkipError::Incomplete),
        }
        let StringEnd { end, is_plain } = match text.get(at) {
            Some(b'"') => find_string_end(text, at).ok_or(SkipError::Incomplete)?,
            _ => StringEnd { end: skip_value(text, at)?, is_plain: true },
        };
        let value = if is_plain { &text[at..end] } else { ESCAPED };
        header.add(&text[name.clone()], value);
        may_be_document |= is_added_to_documents(&text[name.clone()]);
        ranges.push(MemberRange { key: name, value: at..end });
        at = end;
    }
    Ok(ScannedRecord { end: at + 1, may_be_document, has_escaped_key, header })
}

fn invalid(offset: usize, cause: &'static str) -> SkipError {
    SkipError::Invalid { offset, cause }
}

#[inline]
fn skip_space(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The values of the members of interest, as JSON.
#[derive(Debug, Default)]
struct HeaderMembers<'t> {
    event_source: &'t [u8],
    event_name: &'t [u8],
    event_time: &'t [u8],
    event_id: &'t [u8],
    source_ip_address: &'t [u8],
    read_only: &'t [u8],
    error_code: &'t [u8],
    error_message: &'t [u8],
}

/// Returns whether this program adds a member of this name to documents.
#[inline]
fn is_added_to_documents(key: &[u8]) -> bool {
    matches!(key, b"@timestamp" | b"source" | b"event" | b"trailload")
}

impl<'t> HeaderMembers<'t> {
    #[inline]
    fn add(&mut self, key: &[u8], value: &'t [u8]) {
        match key {
            b"eventSource" => self.event_source = value,
            b"eventName" => self.event_name = value,
            b"eventTime" => self.event_time = value,
            b"eventID" => self.event_id = value,
            b"sourceIPAddress" => self.source_ip_address = value,
            b"readOnly" => self.read_only = value,
            b"errorCode" => self.error_code = value,
            b"errorMessage" => self.error_message = value,
            _ => {}
        }
    }

    #[inline]
    fn decode(&self, needs: HeaderNeeds) -> EventHeader<'t> {
        let mut header = EventHeader::default();
        if needs.action {
            header.event_source = plain_text(self.event_source);
            header.event_name = plain_text(self.event_name);
        }
        if needs.time {
            header.event_time = plain_text(self.event_time);
        }
        if needs.id {
            header.event_id = plain_text(self.event_id);
        }
        if needs.selectors {
            header.source_ip_address = plain_text(self.source_ip_address);
            header.read_only = truth(self.read_only);
            header.has_error = Some(is_set(self.error_code) || is_set(self.error_message));
        }
        header
    }
}

/// Stands for a string with escape sequences, which the scan does not decode.
const ESCAPED: &[u8] = b"\"\\";

/// Returns the content of a string without escape sequences.
fn plain_text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()
}

/// Returns a truth value, which some copies of events hold as a text.
fn truth(value: &[u8]) -> Option<bool> {
    let word = value.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\"")).unwrap_or(value);
    match word {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Returns whether a value is present and neither null nor an empty text.
fn is_set(value: &[u8]) -> bool {
    !matches!(value, b"" | b"null" | b"\"\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn the_header_is_that_of_the_parsed_event() {
        for text in [
            r#"{"eventSource":"s3.amazonaws.com","eventName":"GetObject","eventTime":"2024-06-30T00:00:00Z","eventID":"i","readOnly":true}"#,
            r#"{ "eventName" : "A" , "eventName" : "B", "errorCode":"" }"#,
            r#"{"eventName":"A","eventName":7,"errorMessage":"x","readOnly":"false"}"#,
            r#"{"userIdentity":{"eventName":"inner","errorCode":"x"},"errorCode":null}"#,
            "{}",
        ] {
            let event: Value = serde_json::from_str(text).unwrap();
            let scanned = scan_record(text.as_bytes(), 0, &mut Vec::new()).unwrap();
            assert_eq!(scanned.header(), EventHeader::of_event(&event), "{text}");
            assert_eq!(scanned.end, text.len());
        }
    }

    #[test]
    fn escape_sequences_are_left_to_the_parsed_event() {
        let scan =
            |text: &'static str| scan_record(text.as_bytes(), 0, &mut Vec::new()).unwrap().header();
        assert_eq!(scan(r#"{"eventName":"A\u0042"}"#).event_name, None);
        assert_eq!(scan(r#"{"eventName":"A","event\u004eame":"B"}"#), EventHeader::default());
    }

    #[test]
    fn members_that_this_program_adds_are_noticed() {
        let scan = |text: &'static str| {
            scan_record(text.as_bytes(), 0, &mut Vec::new()).unwrap().may_be_document
        };
        assert!(scan(r#"{"@timestamp":"x"}"#) && scan(r#"{"a":1,"trailload":{}}"#));
        assert!(!scan(r#"{"a":{"@timestamp":"x"},"b":"trailload"}"#));
    }

    #[test]
    fn every_cut_is_incomplete_and_what_is_not_json_has_a_place() {
        let text = r#"{"eventName":"A\"","b":[{"c":"}"}],"d":1.5 }"#;
        for cut in 1..text.len() {
            let cut = scan_record(&text.as_bytes()[..cut], 0, &mut Vec::new());
            assert_eq!(cut.map(|scanned| scanned.end), Err(SkipError::Incomplete));
        }
        for (text, offset) in
            [(r#"{"a" 1}"#, 5), ("{a:1}", 1), (r#"{"a":]}"#, 5), (r#"{"a":1]"#, 6)]
        {
            let Err(SkipError::Invalid { offset: at, .. }) =
                scan_record(text.as_bytes(), 0, &mut Vec::new())
            else {
                panic!("{text}")
            };
            assert_eq!(at, offset, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_event_is_scanned_as_it_is_parsed(
            names in prop::collection::vec(
                prop_oneof![Just("eventName"), Just("eventSource"), Just("readOnly"), Just("errorCode"), Just("x")], 0..6),
            values in prop::collection::vec(
                prop_oneof![Just(json!("a")), Just(json!("é")), Just(json!(true)), Just(json!(null)), Just(json!({"eventName": 1}))], 6),
        ) {
            let members = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value));
            let event = Value::Object(members.collect::<Map<_, _>>());
            let text = serde_json::to_string_pretty(&event).unwrap();
            let scanned = scan_record(text.as_bytes(), 0, &mut Vec::new()).unwrap();
            prop_assert_eq!(scanned.header(), EventHeader::of_event(&event));
            prop_assert_eq!(scanned.end, text.len());
        }
    }
}
