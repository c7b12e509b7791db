//! Results of partitions: which, and not before everything that they depend on is committed.

use super::alerts::{every_event, found, open_with, pending, settled_with_matches};
use super::*;
use crate::event::{PartitionResult, ResultReceiver, result_channel};

/// Opens a partition, and returns the receiver of its result.
fn awaited(number: PartitionNumber, fingerprint: &str) -> (CheckpointEvent, ResultReceiver) {
    let (sender, receiver) = result_channel();
    let mut event = opened(number);
    if let CheckpointEvent::PartitionOpened { partition, result, .. } = &mut event {
        fingerprint.clone_into(&mut partition.fingerprint);
        *result = Some(sender);
    }
    (event, receiver)
}

/// Applies events as the thread of the store does, without a commit.
fn apply(store: &mut CheckpointStore, events: impl IntoIterator<Item = CheckpointEvent>) {
    for event in events {
        store.apply(event).unwrap();
        store.send_results();
    }
}

#[test]
fn a_result_is_sent_after_the_commit() {
    let place = Place::new();
    let mut store = place.open();
    let (opened, mut result) = awaited(1, "1:1:");
    let end = ended(1, PartitionOutcome::Done);
    apply(&mut store, [opened, page(1, 2), end, settled_with_dead_letters(1, 2, &["a"])]);
    assert_eq!(result.try_recv(), None);
    assert!(!place.is_loaded(1));
    store.commit().unwrap();
    assert_eq!(result.try_recv(), Some(PartitionResult::Complete));
    assert!(place.is_loaded(1));
    assert_eq!(place.status().dead_letters.documents, 1);
}

#[test]
fn a_result_waits_for_every_document_and_is_lost_with_the_run() {
    let place = Place::new();
    let mut store = place.open();
    let (opened, mut result) = awaited(1, "1:1:");
    apply(&mut store, [opened, page(1, 3), ended(1, PartitionOutcome::Done), settled(1, 2)]);
    store.commit().unwrap();
    assert_eq!(result.try_recv(), None);
    drop(store);
    assert!(result.is_closed(), "nobody can send it any more");
}

#[test]
fn alerts_are_stored_before_the_result() {
    let place = Place::new();
    let mut store = open_with(&place, &every_event());
    let (opened, mut result) = awaited(1, "");
    let settled = settled_with_matches(1, vec![found("1")]);
    apply(&mut store, [opened, page(1, 1), ended(1, PartitionOutcome::Done), settled]);
    assert_eq!((result.try_recv(), pending(&place).len()), (None, 0));
    store.commit().unwrap();
    assert_eq!((result.try_recv(), pending(&place).len()), (Some(PartitionResult::Complete), 1));
}

#[test]
fn records_out_of_range_are_settled_but_their_partition_is_not_loaded() {
    let place = Place::new();
    let mut store = place.open();
    let (opened, mut result) = awaited(1, "1:1:");
    let end = ended(1, PartitionOutcome::Done);
    apply(&mut store, [opened, read(1, 1, PageExtent::InRange), end, settled(1, 1)]);
    store.commit().unwrap();
    assert_eq!(result.try_recv(), Some(PartitionResult::Complete));
    assert!(!place.is_loaded(1));
    assert_eq!(store.totals().partitions_unfinished, 1);
}

#[test]
fn what_is_foreign_or_failed_has_its_own_result() {
    let place = Place::new();
    let mut store = place.open();
    let (first, mut foreign) = awaited(1, "1:1:");
    let (second, mut broken) = awaited(2, "2:1:");
    let (third, mut stopped) = awaited(3, "3:1:");
    let digest = PartitionOutcome::Skipped { cause: "a digest file".to_owned() };
    apply(&mut store, [first, page(1, 0), ended(1, digest)]);
    apply(&mut store, [second, page(2, 4), failed(2)]);
    apply(&mut store, [third, page(3, 4), ended(3, PartitionOutcome::Interrupted)]);
    assert_eq!((foreign.try_recv(), broken.try_recv()), (None, None));
    store.commit().unwrap();
    let kind = "a digest file".to_owned();
    assert_eq!(foreign.try_recv(), Some(PartitionResult::Foreign { kind }));
    let cause = "the gzip stream ends early".to_owned();
    assert_eq!(broken.try_recv(), Some(PartitionResult::Failed { cause }));
    assert!(stopped.try_recv().is_none() && stopped.is_closed());
}

