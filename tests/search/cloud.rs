//! `search` of the event history and of buckets: exactly the events that a naive model finds, each once, within the
//! quota, and no request more than needed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cloud::World;
use crate::cloud::store::Store;
use crate::support::aws::cloudtrail::model::Event;
use crate::support::aws::s3::{Bucket, Fake};
use crate::support::aws::{ACCOUNT, KEY, SECRET};
use crate::support::events;
use crate::support::load::{PROGRAM, wait_for};
use crate::support::real::given;

const DAY: i64 = 86_400;

/// An account beside the user's own, and the role in it.
const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/trailload";

/// How long a test waits for something that should happen within seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// A search that has started.
struct Search {
    child: Child,
    /// Its output, until that is closed.
    lines: Option<BufReader<ChildStdout>>,
    messages: Option<JoinHandle<String>>,
}

/// A search that has ended.
struct Ended {
    code: Option<i32>,
    lines: Vec<String>,
    messages: String,
}

impl Search {
    fn start(world: &World, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .arg("search")
            .args(words)
            .env_clear()
            .env("HOME", world.desk.path("home"))
            .env("AWS_ENDPOINT_URL", world.server.url())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "us-east-1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()));
        let mut stderr = child.stderr.take().unwrap();
        let messages = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, lines, messages: Some(messages) }
    }

    /// Returns the next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn end(mut self) -> Ended {
        let lines = self.lines.take().unwrap().lines().map(Result::unwrap).collect();
        self.wait(lines)
    }

    /// Closes the pipe, and waits for the end.
    fn close_output(mut self) -> Ended {
        self.lines = None;
        self.wait(Vec::new())
    }

    fn wait(&mut self, lines: Vec<String>) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the search does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let messages = self.messages.take().unwrap().join().unwrap();
        Ended { code: status.code(), lines, messages }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.messages);
        self
    }

    /// Returns the IDs of the events, and fails if one came twice.
    fn ids(&self) -> BTreeSet<String> {
        let ids: BTreeSet<String> = self.lines.iter().map(|line| id(line)).collect();
        assert_eq!(ids.len(), self.lines.len(), "an event was printed twice");
        ids
    }
}

fn id(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    event["eventID"].as_str().unwrap().to_owned()
}

fn search(world: &World, words: &[&str]) -> Ended {
    Search::start(world, words, &[]).end()
}

/// Returns the IDs of the model's events that a predicate accepts.
fn wanted(world: &World, accepts: impl Fn(&Event) -> bool) -> BTreeSet<String> {
    let model = world.trail.model();
    model.events.values().flatten().filter(|it| accepts(it)).map(|it| it.id.clone()).collect()
}

/// Returns the attribute of every LookupEvents request; empty if it had none.
fn attributes(world: &World) -> BTreeSet<String> {
    let requests = world.server.requests().into_iter();
    let lookups = requests.filter(|request| request.action() == "LookupEvents");
    let attribute = |body: Value| match body["LookupAttributes"].as_array().map(Vec::as_slice) {
        Some([one]) => {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            format!("{}={}", text("AttributeKey"), text("AttributeValue"))
        }
        _ => String::new(),
    };
    lookups.map(|request| attribute(request.json())).collect()
}

/// Fails if any request was throttled.
fn assert_within_quota(world: &World) {
    let model = world.trail.model();
    let throttled: Vec<_> = model.asked().iter().filter(|(_, asked)| asked.throttled > 0).collect();
    assert!(throttled.is_empty(), "{throttled:?}");
}

const REGIONS: [&str; 20] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "eu-south-1",
    "ap-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "sa-east-1",
    "ca-central-1",
    "af-south-1",
];

#[test]
fn two_accounts_in_twenty_regions_are_searched_as_a_naive_model_would() {
    let world = World::new();
    world.enable(&REGIONS);
    world.let_in(ROLE);
    for (number, region) in (0..).zip(REGIONS) {
        world.put(ACCOUNT, region, (80 * DAY, 60), 7 + 20 * number);
        world.put(OTHER, region, (3 * DAY, 0), 130);
    }
    let roles = ["--accounts", "111122223333,444455556666", "--assume-role", ROLE_TEMPLATE];
    let run =
        search(&world, &[&roles[..], &["--match", "$.userIdentity.userName == 'user-3'"]].concat());
    let run = run.exits(0);
    assert_eq!(run.ids(), wanted(&world, |event| event.number % 7 == 3));
    assert_eq!(world.trail.model().asked().len(), 40);
    assert_eq!(attributes(&world), BTreeSet::from([String::new()]));
    assert_within_quota(&world);

    world.server.forget();
    let run = search(&world, &[&roles[..], &["--write-only", "*:*Object"]].concat()).exits(0);
    assert_eq!(run.ids(), wanted(&world, |event| event.number % 4 == 2));
    assert_eq!(attributes(&world), BTreeSet::from(["ReadOnly=false".to_owned()]));
}

