//! What a principal is granted: actions, the resources that each was used on, and the Regions.
//!
//! Input: the actions of events with their resources. Output: statements, and remarks.
//! Invariant: the grants do not depend on the order of the events. An action with too many resources is widened step by
//! step: the last component of every ARN becomes `*`, then the last but one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    document::{Statement, documents},
    grantee::Grantee,
    report::{PolicyRemark, PrincipalPolicy, WildcardReason},
    resources::ActionResources,
};
use crate::filter::action::EventAction;

/// Different resources of an action at most; 200 of them fill two managed policies.
const MAX_RESOURCES: usize = 200;

/// Different actions of a principal at most. There are 20,000, and no principal uses more than some hundreds.
const MAX_ACTIONS: usize = 2_000;

/// Names of events without an action that are kept for the remarks.
const MAX_OTHERS: usize = 100;

/// The Regions of a grant; `None` stands for a service without Regions.
type Regions = BTreeSet<Option<String>>;

/// The grants of a principal.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    /// Calls that were found.
    pub(super) calls: u64,
    /// Calls of these that were denied and left out.
    pub(super) denied: u64,
    actions: BTreeMap<String, ActionGrant>,
    wildcards: BTreeSet<(WildcardReason, String, String)>,
    /// Event name to actions, of which some may not have been needed.
    ambiguous: BTreeMap<String, BTreeSet<String>>,
    /// Events that belong to no action.
    others: BTreeMap<String, u64>,
    /// Calls of actions beyond [`MAX_ACTIONS`].
    further: u64,
}

/// The resources of an action.
#[derive(Clone, Debug, Default)]
struct ActionGrant {
    resources: BTreeMap<String, Regions>,
    /// How many components at the end of each ARN are replaced.
    widening: usize,
}

impl Grants {
    /// Adds an action with its resources.
    pub(super) fn add(
        &mut self,
        action: &EventAction,
        resources: &ActionResources,
        region: Option<&str>,
    ) {
        let is_known = self.actions.contains_key(&action.name);
        if !is_known && (self.actions.len() >= MAX_ACTIONS || !is_action_name(&action.name)) {
            self.further += 1;
            return;
        }
        let grant = self.actions.entry(action.name.clone()).or_default();
        for arn in &resources.arns {
            grant.add(arn, [region.map(str::to_owned)].into());
        }
        for (arn, reason) in &resources.wildcards {
            if self.wildcards.len() < MAX_ACTIONS {
                self.wildcards.insert((*reason, arn.clone(), action.name.clone()));
            }
        }
    }

