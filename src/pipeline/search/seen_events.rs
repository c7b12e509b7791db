//! Which events were found before: overlapping files, Regions and pages hold an event more than once.
//!
//! Input: the 128-bit id of an event. Output: whether it is new.
//! Invariant: memory is bounded. Up to [`REMEMBERED`] ids are remembered exactly; beyond that, the oldest half is
//! forgotten, so an event that appears again later than [`REMEMBERED`] / 2 others may be found again.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Ids that are remembered. With 16 bytes an id and the free slots of hash sets, that is 35 MB.
pub(in crate::pipeline) const REMEMBERED: usize = 1 << 20;

/// Parts of the set that are locked on their own, so that workers do not wait for each other.
const SHARDS: usize = 16;

/// Multiplier that spreads ids over the shards: the golden ratio, as in Fibonacci hashing.
const SPREAD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

/// The ids of events that were found.
#[derive(Debug)]
pub(in crate::pipeline) struct SeenEvents {
    shards: [Mutex<Shard>; SHARDS],
    shard_capacity: usize,
    has_forgotten: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    newer: HashSet<u128>,
    older: HashSet<u128>,
}

impl SeenEvents {
    /// Returns a set without ids that remembers so many.
    pub(in crate::pipeline) fn new(remembered: usize) -> Self {
        Self {
            shards: Default::default(),
            shard_capacity: (remembered / 2 / SHARDS).max(1),
            has_forgotten: false.into(),
        }
    }

    /// Returns whether the id is new, and remembers it.
    pub(in crate::pipeline) fn is_new(&self, id: u128) -> bool {
        // The top bits of a product depend on all bits below them.
        let shard = usize::from(id.wrapping_mul(SPREAD).to_be_bytes()[0]) % SHARDS;
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if shard.older.contains(&id) || !shard.newer.insert(id) {
            return false;
        }
        if shard.newer.len() >= self.shard_capacity {
            if !shard.older.is_empty() {
                self.has_forgotten.store(true, Relaxed);
            }
            let newer = std::mem::take(&mut shard.newer);
            shard.older = newer;
        }
        true
    }

    /// Returns whether ids were forgotten, so that an event may be found twice.
    pub(super) fn has_forgotten(&self) -> bool {
        self.has_forgotten.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_once() {
        let seen = SeenEvents::new(1_000);
        let ids = || (0..400_u128).map(|id| id << 64 | id);
        assert!(ids().all(|id| seen.is_new(id)));
        assert!(!ids().any(|id| seen.is_new(id)));
        assert!(!seen.has_forgotten());
    }

    #[test]
    fn memory_is_bounded_and_recent_events_are_remembered() {
        let remembered = 1_600;
        let seen = SeenEvents::new(remembered);
        for id in 0..100_000_u128 {
            assert!(seen.is_new(id));
            assert!(!seen.is_new(id.saturating_sub(300)), "{id}");
        }
        assert!(seen.has_forgotten());
        let kept: usize = seen
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap())
            .map(|shard| shard.newer.len() + shard.older.len())
            .sum();
        assert!(kept <= remembered, "{kept}");
    }
}
