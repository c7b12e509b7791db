//! LookupEvents through the real clients and real connections, against a strict fake.
//!
//! What needs no connection (pace, slices, tokens, quota at any latency) is tested beside the code, by a clock that
//! is turned. Here the quota is twenty times as large, so that nobody waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use serde_json::{Value, json};
use trailload::aws::Session;
use trailload::source::lookup::{ACTIONS, Category, LookupOptions, LookupSource, LookupTarget};
use trailload::source::{Error, Slice, SourceEvent};

use crate::support::aws::cloudtrail::{CloudTrail, Model, Reply};
use crate::support::aws::server::{Response, Server};
use crate::support::aws::sts::Sts;
use crate::support::aws::{self as fakes, cloud, given};
use crate::support::sources::read;

/// 1 January 2026.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const ONE: &str = "111122223333";
const TWO: &str = "444455556666";
const QUOTA: f64 = 40.0;

/// A cloud with two accounts, and the loader's way into it.
struct World {
    trail: Arc<CloudTrail>,
    server: Server,
}

impl World {
    fn new(mut model: Model) -> Self {
        model.quota = QUOTA;
        let sts = Arc::new(Sts::new());
        for account in [ONE, TWO] {
            sts.user(&key(account), &format!("arn:aws:iam::{account}:user/loader"));
        }
        let trail = CloudTrail::new(model, Duration::from_millis(5));
        let server = cloud(&sts, vec![("cloudtrail", trail.service(&sts))]);
        Self { trail, server }
    }

    fn places(&self, account: &str, regions: &[&str]) -> Vec<LookupTarget> {
        let mut options = fakes::options(&self.server);
        options.credentials =
            Some(given(Credentials::new(key(account), "secret", None, None, "test")));
        options.timeouts.read = Duration::from_millis(400);
        options.timeouts.attempt = Duration::from_millis(400);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let access = runtime.block_on(Session::load(&options)).unwrap();
        let place = |region: &&str| LookupTarget {
            account: account.to_owned(),
            region: (*region).to_owned(),
            client: access.cloudtrail(region),
            category: Category::Management,
            filter: None,
            may_be_disabled: false,
        };
        regions.iter().map(place).collect()
    }
}

fn key(account: &str) -> String {
    format!("AKIA{account}")
}

/// A slice that has started.
struct OpenSlice {
    slice: Slice,
    pages: u32,
    /// The second from which it is complete, by the last page that had one.
    since: Option<i64>,
}

/// Fails if a second between the first and the last one is in none of these ranges.
fn assert_no_gap(ranges: &BTreeSet<(i64, i64)>) {
    let mut reached = ranges.first().unwrap().0 - 1;
    for (from, to) in ranges {
        assert!(*from <= reached + 1, "nothing covers {}..{from}: {ranges:?}", reached + 1);
        reached = reached.max(*to);
    }
}

/// Lists until all is listed, or `enough` pages came.
fn load(places: Vec<LookupTarget>, enough: usize) -> (Vec<String>, Vec<String>, Result<(), Error>) {
    let options = LookupOptions { requests_per_second: QUOTA * 0.97, ..LookupOptions::new(NOW) };
    let lookup = LookupSource::new(places, options, Box::new(|_| Vec::new()));
    let (mut ids, mut failed, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut open: BTreeMap<String, OpenSlice> = BTreeMap::new();
    let mut covered: BTreeMap<String, BTreeSet<(i64, i64)>> = BTreeMap::new();
    let result = read(lookup, |_, found| {
        match found {
            SourceEvent::SliceStarted(slice) => {
                let key = slice.key.clone();
                let before = open.insert(key, OpenSlice { slice, pages: 0, since: None });
                assert!(before.is_none(), "{:?}", before.map(|open| open.slice));
            }
            SourceEvent::Page(page) => {
                let slice = open.get_mut(&page.key).unwrap();
                assert_eq!(page.number, slice.pages);
                (slice.pages, slice.since) = (slice.pages + 1, page.since.or(slice.since));
                pages += 1;
                ids.extend(page.content.events.iter().map(|event| {
                    let record: Value =
                        serde_json::from_str(event.record.as_deref().unwrap()).unwrap();
                    record["eventID"].as_str().unwrap().to_owned()
                }));
            }
            SourceEvent::SliceEnded { key, pages, complete } => {
                let OpenSlice { slice, pages: expected, since } = open.remove(&key).unwrap();
                assert_eq!(pages, expected);
                // A slice that was shortened, as others read its older part, is complete from its position.
                let from = if complete { Some(slice.from) } else { since };
                covered.entry(slice.series).or_default().extend(from.map(|from| (from, slice.to)));
            }
            SourceEvent::Failed(error) => {
                failed.push(format!("{}: {}", error.subject(), error.describe()));
            }
            other => panic!("{other:?}"),
        }
        pages < enough
    });
    if failed.is_empty() && result.is_ok() && pages < enough {
        assert!(open.is_empty());
        covered.values().for_each(assert_no_gap);
    }
    (ids, failed, result)
}

fn settled(world: &World) -> BTreeSet<String> {
    world.trail.model().ids(NOW - 90 * DAY, NOW - 900)
}

#[test]
fn every_event_of_20_regions_of_2_accounts_comes_once() {
    let names: Vec<String> = (1..=10)
        .flat_map(|number| [format!("us-east-{number}"), format!("eu-west-{number}")])
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut model = Model::new(NOW);
    for account in [ONE, TWO] {
        for (number, region) in (0u32..).zip(&names) {
            model.put(account, region, NOW - 50 * DAY, NOW - 1, 40 * number);
        }
    }
    model.put_insights(ONE, "us-east-1", NOW - 9 * DAY, 60);
    let world = World::new(model);
    let mut places = [world.places(ONE, &names), world.places(TWO, &names)].concat();
    places.push(LookupTarget { category: Category::Insight, ..places[0].clone() });
    let (ids, failed, result) = load(places, usize::MAX);
    assert!(result.is_ok() && failed.is_empty(), "{result:?} {failed:?}");
    let once: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(once, settled(&world));
    assert_eq!(ids.len(), once.len(), "some came twice");
    let calls: BTreeSet<String> = world
        .server
        .calls()
        .iter()
        .map(|(service, action)| format!("{service}:{action}"))
        .collect();
    assert!(calls.iter().map(String::as_str).eq(ACTIONS.iter().copied()), "{calls:?}");
}

#[test]
fn hangs_resets_and_cut_answers_cost_time_only() {
    let mut model = Model::new(NOW);
    model.put(ONE, "us-east-1", NOW - 50 * DAY, NOW - 1, 1_500);
    let world = World::new(model);
    let page = json!({ "Events": [], "NextToken": "x".repeat(100) });
    for _ in 0..2 {
        world.server.next("LookupEvents", Response::hang());
        world.server.next("LookupEvents", Response::reset());
        world.server.next("LookupEvents", Response::json(200, &page).cut_after(20));
        world.server.next("LookupEvents", Response::json(200, &page).stall_after(20));
        world.server.next("LookupEvents", Response::json_error(503, "ServiceUnavailable", "later"));
        world.server.next("LookupEvents", Response::json_error(400, "ThrottlingException", "Rate"));
    }
    let (ids, failed, result) = load(world.places(ONE, &["us-east-1"]), usize::MAX);
    assert!(result.is_ok() && failed.is_empty(), "{result:?} {failed:?}");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), settled(&world));
}

