//! Collects the messages of all Regions: forwards events, combines the estimates, and counts the Regions that failed.
//!
//! Input: [`RegionMessage`]s. Output: events for the pipeline, one [`Estimate`], and the error of the whole source.
//! Invariant: each failed Region is reported once; the source fails only if no Region could be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    EstimateCallback,
    error::{FailureReason, LookupError, SharedError},
    estimate::{Estimate, RegionEstimate},
    region::{RegionMessage, RegionState},
};
use crate::source::{self, EventSender, ReceiverClosed, SourceEvent, SourceObservation};

/// Time between two reports of the state of Regions that are followed. Each is a write to the checkpoint.
const OBSERVATION_INTERVAL: Duration = Duration::from_secs(10);

/// The state of all Regions of a run.
pub(super) struct Coordinator {
    out: EventSender,
    source_number: usize,
    /// By Region: whether it may be disabled for the account.
    may_be_disabled: Vec<bool>,
    estimates: Vec<Option<RegionEstimate>>,
    /// Regions that sent no estimate yet.
    estimates_missing: usize,
    on_estimate: Option<EstimateCallback>,
    /// The states of Regions that are followed, by number.
    states: BTreeMap<usize, RegionState>,
    /// When they were last reported.
    observed_at: Option<Instant>,
    failed: usize,
    /// Regions that are not asked for new events.
    left_out: usize,
    /// Failed Regions that are disabled, where that is not an error.
    disabled: u64,
    /// The error of the whole source, if all Regions fail.
    worst: Option<(FailureReason, SharedError)>,
    /// The error of the only Region.
    only: Option<LookupError>,
}

impl Coordinator {
    /// Creates the coordinator of Regions, given whether each may be disabled for its account.
    pub(super) fn new(
        out: EventSender,
        source_number: usize,
        may_be_disabled: Vec<bool>,
        on_estimate: Option<EstimateCallback>,
    ) -> Self {
        let regions = may_be_disabled.len();
        Self {
            out,
            source_number,
            may_be_disabled,
            estimates: vec![None; regions],
            estimates_missing: regions,
            on_estimate,
            states: BTreeMap::new(),
            observed_at: None,
            failed: 0,
            left_out: 0,
            disabled: 0,
            worst: None,
            only: None,
        }
    }

    fn regions(&self) -> usize {
        self.may_be_disabled.len()
    }

    /// Processes a message.
    ///
    /// # Errors
    ///
    /// Returns [`ReceiverClosed`] if no more events are wanted.
    pub(super) async fn on_message(
        &mut self,
        message: RegionMessage,
    ) -> Result<(), ReceiverClosed> {
        match message {
            RegionMessage::Event(event) => self.out.send(self.source_number, event).await,
            RegionMessage::Estimated(number, estimate) => {
                self.estimates[number] = estimate;
                self.estimates_missing -= 1;
                self.report_estimate();
                Ok(())
            }
            RegionMessage::Failed(number, error) => self.on_failure(number, error).await,
            RegionMessage::Polled(number, state) => self.on_poll(number, state).await,
            RegionMessage::LeftOut => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    async fn on_failure(
        &mut self,
        number: usize,
        error: LookupError,
    ) -> Result<(), ReceiverClosed> {
        self.failed += 1;
        self.states.remove(&number);
        self.record_worst(&error);
        if self.may_be_disabled[number] && *error.reason() == FailureReason::RegionDisabled {
            self.disabled += 1;
            return Ok(());
        }
        if self.regions() == 1 {
            self.only = Some(error);
            return Ok(());
        }
        if self.failed == self.regions() {
            // The error of the whole source reports the last one.
            return Ok(());
        }
        self.out.send(self.source_number, SourceEvent::Failed(error.into())).await
    }

    /// Reports the state of all Regions together, not more often than once an interval.
    async fn on_poll(&mut self, number: usize, state: RegionState) -> Result<(), ReceiverClosed> {
        self.states.insert(number, state);
        let now = Instant::now();
        if self.observed_at.is_some_and(|at| now < at + OBSERVATION_INTERVAL) {
            return Ok(());
        }
        self.observed_at = Some(now);
        let second = |second: i64| Timestamp::from_second(second).ok();
        let newest = self.states.values().filter_map(|state| state.newest_event).max();
        let complete_before = self.states.values().map(|state| state.complete_before).min();
        // Nothing is known of a Region that was not asked yet.
        let is_known = self.states.len() + self.failed + self.left_out == self.regions();
        let observation = SourceObservation {
            newest_event: newest.and_then(second),
            covered_until: complete_before.filter(|_| is_known).and_then(|at| second(at - 1)),
            ..SourceObservation::default()
        };
        self.out.send(self.source_number, SourceEvent::Observed(observation)).await
    }

    fn report_estimate(&mut self) {
        if self.estimates_missing > 0 {
            return;
        }
        if let Some(report) = self.on_estimate.take() {
            report(&Estimate { regions: self.estimates.iter().flatten().cloned().collect() });
        }
    }

    /// Keeps the most informative error: disabled Regions are common.
    fn record_worst(&mut self, error: &LookupError) {
        let LookupError::Region { reason, source, .. } = error else { return };
        let is_uninformative =
            |(worst, _): &(FailureReason, SharedError)| *worst == FailureReason::RegionDisabled;
        if self.worst.as_ref().is_none_or(is_uninformative) {
            self.worst = Some((reason.clone(), Arc::clone(source)));
        }
    }

    /// Reports the disabled Regions together, and returns the error of the whole source if every Region failed.
    ///
    /// # Errors
    ///
    /// Returns [`source::Error::Lookup`] if no Region could be read.
    pub(super) async fn finish(self) -> Result<(), source::Error> {
        let regions = self.regions();
        if self.disabled > 0 && self.failed < regions {
            let noun = if self.disabled == 1 { "Region that is" } else { "Regions that are" };
            let why = format!("{} {noun} not enabled", self.disabled);
            // If the receiver is gone, the run ends for another reason.
            let skipped = SourceEvent::Skipped { name: "lookup".to_owned(), why };
            let _ = self.out.send(self.source_number, skipped).await;
        }
        if let Some(error) = self.only {
            return Err(error.into());
        }
        match self.worst {
            Some((reason, source)) if self.failed == regions => {
                Err(LookupError::AllRegions { regions, reason, source }.into())
            }
            _ => Ok(()),
        }
    }
}
