//! The way from a credential to the call that handed it out, and on to the credential of its caller.
//!
//! Input: the use of credentials, and issuances. Output: trees of the credentials that belong to a target.
//! An issuance belongs to a credential if it names its access key. Without a key in the response, it belongs to the session
//! with the same ARN or id that was created next. What a user of Identity Center asks for names neither: it belongs to the
//! session of the same permission set, account and user that was created at the same time. STS records that session as one
//! of a SAML user; then the SAML user comes from Identity Center.
//! Invariant: every credential has at most one issuance, so the credentials form trees; a chain that comes back to itself
//! is cut.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    TraceTarget,
    credential_use::{CredentialUse, Owner},
    issuance::{Caller, Issuance, PermissionSet},
    report::{ChainEnd, Step, StepLink, TraceNode, TraceReport},
};

/// Credentials of a target that are traced at most.
const MAX_TARGETS: usize = 100;

/// Credentials in a report at most.
const MAX_NODES: usize = 1_000;

/// Depth of a tree at most. Sessions of roles can be chained, but rarely are more than twice.
const MAX_DEPTH: usize = 32;

/// How much later than the creation of a session the event of its issuance may be: clocks and rounding differ.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// How long before the creation of a session a call with the same session name may have been: the longest session.
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(36);

/// How far apart the call of a user of Identity Center and the creation of the session may be: Identity Center asks STS at
/// once, but a console session begins when the user has reached the console.
const IDENTITY_CENTER_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Credentials, and how they were handed out.
pub(super) struct Chains<'a> {
    nodes: BTreeMap<&'a str, Node<'a>>,
    /// Credentials by the node that they were issued to.
    children: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// A credential, or a caller of whom only the name is known.
#[derive(Clone, Debug)]
struct Node<'a> {
    owner: Cow<'a, Owner>,
    used: Option<&'a CredentialUse>,
    parent: Option<Parent<'a>>,
}

/// Where a credential comes from.
#[derive(Clone, Copy, Debug)]
struct Parent<'a> {
    id: &'a str,
    issuance: &'a Issuance,
    link: StepLink,
}

/// Issuances by what they name.
#[derive(Default)]
struct IssuanceIndex<'a> {
    by_key: HashMap<&'a str, Vec<&'a Issuance>>,
    by_session: HashMap<&'a str, Vec<&'a Issuance>>,
    /// What users of Identity Center asked for, by account.
    permission_sets: HashMap<&'a str, Vec<(&'a PermissionSet, &'a Issuance)>>,
}

impl<'a> Chains<'a> {
    /// Finds the issuance of every credential.
    pub(super) fn new(
        credentials: &'a BTreeMap<String, CredentialUse>,
        issuances: impl Iterator<Item = &'a Issuance> + Clone,
    ) -> Self {
        let index = IssuanceIndex::new(issuances.clone());
        let ids = Identities::new(credentials);
        let mut nodes: BTreeMap<&str, Node<'_>> = BTreeMap::new();
        for (id, used) in credentials {
            let found = index.of_owner(&used.owner, used.times.map(|(first, _)| first));
            let parent = found.map(|(issuance, link)| Parent {
                id: index.id_of_caller(issuance, &ids),
                issuance,
                link,
            });
            nodes.insert(id, Node { owner: Cow::Borrowed(&used.owner), used: Some(used), parent });
        }
        for issuance in issuances {
            let id = issuance.issued.access_key.as_str();
            // A call without a key, as a sign-in, belongs to the credentials that were used after it.
            if !id.is_empty() {
                let id_of_caller = || index.id_of_caller(issuance, &ids);
                nodes.entry(id).or_insert_with(|| Node {
                    owner: Cow::Owned(Owner::of_issued(issuance)),
                    used: None,
                    parent: Some(Parent {
                        id: id_of_caller(),
                        issuance,
                        link: StepLink::AccessKey,
                    }),
                });
            }
        }
        Self::with_callers(nodes, &index)
    }

    /// Adds the callers of whom no event of their own was found.
    fn with_callers(mut nodes: BTreeMap<&'a str, Node<'a>>, index: &IssuanceIndex<'a>) -> Self {
        let mut pending: Vec<Parent<'_>> = nodes.values().filter_map(|node| node.parent).collect();
        while let Some(Parent { id, issuance, .. }) = pending.pop() {
            if nodes.contains_key(id) {
                continue;
            }
            let owner = Owner::of_caller(&issuance.caller);
            // The issuance of a caller without events is the last one before.
            let found = index
                .of_saml_session(issuance)
                .or_else(|| index.of_owner(&owner, issuance.time))
                .filter(|(found, _)| found.shared_id != issuance.shared_id);
            let parent = found.map(|(issuance, link)| Parent {
                id: caller_id(&issuance.caller),
                issuance,
                link,
            });
            pending.extend(parent);
            nodes.insert(id, Node { owner: Cow::Owned(owner), used: None, parent });
        }
        let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (id, node) in &nodes {
            if let Some(parent) = node.parent {
                children.entry(parent.id).or_default().insert(id);
            }
        }
        Self { nodes, children }
    }