/// The role in each account.
const ROLE_TEMPLATE: &str = "arn:aws:iam::{account}:role/trailload";

#[test]
fn an_event_that_several_regions_hold_is_printed_once() {
    let world = World::new();
    let second = world.now - 3_600;
    for region in ["us-east-1", "eu-west-1"] {
        world.put(ACCOUNT, region, (2 * DAY, 4_000), 60);
        let key = (ACCOUNT.to_owned(), region.to_owned(), false);
        let id = |number| format!("5ca1ab1e-0000-4000-8000-{number:012}");
        let shared = (0..30).map(|number| Event { id: id(number), second, number });
        world.trail.model().events.get_mut(&key).unwrap().extend(shared);
    }
    let run = search(&world, &[]).exits(0);
    assert_eq!(run.ids().len(), 150);
}

#[test]
fn the_attribute_that_leaves_the_fewest_events_is_sent() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (10 * DAY, 60), 100);
    let some = wanted(&world, |event| event.number == 42).pop_first().unwrap();
    let by_id = format!("$.eventID == '{some}'");
    for (words, attribute, found) in [
        (&["ec2:DescribeInstances"][..], "EventName=DescribeInstances", 25),
        (&["ec2:describeinstances"], "EventName=DescribeInstances", 25),
        (&["ec2:Desc*"], "EventSource=ec2.amazonaws.com", 25),
        (&["ec2:*", "--write-only"], "ReadOnly=false", 50),
        (&["--read-only"], "ReadOnly=true", 50),
        (&["*:Put*", "iam:*"], "", 25),
        (&["--match", &by_id], &format!("EventId={some}"), 1),
    ] {
        world.server.forget();
        let run = search(&world, &[&["--regions", "us-east-1"], words].concat()).exits(0);
        assert_eq!(run.ids().len(), found, "{words:?}");
        assert_eq!(attributes(&world), BTreeSet::from([attribute.to_owned()]), "{words:?}");
    }
}

#[test]
fn both_ends_of_the_time_range_belong_to_it() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (300, 1), 300);
    let time = |age: i64| jiff::Timestamp::from_second(world.now - age).unwrap().to_string();
    let (from, to) = (time(200), time(101));
    let run = search(&world, &["--from", &from, "--to", &to]).exits(0);
    let seconds = world.now - 200..=world.now - 101;
    assert_eq!(run.ids(), wanted(&world, |event| seconds.contains(&event.second)));
    assert_eq!(run.lines.len(), 100);
    search(&world, &["--from", &time(3_000), "--to", &time(2_000)]).exits(5);
}

#[test]
fn the_newest_events_come_first_and_a_limit_stops_the_requests() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 4_000);
    let run = search(&world, &["--regions", "us-east-1", "--limit", "75"]).exits(0);
    let ids: Vec<String> = run.lines.iter().map(|line| id(line)).collect();
    let key = (ACCOUNT.to_owned(), "us-east-1".to_owned(), false);
    let newest: Vec<String> =
        world.trail.model().events[&key].iter().rev().take(75).map(|it| it.id.clone()).collect();
    assert_eq!(ids, newest);
    assert!(world.trail.model().granted() <= 3, "{}", world.trail.model().granted());
}

#[test]
fn the_first_event_is_printed_after_one_request() {
    let world = World::new();
    for region in ["us-east-1", "eu-west-1"] {
        world.put(ACCOUNT, region, (60 * DAY, 60), 500);
    }
    // Neither a second page nor the other Region is answered: the line can come from one request only.
    world.trail.answer_only(1);
    let mut running = Search::start(&world, &[], &[]);
    let first = id(&running.line());
    assert!(wanted(&world, |_| true).contains(&first), "{first}");
}

#[test]
fn a_closed_pipe_ends_the_search_quietly_and_stops_the_requests() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 20_000);
    let mut running = Search::start(&world, &["--regions", "us-east-1"], &[]);
    let first = running.line();
    assert!(!first.is_empty());
    // The reader goes away, as `head -1` does.
    let ended = running.close_output().exits(0);
    assert!(!ended.messages.to_lowercase().contains("pipe"), "{}", ended.messages);
    assert!(world.trail.model().granted() <= 10, "{}", world.trail.model().granted());
}

