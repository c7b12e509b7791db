//! What a user can ask the index for.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::events::{event, event_with, events, id, records};
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};

on_every_engine!(
    names_of_the_common_schema_answer,
    addresses_dates_numbers_and_booleans_answer_as_such,
    what_is_not_mapped_is_found_all_the_same,
    a_long_text_is_found_by_its_beginning_and_by_its_words,
    a_time_in_another_spelling_is_found_by_every_name_of_it,
    an_older_index_and_template_get_the_fields_of_texts,
    duplicates_are_compared_with_what_is_stored,
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
        corner.found(&term("trailload.unmapped", "requestParameters.instanceType=m7g.large")),
        1
    );
    assert_eq!(
        corner.found(&term("requestParameters.instanceType", "m7g.large")),
        0,
        "lean maps no parameters"
    );
}

/// A policy of this many statements, the last with a name of its own: longer than a keyword field takes.
fn policy(statements: usize) -> String {
    let mut all: Vec<Value> = (0..statements)
        .map(|number| {
            json!({ "Sid": format!("S{number}"), "Effect": "Allow", "Action": "kms:*",
                "Principal": { "AWS": "arn:aws:iam::111122223333:root" }, "Resource": "*" })
        })
        .collect();
    all.push(
        json!({ "Sid": "Backdoor", "Effect": "Allow", "Action": "kms:Decrypt", "Principal": "*" }),
    );
    json!({ "Version": "2012-10-17", "Statement": all }).to_string()
}

fn begins(path: &str, text: &str) -> Value {
    json!({ "prefix": { "trailload.unmapped": format!("{path}={text}") } })
}

fn words(path: &str, text: &str) -> Value {
    json!({ "match_phrase": { path: text } })
}

fn a_long_text_is_found_by_its_beginning_and_by_its_words(corner: &Corner) {
    let (short, long) = (policy(0), policy(12));
    assert!(short.len() < 300 && long.len() > 1_024);
    let message = format!("{} because of Mercury", "x ".repeat(1_000));
    let all = [
        event_with(1, "requestParameters.policy", json!(long)),
        event_with(2, "requestParameters.policy", json!(short)),
        event_with(3, "requestParameters.policyDocument", json!(long)),
        event_with(4, "responseElements.role", json!({ "assumeRolePolicyDocument": long })),
        event_with(5, "errorMessage", json!(message)),
        event_with(6, "requestParameters.madeUp", json!(long)),
        event_with(7, "requestParameters.tags", json!({ "note": long })),
    ];
    load(corner, &all, &[]);
    let start = &long[..60];
    for path in [
        "requestParameters.policy",
        "requestParameters.policyDocument",
        "responseElements.role.assumeRolePolicyDocument",
        "requestParameters.madeUp",
        "requestParameters.tags.note",
    ] {
        assert_eq!(corner.found(&begins(path, start)), 1, "{path} by its beginning");
    }
    assert_eq!(corner.found(&begins("errorMessage", "x x x")), 1);
    assert_eq!(corner.found(&words("errorMessage.text", "because of Mercury")), 1);
    for (path, found) in [
        ("requestParameters.policy.text", 2),
        ("requestParameters.policyDocument.text", 1),
        ("responseElements.role.assumeRolePolicyDocument.text", 1),
    ] {
        for phrase in ["Backdoor", "Sid Backdoor", "kms:Decrypt", "KMS:DECRYPT"] {
            assert_eq!(corner.found(&words(path, phrase)), found, "{path}: {phrase}");
        }
        assert_eq!(corner.found(&words(path, "Frontdoor")), 0);
    }
    assert_eq!(corner.found(&words("requestParameters.policy.text", "111122223333")), 1);
    let whole = term("requestParameters.policy", short);
    assert_eq!(corner.found(&whole), 1, "a short one is found as a whole, too");
}

