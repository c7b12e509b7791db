//! The consumer of `trailload watch --dry-run`: evaluates rules on every event, and prints the alerts in the order of time.
//!
//! ```text
//!  worker threads                                               at the end
//!  record ──▶ header ──▶ rules? ──▶ parse ──▶ RuleSet::evaluate ──▶ sort by time ──▶ AlertGate ──▶ print
//! ```
//!
//! Input: the records of a source, and rules. Output: one line of JSON for each alert.
//! Invariant: an event that no rule selects is not parsed. The result does not depend on the order in which events are read.
//! An event that is read twice counts once. Memory is bounded: what exceeds it is sorted in a temporary file.
//! Not here: sending alerts.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    consumer::{
        Consumer, Disposition, LongRecord, Origin, Processed, ReadTotals, RecordProcessor,
        Settlement,
    },
    error::Error,
    run::{self, PipelineConfig, RunOutcome},
    search::{
        SortError, TimeOrder,
        event_sort::EventSort,
        found_event::{ParsedRecord, identity, parse_record},
        record_scan::{MemberRange, ScannedRecord, scan_record},
    },
};
use crate::{
    event::Receipt,
    filter::{
        rule::{ActionReference, AlertGate, Rule, RuleMatch, RuleSet, Verdict},
        time_bounds::event_time,
    },
    normalize::MalformedRecord,
    report::Log,
    source::SkipError,
};

/// Bytes of matches after which a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// Divisor of the memory limit for the matches that are sorted in memory. Twice that is held while they are merged.
const SORT_DIVISOR: u64 = 8;

/// What a dry run reads, and with which rules.
pub struct WatchConfig<W> {
    /// What the run reads.
    pub pipeline: PipelineConfig,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Where alerts are printed to.
    pub output: W,
    /// The folder for temporary files.
    pub temporary_folder: PathBuf,
}

/// A dry run that has ended.
#[derive(Debug)]
pub struct WatchEnd {
    /// How the run ended, or its first error.
    pub outcome: Result<RunOutcome, Error<WatchError>>,
    /// Records that were read.
    pub events: u64,
    /// Matches of rules, before `window`, `threshold` and `first_seen`.
    pub matches: u64,
    /// Alerts that were printed.
    pub alerts: u64,
    /// Records that are too long to be looked at. Each was logged.
    pub too_long: u64,
    /// Rules that could not be evaluated on some events, by number.
    pub failures: BTreeMap<usize, RuleFailures>,
}

/// The events on which a rule could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFailures {
    /// Their number.
    pub events: u64,
    /// The id of one of them; empty if it has none.
    pub event_id: String,
    /// The cause for that event.
    pub cause: String,
}

/// Why a dry run cannot continue.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The output cannot be written, such as to a full disk.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// The matches cannot be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
}

/// A match as it is sorted, followed by a line break and the event.
#[derive(Serialize, Deserialize)]
struct SortedMatch {
    rule: usize,
    time: i64,
    found: RuleMatch,
}

/// An alert as it is printed.
#[derive(Serialize)]
struct Alert<'a> {
    rule: &'a str,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    group: serde_json::Map<String, serde_json::Value>,
    /// Events in the window, this one included.
    events: usize,
    actions: Vec<&'a str>,
    event: &'a RawValue,
}

/// What workers have found.
#[derive(Default)]
pub(super) struct MatchBatch {
    bytes: Vec<u8>,
    /// Time, id and end of each match.
    matches: Vec<(Option<i64>, u128, usize)>,
    failures: BTreeMap<usize, RuleFailures>,
}

/// What all workers share.
struct WatchContext {
    rules: Arc<RuleSet>,
    events: AtomicU64,
    too_long: AtomicU64,
    log: Log,
}

struct WatchConsumer {
    context: Arc<WatchContext>,
    collected: Mutex<Collected>,
}

struct Collected {
    /// `None` once the matches are printed.
    sort: Option<EventSort>,
    matches: u64,
    failures: BTreeMap<usize, RuleFailures>,
}

