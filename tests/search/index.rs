//! `--in index`: what comes back from real engines is what was loaded, and no query loses an event.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use trailload::filter::action::ActionFilter;
use trailload::filter::match_expression::MatchExpression;
use trailload::filter::query::{Observations, Query, TimeBounds};
use trailload::limit::DecoderLimits;
use trailload::normalize::record_of_document;
use trailload::pending::PendingRequests;
use trailload::report::Log;
use trailload::shutdown::shutdown_channel;
use trailload::sink::{EngineReader, Target};
use trailload::source::index::{IndexError, IndexPlan, IndexSource};
use trailload::source::{
    self, Content, Decoder, OversizedRecord, RecordHandler, RecordOutcome, ReservedBytes,
    SourceEvent, for_each_event, skip_value,
};

use crate::engine::on_every_engine;
use crate::support::events::{event, event_with, events, gzip};
use crate::support::hostile;
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};
use crate::support::samples::Samples;

on_every_engine!(
    every_event_comes_back_as_it_was_loaded,
    no_query_loses_an_event,
    pages_lose_nothing_at_equal_times,
    events_in_documents_of_others_are_found,
    indices_that_cannot_be_read_are_named,
);

/// Queries in an ordinary run of the tests.
const QUERIES: usize = 200;

/// Of so many real events, one is loaded where each of them would be read many times.
const REAL_STEP: usize = 8;

fn queries() -> usize {
    let asked = std::env::var_os("TRAILLOAD_QUERIES").and_then(|text| text.into_string().ok());
    asked.map_or(QUERIES, |text| text.parse().expect("TRAILLOAD_QUERIES is a number"))
}

/// Takes down the records of an input.
#[derive(Default)]
struct Recorder {
    records: Vec<Vec<u8>>,
}

impl RecordHandler for Recorder {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        match skip_value(text, start) {
            Ok(end) => {
                self.records.push(text[start..end].to_vec());
                RecordOutcome::EndsAt(end)
            }
            Err(source::SkipError::Incomplete) => RecordOutcome::Incomplete,
            Err(source::SkipError::Invalid { offset, .. }) => {
                RecordOutcome::Invalid { offset, cause: "invalid".into() }
            }
        }
    }

    fn oversized(&mut self, record: OversizedRecord) {
        panic!("{record:?}");
    }
}

/// The index of a corner, read without the program around it.
pub(super) struct Index {
    url: String,
    prefix: String,
    /// How long failures are retried.
    pub(super) deadline: Duration,
    runtime: Runtime,
}

impl Index {
    pub(super) fn of(corner: &Corner) -> Self {
        Self::at(corner.url(), corner.prefix())
    }

    /// Reads the indices of a prefix at an address, which may be another one than the engine's.
    pub(super) fn at(url: &str, prefix: &str) -> Self {
        let (url, prefix) = (url.to_owned(), prefix.to_owned());
        Self { url, prefix, deadline: Duration::from_mins(1), runtime: Runtime::new().unwrap() }
    }

    /// Returns the records that a query reads, before they are filtered, and the failures on the way.
    pub(super) fn read(&self, query: &Query) -> Result<(Vec<Vec<u8>>, Vec<String>), String> {
        let (_trigger, shutdown) = shutdown_channel();
        let mut target = Target::new(self.url.parse().unwrap(), &self.prefix);
        target.retry_deadline = self.deadline;
        self.runtime.block_on(async {
            let pending = PendingRequests::default();
            let reader = EngineReader::connect(target, Log::default(), pending, shutdown.clone());
            let reader = reader.await.map_err(|error| IndexError::from(error).describe())?;
            let plan = IndexPlan::new(reader, query).await.map_err(|error| error.describe())?;
            let shown = plan.query().to_string();
            let source = Box::new(IndexSource::new(plan, 0, Log::default()));
            let (mut recorder, mut failures) = (Recorder::default(), Vec::new());
            let mut decoder = Decoder::new(DecoderLimits::DEFAULT);
            let read = for_each_event(source, shutdown, |_, event| {
                match event {
                    SourceEvent::Input(input) => {
                        let Content::Memory(_) = &input.content else { panic!("{input:?}") };
                        let decoded =
                            decoder.read(&input.name, input.content, &mut recorder).unwrap();
                        failures.extend(decoded.defects.iter().map(|defect| format!("{defect:?}")));
                    }
                    SourceEvent::Failed(error) => failures.push(error.describe()),
                    other => panic!("{other:?}"),
                }
                std::ops::ControlFlow::Continue(())
            });
            read.await.map_err(|error| format!("{}\n{shown}", error.describe()))?;
            let restored = recorder.records.into_iter().map(|record| {
                record_of_document(&record).map_or(record, |document| document.record)
            });
            Ok((restored.collect(), failures))
        })
    }

