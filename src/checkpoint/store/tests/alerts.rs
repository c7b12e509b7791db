//! Alerts in the transactions of the store.

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, error::TryRecvError, unbounded_channel};

use super::*;
use crate::{
    checkpoint::{
        accept_undelivered_alerts,
        alerts::{Delivery, DeliveryOutcome},
        retry_undelivered_alerts,
    },
    event::{MatchBatch, NewMatch},
    filter::rule::parse_rule_file,
};

fn rules(text: &str) -> Arc<RuleSet> {
    Arc::new(RuleSet::new(parse_rule_file(text).rules))
}

pub(super) fn every_event() -> Arc<RuleSet> {
    rules("{name: every, events: [A], actions: [a]}")
}

pub(super) fn found(id: &str) -> NewMatch {
    NewMatch {
        rule: 0,
        group: json!([]),
        combination: None,
        time: Some(now().as_millisecond()),
        evaluated_from: None,
        event_id: id.to_owned(),
        event: format!("{{\"eventID\":\"{id}\"}}").into(),
    }
}

/// The receipt of a page with matches.
pub(super) fn settled_with_matches(
    partition: PartitionNumber,
    matches: Vec<NewMatch>,
) -> CheckpointEvent {
    let shares = vec![Share { partition, page: 0, documents: 1 }];
    let matches = MatchBatch { matches, ..MatchBatch::default() };
    CheckpointEvent::Settled(Receipt { shares, matches, ..Receipt::default() })
}

fn partition_with_match(number: PartitionNumber) -> Vec<CheckpointEvent> {
    let matches = vec![found(&number.to_string())];
    let settled = settled_with_matches(number, matches);
    vec![opened(number), page(number, 1), ended(number, PartitionOutcome::Done), settled]
}

pub(super) fn open_with(place: &Place, rules: &Arc<RuleSet>) -> CheckpointStore {
    let mut store = place.open();
    store.set_rules(Arc::clone(rules), AlertOptions::default()).unwrap();
    store
}

pub(super) fn pending(place: &Place) -> Vec<Delivery> {
    place.reader().pending_deliveries("a", 0, usize::MAX).unwrap()
}

fn change(update: DeliveryUpdate) -> (CheckpointEvent, UnboundedReceiver<()>) {
    let (stored, waiting) = unbounded_channel();
    (CheckpointEvent::DeliveriesChanged { update, stored }, waiting)
}

#[test]
fn an_alert_is_committed_with_the_partition_of_its_event() {
    let place = Place::new();
    let mut store = open_with(&place, &every_event());
    for event in partition_with_match(1) {
        store.apply(event).unwrap();
    }
    assert!(!place.is_loaded(1) && pending(&place).is_empty(), "nothing is committed");
    store.commit().unwrap();
    assert!(place.is_loaded(1));
    assert_eq!(pending(&place).len(), 1);
    assert_eq!((store.alert_totals().alerts, store.alert_totals().deliveries), (1, 1));
}

#[test]
fn the_matches_that_were_committed_are_known_after_the_disk_is_full() {
    let place = Place::new();
    let store = open_with(&place, &every_event());
    let known = store.committed_alerts();
    full_after(&store, 200);
    let (sender, events) = std::sync::mpsc::channel();
    for number in 1..=10_000 {
        for event in partition_with_match(number) {
            sender.send(event).unwrap();
        }
    }
    drop(sender);
    let error = store.run(events).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    let stored = pending(&place).len() as u64;
    assert!(stored > 0);
    assert_eq!((known.get().matches, known.get().alerts), (stored, stored));
}

#[test]
fn matches_are_ignored_by_a_run_without_rules() {
    let place = Place::new();
    place.run(partition_with_match(1));
    assert!(place.is_loaded(1));
    assert_eq!(pending(&place), []);
}

#[test]
fn a_change_of_a_delivery_is_reported_once_it_is_on_disk() {
    let place = Place::new();
    let mut store = open_with(&place, &every_event());
    let (flush, mut waiting) = change(DeliveryUpdate::Flush);
    store.apply(flush).unwrap();
    assert_eq!(waiting.try_recv(), Ok(()), "there is nothing to commit");

    for event in partition_with_match(1) {
        store.apply(event).unwrap();
    }
    let (flush, mut waiting) = change(DeliveryUpdate::Flush);
    store.apply(flush).unwrap();
    assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
    // The thread of the store commits as soon as its queue is empty.
    let (sender, receiver) = channel();
    let writer = thread::spawn(move || store.run(receiver));
    waiting.blocking_recv().unwrap();
    let number = pending(&place)[0].number;
    let (delivered, mut waiting) =
        change(DeliveryUpdate::Ended(DeliveryOutcome::Delivered { number }));
    sender.send(delivered).unwrap();
    waiting.blocking_recv().unwrap();
    assert_eq!(pending(&place), []);
    drop(sender);
    writer.join().unwrap().unwrap().end(0).unwrap();
}

