//! Reads from an engine: which indices there are, and how their fields are mapped.
//!
//! Input: a [`Target`]. Output: [`ReadableIndex`]es and mappings.
//! Invariant: nothing is changed in the engine. A request that fails is retried as in a load.
//! Deliberately absent: documents (see `search_session`), and templates and their checks, which only a load needs.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::api::{ApiClient, ApiResponse};
use super::client::Client;
use super::identify::{EngineIdentity, EngineInfo, identify};
use super::inventory::{ALL_INDICES, data_stream};
use super::retry::{RetryContext, RetryPolicy};
use super::signing::{Service, Signing};
use super::target::Target;
use super::templates::is_managed;
use super::{paths, unless_immediate};
use crate::pending::PendingRequests;
use crate::report::Log;
use crate::shutdown::ShutdownSignal;
use crate::sink::error::Error;

/// The settings that decide how an index is read.
const SETTINGS: &str = "index.verified_before_close,index.number_of_shards";

/// An engine that is only read. Clones share the connections.
#[derive(Clone)]
pub struct EngineReader(Arc<Connection>);

struct Connection {
    client: Client,
    retry: RetryContext,
    info: EngineInfo,
    prefix: String,
    shutdown: ShutdownSignal,
}

/// An index that a search of the prefix reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadableIndex {
    /// Its own name; an alias refers to one or several indices.
    pub name: String,
    /// Whether it is closed, so that its documents cannot be read.
    pub is_closed: bool,
    /// Whether trailload manages its mapping.
    pub is_managed: bool,
    /// The other names that it has: its aliases, and the data stream that it belongs to.
    pub other_names: Vec<OtherName>,
    /// Number of its primary shards.
    pub shards: u32,
}

/// A name under which an index is read, and that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherName {
    /// An alias.
    Alias(String),
    /// A data stream.
    DataStream(String),
}

/// The indices that the name patterns of a prefix match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexNames {
    /// The indices of the prefix, by name.
    pub indices: Vec<ReadableIndex>,
    /// Indices of other prefixes that begin with this one.
    pub others: Vec<String>,
}

impl EngineReader {
    /// Connects to an engine and identifies it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if there is no response, if authentication fails, or if the server is not an engine.
    pub async fn connect(
        mut target: Target,
        log: Log,
        pending: PendingRequests,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Error> {
        let client = target.open_client(pending).await?;
        let policy = RetryPolicy::with_deadline(target.retry_deadline);
        let retry = RetryContext::new(policy, client.address(), log, shutdown.clone());
        let api = ApiClient { client: &client, retry: &retry };
        let identifying = identify_for_reading(&api, &target);
        let info = unless_immediate(&shutdown, &client, identifying).await?;
        Ok(Self(Arc::new(Connection { client, retry, info, prefix: target.prefix, shutdown })))
    }

    /// Returns the URL of the engine, without credentials.
    pub fn address(&self) -> &str {
        self.0.client.address()
    }

    /// Returns distribution and version of the engine.
    pub fn info(&self) -> &EngineInfo {
        &self.0.info
    }

    /// Returns the prefix of the indices.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Returns the names under which the indices of the prefix are found: the prefix itself, as an index, alias or data
    /// stream, and a pattern for periods.
    pub fn patterns(&self) -> String {
        let prefix = self.prefix();
        format!("{prefix},{prefix}-*")
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn api(&self) -> ApiClient<'_> {
        ApiClient { client: &self.0.client, retry: &self.0.retry }
    }

    pub(super) fn retry(&self) -> &RetryContext {
        &self.0.retry
    }

    pub(super) fn shutdown(&self) -> &ShutdownSignal {
        &self.0.shutdown
    }

    /// Lists the indices of the prefix, the closed ones too. `None` if the engine does not report them, or not to this user.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn indices(&self) -> Result<Option<IndexNames>, Error> {
        let patterns = self.patterns();
        let names: Vec<&str> = patterns.split(',').collect();
        let path = format!("{}?{ALL_INDICES}", paths::settings(&names, &[SETTINGS]));
        let Some(settings) = self.get_object(&path).await? else { return Ok(None) };
        let path = format!("{}?{ALL_INDICES}", paths::aliases(&names));
        let aliases = self.get_object(&path).await?;
        let path = format!(
            "{}?filter_path=*.mappings._meta.managed_by&{ALL_INDICES}",
            paths::mapping(&names)
        );
        let mappings = self.get_object(&path).await?;
        let (aliases, mappings) = (aliases.unwrap_or_default(), mappings.unwrap_or_default());
        let mut names = IndexNames::default();
        // Settings without a value are left out, so an index may be missing there.
        for name in
            settings.keys().chain(aliases.keys().filter(|name| !settings.contains_key(*name)))
        {
            let (settings, mappings) = (settings.get(name), mappings.get(name));
            let mut index = readable_index(name, settings, mappings);
            let aliases = aliases.get(name).and_then(|index| index["aliases"].as_object());
            let aliases = aliases.into_iter().flat_map(Map::keys);
            index.other_names.extend(aliases.clone().cloned().map(OtherName::Alias));
            let mut own_names = aliases.chain([name]);
            if own_names.any(|name| is_of_prefix(self.prefix(), name)) {
                names.indices.push(index);
            } else {
                names.others.push(index.name);
            }
        }
        names.indices.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Some(names))
    }

    /// Returns the mappings of these fields in the indices, as the engine returns them: `{INDEX: {"mappings": {FIELD: …}}}`.
    /// `None` if the engine does not report them, or not to this user.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn field_mappings(
        &self,
        indices: &str,
        fields: &[String],
    ) -> Result<Option<Map<String, Value>>, Error> {
        let path = format!("{}?{ALL_INDICES}", paths::field_mapping(indices, &fields.join(",")));
        self.get_object(&path).await
    }

    /// Reads an object. `None` if the engine does not return it, or not to this user.
    async fn get_object(&self, path: &str) -> Result<Option<Map<String, Value>>, Error> {
        let api = self.api();
        let getting = api.get(path, "reading the indices");
        match unless_immediate(&self.0.shutdown, &self.0.client, getting).await {
            Err(Error::Denied { status: 403, .. }) => Ok(None),
            Err(Error::Refused { reason, .. }) if reason.is_index_level() => Ok(None),
            Err(error) => Err(error),
            Ok(ApiResponse { status: 200, json: Value::Object(members), .. }) => Ok(Some(members)),
            Ok(response) if response.status == 404 && response.json.is_object() => {
                // Elasticsearch and OpenSearch respond so if no index has any of the fields.
                Ok(response.json["error"].is_null().then(Map::new))
            }
            Ok(_) => Ok(None),
        }
    }
}

