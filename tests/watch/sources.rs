//! `trailload watch` of the event history, of buckets and of indices: each alert once, and later runs request only what
//! is new.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::hook::{Ended, Folder, Hook, created, event_id, ids};
use crate::cloud::World;
use crate::engine::on_every_engine;
use crate::support::aws::s3::{Bucket, Fake, Fault};
use crate::support::aws::{ACCOUNT, KEY, SECRET};
use crate::support::events::{gzip, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(
    every_event_of_an_index_alerts_once,
    a_dry_run_over_an_index_prints_what_it_prints_for_files,
);

/// Ages in seconds: an event is recent, but old enough that the event history is complete up to it.
const RECENT: (i64, i64) = (6 * 3_600, 1_000);

/// A folder with rules and actions, and where AWS is.
struct Watch {
    folder: Folder,
    hook: Hook,
    environment: Vec<(&'static str, String)>,
}

impl Watch {
    fn new() -> Self {
        let (folder, hook) = (Folder::new(), Hook::start());
        folder.write("actions.yml", hook.actions());
        Self { folder, hook, environment: Vec::new() }
    }

    /// Watches for events that the model of the event history has.
    fn of(world: &World) -> Self {
        let watch = Self::new();
        let rule = "name: object written\nevents: [PutObject]\nactions: [hook]\n";
        watch.folder.write("rules.yml", rule);
        watch.with("AWS_ENDPOINT_URL", world.server.url()).with_credentials()
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn with_credentials(self) -> Self {
        let watch = self.with("AWS_EC2_METADATA_DISABLED", "true").with("AWS_REGION", "us-east-1");
        watch.with("AWS_ACCESS_KEY_ID", KEY).with("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    /// Runs `trailload watch rules.yml` with more arguments.
    fn run(&self, arguments: &[&str]) -> Ended {
        let always = ["watch", "rules.yml", "--log-format", "json"];
        let mut command = self.folder.command(&[&always, arguments].concat());
        command.env("HOME", self.folder.path("home")).envs(self.environment.iter().cloned());
        Ended::of(&command.output().unwrap())
    }

    /// Runs it with actions and a checkpoint.
    fn deliver(&self, arguments: &[&str]) -> Ended {
        let always = ["--actions", "actions.yml", "--checkpoint", "checkpoint.sqlite"];
        self.run(&[&always, arguments].concat())
    }

    /// Returns the events that the receiver has, and fails if it has one twice.
    fn received(&self) -> BTreeSet<String> {
        let events = self.hook.events();
        let unique: BTreeSet<String> = events.iter().cloned().collect();
        assert_eq!(unique.len(), events.len(), "an alert arrived twice");
        unique
    }
}

/// Returns the IDs of the model's events that the rule matches.
fn written(world: &World) -> BTreeSet<String> {
    let model = world.trail.model();
    let events = model.events.values().flatten();
    events.filter(|event| event.number % 4 == 2).map(|event| event.id.clone()).collect()
}

#[test]
fn every_event_of_the_history_alerts_once_and_later_runs_ask_for_what_is_new() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", RECENT, 70);
    world.put(ACCOUNT, "eu-west-1", RECENT, 8);
    let watch = Watch::of(&world);
    let first = watch.deliver(&[]).exits(0).adds_up();
    assert_eq!(first.numbers(["events", "alerts", "delivered", "pending"]), [78, 19, 19, 0]);
    assert_eq!(watch.received(), written(&world));

    let before = world.trail.model().granted();
    let second = watch.deliver(&[]).exits(0).adds_up();
    assert_eq!(second.numbers(["alerts", "delivered"]), [0, 0]);
    let asked = world.trail.model().granted() - before;
    assert!(asked <= 4, "{asked} pages although nothing is new");
    assert_eq!(watch.hook.received().len(), 19);

    // CloudTrail delivers some events late.
    world.put(ACCOUNT, "eu-west-1", (7_200, 7_200), 4);
    let third = watch.deliver(&["--in", "lookup"]).exits(0).adds_up();
    assert_eq!(third.numbers(["alerts", "delivered"]), [1, 1]);
    assert_eq!(watch.received(), written(&world));
}

#[test]
fn a_region_that_denies_is_an_exception_and_is_read_by_the_next_run() {
    let world = World::new();
    for region in ["us-east-1", "eu-west-1"] {
        world.put(ACCOUNT, region, RECENT, 8);
    }
    world.trail.model().denied = vec!["eu-west-1".to_owned()];
    let watch = Watch::of(&world);
    let run = watch.deliver(&[]).exits(3).adds_up();
    assert_eq!(run.numbers(["alerts", "delivered"]), [2, 2]);
    assert!(run.stderr.contains("cloudtrail:LookupEvents"), "{}", run.stderr);
    world.trail.model().denied.clear();
    watch.deliver(&[]).exits(0).adds_up();
    assert_eq!(watch.received(), written(&world));
}

#[test]
fn a_dry_run_over_the_history_writes_no_checkpoint() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", RECENT, 8);
    let watch = Watch::of(&world);
    for _ in 0..2 {
        let run = watch.run(&["--dry-run", "--last", "1d"]).exits(0);
        assert_eq!(alerted(&run), written(&world));
    }
    assert!(!watch.folder.path("state").exists());
    assert!(watch.hook.received().is_empty());
}

/// Returns the IDs of the events that a run printed alerts for.
fn alerted(run: &Ended) -> BTreeSet<String> {
    let alerts = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    alerts.map(|alert| alert["event_id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the key of a trail's file of now.
fn key(region: &str, name: &str) -> String {
    let time = jiff::Timestamp::now();
    let (folder, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{ACCOUNT}/CloudTrail/{region}/{folder}/{ACCOUNT}_CloudTrail_{region}_{stamp}_{name}.json.gz"
    )
}

/// Returns a file of a trail.
fn file(numbers: std::ops::Range<usize>) -> Vec<u8> {
    gzip(&records(&recent(numbers)))
}

fn recent(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(|number| created(number, "al", 5)).collect()
}

/// Returns the keys of the objects that were fetched since the last call.
fn objects_fetched(fake: &Fake) -> BTreeSet<String> {
    let calls = fake.take_calls().into_iter();
    calls.filter(|call| call.action == "GetObject").map(|call| call.key).collect()
}

#[test]
fn every_object_of_a_bucket_is_read_once() {
    let [one, two, three] = [key("eu-west-1", "a"), key("us-east-1", "b"), key("eu-west-1", "c")];
    let mut bucket = Bucket::new();
    bucket.put(&one, file(0..5));
    bucket.put(&two, file(5..9));
    let fake = Fake::start([("trail", bucket)]);
    let watch = Watch::new().with_credentials().with("AWS_ENDPOINT_URL_S3", fake.url.as_str());
    let run = || watch.deliver(&["--in", "s3://trail"]);
    let first = run().exits(0).adds_up();
    assert_eq!(first.numbers(["events", "alerts", "delivered"]), [9, 9, 9]);
    assert_eq!(objects_fetched(&fake), BTreeSet::from([one, two]));

    assert_eq!(run().exits(0).numbers(["events", "alerts", "delivered"]), [0, 0, 0]);
    assert_eq!(objects_fetched(&fake), BTreeSet::new());

    // An overlap: two events are known.
    fake.change("trail", |bucket| bucket.put(&three, file(7..12)));
    let third = run().exits(0).adds_up();
    assert_eq!(third.numbers(["events", "alerts", "duplicates"]), [5, 3, 2]);
    assert_eq!(objects_fetched(&fake), BTreeSet::from([three]));
    assert_eq!(watch.received(), ids(0..12));
}

#[test]
fn an_object_that_cannot_be_read_is_an_exception_and_is_read_by_the_next_run() {
    let [good, denied] = [key("eu-west-1", "a"), key("eu-west-1", "b")];
    let mut bucket = Bucket::new();
    bucket.put(&good, file(0..3));
    bucket.put(&denied, file(3..5));
    bucket.always.insert(denied.clone(), Fault::key_denied());
    let fake = Fake::start([("trail", bucket)]);
    let watch = Watch::new().with_credentials().with("AWS_ENDPOINT_URL_S3", fake.url.as_str());
    let run = || watch.deliver(&["--in", "s3://trail"]);
    let first = run().exits(3).adds_up();
    assert_eq!(first.numbers(["alerts", "delivered"]), [3, 3]);
    assert!(first.stderr.contains(&denied), "{}", first.stderr);
    fake.change("trail", |bucket| bucket.always.clear());
    assert_eq!(run().exits(0).numbers(["alerts", "delivered"]), [2, 2]);
    assert_eq!(watch.received(), ids(0..5));
    assert_eq!(watch.deliver(&["--in", "s3://nowhere"]).exits(1).stdout, "");
}

/// Loads events into an index.
fn load(desk: &Desk, corner: &Corner, events: &[Value]) {
    let file = desk.file(format!("{}.json", fastrand::u64(..)), records(events));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    corner.refresh();
}

fn every_event_of_an_index_alerts_once(corner: &Corner) {
    let (desk, watch) = (Desk::new(), Watch::new());
    let run =
        || watch.deliver(&["--in", "index", "--into", corner.url(), "--index", corner.prefix()]);
    let missing = run().exits(1);
    assert!(missing.stderr.contains("nothing is loaded yet"), "{}", missing.stderr);
    let mut events = recent(0..250);
    events.push(created(250, "al", 3 * 24 * 60));
    load(&desk, corner, &events);
    let first = run().exits(0).adds_up();
    assert_eq!(first.numbers(["events", "alerts", "recorded", "delivered"]), [251, 250, 1, 250]);
    assert_eq!(watch.received(), ids(0..250));

    let second = run().exits(0).adds_up();
    assert_eq!(second.numbers(["alerts", "recorded", "delivered"]), [0, 0, 0]);
    load(&desk, corner, &recent(251..255));
    let third = run().exits(0).adds_up();
    assert_eq!(third.numbers(["alerts", "recorded", "delivered"]), [4, 0, 4]);
    let received = watch.received();
    assert_eq!(received.len(), 254);
    assert!(!received.contains(&event_id(250)), "an old event is recorded only");
}

fn a_dry_run_over_an_index_prints_what_it_prints_for_files(corner: &Corner) {
    let (desk, watch) = (Desk::new(), Watch::new());
    let mut events = recent(0..20);
    // What an index must not lose: order, null, numbers, empty values.
    events.extend((20..60).map(|number| {
        let mut event = created(number, "bob", i64::try_from(number).unwrap() * 7);
        event["requestParameters"] =
            json!({ "z": null, "a": [], "n": number, "t": "\u{1f600} \\" });
        event
    }));
    let rules = "name: users\nevents: [CreateUser]\nmatch: detail.requestParameters.n > `30`\n---\nname: many\n\
                 events: [CreateUser]\ngroup_by: detail.userIdentity.arn\nwindow: 60m\nthreshold: 3\nactions: [hook]\n";
    watch.folder.write("rules.yml", rules);
    watch.folder.trail("0.json", &events);
    load(&desk, corner, &events);
    let index = ["--in", "index", "--into", corner.url(), "--index", corner.prefix()];
    for words in [&[][..], &["--last", "5h"], &["--actions", "actions.yml"]] {
        let run = |input: &[&str]| watch.run(&[&["--dry-run"], words, input].concat()).exits(0);
        let (of_index, of_files) = (run(&index), run(&["--in", "trail"]));
        assert!(of_files.stdout.lines().count() > 5, "{}", of_files.stderr);
        // The command that finds an event names where it was read.
        let from_index = format!(" --in index --into {} --index {}", corner.url(), corner.prefix());
        let of_index = of_index.stdout.replace(&from_index, " --in trail");
        assert_eq!(of_index, of_files.stdout, "{words:?}");
    }
}
