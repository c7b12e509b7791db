//! The lifecycle policy of the indices: ILM in Elasticsearch, ISM in OpenSearch.
//!
//! Input: which policy the engine has, and how long events are kept. Output: [`Change`]s of the policy, and of the indices that
//! it applies to.
//! Invariant: no policy deletes an index before its newest possible event is older than the retention. ILM counts from the end
//! of the period (`index.lifecycle.origination_date`). ISM counts from the creation of the index, which is not before the
//! start of its period, so its limit is higher by the length of a period.
//!
//! | engine | which indices a policy applies to |
//! |---|---|
//! | Elasticsearch | new ones, because `PREFIX-setup` names it; existing ones, because `setup` sets it |
//! | OpenSearch | those that were created after the policy and match its patterns; all others, because `setup` adds it |

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{EngineSetup, Readable};
use crate::{
    normalize::{IndexBy, Retention},
    sink::{
        engine::{
            api::ApiResponse,
            identify::Distribution,
            index_age::origination_date,
            inventory::ALL_INDICES,
            paths,
            setup_template::{NEVER_EXPIRES, SetupTemplate},
            templates::MANAGED_BY,
        },
        error::Error,
        provision::{Action, Change, ObjectKind, Verb},
    },
};

/// The version of the policies. Increased with every change of their content.
const VERSION: u64 = 1;

/// How the description of an ISM policy begins, which has no other place for a mark.
const MARK: &str = "Managed by trailload, version ";

/// Priorities of the recovery of indices after a restart: that of the current period is read most.
const HOT_PRIORITY: u32 = 100;
const WARM_PRIORITY: u32 = 50;

/// The first Elasticsearch whose force merge leaves an index writable. Events may be late.
const WRITABLE_AFTER_FORCE_MERGE: (u64, u64) = (8, 1);

/// The setting of an index that names its ISM policy.
const ISM_POLICY: &str = "index.plugins.index_state_management.policy_id";

/// What an engine offers for lifecycles.
#[derive(Debug)]
pub(super) enum Lifecycle {
    /// ILM or ISM, and the policy that has the name of the prefix.
    Available { api: PolicyApi, existing: Option<Value>, merges: bool },
    /// The engine has no lifecycles.
    Unavailable,
    /// This user may not read them, for this reason.
    Unreadable(String),
}

/// An API for lifecycle policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyApi {
    /// Index lifecycle management of Elasticsearch.
    Ilm,
    /// Index state management of OpenSearch.
    Ism,
}

impl PolicyApi {
    fn path(self, policy: &str) -> String {
        match self {
            Self::Ilm => format!("_ilm/policy/{policy}"),
            Self::Ism => format!("_plugins/_ism/policies/{policy}"),
        }
    }

    /// Returns the policy in a response.
    fn policy(self, response: &ApiResponse, name: &str) -> Option<Value> {
        let found = match self {
            Self::Ilm => response.json.get(name)?,
            Self::Ism => &response.json,
        };
        found["policy"].is_object().then(|| found.clone())
    }
}

impl EngineSetup {
    /// Returns what the engine offers for lifecycles.
    pub(super) async fn lifecycle(&self) -> Result<Lifecycle, Error> {
        let info = self.reader.info();
        let api = match info.distribution {
            Distribution::Elasticsearch => PolicyApi::Ilm,
            Distribution::OpenSearch if !info.is_serverless() => PolicyApi::Ism,
            _ => return Ok(Lifecycle::Unavailable),
        };
        let name = self.reader.prefix();
        let response = match self.read(&api.path(name), "reading the lifecycle policy").await? {
            Ok(response) => response,
            Err(reason) => return Ok(Lifecycle::Unreadable(reason)),
        };
        let merges = api == PolicyApi::Ism || info.is_at_least(WRITABLE_AFTER_FORCE_MERGE);
        Ok(match (response.status, api.policy(&response, name)) {
            (200..=299, existing @ Some(_)) => Lifecycle::Available { api, existing, merges },
            // An engine without the module responds with 400, and with a text instead of an error type.
            (404, _) if response.json["error"].is_object() => {
                Lifecycle::Available { api, existing: None, merges }
            }
            _ => Lifecycle::Unavailable,
        })
    }

