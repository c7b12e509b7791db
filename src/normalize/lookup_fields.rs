//! The fields that LookupEvents returns besides the record: user name and resources.
//!
//! Input: their values in the response. Output: the object `trailload.lookup`, with the values that the record itself
//! does not contain. Invariant: no value, valid or not, makes a record fail. Values longer than any AWS name are
//! dropped.

use super::{
    text,
    tree::{self, Tree},
};

/// Maximum length of a name: an ARN has at most 2,048 bytes.
const MAX_NAME_BYTES: usize = 2_048;

/// Maximum number of resources of one event, more than any known event has.
const MAX_RESOURCES: usize = 256;

/// Maximum length of a value that is parsed: [`MAX_RESOURCES`] resources with names of the maximum length.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// The fields of the next record, as JSON.
#[derive(Debug, Default)]
pub(super) struct LookupFields {
    username: Vec<u8>,
    resources: Vec<u8>,
}

impl LookupFields {
    /// Replaces the values of `Username` and `Resources`.
    pub(super) fn set(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        let Self { username: user, resources: list } = self;
        for (kept, value) in [(user, username), (list, resources)] {
            kept.clear();
            kept.extend_from_slice(
                value.filter(|value| value.len() <= MAX_VALUE_BYTES).unwrap_or(&[]),
            );
        }
    }

    /// Writes the values that the record does not contain as the object `trailload.lookup`, or nothing.
    pub(super) fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        out.clear();
        if self.username.is_empty() && self.resources.is_empty() {
            return;
        }
        let Ok(record) = tree::parse(record) else { return };
        self.username(&record.tree, out);
        self.resources(&record.tree, out);
        if !out.is_empty() {
            out.push(b'}');
        }
    }

    fn username(&self, record: &Tree<'_>, out: &mut Vec<u8>) {
        let Ok(value) = tree::parse(&self.username) else { return };
        let Some(name) = name(Some(&value.tree)) else { return };
        let known = record.get(b"userIdentity").and_then(|identity| identity.get(b"userName"));
        if known.and_then(Tree::as_text).is_some_and(|known| *known == *name) {
            return;
        }
        out.extend_from_slice(b"{\"username\":");
        quote(&name, out);
    }

    fn resources(&self, record: &Tree<'_>, out: &mut Vec<u8>) {
        let Ok(value) = tree::parse(&self.resources) else { return };
        let Tree::List(list) = &value.tree else { return };
        let mut before: &[u8] =
            if out.is_empty() { b"{\"resources\":[" } else { b",\"resources\":[" };
        let start = out.len();
        for resource in list.iter().take(MAX_RESOURCES) {
            let (kind, name) =
                (name(resource.get(b"ResourceType")), name(resource.get(b"ResourceName")));
            if kind.is_none() && name.is_none()
                || is_in_record(record, kind.as_deref(), name.as_deref())
            {
                continue;
            }
            out.extend_from_slice(before);
            before = b",";
            let mut inside: &[u8] = b"{";
            for (key, value) in [(&b"\"type\":"[..], kind), (b"\"name\":", name)] {
                let Some(value) = value else { continue };
                out.extend_from_slice(inside);
                out.extend_from_slice(key);
                quote(&value, out);
                inside = b",";
            }
            out.push(b'}');
        }
        if out.len() > start {
            out.push(b']');
        }
    }
}

/// Returns a string if it can be a name.
fn name<'t>(value: Option<&'t Tree<'_>>) -> Option<std::borrow::Cow<'t, [u8]>> {
    value?.as_text().filter(|name| !name.is_empty() && name.len() <= MAX_NAME_BYTES)
}

/// Returns whether the record lists a resource of that type with that ARN.
fn is_in_record(record: &Tree<'_>, kind: Option<&[u8]>, name: Option<&[u8]>) -> bool {
    let Some(Tree::List(list)) = record.get(b"resources") else { return false };
    let has = |resource: &Tree<'_>, key: &[u8], value: Option<&[u8]>| {
        resource.get(key).and_then(Tree::as_text).as_deref() == value
    };
    list.iter().any(|resource| has(resource, b"type", kind) && has(resource, b"ARN", name))
}

/// Appends a string. A lone surrogate is replaced, since these values need not be restored.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    text::escape(out, String::from_utf8_lossy(text).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(username: &str, resources: &str, record: &str) -> String {
        let mut lookup_fields = LookupFields::default();
        lookup_fields.set(Some(username.as_bytes()), Some(resources.as_bytes()));
        let mut out = Vec::new();
        lookup_fields.write(record.as_bytes(), &mut out);
        if !out.is_empty() {
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_the_record_does_not_say_is_written() {
        let bucket = r#"{"ResourceType":"AWS::S3::Bucket","ResourceName":"arn:aws:s3:::b"}"#;
        let record = r#"{"userIdentity":{"userName":"Alice"},
            "resources":[{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b","accountId":"1"}]}"#;
        assert_eq!(written(r#""Alice""#, &format!("[{bucket}]"), record), "");
        assert_eq!(written(r#""Al\u0069ce""#, "[]", record), "");
        assert_eq!(written(r#""Bob""#, "null", record), r#"{"username":"Bob"}"#);
        let more = format!(r#"[{bucket},{{"ResourceName":"k","ResourceType":"T"}}]"#);
        let key = r#""resources":[{"type":"T","name":"k"}]}"#;
        assert_eq!(written(r#""Alice""#, &more, record), format!("{{{key}"));
        assert_eq!(written(r#""Bob""#, &more, record), format!(r#"{{"username":"Bob",{key}"#));
        let all = format!(r#"[{bucket},{{"ResourceName":"x"}},{{}}]"#);
        assert_eq!(
            written("null", &all, "{}"),
            r#"{"resources":[{"type":"AWS::S3::Bucket","name":"arn:aws:s3:::b"},{"name":"x"}]}"#
        );
    }

    #[test]
    fn whatever_stands_there_is_written_right_or_left_out() {
        for broken in
            ["", "{", "\"", "7", "[\"x\",7,null,[],{\"ResourceName\":7}]", "{}", "[", "[{]"]
        {
            assert_eq!(written(broken, broken, "{}"), "", "{broken}");
        }
        let long = format!("\"{}\"", "x".repeat(MAX_NAME_BYTES + 1));
        assert_eq!(written(&long, "null", "{}"), "");
        let huge = format!("[{}{{\"ResourceName\":\"a\"}}]", "[],".repeat(MAX_VALUE_BYTES / 3 + 1));
        assert_eq!(written(r#""a\"\n\ud83d\ude00""#, &huge, "{}"), "{\"username\":\"a\\\"\\n😀\"}");
        let many = vec![r#"{"ResourceName":"a"}"#; MAX_RESOURCES + 1].join(",");
        let kept = written("null", &format!("[{many}]"), "{}");
        assert_eq!(kept.matches("name").count(), MAX_RESOURCES);
    }

    #[test]
    fn half_a_letter_is_taken_by_every_engine() {
        let kept = written(r#""a\ud83d""#, "null", "{}");
        assert!(kept.starts_with("{\"username\":\"a\u{fffd}"), "{kept}");
    }
}
