//! The consumer of `trailload watch --dry-run`: evaluates rules on every event, and hands over the alerts in the order of time.
//!
//! ```text
//!  worker threads                        at the end
//!  record ──▶ RuleEvaluator ──matches──▶ sort by time ──▶ AlertGate ──▶ on_alert
//! ```
//!
//! Input: the records of a source, and rules. Output: a call for each alert.
//! Invariant: the result does not depend on the order in which events are read. An event that is read twice counts once. Memory is
//! bounded: what exceeds it is sorted in a temporary file.
//! Not here: sending alerts, and a memory beyond the run.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::context::{InputReport, WatchContext};
use crate::{
    event::{NewMatch, Receipt},
    filter::rule::{AlertGate, RuleMatch, RuleSet},
    pipeline::{
        alert::evaluator::{Evaluated, MatchedEvent, RuleEvaluator, RuleFailures},
        consumer::{
            Consumer, Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor,
            Settlement,
        },
        error::Error,
        run::{self, PipelineConfig, RunOutcome},
        search::{SortError, TimeOrder, event_sort::EventSort},
    },
    source::EnvelopeMember,
};

/// Bytes of matches after which a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// Divisor of the memory limit for the matches that are sorted in memory. Twice that is held while they are merged.
const SORT_DIVISOR: u64 = 8;

/// What a dry run reads, and with which rules.
pub struct DryRunConfig<F> {
    /// What the run reads.
    pub pipeline: PipelineConfig,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Called with the match of each alert and the number of events in its window. Ends the run when it returns `Break`.
    pub on_alert: F,
    /// The folder for temporary files.
    pub temporary_folder: PathBuf,
}

/// A dry run that has ended.
#[derive(Debug)]
pub struct DryRunEnd {
    /// How the run ended, or its first error.
    pub outcome: Result<RunOutcome, Error<DryRunError>>,
    /// What was read.
    pub input: InputReport,
    /// Matches of rules, before `window`, `threshold` and `first_seen`.
    pub matches: u64,
    /// Alerts that were handed over.
    pub alerts: u64,
}

/// Why a dry run cannot continue.
#[derive(Debug, Error)]
pub enum DryRunError {
    /// The output cannot be written, such as to a full disk.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// The matches cannot be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
}

/// An event on which rules fire as it is sorted, followed by a line break and the event itself.
#[derive(Serialize, Deserialize)]
struct SortedEvent<'e> {
    time: Option<i64>,
    event_id: Cow<'e, str>,
    /// The numbers of the rules, and their matches.
    matches: Vec<(usize, RuleMatch)>,
}

/// An event in a [`SortBatch`].
#[derive(Clone, Copy)]
struct BatchEvent {
    time: Option<i64>,
    id: u128,
    /// The number of rules that fire on it.
    matches: u64,
    /// Offset behind its bytes.
    end: usize,
}

/// What workers have found.
#[derive(Default)]
pub(in crate::pipeline) struct SortBatch {
    bytes: Vec<u8>,
    events: Vec<BatchEvent>,
    failures: BTreeMap<usize, RuleFailures>,
    /// The earliest event time that was evaluated.
    evaluated_from: Option<i64>,
}

struct DryRunConsumer {
    context: Arc<WatchContext>,
    collected: Mutex<Collected>,
}

struct Collected {
    /// `None` once the matches are handed over.
    sort: Option<EventSort>,
    matches: u64,
    /// The earliest event time that was evaluated, where learning periods start.
    evaluated_from: Option<i64>,
}

/// Evaluates the rules on everything that the source lists, and hands over the alerts.
pub async fn dry_run<F>(config: DryRunConfig<F>) -> DryRunEnd
where
    F: FnMut(&NewMatch, u64) -> io::Result<ControlFlow<()>>,
{
    let DryRunConfig { pipeline, rules, on_alert, temporary_folder } = config;
    let sort_bytes =
        usize::try_from(pipeline.memory.total_bytes() / SORT_DIVISOR).unwrap_or(usize::MAX);
    let evaluated_from = pipeline.range.from.map(jiff::Timestamp::as_millisecond);
    let context = Arc::new(WatchContext::new(&pipeline, Arc::clone(&rules)));
    let sort = EventSort::new(TimeOrder::Ascending, None, sort_bytes, &temporary_folder);
    let collected = Mutex::new(Collected { sort: Some(sort), matches: 0, evaluated_from });
    let consumer = Arc::new(DryRunConsumer { context: Arc::clone(&context), collected });
    let ended = run::run(pipeline, Arc::clone(&consumer), None).await;
    let mut collected = consumer.lock();
    let handed_over = match collected.sort.take() {
        Some(sort) => {
            let gate = AlertGate::starting_at(collected.evaluated_from);
            hand_over(sort, &rules, gate, on_alert)
        }
        None => Ok(0),
    };
    let alerts = *handed_over.as_ref().unwrap_or(&0);
    DryRunEnd {
        outcome: ended
            .outcome
            .and_then(|outcome| handed_over.map(|_| outcome).map_err(Error::Consumer)),
        input: context.take_report(),
        matches: collected.matches,
        alerts,
    }
}

