//! When an event happened, however that is written: its index, the range asked for, and the count of those that nobody
//! can date.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::engine::FakeEngine;
use crate::support::events::{event, id, lines};
use crate::support::json::Json;
use crate::support::load::Desk;

/// Returns an event with this in the place of its time.
fn at(number: usize, key: &str, time: Value) -> Value {
    let mut event = event(number);
    let members = event.as_object_mut().unwrap();
    members.remove("eventTime");
    members.insert(key.to_owned(), time);
    event
}

/// Events of June 1st, 2024, noon, in the spellings that other programs write.
fn in_june() -> Vec<Value> {
    let times = [
        json!("2024-06-01T12:00:00Z"),
        json!("2024-06-01 12:00:00"),
        json!("2024-06-01T14:00:00+02:00"),
        json!("2024-06-01t12:00:00.000z"),
        json!("2024-06-01 12:00:00.000 UTC"),
        json!(1_717_243_200),
        json!(1_717_243_200_000_u64),
        json!(1_717_243_200.0),
        json!("1717243200"),
        json!("1717243200000"),
    ];
    let mut all: Vec<Value> =
        times.into_iter().enumerate().map(|(number, time)| at(number, "eventTime", time)).collect();
    // As Logstash writes it, once its date filter has taken the time of the event away.
    let mut logstash = at(all.len(), "@timestamp", json!("2024-06-01T12:00:00.000Z"));
    logstash["@version"] = json!("1");
    all.push(logstash);
    all
}

/// Events whose time is none, or cannot be.
fn without_a_date(first: usize) -> Vec<Value> {
    let times = [
        json!("yesterday"),
        json!("06/01/2024 12:00"),
        json!(12),
        json!("1969-12-31T23:59:59Z"),
        json!("1970-01-01T00:00:00Z"),
        json!("2101-01-01T00:00:00Z"),
        json!(null),
    ];
    (first..).zip(times).map(|(number, time)| at(number, "eventTime", time)).collect()
}

fn sizes(engine: &FakeEngine) -> BTreeMap<String, usize> {
    engine.each(|name, index| (name.to_owned(), index.documents.len())).into_iter().collect()
}

#[test]
fn a_time_counts_in_every_spelling_that_leaves_no_doubt() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let june = in_june();
    let all = june.len() as u64;
    let file = desk.file("a.ndjson", lines(&june));
    let outcome = desk.load(&file, engine.url()).run().exits(0).counted([all, all, 0, 0]);
    assert_eq!(outcome.number("undated"), 0);
    assert_eq!(sizes(&engine), BTreeMap::from([("cloudtrail-2024.06".to_owned(), june.len())]));
    let times = ["2024-06-01T12:00:00Z", "2024-06-01T14:00:00+02:00"];
    for number in 0..june.len() {
        let document = engine.document(&id(number)).unwrap();
        let text = |path: &str| document.at(path).and_then(Json::text);
        assert!(text("@timestamp").is_some_and(|time| times.contains(&time)), "{document:?}");
        if let Some(time) = text("eventTime").filter(|time| *time != "1717243200000") {
            assert!(times.contains(&time), "a date field reads {time} otherwise");
        }
    }
    engine.assert_no_complaints();
}

#[test]
fn a_range_is_compared_with_the_time_of_the_event_in_any_spelling() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.ndjson", lines(&in_june()));
    let load = |from: &str, to: &str| {
        let load = desk.load(&file, engine.url()).with(["--from", from, "--to", to]);
        let outcome = load.run().exits(0);
        [outcome.number("read"), outcome.number("filtered")]
    };
    let all = in_june().len() as u64;
    assert_eq!(load("2024-06-01T12:00:01Z", "2024-07-01"), [0, all]);
    assert_eq!(load("2024-05-01", "2024-06-01T12:00:00Z"), [0, all]);
    assert_eq!(load("2024-06-01T12:00:00Z", "2024-06-01T12:00:01Z"), [all, 0]);
}

#[test]
fn what_cannot_be_dated_is_kept_apart_and_counted_in_the_last_line() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let (june, undated) = (in_june(), without_a_date(100));
    let (all, count) = ((june.len() + undated.len()) as u64, undated.len() as u64);
    let file = desk.file("a.ndjson", lines(&[june.clone(), undated.clone()].concat()));
    // An event without a date is wanted whatever the range.
    let outcome = desk.load(&file, engine.url()).with(["--from", "2024-01-01"]).run().exits(0);
    let outcome = outcome.counted([all, all, 0, 0]).says([format!("; {count} undated; ").as_str()]);
    assert_eq!((outcome.number("undated"), outcome.number("filtered")), (count, 0));
    let expected = [("cloudtrail-2024.06", june.len()), ("cloudtrail-undated", undated.len())];
    assert_eq!(sizes(&engine), expected.map(|(name, size)| (name.to_owned(), size)).into());
    engine.assert_no_complaints();
}

#[test]
fn one_event_is_one_document_whatever_its_id_is_called() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let spelled: Vec<Value> = ["eventID", "eventId", "eventid"]
        .into_iter()
        .map(|key| {
            let mut event = event(1);
            let id = event.as_object_mut().unwrap().remove("eventID").unwrap();
            event[key] = id;
            event
        })
        .collect();
    let file = desk.file("a.ndjson", lines(&spelled));
    desk.load(&file, engine.url()).run().exits(0).counted([3, 1, 2, 0]);
    assert_eq!(engine.ids(), [id(1)].into());
}
