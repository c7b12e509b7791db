//! What is not deleted, and how the user learns of it.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};

use super::{BUCKET, QUEUE, QueueWorld, key};
use crate::support::aws::s3::Fault;
use crate::support::aws::sqs::from_event_bus;
use crate::support::events::event;
use crate::support::load::{PROGRAM, wait_for};

#[test]
fn foreign_messages_are_left_reported_once_and_deleted_only_on_request() {
    let world = QueueWorld::new();
    world.queue.send("hello");
    world.queue.send("hello again");
    let other = json!({
        "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
        "detail": { "state": "running" },
    });
    world.queue.send(&other);
    world.queue.send(&from_event_bus(&event(0)));
    let outcome = world.load(&[QUEUE]).run().exits(3).counted([1, 1, 0, 0]);
    assert_eq!(world.queue.len(), 3);
    assert_eq!(outcome.stderr.matches("text that is not JSON; left in the queue").count(), 1);
    outcome.says([
        "an event of EventBridge, EC2 Instance State-change Notification from aws.ec2; left in the queue; --delete-foreign-messages",
        "messages: 1 deleted, 3 foreign and left",
    ]);
    world.queue.expire_all();
    world.load(&[QUEUE, "--delete-foreign-messages"]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.queue.len(), 0);
}

#[test]
fn an_object_without_events_makes_its_message_foreign() {
    let world = QueueWorld::new();
    let mut named = world.put("x", 0..1);
    world.s3.change(BUCKET, |bucket| bucket.put("other/file.json", r#"{"a":1}"#));
    named["Records"][0]["s3"]["object"] = json!({ "key": "other/file.json" });
    world.queue.send(&named);
    let outcome = world.load(&[QUEUE]).run().exits(3);
    assert_eq!(world.queue.len(), 1);
    outcome.says(["JSON that is not CloudTrail"]);
}

#[test]
fn objects_that_cannot_be_fetched_are_named_and_their_messages_left() {
    for (fault, said) in [
        (Fault::deleted(), "the object does not exist: it was deleted, or has expired"),
        (
            Fault::key_denied(),
            "requires kms:Decrypt on arn:aws:kms:eu-west-1:123456789012:key/4f5e",
        ),
        (Fault::denied(), "requires s3:GetObject on arn:aws:s3:::logs/AWSLogs/*"),
        (Fault::archived(), "the object is archived (Glacier)"),
    ] {
        let world = QueueWorld::new();
        world.deliver("good", 0..2);
        world.deliver("bad", 2..4);
        world.s3.change(BUCKET, |bucket| {
            bucket.always.insert(key("bad"), fault.clone());
        });
        let outcome = world.load(&[QUEUE]).run().exits(3).counted([2, 2, 0, 0]);
        outcome.says([said, "messages: 1 deleted, 1 failed and left"]);
        assert_eq!(world.queue.len(), 1);
        // The next run tries again.
        world.s3.change(BUCKET, |bucket| bucket.always.clear());
        world.queue.expire_all();
        world.load(&[QUEUE]).run().exits(0).counted([2, 2, 0, 0]);
        assert_eq!(world.queue.len(), 0);
    }
}

#[test]
fn a_damaged_object_goes_to_the_dead_letters_of_the_queue() {
    let world = QueueWorld::new();
    world.queue.state().max_receives = Some(3);
    let named = world.put("damaged", 0..50);
    world.s3.change(BUCKET, |bucket| bucket.put(&key("damaged"), b"\x1f\x8b\x08 damaged".to_vec()));
    world.queue.send(&named);
    for _ in 0..3 {
        world.load(&[QUEUE]).run().exits(3);
        world.queue.expire_all();
    }
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.queue.len(), world.queue.state().dead.len()), (0, 1));
}

#[test]
fn kept_messages_are_read_once_in_a_run_and_deleted_by_none() {
    let world = QueueWorld::new();
    for number in 0..25 {
        world.queue.send(&from_event_bus(&event(number)));
    }
    world.load(&[QUEUE, "--keep-messages"]).run().exits(0).counted([25, 25, 0, 0]);
    assert_eq!(world.queue.len(), 25);
    world.queue.expire_all();
    let outcome = world.load(&[QUEUE, "--dry-run"]).run().exits(0);
    assert_eq!((outcome.number("read"), world.queue.len()), (25, 25));
    world.queue.expire_all();
    world.load(&[QUEUE]).run().exits(0).counted([25, 0, 25, 0]);
    assert_eq!(world.queue.len(), 0);
}

#[test]
fn options_without_effect_are_refused() {
    let world = QueueWorld::new();
    for words in [
        &["s3://logs", "--keep-messages"][..],
        &["lookup", "--delete-foreign-messages"],
        &[QUEUE, "--kinds", "Insight"],
        &[QUEUE, "--regions", "eu-west-1"],
        &[QUEUE, "--keep-messages", "--delete-foreign-messages"],
        &[QUEUE, "--dry-run", "--keep-messages"],
        &["sqs://"],
        &["sqs://a b"],
        &["sqs://a/b"],
    ] {
        world.load(words).run().exits(2);
    }
}

#[test]
fn the_status_after_a_run_is_that_of_its_end() {
    let world = QueueWorld::new();
    world.queue.send("not JSON");
    for number in 0..25 {
        world.queue.send(&from_event_bus(&event(number)));
    }
    world.load(&[QUEUE]).run().exits(3);
    let status = world.desk.status();
    let source = &status["sources"][0];
    assert_eq!((&source["waiting"], &source["in_flight"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(source["oldest_waiting"], Value::Null, "{status}");
    assert!(source["newest_event"].is_string(), "{status}");
}

#[test]
fn the_status_tells_a_run_that_goes_on_from_one_that_was_killed() {
    let world = QueueWorld::new();
    let status = || {
        let mut command = Command::new(PROGRAM);
        command.args(["status", "--checkpoint"]).arg(world.desk.checkpoint()).env_clear();
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    world.queue.send(&from_event_bus(&event(0)));
    let running = world.load(&[QUEUE, "--follow"]).start();
    wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
    let during = status();
    assert!(during.contains(", still running\n"), "{during}");
    // What a run has read is recorded at its end.
    assert!(!during.contains("0 read") && !during.contains("0 files"), "{during}");
    assert_eq!(world.desk.status()["in_use"], true);
    assert!(running.kill());
    let killed = status();
    assert!(killed.contains(", killed; the next run continues\n"), "{killed}");
    assert_eq!(world.desk.status()["in_use"], false);
    // Checks that come at the same moment as the start do not prevent a run.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let checks: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        status();
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            world.load(&[QUEUE]).run().exits(0);
        }
        is_over.store(true, Relaxed);
        for check in checks {
            check.join().unwrap();
        }
    });
    let ended = status();
    assert!(ended.contains(" with exit code 0: 0 read = 0 created"), "{ended}");
    assert!(ended.contains("\nsource       last poll "), "nothing was followed: {ended}");
}
