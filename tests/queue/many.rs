//! Several processes on one queue.

use super::{QUEUE, QueueWorld};
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
