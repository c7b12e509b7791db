//! SIGKILL at any moment and SIGTERM: nothing is lost, nothing is twice, and what was not begun is there for others at once.

use std::time::{Duration, Instant};

use super::{QUEUE, QueueWorld};
use crate::support::aws::s3::Fault;
use crate::support::aws::sqs::from_event_bus;
use crate::support::events::{event, ids};

/// Kills over the whole test.
const KILLS: usize = 100;

/// Time after which no further run is killed, so that a busy machine does not make the test endless.
const LONGEST: Duration = Duration::from_mins(4);

#[test]
fn kills_at_random_moments_lose_nothing_and_load_nothing_twice() {
    let world = QueueWorld::new();
    {
        let mut queue = world.queue.state();
        (queue.is_shuffled, queue.duplicate_every) = (true, 7);
    }
    let (started, mut sent, mut kills) = (Instant::now(), 0, 0);
    while kills < KILLS && started.elapsed() < LONGEST {
        // There is always something to receive, fetch, acknowledge and delete.
        for _ in 0..10 {
            world.queue.send(&from_event_bus(&event(sent)));
            world.deliver(&format!("f{sent}"), sent + 1..sent + 4);
            sent += 4;
        }
        let running = world.load(&[QUEUE]).start();
        wait(Duration::from_millis(fastrand::u64(20..400)));
        kills += usize::from(running.kill());
        world.queue.expire_all();
    }
    println!("{kills} kills in {:?}, {sent} events", started.elapsed());
    world.load(&[QUEUE]).run().exits(0);
    world.queue.expire_all();
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!(world.queue.len(), 0);
    assert_eq!(world.engine.ids(), ids(0..sent));
    assert_eq!(world.engine.count(), sent, "an event is there twice");
}

fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until a condition holds.
fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < Duration::from_mins(1), "it never came");
        wait(Duration::from_millis(10));
    }
}

#[test]
fn a_run_that_is_stopped_finishes_what_it_began_and_releases_the_rest() {
    let world = QueueWorld::new();
    for number in 0..30 {
        world.deliver(&number.to_string(), number..number + 1);
        // All objects take long: none can be read before the signal.
        world.s3.change(super::BUCKET, |bucket| {
            let late = Fault::Late(Duration::from_secs(20));
            bucket.always.insert(super::key(&number.to_string()), late);
        });
    }
    let running = world.load(&[QUEUE]).start();
    until(|| world.queue.in_flight() == 30);
    // Each is begun, and what was on its way to the program has arrived.
    wait(Duration::from_secs(2));
    running.signal("TERM");
    let outcome = running.end().exits(4);
    assert_eq!(world.queue.len(), 30);
    assert_eq!((world.queue.in_flight(), world.queue.state().released), (0, 30));
    outcome.says(["messages: 30 released"]);
    world.s3.change(super::BUCKET, |bucket| bucket.always.clear());
    world.load(&[QUEUE]).run().exits(0).counted([30, 30, 0, 0]);
    assert_eq!(world.queue.len(), 0);
}

#[test]
fn messages_that_take_long_are_extended() {
    let world = QueueWorld::new();
    world.queue.state().visibility_seconds = 30;
    world.deliver("late", 0..2);
    world.s3.change(super::BUCKET, |bucket| {
        bucket.always.insert(super::key("late"), Fault::Late(Duration::from_secs(25)));
    });
    world.load(&[QUEUE]).run().exits(0).counted([2, 2, 0, 0]);
    let queue = world.queue.state();
    assert!(queue.extended >= 1);
    assert_eq!((queue.received, queue.deleted), (1, 1));
}
