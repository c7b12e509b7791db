//! What `trailload watch` reports at the end of a run.
//!
//! Input: how a run ended. Output: warnings, the last line, the exit code.
//! Invariant: the last line accounts for every match and every delivery, and the checkpoint stores the exit code.

use std::{path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Map, Value};

use crate::{
    checkpoint::{CheckpointReader, CheckpointStore, alerts::AlertTotals},
    cli::{
        exit::{Exit, WatchEnding, WatchReport},
        failure::Failure,
        rule_files::counted,
        sources,
    },
    filter::rule::RuleSet,
    pipeline::{
        RunEnd, RunOutcome,
        alert::delivery::{DeliveryFault, DeliveryReport},
        watch::{InputReport, WatchEnd},
    },
    report::{Log, Metrics, format, terminal::escape_unprintable},
};

/// What is known of a run beside its end.
pub(super) struct RunFacts<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) checkpoint: &'a Path,
    pub(super) metrics: &'a Metrics,
    pub(super) log: &'a Log,
    pub(super) elapsed: Duration,
}

/// Alerts that are in the checkpoint at the end of a run, because they were not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Undelivered {
    pending: u64,
    dead_letters: u64,
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
    let WatchEnd { run: RunEnd { outcome, store }, input, delivery } = ended;
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
    warn_about_failed_rules(facts.rules, &input, facts.log);
    report.failed_inputs = facts.metrics.sources_failed.load(Relaxed) + input.too_long;
    if report.ending == WatchEnding::Complete && report.failures.is_empty() {
        report.sources_without_events =
            sources::warn_about_sources_without_events(facts.metrics, facts.log);
    }
    let totals = store.as_ref().map(CheckpointStore::alert_totals).unwrap_or_default();
    let undelivered = undelivered(facts.checkpoint);
    report.undelivered = undelivered.pending + undelivered.dead_letters;
    let mut exit = Exit::of_watch(&report);
    if let Some(store) = store
        && let Err(error) = store.end(exit.code())
    {
        report.failures.push(Failure::from(error).report(facts.log));
        exit = Exit::of_watch(&report);
    }
    warn_about_undelivered(facts, undelivered);
    let line = SummaryLine { facts, input: &input, totals, delivery: &delivery, undelivered };
    facts.log.event("summary", &line.text(&report), || line.fields(&report, exit));
    exit
}

/// Returns the failure of deliveries that ended early, unless the run reports it otherwise.
fn delivery_failure(fault: &DeliveryFault) -> Option<Failure> {
    match fault {
        DeliveryFault::ClosedPipe | DeliveryFault::CheckpointClosed => None,
        DeliveryFault::Read(_) | DeliveryFault::Panic => {
            Some(Failure::from_error(Exit::ActionRequired, fault))
        }
    }
}

/// Counts the alerts that are not delivered. A file that cannot be read was reported before.
fn undelivered(checkpoint: &Path) -> Undelivered {
    let actions = CheckpointReader::open(checkpoint).and_then(|reader| reader.action_status());
    actions.unwrap_or_default().iter().fold(Undelivered::default(), |all, action| Undelivered {
        pending: all.pending + action.pending,
        dead_letters: all.dead_letters + action.dead_letters,
    })
}

fn warn_about_undelivered(facts: &RunFacts<'_>, undelivered: Undelivered) {
    let checkpoint = facts.checkpoint.display().to_string();
    let Undelivered { pending, dead_letters } = undelivered;
    if dead_letters > 0 {
        facts.log.warn(
            &checkpoint,
            format_args!(
                "{} not delivered; 'trailload status --checkpoint {checkpoint}' shows why, and 'trailload watch --retry' \
                 sends them again",
                was_or_were(dead_letters),
            ),
        );
    }
    if pending > 0 {
        facts.log.warn(
            &checkpoint,
            format_args!("{} still to be delivered; the next run sends them", is_or_are(pending)),
        );
    }
}

fn was_or_were(alerts: u64) -> String {
    if alerts == 1 {
        "1 alert was".to_owned()
    } else {
        format!("{} alerts were", format::count(alerts))
    }
}