/// Evaluates the rules on everything that the source lists, and prints the alerts.
pub async fn watch<W: Write + Send + 'static>(config: WatchConfig<W>) -> WatchEnd {
    let WatchConfig { pipeline, rules, mut output, temporary_folder } = config;
    let sort_bytes =
        usize::try_from(pipeline.memory.total_bytes() / SORT_DIVISOR).unwrap_or(usize::MAX);
    let context = Arc::new(WatchContext {
        rules: Arc::clone(&rules),
        events: 0.into(),
        too_long: 0.into(),
        log: pipeline.log.clone(),
    });
    let sort = EventSort::new(TimeOrder::Ascending, None, sort_bytes, &temporary_folder);
    let collected = Collected { sort: Some(sort), matches: 0, failures: BTreeMap::new() };
    let consumer =
        Arc::new(WatchConsumer { context: Arc::clone(&context), collected: Mutex::new(collected) });
    let ended = run::run(pipeline, Arc::clone(&consumer), None).await;
    let mut collected = consumer.lock();
    let printed = match collected.sort.take() {
        Some(sort) => print_alerts(sort, &rules, &mut output),
        None => Ok(0),
    };
    let alerts = *printed.as_ref().unwrap_or(&0);
    WatchEnd {
        outcome: ended
            .outcome
            .and_then(|outcome| printed.map(|_| outcome).map_err(Error::Consumer)),
        events: context.events.load(Relaxed),
        matches: collected.matches,
        alerts,
        too_long: context.too_long.load(Relaxed),
        failures: std::mem::take(&mut collected.failures),
    }
}

/// Prints the alerts among the matches. A reader that closes the pipe ends it.
fn print_alerts(
    sort: EventSort,
    rules: &RuleSet,
    output: &mut impl Write,
) -> Result<u64, WatchError> {
    let mut gate = AlertGate::default();
    let mut alerts = 0;
    sort.for_each(|bytes| {
        let Some((sorted, event)) = split_match(bytes) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(rule) = rules.rules().get(sorted.rule) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(events) = gate.add(sorted.rule, rule, sorted.time, &sorted.found) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut line = serde_json::to_vec(&alert(rule, events, &sorted.found, event))
            .map_err(io::Error::from)?;
        line.push(b'\n');
        match output.write_all(&line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ControlFlow::Break(()));
            }
            written => written?,
        }
        alerts += 1;
        Ok::<_, WatchError>(ControlFlow::Continue(()))
    })?;
    match output.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(alerts),
    }
}

/// Splits a sorted match and its event.
fn split_match(bytes: &[u8]) -> Option<(SortedMatch, &RawValue)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let sorted = serde_json::from_slice(bytes.get(..end)?).ok()?;
    Some((sorted, serde_json::from_slice(bytes.get(end..)?).ok()?))
}

fn alert<'a>(rule: &'a Rule, events: usize, found: &RuleMatch, event: &'a RawValue) -> Alert<'a> {
    let names = rule.grouping.group_by.iter().map(|expression| expression.text().to_owned());
    let values = found.group.as_array().into_iter().flatten().cloned();
    Alert {
        rule: &rule.name,
        severity: rule.severity.name(),
        description: rule.description.as_deref(),
        group: names.zip(values).collect(),
        events,
        actions: rule
            .actions
            .iter()
            .map(|action| match action {
                ActionReference::Named(name) => name.as_str(),
                ActionReference::Inline { kind, .. } => kind.as_str(),
            })
            .collect(),
        event,
    }
}

impl WatchConsumer {
    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer for WatchConsumer {
    type Processor = WatchProcessor;
    type Error = WatchError;

    fn processor(&self) -> WatchProcessor {
        WatchProcessor {
            context: Arc::clone(&self.context),
            batch: MatchBatch::default(),
            members: Vec::new(),
        }
    }

    fn consequence_of_failed_input() -> &'static str {
        "it may contain further alerts"
    }

    async fn settle(&self, batch: MatchBatch) -> Settlement<WatchError> {
        let next = self.lock().add(batch).map(ControlFlow::Continue);
        Settlement { receipt: Receipt::default(), next: next.map_err(WatchError::from) }
    }
}

