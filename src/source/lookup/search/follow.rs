//! Following one target: when new events are asked for, how far back, which events were delivered before, and what is covered.
//!
//! Input: the time, the events of pages in the order of their reading, and the results of readings. Output: the next range to
//! read, the new events, and the coverage to record.
//!
//! CloudTrail delivers events minutes after they happened, in no order. So each poll reads from now backwards until a
//! page holds no new event: that finds what is new at the cost of one request if there is little. Events that arrive
//! between others that were delivered before are found by a sweep: once no later ones are expected, each second is read
//! to its end. In a quiet Region the first page of a poll reaches back that far, and no sweep is needed. A run with a checkpoint
//! reads each second once more, when it is older than the overlap of loads: events may be that late.
//!
//! Invariant: an event is delivered once, and each second is read to its end when it is older than the overlap. A second is
//! covered only when everything that was delivered of it is settled. Memory is bounded by the events of the overlap, and by a
//! limit.
//! Deliberately absent: requests (see `region`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use aws_sdk_cloudtrail::types::Event;
use tokio::time::Instant;

use super::super::plan::{SecondRange, missing_ranges};
use super::super::region::seconds;
use super::super::request::event_second;
use super::event_key::{EventKey, event_key};
use super::reading::{Purpose, Reading};
use super::{CoverageOptions, FollowOptions};
use crate::event::PartitionResult;

/// Maximum number of remembered events of all targets: 40 MB. It covers three hours at the full quota of 100 events a second, or a
/// day of a hundred quiet accounts. Beyond it, targets forget their oldest events; a sweep may deliver those again.
const MAX_DELIVERED: usize = 1_000_000;

/// Number of events that each target may remember, however many there are in all: those of several polls.
const MIN_DELIVERED: usize = 2_000;

/// Late sweeps in the time of an overlap. More of them cost a request each, and leave less to be read again after a restart.
const LATE_SWEEPS_PER_OVERLAP: i64 = 4;

/// Seconds of coverage that are recorded at once, unless a late sweep has ended. Each record is a write to the checkpoint.
const COVERAGE_STEP: i64 = 60;

/// What was delivered of a target, and when it is read next.
#[derive(Debug)]
pub(super) struct Follow {
    options: FollowOptions,
    /// Every second before this one was read to its end, and no late events of it are expected.
    settled_before: i64,
    /// The events of later seconds that polls delivered.
    delivered: BTreeSet<(i64, EventKey)>,
    /// The number of remembered events of all targets.
    all_delivered: Arc<AtomicUsize>,
    next_poll_at: Instant,
    is_polling: bool,
    sweep: Option<SecondRange>,
    /// `None` if no coverage is recorded.
    coverage: Option<FollowCoverage>,
    newest_event: Option<i64>,
}

/// The ranges to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DueReadings {
    pub(super) poll: SecondRange,
    pub(super) sweep: Option<SecondRange>,
    pub(super) late_sweep: Option<SecondRange>,
}

/// A range to be recorded as covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DueCoverage {
    pub(super) range: SecondRange,
    /// The last second for which no late events are expected.
    pub(super) complete_until: i64,
}

/// What is covered, and what is not settled yet.
#[derive(Debug)]
struct FollowCoverage {
    /// How late an event may arrive and is still found.
    overlap: i64,
    /// Every second before this one was read to its end after the overlap.
    late_settled_before: i64,
    is_sweeping_late: bool,
    /// What was recorded as covered ends before these seconds.
    recorded_before: i64,
    finally_recorded_before: i64,
    /// The events of readings that were delivered and are not settled, by the number of the reading.
    unsettled: BTreeMap<u64, BTreeSet<(i64, EventKey)>>,
    /// Seconds that could not be read, or of which events could not be processed.
    failed: Vec<(i64, i64)>,
}

impl Follow {
    /// Starts to follow a target, with the given first second. The first poll is due at once. `all_delivered` is shared by all
    /// targets.
    pub(super) fn new(
        options: FollowOptions,
        all_delivered: Arc<AtomicUsize>,
        from: i64,
        now: Instant,
    ) -> Self {
        Self {
            options,
            settled_before: from,
            delivered: BTreeSet::new(),
            all_delivered,
            next_poll_at: now,
            is_polling: false,
            sweep: None,
            coverage: options.coverage.map(|coverage| FollowCoverage::new(coverage, from)),
            newest_event: None,
        }
    }

