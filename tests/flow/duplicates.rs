//! Events whose id the index holds already: the first wins, and `--check-duplicates` tells whether that was another event.

use serde_json::{Value, json};

use crate::support::engine::FakeEngine;
use crate::support::events::{event, event_with, events, id, lines, records};
use crate::support::load::Desk;

#[test]
fn of_two_events_under_one_id_the_first_wins_and_the_other_is_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let first = desk.file("first.json", records(&events(0..20)));
    desk.load(&first, engine.url()).run().exits(0).counted([20, 20, 0, 0]);
    let mut all = events(0..20);
    all[3]["eventName"] = json!("TerminateInstances");
    all[7] = event_with(7, "requestParameters.instanceType", json!("m7g.large"));
    let second = desk.file("second.json", records(&all));
    let load = desk.load(&second, engine.url());
    // Without the option, nobody looks.
    load.run().exits(0).counted([20, 0, 20, 0]);
    let bulks = engine.asked().bulks;
    let outcome = load.with(["--reload", "--check-duplicates"]).run().exits(3);
    let named = [id(3), id(7)];
    let outcome = outcome.counted([20, 0, 20, 0]).says([
        named[0].as_str(),
        "it differs in eventName",
        named[1].as_str(),
        "it differs in requestParameters",
        "2 duplicates that differ; ",
    ]);
    assert_eq!(outcome.number("duplicates_differing"), 2);
    assert!(!outcome.stderr.contains(&id(4)), "{}", outcome.stderr);
    assert_eq!(engine.asked().bulks, bulks + 1);
    let held = engine.document(&id(3)).unwrap();
    assert_eq!(held.at("eventName").and_then(|name| name.text()), Some("RunInstances"));
    engine.assert_no_complaints();
}

#[test]
fn the_same_event_in_another_form_does_not_differ() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let first = [
        event(1),
        event_with(2, "requestParameters.policy", json!({ "Statement": [{ "Sid": "a" }] })),
        event_with(3, "requestParameters.inventedYesterday", json!("text")),
        event_with(4, "eventTime", json!("2024-06-01T12:00:00Z")),
        event_with(5, "errorCode", Value::Null),
    ];
    let mut again = first.clone();
    again[3]["eventTime"] = json!(1_717_243_200);
    again[4].as_object_mut().unwrap().remove("errorCode");
    let file = desk.file("first.json", records(&first));
    desk.load(&file, engine.url()).run().exits(0).counted([5, 5, 0, 0]);
    let file = desk.file("again.ndjson", lines(&again));
    // Other fields are mapped, and the record is kept as text.
    let load = desk.load(&file, engine.url());
    let load = load.with(["--check-duplicates", "--fields", "lean", "--keep-original"]);
    let outcome = load.run().exits(0).counted([5, 0, 5, 0]);
    assert!(outcome.summary.unwrap().get("duplicates_differing").is_none());
}

#[test]
fn the_first_that_differ_are_named_and_the_others_counted() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let numbers = 0..1_300;
    let all = desk.file("all.json", records(&events(numbers.clone())));
    desk.load(&all, engine.url()).run().exits(0);
    let others: Vec<Value> =
        numbers.clone().map(|number| event_with(number, "awsRegion", json!("x"))).collect();
    let file = desk.file("others.json", records(&others));
    let load = desk.load(&file, engine.url()).with(["--check-duplicates"]);
    let outcome = load.run().exits(3).counted([1_300, 0, 1_300, 0]);
    let outcome = outcome.says(["1,300 duplicates that differ; "]);
    assert_eq!(outcome.number("duplicates_differing"), 1_300);
    let named = outcome.stderr.lines().filter(|line| line.contains("another event under")).count();
    assert_eq!(named, 21, "{}", outcome.stderr);
}

#[test]
fn two_events_under_one_id_are_told_apart_in_one_run() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file =
        desk.file("a.ndjson", lines(&[event(1), event_with(1, "awsRegion", json!("x")), event(1)]));
    let load = desk.load(&file, engine.url()).with(["--check-duplicates", "--workers", "1"]);
    let outcome = load.run().exits(3).counted([3, 1, 2, 0]);
    assert_eq!(outcome.number("duplicates_differing"), 1);
}
