//! The sink that writes to OpenSearch or Elasticsearch.
//!
//! ```text
//! Engine::write ─▶ mapping: the index has every field of the batch
//!               ─▶ bulk_write ─▶ bulk_request ─▶ client ─▶ bulk_response ─▶ Receipt
//!                      ▲   retry: wait, or give up                │
//!                      └── fallback: next form of a rejected document ┘─▶ dead_letters
//! ```
//!
//! | files | responsibility |
//! |---|---|
//! | `target` `credentials` `signing` | where to write, and how requests are authenticated |
//! | `client` `connect_error` `redirect` `excerpt` `error_response` `paths` | one HTTP request |
//! | `retry` `api` | calls that are retried |
//! | `identify` `templates` `setup_template` `marks` `inventory` | what a run checks before the first document |
//! | `mapping` `tracked_index` `index_age` `properties` | indices, fields of indices and of the component template |
//! | `bulk_write` `bulk_request` `bulk_response` `fallback` `dead_letters` `duplicates` | documents |
//! | `issues` `inspect` `disk` | what `doctor` reports |
//! | `index_version` | when dead letters are worth sending again |
//! | `reader` `search_session` `panel_search` `unreadable` | reading documents back, without a sink |
//! | `document_index` | alerts, and documents about runs, in indices of their own |
//! | `setup` | what `trailload setup` changes |

pub(super) mod api;
mod bulk_request;
mod bulk_response;
mod bulk_write;
pub(super) mod client;
pub(super) mod connect_error;
mod credentials;
mod dead_letters;
mod disk;
mod document_index;
mod duplicates;
mod error_response;
pub(super) mod excerpt;
mod fallback;
mod identify;
mod index_age;
mod index_version;
mod inspect;
mod inventory;
mod issues;
mod mapping;
mod marks;
mod panel_search;
mod paths;
mod properties;
mod reader;
mod redirect;
pub(super) mod retry;
mod search_session;
mod setup;
mod setup_template;
mod signing;
mod target;
mod templates;
mod tracked_index;
mod unreadable;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::sync::Semaphore;

use self::api::ApiClient;
use self::bulk_write::{BulkWriter, empty_receipt};
use self::client::Client;
use self::duplicates::DuplicateComparer;
use self::identify::{Confirmation, EngineIdentity, identify};
use self::index_age::AgeSetting;
use self::mapping::{Mappings, TemplateUpdate};
use self::retry::{RetryContext, RetryPolicy};
use self::templates::{Overwrite, PendingTemplates, Templates};
use super::Sink;
use super::cause::Cause;
use super::error::{Error, WriteError};
use crate::event::{Batch, Inventory, Receipt};
use crate::limit::ConcurrencyLimiter;
use crate::normalize::{FieldRegistry, Retention};
use crate::report::{Log, Metrics};
use crate::shutdown::{ShutdownLevel, ShutdownSignal};

pub use self::client::is_loopback;
pub use self::credentials::{Credentials, take_userinfo};
pub use self::disk::{Disk, DiskUsage};
pub(super) use self::document_index::{AttemptError, DocumentIndex, DocumentKind, RUNS_SUFFIX};
pub use self::identify::{Distribution, EngineInfo};
pub use self::inspect::{Inspection, Privileges, TemplateState};
pub use self::issues::EngineIssue;
pub use self::panel_search::SearchAnswer;
pub use self::reader::{EngineReader, IndexNames, OtherName, ReadableIndex};
pub use self::search_session::{PageResponse, SearchPage, SearchQuery, SearchSession};
pub use self::setup::{
    Deletion, EngineSetup, ExpiredIndex, PassedOver, PeriodConflict, Requested, RetentionError,
    RetentionPlan, SetupRequest, missing_privilege,
};
pub use self::signing::{Service, Signing};
pub use self::target::{DuplicateHandling, Target};
pub use self::unreadable::UnreadableIndices;

/// Bulk requests in flight at first: one is processed while the next is sent.
const INITIAL_REQUESTS: usize = 2;

/// Successful responses, for each request that may be in flight, before one more is allowed.
const SUCCESSES_TO_GROW: usize = 2;

/// Batches whose mapping is prepared while others are in flight.
const BATCHES_PREPARED_AHEAD: usize = 2;

/// A connected engine.
pub struct Engine {
    writer: BulkWriter,
    /// Limits batches whose mapping is being prepared or that are in flight.
    prepared_batches: Semaphore,
    cluster_uuid: Option<String>,
    info: EngineInfo,
    shutdown: ShutdownSignal,
}

