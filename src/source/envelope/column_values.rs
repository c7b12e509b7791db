//! Writes the value of a column as the JSON value that the record had.
//!
//! Input: the text of a cell, or a JSON value of a row. Output: JSON.
//! Invariant: a value that is not understood stays a string; no value is lost.

use super::{
    field_names::{ColumnType, FieldName, find},
    json_text::quote,
    struct_text,
};
use crate::source::json::{
    members::{Member, Members},
    skip::{skip_space, skip_value},
    unescape::unescape,
};

/// Objects nested in strings nested in objects that are restored. The field names are five levels deep.
const MAX_DEPTH: u32 = 16;

/// Writes the value of a cell.
pub(super) fn write_cell(text: &[u8], column_type: ColumnType, out: &mut Vec<u8>) {
    write_text_value(text, column_type, MAX_DEPTH, out);
}

/// Writes the object at `text[start]` with CloudTrail's names for its members, except those called as in `without`.
/// Returns the offset behind the object, or `None` if it is not JSON; then what was written is incomplete.
pub(super) fn write_object(
    text: &[u8],
    start: usize,
    names: &'static [FieldName],
    without: &[&[u8]],
    out: &mut Vec<u8>,
) -> Option<usize> {
    write_members(text, start, out, |key, value, out| {
        if without.contains(&key) {
            return false;
        }
        write_field(key, value, names, MAX_DEPTH, out);
        true
    })
}

/// Writes the object at `text[start]`, each member by `write`, which returns whether it wrote the member.
fn write_members(
    text: &[u8],
    start: usize,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&[u8], &[u8], &mut Vec<u8>) -> bool,
) -> Option<usize> {
    out.push(b'{');
    let first = out.len();
    let mut members = Members::new(text, start);
    while let Some(Member { key, value }) = members.next_member().ok()? {
        let end = out.len();
        if end > first {
            out.push(b',');
        }
        if !write(key, &text[value], out) {
            out.truncate(end);
        }
    }
    out.push(b'}');
    Some(members.end())
}

/// Writes a member with CloudTrail's name and value.
pub(super) fn write_member(
    key: &[u8],
    value: &[u8],
    names: &'static [FieldName],
    out: &mut Vec<u8>,
) {
    write_field(key, value, names, MAX_DEPTH, out);
}

fn write_field(
    key: &[u8],
    value: &[u8],
    names: &'static [FieldName],
    depth_left: u32,
    out: &mut Vec<u8>,
) {
    let field = find(names, key);
    out.push(b'"');
    out.extend_from_slice(field.map_or(key, |field| field.name.as_bytes()));
    out.extend_from_slice(b"\":");
    match field {
        Some(field) if depth_left > 0 => {
            write_json_value(value, field.column_type, depth_left - 1, out);
        }
        _ => out.extend_from_slice(value),
    }
}

/// Writes a JSON value.
fn write_json_value(value: &[u8], column_type: ColumnType, depth_left: u32, out: &mut Vec<u8>) {
    match (value.first(), column_type) {
        (Some(b'"'), ColumnType::Text) | (None, _) => out.extend_from_slice(value),
        (Some(b'"'), _) => {
            let mut text = Vec::new();
            unescape(&value[1..value.len() - 1], &mut text);
            let start = out.len();
            write_text_value(&text, column_type, depth_left, out);
            let is_string = out.get(start) == Some(&b'"');
            if is_string && !matches!(column_type, ColumnType::Timestamp) {
                // It stays a string, spelled as before.
                out.truncate(start);
                out.extend_from_slice(value);
            }
        }
        (Some(b'{' | b'['), _) => {
            let start = out.len();
            if restore_names(value, column_type, depth_left, out).is_none() {
                out.truncate(start);
                out.extend_from_slice(value);
            }
        }
        _ => out.extend_from_slice(value),
    }
}

