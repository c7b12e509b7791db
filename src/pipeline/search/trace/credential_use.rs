//! What was done with a credential: who it belongs to, when and from where it was used, and for which calls.
//!
//! Input: events of one credential. Output: counts.
//! Invariant: of each kind of value, the first in alphabetical order are counted on their own, as many as fit; so the result
//! does not depend on the order of the events.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::filter::{event_header::has_error, principal::Identity, time_bounds::event_time};

/// Addresses, and programs, that are counted on their own. An access key is rarely used from more.
const MAX_ORIGINS: usize = 24;

/// Calls that are counted on their own. Few principals use more.
const MAX_EVENTS: usize = 256;

/// Longest text of an event that is kept, in bytes; a user agent has 256 at most.
const MAX_TEXT: usize = 256;

/// The use of a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CredentialUse {
    /// Who it belongs to.
    pub(super) owner: Owner,
    /// Calls that were found.
    pub(super) calls: u64,
    /// Calls of these that failed.
    pub(super) errors: u64,
    /// First and last call.
    pub(super) times: Option<(Timestamp, Timestamp)>,
    pub(super) addresses: ValueCounts<MAX_ORIGINS>,
    pub(super) user_agents: ValueCounts<MAX_ORIGINS>,
    /// `s3:GetObject` and the like, by event source and name.
    pub(super) events: ValueCounts<MAX_EVENTS>,
}

/// Who a credential belongs to, as its calls name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// `type` of the identity.
    pub(super) kind: String,
    /// Short principal.
    pub(super) principal: String,
    pub(super) arn: String,
    /// Unique id, for a session with `:` and its name.
    pub(super) principal_id: String,
    pub(super) account: String,
    pub(super) access_key: String,
    /// ARN of the role or user that issued the session.
    pub(super) issuer_arn: String,
    /// When the session was created; empty for long-term credentials.
    pub(super) created: String,
    pub(super) source_identity: String,
    /// Id of the Identity Center user on whose behalf the calls were made.
    pub(super) on_behalf_of: String,
    /// Whether the session belongs to an EC2 instance.
    pub(super) is_instance: bool,
    /// Whether a second factor was used.
    pub(super) has_mfa: bool,
}

/// How often values occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ValueCounts<const LIMIT: usize> {
    counts: BTreeMap<String, u64>,
    others: u64,
    /// Memory of the values.
    bytes: usize,
}

/// Whether there is memory for values that were not counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// There is not; such values are counted together.
    Full,
}

/// Memory of a value in [`ValueCounts`] beside its text: the entry of the map, a share of its node, and the allocation.
const ENTRY_BYTES: usize = 64;

/// Returns what identifies a credential: its access key or, without one, its ARN or id, or the id of an Identity Center
/// user. Services have none.
pub(super) fn credential_id<'a>(identity: &Identity<'a>) -> Option<Cow<'a, str>> {
    if identity.kind == Some("AWSService") {
        return None;
    }
    let name = identity.access_key.or(identity.arn).or(identity.principal_id);
    name.map(bounded)
        .or_else(|| identity.on_behalf_of.map(|_| bounded(&identity.short()).into_owned().into()))
}

impl CredentialUse {
    /// Returns the use by one call.
    pub(super) fn of_event(event: &Value, identity: &Identity<'_>) -> Self {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let source = text("eventSource");
        let service = source.strip_suffix(".amazonaws.com").unwrap_or(source);
        let mut used = Self {
            owner: Owner::new(event, identity),
            calls: 1,
            errors: has_error(event).into(),
            times: event_time(event).map(|time| (time, time)),
            ..Self::default()
        };
        used.addresses.add(text("sourceIPAddress"), 1);
        used.user_agents.add(text("userAgent"), 1);
        used.events.add(&format!("{service}:{}", text("eventName")), 1);
        used
    }

    /// Adds other calls with the same credential.
    pub(super) fn merge(&mut self, other: Self, room: Room) {
        // Members may be missing in some calls; which call was first must not matter.
        self.owner.add_missing(other.owner);
        self.calls += other.calls;
        self.errors += other.errors;
        self.add_times(other.times);
        self.addresses.merge(other.addresses, room);
        self.user_agents.merge(other.user_agents, room);
        self.events.merge(other.events, room);
    }

