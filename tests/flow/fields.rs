//! Which fields a document gets, which are renamed, and which are mapped.

use serde_json::{Value, json};

use crate::support::engine::{FakeEngine, Flavour};
use crate::support::events::{event, event_with, events, id, ids, lines, records};
use crate::support::json::Json;
use crate::support::load::{Desk, decisions};

fn text<'a>(document: &'a Json, path: &str) -> Option<&'a str> {
    document.at(path).and_then(Json::text)
}

#[test]
fn a_document_has_the_fields_that_we_add() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let host = event_with(2, "sourceIPAddress", json!("cloudtrail.amazonaws.com"));
    let file = desk.file("a.json", records(&[event(1), host]));
    desk.load(&file, engine.url()).run().exits(0);
    let document = engine.document(&id(1)).unwrap();
    assert_eq!(text(&document, "@timestamp"), event(1)["eventTime"].as_str());
    assert_eq!(text(&document, "source.ip"), event(1)["sourceIPAddress"].as_str());
    let named = engine.document(&id(2)).unwrap();
    assert_eq!(named.at("source.ip"), None, "only an address is one");
    assert_eq!(text(&named, "sourceIPAddress"), Some("cloudtrail.amazonaws.com"));
    let kinds = engine.kinds();
    for (path, kind) in [
        ("@timestamp", "date"),
        ("eventTime", "date"),
        ("source.ip", "ip"),
        ("readOnly", "boolean"),
        ("event.action", "alias"),
        ("user.name", "alias"),
        ("cloud.account.id", "alias"),
        ("requestParameters", "object"),
    ] {
        assert_eq!(kinds.get(path).map(String::as_str), Some(kind), "{path}");
    }
}

#[test]
fn bytes_that_need_no_change_are_not_changed() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let odd = r#""responseElements":{"big":12345678901234567890123,"exact":1.10,"escaped":"\u00e9\/","z":1,"a":2}"#;
    let plain = event_with(1, "responseElements", Value::Null).to_string();
    let record = plain.replacen("\"responseElements\":null", odd, 1);
    let file = desk.file("a.json", &record);
    desk.load(&file, engine.url()).run().exits(0).counted([1, 1, 0, 0]);
    let held = String::from_utf8(engine.document_text(&id(1)).unwrap()).unwrap();
    assert!(held.contains(odd), "numbers, escapes and the order of keys survive: {held}");
}

