//! `trailload load`: runs a plan, records how the run ended, and prints the summary.
//!
//! Input: arguments, environment, clock. Output: the exit code, the last line, the file of `--summary`.
//! Invariant: however the run ends, its counters are checked and printed, and the checkpoint stores the exit code that
//! the process returns.

mod dry_run;
pub(super) mod index_check;
pub(super) mod journal;
mod retention;
mod run;
pub(super) mod setup;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use jiff::Timestamp;

use self::run::{AlertResult, RunResult};
use super::{
    alert_summary::{AlertSummary, delivery_failure, warn_about_failed_rules},
    args::load::LoadArgs,
    environment::{self, Environment},
    exit::{Exit, RunReport},
    failure::Failure,
    plan::Plan,
    sources,
    time_notes::explain_range,
};
use crate::{
    checkpoint::{Outstanding, indices::MissingDocuments},
    pipeline::RunOutcome,
    report::{
        FollowReporter, Log, Metrics, Reporter, Summary, format,
        summary::{IncompleteIndex, RunEnd as Ending, RunFacts},
    },
};

/// Runs `trailload load`.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the arguments are invalid.
pub(super) fn run(
    args: &LoadArgs,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let plan = args.plan(environment, now)?;
    explain_range(args.source.from.as_ref(), args.source.to.as_ref(), log);
    if args.resources.workers.is_some() {
        warn_about_memory(&plan, log);
    }
    Ok(execute(&plan, log))
}

/// Runs a plan, prints its summary, and returns the exit code.
pub(super) fn execute(plan: &Plan, log: &Log) -> Exit {
    let metrics = Arc::new(Metrics::new(plan.sources.names.clone()));
    let reporter = Reporter::start(Arc::clone(&metrics), log.clone());
    let lag = plan
        .follow
        .then(|| FollowReporter::start(Arc::clone(&metrics), log.clone(), environment::now));
    let result = run::run_plan(plan, &metrics, log);
    drop(lag);
    finish(plan, &metrics, log, reporter, result)
}

/// Warns if the requested number of workers may exceed the memory limit. The user's choice is kept.
fn warn_about_memory(plan: &Plan, log: &Log) {
    let required = plan.memory_budget().required_bytes(plan.workers.get());
    if required > plan.memory.0 {
        let required = format::bytes(required);
        log.warn(
            "--workers",
            format_args!(
                "{} workers may use {required}, more than --memory {}",
                plan.workers, plan.memory
            ),
        );
    }
}

/// Checks the counters, records the end of the run, prints the summary, and returns the exit code.
fn finish(
    plan: &Plan,
    metrics: &Metrics,
    log: &Log,
    mut reporter: Reporter,
    result: RunResult,
) -> Exit {
    let elapsed = reporter.elapsed();
    // Errors are printed below the progress bars, not between them.
    reporter.stop();
    let RunResult { outcome, store, alerts, journal } = result;
    let mut report = ReportBuilder::new(outcome, plan, metrics, log);
    if let Some(store) = &store
        && let Some(outstanding) = report.check(store.outstanding())
    {
        report.report.outstanding = outstanding;
    }
    if let Some(store) = &store
        && let Some(indices) = report.check(store.indices())
    {
        let open = indices.unaccepted().map(|(name, missing)| (name.clone(), missing.clone()));
        report.report.missing = open.collect();
    }
    let alerts = alerts.map(|alerts| report.alerts(&alerts, plan));
    // A dry run creates no checkpoint, and neither does a run that fails before it reaches the engine.
    let checkpoint = plan.checkpoint.exists().then(|| plan.checkpoint.clone());
    let facts = RunFacts { ending: report.report.ending, checkpoint };
    let mut summary = Summary::from_metrics(metrics, elapsed, &facts);
    summary.missing = report.report.missing.iter().map(incomplete_index).collect();
    summary.alerts = alerts.map(|alerts| alerts.fields());
    report.check(summary.check());
    summary.exit = report.exit().code();
    if let Some(path) = &plan.summary {
        report.check(summary.write(path));
        summary.exit = report.exit().code();
    }
    if let Some(store) = store
        && report.check(store.end(summary.exit)).is_none()
    {
        summary.exit = report.exit().code();
        if let Some(path) = &plan.summary {
            report.check(summary.write(path));
        }
    }
    index_check::warn_about_missing(&report.report.missing, plan, log);
    warn_at_end(log, &summary, &report.report, &plan.checkpoint);
    if let Some(alerts) = alerts {
        alerts.warn(&plan.checkpoint, log);
        log.info("alerts", alerts.text());
    }
    if let Some(journal) = journal {
        journal.finish(plan, &summary, log);
    }
    reporter.finish(&summary);
    report.exit()
}