impl Collected {
    fn add(&mut self, batch: MatchBatch) -> Result<(), SortError> {
        let mut start = 0;
        for (time, id, end) in batch.matches {
            self.matches += 1;
            if let Some(sort) = &mut self.sort {
                sort.add(time, id, batch.bytes.get(start..end).unwrap_or_default())?;
            }
            start = end;
        }
        for (rule, failures) in batch.failures {
            match self.failures.get_mut(&rule) {
                Some(known) => known.events += failures.events,
                None => drop(self.failures.insert(rule, failures)),
            }
        }
        Ok(())
    }
}

/// The part on a worker thread.
struct WatchProcessor {
    context: Arc<WatchContext>,
    batch: MatchBatch,
    members: Vec<MemberRange>,
}

impl WatchProcessor {
    fn examine(
        &mut self,
        record: &[u8],
        scanned: &ScannedRecord<'_>,
    ) -> Result<(), MalformedRecord> {
        let header = &scanned.header;
        if let (Some(source), Some(name)) = (header.event_source, header.event_name)
            && !self.context.rules.has_candidate(source, name)
        {
            return Ok(());
        }
        let ParsedRecord { json, value } = parse_record(record)?;
        let id = identity(header, &json)?;
        let time = event_time(&value).map(jiff::Timestamp::as_millisecond);
        let batch = &mut self.batch;
        self.context.rules.evaluate(&value, |number, rule, verdict| match verdict {
            Verdict::Fires(_) => {
                let sorted = SortedMatch {
                    rule: number,
                    time: time.unwrap_or(i64::MAX),
                    found: rule.match_on(&value),
                };
                // Writing to a Vec does not fail.
                let _ = serde_json::to_writer(&mut batch.bytes, &sorted);
                batch.bytes.push(b'\n');
                batch.bytes.extend_from_slice(&json);
                // The sort drops equal ids, and an event may match several rules.
                let unique = id ^ ((number as u128) << 64 | number as u128);
                batch.matches.push((time, unique, batch.bytes.len()));
            }
            Verdict::Failed(error) => {
                let failures = batch.failures.entry(number).or_insert_with(|| RuleFailures {
                    events: 0,
                    event_id: header.event_id.unwrap_or_default().to_owned(),
                    cause: error.to_string(),
                });
                failures.events += 1;
            }
            Verdict::NoMatch | Verdict::Excepted(_) => {}
        });
        Ok(())
    }
}

impl RecordProcessor for WatchProcessor {
    type Batch = MatchBatch;

    fn process(&mut self, text: &[u8], start: usize, _: Origin) -> Processed {
        let mut members = std::mem::take(&mut self.members);
        let scanned = scan_record(text, start, &mut members);
        self.members = members;
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(SkipError::Incomplete) => return Processed::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                return Processed::Invalid { offset, cause: cause.into() };
            }
        };
        match self.examine(&text[start..scanned.end], &scanned) {
            // No checkpoint waits for a receipt.
            Ok(()) => Processed::Record { end: scanned.end, disposition: Disposition::Settled },
            Err(MalformedRecord { offset, expected }) => Processed::Invalid {
                offset: start + offset,
                cause: format!("expected {expected}").into(),
            },
        }
    }

    fn process_long(&mut self, record: LongRecord<'_>, _: Origin) -> Disposition {
        let LongRecord { input, record, reason } = record;
        self.context
            .log
            .warn(input, format_args!("at byte {}: {reason}; not looked at", record.offset));
        self.context.too_long.fetch_add(1, Relaxed);
        Disposition::Settled
    }

    fn add_totals(&mut self, _: usize, totals: ReadTotals) {
        self.context.events.fetch_add(totals.records, Relaxed);
    }

    fn is_full(&self) -> bool {
        self.batch.bytes.len() >= BATCH_BYTES
    }

    fn take_batch(&mut self) -> Option<MatchBatch> {
        let batch = std::mem::take(&mut self.batch);
        (!batch.matches.is_empty() || !batch.failures.is_empty()).then_some(batch)
    }
}
