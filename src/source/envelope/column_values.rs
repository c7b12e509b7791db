//! Puts the value of a column into the JSON of a record.
//!
//! In: a text as it stands in a cell, or a JSON value as it stands in a line. Out: JSON.
//! ColumnType: what is not understood stays text; no value is lost.

use super::{
    field_names::{ColumnType, FieldName, named},
    struct_text,
};
use crate::source::{
    json::skip::{skip_space, skip_string, skip_value},
    json::unescape::unescape,
};

/// Objects within texts within objects that are gone into. The table of names is five levels deep.
const DEEPEST: u32 = 16;

/// Writes `text` as a JSON string.
pub(super) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Writes what a cell holds.
pub(super) fn cell(text: &[u8], holds: ColumnType, out: &mut Vec<u8>) {
    from_text(text, holds, DEEPEST, out);
}

/// Writes the members of the object at `text[start]` under CloudTrail's names, with the braces. A member among `without`
/// is left out. Returns where the object ends, or nothing if it is no JSON; then what was written is worth nothing.
pub(super) fn object(
    text: &[u8],
    start: usize,
    names: &'static [FieldName],
    without: &[&[u8]],
    out: &mut Vec<u8>,
) -> Option<usize> {
    members(text, start, names, (without, DEEPEST), out)
}

fn members(
    text: &[u8],
    start: usize,
    names: &'static [FieldName],
    (without, deep): (&[&[u8]], u32),
    out: &mut Vec<u8>,
) -> Option<usize> {
    out.push(b'{');
    let mut is_first = true;
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at)? {
            b',' => at += 1,
            b'}' => break,
            b'"' => {
                let key_end = skip_string(text, at)?;
                let (key, colon) = (&text[at + 1..key_end - 1], skip_space(text, key_end));
                if text.get(colon) != Some(&b':') {
                    return None;
                }
                let value = skip_space(text, colon + 1);
                at = skip_value(text, value).ok()?;
                if without.contains(&key) {
                    continue;
                }
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                put(key, &text[value..at], names, deep, out);
            }
            _ => return None,
        }
    }
    out.push(b'}');
    Some(at + 1)
}

/// Writes a key and its value as they are in a record.
pub(super) fn member(key: &[u8], value: &[u8], names: &'static [FieldName], out: &mut Vec<u8>) {
    put(key, value, names, DEEPEST, out);
}

fn put(key: &[u8], value: &[u8], names: &'static [FieldName], deep: u32, out: &mut Vec<u8>) {
    let name = named(names, key);
    out.push(b'"');
    out.extend_from_slice(name.map_or(key, |name| name.name.as_bytes()));
    out.extend_from_slice(b"\":");
    match name {
        Some(name) if deep > 0 => from_json(value, name.holds, deep - 1, out),
        _ => out.extend_from_slice(value),
    }
}

/// Writes a JSON value.
fn from_json(value: &[u8], holds: ColumnType, deep: u32, out: &mut Vec<u8>) {
    match (value.first(), holds) {
        (Some(b'"'), ColumnType::Text) | (None, _) => out.extend_from_slice(value),
        (Some(b'"'), _) => {
            let mut text = Vec::new();
            unescape(&value[1..value.len() - 1], &mut text);
            let start = out.len();
            from_text(&text, holds, deep, out);
            if out[start..].first() == Some(&b'"') && !matches!(holds, ColumnType::Time) {
                // It stayed a text: as it was written.
                out.truncate(start);
                out.extend_from_slice(value);
            }
        }
        (Some(b'{' | b'['), _) => {
            let start = out.len();
            if restored(value, holds, deep, out).is_none() {
                out.truncate(start);
                out.extend_from_slice(value);
            }
        }
        _ => out.extend_from_slice(value),
    }
}

/// Writes a JSON object or list with the names in it restored.
fn restored(value: &[u8], holds: ColumnType, deep: u32, out: &mut Vec<u8>) -> Option<()> {
    match (value.first()?, holds) {
        (b'{', ColumnType::Object(names)) => {
            members(value, 0, names, (&[], deep), out)?;
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
                    b'{' => at = members(value, at, names, (&[], deep), out)?,
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
fn from_text(text: &[u8], holds: ColumnType, deep: u32, out: &mut Vec<u8>) {
    match holds {
        ColumnType::Flag if text.eq_ignore_ascii_case(b"true") => out.extend_from_slice(b"true"),
        ColumnType::Flag if text.eq_ignore_ascii_case(b"false") => out.extend_from_slice(b"false"),
        ColumnType::Text | ColumnType::Flag => quote(text, out),
        ColumnType::Time => quote(&time(text), out),
        ColumnType::Json | ColumnType::Object(_) | ColumnType::List(_) => {
            let start = out.len();
            let known = match as_json(text) {
                Some(json) if deep > 0 => restored(json, holds, deep - 1, out),
                _ => struct_text::restore(text, holds, out),
            };
            if known.is_none() {
                out.truncate(start);
                quote(text, out);
            }
        }
    }
}

/// Returns the text without the space around it, if it is a JSON object or list.
pub(super) fn as_json(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    let is_json = matches!(text.first(), Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    is_json.then_some(text)
}

/// Returns a time as CloudTrail writes it, if it is one as a query engine writes it: `2024-03-05 16:40:11.000 UTC`.
fn time(text: &[u8]) -> Vec<u8> {
    let bare = text.strip_suffix(b" UTC").unwrap_or(text);
    let shape: Vec<u8> =
        bare.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
    let Some(fraction) = shape.strip_prefix(b"0000-00-00 00:00:00") else { return text.to_vec() };
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
        let end = object(text.as_bytes(), 0, RECORD, &[b"log_info"], &mut out);
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
        assert_eq!(object(text.as_bytes(), 0, RECORD, &[], &mut out), Some(text.len()));
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
                object(broken.as_bytes(), 0, RECORD, &[], &mut Vec::new()),
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
            assert_eq!(String::from_utf8(time(given.as_bytes())).unwrap(), wanted);
        }
    }
}
