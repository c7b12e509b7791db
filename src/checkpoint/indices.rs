//! Tracks the indices that documents were loaded into, and detects documents that have been lost since.
//!
//! Input: counts of loaded documents by index, and an [`Inventory`] of the cluster. Output: missing documents, and the
//! [`IndexChange`]s since the last comparison.
//! Invariant: documents that were in an index are either still in it, or recorded in [`MissingDocuments`] until they are
//! loaded again or the user accepts the loss.
//! Deliberately not here: SQL (see `index_rows`) and requests to the cluster.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{IndexCount, IndexIdentity, IndexState, Inventory};

/// An index that documents were loaded into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedIndex {
    /// The identity of the index.
    pub identity: IndexIdentity,
    /// Documents that were created in it.
    pub created: u64,
    /// Documents that were already in it. A document that is sent repeatedly is counted each time.
    pub duplicates: u64,
    /// Number of documents in the index at the last comparison.
    pub documents: Option<u64>,
}

/// Why documents are no longer in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The index was deleted.
    Deleted,
    /// The index was deleted, and another one was created under its name.
    Recreated,
    /// Documents were deleted from the index.
    Emptied,
}

/// Documents that were in an index and no longer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDocuments {
    /// The identity of the index that contained them.
    pub identity: IndexIdentity,
    /// Why they are missing.
    pub reason: LossReason,
    /// Number of missing documents.
    pub documents: u64,
    /// Number of documents that the index must contain to be complete again.
    pub expected: u64,
    /// Time of detection, in milliseconds since the Unix epoch.
    pub detected: i64,
    /// Time at which the user accepted the loss, in milliseconds since the Unix epoch.
    pub accepted: Option<i64>,
}

/// A difference found by a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexChange {
    /// Documents are missing that were present at the last comparison.
    Lost(String, MissingDocuments),
    /// The index was restored from a snapshot with all of its documents.
    Restored(String, u64),
    /// Documents that were missing are present again.
    Complete(String, u64),
}

/// The indices that documents were loaded into, and the documents missing from them, by the name used in requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedIndices {
    /// Existing indices.
    pub known: BTreeMap<String, LoadedIndex>,
    /// Missing documents.
    pub missing: BTreeMap<String, MissingDocuments>,
}

impl LoadedIndex {
    /// Returns the number of documents that the index must contain.
    ///
    /// `created` alone may be too low: a killed run has not recorded all the documents that it created, and the next run
    /// finds them as duplicates. `created + duplicates` may be too high: an event that is sent twice counts twice. The
    /// number of documents at the last comparison lies between the two.
    pub fn expected(&self) -> u64 {
        let most = self.created.saturating_add(self.duplicates);
        self.documents.map_or(self.created, |held| held.min(most).max(self.created))
    }
}

impl LossReason {
    const ALL: [Self; 3] = [Self::Deleted, Self::Recreated, Self::Emptied];

    /// Returns the name used in the checkpoint and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Recreated => "recreated",
            Self::Emptied => "emptied",
        }
    }

    /// Returns the reason with this name.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == word)
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

impl LoadedIndices {
    /// Adds loaded documents. The first identity reported for an index is kept until the next comparison.
    pub fn add_loaded(&mut self, count: &IndexCount) {
        let known = self.known.entry(count.index.clone()).or_default();
        if known.identity.uuid.is_empty()
            && let Some(identity) = &count.identity
        {
            known.identity = identity.clone();
        }
        known.created += count.created;
        known.duplicates += count.duplicates;
    }