impl fmt::Debug for EngineReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EngineReader")
            .field("client", &self.0.client)
            .field("info", &self.0.info)
            .finish_non_exhaustive()
    }
}

/// Identifies an engine. Whether one that does not respond to that is an engine shows in the response to the first search.
async fn identify_for_reading(api: &ApiClient<'_>, target: &Target) -> Result<EngineInfo, Error> {
    let EngineIdentity { info, .. } = match &target.signing {
        Some(Signing { service: Service::Serverless, .. }) => EngineIdentity::serverless(),
        _ => identify(api).await?,
    };
    info.check_version(api.address())?;
    Ok(info)
}

fn readable_index(name: &str, settings: Option<&Value>, mapping: Option<&Value>) -> ReadableIndex {
    let settings = settings.map(|settings| &settings["settings"]["index"]);
    let setting = |key: &str| settings.and_then(|settings| settings[key].as_str());
    ReadableIndex {
        name: name.to_owned(),
        is_closed: setting("verified_before_close") == Some("true"),
        is_managed: mapping.is_some_and(|mapping| is_managed(&mapping["mappings"])),
        shards: setting("number_of_shards").and_then(|text| text.parse().ok()).unwrap_or(1),
        other_names: data_stream(name)
            .map(|stream| OtherName::DataStream(stream.to_owned()))
            .into_iter()
            .collect(),
    }
}

/// Returns whether an index, alias or data stream belongs to a prefix, and not to a longer one: its name is the prefix, or
/// continues with a period, a number or `undated`.
fn is_of_prefix(prefix: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else {
        // A backing index of a data stream that has the name of the prefix.
        let backing = name.strip_prefix(".ds-").and_then(|name| name.strip_prefix(prefix));
        return backing.is_some_and(|rest| rest.starts_with('-') && is_period(&rest[1..]));
    };
    rest.is_empty() || rest.strip_prefix('-').is_some_and(is_period)
}

/// What follows the prefix in the name of the index of events without a valid time.
pub(super) const UNDATED: &str = "-undated";

fn is_period(rest: &str) -> bool {
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    rest == "undated" || !rest.is_empty() && rest.bytes().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_of_a_longer_prefix_are_others() {
        for name in [
            "ct",
            "ct-2024",
            "ct-2024.06",
            "ct-2024.06.01",
            "ct-undated",
            "ct-000001",
            "ct-2024-06-01",
            ".ds-ct-2024.06.01-000001",
            ".ds-ct-000001",
        ] {
            assert!(is_of_prefix("ct", name), "{name}");
        }
        for name in ["ct-test", "ct-test-2024.06", "ctx", "c", ".ds-ct-test-000001", "ct-"] {
            assert!(!is_of_prefix("ct", name), "{name}");
        }
    }
}
