//! A load as a whole, with a fake source and a fake sink.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;

use super::{
    LoadConfig,
    consumer::{LoadConsumer, MAX_BLOCKED_DOCUMENTS, count_blocked},
    processor::LoadBatch,
};
use crate::{
    checkpoint::{
        CheckpointEvent, CheckpointReader, CheckpointStore, PartitionOutcome, RetrySelection,
        status::Failures,
    },
    event::{
        Batch, CompressedText, DeadLetter, DeadLetterCause, DeadLetterContent, IndexCount,
        ListingSummary, Partition, Receipt,
    },
    normalize::{FieldProfile, FieldRegistry, IndexBy, KeptFrom, Rules, Settings, TimeRange},
    pipeline::{
        RunOutcome,
        job::WorkerOutput,
        run::{Threads, start_threads},
        tests::{ALWAYS, SERIES, input, over, paged, pipeline, slice},
    },
    sink::{Sink, WriteError},
    source::{
        Content, Input, LookupPage, Page, ReservedBytes, SourceEvent, lookup::page::LookupEvent,
    },
};

/// Returns a load of `workers` and the sender of what its source lists.
fn config(workers: usize) -> (LoadConfig, mpsc::Sender<SourceEvent>) {
    let (pipeline, feed) = pipeline(workers);
    let rules = Arc::new(Rules::embedded().unwrap());
    let config = LoadConfig {
        pipeline,
        fields: Arc::new(FieldRegistry::new(rules, FieldProfile::Standard, 5_000)),
        settings: Settings {
            prefix: "cloudtrail".to_owned(),
            index_by: IndexBy::Month,
            range: ALWAYS,
            kept_from: KeptFrom::default(),
            keep_original: false,
        },
        retry: RetrySelection::Due,
        alerts: None,
    };
    (config, feed)
}

/// Starts the threads of a load without a coordinator.
fn start_load(config: LoadConfig) -> (Threads, Receiver<WorkerOutput<LoadBatch>>) {
    let sink = Arc::new(FakeSink::default());
    let consumer = Arc::new(LoadConsumer::new(sink, config.context()));
    start_threads(config.pipeline, consumer).unwrap()
}

/// A regression test: a worker once held a lock while it waited for jobs, so another one could not flush its batch.
#[tokio::test]
async fn an_idle_worker_flushes_its_batch_while_the_others_wait() {
    let (load, feed) = config(8);
    let (_threads, mut outputs) = start_load(load);
    for number in 0..8 {
        feed.send(input(number)).unwrap();
        let output = tokio::time::timeout(Duration::from_secs(5), outputs.recv()).await;
        let batch = output.expect("it came in time").unwrap().batch.unwrap();
        assert_eq!(batch.documents.entries.len(), 1);
    }
}

#[tokio::test]
async fn a_touched_file_goes_to_the_checkpoint() {
    let (load, feed) = config(1);
    let (_threads, mut outputs) = start_load(load);
    let touched = Partition { key: "file:/a".to_owned(), fingerprint: "1:2:3".to_owned() };
    feed.send(SourceEvent::AlreadyDone { size: 1, touched: None, is_foreign: false }).unwrap();
    feed.send(SourceEvent::AlreadyDone {
        size: 1,
        touched: Some(touched.clone()),
        is_foreign: false,
    })
    .unwrap();
    drop(feed);
    let output = outputs.recv().await.unwrap();
    assert!(
        matches!(&output.checkpoint_events[..], [CheckpointEvent::Unchanged(partition)] if *partition == touched)
    );
    assert!(outputs.recv().await.is_none(), "nothing else, and it ends");
}

#[test]
fn too_many_blocked_documents_end_a_run() {
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

/// Accepts every document.
#[derive(Default)]
struct FakeSink {
    ids: Mutex<Vec<String>>,
    /// All bodies, concatenated.
    body: Mutex<Vec<u8>>,
}

impl Sink for FakeSink {
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

/// What a run left behind.
struct Left {
    coverage: Vec<(i64, i64)>,
    /// The last digits of each event's id, in order.
    ids: Vec<String>,
    failed: usize,
    done: u64,
}

/// Loads what a source lists, in a time range.
async fn loaded(found: Vec<SourceEvent>, range: TimeRange) -> Left {
    let (mut load, feed) = config(3);
    load.settings.range = range;
    load.pipeline.range = range;
    for what in found {
        feed.send(what).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("safe.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let metrics = Arc::clone(&load.pipeline.metrics);
    let sink = Arc::new(FakeSink::default());
    let outcome = super::load(load, Arc::clone(&sink), store).await.run.outcome.unwrap();
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
async fn an_interrupted_slice_is_covered_as_far_as_it_was_read() {
    let found =
        vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), paged(1, 1_400, &["b"]), over(2, false)];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_400, 1_999)], 0, 0));
}