    /// Returns the records that a query reads, all of which must be readable.
    pub(super) fn records(&self, query: &Query) -> Vec<Vec<u8>> {
        let (records, failures) = self.read(query).unwrap_or_else(|error| panic!("{error}"));
        assert!(failures.is_empty(), "{failures:?}");
        records
    }
}

/// Counts records by their content, whatever the order of keys and the spelling of values. What is not JSON is as it is.
pub(super) fn multiset<'r>(
    records: impl IntoIterator<Item = &'r Vec<u8>>,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(canonical(record)).or_default() += 1;
    }
    counts
}

/// Returns a text that is equal for records of equal content.
fn canonical(record: &[u8]) -> String {
    match serde_json::from_slice::<Value>(record) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string()
        }
        Err(_) => String::from_utf8_lossy(record).into_owned(),
    }
}

/// Events of every kind: one of so many real ones, invented ones with fields that no table knows, and hostile ones.
fn all_events(real_step: usize) -> Vec<Vec<u8>> {
    let samples = Samples::shipped();
    let real = samples.lines().iter().step_by(real_step);
    let mut all: Vec<Vec<u8>> = real.map(|line| line.trim_ascii_end().to_vec()).collect();
    all.extend(invented().iter().map(|event| event.to_string().into_bytes()));
    let readable = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).is_ok();
    let records = hostile::all().into_iter().filter(|record| record.bytes.len() < 200_000);
    all.extend(records.map(|record| record.bytes).filter(|bytes| readable(bytes)));
    let mut recorder = Recorder::default();
    let bytes = ReservedBytes { bytes: all.join(&b'\n').into(), permit: None };
    Decoder::new(DecoderLimits::DEFAULT)
        .read("all.ndjson", Content::Memory(bytes), &mut recorder)
        .unwrap();
    recorder.records
}