    /// Returns the changes that apply the policy to existing indices which no policy applies to.
    pub(super) async fn attachments(
        &self,
        lifecycle: &Lifecycle,
        by: IndexBy,
    ) -> Result<Vec<Change>, Error> {
        let Lifecycle::Available { api, .. } = lifecycle else { return Ok(Vec::new()) };
        let prefix = self.reader.prefix();
        let applied = match self.applied_policies(*api).await? {
            Ok(applied) => applied,
            Err(reason) => return Ok(vec![unreadable_indices(prefix, reason)]),
        };
        let mut changes = Vec::new();
        for (name, applied) in applied {
            let Some(end) = by.time_range(prefix, &name).and_then(|range| range.to) else {
                continue;
            };
            match applied.policy {
                // ISM applies a policy to each new index whose name matches, whoever creates it.
                Some(policy)
                    if !applied.is_managed && policy == prefix && *api == PolicyApi::Ism =>
                {
                    changes.push(detachment(*api, &name));
                }
                _ if !applied.is_managed => {
                    let kept = Action::Keep("trailload did not create it".to_owned());
                    changes.push(Change::new(ObjectKind::Index, name, kept));
                }
                Some(policy) if policy == prefix && !applied.never_expires => {}
                Some(policy) if policy == prefix => {
                    changes.push(attachment(*api, prefix, &name, end));
                }
                Some(policy) => {
                    let kept = Action::Keep(format!("the policy '{policy}' applies"));
                    changes.push(Change::new(ObjectKind::Index, name, kept));
                }
                None => changes.push(attachment(*api, prefix, &name, end)),
            }
        }
        Ok(changes)
    }

    /// Returns the changes after which indices follow the policy as it is wanted: ISM goes on with the version that an index
    /// began with. `policy` is what happens to the policy.
    pub(super) async fn renewals(
        &self,
        lifecycle: &Lifecycle,
        policy: &Action,
    ) -> Result<Vec<Change>, Error> {
        let Lifecycle::Available { api: PolicyApi::Ism, existing: Some(existing), .. } = lifecycle
        else {
            return Ok(Vec::new());
        };
        let prefix = self.reader.prefix();
        let applied = match self.applied_policies(PolicyApi::Ism).await? {
            Ok(applied) => applied,
            Err(reason) => return Ok(vec![unreadable_indices(prefix, reason)]),
        };
        let is_changed = matches!(policy, Action::Update(_));
        let current = existing["_seq_no"].as_u64();
        let outdated = applied.into_iter().filter(|(_, applied)| {
            let is_older = applied.seq_no.is_some() && applied.seq_no != current;
            applied.is_managed
                && applied.policy.as_deref() == Some(prefix)
                && (is_changed || is_older)
        });
        Ok(outdated.map(|(name, _)| renewal(prefix, &name)).collect())
    }

    /// Returns the changes after which the policy applies to no index.
    pub(super) async fn detachments(&self, lifecycle: &Lifecycle) -> Result<Vec<Change>, Error> {
        let Lifecycle::Available { api, .. } = lifecycle else { return Ok(Vec::new()) };
        let prefix = self.reader.prefix();
        let applied = match self.applied_policies(*api).await? {
            Ok(applied) => applied,
            Err(reason) => return Ok(vec![unreadable_indices(prefix, reason)]),
        };
        let attached =
            applied.into_iter().filter(|(_, applied)| applied.policy.as_deref() == Some(prefix));
        Ok(attached.map(|(name, _)| detachment(*api, &name)).collect())
    }

    /// Returns the policy that applies to each index of the prefix. The inner error is why that is not known.
    async fn applied_policies(
        &self,
        api: PolicyApi,
    ) -> Result<Readable<BTreeMap<String, AppliedPolicy>>, Error> {
        let prefix = self.reader.prefix();
        let Some(listed) = self.reader.indices().await? else {
            return Ok(Err("this user may not list the indices".to_owned()));
        };
        let path = match api {
            PolicyApi::Ilm => {
                let settings = paths::settings(&[&format!("{prefix}-*")], &["index.lifecycle.*"]);
                format!("{settings}?{ALL_INDICES}")
            }
            PolicyApi::Ism => format!("_plugins/_ism/explain/{prefix}-*"),
        };
        let response = match self.read(&path, "reading the policies of indices").await? {
            Ok(response) => response,
            Err(reason) => return Ok(Err(reason)),
        };
        // Without indices, engines respond with 404.
        if !response.is_success() && response.status != 404 {
            let reason = format!("the policies of indices cannot be read ({})", response.status);
            return Ok(Err(reason));
        }
        let applied = listed.indices.into_iter().map(|index| {
            let policy = AppliedPolicy::new(api, &response.json[&index.name]);
            (index.name, AppliedPolicy { is_managed: index.is_managed, ..policy })
        });
        Ok(Ok(applied.collect()))
    }
}

