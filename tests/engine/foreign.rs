//! On real engines: an index that somebody else mapped bends its own documents, and nothing else.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::events::{event_with, events, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(
    an_index_of_somebody_else_bends_no_other,
    what_does_not_fit_an_index_of_somebody_else_is_named_once,
);

fn all_events() -> Vec<Value> {
    let mut all = events(0..40);
    for number in 40..60 {
        let value = if number % 2 == 0 { json!("text") } else { json!({ "name": "x" }) };
        all.push(event_with(number, "requestParameters.inventedYesterday", value));
    }
    all
}

/// Loads everything and returns the mappings of three months and the learned template.
fn loaded(corner: &Corner) -> Vec<Value> {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&all_events()));
    let load = desk.load(&file, corner.url()).with(corner.index()).with(["--workers", "1"]);
    load.run().exits(0).counted([60, 60, 0, 0]);
    assert_eq!(corner.count(), 60);
    let prefix = corner.prefix();
    let mut found: Vec<Value> = ["02", "03", "04"]
        .iter()
        .map(|month| {
            let name = format!("{prefix}-2024.{month}");
            corner.ask("GET", &format!("/{name}/_mapping"), &Value::Null)[&name].clone()
        })
        .collect();
    let path = format!("/_component_template/{prefix}-discovered");
    let learned = corner.ask("GET", &path, &Value::Null);
    found.push(
        learned["component_templates"][0]["component_template"]["template"]["mappings"].clone(),
    );
    found
}

fn an_index_of_somebody_else_bends_no_other(corner: &Corner) {
    let expected = loaded(corner);
    corner.clear();
    // As a loader without a template leaves it: it maps by itself what it meets.
    let theirs = json!({ "mappings": { "properties": {
        "requestParameters": { "type": "keyword" }, "userIdentity": { "type": "text" } } } });
    let name = format!("{}-2024.01", corner.prefix());
    corner.ask("PUT", &format!("/{name}"), &theirs);
    assert_eq!(loaded(corner), expected);
    let kept = json!({ "exists": { "field": "requestParameters_object.instanceType" } });
    let body = json!({ "query": kept });
    let found = corner.ask("POST", &format!("/{name}/_count"), &body)["count"].clone();
    assert_eq!(found, 15, "its own documents fit it");
}

/// An address field takes no names of services, whatever is rewritten.
fn what_does_not_fit_an_index_of_somebody_else_is_named_once(corner: &Corner) {
    let theirs = json!({ "mappings": { "properties": { "sourceIPAddress": { "type": "ip" } } } });
    corner.ask("PUT", &format!("/{}-2024.01", corner.prefix()), &theirs);
    let mut all: Vec<Value> = events(0..40);
    for event in &mut all {
        event["sourceIPAddress"] = json!("ec2.amazonaws.com");
    }
    let desk = Desk::new();
    let file = desk.file("a.json", records(&all));
    let load = desk.load(&file, corner.url()).with(corner.index());
    load.run().exits(3).counted([40, 30, 0, 10]);
    assert_eq!(corner.count(), 30);
}
