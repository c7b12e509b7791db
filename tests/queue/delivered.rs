//! Every shape of a message ends as documents, alerts or found events, and the queue is empty.

use std::process::{Command, Output};

use serde_json::json;

use super::{BUCKET, QUEUE, QueueWorld, key};
use crate::support::aws::sqs::{from_event_bus, from_topic, notification};
use crate::support::events::{event, ids, records};
use crate::support::load::PROGRAM;

#[test]
fn every_shape_of_a_message_is_loaded_once_and_deleted() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    world.queue.send(&from_topic(&from_event_bus(&event(1))));
    world.queue.send(&String::from_utf8(records(&[event(2), event(3), event(4)])).unwrap());
    world.queue.send(&json!([from_event_bus(&event(5)), from_event_bus(&event(6))]));
    world.deliver("direct", 7..9);
    world.queue.send(&from_topic(&world.put("topic", 9..11)));
    let bus = world.put("bus", 11..13)["Records"][0]["s3"]["object"].clone();
    world.queue.send(&json!({
        "version": "0", "detail-type": "Object Created", "source": "aws.s3", "region": "eu-west-1",
        "detail": {
            "bucket": { "name": BUCKET },
            "object": { "key": key("bus"), "size": bus["size"], "etag": bus["eTag"] },
        },
    }));
    world.put("one", 13..15);
    world.put("two", 15..17);
    let named = json!({ "s3Bucket": BUCKET, "s3ObjectKey": [key("one"), key("two")] });
    world.queue.send(&from_topic(&named));
    world.queue.send(&json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET }));
    let outcome = world.load(&[QUEUE]).run().exits(0).counted([17, 17, 0, 0]);
    assert_eq!(world.engine.ids(), ids(0..17));
    assert_eq!(world.queue.len(), 0, "{:?}", world.queue.bodies());
    outcome.says(["sqs://trail: messages: 9 deleted"]);
    world.queue.assert_no_complaints();
    assert_eq!(world.fetched().len(), 5);
}

#[test]
fn an_object_that_many_messages_name_is_fetched_once() {
    let world = QueueWorld::new();
    let named = world.put("same", 0..3);
    for _ in 0..25 {
        world.queue.send(&named);
    }
    world.queue.send(&json!({ "s3Bucket": BUCKET, "s3ObjectKey": [key("same")] }));
    world.load(&[QUEUE]).run().exits(0).counted([3, 3, 0, 0]);
    assert_eq!((world.queue.len(), world.fetched().len()), (0, 1));
    // What the checkpoint knows is not fetched again, and the bucket itself knows it as well.
    world.queue.send(&named);
    world.queue.send(&json!({ "s3Bucket": BUCKET, "s3ObjectKey": [key("same")] }));
    world.load(&[QUEUE]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.queue.len(), 0);
    world.load(&["s3://logs"]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.fetched().len(), 0);
}

#[test]
fn an_object_that_was_replaced_is_read_as_it_is_now() {
    let world = QueueWorld::new();
    let before = world.put("file", 0..2);
    let after = world.put("file", 0..5);
    world.queue.send(&before);
    world.queue.send(&after);
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..5), 0));
}

#[test]
fn every_name_of_a_queue_is_understood() {
    let world = QueueWorld::new();
    let host = world.server.url();
    let names = [
        "sqs://trail".to_owned(),
        "sqs://111122223333/trail".to_owned(),
        format!("sqs://{host}/111122223333/trail"),
        "arn:aws:sqs:us-east-1:111122223333:trail".to_owned(),
        "sqs://arn:aws:sqs:us-east-1:111122223333:trail".to_owned(),
    ];
    for (number, name) in names.iter().enumerate() {
        world.queue.send(&from_event_bus(&event(number)));
        world.load(&[name.as_str()]).run().exits(0).counted([1, 1, 0, 0]);
    }
    assert_eq!(world.queue.len(), 0);
}

#[test]
fn several_sources_are_loaded_at_once() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    world.put("listed", 1..3);
    let file = world.desk.file("local.json", records(&[event(3), event(4), event(5)]));
    let outcome = world.load(&[QUEUE, "s3://logs", file.to_str().unwrap()]).run().exits(0);
    outcome.counted([6, 6, 0, 0]);
    assert_eq!(world.queue.len(), 0);
}

#[test]
fn events_outside_of_the_time_range_are_settled_too() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    world.deliver("file", 1..9);
    world.load(&[QUEUE, "--from", "2030-01-01"]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.queue.len(), 0);
}

/// Runs a command that writes no summary.
fn run(world: &QueueWorld, words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words).env_clear().env("HOME", world.desk.path("home"));
    command.envs(world.environment()).output().unwrap()
}

#[test]
fn a_search_prints_what_it_finds_and_deletes_what_it_read() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    world.deliver("file", 1..4);
    let search = run(&world, &["search", "ec2:RunInstances", "--in", QUEUE, "--output", "json"]);
    assert_eq!(search.status.code(), Some(0), "{}", String::from_utf8_lossy(&search.stderr));
    let found: serde_json::Value = serde_json::from_slice(&search.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 4);
    assert_eq!(world.queue.len(), 0);
    world.queue.send(&from_event_bus(&event(0)));
    let kept = run(&world, &["search", "ec2:RunInstances", "--in", QUEUE, "--keep-messages"]);
    assert_eq!((kept.status.code(), world.queue.len()), (Some(0), 1));
}

#[test]
fn a_schema_is_observed_without_deleting() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    let shown = run(&world, &["schema", "ec2.RunInstances.request", "--observed", QUEUE]);
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("t3.micro"));
    assert_eq!(world.queue.len(), 1);
}

#[test]
fn a_list_without_entries_needs_nothing_to_be_done() {
    let world = QueueWorld::new();
    world.queue.send(&notification(&[]));
    world.load(&[QUEUE]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(world.queue.len(), 0);
}