    /// Returns the memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let values = self.addresses.bytes + self.user_agents.bytes + self.events.bytes;
        size_of::<Self>() + self.owner.bytes() + values
    }

    fn add_times(&mut self, times: Option<(Timestamp, Timestamp)>) {
        self.times = match (self.times, times) {
            (Some((first, last)), Some((other, latest))) => {
                Some((first.min(other), last.max(latest)))
            }
            (own, other) => own.or(other),
        };
    }
}

impl Owner {
    fn new(event: &Value, identity: &Identity<'_>) -> Self {
        let text = |text: Option<&str>| bounded(text.unwrap_or_default()).into_owned();
        let session = event.get("userIdentity").and_then(|identity| identity.get("sessionContext"));
        let of_session = |key: &str| session.and_then(|session| session.get(key));
        let attribute = |key: &str| {
            let value = of_session("attributes").and_then(|attributes| attributes.get(key));
            text(value.and_then(Value::as_str))
        };
        Self {
            kind: text(identity.kind),
            principal: bounded(&identity.short()).into_owned(),
            arn: text(identity.arn),
            principal_id: text(identity.principal_id),
            account: text(identity.account),
            access_key: text(identity.access_key),
            issuer_arn: text(identity.issuer_arn),
            created: attribute("creationDate"),
            source_identity: text(of_session("sourceIdentity").and_then(Value::as_str)),
            on_behalf_of: text(identity.on_behalf_of),
            is_instance: of_session("ec2RoleDelivery").is_some(),
            has_mfa: attribute("mfaAuthenticated") == "true",
        }
    }

    /// Adds what calls before did not name; of two values, the greater one is kept.
    fn add_missing(&mut self, other: Self) {
        let pairs = [
            (&mut self.kind, other.kind),
            (&mut self.principal, other.principal),
            (&mut self.arn, other.arn),
            (&mut self.principal_id, other.principal_id),
            (&mut self.account, other.account),
            (&mut self.access_key, other.access_key),
            (&mut self.issuer_arn, other.issuer_arn),
            (&mut self.created, other.created),
            (&mut self.source_identity, other.source_identity),
            (&mut self.on_behalf_of, other.on_behalf_of),
        ];
        for (own, other) in pairs {
            if *own < other {
                *own = other;
            }
        }
        self.is_instance |= other.is_instance;
        self.has_mfa |= other.has_mfa;
    }

    fn bytes(&self) -> usize {
        [
            &self.kind,
            &self.principal,
            &self.arn,
            &self.principal_id,
            &self.account,
            &self.access_key,
            &self.issuer_arn,
            &self.created,
            &self.source_identity,
            &self.on_behalf_of,
        ]
        .into_iter()
        .map(String::capacity)
        .sum()
    }

    /// Returns the name of the session, such as `alice` or the id of an instance.
    pub(super) fn session_name(&self) -> Option<&str> {
        self.principal_id.split_once(':').map(|(_, name)| name)
    }
}

impl<const LIMIT: usize> ValueCounts<LIMIT> {
    pub(super) fn add(&mut self, value: &str, count: u64) {
        if value.is_empty() {
            return;
        }
        match self.counts.entry(bounded(value).into_owned()) {
            Entry::Occupied(mut own) => *own.get_mut() += count,
            Entry::Vacant(entry) => {
                self.bytes += entry.key().len() + ENTRY_BYTES;
                entry.insert(count);
            }
        }
        if self.counts.len() > LIMIT
            && let Some((value, count)) = self.counts.pop_last()
        {
            self.bytes -= value.len() + ENTRY_BYTES;
            self.others += count;
        }
    }

    fn merge(&mut self, other: Self, room: Room) {
        self.others += other.others;
        for (value, count) in other.counts {
            if room == Room::Full && !self.counts.contains_key(&value) {
                self.others += count;
            } else {
                self.add(&value, count);
            }
        }
    }

    /// Returns the values, the most frequent first.
    pub(super) fn sorted(&self) -> Vec<(&str, u64)> {
        let mut sorted: Vec<_> =
            self.counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        sorted.sort_by(|(one, count), (other, another)| another.cmp(count).then(one.cmp(other)));
        sorted
    }

    /// Returns the occurrences of values that are not counted on their own.
    pub(super) fn others(&self) -> u64 {
        self.others
    }
}

/// Returns at most [`MAX_TEXT`] bytes of a text.
pub(super) fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    format!("{}…", &text[..end]).into()
}
