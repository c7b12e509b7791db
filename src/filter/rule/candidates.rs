//! Finds the rules that may match an event by the text of a few fields, so that most events are never parsed.
//!
//! ```text
//!  Shortlist ─▶ DecidingFields: paths ─▶ the fields of an event, as the caller finds them in its text ─▶ Candidates ─▶ RuleSet::judge
//! ```
//!
//! Input: the rules of a shortlist, once; then the fields of each event. Output: the rules that are to be evaluated on it.
//! Invariant: the candidates are those that the index finds on the parsed event.
//! Not here: how fields are found in a text. A field that cannot be looked at there, because a string has an escape sequence or a list
//! is on the way to it, is not given to this module: the event is parsed then.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    field_index::{FieldMatches, GroupNumber, RuleNumber},
    raw_field::RawField,
    value_cache::CachedRules,
};
use crate::filter::event_part::MemberPath;

/// The number of a bucket of rules.
pub(super) type BucketNumber = u32;

/// The rules that an event may concern, by its source and name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shortlist {
    pub(super) buckets: [Option<BucketNumber>; SHORTLIST_BUCKETS],
}

/// The most buckets that an event concerns.
pub(super) const SHORTLIST_BUCKETS: usize = 5;

/// An event in which fields are looked at without parsing it.
pub struct RawEvent<'e> {
    /// Its `eventSource`.
    pub source: &'e str,
    /// Its `eventName`.
    pub name: &'e str,
    /// Returns a field, by its position in [`DecidingFields::paths`].
    pub field: &'e dyn Fn(usize) -> RawField<'e>,
    /// Parses the [parts](super::RuleSet::required_parts) that rules look at. `None` if the whole event has to be parsed.
    pub parts: &'e dyn Fn() -> Option<Value>,
}

/// The fields that decide which rules of a shortlist are candidates.
#[derive(Debug)]
pub struct DecidingFields {
    pub(super) shortlist: Shortlist,
    paths: Vec<MemberPath>,
    /// Tables of indices, by field.
    pub(super) tables: Vec<FieldOfTable>,
    pub(super) cached: Vec<FieldsOfCache>,
}

/// A table of the index of a bucket, and the field that it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldOfTable {
    pub(super) field: usize,
    /// The position of the bucket in the shortlist.
    pub(super) bucket: usize,
    pub(super) table: usize,
}

/// Rules whose results are remembered, and what they look at.
#[derive(Debug)]
pub(super) struct FieldsOfCache {
    /// The position of the bucket in the shortlist.
    pub(super) bucket: usize,
    /// The position of the rules in the bucket.
    pub(super) position: usize,
    /// For each path, the fields from its first name to its end.
    pub(super) paths: Vec<Vec<usize>>,
}

/// The rules that are to be evaluated on an event.
#[derive(Debug, Default)]
pub struct Candidates {
    pub(super) rules: Vec<RuleNumber>,
    /// Groups of rules that fail.
    pub(super) failed: Vec<GroupNumber>,
}

impl Candidates {
    /// Returns the numbers of the rules.
    pub fn rules(&self) -> &[usize] {
        &self.rules
    }

    /// Returns whether rules fail without being evaluated.
    pub fn has_failures(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Takes what was found on an event, and leaves the memory of an earlier one.
    pub(super) fn take(&mut self, matches: &mut FieldMatches) {
        std::mem::swap(&mut self.rules, &mut matches.candidates);
        std::mem::swap(&mut self.failed, &mut matches.failed);
    }
}

impl DecidingFields {
    /// Returns the paths of the fields. Each of them comes behind those that lead to it.
    pub fn paths(&self) -> &[MemberPath] {
        &self.paths
    }
}

/// The few values that decide about the verdicts of rules.
#[derive(Debug)]
pub struct DecidingValues {
    pub(super) cached: CachedRules,
    fields: Vec<MemberPath>,
    /// For each value, the fields from the first name of its path to its end.
    pub(super) paths: Vec<Vec<usize>>,
}

impl DecidingValues {
    pub(super) fn new(cached: CachedRules) -> Self {
        let mut numbers = FieldNumbers::default();
        let paths = cached.paths.iter().map(|path| numbers.along(path)).collect();
        Self { cached, fields: numbers.paths, paths }
    }

    /// Returns the paths of the fields that lead to the values. Each of them comes behind those that lead to it.
    pub fn fields(&self) -> &[MemberPath] {
        &self.fields
    }
}

/// Numbers fields by their paths.
#[derive(Debug, Default)]
pub(super) struct FieldNumbers {
    paths: Vec<MemberPath>,
    numbers: HashMap<MemberPath, usize>,
}

impl FieldNumbers {
    /// Returns the fields from the first name of a path to its end.
    pub(super) fn along(&mut self, path: &[String]) -> Vec<usize> {
        (1..=path.len()).map(|length| self.number(&path[..length])).collect()
    }

    fn number(&mut self, path: &[String]) -> usize {
        if let Some(known) = self.numbers.get(path) {
            return *known;
        }
        self.paths.push(path.to_vec());
        self.numbers.insert(path.to_vec(), self.paths.len() - 1);
        self.paths.len() - 1
    }

    pub(super) fn into_fields(
        self,
        shortlist: Shortlist,
        tables: Vec<FieldOfTable>,
        cached: Vec<FieldsOfCache>,
    ) -> DecidingFields {
        DecidingFields { shortlist, paths: self.paths, tables, cached }
    }
}
