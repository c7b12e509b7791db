//! Remembers which rules to evaluate for the values that they look at, and which fire.
//!
//! Many events have the same values in a field, such as the same user agent or the same resource. Conditions that no index
//! decides about are evaluated once for each combination of values, and so are rules that few values decide about.
//!
//! Input: rules that look at the same fields; an event. Output: the rules whose condition is not false for these values, or that fire.
//! Invariant: the result is that of evaluating each rule, but for a collision of 128-bit hashes with keys of their own in each process.
//! Memory is bounded.

use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    rc::Rc,
};

use serde_json::Value;

use super::{field_index::RuleNumber, raw_field::RawField};
use crate::filter::event_part::MemberPath;

/// Bytes that a thread remembers; beyond, it forgets everything. That is enough for 50,000 combinations of values.
const MAX_BYTES: usize = 8 << 20;

/// Bytes of an entry beside its rules, as measured for a hash map.
const ENTRY_BYTES: usize = 96;

/// Rules that look at the same fields, and at nothing else.
#[derive(Debug)]
pub(super) struct CachedRules {
    /// The number that tells it from all others of the process.
    pub(super) number: u64,
    pub(super) paths: Vec<MemberPath>,
    pub(super) rules: Vec<RuleNumber>,
}

/// The number of rules, and two hashes of the values that they look at.
type Key = (u64, KeyOf, u64, u64);

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum KeyOf {
    /// Parsed values.
    Values,
    /// Their JSON, of which there may be several for a value.
    Texts,
}

/// What a thread remembers.
#[derive(Debug, Default)]
pub(super) struct ValueCache {
    hashers: Option<[RandomState; 2]>,
    known: HashMap<Key, Rc<[RuleNumber]>>,
    bytes: usize,
}

impl ValueCache {
    /// Returns the rules whose condition is not false on an event. `evaluate` returns whether that of one is not.
    pub(super) fn find(
        &mut self,
        cached: &CachedRules,
        event: &Value,
        evaluate: impl Fn(RuleNumber) -> bool,
    ) -> Rc<[RuleNumber]> {
        let key = self.key(cached.number, KeyOf::Values, |hasher| {
            cached.paths.iter().for_each(|path| hash_field(event, path, hasher));
        });
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        self.add(key, cached, evaluate)
    }

    /// As [`find`](Self::find), given the fields along each path as text. `evaluator` returns what evaluates a rule; `None` if the
    /// event cannot be parsed.
    pub(super) fn find_by_text<'t, E: Fn(RuleNumber) -> bool>(
        &mut self,
        cached: &CachedRules,
        fields: impl Fn(usize) -> RawField<'t>,
        paths: &[Vec<usize>],
        evaluator: impl FnOnce() -> Option<E>,
    ) -> Option<Rc<[RuleNumber]>> {
        let key = self.key_of_texts(cached.number, fields, paths);
        if let Some(known) = self.known.get(&key) {
            return Some(Rc::clone(known));
        }
        Some(self.add(key, cached, evaluator()?))
    }

    /// Returns the rules that fire, given the fields along each path as text. `judge` finds them for values that were not met before;
    /// `None` if that depends on more than the values.
    pub(super) fn find_firing<'t>(
        &mut self,
        cached: &CachedRules,
        fields: impl Fn(usize) -> RawField<'t>,
        paths: &[Vec<usize>],
        judge: impl FnOnce() -> Option<Rc<[RuleNumber]>>,
    ) -> Option<Rc<[RuleNumber]>> {
        let key = self.key_of_texts(cached.number, fields, paths);
        if let Some(known) = self.known.get(&key) {
            return Some(Rc::clone(known));
        }
        let firing = judge()?;
        self.remember(key, &firing);
        Some(firing)
    }

    fn key_of_texts<'t>(
        &mut self,
        number: u64,
        fields: impl Fn(usize) -> RawField<'t>,
        paths: &[Vec<usize>],
    ) -> Key {
        self.key(number, KeyOf::Texts, |hasher| {
            for path in paths {
                hash_text(path.iter().map(|field| fields(*field)), hasher);
            }
        })
    }

    fn key(&mut self, number: u64, of: KeyOf, hash: impl Fn(&mut DefaultHasher)) -> Key {
        let hashers = self.hashers.get_or_insert_with(|| [RandomState::new(), RandomState::new()]);
        let [first, second] = hashers;
        let (mut first, mut second) = (first.build_hasher(), second.build_hasher());
        hash(&mut first);
        hash(&mut second);
        (number, of, first.finish(), second.finish())
    }

    fn add(
        &mut self,
        key: Key,
        cached: &CachedRules,
        evaluate: impl Fn(RuleNumber) -> bool,
    ) -> Rc<[RuleNumber]> {
        let rules: Rc<[RuleNumber]> =
            cached.rules.iter().copied().filter(|rule| evaluate(*rule)).collect();
        self.remember(key, &rules);
        rules
    }

    fn remember(&mut self, key: Key, rules: &Rc<[RuleNumber]>) {
        self.bytes += ENTRY_BYTES + size_of_val(&rules[..]);
        if self.bytes > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.known.insert(key, Rc::clone(rules));
    }
}

