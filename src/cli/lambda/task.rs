//! What the function does with events: evaluates rules, or loads them.
//!
//! Input: settings at the start; then the source of each invocation. Output: alerts, documents, and a [`TaskEnd`].
//! Invariant: what is wrong in rules, actions and secrets is found at the start. From one invocation to the next, the checkpoint file,
//! the connections and the field registry are kept.
//! Not here: what becomes of each message (see `messages` and `function`).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    context::FunctionContext,
    messages::{MessageSource, SOURCE_NAME},
    undelivered::{UndeliveredAlerts, UndeliveredEnd},
};
use crate::{
    aws::{Clock, Session},
    checkpoint::{self, CheckpointReader, CheckpointStore, shared_alerts::SharedAlerts},
    cli::{
        alert_summary::{AlertSummary, delivery_failure, warn_about_failed_rules},
        alerts::{AlertAges, AlertPlan, Resumed, SharingRun},
        args::{alerts::AlertArgs, load::LoadArgs},
        environment::{self, Environment},
        exit::Exit,
        failure::Failure,
        load::{
            journal::RunJournal,
            setup::{field_rules, kept_from, load_config, recall_decisions},
        },
        plan::{AlertRequest, Plan, aws::EngineAuth, sources::SourceList},
        rule_files::load_valid_rules,
        sources::{signing, unless_shut_down},
        watch::{self, WatchArgs},
    },
    normalize::{FieldRegistry, TimeRange},
    pipeline::{
        self, LoadAlerts, LoadConfig, LoadEnd, PipelineConfig, RunEnd,
        alert::{
            AlertReceiver,
            delivery::{ActionReceiver, DeliveryConfig, DeliveryPolicy},
        },
        watch::{WatchConfig, WatchEnd},
    },
    report::{Log, Metrics, metrics::RecordCounts, run_record::RunCommand},
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger, shutdown_channel},
    sink::{
        Engine, Target,
        alert::{Action, MessageContext, ReceiverContext},
    },
};

/// How long a receiver may fail before the messages of its alerts are reported as failed: then the queue, or Lambda, delivers them
/// again. Waiting longer is paid for.
const DELIVER_WITHIN: Duration = Duration::from_secs(20);

/// What the run of an invocation shares with everything in it.
#[derive(Clone)]
pub(super) struct RunScope {
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: ShutdownSignal,
    pub(super) trigger: ShutdownTrigger,
}

impl RunScope {
    fn new(metrics: Arc<Metrics>) -> Self {
        let (trigger, shutdown) = shutdown_channel();
        Self { metrics, shutdown, trigger }
    }
}

impl FunctionContext {
    /// Returns new counters.
    fn metrics(&self) -> Arc<Metrics> {
        let mut metrics = Metrics::new([SOURCE_NAME.to_owned()]);
        metrics.waits = self.waits.clone();
        Arc::new(metrics)
    }

    /// Returns what the pipeline reads.
    fn pipeline(&self, source: MessageSource, scope: &RunScope) -> PipelineConfig {
        PipelineConfig {
            source: Box::new(source),
            range: TimeRange::default(),
            workers: self.workers,
            memory: self.memory,
            metrics: Arc::clone(&scope.metrics),
            // What is logged of an invocation names its messages.
            log: self.log.warnings_only(),
            shutdown: scope.shutdown.clone(),
            trigger: scope.trigger.clone(),
        }
    }
}

/// How the run of an invocation ended.
#[derive(Debug, Default)]
pub(super) struct TaskEnd {
    /// Why it ended early, if it failed. It is to be logged.
    pub(super) failure: Option<Failure>,
    /// Events that were read.
    pub(super) events: u64,
    /// What became of matches and deliveries, if rules were evaluated.
    pub(super) alerts: Option<AlertSummary>,
    /// What became of documents, if events were loaded.
    pub(super) documents: Option<RecordCounts>,
    /// The alerts that are not delivered.
    pub(super) undelivered: UndeliveredEnd,
    /// The keys of partitions with documents that the engine rejected.
    pub(super) rejected: BTreeSet<String>,
}

