//! `trailload watch --dry-run`: evaluates rules on the events of a source, and prints the alerts.
//!
//! Input: rules, and what to read. Output: alerts on standard output, the last line on standard error, the exit code.
//! Invariant: nothing is sent but requests for events, and no checkpoint is read or written.

use std::{
    ffi::OsString,
    io::{BufWriter, stdout},
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Map;

use super::{counted, rule_files::LoadedRules};
use crate::{
    cli::{
        args::{
            aws::{AccessArgs, AwsArgs, BucketArgs, HistoryArgs},
            time::{Age, Moment},
        },
        environment::Environment,
        exit::Exit,
        failure::Failure,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::SourceList,
        },
        runtime,
        signals::{self, ShutdownMessages},
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, nothing_done, unless_shut_down,
        },
    },
    filter::rule::RuleSet,
    limit::MemoryBudget,
    normalize::TimeRange,
    pipeline::{
        PipelineConfig, RunOutcome,
        watch::{WatchConfig, WatchEnd, watch},
    },
    report::{Log, Metrics, format, terminal::escape_unprintable},
    shutdown::shutdown_channel,
    source::Files,
};

/// What the command reports about its shutdown.
const SHUTDOWN_MESSAGES: ShutdownMessages = ShutdownMessages {
    draining: "stopping; signal again to exit at once",
    abandoning: "abandoning requests without a response",
    exiting: "exiting at once",
    timed_out: "exiting although an operation has not finished",
};

/// Memory for reading and sorting: enough for the largest objects of a trail.
const MEMORY_BYTES: u64 = 256 << 20;

/// The modes that read no events.
const OTHER_MODES: [&str; 4] = ["check", "test", "event_pattern", "from_drl"];

/// Size of a batch of matches.
const BATCH_BYTES: u64 = 256 << 10;

/// What a dry run reads.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = "Source options")]
pub struct ReplayArgs {
    /// Read this source: 'lookup' (the event history of AWS accounts), 's3://BUCKET[/PREFIX]', the ARN
    /// of a trail, files, folders, or '-' (standard input) (can be repeated) [default: lookup]
    #[arg(long = "in", value_name = "SOURCE", conflicts_with_all = OTHER_MODES)]
    pub sources: Vec<OsString>,
    /// Look only at events at or after this time: a time, a date (midnight UTC), or an age such as 7d
    #[arg(long, value_name = "TIME", conflicts_with_all = OTHER_MODES)]
    pub from: Option<Moment>,
    /// Look only at events before this time
    #[arg(long, value_name = "TIME", conflicts_with_all = OTHER_MODES)]
    pub to: Option<Moment>,
    /// Look only at events of this age or newer, such as 3h or 7d
    #[arg(long, value_name = "AGE", conflicts_with = "from", conflicts_with_all = OTHER_MODES)]
    pub last: Option<Age>,
    /// How AWS is accessed.
    #[command(flatten)]
    pub access: AccessArgs,
    /// What is read from trail buckets.
    #[command(flatten)]
    pub buckets: BucketArgs,
}

/// What a dry run reads, checked.
struct ReplayPlan {
    sources: SourceList,
    aws: AwsOptions,
    range: TimeRange,
    memory: MemoryBudget,
}

impl ReplayArgs {
    fn plan(&self, environment: &Environment, now: Timestamp) -> Result<ReplayPlan, Failure> {
        let sources = SourceList::new(&self.sources, &self.buckets.trail)?;
        let aws = AwsArgs {
            access: self.access.clone(),
            history: HistoryArgs::default(),
            buckets: self.buckets.clone(),
        };
        let aws = aws.plan(&sources, EngineAuth::Credentials, environment)?;
        let remote = usize::from(sources.lookup.is_some()) + usize::from(sources.has_buckets());
        let memory = MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, remote);
        Ok(ReplayPlan { range: self.range(now)?, sources, aws, memory })
    }

    fn range(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let resolve = |option: &str, moment: Moment| {
            moment.resolve(now).ok_or_else(|| {
                Failure::usage(format!("invalid value for '{option}': expected a shorter age"))
            })
        };
        let from = match (self.last, self.from) {
            (Some(age), _) => Some(resolve("--last <AGE>", Moment::Ago(age))?),
            (None, from) => from.map(|from| resolve("--from <TIME>", from)).transpose()?,
        };
        let to = self.to.map(|to| resolve("--to <TIME>", to)).transpose()?;
        match (from, to) {
            (Some(from), Some(to)) if from >= to => Err(Failure::usage(format!(
                "the time range is empty: it starts at {from} and ends before {to}"
            ))),
            _ => Ok(TimeRange { from, to }),
        }
    }
}

