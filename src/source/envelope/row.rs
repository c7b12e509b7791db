//! Rows as lists of fields.
//!
//! CloudWatch Logs Insights returns `[{"field":"@message","value":"…"},…]`, CloudTrail Lake
//! `[{"eventID":"…"},{"eventName":"…"},…]`.
//! Input: the text of one such list. Output: the offset of the event in it, or the event.

use std::ops::Range;

use super::{
    column_values, field_names::RECORD, payload::begins_json, unsupported_input::UnsupportedInput,
};
use crate::source::json::{
    members::{Member, Members},
    skip::{SkipError, skip_space},
};

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum RowContent {
    /// The event, in the string at this offset.
    Text(usize),
    /// The event, put together from its columns.
    Record,
    /// Part of an event.
    Unsupported(UnsupportedInput),
    /// Not CloudTrail.
    Foreign,
}

/// Returns whether the list at `text[list]` starts like a row, or `None` if the text ends before that is known.
pub(in crate::source) fn begins_row(text: &[u8], list: usize) -> Option<bool> {
    let object = skip_space(text, list + 1);
    if text.get(object)? != &b'{' {
        return Some(false);
    }
    let mut members = Members::new(text, object);
    let Member { key, value } = match members.next_member() {
        Ok(Some(member)) => member,
        Err(SkipError::Incomplete) => return None,
        Ok(None) | Err(SkipError::Invalid { .. }) => return Some(false),
    };
    if matches!(key, b"field" | b"value") {
        return Some(true);
    }
    // Each field of CloudTrail Lake is an object of its own.
    let close = skip_space(text, value.end);
    Some(text[value.start] == b'"' && text.get(close)? == &b'}')
}

/// Reads the row at `text[list]`, which must be in memory as a whole. An event that is put together from columns is
/// written to `out`.
pub(in crate::source) fn read_row(text: &[u8], list: usize, out: &mut Vec<u8>) -> RowContent {
    let (mut message, mut is_trail, mut is_lake) = (None, false, false);
    out.clear();
    out.push(b'{');
    let mut lake = LakeRow::default();
    let mut at = list + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'{') => {
                let Some((field, end)) = RowField::read(text, at) else {
                    return RowContent::Foreign;
                };
                match field {
                    RowField::Insights(b"\"@message\"", value) => message = Some(value),
                    RowField::Insights(name, _) => {
                        is_trail |= is_cloudtrail_field(&name[1..name.len() - 1]);
                    }
                    RowField::Lake(member) => {
                        is_lake = true;
                        lake.add(&member, text, out);
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
        None if is_lake => lake.content(),
        None if is_trail => RowContent::Unsupported(UnsupportedInput::NoEventId),
        _ => RowContent::Foreign,
    }
}

/// Returns whether only CloudTrail has a field of this name.
fn is_cloudtrail_field(name: &[u8]) -> bool {
    matches!(name, b"eventName" | b"eventSource" | b"eventID" | b"recipientAccountId")
        || name.starts_with(b"userIdentity")
}

/// One field of a row.
enum RowField<'t> {
    /// The name with its quotes, and the offset of the value.
    Insights(&'t [u8], usize),
    /// The only member of an object.
    Lake(Member<'t>),
}

impl<'t> RowField<'t> {
    /// Reads the object at `text[object]` as one field, and returns it with the offset behind the object.
    fn read(text: &'t [u8], object: usize) -> Option<(Self, usize)> {
        let (mut name, mut place) = (None, None);
        let mut lake: Option<Member<'t>> = None;
        let mut members = Members::new(text, object);
        while let Some(member) = members.next_member().ok()? {
            let value: Range<usize> = member.value.clone();
            match (member.key, text[value.start]) {
                _ if lake.is_some() => {}
                (b"field", b'"') => name = Some(&text[value]),
                (b"value", _) => place = Some(value.start),
                _ => lake = Some(member),
            }
        }
        let field = match lake {
            Some(member) => Self::Lake(member),
            None => Self::Insights(name?, place.unwrap_or(object)),
        };
        Some((field, members.end()))
    }
}

/// A row of CloudTrail Lake that is put together.
#[derive(Default)]
struct LakeRow {
    /// Offset of the string that holds the whole event.
    event: Option<usize>,
    has_id: bool,
    is_trail: bool,
}

impl LakeRow {
    fn add(&mut self, member: &Member<'_>, text: &[u8], out: &mut Vec<u8>) {
        let Member { key, value } = member;
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
        column_values::write_member(key, &text[value.clone()], RECORD, out);
    }

    fn content(&self) -> RowContent {
        match self {
            Self { event: Some(offset), .. } => RowContent::Text(*offset),
            Self { has_id: true, is_trail: true, .. } => RowContent::Record,
            Self { is_trail: true, .. } => RowContent::Unsupported(UnsupportedInput::NoEventId),
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
        assert_eq!(begins_row(text.as_bytes(), 0), Some(true), "{text}");
        let row = read_row(text.as_bytes(), 0, &mut out);
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
        assert_eq!(
            row(&json!([field("eventName", "A"), other])).0,
            RowContent::Unsupported(UnsupportedInput::NoEventId)
        );
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
        assert_eq!(
            row(&json!([{"eventName": "A"}, {"n": "1"}])).0,
            RowContent::Unsupported(UnsupportedInput::NoEventId)
        );
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
            assert_eq!(begins_row(text.as_bytes(), 0), Some(false), "{text}");
        }
        let text = r#"[{"field":"@message","value":"x"}]"#;
        for cut in 1..17 {
            assert_eq!(begins_row(&text.as_bytes()[..cut], 0), None, "{cut}");
        }
    }
}
