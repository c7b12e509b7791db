//! `--observed`: reads logs, and counts the paths of a call in them.
//!
//! Input: SOURCE arguments. Output: what the events of the call have. Invariant: nothing is written anywhere.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{ObservedArgs, answer::Answer};
use crate::{
    aws::Session,
    cli::{
        args::aws::AwsArgs,
        environment::Environment,
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::SourceList,
        },
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, accounts, nothing_done,
            queues::QueueReading, unless_shut_down,
        },
    },
    filter::{action::ActionFilter, query::Query},
    limit::MemoryBudget,
    normalize::{Rules, TimeRange},
    pipeline::{
        PipelineConfig, RunOutcome,
        observe::{Observed, ObservedCall, matches_path, observe},
    },
    report::{Log, Metrics, format::plural},
    schema::fields::Next,
    shutdown::ShutdownSignal,
    source::{
        CombinedSource, Files,
        index::{Closing, IndexPlan, IndexSource},
        queue::{MessageDeletion, MessageOrder, QueueMode},
    },
};

/// What the command reports about its shutdown.
const SHUTDOWN_MESSAGES: ShutdownMessages = ShutdownMessages {
    draining: "stopping; signal again to exit at once",
    abandoning: "abandoning requests without a response",
    exiting: "exiting at once",
    timed_out: "exiting although an operation has not finished",
};

/// Memory for reading: enough for the largest objects of a trail.
const MEMORY_BYTES: u64 = 256 << 20;
/// Memory for a batch, of which this command has none.
const BATCH_BYTES: u64 = 256 << 10;

/// Where the logs of `--observed` are, and how they are read.
#[derive(Clone, Debug)]
pub(super) struct ObservedPlan {
    sources: SourceList,
    aws: AwsOptions,
    /// The engine, if its indices are read.
    index: Option<IndexEndpoint>,
    processors: usize,
}

impl ObservedPlan {
    /// Checks the options.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for an invalid address, or an engine that is not given completely.
    pub(super) fn new(args: &ObservedArgs, environment: &Environment) -> Result<Self, Failure> {
        let sources = SourceList::for_search(&args.observed, &[])?;
        let index = IndexEndpoint::of_sources(
            &sources,
            &args.engine,
            environment,
            "'--in index' is not given",
        )?;
        let auth = index.as_ref().map_or(EngineAuth::Credentials, |index| index.auth);
        let aws = AwsArgs { access: args.access.clone(), ..AwsArgs::default() };
        let aws = aws.plan(&sources, auth, environment)?;
        let processors = environment.processors.map_or(1, NonZeroUsize::get);
        Ok(Self { sources, aws, index, processors })
    }

    /// Reads the sources, and returns what the events of the call have.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a source cannot be read.
    pub(super) fn read(&self, call: ObservedCall, log: &Log) -> Result<Observed, Failure> {
        let name = call.event_names.join(" or ");
        let metrics = Arc::new(Metrics::new(self.sources.names.clone()));
        let reading = Reading { plan: self, metrics: &metrics, log };
        let (observed, outcome) = runtime::block_on(&self.sources, reading.run(call))??;
        if outcome == RunOutcome::Stopped {
            log.warn("schema", "stopped early: only a part of the logs was read");
        }
        let unreadable = metrics.sources_failed.load(Relaxed);
        if unreadable > 0 {
            log.warn("schema", format_args!("{} could not be read", plural(unreadable, "input")));
        }
        sources::warn_about_sources_without_events(&metrics, log);
        if observed.events == 0 {
            log.warn("schema", format_args!("these logs have no event {name}"));
        } else {
            log.info("schema", format_args!("{} of {name}", plural(observed.events, "event")));
        }
        Ok(observed)
    }
}

/// Logs that are being read.
#[derive(Clone, Copy)]
struct Reading<'r> {
    plan: &'r ObservedPlan,
    metrics: &'r Arc<Metrics>,
    log: &'r Log,
}