fn is_or_are(alerts: u64) -> String {
    if alerts == 1 {
        "1 alert is".to_owned()
    } else {
        format!("{} alerts are", format::count(alerts))
    }
}

/// Warns about each rule that could not be evaluated on some events.
pub(super) fn warn_about_failed_rules(rules: &RuleSet, input: &InputReport, log: &Log) {
    for (number, failures) in &input.failures {
        let name = rules.rules().get(*number).map_or("", |rule| rule.name.as_str());
        log.warn(
            &escape_unprintable(name),
            format_args!(
                "could not be evaluated on {}, such as {}: {}; the rule stayed silent",
                counted(usize::try_from(failures.events).unwrap_or(usize::MAX), "event"),
                escape_unprintable(&failures.event_id),
                failures.cause,
            ),
        );
    }
}

/// Returns a number of matches as text.
pub(super) fn matches(count: u64) -> String {
    if count == 1 { "1 match".to_owned() } else { format!("{} matches", format::count(count)) }
}

/// The last line of a run.
struct SummaryLine<'a> {
    facts: &'a RunFacts<'a>,
    input: &'a InputReport,
    totals: AlertTotals,
    delivery: &'a DeliveryReport,
    undelivered: Undelivered,
}

impl SummaryLine<'_> {
    /// Returns a line such as `4,169 events, 12 matches = 3 alerts + 9 suppressed; 3 delivered; 1.2s`.
    fn text(&self, report: &WatchReport) -> String {
        let prefix = match report.ending {
            WatchEnding::Stopped => "stopped: ",
            _ if !report.failures.is_empty() => "failed: ",
            _ => "",
        };
        let AlertTotals { alerts, recorded, duplicates, suppressed, learned, .. } = self.totals;
        let parts = [
            (recorded, "recorded only"),
            (suppressed, "suppressed"),
            (learned, "learned"),
            (duplicates, "known"),
        ];
        let mut matches =
            format!("{} = {}", matches(self.totals.matches), format::plural(alerts, "alert"));
        for (number, name) in parts.into_iter().filter(|(number, _)| *number > 0) {
            matches.push_str(&format!(" + {} {name}", format::count(number)));
        }
        let mut deliveries = format!("{} delivered", format::count(self.delivered()));
        if self.failed() > 0 {
            deliveries.push_str(&format!(", {}", format::plural(self.failed(), "dead letter")));
        }
        if self.undelivered.pending > 0 {
            deliveries.push_str(&format!(", {} pending", format::count(self.undelivered.pending)));
        }
        format!(
            "{prefix}{}, {matches}; {deliveries}; {}",
            format::plural(self.input.events, "event"),
            format::duration(self.facts.elapsed)
        )
    }

    fn delivered(&self) -> u64 {
        self.delivery.actions.iter().map(|action| action.delivered).sum()
    }

    fn failed(&self) -> u64 {
        self.delivery.actions.iter().map(|action| action.failed).sum()
    }

    fn fields(&self, report: &WatchReport, exit: Exit) -> Map<String, Value> {
        let totals = self.totals;
        let mut fields = Map::new();
        for (name, number) in [
            ("events", self.input.events),
            ("matches", totals.matches),
            ("alerts", totals.alerts),
            ("recorded", totals.recorded),
            ("suppressed", totals.suppressed),
            ("learned", totals.learned),
            ("duplicates", totals.duplicates),
            ("deliveries", totals.deliveries),
            ("delivered", self.delivered()),
            ("dead_letters", self.failed()),
            ("pending", self.undelivered.pending),
            ("undelivered", self.undelivered.pending + self.undelivered.dead_letters),
            ("failed_inputs", report.failed_inputs),
        ] {
            fields.insert(name.to_owned(), number.into());
        }
        fields.insert("seconds".to_owned(), self.facts.elapsed.as_secs_f64().into());
        fields.insert("exit".to_owned(), exit.code().into());
        fields
    }
}
