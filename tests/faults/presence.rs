//! What was loaded is deleted, emptied, or in another cluster: never silent, never exit 0.
//!
//! Events lie in the months from January to April 2024, a quarter of them in each.

use serde_json::{Value, json};

use crate::support::engine::FakeEngine;
use crate::support::events::{events, ids, records};
use crate::support::load::{Desk, Load, Outcome};

/// Events of every test here.
const EVENTS: usize = 40;
const ALL: u64 = EVENTS as u64;
const A_MONTH: u64 = ALL / 4;

/// What is missing by the summary: index, documents and what happened.
fn missing(outcome: &Outcome) -> Vec<(String, u64, String)> {
    let all = outcome.summary.as_ref().unwrap()["missing"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|one| (text(&one["index"]), one["documents"].as_u64().unwrap(), text(&one["reason"])))
        .collect()
}

fn one(index: &str, documents: u64, why: &str) -> Vec<(String, u64, String)> {
    vec![(index.to_owned(), documents, why.to_owned())]
}

/// An engine into which everything was loaded, and the same load once more.
fn loaded() -> (FakeEngine, Desk, Load) {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("in/a.json", records(&events(0..EVENTS)));
    let load = desk.load(file.parent().unwrap(), engine.url());
    load.run().exits(0).counted([ALL, ALL, 0, 0]);
    load.run().exits(0).counted([0, 0, 0, 0]);
    (engine, desk, load)
}

