//! Prints the summaries that are no tables: least policies and traces.
//!
//! Input: an [`EventSummary`] at the end of a search. Output: the report on standard output, and what it does not contain
//! on standard error.
//! Invariant: standard output holds nothing but the report, so that it can be redirected to a file.

use serde_json::Value;

use super::plan::SearchPlan;
use crate::{
    cli::{failure::Failure, print},
    pipeline::search::{
        EventSummary,
        policy::PolicyReport,
        trace::{TraceNode, TraceReport},
    },
    report::{Log, terminal::escape_unprintable_json},
    sink::events::EventFormat,
};

/// Prints a summary. Returns the number of events that it is about, if that is not every event found.
///
/// # Errors
///
/// Returns a [`Failure`] if standard output cannot be written.
pub(super) fn print_summary(
    summary: EventSummary,
    plan: &SearchPlan,
    log: &Log,
) -> Result<Option<u64>, Failure> {
    match summary {
        EventSummary::Policy(policy) => {
            print_policy(&policy.finish(), plan, log)?;
            Ok(None)
        }
        EventSummary::Trace(trace) => {
            let report = trace.finish();
            print_trace(&report, plan, log)?;
            // A credential that was handed out and never used is a result as well.
            let calls: u64 = report.trees.iter().map(traced_calls).sum();
            Ok(Some(calls.max(report.trees.len() as u64)))
        }
        // The pipeline prints tables itself.
        EventSummary::Counts(_) | EventSummary::Histogram(_) => Ok(None),
    }
}

fn print_policy(report: &PolicyReport, plan: &SearchPlan, log: &Log) -> Result<(), Failure> {
    match plan.report_format {
        Some(EventFormat::Json) => print(&pretty(&report.to_json()))?,
        Some(EventFormat::Ndjson) => print(&json_lines(&report.to_json()["policies"]))?,
        _ => print(&escape_unprintable_json(&report.to_text()))?,
    }
    for policy in &report.policies {
        for remark in &policy.remarks {
            log.warn(&policy.principal, remark);
        }
    }
    for line in report.remarks().iter().filter(|line| !line.starts_with(' ')) {
        log.info("policy", line);
    }
    Ok(())
}

fn print_trace(report: &TraceReport, plan: &SearchPlan, log: &Log) -> Result<(), Failure> {
    match plan.report_format {
        Some(EventFormat::Json) => print(&pretty(&report.to_json()))?,
        Some(EventFormat::Ndjson) => print(&json_lines(&report.to_json()["trees"]))?,
        _ => print(&report.to_text())?,
    }
    for remark in report.remarks() {
        log.warn("trace", remark);
    }
    Ok(())
}

/// Returns the number of calls with the credentials that are traced.
fn traced_calls(node: &TraceNode) -> u64 {
    let own = if node.is_target { node.calls() } else { 0 };
    own + node.children.iter().map(traced_calls).sum::<u64>()
}

fn pretty(value: &Value) -> String {
    escape_unprintable_json(&format!("{value:#}")) + "\n"
}

fn json_lines(values: &Value) -> String {
    let lines = values.as_array().into_iter().flatten();
    lines.map(|line| escape_unprintable_json(&line.to_string()) + "\n").collect()
}