#[tokio::test]
async fn an_invalid_event_is_reported_and_coverage_ends_before_its_page() {
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

/// The event's own time is in June 2024. A range that contains the slice leaves the event to another slice.
#[tokio::test]
async fn records_out_of_range_leave_a_slice_uncovered_unless_it_lies_within_the_range() {
    let found = || vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), over(1, true)];
    let second = |second| Some(Timestamp::from_second(second).unwrap());
    let within = TimeRange { from: second(1_000), to: second(2_000) };
    assert_eq!(loaded(found(), within).await.coverage, [(1_000, 1_999)]);
    let across = TimeRange { from: second(1_500), to: second(2_000) };
    assert_eq!(loaded(found(), across).await.coverage, []);
}

#[tokio::test]
async fn an_unreadable_object_is_recorded_and_its_folder_stays_incomplete() {
    let (load, feed) = config(2);
    let partition =
        |name: &str| Partition { key: format!("s3://b/01/{name}"), fingerprint: "1:e".to_owned() };
    let unreadable = SourceEvent::Unreadable {
        partition: partition("gone"),
        name: "s3://b/01/gone".to_owned(),
        why: "it is gone".to_owned(),
        size: 5,
    };
    let record =
        r#"{"Records":[{"eventVersion":"1.08","eventID":"1","eventTime":"2024-06-01T12:00:00Z"}]}"#;
    let object = |key: Partition| {
        let held = ReservedBytes { bytes: Bytes::from_static(record.as_bytes()), permit: None };
        let name = key.key.clone();
        let content = Content::Memory(held);
        SourceEvent::Input(Input { partition: key, name, content, size: 5, result: None })
    };
    let other = Partition { key: "s3://b/02/x".to_owned(), fingerprint: "1:e".to_owned() };
    for what in [unreadable, object(partition("here")), object(other)] {
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
    let metrics = Arc::clone(&load.pipeline.metrics);
    let sink = Arc::new(FakeSink::default());
    super::load(load, sink, store).await.run.outcome.unwrap();
    let reader = CheckpointReader::open(&file).unwrap();
    assert_eq!(reader.complete_folder("s3://b/01/").unwrap(), None);
    assert_eq!(reader.complete_folder("s3://b/02/").unwrap().map(|listed| listed.inputs), Some(1));
    assert_eq!(reader.loaded_fingerprint("s3://b/01/here").unwrap().as_deref(), Some("1:e"));
    let failures = reader.status(Timestamp::UNIX_EPOCH, Failures::All).unwrap().failures;
    assert_eq!((failures.len(), failures[0].cause.as_str()), (1, "it is gone"));
    assert_eq!(metrics.sources[0].failed.load(Relaxed), 1);
    assert_eq!(metrics.sources[0].done.load(Relaxed), 2);
}

#[tokio::test]
async fn a_partition_is_opened_before_any_of_its_pages() {
    let (load, feed) = config(4);
    let (_threads, mut outputs) = start_load(load);
    feed.send(slice(1_000, 1_999)).unwrap();
    for number in 0..50 {
        feed.send(paged(number, 1_900 - i64::from(number), &["a"])).unwrap();
    }
    feed.send(over(50, true)).unwrap();
    drop(feed);
    let mut checkpoint_events = Vec::new();
    while let Some(output) = outputs.recv().await {
        checkpoint_events.extend(output.checkpoint_events);
    }
    assert!(
        matches!(&checkpoint_events[0], CheckpointEvent::PartitionOpened { time_slice: Some(slice), .. } if slice.from == 1_000)
    );
    let pages = checkpoint_events
        .iter()
        .filter(|event| matches!(event, CheckpointEvent::PageRead { documents: 1, .. }))
        .count();
    assert_eq!(pages, 50);
    let ends: Vec<_> = checkpoint_events
        .iter()
        .filter(|event| matches!(event, CheckpointEvent::PartitionEnded { .. }))
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
async fn envelope_fields_belong_to_one_record_only() {
    let (load, feed) = config(1);
    let record = |id: u8| {
        format!(
            r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-00000000000{id}","eventTime":"2024-06-01T12:00:00Z"}}"#
        )
    };
    let named = LookupEvent {
        record: Some(record(1)),
        username: Some(br#""alice""#.to_vec()),
        resources: Some(br#"[{"ResourceName":"b"}]"#.to_vec()),
        ..LookupEvent::default()
    };
    let bare = LookupEvent { record: Some(record(2)), ..LookupEvent::default() };
    let page = Page {
        key: format!("{SERIES}/1000-1999"),
        number: 0,
        content: LookupPage { events: vec![named, bare], permit: None },
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
    let sink = Arc::new(FakeSink::default());
    super::load(load, Arc::clone(&sink), store).await.run.outcome.unwrap();
    let body = String::from_utf8(sink.body.lock().unwrap().clone()).unwrap();
    let lookup = r#""lookup":{"username":"alice","resources":[{"name":"b"}]}"#;
    for line in body.lines().filter(|line| line.contains("@timestamp")) {
        assert_eq!(line.contains(lookup), line.contains("000001\""), "{line}");
        assert_eq!(line.contains("\"lookup\""), line.contains("000001\""), "{line}");
    }
    assert!(body.contains(lookup), "{body}");
}