fn status(desk: &Desk) -> Value {
    let checkpoint = desk.checkpoint();
    let program = crate::support::load::PROGRAM;
    let mut command = std::process::Command::new(program);
    let output = command.args(["status", "--json", "--checkpoint"]).arg(checkpoint).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

#[test]
fn a_deleted_month_is_named_until_its_time_is_loaded_again() {
    let (engine, desk, load) = loaded();
    engine.remove_index("cloudtrail-2024.02");
    for _ in 0..2 {
        let outcome = load.run().exits(3).says([
            "cloudtrail-2024.02",
            "10 documents",
            "--reload --from 2024-02-01 --to 2024-03-01",
            "--accept-missing=cloudtrail-2024.02",
        ]);
        assert_eq!(missing(&outcome), one("cloudtrail-2024.02", A_MONTH, "deleted"));
        let told = status(&desk);
        assert_eq!(told["missing"][0]["documents"], A_MONTH);
        assert_eq!(told["runs"][0]["exit"], 3);
    }
    // Part of the month is not the month.
    let part = load.clone().with(["--reload", "--from", "2024-02-01", "--to", "2024-02-10"]);
    part.run().exits(3);
    let again = load.clone().with(["--reload", "--from", "2024-02-01", "--to", "2024-03-01"]);
    again.run().exits(0);
    assert_eq!(engine.ids(), ids(0..EVENTS));
    load.run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(status(&desk)["missing"], json!([]));
}

#[test]
fn with_quiet_it_is_said_too() {
    let (engine, _desk, load) = loaded();
    engine.remove_index("cloudtrail-2024.01");
    load.with(["--quiet"]).run().exits(3).says(["warning", "cloudtrail-2024.01"]);
}

#[test]
fn the_doctor_and_the_status_tell_it() {
    let (engine, _desk, load) = loaded();
    let doctor = load.clone().instead("doctor").run().exits(0);
    assert!(doctor.stdout.contains("4 indices with 40 documents, complete"), "{}", doctor.stdout);
    engine.remove_index("cloudtrail-2024.01");
    let doctor = load.instead("doctor").run();
    assert!(
        doctor.stdout.contains("! cloudtrail-2024.01: the index was deleted"),
        "{}",
        doctor.stdout
    );
    assert!(doctor.stdout.contains("--reload --from 2024-01-01"), "{}", doctor.stdout);
}

#[test]
fn a_loss_that_is_accepted_is_expected_from_then_on() {
    let (engine, desk, load) = loaded();
    engine.remove_index("cloudtrail-2024.01").remove_index("cloudtrail-2024.02");
    let first = load.clone().with(["--accept-missing=cloudtrail-2024.01"]).run().exits(3);
    assert_eq!(missing(&first), one("cloudtrail-2024.02", A_MONTH, "deleted"));
    load.clone().with(["--accept-missing"]).run().exits(0).says(["accepted that 10 documents"]);
    load.run().exits(0);
    assert!(status(&desk)["missing"][1]["accepted"].is_string());
    // The next month that goes is told again.
    engine.remove_index("cloudtrail-2024.03");
    let outcome = load.run().exits(3);
    assert_eq!(missing(&outcome), one("cloudtrail-2024.03", A_MONTH, "deleted"));
}

#[test]
fn a_month_that_comes_back_with_new_events_only_is_not_complete() {
    let (engine, desk, load) = loaded();
    engine.remove_index("cloudtrail-2024.01");
    desk.file("in/b.json", records(&events(EVENTS..2 * EVENTS)));
    let outcome = load.run().exits(3).counted([ALL, ALL, 0, 0]);
    assert_eq!(missing(&outcome), one("cloudtrail-2024.01", A_MONTH, "deleted"));
    load.run().exits(3);
    load.clone().with(["--reload"]).run().exits(0);
    assert_eq!(engine.ids(), ids(0..2 * EVENTS));
    load.run().exits(0);
}

#[test]
fn deleted_documents_are_counted() {
    let (engine, _desk, load) = loaded();
    engine.remove_documents("cloudtrail-2024.03", 4);
    let outcome = load.run().exits(3).says(["4 documents of 10"]);
    assert_eq!(missing(&outcome), one("cloudtrail-2024.03", 4, "emptied"));
    load.clone().with(["--reload"]).run().exits(0);
    load.run().exits(0);
}

#[test]
fn another_cluster_is_refused_before_anything_is_sent() {
    let (engine, desk, load) = loaded();
    engine.recreate();
    desk.file("in/b.json", records(&events(EVENTS..EVENTS + 4)));
    let bulks = engine.asked().bulks;
    let outcome = load.run().exits(1).says(["a different cluster", "--reload", "--accept-cluster"]);
    assert_eq!(outcome.number("read"), 0);
    assert_eq!(engine.asked().bulks, bulks);
    assert!(engine.template_names().is_empty() && engine.index_names().is_empty());
    let doctor = load.clone().instead("doctor").run().exits(1);
    assert!(doctor.stdout.contains("a different cluster"), "{}", doctor.stdout);
    // One month again: of the others nothing may be called done.
    let january = load.clone().with(["--reload", "--from", "2024-01-01", "--to", "2024-02-01"]);
    january.run().exits(0);
    let rest = load.run().exits(0);
    assert_eq!(rest.number("read"), ALL + 4);
    assert_eq!(engine.ids(), ids(0..EVENTS + 4));
    load.run().exits(0).counted([0, 0, 0, 0]);
}

/// Prepares `trailload retry` for the checkpoint of a load.
fn retry(desk: &Desk, engine: &FakeEngine) -> Load {
    desk.load_all::<&str>([], engine.url()).instead("retry")
}

#[test]
fn a_retry_refuses_another_cluster_and_names_the_ways_out() {
    let (engine, desk, load) = loaded();
    engine.recreate();
    let bulks = engine.asked().bulks;
    let outcome = retry(&desk, &engine).run().exits(1);
    let outcome =
        outcome.says(["a different cluster", "'trailload load' with --reload", "--accept-cluster"]);
    assert_eq!(outcome.number("read"), 0);
    assert_eq!(engine.asked().bulks, bulks);
    assert!(engine.template_names().is_empty() && engine.index_names().is_empty());
    load.with(["--reload"]).run().exits(0).counted([ALL, ALL, 0, 0]);
    retry(&desk, &engine).run().exits(0);
}

#[test]
fn a_retry_names_what_is_missing_and_how_to_load_it_again() {
    let (engine, desk, load) = loaded();
    engine.remove_index("cloudtrail-2024.02");
    let outcome = retry(&desk, &engine).run().exits(3).says([
        "cloudtrail-2024.02",
        "10 documents",
        "--reload --from 2024-02-01 --to 2024-03-01",
        "--accept-missing=cloudtrail-2024.02",
    ]);
    assert_eq!(missing(&outcome), one("cloudtrail-2024.02", A_MONTH, "deleted"));
    assert_eq!(status(&desk)["missing"][0]["documents"], A_MONTH);
    load.with(["--accept-missing"]).run().exits(0);
    retry(&desk, &engine).run().exits(0);
}

#[test]
fn another_cluster_with_the_restored_indices_can_be_accepted() {
    let (engine, _desk, load) = loaded();
    engine.restore_elsewhere();
    load.run().exits(1);
    load.clone().with(["--accept-cluster"]).run().exits(0).says(["restored from a snapshot"]);
    load.run().exits(0).counted([0, 0, 0, 0]);
    // Accepting a cluster that lacks the indices accepts no loss.
    engine.recreate();
    let outcome = load.clone().with(["--accept-cluster"]).run().exits(3);
    assert_eq!(missing(&outcome).len(), 4);
    load.run().exits(3);
}

#[test]
fn an_engine_that_does_not_tell_is_loaded_into_all_the_same() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    engine.keep_indices_secret();
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    let load = desk.load(&file, engine.url());
    load.run().exits(0).counted([ALL, ALL, 0, 0]).says(["does not list its indices"]);
    load.run().exits(0).counted([0, 0, 0, 0]);
    load.with(["--reload"]).run().exits(0).counted([ALL, 0, ALL, 0]);
}

#[test]
fn indices_of_a_prefix_are_made_in_one_way() {
    let (engine, desk, load) = loaded();
    let daily = load.clone().with(["--index-by", "day", "--reload"]);
    let outcome = daily.run().exits(1).says(["month", "day", "--index-by"]);
    assert_eq!(outcome.number("read"), 0);
    // With a new checkpoint the template says it; without the template, the indices do.
    let other = daily.clone().checkpoint(&desk.path("other.sqlite"));
    other.run().exits(1).says(["by month, not by day"]);
    engine.remove_template("cloudtrail");
    other.run().exits(1).says(["by month, not by day"]);
    assert_eq!(engine.count(), EVENTS);
    // Once the indices are gone, it may be changed.
    engine.remove_everything();
    daily.run().exits(0).counted([ALL, ALL, 0, 0]);
    assert!(engine.index_names().iter().all(|name| name.len() == "cloudtrail-2024.01.01".len()));
    let back = desk.load(desk.path("in"), engine.url());
    back.run().exits(1).says(["day", "month"]);
}
