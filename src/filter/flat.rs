//! The flat view of an event: `requestParameters.ipPermissions.items[0].fromPort` as one key.
//!
//! Input: an event. Output: the value of a flat key, found by walking the event, or all flat keys with their values.
//! Keys are joined by `.`, positions in arrays are `[i]`, and a key that contains `.`, `[` or `]` is written as
//! `["key"]` with the escapes of JSON. Values are scalars and empty arrays and objects; the order is that of the event.
//! Invariant: the event is borrowed, and each flat key leads to exactly one value.
//!
//! The notation is that of json-flattener, without the additional backslashes that its version 0.5.0 wrote into keys in
//! brackets.

use std::fmt::Write as _;

use serde_json::Value;

use super::field_test::{FieldPath, PathStep};

/// The flat view of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatView<'a> {
    root: &'a Value,
}

/// A step of a flat key.
#[derive(Debug, PartialEq)]
enum Step<'k> {
    Key(&'k str),
    /// A key in brackets and quotes, with escapes.
    QuotedKey(&'k str),
    Position(usize),
}

/// Where a step stands in a flat key. A name needs a dot before it everywhere but at the start.
#[derive(Clone, Copy, PartialEq)]
enum StepPlace {
    Start,
    Behind,
}

impl<'a> FlatView<'a> {
    /// Creates the flat view of an event.
    pub fn new(root: &'a Value) -> Self {
        Self { root }
    }

    /// Returns the value of a flat key, or `None` if the view does not have it. Only leaves have flat keys: scalars,
    /// empty arrays and empty objects.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let mut root = self.root;
        loop {
            if let Some(value) = find(root, key) {
                return Some(value);
            }
            root = root.get("")?;
        }
    }

    /// Calls `visit` with each flat key and its value, in the order of the event.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &'a Value)) {
        if !is_leaf(self.root) {
            flatten(self.root, &mut String::new(), &mut visit);
        }
    }

    /// Returns all flat keys with their values, in the order of the event.
    pub fn entries(&self) -> Vec<(String, &'a Value)> {
        let mut entries = Vec::new();
        self.for_each(|key, value| entries.push((key.to_owned(), value)));
        entries
    }
}

/// Returns the members and positions that a flat key leads through; `None` for a key in brackets and quotes, and for an
/// empty key, which may lead to several places.
pub fn field_path(key: &str) -> Option<FieldPath> {
    let (mut place, mut rest) = (StepPlace::Start, key);
    let mut path = Vec::new();
    while path.is_empty() || !rest.is_empty() {
        let step;
        (step, rest) = first_step(rest, place)?;
        path.push(match step {
            Step::Key(name) if !name.is_empty() => PathStep::Member(name.to_owned()),
            Step::Position(position) => PathStep::Element(position),
            Step::Key(_) | Step::QuotedKey(_) => return None,
        });
        place = StepPlace::Behind;
    }
    Some(path)
}

/// Returns the leaf that `key` leads to from `root`.
fn find<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    let (step, mut rest) = first_step(key, StepPlace::Start)?;
    let mut value = descend(root, &step)?;
    while !rest.is_empty() {
        let step;
        (step, rest) = first_step(rest, StepPlace::Behind)?;
        value = descend(value, &step)?;
    }
    is_leaf(value).then_some(value)
}

fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => true,
    }
}

/// Splits the first step off a flat key.
fn first_step(key: &str, place: StepPlace) -> Option<(Step<'_>, &str)> {
    if let Some(rest) = key.strip_prefix("[\"") {
        let end = closing_quote(rest)?;
        return Some((Step::QuotedKey(rest.get(..end)?), rest.get(end + 1..)?.strip_prefix(']')?));
    }
    if let Some(rest) = key.strip_prefix('[') {
        let (digits, rest) = rest.split_once(']')?;
        let is_canonical = digits == "0" || !digits.starts_with('0') && !digits.starts_with('+');
        return Some((Step::Position(digits.parse().ok().filter(|_| is_canonical)?), rest));
    }
    let name = if place == StepPlace::Start { key } else { key.strip_prefix('.')? };
    let end = name.find(['.', '[', ']']).unwrap_or(name.len());
    Some((Step::Key(name.get(..end)?), name.get(end..)?))
}