fn a_time_in_another_spelling_is_found_by_every_name_of_it(corner: &Corner) {
    let noon = ["2024-06-01T12:00:00Z", "2024-06-01 12:00:00", "1717243200", "1717243200000"];
    let mut all: Vec<Value> = noon
        .iter()
        .enumerate()
        .map(|(number, time)| event_with(number, "eventTime", json!(time)))
        .collect();
    all.push(event_with(4, "eventTime", json!(1_717_243_200)));
    all.push(event_with(5, "eventTime", json!(1_717_243_200.5)));
    let ancient = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"];
    for (number, time) in (6..).zip(ancient) {
        all.push(event_with(number, "eventTime", json!(time)));
    }
    load(corner, &all, &[]);
    for field in ["@timestamp", "eventTime"] {
        let range = json!({ "range": { field: { "gte": "2024-06-01", "lt": "2024-06-02" } } });
        assert_eq!(corner.found(&range), 6, "{field}");
    }
    let undated = format!("/{}-undated/_count", corner.prefix());
    assert_eq!(corner.ask("GET", &undated, &Value::Null)["count"], 3);
}

fn duplicates_are_compared_with_what_is_stored(corner: &Corner) {
    let all: Vec<Value> = (0..30)
        .map(|number| {
            let number_as_it_came = json!(1.10 + f64::from(u8::try_from(number).unwrap()));
            event_with(number, "requestParameters.number", number_as_it_came)
        })
        .collect();
    load(corner, &all, &[]);
    let again = |all: &[Value], exit| {
        let desk = Desk::new();
        let file = desk.file("a.json", records(all));
        let load = desk.load(&file, corner.url()).with(corner.index()).with(["--check-duplicates"]);
        load.run().exits(exit).counted([30, 0, 30, 0])
    };
    let outcome = again(&all, 0);
    assert!(outcome.summary.unwrap().get("duplicates_differing").is_none());
    let mut others = all;
    others[9]["requestParameters"]["number"] = json!(1);
    others[17] = event_with(17, "requestParameters.policy", json!({ "a": 1 }));
    let outcome = again(&others, 3);
    assert_eq!(outcome.number("duplicates_differing"), 2);
    outcome.says([id(9).as_str(), id(17).as_str(), "requestParameters"]);
}

/// What an earlier version of the template mapped without fields for its words.
fn an_older_index_and_template_get_the_fields_of_texts(corner: &Corner) {
    let path = "requestParameters.policy";
    load(corner, &[event(0)], &[]);
    let keyword = json!({ "type": "keyword", "ignore_above": 1024 });
    let older =
        json!({ "properties": { "requestParameters": { "properties": { "policy": keyword } } } });
    let index = format!("/{}-2024.01/_mapping", corner.prefix());
    corner.ask("PUT", &index, &older);
    let component = format!("/_component_template/{}-discovered", corner.prefix());
    let template = json!({ "template": { "mappings": older }, "_meta": { "managed_by": "trailload", "version": 2 } });
    corner.ask("PUT", &component, &template);
    // One for the older index, one for the index of the next month.
    let long = json!(policy(12));
    load(corner, &[event_with(4, path, long.clone()), event_with(5, path, long)], &[]);
    assert_eq!(corner.found(&words("requestParameters.policy.text", "Backdoor")), 2);
    let learned = corner.ask("GET", &component, &Value::Null);
    let policy = learned["component_templates"][0]["component_template"]
        .pointer("/template/mappings/properties/requestParameters/properties/policy")
        .cloned();
    assert_eq!(policy.unwrap()["fields"]["text"]["type"], "text");
}

fn beyond_the_budget_keys_are_the_same_and_values_are_found(corner: &Corner) {
    let policy = "requestParameters.policy";
    let object = event_with(1, policy, json!({ "Statement": { "Effect": "Allow" } }));
    let text = event_with(2, policy, json!("{}"));
    load(corner, &[object, text], &["--max-fields", "0", "--index-by", "none"]);
    for term_of_more in
        ["requestParameters.policy={}", "requestParameters.policy_object.Statement.Effect=Allow"]
    {
        assert_eq!(corner.found(&term("trailload.unmapped", term_of_more)), 1, "{term_of_more}");
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
        let load = desk.load(&file, corner.url()).with(corner.index()).with(["--reload"]);
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
