//! Runs the plan of a page: reads, writes the page, and reports the end.
//!
//! Input: a [`PagePlan`]. Output: the page, the last line on standard error, the exit code.
//! Invariant: the page is written once everything was counted; a run that was stopped or failed leaves the file as it was.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Map;

use super::{
    engine,
    filling::{Filled, PageRun},
    plan::{PageOrigin, PagePlan},
    sources,
};
use crate::{
    cli::{
        exit::{Exit, SearchEnding, SearchReport},
        failure::Failure,
        reading_progress::ReadingProgress,
        run_scope::RunScope,
        runtime,
        signals::ShutdownMessages,
    },
    dashboard::{Dashboards, Page},
    report::{Log, Metrics, format},
};

/// What the command reports about its shutdown.
const SHUTDOWN_MESSAGES: ShutdownMessages = ShutdownMessages {
    draining: "stopping; signal again to exit at once",
    abandoning: "abandoning requests without a response",
    exiting: "exiting at once",
    timed_out: "exiting although an operation has not finished",
};

/// Runs a plan, and returns the exit code.
///
/// # Errors
///
/// Returns a [`Failure`] if nothing can be read, or the page cannot be written.
pub(super) fn execute(
    plan: &PagePlan,
    dashboards: &'static Dashboards,
    log: &Log,
) -> Result<Exit, Failure> {
    plan.target.check()?;
    let started = Instant::now();
    let sources = plan.sources();
    let metrics = Arc::new(Metrics::new(sources.names.clone()));
    let mut progress = match plan.origin {
        PageOrigin::Sources(_) => ReadingProgress::start(&metrics, log),
        PageOrigin::Engine(_) => ReadingProgress::waits_only(&metrics, log),
    };
    let filled = runtime::block_on(&sources, fill(plan, dashboards, &metrics, log));
    progress.stop();
    let Some(filled) = filled?? else {
        log.warn("dashboards", format_args!("stopped: {} is not written", plan.target.name()));
        return Ok(Exit::StoppedEarly);
    };
    let report = SearchReport {
        ending: SearchEnding::Complete,
        failures: Vec::new(),
        found: filled.data.iter().map(|data| data.documents).sum(),
        failed_inputs: filled.notes.missing.len() as u64,
        sources_without_events: 0,
    };
    let exit = Exit::of_search(&report);
    let line = SummaryLine::new(plan, &filled);
    let page = page(plan, dashboards, filled);
    plan.target.write(&page.to_html())?;
    line.log(exit, started.elapsed(), &metrics, log);
    Ok(exit)
}

/// Counts events, or asks the engine. Returns `None` if it was stopped.
async fn fill(
    plan: &PagePlan,
    dashboards: &'static Dashboards,
    metrics: &Arc<Metrics>,
    log: &Log,
) -> Result<Option<Filled>, Failure> {
    let scope = RunScope::start(log, SHUTDOWN_MESSAGES)?;
    let run = PageRun { plan, dashboards, metrics, log, scope: &scope };
    let filled = match &plan.origin {
        PageOrigin::Sources(list) => sources::fill(run, list).await,
        PageOrigin::Engine(endpoint) => engine::fill(run, endpoint).await,
    };
    scope.end(filled).await
}

fn page(plan: &PagePlan, dashboards: &'static Dashboards, filled: Filled) -> Page<'static> {
    let Filled { source, data, answers, notes } = filled;
    let created = u64::try_from(plan.now.as_second()).unwrap_or_default();
    Page {
        dashboards,
        source,
        created: Duration::from_secs(created),
        data,
        answers,
        notes: notes.into_texts(),
    }
}

/// The last line of a run.
struct SummaryLine {
    file: String,
    address: Option<String>,
    events: u64,
    range: Option<(i64, i64)>,
    panels: usize,
    notes: usize,
}

impl SummaryLine {
    fn new(plan: &PagePlan, filled: &Filled) -> Self {
        let events = filled.events();
        Self {
            file: plan.target.name(),
            address: plan.target.address(),
            events: events.map_or(0, |data| data.documents),
            range: events.and_then(|data| data.range),
            panels: filled.answers.len(),
            notes: filled.notes.missing.len(),
        }
    }

    fn log(&self, exit: Exit, elapsed: Duration, metrics: &Metrics, log: &Log) {
        log.event("summary", &self.text(elapsed), || {
            let mut fields = Map::new();
            fields.insert("file".into(), self.file.as_str().into());
            for (name, number) in [
                ("events", self.events),
                ("panels", self.panels as u64),
                ("incomplete", self.notes as u64),
                ("failed_inputs", metrics.sources_failed.load(Relaxed)),
            ] {
                fields.insert(name.into(), number.into());
            }
            fields.insert("seconds".into(), elapsed.as_secs_f64().into());
            fields.insert("exit".into(), exit.code().into());
            fields
        });
    }

    fn text(&self, elapsed: Duration) -> String {
        let (file, elapsed) = (&self.file, format::duration(elapsed));
        let shown = match self.range {
            None => "no events".to_owned(),
            Some((first, last)) => {
                let (events, panels) = (
                    format::plural(self.events, "event"),
                    format::plural(self.panels as u64, "panel"),
                );
                format!("{events} from {} to {} in {panels}", day(first), day(last))
            }
        };
        let open = self.address.as_ref().map(|address| format!("; to open it: {address}"));
        let missing = if self.notes > 0 { "; incomplete: see the notes on it" } else { "" };
        format!("wrote {file}: {shown}, {elapsed}{missing}{}", open.unwrap_or_default())
    }
}

fn day(milliseconds: i64) -> String {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.strftime("%Y-%m-%d").to_string()
}
