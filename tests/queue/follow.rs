//! `--follow` over a queue: new messages, SIGTERM, SIGKILL, and a queue that is purged, deleted or denied meanwhile.

use std::process::{Child, Command};
use std::time::Duration;

use super::{BUCKET, QUEUE, QueueWorld};
use crate::support::aws::s3::Fault;
use crate::support::aws::sqs::{QueueFault, from_event_bus};
use crate::support::events::{event, events, gzip, ids, records};
use crate::support::load::{Load, Running, wait_for};
use crate::watch::hook::{Ended, Folder, Hook, created, ids as created_ids, signal};

/// How SQS denies an action.
const DENIED: (u16, &str, &str) =
    (403, "AccessDeniedException", "Access to the resource is denied.");

fn follow(world: &QueueWorld) -> Load {
    world.load(&[QUEUE, "--follow"])
}

/// Sends an event each.
fn send(world: &QueueWorld, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| world.queue.send(&from_event_bus(&event(number))));
}

/// Waits until the engine has so many events, and the queue no message.
fn wait_until_loaded(world: &QueueWorld, events: usize) {
    wait_for("all events", || (world.engine.count() == events).then_some(()));
    wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
}

/// Ends a run as a service manager does.
fn terminate(running: Running) {
    running.signal("TERM");
    running.end().exits(4).says(["stopped early, position saved"]);
}

#[test]
fn new_messages_are_loaded_until_sigterm_and_all_of_them_once() {
    let world = QueueWorld::new();
    send(&world, 0..20);
    let running = follow(&world).start();
    wait_until_loaded(&world, 20);
    // The queue was empty meanwhile.
    send(&world, 20..23);
    world.deliver("file", 23..30);
    wait_until_loaded(&world, 30);
    let status = world.desk.status();
    assert_eq!(status["sources"][0]["source"], QUEUE, "{status}");
    terminate(running);
    assert_eq!((world.engine.ids(), world.engine.count()), (ids(0..30), 30));
    world.queue.assert_no_complaints();
}

#[test]
fn sigterm_finishes_what_is_read_and_releases_what_is_not() {
    let world = QueueWorld::new();
    let running = follow(&world).start();
    send(&world, 0..1);
    wait_until_loaded(&world, 1);
    world.s3.change(BUCKET, |bucket| {
        let late = Fault::Late(Duration::from_mins(1));
        bucket.always.insert(super::key("late"), late);
    });
    world.deliver("late", 1..3);
    wait_for("its receipt", || (world.queue.in_flight() == 1).then_some(()));
    terminate(running);
    assert_eq!((world.queue.len(), world.queue.in_flight()), (1, 0), "it is there for others");
}

#[test]
fn messages_of_a_response_that_is_on_its_way_at_sigterm_are_released() {
    let world = QueueWorld::new();
    let running = follow(&world).start();
    send(&world, 0..1);
    wait_until_loaded(&world, 1);
    let late = QueueFault::DoneAndLate(Duration::from_millis(700));
    world.queue.state().faults = vec![("ReceiveMessage", late)];
    wait_for("a request", || world.queue.state().faults.is_empty().then_some(()));
    // The next requests get an answer late, with messages.
    let late = || ("ReceiveMessage", QueueFault::DoneAndLate(Duration::from_millis(1_200)));
    {
        let mut queue = world.queue.state();
        queue.faults = vec![late(), late(), late()];
    }
    send(&world, 1..9);
    wait_for("their receipt", || (world.queue.in_flight() == 8).then_some(()));
    terminate(running);
    assert_eq!((world.queue.len(), world.queue.in_flight()), (8, 0));
    assert_eq!(world.queue.state().released, 8);
}

#[test]
fn killed_while_it_follows_nothing_is_lost_and_nothing_is_there_twice() {
    let world = QueueWorld::new();
    for round in 0..6 {
        let running = follow(&world).start();
        for part in 0..4 {
            let first = 40 * round + 10 * part;
            send(&world, first..first + 7);
            world.deliver(&first.to_string(), first + 7..first + 10);
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..120)));
        }
        assert!(running.kill());
        world.queue.expire_all();
    }
    let running = follow(&world).start();
    wait_until_loaded(&world, 240);
    terminate(running);
    assert_eq!((world.engine.ids(), world.engine.count()), (ids(0..240), 240));
}

#[test]
fn a_purged_queue_loses_what_was_not_read_and_is_followed_further() {
    let world = QueueWorld::new();
    let running = follow(&world).start();
    send(&world, 0..5);
    wait_until_loaded(&world, 5);
    world.s3.change(BUCKET, |bucket| {
        let late = Fault::Late(Duration::from_secs(2));
        bucket.always.insert(super::key("slow"), late);
    });
    world.deliver("slow", 5..8);
    wait_for("its receipt", || (world.queue.in_flight() == 1).then_some(()));
    world.queue.purge();
    send(&world, 8..12);
    // What was being read is loaded, although its message is gone.
    wait_until_loaded(&world, 12);
    terminate(running);
    assert_eq!(world.engine.ids(), ids(0..12));
}