    /// Adds an event that belongs to no action.
    pub(super) fn add_other(&mut self, event: &Value) {
        let name = event.get("eventName").and_then(Value::as_str).unwrap_or_default();
        if self.others.len() < MAX_OTHERS || self.others.contains_key(name) {
            *self.others.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Notes an action that the event may not have needed.
    pub(super) fn add_ambiguous(&mut self, action: &str, event: &Value) {
        let name = event.get("eventName").and_then(Value::as_str).unwrap_or_default();
        if self.ambiguous.len() < MAX_OTHERS {
            self.ambiguous.entry(name.to_owned()).or_default().insert(action.to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.denied += other.denied;
        self.further += other.further;
        for (name, grant) in other.actions {
            if self.actions.len() < MAX_ACTIONS || self.actions.contains_key(&name) {
                self.actions.entry(name).or_default().merge(grant);
            } else {
                self.further += 1;
            }
        }
        self.wildcards.extend(other.wildcards);
        for (event, actions) in other.ambiguous {
            self.ambiguous.entry(event).or_default().extend(actions);
        }
        for (event, count) in other.others {
            *self.others.entry(event).or_default() += count;
        }
    }

    /// Returns the policy.
    pub(super) fn finish(self, grantee: Grantee) -> PrincipalPolicy {
        let statements = self.statements();
        let documents = documents(statements);
        let mut remarks = self.wildcard_remarks();
        remarks.extend(self.widening_remarks());
        remarks.extend(self.ambiguous.into_iter().map(|(event, actions)| {
            PolicyRemark::Ambiguous { event, actions: actions.into_iter().collect() }
        }));
        if !self.others.is_empty() {
            remarks.push(PolicyRemark::NoAction { events: self.others.into_iter().collect() });
        }
        if self.denied > 0 {
            remarks.push(PolicyRemark::Denied { calls: self.denied });
        }
        if self.further > 0 {
            remarks.push(PolicyRemark::FurtherActions { calls: self.further });
        }
        if documents.len() > 1 {
            remarks.push(PolicyRemark::Split { documents: documents.len() });
        }
        let Grantee { principal, arn } = grantee;
        PrincipalPolicy { principal, arn, calls: self.calls, documents, remarks }
    }

    /// Returns the statements: first the grants with the same Regions, then the actions with the same resources.
    fn statements(&self) -> Vec<Statement> {
        let mut by_regions: BTreeMap<(&str, &Regions), BTreeSet<&str>> = BTreeMap::new();
        for (action, grant) in &self.actions {
            for (arn, regions) in &grant.resources {
                by_regions.entry((action, regions)).or_default().insert(arn);
            }
        }
        let mut by_resources: BTreeMap<(BTreeSet<&str>, &Regions), Vec<String>> = BTreeMap::new();
        for ((action, regions), arns) in by_regions {
            by_resources.entry((arns, regions)).or_default().push(action.to_owned());
        }
        let mut statements: Vec<Statement> = by_resources
            .into_iter()
            .map(|((arns, regions), actions)| Statement {
                actions,
                resources: arns.into_iter().map(str::to_owned).collect(),
                // A call without a Region was allowed without a condition.
                regions: regions.iter().cloned().collect::<Option<Vec<_>>>().unwrap_or_default(),
            })
            .collect();
        statements.sort();
        statements
    }

    fn wildcard_remarks(&self) -> Vec<PolicyRemark> {
        let mut grouped: BTreeMap<(WildcardReason, &str), Vec<String>> = BTreeMap::new();
        for (reason, resource, action) in &self.wildcards {
            let is_granted = self.actions.get(action).is_some_and(|grant| grant.has(resource));
            if is_granted {
                grouped.entry((*reason, resource)).or_default().push(action.clone());
            }
        }
        let remark = |((reason, resource), actions): ((WildcardReason, &str), Vec<String>)| {
            PolicyRemark::Wildcard { reason, resource: resource.to_owned(), actions }
        };
        grouped.into_iter().map(remark).collect()
    }

    fn widening_remarks(&self) -> Vec<PolicyRemark> {
        let widened = self.actions.iter().filter(|(_, grant)| grant.widening > 0);
        let remark = |(action, grant): (&String, &ActionGrant)| PolicyRemark::Widened {
            action: action.clone(),
            limit: MAX_RESOURCES,
            resources: grant.resources.keys().cloned().collect(),
        };
        widened.map(remark).collect()
    }
}

impl ActionGrant {
    fn add(&mut self, arn: &str, regions: Regions) {
        let arn = widened(arn, self.widening);
        match self.resources.get_mut(&arn) {
            Some(known) => known.extend(regions),
            None => {
                self.resources.insert(arn, regions);
            }
        }
        while self.resources.len() > MAX_RESOURCES && self.widening < MAX_WIDENING {
            self.widen(self.widening + 1);
        }
    }

    fn merge(&mut self, other: Self) {
        if other.widening > self.widening {
            self.widen(other.widening);
        }
        for (arn, regions) in other.resources {
            self.add(&arn, regions);
        }
    }

    fn widen(&mut self, widening: usize) {
        self.widening = widening;
        for (arn, regions) in std::mem::take(&mut self.resources) {
            self.resources.entry(widened(&arn, widening)).or_default().extend(regions);
        }
    }

    fn has(&self, arn: &str) -> bool {
        self.resources.contains_key(&widened(arn, self.widening))
    }
}

/// Step of widening at which every resource is `*`.
const MAX_WIDENING: usize = 12;

/// Returns the ARN with its last components replaced by one `*`. Before the resource, an ARN has five components, which are
/// replaced only at the last step.
fn widened(arn: &str, components: usize) -> String {
    if components == 0 || arn == "*" {
        return arn.to_owned();
    }
    if components >= MAX_WIDENING {
        return "*".to_owned();
    }
    let start = arn.match_indices(':').nth(4).map_or(0, |(place, _)| place + 1);
    let resource = &arn[start..];
    let ends: Vec<usize> = resource.match_indices(['/', ':']).map(|(place, _)| place + 1).collect();
    // Counted from the front, so that what was widened before stays as it is.
    let kept = MAX_WIDENING - 1 - components;
    if ends.len() < kept {
        return arn.to_owned();
    }
    let end = kept.checked_sub(1).map_or(0, |last| ends[last]);
    format!("{}*", &arn[..start + end])
}

/// Returns whether a text has the form of an action; others would make the policy invalid.
fn is_action_name(name: &str) -> bool {
    /// Longest name; the longest that is known has 64 characters.
    const MAX_LENGTH: usize = 128;
    let is_part = |part: &str, also: &[u8]| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    name.len() <= MAX_LENGTH
        && name
            .split_once(':')
            .is_some_and(|(prefix, action)| is_part(prefix, b"-") && is_part(action, b"_-"))
}
