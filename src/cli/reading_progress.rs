//! Progress of a command that reads sources and prints or writes what it found.
//!
//! Output: bars on a terminal, and reports of long waits anywhere.

use std::sync::Arc;

use crate::report::{Log, Metrics, Reporter, WaitReporter, log::ProgressMode};

/// Progress that is shown until it is stopped.
pub(in crate::cli) struct ReadingProgress {
    bars: Option<Reporter>,
    waits: Option<WaitReporter>,
}

impl ReadingProgress {
    /// Starts to show progress.
    pub(in crate::cli) fn start(metrics: &Arc<Metrics>, log: &Log) -> Self {
        if log.progress() == ProgressMode::Bars {
            let bars = Some(Reporter::start(Arc::clone(metrics), log.clone()));
            return Self { bars, waits: None };
        }
        // A pipeline of programs needs no progress lines, which would follow every command in a loop.
        Self::waits_only(metrics, log)
    }

    /// Starts to report long waits, without bars: for what has no inputs to count.
    pub(in crate::cli) fn waits_only(metrics: &Arc<Metrics>, log: &Log) -> Self {
        Self { bars: None, waits: Some(WaitReporter::start(metrics.waits.clone(), log.clone())) }
    }

    /// Stops, so that what follows is printed below the bars and not between them.
    pub(in crate::cli) fn stop(&mut self) {
        self.bars = None;
        self.waits = None;
    }
}
