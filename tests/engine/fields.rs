//! What a user can ask the index for.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::events::{event, event_with, events, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(
    names_of_the_common_schema_answer,
    addresses_dates_numbers_and_booleans_answer_as_such,
    what_is_not_mapped_is_found_all_the_same,
    beyond_the_budget_keys_are_the_same_and_values_are_found,
    what_was_decided_outlives_index_and_template,
    the_template_is_installed_once_and_found_by_next_months_index,
);

fn load(corner: &Corner, events: &[Value], options: &[&str]) {
    let desk = Desk::new();
    let file = desk.file("a.json", records(events));
    let all = events.len() as u64;
    let load = desk.load(&file, corner.url()).with(corner.index()).with(options.iter().copied());
    load.run().exits(0).counted([all, all, 0, 0]);
    corner.refresh();
}

fn term(field: &str, value: impl Into<Value>) -> Value {
    json!({ "term": { field: value.into() } })
}

fn names_of_the_common_schema_answer(corner: &Corner) {
    load(corner, &events(0..40), &[]);
    assert_eq!(corner.found(&term("event.action", "RunInstances")), 40);
    assert_eq!(corner.found(&term("event.provider", "ec2.amazonaws.com")), 40);
    assert_eq!(corner.found(&term("cloud.account.id", "111122223333")), 40);
    assert_eq!(corner.found(&term("cloud.region", "eu-central-1")), 40);
    assert_eq!(corner.found(&json!({ "exists": { "field": "event.action" } })), 40);
    let shown =
        json!({ "size": 0, "aggs": { "actions": { "terms": { "field": "event.action" } } } });
    let answer = corner.ask("POST", &format!("/{}*/_search", corner.prefix()), &shown);
    assert_eq!(answer["aggregations"]["actions"]["buckets"][0]["doc_count"], 40);
}

fn addresses_dates_numbers_and_booleans_answer_as_such(corner: &Corner) {
    let mut all = events(0..40);
    all.push(event_with(40, "sourceIPAddress", json!("cloudtrail.amazonaws.com")));
    all.push(event_with(41, "readOnly", json!("true")));
    all.push(event_with(42, "sourceIPAddress", json!("2001:db8::17")));
    load(corner, &all, &[]);
    assert_eq!(corner.found(&term("source.ip", "198.51.100.0/24")), 41);
    assert_eq!(corner.found(&term("source.ip", "2001:db8::/32")), 1);
    assert_eq!(corner.found(&term("sourceIPAddress", "cloudtrail.amazonaws.com")), 1);
    let february =
        json!({ "range": { "@timestamp": { "gte": "2024-02-01", "lt": "2024-03-01" } } });
    let in_february = all
        .iter()
        .filter(|event| event["eventTime"].as_str().unwrap().starts_with("2024-02"))
        .count();
    assert_eq!(corner.found(&february), in_february as u64);
    let read_only = all
        .iter()
        .filter(|event| event["readOnly"] == json!(true) || event["readOnly"] == json!("true"))
        .count();
    assert_eq!(
        corner.found(&term("readOnly", true)),
        read_only as u64,
        "a boolean as text counts as one"
    );
}

fn what_is_not_mapped_is_found_all_the_same(corner: &Corner) {
    load(
        corner,
        &[event(1), event_with(2, "requestParameters.instanceType", json!("m7g.large"))],
        &["--fields", "lean"],
    );
    assert_eq!(
        corner.found(&term("trailload.more", "requestParameters.instanceType=m7g.large")),
        1
    );
    assert_eq!(
        corner.found(&term("requestParameters.instanceType", "m7g.large")),
        0,
        "lean maps no parameters"
    );
}

fn beyond_the_budget_keys_are_the_same_and_values_are_found(corner: &Corner) {
    let policy = "requestParameters.policy";
    let object = event_with(1, policy, json!({ "Statement": { "Effect": "Allow" } }));
    let text = event_with(2, policy, json!("{}"));
    load(corner, &[object, text], &["--max-fields", "0", "--index-by", "none"]);
    for term_of_more in
        ["requestParameters.policy={}", "requestParameters.policy_object.Statement.Effect=Allow"]
    {
        assert_eq!(corner.found(&term("trailload.more", term_of_more)), 1, "{term_of_more}");
    }
    assert!(!corner.kinds().contains_key(policy));
}

fn what_was_decided_outlives_index_and_template(corner: &Corner) {
    let path = "requestParameters.inventedYesterday";
    let text = event_with(1, path, json!("text"));
    let object = event_with(2, path, json!({ "name": "x" }));
    let desk = Desk::new();
    let kinds = |events: &[Value]| {
        let file = desk.file("a.json", records(events));
        let load = desk.load(&file, corner.url()).with(corner.index()).with(["--again"]);
        load.run().exits(0).counted([2, 2, 0, 0]);
        corner.kinds()
    };
    let before = kinds(&[text.clone(), object.clone()]);
    assert_eq!(before.get(path).map(String::as_str), Some("keyword"));
    corner.clear();
    assert_eq!(kinds(&[object, text]), before);
}

fn the_template_is_installed_once_and_found_by_next_months_index(corner: &Corner) {
    let learned = "requestParameters.inventedYesterday";
    let january = event_with(0, learned, json!("text"));
    let february = event_with(1, learned, json!({ "name": "x" }));
    load(corner, &[january], &[]);
    let kinds = corner.kinds();
    assert_eq!(kinds.get(learned).map(String::as_str), Some("keyword"));
    load(corner, &[february], &[]);
    assert_eq!(
        corner.kinds().get(learned).map(String::as_str),
        Some("keyword"),
        "next month obeys"
    );
    assert_eq!(corner.count(), 2);
}
