//! FIFO queues: a message in flight holds back the others of its group, and no run ends while it holds back any itself.

use super::follow::Watch;
use super::{BUCKET, QUEUE, QueueWorld, key};
use crate::support::aws::server::Server;
use crate::support::aws::sqs::{FakeQueue, from_event_bus};
use crate::support::aws::{cloud, sts::Sts};
use crate::support::events::{event, ids};
use crate::support::load::Desk;
use crate::watch::hook::{Ended, created, event_id};
use serde_json::json;
use std::sync::Arc;

impl QueueWorld {
    fn fifo() -> Self {
        let mut world = Self::new();
        world.queue = FakeQueue::fifo();
        let server: Server = cloud(&Arc::new(Sts::new()), vec![("sqs", world.queue.service())]);
        world.server = server;
        world
    }
}

#[test]
fn every_message_of_every_group_is_loaded_once() {
    let world = QueueWorld::fifo();
    for number in 0..90 {
        world.queue.send_to_group(["a", "b", "c"][number / 30], &from_event_bus(&event(number)));
    }
    world.load(&[&format!("{QUEUE}.fifo")]).run().exits(0).counted([90, 90, 0, 0]);
    assert_eq!((world.queue.len(), world.queue.state().received), (0, 90));
    assert_eq!(world.engine.ids(), ids(0..90));
    world.queue.assert_no_complaints();
}

#[test]
fn a_message_that_is_left_holds_back_its_group_alone_and_the_run_ends() {
    let world = QueueWorld::fifo();
    world.queue.send_to_group("a", "not JSON");
    for number in 0..40 {
        world.queue.send_to_group(["a", "b"][number % 2], &from_event_bus(&event(number)));
    }
    let first = world.load(&[&format!("{QUEUE}.fifo")]).run().exits(3);
    first.says(["1 foreign and left"]);
    let left = world.queue.len();
    assert!(world.queue.bodies().iter().any(|body| body == "not JSON"));
    assert!((1..=21).contains(&left), "{left}");
    world.queue.expire_all();
    world.queue.state().max_receives = Some(1);
    world.load(&[&format!("{QUEUE}.fifo")]).run().exits(0);
    assert_eq!((world.queue.len(), world.queue.state().dead.len()), (0, 1));
    assert_eq!(world.engine.ids(), ids(0..40));
}

#[test]
fn an_object_that_cannot_be_read_holds_back_its_group_alone_and_the_run_ends() {
    let world = QueueWorld::fifo();
    let named = world.put("damaged", 0..5);
    let damaged = b"\x1f\x8b\x08 damaged".to_vec();
    world.s3.change(BUCKET, |bucket| bucket.put(&key("damaged"), damaged));
    world.queue.send_to_group("a", &named);
    for number in 0..40 {
        world.queue.send_to_group("b", &from_event_bus(&event(number)));
    }
    let run = world.load(&[&format!("{QUEUE}.fifo")]).run().exits(3);
    run.says(["1 failed and left"]);
    assert_eq!((world.queue.len(), world.engine.ids()), (1, ids(0..40)));
}

#[test]
fn several_processes_load_every_message_of_every_group_once() {
    let world = QueueWorld::fifo();
    for number in 0..120 {
        let group = ["a", "b", "c", "d"][number % 4];
        world.queue.send_to_group(group, &from_event_bus(&event(number)));
    }
    let desks = [Desk::new(), Desk::new(), Desk::new()];
    let runs = desks.each_ref().map(|desk| {
        let load = desk.load_all([&format!("{QUEUE}.fifo")], world.engine.url());
        world.dressed(load).start()
    });
    let runs = runs.map(|running| running.end().exits(0));
    let read: u64 = runs.iter().map(|outcome| outcome.number("read")).sum();
    assert_eq!((world.queue.len(), read), (0, 120));
    assert_eq!((world.engine.ids(), world.engine.count()), (ids(0..120), 120));
}

/// Sends an event that raises an alert each: every third one in an object, every other one in a large message, so that some take longer
/// than those behind them.
fn alarm_in_order(world: &QueueWorld, group: &str, user: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let mut event = created(number, user, 5);
        if number % 3 == 0 {
            let named = world.put_events(&number.to_string(), &[event]);
            world.queue.send_to_group(group, &named);
        } else {
            if number % 2 == 0 {
                event["additionalEventData"] = json!({ "padding": "x".repeat(150_000) });
            }
            world.queue.send_to_group(group, &from_event_bus(&event));
        }
    }
}

#[test]
fn alerts_are_raised_in_the_order_of_the_messages_of_a_group() {
    let (world, watch) = (QueueWorld::fifo(), Watch::new());
    alarm_in_order(&world, "a", "alice", 0..30);
    alarm_in_order(&world, "b", "bob", 30..60);
    let ended = watch.command(&world, &["--in", &format!("{QUEUE}.fifo")]).output().unwrap();
    Ended::of(&ended).exits(0);
    assert_eq!(world.queue.len(), 0);
    let received = watch.hook.events();
    for group in [0..30, 30..60] {
        let of_group: Vec<String> = group.map(event_id).collect();
        let found: Vec<_> = received.iter().filter(|id| of_group.contains(id)).cloned().collect();
        assert_eq!(found, of_group);
    }
    assert_eq!(received.len(), 60);
}

#[test]
fn a_message_that_cannot_be_read_raises_no_alert_and_stops_none_of_its_group() {
    let (world, watch) = (QueueWorld::fifo(), Watch::new());
    let damaged = world.put("damaged", 0..1);
    world.s3.change(BUCKET, |bucket| bucket.put(&key("damaged"), b"\x1f\x8b\x08 damaged".to_vec()));
    alarm_in_order(&world, "a", "alice", 1..3);
    world.queue.send_to_group("a", &damaged);
    alarm_in_order(&world, "a", "alice", 3..6);
    let ended = watch.command(&world, &["--in", &format!("{QUEUE}.fifo")]).output().unwrap();
    Ended::of(&ended).exits(3);
    assert_eq!(watch.hook.events(), (1..6).map(event_id).collect::<Vec<_>>());
    assert_eq!(world.queue.len(), 1);
}
