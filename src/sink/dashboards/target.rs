//! Which Kibana or OpenSearch Dashboards objects are imported into: URL, space, tenant and credentials.
//!
//! Input: a URL as a browser shows it. Output: a [`Client`] whose requests carry the headers that both products require.
//! Invariant: credentials in the URL are moved out of it.

use std::{fmt, path::PathBuf, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::{
    pending::PendingRequests,
    sink::{
        Credentials,
        engine::{
            Signing,
            client::{Client, ClientOptions},
            take_userinfo,
        },
        error::Error,
    },
};

/// Timeout of one request. An import of all dashboards takes a few seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// How long requests are repeated: a server that starts responds with 503 for half a minute.
const RETRY_DEADLINE: Duration = Duration::from_mins(1);

/// The header without which each product refuses to change anything. Each ignores that of the other, and both values are
/// free.
const XSRF_HEADERS: [&str; 2] = ["osd-xsrf", "kbn-xsrf"];

/// The header with which Kibana accepts requests to APIs that it may restrict to programs that know them.
const ORIGIN_HEADER: &str = "x-elastic-internal-origin";

/// The header that selects a tenant of OpenSearch Dashboards.
const TENANT_HEADER: &str = "securitytenant";

/// The parameter with which OpenSearch Dashboards shows the tenant in a URL.
const TENANT_PARAMETER: &str = "security_tenant";

/// The first segment of the pages of both products; the segments before it are the base path and the space.
const PAGES: &str = "app";

/// The segment before the name of a space of Kibana.
const SPACES: &str = "s";

/// The segment before the id of a workspace of OpenSearch Dashboards.
const WORKSPACES: &str = "w";

/// Which Kibana or OpenSearch Dashboards objects are imported into.
#[derive(Clone)]
pub struct DashboardsTarget {
    /// The URL, with the base path and the space, without credentials.
    pub url: Url,
    /// Credentials to authenticate with.
    pub credentials: Credentials,
    /// How requests are signed, if the program runs at AWS.
    pub signing: Option<Signing>,
    /// PEM file with certificates of authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// The tenant of OpenSearch Dashboards; without one, the default of the user applies.
    pub tenant: Option<String>,
    /// How long failed requests are repeated.
    pub retry_deadline: Duration,
}

/// The URL is not one of Kibana or OpenSearch Dashboards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDashboardsUrl(&'static str);

impl DashboardsTarget {
    /// Returns the target that a URL names: that of the server, of a space (`/s/SPACE`), or of any page, whose parameter
    /// `security_tenant` selects the tenant.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidDashboardsUrl`] if it is not an HTTP URL, or if the tenant cannot be part of a header.
    pub fn new(mut url: Url) -> Result<Self, InvalidDashboardsUrl> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(InvalidDashboardsUrl(
                "expected a URL that starts with http:// or https://",
            ));
        }
        let (username, password) = take_userinfo(&mut url);
        let credentials = match (username, password) {
            (None, None) => Credentials::None,
            (username, password) => Credentials::Basic {
                username: username.unwrap_or_default(),
                password: password.unwrap_or_default(),
            },
        };
        let tenant = url.query_pairs().find(|(name, _)| name == TENANT_PARAMETER);
        let tenant = tenant.map(|(_, value)| value.into_owned());
        if tenant.as_ref().is_some_and(|tenant| HeaderValue::from_str(tenant).is_err()) {
            return Err(InvalidDashboardsUrl("expected a tenant without control characters"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let segments = url.path().split('/').filter(|segment| !segment.is_empty());
        let base: String =
            segments.take_while(|segment| *segment != PAGES).flat_map(|part| ["/", part]).collect();
        url.set_path(&base);
        Ok(Self {
            url,
            credentials,
            signing: None,
            ca_file: None,
            tenant,
            retry_deadline: RETRY_DEADLINE,
        })
    }

    /// Returns the name of the space that the URL selects in Kibana.
    pub fn space(&self) -> Option<&str> {
        self.last_segment_after(SPACES)
    }

    /// Returns the id of the workspace that the URL selects in OpenSearch Dashboards.
    pub(super) fn workspace(&self) -> Option<&str> {
        self.last_segment_after(WORKSPACES)
    }

    fn last_segment_after(&self, name: &str) -> Option<&str> {
        let (before, last) = self.url.path().trim_end_matches('/').rsplit_once('/')?;
        (before.rsplit('/').next() == Some(name) && !last.is_empty()).then_some(last)
    }

    /// Opens a client. Sends nothing; with SigV4, credentials are fetched.
    pub(super) async fn open_client(&self, pending: PendingRequests) -> Result<Client, Error> {
        let options = ClientOptions {
            url: &self.url,
            credentials: &self.credentials,
            signing: self.signing.as_ref(),
            ca_file: self.ca_file.as_deref(),
            timeout: REQUEST_TIMEOUT,
            headers: self.headers(),
        };
        let client = Client::new(&options, pending)?;
        if let Some(signing) = &self.signing {
            signing.check_credentials(client.address()).await?;
        }
        Ok(client)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in XSRF_HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("true"));
        }
        headers
            .insert(HeaderName::from_static(ORIGIN_HEADER), HeaderValue::from_static("trailload"));
        let tenant = self.tenant.as_ref().and_then(|tenant| HeaderValue::from_str(tenant).ok());
        if let Some(tenant) = tenant {
            headers.insert(HeaderName::from_static(TENANT_HEADER), tenant);
        }
        headers
    }
}

