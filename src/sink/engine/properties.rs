//! Operations on `properties` trees, the part of a mapping that lists fields.
//!
//! Only two kinds of fields matter here: objects (with `properties`, or of type `object` or `nested`) and values. Engines
//! never convert one into the other; everything else about an existing field is left as it is.

use serde_json::{Map, Value, json};

use crate::normalize::with_missing_subfields;

/// Returns the fields of `wanted` that `live` lacks and that do not conflict with it. A value whose multi-fields (`.text`,
/// `.num`) are incomplete is returned as it is in `live`, completed.
pub(super) fn missing(wanted: &Value, live: &Value) -> Value {
    let mut result = Map::new();
    for (name, field) in wanted.as_object().into_iter().flatten() {
        match live.get(name) {
            None => {
                result.insert(name.clone(), field.clone());
            }
            Some(existing) => {
                if is_object(field) && is_object(existing) {
                    let below = missing(&field["properties"], &existing["properties"]);
                    if !is_empty(&below) {
                        result.insert(name.clone(), json!({ "properties": below }));
                    }
                } else if let Some(completed) = with_missing_subfields(existing, field) {
                    result.insert(name.clone(), completed);
                }
            }
        }
    }
    Value::Object(result)
}

/// Adds to `base` the fields of `other` that it lacks.
pub(super) fn merge(base: &mut Value, other: &Value) {
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Some(base) = base.as_object_mut() else { return };
    for (name, field) in other.as_object().into_iter().flatten() {
        match base.get_mut(name) {
            None => {
                base.insert(name.clone(), field.clone());
            }
            Some(existing) => {
                if is_object(field) && is_object(existing) && !is_empty(&field["properties"]) {
                    merge(&mut existing["properties"], &field["properties"]);
                }
            }
        }
    }
}

/// Removes `"type": "object"` from objects with fields, as engines do, so that equivalent trees are equal.
pub(super) fn canonicalize(mut properties: Value) -> Value {
    for field in properties.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let Some(field) = field.as_object_mut() else { continue };
        let Some(below) = field.get_mut("properties").filter(|below| !is_empty(below)) else {
            continue;
        };
        *below = canonicalize(below.take());
        if field.get("type").is_some_and(|kind| kind == "object") {
            field.remove("type");
        }
    }
    properties
}

/// Returns whether a tree has no fields.
pub(super) fn is_empty(properties: &Value) -> bool {
    properties.as_object().is_none_or(Map::is_empty)
}

/// Returns whether a field is an object.
fn is_object(field: &Value) -> bool {
    field.get("properties").is_some()
        || matches!(field.get("type").and_then(Value::as_str), Some("object" | "nested"))
}

/// Splits a tree into trees of one value each.
pub(super) fn split_into_leaves(properties: &Value) -> Vec<Value> {
    let mut leaves = Vec::new();
    for (name, field) in properties.as_object().into_iter().flatten() {
        match field.get("properties") {
            Some(below) if !is_empty(below) => {
                let below = split_into_leaves(below).into_iter();
                leaves.extend(below.map(|leaf| json!({ name: { "properties": leaf } })));
            }
            _ => leaves.push(json!({ name: field })),
        }
    }
    leaves
}

/// Merges trees into one.
pub(super) fn merge_all(trees: &[Value]) -> Value {
    let mut merged = Value::Object(Map::new());
    for tree in trees {
        merge(&mut merged, tree);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword() -> Value {
        json!({ "type": "keyword" })
    }

    #[test]
    fn only_absent_fields_without_conflict_are_missing() {
        let live = json!({ "a": keyword(), "o": { "properties": { "x": { "type": "text" } } } });
        let wanted = json!({
            "a": { "properties": { "clash": keyword() } },
            "b": keyword(),
            "o": { "properties": { "x": keyword(), "y": keyword() } },
        });
        let expected = json!({ "b": keyword(), "o": { "properties": { "y": keyword() } } });
        assert_eq!(missing(&wanted, &live), expected);
        assert!(is_empty(&missing(&live, &live)));
        assert_eq!(missing(&wanted, &Value::Null), wanted);
    }

    #[test]
    fn a_value_with_incomplete_multi_fields_is_missing_as_it_exists() {
        let text = json!({ "type": "text" });
        let wanted =
            json!({ "a": { "type": "keyword", "ignore_above": 1024, "fields": { "text": text } } });
        let live = json!({ "a": { "type": "keyword", "ignore_above": 10, "fields": { "num": { "type": "long" } } } });
        let expected = json!({ "a": { "type": "keyword", "ignore_above": 10,
            "fields": { "num": { "type": "long" }, "text": text } } });
        assert_eq!(missing(&wanted, &live), expected);
        assert!(is_empty(&missing(&wanted, &expected)));
        assert!(is_empty(&missing(&wanted, &json!({ "a": text }))), "another type is left alone");
        let other =
            json!({ "a": { "type": "keyword", "fields": { "text": { "type": "wildcard" } } } });
        assert!(is_empty(&missing(&wanted, &other)));
    }

    #[test]
    fn merging_keeps_existing_fields() {
        let mut base = json!({ "a": keyword(), "o": { "properties": { "x": keyword() } } });
        merge(
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
        assert!(is_empty(&missing(&bare, &filled)));
        assert_eq!(missing(&filled, &bare), filled);
        assert!(is_empty(&missing(&json!({ "o": keyword() }), &bare)));
        let both = json!({ "o": { "type": "object", "properties": { "x": keyword() } } });
        assert_eq!(merge_all(&[bare.clone(), filled.clone()]), both);
        assert_eq!(merge_all(&[filled.clone(), bare]), filled);
    }

    #[test]
    fn only_an_object_without_fields_keeps_its_type() {
        let filled = json!({ "o": { "type": "object", "properties": { "p": { "type": "object", "properties": { "x": keyword() } } } } });
        let expected =
            json!({ "o": { "properties": { "p": { "properties": { "x": keyword() } } } } });
        assert_eq!(canonicalize(filled), expected);
        assert_eq!(canonicalize(expected.clone()), expected);
        let bare = json!({ "a": keyword(), "o": { "type": "object" }, "n": { "type": "nested", "properties": { "x": keyword() } } });
        assert_eq!(canonicalize(bare.clone()), bare);
    }

    #[test]
    fn a_tree_is_the_sum_of_its_leaves() {
        let tree = json!({ "a": keyword(), "o": { "properties": { "x": keyword(), "p": { "properties": { "y": keyword() } } } } });
        assert_eq!(split_into_leaves(&tree).len(), 3);
        assert_eq!(merge_all(&split_into_leaves(&tree)), tree);
    }
}
