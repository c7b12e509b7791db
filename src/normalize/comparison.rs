//! Whether two documents are made of one event.
//!
//! In: two documents, made at different times, by different versions, for indices that differ. Out: where the records
//! differ that they were made of.
//! Holds: what a document says beside its record, and how it was rewritten, makes no difference; nor does the order of
//! keys, the spelling of texts and of the time, or whether nothing is told as `null` or not at all.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    EVENT_TIME, document_id, stored_original, restore_record,
    timestamp::EventTime,
    tree::{self, MalformedRecord, Member, Tree},
};

/// Returns the top-level keys under which two documents of ours differ, as their records had them.
///
/// # Errors
///
/// Returns [`Misshapen`] if one of them is no JSON object.
pub fn differences(one: &[u8], other: &[u8]) -> Result<Vec<String>, MalformedRecord> {
    let (one, other) = (record(one)?, record(other)?);
    let (one, other) = (contents_by_key(&one)?, contents_by_key(&other)?);
    let differs = |key: &&Vec<u8>| one.get(*key) != other.get(*key);
    let mut keys: Vec<&Vec<u8>> = one.keys().chain(other.keys()).filter(differs).collect();
    keys.sort();
    keys.dedup();
    Ok(keys.into_iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect())
}

/// Returns the record that a document was made of: the text of it, where the document has no more than that.
fn record(document: &[u8]) -> Result<Vec<u8>, MalformedRecord> {
    let parsed = tree::parse(document)?.tree;
    let is_raw = parsed.get(b"trailload").and_then(|ours| ours.get(b"raw")).is_some();
    if is_raw
        && let Tree::Object(members) = &parsed
        && let Some(record) = stored_original(members)
    {
        return Ok(record);
    }
    restore_record(document)
}

/// Returns what a record says under each top-level key, so that equal means the same.
fn contents_by_key(record: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, MalformedRecord> {
    let Tree::Object(members) = without_nulls(tree::parse(record)?.tree) else {
        return Err(MalformedRecord { offset: 0, expected: "an object" });
    };
    let says = |Member { key, value }: &Member<'_>| {
        let time = (&**key == EVENT_TIME).then(|| EventTime::from_value(value)).flatten();
        let said = match time {
            Some(when) => when.to_rfc3339().into_bytes(),
            None => document_id::canonical_form(value),
        };
        (key.to_vec(), said)
    };
    Ok(members.iter().map(says).collect())
}

/// Leaves out the members that say nothing.
fn without_nulls(tree: Tree<'_>) -> Tree<'_> {
    match tree {
        Tree::Object(members) => {
            let says =
                |value: &Tree<'_>| !matches!(value, Tree::Token(token) if &**token == b"null");
            let kept = members.into_iter().filter(|member| says(&member.value));
            let inside = |Member { key, value }| Member { key, value: without_nulls(value) };
            Tree::Object(kept.map(inside).collect())
        }
        Tree::List(list) => Tree::List(list.into_iter().map(without_nulls).collect()),
        // What is no JSON is written as it stood there, also where it was made text.
        Tree::BareWord(inside) => Tree::Token(Cow::Owned(super::text::unescape(&inside).into_owned())),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(one: &str, other: &str) -> Vec<String> {
        differences(one.as_bytes(), other.as_bytes()).unwrap()
    }

    #[test]
    fn only_what_an_event_says_makes_a_difference() {
        for (one, other) in [
            (r#"{"a":1,"b":"\u0041"}"#, r#"{ "b": "A", "a": 1 }"#),
            (r#"{"a":1,"b":null,"c":{"d":null}}"#, r#"{"a":1,"c":{}}"#),
            (
                r#"{"a":1,"@timestamp":"x","source":{"ip":"::1"}}"#,
                r#"{"a":1,"trailload":{"lookup":{"username":"u"}}}"#,
            ),
            (
                r#"{"policy_object":{"a":1},"trailload":{"changes":["renamed /policy_object policy"]}}"#,
                r#"{"policy":{"a":1}}"#,
            ),
            (r#"{"eventTime":"2024-06-01T12:00:00Z"}"#, r#"{"eventTime":1717243200}"#),
            (
                r#"{"eventName":"A","event":{"original":"{\"eventName\":\"A\",\"x\":{\"y\":1}}"},"trailload":{"raw":true}}"#,
                r#"{"eventName":"A","x":{"y":1}}"#,
            ),
            (r#"{"n":"NaN","trailload":{"changes":["quoted /n"]}}"#, r#"{"n":NaN}"#),
        ] {
            assert_eq!(differing(one, other), Vec::<String>::new(), "{one} {other}");
            assert_eq!(differing(other, one), Vec::<String>::new(), "{one} {other}");
        }
    }

    #[test]
    fn what_differs_is_named_by_its_key() {
        for (one, other, keys) in [
            (r#"{"a":1}"#, r#"{"a":2}"#, &["a"][..]),
            (r#"{"a":1,"b":1,"c":[1,2]}"#, r#"{"a":1,"c":[2,1],"d":1}"#, &["b", "c", "d"]),
            (r#"{"a":"1"}"#, r#"{"a":1}"#, &["a"]),
            (r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{"c":2}}}"#, &["a"]),
            (
                r#"{"eventTime":"2024-06-01T12:00:00Z"}"#,
                r#"{"eventTime":"2024-06-01T12:00:01Z"}"#,
                &["eventTime"],
            ),
            (r#"{"a":[]}"#, r#"{"a":{}}"#, &["a"]),
        ] {
            assert_eq!(differing(one, other), keys, "{one} {other}");
            assert_eq!(differing(other, one), keys, "{one} {other}");
        }
        assert!(differences(b"[]", b"{}").is_err());
        assert!(differences(b"{}", b"{").is_err());
    }
}
