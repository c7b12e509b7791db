//! What is logged about an invocation.
//!
//! Input: the end of its run, and the results of its messages. Output: a line for each message that is not done, and a summary, which
//! is also the response to an invocation that is not from a queue.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Map, Value};

use super::{
    answer::MessageResult,
    runtime_api::{Invocation, InvocationErrorKind, ReportedError},
    settings::ForeignMessages,
    task::TaskEnd,
    trigger::Trigger,
};
use crate::{
    cli::{alert_summary::AlertSummary, failure::Failure},
    report::{Log, format, metrics::RecordCounts},
};

/// Messages that are logged one by one. A batch has up to 10,000.
const MAX_LOGGED: usize = 20;

/// What is known of an invocation at its end, beside its messages.
#[derive(Default)]
pub(super) struct InvocationReport {
    events: u64,
    alerts: Option<AlertSummary>,
    documents: Option<RecordCounts>,
    failure: Option<Failure>,
}

/// Logs each message that is not done.
pub(super) fn log_messages(
    trigger: &Trigger,
    results: &[MessageResult],
    foreign: ForeignMessages,
    log: &Log,
) {
    let reasons = results.iter().enumerate();
    let reasons = reasons.filter_map(|(message, result)| Some((message, result, result.reason()?)));
    let mut further = 0_u64;
    for (at, (message, result, reason)) in reasons.enumerate() {
        if at >= MAX_LOGGED {
            further += 1;
            continue;
        }
        let is_foreign = matches!(result, MessageResult::Foreign { .. });
        match foreign {
            ForeignMessages::Deleted if is_foreign => {
                log.info(&trigger.name(message), format_args!("{reason}; deleted"));
            }
            _ => log.warn(&trigger.name(message), format_args!("{reason}; to be delivered again")),
        }
    }
    if further > 0 {
        log.warn("messages", format_args!("{} more are not processed", format::count(further)));
    }
}

impl InvocationReport {
    /// Adds the end of a run. Messages of FIFO groups need several runs.
    pub(super) fn add(&mut self, end: TaskEnd) {
        let TaskEnd { failure, events, alerts, documents, .. } = end;
        self.events += events;
        if let Some(alerts) = alerts {
            self.alerts.get_or_insert_default().add(alerts);
        }
        if let Some(RecordCounts { read, created, duplicates, dead_letters }) = documents {
            let all = self.documents.get_or_insert_default();
            all.read += read;
            all.created += created;
            all.duplicates += duplicates;
            all.dead_letters += dead_letters;
        }
        self.failure = self.failure.take().or(failure);
    }

    /// Returns the error of an invocation without messages.
    pub(super) fn error(&self) -> Option<ReportedError> {
        let failure = self.failure.as_ref()?;
        Some(ReportedError::from_failure(InvocationErrorKind::Failed, failure))
    }

    /// Logs the summary, and returns it as JSON.
    pub(super) fn log(
        &self,
        results: &[MessageResult],
        invocation: &Invocation,
        elapsed: Duration,
        log: &Log,
    ) -> Map<String, Value> {
        let failed = results.iter().filter(|result| !result.is_done()).count() as u64;
        let mut fields = self.fields(results.len() as u64, failed);
        fields.insert("seconds".to_owned(), elapsed.as_secs_f64().into());
        let mut logged = fields.clone();
        logged.insert("request_id".to_owned(), invocation.request_id.clone().into());
        if let Some(trace) = &invocation.trace_id {
            logged.insert("trace_id".to_owned(), trace.clone().into());
        }
        let headline = self.headline(results.len() as u64, failed, elapsed);
        log.event("summary", &headline, || logged);
        fields
    }

    fn fields(&self, messages: u64, failed: u64) -> Map<String, Value> {
        let mut fields = self.alerts.map(|alerts| alerts.fields()).unwrap_or_default();
        let mut counts =
            vec![("messages", messages), ("failed_messages", failed), ("events", self.events)];
        if let Some(RecordCounts { created, duplicates, dead_letters, .. }) = self.documents {
            counts.extend([
                ("created", created),
                ("duplicate_documents", duplicates),
                ("rejected_documents", dead_letters),
            ]);
        }
        fields.extend(counts.into_iter().map(|(name, number)| (name.to_owned(), number.into())));
        fields
    }

    /// Returns a line such as `2 messages, 3 events, 1 match = 1 alert; 1 delivered; 0.1 s`.
    fn headline(&self, messages: u64, failed: u64, elapsed: Duration) -> String {
        let mut line = format::plural(messages, "message");
        // Writing to a String cannot fail.
        if failed > 0 {
            let _ = write!(line, " ({} failed)", format::count(failed));
        }
        let _ = write!(line, ", {}", format::plural(self.events, "event"));
        if let Some(RecordCounts { created, duplicates, dead_letters, .. }) = self.documents {
            let _ = write!(
                line,
                " = {} created + {} + {}",
                format::count(created),
                format::plural(duplicates, "duplicate"),
                format::plural(dead_letters, "dead letter"),
            );
        }
        if let Some(alerts) = &self.alerts {
            let _ = write!(line, ", {}", alerts.text());
        }
        let _ = write!(line, "; {}", format::duration(elapsed));
        line
    }
}