/// The policy that applies to an index.
#[derive(Debug)]
struct AppliedPolicy {
    /// Its name; `None` if no policy applies.
    policy: Option<String>,
    /// Whether trailload created the index.
    is_managed: bool,
    /// The version of it that ISM follows, once it has begun.
    seq_no: Option<u64>,
    /// The age counts from the date in the template: the index was not created with that of its period.
    never_expires: bool,
}

impl AppliedPolicy {
    /// Reads the entry of an index.
    fn new(api: PolicyApi, index: &Value) -> Self {
        let policy = match api {
            PolicyApi::Ilm => &index["settings"]["index"]["lifecycle"]["name"],
            PolicyApi::Ism if index[ISM_POLICY].is_string() => &index[ISM_POLICY],
            PolicyApi::Ism => &index["policy_id"],
        };
        let policy = policy.as_str().map(str::to_owned);
        let from = index["settings"]["index"]["lifecycle"]["origination_date"].as_str();
        let never_expires = from.is_some_and(|from| from.parse() == Ok(NEVER_EXPIRES));
        let is_managed = false;
        Self { policy, is_managed, seq_no: index["policy_seq_no"].as_u64(), never_expires }
    }
}

impl Lifecycle {
    /// Returns whether there is a policy that trailload created.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Available { api, existing: Some(policy), .. } if version(*api, policy).is_some())
    }

    /// Returns the policy that templates name.
    pub(super) fn policy_in_templates(
        &self,
        wanted: &SetupTemplate,
        prefix: &str,
    ) -> Option<String> {
        let is_ilm = matches!(self, Self::Available { api: PolicyApi::Ilm, .. });
        (is_ilm && wanted.has_lifecycle()).then(|| prefix.to_owned())
    }

    /// Returns the change of the policy, if one is wanted or there is one.
    pub(super) fn policy_change(
        &self,
        wanted: &SetupTemplate,
        prefix: &str,
        by: IndexBy,
    ) -> Option<Change> {
        let change = |action| Some(Change::new(ObjectKind::LifecyclePolicy, prefix, action));
        if !wanted.has_lifecycle() && !self.is_ours() {
            return None;
        }
        if by == IndexBy::None {
            let reason = "all events are in one index, which has no end".to_owned();
            return change(Action::Unavailable(reason));
        }
        let (api, existing, merges) = match self {
            Self::Unavailable => {
                return change(Action::Unavailable(
                    "this engine has no lifecycle policies; 'trailload setup --enforce-retention' deletes by name"
                        .to_owned(),
                ));
            }
            Self::Unreadable(reason) => return change(Action::Blocked(reason.clone())),
            Self::Available { api, existing, merges } => (*api, existing, *merges),
        };
        let body = policy(api, wanted, prefix, by, merges);
        let action = match existing {
            None => Action::Create,
            Some(existing) => match version(api, existing) {
                None => {
                    let reason = "another program created it, so it is not changed".to_owned();
                    return change(Action::Blocked(reason));
                }
                Some(theirs) if theirs > VERSION => {
                    let reason = format!("a newer trailload created it (version {theirs})");
                    return change(Action::Blocked(reason));
                }
                Some(_) if mark(&existing["policy"]) == mark(&body["policy"]) => {
                    return change(Action::Keep("current".to_owned()));
                }
                Some(_) => Action::Update(describe(wanted)),
            },
        };
        let path = match existing {
            // ISM replaces only the version of a policy that was read.
            Some(existing) if api == PolicyApi::Ism => format!(
                "{}?if_seq_no={}&if_primary_term={}",
                api.path(prefix),
                existing["_seq_no"],
                existing["_primary_term"]
            ),
            _ => api.path(prefix),
        };
        Some(Change::new(ObjectKind::LifecyclePolicy, prefix, action).send(
            Verb::Put,
            path,
            Some(body),
        ))
    }

    /// Returns the change that deletes the policy.
    pub(super) fn removal(&self, prefix: &str) -> Option<Change> {
        let (api, existing) = match self {
            Self::Unreadable(reason) => return Some(unreadable(prefix, reason)),
            Self::Unavailable => return None,
            Self::Available { api, existing, .. } => (api, existing),
        };
        existing.as_ref()?;
        let kind = ObjectKind::LifecyclePolicy;
        if !self.is_ours() {
            let reason = "trailload did not create it".to_owned();
            return Some(Change::new(kind, prefix, Action::Keep(reason)));
        }
        Some(Change::new(kind, prefix, Action::Delete).send(Verb::Delete, api.path(prefix), None))
    }
}

