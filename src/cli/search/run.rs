//! Runs a search: opens what it needs, builds the source, and hands both to the pipeline.
//!
//! Input: a [`SearchPlan`]. Output: events or a summary on standard output, the last line, and the exit code.
//! Invariant: no checkpoint is read or written, and nothing is sent to an engine but queries.

use std::{
    io::{self, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde_json::Map;
use tokio::time::interval;

use super::{hints, plan::SearchPlan, reports};
use crate::{
    aws::Session,
    cli::{
        exit::{Exit, SearchEnding, SearchReport},
        failure::Failure,
        output_pipe::reader_gone,
        plan::aws::EngineAuth,
        reading_progress::ReadingProgress,
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, accounts, nothing_done,
            queues::QueueReading, unless_shut_down,
        },
    },
    pipeline::{
        PipelineConfig, RunOutcome,
        search::{SearchConfig, SearchEnd, search},
    },
    report::{Log, Metrics, format},
    shutdown::ShutdownLevel,
    sink::events::OutputStream,
    source::{
        CombinedSource, Files,
        index::{Closing, IndexPlan, IndexSource},
        queue::{MessageOrder, QueueMode},
    },
};

/// What a search reports about its shutdown.
const SHUTDOWN_MESSAGES: ShutdownMessages = ShutdownMessages {
    draining: "stopping the search; signal again to exit at once",
    abandoning: "abandoning requests without a response",
    exiting: "exiting at once",
    timed_out: "exiting although an operation has not finished",
};

/// From this many bytes on, a search without a time range gets a hint: reading them takes many seconds.
const LARGE_INPUT_BYTES: u64 = 1_000_000_000;

/// Runs a plan, prints the last line, and returns the exit code.
pub(super) fn execute(plan: &SearchPlan, log: &Log) -> Exit {
    let metrics = Arc::new(Metrics::new(plan.sources.names.clone()));
    let mut progress = ReadingProgress::start(&metrics, log);
    let started = std::time::Instant::now();
    let ended = runtime::block_on(&plan.sources, run(plan, &metrics, log));
    let elapsed = started.elapsed();
    // Hints and errors are printed below the progress bars, not between them.
    progress.stop();
    let ended = ended.and_then(|ended| ended);
    finish(plan, &metrics, log, ended, elapsed)
}

/// Standard output, which hides the progress bars while it is written to: both may be the same terminal.
struct StandardOutput(Log);

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The whole buffer at once, so that the bars are not drawn within a line.
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.suspend_progress(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What every step of a search needs.
#[derive(Clone, Copy)]
struct SearchRun<'a> {
    plan: &'a SearchPlan,
    metrics: &'a Arc<Metrics>,
    log: &'a Log,
    scope: &'a RunScope,
}

/// Runs the search. Returns `None` if it was stopped before anything was read.
async fn run(
    plan: &SearchPlan,
    metrics: &Arc<Metrics>,
    log: &Log,
) -> Result<Option<SearchEnd>, Failure> {
    let scope = RunScope::start(log, SHUTDOWN_MESSAGES)?;
    let ended = SearchRun { plan, metrics, log, scope: &scope }.run().await;
    scope.end(ended).await
}

impl<'a> SearchRun<'a> {
    async fn run(self) -> Result<Option<SearchEnd>, Failure> {
        let Self { plan, scope, .. } = self;
        // A path that does not exist is a usage error, before any request.
        Files::new(&plan.sources.paths(), nothing_done())?;
        let session = Box::pin(self.session());
        let Some(session) = unless_shut_down(&scope.shutdown, session).await? else {
            return Ok(None);
        };
        let builder = self.source_builder();
        let Some(source) = builder.build(session.clone()).await? else { return Ok(None) };
        let indices = Box::pin(self.with_indices(source, session.as_ref()));
        let Some((source, closing)) = unless_shut_down(&scope.shutdown, indices).await? else {
            return Ok(None);
        };
        let mut searching = Box::pin(search(self.config(source)));
        let ended = tokio::select! {
            ended = &mut searching => ended,
            // It never ends.
            () = self.hint_at_size() => return Ok(None),
            () = reader_gone() => {
                scope.trigger.raise(ShutdownLevel::Draining);
                SearchEnd { is_pipe_closed: true, ..searching.await }
            }
        };
        if let Some(closing) = closing {
            closing.wait().await;
        }
        Ok(Some(ended))
    }

    async fn session(self) -> Result<Option<Session>, Failure> {
        let Self { plan, metrics, .. } = self;
        if plan.sources.uses_aws() {
            return sources::open_session(&plan.sources, &plan.aws, &metrics.waits).await.map(Some);
        }
        match &plan.index {
            Some(index) if index.auth == EngineAuth::SigV4 => {
                accounts::new_session(&plan.aws, &metrics.waits).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    fn source_builder(self) -> SourceBuilder<'a> {
        let Self { plan, metrics, log, scope } = self;
        let mode = if plan.follow { QueueMode::Follow } else { QueueMode::UntilEmpty };
        SourceBuilder {
            sources: &plan.sources,
            aws: &plan.aws,
            range: plan.range(),
            memory: plan.memory,
            history: History::Ignored,
            lookup: LookupMode::Search(if plan.follow { FollowMode::On } else { FollowMode::Off }),
            queues: QueueReading {
                mode,
                deletion: plan.aws.messages,
                order: MessageOrder::WithinGroup,
                acknowledgers: &scope.acknowledgers,
            },
            metrics,
            log,
            shutdown: &scope.shutdown,
        }
    }

    /// Adds the indices of the engine, if they are searched.
    async fn with_indices(
        self,
        source: CombinedSource,
        session: Option<&Session>,
    ) -> Result<(CombinedSource, Option<Closing>), Failure> {
        let Self { plan, metrics, log, scope } = self;
        let (Some(number), Some(index)) = (plan.sources.index, &plan.index) else {
            return Ok((source, None));
        };
        let reader = index.connect(session, metrics, log, &scope.shutdown).await?;
        let engine = reader.info().to_string();
        log.info(reader.address(), format_args!("searching {engine}"));
        let index = IndexPlan::new(reader, &plan.query).await?;
        let mut index = IndexSource::new(index, number, log.clone());
        let closing = index.closing();
        Ok((source.with_remote(number, index), Some(closing)))
    }

    fn config(self, source: CombinedSource) -> SearchConfig {
        let Self { plan, metrics, log, scope } = self;
        SearchConfig {
            pipeline: PipelineConfig {
                source: Box::new(source),
                range: plan.range(),
                workers: plan.workers.get(),
                memory: plan.memory,
                metrics: Arc::clone(metrics),
                // Which files are no CloudTrail logs is of interest in a load, not in an answer.
                log: log.warnings_only(),
                shutdown: scope.shutdown.clone(),
                trigger: scope.trigger.clone(),
            },
            query: Arc::clone(&plan.query),
            output: plan.output.clone(),
            style: plan.style.clone(),
            stream: OutputStream::new(StandardOutput(log.clone())),
            limit: plan.limit,
            temporary_folder: plan.temporary.clone(),
        }
    }

    /// Suggests a time range once the input turns out to be large. Never returns.
    async fn hint_at_size(self) {
        /// How often the size is looked at.
        const INTERVAL: Duration = Duration::from_millis(500);
        let Self { plan, metrics, log, .. } = self;
        let mut interval = interval(INTERVAL);
        while plan.query.range.from.is_none() {
            interval.tick().await;
            let found = metrics.bytes_found.load(Relaxed);
            if found > LARGE_INPUT_BYTES {
                let found = format::bytes(found);
                log.info(
                    "hint",
                    format_args!(
                        "{found} found so far; a time range, such as --last 7d, reads less"
                    ),
                );
                break;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Prints hints and the last line of a search, and returns the exit code.
fn finish(
    plan: &SearchPlan,
    metrics: &Metrics,
    log: &Log,
    ended: Result<Option<SearchEnd>, Failure>,
    elapsed: Duration,
) -> Exit {
    let mut report = SearchReport {
        ending: SearchEnding::Complete,
        failures: Vec::new(),
        found: 0,
        failed_inputs: metrics.sources_failed.load(Relaxed),
        sources_without_events: 0,
    };
    let mut end = match ended {
        Ok(Some(end)) => end,
        Ok(None) => {
            report.ending = SearchEnding::Stopped;
            return Exit::of_search(&report);
        }
        Err(failure) => {
            report.ending = SearchEnding::Failed;
            report.failures.push(failure.report(log));
            return Exit::of_search(&report);
        }
    };
    report.failed_inputs += end.too_long;
    let outcome = std::mem::replace(&mut end.outcome, Ok(RunOutcome::Complete));
    report.ending = match &outcome {
        _ if end.is_pipe_closed => SearchEnding::Satisfied,
        Ok(RunOutcome::Complete) => SearchEnding::Complete,
        Ok(RunOutcome::Satisfied) => SearchEnding::Satisfied,
        Ok(RunOutcome::Stopped) => SearchEnding::Stopped,
        Err(_) => SearchEnding::Failed,
    };
    if report.ending == SearchEnding::Complete {
        report.sources_without_events = sources::warn_about_sources_without_events(metrics, log);
        sources::warn_about_empty_folders(&plan.sources, metrics, log);
    }
    if report.ending != SearchEnding::Failed {
        hints::after_search(plan, &end, log);
    }
    if let Some(summary) = end.summary.take() {
        match reports::print_summary(summary, plan, log) {
            Ok(found) => end.found = found.unwrap_or(end.found),
            Err(failure) => {
                report.ending = SearchEnding::Failed;
                report.failures.push(failure.report(log));
            }
        }
    }
    report.found = end.found;
    let line = SummaryLine { plan, metrics, end: &end, elapsed };
    let headline = line.text(report.ending);
    if let Err(error) = outcome {
        report.failures.push(Failure::from(error).report(log));
    }
    let exit = Exit::of_search(&report);
    log.event("summary", &headline, || line.fields(exit));
    exit
}

/// The last line of a search.
struct SummaryLine<'a> {
    plan: &'a SearchPlan,
    metrics: &'a Metrics,
    end: &'a SearchEnd,
    elapsed: Duration,
}

impl SummaryLine<'_> {
    fn text(&self, ending: SearchEnding) -> String {
        let SearchEnd { found, examined, repeated, .. } = *self.end;
        let prefix = match ending {
            SearchEnding::Complete | SearchEnding::Satisfied => "",
            SearchEnding::Stopped => "stopped: ",
            SearchEnding::Failed => "failed: ",
        };
        let examined = format::plural(examined, "event");
        let what = match found {
            0 => format!("found nothing in {examined}"),
            _ => format!("found {} of {examined}", format::count(found)),
        };
        let repeated = match repeated {
            0 => String::new(),
            1 => ", 1 copy left out".to_owned(),
            _ => format!(", {} copies left out", format::count(repeated)),
        };
        let places = self.places().map(|places| format!(" in {places}")).unwrap_or_default();
        format!("{prefix}{what}{repeated}{places}, {}", format::duration(self.elapsed))
    }

    /// Returns where was searched: accounts and Regions, and the number of files and objects.
    fn places(&self) -> Option<String> {
        let mut places = Vec::new();
        if let Some((accounts, regions)) = self.accounts_and_regions() {
            places.push(format::plural(accounts, "account"));
            places.push(format::plural(regions, "Region"));
        }
        let files = self.files();
        if files > 0 {
            places.push(format::plural(files, "file"));
        }
        let last = places.pop()?;
        Some(match places.as_slice() {
            [] => last,
            others => format!("{} and {last}", others.join(", ")),
        })
    }

    /// Returns the number of files and objects that were read to their end.
    fn files(&self) -> u64 {
        let sources = &self.plan.sources;
        let others = [sources.lookup, sources.index];
        let read = self.metrics.sources.iter().enumerate();
        let files = read.filter(|(number, _)| !others.contains(&Some(*number)));
        files.map(|(_, source)| source.done.load(Relaxed)).sum()
    }

    /// Returns the number of accounts and of Regions whose event history was searched.
    fn accounts_and_regions(&self) -> Option<(u64, u64)> {
        let (_, progress) = self.metrics.lookup.get()?;
        let distinct = |names: Vec<&str>| {
            let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
            names.len() as u64
        };
        let regions = &progress.regions;
        Some((
            distinct(regions.iter().map(|region| region.account.as_str()).collect()),
            distinct(regions.iter().map(|region| region.region.as_str()).collect()),
        ))
    }

    fn fields(&self, exit: Exit) -> Map<String, serde_json::Value> {
        let mut fields = Map::new();
        for (name, number) in [
            ("found", self.end.found),
            ("examined", self.end.examined),
            ("repeated", self.end.repeated),
            ("failed_inputs", self.metrics.sources_failed.load(Relaxed) + self.end.too_long),
        ] {
            fields.insert(name.into(), number.into());
        }
        if let Some((accounts, regions)) = self.accounts_and_regions() {
            fields.insert("accounts".into(), accounts.into());
            fields.insert("regions".into(), regions.into());
        }
        fields.insert("seconds".into(), self.elapsed.as_secs_f64().into());
        fields.insert("exit".into(), exit.code().into());
        fields
    }
}
