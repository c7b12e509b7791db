//! What was loaded and is there no more, and names that stand for more than one index, on real engines.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use super::on_every_engine;
use super::restart::Own;
use crate::support::events::{events, id, ids, lines, records};
use crate::support::load::{Desk, Load, Outcome, wait_for};
use crate::support::real::{Corner, Engine};
use crate::support::wire;

on_every_engine!(
    a_deleted_index_is_named_until_it_is_loaded_again,
    deleted_documents_are_noticed,
    an_alias_that_is_rolled_over_is_refused,
    a_month_behind_an_alias_over_several_indices_is_refused,
    an_index_and_template_deleted_during_a_load_are_noticed,
    indices_of_a_prefix_are_made_in_one_way,
);

/// Events of each test, from January to April 2024, a quarter in each month.
const EVENTS: usize = 40;
const ALL: u64 = EVENTS as u64;

fn prepared(corner: &Corner, desk: &Desk) -> Load {
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    desk.load(&file, corner.url()).with(corner.index())
}

fn index(corner: &Corner, end: &str) -> String {
    format!("{}{end}", corner.prefix())
}

fn delete(corner: &Corner, path: &str) {
    corner.ask("DELETE", path, &Value::Null);
}

/// What is missing by the summary: index and documents.
fn missing(outcome: &Outcome) -> Vec<(String, u64)> {
    let all = outcome.summary.as_ref().unwrap()["missing"].as_array().unwrap().iter();
    all.map(|one| (one["index"].as_str().unwrap().to_owned(), one["documents"].as_u64().unwrap()))
        .collect()
}

fn a_deleted_index_is_named_until_it_is_loaded_again(corner: &Corner) {
    let desk = Desk::new();
    let load = prepared(corner, &desk);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    load.run().exits(0);
    let march = index(corner, "-2024.03");
    delete(corner, &format!("/{march}"));
    for _ in 0..2 {
        let outcome = load.run().exits(3).says([march.as_str(), "--from 2024-03-01"]);
        assert_eq!(missing(&outcome), [(march.clone(), ALL / 4)]);
    }
    let again = ["--reload", "--from", "2024-03-01", "--to", "2024-04-01"];
    load.clone().with(again).run().exits(0);
    load.run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(corner.ids(), ids(0..EVENTS));
    // What a person accepts is expected from then on.
    delete(corner, &format!("/{march}"));
    load.clone().with([format!("--accept-missing={march}")]).run().exits(0);
    load.run().exits(0);
}

fn deleted_documents_are_noticed(corner: &Corner) {
    let desk = Desk::new();
    let load = prepared(corner, &desk);
    load.run().exits(0);
    let april = index(corner, "-2024.04");
    for number in [3, 7, 11, 15, 19] {
        delete(corner, &format!("/{april}/_doc/{}", id(number)));
    }
    let outcome = load.run().exits(3).says([april.as_str(), "no longer in the index"]);
    assert_eq!(missing(&outcome), [(april, 5)]);
    load.clone().with(["--reload"]).run().exits(0);
    load.run().exits(0);
    assert_eq!(corner.ids(), ids(0..EVENTS));
}

fn an_alias_that_is_rolled_over_is_refused(corner: &Corner) {
    let desk = Desk::new();
    let alias = corner.prefix();
    let first = index(corner, "-000001");
    let aliases = json!({ "aliases": { alias: { "is_write_index": true } } });
    corner.ask("PUT", &format!("/{first}"), &aliases);
    let load = prepared(corner, &desk).with(["--index-by", "none"]);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    load.clone().with(["--reload"]).run().exits(0).counted([ALL, 0, ALL, 0]);
    corner.ask("POST", &format!("/{alias}/_rollover"), &Value::Null);
    let outcome = load.clone().with(["--reload"]).run().exits(1);
    outcome.says([alias, "-000001", "-000002", "twice", "hint"]);
    // Also without a checkpoint that knows better.
    load.checkpoint(&desk.path("other.sqlite")).run().exits(1);
    assert_eq!(corner.count(), ALL);
}

fn a_month_behind_an_alias_over_several_indices_is_refused(corner: &Corner) {
    let desk = Desk::new();
    let (one, two) = (index(corner, "-one"), index(corner, "-two"));
    let january = index(corner, "-2024.01");
    for (name, writes) in [(&one, false), (&two, true)] {
        let aliases = json!({ "aliases": { &january: { "is_write_index": writes } } });
        corner.ask("PUT", &format!("/{name}"), &aliases);
    }
    let load = prepared(corner, &desk);
    let outcome = load.run().exits(1).says([january.as_str(), "several indices"]);
    assert_eq!(outcome.number("read"), 0);
    assert_eq!(corner.count(), 0);
    // An alias over everything, for searches, is none of our business.
    delete(corner, &format!("/{one}"));
    corner.ask("PUT", &format!("/{two}/_alias/{}-all", corner.prefix()), &Value::Null);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    load.clone().with(["--reload"]).run().exits(0).counted([ALL, 0, ALL, 0]);
    assert_eq!(corner.count(), ALL);
}

