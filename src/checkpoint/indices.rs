//! Which indices the documents went to, and whether they are still there.
//!
//! In: what runs put into each index, and an [`Inventory`] of the engine. Out: what is missing, and [`Change`]s to tell.
//! Invariant: documents that were in an index are either in it now, or in [`Missing`], until they are loaded again or the
//! user accepts that they are gone.
//! Absent on purpose: SQL (see `store`), and the engine.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{HeldIndex, IndexCount, IndexIdentity, Inventory};

/// An index that documents went to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Which index it is.
    pub identity: IndexIdentity,
    /// Documents that were new in it.
    pub created: u64,
    /// Documents that it held already; what came twice counts twice.
    pub already_there: u64,
    /// Documents that it held when the engine was asked last.
    pub held: Option<u64>,
}

/// What happened to documents that were in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The index is gone.
    Deleted,
    /// Another index has its name.
    Recreated,
    /// The index holds fewer documents than it did.
    Emptied,
}

/// Documents that were in an index and are there no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which index held them.
    pub identity: IndexIdentity,
    /// What happened to them.
    pub why: Why,
    /// How many are missing.
    pub documents: u64,
    /// How many documents the index must hold to be complete again.
    pub wanted: u64,
    /// When it was noticed, in milliseconds of the Unix epoch.
    pub found: i64,
    /// When the user accepted it, in milliseconds of the Unix epoch.
    pub accepted: Option<i64>,
}

/// What a comparison found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Documents are missing that were there at the last comparison.
    Lost(String, Missing),
    /// The index came back from a snapshot with all its documents.
    Restored(String, u64),
    /// Documents that were missing are there again.
    Complete(String, u64),
}

/// Every index that documents went to, and what is missing, by the names that documents were sent under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indices {
    /// The indices.
    pub known: BTreeMap<String, Known>,
    /// What is missing.
    pub missing: BTreeMap<String, Missing>,
}

impl Known {
    /// Returns how many documents the index must hold.
    ///
    /// `created` alone may be too low: a run that was killed did not write down all that it created, and the next one
    /// found it there. `created + already_there` may be too high: an event that comes twice counts twice. What the
    /// engine counted lies between them.
    pub fn expected(&self) -> u64 {
        let most = self.created.saturating_add(self.already_there);
        self.held.map_or(self.created, |held| held.min(most).max(self.created))
    }
}

impl Why {
    const ALL: [Self; 3] = [Self::Deleted, Self::Recreated, Self::Emptied];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Recreated => "recreated",
            Self::Emptied => "emptied",
        }
    }

    /// Returns what a word stands for.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == word)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

impl Indices {
    /// Takes in documents that are in an index. The first identity that is told of it stays until the next comparison.
    pub fn settled(&mut self, count: &IndexCount) {
        let known = self.known.entry(count.index.clone()).or_default();
        if known.identity.uuid.is_empty()
            && let Some(identity) = &count.identity
        {
            known.identity = identity.clone();
        }
        known.created += count.created;
        known.already_there += count.already_there;
    }

    /// Returns the indices that hold fewer documents than they should, if what the engine counted is up to date.
    pub fn short_of(&self, inventory: &Inventory) -> Vec<String> {
        let is_short = |(name, known): &(&String, &Known)| {
            let held = inventory.indices.get(*name).and_then(|held| held.documents);
            held.is_some_and(|held| held < known.expected())
        };
        self.known.iter().filter(is_short).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the first name that stands for another index now although the index that it stood for is still there:
    /// an alias that was moved. Documents loaded again would be in both.
    pub fn moved(&self, inventory: &Inventory) -> Option<&str> {
        let is_moved = |(name, known): &(&String, &Known)| {
            let now = inventory.indices.get(*name).map(|held| &held.identity.uuid);
            now.is_some_and(|now| *now != known.identity.uuid)
                && inventory.uuids.contains(&known.identity.uuid)
        };
        self.known.iter().find(is_moved).map(|(name, _)| name.as_str())
    }

    /// Compares what documents went to with what the engine holds `now` (in milliseconds of the Unix epoch).
    pub fn compare(&mut self, inventory: &Inventory, now: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, known) in std::mem::take(&mut self.known) {
            match inventory.indices.get(&name) {
                None => changes.extend(self.lose(&name, &known, Why::Deleted, now)),
                Some(held) => changes.extend(self.meet(name, known, held, now)),
            }
        }
        changes.extend(self.recover(inventory));
        changes
    }

