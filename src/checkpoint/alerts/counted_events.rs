//! The events of a group that a threshold counts: which of them qualify.
//!
//! Input: times of events, in any order. Output: events that qualify through a new one.
//! Invariant: of each half window, only the first N and the last N events are kept, for a threshold of N. Whether an event qualifies
//! does not depend on the others: each window that contains one of them contains the N before it or the N after it.

/// An event of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::checkpoint) struct CountedEvent {
    /// Time in milliseconds of the Unix epoch.
    pub(in crate::checkpoint) time: i64,
    /// Hash of the event id.
    pub(in crate::checkpoint) hash: u64,
}

/// Bytes of an event as it is stored.
const EVENT_BYTES: usize = 16;

/// A threshold.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) struct Threshold {
    /// The number of events.
    pub(in crate::checkpoint) count: usize,
    /// The length of the window in milliseconds, above 1.
    pub(in crate::checkpoint) window: i64,
}

/// Decodes stored events.
pub(in crate::checkpoint) fn decode(bytes: &[u8]) -> Vec<CountedEvent> {
    let event = |bytes: &[u8]| {
        let half = |start: usize| std::array::from_fn(|position| bytes[start + position]);
        CountedEvent { time: i64::from_le_bytes(half(0)), hash: u64::from_le_bytes(half(8)) }
    };
    bytes.chunks_exact(EVENT_BYTES).map(event).collect()
}

/// Encodes events to be stored.
pub(in crate::checkpoint) fn encode(events: &[CountedEvent]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(events.len() * EVENT_BYTES);
    for event in events {
        bytes.extend_from_slice(&event.time.to_le_bytes());
        bytes.extend_from_slice(&event.hash.to_le_bytes());
    }
    bytes
}

impl Threshold {
    /// Returns the number of the bucket that holds an event. Events that are less than a window apart are in the same bucket or in
    /// adjacent ones.
    pub(in crate::checkpoint) fn bucket(self, time: i64) -> i64 {
        time.div_euclid(self.window)
    }

    /// Adds an event to the sorted events of its bucket, unless it is there or does not change what qualifies. Returns whether the
    /// events have changed.
    pub(in crate::checkpoint) fn insert(
        self,
        events: &mut Vec<CountedEvent>,
        event: CountedEvent,
    ) -> bool {
        let Err(position) = events.binary_search(&event) else { return false };
        events.insert(position, event);
        let half = |time: i64| time.div_euclid(self.window / 2);
        let start = events.partition_point(|other| half(other.time) < half(event.time));
        let end = events.partition_point(|other| half(other.time) <= half(event.time));
        if end - start <= 2 * self.count {
            return true;
        }
        let removed = events.remove(start + self.count);
        removed != event
    }

    /// Returns the runs of events that qualify through an event: ranges in `events`, which are the sorted events less than a window
    /// around it, as one range from the first to the last of them. `None` if the event does not qualify.
    pub(in crate::checkpoint) fn qualifying(
        self,
        events: &[CountedEvent],
        time: i64,
    ) -> Option<Qualifying> {
        let mut result: Option<Qualifying> = None;
        for (first, last) in events.iter().zip(events.iter().skip(self.count - 1)) {
            let contains = first.time <= time && time <= last.time;
            if contains && last.time.saturating_sub(first.time) < self.window {
                let from = result.as_ref().map_or(first.time, |known| known.first);
                result = Some(Qualifying { first: from, last: last.time });
            }
        }
        result
    }
}

/// Times of the first and the last event that qualify through an event; those between them do too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) struct Qualifying {
    pub(in crate::checkpoint) first: i64,
    pub(in crate::checkpoint) last: i64,
}