    /// Returns the trees of the credentials that a target matches.
    pub(super) fn report(&self, target: &TraceTarget, dropped: u64) -> TraceReport {
        let mut targets: Vec<&str> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.owner.is_matched(target))
            .map(|(id, _)| *id)
            .collect();
        // The latest first; a target may match thousands of sessions of a role.
        targets.sort_by_key(|id| (Reverse(self.last_use(id)), *id));
        let further = targets.len().saturating_sub(MAX_TARGETS);
        targets.truncate(MAX_TARGETS);
        let mut shown: HashSet<&str> = HashSet::new();
        let mut roots: BTreeMap<&str, bool> = BTreeMap::new();
        for id in &targets {
            let (root, is_loop) = self.add_ancestors(id, &mut shown);
            *roots.entry(root).or_default() |= is_loop;
            self.add_descendants(id, &mut shown);
        }
        let wanted: HashSet<&str> = targets.into_iter().collect();
        let trees = roots.into_iter().map(|(root, is_loop)| {
            let mut path = vec![root];
            let node = self.tree(&mut path, &shown, &wanted);
            TraceNode { end: Some(if is_loop { ChainEnd::Loop } else { self.end(root) }), ..node }
        });
        let mut trees: Vec<TraceNode> = trees.collect();
        trees.sort_by(|one, other| {
            (one.first_time(), &one.principal).cmp(&(other.first_time(), &other.principal))
        });
        TraceReport { target: target.as_str().to_owned(), trees, further, dropped }
    }

    fn last_use(&self, id: &str) -> Option<Timestamp> {
        let node = self.nodes.get(id)?;
        let used = node.used.and_then(|used| used.times).map(|(_, last)| last);
        used.or_else(|| node.parent.and_then(|parent| parent.issuance.time))
    }

    /// Adds the credentials above one, and returns the topmost and whether the chain comes back to itself.
    fn add_ancestors(&self, id: &'a str, shown: &mut HashSet<&'a str>) -> (&'a str, bool) {
        let (mut current, mut path) = (id, vec![id]);
        let mut places = HashMap::from([(id, 0)]);
        shown.insert(id);
        while let Some(parent) = self.nodes.get(current).and_then(|node| node.parent) {
            if let Some(place) = places.get(parent.id) {
                // Every credential of the loop leads to the same root.
                let root = path[*place..].iter().min().copied().unwrap_or(current);
                return (root, true);
            }
            current = parent.id;
            places.insert(current, path.len());
            path.push(current);
            shown.insert(current);
        }
        (current, false)
    }

    fn add_descendants(&self, id: &'a str, shown: &mut HashSet<&'a str>) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            for child in self.children.get(id).into_iter().flatten() {
                if shown.len() < MAX_NODES && shown.insert(child) {
                    pending.push(child);
                }
            }
        }
    }

    /// Returns the tree below the last credential of a path.
    fn tree(
        &self,
        path: &mut Vec<&'a str>,
        shown: &HashSet<&'a str>,
        targets: &HashSet<&str>,
    ) -> TraceNode {
        let id = path[path.len() - 1];
        let node = &self.nodes[id];
        let mut children = Vec::new();
        for child in self.children.get(id).into_iter().flatten() {
            if shown.contains(child) && !path.contains(child) && path.len() < MAX_DEPTH {
                path.push(child);
                children.push(self.tree(path, shown, targets));
                path.pop();
            }
        }
        children.sort_by(|one, other| {
            (one.first_time(), &one.access_key).cmp(&(other.first_time(), &other.access_key))
        });
        let step = node.parent.map(|parent| Step::new(parent.issuance, parent.link));
        TraceNode::new(&node.owner, node.used, step, children).with_target(targets.contains(id))
    }

    /// Returns why a chain has no further step.
    fn end(&self, id: &str) -> ChainEnd {
        let owner = &self.nodes[id].owner;
        let session = owner.session_name().unwrap_or_default();
        match owner.kind.as_str() {
            "AssumedRole" if owner.is_instance || session.starts_with("i-") => {
                ChainEnd::Instance(session.to_owned())
            }
            "AWSAccount" => ChainEnd::OtherAccount(owner.account.clone()),
            "AssumedRole" | "FederatedUser" => ChainEnd::MissingIssuance,
            "IAMUser" | "Root" if owner.is_temporary() => ChainEnd::MissingIssuance,
            "" if owner.arn.contains(":assumed-role/") => ChainEnd::MissingIssuance,
            _ => ChainEnd::FirstIdentity,
        }
    }
}