impl Reading<'_> {
    async fn run(self, call: ObservedCall) -> Result<(Observed, RunOutcome), Failure> {
        let scope = RunScope::start(self.log, SHUTDOWN_MESSAGES)?;
        let observed = self.read(call, &scope).await;
        scope.end(observed).await
    }

    async fn read(
        self,
        call: ObservedCall,
        scope: &RunScope,
    ) -> Result<(Observed, RunOutcome), Failure> {
        let ObservedPlan { sources, aws, .. } = self.plan;
        let (metrics, log, shutdown) = (self.metrics, self.log, &scope.shutdown);
        // A path that does not exist is a usage error, before any request.
        Files::new(&sources.paths(), nothing_done())?;
        let stopped = || Ok((Observed::default(), RunOutcome::Stopped));
        let session = unless_shut_down(shutdown, Box::pin(self.session())).await?;
        let Some(session) = session else { return stopped() };
        let is_index_read = usize::from(self.plan.index.is_some());
        let remote = sources.remote_sources() + is_index_read;
        let memory = MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, remote);
        let builder = SourceBuilder {
            sources,
            aws,
            range: TimeRange::default(),
            memory,
            history: History::Ignored,
            lookup: LookupMode::Search(FollowMode::Off),
            queues: QueueReading {
                mode: QueueMode::UntilEmpty,
                deletion: MessageDeletion::None,
                order: MessageOrder::Any,
                acknowledgers: &scope.acknowledgers,
            },
            metrics,
            log,
            shutdown,
        };
        let Some(source) = builder.build(session.clone()).await? else { return stopped() };
        let indices = Box::pin(self.with_indices(source, session.as_ref(), &call, shutdown));
        let Some((source, closing)) = unless_shut_down(shutdown, indices).await? else {
            return stopped();
        };
        let config = PipelineConfig {
            source: Box::new(source),
            range: TimeRange::default(),
            workers: self.plan.processors.min(memory.affordable_workers()).max(1),
            memory,
            metrics: Arc::clone(metrics),
            log: log.warnings_only(),
            shutdown: shutdown.clone(),
            trigger: scope.trigger.clone(),
        };
        let observed = observe(config, call).await?;
        if let Some(closing) = closing {
            closing.wait().await;
        }
        Ok(observed)
    }

    async fn session(self) -> Result<Option<Session>, Failure> {
        let ObservedPlan { sources, aws, index, .. } = self.plan;
        let waits = &self.metrics.waits;
        if sources.uses_aws() {
            return sources::open_session(sources, aws, waits).await.map(Some);
        }
        match index {
            Some(index) if index.auth == EngineAuth::SigV4 => {
                accounts::new_session(aws, waits).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Adds the indices of the engine, if they are read. The engine leaves out what is another call.
    async fn with_indices(
        self,
        source: CombinedSource,
        session: Option<&Session>,
        call: &ObservedCall,
        shutdown: &ShutdownSignal,
    ) -> Result<(CombinedSource, Option<Closing>), Failure> {
        let ObservedPlan { sources, index, .. } = self.plan;
        let (Some(number), Some(index)) = (sources.index, index) else {
            return Ok((source, None));
        };
        let reader = index.connect(session, self.metrics, self.log, shutdown).await?;
        let mut index = IndexSource::new(
            IndexPlan::new(reader, &query_of(call)).await?,
            number,
            self.log.clone(),
        );
        let closing = index.closing();
        Ok((source.with_remote(number, index), Some(closing)))
    }
}

/// Returns a query that finds all events of a call, and possibly others.
fn query_of(call: &ObservedCall) -> Query {
    let names = call.event_names.iter().map(|name| format!("{}:{name}", call.event_source));
    let names: Vec<String> = names.collect();
    // Names of events have no blank, which alone would make a pattern invalid.
    Query { actions: ActionFilter::parse(&names).unwrap_or_default(), ..Query::default() }
}

/// Paths that are named in a message.
const MOST_NAMED: usize = 10;

/// Logs which paths the logs have and the answer has not.
pub(super) fn log_other_paths(answer: &Answer<'_>, rules: &Rules, log: &Log) {
    let Some(observed) = &answer.observed else { return };
    let mut known = Vec::new();
    let mut any = Vec::new();
    for section in &answer.sections {
        known.push(section.record_member.to_owned());
        answer.visit(section, rules, &mut |_, view| {
            let Some(view) = view else { return Next::Below };
            let paths = view.spelled.iter().map(|spelled| spelled.path.clone());
            // What is below is not predicted.
            let facts = view.facts;
            if view.recursive || facts.json_text || facts.parsed_json || facts.is_document {
                any.extend(paths.clone());
            }
            known.extend(paths);
            Next::Below
        });
    }
    let leads_to = |known: &str, path: &str| {
        known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    };
    let is_known = |path: &str| {
        known.iter().any(|known| matches_path(known, path) || leads_to(known, path))
            || any
                .iter()
                .any(|any| path.strip_prefix(any).is_some_and(|rest| rest.starts_with('.')))
    };
    let others: Vec<&str> =
        observed.paths.keys().map(String::as_str).filter(|path| !is_known(path)).collect();
    if others.is_empty() || !answer.is_whole() {
        return;
    }
    let more = others.len().saturating_sub(MOST_NAMED);
    let named = others.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" (+{more})") } else { String::new() };
    log.info("schema", format_args!("also in these logs: {named}{more}"));
}
