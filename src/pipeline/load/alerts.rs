//! The rules of a load: evaluates them beside the normalizer.
//!
//! Input: records that became documents. Output: matches, which the receipt of their batch takes to the checkpoint.
//! Invariant: a match is recorded only with the result of its document, whether that is created, a duplicate or a dead letter: the
//! event happened in each case. Without rules, nothing is done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    checkpoint::shared_alerts::{self, SharedAlerts},
    event::{MatchBatch, NewMatch},
    filter::rule::RuleSet,
    normalize::TimeRange,
    pipeline::alert::{
        RuleFailures,
        delivery::Backlog,
        evaluator::{RuleEvaluator, merge_failures},
        matches::MatchReservations,
    },
    source::EnvelopeMember,
};

/// Bytes of matches with which a batch is full, however few documents it has.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What the workers of a load share about rules.
pub(super) struct LoadRules {
    rules: Arc<RuleSet>,
    shared: Option<SharedAlerts>,
    reservations: MatchReservations,
    failures: Mutex<BTreeMap<usize, RuleFailures>>,
    /// Set before the first batch is settled, if deliveries could be started.
    backlog: OnceLock<Backlog>,
}

impl LoadRules {
    pub(super) fn new(rules: Arc<RuleSet>, shared: Option<SharedAlerts>) -> Self {
        Self {
            rules,
            shared,
            reservations: MatchReservations::default(),
            failures: Mutex::default(),
            backlog: OnceLock::new(),
        }
    }

    /// Makes reading wait while receivers work off many alerts.
    pub(super) fn wait_for(&self, backlog: Backlog) {
        // It is set once.
        let _ = self.backlog.set(backlog);
    }

    /// Takes the events on which rules could not be evaluated, by number of the rule.
    pub(super) fn take_failures(&self) -> BTreeMap<usize, RuleFailures> {
        std::mem::take(&mut *self.failures())
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<usize, RuleFailures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The matches of the batch under construction.
pub(super) struct MatchCollector {
    shared: Arc<LoadRules>,
    evaluator: RuleEvaluator,
    matches: Vec<NewMatch>,
    bytes: usize,
}

impl MatchCollector {
    pub(super) fn new(shared: Arc<LoadRules>) -> Self {
        // The normalizer has selected the events of the time range.
        let evaluator = RuleEvaluator::new(Arc::clone(&shared.rules), TimeRange::default());
        Self { shared, evaluator, matches: Vec::new(), bytes: 0 }
    }

    /// Evaluates the rules on a record that became a document.
    pub(super) fn examine(&mut self, text: &[u8], start: usize) {
        let Self { evaluator, matches, bytes, .. } = self;
        // The normalizer has accepted the record, so it is valid.
        let _ = evaluator.evaluate(text, start, |event| {
            *bytes += event.bytes();
            matches.extend(event.into_matches());
        });
    }

    pub(super) fn set_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.evaluator.set_envelope(members);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BATCH_BYTES
    }

    /// Takes the matches since the last call.
    pub(super) fn take(&mut self) -> FoundMatches {
        merge_failures(&mut self.shared.failures(), self.evaluator.take_failures());
        FoundMatches {
            matches: std::mem::take(&mut self.matches),
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

/// The matches in the documents of a batch.
#[derive(Debug, Default)]
pub(super) struct FoundMatches {
    matches: Vec<NewMatch>,
    bytes: usize,
}

impl FoundMatches {
    /// Waits until the matches fit in the memory for those that wait for the disk, and has them decided about if alerts are shared.
    pub(super) async fn settled(
        self,
        rules: Option<&LoadRules>,
    ) -> Result<MatchBatch, shared_alerts::Error> {
        let Self { matches, bytes } = self;
        match rules {
            Some(rules) if bytes > 0 => {
                if let Some(backlog) = rules.backlog.get() {
                    backlog.wait().await;
                }
                rules.reservations.batch(matches, bytes, rules.shared.as_ref()).await
            }
            _ => Ok(MatchBatch::default()),
        }
    }
}