#[test]
fn a_region_that_denies_is_reported_and_the_others_are_searched() {
    let world = World::new();
    for region in ["us-east-1", "eu-west-1"] {
        world.put(ACCOUNT, region, (20 * DAY, 60), 90);
    }
    world.trail.model().denied = vec!["eu-west-1".to_owned()];
    let run = search(&world, &[]).exits(3);
    assert_eq!(run.ids().len(), 90);
    let said = ["eu-west-1", "cloudtrail:LookupEvents"];
    assert!(said.iter().all(|text| run.messages.contains(text)), "{}", run.messages);
    world.trail.model().denied.push("us-east-1".to_owned());
    search(&world, &[]).exits(1);
}

#[test]
fn others_who_use_the_quota_cost_time_only() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 600);
    world.trail.model().others = 1.2;
    let run = search(&world, &["--regions", "us-east-1"]).exits(0);
    assert_eq!(run.ids().len(), 600);
    let throttled: usize = world.trail.model().asked().values().map(|it| it.throttled).sum();
    assert!(throttled > 0, "the model must have throttled");
}

#[test]
fn a_session_that_ends_is_renewed() {
    let world = World::new();
    world.let_in(ROLE);
    world.put(OTHER, "us-east-1", (20 * DAY, 60), 600);
    world.end_sessions_at(4);
    let words = ["--assume-role", ROLE, "--regions", "us-east-1"];
    let run = search(&world, &words).exits(0);
    assert_eq!(run.ids().len(), 600);
}

#[test]
fn tokens_and_empty_pages_lose_and_repeat_nothing() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 500);
    world.trail.model().token_life = Some(0.3);
    world.trail.model().empty_every = Some(4);
    let run = search(&world, &["--regions", "us-east-1"]).exits(0);
    assert_eq!(run.ids(), wanted(&world, |_| true));
}

#[test]
fn following_with_a_limit_waits_for_the_event_and_ends() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 80);
    let words =
        ["--regions", "us-east-1", "--follow", "--limit", "1", "*:PutObject", "--last", "5m"];
    let running = Search::start(&world, &words, &[]);
    wait_for("the first poll", || (world.trail.model().granted() >= 1).then_some(()));
    let key = (ACCOUNT.to_owned(), "us-east-1".to_owned(), false);
    let second = jiff::Timestamp::now().as_second() + 1;
    let awaited = Event { id: "awaited".to_owned(), second, number: 2 };
    world.trail.model().events.get_mut(&key).unwrap().push(awaited);
    let ended = running.end().exits(0);
    assert_eq!(ended.ids(), BTreeSet::from(["awaited".to_owned()]));
}

#[test]
fn following_prints_late_events_once_and_ends_with_a_signal() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 120);
    let mut running = Search::start(&world, &["--regions", "us-east-1", "--follow"], &[]);
    let mut ids: Vec<String> = (0..120).map(|_| id(&running.line())).collect();
    world.put(ACCOUNT, "us-east-1", (600, 600), 3);
    ids.extend((0..3).map(|_| id(&running.line())));
    world.put(ACCOUNT, "us-east-1", (1, 1), 2);
    ids.extend((0..2).map(|_| id(&running.line())));
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(unique, wanted(&world, |_| true));
    let asked = world.trail.model().granted();
    assert!(asked <= 12, "{asked} requests");
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.lines, Vec::<String>::new());
    assert!(matches!(ended.code, Some(0 | 4)), "{:?}: {}", ended.code, ended.messages);
}

#[test]
fn following_ends_at_once_and_quietly_when_its_reader_has_gone() {
    let world = World::new();
    world.put(ACCOUNT, "us-east-1", (20 * DAY, 60), 20);
    let mut running = Search::start(&world, &["--regions", "us-east-1", "--follow"], &[]);
    for _ in 0..20 {
        running.line();
    }
    let asked = std::time::Instant::now();
    let ended = running.close_output();
    assert_eq!(ended.code, Some(0), "{}", ended.messages);
    // The next poll would be after ten seconds, and without a new event it prints nothing.
    assert!(asked.elapsed().as_secs() < 8, "{:?}", asked.elapsed());
    let last = ended.messages.lines().last().unwrap_or_default();
    assert!(last.starts_with("found 20 of 20 events"), "{}", ended.messages);
}

