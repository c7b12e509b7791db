//! The threads of a run as a whole, without an engine.

use std::{
    io::Cursor,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;

use super::run::{MAX_BLOCKED_DOCUMENTS, PipelineConfig, RunOutcome, count_blocked, start};
use crate::{
    checkpoint::{
        CheckpointEvent, CheckpointReader, CheckpointStore, PartitionOutcome, RetrySelection,
        status::Failures,
    },
    event::{
        Batch, CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent, IndexCount,
        ListingSummary, Partition, Receipt,
    },
    limit::MemoryBudget,
    normalize::{FieldProfile, FieldRegistry, IndexBy, Rules, Settings, TimeRange},
    report::{
        Metrics,
        log::{LogFormat, Verbosity, tests::page},
    },
    shutdown::{ShutdownTrigger, shutdown_channel},
    sink::{Sink, WriteError},
    source::{self, Content, Input, Page, ReservedBytes, Slice, Source, SourceEvent},
};

/// Lists what a test sends it, until the test hangs up.
struct Fed(mpsc::Receiver<SourceEvent>);

impl Source for Fed {
    fn list(
        &mut self,
        found: &mut dyn FnMut(usize, SourceEvent) -> bool,
    ) -> Result<(), source::Error> {
        while let Ok(what) = self.0.recv() {
            if !found(0, what) {
                break;
            }
        }
        Ok(())
    }
}

/// Returns a run of `workers` that waits to be fed.
fn load(workers: usize) -> (PipelineConfig, mpsc::Sender<SourceEvent>, ShutdownTrigger) {
    let (feed, fed) = mpsc::channel();
    let (trigger, shutdown) = shutdown_channel();
    let rules = Arc::new(Rules::embedded().unwrap());
    let load = PipelineConfig {
        source: Box::new(Fed(fed)),
        fields: Arc::new(FieldRegistry::new(rules, FieldProfile::Standard, 5_000)),
        settings: Settings {
            prefix: "cloudtrail".to_owned(),
            index_by: IndexBy::Month,
            range: TimeRange { from: None, to: None },
            keep_original: false,
        },
        workers,
        memory: MemoryBudget::new(256 << 20, 1 << 20, 0),
        metrics: Arc::new(Metrics::new(["fed".to_owned()])),
        log: page(LogFormat::Text, Verbosity::Quiet).0,
        shutdown,
        retry: RetrySelection::Due,
    };
    (load, feed, trigger)
}

/// Returns an input of one record.
fn input(number: u32) -> SourceEvent {
    let record = format!(
        r#"{{"eventVersion":"1.08","eventID":"{number}","eventTime":"2024-06-01T12:00:00Z"}}"#
    );
    SourceEvent::Input(Input {
        lane: Partition { key: format!("test:{number}"), fingerprint: String::new() },
        name: number.to_string(),
        size: record.len() as u64,
        content: Content::Stream(Box::new(Cursor::new(record))),
    })
}

/// Workers took turns to wait for work once, each with the door locked behind it, and the one that had
/// something to hand on waited outside.
#[tokio::test]
async fn an_idle_worker_hands_on_what_it_has_while_the_others_wait() {
    let (load, feed, _raise) = load(8);
    let (_threads, mut outputs) = start(load, Arc::default(), None).unwrap();
    for number in 0..8 {
        feed.send(input(number)).unwrap();
        let product = tokio::time::timeout(Duration::from_secs(5), outputs.recv()).await;
        let batch = product.expect("it came in time").unwrap().batch.unwrap();
        assert_eq!(batch.entries.len(), 1);
    }
}

#[tokio::test]
async fn a_touched_file_is_told_to_the_store() {
    let (load, feed, _raise) = load(1);
    let (_threads, mut outputs) = start(load, Arc::default(), None).unwrap();
    let lane = Partition { key: "file:/a".to_owned(), fingerprint: "1:2:3".to_owned() };
    feed.send(SourceEvent::AlreadyDone { size: 1, touched: None }).unwrap();
    feed.send(SourceEvent::AlreadyDone { size: 1, touched: Some(lane.clone()) }).unwrap();
    drop(feed);
    let product = outputs.recv().await.unwrap();
    assert!(
        matches!(&product.checkpoint_events[..], [CheckpointEvent::Unchanged(told)] if *told == lane)
    );
    assert!(outputs.recv().await.is_none(), "nothing else, and it ends");
}

#[test]
fn too_many_documents_that_are_kept_out_end_a_run() {
    let one = |cause| DeadLetter {
        partition: 0,
        id: "a".to_owned(),
        index: "trail-2024.03".to_owned(),
        cause,
        reason: "closed".to_owned(),
        content: DeadLetterContent::Document(CompressedText::new(b"{}")),
    };
    let mut blocked = MAX_BLOCKED_DOCUMENTS - 1;
    let content = [one(DeadLetterCause::Content), one(DeadLetterCause::Limit)];
    assert!(count_blocked(&mut blocked, &content).is_none());
    assert!(count_blocked(&mut blocked, &[one(DeadLetterCause::Index)]).is_none(), "just enough");
    let error = count_blocked(&mut blocked, &[one(DeadLetterCause::Pipeline)]).unwrap();
    let message = "more than 50,000 documents became dead letters in this run because an index or an ingest pipeline \
                   blocks them; the last one was for index 'trail-2024.03'";
    assert_eq!(error.to_string(), message);
}

/// Takes everything, unless it is to refuse.
#[derive(Default)]
struct Kind {
    ids: Mutex<Vec<String>>,
    /// All buffers, one behind the other.
    body: Mutex<Vec<u8>>,
}

impl Sink for Kind {
    async fn write(&self, batch: Batch) -> Result<Receipt, WriteError> {
        let ids = batch.entries.iter().map(|entry| {
            let action = &batch.body[entry.action as usize..entry.document as usize];
            let action: serde_json::Value = serde_json::from_slice(action).unwrap();
            action["create"]["_id"].as_str().unwrap().to_owned()
        });
        self.ids.lock().unwrap().extend(ids);
        self.body.lock().unwrap().extend_from_slice(&batch.body);
        let created = batch.entries.len() as u64;
        let indices = vec![IndexCount { created, ..IndexCount::default() }];
        Ok(Receipt { shares: batch.shares, indices, ..Receipt::default() })
    }
}

const SERIES: &str = "lookup:111122223333/eu-west-1/management";

fn slice(from: i64, to: i64) -> SourceEvent {
    SourceEvent::SliceStarted(Slice {
        key: format!("{SERIES}/{from}-{to}"),
        name: "111122223333/eu-west-1/management".to_owned(),
        series: SERIES.to_owned(),
        from,
        to,
        sure_until: to,
    })
}

/// A page of the slice from 1000 to 1999, with these events.
fn paged(number: u32, since: i64, events: &[&str]) -> SourceEvent {
    let events: Vec<String> = events
        .iter()
        .map(|id| {
            let record = if *id == "broken" {
                r#"{"eventID":"broken","eventVersion""#.to_owned()
            } else {
                format!(
                    r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-{id:0>12}","eventTime":"2024-06-01T12:00:00Z"}}"#
                )
            };
            serde_json::json!({ "EventId": id, "CloudTrailEvent": record }).to_string()
        })
        .collect();
    let bytes = Bytes::from(format!(r#"{{"Events":[{}]}}"#, events.join(",")));
    let content = ReservedBytes { bytes, permit: None };
    let key = format!("{SERIES}/1000-1999");
    SourceEvent::Page(Page { key, number, content, since: Some(since) })
}

fn over(pages: u32, complete: bool) -> SourceEvent {
    SourceEvent::SliceEnded { key: format!("{SERIES}/1000-1999"), pages, complete }
}

/// JobInput a run left behind.
struct Left {
    coverage: Vec<(i64, i64)>,
    /// The last digits of each event's id, in order.
    ids: Vec<String>,
    failed: usize,
    done: u64,
}

/// Loads what these tell, with the range asked for.
async fn loaded(found: Vec<SourceEvent>, range: TimeRange) -> Left {
    let (mut load, feed, trigger) = load(3);
    load.settings.range = range;
    for what in found {
        feed.send(what).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("safe.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let metrics = Arc::clone(&load.metrics);
    let sink = Arc::new(Kind::default());
    let outcome = super::load(load, Arc::clone(&sink), store, &trigger).await.outcome.unwrap();
    assert_eq!(outcome, RunOutcome::Complete);
    let ids = std::mem::take(&mut *sink.ids.lock().unwrap());
    let mut ids: Vec<String> =
        ids.iter().map(|id| id.rsplit(['-', '0']).next().unwrap().to_owned()).collect();
    ids.sort();
    Left {
        coverage: CheckpointReader::open(&file).unwrap().coverage(SERIES).unwrap(),
        ids,
        failed: metrics.failures().len(),
        done: metrics.sources[0].done.load(Relaxed),
    }
}

const ALWAYS: TimeRange = TimeRange { from: None, to: None };

#[tokio::test]
async fn a_slice_is_covered_once_all_of_its_pages_are_settled() {
    let found = vec![
        slice(1_000, 1_999),
        paged(0, 1_600, &["a", "b"]),
        paged(1, 1_400, &[]),
        paged(2, 1_200, &["c"]),
        over(3, true),
    ];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_000, 1_999)], 0, 1));
    assert_eq!(left.ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_slice_that_is_cut_is_covered_as_far_as_it_came() {
    let found =
        vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), paged(1, 1_400, &["b"]), over(2, false)];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_400, 1_999)], 0, 0));
}

