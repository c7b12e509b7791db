//! Who is behind an access key, a role session or a principal: from a credential back to the first identity.
//!
//! ```text
//!  event ─┬─▶ use of a credential: who, when, from where, what
//!         └─▶ issuance: AssumeRole, GetSessionToken, SwitchRole, … hand out another credential
//!  at the end: target ──▶ its issuance ──▶ the credential of the caller ──▶ … ──▶ first identity
//! ```
//!
//! Input: all events of a source, in any order. Output: trees with the first identities as roots.
//! Invariant: one pass, because standard input can be read once only; memory is bounded by the number of credentials and
//! issuances that are kept. The result does not depend on the order of the events unless these limits were reached, which
//! the report names. A chain that ends in nothing, or in itself, is marked as such.
//! Not here: which events are read. A trace has to see the calls that hand out credentials, so filters by action would
//! break the chain.
//!
//! | file | responsibility |
//! |---|---|
//! | `credential_use` | what was done with a credential |
//! | `issuance` | calls that hand out credentials |
//! | `chain` | the way from a credential to its issuance |
//! | `report` | trees, as text and as JSON |

mod chain;
mod credential_use;
mod issuance;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::Value;

pub use self::report::{ChainEnd, TraceNode, TraceReport};
use self::{
    chain::Chains,
    credential_use::{CredentialUse, credential_id},
    issuance::Issuance,
};
use crate::filter::{glob::Glob, principal::Identity};

/// Credentials that are kept at most, with about two KiB each.
const MAX_CREDENTIALS: usize = 10_000;

/// Issuances that are kept at most, with about half a KiB each.
const MAX_ISSUANCES: usize = 40_000;

/// The credentials that are traced.
#[derive(Clone, Debug)]
pub struct TraceTarget {
    glob: Glob,
}

impl TraceTarget {
    /// Creates a target from an access key id, the ARN, id or name of a session, or a principal; wildcards are allowed.
    pub fn new(text: &str) -> Self {
        Self { glob: Glob::new(text.trim()) }
    }

    /// Returns the target as it was written.
    pub fn as_str(&self) -> &str {
        self.glob.as_str()
    }

    /// Returns whether one of the names of a credential matches.
    fn matches<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().any(|name| !name.is_empty() && self.glob.matches(name))
    }
}

/// What was done with credentials, and where they come from.
#[derive(Clone, Debug)]
pub struct Trace {
    target: TraceTarget,
    /// By access key, or by ARN for calls without one.
    credentials: BTreeMap<String, CredentialUse>,
    /// By the id that the accounts of a call share, or by event id.
    issuances: BTreeMap<String, Issuance>,
    /// Events whose credential or issuance was not kept.
    dropped: u64,
}

impl Trace {
    /// Creates a trace without events.
    pub fn new(target: TraceTarget) -> Self {
        Self { target, credentials: BTreeMap::new(), issuances: BTreeMap::new(), dropped: 0 }
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Value) {
        let identity = Identity::of_event(event);
        if let Some(id) = credential_id(&identity) {
            self.add_use(id.into_owned(), CredentialUse::of_event(event, &identity));
        }
        if let Some(issuance) = Issuance::of_event(event, &identity) {
            self.add_issuance(issuance);
        }
    }

    /// Adds the events of another worker.
    pub fn merge(&mut self, other: Self) {
        other.credentials.into_iter().for_each(|(id, used)| self.add_use(id, used));
        other.issuances.into_values().for_each(|issuance| self.add_issuance(issuance));
        self.dropped += other.dropped;
    }

    /// Returns whether a part of a worker is so large that it should be merged.
    pub(super) fn is_part_full(&self) -> bool {
        self.credentials.len() >= MAX_CREDENTIALS / 10 || self.issuances.len() >= MAX_ISSUANCES / 10
    }

    /// Returns the trees.
    pub fn finish(self) -> TraceReport {
        let Self { target, credentials, issuances, dropped } = self;
        Chains::new(&credentials, issuances.values()).report(&target, dropped)
    }

    fn add_use(&mut self, id: String, used: CredentialUse) {
        let is_full = self.credentials.len() >= MAX_CREDENTIALS;
        match self.credentials.entry(id) {
            Entry::Occupied(mut own) => own.get_mut().merge(used),
            Entry::Vacant(_) if is_full => self.dropped += used.calls,
            Entry::Vacant(entry) => {
                entry.insert(used);
            }
        }
    }

    fn add_issuance(&mut self, issuance: Issuance) {
        let is_full = self.issuances.len() >= MAX_ISSUANCES;
        match self.issuances.entry(issuance.shared_id.clone()) {
            Entry::Occupied(mut own) => own.get_mut().merge(issuance),
            Entry::Vacant(_) if is_full => self.dropped += 1,
            Entry::Vacant(entry) => {
                entry.insert(issuance);
            }
        }
    }
}