    /// Compares one index that is there.
    fn meet(
        &mut self,
        name: String,
        mut known: Known,
        held: &HeldIndex,
        now: i64,
    ) -> Option<Change> {
        let HeldIndex { identity, documents } = held;
        let is_same = known.identity.uuid.is_empty() || known.identity.uuid == identity.uuid;
        let is_restored = !is_same && known.identity.made == identity.made;
        let expected = known.expected();
        let change = if !is_same && !is_restored {
            let change = self.lose(&name, &known, Why::Recreated, now);
            known = Known::default();
            change
        } else if documents.is_some_and(|documents| documents < expected) {
            let change = self.lose(&name, &known, Why::Emptied, now);
            known.created = documents.unwrap_or(0);
            known.already_there = 0;
            self.missing.entry(name.clone()).and_modify(|missing| {
                missing.documents -= known.created;
                missing.identity = identity.clone();
            });
            change.map(|_| Change::Lost(name.clone(), self.missing[&name].clone()))
        } else {
            is_restored.then(|| Change::Restored(name.clone(), expected))
        };
        known.identity = identity.clone();
        known.held = documents.or(known.held);
        self.known.insert(name, known);
        change
    }

    /// Writes down that all documents of an index are missing. One that held nothing of ours loses nothing.
    fn lose(&mut self, name: &str, known: &Known, why: Why, now: i64) -> Option<Change> {
        let expected = known.expected();
        if expected == 0 {
            return None;
        }
        // What was missing before, and was not accepted, is missing still.
        let before = self.missing.get(name).filter(|missing| missing.accepted.is_none());
        let before = before.map_or(0, |missing| missing.documents);
        let missing = Missing {
            identity: known.identity.clone(),
            why,
            documents: before + expected,
            wanted: before + expected,
            found: now,
            accepted: None,
        };
        self.missing.insert(name.to_owned(), missing.clone());
        Some(Change::Lost(name.to_owned(), missing))
    }

    /// Forgets what is missing where the very index that held it is back, with all of it.
    fn recover(&mut self, inventory: &Inventory) -> Vec<Change> {
        let is_back = |name: &String, missing: &Missing| {
            let Some(held) = inventory.indices.get(name) else { return false };
            let Missing { identity, documents, .. } = missing;
            let same = held.identity.uuid == identity.uuid || held.identity.made == identity.made;
            let since = self.known.get(name).map_or(0, |known| known.created);
            same && held.documents.is_none_or(|held| held >= since + documents)
        };
        let back: Vec<_> =
            self.missing.iter().filter(|(name, missing)| is_back(name, missing)).collect();
        let back: Vec<String> = back.into_iter().map(|(name, _)| name.clone()).collect();
        back.into_iter().filter_map(|name| self.complete(name, inventory)).collect()
    }

    /// Forgets what is missing of indices that were loaded again as a whole, if they hold as much as they did.
    pub fn reloaded(&mut self, names: &[String], inventory: &Inventory) -> Vec<Change> {
        let is_complete = |name: &&String| {
            let held = inventory.indices.get(*name).map(|held| held.documents);
            let wanted = self.missing.get(*name).map(|missing| missing.wanted);
            // Where documents cannot be counted, that all was read again has to do.
            held.zip(wanted).is_some_and(|(held, wanted)| held.is_none_or(|held| held >= wanted))
        };
        let complete: Vec<String> = names.iter().filter(is_complete).cloned().collect();
        complete.into_iter().filter_map(|name| self.complete(name, inventory)).collect()
    }

