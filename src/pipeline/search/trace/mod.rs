//! Who is behind an access key, a role session or a principal: from a credential back to the first identity.
//!
//! ```text
//!  event ─┬─▶ use of a credential: who, when, from where, what
//!         └─▶ issuance: AssumeRole, GetSessionToken, SwitchRole, … hand out another credential
//!  at the end: target ──▶ its issuance ──▶ the credential of the caller ──▶ … ──▶ first identity
//! ```
//!
//! Input: all events of a source, in any order. Output: trees with the first identities as roots.
//! Invariant: one pass, because standard input can be read once only; memory is bounded by the bytes of the credentials and
//! issuances that are kept. When they are full, only those are added that belong to a credential of the target, as far as
//! that is known then. The result does not depend on the order of the events unless these limits were reached, which the
//! report names. A chain that ends in nothing, or in itself, is marked as such.
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

use std::collections::{BTreeMap, HashSet, btree_map::Entry};

use serde_json::Value;

pub use self::report::{ChainEnd, TraceNode, TraceReport};
use self::{
    chain::Chains,
    credential_use::{CredentialUse, Room, credential_id},
    issuance::Issuance,
};
use crate::filter::{glob::Glob, principal::Identity};

/// Memory for the credentials that are kept: about 3,000, or 70 if each has all the values that are counted.
const MAX_CREDENTIAL_BYTES: usize = 6 << 20;

/// Memory for the issuances that are kept: about 7,500. With the tree made of them, a search stays below 100 MB.
const MAX_ISSUANCE_BYTES: usize = 12 << 20;

/// Further memory, of each kind, for what belongs to the credentials of the target.
const RESERVED_BYTES: usize = 2 << 20;

/// Memory of a worker, of each kind, before its part is merged.
const MAX_PART_BYTES: usize = 512 << 10;

/// Names of credentials that are remembered as origins, and as descendants, of the target.
const MAX_LINKED: usize = 5_000;

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
    credential_bytes: usize,
    issuance_bytes: usize,
    /// Keys, ARNs and ids of the credentials of the target, and of those that they come from.
    origins: HashSet<String>,
    /// The same, and of those that they handed out.
    descendants: HashSet<String>,
    /// Events whose credential or issuance was not kept.
    dropped: u64,
}

impl Trace {
    /// Creates a trace without events.
    pub fn new(target: TraceTarget) -> Self {
        Self {
            target,
            credentials: BTreeMap::new(),
            issuances: BTreeMap::new(),
            credential_bytes: 0,
            issuance_bytes: 0,
            origins: HashSet::new(),
            descendants: HashSet::new(),
            dropped: 0,
        }
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
        self.credential_bytes >= MAX_PART_BYTES || self.issuance_bytes >= MAX_PART_BYTES
    }

    /// Returns the trees.
    pub fn finish(self) -> TraceReport {
        let Self { target, credentials, issuances, dropped, .. } = self;
        Chains::new(&credentials, issuances.values()).report(&target, dropped)
    }

    fn add_use(&mut self, id: String, used: CredentialUse) {
        let is_new = !self.credentials.contains_key(&id);
        let is_linked = self.origins.contains(&id)
            || self.descendants.contains(&id)
            || is_new && self.is_of_target(&used);
        let limit = MAX_CREDENTIAL_BYTES + if is_linked { RESERVED_BYTES } else { 0 };
        let room = if self.credential_bytes < limit { Room::Free } else { Room::Full };
        match self.credentials.entry(id) {
            Entry::Occupied(mut own) => {
                let own = own.get_mut();
                self.credential_bytes -= own.bytes();
                own.merge(used, room);
                self.credential_bytes += own.bytes();
            }
            Entry::Vacant(_) if room == Room::Full => self.dropped += used.calls,
            Entry::Vacant(entry) => {
                self.credential_bytes += entry.key().len() + used.bytes();
                entry.insert(used);
            }
        }
    }

    /// Returns whether a credential belongs to the target, and remembers its names.
    fn is_of_target(&mut self, used: &CredentialUse) -> bool {
        let owner = &used.owner;
        let is_matched = owner.is_matched(&self.target);
        if is_matched {
            let names = [&owner.access_key, &owner.arn, &owner.principal_id];
            remember(&mut self.origins, names);
            remember(&mut self.descendants, names);
        }
        is_matched
    }

    fn add_issuance(&mut self, issuance: Issuance) {
        let is_linked = self.is_linked_issuance(&issuance);
        let limit = MAX_ISSUANCE_BYTES + if is_linked { RESERVED_BYTES } else { 0 };
        let is_full = self.issuance_bytes >= limit;
        match self.issuances.entry(issuance.shared_id.clone()) {
            Entry::Occupied(mut own) => {
                let own = own.get_mut();
                self.issuance_bytes -= own.bytes();
                own.merge(issuance);
                self.issuance_bytes += own.bytes();
            }
            Entry::Vacant(_) if is_full => self.dropped += 1,
            Entry::Vacant(entry) => {
                self.issuance_bytes += issuance.bytes();
                entry.insert(issuance);
            }
        }
    }

    /// Returns whether an issuance leads to a credential of the target or away from it, and remembers where it continues.
    fn is_linked_issuance(&mut self, issuance: &Issuance) -> bool {
        let Issuance { caller, issued, .. } = issuance;
        let issued = [&issued.access_key, &issued.arn, &issued.principal_id];
        let caller = [&caller.access_key, &caller.arn, &caller.principal_id, &caller.principal];
        let leads_to_target = is_any(&issued, &self.origins, &self.target);
        let comes_from_target = is_any(&caller, &self.descendants, &self.target);
        if leads_to_target {
            remember(&mut self.origins, caller);
        }
        if comes_from_target {
            remember(&mut self.descendants, issued);
        }
        leads_to_target || comes_from_target
    }
}

/// Returns whether one of the names is remembered or belongs to the target.
fn is_any(names: &[&String], remembered: &HashSet<String>, target: &TraceTarget) -> bool {
    names.iter().any(|name| remembered.contains(name.as_str()))
        || target.matches(names.iter().map(|name| name.as_str()))
}

fn remember<'a>(remembered: &mut HashSet<String>, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        if !name.is_empty() && remembered.len() < MAX_LINKED {
            remembered.insert(name.clone());
        }
    }
}
