//! What a load, a dry run and `doctor` prepare in the same way.

use std::sync::Arc;

use super::accounts;
use crate::{
    aws::Session,
    checkpoint::{self, CheckpointReader},
    cli::{
        failure::Failure,
        plan::{Plan, aws::EngineAuth},
    },
    normalize::{FieldRegistry, FieldShape, Rules, Settings},
    pipeline::{LoadConfig, PipelineConfig},
    report::{Log, Metrics},
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger},
    sink::{Service, Signing},
    source::CombinedSource,
};

/// What every step of a run needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunContext<'a> {
    pub(super) plan: &'a Plan,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) log: &'a Log,
    pub(super) shutdown: &'a ShutdownSignal,
    pub(super) trigger: &'a ShutdownTrigger,
}

/// Loads the field rules.
///
/// # Errors
///
/// Returns a [`Failure`] if the folder of `--mappings` is invalid.
pub(in crate::cli) fn field_rules(plan: &Plan) -> Result<Rules, Failure> {
    Ok(match &plan.mappings {
        Some(folder) => Rules::load(folder),
        None => Rules::embedded(),
    }?)
}

/// Opens the AWS session if the plan uses AWS, and checks its credentials, so that a load without credentials fails
/// early.
pub(super) async fn open_session(
    plan: &Plan,
    metrics: &Metrics,
) -> Result<Option<Session>, Failure> {
    if !plan.sources.uses_aws() && plan.engine_auth == EngineAuth::Credentials {
        return Ok(None);
    }
    let session = accounts::new_session(&plan.aws, &metrics.waits).await?;
    accounts::check_access_points(&plan.sources.buckets, &session)?;
    if plan.sources.lookup.is_some() {
        session.identity().await?;
    } else if plan.sources.has_buckets() {
        session.access_key_id().await?;
    }
    Ok(Some(session))
}

/// Returns how requests to the engine are signed: for the service and Region in its host name, or else as for a managed
/// domain in the Region of the session.
pub(in crate::cli) fn signing(plan: &Plan, session: &Session) -> Signing {
    let named = Service::from_host(&plan.target.url);
    let (service, region) = named.unwrap_or_else(|| (Service::Domain, session.region()));
    Signing { service, region, credentials: session.credentials_provider() }
}

/// Restores what earlier runs decided about discovered fields.
pub(super) fn recall_decisions(
    fields: &FieldRegistry,
    reader: &CheckpointReader,
) -> Result<(), checkpoint::Error> {
    let decisions = reader.discovered_fields()?.into_iter();
    fields.restore(decisions.filter_map(|decision| {
        // A newer version may have stored a kind that this one does not know.
        Some((decision.path, FieldShape::from_name(&decision.kind)?))
    }));
    Ok(())
}

/// Returns the configuration of a load.
pub(super) fn load_config(
    context: RunContext<'_>,
    source: CombinedSource,
    fields: Arc<FieldRegistry>,
) -> LoadConfig {
    let plan = context.plan;
    LoadConfig {
        pipeline: PipelineConfig {
            source: Box::new(source),
            range: plan.range,
            workers: plan.workers.get(),
            memory: plan.memory_budget(),
            metrics: Arc::clone(context.metrics),
            log: context.log.clone(),
            shutdown: context.shutdown.clone(),
            trigger: context.trigger.clone(),
        },
        fields,
        settings: Settings {
            prefix: plan.index.as_str().to_owned(),
            index_by: plan.index_by,
            range: plan.range,
            keep_original: plan.keep_original,
        },
        retry: plan.retry,
    }
}

/// Waits for work that may take a while; returns `None` if a shutdown signal comes first.
///
/// # Errors
///
/// Returns the [`Failure`] of the work.
pub(super) async fn unless_shut_down<T>(
    shutdown: &ShutdownSignal,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = shutdown.reached(ShutdownLevel::Draining) => Ok(None),
        result = work => result.map(Some),
    }
}