impl fmt::Debug for DashboardsTarget {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("DashboardsTarget")
            .field("url", &self.url.as_str())
            .field("credentials", &self.credentials)
            .field("signing", &self.signing)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> DashboardsTarget {
        DashboardsTarget::new(url.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_url_of_any_page_names_base_path_space_and_tenant() {
        for (url, base, tenant) in [
            ("http://k:5601", "http://k:5601/", None),
            ("http://k:5601/s/security/", "http://k:5601/s/security", None),
            ("https://k/kibana/s/sec/app/dashboards#/list?_g=()", "https://k/kibana/s/sec", None),
            (
                "https://search-a.eu-west-1.es.amazonaws.com/_dashboards/app/home",
                "https://search-a.eu-west-1.es.amazonaws.com/_dashboards",
                None,
            ),
            ("http://o/app/dashboards?security_tenant=global#/", "http://o/", Some("global")),
            ("http://o?security_tenant=my%20team", "http://o/", Some("my team")),
        ] {
            let target = target(url);
            assert_eq!((target.url.as_str(), target.tenant.as_deref()), (base, tenant), "{url}");
            assert_eq!(target.headers().contains_key(TENANT_HEADER), tenant.is_some());
        }
    }

    #[test]
    fn the_space_and_the_workspace_are_the_end_of_the_path() {
        for (url, space, workspace) in [
            ("http://k:5601", None, None),
            ("http://k:5601/s", None, None),
            ("http://k:5601/s/security/app/home", Some("security"), None),
            ("http://k:5601/kibana/s/default/", Some("default"), None),
            ("http://k:5601/s/a/b", None, None),
            ("http://o/_dashboards/w/Xy3_z/app/home", None, Some("Xy3_z")),
        ] {
            let target = target(url);
            assert_eq!((target.space(), target.workspace()), (space, workspace), "{url}");
        }
    }

    #[test]
    fn credentials_are_moved_out_of_the_url() {
        let target = target("http://me:p%40ss@k:5601/s/a");
        let expected =
            Credentials::Basic { username: "me".to_owned(), password: "p@ss".to_owned() };
        assert_eq!(target.credentials, expected);
        assert!(!format!("{target:?}").contains("p@ss") && !target.url.as_str().contains("me"));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["ftp://k", "file:///k", "http://k?security_tenant=a%0Ab"] {
            assert!(DashboardsTarget::new(url.parse().unwrap()).is_err(), "{url}");
        }
    }
}