#[test]
fn a_page_that_failed_fails_its_partition_once_the_others_are_settled() {
    let place = Place::new();
    let mut store = place.open();
    let (opened, mut result) = awaited(1, "1:1:");
    let cause = "at byte 5: cut off".to_owned();
    let extent = PageExtent::Failed { cause: cause.clone() };
    apply(&mut store, [opened, read(1, 2, extent), ended(1, PartitionOutcome::Done)]);
    assert_eq!(result.try_recv(), None);
    apply(&mut store, [settled(1, 2)]);
    store.commit().unwrap();
    assert_eq!(result.try_recv(), Some(PartitionResult::Failed { cause }));
    assert!(!place.is_loaded(1));
    assert_eq!(store.ledger.open_partitions(), 0);
}

/// A queue remembers its messages; a row for each of them would grow for ever.
#[test]
fn what_its_source_remembers_leaves_no_row() {
    let place = Place::new();
    let mut store = place.open();
    let (first, mut complete) = awaited(1, "");
    let (second, mut broken) = awaited(2, "");
    apply(&mut store, [first, page(1, 1), ended(1, PartitionOutcome::Done), settled(1, 1)]);
    apply(&mut store, [second, page(2, 0), failed(2)]);
    store.commit().unwrap();
    assert_eq!(complete.try_recv(), Some(PartitionResult::Complete));
    assert!(matches!(broken.try_recv(), Some(PartitionResult::Failed { .. })));
    let totals = store.totals();
    assert_eq!((totals.partitions_loaded, totals.partitions_failed), (1, 1));
    let status = place.status();
    assert_eq!((status.partitions_loaded, status.partitions_failed), (0, 0));
}

#[test]
fn a_running_store_sends_results_by_itself() {
    let place = Place::new();
    let (sender, events) = channel();
    let store = place.open();
    let running = std::thread::spawn(move || store.run(events).map(drop));
    let (opened, result) = awaited(1, "1:1:");
    for event in [opened, page(1, 1), ended(1, PartitionOutcome::Done), settled(1, 1)] {
        sender.send(event).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(result.recv()), Some(PartitionResult::Complete));
    assert!(place.is_loaded(1));
    drop(sender);
    running.join().unwrap().unwrap();
}

proptest! {
    /// Whatever the order of events: a partition has its result when it may be recorded as loaded, and never before.
    #[test]
    fn results_are_sent_when_partitions_are_loaded(course in course()) {
        let mut ledger = Ledger::default();
        let mut model = Model::default();
        let mut results = Vec::new();
        for event in course {
            model.apply(&event);
            match event {
                CheckpointEvent::PartitionOpened { number, partition, name, time_slice, .. } => {
                    let (sender, receiver) = result_channel();
                    results.push((number, receiver, false));
                    ledger.open(number, partition, name, time_slice, Some(sender));
                }
                CheckpointEvent::PageRead { partition, page, documents, extent, bytes, position } => {
                    let content = PageContent { documents, bytes, position };
                    ledger.page(partition, page, content, extent).unwrap();
                }
                CheckpointEvent::Settled(receipt) => {
                    for share in receipt.shares {
                        ledger.settle(share).unwrap();
                    }
                }
                CheckpointEvent::PartitionEnded { partition, pages, .. } => {
                    ledger.complete(partition, pages, None).unwrap();
                }
                other => panic!("unexpected event: {other:?}"),
            }
            ledger.take_results().into_iter().for_each(DueResult::send);
            for (number, receiver, has_result) in &mut results {
                *has_result |= receiver.try_recv() == Some(PartitionResult::Complete);
                prop_assert_eq!(*has_result, model.is_loaded(*number));
            }
        }
    }
}