impl<'a> IssuanceIndex<'a> {
    fn new(issuances: impl Iterator<Item = &'a Issuance>) -> Self {
        let mut index = Self::default();
        for issuance in issuances {
            let issued = &issuance.issued;
            if !issued.access_key.is_empty() {
                index.by_key.entry(&issued.access_key).or_default().push(issuance);
            }
            if let Some(set) = &issuance.permission_set {
                index.permission_sets.entry(&set.account).or_default().push((set, issuance));
            }
            // The root user has many sessions of other origin under the same name.
            let names_session = issuance.name != "AssumeRoot";
            for session in [&issued.arn, &issued.principal_id] {
                if names_session && !session.is_empty() {
                    index.by_session.entry(session).or_default().push(issuance);
                }
            }
        }
        index
    }

    /// Returns the issuance of a credential that was first used at this time.
    fn of_owner(
        &self,
        owner: &Owner,
        first_use: Option<Timestamp>,
    ) -> Option<(&'a Issuance, StepLink)> {
        let by_key = self.by_key.get(owner.access_key.as_str()).into_iter().flatten().copied();
        if let Some(issuance) = by_key.max_by(|one, other| one.order().cmp(&other.order())) {
            return Some((issuance, StepLink::AccessKey));
        }
        if !owner.is_session() {
            return None;
        }
        let created = owner.created.parse().ok().or(first_use);
        self.of_session(owner, created).or_else(|| {
            let set = PermissionSet::of_session(&owner.arn, &owner.on_behalf_of)?;
            self.of_permission_set(&set, created)
        })
    }

    /// Returns the last issuance of a session before it was created, best of all one without a key.
    fn of_session(
        &self,
        owner: &Owner,
        created: Option<Timestamp>,
    ) -> Option<(&'a Issuance, StepLink)> {
        let fits = |issuance: &&Issuance| match (issuance.time, created) {
            (Some(time), Some(created)) => {
                let age = created.duration_since(time);
                age >= -TOLERANCE && age <= LONGEST_SESSION
            }
            _ => true,
        };
        let named = [&owner.arn, &owner.principal_id].into_iter().filter(|name| !name.is_empty());
        let candidates =
            named.filter_map(|name| self.by_session.get(name.as_str())).flatten().copied();
        let rank = |issuance: &Issuance| issuance.issued.access_key.is_empty();
        let last = candidates
            .filter(fits)
            .max_by(|one, other| (rank(one), one.order()).cmp(&(rank(other), other.order())))?;
        Some((last, if rank(last) { StepLink::Session } else { StepLink::SessionName }))
    }

    /// Returns the call of a user of Identity Center that a session belongs to: the nearest in time, best of all one with
    /// the same user id.
    fn of_permission_set(
        &self,
        session: &PermissionSet,
        created: Option<Timestamp>,
    ) -> Option<(&'a Issuance, StepLink)> {
        let asked = self.permission_sets.get(session.account.as_str())?.iter();
        let candidates = asked.filter_map(|(set, issuance)| {
            let distance = issuance.time?.duration_since(created?).abs();
            let fits = set.may_have_issued(session) && distance <= IDENTITY_CENTER_TOLERANCE;
            let is_same_user = !set.user_id.is_empty() && set.user_id == session.user_id;
            fits.then_some((is_same_user, Reverse(distance), *issuance))
        });
        let nearest = candidates.max_by(|(user, distance, one), (another, other, issuance)| {
            (user, distance, one.order()).cmp(&(another, other, issuance.order()))
        });
        nearest.map(|(.., issuance)| (issuance, StepLink::PermissionSet))
    }

    /// Returns the call of a user of Identity Center behind a call of STS, which names it as one of a SAML user.
    fn of_saml_session(&self, issuance: &Issuance) -> Option<(&'a Issuance, StepLink)> {
        if issuance.caller.kind != "SAMLUser" {
            return None;
        }
        let session = PermissionSet::of_session(&issuance.issued.arn, "")?;
        self.of_permission_set(&session, issuance.time)
    }