/// Events with what a query may stumble over.
fn invented() -> Vec<Value> {
    let long = |letters: usize| "x".repeat(letters);
    let values: Vec<(&str, Value)> = vec![
        ("errorCode", json!("AccessDenied")),
        ("errorCode", json!("")),
        ("errorCode", json!([])),
        ("errorCode", json!(["AccessDenied"])),
        ("errorCode", json!([null])),
        ("errorCode", json!({})),
        ("errorCode", json!({ "code": "AccessDenied" })),
        ("errorCode", json!(null)),
        ("errorMessage", json!(long(1_024))),
        ("errorMessage", json!(long(1_025))),
        ("errorMessage", json!(format!("{} needle", long(3_000)))),
        ("requestParameters.policy", json!(format!("{{\"a\":\"{}\"}}", long(1_200)))),
        ("requestParameters.policy", json!("{\"Statement\":[]}")),
        ("requestParameters.policy", json!({ "Statement": [{ "Effect": "Allow" }] })),
        ("requestParameters.attribute", json!("disableApiTermination")),
        ("requestParameters.attribute", json!({ "name": "x", "value": "y" })),
        ("requestParameters.attribute", json!({ "value": "wrapped" })),
        ("requestParameters.filter", json!(["a", { "b": 1 }, "c"])),
        ("requestParameters.inventedYesterday", json!("text")),
        ("requestParameters.inventedYesterday", json!({ "name": "x" })),
        ("requestParameters.inventedNumber", json!(5)),
        ("requestParameters.inventedNumber", json!(5.0)),
        ("requestParameters.inventedNumber", json!(50.5)),
        ("requestParameters.inventedNumber", json!("5")),
        ("requestParameters.inventedNumber", json!(1e3)),
        ("requestParameters.inventedFlag", json!(true)),
        ("requestParameters.inventedFlag", json!("true")),
        ("requestParameters.inventedFlag", json!([true, false])),
        ("requestParameters.tags", json!({ "team": "blue", "a.b": "c" })),
        (
            "requestParameters.deep",
            json!({ "a": { "b": { "c": { "d": { "e": { "f": "deep" } } } } } }),
        ),
        ("requestParameters.deep", json!({ "a": [{ "b": "in a list" }, { "b": ["x", "y"] }] })),
        ("requestParameters.wild*card", json!("a*b?c\\d")),
        ("requestParameters.unicode", json!("Zoë \u{1f600} ß")),
        (
            "requestParameters.many",
            Value::Object(
                (0..700)
                    .map(|n| {
                        (
                            format!("k{n}"),
                            json!({ "x": { "y": { "z": { "p": format!("v{n}") } } } }),
                        )
                    })
                    .collect(),
            ),
        ),
        ("readOnly", json!("true")),
        ("readOnly", json!("TRUE")),
        ("readOnly", json!([true])),
        ("sourceIPAddress", json!("2001:db8::1")),
        ("sourceIPAddress", json!(" 198.51.100.7 ")),
        ("sourceIPAddress", json!("::ffff:198.51.100.7")),
        ("userIdentity.accessKeyId", json!(["AKIAEXAMPLE"])),
        ("userIdentity", json!([{ "accessKeyId": "AKIAEXAMPLE" }])),
        ("userIdentity", json!("root")),
        ("eventName", json!(["RunInstances"])),
        ("eventName", json!("CreateFunction20150331v2")),
        ("eventName", json!("runinstances")),
        ("eventSource", json!("S3.amazonaws.com")),
        ("eventSource", json!("s3")),
        ("eventTime", json!("2024-02-03 04:05:06")),
        ("eventTime", json!("20240203T040506Z")),
        ("eventTime", json!("20240203")),
        ("eventTime", json!("2024-02-03T04:05:06.999Z")),
        ("eventTime", json!("2024-02-03T23:30:00-05:00")),
        ("eventTime", json!(1_706_933_106)),
        ("event", json!({ "action": "x" })),
    ];
    let numbered = (1_000_000..).zip(values);
    numbered.map(|(number, (path, value))| event_with(number, path, value)).collect()
}

/// Loads events in this order, so that of two with the same id the first one wins.
pub(super) fn load(corner: &Corner, events: &[Vec<u8>], options: &[&str]) {
    let desk = Desk::new();
    let file = desk.file("all.ndjson.gz", gzip(&events.join(&b'\n')));
    let load = desk.load(&file, corner.url()).with(corner.index()).with(["--workers", "1"]);
    let outcome = load.with(options.iter().copied()).run().exits(0);
    assert_eq!(outcome.number("dead_letters"), 0, "{}", outcome.stderr);
    corner.refresh();
}