/// Returns the key of a trail's file of an age in days.
fn key(account: &str, region: &str, days: i64, name: &str) -> String {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    let (folder, stamp) = (time.strftime("%Y/%m/%d"), time.strftime("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{folder}/{account}_CloudTrail_{region}_{stamp}_{name}.json.gz"
    )
}

/// A file of so many events.
fn file(numbers: std::ops::Range<usize>) -> Vec<u8> {
    events::gzip(&events::records(&events::events(numbers)))
}

/// Returns how many objects were fetched since the last call.
fn objects_fetched(fake: &Fake) -> usize {
    fake.take_calls().iter().filter(|call| call.action == "GetObject").count()
}

#[test]
fn a_bucket_is_searched_newest_day_first_and_only_where_it_may_match() {
    let mut bucket = Bucket::new();
    let mut number = 0;
    for days in [0, 1, 3, 40, 400] {
        for (account, region) in
            [(ACCOUNT, "eu-west-1"), (ACCOUNT, "us-east-1"), (OTHER, "eu-west-1")]
        {
            bucket.put(&key(account, region, days, "a"), file(number..number + 5));
            number += 5;
        }
    }
    let fake = Fake::start([("trail", bucket)]);
    let world = World::new();
    let run = |words: &[&str]| {
        let words = [&["--in", "s3://trail"], words].concat();
        Search::start(&world, &words, &[("AWS_ENDPOINT_URL_S3", &fake.url)]).end()
    };
    let all = run(&[]).exits(0);
    assert_eq!(all.ids(), events::ids(0..number));
    assert_eq!(objects_fetched(&fake), 15);
    // Objects of five events each, three a day. What is fetched and read at the same time may be swapped.
    let age = |id: &String| (0..number).find(|at| events::id(*at) == *id).unwrap() / 15;
    let ages: Vec<usize> = all.lines.iter().map(|line| age(&id(line))).collect();
    let (first, last) = ages.split_at(ages.len() / 2);
    assert!(first.iter().sum::<usize>() < last.iter().sum::<usize>(), "{ages:?}");

    run(&["--accounts", OTHER, "--regions", "eu-west-1", "--last", "9d"]);
    assert_eq!(objects_fetched(&fake), 3, "of one account and Region, and of three days");
    let limited = run(&["--limit", "3"]).exits(0);
    assert_eq!(limited.lines.len(), 3);
}

#[test]
fn a_store_that_is_not_aws_is_searched() {
    let store = Store::new();
    for (number, days) in (0..).zip([0, 1, 2, 200]) {
        store.put_log(&key(ACCOUNT, "eu-west-1", days, "a"));
        store.put_log(&key(OTHER, ["us-east-1", "eu-west-2"][number % 2], days, "b"));
    }
    let world = World::new();
    let address = given("TRAILLOAD_TEST_S3");
    let run = |words: &[&str]| {
        let bucket = format!("s3://{}", store.bucket);
        let words = [&["--in", &bucket], words].concat();
        let nobody = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        Search::start(&world, &words, &[("AWS_ENDPOINT_URL_S3", &address), nobody]).end()
    };
    assert_eq!(run(&[]).exits(0).ids(), events::ids(0..16));
    let one = run(&["--match", &format!("$.eventID == '{}'", events::id(5))]).exits(0);
    assert_eq!(one.ids(), BTreeSet::from([events::id(5)]));
    assert_eq!(run(&["--limit", "2"]).exits(0).lines.len(), 2);
}

#[test]
fn following_a_bucket_prints_each_new_object_once() {
    let mut bucket = Bucket::new();
    bucket.put(&key(ACCOUNT, "eu-west-1", 5, "a"), file(0..5));
    bucket.put(&key(ACCOUNT, "eu-west-1", 0, "b"), file(5..10));
    let fake = Fake::start([("trail", bucket)]);
    let world = World::new();
    let words = ["--in", "s3://trail", "--follow"];
    let variables = [("AWS_ENDPOINT_URL_S3", fake.url.as_str())];
    let mut running = Search::start(&world, &words, &variables);
    let mut ids: Vec<String> = (0..10).map(|_| id(&running.line())).collect();
    fake.change("trail", |bucket| {
        bucket.put(&key(ACCOUNT, "eu-west-1", 0, "c"), file(10..15));
        bucket.put(&key(OTHER, "ap-south-1", 0, "d"), file(15..20));
    });
    ids.extend((0..10).map(|_| id(&running.line())));
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!((unique, ids.len()), (events::ids(0..20), 20));
    running.signal("TERM");
    assert_eq!(running.end().lines, Vec::<String>::new());
}

#[test]
fn counts_over_regions_agree_with_the_model() {
    let world = World::new();
    for (region, count) in [("us-east-1", 70), ("eu-west-1", 30)] {
        world.put(ACCOUNT, region, (20 * DAY, 60), count);
    }
    let run = search(&world, &["--count-by", "awsRegion", "--output", "csv"]).exits(0);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in &run.lines {
        let number = line.split(',').find_map(|cell| cell.parse::<u64>().ok());
        let region =
            line.split(',').find(|cell| cell.contains("-west-") || cell.contains("-east-"));
        if let (Some(number), Some(region)) = (number, region) {
            counts.insert(region.to_owned(), number);
        }
    }
    let expected = [("eu-west-1".to_owned(), 30), ("us-east-1".to_owned(), 70)];
    assert_eq!(counts, BTreeMap::from(expected), "{:?}", run.lines);
}