/// Returns the change of a policy that cannot be read.
pub(super) fn unreadable(prefix: &str, reason: &str) -> Change {
    Change::new(ObjectKind::LifecyclePolicy, prefix, Action::Blocked(reason.to_owned()))
}

fn unreadable_indices(prefix: &str, reason: String) -> Change {
    Change::new(ObjectKind::Index, format!("{prefix}-*"), Action::Blocked(reason))
}

fn attachment(api: PolicyApi, policy: &str, name: &str, end: Timestamp) -> Change {
    let action = Action::Update("the policy applies".to_owned());
    let change = Change::new(ObjectKind::Index, name, action);
    match api {
        PolicyApi::Ilm => {
            let mut settings = origination_date(end);
            settings["index"]["lifecycle"]["name"] = policy.into();
            change.send(Verb::Put, format!("{name}/_settings"), Some(settings))
        }
        PolicyApi::Ism => {
            let body = json!({ "policy_id": policy });
            change.send(Verb::Post, format!("_plugins/_ism/add/{name}"), Some(body))
        }
    }
}

/// Returns the change that makes an index follow the current version of its policy. It begins with the first state, because
/// the current one may be missing in that version.
fn renewal(policy: &str, name: &str) -> Change {
    let action = Action::Update("the changed policy applies".to_owned());
    let body = json!({ "policy_id": policy, "state": "hot" });
    let path = format!("_plugins/_ism/change_policy/{name}");
    Change::new(ObjectKind::Index, name, action).send(Verb::Post, path, Some(body))
}

fn detachment(api: PolicyApi, name: &str) -> Change {
    let change =
        Change::new(ObjectKind::Index, name, Action::Update("no policy applies".to_owned()));
    match api {
        PolicyApi::Ilm => {
            let without = json!({ "index": { "lifecycle": { "origination_date": null } } });
            change.send(Verb::Post, format!("{name}/_ilm/remove"), None).send(
                Verb::Put,
                format!("{name}/_settings"),
                Some(without),
            )
        }
        PolicyApi::Ism => change.send(Verb::Post, format!("_plugins/_ism/remove/{name}"), None),
    }
}

/// Returns a policy as it is sent.
fn policy(
    api: PolicyApi,
    wanted: &SetupTemplate,
    prefix: &str,
    by: IndexBy,
    merges: bool,
) -> Value {
    match api {
        PolicyApi::Ilm => json!({ "policy": ilm(wanted, merges) }),
        PolicyApi::Ism => json!({ "policy": ism(wanted, prefix, by) }),
    }
}

fn ilm(wanted: &SetupTemplate, merges: bool) -> Value {
    let mut phases = Map::new();
    let hot =
        json!({ "min_age": "0ms", "actions": { "set_priority": { "priority": HOT_PRIORITY } } });
    phases.insert("hot".to_owned(), hot);
    if let Some(warm) = wanted.warm {
        let mut actions = json!({ "set_priority": { "priority": WARM_PRIORITY } });
        if merges {
            actions["forcemerge"] = json!({ "max_num_segments": 1 });
        }
        phases
            .insert("warm".to_owned(), json!({ "min_age": warm.to_string(), "actions": actions }));
    }
    if let Some(retention) = wanted.retention {
        let delete = json!({ "min_age": retention.to_string(), "actions": { "delete": {} } });
        phases.insert("delete".to_owned(), delete);
    }
    let meta = json!({
        "managed_by": MANAGED_BY,
        "version": VERSION,
        "description": describe(wanted),
    });
    json!({ "_meta": meta, "phases": phases })
}

