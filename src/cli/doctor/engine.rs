//! Checks the engine: version, templates, disks, permissions, and settings that would stop documents.

use std::{sync::Arc, time::Duration};

use super::{Doctor, Severity, pass};
use crate::{
    aws::Session,
    checkpoint::{self, CheckpointReader, indices::LoadedIndex},
    cli::{
        failure::Failure,
        load::index_check,
        plan::{Plan, aws::EngineAuth},
        sources::signing,
    },
    normalize::{FieldRegistry, Rules},
    report::{Metrics, format},
    shutdown::shutdown_channel,
    sink::{Disk, DiskUsage, Engine, EngineIssue, Inspection, Privileges, TemplateState},
};

/// How long failed requests are retried. It is short, because a user is waiting.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

impl Doctor<'_> {
    /// Checks the engine of a load.
    pub(super) async fn engine(
        &mut self,
        plan: &Plan,
        rules: Arc<Rules>,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let mut target = plan.sink_target();
        (target.retry_deadline, target.request_timeout) = (RETRY_TIMEOUT, REQUEST_TIMEOUT);
        if plan.engine_auth == EngineAuth::SigV4 {
            // Without a session, the failure was already reported.
            let Some(session) = session else { return Ok(()) };
            target.signing = Some(signing(&plan.target.url, session));
        }
        let fields = Arc::new(FieldRegistry::new(Arc::clone(&rules), plan.fields, plan.max_fields));
        let (_trigger, shutdown) = shutdown_channel();
        let mut metrics = Metrics::default();
        metrics.waits = self.pending.clone();
        let metrics = Arc::new(metrics);
        match Engine::connect(target, fields, self.log.clone(), metrics, shutdown).await {
            Ok(engine) => {
                let inspection = engine.inspect(plan.index.as_str()).await;
                self.inspection(plan, &engine.info().to_string(), &inspection)?;
                self.loaded_indices(plan, &engine)
            }
            Err(error) => self.report_problem(Severity::Failure, &error.into()),
        }
    }

    fn inspection(
        &mut self,
        plan: &Plan,
        info: &str,
        inspection: &Inspection,
    ) -> Result<(), Failure> {
        let name = format!("engine {}", plan.target.url.as_str().trim_end_matches('/'));
        pass(&name, info)?;
        let index = &plan.index;
        let templates = match inspection.templates {
            TemplateState::Current => "installed and up to date",
            TemplateState::NeedsInstall => "the load installs them",
            TemplateState::Unsupported => {
                "not supported by this engine; documents are sent without templates"
            }
        };
        pass(&format!("templates of '{index}'"), templates)?;
        match &inspection.disk {
            Some(disk) => self.disk(disk)?,
            None => pass("disks", "this user may not read it; not required for loading")?,
        }
        for issue in &inspection.issues {
            self.issue(issue)?;
        }
        self.privileges(&inspection.privileges)
    }

    /// Reports a setting of the engine that would stop documents.
    fn issue(&mut self, issue: &EngineIssue) -> Result<(), Failure> {
        let severity = match issue {
            EngineIssue::LegacyTemplate { .. } => return pass("templates", &issue.describe()),
            EngineIssue::SamePriority { .. } | EngineIssue::DataStream { .. } => Severity::Failure,
            EngineIssue::Blocked { .. } if issue.is_disk_full() => Severity::Failure,
            EngineIssue::Shards { open, most } if open >= most => Severity::Failure,
            _ => Severity::Warning,
        };
        self.report_problem(
            severity,
            &Failure::action_required(issue.describe()).hint(issue.hint()),
        )
    }

    /// Compares what the checkpoint records as loaded with what the engine holds.
    fn loaded_indices(&mut self, plan: &Plan, engine: &Engine) -> Result<(), Failure> {
        let path = &plan.checkpoint;
        // Another check reports whether the file can be used.
        let Ok(reader) = CheckpointReader::open(path) else { return Ok(()) };
        if let (Ok(Some(theirs)), Some(ours)) = (reader.cluster(), engine.cluster())
            && theirs != ours
        {
            let (path, target) = (path.clone(), plan.target_name());
            let ours = ours.to_owned();
            let other = checkpoint::Error::ClusterMismatch { path, target, theirs, ours };
            return self.report_problem(Severity::Failure, &other.into());
        }
        let (Some(inventory), Ok(mut indices)) = (engine.inventory(), reader.indices()) else {
            return Ok(());
        };
        indices.compare(inventory, self.now.as_millisecond());
        if let Some(retention) = engine.retention() {
            let has_expired = index_check::has_expired(plan, retention, self.now);
            indices.accept(has_expired, self.now.as_millisecond());
        }
        for (name, missing) in indices.unaccepted() {
            let failure =
                Failure::action_required(format!("{name}: {}", index_check::describe(missing)));
            self.report_problem(Severity::Warning, &failure.hint(index_check::remedy(plan, name)))?;
        }
        if indices.unaccepted().next().is_some() || indices.known.is_empty() {
            return Ok(());
        }
        let documents = indices.known.values().map(LoadedIndex::expected).sum();
        let number = indices.known.len() as u64;
        let indices = if number == 1 { "index" } else { "indices" };
        pass(
            "loaded before",
            &format!(
                "{} {indices} with {}, complete",
                format::count(number),
                format::plural(documents, "document")
            ),
        )
    }

    fn disk(&mut self, disk: &Disk) -> Result<(), Failure> {
        let name = format!("disk of {}", disk.node);
        let free = format!("{} of {} free", format::bytes(disk.free), format::bytes(disk.bytes));
        let (severity, state) = match disk.usage {
            DiskUsage::Normal => return pass(&name, &free),
            DiskUsage::AboveHighWatermark => (
                Severity::Warning,
                "above the high watermark: no shards of new indices are allocated to it",
            ),
            DiskUsage::AboveFloodStage => {
                (Severity::Failure, "above the flood-stage watermark: the engine blocks writes")
            }
        };
        let failure = Failure::action_required(format!("{name} is {state} ({free})"));
        self.report_problem(
            severity,
            &failure.hint("free disk space or add a node; the engine then recovers by itself"),
        )
    }

    fn privileges(&mut self, privileges: &Privileges) -> Result<(), Failure> {
        match privileges {
            Privileges::Unknown => pass(
                "permissions",
                "security is disabled or cannot be queried; permissions are checked by the first write",
            ),
            Privileges::Sufficient { user } => {
                pass("permissions", &format!("{user} has all permissions that a load needs"))
            }
            Privileges::Identified { user, roles } => {
                let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
                let text = format!(
                    "{user}, with {roles}; permissions are checked by the first write (minimum: policy/opensearch.json)"
                );
                pass("permissions", &text)
            }
            Privileges::Missing { user, privileges } => {
                let failure = Failure::action_required(format!(
                    "{user} lacks permissions: {}",
                    privileges.join(", ")
                ));
                let fix = "assign this user the role in policy/elasticsearch.json, with the names of your indices";
                self.report_problem(Severity::Failure, &failure.hint(fix))
            }
        }
    }
}
