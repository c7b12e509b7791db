//! What the workers of `watch` share: the rules, and what they count.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    filter::rule::RuleSet,
    normalize::TimeRange,
    pipeline::{
        alert::evaluator::{RuleEvaluator, RuleFailures, merge_failures},
        consumer::LongRecord,
        run::PipelineConfig,
    },
    report::Log,
};

/// The shared part.
pub(super) struct WatchContext {
    rules: Arc<RuleSet>,
    range: TimeRange,
    delivered_from: Option<i64>,
    events: AtomicU64,
    too_long: AtomicU64,
    failures: Mutex<BTreeMap<usize, RuleFailures>>,
    log: Log,
}

/// What a run has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputReport {
    /// Records in the requested time range.
    pub events: u64,
    /// Records that are too long to be evaluated. Each was logged.
    pub too_long: u64,
    /// Rules that could not be evaluated on some events, by number.
    pub failures: BTreeMap<usize, RuleFailures>,
}

impl WatchContext {
    pub(super) fn new(pipeline: &PipelineConfig, rules: Arc<RuleSet>) -> Self {
        Self {
            rules,
            range: pipeline.range,
            delivered_from: None,
            events: 0.into(),
            too_long: 0.into(),
            failures: Mutex::default(),
            log: pipeline.log.clone(),
        }
    }

    /// Sets the time, in milliseconds of the Unix epoch, before which no event raises an alert that is delivered.
    pub(super) fn with_alerts_delivered_from(self, delivered_from: Option<i64>) -> Self {
        Self { delivered_from, ..self }
    }

    pub(super) fn evaluator(&self) -> RuleEvaluator {
        RuleEvaluator::new(Arc::clone(&self.rules), self.range)
            .with_alerts_delivered_from(self.delivered_from)
    }

    pub(super) fn add_events(&self, events: u64) {
        self.events.fetch_add(events, Relaxed);
    }

    pub(super) fn add_failures(&self, failures: BTreeMap<usize, RuleFailures>) {
        merge_failures(&mut self.failures(), failures);
    }

    /// Reports a record that is too long to be held in memory.
    pub(super) fn report_too_long(&self, record: &LongRecord<'_>) {
        let LongRecord { input, record, reason } = record;
        self.not_evaluated(input, format_args!("at byte {}: {reason}", record.offset));
    }

    /// Reports a record that would take too much memory when parsed.
    pub(super) fn report_too_large(&self, input: &str, bytes: usize) {
        self.not_evaluated(
            input,
            format_args!("a record of {bytes} bytes would take too much memory when parsed"),
        );
    }

    fn not_evaluated(&self, input: &str, reason: impl Display) {
        self.log.warn(input, format_args!("{reason}; no rule is evaluated on it"));
        self.too_long.fetch_add(1, Relaxed);
    }

    pub(super) fn take_report(&self) -> InputReport {
        InputReport {
            events: self.events.load(Relaxed),
            too_long: self.too_long.load(Relaxed),
            failures: std::mem::take(&mut self.failures()),
        }
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<usize, RuleFailures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
