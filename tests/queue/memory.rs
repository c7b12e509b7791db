//! Memory: flat over a month of messages, and bounded whatever one message names.

use serde_json::json;

use super::{BUCKET, QUEUE, QueueWorld};
use crate::support::aws::sqs::notification;
use crate::support::aws::{ACCOUNT, s3::etag};
use crate::support::events::{self, ids};
use crate::support::load::wait_for;

/// Messages of the month. `TRAILLOAD_TEST_MESSAGES` sets another number.
const MESSAGES: usize = 15_000;

/// Days of the month, each with a folder of its own for each of two Regions.
const DAYS: usize = 30;

/// How much more memory the program may hold at the end than after ten days: what it remembers of messages and objects, 8 MiB, and
/// what its allocators keep.
const MOST_GROWTH_MIB: u64 = 24;

/// Returns the memory that a process holds, in MiB.
fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn a_month_of_messages_takes_no_more_memory_than_ten_days() {
    let number = std::env::var_os("TRAILLOAD_TEST_MESSAGES");
    let number = number.and_then(|number| number.to_str()?.parse().ok()).unwrap_or(MESSAGES);
    let (world, per_day) = (QueueWorld::new(), number / DAYS);
    let running = world.load(&[QUEUE, "--follow"]).start();
    let mut after_ten_days = 0;
    for day in 0..DAYS {
        for file in day * per_day..(day + 1) * per_day {
            let region = ["eu-central-1", "us-east-1"][file % 2];
            let key = format!(
                "AWSLogs/{ACCOUNT}/CloudTrail/{region}/2024/01/{:02}/{ACCOUNT}_CloudTrail_{region}_{file}.json.gz",
                day + 1
            );
            let body = events::gzip(&events::records(&events::events(file..file + 1)));
            let etag = etag(&body);
            world.queue.send(&notification(&[(BUCKET, &key, body.len(), etag.trim_matches('"'))]));
            world.s3.change(BUCKET, |bucket| bucket.put(&key, body));
        }
        let loaded = (day + 1) * per_day;
        wait_for("a day", || (world.engine.count() == loaded).then_some(()));
        if day == 9 {
            after_ten_days = resident_mib(running.pid());
        }
    }
    wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
    let at_the_end = resident_mib(running.pid());
    println!("{number} messages: {after_ten_days} MiB after ten days, {at_the_end} MiB at the end");
    assert!(at_the_end <= after_ten_days + MOST_GROWTH_MIB, "{after_ten_days} → {at_the_end} MiB");
    running.signal("TERM");
    running.end().exits(4);
}

#[test]
fn messages_that_name_thousands_of_objects_are_loaded_whole_and_released_whole() {
    const OBJECTS: usize = 6_000;
    let world = QueueWorld::new();
    let mut names = Vec::new();
    for number in 0..OBJECTS {
        let key = super::key(&number.to_string());
        world.put(&number.to_string(), number..number + 1);
        names.push(key);
    }
    // Two that name the same objects, and one that names half of them.
    for keys in [&names[..], &names, &names[..OBJECTS / 2]] {
        world.queue.send(&json!({ "s3Bucket": BUCKET, "s3ObjectKey": keys }));
    }
    let running = world.load(&[QUEUE]).start();
    wait_for("some objects", || (world.engine.count() > 20).then_some(()));
    running.signal("TERM");
    running.end().exits(4);
    assert_eq!((world.queue.len(), world.queue.in_flight()), (3, 0), "they are there for others");
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..OBJECTS), 0));
    assert_eq!(world.engine.count(), OBJECTS);
}
