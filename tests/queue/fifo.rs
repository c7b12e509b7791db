//! FIFO queues: a message in flight holds back the others of its group, and no run ends while it holds back any itself.

use super::{BUCKET, QUEUE, QueueWorld, key};
use crate::support::aws::server::Server;
use crate::support::aws::sqs::{FakeQueue, from_event_bus};
use crate::support::aws::{cloud, sts::Sts};
use crate::support::events::{event, ids};
use crate::support::load::Desk;
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
