//! `trailload watch --dry-run`: evaluates rules on the events of a source, and prints the alerts.
//!
//! Input: rules, and what to read. Output: alerts on standard output, the last line on standard error, the exit code.
//! Invariant: nothing is sent but requests for events, and no checkpoint is read or written.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write, stdout},
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Map;

use super::{
    WatchArgs,
    input::{ActionNeeds, InputContext, InputPlan},
};
use crate::{
    checkpoint::alerts::raised_alert,
    cli::{
        alert_summary::{matches, warn_about_failed_rules},
        alerts::{DEFAULT_ACTION, message_context},
        args::alerts::AlertArgs,
        environment::{self, Environment},
        exit::Exit,
        failure::Failure,
        rule_files::LoadedRules,
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
        sources::{self, FollowMode, History, LookupMode, nothing_done, unless_shut_down},
    },
    event::{Alert, NewMatch},
    filter::rule::RuleSet,
    pipeline::{
        RunOutcome,
        watch::{DryRunConfig, DryRunEnd, dry_run},
    },
    report::{Log, Metrics, format, terminal::escape_unprintable_json},
    sink::alert::{Action, AlertMessage, MessageContext, Rendered},
    source::Files,
};

/// What the command reports about its shutdown.
const SHUTDOWN_MESSAGES: ShutdownMessages = ShutdownMessages {
    draining: "stopping; signal again to exit at once",
    abandoning: "abandoning requests without a response",
    exiting: "exiting at once",
    timed_out: "exiting although an operation has not finished",
};

/// A dry run.
pub(super) struct DryRun<'a> {
    plan: InputPlan,
    rules: Arc<RuleSet>,
    /// The actions whose messages are shown.
    actions: Vec<Action>,
    temporary_folder: PathBuf,
    log: &'a Log,
}

impl<'a> DryRun<'a> {
    /// Checks the arguments.
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
        // Without an action file, the names of actions are printed as they are.
        let (rules, actions, needs) = if args.alerts.actions.is_some() {
            let alerts = args.alerts.plan(loaded, log)?;
            let needs = ActionNeeds::shown(&alerts.actions);
            (alerts.rules, alerts.actions, needs)
        } else {
            let rules: Vec<_> = loaded.rules().map(|(_, rule)| rule.clone()).collect();
            let known = AlertArgs::actions_of_rules(loaded, log)?;
            (Arc::new(RuleSet::new(rules)), Vec::new(), ActionNeeds::shown(&known))
        };
        args.input.aws.check_deletes_nothing("--dry-run")?;
        let plan = args.input.plan(needs, environment, now)?;
        let temporary_folder = environment.temporary.clone();
        Ok(Self { plan, rules, actions, temporary_folder, log })
    }
}

/// Runs a dry run.
///
/// # Errors
///
/// Returns a [`Failure`] if a source cannot be read, or alerts cannot be printed.
pub(super) fn run(dry: &DryRun<'_>) -> Result<Exit, Failure> {
    let metrics = Arc::new(Metrics::new(dry.plan.sources.names.clone()));
    let started = Instant::now();
    let ended = runtime::block_on(&dry.plan.sources, dry.run(&metrics))??;
    let Some(ended) = ended else { return Ok(Exit::StoppedEarly) };
    dry.finish(ended, &metrics, started.elapsed())
}