fn ism(wanted: &SetupTemplate, prefix: &str, by: IndexBy) -> Value {
    let age = |days: Retention| format!("{}d", days.days() + longest_period(by));
    let transition = |to: &str, days: Retention| json!({ "state_name": to, "conditions": { "min_index_age": age(days) } });
    let after_warm: Vec<Value> =
        wanted.retention.iter().map(|days| transition("delete", *days)).collect();
    let after_hot: Vec<Value> = match wanted.warm {
        Some(days) => vec![transition("warm", days)],
        None => after_warm.clone(),
    };
    let mut states = vec![json!({ "name": "hot", "actions": [], "transitions": after_hot })];
    if wanted.warm.is_some() {
        // A force merge leaves the index read-only, and events may be late.
        let actions = json!([{ "force_merge": { "max_num_segments": 1 } }, { "read_write": {} }]);
        states.push(json!({ "name": "warm", "actions": actions, "transitions": after_warm }));
    }
    if wanted.retention.is_some() {
        let actions = json!([{ "delete": {} }]);
        states.push(json!({ "name": "delete", "actions": actions, "transitions": [] }));
    }
    json!({
        // Ages and patterns depend on the period too.
        "description": format!("{MARK}{VERSION}: {}, an index a {}", describe(wanted), by.as_str()),
        "default_state": "hot",
        "states": states,
        "ism_template": [{ "index_patterns": patterns(prefix, by), "priority": HOT_PRIORITY }],
    })
}

/// Returns patterns for the names of periods from 2000 to 2099, and for few other names: ISM deletes whatever matches, and
/// has no other wildcard than `*`.
fn patterns(prefix: &str, by: IndexBy) -> Vec<String> {
    match by {
        IndexBy::Year => (2000..2100).map(|year| format!("{prefix}-{year}")).collect(),
        IndexBy::Month => (1..=12).map(|month| format!("{prefix}-20*.{month:02}")).collect(),
        IndexBy::Day => (1..=12).map(|month| format!("{prefix}-20*.{month:02}.*")).collect(),
        IndexBy::None => Vec::new(),
    }
}

/// Returns the days of the longest period.
fn longest_period(by: IndexBy) -> u32 {
    match by {
        IndexBy::Day => 1,
        IndexBy::Month => 31,
        IndexBy::Year => 366,
        IndexBy::None => 0,
    }
}

fn describe(wanted: &SetupTemplate) -> String {
    let warm = wanted.warm.map(|warm| format!("warm after {warm}"));
    let deleted = wanted.retention.map(|retention| format!("deleted after {retention}"));
    let parts: Vec<_> = [warm, deleted].into_iter().flatten().collect();
    if parts.is_empty() { "kept for ever".to_owned() } else { parts.join(", ") }
}

/// Returns what identifies the content of a policy: engines add defaults to the rest of it.
fn mark(policy: &Value) -> [&Value; 3] {
    [&policy["_meta"]["version"], &policy["_meta"]["description"], &policy["description"]]
}