/// Returns the offset of the first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn descend<'a>(value: &'a Value, step: &Step<'_>) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(entries), Step::Key(key)) => entries.get(*key),
        (Value::Object(entries), Step::QuotedKey(quoted)) => {
            let key: String = serde_json::from_str(&format!("\"{quoted}\"")).ok()?;
            let is_canonical = needs_quotes(&key) && quote(&key) == format!("[\"{quoted}\"]");
            entries.get(&key).filter(|_| is_canonical)
        }
        (Value::Array(items), Step::Position(position)) => items.get(*position),
        _ => None,
    }
}

fn needs_quotes(key: &str) -> bool {
    key.contains(['.', '[', ']'])
}

fn quote(key: &str) -> String {
    format!("[{}]", Value::from(key))
}

/// Visits the leaves below `value`, whose flat key is `prefix`.
fn flatten<'a>(value: &'a Value, prefix: &mut String, visit: &mut impl FnMut(&str, &'a Value)) {
    let length = prefix.len();
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                // Writing to a string does not fail.
                let _ = write!(prefix, "[{position}]");
                flatten(item, prefix, visit);
                prefix.truncate(length);
            }
        }
        Value::Object(entries) if !entries.is_empty() => {
            for (key, entry) in entries {
                push_key(prefix, key);
                flatten(entry, prefix, visit);
                prefix.truncate(length);
            }
        }
        _ => visit(prefix, value),
    }
}

/// Appends a key. There is no dot while the flat key is empty, so nothing shows an empty key at its start.
fn push_key(prefix: &mut String, key: &str) {
    if needs_quotes(key) {
        prefix.push_str(&quote(key));
    } else {
        if !prefix.is_empty() {
            prefix.push('.');
        }
        prefix.push_str(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        event: Value,
        flat: Map<String, Value>,
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }

    #[test]
    fn every_vector_is_flattened_in_order() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../../tests/data/vectors/flatten.json")).unwrap();
        assert!(!vectors.cases.is_empty());
        for Case { event, flat } in vectors.cases {
            let view = FlatView::new(&event);
            let expected: Vec<(String, &Value)> =
                flat.iter().map(|(key, value)| (key.clone(), value)).collect();
            assert_eq!(view.entries(), expected);
            for (key, value) in &flat {
                assert_eq!(view.get(key), Some(value), "{key}");
            }
        }
    }

    #[test]
    fn a_key_that_no_leaf_has_is_absent() {
        let event = serde_json::json!({ "a": { "b": [1, 2] }, "c.d": 1 });
        let view = FlatView::new(&event);
        for key in [
            "a",
            "a.b",
            "a.b[2]",
            "a.b[00]",
            "a.b[+1]",
            "a.b[0",
            "a..b[0]",
            "[\"a\"].b[0]",
            "c.d",
            "[\"c\\u002ed\"]",
            "a.b[0]x",
            "",
        ] {
            assert_eq!(view.get(key), None, "{key}");
        }
    }

    fn any_event() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u8>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                // Not empty: a path below an empty key at the start may equal another path.
                proptest::collection::vec(("[ab.\\[\\]\"\\\\é]{1,4}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn each_flat_key_leads_to_its_value(event in any_event()) {
            let view = FlatView::new(&event);
            for (key, value) in view.entries() {
                prop_assert!(view.get(&key).is_some_and(|found| std::ptr::eq(found, value)), "{}", key);
            }
        }

        #[test]
        fn a_key_is_found_only_if_the_flattening_has_it(event in any_event(), key in "[ab.\\[\\]\"0-2\\\\]{0,8}") {
            let view = FlatView::new(&event);
            let expected = view.entries().into_iter().find(|(name, _)| *name == key).map(|(_, value)| value);
            prop_assert_eq!(view.get(&key), expected);
        }
    }
}