/// Writes a JSON object or list with the names of its members restored.
fn restore_names(
    value: &[u8],
    column_type: ColumnType,
    depth_left: u32,
    out: &mut Vec<u8>,
) -> Option<()> {
    let object = |at: usize, names: &'static [FieldName], out: &mut Vec<u8>| {
        write_members(value, at, out, |key, value, out| {
            write_field(key, value, names, depth_left, out);
            true
        })
    };
    match (value.first()?, column_type) {
        (b'{', ColumnType::Object(names)) => {
            object(0, names, out)?;
        }
        (b'[', ColumnType::List(names)) => {
            out.push(b'[');
            let mut at = 1;
            loop {
                at = skip_space(value, at);
                match value.get(at)? {
                    b']' => break,
                    b',' => {
                        out.push(b',');
                        at += 1;
                    }
                    b'{' => at = object(at, names, out)?,
                    _ => {
                        let end = skip_value(value, at).ok()?;
                        out.extend_from_slice(&value[at..end]);
                        at = end;
                    }
                }
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(value),
    }
    Some(())
}

/// Writes the value that a text stands for.
fn write_text_value(text: &[u8], column_type: ColumnType, depth_left: u32, out: &mut Vec<u8>) {
    match column_type {
        ColumnType::Bool if text.eq_ignore_ascii_case(b"true") => out.extend_from_slice(b"true"),
        ColumnType::Bool if text.eq_ignore_ascii_case(b"false") => out.extend_from_slice(b"false"),
        ColumnType::Text | ColumnType::Bool => quote(text, out),
        ColumnType::Timestamp => quote(&timestamp(text), out),
        ColumnType::Json | ColumnType::Object(_) | ColumnType::List(_) => {
            let start = out.len();
            let restored = match as_json(text) {
                Some(json) if depth_left > 0 => {
                    restore_names(json, column_type, depth_left - 1, out)
                }
                _ => struct_text::restore(text, column_type, out),
            };
            if restored.is_none() {
                out.truncate(start);
                quote(text, out);
            }
        }
    }
}

/// Returns the text without surrounding white space if it is a JSON object or list.
fn as_json(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    let is_json = matches!(text.first(), Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    is_json.then_some(text)
}

/// Returns a timestamp of a query engine (`2024-03-05 16:40:11.000 UTC`) as CloudTrail writes it; other text unchanged.
fn timestamp(text: &[u8]) -> Vec<u8> {
    let bare = text.strip_suffix(b" UTC").unwrap_or(text);
    let pattern: Vec<u8> =
        bare.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
    let Some(fraction) = pattern.strip_prefix(b"0000-00-00 00:00:00") else { return text.to_vec() };
    let is_fraction = fraction.is_empty()
        || fraction[0] == b'.'
            && fraction.len() > 1
            && fraction[1..].iter().all(|byte| *byte == b'0');
    if !is_fraction {
        return text.to_vec();
    }
    let mut time = bare.to_vec();
    time[10] = b'T';
    if bare[19..].iter().all(|byte| matches!(byte, b'.' | b'0')) {
        time.truncate(19);
    }
    time.push(b'Z');
    time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::envelope::field_names::RECORD;
    use serde_json::{Value, json};

    fn record(text: &str) -> Value {
        let mut out = Vec::new();
        let end = write_object(text.as_bytes(), 0, RECORD, &[b"log_info"], &mut out);
        assert_eq!(end, Some(text.len()), "{text}");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn names_texts_and_flags_are_restored() {
        let given = json!({
            "eventid": "1", "eventtime": "2024-03-05 16:40:11.000", "readonly": "false",
            "useridentity": {"type": "Root", "accountid": "1", "sessioncontext":
                {"attributes": {"mfaauthenticated": "true"}, "sessionissuer": {"username": "r"}}},
            "requestparameters": "{\"bucketName\":\"b\",\"n\":1.50}", "resources":
                "[{\"arn\":\"a\",\"accountid\":\"1\"}]", "responseelements": "null",
            "tlsdetails": null, "region": "x", "log_info": {}
        });
        let wanted = json!({
            "eventID": "1", "eventTime": "2024-03-05T16:40:11Z", "readOnly": false,
            "userIdentity": {"type": "Root", "accountId": "1", "sessionContext":
                {"attributes": {"mfaAuthenticated": "true"}, "sessionIssuer": {"userName": "r"}}},
            "requestParameters": {"bucketName": "b", "n": 1.50}, "resources":
                [{"ARN": "a", "accountId": "1"}], "responseElements": null,
            "tlsDetails": null, "region": "x"
        });
        assert_eq!(record(&given.to_string()), wanted);
    }

    #[test]
    fn a_record_of_trail_stays_as_it_is() {
        let text = r#"{"eventVersion":"1.08","userIdentity":{"type":"Root","x":[1.50,"\ud800"]},"resources":[{"ARN":"a"},7],"requestParameters":{"eventid":1e400},"eventTime":"2024-03-05T16:40:11Z"}"#;
        let mut out = Vec::new();
        assert_eq!(write_object(text.as_bytes(), 0, RECORD, &[], &mut out), Some(text.len()));
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn what_is_not_understood_stays_text() {
        let text = r#"{"requestparameters":"{half","useridentity":"someone \u00e9","readonly":"maybe","eventtime":"yesterday"}"#;
        let wanted = json!({"requestParameters": "{half", "userIdentity": "someone é",
            "readOnly": "maybe", "eventTime": "yesterday"});
        assert_eq!(record(text), wanted);
        for broken in ["{\"a\" 1}", "{\"a\":", "{a", "{\"a\":[}"] {
            assert_eq!(
                write_object(broken.as_bytes(), 0, RECORD, &[], &mut Vec::new()),
                None,
                "{broken}"
            );
        }
    }

    #[test]
    fn times_of_query_engines_become_times_of_cloud_trail() {
        for (given, wanted) in [
            ("2024-03-05 16:40:11", "2024-03-05T16:40:11Z"),
            ("2024-03-05 16:40:11.000", "2024-03-05T16:40:11Z"),
            ("2024-03-05 16:40:11.120 UTC", "2024-03-05T16:40:11.120Z"),
            ("2024-03-05T16:40:11Z", "2024-03-05T16:40:11Z"),
            ("2024-03-05 16:40:11.", "2024-03-05 16:40:11."),
            ("2024-03-05 16:40:11 Europe/Berlin", "2024-03-05 16:40:11 Europe/Berlin"),
        ] {
            assert_eq!(String::from_utf8(timestamp(given.as_bytes())).unwrap(), wanted);
        }
    }
}
