//! `trailload load --rules`: alerts while loading, with the memory of the load's checkpoint.

use std::collections::BTreeSet;

use serde_json::Value;

use super::hook::{Folder, Hook, created, ids};
use crate::support::{engine::FakeEngine, load::Desk};

fn desk(hook: &Hook, events: &[Value]) -> Desk {
    let desk = Desk::new();
    desk.file("rules.yml", "name: user created\nevents: [CreateUser]\nactions: [hook]\n");
    desk.file("actions.yml", hook.actions());
    desk.file("in/0.json", serde_json::json!({ "Records": events }).to_string());
    desk
}

#[test]
fn a_load_sends_alerts_for_what_is_new_and_once() {
    let (engine, hook) = (FakeEngine::start(), Hook::start());
    let mut list: Vec<Value> = (0..5).map(|number| created(number, "al", 5)).collect();
    list.push(created(5, "old", 3 * 24 * 60));
    let mut other = created(6, "al", 5);
    other["eventName"] = "ListUsers".into();
    list.push(other);
    let desk = desk(&hook, &list);
    let with = |load: crate::support::load::Load| {
        load.with(["--rules".into(), desk.path("rules.yml").into_os_string()])
            .with(["--actions".into(), desk.path("actions.yml").into_os_string()])
    };
    let first = with(desk.load(desk.path("in"), engine.url())).run().exits(0);
    assert_eq!(first.number("created"), 7);
    let alerts = &first.summary.as_ref().unwrap()["alerts"];
    assert_eq!(alerts["alerts"], 5);
    assert_eq!(alerts["recorded"], 1);
    assert_eq!(alerts["delivered"], 5);
    assert!(
        first.stderr.contains("6 matches = 5 alerts + 1 recorded only; 5 delivered"),
        "{}",
        first.stderr
    );
    let again = with(desk.load(desk.path("in"), engine.url()).with(["--reload"])).run().exits(0);
    assert_eq!(again.number("duplicates"), 7);
    assert_eq!(again.summary.as_ref().unwrap()["alerts"]["duplicates"], 6);
    let acknowledged: BTreeSet<String> = hook.events().into_iter().collect();
    assert_eq!(acknowledged, ids(0..5));
    assert_eq!(hook.received().len(), 5);
    assert_eq!(desk.status()["alerts"]["actions"][0]["delivered"], 5);
}

#[test]
fn an_alert_waits_until_its_batch_is_settled() {
    let (engine, hook) = (FakeEngine::start(), Hook::start());
    let list: Vec<Value> = (0..3).map(|number| created(number, "al", 5)).collect();
    let desk = desk(&hook, &list);
    engine.fail(1_000_000, &crate::support::engine::Fault::Status(403));
    let load = desk
        .load(desk.path("in"), engine.url())
        .with(["--rules".into(), desk.path("rules.yml").into_os_string()])
        .with(["--actions".into(), desk.path("actions.yml").into_os_string()]);
    load.run().exits(1);
    assert!(hook.received().is_empty(), "the events are not loaded");
    engine.heal();
    load.run().exits(0);
    assert_eq!(hook.received().len(), 3);
}

#[test]
fn options_about_alerts_need_rules() {
    let folder = Folder::new();
    let output = folder
        .command(&["load", "trail", "--into", "http://localhost:9", "--actions", "actions.yml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--rules"));
}