    /// Returns when the next poll is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_polling).then_some(self.next_poll_at)
    }

    /// Returns the time of the newest event that was found.
    pub(super) fn newest_event(&self) -> Option<i64> {
        self.newest_event
    }

    /// Returns the second before which every event was read, and settled if coverage is recorded.
    pub(super) fn complete_before(&self) -> i64 {
        let unsettled = self.coverage.as_ref().and_then(FollowCoverage::oldest_unsettled);
        self.settled_before.min(unsettled.unwrap_or(i64::MAX))
    }

    /// Returns the ranges to read if a poll is due. `second` is the current second.
    pub(super) fn start(&mut self, now: Instant, second: i64) -> Option<DueReadings> {
        if self.is_polling || now < self.next_poll_at {
            return None;
        }
        self.is_polling = true;
        self.next_poll_at = now + self.options.interval;
        let sweep = self.due_sweep(second);
        self.sweep = self.sweep.or(sweep);
        let settled_before = self.settled_before;
        let coverage = self.coverage.as_mut();
        let late_sweep = coverage.and_then(|coverage| coverage.due_sweep(second, settled_before));
        let from = self.sweep.map_or(settled_before, |sweep| sweep.to + 1);
        // If the clock was set back, the range is one second.
        let poll = SecondRange { from, to: second.max(from) };
        Some(DueReadings { poll, sweep, late_sweep })
    }

    /// Returns the range of a sweep if enough seconds wait for it. Polls stay behind it, so no poll may be under way.
    fn due_sweep(&self, second: i64) -> Option<SecondRange> {
        let overlap = seconds(self.options.overlap);
        let to = second - overlap - 1;
        let is_due = self.sweep.is_none() && to - self.settled_before >= overlap;
        is_due.then_some(SecondRange { from: self.settled_before, to })
    }

    /// Removes the events that were delivered before.
    pub(super) fn retain_new(&mut self, reading: &Reading, events: &mut Vec<Event>) {
        let before = self.delivered.len();
        let Self { delivered, coverage, newest_event, .. } = self;
        let mut unsettled = Vec::new();
        events.retain(|event| {
            let Some(second) = event_second(event) else { return true };
            let key = (second, event_key(event));
            let is_new = match reading.purpose {
                Purpose::Range => return true,
                Purpose::Sweep if coverage.is_none() => !delivered.contains(&key),
                Purpose::Poll | Purpose::Sweep | Purpose::LateSweep => delivered.insert(key),
            };
            if is_new {
                *newest_event = (*newest_event).max(Some(second));
                unsettled.push(key);
            }
            is_new
        });
        if let Some(coverage) = coverage.as_mut().filter(|_| !unsettled.is_empty()) {
            coverage.unsettled.entry(reading.number).or_default().extend(unsettled);
        }
        let added = self.delivered.len() - before;
        let all = self.all_delivered.fetch_add(added, Relaxed) + added;
        if all > MAX_DELIVERED && self.delivered.len() > MIN_DELIVERED {
            let middle = self.delivered.iter().nth(self.delivered.len() / 2).copied();
            self.forget_before(middle.unwrap_or_default());
        }
    }

    fn forget_before(&mut self, first: (i64, EventKey)) {
        let left = self.delivered.split_off(&first);
        self.all_delivered.fetch_sub(self.delivered.len(), Relaxed);
        self.delivered = left;
    }

    /// Records that a reading has ended.
    pub(super) fn on_end(&mut self, reading: &Reading, end: ReadingEnd) {
        match (reading.purpose, end) {
            (Purpose::Range, _) => {}
            (Purpose::Poll, end) => {
                self.is_polling = false;
                // While a sweep is under way, older seconds are not read to their end yet.
                if end == ReadingEnd::Whole && self.sweep.is_none() {
                    self.settle_before(reading.range.to - seconds(self.options.overlap));
                }
            }
            (Purpose::Sweep, _) => {
                self.sweep = None;
                self.settle_before(reading.range.to + 1);
            }
            (Purpose::LateSweep, _) => {
                if let Some(coverage) = &mut self.coverage {
                    coverage.is_sweeping_late = false;
                    coverage.late_settled_before = reading.range.to + 1;
                    self.forget();
                }
            }
        }
    }

    /// Records the result of a reading of which events were delivered.
    pub(super) fn on_result(&mut self, reading: u64, result: Option<&PartitionResult>) {
        let Some(coverage) = &mut self.coverage else { return };
        let Some(settled) = coverage.unsettled.remove(&reading) else { return };
        match result {
            Some(PartitionResult::Complete | PartitionResult::Foreign { .. }) => {}
            // They stay uncovered, so the next run reads them again.
            Some(PartitionResult::Failed { .. }) | None => {
                let (oldest, newest) = (settled.first(), settled.last());
                let seconds = oldest.zip(newest).map(|(oldest, newest)| (oldest.0, newest.0));
                coverage.failed.extend(seconds);
            }
        }
    }

    /// Leaves seconds uncovered that could not be read, so that the next run reads them.
    pub(super) fn leave_uncovered(&mut self, unread: SecondRange) {
        if let Some(coverage) = &mut self.coverage {
            coverage.failed.push((unread.from, unread.to));
        }
    }

    /// Returns the ranges that are to be recorded as covered now.
    pub(super) fn take_due_coverage(&mut self) -> Vec<DueCoverage> {
        let settled_before = self.settled_before;
        self.coverage.as_mut().map(|coverage| coverage.take_due(settled_before)).unwrap_or_default()
    }

    fn settle_before(&mut self, second: i64) {
        if second > self.settled_before {
            self.settled_before = second;
            if let Some(coverage) = &mut self.coverage {
                coverage.settle_before(second, seconds(self.options.overlap));
            }
            self.forget();
        }
    }

    /// Forgets the events of seconds that are not read again.
    fn forget(&mut self) {
        let late = self.coverage.as_ref().map(|coverage| coverage.late_settled_before);
        let first = late.unwrap_or(self.settled_before).min(self.settled_before);
        self.forget_before((first, EventKey::default()));
    }
}

