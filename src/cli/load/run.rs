//! Runs a plan: opens what it needs, builds the source, and hands both to the pipeline.
//!
//! Input: a [`Plan`]. Output: how the run ended, and the checkpoint in which its exit code is still to be recorded.

use std::{path::Path, sync::Arc};

use super::{
    dry_run, index_check,
    journal::RunJournal,
    retention::RetentionRenewal,
    setup::{RunContext, field_rules, kept_from, load_config, open_session, recall_decisions},
};
use crate::{
    aws::Session,
    checkpoint::{CheckpointReader, CheckpointStore, alerts::AlertTotals},
    cli::{
        alerts::{AlertAges, SharingRun},
        dashboards_endpoint::refresh_after_load,
        environment,
        failure::Failure,
        plan::{Plan, aws::EngineAuth},
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
        sources::{nothing_done, signing, unless_shut_down},
    },
    filter::rule::RuleSet,
    normalize::FieldRegistry,
    pipeline::{self, LoadAlerts, LoadAlertsEnd, LoadConfig, LoadEnd, RunEnd, RunOutcome},
    report::{Log, Metrics},
    sink::{Engine, Target},
    source::{CombinedSource, Files},
};

/// A run that has ended, but whose exit code is not yet recorded in the checkpoint.
#[derive(Debug)]
pub(super) struct RunResult {
    /// How the run ended.
    pub(super) outcome: Result<RunOutcome, Failure>,
    /// The checkpoint, to record the exit code in. `None` if it was not opened, or failed.
    pub(super) store: Option<CheckpointStore>,
    /// What became of alerts, if rules were evaluated.
    pub(super) alerts: Option<AlertResult>,
    /// Where the engine keeps what its loads did, if the run loaded into it.
    pub(super) journal: Option<RunJournal>,
}

/// What became of the alerts of a run.
#[derive(Debug)]
pub(super) struct AlertResult {
    pub(super) rules: Arc<RuleSet>,
    pub(super) matches: AlertTotals,
    pub(super) end: LoadAlertsEnd,
}

impl From<Result<RunOutcome, Failure>> for RunResult {
    fn from(outcome: Result<RunOutcome, Failure>) -> Self {
        Self { outcome, store: None, alerts: None, journal: None }
    }
}

impl RunResult {
    /// Returns the result of a run that ended before anything was read.
    fn before_reading(outcome: Result<RunOutcome, Failure>, store: CheckpointStore) -> Self {
        Self { outcome, store: Some(store), alerts: None, journal: None }
    }
}

/// Runs a plan to its end on a runtime of its own.
pub(super) fn run_plan(plan: &Plan, metrics: &Arc<Metrics>, log: &Log) -> RunResult {
    match runtime::block_on(&plan.sources, run(plan, metrics, log)) {
        Ok(ended) => ended,
        Err(failure) => Err(failure).into(),
    }
}

async fn run(plan: &Plan, metrics: &Arc<Metrics>, log: &Log) -> RunResult {
    let scope = match RunScope::start(log, ShutdownMessages::WITH_CHECKPOINT) {
        Ok(scope) => scope,
        Err(failure) => return Err(failure).into(),
    };
    let context = RunContext { plan, metrics, log, scope: &scope };
    let mut result = if plan.dry_run {
        dry_run::run(context).await.into()
    } else {
        match open(context).await {
            Ok(Some(resources)) => Box::pin(load_into_engine(context, resources)).await,
            Ok(None) => Ok(RunOutcome::Stopped).into(),
            Err(failure) => Err(failure).into(),
        }
    };
    result.outcome = scope.end(result.outcome).await;
    result
}

/// The resources of a load, opened before anything is read.
struct Resources {
    session: Option<Session>,
    fields: Arc<FieldRegistry>,
    engine: Engine,
    store: CheckpointStore,
    /// Who receives alerts, if rules are evaluated.
    alerts: Option<LoadAlerts>,
    target: Target,
}

