//! The saved objects API of Kibana and OpenSearch Dashboards.
//!
//! Input: the URL of either, and [`SavedObject`]s. Output: what is there, what was imported, and what was refused and why.
//! Invariant: an object is overwritten or deleted only if its description, or its title, shows that trailload wrote it.
//!
//! | file | responsibility |
//! |---|---|
//! | `target` | URL, space and tenant |
//! | `namespace` | which ids objects have in a space or workspace |
//! | `ownership` | who wrote an object, and which version of it is there |
//! | `import` | the body of an import, and its response |
//! | `field_list` | the list of fields that OpenSearch Dashboards stores |

mod field_list;
mod import;
mod namespace;
mod ownership;
mod target;

use std::fmt;

use serde_json::{Value, json};

pub use self::field_list::FieldListUpdate;
pub use self::import::{ImportProblem, ImportReport, RefusedObject, RenamedObject, import_file};
pub use self::namespace::LocatedObject;
pub use self::ownership::ObjectState;
pub use self::target::{DashboardsTarget, InvalidDashboardsUrl};
use super::{
    engine::{
        api::{ApiClient, ApiResponse},
        client::{Client, Method},
        retry::{RetryContext, RetryPolicy},
        unless_immediate,
    },
    error::Error,
};
use crate::{
    dashboard::SavedObject, pending::PendingRequests, report::Log, shutdown::ShutdownSignal,
};

/// Headers that name the product, in every response.
const PRODUCT_HEADERS: [(&str, Product); 2] =
    [("osd-name", Product::OpenSearchDashboards), ("kbn-name", Product::Kibana)];

/// A program that draws dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Kibana.
    Kibana,
    /// OpenSearch Dashboards.
    OpenSearchDashboards,
}

/// Why dashboards cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DashboardsError {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] Error),
    /// Another program responds.
    #[error("{url} does not respond like Kibana or OpenSearch Dashboards (status {status})")]
    OtherProgram {
        /// The URL.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The response to an import is not one of a saved objects API.
    #[error("{url} responded to {action} in an unknown form")]
    UnexpectedResponse {
        /// The URL.
        url: String,
        /// What was asked for.
        action: String,
    },
}

/// Kibana or OpenSearch Dashboards.
pub struct DashboardsClient {
    client: Client,
    retry: RetryContext,
    shutdown: ShutdownSignal,
    product: Product,
    version: Option<String>,
    /// The space or workspace that the URL selects.
    space: Option<String>,
    workspace: Option<String>,
}

impl fmt::Display for Product {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Kibana => "Kibana",
            Self::OpenSearchDashboards => "OpenSearch Dashboards",
        })
    }
}

impl DashboardsClient {
    /// Connects, and finds out which product responds. Changes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`DashboardsError`] if there is no response, if authentication fails, or if it is another program.
    pub async fn connect(
        target: &DashboardsTarget,
        log: Log,
        pending: PendingRequests,
        shutdown: ShutdownSignal,
    ) -> Result<Self, DashboardsError> {
        let client = target.open_client(pending).await?;
        let policy = RetryPolicy::with_deadline(target.retry_deadline);
        let retry = RetryContext::new(policy, client.address(), log, shutdown.clone());
        let mut connected = Self {
            client,
            retry,
            shutdown,
            product: Product::Kibana,
            version: None,
            space: target.space().map(str::to_owned),
            workspace: target.workspace().map(str::to_owned),
        };
        let response = connected.identify().await?;
        let named = PRODUCT_HEADERS.iter().find(|(name, _)| response.headers.contains_key(*name));
        let version = response.json["version"]["number"].as_str().map(str::to_owned);
        match named {
            Some((_, product)) if response.is_success() => {
                (connected.product, connected.version) = (*product, version);
                Ok(connected)
            }
            _ => Err(DashboardsError::OtherProgram {
                url: connected.address().to_owned(),
                status: response.status,
            }),
        }
    }

