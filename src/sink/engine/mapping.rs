//! Keeps mappings ahead of documents: an index has every field of a document before the document is sent.
//!
//! Input: the indices of a batch, and how many discovered fields each requires. Output: indices that have them, or an
//! error.
//! Invariant: batches that need the same index wait for one call. The component template is read before an index gets a
//! field, and has that field before the batch counts as written, so that next month's index starts with it and other
//! loaders read the same decision. The first loader that adds a field decides its kind; the others read it, merge it into
//! the field registry, and leave it unchanged. Two loaders may decide differently at the same moment: the index refuses
//! the second one, and the template follows the index.
//! A foreign index, whose mapping is not managed by trailload, decides only about its own documents: they are rewritten
//! for it before they are sent ([`Mappings::rewriter`]), and its mapping reaches neither the template nor
//! another index.
//! Fields that an index of trailload does not accept are unmapped from then on, in the registry and so in all documents
//! that follow. Those that were normalized before are rewritten too, so that their values are found as terms of
//! `trailload.unmapped`.
//! A call costs the engine as much as some hundred documents. So there are few, each adds all known fields, and the
//! template, which no document waits for, is written concurrently with documents.

mod end_of_run;
mod field_update;
mod presence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::Instant;

use super::api::ApiClient;
use super::client::{Client, Method};
use super::issues::{self, EngineIssue};
use super::paths;
use super::properties;
use super::setup_template::SetupTemplate;
use super::templates::{self, MissingComponents, PendingTemplates, Templates, is_managed};
use super::tracked_index::{FieldsReady, LiveMapping, TrackedIndices};
use crate::event::{IndexIdentity, Inventory, TargetIndex};
use crate::normalize::{FieldRegistry, IndexRewriter, MappingOrigin};
use crate::report::{Log, Metrics};
use crate::sink::cause::Cause;
use crate::sink::error::{Error, NameProblem};
use crate::sink::refusal::RefusalReason;

/// How long the ingest pipelines of an index are cached: one may be configured during a load, and the errors that it may
/// cause come by the thousand.
const PIPELINES_TTL: Duration = Duration::from_secs(10);

/// How often templates are restored while somebody deletes them: `trailload setup --remove` takes some requests.
const RESTORE_ATTEMPTS: usize = 5;

/// The mappings of all indices written to.
pub(super) struct Mappings {
    pending: PendingTemplates,
    installed: OnceCell<()>,
    fields: Arc<FieldRegistry>,
    /// How many discovered fields the component template has.
    component_fields: Mutex<u32>,
    /// Whether this run added fields to the component template or to an index.
    fields_added: AtomicBool,
    /// Whether the engine does not know the setting for the age of an index.
    lacks_age_setting: AtomicBool,
    indices: TrackedIndices,
    /// The indices before this run, if the engine reports them.
    initial_inventory: Option<Inventory>,
    /// Held by the batch that looks whether indices are still there.
    looking: Mutex<()>,
    clock: Option<fn() -> Timestamp>,
    log: Log,
    metrics: Arc<Metrics>,
}

/// Whether the component template was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TemplateUpdate {
    Written,
    Unchanged,
}

/// Whether an index accepts further fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldCapacity {
    Left,
    Full,
}