impl FollowCoverage {
    fn new(options: CoverageOptions, from: i64) -> Self {
        Self {
            overlap: seconds(options.overlap),
            late_settled_before: from,
            is_sweeping_late: false,
            recorded_before: from,
            finally_recorded_before: from,
            unsettled: BTreeMap::new(),
            failed: Vec::new(),
        }
    }

    /// Returns the range of a late sweep if enough seconds wait for it.
    fn due_sweep(&mut self, second: i64, settled_before: i64) -> Option<SecondRange> {
        let to = (second - self.overlap - 1).min(settled_before - 1);
        let step = self.overlap / LATE_SWEEPS_PER_OVERLAP;
        let is_due = !self.is_sweeping_late && to - self.late_settled_before >= step;
        self.is_sweeping_late |= is_due;
        is_due.then_some(SecondRange { from: self.late_settled_before, to })
    }

    /// Records that seconds were read to their end when they were older than `age`, which is enough if events are not later.
    fn settle_before(&mut self, second: i64, age: i64) {
        if age >= self.overlap {
            self.late_settled_before = self.late_settled_before.max(second);
        }
    }

    fn oldest_unsettled(&self) -> Option<i64> {
        self.unsettled.values().filter_map(|events| Some(events.first()?.0)).min()
    }

    fn take_due(&mut self, settled_before: i64) -> Vec<DueCoverage> {
        let limit = self.oldest_unsettled().unwrap_or(i64::MAX);
        let mut due = Vec::new();
        let to = settled_before.min(limit) - 1;
        if to - self.recorded_before + 1 >= COVERAGE_STEP {
            let range = SecondRange { from: self.recorded_before, to };
            due.extend(self.without_failed(range).map(|range| {
                // Late events of it are still expected.
                DueCoverage { range, complete_until: range.from - 1 }
            }));
            self.recorded_before = to + 1;
        }
        let to = self.late_settled_before.min(limit) - 1;
        if to - self.finally_recorded_before + 1 >= COVERAGE_STEP {
            let range = SecondRange { from: self.finally_recorded_before, to };
            due.extend(
                self.without_failed(range)
                    .map(|range| DueCoverage { range, complete_until: range.to }),
            );
            self.finally_recorded_before = to + 1;
            self.failed.retain(|(_, last)| *last > to);
        }
        due
    }

    /// Returns the parts of a range without events that could not be processed.
    fn without_failed(&self, range: SecondRange) -> impl Iterator<Item = SecondRange> + use<> {
        missing_ranges(range, &self.failed).into_iter()
    }
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadingEnd {
    /// It reached the start of its range.
    Whole,
    /// It was stopped early.
    Stopped,
}
