//! What the options of `load` promise.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::engine::FakeEngine;
use crate::support::events::{event_with, events, ids, lines, records};
use crate::support::json::Json;
use crate::support::load::{Chain, Desk};

#[test]
fn a_second_load_creates_nothing() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..100)));
    desk.file("in/sub/b.json", records(&events(90..200)));
    let load = desk.load(desk.path("in"), engine.url());
    load.run().exits(0).counted([210, 200, 10, 0]);
    let again = load.run().exits(0);
    assert_eq!(again.number("created"), 0);
    assert_eq!(again.of_sources("skipped"), 2, "done files are not opened again");
    assert_eq!(again.number("read"), 0);
    load.clone().with(["--reload"]).run().exits(0).counted([210, 0, 210, 0]);
    let elsewhere = load.checkpoint(&desk.path("other.sqlite"));
    elsewhere.run().exits(0).counted([210, 0, 210, 0]);
    assert_eq!(engine.ids(), ids(0..200));
}

#[test]
fn a_changed_file_is_read_again() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", lines(&events(0..10)));
    let load = desk.load(&file, engine.url());
    load.run().exits(0).counted([10, 10, 0, 0]);
    desk.file("a.json", lines(&events(0..15)));
    load.run().exits(0).counted([15, 5, 10, 0]);
    load.run().exits(0).counted([0, 0, 0, 0]);
}

#[test]
#[ignore = "makes 100,000 files; run it with --release"]
fn a_hundred_thousand_done_files_are_skipped_in_two_seconds() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for file in 0..100_000 {
        desk.file(format!("in/{:03}/{file:06}.json", file / 500), records(&events(file..file + 1)));
    }
    let load = desk.load(desk.path("in"), engine.url()).with(["--index-by", "none"]);
    load.run().exits(0).counted([100_000, 100_000, 0, 0]);
    let again = load.run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(again.of_sources("skipped"), 100_000);
    let seconds = again.summary.unwrap()["seconds"].as_f64().unwrap();
    assert!(seconds < 2.0, "{seconds} s");
}

#[test]
fn only_what_is_in_the_range_is_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let times = [
        "2024-01-31T23:59:59Z",
        "2024-02-01T00:00:00Z",
        "2024-02-29T12:00:00Z",
        "2024-03-01T00:00:00Z",
    ];
    let all: Vec<_> = times
        .iter()
        .enumerate()
        .map(|(number, time)| event_with(number, "eventTime", json!(time)))
        .collect();
    let file = desk.file("a.json", records(&all));
    let load = desk.load(&file, engine.url());
    let range = load.clone().with(["--from", "2024-02-01", "--to", "2024-03-01T00:00:00Z"]);
    range.run().exits(0).counted([2, 2, 0, 0]);
    assert_eq!(engine.ids(), ids(1..3), "from is in, to is out");
    load.run().exits(0).counted([4, 2, 2, 0]);
    let recent = Desk::new().load(&file, engine.url()).with(["--last", "7d"]);
    recent.run().exits(0).counted([0, 0, 0, 0]);
}

#[test]
fn indices_follow_the_events_own_time() {
    let by = |granularity: &str| {
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        let all = ["2023-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"];
        let all: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(number, time)| event_with(number, "eventTime", json!(time)))
            .collect();
        let file = desk.file("a.json", records(&all));
        let load =
            desk.load(&file, engine.url()).with(["--index", "audit", "--index-by", granularity]);
        load.run().exits(0).counted([3, 3, 0, 0]);
        engine.assert_no_complaints();
        engine.index_names()
    };
    assert_eq!(by("day"), ["audit-2023.12.31", "audit-2024.01.01", "audit-2024.01.02"]);
    assert_eq!(by("month"), ["audit-2023.12", "audit-2024.01"]);
    assert_eq!(by("year"), ["audit-2023", "audit-2024"]);
    assert_eq!(by("none"), ["audit"]);
}

#[test]
fn the_original_is_kept_when_asked_for() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let event =
        event_with(1, "requestParameters.policy", json!({ "Statement": [{ "Effect": "Allow" }] }));
    let file = desk.file("a.json", records(std::slice::from_ref(&event)));
    desk.load(&file, engine.url()).with(["--keep-original"]).run().exits(0);
    let held = engine.document(event["eventID"].as_str().unwrap()).unwrap();
    let mut texts = Vec::new();
    collect_texts(&held, &mut texts);
    let wanted = event.to_string();
    let original = texts.iter().find(|text| **text == wanted);
    assert!(original.is_some(), "the record's text, byte for byte, is in {held:?}");
}

