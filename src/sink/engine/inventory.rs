//! Finds out which indices of a prefix there are, and whether documents can be sent to each of their names.
//!
//! In: a prefix. Out: an [`Inventory`], or the name under which "nothing twice" could not be kept.
//! A handful of requests at the beginning of a run and at its end; nothing is changed. An engine that does not answer these
//! questions, or not to this user, is loaded into all the same: then there is no inventory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::calls::Calls;
use super::client::Method;
use super::install::{MANAGED_BY, Templates};
use super::paths;
use crate::event::{HeldIndex, IndexIdentity, Inventory};
use crate::normalize::IndexBy;
use crate::sink::{Error, Spread};

/// The settings that tell which index it is, and whether a policy makes new ones behind an alias.
const SETTINGS: &str = "index.uuid,index.creation_date,index.verified_before_close,index.lifecycle.*,index.plugins.*,index.opendistro.*";

/// What a cluster that is still starting says in place of its UUID.
const NO_UUID: &str = "_na_";

/// Closed and hidden indices too; none at all is fine.
const ALL: &str = "expand_wildcards=all&ignore_unavailable=true&allow_no_indices=true";

/// Where Elasticsearch (ILM) and OpenSearch (ISM, under its two names) keep the alias that a policy rolls over.
const ROLLOVER: [&str; 3] = [
    "/lifecycle/rollover_alias",
    "/plugins/index_state_management/rollover_alias",
    "/opendistro/index_state_management/rollover_alias",
];

/// Indices of another span whose mappings are looked at.
const OWNED_AT_MOST: usize = 50;

/// What the names of backing indices of data streams begin with.
const BACKING: &str = ".ds-";

/// What is known of the indices of a prefix.
#[derive(Debug)]
pub(super) struct Found {
    /// What is there.
    pub(super) inventory: Inventory,
    /// The first name that documents of this run cannot be sent to, with the reason.
    pub(super) unfit: Option<(String, Spread)>,
}

/// An index by its own name.
struct Concrete {
    name: String,
    held: HeldIndex,
    /// The alias that a policy rolls over.
    rolled: Option<String>,
}

/// One name that documents may be sent under, and what it stands for.
#[derive(Default)]
struct Name<'a> {
    indices: Vec<&'a Concrete>,
    is_alias: bool,
    is_stream: bool,
    /// What the alias says of writes.
    is_write_index: Option<bool>,
}

/// Asks which cluster it is. `None` if the engine does not tell, or is still finding out.
pub(super) async fn cluster(calls: &Calls<'_>) -> Result<Option<String>, Error> {
    // The root first, which anybody may ask; some engines do not answer there.
    for path in ["", "_cluster/state/version"] {
        let all =
            ask(calls, &format!("{path}?filter_path=cluster_uuid")).await?.unwrap_or_default();
        match all.get("cluster_uuid").and_then(Value::as_str) {
            Some(NO_UUID) | None => {}
            Some(uuid) => return Ok(Some(uuid.to_owned())),
        }
    }
    Ok(None)
}

