//! Lists the indices of a prefix, and checks that every name that documents are written to refers to one index.
//!
//! Input: a prefix. Output: an [`Inventory`], or the name under which documents could be indexed twice.
//! Sends a few read requests at the beginning of a run and at its end. An engine that does not answer them, or not to this
//! user, is loaded into nevertheless, without an inventory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::api::ApiClient;
use super::client::Method;
use super::paths;
use super::templates::{Templates, is_managed};
use crate::event::{IndexIdentity, IndexState, Inventory};
use crate::normalize::IndexBy;
use crate::sink::error::{Error, NameProblem};

/// The settings that identify an index, and those of policies that roll over an alias.
const SETTINGS: &str = "index.uuid,index.creation_date,index.verified_before_close,index.lifecycle.*,index.plugins.*,index.opendistro.*";

/// The UUID of a cluster that is still starting.
const NO_UUID: &str = "_na_";

/// Query for closed and hidden indices too, and for none at all.
pub(super) const ALL_INDICES: &str =
    "expand_wildcards=all&ignore_unavailable=true&allow_no_indices=true";

/// Settings that contain the rollover alias of a policy: of Elasticsearch (ILM), and of OpenSearch (ISM, two names).
const ROLLOVER_ALIAS: [&str; 3] = [
    "/lifecycle/rollover_alias",
    "/plugins/index_state_management/rollover_alias",
    "/opendistro/index_state_management/rollover_alias",
];

/// Indices of another period whose mappings are read, because URLs are limited in length.
const MAX_MAPPINGS_READ: usize = 50;

/// First part of the names of backing indices of data streams.
const BACKING_INDEX_PREFIX: &str = ".ds-";

/// The indices of a prefix.
#[derive(Debug)]
pub(super) struct IndexListing {
    /// The existing indices.
    pub(super) inventory: Inventory,
    /// The first name that documents of this run cannot be written to, and why.
    pub(super) unsuitable: Option<(String, NameProblem)>,
}

/// An index under its own name.
struct ConcreteIndex {
    name: String,
    held: IndexState,
    /// The alias that a policy rolls over.
    rollover_alias: Option<String>,
}

/// A name that documents may be written to, and the indices it refers to.
#[derive(Default)]
struct Name<'a> {
    indices: Vec<&'a ConcreteIndex>,
    is_alias: bool,
    is_data_stream: bool,
    /// The `is_write_index` flag of the alias.
    is_write_index: Option<bool>,
}

/// Returns the UUID of the cluster. `None` if the engine does not report it, or is still starting.
pub(super) async fn fetch_cluster_uuid(api: &ApiClient<'_>) -> Result<Option<String>, Error> {
    // The root first, which requires the fewest privileges; some engines do not respond there.
    for path in ["", "_cluster/state/version"] {
        let path = format!("{path}?filter_path=cluster_uuid");
        let members = get_object(api, &path).await?.unwrap_or_default();
        match members.get("cluster_uuid").and_then(Value::as_str) {
            Some(NO_UUID) | None => {}
            Some(uuid) => return Ok(Some(uuid.to_owned())),
        }
    }
    Ok(None)
}