    /// Returns the node of the caller. A SAML user that comes from Identity Center has one for each session, because the
    /// calls of that user differ.
    fn id_of_caller(&self, issuance: &'a Issuance, ids: &Identities<'a>) -> &'a str {
        match self.of_saml_session(issuance) {
            Some(_) => &issuance.shared_id,
            None => ids.of_caller(issuance),
        }
    }
}

/// The credentials of callers, by the names under which other accounts know them.
struct Identities<'a> {
    by_principal_id: HashMap<&'a str, Vec<(&'a str, &'a CredentialUse)>>,
}

impl<'a> Identities<'a> {
    fn new(credentials: &'a BTreeMap<String, CredentialUse>) -> Self {
        let mut by_principal_id: HashMap<&str, Vec<(&str, &CredentialUse)>> = HashMap::new();
        for (id, used) in credentials {
            if !used.owner.principal_id.is_empty() && used.owner.kind != "AWSAccount" {
                by_principal_id.entry(&used.owner.principal_id).or_default().push((id, used));
            }
        }
        Self { by_principal_id }
    }

    /// Returns the node of the caller. Another account records only its unique id; then it is the credential with this id
    /// that was used last before the call.
    fn of_caller(&self, issuance: &'a Issuance) -> &'a str {
        let caller = &issuance.caller;
        let id = caller_id(caller);
        if !caller.access_key.is_empty() || caller.kind != "AWSAccount" {
            return id;
        }
        let known = self.by_principal_id.get(caller.principal_id.as_str());
        let was_used = |(_, used): &&(&'a str, &CredentialUse)| match (used.times, issuance.time) {
            (Some((first, _)), Some(time)) => first <= time,
            _ => true,
        };
        let last =
            known.into_iter().flatten().filter(was_used).max_by_key(|(id, used)| (used.times, *id));
        last.map_or(id, |(id, _)| id)
    }
}

/// Returns what identifies a caller: the access key, or else a name.
fn caller_id(caller: &Caller) -> &str {
    [&caller.access_key, &caller.arn, &caller.principal_id, &caller.principal]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or("", String::as_str)
}

impl Issuance {
    /// Returns what the order of calls depends on.
    fn order(&self) -> (Option<Timestamp>, &str) {
        (self.time, &self.shared_id)
    }
}

impl Owner {
    /// Returns the owner of a credential that was handed out and not used.
    fn of_issued(issuance: &Issuance) -> Self {
        let Issuance { caller, issued, .. } = issuance;
        let identity = crate::filter::principal::Identity {
            arn: Some(issued.arn.as_str()).filter(|arn| !arn.is_empty()),
            ..Default::default()
        };
        let is_user = identity.arn.is_none();
        Self {
            kind: if is_user { caller.kind.clone() } else { String::new() },
            principal: if is_user {
                caller.principal.clone()
            } else {
                identity.short().into_owned()
            },
            arn: if is_user { caller.arn.clone() } else { issued.arn.clone() },
            principal_id: issued.principal_id.clone(),
            access_key: issued.access_key.clone(),
            source_identity: issued.source_identity.clone(),
            ..Self::default()
        }
    }

    /// Returns a caller without events of its own.
    fn of_caller(caller: &Caller) -> Self {
        Self {
            kind: caller.kind.clone(),
            principal: caller.principal.clone(),
            arn: caller.arn.clone(),
            principal_id: caller.principal_id.clone(),
            account: caller.account.clone(),
            access_key: caller.access_key.clone(),
            ..Self::default()
        }
    }

    /// Returns whether the credential is one of a session, which a call has to hand out.
    fn is_session(&self) -> bool {
        matches!(self.kind.as_str(), "AssumedRole" | "FederatedUser" | "") || self.is_temporary()
    }

    /// Returns whether the access key is a temporary one.
    fn is_temporary(&self) -> bool {
        self.access_key.starts_with("ASIA")
            || self.access_key.is_empty() && !self.created.is_empty()
    }

    /// Returns whether one of its names is that of a target.
    pub(super) fn is_matched(&self, target: &TraceTarget) -> bool {
        let last = |text: &'_ str| text.rsplit('/').next().unwrap_or_default().to_owned();
        let issuer = last(&self.issuer_arn);
        let role = if issuer.is_empty() { String::new() } else { format!("role/{issuer}") };
        let name = last(&self.principal);
        target.matches([
            self.access_key.as_str(),
            &self.arn,
            &self.principal,
            &self.principal_id,
            self.session_name().unwrap_or_default(),
            &self.issuer_arn,
            &self.source_identity,
            &self.on_behalf_of,
            &role,
            &name,
        ])
    }
}
