//! The policies of a search, and what they could not express.
//!
//! Input: documents and remarks. Output: text for standard output, remarks for standard error, or everything as JSON.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde_json::{Value, json};

use super::document::MAX_DOCUMENT_CHARS;
use super::grantee::NoPolicy;

/// The policies of all principals.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyReport {
    /// The policies, sorted by principal.
    pub policies: Vec<PrincipalPolicy>,
    /// Calls of principals that need no policy.
    pub without_policy: BTreeMap<NoPolicy, u64>,
    /// Calls of principals that were too many to be examined.
    pub further: u64,
}

/// The policy of a principal.
#[derive(Clone, Debug, PartialEq)]
pub struct PrincipalPolicy {
    /// Short principal: `role/Admin`.
    pub principal: String,
    /// ARN of the role or user; empty if it is not known.
    pub arn: String,
    /// Calls that were found.
    pub calls: u64,
    /// Policy documents. There are several only if one would exceed the size of a managed policy, and none if nothing is
    /// allowed.
    pub documents: Vec<Value>,
    /// What the documents do not express.
    pub remarks: Vec<PolicyRemark>,
}

/// Something that a policy does not express, or that is missing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRemark {
    /// A statement names a wildcard.
    Wildcard {
        /// Why.
        reason: WildcardReason,
        /// The resource.
        resource: String,
        /// The actions of the statement.
        actions: Vec<String>,
    },
    /// An action was used on so many resources that they were replaced by wildcards.
    Widened {
        /// The action.
        action: String,
        /// The largest number of resources that are named.
        limit: usize,
        /// The resources in the policy.
        resources: Vec<String>,
    },
    /// Events do not show which of several actions they needed; all are allowed.
    Ambiguous {
        /// Name of the events.
        event: String,
        /// The actions.
        actions: Vec<String>,
    },
    /// Events that belong to no action, such as sign-ins.
    NoAction {
        /// Names of the events, and how many there were.
        events: Vec<(String, u64)>,
    },
    /// Calls that were denied and are not allowed.
    Denied {
        /// Their number.
        calls: u64,
    },
    /// Calls of actions that were too many, or whose name is not valid in a policy.
    FurtherActions {
        /// Their number.
        calls: u64,
    },
    /// The policy exceeds the size of a managed policy and was split.
    Split {
        /// Number of documents.
        documents: usize,
    },
}

/// Why a policy names a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WildcardReason {
    /// The action takes no resource, so that IAM requires `*`.
    NoResources,
    /// The events do not contain the resource.
    UnknownResource,
    /// It is not known which resources the action takes, or whether it exists.
    UnknownAction,
}

impl PolicyReport {
    /// Returns the document if there is one, as it can be attached to the principal; if there are several, a line for each
    /// principal: a JSON object with the principal and its documents.
    pub fn to_text(&self) -> String {
        let granted = || self.policies.iter().filter(|policy| !policy.documents.is_empty());
        let mut documents = granted().flat_map(|policy| &policy.documents);
        match (documents.next(), documents.next()) {
            (None, _) => String::new(),
            (Some(document), None) => format!("{document:#}\n"),
            (Some(_), Some(_)) => {
                let mut text = String::new();
                for policy in granted() {
                    let _ = writeln!(text, "{}", policy.to_json());
                }
                text
            }
        }
    }

    /// Returns what the documents do not contain, as lines for standard error.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for policy in &self.policies {
            lines.push(policy.heading());
            lines.extend(policy.remarks.iter().map(|remark| format!("  {remark}")));
        }
        for (reason, calls) in &self.without_policy {
            lines.push(format!("left out: {} of {reason}", counted(*calls, "call")));
        }
        if self.further > 0 {
            lines.push(format!(
                "left out: {} of further principals; --principal narrows the search",
                counted(self.further, "call"),
            ));
        }
        lines
    }

    /// Returns everything as one JSON value.
    pub fn to_json(&self) -> Value {
        let policies: Vec<Value> = self.policies.iter().map(PrincipalPolicy::to_json).collect();
        json!({"policies": policies, "remarks": self.further_remarks()})
    }

    fn further_remarks(&self) -> Vec<String> {
        let own: usize = self.policies.iter().map(|policy| policy.remarks.len() + 1).sum();
        self.remarks().split_off(own)
    }
}

impl PrincipalPolicy {
    fn heading(&self) -> String {
        let Self { principal, arn, calls, documents, .. } = self;
        let actions: usize = documents
            .iter()
            .filter_map(|document| document["Statement"].as_array())
            .flatten()
            .filter_map(|statement| statement["Action"].as_array())
            .map(Vec::len)
            .sum();
        let arn = if arn.is_empty() { String::new() } else { format!(" ({arn})") };
        let grants = if actions == 0 {
            "nothing to allow".to_owned()
        } else {
            format!("allows {}", counted(actions as u64, "action"))
        };
        format!("{principal}{arn}: {}, {grants}", counted(*calls, "call"))
    }

    fn to_json(&self) -> Value {
        let remarks: Vec<String> = self.remarks.iter().map(ToString::to_string).collect();
        json!({
            "principal": self.principal,
            "arn": self.arn,
            "calls": self.calls,
            "documents": self.documents,
            "remarks": remarks,
        })
    }
}

impl fmt::Display for PolicyRemark {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard { reason, resource, actions } => {
                write!(to, "Resource \"{resource}\" for {}: {reason}", actions.join(", "))
            }
            Self::Widened { action, limit, resources } => write!(
                to,
                "{action} was used on more than {limit} resources; allowed on {}",
                resources.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", "),
            ),
            Self::Ambiguous { event, actions } => write!(
                to,
                "{event} does not show which of these actions it needed, so all are allowed: {}",
                actions.join(", "),
            ),
            Self::NoAction { events } => {
                let names: Vec<String> =
                    events.iter().map(|(name, count)| format!("{name} ({count})")).collect();
                write!(to, "belongs to no IAM action: {}", names.join(", "))
            }
            Self::Denied { calls } => write!(
                to,
                "left out: {} denied; --include-denied allows {}",
                counted_were(*calls),
                if *calls == 1 { "it" } else { "them" },
            ),
            Self::FurtherActions { calls } => {
                write!(to, "left out: {} of further or invalid actions", counted(*calls, "call"))
            }
            Self::Split { documents } => write!(
                to,
                "split into {documents} documents, because a managed policy has at most {MAX_DOCUMENT_CHARS} characters",
            ),
        }
    }
}

impl fmt::Display for WildcardReason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NoResources => "takes no resource",
            Self::UnknownResource => "the events do not name the resource",
            Self::UnknownAction => "not in the list of IAM actions, so its resources are unknown",
        })
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn counted_were(calls: u64) -> String {
    format!("{} that {}", counted(calls, "call"), if calls == 1 { "was" } else { "were" })
}