    /// Returns the indices that contain fewer documents than expected, provided that the cluster's counts are up to date.
    pub fn indices_below_expected(&self, inventory: &Inventory) -> Vec<String> {
        let is_short = |(name, known): &(&String, &LoadedIndex)| {
            let held = inventory.indices.get(*name).and_then(|held| held.documents);
            held.is_some_and(|held| held < known.expected())
        };
        self.known.iter().filter(is_short).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the first name that refers to a different index than before although the former index still exists, that is,
    /// an alias that was moved. Loading again would store the documents in both indices.
    pub fn moved_alias(&self, inventory: &Inventory) -> Option<&str> {
        let is_moved = |(name, known): &(&String, &LoadedIndex)| {
            let now = inventory.indices.get(*name).map(|held| &held.identity.uuid);
            now.is_some_and(|now| *now != known.identity.uuid)
                && inventory.uuids.contains(&known.identity.uuid)
        };
        self.known.iter().find(is_moved).map(|(name, _)| name.as_str())
    }

    /// Compares the recorded indices with those of the cluster at the time `now` (milliseconds since the Unix epoch).
    pub fn compare(&mut self, inventory: &Inventory, now: i64) -> Vec<IndexChange> {
        let mut changes = Vec::new();
        for (name, known) in std::mem::take(&mut self.known) {
            match inventory.indices.get(&name) {
                None => changes.extend(self.record_loss(&name, &known, LossReason::Deleted, now)),
                Some(held) => changes.extend(self.compare_index(name, known, held, now)),
            }
        }
        changes.extend(self.detect_restored(inventory));
        changes
    }

    /// Compares one existing index.
    fn compare_index(
        &mut self,
        name: String,
        mut known: LoadedIndex,
        held: &IndexState,
        now: i64,
    ) -> Option<IndexChange> {
        let IndexState { identity, documents } = held;
        let is_same = known.identity.uuid.is_empty() || known.identity.uuid == identity.uuid;
        let is_restored = !is_same && known.identity.created_at == identity.created_at;
        let expected = known.expected();
        let change = if !is_same && !is_restored {
            let change = self.record_loss(&name, &known, LossReason::Recreated, now);
            known = LoadedIndex::default();
            change
        } else if documents.is_some_and(|documents| documents < expected) {
            let change = self.record_loss(&name, &known, LossReason::Emptied, now);
            known.created = documents.unwrap_or(0);
            known.duplicates = 0;
            self.missing.entry(name.clone()).and_modify(|missing| {
                missing.documents -= known.created;
                missing.identity = identity.clone();
            });
            change.map(|_| IndexChange::Lost(name.clone(), self.missing[&name].clone()))
        } else {
            is_restored.then(|| IndexChange::Restored(name.clone(), expected))
        };
        known.identity = identity.clone();
        known.documents = documents.or(known.documents);
        self.known.insert(name, known);
        change
    }

    /// Records that all documents of an index are missing, if there were any.
    fn record_loss(
        &mut self,
        name: &str,
        known: &LoadedIndex,
        why: LossReason,
        now: i64,
    ) -> Option<IndexChange> {
        let expected = known.expected();
        if expected == 0 {
            return None;
        }
        // Documents that were missing before, and not accepted, are still missing.
        let before = self.missing.get(name).filter(|missing| missing.accepted.is_none());
        let before = before.map_or(0, |missing| missing.documents);
        let missing = MissingDocuments {
            identity: known.identity.clone(),
            reason: why,
            documents: before + expected,
            expected: before + expected,
            detected: now,
            accepted: None,
        };
        self.missing.insert(name.to_owned(), missing.clone());
        Some(IndexChange::Lost(name.to_owned(), missing))
    }

    /// Removes the missing documents of indices that were restored with all of them.
    fn detect_restored(&mut self, inventory: &Inventory) -> Vec<IndexChange> {
        let is_back = |name: &String, missing: &MissingDocuments| {
            let Some(held) = inventory.indices.get(name) else { return false };
            let MissingDocuments { identity, documents, .. } = missing;
            let same = held.identity.uuid == identity.uuid
                || held.identity.created_at == identity.created_at;
            let since = self.known.get(name).map_or(0, |known| known.created);
            same && held.documents.is_none_or(|held| held >= since + documents)
        };
        let back: Vec<_> =
            self.missing.iter().filter(|(name, missing)| is_back(name, missing)).collect();
        let back: Vec<String> = back.into_iter().map(|(name, _)| name.clone()).collect();
        back.into_iter().filter_map(|name| self.complete(name, inventory)).collect()
    }

    /// Removes the missing documents of indices that were loaded again completely, if they contain as many documents as
    /// before.
    ///
    /// `names` are the indices whose whole period one run has reloaded. Two runs that each reload a part of the period do
    /// not count, even if they cover it together: the number of documents cannot replace that, because new events also
    /// increase it, and the checkpoint does not record which part was reloaded from which sources. Recording that (time
    /// ranges by set of sources, discarded when more documents get lost) would make it possible.
    pub fn confirm_reload(&mut self, names: &[String], inventory: &Inventory) -> Vec<IndexChange> {
        let is_complete = |name: &&String| {
            let held = inventory.indices.get(*name).map(|held| held.documents);
            let wanted = self.missing.get(*name).map(|missing| missing.expected);
            // If documents cannot be counted, the fact that everything was read again has to suffice.
            held.zip(wanted).is_some_and(|(held, wanted)| held.is_none_or(|held| held >= wanted))
        };
        let complete: Vec<String> = names.iter().filter(is_complete).cloned().collect();
        complete.into_iter().filter_map(|name| self.complete(name, inventory)).collect()
    }

    fn complete(&mut self, name: String, inventory: &Inventory) -> Option<IndexChange> {
        let missing = self.missing.remove(&name)?;
        if let Some(held) = inventory.indices.get(&name) {
            let known = self.known.entry(name.clone()).or_default();
            known.identity = held.identity.clone();
            known.created = known.created.max(missing.expected);
            known.documents = held.documents;
        }
        missing.accepted.is_none().then_some(IndexChange::Complete(name, missing.expected))
    }

    /// Accepts the missing documents of the indices selected by `is_meant`, and returns these.
    pub fn accept(
        &mut self,
        is_meant: impl Fn(&str) -> bool,
        now: i64,
    ) -> Vec<(String, MissingDocuments)> {
        let open = |(name, missing): &(&String, &mut MissingDocuments)| {
            missing.accepted.is_none() && is_meant(name)
        };
        let accepted = self.missing.iter_mut().filter(open).map(|(name, missing)| {
            missing.accepted = Some(now);
            (name.clone(), missing.clone())
        });
        accepted.collect()
    }

    /// Returns the missing documents that the user has not accepted.
    pub fn unaccepted(&self) -> impl Iterator<Item = (&String, &MissingDocuments)> {
        self.missing.iter().filter(|(_, missing)| missing.accepted.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ct-2024.06";

    fn identity(uuid: &str, made: i64) -> IndexIdentity {
        IndexIdentity { uuid: uuid.to_owned(), created_at: made }
    }

    /// An inventory with one index.
    fn holding(uuid: &str, made: i64, documents: impl Into<Option<u64>>) -> Inventory {
        let held = IndexState { identity: identity(uuid, made), documents: documents.into() };
        Inventory { indices: [(NAME.to_owned(), held)].into(), uuids: [uuid.to_owned()].into() }
    }

    fn put(indices: &mut LoadedIndices, uuid: &str, created: u64, duplicates: u64) {
        let identity = Some(identity(uuid, 1));
        let index = NAME.to_owned();
        indices.add_loaded(&IndexCount { index, created, duplicates, identity });
    }

    /// A run created ten documents in index `a`, and a second run sent two of them again.
    fn loaded() -> LoadedIndices {
        let mut indices = LoadedIndices::default();
        put(&mut indices, "a", 10, 0);
        assert_eq!(indices.compare(&holding("a", 1, 10), 0), []);
        put(&mut indices, "a", 0, 2);
        indices
    }

    fn open(indices: &LoadedIndices) -> Vec<(&str, LossReason, u64)> {
        indices
            .unaccepted()
            .map(|(name, lost)| (name.as_str(), lost.reason, lost.documents))
            .collect()
    }

    #[test]
    fn what_is_there_is_not_missing_however_often_it_is_looked_at() {
        let mut indices = loaded();
        for documents in [Some(10), Some(12), None] {
            assert_eq!(indices.compare(&holding("a", 1, documents), 5), []);
        }
        assert!(indices.missing.is_empty());
    }

    #[test]
    fn what_the_engine_counted_bounds_what_must_be_there() {
        let known = |created, duplicates, held| LoadedIndex {
            created,
            duplicates,
            documents: held,
            ..LoadedIndex::default()
        };
        assert_eq!(known(10, 5, None).expected(), 10);
        assert_eq!(
            known(10, 5, Some(12)).expected(),
            12,
            "a run was killed before it recorded them"
        );
        assert_eq!(known(10, 5, Some(40)).expected(), 15, "another program added some");
        assert_eq!(known(10, 5, Some(3)).expected(), 10, "not all were visible yet");
    }

    #[test]
    fn a_deleted_index_is_missing_until_it_is_loaded_again() {
        let mut indices = loaded();
        let changes = indices.compare(&Inventory::default(), 7);
        assert!(
            matches!(&changes[..], [IndexChange::Lost(name, lost)] if name == NAME && lost.detected == 7)
        );
        for _ in 0..2 {
            assert_eq!(open(&indices), [(NAME, LossReason::Deleted, 10)]);
            assert_eq!(indices.compare(&Inventory::default(), 8), [], "it is reported as new once");
        }
        // The next run creates the index again, for new events.
        put(&mut indices, "b", 4, 0);
        indices.compare(&holding("b", 2, 4), 9);
        assert_eq!(open(&indices), [(NAME, LossReason::Deleted, 10)]);
        // Part of it is loaded again, then everything.
        put(&mut indices, "b", 5, 4);
        let names = [NAME.to_owned()];
        assert_eq!(indices.confirm_reload(&names, &holding("b", 2, 9)), []);
        assert_eq!(indices.confirm_reload(&[], &holding("b", 2, 14)), []);
        put(&mut indices, "b", 5, 9);
        let changes = indices.confirm_reload(&names, &holding("b", 2, 14));
        assert_eq!(changes, [IndexChange::Complete(NAME.to_owned(), 10)]);
        assert_eq!(open(&indices), []);
        indices.compare(&holding("b", 2, 13), 10);
        assert_eq!(open(&indices), [(NAME, LossReason::Emptied, 1)], "it is monitored as before");
    }

    #[test]
    fn an_index_of_the_same_name_is_another_one() {
        let mut indices = loaded();
        indices.compare(&holding("b", 2, 50), 7);
        assert_eq!(
            open(&indices),
            [(NAME, LossReason::Recreated, 10)],
            "however many documents it contains"
        );
        // It is lost once more before the first loss was repaired.
        put(&mut indices, "b", 3, 0);
        indices.compare(&holding("c", 3, 0), 8);
        assert_eq!(open(&indices), [(NAME, LossReason::Recreated, 13)]);
    }

    #[test]
    fn an_index_restored_from_a_snapshot_is_the_same_if_it_holds_everything() {
        let mut indices = loaded();
        let changes = indices.compare(&holding("b", 1, 10), 7);
        assert_eq!(changes, [IndexChange::Restored(NAME.to_owned(), 10)]);
        assert_eq!(indices.compare(&holding("b", 1, 10), 8), [], "reported once");
        let mut indices = loaded();
        indices.compare(&holding("b", 1, 6), 7);
        assert_eq!(open(&indices), [(NAME, LossReason::Emptied, 4)], "an older snapshot");
    }

    #[test]
    fn a_deleted_index_that_is_restored_is_complete_again() {
        let mut indices = loaded();
        indices.compare(&Inventory::default(), 7);
        assert_eq!(indices.compare(&holding("b", 1, 9), 8), []);
        let changes = indices.compare(&holding("b", 1, 10), 9);
        assert_eq!(changes, [IndexChange::Complete(NAME.to_owned(), 10)]);
        assert_eq!(open(&indices), []);
        assert_eq!(indices.known[NAME].expected(), 10);
    }

    #[test]
    fn documents_that_are_deleted_are_missing_also_when_others_come() {
        let mut indices = loaded();
        assert_eq!(indices.indices_below_expected(&holding("a", 1, 7)), [NAME]);
        indices.compare(&holding("a", 1, 7), 7);
        assert_eq!(open(&indices), [(NAME, LossReason::Emptied, 3)]);
        put(&mut indices, "a", 5, 0);
        assert_eq!(indices.compare(&holding("a", 1, 12), 8), []);
        assert_eq!(
            open(&indices),
            [(NAME, LossReason::Emptied, 3)],
            "other documents do not replace them"
        );
        put(&mut indices, "a", 3, 12);
        let changes = indices.confirm_reload(&[NAME.to_owned()], &holding("a", 1, 15));
        assert_eq!(changes.len(), 1);
        assert_eq!(open(&indices), []);
    }

    #[test]
    fn an_accepted_loss_stays_accepted_and_the_next_one_is_told() {
        let mut indices = loaded();
        indices.compare(&Inventory::default(), 7);
        assert!(indices.accept(|name| name == "other", 8).is_empty());
        assert_eq!(indices.accept(|_| true, 8).len(), 1);
        assert_eq!(open(&indices), []);
        assert_eq!(indices.missing[NAME].accepted, Some(8));
        put(&mut indices, "b", 2, 0);
        indices.compare(&holding("b", 2, 2), 9);
        assert_eq!(open(&indices), []);
        indices.compare(&Inventory::default(), 10);
        assert_eq!(open(&indices), [(NAME, LossReason::Deleted, 2)]);
    }

    #[test]
    fn an_index_that_nothing_went_to_is_not_missed() {
        let mut indices = LoadedIndices::default();
        put(&mut indices, "a", 0, 0);
        assert_eq!(indices.compare(&Inventory::default(), 7), []);
        assert!(indices.missing.is_empty());
    }

    #[test]
    fn an_identity_that_was_not_told_is_learned_later() {
        let mut indices = LoadedIndices::default();
        let count = IndexCount { index: NAME.to_owned(), created: 3, ..IndexCount::default() };
        indices.add_loaded(&count);
        assert_eq!(indices.compare(&holding("a", 1, 3), 7), []);
        assert_eq!(indices.known[NAME].identity, identity("a", 1));
    }

    #[test]
    fn an_alias_that_was_moved_is_noticed_while_both_indices_are_there() {
        let indices = loaded();
        assert_eq!(indices.moved_alias(&holding("b", 2, 0)), None, "the first one was deleted");
        let mut both = holding("b", 2, 0);
        both.uuids.insert("a".to_owned());
        assert_eq!(indices.moved_alias(&both), Some(NAME));
        assert_eq!(indices.moved_alias(&holding("a", 1, 10)), None);
    }
}