#[tokio::test]
async fn a_broken_event_is_told_and_stops_what_is_covered_before_its_page() {
    let found = vec![
        slice(1_000, 1_999),
        paged(0, 1_600, &["a"]),
        paged(1, 1_400, &["b", "broken", "c"]),
        paged(2, 1_200, &["d"]),
        over(3, true),
    ];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_600, 1_999)], 1, 0));
    assert_eq!(left.ids, ["a", "b", "c", "d"], "what can be read is loaded");
}

/// The event's own time is in June 2024: a range that holds the slice leaves it out by right, as another slice's.
#[tokio::test]
async fn what_a_range_leaves_out_is_not_covered_unless_it_lies_outside_of_the_slice() {
    let found = || vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), over(1, true)];
    let second = |second| Some(Timestamp::from_second(second).unwrap());
    let within = TimeRange { from: second(1_000), to: second(2_000) };
    assert_eq!(loaded(found(), within).await.coverage, [(1_000, 1_999)]);
    let across = TimeRange { from: second(1_500), to: second(2_000) };
    assert_eq!(loaded(found(), across).await.coverage, []);
}

#[tokio::test]
async fn an_object_that_is_lost_is_written_down_and_keeps_its_day_open() {
    let (load, feed, trigger) = load(2);
    let lane =
        |name: &str| Partition { key: format!("s3://b/01/{name}"), fingerprint: "1:e".to_owned() };
    let lost = SourceEvent::Unreadable {
        lane: lane("gone"),
        name: "s3://b/01/gone".to_owned(),
        why: "it is gone".to_owned(),
        size: 5,
    };
    let record =
        r#"{"Records":[{"eventVersion":"1.08","eventID":"1","eventTime":"2024-06-01T12:00:00Z"}]}"#;
    let object = |key: Partition| {
        let held = ReservedBytes { bytes: Bytes::from_static(record.as_bytes()), permit: None };
        let name = key.key.clone();
        SourceEvent::Input(Input { lane: key, name, content: Content::Memory(held), size: 5 })
    };
    let other = Partition { key: "s3://b/02/x".to_owned(), fingerprint: "1:e".to_owned() };
    for what in [lost, object(lane("here")), object(other)] {
        feed.send(what).unwrap();
    }
    for (prefix, inputs) in [("s3://b/01/", 2), ("s3://b/02/", 1)] {
        let listed = ListingSummary { inputs, digest: 5, newest: 0 };
        feed.send(SourceEvent::FolderComplete { prefix: prefix.to_owned(), listed, known: 0 })
            .unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("safe.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let metrics = Arc::clone(&load.metrics);
    let sink = Arc::new(Kind::default());
    super::load(load, sink, store, &trigger).await.outcome.unwrap();
    let reader = CheckpointReader::open(&file).unwrap();
    assert_eq!(reader.complete_folder("s3://b/01/").unwrap(), None);
    assert_eq!(reader.complete_folder("s3://b/02/").unwrap().map(|listed| listed.inputs), Some(1));
    assert_eq!(reader.loaded_fingerprint("s3://b/01/here").unwrap().as_deref(), Some("1:e"));
    let failures = reader.status(Timestamp::UNIX_EPOCH, Failures::All).unwrap().failures;
    assert_eq!((failures.len(), failures[0].cause.as_str()), (1, "it is gone"));
    assert_eq!(metrics.sources[0].failed.load(Relaxed), 1);
    assert_eq!(metrics.sources[0].done.load(Relaxed), 2);
}

/// A page must never meet a ledger that does not know its lane.
#[tokio::test]
async fn the_store_learns_of_a_lane_before_any_of_its_pages() {
    let (load, feed, _raise) = load(4);
    let (_threads, mut outputs) = start(load, Arc::default(), None).unwrap();
    feed.send(slice(1_000, 1_999)).unwrap();
    for number in 0..50 {
        feed.send(paged(number, 1_900 - i64::from(number), &["a"])).unwrap();
    }
    feed.send(over(50, true)).unwrap();
    drop(feed);
    let mut checkpoint_events = Vec::new();
    while let Some(product) = outputs.recv().await {
        checkpoint_events.extend(product.checkpoint_events);
    }
    assert!(
        matches!(&checkpoint_events[0], CheckpointEvent::PartitionOpened { time_slice: Some(span), .. } if span.from == 1_000)
    );
    let pages = checkpoint_events
        .iter()
        .filter(|note| matches!(note, CheckpointEvent::PageRead { documents: 1, .. }))
        .count();
    assert_eq!(pages, 50);
    let ends: Vec<_> = checkpoint_events
        .iter()
        .filter(|note| matches!(note, CheckpointEvent::PartitionEnded { .. }))
        .collect();
    assert!(
        matches!(
            ends[..],
            [CheckpointEvent::PartitionEnded { outcome: PartitionOutcome::Done, pages: 50, .. }]
        ),
        "{ends:?}"
    );
}

#[tokio::test]
async fn what_a_page_says_beside_a_record_goes_with_that_record_only() {
    let (load, feed, trigger) = load(1);
    let record = |id: u8| {
        format!(
            r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-00000000000{id}","eventTime":"2024-06-01T12:00:00Z"}}"#
        )
    };
    let inputs_named = serde_json::json!({
        "Username": "alice", "Resources": [{ "ResourceName": "b" }], "CloudTrailEvent": record(1)
    });
    let bare = serde_json::json!({ "CloudTrailEvent": record(2) });
    let bytes = Bytes::from(format!(r#"{{"Events":[{inputs_named},{bare}]}}"#));
    let page = Page {
        key: format!("{SERIES}/1000-1999"),
        number: 0,
        content: ReservedBytes { bytes, permit: None },
        since: Some(1_000),
    };
    for what in [slice(1_000, 1_999), SourceEvent::Page(page), over(1, true)] {
        feed.send(what).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let store =
        CheckpointStore::open(&folder.path().join("safe.sqlite"), "test", Timestamp::UNIX_EPOCH)
            .unwrap();
    let sink = Arc::new(Kind::default());
    super::load(load, Arc::clone(&sink), store, &trigger).await.outcome.unwrap();
    let body = String::from_utf8(sink.body.lock().unwrap().clone()).unwrap();
    let lookup = r#""trailload":{"lookup":{"username":"alice","resources":[{"name":"b"}]}}"#;
    for line in body.lines().filter(|line| line.contains("@timestamp")) {
        assert_eq!(line.contains(lookup), line.contains("000001\""), "{line}");
        assert_eq!(line.contains("trailload"), line.contains("000001\""), "{line}");
    }
    assert!(body.contains(lookup), "{body}");
}
