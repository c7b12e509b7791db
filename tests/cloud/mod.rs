//! The program and its options against fakes of all services it needs: from an account or a bucket to an index that
//! should hold exactly what was there.
//!
//! Pace, slices and tokens are tested beside the code and in `lookup`, what S3 may do to us in `buckets`. Here it is
//! the whole: who is asked for what, what a person reads, and what a second run costs.

mod accounts;
mod doctor;
mod identity;
mod killed;
mod lookup;
mod nights;
mod policy;
pub(crate) mod store;
mod trail;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aws::cloudtrail::{CloudTrail, Model, Reply};
use crate::support::aws::s3::Fake;
use crate::support::aws::server::{Request, Response, Server};
use crate::support::aws::sts::Sts;
use crate::support::aws::{ACCOUNT, KEY, SECRET, Service, account, cloud, ec2, organizations};
use crate::support::engine::FakeEngine;
use crate::support::load::{Desk, Load};

const DAY: i64 = 86_400;

/// An account beside the user's own.
const TWO: &str = "444455556666";

/// A third one.
const THREE: &str = "777788889999";

/// Regions, as EC2 tells them.
type Told = Vec<(&'static str, &'static str)>;

/// What the test may change while everything runs.
#[derive(Default)]
struct Script {
    /// What EC2 tells; it refuses if this is `None`.
    described: Option<Told>,
    /// What Account Management tells; it refuses if this is `None`.
    listed: Option<Told>,
    /// What the organization tells; it refuses if this is `None`.
    members: Option<Vec<Value>>,
    /// What CloudTrail tells of trails.
    trails: Vec<Value>,
    /// All sessions end when this many pages of events were asked for.
    sessions_end_at: Option<usize>,
}

/// All services, an engine, and a desk.
pub(crate) struct World {
    pub(crate) now: i64,
    sts: Arc<Sts>,
    pub(crate) trail: Arc<CloudTrail>,
    pub(crate) server: Server,
    script: Arc<Mutex<Script>>,
    engine: FakeEngine,
    pub(crate) desk: Desk,
}

