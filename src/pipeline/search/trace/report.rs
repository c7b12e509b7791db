//! The trees of a trace, as text for a terminal and as JSON.
//!
//! Input: credentials with the steps between them. Output: a tree for each first identity.
//! Invariant: text from events is escaped before it is printed.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    credential_use::{CredentialUse, Owner, ValueCounts},
    issuance::Issuance,
};
use crate::report::{format, terminal::escape_unprintable};

/// Values that a line of text shows; JSON contains all.
const SHOWN_VALUES: usize = 3;

/// Calls that a line of text shows.
const SHOWN_EVENTS: usize = 5;

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceReport {
    /// What was traced.
    pub target: String,
    /// A tree for each identity at the end of a chain.
    pub trees: Vec<TraceNode>,
    /// Credentials of the target that are not in the trees, because they are too many.
    pub further: usize,
    /// Events whose credential was not kept, because there were too many.
    pub dropped: u64,
}

/// A credential in a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceNode {
    /// Short principal: `role/Admin/alice`.
    pub principal: String,
    /// ARN of the user or session; empty if it is not known.
    pub arn: String,
    /// Account of the principal; empty if it is not known.
    pub account: String,
    /// Access key; empty if the calls contain none.
    pub access_key: String,
    /// Source identity of the session; empty if it has none.
    pub source_identity: String,
    /// Id of the Identity Center user on whose behalf the calls were made; empty if there is none.
    pub on_behalf_of: String,
    /// Whether a second factor was used for the session.
    pub has_mfa: bool,
    /// Whether it is one of the credentials that are traced.
    pub is_target: bool,
    /// The call that handed it out.
    pub(super) step: Option<Step>,
    /// What was done with it.
    pub(super) used: Option<CredentialUse>,
    /// Why the chain has no further step; only at the root.
    pub end: Option<ChainEnd>,
    /// Credentials that were handed out to it.
    pub children: Vec<TraceNode>,
}

/// Why a chain has no further step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// A user, a service or an identity provider: its credentials were not issued by a call.
    FirstIdentity,
    /// The credential of an instance of EC2, which the instance receives from the service.
    Instance(String),
    /// The events contain no call that handed out the credential.
    MissingIssuance,
    /// The caller belongs to an account whose events were not read.
    OtherAccount(String),
    /// The chain comes back to a credential in it.
    Loop,
}

/// How a credential was matched with the call that handed it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepLink {
    /// By its access key.
    AccessKey,
    /// By session and time.
    Session,
    /// By permission set, user and time.
    PermissionSet,
    /// By the session only: the call handed out another access key for it.
    SessionName,
}

/// The call that handed out a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    name: String,
    event_id: String,
    time: Option<Timestamp>,
    address: String,
    user_agent: String,
    mfa: String,
    link: StepLink,
}

impl Step {
    pub(super) fn new(issuance: &Issuance, link: StepLink) -> Self {
        let Issuance { name, event_id, time, address, user_agent, issued, .. } = issuance.clone();
        Self { name, event_id, time, address, user_agent, mfa: issued.mfa, link }
    }

    fn to_json(&self) -> Value {
        let link = match self.link {
            StepLink::AccessKey => "access key",
            StepLink::Session => "session",
            StepLink::PermissionSet => "permission set",
            StepLink::SessionName => "session name",
        };
        json!({
            "eventName": self.name, "eventID": self.event_id, "eventTime": self.time.map(|time| time.to_string()),
            "sourceIPAddress": self.address, "userAgent": self.user_agent, "mfaSerialNumber": self.mfa,
            "matchedBy": link,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&escape_unprintable(&self.name))?;
        if let Some(time) = self.time {
            write!(to, " at {time}")?;
        }
        if !self.address.is_empty() {
            write!(to, " from {}", escape_unprintable(&self.address))?;
        }
        if !self.user_agent.is_empty() {
            write!(to, " with {}", shortened(&self.user_agent))?;
        }
        if !self.mfa.is_empty() {
            to.write_str(", with a second factor")?;
        }
        if self.link == StepLink::SessionName {
            to.write_str(" (by the name of the session)")?;
        }
        if self.link == StepLink::PermissionSet {
            to.write_str(" (by permission set and time)")?;
        }
        if !self.event_id.is_empty() {
            write!(to, ", event {}", escape_unprintable(&self.event_id))?;
        }
        Ok(())
    }
}

impl TraceNode {
    pub(super) fn new(
        owner: &Owner,
        used: Option<&CredentialUse>,
        step: Option<Step>,
        children: Vec<Self>,
    ) -> Self {
        Self {
            principal: owner.principal.clone(),
            arn: owner.arn.clone(),
            account: owner.account.clone(),
            access_key: owner.access_key.clone(),
            source_identity: owner.source_identity.clone(),
            on_behalf_of: owner.on_behalf_of.clone(),
            has_mfa: owner.has_mfa,
            is_target: false,
            step,
            used: used.cloned(),
            end: None,
            children,
        }
    }

    pub(super) fn with_target(self, is_target: bool) -> Self {
        Self { is_target, ..self }
    }

    /// Returns the number of calls that were found.
    pub fn calls(&self) -> u64 {
        self.used.as_ref().map_or(0, |used| used.calls)
    }

    /// Returns when the credential was handed out or first used.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        let issued = self.step.as_ref().and_then(|step| step.time);
        issued.or_else(|| self.used.as_ref()?.times.map(|(first, _)| first))
    }

    fn heading(&self) -> String {
        let mut line = escape_unprintable(&self.principal);
        for text in [&self.access_key, &self.arn] {
            if !text.is_empty() {
                let _ = write!(line, "  {}", escape_unprintable(text));
            }
        }
        if self.is_target {
            line.push_str("  ◀ traced");
        }
        line
    }