impl Engine {
    /// Connects to an engine: identifies it, and compares its templates with those of this program. Changes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if there is no response, if authentication fails, if the engine is too old, or if the templates
    /// were created by another program.
    pub async fn connect(
        mut target: Target,
        fields: Arc<FieldRegistry>,
        log: Log,
        metrics: Arc<Metrics>,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Error> {
        let client = target.open_client(metrics.waits.clone()).await?;
        let policy = RetryPolicy::with_deadline(target.retry_deadline);
        let retry = RetryContext::new(policy, client.address(), log.clone(), shutdown.clone());
        let api = ApiClient { client: &client, retry: &retry };
        let checked = unless_immediate(&shutdown, &client, check_engine(&api, &target, &fields));
        let (info, checked) = checked.await?;
        if checked.is_none() {
            let message = "does not support index templates; documents are sent without";
            log.info(client.address(), message);
        }
        let cluster_uuid = match checked {
            Some(_) => {
                let fetching = inventory::fetch_cluster_uuid(&api);
                unless_immediate(&shutdown, &client, fetching).await?
            }
            None => None,
        };
        let mappings = checked.map(|(pending, inventory)| {
            let (fields, metrics) = (Arc::clone(&fields), Arc::clone(&metrics));
            Mappings::new(pending, inventory, fields, log.clone(), metrics).with_clock(target.clock)
        });
        let max_requests = target.max_requests() as usize;
        let comparer =
            (target.duplicates == DuplicateHandling::Compare).then(|| DuplicateComparer::new(log));
        Ok(Self {
            writer: BulkWriter {
                client,
                retry,
                limiter: ConcurrencyLimiter::new(INITIAL_REQUESTS, max_requests, SUCCESSES_TO_GROW),
                fields,
                mappings,
                comparer,
                metrics,
                too_large: AtomicUsize::new(usize::MAX),
                has_accepted: AtomicBool::new(false),
            },
            prepared_batches: Semaphore::new(max_requests + BATCHES_PREPARED_AHEAD),
            cluster_uuid,
            info,
            shutdown,
        })
    }

    /// Returns distribution and version of the engine.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Returns the UUID of the cluster, if the engine reports it.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster_uuid.as_deref()
    }

    /// Returns the indices of the prefix when the engine was connected to, if it reports them.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.writer.mappings.as_ref()?.initial_inventory()
    }

    /// Returns how long events of the prefix are kept, if `trailload setup` recorded it in the engine.
    pub fn retention(&self) -> Option<Retention> {
        self.writer.mappings.as_ref()?.pending().templates().setup()?.retention
    }

    /// Reads how long events of the prefix are kept now: `trailload setup` may have changed it since the engine was connected
    /// to.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it cannot be read.
    pub async fn current_retention(&self) -> Result<Option<Retention>, Error> {
        let Some(mappings) = &self.writer.mappings else { return Ok(None) };
        let api = self.writer.api();
        let fetching = mappings.current_setup(&api);
        let setup = unless_immediate(&self.shutdown, &self.writer.client, fetching).await?;
        Ok(setup.and_then(|setup| setup.retention))
    }

    /// Returns whether this run added fields to an index or a template.
    pub fn has_added_fields(&self) -> bool {
        self.writer.mappings.as_ref().is_some_and(Mappings::has_added_fields)
    }

    /// Inspects templates, disks, privileges and issues without changing anything. What cannot be determined is reported as
    /// unknown.
    pub async fn inspect(&self, prefix: &str) -> Inspection {
        let pending = self.writer.mappings.as_ref().map(Mappings::pending);
        inspect::inspect(&self.writer.client, &self.info, pending, prefix).await
    }

    /// Refreshes these indices, or all without names, and counts the documents of the prefix again. An index that this user
    /// may not refresh has no count.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn recount(&self, indices: &[String]) -> Result<Option<Inventory>, Error> {
        let Some(mappings) = &self.writer.mappings else { return Ok(None) };
        let api = self.writer.api();
        let recounting = mappings.recount(&api, indices);
        unless_immediate(&self.shutdown, &self.writer.client, recounting).await
    }

    /// Writes a batch. What the indices hold of it is in `receipt`, also after an error.
    async fn write_batch(&self, batch: &Batch, receipt: &mut Receipt) -> Result<(), Error> {
        let writing = self.writer.write(batch, receipt);
        let Some(mappings) = &self.writer.mappings else { return writing.await };
        let api = self.writer.api();
        // The permit comes late, so that the batches behind this one have registered their fields by now.
        let _permit = self.prepared_batches.acquire().await;
        mappings.look_for_deleted(&api, &batch.targets).await?;
        mappings.prepare(&api, &batch.targets).await?;
        let storing = mappings.store_fields(&api, &batch.targets);
        // Both run to their end, because documents in flight are counted.
        let (written, stored) = tokio::join!(writing, storing);
        written?;
        if stored? == TemplateUpdate::Written {
            mappings.verify_component_template(&api).await?;
        }
        Ok(())
    }
}

