//! What a load, a dry run and `doctor` prepare in the same way.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

use super::retention::log_kept_from;
use crate::{
    aws::{Clock, Session},
    checkpoint::{self, CheckpointReader},
    cli::{
        alerts::{AlertPlan, Resumed, message_context},
        environment,
        failure::Failure,
        plan::{AlertRequest, Plan, aws::EngineAuth},
        rule_files::load_valid_rules,
        run_scope::RunScope,
        sources::{self, FollowMode, History, LookupMode, SourceBuilder, queues::QueueReading},
    },
    normalize::{FieldRegistry, FieldShape, KeptFrom, Rules, Settings},
    pipeline::{LoadAlerts, LoadConfig, PipelineConfig, alert::delivery::DeliveryConfig},
    report::{Log, Metrics},
    sink::{Engine, Target, alert::ReceiverContext},
    source::{
        CombinedSource,
        queue::{MessageDeletion, MessageOrder},
    },
};

/// What every step of a run needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunContext<'a> {
    pub(super) plan: &'a Plan,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) log: &'a Log,
    pub(super) scope: &'a RunScope,
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
        let Self { plan, metrics, log, scope, .. } = self;
        let follow = if plan.follow { FollowMode::On } else { FollowMode::Off };
        let deletion = if plan.dry_run { MessageDeletion::None } else { plan.aws.messages };
        SourceBuilder {
            sources: &plan.sources,
            aws: &plan.aws,
            range: plan.range,
            memory: plan.memory_budget(),
            history: if plan.reload { History::Ignored } else { History::Checkpoint(checkpoint) },
            lookup: if plan.dry_run { LookupMode::Estimate } else { LookupMode::Load(follow) },
            queues: QueueReading {
                mode: follow.queue_mode(),
                deletion,
                order: MessageOrder::Any,
                acknowledgers: &scope.acknowledgers,
            },
            metrics,
            log,
            shutdown: &scope.shutdown,
        }
    }
}

impl RunContext<'_> {
    /// Returns what the pipeline reads.
    pub(super) fn pipeline(self, source: CombinedSource) -> PipelineConfig {
        let Self { plan, metrics, log, scope, .. } = self;
        PipelineConfig {
            source: Box::new(source),
            range: plan.range,
            workers: plan.workers.get(),
            memory: plan.memory_budget(),
            metrics: Arc::clone(metrics),
            log: log.clone(),
            shutdown: scope.shutdown.clone(),
            trigger: scope.trigger.clone(),
        }
    }

    /// Reads the rules and the action file, if rules are evaluated, and finds the actions of alerts that earlier runs left.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a file is invalid. Each error was logged.
    pub(super) fn alert_plan(self) -> Result<Option<AlertPlan>, Failure> {
        let Self { plan, log, .. } = self;
        let Some(AlertRequest { rules, options }) = &plan.alerts else { return Ok(None) };
        let mut alerts = options.plan(&load_valid_rules(rules, log)?, log)?;
        alerts.find_undelivered(&plan.checkpoint, Resumed::Pending, log);
        Ok(Some(alerts))
    }

    /// Returns who receives alerts. Secrets are read now.
    pub(super) fn load_alerts(
        self,
        alerts: &AlertPlan,
        session: Option<&Session>,
        engine: &Target,
    ) -> Result<LoadAlerts, Failure> {
        let Self { plan, metrics, log, scope, .. } = self;
        let context = ReceiverContext {
            clock: Clock::new(environment::now),
            session: session.cloned(),
            engine: Some(engine.clone()),
        };
        let delivery = DeliveryConfig {
            receivers: alerts.receivers(&context, &message_context(&plan.sources, None), log)?,
            policy: alerts.policy,
            waits: metrics.waits.clone(),
            log: log.clone(),
            shutdown: scope.shutdown.clone(),
            // A load goes on without a reader of its alerts.
            on_closed_pipe: None,
            clock: Clock::new(environment::now),
            shared: None,
        };
        Ok(LoadAlerts { rules: Arc::clone(&alerts.rules), delivery })
    }
}

/// Opens the AWS session if the plan or an action uses AWS.
pub(super) async fn open_session(
    plan: &Plan,
    metrics: &Metrics,
    alerts: Option<&AlertPlan>,
) -> Result<Option<Session>, Failure> {
    let is_used = plan.sources.uses_aws()
        || plan.engine_auth == EngineAuth::SigV4
        || alerts.is_some_and(AlertPlan::needs_session);
    if !is_used {
        return Ok(None);
    }
    sources::open_session(&plan.sources, &plan.aws, &metrics.waits).await.map(Some)
}

/// Restores what earlier runs decided about discovered fields.
pub(in crate::cli) fn recall_decisions(
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

/// Returns the time before which events are left out, if `trailload setup` recorded a retention in the engine.
pub(in crate::cli) fn kept_from(plan: &Plan, engine: &Engine, log: &Log) -> Option<Timestamp> {
    let retention = engine.retention()?;
    let from = retention.kept_from(plan.index_by, environment::now())?;
    log_kept_from(retention, from, log);
    Some(from)
}

/// Returns the configuration of a load that keeps events for ever.
pub(in crate::cli) fn load_config(
    plan: &Plan,
    pipeline: PipelineConfig,
    fields: Arc<FieldRegistry>,
) -> LoadConfig {
    LoadConfig {
        pipeline,
        fields,
        settings: Settings {
            prefix: plan.index.as_str().to_owned(),
            index_by: plan.index_by,
            range: plan.range,
            kept_from: KeptFrom::default(),
            keep_original: plan.keep_original,
        },
        retry: plan.retry,
        alerts: None,
    }
}
