//! Records what a load does in the index `PREFIX-runs`: at its end, and from time to time while it follows its sources or is a
//! function of AWS Lambda.
//!
//! Input: the counters of the run. Output: documents, see [`RunRecord`](crate::report::run_record::RunRecord).
//! Invariant: a load neither fails nor waits long for its own statistics: whether the engine takes them says nothing about the
//! events.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cli::{environment, plan::Plan, runtime},
    error,
    report::{
        Log, Metrics, Summary,
        run_record::{RunCommand, RunRecorder, RunState},
        summary::{RunEnd, RunFacts},
    },
    sink::{Target, write_run},
};

/// Time between records while sources are followed: 50,000 documents a year.
const INTERVAL: Duration = Duration::from_mins(10);

/// The records of a run.
#[derive(Debug)]
pub(in crate::cli) struct RunJournal {
    target: Target,
    recorder: RunRecorder,
    /// When the last record was written.
    recorded: Option<Instant>,
}

impl RunJournal {
    /// Creates the journal of a run into this engine, which starts now.
    pub(in crate::cli) fn new(target: Target, command: RunCommand) -> Self {
        let recorder = RunRecorder::new(command, environment::now());
        Self { target, recorder, recorded: None }
    }

    /// Writes a record of a run that goes on, unless the last one is too new.
    pub(in crate::cli) async fn record_if_due(&mut self, metrics: &Metrics, log: &Log) {
        if self.recorded.is_none_or(|recorded| recorded.elapsed() >= INTERVAL) {
            self.recorded = Some(Instant::now());
            self.record(metrics, log).await;
        }
    }

    /// Writes a record of a run that goes on. What is in flight belongs to the next one.
    async fn record(&mut self, metrics: &Metrics, log: &Log) {
        let facts = RunFacts { ending: RunEnd::Stopped, checkpoint: None };
        let summary = Summary::from_metrics(metrics, INTERVAL, &facts);
        self.write(&summary, RunState::Following, log).await;
    }

    /// Waits for the end of a load, and writes a record at every interval until then.
    pub(super) async fn record_while<T>(
        &mut self,
        loading: impl Future<Output = T>,
        metrics: &Metrics,
        log: &Log,
    ) -> T {
        let mut loading = Box::pin(loading);
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                end = &mut loading => return end,
                _ = ticks.tick() => {
                    // Writing must not hold up the load, which the same task drives.
                    tokio::select! {
                        end = &mut loading => return end,
                        () = self.record(metrics, log) => {}
                    }
                }
            }
        }
    }

    /// Writes the last record of the run.
    pub(super) fn finish(mut self, plan: &Plan, summary: &Summary, log: &Log) {
        // Without a runtime there is no record.
        let _ = runtime::block_on(&plan.sources, self.write(summary, RunState::Ended, log));
    }

    async fn write(&mut self, summary: &Summary, state: RunState, log: &Log) {
        let record = self.recorder.record(summary, state, environment::now());
        let Ok(document) = serde_json::to_vec(&record) else { return };
        if let Err(error) = write_run(self.target.clone(), &record.id(), document.into()).await {
            let causes: Vec<String> = error::chain(&error).map(ToString::to_string).collect();
            log.debug("runs", causes.join(": "));
        }
    }
}
