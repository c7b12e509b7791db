//! Rows that come as lists of fields.
//!
//! CloudWatch Logs Insights answers `[{"field":"@message","value":"…"},…]`, CloudTrail Lake `[{"eventID":"…"},{"eventName":"…"},…]`.
//! In: the text of one such list. Out: where the event is in it, or the event.

use super::{column_values, field_names::RECORD, payload::begins_json, unsupported_input::UnsupportedInput};
use crate::source::{
    json::skip::{skip_space, skip_string, skip_value},
};

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum RowContent {
    /// The event, as the text of the string that begins here.
    Text(usize),
    /// The event was written.
    Record,
    /// Part of an event.
    UnsupportedInput(UnsupportedInput),
    /// Nothing of CloudTrail.
    Foreign,
}

/// Returns whether the list at `text[start]` begins like a row, or nothing if the text ends before that is clear.
pub(in crate::source) fn begins(text: &[u8], start: usize) -> Option<bool> {
    let object = skip_space(text, start + 1);
    if text.get(object)? != &b'{' {
        return Some(false);
    }
    let key = skip_space(text, object + 1);
    if text.get(key)? != &b'"' {
        return Some(false);
    }
    let key_end = skip_string(text, key)?;
    let value = skip_space(text, skip_space(text, key_end) + 1);
    let end = skip_value(text, value).ok()?;
    if matches!(&text[key + 1..key_end - 1], b"field" | b"value") {
        return Some(true);
    }
    // Each of CloudTrail Lake's fields is an object of its own.
    let close = skip_space(text, end);
    Some(text.get(value)? == &b'"' && text.get(close)? == &b'}')
}

/// Reads the row at `text[start]`, which is there as a whole; what it holds is written to `out` if it has to be.
pub(in crate::source) fn read(text: &[u8], start: usize, out: &mut Vec<u8>) -> RowContent {
    let (mut message, mut is_trail, mut is_lake) = (None, false, false);
    out.clear();
    out.push(b'{');
    let mut lake = Lake::default();
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'{') => {
                let (Some(field), Ok(end)) = (field(text, at), skip_value(text, at)) else {
                    return RowContent::Foreign;
                };
                match field {
                    Field::Insights(b"\"@message\"", value) => message = Some(value),
                    Field::Insights(name, _) => is_trail |= is_telling(&name[1..name.len() - 1]),
                    Field::Lake(key, value) => {
                        is_lake = true;
                        lake.add(key, text, value, out);
                    }
                }
                at = end;
            }
            _ => break,
        }
    }
    out.push(b'}');
    match message {
        Some(value) if begins_json(text, value) => RowContent::Text(value),
        None if is_lake => lake.row(),
        None if is_trail => RowContent::UnsupportedInput(UnsupportedInput::NoId),
        _ => RowContent::Foreign,
    }
}

/// Returns whether nobody but CloudTrail has a field of that name.
fn is_telling(name: &[u8]) -> bool {
    matches!(name, b"eventName" | b"eventSource" | b"eventID" | b"recipientAccountId")
        || name.starts_with(b"userIdentity")
}

enum Field<'t> {
    /// The name with its quotes, and where the value begins.
    Insights(&'t [u8], usize),
    /// A key, and where its value begins and ends.
    Lake(&'t [u8], std::ops::Range<usize>),
}

/// Reads the object at `text[start]` as one field of a row.
fn field(text: &[u8], start: usize) -> Option<Field<'_>> {
    let (mut name, mut place) = (None, None);
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at)? {
            b',' => at += 1,
            b'}' => break,
            b'"' => {
                let key_end = skip_string(text, at)?;
                let value = skip_space(text, skip_space(text, key_end) + 1);
                let end = skip_value(text, value).ok()?;
                match (&text[at + 1..key_end - 1], text[value]) {
                    (b"field", b'"') => name = Some(&text[value..end]),
                    (b"value", _) => place = Some(value),
                    (key, _) => return Some(Field::Lake(key, value..end)),
                }
                at = end;
            }
            _ => return None,
        }
    }
    Some(Field::Insights(name?, place.unwrap_or(start)))
}