#[test]
fn a_queue_that_is_deleted_while_it_is_followed_is_exit_1() {
    let world = QueueWorld::new();
    let running = follow(&world).start();
    send(&world, 0..5);
    wait_until_loaded(&world, 5);
    world.queue.state().exists = false;
    running.end().exits(1).says(["does not exist, or was deleted"]);
    assert_eq!(world.engine.ids(), ids(0..5));
}

#[test]
fn permissions_that_are_taken_away_while_it_follows_are_named_and_exit_1() {
    for action in ["ReceiveMessage", "DeleteMessageBatch"] {
        let world = QueueWorld::new();
        let running = follow(&world).start();
        send(&world, 0..5);
        wait_until_loaded(&world, 5);
        world.queue.state().denied.insert(action, DENIED);
        send(&world, 5..9);
        let named = format!("\"Action\":\"sqs:{}\"", action.trim_end_matches("Batch"));
        running.end().exits(1).says(["add this statement to the policy", &named]);
        world.queue.state().denied.clear();
        world.queue.expire_all();
        let running = follow(&world).start();
        wait_until_loaded(&world, 9);
        terminate(running);
    }
}

#[test]
fn other_sources_are_followed_further_when_a_queue_cannot_be_read_any_more() {
    let world = QueueWorld::new();
    let running = world.load(&[QUEUE, "s3://logs", "--follow"]).start();
    send(&world, 0..5);
    wait_until_loaded(&world, 5);
    world.queue.state().denied.insert("ReceiveMessage", DENIED);
    // Found by the next round, which is a minute after the first one.
    let now = jiff::Timestamp::now();
    let key = super::key("listed").replace("2024/01/05", &now.strftime("%Y/%m/%d").to_string());
    let body = gzip(&records(&events(5..8)));
    world.s3.change(BUCKET, |bucket| bucket.put(&key, body));
    let started = std::time::Instant::now();
    while world.engine.count() < 8 {
        assert!(started.elapsed() < Duration::from_mins(3), "the bucket was not followed");
        std::thread::sleep(Duration::from_millis(50));
    }
    running.signal("TERM");
    let outcome = running.end().exits(4);
    assert_eq!(outcome.stderr.matches("requires sqs:ReceiveMessage").count(), 1);
}

/// `watch --follow`, its rules, and its receiver.
pub(super) struct Watch {
    folder: Folder,
    pub(super) hook: Hook,
}

impl Watch {
    pub(super) fn new() -> Self {
        let (folder, hook) = (Folder::new(), Hook::start());
        folder.write("actions.yml", hook.actions());
        Self { folder, hook }
    }

    fn start(&self, world: &QueueWorld) -> Child {
        self.command(world, &["--in", QUEUE, "--follow"]).spawn().unwrap()
    }

    pub(super) fn command(&self, world: &QueueWorld, source: &[&str]) -> Command {
        let words = ["watch", "rules.yml", "--actions", "actions.yml"];
        let options = ["--checkpoint", "c.sqlite", "--log-format", "json"];
        let mut command = self.folder.command(&[&words[..], source, &options].concat());
        command.env("HOME", self.folder.path("home")).envs(world.environment());
        command
    }

    fn wait_for_alerts(&self, numbers: std::ops::Range<usize>) {
        wait_for("all alerts", || {
            let received = self.hook.events().into_iter().collect();
            (created_ids(numbers.clone()) == received).then_some(())
        });
    }
}

/// Sends an event that raises an alert each, in messages and in one object.
fn alarm(world: &QueueWorld, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world.queue.send(&from_event_bus(&created(number, "alice", 5)));
    }
}

#[test]
fn a_watch_alerts_once_for_each_message_until_sigterm() {
    let (world, watch) = (QueueWorld::new(), Watch::new());
    alarm(&world, 0..12);
    let child = watch.start(&world);
    watch.wait_for_alerts(0..12);
    alarm(&world, 12..15);
    // Delivered twice by the queue.
    alarm(&world, 3..6);
    watch.wait_for_alerts(0..15);
    wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
    signal(&child, "TERM");
    Ended::of(&child.wait_with_output().unwrap()).exits(4);
    assert_eq!(watch.hook.events().len(), 15, "an alert was sent twice");
}

#[test]
fn a_watch_that_is_killed_while_it_follows_loses_no_alert() {
    let (world, watch) = (QueueWorld::new(), Watch::new());
    for round in 0..5 {
        let mut child = watch.start(&world);
        for part in 0..5 {
            let first = 20 * round + 4 * part;
            alarm(&world, first..first + 4);
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..120)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        world.queue.expire_all();
    }
    let child = watch.start(&world);
    watch.wait_for_alerts(0..100);
    wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
    signal(&child, "TERM");
    Ended::of(&child.wait_with_output().unwrap()).exits(4);
    // A delivery that was under way at a kill may be made again, with the same key.
    let again = watch.hook.acknowledged().into_values().filter(|times| *times > 1).count();
    assert!(again <= 5, "{again} alerts were sent again");
}