/// Returns the entry of the summary for an index that lacks documents.
fn incomplete_index((name, missing): &(String, MissingDocuments)) -> IncompleteIndex {
    IncompleteIndex {
        index: name.clone(),
        documents: missing.documents,
        reason: missing.reason.as_str(),
    }
}

/// The report of a run whose end is being recorded. Each failure is logged once, when it is added.
struct ReportBuilder<'a> {
    report: RunReport,
    log: &'a Log,
}

impl<'a> ReportBuilder<'a> {
    /// Starts with what the counters and the outcome of the run show.
    fn new(
        outcome: Result<RunOutcome, Failure>,
        plan: &Plan,
        metrics: &Metrics,
        log: &'a Log,
    ) -> Self {
        let (ending, failures) = match outcome {
            Err(failure) => (Ending::Failed, vec![failure.report(log)]),
            Ok(RunOutcome::Stopped) => (Ending::Stopped, Vec::new()),
            Ok(RunOutcome::Complete) if plan.dry_run => (Ending::DryRun, Vec::new()),
            Ok(RunOutcome::Complete | RunOutcome::Satisfied) => (Ending::Done, Vec::new()),
        };
        let dead_letters = metrics.dead_letters.load(Relaxed);
        let report = RunReport {
            ending,
            failures,
            duplicates_differing: metrics.duplicates_differing.load(Relaxed),
            failed_inputs: metrics.sources_failed.load(Relaxed),
            sources_without_events: match ending {
                Ending::Done | Ending::DryRun => {
                    sources::warn_about_empty_folders(&plan.sources, metrics, log);
                    sources::warn_about_sources_without_events(metrics, log)
                }
                Ending::Stopped | Ending::Failed => 0,
            },
            // The checkpoint replaces this: it also knows those of earlier runs, and which are accepted.
            outstanding: Outstanding { dead_letters, accepted: 0 },
            missing: Vec::new(),
            undelivered_alerts: 0,
        };
        Self { report, log }
    }

    /// Adds what became of alerts, and returns their summary.
    fn alerts(&mut self, alerts: &AlertResult, plan: &Plan) -> AlertSummary {
        let AlertResult { rules, matches, end } = alerts;
        warn_about_failed_rules(rules, &end.failures, self.log);
        if self.report.failures.is_empty()
            && let Some(failure) = end.delivery.fault.as_ref().and_then(delivery_failure)
        {
            self.report.failures.push(failure.report(self.log));
        }
        let summary = AlertSummary::new(*matches, &end.delivery, &plan.checkpoint);
        self.report.undelivered_alerts = summary.undelivered();
        summary
    }

    /// Returns the value, or logs the error and adds it to the report.
    fn check<T, E>(&mut self, result: Result<T, E>) -> Option<T>
    where
        Failure: From<E>,
    {
        result
            .map_err(|error| self.report.failures.push(Failure::from(error).report(self.log)))
            .ok()
    }

    fn exit(&self) -> Exit {
        Exit::of(&self.report)
    }
}

