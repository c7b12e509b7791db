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

use super::EngineSetup;
use crate::{
    normalize::{IndexBy, Retention},
    sink::{
        engine::{
            api::ApiResponse, identify::Distribution, index_age::origination_date,
            inventory::ALL_INDICES, paths, setup_template::SetupTemplate, templates::MANAGED_BY,
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
        let indices = self.own_indices(by).await?;
        let policies = self.policies(*api, indices.keys()).await?;
        let mut changes = Vec::new();
        for (name, end) in indices {
            let applied = policies.get(&name);
            let (kind, create) =
                (ObjectKind::Index, Action::Update("the policy applies".to_owned()));
            match applied.and_then(Option::as_deref) {
                Some(policy) if policy == prefix => {}
                Some(policy) => {
                    let kept = Action::Keep(format!("the policy '{policy}' applies"));
                    changes.push(Change::new(kind, name, kept));
                }
                None => changes.push(attachment(*api, prefix, &name, end, create)),
            }
        }
        Ok(changes)
    }

    /// Returns the changes after which the policy applies to no index of trailload.
    pub(super) async fn detachments(&self, lifecycle: &Lifecycle) -> Result<Vec<Change>, Error> {
        let Lifecycle::Available { api, .. } = lifecycle else { return Ok(Vec::new()) };
        let prefix = self.reader.prefix();
        let names = self.managed_indices().await?;
        let policies = self.policies(*api, names.iter()).await?;
        let attached = policies.into_iter().filter(|(_, policy)| policy.as_deref() == Some(prefix));
        Ok(attached.map(|(name, _)| detachment(*api, &name)).collect())
    }

    /// Returns the indices of a period that trailload manages, and the end of their period.
    async fn own_indices(&self, by: IndexBy) -> Result<BTreeMap<String, Timestamp>, Error> {
        let prefix = self.reader.prefix();
        let names = self.managed_indices().await?;
        let dated = names.into_iter().filter_map(|name| {
            let end = by.time_range(prefix, &name)?.to?;
            Some((name, end))
        });
        Ok(dated.collect())
    }

    async fn managed_indices(&self) -> Result<Vec<String>, Error> {
        let listed = self.reader.indices().await?.unwrap_or_default();
        let managed = listed.indices.into_iter().filter(|index| index.is_managed);
        Ok(managed.map(|index| index.name).collect())
    }

    /// Returns the policy that applies to each of these indices. An index is missing if that cannot be read.
    async fn policies<'a>(
        &self,
        api: PolicyApi,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<BTreeMap<String, Option<String>>, Error> {
        let prefix = self.reader.prefix();
        let path = match api {
            PolicyApi::Ilm => {
                let settings = paths::settings(&[&format!("{prefix}-*")], &["index.lifecycle.*"]);
                format!("{settings}?{ALL_INDICES}")
            }
            PolicyApi::Ism => format!("_plugins/_ism/explain/{prefix}-*"),
        };
        let Ok(response) = self.read(&path, "reading the policies of indices").await? else {
            return Ok(BTreeMap::new());
        };
        let all = &response.json;
        let policy = |name: &String| match api {
            PolicyApi::Ilm => all[name]["settings"]["index"]["lifecycle"]["name"].as_str(),
            PolicyApi::Ism => {
                all[name][ISM_POLICY].as_str().or_else(|| all[name]["policy_id"].as_str())
            }
        };
        Ok(names.map(|name| (name.clone(), policy(name).map(str::to_owned))).collect())
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
        let Self::Available { api, existing: Some(_), .. } = self else { return None };
        let kind = ObjectKind::LifecyclePolicy;
        if !self.is_ours() {
            let reason = "trailload did not create it".to_owned();
            return Some(Change::new(kind, prefix, Action::Keep(reason)));
        }
        Some(Change::new(kind, prefix, Action::Delete).send(Verb::Delete, api.path(prefix), None))
    }
}

fn attachment(api: PolicyApi, policy: &str, name: &str, end: Timestamp, action: Action) -> Change {
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
        "description": format!("{MARK}{VERSION}: {}", describe(wanted)),
        "default_state": "hot",
        "states": states,
        // Patterns have no other wildcard than `*`. The names of periods begin with the year, from 2000 to 2099.
        "ism_template": [{ "index_patterns": [format!("{prefix}-20*")], "priority": HOT_PRIORITY }],
    })
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
}
