//! Following one target: when new events are asked for, how far back, and which events were delivered before.
//!
//! Input: the time, and the events of pages in the order of their reading. Output: the next range to read, and the new
//! events.
//!
//! CloudTrail delivers events minutes after they happened, in no order. So each poll reads from now backwards until a
//! page holds no new event: that finds what is new at the cost of one request if there is little. Events that arrive
//! between others that were delivered before are found by a sweep: once no later ones are expected, each second is read
//! to its end. In a quiet Region the first page of a poll reaches back that far, and no sweep is needed.
//!
//! Invariant: an event is delivered once, and each second is read to its end when it is older than the overlap. Memory
//! is bounded by the events of the overlap, and by a limit.
//! Deliberately absent: requests (see `region`).

use std::collections::BTreeSet;

use aws_sdk_cloudtrail::types::Event;
use tokio::time::Instant;

use super::super::plan::SecondRange;
use super::super::region::seconds;
use super::super::request::event_second;
use super::FollowOptions;
use super::event_key::{EventKey, event_key};
use super::reading::{Purpose, Reading};

/// Maximum number of remembered events. At the full quota of 100 events a second it covers an hour, and takes 20 MB.
/// Beyond it the oldest ones are forgotten; a sweep may deliver those again.
const MAX_DELIVERED: usize = 360_000;

/// What was delivered of a target, and when it is read next.
#[derive(Debug)]
pub(super) struct Follow {
    options: FollowOptions,
    /// Every second before this one was read to its end, and no late events of it are expected.
    settled_before: i64,
    /// The events of later seconds that polls delivered.
    delivered: BTreeSet<(i64, EventKey)>,
    next_poll_at: Instant,
    is_polling: bool,
    sweep: Option<SecondRange>,
}

/// The ranges to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DueReadings {
    pub(super) poll: SecondRange,
    pub(super) sweep: Option<SecondRange>,
}

impl Follow {
    /// Starts to follow a target, with the given first second. The first poll is due at once.
    pub(super) fn new(options: FollowOptions, from: i64, now: Instant) -> Self {
        Self {
            options,
            settled_before: from,
            delivered: BTreeSet::new(),
            next_poll_at: now,
            is_polling: false,
            sweep: None,
        }
    }

    /// Returns when the next poll is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_polling).then_some(self.next_poll_at)
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
        let from = self.sweep.map_or(self.settled_before, |sweep| sweep.to + 1);
        // If the clock was set back, the range is one second.
        Some(DueReadings { poll: SecondRange { from, to: second.max(from) }, sweep })
    }

    /// Returns the range of a sweep if enough seconds wait for it. Polls stay behind it, so no poll may be under way.
    fn due_sweep(&self, second: i64) -> Option<SecondRange> {
        let overlap = seconds(self.options.overlap);
        let to = second - overlap - 1;
        let is_due = self.sweep.is_none() && to - self.settled_before >= overlap;
        is_due.then_some(SecondRange { from: self.settled_before, to })
    }

    /// Removes the events that were delivered before.
    pub(super) fn retain_new(&mut self, purpose: Purpose, events: &mut Vec<Event>) {
        let delivered = &mut self.delivered;
        events.retain(|event| {
            let Some(second) = event_second(event) else { return true };
            match purpose {
                Purpose::Range => true,
                Purpose::Poll => delivered.insert((second, event_key(event))),
                Purpose::Sweep => !delivered.contains(&(second, event_key(event))),
            }
        });
        if self.delivered.len() > MAX_DELIVERED {
            let middle = self.delivered.iter().nth(MAX_DELIVERED / 2).copied();
            self.delivered = middle.map_or_else(BTreeSet::new, |at| self.delivered.split_off(&at));
        }
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
        }
    }

    fn settle_before(&mut self, second: i64) {
        if second > self.settled_before {
            self.settled_before = second;
            self.delivered = self.delivered.split_off(&(second, EventKey::default()));
        }
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