impl Mappings {
    pub(super) fn new(
        pending: PendingTemplates,
        initial_inventory: Option<Inventory>,
        fields: Arc<FieldRegistry>,
        log: Log,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            pending,
            installed: OnceCell::new(),
            fields,
            component_fields: Mutex::default(),
            fields_added: AtomicBool::new(false),
            lacks_age_setting: AtomicBool::new(false),
            indices: TrackedIndices::default(),
            initial_inventory,
            looking: Mutex::default(),
            clock: None,
            log,
            metrics,
        }
    }

    /// Returns these mappings with a clock that tells which indices have expired.
    pub(super) fn with_clock(self, clock: Option<fn() -> Timestamp>) -> Self {
        Self { clock, ..self }
    }

    /// Returns the templates that had to be written when the engine was connected to.
    pub(super) fn pending(&self) -> &PendingTemplates {
        &self.pending
    }

    fn templates(&self) -> &Templates {
        self.pending.templates()
    }

    /// Returns whether this run added fields to an index or a template.
    pub(super) fn has_added_fields(&self) -> bool {
        self.fields_added.load(Ordering::Acquire)
    }

    /// Returns the indices before this run, if the engine reports them.
    pub(super) fn initial_inventory(&self) -> Option<&Inventory> {
        self.initial_inventory.as_ref()
    }

    /// Returns which index it was when documents were first written to it in this run, if the engine reports that.
    pub(super) fn identity(&self, name: &str) -> Option<IndexIdentity> {
        self.indices.get(name).identity.get().cloned()
    }

    /// Installs the pending templates and warns about ingest pipelines, once.
    pub(super) async fn install(&self, api: &ApiClient<'_>) -> Result<(), Error> {
        // Boxed: it happens once, and every write would carry its size.
        self.installed.get_or_try_init(|| Box::pin(self.install_once(api))).await?;
        Ok(())
    }

    async fn install_once(&self, api: &ApiClient<'_>) -> Result<(), Error> {
        let installing = self.pending.install(api, &self.log);
        let finding = issues::find_in_indices_and_templates(api.client, self.templates());
        let (installed, issues) = tokio::join!(installing, finding);
        for issue in issues {
            if matches!(issue, EngineIssue::Pipeline { .. }) {
                self.log.warn(api.address(), issue.describe());
            }
        }
        installed
    }

    /// Ensures that all indices of a batch exist and have the fields that it requires.
    pub(super) async fn prepare(
        &self,
        api: &ApiClient<'_>,
        targets: &[TargetIndex],
    ) -> Result<(), Error> {
        self.install(api).await?;
        let is_unprepared = |target: &&TargetIndex| {
            let index = self.indices.get(&target.index);
            !index.has_fields(target.required_fields)
                && index.unwritable.get().is_none()
                && !index.has_expired()
        };
        let unprepared = targets.iter().filter(is_unprepared);
        try_join_all(unprepared.map(|target| self.prepare_or_mark_unwritable(api, target))).await?;
        Ok(())
    }

    /// Prepares an index. A closed or blocked one is marked as unwritable, which is not an error.
    async fn prepare_or_mark_unwritable(
        &self,
        api: &ApiClient<'_>,
        target: &TargetIndex,
    ) -> Result<(), Error> {
        match self.prepare_index(api, target).await {
            Err(Error::Refused { reason, source, .. }) if reason.is_index_level() => {
                self.mark_unwritable(&target.index, &source);
                Ok(())
            }
            prepared => prepared,
        }
    }

    async fn prepare_index(&self, api: &ApiClient<'_>, target: &TargetIndex) -> Result<(), Error> {
        let name = &target.index;
        let index = self.indices.get(name);
        let mut live = index.live.lock().await;
        // Another batch may have prepared it meanwhile.
        let is_excluded = index.has_expired() || index.unwritable.get().is_some();
        if is_excluded || index.has_fields(target.required_fields) {
            return Ok(());
        }
        match templates::fetch_component(api, &self.templates().component_name()).await? {
            Some(template) => self.merge_template(&template),
            None => self.restore_templates(api).await?,
        }
        let prepared = match index.fields() {
            FieldsReady::Full => return Ok(()),
            FieldsReady::Unknown => self.ensure_index_again(api, name, &mut live).await?,
            FieldsReady::Count(present) => {
                // All known fields are added: the next batch probably requires them.
                let known = self.fields.len();
                let missing = self.fields.properties(present, known);
                match self.add_fields(api, name, &missing, &mut live).await {
                    Err(error) if is_index_missing(&error) => {
                        self.recreate_index(api, name, &mut live).await?
                    }
                    capacity => Some((capacity?, known)),
                }
            }
        };
        let Some((capacity, known)) = prepared else { return Ok(()) };
        let fields = match capacity {
            FieldCapacity::Left => FieldsReady::Count(known),
            FieldCapacity::Full => FieldsReady::Full,
        };
        index.set_fields(fields, &live);
        Ok(())
    }

    /// Creates an index again that was deleted during the run. What happens to the documents that it held is determined at
    /// the end of the run.
    async fn recreate_index(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut MutexGuard<'_, LiveMapping>,
    ) -> Result<Option<(FieldCapacity, u32)>, Error> {
        self.indices.get(name).forget();
        self.ensure_index_again(api, name, live).await
    }

    /// Ensures that an index exists, also if it is deleted right after it was created.
    async fn ensure_index_again(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut MutexGuard<'_, LiveMapping>,
    ) -> Result<Option<(FieldCapacity, u32)>, Error> {
        for _ in 1..RESTORE_ATTEMPTS {
            match self.ensure_index(api, name, live).await {
                Err(error) if is_index_missing(&error) => {}
                ensured => return ensured,
            }
        }
        self.ensure_index(api, name, live).await
    }

    /// Installs the templates again if they were deleted during the run: an index created without them would map fields
    /// dynamically.
    pub(super) async fn restore_templates(&self, api: &ApiClient<'_>) -> Result<(), Error> {
        let mut refused = None;
        for _ in 0..RESTORE_ATTEMPTS {
            if !templates::is_missing(api, self.templates()).await? {
                return Ok(());
            }
            self.log.warn(
                api.address(),
                format_args!(
                    "index template '{}' was deleted during the run; installing it again",
                    self.templates().prefix()
                ),
            );
            match self.install_missing_templates(api).await {
                // A component template that was there a moment ago was deleted too.
                Err(error @ Error::Refused { status: 400, .. }) => refused = Some(error),
                installed => return installed,
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Installs the index template, and those of its component templates that are missing.
    async fn install_missing_templates(&self, api: &ApiClient<'_>) -> Result<(), Error> {
        let templates = self.templates();
        let is_missing = async |name: String| {
            templates::fetch_component(api, &name).await.map(|existing| existing.is_none())
        };
        let fields = self.fields.properties(0, self.fields.len());
        let missing = MissingComponents {
            discovered: is_missing(templates.component_name())
                .await?
                .then(|| templates.component_template(&fields)),
            settings: is_missing(templates.settings_name())
                .await?
                .then(templates::settings_template),
        };
        // The run may have begun before `trailload setup` was run, or before what it made was removed.
        let setup = self.current_setup(api).await?;
        let templates = templates.clone().with_setup(setup);
        PendingTemplates::for_restore(&templates, missing).install(api, &self.log).await
    }

    /// Returns a rewriter for a foreign index, or for documents of an older version of the field registry than that in which
    /// fields were refused; `None` if documents are indexed as they are. The index must be prepared.
    pub(super) async fn rewriter(&self, name: &str, fields_version: u64) -> Option<IndexRewriter> {
        let index = self.indices.get(name);
        if !index.is_foreign() && !index.may_lack_terms(fields_version) {
            return None;
        }
        let live = index.live.lock().await;
        Some(IndexRewriter::new(&self.fields, &live.mapping))
    }

    /// Returns the mapping of an index as it is now, or was at `since` at the earliest.
    pub(super) async fn live_mapping(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        since: Instant,
    ) -> Result<Arc<Value>, Error> {
        let index = self.indices.get(name);
        let mut live = index.live.lock().await;
        if live.read.is_none_or(|read| read < since) {
            self.fetch_mapping(api, name, &mut live).await?;
        }
        Ok(Arc::clone(&live.mapping))
    }

    /// Returns the index of a name that is an alias.
    pub(super) fn concrete_index(&self, name: &str) -> Option<String> {
        self.indices.get(name).concrete_index()
    }

    /// Returns whether all events of an index are older than the retention, which was found out during the run.
    pub(super) fn has_expired(&self, name: &str) -> bool {
        self.indices.get(name).has_expired()
    }

    /// Returns why an index accepts no documents, if known.
    pub(super) fn unwritable_cause(&self, name: &str) -> Option<Cause> {
        self.indices.get(name).unwritable.get().cloned()
    }

    /// Records that an index accepts no documents, and warns once.
    pub(super) fn mark_unwritable(&self, name: &str, cause: &Cause) {
        if self.indices.get(name).unwritable.set(cause.clone()).is_err() {
            return;
        }
        let hint = match cause {
            Cause::CreatedWithoutTemplate => {
                "delete it; then load its events again as the end of the run says, and run 'trailload retry'"
            }
            _ => RefusalReason::from_cause(cause).hint().unwrap_or("see the engine's log"),
        };
        self.log.warn(
            name,
            format_args!("accepts no documents ({cause}): they become dead letters; hint: {hint}"),
        );
    }

    /// Warns once that an ingest pipeline rejects the documents of an index.
    pub(super) fn warn_of_pipeline(&self, name: &str, pipeline: &str, cause: &Cause) {
        if self.indices.get(name).warned_of_pipeline.swap(true, Ordering::Relaxed) {
            return;
        }
        self.log.warn(
            name,
            format_args!(
                "{pipeline} rejects documents ({cause}): they become dead letters; hint: fix the pipeline, or remove it \
                 from the index settings, then run the same command again"
            ),
        );
    }

    /// Returns the ingest pipelines of an index, as its settings are now or were a moment ago. None if the engine does not
    /// report them: then errors are not attributed to a pipeline.
    pub(super) async fn pipelines(&self, client: &Client, name: &str) -> Vec<String> {
        let index = self.indices.get(name);
        let mut cached = index.pipelines.lock().await;
        match &*cached {
            Some((read, pipelines)) if read.elapsed() < PIPELINES_TTL => pipelines.clone(),
            _ => {
                let now = Instant::now();
                let pipelines = issues::pipelines_of_index(client, name).await;
                *cached = Some((now, pipelines.clone()));
                pipelines
            }
        }
    }

    /// Creates an index if it does not exist, and adds the fields that it lacks. Returns how many discovered fields it was
    /// prepared for; `None` if no documents are to be written to it.
    async fn ensure_index(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut MutexGuard<'_, LiveMapping>,
    ) -> Result<Option<(FieldCapacity, u32)>, Error> {
        let index = self.indices.get(name);
        let mut created_with = None;
        let exists = self.fetch_mapping(api, name, live).await?;
        let is_new = !exists || index.identity.get().is_some();
        if is_new {
            // `trailload setup` may have been run since this run began.
            let setup = self.current_setup(api).await?;
            if self.leave_out_expired(name, setup.as_ref()) {
                return Ok(None);
            }
            if !exists {
                self.warn_if_deleted(name, &index);
                self.restore_templates(api).await?;
                created_with = self.create_index(api, name, setup.as_ref()).await?;
                if !self.fetch_mapping(api, name, live).await? {
                    self.log.debug(name, "was deleted right after it was created");
                }
            }
            if live.is_foreign && !self.complete_mapping(api, name, live).await? {
                return Ok(None);
            }
        }
        self.identify(api, name, is_new).await?;
        self.warn_if_foreign(name, live);
        // Fields that the live mapping added to the registry count. Those that were discovered while the index was created
        // are for the next batches: this one need not wait for them.
        let known = created_with.unwrap_or_else(|| self.fields.len());
        let mut wanted = self.templates().core()["properties"].clone();
        properties::merge(&mut wanted, &self.fields.properties(0, known));
        let missing = properties::missing(&wanted, &live.mapping["properties"]);
        Ok(Some((self.add_fields(api, name, &missing, live).await?, known)))
    }

    /// Reads the live mapping and merges it into the field registry, unless it is foreign. Returns whether the index exists.
    async fn fetch_mapping(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        live: &mut LiveMapping,
    ) -> Result<bool, Error> {
        let action = format!("reading the mapping of '{name}'");
        let before = Instant::now();
        let mut response = api.get(&paths::mapping(&[name]), &action).await?;
        match response.status {
            404 => return Ok(false),
            200..=299 => {}
            _ => return Err(api.refused(&action, &response)),
        }
        let indices = response.json.as_object().into_iter().flat_map(|all| all.keys());
        if indices.clone().count() > 1 {
            let problem = NameProblem::SeveralIndices { indices: indices.cloned().collect() };
            let (url, name) = (api.address().to_owned(), name.to_owned());
            return Err(Error::UnsuitableName { url, name, problem });
        }
        // Under its own name, or under another one if `name` is an alias.
        let index = response.json.as_object_mut().and_then(|all| all.iter_mut().next_back());
        let mapping = index.and_then(|(concrete, index)| {
            let alias_of = (concrete != name).then(|| concrete.clone());
            self.indices.get(name).set_concrete_index(alias_of);
            index.get_mut("mappings").map(Value::take)
        });
        live.mapping = Arc::new(mapping.unwrap_or_default());
        live.read = Some(before);
        live.is_foreign = !is_managed(&live.mapping);
        if !live.is_foreign {
            self.fields.merge_mappings(&live.mapping, MappingOrigin::Index);
        }
        Ok(true)
    }

    /// Warns about an index that was not created from trailload's template.
    fn warn_if_foreign(&self, name: &str, live: &LiveMapping) {
        let dynamic = &live.mapping["dynamic"];
        let is_static = *dynamic == "false" || *dynamic == false;
        if live.is_foreign || !is_static {
            self.log.warn(
                name,
                "its mapping was not created from trailload's template: the index is older, or another template has a \
                 higher priority; it may map fields dynamically",
            );
        }
    }

    /// Creates an index with all known fields; the template determines everything else. Returns how many fields it was
    /// created with, unless another loader created it.
    async fn create_index(
        &self,
        api: &ApiClient<'_>,
        name: &str,
        setup: Option<&SetupTemplate>,
    ) -> Result<Option<u32>, Error> {
        let action = format!("creating the index '{name}'");
        let known = self.fields.len();
        let fields = self.fields.properties(0, known);
        let mappings = json!({ "properties": fields });
        let has_fields = !properties::is_empty(&fields);
        let settings = self.templates().index_settings(name, setup);
        let settings = settings.filter(|_| !self.lacks_age_setting.load(Ordering::Relaxed));
        let mut bodies = Vec::new();
        if let Some(settings) = settings {
            bodies.push(if has_fields {
                json!({ "settings": settings, "mappings": mappings })
            } else {
                json!({ "settings": settings })
            });
        }
        if has_fields {
            bodies.push(json!({ "mappings": mappings }));
        }
        for body in &bodies {
            let response = api.send(Method::Put, &paths::index(name), Some(body), &action).await?;
            self.count_call(&response);
            match response.status {
                200..=299 => return Ok(has_fields.then_some(known)),
                // The age or a field may be the reason, not the index: it is created with less, and fields are added one
                // by one.
                400 if response.cause().to_string().contains("unknown setting") => {
                    self.lacks_age_setting.store(true, Ordering::Relaxed);
                }
                400 => {}
                _ => return Err(api.refused(&action, &response)),
            }
        }
        let response = api.send(Method::Put, &paths::index(name), None, &action).await?;
        match response.status {
            200..=299 => Ok(None),
            400 if response.cause().code() == "resource_already_exists_exception" => Ok(None),
            _ => Err(api.refused(&action, &response)),
        }
    }

    /// Reads what `trailload setup` was asked for until now.
    pub(super) async fn current_setup(
        &self,
        api: &ApiClient<'_>,
    ) -> Result<Option<SetupTemplate>, Error> {
        let setup = templates::fetch_component(api, &self.templates().setup_name()).await?;
        Ok(setup.as_ref().and_then(SetupTemplate::from_component))
    }

    /// Merges the fields of a component template into the field registry, where no index of this run has them.
    fn merge_template(&self, template: &Value) {
        let mappings = &template["template"]["mappings"];
        if mappings.is_object() {
            self.fields.merge_mappings(mappings, MappingOrigin::Template);
        }
    }
}

/// Returns whether an index no longer exists.
fn is_index_missing(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 404, source, .. } if source.code() == "index_not_found_exception")
}
