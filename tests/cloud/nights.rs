//! The same command night after night, and services that have a bad night.
//!
//! The program has the real clock. So that a day passes, everything that the service and the checkpoint know becomes
//! a day older.

use std::time::Duration;

use trailload::checkpoint::CheckpointReader;

use super::{ACCOUNT, DAY, World};
use crate::support::aws::s3::{Bucket, Fake, Fault};
use crate::support::aws::server::{Request, Response};
use crate::support::events;
use crate::support::load::{Load, wait_for};

const PLACE: (&str, &str) = (ACCOUNT, "us-east-1");

fn nightly(world: &World) -> Load {
    // Documents keep the time at which they were told first, and a month may end meanwhile.
    world.load(&["lookup", "--regions", PLACE.1, "--index-by", "none"])
}

/// A day passes for the service and for the checkpoint.
fn sleep_a_day(world: &World) {
    for event in world.trail.model().events.values_mut().flatten() {
        event.second -= DAY;
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let path = world.desk.checkpoint();
    let database = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    // In two steps, as no two rows may be equal in between.
    for change in ["since = 86400 - since, until = until - 86400", "since = -since"] {
        database.execute(&format!("UPDATE coverage SET {change}"), []).unwrap();
    }
}

/// Returns the seconds that need not be fetched again.
fn covered(world: &World) -> Vec<(i64, i64)> {
    let Ok(reader) = CheckpointReader::open(&world.desk.checkpoint()) else { return Vec::new() };
    reader.coverage(&format!("lookup:{ACCOUNT}/{}/management", PLACE.1)).unwrap()
}

/// Fails if a request, after so many, asked for a second that was covered.
fn assert_nothing_asked_of(covered: &[(i64, i64)], world: &World, after: usize) {
    let requests = world.server.requests();
    let pages = requests.iter().filter(|it| it.action() == "LookupEvents").skip(after);
    for body in pages.map(Request::json) {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        let [from, to] = ["StartTime", "EndTime"].map(|name| body[name].as_f64().unwrap() as i64);
        let again = covered.iter().find(|(since, until)| *since <= to && *until >= from);
        assert_eq!(again, None, "{body}");
    }
}

#[test]
fn a_backfill_stopped_on_day_three_goes_on_on_day_four() {
    let world = World::new();
    world.put(ACCOUNT, PLACE.1, (80 * DAY, 2 * DAY), 1_500);
    let load = nightly(&world);
    let asked = || world.trail.model().granted();
    let mut safe = 0;
    for night in 1..=3 {
        let (known, pages, before) = (covered(&world), asked(), world.server.count("LookupEvents"));
        let running = load.start();
        wait_for("some pages", || (asked() >= pages + 8).then_some(()));
        running.signal("TERM");
        let stopped = running.end().exits(4);
        assert!(stopped.number("created") >= 50, "night {night} brought next to nothing");
        assert_nothing_asked_of(&known, &world, before);
        let seconds: i64 = covered(&world).iter().map(|(from, to)| to - from + 1).sum();
        assert!(seconds > safe, "night {night} covered nothing");
        safe = seconds;
        sleep_a_day(&world);
        world.put(ACCOUNT, PLACE.1, (DAY - 1_200, 1_200), 10);
    }
    let (known, before) = (covered(&world), world.server.count("LookupEvents"));
    let held = world.engine.count() as u64;
    let last = load.run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    assert_eq!(last.number("created"), 1_530 - held);
    assert_nothing_asked_of(&known, &world, before);
    // Half a page at the end of each slice, and for what was open when a night ended.
    assert!(asked() <= 31 + 4 * 8, "{} pages", asked());
}

#[test]
fn a_load_every_night_finds_what_came_late_and_fetches_nothing_else_again() {
    let world = World::new();
    world.put(ACCOUNT, PLACE.1, (70 * DAY, 1_200), 300);
    let load = nightly(&world);
    load.run().exits(0).counted([300, 300, 0, 0]);
    for night in 1..=5 {
        sleep_a_day(&world);
        world.put(ACCOUNT, PLACE.1, (DAY - 1_200, 1_200), 20);
        // Told after the load of the night before: of its last minutes, and of almost a day before it.
        world.put(ACCOUNT, PLACE.1, (DAY + 600, DAY - 600), 3);
        world.put(ACCOUNT, PLACE.1, (2 * DAY - 600, DAY + 1_200), 7);
        let before = world.pages_so_far();
        assert_eq!(load.run().exits(0).number("created"), 30, "night {night}");
        assert_eq!(world.loaded(), world.settled());
        let pages: usize = world.pages(&before).values().sum();
        assert!(pages <= 3, "night {night} cost {pages} requests");
    }
    world.engine.assert_no_complaints();
}

#[test]
fn tokens_that_expire_cost_requests_and_lose_nothing() {
    let world = World::new();
    world.trail.model().token_life = Some(0.4);
    world.put(ACCOUNT, PLACE.1, (3 * DAY, 1_200), 400);
    nightly(&world).run().exits(0);
    assert_eq!(world.loaded(), world.settled());
    assert!(world.trail.model().granted() > 8, "the test is about nothing");
    assert_eq!(nightly(&world).run().exits(0).number("created"), 0);
}

/// Returns a bucket of so many files of ten events, each of a day of its own.
fn bucket(now: i64, files: usize) -> (Bucket, Vec<String>) {
    let mut bucket = Bucket::new();
    let keys: Vec<String> = (0..files)
        .map(|file| {
            let second = now - i64::try_from(file).unwrap() * DAY;
            let day = jiff::Timestamp::from_second(second).unwrap().strftime("%Y/%m/%d");
            format!("AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/{day}/{file:03}.json.gz")
        })
        .collect();
    for (file, key) in keys.iter().enumerate() {
        let content = events::records(&events::events(file * 10..(file + 1) * 10));
        bucket.put(key, events::gzip(&content));
    }
    (bucket, keys)
}

#[test]
fn a_bad_night_of_a_bucket_costs_time_only() {
    let world = World::new();
    let (mut bucket, keys) = bucket(world.now, 60);
    bucket.latency = Duration::from_millis(5);
    bucket.most_at_once = 3;
    bucket.list_faults.extend([Fault::SlowDown, Fault::Reset, Fault::Cut(80)]);
    for (number, key) in keys.iter().enumerate() {
        let fault = match number % 6 {
            0 => Fault::Cut(120),
            1 => Fault::Reset,
            2 => Fault::SlowDown,
            3 => Fault::Refused(503, "ServiceUnavailable", "later"),
            _ => continue,
        };
        bucket.faults.entry(key.clone()).or_default().push_back(fault);
    }
    let s3 = Fake::start([("trail", bucket)]);
    let load = world.load_from(&s3, &["s3://trail"]);
    load.run().exits(0).counted([600, 600, 0, 0]);
    assert_eq!(world.engine.ids(), events::ids(0..600));
    load.run().exits(0).counted([0, 0, 0, 0]);
}

#[test]
#[ignore = "waits for a request that nobody answers: more than a minute"]
fn a_service_that_says_nothing_is_asked_again_after_a_while() {
    let world = World::new();
    world.put(ACCOUNT, PLACE.1, (3 * DAY, 1_200), 200);
    let (mut bucket, keys) = bucket(world.now, 5);
    let late = Fault::Late(Duration::from_mins(10));
    bucket.faults.entry(keys[2].clone()).or_default().push_back(late.clone());
    bucket.list_faults.push_back(late);
    let s3 = Fake::start([("trail", bucket)]);
    for action in ["GetCallerIdentity", "LookupEvents"] {
        world.server.next(action, Response::hang());
    }
    let load = world.load_from(&s3, &["lookup", "s3://trail", "--regions", PLACE.1]);
    load.run().exits(0).counted([250, 250, 0, 0]);
}
