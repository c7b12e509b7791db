//! A process that records and delivers alerts is killed at random moments, until it has done everything.

use std::{
    collections::HashMap,
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::{
    checkpoint::{
        CheckpointEvent, CheckpointReader, CheckpointStore, PageExtent, PartitionOutcome,
    },
    event::{MatchBatch, NewMatch, Partition, Receipt, Share},
    filter::rule::{RuleSet, parse_rule_file},
};

/// Names the folder of the test for the process that is killed.
const FOLDER_VARIABLE: &str = "TRAILLOAD_TEST_KILLED_PROCESS";

const PARTITIONS: u32 = 40;
const EVENTS: u32 = 20;

/// The actions: the receiver of the first can be asked whether it has an alert.
const ACTIONS: [&str; 2] = ["file", "webhook"];

fn rules() -> Arc<RuleSet> {
    let text = "- {name: every, events: [A], actions: [file, webhook]}\n\
         - {name: some, events: [A], actions: [file, webhook], group_by: [detail.a], window: 7m, threshold: 3}\n";
    Arc::new(RuleSet::new(parse_rule_file(text).rules))
}

/// The matches of a partition: of each event, one of each rule. Times go up and down.
fn matches(partition: u32) -> Vec<NewMatch> {
    let numbers = partition * EVENTS..(partition + 1) * EVENTS;
    let matches = numbers.flat_map(|number| {
        let minute = i64::from(number * 7_919 % 1_000);
        [0, 1].map(|rule| NewMatch {
            rule,
            group: json!([number % 3]),
            combination: None,
            time: Some(minute * 60_000),
            evaluated_from: None,
            event_id: format!("event-{number}"),
            event: format!("{{\"eventID\":\"event-{number}\"}}").into(),
        })
    });
    matches.collect()
}

fn partition_events(number: u32) -> Vec<CheckpointEvent> {
    let partition =
        Partition { key: format!("file:/trail/{number}"), fingerprint: format!("{number}:1:") };
    let share = Share { partition: number, page: 0, documents: EVENTS };
    let matches = MatchBatch { matches: matches(number), ..MatchBatch::default() };
    vec![
        CheckpointEvent::PartitionOpened {
            number,
            partition,
            name: number.to_string(),
            time_slice: None,
            result: None,
        },
        CheckpointEvent::PageRead {
            partition: number,
            page: 0,
            documents: EVENTS,
            extent: PageExtent::Whole,
            bytes: 1,
            position: None,
        },
        CheckpointEvent::Settled(Receipt { shares: vec![share], matches, ..Receipt::default() }),
        CheckpointEvent::PartitionEnded {
            partition: number,
            outcome: PartitionOutcome::Done,
            pages: 1,
            fingerprint: None,
        },
    ]
}

/// Makes the deliveries of the actions.
struct Deliverer {
    folder: PathBuf,
    reader: CheckpointReader,
    events: mpsc::Sender<CheckpointEvent>,
}

impl Deliverer {
    /// Makes all deliveries that are pending, and returns their number.
    fn deliver(&self, action: &str) -> usize {
        let pending = self.reader.pending_deliveries(action, 0, 5).unwrap();
        for delivery in &pending {
            let id = &delivery.alert.id;
            let can_be_asked = action == ACTIONS[0];
            let is_known = can_be_asked
                && delivery.state == DeliveryState::Sending
                && received(&self.folder, action).contains_key(id);
            if !is_known {
                self.store(DeliveryUpdate::Started { numbers: vec![delivery.number] });
                let path = self.folder.join(action);
                let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
                file.write_all(format!("{id}\n").as_bytes()).unwrap();
            }
            let outcome = DeliveryOutcome::Delivered { number: delivery.number };
            self.store(DeliveryUpdate::Ended(outcome));
        }
        pending.len()
    }

    /// Sends a change, and waits until it is on disk.
    fn store(&self, update: DeliveryUpdate) {
        let (stored, committed): (_, UnboundedReceiver<()>) = unbounded_channel();
        self.events.send(CheckpointEvent::DeliveriesChanged { update, stored }).unwrap();
        let mut committed = committed;
        committed.blocking_recv().unwrap();
    }
}

/// Returns how often a receiver got each alert.
fn received(folder: &Path, action: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in fs::read_to_string(folder.join(action)).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Reads what is not loaded, and delivers what is pending.
fn work(folder: &Path) {
    let path = folder.join("checkpoint.sqlite");
    let mut store = CheckpointStore::open(&path, "test", Timestamp::now()).unwrap();
    store.set_rules(rules(), AlertOptions::default()).unwrap();
    let reader = CheckpointReader::open(&path).unwrap();
    let (events, received) = mpsc::channel();
    let store = thread::spawn(move || store.run(received));
    let deliverer = Deliverer { folder: folder.to_owned(), reader, events: events.clone() };
    for number in 0..PARTITIONS {
        let key = format!("file:/trail/{number}");
        if deliverer.reader.loaded_fingerprint(&key).unwrap().is_none() {
            for event in partition_events(number) {
                events.send(event).unwrap();
            }
        }
        for action in ACTIONS {
            deliverer.deliver(action);
        }
    }
    deliverer.store(DeliveryUpdate::Flush);
    while ACTIONS.iter().map(|action| deliverer.deliver(action)).sum::<usize>() > 0 {}
    drop((deliverer, events));
    store.join().unwrap().unwrap().end(0).unwrap();
}

/// The process that is killed.
#[test]
#[ignore = "started by the test below"]
fn killed_process() {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        work(Path::new(&folder));
    }
}

fn start(folder: &Path) -> Child {
    let name = concat!(module_path!(), "::killed_process");
    let (_, name) = name.split_once("::").unwrap();
    Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--quiet"])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the end of a process and returns whether it was successful, or kills it after a time.
fn end_or_kill(mut child: Child, after: Duration) -> bool {
    let due = Instant::now() + after;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the process failed");
            return true;
        }
        if Instant::now() >= due {
            child.kill().unwrap();
            return !child.wait().is_ok_and(|status| !status.success());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_loses_no_delivery_and_repeats_at_most_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for round in 0_u64.. {
        let after = Duration::from_millis(fastrand::u64(5..100 + round * 5));
        if end_or_kill(start(folder.path()), after) {
            break;
        }
        kills += 1;
    }
    // The same without any kill.
    let undisturbed = tempfile::tempdir().unwrap();
    work(undisturbed.path());
    let expected = received(undisturbed.path(), ACTIONS[0]);
    assert!(expected.len() > (PARTITIONS * EVENTS) as usize, "both rules have alerts");
    assert!(expected.values().all(|times| *times == 1));

    let asked = received(folder.path(), ACTIONS[0]);
    assert_eq!(asked, expected, "a receiver that can be asked gets every alert once");
    let mut other = received(folder.path(), ACTIONS[1]);
    let repeated: usize = other.values().map(|times| times - 1).sum();
    assert!(repeated <= kills, "{repeated} deliveries were repeated by {kills} kills");
    for times in other.values_mut() {
        *times = 1;
    }
    assert_eq!(other, expected, "every alert was delivered, and no other");
    let reader = CheckpointReader::open(&folder.path().join("checkpoint.sqlite")).unwrap();
    let status = reader.action_status().unwrap();
    let delivered: Vec<_> = status.iter().map(|action| action.delivered).collect();
    assert_eq!(delivered, [expected.len() as u64; 2]);
    assert_eq!(reader.undelivered_alerts(9).unwrap(), []);
}
