//! What SQS may do: throttle, break off, refuse parts of a batch, deliver twice and in any order, disappear.

use super::{QUEUE, QueueWorld};
use crate::support::aws::sqs::{QueueFault, from_event_bus, notification};
use crate::support::events::{event, ids};

/// Sends an event each.
fn send(world: &QueueWorld, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| world.queue.send(&from_event_bus(&event(number))));
}

#[test]
fn what_passes_is_tried_again_and_nothing_is_lost() {
    let throttled = || QueueFault::Refused(400, "RequestThrottled", "Rate exceeded");
    let broken = || QueueFault::Refused(503, "ServiceUnavailable", "try again");
    let world = QueueWorld::new();
    send(&world, 0..40);
    world.queue.state().faults = vec![
        ("ReceiveMessage", throttled()),
        ("ReceiveMessage", broken()),
        ("DeleteMessageBatch", QueueFault::HalfOfBatch),
        ("DeleteMessageBatch", throttled()),
        ("DeleteMessageBatch", broken()),
        ("DeleteMessageBatch", QueueFault::HalfOfBatch),
        ("DeleteMessageBatch", QueueFault::DoneAndReset),
    ];
    world.load(&[QUEUE]).run().exits(0).counted([40, 40, 0, 0]);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..40), 0));
    world.queue.assert_no_complaints();
}

#[test]
fn an_answer_that_is_lost_leaves_messages_for_later() {
    let world = QueueWorld::new();
    send(&world, 0..20);
    world.queue.state().faults = vec![("ReceiveMessage", QueueFault::DoneAndReset)];
    world.load(&[QUEUE]).run().exits(0);
    world.queue.expire_all();
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..20), 0));
}

#[test]
fn messages_that_come_twice_and_in_any_order_are_loaded_once() {
    let world = QueueWorld::new();
    {
        let mut queue = world.queue.state();
        (queue.duplicate_every, queue.is_shuffled) = (3, true);
    }
    send(&world, 0..60);
    world.deliver("a", 60..64);
    world.deliver("b", 64..68);
    let outcome = world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..68), 0));
    assert_eq!(outcome.number("created"), 68);
    assert!(world.queue.state().received > 62, "some came twice");
}

#[test]
fn a_message_that_comes_again_is_deleted_with_its_new_receipt_also_where_old_ones_are_refused() {
    let world = QueueWorld::new();
    {
        let mut queue = world.queue.state();
        (queue.duplicate_every, queue.refuses_old_receipts) = (1, true);
    }
    send(&world, 0..40);
    let outcome = world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..40), 0));
    assert!(world.queue.state().received > 40, "some came twice");
    outcome.says(["messages: 40 deleted"]);
    world.queue.assert_no_complaints();
}

#[test]
fn a_queue_that_is_deleted_while_it_is_read_is_exit_1() {
    let world = QueueWorld::new();
    send(&world, 0..5);
    let gone = || QueueFault::Refused(400, "com.amazonaws.sqs#QueueDoesNotExist", "gone");
    world.queue.state().faults = vec![("ReceiveMessage", gone()), ("ReceiveMessage", gone())];
    let outcome = world.load(&[QUEUE]).run().exits(1);
    outcome.says(["does not exist, or was deleted"]);
}

#[test]
fn objects_of_a_bucket_that_is_denied_end_the_run_before_all_messages_are_used_up() {
    use crate::support::aws::s3::Fault;
    let world = QueueWorld::new();
    for number in 0..600 {
        world.deliver(&number.to_string(), number..number + 1);
        let key = super::key(&number.to_string());
        world.s3.change(super::BUCKET, |bucket| {
            bucket.always.insert(key, Fault::denied());
        });
    }
    let outcome = world.load(&[QUEUE]).run().exits(1);
    outcome.says(["could not read s3://logs", "\"Action\":\"s3:GetObject\""]);
    assert_eq!(world.queue.len(), 600);
    let untouched = world.queue.receives().iter().filter(|receives| **receives == 0).count();
    assert!(untouched > 0, "all were received");
}

#[test]
fn a_long_message_and_a_hostile_one_stop_nothing() {
    let world = QueueWorld::new();
    world.queue.send(&"[".repeat(200_000));
    world.queue.send(&format!(
        "{{\"Records\":[{}",
        "{\"s3\":{\"bucket\":{\"name\":\"b\"}}},".repeat(1_000)
    ));
    world.queue.send(&format!("{{\"Message\":\"{}\"}}", "\\\"".repeat(100_000)));
    for bucket in ["another", "a b", "A/../b", "ü", &"x".repeat(300)] {
        world.queue.send(&notification(&[(bucket, "k\u{1b}[2J.json", 1, "e")]));
    }
    send(&world, 0..3);
    let mut large = event(3);
    large["requestParameters"]["text"] = "x".repeat(900_000).into();
    world.queue.send(&from_event_bus(&large));
    let outcome = world.load(&[QUEUE]).run().exits(3).counted([4, 4, 0, 0]);
    assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..4), 8));
}

#[test]
fn an_engine_that_refuses_ends_the_run_and_leaves_the_messages() {
    use crate::support::engine::Fault;
    let world = QueueWorld::new();
    send(&world, 0..30);
    for number in 0..5 {
        world.deliver(&number.to_string(), 30 + number..31 + number);
    }
    world.engine.fail(100, &Fault::Status(403));
    world.load(&[QUEUE]).with(["--batch", "64KiB"]).run().exits(1).says(["403"]);
    world.engine.heal();
    world.queue.expire_all();
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..35), 0));
}