impl Sink for Engine {
    /// Installs the pending templates. The first write does it, if this was not called before.
    async fn prepare(&self) -> Result<(), Error> {
        let Some(mappings) = &self.writer.mappings else { return Ok(()) };
        let api = self.writer.api();
        unless_immediate(&self.shutdown, &self.writer.client, mappings.install(&api)).await
    }

    async fn write(&self, batch: Batch) -> Result<Receipt, WriteError> {
        let mut receipt = empty_receipt(&batch);
        let writing = self.write_batch(&batch, &mut receipt);
        let written = unless_immediate(&self.shutdown, &self.writer.client, writing).await;
        receipt.indices.retain(|index| index.created + index.duplicates > 0);
        for index in &mut receipt.indices {
            let mappings = self.writer.mappings.as_ref();
            index.identity = mappings.and_then(|mappings| mappings.identity(&index.index));
        }
        match written {
            Ok(()) => Ok(receipt),
            Err(error) => Err(WriteError { error, indices: receipt.indices }),
        }
    }

    /// Returns a digest of the mapping and the settings of an index.
    async fn index_version(&self, index: &str) -> Result<String, Error> {
        if self.writer.mappings.is_none() {
            return Ok(String::new());
        }
        let api = self.writer.api();
        let fetching = index_version::fetch(&api, index);
        unless_immediate(&self.shutdown, &self.writer.client, fetching).await
    }

    /// Ensures that the next index starts with all discovered fields, also those of concurrent loaders, that the index
    /// template exists, and lists the indices.
    async fn finish(&self) -> Result<Option<Inventory>, Error> {
        let Some(mappings) = &self.writer.mappings else { return Ok(None) };
        let api = self.writer.api();
        let finishing = async {
            mappings.finish(&api).await?;
            mappings.final_inventory(&api).await
        };
        unless_immediate(&self.shutdown, &self.writer.client, finishing).await
    }
}

/// Pending templates, and the existing indices, if the engine reports them.
type CheckedTemplates = (PendingTemplates, Option<Inventory>);

/// Identifies an engine, and checks its templates and indices. `None` if it supports no templates.
async fn check_engine(
    api: &ApiClient<'_>,
    target: &Target,
    fields: &FieldRegistry,
) -> Result<(EngineInfo, Option<CheckedTemplates>), Error> {
    let EngineIdentity { info, confirmation } = match &target.signing {
        // A collection does not implement `GET /`.
        Some(Signing { service: Service::Serverless, .. }) => EngineIdentity::serverless(),
        _ => identify(api).await?,
    };
    info.check_version(api.address())?;
    let template = fields.template().clone();
    let templates = Templates::new(&target.prefix, template, target.max_fields, target.index_by)
        .with_age_setting(AgeSetting::of_engine(&info));
    let overwrite = if target.force { Overwrite::Always } else { Overwrite::Never };
    let pending = match (templates::inspect(api, templates, fields, overwrite).await, confirmation)
    {
        // A server that forbids everything without an engine's explanation is not an engine.
        (Err(Error::Denied { source, .. }), Confirmation::Pending(first)) if is_bare(&source) => {
            return Err(Error::NotAnEngine { url: api.address().to_owned(), source: first });
        }
        (Ok(None), Confirmation::Pending(first)) => {
            return Err(Error::NotAnEngine { url: api.address().to_owned(), source: first });
        }
        (pending, _) => pending?,
    };
    let Some(pending) = pending else { return Ok((info, None)) };
    let listing = inventory::fetch(api, &target.prefix, target.index_by).await?;
    let recorded = pending.recorded_index_by();
    inventory::check(api, pending.templates(), recorded, listing.as_ref()).await?;
    Ok((info, Some((pending, listing.map(|listing| listing.inventory)))))
}

/// Returns whether an error response has neither an error type nor a reason.
fn is_bare(cause: &Cause) -> bool {
    matches!(cause, Cause::ErrorResponse { code, reason, .. } if code.is_empty() && reason.is_empty())
}

/// Runs an operation unless an immediate shutdown is requested before it is complete.
pub(super) async fn unless_immediate<T>(
    shutdown: &ShutdownSignal,
    client: &Client,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = shutdown.reached(ShutdownLevel::Immediate) => {
            Err(Error::Interrupted { url: client.address().to_owned(), source: None })
        }
        result = operation => result,
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine")
            .field("client", &self.writer.client)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