/// Hands over the alerts among the matches.
fn hand_over<F>(
    sort: EventSort,
    rules: &RuleSet,
    mut gate: AlertGate,
    mut on_alert: F,
) -> Result<u64, DryRunError>
where
    F: FnMut(&NewMatch, u64) -> io::Result<ControlFlow<()>>,
{
    let mut alerts = 0;
    sort.for_each(|bytes| {
        let Some((sorted, event)) = split_event(bytes) else {
            return Ok(ControlFlow::Continue(()));
        };
        let SortedEvent { time, event_id, matches } = sorted;
        let event = Bytes::copy_from_slice(event);
        for (number, found) in matches {
            let Some(rule) = rules.rules().get(number) else { continue };
            // Events without a time are the last ones.
            let Some(events) = gate.add(number, rule, time.unwrap_or(i64::MAX), &found) else {
                continue;
            };
            let RuleMatch { group, combination } = found;
            let raised = NewMatch {
                rule: number,
                group,
                combination,
                time,
                evaluated_from: None,
                event_id: event_id.clone().into_owned(),
                event: event.clone(),
            };
            alerts += 1;
            if on_alert(&raised, events as u64)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok::<_, DryRunError>(ControlFlow::Continue(()))
    })?;
    Ok(alerts)
}

/// Splits what was sorted of an event, and the event.
fn split_event(bytes: &[u8]) -> Option<(SortedEvent<'_>, &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let sorted = serde_json::from_slice(bytes.get(..end)?).ok()?;
    Some((sorted, bytes.get(end + 1..)?))
}

impl DryRunConsumer {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer for DryRunConsumer {
    type Processor = DryRunProcessor;
    type Error = DryRunError;

    fn processor(&self) -> DryRunProcessor {
        DryRunProcessor {
            evaluator: self.context.evaluator(),
            context: Arc::clone(&self.context),
            batch: SortBatch::default(),
            input: String::new(),
        }
    }

    fn consequence_of_failed_input() -> &'static str {
        "it may contain further alerts"
    }

    async fn settle(&self, mut batch: SortBatch) -> Settlement<DryRunError> {
        self.context.add_failures(std::mem::take(&mut batch.failures));
        let next = self.lock().add(&batch).map(ControlFlow::Continue);
        Settlement { receipt: Receipt::default(), next: next.map_err(DryRunError::from) }
    }
}

impl Collected {
    fn add(&mut self, batch: &SortBatch) -> Result<(), SortError> {
        self.evaluated_from = self.evaluated_from.into_iter().chain(batch.evaluated_from).min();
        let mut start = 0;
        for BatchEvent { time, id, matches, end } in batch.events.iter().copied() {
            self.matches += matches;
            if let Some(sort) = &mut self.sort {
                sort.add(time, id, batch.bytes.get(start..end).unwrap_or_default())?;
            }
            start = end;
        }
        Ok(())
    }
}

impl SortBatch {
    fn add(&mut self, event: MatchedEvent<'_>) {
        let MatchedEvent { matches, time, evaluated_from, id, event_id, json } = event;
        self.evaluated_from = self.evaluated_from.into_iter().chain(evaluated_from).min();
        let count = matches.len() as u64;
        let sorted = SortedEvent { time, event_id, matches };
        // Writing to a Vec does not fail.
        let _ = serde_json::to_writer(&mut self.bytes, &sorted);
        self.bytes.push(b'\n');
        self.bytes.extend_from_slice(&json);
        self.events.push(BatchEvent { time, id, matches: count, end: self.bytes.len() });
    }
}

/// The part on a worker thread.
struct DryRunProcessor {
    context: Arc<WatchContext>,
    evaluator: RuleEvaluator,
    batch: SortBatch,
    /// The name of the input.
    input: String,
}

impl RecordProcessor for DryRunProcessor {
    type Batch = SortBatch;

    fn process(&mut self, text: &[u8], start: usize, _: Origin) -> Processed {
        let batch = &mut self.batch;
        match self.evaluator.evaluate(text, start, |event| batch.add(event)) {
            Ok((end, evaluated)) => {
                if evaluated == Evaluated::TooLarge {
                    self.context.report_too_large(&self.input, end - start);
                }
                // No checkpoint waits for a receipt.
                Processed::Record { end, disposition: evaluated.disposition() }
            }
            Err(unevaluated) => unevaluated.into(),
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _: Origin) -> Disposition {
        self.context.report_too_long(&record);
        Disposition::Settled
    }

    fn start_input(&mut self, _origin: Origin, name: &str) {
        name.clone_into(&mut self.input);
    }

    fn reads_eventbridge_envelopes(&self) -> bool {
        true
    }

    fn set_eventbridge_envelope(&mut self, members: Option<&[EnvelopeMember<'_>]>) {
        self.evaluator.set_envelope(members);
    }

    fn add_totals(&mut self, _: usize, totals: ReadTotals) {
        self.context.add_events(totals.records);
    }

    fn is_full(&self) -> bool {
        self.batch.bytes.len() >= BATCH_BYTES
    }

    fn take_batch(&mut self) -> Option<SortBatch> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.failures = self.evaluator.take_failures();
        (!batch.events.is_empty() || !batch.failures.is_empty()).then_some(batch)
    }
}