/// Returns the events that are in the index: of those with the same id, the first.
fn first_of_each_id(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    let is_uuid = |id: &str| {
        id.len() == 36
            && id.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let id = |event: &Vec<u8>| {
        let mut value: Value = serde_json::from_slice(event).unwrap();
        let ids = ["eventID", "eventId"].iter().filter_map(|key| value[key].as_str());
        let id = ids.into_iter().find(|id| is_uuid(id)).map(str::to_owned);
        id.unwrap_or_else(|| {
            value.sort_all_objects();
            value.to_string()
        })
    };
    events.iter().filter(|event| seen.insert(id(event))).cloned().collect()
}

const FORMS: [&[&str]; 3] = [
    &["--index-by", "none"],
    &["--index-by", "year", "--keep-original"],
    &["--index-by", "none", "--fields", "lean"],
];

fn every_event_comes_back_as_it_was_loaded(corner: &Corner) {
    let (all, some) = (all_events(1), all_events(REAL_STEP));
    for options in FORMS {
        // An original is stored as it was read, so that nothing is restored by the kind of event.
        let all = if options.contains(&"--keep-original") { &some } else { &all };
        let expected = multiset(&first_of_each_id(all));
        load(corner, all, options);
        let found = Index::of(corner).records(&Query::default());
        let found = multiset(&found);
        let missing: Vec<_> =
            expected.iter().filter(|(event, _)| !found.contains_key(*event)).collect();
        let added: Vec<_> =
            found.iter().filter(|(event, _)| !expected.contains_key(*event)).collect();
        assert!(
            missing.is_empty() && added.is_empty(),
            "{options:?}: missing {missing:#?}, added {added:#?}"
        );
        assert_eq!(found, expected, "{options:?}");
        corner.clear();
    }
}

/// Parses records, each content once: queries read the same documents again and again.
#[derive(Default)]
struct ParsedRecords {
    known: HashMap<Vec<u8>, (Value, String)>,
}

impl ParsedRecords {
    /// Counts the records that a query matches by their content, as [`multiset`] does.
    fn matching<'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r Vec<u8>>,
        query: &Query,
    ) -> BTreeMap<&str, usize> {
        let records: Vec<&Vec<u8>> = records.into_iter().collect();
        for record in &records {
            if !self.known.contains_key(*record) {
                let value = serde_json::from_slice(record).unwrap();
                self.known.insert((*record).clone(), (value, canonical(record)));
            }
        }
        let mut counts = BTreeMap::new();
        for record in records {
            let (value, text) = &self.known[record];
            if query.matches(value, &mut Observations::default()) {
                *counts.entry(text.as_str()).or_default() += 1;
            }
        }
        counts
    }
}

/// Makes queries from what events hold.
struct Inventor<'e> {
    random: fastrand::Rng,
    events: &'e [Value],
}