/// Hashes the value at a path, given the fields that lead to it; if something else than an object is on the way, that.
fn hash_text<'t>(fields: impl ExactSizeIterator<Item = RawField<'t>>, hasher: &mut impl Hasher) {
    let last = fields.len().saturating_sub(1);
    for (depth, field) in fields.enumerate() {
        match field {
            RawField::Object(_) if depth < last => continue,
            RawField::Missing => 0_u8.hash(hasher),
            RawField::Null => (1_u8, depth).hash(hasher),
            RawField::Text(text) => (2_u8, depth, text).hash(hasher),
            RawField::Object(json) => (3_u8, depth, json).hash(hasher),
            RawField::Other(json) => (4_u8, depth, json).hash(hasher),
        }
        return;
    }
}

/// Hashes the value at a path; if something else than an object is on the way, that.
fn hash_field(event: &Value, path: &[String], hasher: &mut impl Hasher) {
    let mut value = event;
    for (depth, name) in path.iter().enumerate() {
        let Value::Object(entries) = value else {
            depth.hash(hasher);
            return hash_value(value, hasher);
        };
        match entries.get(name) {
            Some(entry) => value = entry,
            None => return 0_u8.hash(hasher),
        }
    }
    path.len().hash(hasher);
    hash_value(value, hasher);
}

fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Null => 1_u8.hash(hasher),
        Value::Bool(boolean) => (2_u8, boolean).hash(hasher),
        // The hash of a number alone is that of its bits: the same for -1 and the largest integer.
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => (3_u8, number).hash(hasher),
            (None, Some(number)) => (7_u8, number).hash(hasher),
            (None, None) => (8_u8, number.as_f64().map(f64::to_bits)).hash(hasher),
        },
        Value::String(text) => (4_u8, text).hash(hasher),
        Value::Array(items) => {
            (5_u8, items.len()).hash(hasher);
            for item in items {
                hash_value(item, hasher);
            }
        }
        Value::Object(entries) => {
            (6_u8, entries.len()).hash(hasher);
            for (name, entry) in entries {
                name.hash(hasher);
                hash_value(entry, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_differ_have_results_of_their_own() {
        let path = vec!["a".to_owned(), "b".to_owned()];
        let cached = CachedRules { number: 0, paths: vec![path], rules: vec![0] };
        let values = [
            json!(-1),
            json!(u64::MAX),
            json!(0),
            json!(0.0),
            json!(-0.0),
            json!(1),
            json!(f64::from_bits(1)),
            json!("1"),
            json!([1]),
            json!({"1": 1}),
            json!(true),
            json!(null),
        ];
        let events = values.iter().map(|value| json!({"a": {"b": value}}));
        let others = [json!({}), json!({"a": {}}), json!({"a": [{"b": 1}]}), json!({"a": 1})];
        let mut cache = ValueCache::default();
        for event in events.chain(others) {
            let evaluated = std::cell::Cell::new(0);
            let mut find = || {
                cache.find(&cached, &event, |_| {
                    evaluated.set(evaluated.get() + 1);
                    true
                })
            };
            assert_eq!((find().len(), find().len()), (1, 1), "{event}");
            // A missing member is missing, whichever it is.
            let is_known = event == json!({"a": {}});
            assert_eq!(evaluated.get(), usize::from(!is_known), "{event}");
        }
    }
}
