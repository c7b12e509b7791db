//! The pipeline as a whole, with a fake source and a consumer that counts records.

mod results;

use std::{
    convert::Infallible,
    io::Cursor,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
};

use jiff::Timestamp;

use super::{
    PipelineConfig, RunOutcome,
    consumer::{
        Consumer, Disposition, InputEnd, LongRecord, Origin, Processed, RecordProcessor,
        Settlement, Shares, whole_record,
    },
    run,
};
use crate::{
    checkpoint::{CheckpointEvent, CheckpointReader, CheckpointStore},
    event::Partition,
    limit::MemoryBudget,
    normalize::TimeRange,
    report::{
        Metrics,
        log::{LogFormat, Verbosity, tests::page},
    },
    shutdown::{ShutdownLevel, ShutdownSignal, shutdown_channel},
    source::{
        Content, EventSender, Input, LookupPage, Page, Slice, Source, SourceEvent, SourceRun,
        lookup::page::LookupEvent,
    },
};

pub(super) const ALWAYS: TimeRange = TimeRange { from: None, to: None };

/// Lists what a test sends, until the test drops the sender.
struct ChannelSource(mpsc::Receiver<SourceEvent>);

impl Source for ChannelSource {
    fn run(self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        let feed = tokio::task::spawn_blocking(move || {
            let mut out = out.into_blocking();
            while let Ok(event) = self.0.recv() {
                if out.send(0, event).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        });
        Box::pin(async move {
            feed.await.unwrap();
            Ok(())
        })
    }
}

/// Returns a run of `workers` and the sender of what its source lists.
pub(super) fn pipeline(workers: usize) -> (PipelineConfig, mpsc::Sender<SourceEvent>) {
    let (feed, events) = mpsc::channel();
    let (trigger, shutdown) = shutdown_channel();
    let config = PipelineConfig {
        source: Box::new(ChannelSource(events)),
        range: ALWAYS,
        workers,
        memory: MemoryBudget::new(256 << 20, 1 << 20, 0),
        metrics: Arc::new(Metrics::new(["channel".to_owned()])),
        log: page(LogFormat::Text, Verbosity::Quiet).0,
        shutdown,
        trigger,
    };
    (config, feed)
}

/// Returns an input of one record.
pub(super) fn input(number: u32) -> SourceEvent {
    let record = format!(
        r#"{{"eventVersion":"1.08","eventID":"{number}","eventTime":"2024-06-01T12:00:00Z"}}"#
    );
    SourceEvent::Input(Input {
        partition: Partition { key: format!("test:{number}"), fingerprint: String::new() },
        name: number.to_string(),
        size: record.len() as u64,
        content: Content::Stream(Box::new(Cursor::new(record))),
        result: None,
    })
}

pub(super) const SERIES: &str = "lookup:111122223333/eu-west-1/management";

pub(super) fn slice(from: i64, to: i64) -> SourceEvent {
    SourceEvent::SliceStarted(Slice {
        key: format!("{SERIES}/{from}-{to}"),
        name: "111122223333/eu-west-1/management".to_owned(),
        series: SERIES.to_owned(),
        from,
        to,
        complete_until: Some(to),
        result: None,
    })
}

/// A page of the slice from 1000 to 1999, with these events.
pub(super) fn paged(number: u32, since: i64, events: &[&str]) -> SourceEvent {
    let events = events
        .iter()
        .map(|id| {
            let record = if *id == "broken" {
                r#"{"eventID":"broken","eventVersion""#.to_owned()
            } else {
                format!(
                    r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-{id:0>12}","eventTime":"2024-06-01T12:00:00Z"}}"#
                )
            };
            LookupEvent {
                id: Some((*id).to_owned()),
                record: Some(record),
                ..LookupEvent::default()
            }
        })
        .collect();
    let content = LookupPage { events, permit: None };
    let key = format!("{SERIES}/1000-1999");
    SourceEvent::Page(Page { key, number, content, since: Some(since) })
}

pub(super) fn over(pages: u32, complete: bool) -> SourceEvent {
    SourceEvent::SliceEnded { key: format!("{SERIES}/1000-1999"), pages, complete }
}

/// Counts records, and needs no more than `enough` of them.
struct Counter {
    enough: u64,
    records: AtomicU64,
    seen: Arc<Mutex<Seen>>,
}

/// What the processors of a [`Counter`] were told.
#[derive(Default)]
struct Seen {
    /// The source number, partition and page of each record, with its text.
    records: Vec<(Origin, String)>,
    started: Vec<String>,
    ended: Vec<(Origin, InputEnd)>,
    opened: u64,
}

/// The worker's part of a [`Counter`]: a batch for each record.
struct CountingProcessor {
    seen: Arc<Mutex<Seen>>,
    shares: Shares,
    records: u64,
}

impl Counter {
    fn new(enough: u64) -> Arc<Self> {
        Arc::new(Self { enough, records: AtomicU64::new(0), seen: Arc::default() })
    }
}

impl Consumer for Counter {
    type Processor = CountingProcessor;
    type Error = Infallible;

