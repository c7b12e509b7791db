//! Compares two documents of one event.
//!
//! Input: two documents, possibly created at different times, by different versions, and for different indices.
//! Output: the top-level keys in which their records differ.
//!
//! Invariant: added members, change notes, the order of keys, escapes, the format of times, and `null` members make
//! no difference.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    EVENT_TIME, document_id, restore_record, stored_original,
    timestamp::EventTime,
    tree::{self, MalformedRecord, Member, Tree},
};

/// Returns the top-level keys in which the records of two documents differ.
///
/// # Errors
///
/// Returns [`MalformedRecord`] if one of the documents is not a JSON object.
pub fn differences(one: &[u8], other: &[u8]) -> Result<Vec<String>, MalformedRecord> {
    let (one, other) = (record(one)?, record(other)?);
    let (one, other) = (contents_by_key(&one)?, contents_by_key(&other)?);
    let differs = |key: &&Vec<u8>| one.get(*key) != other.get(*key);
    let mut keys: Vec<&Vec<u8>> = one.keys().chain(other.keys()).filter(differs).collect();
    keys.sort();
    keys.dedup();
    Ok(keys.into_iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect())
}

/// Returns the record of a document; for a raw document, `event.original`.
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

/// Returns the canonical form of each top-level member.
fn contents_by_key(record: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, MalformedRecord> {
    let Tree::Object(members) = without_nulls(tree::parse(record)?.tree) else {
        return Err(MalformedRecord { offset: 0, expected: "an object" });
    };
    let entry = |Member { key, value }: &Member<'_>| {
        let time = (&**key == EVENT_TIME).then(|| EventTime::from_value(value)).flatten();
        let content = match time {
            Some(when) => when.to_rfc3339().into_bytes(),
            None => document_id::canonical_form(value),
        };
        (key.to_vec(), content)
    };
    Ok(members.iter().map(entry).collect())
}

/// Removes members that are `null`.
fn without_nulls(tree: Tree<'_>) -> Tree<'_> {
    match tree {
        Tree::Object(members) => {
            let is_set =
                |value: &Tree<'_>| !matches!(value, Tree::Token(token) if &**token == b"null");
            let kept = members.into_iter().filter(|member| is_set(&member.value));
            let inside = |Member { key, value }| Member { key, value: without_nulls(value) };
            Tree::Object(kept.map(inside).collect())
        }
        Tree::List(list) => Tree::List(list.into_iter().map(without_nulls).collect()),
        // A bare word equals its quoted form.
        Tree::BareWord(inside) => {
            Tree::Token(Cow::Owned(super::text::unescape(&inside).into_owned()))
        }
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