/// Opens the AWS session, the engine and the checkpoint, in this order: nothing is sent for an invalid argument, and a
/// mistyped URL does not leave a checkpoint file behind. Returns `None` after a shutdown signal.
async fn open(context: RunContext<'_>) -> Result<Option<Resources>, Failure> {
    let RunContext { plan, metrics, log, scope } = context;
    let shutdown = &scope.shutdown;
    let rules = Arc::new(field_rules(plan)?);
    let fields = Arc::new(FieldRegistry::new(Arc::clone(&rules), plan.fields, plan.max_fields));
    Files::new(&plan.sources.paths(), nothing_done())?;
    let alerts = context.alert_plan()?;
    let opening = Box::pin(open_session(plan, metrics, alerts.as_ref()));
    let Some(session) = unless_shut_down(shutdown, opening).await? else { return Ok(None) };
    let mut target = plan.sink_target();
    if let Some(session) = session.as_ref().filter(|_| plan.engine_auth == EngineAuth::SigV4) {
        target.signing = Some(signing(&plan.target.url, session));
    }
    // Secrets are read before anything is sent.
    let alerts = match alerts {
        Some(alerts) => Some((context.load_alerts(&alerts, session.as_ref(), &target)?, alerts)),
        None => None,
    };
    let connecting = Engine::connect(
        target.clone(),
        Arc::clone(&fields),
        log.clone(),
        Arc::clone(metrics),
        shutdown.clone(),
    );
    // Nothing is in flight yet, so a shutdown signal can cancel this at once.
    let connecting = Box::pin(async { Ok(connecting.await?) });
    let Some(engine) = unless_shut_down(shutdown, connecting).await? else { return Ok(None) };
    let mut store =
        CheckpointStore::open(&plan.checkpoint, &plan.target_name(), environment::now())?;
    let alerts = match alerts {
        Some((mut receivers, alerts)) => {
            let (range, ages) = (plan.range, AlertAges::Recent);
            alerts.prepare(&mut store, range, ages, log)?;
            let run = SharingRun { range, ages, session: session.as_ref(), shutdown, log };
            let sharing = Box::pin(alerts.share(&mut store, run));
            let Some(shared) = unless_shut_down(shutdown, sharing).await? else {
                return Ok(None);
            };
            receivers.delivery.shared = shared;
            Some(receivers)
        }
        None => None,
    };
    Ok(Some(Resources { session, fields, engine, store, alerts, target }))
}

async fn load_into_engine(context: RunContext<'_>, resources: Resources) -> RunResult {
    let RunContext { plan, metrics, log, .. } = context;
    let Resources { session, fields, engine, mut store, alerts, target } = resources;
    if let Err(failure) = index_check::check_before_run(plan, &engine, &mut store, log).await {
        return RunResult::before_reading(Err(failure), store);
    }
    let source = match build_source(context, session, &fields, store.path()).await {
        Ok(Some(source)) => source,
        Ok(None) => return RunResult::before_reading(Ok(RunOutcome::Stopped), store),
        Err(failure) => return RunResult::before_reading(Err(failure), store),
    };
    let engine_name = engine.info().to_string();
    log.info(
        plan.target.url.as_str().trim_end_matches('/'),
        format_args!("loading into {engine_name}"),
    );
    // It is set only here, so this cannot fail.
    let _ = metrics.engine.set(engine_name);
    let rules = alerts.as_ref().map(|alerts| Arc::clone(&alerts.rules));
    let config = LoadConfig { alerts, ..load_config(plan, context.pipeline(source), fields) };
    let kept_from = config.settings.kept_from.clone();
    kept_from.replace(self::kept_from(plan, &engine, log));
    let engine = Arc::new(engine);
    let mut journal = RunJournal::new(target.clone(), plan.command);
    let loading = pipeline::load(config, Arc::clone(&engine), store);
    let end = if plan.follow {
        let renewal = RetentionRenewal {
            read: async || engine.current_retention().await,
            retention: engine.retention(),
            index_by: plan.index_by,
            kept_from,
            clock: environment::now,
            log,
        };
        let loading = Box::pin(renewal.renew_while(loading));
        journal.record_while(loading, metrics, log).await
    } else {
        loading.await
    };
    let LoadEnd { run: RunEnd { outcome, mut store, matches }, inventory, alerts } = end;
    let alerts = rules.zip(alerts).map(|(rules, end)| AlertResult { rules, matches, end });
    let mut outcome = outcome.map_err(Failure::from);
    if let (Ok(RunOutcome::Complete), Some(store)) = (&outcome, &mut store)
        && let Err(failure) =
            index_check::check_after_run(plan, &engine, inventory.as_ref(), store, log).await
    {
        outcome = Err(failure);
    }
    if let Some(url) = plan.dashboards.as_ref().filter(|_| engine.has_added_fields())
        && let Err(failure) = Box::pin(refresh_after_load(url, &target, metrics, log)).await
    {
        outcome = outcome.and(Err(failure));
    }
    RunResult { outcome, store, alerts, journal: Some(journal) }
}

/// Restores the decisions of earlier runs about fields, and builds the source.
async fn build_source(
    context: RunContext<'_>,
    session: Option<Session>,
    fields: &FieldRegistry,
    checkpoint: &Path,
) -> Result<Option<CombinedSource>, Failure> {
    // After the templates were read: the engine's state takes precedence over the checkpoint.
    recall_decisions(fields, &CheckpointReader::open(checkpoint)?)?;
    context.source_builder(Some(checkpoint)).build(session).await
}