impl Inventor<'_> {
    fn pick<'v, T>(&mut self, all: &'v [T]) -> &'v T {
        &all[self.random.usize(..all.len())]
    }

    /// Returns the path of a value of an event, and the value.
    fn place(&mut self) -> (String, Value) {
        let events = self.events;
        let mut value = &events[self.random.usize(..events.len())];
        let mut path = "$".to_owned();
        loop {
            let members: Vec<(&String, &Value)> = match value {
                Value::Object(members) if !members.is_empty() => members.iter().collect(),
                _ => return (path, value.clone()),
            };
            let (key, next) = members[self.random.usize(..members.len())];
            path = format!("{path}[{}]", json!(key));
            value = next;
            if self.random.u8(..20) == 0 {
                return (path, value.clone());
            }
        }
    }

    /// Returns a value that is like this one, or it.
    fn like(&mut self, value: &Value) -> Value {
        match (self.random.u8(..8), value) {
            (0, Value::String(text)) => json!(format!("{text}x")),
            (1, Value::String(text)) => {
                text.parse::<i64>().map_or_else(|_| json!(text), |n| json!(n))
            }
            (1, Value::Number(number)) => json!(number.to_string()),
            (1, Value::Bool(flag)) => json!(flag.to_string()),
            (2, Value::String(text)) => json!(text.to_uppercase()),
            (3, Value::Array(items)) if !items.is_empty() => items[0].clone(),
            (4, _) => Value::Null,
            _ => value.clone(),
        }
    }

    /// Returns a pattern that is found in a text, mostly.
    fn pattern(&mut self, text: &str) -> String {
        let letters: Vec<char> = text.chars().collect();
        let start = self.random.usize(..=letters.len() / 2);
        let end = self.random.usize(start..=letters.len().min(start + 40));
        let part = |letters: &[char]| fancy_escape(&letters.iter().collect::<String>());
        match self.random.u8(..6) {
            0 => format!("^{}", part(&letters[..end])),
            1 => format!("{}$", part(&letters[start..])),
            2 => format!("{}.*{}", part(&letters[..start]), part(&letters[end..])),
            3 => format!("(?i){}", part(&letters[start..end])),
            4 => format!("({}|nothing)+", part(&letters[start..end])),
            _ => part(&letters[start..end]),
        }
    }

    fn expression(&mut self) -> String {
        let (path, value) = self.place();
        match (&value, self.random.u8(..6)) {
            (Value::String(text), 0 | 1) => {
                let pattern = self.pattern(&text.clone());
                format!("{path} regex {}", json!(pattern))
            }
            (_, 2) => format!("{path} != {}", self.like(&value)),
            _ => format!("{path} == {}", self.like(&value)),
        }
    }

    fn action(&mut self) -> String {
        let events = self.events;
        let event = &events[self.random.usize(..events.len())];
        let source = event["eventSource"].as_str().unwrap_or("ec2.amazonaws.com");
        let name = event["eventName"].as_str().unwrap_or("RunInstances");
        let service = source.split('.').next().unwrap_or("ec2");
        let start: String = name.chars().take(self.random.usize(1..8)).collect();
        match self.random.u8(..9) {
            0 => format!("{service}:{name}"),
            1 => format!("{service}:{start}*"),
            2 => format!("*:{start}*"),
            3 => format!("{}:{}", service.to_uppercase(), name.to_lowercase()),
            4 => format!("{source}:*"),
            5 => format!("{}*:?{}", &service[..1], &name[1..]),
            6 => format!("*:[{}]*", &name[..1]),
            7 => (*self.pick(&[
                "cloudwatch:*",
                "s3:ListAllMyBuckets",
                "lambda:CreateFunction",
                "iam:*",
                "s3:*",
                "apigateway:POST",
            ]))
            .to_owned(),
            _ => name.to_owned(),
        }
    }

    fn time(&mut self) -> TimeBounds {
        let events = self.events;
        let mut second = || {
            let text =
                events[self.random.usize(..events.len())]["eventTime"].as_str().unwrap_or("");
            text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
        };
        let (one, other) = (second(), second());
        match (one, other) {
            (Some(one), Some(other)) => {
                TimeBounds { from: Some(one.min(other)), to: Some(one.max(other)) }
            }
            (from, to) => TimeBounds { from, to },
        }
    }

    /// Sets one of the conditions with options of their own; returns it as it is typed.
    fn select(&mut self, query: &mut Query) -> String {
        let events = self.events;
        let event = &events[self.random.usize(..events.len())];
        let selectors = &mut query.selectors;
        let identity = &event["userIdentity"];
        let text = |value: &Value| value.as_str().unwrap_or("nobody").to_owned();
        match self.random.u8(..7) {
            0 => {
                selectors.errors_only = true;
                "--errors-only".to_owned()
            }
            1 => {
                selectors.calls = Some(trailload::filter::selectors::CallKind::Read);
                "--read-only".to_owned()
            }
            2 => {
                selectors.calls = Some(trailload::filter::selectors::CallKind::Write);
                "--write-only".to_owned()
            }
            3 => {
                let short = trailload::filter::principal::short_principal(event).into_owned();
                let short = match self.random.u8(..4) {
                    0 => format!(
                        "*{}",
                        &short[short.len() / 2..]
                            .trim_start_matches(|letter: char| !letter.is_ascii())
                    ),
                    1 => short.to_uppercase(),
                    2 => text(&identity["arn"]),
                    _ => short,
                };
                selectors.principals.push(trailload::filter::glob::Glob::new(&short));
                format!("--principal {short}")
            }
            4 => {
                let name =
                    text(event.pointer("/requestParameters/bucketName").unwrap_or(&Value::Null));
                selectors.resources.push(trailload::filter::resource::ResourcePattern::new(&name));
                format!("--resource {name}")
            }
            5 => {
                let address = event["sourceIPAddress"].as_str().unwrap_or("198.51.100.7").trim();
                let address = if address.parse::<std::net::IpAddr>().is_ok() {
                    address
                } else {
                    "198.51.100.7"
                };
                let range = match self.random.u8(..3) {
                    0 if !address.contains(':') => format!("{address}/24"),
                    _ => address.to_owned(),
                };
                selectors.addresses.push(range.parse().unwrap());
                format!("--ip {range}")
            }
            _ => {
                let key = text(&identity["accessKeyId"]);
                let key = if key.chars().all(|letter| letter.is_ascii_alphanumeric()) {
                    key
                } else {
                    "AKIAEXAMPLE".to_owned()
                };
                selectors.access_keys.extend(key.parse());
                format!("--access-key {key}")
            }
        }
    }

    /// Returns a query, and its options.
    fn query(&mut self) -> (Query, String) {
        let mut query = Query::default();
        let mut options = Vec::new();
        for _ in 0..self.random.usize(1..=2) {
            match self.random.u8(..10) {
                0..=4 => {
                    let text = self.expression();
                    match MatchExpression::parse(&text) {
                        Ok(expression) if self.random.u8(..5) == 0 => {
                            query.exceptions.push(expression);
                            options.push(format!("--except '{text}'"));
                        }
                        Ok(expression) => {
                            query.matches.push(expression);
                            options.push(format!("--match '{text}'"));
                        }
                        Err(_) => {}
                    }
                }
                5 | 6 => {
                    let patterns: Vec<String> =
                        (0..self.random.usize(1..=2)).map(|_| self.action()).collect();
                    if let Ok(actions) = ActionFilter::parse(&patterns) {
                        query.actions = actions;
                        options.push(patterns.join(" "));
                    }
                }
                7 => {
                    query.range = self.time();
                    options.push(format!("{:?}", query.range));
                }
                _ => options.push(self.select(&mut query)),
            }
        }
        (query, options.join(" "))
    }
}

