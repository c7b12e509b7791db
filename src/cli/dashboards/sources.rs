//! Fills a page from files, buckets and the event history, without an engine.
//!
//! Input: a [`PagePlan`] with sources. Output: [`Filled`].
//! Invariant: panels show what an engine would show after a load of the same sources. Nothing is written anywhere, and no message
//! of a queue is deleted.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    filling::{Filled, PageRun},
    notes::Notes,
    plan::PagePlan,
};
use crate::{
    cli::{
        args::document::DEFAULT_MAX_FIELDS,
        failure::Failure,
        plan::sources::SourceList,
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, nothing_done,
            queues::QueueReading, unless_shut_down,
        },
    },
    dashboard::{Data, PageData},
    limit::MemoryBudget,
    normalize::{FieldProfile, FieldRegistry, Rules, Settings},
    pipeline::{
        PipelineConfig, RunOutcome,
        panels::{CountedPanels, PanelConfig, count_panels},
    },
    report::{
        Metrics,
        format::{count, plural},
    },
    source::{
        Files,
        queue::{MessageDeletion, MessageOrder, QueueMode},
    },
};

/// Memory for reading: enough for the largest objects of a trail. What is counted takes up to as much again.
const MEMORY_BYTES: u64 = 128 << 20;
/// Memory for a batch, of which this command has none.
const BATCH_BYTES: u64 = 256 << 10;
/// Memory for whole files; larger ones are read in pieces.
const WHOLE_FILES_BYTES: u64 = 32 << 20;
/// Inputs that a page names as not readable.
const MAX_NAMED: usize = 10;

/// Counts the events of the sources. Returns `None` if it was stopped.
///
/// # Errors
///
/// Returns a [`Failure`] if a source cannot be read at all.
pub(super) async fn fill(
    run: PageRun<'_>,
    sources: &SourceList,
) -> Result<Option<Filled>, Failure> {
    let PageRun { plan, metrics, log, scope, .. } = run;
    let shutdown = &scope.shutdown;
    // A path that does not exist is a usage error, before any request.
    Files::new(&sources.paths(), nothing_done())?;
    let session = async {
        if !sources.uses_aws() {
            return Ok(None);
        }
        sources::open_session(sources, &plan.aws, &metrics.waits).await.map(Some)
    };
    let Some(session) = unless_shut_down(shutdown, Box::pin(session)).await? else {
        return Ok(None);
    };
    let remote = sources.remote_sources();
    let memory = MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, remote);
    let memory = memory.with_whole_files(WHOLE_FILES_BYTES);
    let builder = SourceBuilder {
        sources,
        aws: &plan.aws,
        range: plan.range,
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
    let Some(source) = builder.build(session).await? else { return Ok(None) };
    let rules = Arc::new(Rules::embedded()?);
    let config = PanelConfig {
        pipeline: PipelineConfig {
            source: Box::new(source),
            range: plan.range,
            workers: plan.processors.get().min(memory.affordable_workers()).max(1),
            memory,
            metrics: Arc::clone(metrics),
            // Which files are no CloudTrail logs is of interest in a load, not on a page.
            log: log.warnings_only(),
            shutdown: shutdown.clone(),
            trigger: scope.trigger.clone(),
        },
        dashboards: run.dashboards,
        fields: Arc::new(FieldRegistry::new(rules, FieldProfile::Standard, DEFAULT_MAX_FIELDS)),
        // Names and distribution of indices decide only which documents are the same one, as in a load with default options.
        settings: Settings {
            prefix: "cloudtrail".to_owned(),
            range: plan.range,
            ..Settings::default()
        },
    };
    let counted = count_panels(config).await?;
    // The workers have logged what else cannot be read.
    sources::warn_about_sources_without_events(metrics, log);
    if counted.unreadable > 0 {
        let events = plural(counted.unreadable, "event");
        log.warn("dashboards", format_args!("{events} not readable as documents; not counted"));
    }
    Ok((counted.outcome != RunOutcome::Stopped).then(|| filled(plan, sources, metrics, &counted)))
}

fn filled(
    plan: &PagePlan,
    sources: &SourceList,
    metrics: &Metrics,
    counted: &CountedPanels,
) -> Filled {
    let CountedPanels { counter, .. } = counted;
    let seen = counter.seen();
    let answers = counter.answers();
    let mut notes = Notes::default();
    add_unread(metrics, counted, &mut notes);
    if counted.repeated > 0 {
        notes.add_remark(format!(
            "{} found more than once; each event counts once.",
            were(counted.repeated, "event")
        ));
    }
    notes.add_undated(seen.undated, Data::Events);
    notes.add_limited(&answers);
    let data = vec![PageData {
        data: Data::Events,
        documents: seen.documents,
        range: seen.range,
        scale: seen.scale(),
        latest: counter.take_latest(),
    }];
    Filled { source: source_name(plan, sources), data, answers, notes }
}

/// Adds what could not be read.
fn add_unread(metrics: &Metrics, counted: &CountedPanels, notes: &mut Notes) {
    let failed = metrics.sources_failed.load(Relaxed);
    let failures = metrics.failures();
    for failure in failures.iter().take(MAX_NAMED) {
        notes.add_missing(format!("Not read completely: {} ({}).", failure.about, failure.reason));
    }
    let more = failed.saturating_sub(failures.len().min(MAX_NAMED) as u64);
    if more > 0 {
        notes.add_missing(format!("Not read completely: {}.", plural(more, "further input")));
    }
    for source in metrics.sources.iter().filter(|source| source.inputs_without_events() > 0) {
        let inputs = plural(source.inputs_without_events(), "input");
        notes.add_missing(format!("No CloudTrail events in {inputs} of {}.", source.name));
    }
    for (number, what) in [
        (counted.too_long, "too long to be read"),
        (counted.unreadable, "not readable as documents"),
    ] {
        if number > 0 {
            notes.add_missing(format!("{} {what}, and are not counted.", plural(number, "event")));
        }
    }
    if counted.unremembered > 0 {
        notes.add_remark(format!(
            "There are more events than are told apart: copies of {} count again.",
            plural(counted.unremembered, "event")
        ));
    }
}

fn were(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun} was") } else { format!("{} {noun}s were", count(number)) }
}

/// Returns the sources and the time range in words.
fn source_name(plan: &PagePlan, sources: &SourceList) -> String {
    let names = sources.names.join(", ");
    match plan.range_name() {
        Some(range) => format!("{names}, {range}"),
        None => names,
    }
}