/// Returns the version in the mark of a policy, if trailload created it.
fn version(api: PolicyApi, existing: &Value) -> Option<u64> {
    let policy = &existing["policy"];
    match api {
        PolicyApi::Ilm => policy["_meta"]["version"]
            .as_u64()
            .filter(|_| policy["_meta"]["managed_by"] == MANAGED_BY),
        PolicyApi::Ism => {
            let (version, _) =
                policy["description"].as_str()?.strip_prefix(MARK)?.split_once(':')?;
            version.parse().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(retention: Option<&str>, warm: Option<&str>) -> SetupTemplate {
        let days = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        SetupTemplate { retention: days(retention), warm: days(warm), ..SetupTemplate::default() }
    }

    #[test]
    fn ilm_counts_from_the_end_of_a_period() {
        let both = ilm(&wanted(Some("400d"), Some("60d")), true);
        assert_eq!(both["phases"]["delete"]["min_age"], "400d");
        assert_eq!(both["phases"]["warm"]["min_age"], "60d");
        assert_eq!(both["phases"]["warm"]["actions"]["forcemerge"]["max_num_segments"], 1);
        let old = ilm(&wanted(None, Some("60d")), false);
        assert!(
            old["phases"]["warm"]["actions"].get("forcemerge").is_none(),
            "it would be read-only"
        );
        assert!(old["phases"].get("delete").is_none(), "kept for ever");
    }

    #[test]
    fn ism_counts_from_the_start_of_a_period() {
        let both = ism(&wanted(Some("400d"), Some("60d")), "ct", IndexBy::Month);
        let ages: Vec<_> = both["states"]
            .as_array()
            .unwrap()
            .iter()
            .map(|state| (state["name"].clone(), state["transitions"][0]["conditions"].clone()))
            .collect();
        assert_eq!(
            ages,
            [
                (json!("hot"), json!({ "min_index_age": "91d" })),
                (json!("warm"), json!({ "min_index_age": "431d" })),
                (json!("delete"), Value::Null),
            ]
        );
        assert_eq!(both["states"][1]["actions"][1], json!({ "read_write": {} }));
        let day = ism(&wanted(Some("30d"), None), "ct", IndexBy::Day);
        assert_eq!(day["states"][0]["transitions"][0]["conditions"]["min_index_age"], "31d");
        assert_eq!(day["states"].as_array().unwrap().len(), 2);
        let none = ism(&wanted(None, None), "ct", IndexBy::Day);
        assert_eq!(none["states"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn ism_policies_match_periods_and_not_similar_names() {
        let matches = |by: IndexBy, name: &str| {
            patterns("ct", by).iter().any(|pattern| match pattern.split_once('*') {
                None => pattern == name,
                Some((head, tail)) => {
                    let tail = tail.trim_end_matches('*');
                    let rest = name.strip_prefix(head);
                    rest.is_some_and(|rest| {
                        rest.ends_with(tail) || pattern.ends_with('*') && rest.contains(tail)
                    })
                }
            })
        };
        for (by, name) in [
            (IndexBy::Year, "ct-2024"),
            (IndexBy::Month, "ct-2024.12"),
            (IndexBy::Day, "ct-2024.02.29"),
        ] {
            assert!(matches(by, name), "{name}");
            for other in ["ct-2024-archive", "ct-undated", "ct-runs", "ct-20", "ct-other-2024.12"] {
                assert!(!matches(by, other), "{other}");
            }
        }
        let day = ism(&wanted(Some("30d"), None), "ct", IndexBy::Day);
        let month = ism(&wanted(Some("30d"), None), "ct", IndexBy::Month);
        assert_ne!(mark(&day), mark(&month), "another period is another policy");
    }

    #[test]
    fn policies_of_others_are_left_alone() {
        for api in [PolicyApi::Ilm, PolicyApi::Ism] {
            let wanted = wanted(Some("400d"), None);
            let change = |existing| {
                let lifecycle = Lifecycle::Available { api, existing, merges: true };
                let removal = lifecycle.removal("ct").map(|change| change.action);
                (lifecycle.policy_change(&wanted, "ct", IndexBy::Month).unwrap().action, removal)
            };
            let mut ours = policy(api, &wanted, "ct", IndexBy::Month, true);
            assert_eq!(change(None), (Action::Create, None));
            assert_eq!(
                change(Some(ours.clone())),
                (Action::Keep("current".to_owned()), Some(Action::Delete))
            );
            let other =
                super::policy(api, &self::wanted(Some("30d"), None), "ct", IndexBy::Month, true);
            assert!(matches!(change(Some(other)).0, Action::Update(_)));
            ours["policy"]["_meta"] = json!({ "managed_by": "somebody", "version": 1 });
            ours["policy"]["description"] = json!("My policy");
            let (action, removal) = change(Some(ours));
            assert!(matches!(action, Action::Blocked(_)), "{action:?}");
            assert!(matches!(removal, Some(Action::Keep(_))), "{removal:?}");
        }
    }

    #[test]
    fn an_index_with_the_date_of_the_template_is_recognized() {
        let index = |from: &str| {
            let lifecycle = json!({ "name": "ct", "origination_date": from });
            AppliedPolicy::new(
                PolicyApi::Ilm,
                &json!({ "settings": { "index": { "lifecycle": lifecycle } } }),
            )
        };
        assert!(index("4102444800000").never_expires);
        let own = index("1706745600000");
        assert!(!own.never_expires && own.policy.as_deref() == Some("ct"));
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_not_reported_as_removed() {
        let lifecycle = Lifecycle::Unreadable("no".to_owned());
        let removal = lifecycle.removal("ct").map(|change| change.action);
        assert_eq!(removal, Some(Action::Blocked("no".to_owned())));
        assert_eq!(Lifecycle::Unavailable.removal("ct"), None);
    }
}