impl TaskEnd {
    /// Returns the end of a run that failed before anything was read.
    pub(super) fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Adds what the checkpoint keeps because it is not delivered or was rejected.
    fn with_unsettled(mut self, checkpoint: &Path) -> Self {
        let has_rejected = self.documents.is_some_and(|documents| documents.dead_letters > 0);
        if self.alerts.is_some() || has_rejected {
            match unsettled(checkpoint) {
                Ok((undelivered, rejected)) => {
                    self.undelivered = undelivered;
                    self.rejected = rejected;
                }
                Err(error) => {
                    let cause = error.to_string();
                    self.undelivered =
                        UndeliveredEnd { cause, is_unknown: true, ..UndeliveredEnd::default() };
                    self.failure.get_or_insert(error.into());
                }
            }
        }
        self
    }
}

/// Reads which alerts are not delivered and why, and which partitions have rejected documents.
fn unsettled(checkpoint: &Path) -> Result<(UndeliveredEnd, BTreeSet<String>), checkpoint::Error> {
    let reader = CheckpointReader::open(checkpoint)?;
    let actions = reader.action_status()?;
    let waiting = actions.iter().filter(|action| action.pending + action.dead_letters > 0);
    let causes: Vec<String> = waiting
        .map(|action| {
            let cause = action.cause.as_deref().unwrap_or("not tried yet");
            format!("action {}: {cause}", action.action)
        })
        .collect();
    let events = reader.undelivered_events()?;
    let cause = causes.join("; ");
    let undelivered = UndeliveredEnd { events, cause, is_unknown: false };
    Ok((undelivered, reader.partitions_with_dead_letters()?))
}

/// The rules of the function, and who receives their alerts.
pub(super) struct FunctionAlerts {
    plan: AlertPlan,
    receivers: Vec<ActionReceiver<AlertReceiver>>,
    /// The session of receivers and of the shared state, if one of them needs it.
    session: Option<Session>,
}

impl FunctionAlerts {
    /// Reads the rules and actions.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a file is invalid. Each error was logged.
    fn new(
        rules: &[PathBuf],
        options: &AlertArgs,
        checkpoint: &Path,
        log: &Log,
    ) -> Result<Self, Failure> {
        let mut plan = options.plan(&load_valid_rules(rules, log)?, log)?;
        if options.deliver_within.is_none() {
            plan.policy = DeliveryPolicy::new(DELIVER_WITHIN);
        }
        // A process that Lambda has ended may have left the file.
        plan.find_undelivered(checkpoint, Resumed::PendingAndDeadLetters, log);
        Ok(Self { plan, receivers: Vec::new(), session: None })
    }

    fn needs_session(&self) -> bool {
        self.plan.state.is_some() || self.plan.actions.iter().any(Action::needs_session)
    }

    /// Reads the secrets, and creates the receivers.
    fn connect(
        &mut self,
        session: Option<&Session>,
        engine: Option<Target>,
        log: &Log,
    ) -> Result<(), Failure> {
        let context = ReceiverContext {
            clock: Clock::new(environment::now),
            session: session.cloned(),
            engine,
        };
        // Where an event came from is not known to its message: the event history has it.
        self.receivers = self.plan.receivers(&context, &MessageContext::default(), log)?;
        self.session = context.session;
        Ok(())
    }

    fn delivery(
        &self,
        scope: &RunScope,
        shared: Option<SharedAlerts>,
        log: &Log,
    ) -> DeliveryConfig<AlertReceiver> {
        DeliveryConfig {
            receivers: self.receivers.clone(),
            policy: self.plan.policy,
            waits: scope.metrics.waits.clone(),
            log: log.clone(),
            shutdown: scope.shutdown.clone(),
            on_closed_pipe: None,
            clock: Clock::new(environment::now),
            shared,
        }
    }

