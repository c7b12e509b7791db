//! What `trailload watch` reports at the end of a run.
//!
//! Input: how a run ended. Output: warnings, the last line, the exit code.
//! Invariant: the last line accounts for every match and every delivery, and the checkpoint stores the exit code.

use std::{path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    cli::{
        alert_summary::{AlertSummary, delivery_failure, warn_about_failed_rules},
        exit::{Exit, WatchEnding, WatchReport},
        failure::Failure,
        plan::sources::SourceList,
        sources,
    },
    filter::rule::RuleSet,
    pipeline::{RunEnd, RunOutcome, alert::delivery::DeliveryFault, watch::WatchEnd},
    report::{Log, Metrics, format},
};

/// What is known of a run beside its end.
pub(super) struct RunFacts<'a> {
    pub(super) sources: &'a SourceList,
    pub(super) rules: &'a RuleSet,
    pub(super) checkpoint: &'a Path,
    pub(super) metrics: &'a Metrics,
    pub(super) log: &'a Log,
    pub(super) elapsed: Duration,
}

/// Prints warnings and the last line, records the exit code, and returns it.
pub(super) fn finish(facts: &RunFacts<'_>, ended: Result<Option<WatchEnd>, Failure>) -> Exit {
    let mut report = WatchReport::default();
    let ended = match ended {
        Ok(Some(ended)) => ended,
        Ok(None) => {
            report.ending = WatchEnding::Stopped;
            return Exit::of_watch(&report);
        }
        Err(failure) => {
            report.failures.push(failure.report(facts.log));
            return Exit::of_watch(&report);
        }
    };
    let WatchEnd { run: RunEnd { outcome, store, matches }, input, delivery } = ended;
    report.ending = match (&outcome, &delivery.fault) {
        (_, Some(DeliveryFault::ClosedPipe)) => WatchEnding::PipeClosed,
        (Ok(RunOutcome::Stopped), _) => WatchEnding::Stopped,
        _ => WatchEnding::Complete,
    };
    let outcome = outcome.map_err(Failure::from);
    if let Err(failure) = outcome {
        report.failures.push(failure.report(facts.log));
    } else if let Some(failure) = delivery.fault.as_ref().and_then(delivery_failure) {
        report.failures.push(failure.report(facts.log));
    }
    warn_about_failed_rules(facts.rules, &input.failures, facts.log);
    report.failed_inputs = facts.metrics.sources_failed.load(Relaxed) + input.too_long;
    if report.ending == WatchEnding::Complete && report.failures.is_empty() {
        sources::warn_about_empty_folders(facts.sources, facts.metrics, facts.log);
        report.sources_without_events =
            sources::warn_about_sources_without_events(facts.metrics, facts.log);
    }
    let alerts = AlertSummary::new(matches, &delivery, facts.checkpoint);
    report.undelivered = alerts.undelivered();
    let mut exit = Exit::of_watch(&report);
    if let Some(store) = store
        && let Err(error) = store.end(exit.code())
    {
        report.failures.push(Failure::from(error).report(facts.log));
        exit = Exit::of_watch(&report);
    }
    alerts.warn(facts.checkpoint, facts.log);
    let line = headline(facts, input.events, &alerts, &report);
    facts.log.event("summary", &line, || {
        let mut fields = alerts.fields();
        fields.insert("events".to_owned(), input.events.into());
        fields.insert("failed_inputs".to_owned(), report.failed_inputs.into());
        fields.insert("seconds".to_owned(), facts.elapsed.as_secs_f64().into());
        fields.insert("exit".to_owned(), exit.code().into());
        fields
    });
    exit
}

/// Returns a line such as `4,169 events, 12 matches = 3 alerts + 9 suppressed; 3 delivered; 1.2 s`.
fn headline(
    facts: &RunFacts<'_>,
    events: u64,
    alerts: &AlertSummary,
    report: &WatchReport,
) -> String {
    let prefix = match report.ending {
        WatchEnding::Stopped => "stopped: ",
        _ if !report.failures.is_empty() => "failed: ",
        _ => "",
    };
    let (events, elapsed) = (format::plural(events, "event"), format::duration(facts.elapsed));
    format!("{prefix}{events}, {}; {elapsed}", alerts.text())
}
