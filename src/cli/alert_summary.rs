//! What `watch` and `load --rules` report about alerts at the end of a run.
//!
//! Input: what became of matches and deliveries. Output: warnings, a line of text, fields of JSON.
//! Invariant: the line accounts for every match and every delivery.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::{Map, Value};

use super::{exit::Exit, failure::Failure, rule_files::counted};
use crate::{
    checkpoint::{CheckpointReader, alerts::AlertTotals},
    filter::rule::RuleSet,
    pipeline::alert::{
        RuleFailures,
        delivery::{DeliveryFault, DeliveryReport},
    },
    report::{Log, format, terminal::escape_unprintable},
};

/// What became of the matches and deliveries of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct AlertSummary {
    /// What became of the matches.
    pub(in crate::cli) totals: AlertTotals,
    /// Deliveries that were made.
    delivered: u64,
    /// Deliveries that became dead letters.
    failed: u64,
    /// Alerts of this and earlier runs that are still to be delivered.
    pending: u64,
    /// Alerts of this and earlier runs that could not be delivered.
    dead_letters: u64,
}

impl AlertSummary {
    /// Creates the summary. A checkpoint that cannot be read was reported before.
    pub(in crate::cli) fn new(
        totals: AlertTotals,
        delivery: &DeliveryReport,
        checkpoint: &Path,
    ) -> Self {
        let actions = CheckpointReader::open(checkpoint).and_then(|reader| reader.action_status());
        let actions = actions.unwrap_or_default();
        Self {
            totals,
            delivered: delivery.actions.iter().map(|action| action.delivered).sum(),
            failed: delivery.actions.iter().map(|action| action.failed).sum(),
            pending: actions.iter().map(|action| action.pending).sum(),
            dead_letters: actions.iter().map(|action| action.dead_letters).sum(),
        }
    }

    /// Adds what became of the matches and deliveries of a later run.
    pub(in crate::cli) fn add(&mut self, later: Self) {
        let Self { totals, delivered, failed, pending, dead_letters } = later;
        self.totals.add(totals);
        self.delivered += delivered;
        self.failed += failed;
        // Those of all runs until then.
        (self.pending, self.dead_letters) = (pending, dead_letters);
    }

    /// Returns the number of alerts that are not delivered.
    pub(in crate::cli) fn undelivered(&self) -> u64 {
        self.pending + self.dead_letters
    }

    /// Returns a text such as `12 matches = 3 alerts + 9 suppressed; 3 delivered`.
    pub(in crate::cli) fn text(&self) -> String {
        let AlertTotals { alerts, recorded, duplicates, suppressed, learned, .. } = self.totals;
        let parts = [
            (recorded, "recorded only"),
            (suppressed, "suppressed"),
            (learned, "learned"),
            (duplicates, "known"),
        ];
        let mut text =
            format!("{} = {}", matches(self.totals.matches), format::plural(alerts, "alert"));
        // Writing to a String cannot fail.
        for (number, name) in parts.into_iter().filter(|(number, _)| *number > 0) {
            let _ = write!(text, " + {} {name}", format::count(number));
        }
        let _ = write!(text, "; {} delivered", format::count(self.delivered));
        if self.failed > 0 {
            let _ = write!(text, ", {}", format::plural(self.failed, "dead letter"));
        }
        if self.pending > 0 {
            let _ = write!(text, ", {} pending", format::count(self.pending));
        }
        text
    }

    /// Returns the numbers as JSON.
    pub(in crate::cli) fn fields(&self) -> Map<String, Value> {
        let totals = self.totals;
        [
            ("matches", totals.matches),
            ("alerts", totals.alerts),
            ("recorded", totals.recorded),
            ("suppressed", totals.suppressed),
            ("learned", totals.learned),
            ("duplicates", totals.duplicates),
            ("deliveries", totals.deliveries),
            ("delivered", self.delivered),
            ("dead_letters", self.failed),
            ("pending", self.pending),
            ("undelivered", self.undelivered()),
        ]
        .into_iter()
        .map(|(name, number)| (name.to_owned(), number.into()))
        .collect()
    }

    /// Reports alerts that are not delivered.
    pub(in crate::cli) fn warn(&self, checkpoint: &Path, log: &Log) {
        let checkpoint = checkpoint.display().to_string();
        if self.totals.recorded > 0 {
            log.info(
                &checkpoint,
                format_args!(
                    "{} recorded and not sent, because the events are older than --alert-max-age; 'trailload watch' \
                     with --replay sends alerts for events of any age",
                    number_of_alerts(self.totals.recorded, "was", "were"),
                ),
            );
        }
        if self.dead_letters > 0 {
            log.warn(
                &checkpoint,
                format_args!(
                    "{} not delivered; 'trailload status --checkpoint {checkpoint}' shows why, and 'trailload watch \
                     --retry --checkpoint {checkpoint}' sends them again, with the --actions of the run",
                    number_of_alerts(self.dead_letters, "was", "were"),
                ),
            );
        }
        if self.pending > 0 {
            log.warn(
                &checkpoint,
                format_args!(
                    "{} still to be delivered; the next run sends them",
                    number_of_alerts(self.pending, "is", "are")
                ),
            );
        }
    }
}

fn number_of_alerts(alerts: u64, singular: &str, plural: &str) -> String {
    let verb = if alerts == 1 { singular } else { plural };
    format!("{} {verb}", format::plural(alerts, "alert"))
}

/// Returns a number of matches as text.
pub(in crate::cli) fn matches(count: u64) -> String {
    if count == 1 { "1 match".to_owned() } else { format!("{} matches", format::count(count)) }
}

/// Returns the failure of deliveries that ended early, unless the run reports it otherwise.
pub(in crate::cli) fn delivery_failure(fault: &DeliveryFault) -> Option<Failure> {
    match fault {
        DeliveryFault::ClosedPipe | DeliveryFault::CheckpointClosed => None,
        DeliveryFault::Output { .. } => {
            let failure = Failure::from_error(Exit::ActionRequired, fault);
            Some(failure.hint("free space, or write elsewhere; the next run prints the alerts again that were not written"))
        }
        DeliveryFault::Shared(error) if error.is_interruption() => None,
        DeliveryFault::Shared(error) => Some(error.into()),
        DeliveryFault::Read(_) | DeliveryFault::Panic => {
            Some(Failure::from_error(Exit::ActionRequired, fault))
        }
    }
}

/// Warns about each rule that could not be evaluated on some events.
pub(in crate::cli) fn warn_about_failed_rules(
    rules: &RuleSet,
    failures: &BTreeMap<usize, RuleFailures>,
    log: &Log,
) {
    for (number, failures) in failures {
        let name = rules.rules().get(*number).map_or("", |rule| rule.name.as_str());
        let example = match failures.event_id.as_str() {
            "" => String::new(),
            id => format!(", such as {}", escape_unprintable(id)),
        };
        log.warn(
            &escape_unprintable(name),
            format_args!(
                "could not be evaluated on {}{example}: {}; the rule stayed silent",
                counted(usize::try_from(failures.events).unwrap_or(usize::MAX), "event"),
                failures.cause,
            ),
        );
    }
}