/// A row of CloudTrail Lake being put together.
#[derive(Default)]
struct Lake {
    /// Where the text with the whole event is.
    event: Option<usize>,
    has_id: bool,
    is_trail: bool,
}

impl Lake {
    fn add(&mut self, key: &[u8], text: &[u8], value: std::ops::Range<usize>, out: &mut Vec<u8>) {
        if key.eq_ignore_ascii_case(b"eventjson") && begins_json(text, value.start) {
            self.event = Some(value.start);
        }
        self.has_id |= key.eq_ignore_ascii_case(b"eventid");
        self.is_trail |= [&b"eventname"[..], b"eventsource", b"useridentity"]
            .iter()
            .any(|known| key.eq_ignore_ascii_case(known));
        if out.len() > 1 {
            out.push(b',');
        }
       column_values::member(key, &text[value], RECORD, out);
    }

    fn row(&self) -> RowContent {
        match self {
            Self { event: Some(place), .. } => RowContent::Text(*place),
            Self { has_id: true, is_trail: true, .. } => RowContent::Record,
            Self { is_trail: true, .. } => RowContent::UnsupportedInput(UnsupportedInput::NoId),
            _ => RowContent::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn row(value: &Value) -> (RowContent, String) {
        let mut out = Vec::new();
        let text = value.to_string();
        assert_eq!(begins(text.as_bytes(), 0), Some(true), "{text}");
        let row = read(text.as_bytes(), 0, &mut out);
        (row, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_row_of_insights_holds_the_event_in_its_message() {
        let field = |name: &str, value: &str| json!({"field": name, "value": value});
        let (message, other) = (field("@message", "{\"a\":1}"), field("@ptr", "x"));
        for list in [json!([message, other]), json!([field("eventName", "A"), message])] {
            let text = list.to_string();
            let RowContent::Text(place) = row(&list).0 else { panic!("{list}") };
            assert!(text[place..].starts_with("\"{\\\"a\\\":1}\""), "{}", &text[place..]);
        }
        assert_eq!(row(&json!([field("eventName", "A"), other])).0, RowContent::UnsupportedInput(UnsupportedInput::NoId));
        assert_eq!(row(&json!([field("@message", "hello")])).0, RowContent::Foreign);
        assert_eq!(row(&json!([field("count", "7")])).0, RowContent::Foreign);
    }

    #[test]
    fn a_row_of_lake_is_put_together() {
        let given = json!([{"eventID": "1"}, {"eventname": "A"}, {"eventTime": "2024-03-05 16:40:11.000"},
            {"requestParameters": "{bucketName=b}"}, {"userIdentity": "{type=Root, accountid=1}"}]);
        let (row_, written) = row(&given);
        assert_eq!(row_, RowContent::Record);
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            json!({"eventID": "1", "eventName": "A",
            "eventTime": "2024-03-05T16:40:11Z", "requestParameters": {"bucketName": "b"},
            "userIdentity": {"type": "Root", "accountId": "1"}})
        );
        assert_eq!(row(&json!([{"eventName": "A"}, {"n": "1"}])).0, RowContent::UnsupportedInput(UnsupportedInput::NoId));
        assert_eq!(row(&json!([{"count": "1"}])).0, RowContent::Foreign);
        let whole = json!([{"eventJson": "{\"eventID\":\"1\"}"}]);
        assert!(matches!(row(&whole).0, RowContent::Text(_)));
    }

    #[test]
    fn other_lists_are_no_rows_and_a_cut_is_not_clear() {
        for text in [
            "[1]",
            "[[{\"field\":1}]]",
            "[{\"eventVersion\":\"1\",\"x\":1}]",
            "[]",
            "[{}]",
            "[{\"a\":{}}]",
        ] {
            assert_eq!(begins(text.as_bytes(), 0), Some(false), "{text}");
        }
        let text = r#"[{"field":"@message","value":"x"}]"#;
        for cut in 1..17 {
            assert_eq!(begins(&text.as_bytes()[..cut], 0), None, "{cut}");
        }
    }
}