/// Refreshes all open indices of a prefix, so that their counts are exact, if that is permitted.
pub(super) async fn refresh_all(api: &ApiClient<'_>, prefix: &str) -> Result<(), Error> {
    let path =
        format!("{prefix},{prefix}-*/_refresh?ignore_unavailable=true&allow_no_indices=true");
    match api.send(Method::Post, &path, None, "refreshing the indices").await {
        Ok(_) | Err(Error::Denied { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refreshes indices, so that their counts are exact. Returns those that could not be refreshed.
pub(super) async fn refresh(api: &ApiClient<'_>, names: &[String]) -> Result<Vec<String>, Error> {
    let mut stale = Vec::new();
    for name in names {
        let path = format!("{}?ignore_unavailable=true", paths::refresh(name));
        match api.send(Method::Post, &path, None, "refreshing an index").await {
            Ok(response) if all_shards_succeeded(&response.json["_shards"]) => {}
            Ok(_) | Err(Error::Denied { .. }) => stale.push(name.clone()),
            Err(Error::Refused { reason, .. }) if reason.is_index_level() => {
                stale.push(name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(stale)
}

/// Returns whether a request reached shards, and none failed. The shards of a closed index, and those of missing nodes,
/// are not reached.
fn all_shards_succeeded(shards: &Value) -> bool {
    shards["failed"] == 0 && shards["successful"].as_u64().is_some_and(|number| number > 0)
}

/// Lists the indices of a prefix. `None` if the engine does not report them.
pub(super) async fn fetch(
    api: &ApiClient<'_>,
    prefix: &str,
    index_by: IndexBy,
) -> Result<Option<IndexListing>, Error> {
    let periods = format!("{prefix}-*");
    let names = [prefix, &periods];
    let settings = paths::settings(&names, &[SETTINGS]);
    let Some(settings) = get_object(api, &format!("{settings}?{ALL_INDICES}")).await? else {
        return Ok(None);
    };
    let aliases = format!("{}?{ALL_INDICES}", paths::aliases(&names));
    let aliases = get_object(api, &aliases).await?.unwrap_or_default();
    let filter = "filter_path=_shards,indices.*.primaries.docs.count&forbid_closed_indices=false";
    let counts = format!("{}?{filter}&{ALL_INDICES}", paths::document_counts(&names));
    let counts = get_object(api, &counts).await?;
    // Shards that failed make counts too low.
    let counts = counts.filter(|counts| counts.get("_shards").is_none_or(|all| all["failed"] == 0));
    let counts = counts.unwrap_or_default();
    let indices: Vec<ConcreteIndex> = settings
        .iter()
        .filter_map(|(name, settings)| concrete_index(name, settings, &counts))
        .collect();
    if indices.is_empty() && !settings.is_empty() {
        // An engine that reports no UUIDs.
        return Ok(None);
    }
    Ok(Some(listing(&indices, &aliases, prefix, index_by)))
}

/// Returns the one index that a name refers to, without its count. `None` if the engine does not report it.
pub(super) async fn fetch_index(
    api: &ApiClient<'_>,
    name: &str,
) -> Result<Option<IndexState>, Error> {
    let path = paths::settings(&[name], &["index.uuid", "index.creation_date"]);
    let indices = get_object(api, &path).await?.unwrap_or_default();
    let index = indices.iter().next().filter(|_| indices.len() == 1);
    Ok(index
        .and_then(|(name, settings)| concrete_index(name, settings, &Map::new()))
        .map(|index| index.held))
}

/// Returns the UUIDs of those of these indices that exist, by name. `None` if the engine does not report them.
pub(super) async fn fetch_uuids(
    api: &ApiClient<'_>,
    names: &[&str],
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let path = format!("{}?{ALL_INDICES}", paths::settings(names, &["index.uuid"]));
    let Some(indices) = get_object(api, &path).await? else { return Ok(None) };
    let uuid =
        |settings: &Value| Some(settings.pointer("/settings/index/uuid")?.as_str()?.to_owned());
    let uuids = indices.iter().filter_map(|(name, settings)| Some((name.clone(), uuid(settings)?)));
    Ok(Some(uuids.collect()))
}

/// Checks that documents can be written to the names of this run, and that existing indices cover the same periods.
///
/// `recorded` is the period that the index template records. Where there is none, because the template is missing or
/// older, the existing indices show it. A prefix without indices may be given another period.
pub(super) async fn check(
    api: &ApiClient<'_>,
    templates: &Templates,
    recorded: Option<IndexBy>,
    listing: Option<&IndexListing>,
) -> Result<(), Error> {
    let url = || api.address().to_owned();
    if let Some(IndexListing { unsuitable: Some((name, problem)), .. }) = listing {
        let (name, problem) = (name.clone(), problem.clone());
        return Err(Error::UnsuitableName { url: url(), name, problem });
    }
    let (prefix, ours) = (templates.prefix(), templates.index_by());
    let of_other_period = |listing: &IndexListing| {
        let names = listing.inventory.indices.keys();
        let others = names
            .filter(|name| IndexBy::from_index_name(prefix, name).is_some_and(|by| by != ours));
        others.cloned().collect::<Vec<_>>()
    };
    let theirs = match (recorded, listing.map(of_other_period)) {
        (Some(recorded), None) => Some(recorded),
        (Some(recorded), Some(names)) => Some(recorded).filter(|recorded| {
            names.iter().any(|name| recorded.time_range(prefix, name).is_some())
        }),
        (None, Some(names)) => first_managed(api, &names)
            .await?
            .and_then(|name| IndexBy::from_index_name(prefix, &name)),
        (None, None) => None,
    };
    match theirs.filter(|theirs| *theirs != ours) {
        Some(theirs) => {
            Err(Error::IndexByMismatch { url: url(), prefix: prefix.to_owned(), theirs, ours })
        }
        None => Ok(()),
    }
}

/// Returns the first of these indices whose mapping is managed by trailload.
async fn first_managed(api: &ApiClient<'_>, names: &[String]) -> Result<Option<String>, Error> {
    let names = &names[..names.len().min(MAX_MAPPINGS_READ)];
    let foreign = foreign_indices(api, names).await?;
    Ok(names.iter().find(|name| !foreign.contains(name)).cloned())
}

/// Returns those of these indices whose mappings are not managed by trailload.
pub(super) async fn foreign_indices(
    api: &ApiClient<'_>,
    names: &[String],
) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let path = format!("{}?filter_path=*.mappings._meta&{ALL_INDICES}", paths::mapping(&all));
    let indices = get_object(api, &path).await?.unwrap_or_default();
    let is_ours =
        |name: &&String| indices.get(*name).is_some_and(|index| is_managed(&index["mappings"]));
    Ok(names.iter().filter(|name| !is_ours(name)).cloned().collect())
}

/// Reads an object, usually with a member for each index. `None` if the engine does not return it, or not to this user.
async fn get_object(api: &ApiClient<'_>, path: &str) -> Result<Option<Map<String, Value>>, Error> {
    let response = match api.get(path, "reading the indices").await {
        Err(Error::Denied { .. }) => return Ok(None),
        // A metadata block of one index hides all of them.
        Err(Error::Refused { reason, .. }) if reason.is_index_level() => return Ok(None),
        response => response?,
    };
    match (response.status, response.json) {
        (200, Value::Object(members)) => Ok(Some(members)),
        _ => Ok(None),
    }
}

fn concrete_index(
    name: &str,
    settings: &Value,
    counts: &Map<String, Value>,
) -> Option<ConcreteIndex> {
    let settings = &settings["settings"]["index"];
    let created_at = settings["creation_date"].as_str().and_then(|text| text.parse().ok());
    let identity = IndexIdentity {
        uuid: settings["uuid"].as_str()?.to_owned(),
        created_at: created_at.unwrap_or(0),
    };
    let count = counts.get("indices").and_then(|all| all.get(name));
    let documents = count.and_then(|count| count.pointer("/primaries/docs/count")?.as_u64());
    // The documents of a closed index cannot be counted.
    let documents = documents.filter(|_| settings["verified_before_close"].is_null());
    let rollover_alias = ROLLOVER_ALIAS.iter().find_map(|path| settings.pointer(path)?.as_str());
    Some(ConcreteIndex {
        name: name.to_owned(),
        held: IndexState { identity, documents },
        rollover_alias: rollover_alias.map(str::to_owned),
    })
}

/// Groups indices by the names that documents may be written to.
fn listing(
    indices: &[ConcreteIndex],
    aliases: &Map<String, Value>,
    prefix: &str,
    index_by: IndexBy,
) -> IndexListing {
    let mut names: BTreeMap<String, Name<'_>> = BTreeMap::new();
    for index in indices {
        if let Some(stream) = data_stream(&index.name) {
            let name = names.entry(stream.to_owned()).or_default();
            name.is_data_stream = true;
            name.indices.push(index);
            continue;
        }
        names.entry(index.name.clone()).or_default().indices.push(index);
        let aliases = aliases.get(&index.name).and_then(|index| index["aliases"].as_object());
        for (alias, properties) in aliases.into_iter().flatten() {
            let name = names.entry(alias.clone()).or_default();
            name.is_alias = true;
            name.is_write_index = name.is_write_index.or(properties["is_write_index"].as_bool());
            name.indices.push(index);
        }
    }
    let unsuitable = names.iter().find_map(|(name, usage)| {
        index_by.time_range(prefix, name)?;
        Some((name.clone(), usage.problem(name)?))
    });
    let is_ours =
        |name: &str| name.ends_with("-undated") || IndexBy::from_index_name(prefix, name).is_some();
    let single =
        names.into_iter().filter(|(name, usage)| is_ours(name) && usage.indices.len() == 1);
    let inventory = Inventory {
        indices: single.map(|(name, usage)| (name, usage.indices[0].held.clone())).collect(),
        uuids: indices
            .iter()
            .map(|index| index.held.identity.uuid.clone())
            .collect::<BTreeSet<_>>(),
    };
    IndexListing { inventory, unsuitable }
}

impl Name<'_> {
    /// Returns why documents cannot be written to this name, if so.
    fn problem(&self, name: &str) -> Option<NameProblem> {
        if self.is_data_stream {
            return Some(NameProblem::DataStream);
        }
        if !self.is_alias {
            return None;
        }
        let indices: Vec<String> = self.indices.iter().map(|index| index.name.clone()).collect();
        if indices.len() > 1 {
            return Some(NameProblem::SeveralIndices { indices });
        }
        if self.is_write_index == Some(false) {
            return Some(NameProblem::NotWritable { index: indices.into_iter().next()? });
        }
        let rolled_over =
            self.indices.iter().find(|index| index.rollover_alias.as_deref() == Some(name))?;
        Some(NameProblem::Rollover { index: rolled_over.name.clone() })
    }
}

/// Returns the data stream of a backing index, from its name: `.ds-STREAM-2024.06.01-000001`.
pub(super) fn data_stream(index: &str) -> Option<&str> {
    let (head, _generation) = index.strip_prefix(BACKING_INDEX_PREFIX)?.rsplit_once('-')?;
    let is_date = |text: &str| {
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    // OpenSearch names have no date.
    match head.rsplit_once('-') {
        Some((stream, date)) if is_date(date) => Some(stream),
        _ => Some(head),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(uuid: &str, rest: &Value) -> Value {
        let mut index = json!({ "uuid": uuid, "creation_date": "1700000000000" });
        index.as_object_mut().unwrap().extend(rest.as_object().cloned().unwrap_or_default());
        json!({ "settings": { "index": index } })
    }

    fn listed(settings: &[(&str, Value)], aliases: &Value, by: IndexBy) -> IndexListing {
        let counts =
            json!({ "indices": { "ct-2024.06": { "primaries": { "docs": { "count": 7 } } } } });
        let counts = counts.as_object().unwrap();
        let all: Vec<_> = settings
            .iter()
            .filter_map(|(name, value)| concrete_index(name, value, counts))
            .collect();
        listing(&all, aliases.as_object().unwrap(), "ct", by)
    }

    #[test]
    fn plain_indices_are_listed_with_uuid_time_and_count() {
        let listing = listed(
            &[("ct-2024.06", settings("u1", &json!({}))), ("ct-other", settings("u2", &json!({})))],
            &json!({}),
            IndexBy::Month,
        );
        assert_eq!(listing.unsuitable, None);
        let identity = IndexIdentity { uuid: "u1".into(), created_at: 1_700_000_000_000 };
        let june = IndexState { identity, documents: Some(7) };
        assert_eq!(listing.inventory.indices, [("ct-2024.06".to_owned(), june)].into());
        assert_eq!(listing.inventory.uuids.len(), 2);
    }

    #[test]
    fn an_alias_is_suitable_only_for_one_index_without_rollover() {
        let alias = |alias: Value| json!({ "ct-000001": { "aliases": { "ct": alias } } });
        let one = |rest: Value| [("ct-000001", settings("u1", &rest))];
        let listing =
            listed(&one(json!({})), &alias(json!({ "is_write_index": true })), IndexBy::None);
        assert_eq!(listing.unsuitable, None);
        assert_eq!(listing.inventory.indices["ct"].identity.uuid, "u1");

        let policies = [
            json!({ "lifecycle": { "name": "p", "rollover_alias": "ct" } }),
            json!({ "plugins": { "index_state_management": { "rollover_alias": "ct" } } }),
            json!({ "opendistro": { "index_state_management": { "rollover_alias": "ct" } } }),
        ];
        for policy in policies {
            let listing = listed(&one(policy), &alias(json!({})), IndexBy::None);
            let problem = NameProblem::Rollover { index: "ct-000001".into() };
            assert_eq!(listing.unsuitable, Some(("ct".to_owned(), problem)));
        }
        let listing =
            listed(&one(json!({})), &alias(json!({ "is_write_index": false })), IndexBy::None);
        assert!(matches!(listing.unsuitable, Some((_, NameProblem::NotWritable { .. }))));
    }

    #[test]
    fn an_alias_of_several_indices_matters_only_if_documents_are_written_to_it() {
        let two =
            [("ct-000001", settings("u1", &json!({}))), ("ct-000002", settings("u2", &json!({})))];
        let aliases = json!({ "ct-000001": { "aliases": { "ct": {} } },
            "ct-000002": { "aliases": { "ct": { "is_write_index": true } } } });
        let listing = listed(&two, &aliases, IndexBy::None);
        let indices = vec!["ct-000001".to_owned(), "ct-000002".to_owned()];
        assert_eq!(
            listing.unsuitable,
            Some(("ct".to_owned(), NameProblem::SeveralIndices { indices }))
        );
        assert!(listing.inventory.indices.is_empty());
        assert_eq!(
            listed(&two, &aliases, IndexBy::Month).unsuitable,
            None,
            "an alias for searches"
        );
        let months = json!({ "ct-000001": { "aliases": { "ct-2024.06": {} } },
            "ct-000002": { "aliases": { "ct-2024.06": {} } } });
        let unsuitable = listed(&two, &months, IndexBy::Month).unsuitable;
        assert_eq!(unsuitable.map(|(name, _)| name).as_deref(), Some("ct-2024.06"));
    }

    #[test]
    fn a_closed_index_is_listed_without_a_count() {
        let closed = settings("u", &json!({ "verified_before_close": "true" }));
        let listing = listed(&[("ct-2024.06", closed)], &json!({}), IndexBy::Month);
        assert_eq!(listing.inventory.indices["ct-2024.06"].documents, None);
        for (shards, whole) in [
            (json!({ "total": 2, "successful": 1, "failed": 0 }), true),
            (json!({ "total": 2, "successful": 0, "failed": 0 }), false),
            (json!({ "total": 2, "successful": 1, "failed": 1 }), false),
            (json!(null), false),
        ] {
            assert_eq!(all_shards_succeeded(&shards), whole, "{shards}");
        }
    }

    #[test]
    fn data_streams_are_recognized_by_their_backing_indices() {
        for backing in [".ds-ct-2024.06.01-000001", ".ds-ct-000001"] {
            let listing =
                listed(&[(backing, settings("u", &json!({})))], &json!({}), IndexBy::None);
            assert_eq!(
                listing.unsuitable,
                Some(("ct".to_owned(), NameProblem::DataStream)),
                "{backing}"
            );
        }
    }
}
