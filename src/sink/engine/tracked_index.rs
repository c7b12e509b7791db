//! What a run knows about each index that it writes to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::event::IndexIdentity;
use crate::sink::cause::Cause;

/// How long an index counts as expired: `trailload setup` may make the retention longer, and a load may run for weeks.
const EXPIRY_TTL: Duration = Duration::from_hours(1);

/// The state of an index, under the name that documents are written to.
#[derive(Debug, Default)]
pub(super) struct TrackedIndex {
    /// One more than the number of discovered fields that it has; 0 before the first look, the maximum once it accepts no
    /// more.
    fields_plus_one: AtomicU32,
    /// Whether its mapping is not managed by trailload, as [`LiveMapping::is_foreign`].
    is_foreign: AtomicBool,
    /// Version of the field registry since which it considers fields unmapped that the index did not accept; 0 if it accepted
    /// all.
    unmapped_since: AtomicU64,
    /// Which index it was when documents were first written to it, if the engine reports that.
    pub(super) identity: OnceLock<IndexIdentity>,
    /// Which index it was when it was last looked at, if the engine reports that.
    sighting: Lock<Option<Sighting>>,
    /// Since when all its events are known to be older than the retention.
    expired: Lock<Option<Instant>>,
    pub(super) live: Mutex<LiveMapping>,
    /// The index itself, if the name is an alias.
    concrete_index: Lock<Option<String>>,
    /// Why it accepts no documents in this run, if so.
    pub(super) unwritable: OnceLock<Cause>,
    /// The ingest pipelines in its settings, and when they were read.
    pub(super) pipelines: Mutex<Option<(Instant, Vec<String>)>>,
    /// Whether there was a warning about a pipeline.
    pub(super) warned_of_pipeline: AtomicBool,
}

/// The UUID of an index at a point in time.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) uuid: String,
    pub(super) at: Instant,
}

/// The mapping of an index as the engine returned it.
#[derive(Debug, Default)]
pub(super) struct LiveMapping {
    /// When it was read.
    pub(super) read: Option<Instant>,
    /// The mapping.
    pub(super) mapping: Arc<Value>,
    /// Whether it is not managed by trailload.
    pub(super) is_foreign: bool,
}

/// How many discovered fields an index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldsReady {
    /// It was not looked at.
    Unknown,
    /// It has so many, and accepts more.
    Count(u32),
    /// It accepts no more.
    Full,
}

impl TrackedIndex {
    /// Returns how many discovered fields the index has.
    pub(super) fn fields(&self) -> FieldsReady {
        match self.fields_plus_one.load(Ordering::Acquire) {
            0 => FieldsReady::Unknown,
            u32::MAX => FieldsReady::Full,
            number => FieldsReady::Count(number - 1),
        }
    }

    /// Records how many discovered fields the index has, and whether its mapping is foreign.
    pub(super) fn set_fields(&self, fields: FieldsReady, live: &LiveMapping) {
        let number = match fields {
            FieldsReady::Unknown => 0,
            FieldsReady::Count(fields) => fields + 1,
            FieldsReady::Full => u32::MAX,
        };
        self.is_foreign.store(live.is_foreign, Ordering::Release);
        self.fields_plus_one.store(number, Ordering::Release);
    }

    /// Returns whether the index has the first `fields` discovered fields, or accepts no more of them.
    pub(super) fn has_fields(&self, fields: u32) -> bool {
        self.fields_plus_one.load(Ordering::Acquire) > fields
    }

    /// Returns whether the mapping is not managed by trailload.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign.load(Ordering::Acquire)
    }

    /// Records that fields were refused, which the field registry considers unmapped since this version.
    pub(super) fn set_unmapped_since(&self, fields_version: u64) {
        self.unmapped_since.fetch_max(fields_version, Ordering::AcqRel);
    }

    /// Returns whether documents that were normalized with this version of the field registry may have values without a
    /// field and without a term.
    pub(super) fn may_lack_terms(&self, fields_version: u64) -> bool {
        fields_version < self.unmapped_since.load(Ordering::Acquire)
    }

    /// Returns which index it was when it was last looked at.
    pub(super) fn sighting(&self) -> Option<Sighting> {
        self.sighting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records which index it is now.
    pub(super) fn set_sighting(&self, sighting: Option<Sighting>) {
        *self.sighting.lock().unwrap_or_else(PoisonError::into_inner) = sighting;
    }

    /// Forgets what the index is like: it was deleted, or another one has its name.
    pub(super) fn forget(&self) {
        self.fields_plus_one.store(0, Ordering::Release);
        self.set_sighting(None);
    }

    /// Records that all events of the index are older than the retention.
    pub(super) fn set_expired(&self) {
        *self.expired.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns whether all events of the index are older than the retention.
    pub(super) fn has_expired(&self) -> bool {
        let since = *self.expired.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < EXPIRY_TTL)
    }

    /// Returns the index itself, if the name is an alias.
    pub(super) fn concrete_index(&self) -> Option<String> {
        self.concrete_index.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the index of an alias, or that the name is the index itself.
    pub(super) fn set_concrete_index(&self, index: Option<String>) {
        *self.concrete_index.lock().unwrap_or_else(PoisonError::into_inner) = index;
    }
}

/// The states of all indices, by name.
#[derive(Debug, Default)]
pub(super) struct TrackedIndices(Lock<HashMap<String, Arc<TrackedIndex>>>);

impl TrackedIndices {
    /// Returns the state of an index, which is the default one if the name is new.
    pub(super) fn get(&self, name: &str) -> Arc<TrackedIndex> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get(name) {
            return Arc::clone(state);
        }
        Arc::clone(states.entry(name.to_owned()).or_default())
    }

    /// Returns all names and states.
    pub(super) fn all(&self) -> Vec<(String, Arc<TrackedIndex>)> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| (name.clone(), Arc::clone(state))).collect()
    }
}
