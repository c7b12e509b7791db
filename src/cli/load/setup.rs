//! What a load, a dry run and `doctor` prepare in the same way.

use std::{path::Path, sync::Arc};

use crate::{
    aws::Session,
    checkpoint::{self, CheckpointReader},
    cli::{
        failure::Failure,
        plan::{Plan, aws::EngineAuth},
        sources::{self, History, LookupMode, SourceBuilder},
    },
    normalize::{FieldRegistry, FieldShape, Rules, Settings},
    pipeline::{LoadConfig, PipelineConfig},
    report::{Log, Metrics},
    shutdown::{ShutdownSignal, ShutdownTrigger},
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

impl<'a> RunContext<'a> {
    /// Returns the builder of the source, which skips what the checkpoint records as complete.
    pub(super) fn source_builder(self, checkpoint: Option<&'a Path>) -> SourceBuilder<'a> {
        let Self { plan, metrics, log, shutdown, .. } = self;
        SourceBuilder {
            sources: &plan.sources,
            aws: &plan.aws,
            range: plan.range,
            memory: plan.memory_budget(),
            history: if plan.reload { History::Ignored } else { History::Checkpoint(checkpoint) },
            lookup: if plan.dry_run { LookupMode::Estimate } else { LookupMode::Load },
            metrics,
            log,
            shutdown,
        }
    }
}

/// Opens the AWS session if the plan uses AWS.
pub(super) async fn open_session(
    plan: &Plan,
    metrics: &Metrics,
) -> Result<Option<Session>, Failure> {
    if !plan.sources.uses_aws() && plan.engine_auth == EngineAuth::Credentials {
        return Ok(None);
    }
    sources::open_session(&plan.sources, &plan.aws, &metrics.waits).await.map(Some)
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
