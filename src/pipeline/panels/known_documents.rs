//! Which documents were counted before: the trails of an account and of its organization deliver an event twice.
//!
//! Input: the index and the id of a document. Output: whether it is new.
//! Invariant: memory is bounded. Up to [`MAX_DOCUMENTS`] documents are remembered; others are taken for new ones. Of 7 million
//! documents, the hashes of two are equal in one run of 750,000.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::dashboard::HashedSet;

/// Documents that are remembered. The hash sets have 16 times 524,288 places of 9 bytes then: 75 MB. With a million documents
/// it is a quarter of that.
const MAX_DOCUMENTS: usize = 7_000_000;

/// Parts of the set that are locked on their own, so that workers do not wait for each other.
const SHARDS: usize = 16;

/// The documents that were counted, as hashes with a key of this run: nobody can choose ids whose hashes are equal.
#[derive(Debug)]
pub(super) struct KnownDocuments {
    hasher: RandomState,
    shards: [Mutex<HashedSet>; SHARDS],
    shard_capacity: usize,
    repeated: AtomicU64,
    unremembered: AtomicU64,
}

impl Default for KnownDocuments {
    fn default() -> Self {
        Self::with_capacity(MAX_DOCUMENTS)
    }
}

impl KnownDocuments {
    fn with_capacity(documents: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: Default::default(),
            shard_capacity: documents / SHARDS,
            repeated: AtomicU64::new(0),
            unremembered: AtomicU64::new(0),
        }
    }

    /// Returns whether a document is new, and remembers it. The text names its index and its id.
    pub(super) fn is_new(&self, document: &[u8]) -> bool {
        let hash = self.hasher.hash_one(document);
        let shard = usize::from(hash.to_be_bytes()[3]) % SHARDS;
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = shard.len() >= self.shard_capacity;
        let is_new = if is_full { !shard.contains(&hash) } else { shard.insert(hash) };
        if !is_new {
            self.repeated.fetch_add(1, Relaxed);
        } else if is_full {
            self.unremembered.fetch_add(1, Relaxed);
        }
        is_new
    }

    /// Returns how often a document was not new.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    /// Returns how many new documents are not remembered.
    pub(super) fn unremembered(&self) -> u64 {
        self.unremembered.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(number: usize) -> String {
        format!(r#"{{"create":{{"_index":"cloudtrail-2024.01","_id":"{number}"}}}}"#)
    }

    #[test]
    fn a_document_is_new_once() {
        let known = KnownDocuments::default();
        let is_new = |number| known.is_new(document(number).as_bytes());
        assert!((0..10_000).all(is_new));
        assert!(!(0..10_000).any(is_new));
        assert_eq!((known.repeated(), known.unremembered()), (10_000, 0));
    }

    #[test]
    fn memory_is_bounded_and_the_first_documents_stay_known() {
        let known = KnownDocuments::with_capacity(1_600);
        let is_new = |number| known.is_new(document(number).as_bytes());
        assert!((0..10_000).all(is_new));
        let held: usize = known.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(held, 1_600);
        assert_eq!(known.unremembered(), 8_400);
        let repeated = (0..10_000).filter(|number| !is_new(*number)).count();
        assert_eq!(repeated, 1_600);
    }
}