fn fancy_escape(text: &str) -> String {
    let is_special =
        |letter: char| r"\.+*?()|[]{}^$#&-~".contains(letter) || letter.is_ascii_whitespace();
    text.chars()
        .flat_map(|letter| is_special(letter).then_some('\\').into_iter().chain([letter]))
        .collect()
}

/// Compares what a query finds in the index with what it finds in the events themselves.
fn no_query_loses_an_event(corner: &Corner) {
    // Few enough for many queries.
    let all = first_of_each_id(&all_events(REAL_STEP));
    let values: Vec<Value> =
        all.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
    let seed = std::env::var_os("TRAILLOAD_SEED").and_then(|text| text.to_str()?.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TRAILLOAD_SEED={seed}");
    let mut wanted = ParsedRecords::default();
    let mut inventor = Inventor { random: fastrand::Rng::with_seed(seed), events: &values };
    for (number, options) in FORMS.into_iter().enumerate() {
        load(corner, &all, options);
        let index = Index::of(corner);
        let mut read_back = ParsedRecords::default();
        let (mut read, mut needed) = (0, 0);
        for _ in 0..queries() / FORMS.len() + usize::from(number == 0) {
            let (query, text) = inventor.query();
            let expected = wanted.matching(&all, &query);
            let records = index.records(&query);
            let found = read_back.matching(&records, &query);
            let lost: Vec<_> =
                expected.iter().filter(|(event, _)| !found.contains_key(*event)).collect();
            assert!(lost.is_empty(), "{options:?} {text} loses {lost:#?}");
            assert_eq!(found, expected, "{options:?} {text}");
            (read, needed) = (read + records.len(), needed + found.values().sum::<usize>());
        }
        println!("{options:?}: {read} documents read for {needed} events found");
        corner.clear();
    }
}

/// Thousands of events of the same second in an index of several shards: no page boundary may lose one.
fn pages_lose_nothing_at_equal_times(corner: &Corner) {
    for shards in [1, 3] {
        for period in ["2024", "2025"] {
            let name = format!("{}-{period}", corner.prefix());
            let body =
                json!({ "settings": { "number_of_shards": shards, "number_of_replicas": 0 } });
            corner.ask("PUT", &format!("/{name}"), &body);
        }
        let same_second: Vec<Vec<u8>> = (0..3_000)
            .map(|number| {
                let mut event = event(number);
                event["eventTime"] = json!(format!("202{}-03-04T05:06:07Z", 4 + number % 2));
                event.to_string().into_bytes()
            })
            .collect();
        load(corner, &same_second, &["--index-by", "year"]);
        let found = Index::of(corner).records(&Query::default());
        assert_eq!(multiset(&found), multiset(&same_second), "{shards} shards");
        corner.clear();
    }
}

fn events_in_documents_of_others_are_found(corner: &Corner) {
    let theirs = events(0..30);
    let name = format!("{}-2024.01", corner.prefix());
    for (number, event) in theirs.iter().enumerate() {
        let document = match number % 3 {
            0 => json!({ "@timestamp": "2020-01-01T00:00:00Z", "message": event.to_string() }),
            1 => {
                json!({ "@timestamp": "2020-01-01T00:00:00Z", "event": { "original": event.to_string() } })
            }
            _ => event.clone(),
        };
        corner.ask("PUT", &format!("/{name}/_doc/{number}"), &document);
    }
    let ours: Vec<Vec<u8>> =
        events(100..130).iter().map(|event| event.to_string().into_bytes()).collect();
    load(corner, &ours, &["--index-by", "day"]);
    let bytes: Vec<Vec<u8>> = theirs.iter().map(|event| event.to_string().into_bytes()).collect();
    let query = Query {
        actions: ActionFilter::parse(&["ec2:RunInstances"]).unwrap(),
        range: TimeBounds { from: Some(1_704_067_200), to: None },
        ..Query::default()
    };
    let found = Index::of(corner).records(&query);
    assert_eq!(multiset(&found), multiset(bytes.iter().chain(&ours)));
}

fn indices_that_cannot_be_read_are_named(corner: &Corner) {
    let index = Index::of(corner);
    let error = index.read(&Query::default()).unwrap_err();
    assert!(error.contains("nothing is loaded yet"), "{error}");
    let all: Vec<Vec<u8>> =
        events(0..40).iter().map(|event| event.to_string().into_bytes()).collect();
    load(corner, &all, &[]);
    // An index of a longer prefix is another's.
    corner.ask("PUT", &format!("/{}-other-2024.01/_doc/1", corner.prefix()), &event(77));
    corner.refresh();
    assert_eq!(index.records(&Query::default()).len(), 40);
    let closed = format!("{}-2024.02", corner.prefix());
    corner.ask("POST", &format!("/{closed}/_close"), &Value::Null);
    let (records, failures) = index.read(&Query::default()).unwrap();
    assert_eq!((records.len(), failures), (30, vec![format!("index {closed} is closed")]));
    corner.ask("POST", &format!("/{closed}/_open"), &Value::Null);
    // An alias with the name of the prefix.
    let months: Vec<_> =
        ["01", "03"].iter().map(|month| format!("{}-2024.{month}", corner.prefix())).collect();
    let alias = format!("{}-alias", corner.prefix());
    let actions: Vec<_> =
        months.iter().map(|index| json!({ "add": { "index": index, "alias": alias } })).collect();
    corner.ask("POST", "/_aliases", &json!({ "actions": actions }));
}