fn collect_texts(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Text(_) => found.extend(value.text().map(str::to_owned)),
        Json::List(items) => items.iter().for_each(|item| collect_texts(item, found)),
        Json::Object(members) => members.iter().for_each(|(_, item)| collect_texts(item, found)),
        _ => {}
    }
}

#[test]
fn a_dry_run_sends_nothing_and_says_what_it_would() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..100)));
    let load = desk.load(&file, engine.url());
    let outcome = load.clone().with(["--dry-run"]).run().exits(0);
    assert_eq!(outcome.number("created"), 0);
    assert_eq!(engine.asked().writes, 0, "a dry run writes nothing");
    assert!(engine.index_names().is_empty() && engine.template_names().is_empty());
    assert!(
        outcome.stderr.contains("100") || outcome.stdout.contains("100"),
        "it counts: {outcome:?}"
    );
    load.run().exits(0).counted([100, 100, 0, 0]);
}

#[test]
fn standard_input_is_a_source() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let load = desk.load("-", engine.url()).input(records(&events(0..30)));
    load.run().exits(0).counted([30, 30, 0, 0]);
    load.run().exits(0).counted([30, 0, 30, 0]);
    assert_eq!(engine.ids(), ids(0..30));
}

#[test]
fn several_sources_are_told_apart() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let first = desk.file("a.json", records(&events(0..10)));
    let second = desk.file("b.json", records(&events(10..30)));
    let outcome =
        desk.load(&first, engine.url()).with([&second]).run().exits(0).counted([30, 30, 0, 0]);
    let sources = outcome.summary.unwrap()["sources"].clone();
    let records: Vec<_> = sources
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["records"].as_u64().unwrap())
        .collect();
    assert_eq!(records, [10, 20]);
}

#[test]
fn a_file_named_twice_is_loaded_once() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("in/a.json", records(&events(0..10)));
    let outcome = desk.load(desk.path("in"), engine.url()).with([&file]).run().exits(0);
    assert_eq!(outcome.number("created"), 10);
    assert_eq!(engine.ids(), ids(0..10));
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    let outcome = desk.load(&file, engine.url()).with(["--quiet"]).run().exits(0);
    assert_eq!((outcome.stderr.as_str(), outcome.stdout.as_str()), ("", ""));
}

#[test]
fn json_lines_are_json() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..10)));
    desk.file("in/b.json", r#"{"Records":[{"eventID":"#);
    let outcome =
        desk.load(desk.path("in"), engine.url()).with(["--log-format", "json"]).run().exits(3);
    assert!(!outcome.stderr.is_empty());
    for line in outcome.stderr.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()),
            "{line}"
        );
    }
}

#[test]
fn the_last_line_adds_up() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    let outcome = desk.load(&file, engine.url()).run().exits(0);
    let last = outcome.stderr.lines().last().unwrap().to_lowercase();
    for word in ["10", "created", "duplicates", "dead letters"] {
        assert!(last.contains(word), "`{word}` is not in: {last}");
    }
}

#[test]
fn the_checkpoint_is_in_the_state_folder_unless_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    let mut bare = std::process::Command::new(crate::support::load::PROGRAM);
    let state = desk.path("state");
    bare.arg("load")
        .arg(&file)
        .args(["--into", engine.url()])
        .args("--summary".chain(desk.path("s.json")));
    bare.env_clear().env("XDG_STATE_HOME", &state).env("HOME", desk.path("home"));
    assert!(bare.output().unwrap().status.success());
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.path("s.json")).unwrap()).unwrap();
    let checkpoint = std::path::PathBuf::from(summary["checkpoint"].as_str().unwrap());
    assert!(checkpoint.starts_with(&state), "{}", checkpoint.display());
    assert!(checkpoint.is_file());
    assert_eq!(checkpoint.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn status_shows_what_is_loaded_and_the_dead_letters() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    engine.refuse(|document| {
        contains(document, b"r-3").then(|| (400, "no room for this one".to_owned()))
    });
    desk.load(&file, engine.url()).run().exits(3).counted([10, 9, 0, 1]).says(["dead letter"]);
    let mut status = std::process::Command::new(crate::support::load::PROGRAM);
    status.args(["status", "--json"]).args("--checkpoint".chain(desk.checkpoint()));
    let output = status.env_clear().env("HOME", desk.path("home")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    assert!(text.contains("no room for this one") && text.contains("a.json"), "{text}");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