/// Runs a dry run.
///
/// # Errors
///
/// Returns a [`Failure`] if an argument is invalid, a source cannot be read, or alerts cannot be printed.
pub(super) fn run(
    args: &ReplayArgs,
    loaded: &LoadedRules,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let plan = args.plan(environment, now)?;
    let rules = Arc::new(RuleSet::new(loaded.rules().map(|(_, rule)| rule.clone()).collect()));
    let metrics = Arc::new(Metrics::new(plan.sources.names.clone()));
    let started = Instant::now();
    let replay = Replay { plan: &plan, rules: &rules, environment, metrics: &metrics, log };
    let ended = runtime::block_on(&plan.sources, replay.run())??;
    let Some(ended) = ended else { return Ok(Exit::StoppedEarly) };
    replay.finish(ended, started.elapsed())
}

/// What every step of a dry run needs.
#[derive(Clone, Copy)]
struct Replay<'a> {
    plan: &'a ReplayPlan,
    rules: &'a Arc<RuleSet>,
    environment: &'a Environment,
    metrics: &'a Arc<Metrics>,
    log: &'a Log,
}

impl Replay<'_> {
    /// Reads the sources. Returns `None` if it was stopped before anything was read.
    async fn run(self) -> Result<Option<WatchEnd>, Failure> {
        let Self { plan, rules, environment, metrics, log } = self;
        let (trigger, shutdown) = shutdown_channel();
        signals::listen(trigger.clone(), log.clone(), SHUTDOWN_MESSAGES)?;
        // A path that does not exist is a usage error, before any request.
        Files::new(&plan.sources.paths(), nothing_done())?;
        let session = Box::pin(async {
            if plan.sources.uses_aws() {
                sources::open_session(&plan.sources, &plan.aws, &metrics.waits).await.map(Some)
            } else {
                Ok(None)
            }
        });
        let Some(session) = unless_shut_down(&shutdown, session).await? else { return Ok(None) };
        let builder = SourceBuilder {
            sources: &plan.sources,
            aws: &plan.aws,
            range: plan.range,
            memory: plan.memory,
            history: History::Ignored,
            lookup: LookupMode::Search(FollowMode::Off),
            metrics,
            log,
            shutdown: &shutdown,
        };
        let Some(source) = builder.build(session).await? else { return Ok(None) };
        let processors = environment.processors.map_or(1, NonZeroUsize::get);
        let config = WatchConfig {
            pipeline: PipelineConfig {
                source: Box::new(source),
                range: plan.range,
                workers: processors.min(plan.memory.affordable_workers()).max(1),
                memory: plan.memory,
                metrics: Arc::clone(metrics),
                log: log.warnings_only(),
                shutdown: shutdown.clone(),
                trigger,
            },
            rules: Arc::clone(rules),
            output: BufWriter::new(stdout()),
            temporary_folder: environment.temporary.clone(),
        };
        Ok(Some(watch(config).await))
    }

    /// Prints the last line, and returns the exit code.
    fn finish(self, ended: WatchEnd, elapsed: Duration) -> Result<Exit, Failure> {
        let Self { metrics, log, .. } = self;
        let outcome = ended.outcome.map_err(Failure::from)?;
        for (number, failures) in &ended.failures {
            let name = self.rules.rules().get(*number).map_or("", |rule| rule.name.as_str());
            log.warn(
                name,
                format_args!(
                    "could not be evaluated on {}, such as {}: {}; the rule stayed silent",
                    counted(usize::try_from(failures.events).unwrap_or(usize::MAX), "event"),
                    escape_unprintable(&failures.event_id),
                    failures.cause,
                ),
            );
        }
        let failed = metrics.sources_failed.load(Relaxed) + ended.too_long;
        let without_events = sources::warn_about_sources_without_events(metrics, log);
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
            format::plural(ended.events, "event"),
            format::duration(elapsed),
        );
        log.event("summary", &headline, || {
            let fields = [
                ("alerts", ended.alerts),
                ("matches", ended.matches),
                ("events", ended.events),
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

fn matches(count: u64) -> String {
    if count == 1 { "1 match".to_owned() } else { format!("{} matches", format::count(count)) }
}