    /// Prepares the checkpoint for a run, and opens the state that is shared with other functions, if it is.
    async fn prepare(
        &self,
        store: &mut CheckpointStore,
        undelivered: UndeliveredAlerts,
        scope: &RunScope,
        log: &Log,
    ) -> Result<Option<SharedAlerts>, Failure> {
        if undelivered == UndeliveredAlerts::Retry {
            store.retry_deliveries()?;
        }
        let (range, ages) = (TimeRange::default(), AlertAges::Recent);
        self.plan.prepare(store, range, ages, log)?;
        let (session, shutdown) = (self.session.as_ref(), &scope.shutdown);
        let run = SharingRun { range, ages, session, shutdown, log };
        // The deadline ends the wait for a table that is not available, with the cause.
        Box::pin(self.plan.share(store, run)).await
    }
}

/// The task of the function.
pub(super) enum Task {
    Watch(Box<WatchTask>),
    Load(Box<LoadTask>),
}

impl Task {
    /// Returns whether an AWS session is needed, whatever the messages contain.
    pub(super) fn needs_session(&self) -> bool {
        match self {
            Self::Watch(task) => task.alerts.needs_session(),
            Self::Load(task) => {
                task.plan.engine_auth == EngineAuth::SigV4
                    || task.alerts.as_ref().is_some_and(FunctionAlerts::needs_session)
            }
        }
    }

    /// Creates the receivers of alerts.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a secret or a certificate cannot be used. Each error was logged.
    pub(super) fn connect(&mut self, session: Option<&Session>, log: &Log) -> Result<(), Failure> {
        match self {
            Self::Watch(task) => task.alerts.connect(session, None, log),
            Self::Load(task) => {
                let engine = task.target(session);
                match &mut task.alerts {
                    Some(alerts) => alerts.connect(session, Some(engine), log),
                    None => Ok(()),
                }
            }
        }
    }

    /// Returns what the next run shares.
    pub(super) fn scope(&mut self, context: &FunctionContext) -> RunScope {
        match self {
            Self::Watch(_) => RunScope::new(context.metrics()),
            Self::Load(task) => task.scope(),
        }
    }

    /// Reads the source to its end.
    pub(super) async fn run(
        &mut self,
        source: MessageSource,
        scope: &RunScope,
        undelivered: UndeliveredAlerts,
        context: &FunctionContext,
    ) -> TaskEnd {
        let ended = match self {
            Self::Watch(task) => task.run(source, scope, undelivered, context).await,
            Self::Load(task) => Box::pin(task.run(source, scope, undelivered, context)).await,
        };
        ended.unwrap_or_else(TaskEnd::failed)
    }
}

/// Evaluates rules.
pub(super) struct WatchTask {
    alerts: FunctionAlerts,
    checkpoint: PathBuf,
}

impl WatchTask {
    /// Reads the rules and actions.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a file is invalid. Each error was logged.
    pub(super) fn new(
        args: &WatchArgs,
        environment: &Environment,
        log: &Log,
    ) -> Result<Self, Failure> {
        let checkpoint = match &args.checkpoint {
            Some(path) => path.clone(),
            None => watch::default_checkpoint(&message_sources(), &args.rules, environment)?,
        };
        let alerts = FunctionAlerts::new(&args.rules, &args.alerts, &checkpoint, log)?;
        Ok(Self { alerts, checkpoint })
    }

