//! Parses only those parts of a record that decide about rules.
//!
//! Input: the rules that a record may concern, by its source and name; the members of the record, as a scan found them.
//! Output: an event with nothing but the parts that these rules look at.
//! Invariant: rules have the same verdicts on it as on the whole event. Memory is bounded.

use std::{collections::HashMap, ops::Range, sync::Arc};

use serde_json::Value;

use crate::{
    filter::{
        event_part::EventParts,
        rule::{RuleSet, Shortlist},
    },
    pipeline::search::{projection::Projection, record_scan::MemberRange},
};

/// The most shortlists whose projections are kept; beyond, all are built again when they are needed. 1,000 rules for as many
/// names and sources have about so many.
const MAX_PROJECTIONS: usize = 4_096;

/// The projections of a worker.
pub(super) struct Projections {
    rules: Arc<RuleSet>,
    /// `None` for rules that may look at the whole event.
    known: HashMap<Shortlist, Option<Projection>>,
}

impl Projections {
    pub(super) fn new(rules: Arc<RuleSet>) -> Self {
        Self { rules, known: HashMap::new() }
    }

    /// Returns the parts of the record in a range of the text, or `None` if it has to be parsed as a whole.
    pub(super) fn parse(
        &mut self,
        shortlist: Shortlist,
        text: &[u8],
        record: Range<usize>,
        members: &[MemberRange],
    ) -> Option<Value> {
        if self.known.len() >= MAX_PROJECTIONS && !self.known.contains_key(&shortlist) {
            self.known.clear();
        }
        let rules = &self.rules;
        let projection = self.known.entry(shortlist).or_insert_with(|| {
            let parts = rules.required_parts(shortlist)?;
            Some(Projection::new(&EventParts { parts, ..EventParts::default() }))
        });
        projection.as_ref()?.parse(text, record, members)
    }
}