/// A load reads from a pipe, so that the test decides when it goes on.
fn an_index_and_template_deleted_during_a_load_are_noticed(corner: &Corner) {
    let desk = Desk::new();
    let pipe = desk.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let load = desk.load(&pipe, corner.url()).with(corner.index());
    let load = load.with(["--index-by", "none", "--batch", "4KiB"]);
    let running = load.start();
    let mut writer = std::fs::File::create(&pipe).unwrap();
    writer.write_all(&lines(&events(0..EVENTS))).unwrap();
    wait_for("the first documents", || corner.indexed().filter(|count| *count > 10));
    delete(corner, &format!("/_index_template/{}", corner.prefix()));
    delete(corner, &format!("/{}", corner.prefix()));
    writer.write_all(&lines(&events(EVENTS..4 * EVENTS))).unwrap();
    drop(writer);
    let outcome = running.end().exits(3).says([corner.prefix(), "--reload", "installing it again"]);
    assert_eq!(missing(&outcome).len(), 1, "{}", outcome.stderr);
    let template =
        corner.ask("GET", &format!("/_index_template/{}", corner.prefix()), &Value::Null);
    assert_eq!(
        template["index_templates"][0]["index_template"]["_meta"]["managed_by"],
        "trailload"
    );
    // As the message says: without the index that came back, everything again.
    wire::ask(corner.url(), "DELETE", &format!("/{}", corner.prefix()), None);
    let file = desk.file("all.json", records(&events(0..4 * EVENTS)));
    let again = desk.load(&file, corner.url()).with(corner.index());
    let again = again.with(["--index-by", "none", "--reload"]);
    again.run().exits(0);
    assert_eq!(corner.ids(), ids(0..4 * EVENTS));
    let kinds = corner.kinds();
    assert_eq!(kinds.get("eventName").map(String::as_str), Some("keyword"), "{kinds:?}");
}

fn indices_of_a_prefix_are_made_in_one_way(corner: &Corner) {
    let desk = Desk::new();
    let load = prepared(corner, &desk);
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    for by in ["day", "year", "none"] {
        let other = load.clone().with(["--reload", "--index-by", by]);
        other.run().exits(1).says(["month", by, "--index"]);
        other.checkpoint(&desk.path("other.sqlite")).run().exits(1).says(["by month, not by"]);
    }
    assert_eq!(corner.count(), ALL);
}

#[test]
fn an_engine_that_is_recreated_at_the_same_address_is_refused_until_the_user_decides() {
    let (mut engine, desk) = (Own::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    let load = desk.load(&file, &engine.url());
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    load.run().exits(0).counted([0, 0, 0, 0]);
    engine.recreate();
    for _ in 0..2 {
        load.run().exits(1).says(["a different cluster", "--reload", "--accept-cluster"]);
    }
    let held = wire::ask(&engine.url(), "GET", "/_cat/indices?format=json", None).1;
    assert_eq!(held, json!([]), "nothing was sent");
    load.clone().with(["--reload"]).run().exits(0).counted([ALL, ALL, 0, 0]);
    load.run().exits(0).counted([0, 0, 0, 0]);
}

/// A snapshot keeps the time at which an index was made, and gives it another UUID.
#[test]
fn an_index_restored_from_a_snapshot_is_the_same_index() {
    let (engine, desk) = (Own::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    let load = desk.load(&file, &engine.url());
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    let ask = |method: &str, path: &str, body: Value| {
        let text = body.to_string();
        let body = if body.is_null() { None } else { Some(text.as_bytes()) };
        let (status, answer) = wire::ask(&engine.url(), method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    };
    let place = json!({ "type": "fs", "settings": { "location": "kept" } });
    ask("PUT", "/_snapshot/kept", place);
    let all = json!({ "indices": "cloudtrail-*", "include_global_state": false });
    ask("PUT", "/_snapshot/kept/one?wait_for_completion=true", all.clone());
    ask("DELETE", "/cloudtrail-2024.02", Value::Null);
    load.run().exits(3).says(["cloudtrail-2024.02"]);
    let february = json!({ "indices": "cloudtrail-2024.02", "include_global_state": false });
    ask("POST", "/_snapshot/kept/one/_restore?wait_for_completion=true", february.clone());
    load.run().exits(0).says(["complete again"]);
    // Gone and restored between two loads.
    ask("DELETE", "/cloudtrail-2024.02", Value::Null);
    ask("POST", "/_snapshot/kept/one/_restore?wait_for_completion=true", february);
    load.run().exits(0).says(["cloudtrail-2024.02", "restored from a snapshot"]);
    load.run().exits(0).counted([0, 0, 0, 0]);
}
