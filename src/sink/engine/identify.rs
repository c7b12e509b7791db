//! Determines which engine responds at an address, before any event is sent there.
//!
//! Input: the response to `GET /`. Output: distribution and version, or an error that shows what responded instead.
//! Invariant: an address is accepted only if it responds as Elasticsearch or OpenSearch does, self-managed or as a
//! service. The exceptions:
//!
//! | response | accepted |
//! |---|---|
//! | 403 | if the index template API then responds as an engine does: a user may be allowed to write but not to ask this |
//! | `{}` | on this machine, or if requests are signed: endpoints that implement `_bulk` and little else |
//! | 404, 405 | if requests are signed: an AWS service with a name of its own |
//! | 405 with a header that names Elasticsearch | if the index template API then responds as an engine does: a node may lack the module for `GET /` |
//! | (not requested) | an OpenSearch Serverless collection does not implement `GET /` |

use std::fmt;

use serde_json::Value;

use super::api::{ApiClient, ApiResponse};
use super::client::{Client, Method};
use super::excerpt::excerpt;
use crate::sink::cause::{Cause, ConnectError};
use crate::sink::error::Error;

/// The tagline of Elasticsearch.
const ELASTICSEARCH_TAGLINE: &str = "You Know, for Search";

/// The tagline of OpenSearch.
const OPENSEARCH_TAGLINE: &str = "The OpenSearch Project: https://opensearch.org/";

/// The version of an OpenSearch Serverless collection, which reports none.
const SERVERLESS: &str = "Serverless";

/// The first Elasticsearch with composable index templates.
const MIN_ELASTICSEARCH: (u64, u64) = (7, 8);

/// The distribution of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// OpenSearch.
    OpenSearch,
    /// Elasticsearch.
    Elasticsearch,
    /// An endpoint that accepts bulk requests but does not report its distribution.
    Unknown,
}

/// Distribution and version of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// The distribution.
    pub distribution: Distribution,
    /// The version, if the engine reports it.
    pub version: Option<String>,
}

/// An engine, and whether it was confirmed to be one.
#[derive(Debug)]
pub(super) struct EngineIdentity {
    pub(super) info: EngineInfo,
    pub(super) confirmation: Confirmation,
}

/// Whether the response to `GET /` shows that an engine responds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// It does, or one of the exceptions applies.
    Confirmed,
    /// The response of the index template API has to show it. Contains the response to `GET /`.
    Pending(Cause),
}

impl EngineInfo {
    /// Returns the description of an OpenSearch Serverless collection.
    fn serverless() -> Self {
        Self { distribution: Distribution::OpenSearch, version: Some(SERVERLESS.to_owned()) }
    }

    /// Returns whether the engine is an OpenSearch Serverless collection.
    pub(super) fn is_serverless(&self) -> bool {
        self.version.as_deref() == Some(SERVERLESS)
    }