impl DryRun<'_> {
    /// Reads the sources. Returns `None` if it was stopped before anything was read.
    async fn run(&self, metrics: &Arc<Metrics>) -> Result<Option<DryRunEnd>, Failure> {
        let scope = RunScope::start(self.log, SHUTDOWN_MESSAGES)?;
        let ended = self.read(metrics, &scope).await;
        scope.end(ended).await
    }

    async fn read(
        &self,
        metrics: &Arc<Metrics>,
        scope: &RunScope,
    ) -> Result<Option<DryRunEnd>, Failure> {
        // A path that does not exist is a usage error, before any request.
        Files::new(&self.plan.sources.paths(), nothing_done())?;
        let input = InputContext { plan: &self.plan, metrics, log: self.log, scope };
        let session = Box::pin(input.session());
        let Some(session) = unless_shut_down(&scope.shutdown, session).await? else {
            return Ok(None);
        };
        let lookup = LookupMode::Search(FollowMode::Off);
        let opened = Box::pin(input.open(session, History::Ignored, lookup)).await?;
        let Some(opened) = opened else { return Ok(None) };
        let mut printer = AlertPrinter {
            rules: &self.rules,
            actions: &self.actions,
            context: message_context(&self.plan.sources, self.plan.engine.as_ref()),
            output: BufWriter::new(stdout()),
        };
        let config = DryRunConfig {
            pipeline: input.pipeline(opened.source),
            rules: Arc::clone(&self.rules),
            on_alert: |raised: &NewMatch, events| printer.print(raised, events),
            temporary_folder: self.temporary_folder.clone(),
        };
        let mut ended = Box::pin(dry_run(config)).await;
        if let Err(error) = printer.flush()
            && ended.outcome.is_ok()
        {
            ended.outcome = Err(crate::pipeline::Error::Consumer(error.into()));
        }
        if let Some(closing) = opened.closing {
            closing.wait().await;
        }
        Ok(Some(ended))
    }

    /// Prints the last line, and returns the exit code.
    fn finish(
        &self,
        ended: DryRunEnd,
        metrics: &Metrics,
        elapsed: Duration,
    ) -> Result<Exit, Failure> {
        let outcome = ended.outcome.map_err(Failure::from)?;
        warn_about_failed_rules(&self.rules, &ended.input.failures, self.log);
        let failed = metrics.sources_failed.load(Relaxed) + ended.input.too_long;
        sources::warn_about_empty_folders(&self.plan.sources, metrics, self.log);
        let without_events = sources::warn_about_sources_without_events(metrics, self.log);
        let exit = match outcome {
            RunOutcome::Stopped => Exit::StoppedEarly,
            _ if failed + without_events > 0 => Exit::Incomplete,
            _ => Exit::Success,
        };
        let headline = format!(
            "{}{} from {} in {}, {}",
            if exit == Exit::StoppedEarly { "stopped: " } else { "" },
            format::plural(ended.alerts, "alert"),
            matches(ended.matches),
            format::plural(ended.input.events, "event"),
            format::duration(elapsed),
        );
        self.log.event("summary", &headline, || {
            let fields = [
                ("alerts", ended.alerts),
                ("matches", ended.matches),
                ("events", ended.input.events),
                ("failed_inputs", failed),
            ];
            let mut fields: Map<_, _> =
                fields.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect();
            fields.insert("exit".to_owned(), exit.code().into());
            fields
        });
        Ok(exit)
    }
}

/// Prints alerts, one line each.
struct AlertPrinter<'a, W> {
    rules: &'a RuleSet,
    actions: &'a [Action],
    context: MessageContext,
    output: W,
}

/// What an action would send.
#[derive(Serialize)]
struct PlannedDelivery<'a> {
    action: &'a str,
    #[serde(flatten)]
    rendered: Rendered,
}

impl<W: Write> AlertPrinter<'_, W> {
    /// Prints an alert. A reader that closes the pipe ends the run.
    fn print(&mut self, raised: &NewMatch, events: u64) -> io::Result<ControlFlow<()>> {
        let Some(rule) = self.rules.rules().get(raised.rule) else {
            return Ok(ControlFlow::Continue(()));
        };
        let default_actions =
            if self.actions.is_empty() { Vec::new() } else { vec![DEFAULT_ACTION.to_owned()] };
        let alert = raised_alert(rule, raised, events, &default_actions);
        let line = self.line(&alert)?;
        match self.output.write_all(line.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            written => written.map(ControlFlow::Continue),
        }
    }

    /// Returns an alert as a line: what its message consists of, then its actions and what they would send.
    fn line(&self, alert: &Alert) -> io::Result<String> {
        let message = AlertMessage::new(alert, &self.context);
        let now = environment::now();
        let planned: Vec<_> = self
            .actions
            .iter()
            .filter(|action| alert.actions.contains(&action.name))
            .map(|action| PlannedDelivery {
                action: &action.name,
                rendered: action.render(&message, now),
            })
            .collect();
        let mut line = message.document().to_json();
        // Behind the last member of the object.
        line.pop();
        // Writing to a String cannot fail.
        let _ = write!(line, ",\"actions\":{}", serde_json::to_string(&alert.actions)?);
        if !planned.is_empty() {
            let _ = write!(line, ",\"deliveries\":{}", serde_json::to_string(&planned)?);
        }
        line.push('}');
        Ok(escape_unprintable_json(&line) + "\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.output.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}
