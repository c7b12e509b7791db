//! The least IAM policy that allows the calls that were found, for each principal.
//!
//! ```text
//!  event ──▶ identity ──▶ actions ──▶ resources ──▶ grants of a principal ──▶ statements ──▶ documents
//! ```
//!
//! Input: events. Output: policy documents, and remarks about what they could not express.
//! Invariant: a policy allows nothing that was not found, except where a remark names it. The output does not depend on
//! the order of the events, and memory is bounded. Calls that were denied are left out unless they are asked for.
//! Not here: the text of a policy for trailload itself (see `cli::policy`).
//!
//! | file | responsibility |
//! |---|---|
//! | `grantee` | whom a policy is for |
//! | `needed_actions` | the IAM actions of an event |
//! | `arn_template`, `parameters`, `resources` | the ARNs that an action was used on |
//! | `grants` | actions, resources and Regions of a principal |
//! | `document` | statements, merged and split into documents |
//! | `report` | policies and remarks, as text and as JSON |

mod arn_template;
mod document;
mod grantee;
mod grants;
mod needed_actions;
mod parameters;
mod report;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::report::{PolicyRemark, PolicyReport, PrincipalPolicy, WildcardReason};
use self::{
    grantee::{Grantee, NoPolicy, grantee},
    grants::Grants,
    needed_actions::{is_denied, needed_actions},
    parameters::CallSite,
    resources::resources,
};

/// Principals that get policies at most.
const MAX_PRINCIPALS: usize = 1_000;

/// What happens to calls that were denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeniedCalls {
    /// They are counted, and not allowed.
    #[default]
    LeaveOut,
    /// They are allowed.
    Include,
}

/// The grants that the events found lead to.
#[derive(Clone, Debug, Default)]
pub struct LeastPolicy {
    denied: DeniedCalls,
    principals: BTreeMap<Grantee, Grants>,
    /// Calls of principals that need no policy.
    without_policy: BTreeMap<NoPolicy, u64>,
    /// Calls of principals beyond [`MAX_PRINCIPALS`].
    further: u64,
}

impl LeastPolicy {
    /// Creates a summary without events.
    pub fn new(denied: DeniedCalls) -> Self {
        Self { denied, ..Self::default() }
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Value) {
        let grantee = match grantee(event) {
            Ok(grantee) => grantee,
            Err(reason) => {
                *self.without_policy.entry(reason).or_default() += 1;
                return;
            }
        };
        let leaves_out = self.denied == DeniedCalls::LeaveOut && is_denied(event);
        let Some(grants) = self.grants(grantee) else { return };
        grants.calls += 1;
        if leaves_out {
            grants.denied += 1;
            return;
        }
        let needed = needed_actions(event);
        if needed.actions.is_empty() {
            grants.add_other(event);
        }
        let site = CallSite::of_event(event);
        for action in &needed.actions {
            let region = site.region_condition(action);
            grants.add(action, &resources(action, event, &site), region);
            if needed.is_ambiguous {
                grants.add_ambiguous(&action.name, event);
            }
        }
    }

    /// Adds the events of another worker.
    pub fn merge(&mut self, other: Self) {
        for (grantee, grants) in other.principals {
            let calls = grants.calls;
            match self.grants(grantee) {
                Some(own) => own.merge(grants),
                None => self.further += calls.saturating_sub(1),
            }
        }
        for (reason, count) in other.without_policy {
            *self.without_policy.entry(reason).or_default() += count;
        }
        self.further += other.further;
    }

    /// Returns whether a part of a worker has so many grants that it should be merged.
    pub(super) fn is_part_full(&self) -> bool {
        self.principals.len() >= MAX_PRINCIPALS / 2
    }

    /// Returns the policies.
    pub fn finish(self) -> PolicyReport {
        let policies = self.principals.into_iter().map(|(grantee, grants)| grants.finish(grantee));
        PolicyReport {
            policies: policies.collect(),
            without_policy: self.without_policy,
            further: self.further,
        }
    }

    fn grants(&mut self, grantee: Grantee) -> Option<&mut Grants> {
        if self.principals.len() >= MAX_PRINCIPALS && !self.principals.contains_key(&grantee) {
            self.further += 1;
            return None;
        }
        Some(self.principals.entry(grantee).or_default())
    }
}