    async fn run(
        &self,
        source: MessageSource,
        scope: &RunScope,
        undelivered: UndeliveredAlerts,
        context: &FunctionContext,
    ) -> Result<TaskEnd, Failure> {
        let log = &context.log;
        let mut store =
            CheckpointStore::open(&self.checkpoint, watch::CHECKPOINT_TARGET, environment::now())?;
        let shared = self.alerts.prepare(&mut store, undelivered, scope, log).await?;
        let config = WatchConfig {
            pipeline: context.pipeline(source, scope),
            rules: Arc::clone(&self.alerts.plan.rules),
            delivery: self.alerts.delivery(scope, shared, log),
        };
        let WatchEnd { run: RunEnd { outcome, store, matches }, input, delivery } =
            Box::pin(pipeline::watch::watch(config, store)).await;
        warn_about_failed_rules(&self.alerts.plan.rules, &input.failures, log);
        let summary = AlertSummary::new(matches, &delivery, &self.checkpoint);
        let failure = outcome.err().map(Failure::from);
        let failure = failure.or_else(|| delivery.fault.as_ref().and_then(delivery_failure));
        Ok(TaskEnd {
            failure: close(store, failure),
            events: input.events,
            alerts: Some(summary),
            ..TaskEnd::default()
        }
        .with_unsettled(&self.checkpoint))
    }
}

/// Loads events into an engine.
pub(super) struct LoadTask {
    plan: Plan,
    fields: Arc<FieldRegistry>,
    metrics: Arc<Metrics>,
    journal: Option<RunJournal>,
    alerts: Option<FunctionAlerts>,
    session: Option<Session>,
    connection: Option<Connection>,
}

/// A connection to the engine, which many runs use.
struct Connection {
    engine: Option<Arc<Engine>>,
    scope: RunScope,
}

impl LoadTask {
    /// Checks the options, and reads the rules and actions if there are any.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names an option, or if a file is invalid. Each error of a file was logged.
    pub(super) fn new(
        args: &LoadArgs,
        environment: &Environment,
        context: &FunctionContext,
    ) -> Result<Self, Failure> {
        let log = &context.log;
        let mut plan = args.plan(environment, environment::now())?;
        plan.sources = message_sources();
        let alerts = match plan.alerts.take() {
            Some(AlertRequest { rules, options }) => {
                Some(FunctionAlerts::new(&rules, &options, &plan.checkpoint, log)?)
            }
            None => None,
        };
        let rules = Arc::new(field_rules(&plan)?);
        let fields = Arc::new(FieldRegistry::new(rules, plan.fields, plan.max_fields));
        let metrics = context.metrics();
        Ok(Self { plan, fields, metrics, journal: None, alerts, session: None, connection: None })
    }

    fn target(&mut self, session: Option<&Session>) -> Target {
        self.session = session.cloned();
        let mut target = self.plan.sink_target();
        if let Some(session) = session.filter(|_| self.plan.engine_auth == EngineAuth::SigV4) {
            target.signing = Some(signing(&self.plan.target.url, session));
        }
        target
    }

    /// Returns what the next run shares: that of the connection, unless a deadline has ended it.
    fn scope(&mut self) -> RunScope {
        self.connection = self.connection.take().filter(|open| !open.scope.shutdown.is_requested());
        let connection = self.connection.get_or_insert_with(|| Connection {
            engine: None,
            scope: RunScope::new(Arc::clone(&self.metrics)),
        });
        connection.scope.clone()
    }

    /// Returns the engine, and connects to it unless an earlier run did.
    async fn engine(&mut self, log: &Log) -> Result<Arc<Engine>, Failure> {
        let session = self.session.clone();
        let target = self.target(session.as_ref());
        let scope = self.scope();
        if let Some(engine) = self.connection.as_ref().and_then(|open| open.engine.clone()) {
            return Ok(engine);
        }
        let connecting = Engine::connect(
            target,
            Arc::clone(&self.fields),
            log.clone(),
            Arc::clone(&scope.metrics),
            scope.shutdown.clone(),
        );
        let connecting = Box::pin(async { Ok(connecting.await?) });
        let engine = unless_shut_down(&scope.shutdown, connecting).await?;
        let engine = Arc::new(engine.ok_or_else(|| {
            Failure::action_required(format!(
                "{} did not answer before the deadline of the invocation",
                self.plan.target.url
            ))
        })?);
        let name = engine.info().to_string();
        let about = self.plan.target.url.as_str().trim_end_matches('/');
        log.info(about, format_args!("loading into {name}"));
        // An engine that was identified before keeps its name.
        let _ = scope.metrics.engine.set(name);
        self.connection = Some(Connection { engine: Some(Arc::clone(&engine)), scope });
        Ok(engine)
    }

