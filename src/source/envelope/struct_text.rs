//! Parses structures in the text form of query engines: `{type=IAMUser, arn=arn:aws:…, sessioncontext={…}}`.
//!
//! Athena writes columns of type `struct` this way to CSV, CloudTrail Lake its maps. The form has no quotes, so that a
//! comma may separate members or belong to a value. Where the members are known, `, NAME=` separates them; where they
//! are not, only texts without commas, braces and `=` in their values are parsed.
//! Invariant: an ambiguous text is not parsed.

use super::{
    field_names::{ColumnType, FieldName, find},
    json_text::quote,
};

/// Nested structures that are parsed. The field names are five levels deep.
const MAX_DEPTH: u32 = 16;

/// Writes the value that the text stands for as JSON. Returns `None` if the text is ambiguous or not a structure; then
/// what was written is incomplete.
pub(super) fn restore(text: &[u8], column_type: ColumnType, out: &mut Vec<u8>) -> Option<()> {
    write_value(text, column_type, MAX_DEPTH, out)
}

fn write_value(
    text: &[u8],
    column_type: ColumnType,
    depth_left: u32,
    out: &mut Vec<u8>,
) -> Option<()> {
    let depth_left = depth_left.checked_sub(1)?;
    match column_type {
        _ if text == b"null" => out.extend_from_slice(b"null"),
        ColumnType::Object(names) => {
            write_known(inside(text, b'{', b'}')?, names, depth_left, out)?;
        }
        ColumnType::List(names) => write_list(inside(text, b'[', b']')?, names, depth_left, out)?,
        ColumnType::Json => write_unknown(inside(text, b'{', b'}')?, out)?,
        _ => quote(text, out),
    }
    Some(())
}

/// Returns the text between two brackets.
fn inside(text: &[u8], open: u8, close: u8) -> Option<&[u8]> {
    let text = text.trim_ascii();
    (text.len() >= 2 && text[0] == open && text[text.len() - 1] == close)
        .then(|| &text[1..text.len() - 1])
}

/// Writes an object whose members have these names.
fn write_known(
    text: &[u8],
    names: &'static [FieldName],
    depth_left: u32,
    out: &mut Vec<u8>,
) -> Option<()> {
    let parts = split_members(text, names)?;
    out.push(b'{');
    for (number, (name, part)) in parts.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        quote(name.name.as_bytes(), out);
        out.push(b':');
        let start = out.len();
        if write_value(part, name.column_type, depth_left, out).is_none() {
            out.truncate(start);
            quote(part, out);
        }
    }
    out.push(b'}');
    Some(())
}

/// Splits `a=1, b=2` at the known names, outside of nested brackets.
fn split_members<'t>(
    text: &'t [u8],
    names: &'static [FieldName],
) -> Option<Vec<(&'static FieldName, &'t [u8])>> {
    let mut parts: Vec<(&'static FieldName, usize, usize)> = Vec::new();
    let mut depth = 0_u32;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let begins = at == 0 || text[..at].ends_with(b", ");
        if !begins || depth > 0 && at > 0 {
            continue;
        }
        let rest = &text[at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'=') else { break };
        if let Some(name) = find(names, &rest[..length]) {
            parts.push((name, at, at + length + 1));
        } else if at == 0 {
            return None;
        }
    }
    let ends = parts.iter().skip(1).map(|part| part.1 - 2).chain([text.len()]);
    Some(parts.iter().zip(ends).map(|(part, end)| (part.0, &text[part.2..end])).collect())
}

/// Writes a list of objects: `{…}, {…}`.
fn write_list(
    text: &[u8],
    names: &'static [FieldName],
    depth_left: u32,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.push(b'[');
    let mut rest = text;
    while !rest.is_empty() {
        if rest[0] != b'{' {
            return None;
        }
        let mut depth = 0_u32;
        let end = rest.iter().position(|byte| {
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        })?;
        write_value(&rest[..=end], ColumnType::Object(names), depth_left, out)?;
        rest = &rest[end + 1..];
        if let Some(more) = rest.strip_prefix(b", ") {
            out.push(b',');
            rest = more;
        } else if !rest.is_empty() {
            return None;
        }
    }
    out.push(b']');
    Some(())
}

