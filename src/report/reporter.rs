//! Shows progress from the start of a run to its summary.
//!
//! Input: the counters. Output: progress bars or lines, reports of long waits, and the last line of the run.
//! Invariant: the progress thread waits on a channel with a timeout, so it ends immediately when the run does.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Log, Metrics, Summary, WaitReporter,
    log::ProgressMode,
    progress_bars::{self, ProgressBars},
    progress_lines::{self, ProgressLines},
};

/// Shows progress until [`finish`](Self::finish), or until it is dropped.
#[derive(Debug)]
pub struct Reporter {
    log: Log,
    started: Instant,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
    waits: Option<WaitReporter>,
}

impl Reporter {
    /// Starts to show progress, in the form that suits the log.
    pub fn start(metrics: Arc<Metrics>, log: Log) -> Self {
        let started = Instant::now();
        let waits = Some(WaitReporter::start(metrics.waits.clone(), log.clone()));
        let thread = spawn(metrics, log.clone(), started);
        Self { log, started, thread, waits }
    }

    /// Returns the time since the start of the run.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Stops showing progress and removes it from the screen.
    pub fn stop(&mut self) {
        self.waits = None;
        if let Some((finish, thread)) = self.thread.take() {
            drop(finish);
            // If the thread panicked, its message was printed, and missing progress is no reason to fail.
            let _ = thread.join();
        }
    }

    /// Stops showing progress and writes the last line of the run.
    pub fn finish(mut self, summary: &Summary) {
        self.stop();
        self.log.event("summary", &summary.to_string(), || summary.fields());
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(
    metrics: Arc<Metrics>,
    log: Log,
    started: Instant,
) -> Option<(Sender<()>, JoinHandle<()>)> {
    if log.progress() == ProgressMode::Off {
        return None;
    }
    let (finish, finished) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("progress".to_owned())
        .spawn(move || show(&metrics, &log, started, &finished))
        // If the thread cannot be started, the run works as well, without progress.
        .ok()?;
    Some((finish, thread))
}

fn show(metrics: &Metrics, log: &Log, started: Instant, finished: &Receiver<()>) {
    match log.bars() {
        Some(screen) if log.progress() == ProgressMode::Bars => {
            let mut bars = ProgressBars::new(screen, log.shown(), metrics);
            while wait_for_tick(finished, progress_bars::INTERVAL) {
                bars.draw(metrics, started.elapsed());
            }
            bars.clear();
        }
        _ => {
            let mut lines = ProgressLines::default();
            while wait_for_tick(finished, progress_lines::INTERVAL) {
                lines.write(log, metrics, started.elapsed());
            }
        }
    }
}

/// Waits for `interval`. Returns `false` immediately when the run ends.
fn wait_for_tick(finished: &Receiver<()>, interval: Duration) -> bool {
    finished.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        log::{LogFormat, Verbosity, tests::page},
        summary::{RunEnd, RunFacts},
    };

    fn summary(metrics: &Metrics) -> Summary {
        let facts = RunFacts { ending: RunEnd::Done, checkpoint: Some("/tmp/c.sqlite".into()) };
        Summary::from_metrics(metrics, Duration::from_secs(1), &facts)
    }

    #[test]
    fn the_summary_is_the_last_line_and_comes_at_once() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let metrics = Arc::new(Metrics::default());
        let reporter = Reporter::start(Arc::clone(&metrics), log.clone());
        log.warn("a.json", "cut off");
        let asked = Instant::now();
        reporter.finish(&summary(&metrics));
        // Far below the interval of lines: finishing does not wait for the next line.
        assert!(asked.elapsed() < progress_lines::INTERVAL / 2);
        let text = page.text();
        assert!(text.lines().last().unwrap().starts_with("done: 0 read = "), "{text}");
    }

    #[test]
    fn quiet_has_no_thread_and_no_last_line() {
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        let metrics = Arc::new(Metrics::default());
        let reporter = Reporter::start(Arc::clone(&metrics), log);
        assert!(reporter.thread.is_none());
        reporter.finish(&summary(&metrics));
        assert_eq!(page.text(), "");
    }
}