    fn complete(&mut self, name: String, inventory: &Inventory) -> Option<Change> {
        let missing = self.missing.remove(&name)?;
        if let Some(held) = inventory.indices.get(&name) {
            let known = self.known.entry(name.clone()).or_default();
            known.identity = held.identity.clone();
            known.created = known.created.max(missing.wanted);
            known.held = held.documents;
        }
        missing.accepted.is_none().then_some(Change::Complete(name, missing.wanted))
    }

    /// Accepts what is missing of the indices that `is_meant`, and returns them.
    pub fn accept(&mut self, is_meant: impl Fn(&str) -> bool, now: i64) -> Vec<(String, Missing)> {
        let open = |(name, missing): &(&String, &mut Missing)| {
            missing.accepted.is_none() && is_meant(name)
        };
        let accepted = self.missing.iter_mut().filter(open).map(|(name, missing)| {
            missing.accepted = Some(now);
            (name.clone(), missing.clone())
        });
        accepted.collect()
    }

    /// Returns what is missing and not accepted.
    pub fn open(&self) -> impl Iterator<Item = (&String, &Missing)> {
        self.missing.iter().filter(|(_, missing)| missing.accepted.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ct-2024.06";

    fn identity(uuid: &str, made: i64) -> IndexIdentity {
        IndexIdentity { uuid: uuid.to_owned(), made }
    }

    /// What the engine holds if it holds this one index.
    fn holding(uuid: &str, made: i64, documents: impl Into<Option<u64>>) -> Inventory {
        let held = HeldIndex { identity: identity(uuid, made), documents: documents.into() };
        Inventory { indices: [(NAME.to_owned(), held)].into(), uuids: [uuid.to_owned()].into() }
    }

    fn put(indices: &mut Indices, uuid: &str, created: u64, already_there: u64) {
        let identity = Some(identity(uuid, 1));
        let index = NAME.to_owned();
        indices.settled(&IndexCount { index, created, already_there, identity });
    }

    /// A run put ten documents into index `a`, and another one met two of them again.
    fn loaded() -> Indices {
        let mut indices = Indices::default();
        put(&mut indices, "a", 10, 0);
        assert_eq!(indices.compare(&holding("a", 1, 10), 0), []);
        put(&mut indices, "a", 0, 2);
        indices
    }

    fn open(indices: &Indices) -> Vec<(&str, Why, u64)> {
        indices.open().map(|(name, lost)| (name.as_str(), lost.why, lost.documents)).collect()
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
        let known = |created, already_there, held| Known {
            created,
            already_there,
            held,
            ..Known::default()
        };
        assert_eq!(known(10, 5, None).expected(), 10);
        assert_eq!(
            known(10, 5, Some(12)).expected(),
            12,
            "a run was killed before it wrote it down"
        );
        assert_eq!(known(10, 5, Some(40)).expected(), 15, "somebody else put some there");
        assert_eq!(known(10, 5, Some(3)).expected(), 10, "not all could be counted yet");
    }

    #[test]
    fn a_deleted_index_is_missing_until_it_is_loaded_again() {
        let mut indices = loaded();
        let changes = indices.compare(&Inventory::default(), 7);
        assert!(
            matches!(&changes[..], [Change::Lost(name, lost)] if name == NAME && lost.found == 7)
        );
        for _ in 0..2 {
            assert_eq!(open(&indices), [(NAME, Why::Deleted, 10)]);
            assert_eq!(indices.compare(&Inventory::default(), 8), [], "it is told as new once");
        }
        // The next night makes the index again, for what is new.
        put(&mut indices, "b", 4, 0);
        indices.compare(&holding("b", 2, 4), 9);
        assert_eq!(open(&indices), [(NAME, Why::Deleted, 10)]);
        // Part of it again, then all.
        put(&mut indices, "b", 5, 4);
        let names = [NAME.to_owned()];
        assert_eq!(indices.reloaded(&names, &holding("b", 2, 9)), []);
        assert_eq!(indices.reloaded(&[], &holding("b", 2, 14)), []);
        put(&mut indices, "b", 5, 9);
        let changes = indices.reloaded(&names, &holding("b", 2, 14));
        assert_eq!(changes, [Change::Complete(NAME.to_owned(), 10)]);
        assert_eq!(open(&indices), []);
        indices.compare(&holding("b", 2, 13), 10);
        assert_eq!(
            open(&indices),
            [(NAME, Why::Emptied, 1)],
            "from then on it is watched as before"
        );
    }

    #[test]
    fn an_index_of_the_same_name_is_another_one() {
        let mut indices = loaded();
        indices.compare(&holding("b", 2, 50), 7);
        assert_eq!(open(&indices), [(NAME, Why::Recreated, 10)], "however much it holds");
        // It is lost once more before anything was done about the first loss.
        put(&mut indices, "b", 3, 0);
        indices.compare(&holding("c", 3, 0), 8);
        assert_eq!(open(&indices), [(NAME, Why::Recreated, 13)]);
    }

    #[test]
    fn an_index_restored_from_a_snapshot_is_the_same_if_it_holds_everything() {
        let mut indices = loaded();
        let changes = indices.compare(&holding("b", 1, 10), 7);
        assert_eq!(changes, [Change::Restored(NAME.to_owned(), 10)]);
        assert_eq!(indices.compare(&holding("b", 1, 10), 8), [], "told once");
        let mut indices = loaded();
        indices.compare(&holding("b", 1, 6), 7);
        assert_eq!(open(&indices), [(NAME, Why::Emptied, 4)], "an older snapshot");
    }

    #[test]
    fn a_deleted_index_that_is_restored_is_complete_again() {
        let mut indices = loaded();
        indices.compare(&Inventory::default(), 7);
        assert_eq!(indices.compare(&holding("b", 1, 9), 8), []);
        let changes = indices.compare(&holding("b", 1, 10), 9);
        assert_eq!(changes, [Change::Complete(NAME.to_owned(), 10)]);
        assert_eq!(open(&indices), []);
        assert_eq!(indices.known[NAME].expected(), 10);
    }

    #[test]
    fn documents_that_are_deleted_are_missing_also_when_others_come() {
        let mut indices = loaded();
        assert_eq!(indices.short_of(&holding("a", 1, 7)), [NAME]);
        indices.compare(&holding("a", 1, 7), 7);
        assert_eq!(open(&indices), [(NAME, Why::Emptied, 3)]);
        put(&mut indices, "a", 5, 0);
        assert_eq!(indices.compare(&holding("a", 1, 12), 8), []);
        assert_eq!(open(&indices), [(NAME, Why::Emptied, 3)], "others are no replacement");
        put(&mut indices, "a", 3, 12);
        let changes = indices.reloaded(&[NAME.to_owned()], &holding("a", 1, 15));
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
        assert_eq!(open(&indices), [(NAME, Why::Deleted, 2)]);
    }

    #[test]
    fn an_index_that_nothing_went_to_is_not_missed() {
        let mut indices = Indices::default();
        put(&mut indices, "a", 0, 0);
        assert_eq!(indices.compare(&Inventory::default(), 7), []);
        assert!(indices.missing.is_empty());
    }

    #[test]
    fn an_identity_that_was_not_told_is_learned_later() {
        let mut indices = Indices::default();
        let count = IndexCount { index: NAME.to_owned(), created: 3, ..IndexCount::default() };
        indices.settled(&count);
        assert_eq!(indices.compare(&holding("a", 1, 3), 7), []);
        assert_eq!(indices.known[NAME].identity, identity("a", 1));
    }

    #[test]
    fn an_alias_that_was_moved_is_noticed_while_both_indices_are_there() {
        let indices = loaded();
        assert_eq!(indices.moved(&holding("b", 2, 0)), None, "the first one is gone");
        let mut both = holding("b", 2, 0);
        both.uuids.insert("a".to_owned());
        assert_eq!(indices.moved(&both), Some(NAME));
        assert_eq!(indices.moved(&holding("a", 1, 10)), None);
    }
}
