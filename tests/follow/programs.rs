//! `load --follow` and `watch --follow` as programs: new and late events, SIGKILL, SIGTERM, and an engine that is away.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cloud::World;
use crate::support::aws::s3::{Bucket, Fake};
use crate::support::aws::{ACCOUNT, KEY, SECRET};
use crate::support::engine::Fault;
use crate::support::events::{events, gzip, records};
use crate::support::load::{Load, Running, wait_for};
use crate::watch::hook::{Folder, Hook};

const DAY: i64 = 86_400;
const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

fn follow(world: &World) -> Load {
    world.load_into(world.engine_url(), &["lookup", "--follow", "--log-format", "json"])
}

/// Waits until the engine holds these events, each once.
fn wait_until_loaded(world: &World, ids: &BTreeSet<String>) {
    wait_for("all events", || ids.is_subset(&world.loaded_ids()).then_some(()));
}

/// Returns the ids of all events of the model.
fn all(world: &World) -> BTreeSet<String> {
    world.trail.model().ids(0, i64::MAX)
}

/// Ends a run as a service manager does.
fn terminate(running: Running) {
    running.signal("TERM");
    running.end().exits(4).says(["stopped early, position saved"]);
}

#[test]
fn it_catches_up_and_loads_new_and_late_events_within_seconds() {
    let world = World::new();
    world.put(ACCOUNT, "eu-west-1", (80 * DAY, 2 * DAY), 300);
    world.put(ACCOUNT, "eu-west-1", (DAY, 1_000), 100);
    world.put(ACCOUNT, "us-east-1", (3_000, 30), 120);
    let running = follow(&world).start();
    wait_until_loaded(&world, &all(&world));
    // New ones, and one between events that are loaded already.
    world.put(ACCOUNT, "us-east-1", (20, 10), 3);
    world.put(ACCOUNT, "eu-west-1", (700, 700), 1);
    wait_until_loaded(&world, &all(&world));
    let status = world.desk.status();
    assert_eq!(status["sources"][0]["source"], "lookup", "{status}");
    assert!(status["sources"][0]["newest_event"].is_string(), "{status}");
    assert!(status["sources"][0]["age_seconds"].as_i64().unwrap() < 60, "{status}");
    terminate(running);
    world.assert_each_event_once();
}

#[test]
fn killed_at_random_moments_nothing_is_lost_and_nothing_is_there_twice() {
    let world = World::new();
    for region in REGIONS {
        world.put(ACCOUNT, region, (20 * DAY, 2 * DAY), 200);
        world.put(ACCOUNT, region, (DAY, 30), 150);
    }
    world.slow_engine(Duration::from_millis(15));
    let load = follow(&world).with(["--batch", "64KiB"]);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for kill in 0..12 {
        let mut running = load.start();
        assert!(!running.ends_within(Duration::from_millis(random.u64(1..2_500))));
        assert!(running.kill());
        if kill % 4 == 3 {
            world.put(ACCOUNT, REGIONS[random.usize(..2)], (20 * 3_600, 30), 40);
        }
    }
    let running = load.start();
    wait_until_loaded(&world, &all(&world));
    terminate(running);
    world.assert_each_event_once();
}

#[test]
fn an_engine_that_is_away_for_a_while_gets_everything_afterwards() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (3_000, 30), 120);
    let running = follow(&world).start();
    wait_until_loaded(&world, &all(&world));
    world.fail_engine(1_000_000, &Fault::Status(503));
    world.put(ACCOUNT, "us-east-1", (600, 20), 60);
    std::thread::sleep(Duration::from_secs(12));
    world.heal_engine();
    wait_until_loaded(&world, &all(&world));
    terminate(running);
    world.assert_each_event_once();
}

#[test]
fn new_files_of_a_bucket_are_loaded_by_the_next_round() {
    let world = World::new();
    let key = |file: usize| {
        let time = jiff::Timestamp::from_second(world.now).unwrap();
        let (day, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
        format!(
            "AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/{day}/{ACCOUNT}_CloudTrail_eu-west-1_{stamp}_{file:06}.json.gz"
        )
    };
    let mut bucket = Bucket::new();
    bucket.put(&key(0), gzip(&records(&events(0..20))));
    let s3 = Fake::start([("trail", bucket)]);
    let words = ["s3://trail", "--follow", "--log-format", "json"];
    let load =
        world.load_into(world.engine_url(), &words).environment("AWS_ENDPOINT_URL_S3", &s3.url);
    let running = load.start();
    wait_for("the first file", || (world.loaded_ids().len() == 20).then_some(()));
    s3.change("trail", |bucket| bucket.put(&key(1), gzip(&records(&events(20..40)))));
    let started = std::time::Instant::now();
    while world.loaded_ids().len() < 40 {
        assert!(started.elapsed() < Duration::from_mins(2), "the second file was not loaded");
        std::thread::sleep(Duration::from_millis(100));
    }
    terminate(running);
    let again = load.start();
    wait_for("a round", || {
        let status = world.desk.status();
        (status["runs"][0]["ended"].is_null() && !status["sources"].as_array()?.is_empty())
            .then_some(())
    });
    terminate(again);
    assert_eq!(world.loaded_ids().len(), 40);
}

#[test]
fn alerts_are_sent_once_across_kills() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (3_000, 30), 160);
    let (folder, hook) = (Folder::new(), Hook::start());
    folder.write("actions.yml", hook.actions());
    folder.write("rules.yml", "name: object written\nevents: [PutObject]\nactions: [hook]\n");
    let start = || {
        let words = [
            "watch",
            "rules.yml",
            "--actions",
            "actions.yml",
            "--checkpoint",
            "c.sqlite",
            "--follow",
        ];
        let mut command = folder.command(&words);
        command.env("HOME", folder.path("home")).env("AWS_ENDPOINT_URL", world.server.url());
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.spawn().unwrap()
    };
    let matching = || {
        let model = world.trail.model();
        let events = model.events.values().flatten().filter(|event| event.number % 4 == 2);
        events.map(|event| event.id.clone()).collect::<BTreeSet<_>>()
    };
    let mut random = fastrand::Rng::new();
    for _ in 0..5 {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(random.u64(100..2_500)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = start();
    world.put(ACCOUNT, "us-east-1", (20, 10), 8);
    wait_for("all alerts", || {
        let received: BTreeSet<String> = hook.events().into_iter().collect();
        (received == matching()).then_some(())
    });
    crate::watch::hook::signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    // A delivery that was under way when the program was killed may be made again, with the same id.
    let several = hook.acknowledged().values().filter(|times| **times > 1).count();
    assert!(several <= 5, "{several} alerts were sent again");
}

#[test]
fn options_without_a_meaning_are_refused_by_name() {
    let world = World::new();
    let load = |words: &[&str]| world.load_into(world.engine_url(), words).run().exits(2);
    load(&["lookup", "--follow", "--to", "1d"]).says(["--to", "--follow"]);
    load(&["lookup", "--follow", "--dry-run"]).says(["--dry-run", "--follow"]);
    load(&["a.json", "--follow"])
        .says(["'--follow' applies only to the event history, to buckets and to queues"]);
}
