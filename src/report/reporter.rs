//! The one thread that shows progress, from the start of a run to its last line.
//!
//! It waits on a channel with a time limit: it draws when the time is up, and ends at once when
//! the run does.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Log, Summary, Tally, WaitTeller,
    bar::{self, Bars},
    lines::{self, Lines},
    log::Progress,
};

/// Shows progress until [`finish`](Self::finish), or until it is dropped.
#[derive(Debug)]
pub struct Reporter {
    log: Log,
    started: Instant,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
    waits: Option<WaitTeller>,
}

impl Reporter {
    /// Starts to show the counters in the way that suits the log.
    pub fn start(tally: Arc<Tally>, log: Log) -> Self {
        let started = Instant::now();
        let waits = Some(WaitTeller::start(tally.waits.clone(), log.clone()));
        let thread = spawn(tally, log.clone(), started);
        Self { log, started, thread, waits }
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes progress off the screen, so that what follows stands alone.
    pub fn stop(&mut self) {
        self.waits = None;
        if let Some((finish, thread)) = self.thread.take() {
            drop(finish);
            // A thread that panicked has said so already, and progress is no reason to fail.
            let _ = thread.join();
        }
    }

    /// Ends progress and writes the last line of the run.
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

fn spawn(tally: Arc<Tally>, log: Log, started: Instant) -> Option<(Sender<()>, JoinHandle<()>)> {
    if log.progress() == Progress::Nothing {
        return None;
    }
    let (finish, finished) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("progress".to_owned())
        .spawn(move || show(&tally, &log, started, &finished))
        // Without a thread the run is as good, only silent.
        .ok()?;
    Some((finish, thread))
}

fn show(tally: &Tally, log: &Log, started: Instant, finished: &Receiver<()>) {
    match log.bars() {
        Some(screen) if log.progress() == Progress::Bars => {
            let mut bars = Bars::new(screen, log.shown(), tally);
            while goes_on(finished, bar::INTERVAL) {
                bars.draw(tally, started.elapsed());
            }
            bars.clear();
        }
        _ => {
            let mut lines = Lines::default();
            while goes_on(finished, lines::INTERVAL) {
                lines.write(log, tally, started.elapsed());
            }
        }
    }
}

/// Waits for `interval`; returns false at once when the run is over.
fn goes_on(finished: &Receiver<()>, interval: Duration) -> bool {
    finished.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        log::{Format, Verbosity, tests::page},
        summary::{Ending, Facts},
    };

    fn summary(tally: &Tally) -> Summary {
        let facts = Facts { ending: Ending::Done, checkpoint: Some("/tmp/c.sqlite".into()) };
        Summary::of(tally, Duration::from_secs(1), &facts)
    }

    #[test]
    fn the_summary_is_the_last_line_and_comes_at_once() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        let tally = Arc::new(Tally::default());
        let reporter = Reporter::start(Arc::clone(&tally), log.clone());
        log.warn("a.json", "cut off");
        let asked = Instant::now();
        reporter.finish(&summary(&tally));
        // Far below the interval of lines: finishing does not wait for the next one.
        assert!(asked.elapsed() < lines::INTERVAL / 2);
        let text = page.text();
        assert!(text.lines().last().unwrap().starts_with("done: 0 read = "), "{text}");
    }

    #[test]
    fn quiet_has_no_thread_and_no_last_line() {
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        let tally = Arc::new(Tally::default());
        let reporter = Reporter::start(Arc::clone(&tally), log);
        assert!(reporter.thread.is_none());
        reporter.finish(&summary(&tally));
        assert_eq!(page.text(), "");
    }
}