/// The nine fields of the list that started it all: what two services send under one name.
const CONFLICTS: [(&str, &str, &str); 9] = [
    ("additionalEventData", r#""text""#, r#"{"SignatureVersion":"SigV4"}"#),
    ("apiVersion", r#""2012-10-17""#, r#""v20160216""#),
    ("requestParameters.domainName", r#""example.com""#, r#"{"name":"example.com"}"#),
    ("requestParameters.attribute", r#""disableApiTermination""#, r#"{"FifoQueue":"true"}"#),
    ("requestParameters.policy", r#""{}""#, r#"{"Statement":[{"Effect":"Allow"}]}"#),
    ("requestParameters.filter", r#""a = b""#, r#"{"name":"a"}"#),
    ("requestParameters.rule", r#""default""#, r#"{"prefix":"x"}"#),
    (
        "requestParameters.iamInstanceProfile",
        r#""profile""#,
        r#"{"arn":"arn:aws:iam::1:instance-profile/p"}"#,
    ),
    (
        "responseElements.endpoint",
        r#""db.example.com""#,
        r#"{"address":"db.example.com","port":3306}"#,
    ),
];

fn conflicting() -> Vec<Value> {
    let mut all = Vec::new();
    for (path, one, other) in CONFLICTS {
        for value in [one, other] {
            let value = serde_json::from_str(value).unwrap();
            all.push(event_with(all.len(), path, value));
        }
    }
    all
}

#[test]
fn declared_conflicts_go_in_and_look_the_same_in_either_order() {
    let load = |all: &[Value]| {
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        let file = desk.file("a.json", lines(all));
        let outcome = desk.load(&file, engine.url()).with(["--workers", "1"]).run().exits(0);
        assert_eq!(outcome.counts(), [18, 18, 0, 0]);
        assert!(outcome.number("rewritten") >= 8, "one side of each hard conflict is rewritten");
        engine.assert_no_complaints();
        (engine.documents(), engine.kinds())
    };
    let mut all = conflicting();
    let (documents, kinds) = load(&all);
    all.reverse();
    assert_eq!(load(&all), (documents, kinds), "the order of the events changes nothing");
}

#[test]
fn a_rewrite_is_recorded_in_the_document() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let object = event_with(1, "requestParameters.policy", json!({ "Statement": [] }));
    let plain = event_with(2, "requestParameters.policy", json!("{}"));
    let file = desk.file("a.json", lines(&[object, plain]));
    let outcome = desk.load(&file, engine.url()).run().exits(0).counted([2, 2, 0, 0]);
    assert_eq!(outcome.number("rewritten"), 1);
    assert!(engine.document(&id(1)).unwrap().at("trailload.changes").is_some());
    assert_eq!(
        engine.document(&id(2)).unwrap().at("trailload.changes"),
        None,
        "only when something changed"
    );
}

#[test]
fn lean_maps_only_the_parameters_of_dashboards_but_finds_all() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..20)));
    desk.load(&file, engine.url())
        .with(["--fields", "lean"])
        .run()
        .exits(0)
        .counted([20, 20, 0, 0]);
    let kinds = engine.kinds();
    let mapped: Vec<&str> =
        kinds.keys().filter_map(|path| path.strip_prefix("requestParameters.")).collect();
    assert_eq!(mapped, ["bucketName", "groupId", "roleArn", "userName"]);
    let document = engine.document(&id(3)).unwrap();
    assert!(has_more(&document, "requestParameters.instanceType=t3.micro"), "{document:?}");
    assert_eq!(
        text(&document, "requestParameters.instanceType"),
        Some("t3.micro"),
        "the value stays where it was"
    );
}

fn has_more(document: &Json, wanted: &str) -> bool {
    match document.at("trailload.unmapped") {
        Some(Json::List(items)) => items.iter().any(|item| item.text() == Some(wanted)),
        Some(one) => one.text() == Some(wanted),
        None => false,
    }
}

#[test]
fn above_the_field_budget_nothing_is_refused_and_a_notice_is_given() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let wide: Vec<Value> = (0..200)
        .map(|number| {
            event_with(
                number,
                "requestParameters",
                json!({ format!("parameter{number}"): format!("v{number}") }),
            )
        })
        .collect();
    let file = desk.file("a.json", records(&wide));
    let outcome = desk.load(&file, engine.url()).with(["--max-fields", "50"]).run().exits(0);
    outcome.counted([200, 200, 0, 0]).says(["--max-fields"]);
    let mapped = engine
        .kinds()
        .keys()
        .filter(|path| path.starts_with("requestParameters.parameter"))
        .count();
    assert!(mapped <= 50, "{mapped} are mapped");
    let found = (0..200).filter(|number| {
        has_more(
            &engine.document(&id(*number)).unwrap(),
            &format!("requestParameters.parameter{number}=v{number}"),
        )
    });
    assert_eq!(
        found.count(),
        200 - mapped,
        "what is not mapped is found through trailload.unmapped"
    );
    engine.assert_no_complaints();
}

#[test]
fn new_fields_are_put_before_the_batch_that_needs_them_in_few_calls() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let wide: Vec<Value> = (0..3_000)
        .map(|number| {
            event_with(
                number,
                "requestParameters",
                json!({ format!("parameter{}", number % 500): "v" }),
            )
        })
        .collect();
    let file = desk.file("a.json", records(&wide));
    let load = desk.load(&file, engine.url()).with(["--index-by", "none"]);
    load.run().exits(0).counted([3_000, 3_000, 0, 0]);
    assert_eq!(
        engine
            .kinds()
            .keys()
            .filter(|path| path.starts_with("requestParameters.parameter"))
            .count(),
        500
    );
    assert!(engine.asked().mapping_calls <= 50, "{:?}", engine.asked());
}

#[test]
fn an_unknown_path_keeps_the_kind_it_was_first_met_with() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let path = "requestParameters.inventedYesterday";
    let one = desk.file("one.json", records(&[event_with(1, path, json!("text"))]));
    let other = desk.file("other.json", records(&[event_with(2, path, json!({ "name": "x" }))]));
    desk.load(&one, engine.url()).run().exits(0);
    let kinds = engine.kinds();
    let second = desk.load(&other, engine.url()).checkpoint(&desk.path("second-loader.sqlite"));
    second.run().exits(0).counted([1, 1, 0, 0]);
    assert_eq!(engine.kinds()[path], kinds[path], "a second loader obeys the first");
    let next_month = event_with(7, path, json!({ "name": "x" }));
    let third =
        desk.file("third.json", records(&[event_with(8, path, json!([{ "a": 1 }])), next_month]));
    desk.load(&third, engine.url()).run().exits(0).counted([2, 2, 0, 0]);
    assert_eq!(engine.kinds()[path], kinds[path], "next month too");
    engine.assert_no_complaints();
}