    /// Checks that the engine is new enough.
    pub(super) fn check_version(&self, address: &str) -> Result<(), Error> {
        match (self.distribution, &self.version, self.major_and_minor()) {
            (Distribution::Elasticsearch, Some(version), Some(number))
                if number < MIN_ELASTICSEARCH =>
            {
                Err(Error::UnsupportedVersion { url: address.to_owned(), version: version.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the engine has this version or a later one. False if it reports none.
    pub(super) fn is_at_least(&self, version: (u64, u64)) -> bool {
        self.major_and_minor().is_some_and(|ours| ours >= version)
    }

    fn major_and_minor(&self) -> Option<(u64, u64)> {
        let mut numbers = self.version.as_ref()?.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

impl fmt::Display for EngineInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.distribution {
            Distribution::OpenSearch => "OpenSearch",
            Distribution::Elasticsearch => "Elasticsearch",
            Distribution::Unknown => "unknown engine",
        };
        match &self.version {
            Some(version) => write!(out, "{name} {version}"),
            None => out.write_str(name),
        }
    }
}

impl EngineIdentity {
    /// Returns the identity of an OpenSearch Serverless collection.
    pub(super) fn serverless() -> Self {
        Self { info: EngineInfo::serverless(), confirmation: Confirmation::Confirmed }
    }

    fn confirmed(distribution: Distribution, version: Option<String>) -> Self {
        let info = EngineInfo { distribution, version };
        Self { info, confirmation: Confirmation::Confirmed }
    }

    fn pending(distribution: Distribution, cause: Cause) -> Self {
        let info = EngineInfo { distribution, version: None };
        Self { info, confirmation: Confirmation::Pending(cause) }
    }
}

/// Asks the engine for its distribution and version. This is the first request, so connection errors are not retried.
///
/// # Errors
///
/// Returns [`Error`] if there is no response, if authentication fails, or if the server is not an engine.
pub(super) async fn identify(api: &ApiClient<'_>) -> Result<EngineIdentity, Error> {
    let url = api.address().to_owned();
    match api.client.probe().await {
        Ok(()) => {}
        Err(source @ Cause::Redirect { .. }) => return Err(Error::Redirected { url, source }),
        Err(source) => {
            let kind = match source {
                Cause::Connection { kind, .. } => kind,
                _ => ConnectError::Other,
            };
            return Err(Error::Connect { url, kind, source });
        }
    }
    let action = "asking for its version";
    let response = match api.send(Method::Get, "", None, action).await {
        // 403 concerns only this request; an account that writes may not be allowed to make it.
        Err(Error::Denied { status: 403, source, .. }) => return Ok(forbidden(api, source)),
        response => response?,
    };
    match classify(&response, api.client) {
        Some(mut identity) => {
            let EngineInfo { distribution, version } = &mut identity.info;
            if *distribution == Distribution::Elasticsearch && version.is_none() {
                *version = node_version(api).await;
            }
            Ok(identity)
        }
        None => Err(Error::NotAnEngine { url, source: unexpected(&response, api.client) }),
    }
}

fn forbidden(api: &ApiClient<'_>, source: Cause) -> EngineIdentity {
    if api.client.is_signed() {
        return EngineIdentity::confirmed(Distribution::Unknown, None);
    }
    EngineIdentity::pending(Distribution::Unknown, source)
}

/// Returns which engine responded; `None` if it is neither one nor one of the exceptions.
fn classify(response: &ApiResponse, client: &Client) -> Option<EngineIdentity> {
    let about = &response.json;
    if let Some(distribution) = distribution(response) {
        let version = about["version"]["number"].as_str().map(str::to_owned);
        return Some(EngineIdentity::confirmed(distribution, version));
    }
    if response.status == 405 && response.is_elasticsearch {
        // A node without the module for `GET /`. It responds the same below a wrong path.
        return Some(EngineIdentity::pending(Distribution::Elasticsearch, response.cause()));
    }
    let is_exception = match response.status {
        200..=299 => is_empty_object(about) && (client.is_local() || client.is_signed()),
        404 | 405 => client.is_signed(),
        _ => false,
    };
    is_exception.then(|| EngineIdentity::confirmed(Distribution::Unknown, None))
}

fn distribution(response: &ApiResponse) -> Option<Distribution> {
    let about = &response.json;
    // An engine names itself below a wrong path, too: only a success shows that this is the root.
    if !response.is_success() {
        return None;
    }
    let has_version = about["version"]["number"].is_string();
    let is_opensearch =
        about["version"]["distribution"] == "opensearch" || about["tagline"] == OPENSEARCH_TAGLINE;
    if has_version && is_opensearch {
        return Some(Distribution::OpenSearch);
    }
    // Behind a proxy that removes headers, the body has to show it.
    let is_cluster = about["cluster_name"].is_string() && about["cluster_uuid"].is_string();
    let is_elasticsearch = has_version && (about["tagline"] == ELASTICSEARCH_TAGLINE || is_cluster);
    (is_elasticsearch || response.is_elasticsearch).then_some(Distribution::Elasticsearch)
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Returns what responded instead of an engine.
fn unexpected(response: &ApiResponse, client: &Client) -> Cause {
    let kind = match response.content_type.as_str() {
        "" => "unknown type",
        content_type => content_type,
    };
    let text = String::from_utf8_lossy(&response.body);
    let excerpt =
        if client.may_contain_credentials(&text) { String::new() } else { excerpt(&response.body) };
    let reason = match (response.body.is_empty(), excerpt.as_str()) {
        (true, _) => "an empty response".to_owned(),
        (false, "") => format!("a response of {} bytes of {kind}", response.body.len()),
        (false, excerpt) => format!("a response of {kind}: \"{excerpt}\""),
    };
    Cause::UnexpectedResponse { status: response.status, reason }
}

/// Asks the node for its version, for engines that do not respond to `GET /`. Optional: failures are ignored.
async fn node_version(api: &ApiClient<'_>) -> Option<String> {
    let path = "_nodes/_local/none?filter_path=nodes.*.version";
    let action = "asking a node for its version";
    let response = api.send(Method::Get, path, None, action).await.ok()?;
    let version = response.json["nodes"].as_object()?.values().next()?["version"].as_str()?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::client::ClientOptions;
    use super::super::credentials::Credentials;
    use super::*;
    use crate::pending::PendingRequests;

    fn response(status: u16, body: &str) -> ApiResponse {
        ApiResponse {
            status,
            json: serde_json::from_str(body).unwrap_or_default(),
            is_elasticsearch: false,
            content_type: "application/json".to_owned(),
            headers: reqwest::header::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    fn client(url: &str) -> Client {
        let credentials =
            Credentials::Basic { username: "me".to_owned(), password: "hush".to_owned() };
        let options = ClientOptions {
            url: &url.parse().unwrap(),
            credentials: &credentials,
            signing: None,
            ca_file: None,
            timeout: Duration::from_secs(1),
            headers: reqwest::header::HeaderMap::new(),
        };
        Client::new(&options, PendingRequests::default()).unwrap()
    }

    fn identified(response: &ApiResponse) -> Option<(Distribution, Option<String>)> {
        classify(response, &client("http://search.example"))
            .map(|identity| (identity.info.distribution, identity.info.version))
    }

    #[test]
    fn engines_are_recognized_in_all_their_forms() {
        let tagline = "You Know, for Search";
        let table = [
            (
                json!({ "version": { "number": "3.8.0", "distribution": "opensearch" } }),
                Distribution::OpenSearch,
            ),
            (
                json!({ "version": { "number": "7.10.2" }, "tagline": OPENSEARCH_TAGLINE }),
                Distribution::OpenSearch,
            ),
            (
                json!({ "version": { "number": "9.5.3", "build_flavor": "default" }, "tagline": tagline }),
                Distribution::Elasticsearch,
            ),
            (
                json!({ "version": { "number": "8.11.0", "build_flavor": "serverless" }, "tagline": tagline }),
                Distribution::Elasticsearch,
            ),
            (
                json!({ "name": "a", "cluster_name": "1:d", "cluster_uuid": "u", "version": { "number": "7.4.2" } }),
                Distribution::Elasticsearch,
            ),
        ];
        for (about, distribution) in table {
            let number = about["version"]["number"].as_str().map(str::to_owned);
            let identified = identified(&response(200, &about.to_string()));
            assert_eq!(identified, Some((distribution, number)), "{about}");
        }
        let by_header = |status| ApiResponse { is_elasticsearch: true, ..response(status, "{}") };
        assert_eq!(identified(&by_header(200)), Some((Distribution::Elasticsearch, None)));
        assert_eq!(identified(&by_header(404)), None, "a wrong path below an engine");
        let without_root = classify(&by_header(405), &client("http://search.example")).unwrap();
        assert_eq!(without_root.info.distribution, Distribution::Elasticsearch);
        assert!(matches!(without_root.confirmation, Confirmation::Pending(_)));
    }

    #[test]
    fn other_servers_are_not_engines() {
        for (status, body) in [
            (200, "<html><title>Welcome to nginx!</title></html>"),
            (200, ""),
            (200, "null"),
            (200, "[]"),
            (200, "\"ok\""),
            (200, "{}"),
            (200, r#"{"version":"1.2.3"}"#),
            (200, r#"{"version":{"number":"1.2.3"}}"#),
            (200, r#"{"version":{"number":3},"tagline":"You Know, for Search"}"#),
            (200, r#"{"name":"registry","tagline":"You Know, for Search"}"#),
            (204, ""),
            (404, r#"{"error":"not found"}"#),
            (404, "404 page not found"),
            (400, r#"{"version":{"number":"8.0.0"},"tagline":"You Know, for Search"}"#),
        ] {
            assert_eq!(identified(&response(status, body)), None, "{status} {body}");
        }
    }

    #[test]
    fn an_empty_object_is_accepted_on_this_machine_only() {
        for (url, accepted) in [("http://127.0.0.1:9200", true), ("http://search.example", false)] {
            assert_eq!(classify(&response(200, "{}"), &client(url)).is_some(), accepted, "{url}");
        }
    }

    #[test]
    fn an_unexpected_response_is_shown_without_credentials() {
        let page = "<html><head><title>Welcome to nginx!</title></head>\n<body>\u{1b}[31m\u{202e}If you see";
        let page = ApiResponse { content_type: "text/html".to_owned(), ..response(200, page) };
        let client = client("http://search.example");
        assert_eq!(
            unexpected(&page, &client).to_string(),
            "200: a response of text/html: \"Welcome to nginx! [31mIf you see\""
        );
        // `me:hush`, as the header contains it.
        let echo = response(200, r#"{"headers":{"authorization":"Basic bWU6aHVzaA=="}}"#);
        assert_eq!(
            unexpected(&echo, &client).to_string(),
            "200: a response of 50 bytes of application/json"
        );
        let empty = ApiResponse { content_type: String::new(), ..response(200, "") };
        assert_eq!(unexpected(&empty, &client).to_string(), "200: an empty response");
    }
}
