//! The results of partitions, in runs without and with a checkpoint.

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::source::{PartitionResult, ReservedBytes, ResultReceiver, result_channel};

const RECORD: &str = r#"{"eventVersion":"1.08","eventID":"1","eventTime":"2024-06-01T12:00:00Z"}"#;

/// Returns an input whose result is awaited.
fn awaited(name: &str, content: &str) -> (SourceEvent, ResultReceiver) {
    let (sender, receiver) = result_channel();
    let bytes = Bytes::copy_from_slice(content.as_bytes());
    let input = Input {
        partition: Partition { key: format!("test:{name}"), fingerprint: String::new() },
        name: name.to_owned(),
        size: content.len() as u64,
        content: Content::Memory(ReservedBytes { bytes, permit: None }),
        result: Some(sender),
    };
    (SourceEvent::Input(input), receiver)
}

/// Settles a batch when a permit is added.
struct Gate {
    counter: Arc<Counter>,
    permits: Semaphore,
}

impl Consumer for Gate {
    type Processor = CountingProcessor;
    type Error = Infallible;

    fn processor(&self) -> CountingProcessor {
        self.counter.processor()
    }

    async fn settle(&self, batch: (Shares, u64)) -> Settlement<Infallible> {
        self.permits.acquire().await.unwrap().forget();
        self.counter.settle(batch).await
    }
}

#[tokio::test]
async fn every_outcome_has_its_result_without_a_checkpoint() {
    let (config, feed) = pipeline(2);
    let inputs = [
        ("complete", RECORD),
        ("empty", r#"{"Records":[]}"#),
        ("foreign", r#"{"digestStartTime":"2024-06-01T12:00:00Z"}"#),
        ("cut off", r#"{"Records":[{"eventVersion":"1.08","#),
    ];
    let mut receivers = Vec::new();
    for (name, content) in inputs {
        let (event, receiver) = awaited(name, content);
        feed.send(event).unwrap();
        receivers.push(receiver);
    }
    feed.send(input(7)).unwrap();
    drop(feed);
    let end = run::run(config, Counter::new(u64::MAX), None).await;
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
    let mut results = Vec::new();
    for receiver in receivers {
        results.push(receiver.recv().await.unwrap());
    }
    assert_eq!(results[..2], [PartitionResult::Complete, PartitionResult::Complete]);
    assert!(matches!(&results[2], PartitionResult::Foreign { .. }), "{results:?}");
    assert!(matches!(&results[3], PartitionResult::Failed { .. }), "{results:?}");
}

#[tokio::test]
async fn a_result_waits_for_the_consumer() {
    let (config, feed) = pipeline(2);
    let (event, mut receiver) = awaited("a", RECORD);
    feed.send(event).unwrap();
    let gate = Arc::new(Gate { counter: Counter::new(u64::MAX), permits: Semaphore::new(0) });
    let run = run::run(config, Arc::clone(&gate), None);
    let observe = async {
        // Until the record has reached the consumer.
        while gate.counter.seen.lock().unwrap().ended.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(receiver.try_recv(), None);
        gate.permits.add_permits(1);
        assert_eq!(receiver.recv().await, Some(PartitionResult::Complete));
        drop(feed);
    };
    let (end, ()) = tokio::join!(run, observe);
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
}

#[tokio::test]
async fn what_was_not_read_before_the_run_ends_has_no_result() {
    let (config, feed) = pipeline(1);
    let shutdown = config.shutdown.clone();
    let mut receivers = Vec::new();
    for number in 0..50 {
        let (event, receiver) = awaited(&number.to_string(), RECORD);
        feed.send(event).unwrap();
        receivers.push(receiver);
    }
    let counter = Counter::new(5);
    let run = run::run(config, Arc::clone(&counter), None);
    let hang_up = async {
        shutdown.reached(ShutdownLevel::Draining).await;
        drop(feed);
    };
    let (end, ()) = tokio::join!(run, hang_up);
    assert_eq!(end.outcome.unwrap(), RunOutcome::Satisfied);
    let (mut complete, mut ended) = (0, 0);
    for receiver in receivers {
        match receiver.recv().await {
            Some(PartitionResult::Complete) => complete += 1,
            None => ended += 1,
            other => panic!("{other:?}"),
        }
    }
    // What the workers still sent after the end was not settled.
    assert!(complete <= counter.records.load(Relaxed));
    assert!(complete > 0 && ended > 0, "{complete} {ended}");
}

#[tokio::test]
async fn the_result_of_a_slice_comes_with_its_last_page() {
    let (config, feed) = pipeline(2);
    let (sender, receiver) = result_channel();
    let SourceEvent::SliceStarted(mut started) = slice(1_000, 1_999) else { unreachable!() };
    started.result = Some(sender);
    let broken = paged(1, 1_400, &["c", "broken"]);
    let events =
        [SourceEvent::SliceStarted(started), paged(0, 1_600, &["a", "b"]), broken, over(2, true)];
    for event in events {
        feed.send(event).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watch.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let end = run::run(config, Counter::new(u64::MAX), Some(store)).await;
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
    assert!(matches!(receiver.recv().await, Some(PartitionResult::Failed { .. })));
    let coverage = CheckpointReader::open(&file).unwrap().coverage(SERIES).unwrap();
    assert_eq!(coverage, [(1_600, 1_999)], "up to the page that failed");
}

#[tokio::test]
async fn a_slice_that_is_not_all_events_of_its_range_leaves_no_coverage() {
    let (config, feed) = pipeline(2);
    let (sender, receiver) = result_channel();
    let SourceEvent::SliceStarted(started) = slice(1_000, 1_999) else { unreachable!() };
    let started = Slice { complete_until: None, result: Some(sender), ..started };
    for event in [SourceEvent::SliceStarted(started), paged(0, 1_000, &["a"]), over(1, true)] {
        feed.send(event).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watch.sqlite");
    let store = CheckpointStore::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let end = run::run(config, Counter::new(u64::MAX), Some(store)).await;
    assert_eq!(end.outcome.unwrap(), RunOutcome::Complete);
    assert_eq!(receiver.recv().await, Some(PartitionResult::Complete));
    drop(end.store);
    let reader = CheckpointReader::open(&file).unwrap();
    assert_eq!(reader.coverage(SERIES).unwrap(), []);
    let failures = crate::checkpoint::status::Failures::All;
    let status = reader.status(Timestamp::UNIX_EPOCH, failures).unwrap();
    assert_eq!((status.coverage.len(), status.partitions_loaded), (0, 0));
}
