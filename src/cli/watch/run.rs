//! Runs `trailload watch`: reads the sources, sends alerts, and keeps the checkpoint.
//!
//! Input: arguments. Output: alerts, the last line, the exit code.
//! Invariant: an event that is recorded as read has its alerts in the checkpoint; an alert is there until its receiver has
//! acknowledged it. The checkpoint stores the exit code that the process returns.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;

use super::{
    WatchArgs,
    checkpoint::{self, default_checkpoint},
    input::{ActionNeeds, InputContext, InputPlan, OpenedInput},
    report::{RunFacts, finish},
};
use crate::{
    aws::{Clock, Session},
    checkpoint::{CheckpointReader, CheckpointStore, shared_alerts::SharedAlerts},
    cli::{
        alerts::{AlertAges, AlertPlan, Resumed, SharingRun, message_context},
        environment::{self, Environment},
        exit::Exit,
        failure::Failure,
        rule_files::LoadedRules,
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
        sources::{FollowMode, History, LookupMode, nothing_done, unless_shut_down},
        status,
    },
    pipeline::{
        alert::{
            AlertReceiver,
            delivery::{ActionReceiver, DeliveryConfig},
        },
        watch::{WatchConfig, WatchEnd, watch},
    },
    report::{FollowReporter, Log, Metrics, WaitReporter, format},
    sink::alert::{MessageContext, ReceiverContext},
    source::{CombinedSource, Files},
};

/// A run, checked and with all defaults filled in.
pub(super) struct WatchRun<'a> {
    input: InputPlan,
    /// Where messages refer to for events.
    messages: MessageContext,
    alerts: AlertPlan,
    ages: AlertAges,
    work: Work,
    checkpoint: PathBuf,
    log: &'a Log,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// It reads events and delivers alerts.
    ReadAndDeliver,
    /// It delivers the alerts of earlier runs, also those that could not be delivered.
    Retry,
}

/// What every step of a run needs.
#[derive(Clone, Copy)]
struct RunContext<'r> {
    run: &'r WatchRun<'r>,
    metrics: &'r Arc<Metrics>,
    scope: &'r RunScope,
}

impl<'a> WatchRun<'a> {
    /// Checks the arguments, and finds the actions that rules and pending alerts name.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option or the place in a file.
    pub(super) fn new(
        args: &WatchArgs,
        loaded: &LoadedRules,
        environment: &Environment,
        now: Timestamp,
        log: &'a Log,
    ) -> Result<Self, Failure> {
        let checkpoint = args.checkpoint_file(environment)?;
        let work = if args.mode.retry { Work::Retry } else { Work::ReadAndDeliver };
        let options = args.alerts.with_environment(environment)?;
        let (alerts, input, messages) = match work {
            Work::ReadAndDeliver => {
                let mut alerts = options.plan(loaded, log)?;
                alerts.find_undelivered(&checkpoint, Resumed::Pending, log);
                let input = args.input.plan(ActionNeeds::of(&alerts), environment, now)?;
                let messages = message_context(&input.sources, input.engine.as_ref());
                (alerts, input, messages)
            }
            Work::Retry => {
                if !checkpoint.exists() {
                    // A mistyped name must not create a file.
                    return Err(nothing_to_retry(&checkpoint));
                }
                let alerts = options.retry_plan(loaded, &checkpoint, log)?;
                let needs = ActionNeeds::of(&alerts);
                let input = args.input.retry_plan(needs, environment)?;
                let messages = args.input.messages_of_run(environment)?;
                (alerts, input, messages)
            }
        };
        Ok(Self { input, messages, alerts, ages: args.ages(), work, checkpoint, log })
    }
}

/// Returns the failure of a retry whose checkpoint does not exist.
fn nothing_to_retry(checkpoint: &Path) -> Failure {
    let heading = format!("there is no checkpoint {}", checkpoint.display());
    Failure::action_required(heading).hint(
        "no run has recorded alerts there; give the RULES and --in of the run whose alerts are to be sent again, or its --checkpoint",
    )
}

impl WatchArgs {
    /// Returns the checkpoint file of the run.
    fn checkpoint_file(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.checkpoint {
            return Ok(path.clone());
        }
        if self.rules.is_empty() {
            return status::only_watch_checkpoint(environment);
        }
        default_checkpoint(&self.input.sources()?, &self.rules, environment)
    }
}

/// Runs to the end, prints the last line, and returns the exit code.
///
/// # Errors
///
/// Returns a [`Failure`] if the runtime cannot be started.
pub(super) fn run(run: &WatchRun<'_>) -> Result<Exit, Failure> {
    let metrics = Arc::new(Metrics::new(run.input.sources.names.clone()));
    let waits = WaitReporter::start(metrics.waits.clone(), run.log.clone());
    let lag = (run.input.follow == FollowMode::On)
        .then(|| FollowReporter::start(Arc::clone(&metrics), run.log.clone(), environment::now));
    let started = Instant::now();
    let ended = runtime::block_on(&run.input.sources, run.execute(&metrics))?;
    drop((waits, lag));
    let facts = RunFacts {
        sources: &run.input.sources,
        rules: &run.alerts.rules,
        checkpoint: &run.checkpoint,
        metrics: &metrics,
        log: run.log,
        elapsed: started.elapsed(),
    };
    Ok(finish(&facts, ended))
}

