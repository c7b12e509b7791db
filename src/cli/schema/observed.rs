//! `--observed`: reads logs, and counts the paths of a call in them.
//!
//! Input: SOURCE arguments. Output: what the events of the call have. Invariant: nothing is written anywhere.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::answer::Answer;
use crate::{
    cli::{
        args::aws::AwsArgs,
        environment::Environment,
        failure::Failure,
        plan::{aws::EngineAuth, sources::SourceList},
        runtime,
        signals::{self, ShutdownMessages},
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, nothing_done, unless_shut_down,
        },
    },
    limit::MemoryBudget,
    normalize::{Rules, TimeRange},
    pipeline::{
        PipelineConfig, RunOutcome,
        observe::{Observed, ObservedCall, matches_path, observe},
    },
    report::{Log, Metrics, format::plural},
    schema::fields::Next,
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

/// Memory for reading: enough for the largest objects of a trail.
const MEMORY_BYTES: u64 = 256 << 20;
/// Memory for a batch, of which this command has none.
const BATCH_BYTES: u64 = 256 << 10;

/// Reads the sources, and returns what the events of the call have.
pub(super) fn read(
    sources: &[std::ffi::OsString],
    call: ObservedCall,
    environment: &Environment,
    log: &Log,
) -> Result<Observed, Failure> {
    let sources = SourceList::new(sources, &[])?;
    let name = call.event_names.join(" or ");
    let metrics = Arc::new(Metrics::new(sources.names.clone()));
    let run = read_sources(&sources, call, environment, &metrics, log);
    let (observed, outcome) = runtime::block_on(&sources, run)??;
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

async fn read_sources(
    sources: &SourceList,
    call: ObservedCall,
    environment: &Environment,
    metrics: &Arc<Metrics>,
    log: &Log,
) -> Result<(Observed, RunOutcome), Failure> {
    let aws = AwsArgs::default().plan(sources, EngineAuth::Credentials, environment)?;
    let (trigger, shutdown) = shutdown_channel();
    signals::listen(trigger.clone(), log.clone(), SHUTDOWN_MESSAGES)?;
    // A path that does not exist is a usage error, before any request.
    Files::new(&sources.paths(), nothing_done())?;
    let stopped = || Ok((Observed::default(), RunOutcome::Stopped));
    let session = Box::pin(async {
        if sources.uses_aws() {
            sources::open_session(sources, &aws, &metrics.waits).await.map(Some)
        } else {
            Ok(None)
        }
    });
    let Some(session) = unless_shut_down(&shutdown, session).await? else { return stopped() };
    let remote = usize::from(sources.lookup.is_some()) + usize::from(sources.has_buckets());
    let memory = MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, remote);
    let builder = SourceBuilder {
        sources,
        aws: &aws,
        range: TimeRange::default(),
        memory,
        history: History::Ignored,
        lookup: LookupMode::Search(FollowMode::Off),
        metrics,
        log,
        shutdown: &shutdown,
    };
    let Some(source) = builder.build(session).await? else { return stopped() };
    let processors = environment.processors.map_or(1, NonZeroUsize::get);
    let config = PipelineConfig {
        source: Box::new(source),
        range: TimeRange::default(),
        workers: processors.min(memory.affordable_workers()).max(1),
        memory,
        metrics: Arc::clone(metrics),
        log: log.warnings_only(),
        shutdown: shutdown.clone(),
        trigger,
    };
    Ok(observe(config, call).await?)
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
    let is_known = |path: &str| {
        known.iter().any(|known| matches_path(known, path))
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