/// Warns about what needs attention, also with `--quiet`.
fn warn_at_end(log: &Log, summary: &Summary, report: &RunReport, checkpoint: &Path) {
    let about = checkpoint.display().to_string();
    // A run that failed early may not have read the checkpoint.
    let dead_letters = report.outstanding.dead_letters.max(summary.dead_letters);
    if dead_letters > 0 {
        log.warn(
            &about,
            format_args!(
                "{}; 'trailload status --checkpoint {about}' shows why, and 'trailload retry --help' what to do",
                format::plural(dead_letters, "dead letter")
            ),
        );
    }
    // If a failure ended the run early, its hint was already logged.
    if summary.ending == Ending::Stopped {
        log.warn(&about, "stopped early, position saved; run the same command again to continue");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::{
        log::{LogFormat, Verbosity, tests::page},
        metrics::RecordTotals,
    };

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn plan(options: &[&str]) -> Plan {
        let always = ["load", "--into", "http://u:hunter2@localhost:9200"];
        let cli = TestCli::try_parse_from(always.iter().chain(options)).unwrap();
        let environment = Environment {
            state: Some("/state".into()),
            processors: std::num::NonZeroUsize::new(6),
            ..Environment::default()
        };
        cli.args.plan(&environment, "2024-06-08T12:00:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn more_workers_than_memory_are_warned_of() {
        let said = |words: &[&str]| {
            let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
            warn_about_memory(&plan(words), &log);
            page.text()
        };
        assert_eq!(said(&["trail/"]), "", "the default fits");
        assert_eq!(said(&["trail/", "--workers", "7"]), "");
        assert_eq!(
            said(&["trail/", "--workers", "8"]),
            "warning: --workers: 8 workers may use 287.0 MiB, more than --memory 256MiB\n"
        );
        assert_eq!(said(&["trail/", "--workers", "8", "--memory", "300MiB"]), "");
    }

    /// Ends a run with these counters and returns the exit code, standard error, and the summary.
    fn ended(
        tally: Metrics,
        outcome: Result<RunOutcome, Failure>,
    ) -> (Exit, String, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        let plan = plan(&["a", "--summary", path.to_str().unwrap()]);
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let tally = Arc::new(tally);
        let reporter = Reporter::start(Arc::clone(&tally), log.clone());
        let exit = finish(&plan, &tally, &log, reporter, outcome.into());
        let summary = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (exit, page.text(), summary)
    }

    fn counted(read: u64, created: u64, dead_letters: u64) -> Metrics {
        let tally = Metrics::new(["a".to_owned()]);
        tally.add_found(0, read * 1_000);
        tally.add_read(
            0,
            RecordTotals { records: read, bytes: read * 1_000, ..RecordTotals::default() },
        );
        tally.created.store(created, std::sync::atomic::Ordering::Relaxed);
        tally.dead_letters.store(dead_letters, std::sync::atomic::Ordering::Relaxed);
        tally
    }

    #[test]
    fn a_clean_run_is_exit_0() {
        let (exit, text, summary) = ended(counted(5, 5, 0), Ok(RunOutcome::Complete));
        assert_eq!(exit, Exit::Success);
        assert!(text.starts_with("done: 5 read = 5 created + 0 duplicates + 0 dead letters; "));
        assert_eq!((&summary["exit"], &summary["read"]), (&0.into(), &5.into()));
    }

    #[test]
    fn dead_letters_or_unreadable_files_are_exit_3() {
        let (exit, text, summary) = ended(counted(5, 4, 1), Ok(RunOutcome::Complete));
        assert_eq!(exit, Exit::Incomplete);
        assert!(text.starts_with("warning: /state/trailload/"), "{text}");
        assert!(text.contains("1 dead letter; 'trailload status --checkpoint "), "{text}");
        assert_eq!(summary["exit"], 3);

        let tally = counted(5, 5, 0);
        tally.add_failed(0, "a.json", "cut off");
        let (exit, _, summary) = ended(tally, Ok(RunOutcome::Complete));
        assert_eq!(exit, Exit::Incomplete);
        assert_eq!(summary["failures"][0]["about"], "a.json");
    }

    #[test]
    fn a_run_stopped_early_is_exit_4_and_adds_up() {
        let (exit, text, summary) = ended(counted(9, 5, 1), Ok(RunOutcome::Stopped));
        assert_eq!(exit, Exit::StoppedEarly);
        assert!(text.contains("run the same command again to continue"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("stopped early: 6 read = 5 created"), "{text}");
        assert_eq!((&summary["read"], &summary["in_flight"]), (&6.into(), &3.into()));
    }

    #[test]
    fn a_failed_run_tells_its_numbers_too() {
        let failure = Failure::action_required("http://h refused a batch").hint("log in");
        let (exit, text, summary) = ended(counted(9, 5, 0), Err(failure));
        assert_eq!(exit, Exit::ActionRequired);
        assert!(text.starts_with("error: http://h refused a batch\n  hint: log in\n"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("failed: 5 read = 5 created"), "{text}");
        assert_eq!(summary["exit"], 1);
    }

    #[test]
    fn numbers_that_do_not_add_up_are_exit_1() {
        let (exit, text, summary) = ended(counted(9, 5, 0), Ok(RunOutcome::Complete));
        assert_eq!(exit, Exit::ActionRequired);
        assert!(text.starts_with("error: the totals do not add up: 9 read"), "{text}");
        assert_eq!(summary["exit"], 1);
    }

    #[test]
    fn a_summary_that_cannot_be_written_is_exit_1() {
        let plan = plan(&["a", "--summary", "/dev/null/summary.json"]);
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        let tally = Arc::new(counted(0, 0, 0));
        let reporter = Reporter::start(Arc::clone(&tally), log.clone());
        let exit = finish(&plan, &tally, &log, reporter, Ok(RunOutcome::Complete).into());
        assert_eq!(exit, Exit::ActionRequired);
        let text = page.text();
        assert!(text.starts_with("error: could not write the summary to /dev/null/"), "{text}");
        assert!(text.contains("\n  caused by: ") && text.contains("\n  hint: "), "{text}");
    }
}