#[test]
fn the_checkpoint_remembers_what_was_decided_when_the_index_is_gone() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let path = "requestParameters.inventedYesterday";
    let text = event_with(1, path, json!("text"));
    let object = event_with(2, path, json!({ "name": "x" }));
    let load = |events: &[Value]| {
        let file = desk.file("a.json", lines(events));
        let load = desk.load(&file, engine.url()).with(["--reload", "--workers", "1"]);
        load.run().exits(0).counted([2, 2, 0, 0]);
        engine.assert_no_complaints();
        (engine.documents(), engine.kinds())
    };
    let before = load(&[text.clone(), object.clone()]);
    assert_eq!(before.1[path], "keyword");
    assert_eq!(decisions(&desk.checkpoint())[path], "value");
    engine.remove_everything();
    assert_eq!(load(&[object, text]), before, "the object comes first, and changes nothing");
}

#[test]
fn an_index_has_its_own_word_and_the_checkpoint_learns_it() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let path = "requestParameters.inventedYesterday";
    let file = desk.file("a.json", lines(&[event_with(1, path, json!("text"))]));
    let load = desk.load(&file, engine.url()).with(["--reload", "--index-by", "none"]);
    load.run().exits(0).counted([1, 1, 0, 0]);
    assert_eq!(decisions(&desk.checkpoint())[path], "value");
    engine.remove_everything();
    engine.another_loader_decides(&json!({ "requestParameters": { "properties": {
        "inventedYesterday": { "properties": { "name": { "type": "keyword" } } } } } }));
    load.run().exits(0).counted([1, 1, 0, 0]);
    assert_eq!(engine.kinds()[path], "object");
    assert_eq!(decisions(&desk.checkpoint())[path], "object");
    engine.remove_everything();
    load.run().exits(0).counted([1, 1, 0, 0]);
    assert_eq!(engine.kinds()[&format!("{path}_value")], "keyword");
}

#[test]
fn when_another_loader_decided_first_we_obey() {
    for flavour in [Flavour::OpenSearch, Flavour::Elasticsearch] {
        let (engine, desk) = (FakeEngine::start_as(flavour), Desk::new());
        let path = "requestParameters.inventedYesterday";
        let file =
            desk.file("a.json", records(&[event_with(1, path, json!({ "name": "x" })), event(2)]));
        engine.another_loader_decides(&json!({ "requestParameters": { "properties": { "inventedYesterday": { "type": "keyword" } } } }));
        desk.load(&file, engine.url())
            .with(["--index-by", "none"])
            .run()
            .exits(0)
            .counted([2, 2, 0, 0]);
        assert_eq!(engine.ids(), ids(1..3));
        assert_eq!(engine.kinds()[path], "keyword");
    }
}

#[test]
fn an_installed_template_is_not_put_again() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..3)));
    desk.load(&file, engine.url()).run().exits(0);
    assert!(engine.template_names().iter().any(|name| name.starts_with("cloudtrail")));
    let writes = engine.asked().writes;
    let more = desk.file("b.json", records(&events(4..7)));
    desk.load(&more, engine.url()).run().exits(0);
    assert!(engine.asked().writes - writes <= 3, "the documents, and nothing that is there");
}

#[test]
fn a_newer_template_is_overwritten_by_force_only() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..3)));
    let newer = json!({ "index_patterns": ["cloudtrail", "cloudtrail-*"], "priority": 900,
        "_meta": { "managed_by": "trailload", "version": 9_999 },
        "template": { "mappings": { "dynamic": false, "properties": {} } } });
    engine.put_index_template("cloudtrail", newer);
    let load = desk.load(&file, engine.url());
    load.run().exits(1).says(["template", "--force", "9999"]);
    assert_eq!(engine.count(), 0);
    load.with(["--force"]).run().exits(0).counted([3, 3, 0, 0]);
}

#[test]
fn a_foreign_template_is_left_alone_and_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..3)));
    engine.put_index_template("cloudtrail", json!({ "index_patterns": ["cloudtrail-*"], "priority": 900, "template": { "mappings": { "dynamic": false, "properties": {} } } }));
    let outcome = desk.load(&file, engine.url()).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    outcome.says(["template", "--force", "cloudtrail"]);
    assert_eq!(engine.count(), 0);
}

#[test]
fn an_endpoint_that_only_knows_bulk_is_enough() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    engine.answer_bulk_only();
    let file = desk.file("a.json", records(&events(0..30)));
    desk.load(&file, engine.url()).run().exits(0).counted([30, 30, 0, 0]);
    assert_eq!(engine.ids(), ids(0..30));
}