    async fn identify(&self) -> Result<ApiResponse, DashboardsError> {
        let connecting = async {
            self.client.probe().await.or_else(|cause| match cause {
                // The start page may redirect to a login page.
                super::Cause::Redirect { .. } => Ok(()),
                source => {
                    let kind = match source {
                        super::Cause::Connection { kind, .. } => kind,
                        _ => super::ConnectError::Other,
                    };
                    Err(Error::Connect { url: self.address().to_owned(), kind, source })
                }
            })?;
            self.api().send(Method::Get, "api/status", None, "asking for its version").await
        };
        Ok(unless_immediate(&self.shutdown, &self.client, connecting).await?)
    }

    /// Returns the URL, without credentials.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Returns which product responds.
    pub fn product(&self) -> Product {
        self.product
    }

    /// Returns whether it can import the objects. A product that does not name its version is taken for a current one.
    pub fn is_supported(&self) -> bool {
        let oldest = match self.product {
            Product::Kibana => 8,
            Product::OpenSearchDashboards => 2,
        };
        let major = self.version.as_deref().and_then(|version| version.split('.').next());
        let major: Option<u32> = major.and_then(|major| major.parse().ok());
        major.is_none_or(|major| major >= oldest)
    }

    fn api(&self) -> ApiClient<'_> {
        ApiClient { client: &self.client, retry: &self.retry }
    }

    /// Returns for each object what is stored under its type and id.
    async fn states(&self, objects: &[SavedObject]) -> Result<Vec<ObjectState>, DashboardsError> {
        let action = "reading saved objects";
        let wanted: Value =
            objects.iter().map(|object| json!({ "type": object.kind, "id": object.id })).collect();
        let response =
            self.send(Method::Post, "api/saved_objects/_bulk_get", &wanted, action).await?;
        let found = response.json["saved_objects"].as_array();
        let Some(found) = found.filter(|found| found.len() == objects.len()) else {
            return Err(self.unexpected(action));
        };
        Ok(objects
            .iter()
            .zip(found)
            .map(|(object, found)| ObjectState::new(object, found))
            .collect())
    }

    /// Imports objects, and overwrites those with the same type and id. Those that are refused are named in the report.
    ///
    /// # Errors
    ///
    /// Returns [`DashboardsError`] if the whole file is refused.
    pub async fn import(&self, objects: &[SavedObject]) -> Result<ImportReport, DashboardsError> {
        let action = "importing saved objects";
        let api = self.api();
        let uploading = api.upload(import::PATH, import::form(objects), action);
        let response = unless_immediate(&self.shutdown, &self.client, uploading).await?;
        if !response.is_success() {
            return Err(api.refused(action, &response).into());
        }
        ImportReport::parse(&response.json).ok_or_else(|| self.unexpected(action))
    }

    /// Deletes an object. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// Returns [`DashboardsError`] if it may not be deleted.
    pub async fn delete(&self, kind: &str, id: &str) -> Result<bool, DashboardsError> {
        let path = format!("api/saved_objects/{kind}/{id}");
        let action = format!("deleting {kind} '{id}'");
        let api = self.api();
        let deleting = api.send(Method::Delete, &path, None, &action);
        let response = unless_immediate(&self.shutdown, &self.client, deleting).await?;
        match response.status {
            200..=299 => Ok(true),
            404 => Ok(false),
            _ => Err(api.refused(&action, &response).into()),
        }
    }

    /// Sends a JSON body. Any other response than success is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        action: &str,
    ) -> Result<ApiResponse, DashboardsError> {
        let api = self.api();
        let sending = api.send(method, path, Some(body), action);
        let response = unless_immediate(&self.shutdown, &self.client, sending).await?;
        if response.is_success() {
            Ok(response)
        } else {
            Err(api.refused(action, &response).into())
        }
    }

    fn unexpected(&self, action: &str) -> DashboardsError {
        let (url, action) = (self.address().to_owned(), action.to_owned());
        DashboardsError::UnexpectedResponse { url, action }
    }
}

impl fmt::Display for DashboardsClient {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(to, "{} {version}", self.product),
            None => write!(to, "{}", self.product),
        }
    }
}

impl fmt::Debug for DashboardsClient {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("DashboardsClient").field("client", &self.client).finish_non_exhaustive()
    }
}
