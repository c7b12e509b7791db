//! `--dry-run`: reads and counts everything that a load would send, and logs the result.
//!
//! Input: the context of a run. Output: log lines about indices, conflicts, and the expected size and duration.
//! Invariant: nothing is sent to the engine, and no checkpoint is created; one that exists is read, so that a dry run
//! skips what a load would skip.

use std::sync::Arc;

use super::setup::{RunContext, field_rules, load_config, open_session, recall_decisions};
use crate::{
    checkpoint::{self, CheckpointReader},
    cli::{
        failure::Failure,
        plan::Plan,
        sources::{nothing_done, unless_shut_down},
    },
    normalize::FieldRegistry,
    pipeline::{self, DryRunReport, RunOutcome},
    report::{Log, format},
    source::Files,
};

/// Documents per second that engines indexed on two cores in measurements, with many and with few fields: the range of a
/// dry run's estimate.
const DOCUMENTS_PER_SECOND: [u64; 2] = [5_000, 20_000];

/// Size in the index as a percentage of the bytes sent; measured between half and nearly all of it.
const INDEX_PERCENT: u64 = 70;

/// Number of changes that a dry run shows, the most frequent first.
const MAX_CHANGES_LOGGED: usize = 20;

/// Runs a plan without an engine.
///
/// # Errors
///
/// Returns a [`Failure`] if a source cannot be opened, or the checkpoint cannot be read.
pub(super) async fn run(context: RunContext<'_>) -> Result<RunOutcome, Failure> {
    let RunContext { plan, metrics, log, scope } = context;
    let fields =
        Arc::new(FieldRegistry::new(Arc::new(field_rules(plan)?), plan.fields, plan.max_fields));
    Files::new(&plan.sources.paths(), nothing_done())?;
    let checkpoint = match CheckpointReader::open(&plan.checkpoint) {
        Ok(reader) => {
            recall_decisions(&fields, &reader)?;
            Some(plan.checkpoint.as_path())
        }
        Err(checkpoint::Error::NotFound { .. } | checkpoint::Error::Empty { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let opening = Box::pin(open_session(plan, metrics, None));
    let Some(session) = unless_shut_down(&scope.shutdown, opening).await? else {
        return Ok(RunOutcome::Stopped);
    };
    let Some(source) = context.source_builder(checkpoint).build(session).await? else {
        return Ok(RunOutcome::Stopped);
    };
    let config = load_config(plan, context.pipeline(source), Arc::clone(&fields));
    let (outcome, report) = pipeline::dry_run(config).await?;
    log_report(plan, &report, &fields, log);
    Ok(outcome)
}

/// Logs what a dry run found.
fn log_report(plan: &Plan, report: &DryRunReport, fields: &FieldRegistry, log: &Log) {
    let documents: u64 = report.indices.values().sum();
    if documents == 0 && plan.sources.lookup.is_some() {
        // The estimate of the event history was logged already, and nothing else was read.
        return;
    }
    for (index, count) in &report.indices {
        log.info(index, format_args!("would receive {}", format::plural(*count, "document")));
    }
    let mut changes: Vec<(&String, &u64)> = report.changes.iter().collect();
    changes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (change, count) in changes.iter().take(MAX_CHANGES_LOGGED) {
        log.info("conflict", format_args!("{}: {change}", format::plural(**count, "document")));
    }
    if changes.len() > MAX_CHANGES_LOGGED {
        let more = changes.len() - MAX_CHANGES_LOGGED;
        log.info("conflict", format_args!("and {more} less frequent changes"));
    }
    let [slow, fast] = DOCUMENTS_PER_SECOND.map(|rate| documents.div_ceil(rate));
    let seconds = if slow > fast { format!("{fast} to {slow} s") } else { format!("{slow} s") };
    log.info(
        "estimate",
        format_args!(
            "{} fields in addition to the core mapping; {} to send, about {} in the index; {seconds}",
            format::count(fields.len().into()),
            format::bytes(report.body_bytes),
            format::bytes(report.body_bytes / 100 * INDEX_PERCENT),
        ),
    );
}
