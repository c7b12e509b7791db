//! Arithmetic on `properties` trees, the part of a mapping that lists fields.
//!
//! Only two kinds matter: a field is an object (has `properties`, or says so) or a value. Engines never turn
//! one into the other; everything else about a field is left as whoever came first decided it.

use serde_json::{Map, Value, json};

use crate::normalize::completed;

/// Returns the part of `wanted` that `live` has no field for and that does not clash with it. A value that lacks fields
/// of its own (`.text`, `.num`) is in it as it is in `live`, with those.
pub(super) fn lacking(wanted: &Value, live: &Value) -> Value {
    let mut rest = Map::new();
    for (name, field) in wanted.as_object().into_iter().flatten() {
        match live.get(name) {
            None => {
                rest.insert(name.clone(), field.clone());
            }
            Some(there) => {
                if is_object(field) && is_object(there) {
                    let below = lacking(&field["properties"], &there["properties"]);
                    if !is_empty(&below) {
                        rest.insert(name.clone(), json!({ "properties": below }));
                    }
                } else if let Some(completed) = completed(there, field) {
                    rest.insert(name.clone(), completed);
                }
            }
        }
    }
    Value::Object(rest)
}

/// Adds to `base` what it lacks of `more`.
pub(super) fn add(base: &mut Value, more: &Value) {
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Some(base) = base.as_object_mut() else { return };
    for (name, field) in more.as_object().into_iter().flatten() {
        match base.get_mut(name) {
            None => {
                base.insert(name.clone(), field.clone());
            }
            Some(there) => {
                if is_object(field) && is_object(there) && !is_empty(&field["properties"]) {
                    add(&mut there["properties"], &field["properties"]);
                }
            }
        }
    }
}

/// Leaves out that an object with fields is one, which engines leave out as well: so trees that mean the same
/// are the same.
pub(super) fn tidy(mut properties: Value) -> Value {
    for field in properties.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let Some(field) = field.as_object_mut() else { continue };
        let Some(below) = field.get_mut("properties").filter(|below| !is_empty(below)) else {
            continue;
        };
        *below = tidy(below.take());
        if field.get("type").is_some_and(|kind| kind == "object") {
            field.remove("type");
        }
    }
    properties
}

/// Returns whether a tree has no field.
pub(super) fn is_empty(properties: &Value) -> bool {
    properties.as_object().is_none_or(Map::is_empty)
}

/// Returns whether a field has, or may get, fields below it.
fn is_object(field: &Value) -> bool {
    field.get("properties").is_some()
        || matches!(field.get("type").and_then(Value::as_str), Some("object" | "nested"))
}

/// Cuts a tree into trees of one value each.
pub(super) fn leaves(properties: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for (name, field) in properties.as_object().into_iter().flatten() {
        match field.get("properties") {
            Some(below) if !is_empty(below) => {
                found.extend(
                    leaves(below).into_iter().map(|leaf| json!({ name: { "properties": leaf } })),
                );
            }
            _ => found.push(json!({ name: field })),
        }
    }
    found
}

/// Puts trees together again.
pub(super) fn joined(trees: &[Value]) -> Value {
    let mut whole = Value::Object(Map::new());
    for tree in trees {
        add(&mut whole, tree);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword() -> Value {
        json!({ "type": "keyword" })
    }

    #[test]
    fn only_what_is_absent_and_fits_is_lacking() {
        let live = json!({ "a": keyword(), "o": { "properties": { "x": { "type": "text" } } } });
        let wanted = json!({
            "a": { "properties": { "clash": keyword() } },
            "b": keyword(),
            "o": { "properties": { "x": keyword(), "y": keyword() } },
        });
        let expected = json!({ "b": keyword(), "o": { "properties": { "y": keyword() } } });
        assert_eq!(lacking(&wanted, &live), expected);
        assert!(is_empty(&lacking(&live, &live)));
        assert_eq!(lacking(&wanted, &Value::Null), wanted);
    }

    #[test]
    fn a_value_that_lacks_fields_of_its_own_is_lacking_as_it_is_there() {
        let text = json!({ "type": "text" });
        let wanted =
            json!({ "a": { "type": "keyword", "ignore_above": 1024, "fields": { "text": text } } });
        let live = json!({ "a": { "type": "keyword", "ignore_above": 10, "fields": { "num": { "type": "long" } } } });
        let expected = json!({ "a": { "type": "keyword", "ignore_above": 10,
            "fields": { "num": { "type": "long" }, "text": text } } });
        assert_eq!(lacking(&wanted, &live), expected);
        assert!(is_empty(&lacking(&wanted, &expected)));
        assert!(is_empty(&lacking(&wanted, &json!({ "a": text }))), "another type is left alone");
        let other =
            json!({ "a": { "type": "keyword", "fields": { "text": { "type": "wildcard" } } } });
        assert!(is_empty(&lacking(&wanted, &other)));
    }

    #[test]
    fn merging_keeps_what_was_there_first() {
        let mut base = json!({ "a": keyword(), "o": { "properties": { "x": keyword() } } });
        add(
            &mut base,
            &json!({ "a": { "properties": {} }, "o": { "properties": { "y": keyword() } } }),
        );
        let expected =
            json!({ "a": keyword(), "o": { "properties": { "x": keyword(), "y": keyword() } } });
        assert_eq!(base, expected);
    }

    #[test]
    fn an_object_without_fields_yet_is_an_object() {
        let bare = json!({ "o": { "type": "object" } });
        let filled = json!({ "o": { "properties": { "x": keyword() } } });
        assert!(is_empty(&lacking(&bare, &filled)));
        assert_eq!(lacking(&filled, &bare), filled);
        assert!(is_empty(&lacking(&json!({ "o": keyword() }), &bare)));
        let both = json!({ "o": { "type": "object", "properties": { "x": keyword() } } });
        assert_eq!(joined(&[bare.clone(), filled.clone()]), both);
        assert_eq!(joined(&[filled.clone(), bare]), filled);
    }

    #[test]
    fn only_an_object_without_fields_says_that_it_is_one() {
        let filled = json!({ "o": { "type": "object", "properties": { "p": { "type": "object", "properties": { "x": keyword() } } } } });
        let expected =
            json!({ "o": { "properties": { "p": { "properties": { "x": keyword() } } } } });
        assert_eq!(tidy(filled), expected);
        assert_eq!(tidy(expected.clone()), expected);
        let bare = json!({ "a": keyword(), "o": { "type": "object" }, "n": { "type": "nested", "properties": { "x": keyword() } } });
        assert_eq!(tidy(bare.clone()), bare);
    }

    #[test]
    fn a_tree_is_the_sum_of_its_leaves() {
        let tree = json!({ "a": keyword(), "o": { "properties": { "x": keyword(), "p": { "properties": { "y": keyword() } } } } });
        assert_eq!(leaves(&tree).len(), 3);
        assert_eq!(joined(&leaves(&tree)), tree);
    }
}