impl World {
    /// Opens everything, without events, with two Regions that are enabled and one that is not.
    pub(crate) fn new() -> World {
        // The program has the real clock, so the model has it too.
        let now = jiff::Timestamp::now().as_second();
        let sts = Arc::new(Sts::new());
        let trail = CloudTrail::new(Model::new(now), Duration::from_millis(2));
        let described = vec![
            ("eu-west-1", "opt-in-not-required"),
            ("me-south-1", "not-opted-in"),
            ("us-east-1", "opt-in-not-required"),
        ];
        let script =
            Arc::new(Mutex::new(Script { described: Some(described), ..Script::default() }));
        let server = cloud(&sts, services(&sts, &trail, &script));
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        World { now, sts, trail, server, script, engine, desk }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Returns the URL of the engine.
    pub(crate) fn engine_url(&self) -> &str {
        self.engine.url()
    }

    /// Returns the ids of what the engine holds.
    pub(crate) fn loaded_ids(&self) -> BTreeSet<String> {
        self.engine.ids()
    }

    /// Makes every answer of the engine slow.
    pub(crate) fn slow_engine(&self, by: Duration) {
        self.fail_engine(1_000_000, &crate::support::engine::Fault::Slow(by));
    }

    /// Lets so many requests to the engine fail.
    pub(crate) fn fail_engine(&self, times: usize, fault: &crate::support::engine::Fault) {
        self.engine.fail(times, fault);
    }

    /// Ends the faults of the engine.
    pub(crate) fn heal_engine(&self) {
        self.engine.heal();
    }

    /// Fails unless the index holds exactly the events of the model, each once.
    pub(crate) fn assert_each_event_once(&self) {
        assert_eq!(self.loaded(), self.trail.model().ids(0, i64::MAX));
        self.engine.assert_no_complaints();
    }

    /// Ends all sessions when this many pages of events were asked for.
    pub(crate) fn end_sessions_at(&self, pages: usize) {
        self.change(|script| script.sessions_end_at = Some(pages));
    }

    /// Enables these Regions and no other.
    pub(crate) fn enable(&self, regions: &[&'static str]) {
        let told = regions.iter().map(|name| (*name, "opted-in")).collect();
        self.change(|script| script.described = Some(told));
    }

    /// Lets the user into another account.
    pub(crate) fn let_in(&self, role: &str) {
        self.sts.role(role, None);
    }

    /// Puts events evenly into the time between two ages, in seconds.
    pub(crate) fn put(&self, account: &str, region: &str, ages: (i64, i64), count: u32) {
        let (from, to) = (self.now - ages.0, self.now - ages.1);
        self.trail.model().put(account, region, from, to, count);
    }

    /// Prepares `trailload load` of these words, as the user.
    fn load(&self, words: &[&str]) -> Load {
        self.load_into(self.engine.url(), words)
    }

    /// Prepares a load into another engine.
    pub(crate) fn load_into(&self, url: &str, words: &[&str]) -> Load {
        let load = self.desk.load_all(words, url);
        load.environment("AWS_ENDPOINT_URL", &self.server.url())
            .environment("AWS_EC2_METADATA_DISABLED", "true")
            .environment("AWS_ACCESS_KEY_ID", KEY)
            .environment("AWS_SECRET_ACCESS_KEY", SECRET)
            .environment("AWS_REGION", "us-east-1")
    }

    /// Prepares a load in which S3 is this one.
    fn load_from(&self, s3: &Fake, words: &[&str]) -> Load {
        self.load(words).environment("AWS_ENDPOINT_URL_S3", &s3.url)
    }

    /// Returns the pages of events granted since the last time it was asked, by account and Region.
    fn pages(&self, before: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
        let all = self.pages_so_far();
        let since = |(place, pages): (String, usize)| {
            let pages = pages - before.get(&place).copied().unwrap_or(0);
            (place, pages)
        };
        all.into_iter().map(since).collect()
    }

    /// Returns the pages of events granted, by account and Region.
    fn pages_so_far(&self) -> BTreeMap<String, usize> {
        let model = self.trail.model();
        let asked = model.asked().iter();
        asked.map(|((one, region), asked)| (format!("{one} {region}"), asked.granted)).collect()
    }

    /// Returns the newest records of an account and Region, as a trail would deliver them.
    fn records(&self, account: &str, region: &str) -> Vec<Value> {
        let reply = self.trail.model().lookup(account, region, &json!({}), 1e6);
        let Reply::Page(page) = reply else { panic!("{reply:?}") };
        let events = page["Events"].as_array().unwrap().iter();
        let text = |event: &Value| event["CloudTrailEvent"].as_str().unwrap().to_owned();
        events.map(|event| serde_json::from_str(&text(event)).unwrap()).collect()
    }

    /// Returns the `eventID`s of what is in the index, and fails if one is there twice.
    fn loaded(&self) -> BTreeSet<String> {
        let documents = self.engine.documents();
        let count = documents.len();
        let ids: BTreeSet<String> = documents
            .into_keys()
            .map(|(_, id)| {
                let text = self.engine.document_text(&id).unwrap();
                let document: Value = serde_json::from_slice(&text).unwrap();
                document["eventID"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), count, "an event is there twice");
        ids
    }

    /// Returns the ids of all events that are older than 15 minutes, and not older than 90 days.
    pub(crate) fn settled(&self) -> BTreeSet<String> {
        self.trail.model().ids(self.now - 90 * DAY + 120, self.now - 900)
    }
}

fn services(
    sts: &Arc<Sts>,
    trail: &Arc<CloudTrail>,
    script: &Arc<Mutex<Script>>,
) -> Vec<(&'static str, Service)> {
    let (events, ending, pages) = (trail.service(sts), Arc::clone(sts), Mutex::new(0));
    let told = Arc::clone(script);
    let trails = move |request: &Request| {
        let script = told.lock().unwrap();
        if request.action() == "DescribeTrails" {
            return Response::json(200, &json!({ "trailList": named(&script.trails, request) }));
        }
        let mut pages = pages.lock().unwrap();
        *pages += 1;
        if script.sessions_end_at == Some(*pages) {
            ending.end_sessions();
        }
        events(request)
    };
    let [one, two, three] = [Arc::clone(script), Arc::clone(script), Arc::clone(script)];
    vec![
        ("cloudtrail", Box::new(trails)),
        (
            "ec2",
            Box::new(move |request| match &one.lock().unwrap().described {
                Some(regions) => ec2::regions(request, regions),
                None => ec2::denied(),
            }),
        ),
        (
            "account",
            Box::new(move |request| match &two.lock().unwrap().listed {
                Some(regions) => account::regions(request, regions),
                None => account::denied(),
            }),
        ),
        (
            "organizations",
            Box::new(move |request| match &three.lock().unwrap().members {
                Some(members) => organizations::accounts(request, members),
                None => organizations::denied(),
            }),
        ),
        ("sns", Box::new(published)),
    ]
}

/// Takes a message for a topic.
fn published(_: &Request) -> Response {
    let id = "567910cd-659e-55d4-8ccb-5aaf14679dc0";
    Response::xml(
        200,
        format!(
            "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
             <MessageId>{id}</MessageId></PublishResult></PublishResponse>"
        ),
    )
}

/// Returns the trails that are asked for by name or ARN.
fn named(trails: &[Value], request: &Request) -> Vec<Value> {
    let wanted = request.json()["trailNameList"].clone();
    let wanted = wanted.as_array().unwrap();
    let is_wanted =
        |trail: &&Value| wanted.contains(&trail["Name"]) || wanted.contains(&trail["TrailARN"]);
    trails.iter().filter(is_wanted).cloned().collect()
}