/// Makes all that was written to the open indices of a prefix, and deleted from them, countable, if that is allowed.
pub(super) async fn refresh_all(calls: &Calls<'_>, prefix: &str) -> Result<(), Error> {
    let path =
        format!("{prefix},{prefix}-*/_refresh?ignore_unavailable=true&allow_no_indices=true");
    match calls.call(Method::Post, &path, None, "refreshing the indices").await {
        Ok(_) | Err(Error::Denied { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes all that was written to some indices countable. Returns those for which that is not allowed.
pub(super) async fn refresh(calls: &Calls<'_>, names: &[String]) -> Result<Vec<String>, Error> {
    let mut denied = Vec::new();
    for name in names {
        let path = format!("{}?ignore_unavailable=true", paths::refresh(name));
        match calls.call(Method::Post, &path, None, "refreshing an index").await {
            Ok(said) if is_whole(&said.json["_shards"]) => {}
            Ok(_) | Err(Error::Denied { .. }) => denied.push(name.clone()),
            Err(Error::Refused { why, .. }) if why.is_of_index() => denied.push(name.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(denied)
}

/// Returns whether shards took part in something, and none failed. Those of a closed index, and of one whose nodes are
/// away, take no part.
fn is_whole(shards: &Value) -> bool {
    shards["failed"] == 0 && shards["successful"].as_u64().is_some_and(|number| number > 0)
}

/// Looks at the indices of a prefix. `None` if the engine does not tell.
pub(super) async fn look(
    calls: &Calls<'_>,
    prefix: &str,
    by: IndexBy,
) -> Result<Option<Found>, Error> {
    let months = format!("{prefix}-*");
    let names = [prefix, &months];
    let settings = paths::settings(&names, &[SETTINGS]);
    let Some(settings) = ask(calls, &format!("{settings}?{ALL}")).await? else {
        return Ok(None);
    };
    let aliases =
        ask(calls, &format!("{}?{ALL}", paths::aliases(&names))).await?.unwrap_or_default();
    let counts = "filter_path=_shards,indices.*.primaries.docs.count&forbid_closed_indices=false";
    let counts = ask(calls, &format!("{}?{counts}&{ALL}", paths::counts(&names))).await?;
    // A node that did not answer for its shards makes counts too low.
    let counts = counts.filter(|counts| counts.get("_shards").is_none_or(|all| all["failed"] == 0));
    let counts = counts.unwrap_or_default();
    let all: Vec<Concrete> =
        settings.iter().filter_map(|(name, settings)| concrete(name, settings, &counts)).collect();
    if all.is_empty() && !settings.is_empty() {
        // An engine that shows no UUIDs.
        return Ok(None);
    }
    Ok(Some(found(&all, &aliases, prefix, by)))
}

/// Looks at the one index that a name stands for, without its count. `None` if the engine does not tell.
pub(super) async fn held(calls: &Calls<'_>, name: &str) -> Result<Option<HeldIndex>, Error> {
    let all = ask(calls, &paths::settings(&[name], &["index.uuid", "index.creation_date"])).await?;
    let all = all.unwrap_or_default();
    let one = all.iter().next().filter(|_| all.len() == 1);
    Ok(one
        .and_then(|(name, settings)| concrete(name, settings, &Map::new()))
        .map(|index| index.held))
}

/// Checks that documents can be sent under the names of this run, and that indices are made as they were before.
///
/// `theirs` is what the template says. Where it says nothing, because it is gone or older, the indices tell. A prefix
/// without indices may be given another way to make them.
pub(super) async fn check(
    calls: &Calls<'_>,
    templates: &Templates,
    theirs: Option<IndexBy>,
    found: Option<&Found>,
) -> Result<(), Error> {
    let url = || calls.address().to_owned();
    if let Some(Found { unfit: Some((name, why)), .. }) = found {
        return Err(Error::NotOneIndex { url: url(), name: name.clone(), why: why.clone() });
    }
    let (prefix, ours) = (templates.prefix(), templates.by());
    let others = |found: &Found| {
        let names = found.inventory.indices.keys();
        let other =
            names.filter(|name| IndexBy::of_index(prefix, name).is_some_and(|by| by != ours));
        other.cloned().collect::<Vec<_>>()
    };
    let theirs = match (theirs, found.map(others)) {
        (Some(theirs), None) => Some(theirs),
        (Some(theirs), Some(names)) => Some(theirs)
            .filter(|theirs| names.iter().any(|name| theirs.range_of(prefix, name).is_some())),
        (None, Some(names)) => {
            owned(calls, &names).await?.and_then(|name| IndexBy::of_index(prefix, &name))
        }
        (None, None) => None,
    };
    match theirs.filter(|theirs| *theirs != ours) {
        Some(theirs) => {
            Err(Error::OtherSpan { url: url(), prefix: prefix.to_owned(), theirs, ours })
        }
        None => Ok(()),
    }
}

/// Returns the first of some indices whose mapping says that this program made it.
async fn owned(calls: &Calls<'_>, names: &[String]) -> Result<Option<String>, Error> {
    // A URL has its limits, and one that is ours is enough.
    let names = &names[..names.len().min(OWNED_AT_MOST)];
    let foreign = foreign(calls, names).await?;
    Ok(names.iter().find(|name| !foreign.contains(name)).cloned())
}

/// Returns those of some indices whose mappings do not say that this program made them.
pub(super) async fn foreign(calls: &Calls<'_>, names: &[String]) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let path = format!("{}?filter_path=*.mappings._meta&{ALL}", paths::mapping(&all));
    let all = ask(calls, &path).await?.unwrap_or_default();
    let is_ours = |name: &&String| {
        all.get(*name).is_some_and(|meta| meta["mappings"]["_meta"]["managed_by"] == MANAGED_BY)
    };
    Ok(names.iter().filter(|name| !is_ours(name)).cloned().collect())
}

/// Asks for something that is an object with a member for each index. `None` if it is not told, or not to this user.
async fn ask(calls: &Calls<'_>, path: &str) -> Result<Option<Map<String, Value>>, Error> {
    let said = match calls.read(path, "looking at the indices").await {
        Err(Error::Denied { .. }) => return Ok(None),
        // Where the metadata of one index is blocked, nothing is told of any.
        Err(Error::Refused { why, .. }) if why.is_of_index() => return Ok(None),
        said => said?,
    };
    match (said.status, said.json) {
        (200, Value::Object(all)) => Ok(Some(all)),
        _ => Ok(None),
    }
}

fn concrete(name: &str, settings: &Value, counts: &Map<String, Value>) -> Option<Concrete> {
    let settings = &settings["settings"]["index"];
    let made = settings["creation_date"].as_str().and_then(|text| text.parse().ok());
    let identity =
        IndexIdentity { uuid: settings["uuid"].as_str()?.to_owned(), made: made.unwrap_or(0) };
    let count = counts.get("indices").and_then(|all| all.get(name));
    let documents = count.and_then(|count| count.pointer("/primaries/docs/count")?.as_u64());
    // What a closed index holds cannot be counted.
    let documents = documents.filter(|_| settings["verified_before_close"].is_null());
    let rolled = ROLLOVER.iter().find_map(|path| settings.pointer(path)?.as_str());
    Some(Concrete {
        name: name.to_owned(),
        held: HeldIndex { identity, documents },
        rolled: rolled.map(str::to_owned),
    })
}

/// Sorts indices by the names that documents may be sent under.
fn found(all: &[Concrete], aliases: &Map<String, Value>, prefix: &str, by: IndexBy) -> Found {
    let mut names: BTreeMap<String, Name<'_>> = BTreeMap::new();
    for index in all {
        if let Some(stream) = stream(&index.name) {
            let name = names.entry(stream.to_owned()).or_default();
            name.is_stream = true;
            name.indices.push(index);
            continue;
        }
        names.entry(index.name.clone()).or_default().indices.push(index);
        let aliases = aliases.get(&index.name).and_then(|index| index["aliases"].as_object());
        for (alias, says) in aliases.into_iter().flatten() {
            let name = names.entry(alias.clone()).or_default();
            name.is_alias = true;
            name.is_write_index = name.is_write_index.or(says["is_write_index"].as_bool());
            name.indices.push(index);
        }
    }
    let unfit = names.iter().find_map(|(name, what)| {
        by.range_of(prefix, name)?;
        Some((name.clone(), what.spread(name)?))
    });
    let is_ours =
        |name: &str| name.ends_with("-undated") || IndexBy::of_index(prefix, name).is_some();
    let single = names.into_iter().filter(|(name, what)| is_ours(name) && what.indices.len() == 1);
    let inventory = Inventory {
        indices: single.map(|(name, what)| (name, what.indices[0].held.clone())).collect(),
        uuids: all.iter().map(|index| index.held.identity.uuid.clone()).collect::<BTreeSet<_>>(),
    };
    Found { inventory, unfit }
}

impl Name<'_> {
    /// Returns why documents cannot be sent under this name, if that is so.
    fn spread(&self, name: &str) -> Option<Spread> {
        if self.is_stream {
            return Some(Spread::DataStream);
        }
        if !self.is_alias {
            return None;
        }
        let indices: Vec<String> = self.indices.iter().map(|index| index.name.clone()).collect();
        if indices.len() > 1 {
            return Some(Spread::Several { indices });
        }
        if self.is_write_index == Some(false) {
            return Some(Spread::NoWrites { index: indices.into_iter().next()? });
        }
        let rolled = self.indices.iter().find(|index| index.rolled.as_deref() == Some(name))?;
        Some(Spread::Rollover { index: rolled.name.clone() })
    }
}

/// Returns the data stream that an index belongs to, by its name: `.ds-STREAM-2024.06.01-000001`.
fn stream(index: &str) -> Option<&str> {
    let (head, _generation) = index.strip_prefix(BACKING)?.rsplit_once('-')?;
    let is_date = |text: &str| {
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    // OpenSearch leaves the date out.
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

    fn looked(settings: &[(&str, Value)], aliases: &Value, by: IndexBy) -> Found {
        let counts =
            json!({ "indices": { "ct-2024.06": { "primaries": { "docs": { "count": 7 } } } } });
        let counts = counts.as_object().unwrap();
        let all: Vec<_> =
            settings.iter().filter_map(|(name, value)| concrete(name, value, counts)).collect();
        found(&all, aliases.as_object().unwrap(), "ct", by)
    }

    #[test]
    fn plain_indices_are_told_with_uuid_time_and_count() {
        let found = looked(
            &[("ct-2024.06", settings("u1", &json!({}))), ("ct-other", settings("u2", &json!({})))],
            &json!({}),
            IndexBy::Month,
        );
        assert_eq!(found.unfit, None);
        let identity = IndexIdentity { uuid: "u1".into(), made: 1_700_000_000_000 };
        let june = HeldIndex { identity, documents: Some(7) };
        assert_eq!(found.inventory.indices, [("ct-2024.06".to_owned(), june)].into());
        assert_eq!(found.inventory.uuids.len(), 2);
    }

    #[test]
    fn an_alias_is_fit_only_over_one_index_that_nobody_rolls_over() {
        let alias = |says: Value| json!({ "ct-000001": { "aliases": { "ct": says } } });
        let one = |rest: Value| [("ct-000001", settings("u1", &rest))];
        let found =
            looked(&one(json!({})), &alias(json!({ "is_write_index": true })), IndexBy::None);
        assert_eq!(found.unfit, None);
        assert_eq!(found.inventory.indices["ct"].identity.uuid, "u1");

        let policies = [
            json!({ "lifecycle": { "name": "p", "rollover_alias": "ct" } }),
            json!({ "plugins": { "index_state_management": { "rollover_alias": "ct" } } }),
            json!({ "opendistro": { "index_state_management": { "rollover_alias": "ct" } } }),
        ];
        for policy in policies {
            let found = looked(&one(policy), &alias(json!({})), IndexBy::None);
            let why = Spread::Rollover { index: "ct-000001".into() };
            assert_eq!(found.unfit, Some(("ct".to_owned(), why)));
        }
        let found =
            looked(&one(json!({})), &alias(json!({ "is_write_index": false })), IndexBy::None);
        assert!(matches!(found.unfit, Some((_, Spread::NoWrites { .. }))));
    }

    #[test]
    fn an_alias_over_several_matters_only_where_documents_are_sent() {
        let two =
            [("ct-000001", settings("u1", &json!({}))), ("ct-000002", settings("u2", &json!({})))];
        let aliases = json!({ "ct-000001": { "aliases": { "ct": {} } },
            "ct-000002": { "aliases": { "ct": { "is_write_index": true } } } });
        let found = looked(&two, &aliases, IndexBy::None);
        let indices = vec!["ct-000001".to_owned(), "ct-000002".to_owned()];
        assert_eq!(found.unfit, Some(("ct".to_owned(), Spread::Several { indices })));
        assert!(found.inventory.indices.is_empty());
        assert_eq!(looked(&two, &aliases, IndexBy::Month).unfit, None, "an alias for searches");
        let months = json!({ "ct-000001": { "aliases": { "ct-2024.06": {} } },
            "ct-000002": { "aliases": { "ct-2024.06": {} } } });
        let unfit = looked(&two, &months, IndexBy::Month).unfit;
        assert_eq!(unfit.map(|(name, _)| name).as_deref(), Some("ct-2024.06"));
    }

    #[test]
    fn a_closed_index_is_there_and_not_counted() {
        let closed = settings("u", &json!({ "verified_before_close": "true" }));
        let found = looked(&[("ct-2024.06", closed)], &json!({}), IndexBy::Month);
        assert_eq!(found.inventory.indices["ct-2024.06"].documents, None);
        for (shards, whole) in [
            (json!({ "total": 2, "successful": 1, "failed": 0 }), true),
            (json!({ "total": 2, "successful": 0, "failed": 0 }), false),
            (json!({ "total": 2, "successful": 1, "failed": 1 }), false),
            (json!(null), false),
        ] {
            assert_eq!(is_whole(&shards), whole, "{shards}");
        }
    }

    #[test]
    fn data_streams_are_known_by_their_indices() {
        for backing in [".ds-ct-2024.06.01-000001", ".ds-ct-000001"] {
            let found = looked(&[(backing, settings("u", &json!({})))], &json!({}), IndexBy::None);
            assert_eq!(found.unfit, Some(("ct".to_owned(), Spread::DataStream)), "{backing}");
        }
    }
}