    fn processor(&self) -> CountingProcessor {
        let seen = Arc::clone(&self.seen);
        CountingProcessor { seen, shares: Shares::default(), records: 0 }
    }

    async fn settle(&self, (shares, records): (Shares, u64)) -> Settlement<Infallible> {
        let all = self.records.fetch_add(records, Relaxed) + records;
        let is_enough = all >= self.enough;
        let next = if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Settlement::new(shares, next)
    }

    fn on_progress(&self, event: &CheckpointEvent) {
        if matches!(event, CheckpointEvent::PartitionOpened { .. }) {
            self.seen.lock().unwrap().opened += 1;
        }
    }
}

impl RecordProcessor for CountingProcessor {
    type Batch = (Shares, u64);

    fn process(&mut self, text: &[u8], start: usize, origin: Origin) -> Processed {
        let record = match whole_record(text, start) {
            Ok(record) => record,
            Err(unprocessed) => return unprocessed,
        };
        let mut seen = self.seen.lock().unwrap();
        seen.records.push((origin, String::from_utf8(record.to_vec()).unwrap()));
        self.shares.add(origin);
        self.records += 1;
        Processed::Record { end: start + record.len(), disposition: Disposition::Pending }
    }

    fn process_long(&mut self, _: LongRecord<'_>, _: Origin) -> Disposition {
        Disposition::Settled
    }

    fn start_input(&mut self, _: Origin, name: &str) {
        self.seen.lock().unwrap().started.push(name.to_owned());
    }

    fn end_input(&mut self, origin: Origin, end: InputEnd) {
        self.seen.lock().unwrap().ended.push((origin, end));
    }

    fn is_full(&self) -> bool {
        self.records > 0
    }

    fn take_batch(&mut self) -> Option<(Shares, u64)> {
        if self.records == 0 {
            return None;
        }
        Some((std::mem::take(&mut self.shares), std::mem::take(&mut self.records)))
    }
}

#[tokio::test]
async fn a_consumer_without_a_checkpoint_gets_every_record_with_its_origin() {
    let (config, feed) = pipeline(3);
    for number in 0..10 {
        feed.send(input(number)).unwrap();
    }
    drop(feed);
    let counter = Counter::new(u64::MAX);
    let end = run::run(config, Arc::clone(&counter), None).await;
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
    assert!(end.store.is_none());
    let mut seen = counter.seen.lock().unwrap();
    seen.records.sort_by_key(|(origin, _)| origin.partition);
    for (number, (origin, text)) in (0..).zip(&seen.records) {
        let expected = Origin { source_number: 0, partition: number, page: 0 };
        assert_eq!(*origin, expected);
        assert!(text.starts_with('{') && text.contains(&format!("\"eventID\":\"{number}\"")));
    }
    assert_eq!((seen.records.len(), seen.started.len(), seen.opened), (10, 10, 10));
    assert!(seen.ended.iter().all(|(_, end)| *end == InputEnd::Complete));
    assert_eq!(seen.ended.len(), 10);
}

#[tokio::test]
async fn a_consumer_ends_the_run_when_it_has_enough() {
    let (config, feed) = pipeline(2);
    let shutdown = config.shutdown.clone();
    for number in 0..200 {
        feed.send(input(number)).unwrap();
    }
    // The sender stays open: only the consumer can end the run.
    let counter = Counter::new(5);
    let run = run::run(config, Arc::clone(&counter), None);
    let hang_up = async {
        shutdown.reached(ShutdownLevel::Draining).await;
        drop(feed);
    };
    let (end, ()) = tokio::join!(run, hang_up);
    assert_eq!(end.outcome.unwrap(), RunOutcome::Satisfied);
    let settled = counter.records.load(Relaxed);
    assert!((5..200).contains(&settled), "{settled}");
}

#[tokio::test]
async fn receipts_of_any_consumer_advance_the_checkpoint() {
    let (config, feed) = pipeline(2);
    for event in
        [slice(1_000, 1_999), paged(0, 1_600, &["a", "b"]), paged(1, 1_400, &["c"]), over(2, true)]
    {
        feed.send(event).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watch.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let counter = Counter::new(u64::MAX);
    let end = run::run(config, Arc::clone(&counter), Some(store)).await;
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
    drop(end.store);
    let coverage = CheckpointReader::open(&file).unwrap().coverage(SERIES).unwrap();
    assert_eq!(coverage, [(1_000, 1_999)]);
    assert_eq!(counter.records.load(Relaxed), 3);
    let seen = counter.seen.lock().unwrap();
    let mut pages: Vec<u32> = seen.records.iter().map(|(origin, _)| origin.page).collect();
    pages.sort_unstable();
    assert_eq!(pages, [0, 0, 1]);
    assert_eq!(seen.opened, 1);
}