/// Writes an object with any names.
fn write_unknown(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.push(b'{');
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b", ").unwrap_or(rest.len());
        let equals = memchr::memchr(b'=', &rest[..end])?;
        let (key, value) = (&rest[..equals], &rest[equals + 1..end]);
        let is_plain = |text: &[u8]| !text.iter().any(|byte| b"{}[]=,".contains(byte));
        if key.is_empty() || key.contains(&b' ') || !is_plain(key) || !is_plain(value) {
            return None;
        }
        quote(key, out);
        out.push(b':');
        if value == b"null" {
            out.extend_from_slice(value);
        } else {
            quote(value, out);
        }
        rest = rest.get(end + 2..).unwrap_or_default();
        if !rest.is_empty() {
            out.push(b',');
        }
    }
    out.push(b'}');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::envelope::field_names::RECORD;
    use serde_json::{Value, json};

    fn restored(text: &str, field: &str) -> Option<Value> {
        let mut out = Vec::new();
        let column_type = find(RECORD, field.as_bytes()).unwrap().column_type;
        restore(text.as_bytes(), column_type, &mut out)?;
        Some(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn an_identity_of_athena_is_restored() {
        let text = "{type=AssumedRole, principalid=AROA:x, arn=arn:aws:sts::1:assumed-role/A, b/c, accountid=1, \
            invokedby=null, sessioncontext={attributes={mfaauthenticated=false, creationdate=2024-01-01T00:00:00Z}, \
            sessionissuer={type=Role, username=A}}, username=null}";
        let wanted = json!({"type": "AssumedRole", "principalId": "AROA:x",
            "arn": "arn:aws:sts::1:assumed-role/A, b/c", "accountId": "1", "invokedBy": null,
            "sessionContext": {"attributes": {"mfaAuthenticated": "false",
                "creationDate": "2024-01-01T00:00:00Z"}, "sessionIssuer": {"type": "Role", "userName": "A"}},
            "userName": null});
        assert_eq!(restored(text, "userIdentity"), Some(wanted));
        let list =
            "[{arn=arn:x, accountid=1, type=AWS::S3::Bucket}, {arn=y, accountid=null, type=T}]";
        let wanted = json!([{"ARN": "arn:x", "accountId": "1", "type": "AWS::S3::Bucket"},
            {"ARN": "y", "accountId": null, "type": "T"}]);
        assert_eq!(restored(list, "resources"), Some(wanted));
        assert_eq!(restored("[]", "resources"), Some(json!([])));
    }

    #[test]
    fn a_map_of_lake_is_read_where_it_can_be_read_in_one_way() {
        assert_eq!(
            restored("{bucketName=b, Host=s3.amazonaws.com}", "requestParameters"),
            Some(json!({"bucketName": "b", "Host": "s3.amazonaws.com"}))
        );
        assert_eq!(restored("{}", "requestParameters"), Some(json!({})));
        assert_eq!(restored("null", "requestParameters"), Some(json!(null)));
        for text in
            ["{a=b=c}", "{a=b,c}", "{a={b=c}}", "{a=[1]}", "{a}", "a=b", "{a b=c}", "text", ""]
        {
            assert_eq!(restored(text, "requestParameters"), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_structure_is_not_read() {
        for text in ["", "x", "{", "{x=1}", "{=1}", "[{type=1}]", "someone"] {
            assert_eq!(restored(text, "userIdentity"), None, "{text}");
        }
        for text in ["", "{", "[x]", "[{arn=1}x]", "[{arn=1", "[{arn=1}, ]x"] {
            assert_eq!(restored(text, "resources"), None, "{text}");
        }
    }

    #[test]
    fn a_structure_as_deep_as_it_likes_ends() {
        let text =
            format!("{}{}", "{sessioncontext={sessionissuer=".repeat(5_000), "}}".repeat(5_000));
        assert!(restored(&text, "userIdentity").is_some());
    }
}
