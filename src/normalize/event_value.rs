//! Records for consumers that search them: as parsed JSON, and without what this program added to a document.
//!
//! Input: the bytes of a record. Output: a [`Value`], or the record that a document was made of.
//! Invariant: what the slow path repairs, this repairs alike; any depth is accepted, with values beyond the limit of a
//! document as JSON text.

use serde_json::{Map, Value};

use super::{
    document_id, restore, text,
    tree::{self, MalformedRecord, Tree},
};

/// A record whose JSON `serde_json` does not accept: invalid characters, bare words, or too many levels.
#[derive(Debug, PartialEq)]
pub struct RepairedRecord {
    /// The record as parsed JSON.
    pub value: Value,
    /// The record as valid JSON.
    pub json: Vec<u8>,
}

/// Parses a record that may have to be repaired.
///
/// # Errors
///
/// Returns [`MalformedRecord`] if the record is not a JSON object, even after repair.
pub fn repair_record(record: &[u8]) -> Result<RepairedRecord, MalformedRecord> {
    let tree = tree::parse(record)?.tree;
    let Tree::Object(_) = tree else {
        return Err(MalformedRecord { offset: 0, expected: "an object" });
    };
    let mut json = Vec::with_capacity(record.len());
    tree.write_at_any_depth(&mut json);
    Ok(RepairedRecord { value: value_of(tree), json })
}

/// Returns a tree as parsed JSON. Recursion is limited by the depth of a tree.
fn value_of(tree: Tree<'_>) -> Value {
    let as_text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    match tree {
        Tree::Token(token) => serde_json::from_slice(&token).unwrap_or_else(|_| as_text(&token)),
        Tree::Text(inside) | Tree::BareWord(inside) => as_text(&text::unescape(&inside)),
        Tree::TooDeep(value) => as_text(&value),
        Tree::List(list) => Value::Array(list.into_iter().map(value_of).collect()),
        Tree::Object(members) => {
            let members = members.into_iter().map(|member| {
                (String::from_utf8_lossy(&member.key).into_owned(), value_of(member.value))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// The record that a document was made of.
#[derive(Debug, PartialEq, Eq)]
pub struct DocumentRecord {
    /// The record.
    pub record: Vec<u8>,
    /// The fields of LookupEvents that the document holds, as a JSON object; empty if there are none.
    pub lookup: Vec<u8>,
}

/// Returns the record that a document of this program was made of, or `None` for any other record.
pub fn record_of_document(document: &[u8]) -> Option<DocumentRecord> {
    let parsed = tree::parse(document).ok()?;
    let restored = restore::from_document(document, &parsed.tree)?;
    Some(DocumentRecord { record: restored.record, lookup: restored.lookup })
}

/// Returns whether a text is an event id: a UUID, as 128 bits. Other ids are shared by different events.
pub fn event_uuid(id: &[u8]) -> Option<u128> {
    if !document_id::is_uuid(id) {
        return None;
    }
    let digits = id.iter().filter(|byte| **byte != b'-');
    digits
        .map(|byte| (*byte as char).to_digit(16))
        .try_fold(0_u128, |id, digit| Some(id << 4 | u128::from(digit?)))
}

/// Length from which a record is identified by its bytes, because a tree of it would take many times its length.
const HASHED_AS_BYTES: usize = 1 << 20;

/// Returns 128 bits that identify a record by its content, independently of the order of its keys unless it is very
/// long.
///
/// # Errors
///
/// Returns [`MalformedRecord`] if the record is not a JSON object, even after repair.
pub fn content_hash(record: &[u8]) -> Result<u128, MalformedRecord> {
    if record.len() >= HASHED_AS_BYTES {
        return Ok(document_id::hash(record));
    }
    match tree::parse(record)?.tree {
        Tree::Object(members) => Ok(document_id::content_hash(&members)),
        _ => Err(MalformedRecord { offset: 0, expected: "an object" }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_json_is_repaired() {
        let record = b"{\"a\":\"x\ny\xff\",\"b\":NaN,\"c\":\"\\ud800\",\"d\":1e999,\"e\":\"\\q\"}";
        let repaired = repair_record(record).unwrap();
        let expected =
            json!({"a": "x\ny\u{fffd}", "b": "NaN", "c": "\u{fffd}", "d": "1e999", "e": "\\q"});
        let mut value = repaired.value;
        // A lone surrogate has three bytes, none of which is UTF-8.
        value["c"] = "\u{fffd}".into();
        assert_eq!(value, expected);
        assert!(!repaired.json.contains(&b'\n'));
        assert_eq!(repair_record(b"[]").unwrap_err().expected, "an object");
    }

    #[test]
    fn any_depth_is_parsed_and_stays_as_it_was() {
        for depth in [127, 128, 500, 899, 900, 5_000] {
            let record = format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
            let repaired = repair_record(record.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(repaired.json).unwrap(), record, "{depth}");
            let mut levels = 0;
            let mut value = &repaired.value["a"];
            while let Value::Array(list) = value {
                (value, levels) = (&list[0], levels + 1);
            }
            assert_eq!(levels, depth.min(899), "{depth}");
        }
    }

    #[test]
    fn an_event_id_is_a_uuid() {
        assert_eq!(
            event_uuid(b"00000000-0000-0000-0001-00000000aBcD"),
            Some(0x0001_0000_0000_ABCD)
        );
        assert_eq!(event_uuid(b"1"), None);
        assert_eq!(event_uuid(b"00000000-0000-0000-0001-00000000abcg"), None);
    }

    #[test]
    fn the_content_does_not_depend_on_the_order_of_keys() {
        let hash = |text: &str| content_hash(text.as_bytes()).unwrap();
        assert_eq!(hash(r#"{"a":1,"b":"x"}"#), hash(r#"{ "b": "\u0078", "a": 1 }"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":2}"#));
        assert!(content_hash(b"{").is_err());
    }
}