    async fn run(
        &mut self,
        source: MessageSource,
        scope: &RunScope,
        undelivered: UndeliveredAlerts,
        context: &FunctionContext,
    ) -> Result<TaskEnd, Failure> {
        let log = &context.log;
        let before = scope.metrics.record_counts();
        let session = self.session.clone();
        let target = self.target(session.as_ref());
        self.journal.get_or_insert_with(|| RunJournal::new(target, RunCommand::Lambda));
        let engine = self.engine(log).await?;
        let plan = &self.plan;
        let mut store =
            CheckpointStore::open(&plan.checkpoint, &plan.target_name(), environment::now())?;
        let shared = match &self.alerts {
            Some(alerts) => alerts.prepare(&mut store, undelivered, scope, log).await?,
            None => None,
        };
        recall_decisions(&self.fields, &CheckpointReader::open(store.path())?)?;
        let alerts = self.alerts.as_ref().map(|alerts| LoadAlerts {
            rules: Arc::clone(&alerts.plan.rules),
            delivery: alerts.delivery(scope, shared, log),
        });
        let pipeline = context.pipeline(source, scope);
        let config = LoadConfig { alerts, ..load_config(plan, pipeline, Arc::clone(&self.fields)) };
        config.settings.kept_from.replace(kept_from(plan, &engine, &log.warnings_only()));
        let LoadEnd { run: RunEnd { outcome, store, matches }, inventory: _, alerts: ended } =
            Box::pin(pipeline::load(config, engine, store)).await;
        let mut failure = outcome.err().map(Failure::from);
        let summary = self.alerts.as_ref().zip(ended).map(|(alerts, ended)| {
            warn_about_failed_rules(&alerts.plan.rules, &ended.failures, log);
            let fault = ended.delivery.fault.as_ref();
            failure = failure.take().or_else(|| fault.and_then(delivery_failure));
            AlertSummary::new(matches, &ended.delivery, &self.plan.checkpoint)
        });
        let failure = close(store, failure);
        if failure.is_some() {
            // The next run identifies the engine again.
            self.connection = None;
        } else {
            self.record(scope, log).await;
        }
        let counts = scope.metrics.record_counts().since(before);
        Ok(TaskEnd {
            failure,
            events: counts.read,
            alerts: summary,
            documents: Some(counts),
            ..TaskEnd::default()
        }
        .with_unsettled(&self.plan.checkpoint))
    }

    /// Records in the engine what this process has loaded. Lambda does not tell when it ends a process, so a record is written after
    /// the first invocation, and then from time to time.
    async fn record(&mut self, scope: &RunScope, log: &Log) {
        let Some(journal) = &mut self.journal else { return };
        // It has no time that an answer needs.
        tokio::select! {
            biased;
            () = scope.shutdown.reached(ShutdownLevel::Draining) => {}
            () = journal.record_if_due(&scope.metrics, log) => {}
        }
    }
}

/// Records the end of a run, and returns why it failed.
fn close(store: Option<CheckpointStore>, failure: Option<Failure>) -> Option<Failure> {
    let exit = failure.as_ref().map_or(Exit::Success, |failure| failure.exit);
    let closed = store.map_or(Ok(()), |store| store.end(exit.code()));
    failure.or_else(|| closed.err().map(Failure::from))
}

/// Returns the sources of a run, which are none that an option could name.
fn message_sources() -> SourceList {
    SourceList { names: vec![SOURCE_NAME.to_owned()], ..SourceList::default() }
}
