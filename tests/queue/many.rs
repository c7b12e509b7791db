//! Several processes on one queue.

use std::time::Duration;

use super::{BUCKET, QUEUE, QueueWorld};
use crate::support::events::ids;

/// Messages. `TRAILLOAD_TEST_MESSAGES` sets another number.
const MESSAGES: usize = 4_000;

#[test]
fn four_processes_fetch_each_object_once() {
    let number = std::env::var_os("TRAILLOAD_TEST_MESSAGES");
    let number = number.and_then(|number| number.to_str()?.parse().ok()).unwrap_or(MESSAGES);
    let world = QueueWorld::new();
    for file in 0..number {
        world.deliver(&file.to_string(), file..file + 1);
    }
    let runs: Vec<_> = (0..4)
        .map(|process| {
            let checkpoint = world.desk.path(format!("checkpoint-{process}.sqlite"));
            world.load(&[QUEUE]).checkpoint(&checkpoint).start()
        })
        .collect();
    let created: Vec<u64> =
        runs.into_iter().map(|run| run.end().exits(0).number("created")).collect();
    println!("{created:?}");
    assert_eq!(created.iter().sum::<u64>(), number as u64);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..number), 0));
    let mut fetched = world.fetched();
    assert_eq!(fetched.len(), number);
    fetched.sort_unstable();
    fetched.dedup();
    assert_eq!(fetched.len(), number, "an object was fetched twice");
    assert!(created.iter().filter(|created| **created > 0).count() > 1, "one did it all");
}

#[test]
fn objects_that_take_long_leave_memory_to_each_other() {
    let world = QueueWorld::new();
    for file in 0..600 {
        world.deliver(&file.to_string(), file..file + 1);
    }
    world.s3.change(BUCKET, |bucket| bucket.latency = Duration::from_millis(700));
    // The bucket has half of the memory, and nothing under this prefix.
    let outcome = world.load(&[QUEUE, "s3://logs/none/"]).run().exits(3);
    // The prefix is the only input that could not be read.
    let outcome = outcome.says(["s3://logs/none/: could not be read: contains no trail logs"]);
    let failures = outcome.summary.unwrap()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..600), 0));
}