impl WatchRun<'_> {
    /// Runs to the end. Returns `None` if it was stopped before anything was read.
    async fn execute(&self, metrics: &Arc<Metrics>) -> Result<Option<WatchEnd>, Failure> {
        let scope = RunScope::start(self.log, ShutdownMessages::WITH_CHECKPOINT)?;
        let ended = RunContext { run: self, metrics, scope: &scope }.execute().await;
        scope.end(ended).await
    }
}

impl RunContext<'_> {
    async fn execute(self) -> Result<Option<WatchEnd>, Failure> {
        let Self { run, metrics, scope } = self;
        let shutdown = &scope.shutdown;
        // A path that does not exist is a usage error, before any request.
        Files::new(&run.input.sources.paths(), nothing_done())?;
        let input = self.input();
        let session = Box::pin(input.session());
        let Some(session) = unless_shut_down(shutdown, session).await? else { return Ok(None) };
        let receivers = self.receivers(session.as_ref())?;
        let mut store = self.store()?;
        let sharing = Box::pin(self.share(&mut store, session.as_ref()));
        let Some(shared) = unless_shut_down(shutdown, sharing).await? else { return Ok(None) };
        let Some(opened) = self.open(session, store.path()).await? else { return Ok(None) };
        let config = WatchConfig {
            pipeline: input.pipeline(opened.source),
            rules: Arc::clone(&run.alerts.rules),
            delivery: DeliveryConfig {
                receivers,
                policy: run.alerts.policy,
                waits: metrics.waits.clone(),
                log: run.log.clone(),
                shutdown: shutdown.clone(),
                on_closed_pipe: Some(scope.trigger.clone()),
                clock: Clock::new(environment::now),
                shared,
            },
        };
        let ended = Box::pin(watch(config, store)).await;
        if let Some(closing) = opened.closing {
            closing.wait().await;
        }
        Ok(Some(ended))
    }

    fn input(&self) -> InputContext<'_> {
        let Self { run, metrics, scope } = *self;
        InputContext { plan: &run.input, metrics, log: run.log, scope }
    }

    fn receivers(
        &self,
        session: Option<&Session>,
    ) -> Result<Vec<ActionReceiver<AlertReceiver>>, Failure> {
        let context = ReceiverContext {
            clock: Clock::new(environment::now),
            engine: self.input().engine(session),
            session: session.cloned(),
        };
        let run = self.run;
        run.alerts.receivers(&context, &run.messages, run.log)
    }

    /// Opens the checkpoint, and prepares what earlier runs left.
    fn store(&self) -> Result<CheckpointStore, Failure> {
        let run = self.run;
        let mut store =
            CheckpointStore::open(&run.checkpoint, checkpoint::TARGET, environment::now())?;
        match run.work {
            Work::ReadAndDeliver => {
                run.alerts.prepare(&mut store, run.input.range, run.ages, run.log)?;
            }
            Work::Retry => {
                store.retry_deliveries()?;
                run.alerts.fail_undefined(&mut store, run.log)?;
                let pending = CheckpointReader::open(&run.checkpoint)?.action_status()?;
                let pending = pending.iter().map(|action| action.pending).sum();
                run.log.info(
                    &run.checkpoint.display().to_string(),
                    format_args!("{} to be delivered", format::plural(pending, "alert")),
                );
            }
        }
        Ok(store)
    }

    /// Opens the state of alerts that is shared with other processes, if it is.
    async fn share(
        &self,
        store: &mut CheckpointStore,
        session: Option<&Session>,
    ) -> Result<Option<SharedAlerts>, Failure> {
        let Self { run, scope, .. } = self;
        let shutdown = &scope.shutdown;
        let WatchRun { ages, log, .. } = **run;
        let range = run.input.range;
        run.alerts.share(store, SharingRun { range, ages, session, shutdown, log }).await
    }

    /// Builds the source. Returns `None` after a shutdown signal.
    async fn open(
        &self,
        session: Option<Session>,
        checkpoint: &Path,
    ) -> Result<Option<OpenedInput>, Failure> {
        if self.run.work == Work::Retry {
            return Ok(Some(OpenedInput { source: CombinedSource::default(), closing: None }));
        }
        let history = match self.run.ages {
            AlertAges::All => History::Ignored,
            AlertAges::Recent => History::Checkpoint(Some(checkpoint)),
        };
        Box::pin(self.input().open(session, history, LookupMode::Load(self.run.input.follow))).await
    }
}
