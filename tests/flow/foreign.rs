//! An index that somebody else mapped bends its own documents, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::engine::FakeEngine;
use crate::support::events::{event, event_with, id, lines};
use crate::support::json::Json;
use crate::support::load::{Desk, decisions};
use crate::support::wire;

/// The month whose index is somebody else's.
const THEIRS: &str = "cloudtrail-2024.01";

/// Events of four months, with conflicts, with fields that no table knows, and with new ones late.
fn all_events() -> Vec<Value> {
    let mut all: Vec<Value> = (0..24).map(event).collect();
    let paths = ["policy", "inventedYesterday", "filter", "instanceType", "late"];
    let values = [json!("text"), json!({ "name": "x" }), json!([{ "a": 1 }]), json!(true)];
    for number in 24..104 {
        let path = format!("requestParameters.{}", paths[number % paths.len()]);
        all.push(event_with(number, &path, values[number / 4 % values.len()].clone()));
    }
    all
}

/// What is decided and held of every index but theirs.
type Others =
    (BTreeMap<String, Value>, BTreeMap<(String, String), Json>, BTreeMap<String, String>, Value);

/// Loads the events of each step in turn, with that index in place before the first; returns what it did to the others.
fn load(theirs: Option<&Value>, steps: &[Vec<Value>]) -> (Others, FakeEngine) {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    if let Some(body) = theirs {
        let put = wire::ask(
            engine.url(),
            "PUT",
            &format!("/{THEIRS}"),
            Some(body.to_string().as_bytes()),
        );
        assert_eq!(put.0, 200, "{}", put.1);
    }
    for (number, events) in steps.iter().enumerate() {
        let file = desk.file(format!("{number}.ndjson"), lines(events));
        let all = events.len() as u64;
        let load = desk.load(&file, engine.url()).with(["--workers", "1"]);
        load.run().exits(0).counted([all, all, 0, 0]);
    }
    if theirs.is_none() {
        // An index of somebody else may refuse a field, and is asked for the others.
        engine.assert_no_complaints();
    }
    let mappings = engine.each(|name, index| (name.to_owned(), index.mapping.shown()));
    let mappings = mappings.into_iter().filter(|(name, _)| name != THEIRS).collect();
    let documents = engine.documents().into_iter().filter(|((name, _), _)| name != THEIRS);
    let learned =
        wire::ask(engine.url(), "GET", "/_component_template/cloudtrail-discovered", None).1;
    ((mappings, documents.collect(), decisions(&desk.checkpoint()), learned), engine)
}

fn mapped(properties: &Value) -> Value {
    json!({ "mappings": { "dynamic": false, "properties": properties } })
}

fn orders() -> Vec<Vec<Vec<Value>>> {
    let all = all_events();
    let (theirs, others): (Vec<Value>, Vec<Value>) = all
        .iter()
        .cloned()
        .partition(|event| event["eventTime"].as_str().unwrap().starts_with("2024-01"));
    let backward: Vec<Value> = all.iter().rev().cloned().collect();
    vec![
        vec![theirs, others],
        vec![all.clone()],
        vec![backward[..50].to_vec(), backward[50..].to_vec()],
    ]
}

#[test]
fn what_an_index_of_somebody_else_decided_reaches_no_other() {
    let keyword = json!({ "type": "keyword" });
    let object = json!({ "properties": { "theirs": keyword } });
    let of_parameters = |fields: Value| json!({ "requestParameters": { "properties": fields } });
    let bent = [
        json!({ "requestParameters": keyword }),
        json!({ "requestParameters": keyword, "responseElements": keyword, "userIdentity": keyword }),
        json!({ "errorMessage": object, "eventName": object, "readOnly": object }),
        of_parameters(
            json!({ "policy": object, "inventedYesterday": keyword, "instanceType": object }),
        ),
        of_parameters(
            json!({ "inventedYesterday": object, "filter": { "type": "text" }, "minCount": { "type": "boolean" } }),
        ),
        of_parameters(json!({ "late": keyword, "ofTheirOwn": keyword })),
    ];
    for steps in orders() {
        let (expected, _) = load(None, &steps);
        for properties in &bent {
            let (others, engine) = load(Some(&mapped(properties)), &steps);
            assert_eq!(others.0, expected.0, "mappings beside {properties}");
            assert_eq!(others.3, expected.3, "the learned template beside {properties}");
            assert_eq!(others.2, expected.2, "the checkpoint beside {properties}");
            assert!(others.1 == expected.1, "documents beside {properties}");
            assert_eq!(engine.count(), all_events().len(), "each event is somewhere");
        }
    }
}

#[test]
fn an_index_of_somebody_else_that_is_full_leaves_the_others_their_fields() {
    let steps = orders().swap_remove(0);
    let (expected, _) = load(None, &steps);
    let mut body = mapped(
        &json!({ "requestParameters": { "properties": { "policy": { "type": "keyword" } } } }),
    );
    body["settings"] = json!({ "index": { "mapping": { "total_fields": { "limit": 3 } } } });
    let (others, engine) = load(Some(&body), &steps);
    assert_eq!(others.0, expected.0, "mappings");
    assert_eq!(others.3, expected.3, "the learned template");
    assert!(others.1 == expected.1, "documents");
    let document = engine.document(&id(4)).unwrap();
    let Some(Json::List(more)) = document.at("trailload.unmapped") else { panic!("{document:?}") };
    let has = |term: &str| more.iter().any(|held| held.text() == Some(term));
    assert!(
        has("requestParameters.instanceType=t3.micro"),
        "what it does not map is found: {more:?}"
    );
    assert!(has("eventName=RunInstances"), "{more:?}");
}

#[test]
fn documents_fit_an_index_of_somebody_else_when_they_are_sent() {
    let body = mapped(&json!({ "requestParameters": { "type": "keyword" } }));
    let (_, engine) = load(Some(&body), &[all_events()]);
    let theirs = engine.documents().into_iter().filter(|((name, _), _)| name == THEIRS);
    let theirs: Vec<Json> = theirs.map(|(_, document)| document).collect();
    assert!(theirs.len() > 20);
    for document in &theirs {
        let there = document.at("requestParameters_object");
        assert!(matches!(there, Some(Json::Object(_))), "{document:?}");
    }
    let sent = (0..all_events().len()).map(id).collect();
    assert_eq!(engine.sendings(&sent), all_events().len(), "no document is refused first");
}