#[test]
fn nobody_waits_for_an_answer_that_nobody_wants() {
    let mut model = Model::new(NOW);
    model.put(ONE, "us-east-1", NOW - 50 * DAY, NOW - 1, 5_000);
    let world = World::new(model);
    let mut places = world.places(ONE, &["us-east-1"]);
    places.extend(world.places(TWO, &["eu-west-1"]));
    let began = Instant::now();
    let (ids, _, result) = load(places, 4);
    assert!(result.is_ok());
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert!(ids.len() <= 200);
}

#[test]
fn a_denied_region_is_told_once_and_denied_everywhere_is_an_error() {
    let mut model = Model::new(NOW);
    model.put(ONE, "us-east-1", NOW - 50 * DAY, NOW - 1, 100);
    model.denied = vec!["eu-west-1".to_owned()];
    let world = World::new(model);
    let (ids, failed, result) = load(world.places(ONE, &["us-east-1", "eu-west-1"]), usize::MAX);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), settled(&world));
    assert_eq!(failed.len(), 1);
    assert!(failed[0].starts_with(
        "eu-west-1: account 111122223333: not authorized to perform cloudtrail:LookupEvents: "
    ));
    let (_, failed, result) = load(world.places(ONE, &["eu-west-1"]), usize::MAX);
    assert!(failed.is_empty());
    let told = result.unwrap_err().to_string();
    assert!(told.contains("not authorized to perform cloudtrail:LookupEvents"), "{told}");
}

#[test]
fn the_fake_is_strict() {
    let mut model = Model::new(NOW);
    model.put(ONE, "us-east-1", NOW - 100 * DAY, NOW - 1, 100_000);
    let mut ask = |body: Value, at: f64| match model.lookup(ONE, "us-east-1", &body, at) {
        Reply::Page(page) => (page["Events"].as_array().unwrap().len(), page["NextToken"].clone()),
        Reply::Error(code, _) => (0, json!(code)),
    };
    let asked = json!({ "StartTime": NOW - 89 * DAY, "EndTime": NOW, "MaxResults": 50 });
    let (events, token) = ask(asked.clone(), 0.0);
    assert_eq!(events, 50);
    let with = |name: &str, value: Value| {
        let mut body = asked.clone();
        body[name] = value;
        body["NextToken"] = token.clone();
        body
    };
    assert_eq!(ask(with("MaxResults", json!(50)), 0.1), (0, json!("ThrottlingException")));
    assert_eq!(ask(with("MaxResults", json!(50)), 0.5).0, 50);
    let invalid = (0, json!("InvalidNextTokenException"));
    assert_eq!(ask(with("EndTime", json!(NOW - 1)), 10.0), invalid);
    assert_eq!(ask(with("MaxResults", json!(49)), 20.0), invalid);
    let range = (0, json!("InvalidTimeRangeException"));
    assert_eq!(ask(json!({ "StartTime": NOW - 91 * DAY, "EndTime": NOW }), 30.0), range);
    assert_eq!(ask(json!({ "StartTime": NOW, "EndTime": NOW - 1 }), 40.0), range);
    assert_eq!(ask(json!({ "MaxResults": 51 }), 50.0), (0, json!("InvalidMaxResultsException")));
    assert_eq!(ask(json!({ "StartTime": NOW - 10, "EndTime": NOW - 10 }), 60.0).1, Value::Null);
    assert_eq!(model.granted(), 8);
    assert_eq!(model.asked().values().map(|asked| asked.throttled).sum::<usize>(), 1);
}