#[test]
fn a_full_disk_loses_no_alert_and_raises_none_twice() {
    let place = Place::new();
    let mut store = open_with(&place, &every_event());
    full_after(&store, 12);
    let mut read = 0;
    let error = 'full: loop {
        for event in partition_with_match(read) {
            if let Err(error) = store.apply(event) {
                break 'full error;
            }
        }
        read += 1;
        if read % 5 == 0
            && let Err(error) = store.commit()
        {
            break error;
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    drop(store);
    let mut store = open_with(&place, &every_event());
    for number in 0..=read {
        if !place.is_loaded(number) {
            for event in partition_with_match(number) {
                store.apply(event).unwrap();
            }
        }
    }
    store.commit().unwrap();
    let mut alerted: Vec<u32> =
        pending(&place).iter().map(|delivery| delivery.alert.event_id.parse().unwrap()).collect();
    alerted.sort_unstable();
    assert_eq!(alerted, (0..=read).collect::<Vec<_>>());
}

#[test]
fn dead_letters_are_retried_or_accepted_while_no_run_uses_the_file() {
    let place = Place::new();
    let mut store = open_with(&place, &every_event());
    for event in [partition_with_match(1), partition_with_match(2)].concat() {
        store.apply(event).unwrap();
    }
    store.commit().unwrap();
    for delivery in pending(&place) {
        let outcome = DeliveryOutcome::Failed { number: delivery.number, cause: "404".to_owned() };
        store.apply(change(DeliveryUpdate::Ended(outcome)).0).unwrap();
    }
    store.commit().unwrap();
    let in_use = retry_undelivered_alerts(&place.file(), now());
    assert!(matches!(in_use, Err(Error::InUse { .. })));
    drop(store);
    assert_eq!(place.reader().undelivered_alerts(9).unwrap().len(), 2);
    assert_eq!(retry_undelivered_alerts(&place.file(), now()).unwrap(), 2);
    assert_eq!(pending(&place).len(), 2);

    let mut store = place.open();
    assert_eq!(store.fail_deliveries_without_action(&[]).unwrap(), 2);
    assert_eq!(store.retry_deliveries().unwrap(), 2);
    assert_eq!(store.fail_deliveries_without_action(&["b".to_owned()]).unwrap(), 2);
    drop(store);
    assert_eq!(accept_undelivered_alerts(&place.file(), now()).unwrap(), 2);
    assert_eq!(accept_undelivered_alerts(&place.file(), now()).unwrap(), 0);
    let status = place.reader().action_status().unwrap();
    assert_eq!((status[0].dead_letters, status[0].accepted), (0, 2));
    let store = open_with(&place, &every_event());
    assert_eq!(store.undelivered().get(), 0, "accepted ones do not end a run");
    let missing = place.folder.path().join("missing.sqlite");
    let error = accept_undelivered_alerts(&missing, now());
    assert!(matches!(error, Err(Error::NotFound { .. })));
}

/// Prints the cost of a match. Run manually, because the result depends on the machine.
#[test]
#[ignore = "a measurement"]
fn measure_ten_million_matches_of_a_million_groups() {
    let texts = [
        ("a window", "window: 1h\n"),
        ("a threshold", "window: 1h\nthreshold: 5\n"),
        ("first_seen", "first_seen: {by: [detail.a], within: 1d, learning: 0s}\n"),
        ("no limit", ""),
    ];
    for (name, keys) in texts {
        let place = Place::new();
        let rules = rules(&format!("name: r\nevents: [A]\ngroup_by: [detail.a]\n{keys}"));
        let mut store = open_with(&place, &rules);
        let started = Instant::now();
        let receipts = 10_000_000 / 500;
        for receipt in 0..receipts {
            let matches = (0..500).map(|number| {
                let number = receipt * 500 + number;
                let group = fastrand::u32(0..1_000_000);
                NewMatch {
                    group: json!([group]),
                    combination: Some(json!([group])),
                    time: Some(1_717_200_000_000 + i64::from(number) * 10),
                    ..found(&number.to_string())
                }
            });
            let matches = matches.collect();
            let receipt = Receipt {
                matches: MatchBatch { matches, ..MatchBatch::default() },
                ..Receipt::default()
            };
            store.apply(CheckpointEvent::Settled(receipt)).unwrap();
            let is_due = store.transaction.is_some_and(|pending| pending.due <= Instant::now());
            if is_due {
                store.commit().unwrap();
            }
        }
        store.commit().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let bytes = fs::metadata(place.file()).unwrap().len();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!(
            "{name}: {:.0} matches/s, {} MB, {memory}, {:?}",
            10_000_000.0 / seconds,
            bytes >> 20,
            store.alert_totals()
        );
    }
}