    /// Returns what is known about the credential, a line each.
    fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(end) = &self.end {
            lines.push(end.to_string());
        }
        if !self.source_identity.is_empty() {
            lines.push(format!("source identity: {}", escape_unprintable(&self.source_identity)));
        }
        if !self.on_behalf_of.is_empty() {
            let user = escape_unprintable(&self.on_behalf_of);
            lines.push(format!("on behalf of the Identity Center user {user}"));
        }
        match &self.used {
            None => lines.push("no calls found".to_owned()),
            Some(used) => {
                lines.push(calls_line(used));
                lines.extend(values_line("from", &used.addresses, SHOWN_VALUES));
                lines.extend(values_line("with", &used.user_agents, SHOWN_VALUES));
                lines.extend(values_line("did", &used.events, SHOWN_EVENTS));
            }
        }
        lines
    }

    fn write_text(&self, text: &mut String, indent: &str) {
        let _ = writeln!(text, "{indent}{}", self.heading());
        let rest = if self.children.is_empty() { "   " } else { "│  " };
        for line in self.details() {
            let _ = writeln!(text, "{indent}{rest}{line}");
        }
        for (number, child) in self.children.iter().enumerate() {
            let is_last = number + 1 == self.children.len();
            let (branch, rest) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let step = child.step.as_ref().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "{indent}{branch}{step}");
            child.write_text(text, &format!("{indent}{rest}"));
        }
    }

    fn to_json(&self) -> Value {
        let children: Vec<Value> = self.children.iter().map(Self::to_json).collect();
        json!({
            "principal": self.principal, "arn": self.arn, "accountId": self.account, "accessKeyId": self.access_key,
            "sourceIdentity": self.source_identity, "onBehalfOf": self.on_behalf_of, "mfaAuthenticated": self.has_mfa, "traced": self.is_target,
            "issuedBy": self.step.as_ref().map(Step::to_json),
            "end": self.end.as_ref().map(ToString::to_string),
            "use": self.used.as_ref().map(use_to_json),
            "issued": children,
        })
    }
}

impl TraceReport {
    /// Returns whether no credential of the target was found.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Returns the trees as text, with a newline at the end of each line.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (number, tree) in self.trees.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            tree.write_text(&mut text, "");
        }
        text
    }

    /// Returns the trees as JSON.
    pub fn to_json(&self) -> Value {
        let trees: Vec<Value> = self.trees.iter().map(TraceNode::to_json).collect();
        json!({"target": self.target, "trees": trees, "furtherCredentials": self.further, "droppedEvents": self.dropped})
    }

    /// Returns what the trees do not contain, as lines for standard error.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.is_empty() {
            lines.push(format!("no call of '{}' was found", escape_unprintable(&self.target)));
        }
        if self.further > 0 {
            lines.push(format!("{} further credentials match and are not shown", self.further));
        }
        if self.dropped > 0 {
            lines.push(format!(
                "{} events belong to more credentials than fit into memory, so the chains may be incomplete; a shorter time range avoids that",
                self.dropped
            ));
        }
        lines
    }
}

impl fmt::Display for ChainEnd {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstIdentity => to.write_str("first identity"),
            Self::Instance(id) => {
                write!(to, "first identity: credentials of the EC2 instance {}", escape_unprintable(id))
            }
            Self::MissingIssuance => to.write_str(
                "chain incomplete: the call that handed out this credential is not among the events read",
            ),
            Self::OtherAccount(account) => write!(
                to,
                "chain incomplete: the events of account {} were not read",
                escape_unprintable(account)
            ),
            Self::Loop => to.write_str("chain comes back to itself; cut here"),
        }
    }
}

fn calls_line(used: &CredentialUse) -> String {
    let mut line = format::plural(used.calls, "call");
    if used.errors > 0 {
        let _ = write!(line, " ({} failed)", format::count(used.errors));
    }
    if let Some((first, last)) = used.times {
        let _ = if first == last {
            write!(line, " at {first}")
        } else {
            write!(line, " from {first} to {last}")
        };
    }
    line
}

fn values_line<const LIMIT: usize>(
    verb: &str,
    counts: &ValueCounts<LIMIT>,
    shown: usize,
) -> Option<String> {
    let sorted = counts.sorted();
    if sorted.is_empty() {
        return None;
    }
    let value =
        |(value, count): &(&str, u64)| format!("{} ({})", shortened(value), format::count(*count));
    let mut values: Vec<String> = sorted.iter().take(shown).map(value).collect();
    let rest: u64 =
        sorted.iter().skip(shown).map(|(_, count)| count).sum::<u64>() + counts.others();
    if rest > 0 {
        values.push(format!("others ({})", format::count(rest)));
    }
    Some(format!("{verb} {}", values.join(", ")))
}

/// Returns a text for a line that holds several; JSON contains the whole text.
fn shortened(text: &str) -> String {
    /// Enough for the name and the version of a program.
    const MAX_CHARS: usize = 60;
    let text = escape_unprintable(text);
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn use_to_json(used: &CredentialUse) -> Value {
    json!({
        "calls": used.calls,
        "errors": used.errors,
        "first": used.times.map(|(first, _)| first.to_string()),
        "last": used.times.map(|(_, last)| last.to_string()),
        "sourceIPAddresses": counts_to_json(&used.addresses),
        "userAgents": counts_to_json(&used.user_agents),
        "events": counts_to_json(&used.events),
    })
}

fn counts_to_json<const LIMIT: usize>(counts: &ValueCounts<LIMIT>) -> Value {
    let sorted = counts.sorted();
    let values: Vec<Value> =
        sorted.into_iter().map(|(value, count)| json!({"value": value, "count": count})).collect();
    json!({"values": values, "others": counts.others()})
}
