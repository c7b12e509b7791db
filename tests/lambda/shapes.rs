//! Every kind of trigger: its events are evaluated, loaded, or both.

use std::{collections::BTreeSet, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{batch, envelope, function::Package, notification, topic, wrapped};
use crate::{
    support::{
        aws::s3::{Bucket, Fake},
        engine::{FakeEngine, Flavour},
    },
    watch::hook::{Hook, created, event_id, ids},
};

fn packed(events: &[Value]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(json!({ "Records": events }).to_string().as_bytes()).unwrap();
    packer.finish().unwrap()
}

const KEY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2024/03/05/111122223333_CloudTrail_us-east-1_20240305T1000Z_ab=cd.json.gz";

/// A bucket with a log file of these events.
fn bucket(events: &[Value]) -> Bucket {
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put(KEY, packed(events));
    bucket
}

fn set(list: Vec<String>) -> BTreeSet<String> {
    list.into_iter().collect()
}

#[test]
fn an_event_of_eventbridge_raises_an_alert() {
    let hook = Hook::start();
    let function = Package::with_rule(&hook.actions()).start();
    let summary = function.invoke(&envelope(&created(1, "al", 1))).response();
    assert_eq!(hook.events(), [event_id(1)]);
    assert_eq!(
        (&summary["messages"], &summary["events"], &summary["delivered"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(summary["failed_messages"], 0);
    let [_, log] = function.stop();
    let line = "1 message, 1 event, 1 match = 1 alert; 1 delivered; ";
    assert!(log.lines().any(|found| found.starts_with(line)), "{log}");
}

#[test]
fn all_bodies_of_a_queue_are_understood() {
    let hook = Hook::start();
    let s3 = Fake::start([("logs", bucket(&[created(4, "al", 1), created(5, "al", 1)]))]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let notified = notification(&[KEY]);
    let test_event = json!({
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "logs",
        "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    });
    let payload = batch(&[
        ("event", envelope(&created(1, "al", 1)).to_string()),
        ("topic", wrapped(&envelope(&created(2, "al", 1))).to_string()),
        ("records", json!({ "Records": [created(3, "al", 1)] }).to_string()),
        ("object", notified.to_string()),
        ("object of a topic", wrapped(&notified).to_string()),
        ("test", test_event.to_string()),
    ]);
    assert_eq!(function.invoke(&payload).failed_items(), [""; 0]);
    assert_eq!(set(hook.events()), ids(1..6));
    assert_eq!(hook.received().len(), 5, "each once");
    // Another batch uses the same connections.
    assert_eq!(function.invoke(&batch(&[("again", notified.to_string())])).failed_items(), [""; 0]);
    assert_eq!(hook.received().len(), 5, "each once");
    assert_eq!(function.api.connections(), 1);
}

#[test]
fn notifications_of_s3_and_topics_are_read() {
    let hook = Hook::start();
    let s3 = Fake::start([("logs", bucket(&[created(1, "al", 1)]))]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    function.invoke(&notification(&[KEY])).response();
    assert_eq!(hook.events(), [event_id(1)]);
    function.invoke(&topic(&notification(&[KEY]))).response();
    let delivered = json!({ "s3Bucket": "logs", "s3ObjectKey": [KEY] });
    function.invoke(&topic(&delivered)).response();
    function.invoke(&topic(&envelope(&created(2, "al", 1)))).response();
    assert_eq!(set(hook.events()), ids(1..3));
    assert_eq!(hook.received().len(), 2, "each once");
    let calls = s3.take_calls();
    assert!(calls.iter().all(|call| call.action == "GetObject"), "{calls:?}");
}

#[test]
fn subscriptions_of_a_log_group_are_read() {
    let hook = Hook::start();
    let function = Package::with_rule(&hook.actions()).start();
    let entries = [created(1, "al", 1), created(2, "al", 1)].map(|event| {
        json!({ "id": "31953106606966983378809025079804211143289615424298221568", "timestamp": 1, "message": event.to_string() })
    });
    let logged = json!({
        "messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "trail", "logStream": "1",
        "subscriptionFilters": ["all"], "logEvents": entries,
    });
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(logged.to_string().as_bytes()).unwrap();
    let data = BASE64.encode(packer.finish().unwrap());
    let summary = function.invoke(&json!({ "awslogs": { "data": data } })).response();
    assert_eq!((&summary["events"], &summary["delivered"]), (&json!(2), &json!(2)));
    let stream = json!({ "Records": [{
        "eventSource": "aws:kinesis", "eventName": "aws:kinesis:record", "eventID": "shardId-000000000006:1",
        "kinesis": { "kinesisSchemaVersion": "1.0", "partitionKey": "1", "sequenceNumber": "1", "data": data },
    }] });
    let summary = function.invoke(&stream).response();
    assert_eq!((&summary["events"], &summary["duplicates"]), (&json!(2), &json!(2)));
    assert_eq!(set(hook.events()), ids(1..3));
}

#[test]
fn triggers_without_events_of_cloudtrail_are_named() {
    let function = Package::with_rule("hook: {kind: stdout}\n").start();
    for payload in [
        json!({ "version": "2.0", "routeKey": "$default", "rawPath": "/", "headers": {}, "isBase64Encoded": false }),
        json!({ "Records": [{ "eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": { "Keys": {} } }] }),
        json!({ "version": "0", "detail-type": "EC2 Spot Instance Interruption Warning", "source": "aws.ec2", "detail": {} }),
        json!({ "name": "test" }),
        json!(null),
        json!("hello"),
        json!(7),
    ] {
        let (kind, message) = function.invoke(&payload).error();
        assert_eq!(kind, "Trailload.ForeignMessage", "{payload}");
        assert!(message.starts_with("not CloudTrail: "), "{payload}: {message}");
    }
}

#[test]
fn events_are_loaded_and_evaluated() {
    let hook = Hook::start();
    let engine = FakeEngine::start();
    let package = Package::with_rule(&hook.actions())
        .set("TRAILLOAD_INTO", engine.url())
        .set("TRAILLOAD_INDEX_BY", "none");
    let function = package.start();
    let payload = batch(&[
        ("1", envelope(&created(1, "al", 1)).to_string()),
        ("2", envelope(&created(2, "al", 1)).to_string()),
    ]);
    assert_eq!(function.invoke(&payload).failed_items(), [""; 0]);
    let summary = function.invoke(&envelope(&created(2, "al", 1))).response();
    assert_eq!((&summary["created"], &summary["duplicate_documents"]), (&json!(0), &json!(1)));
    assert_eq!((&summary["alerts"], &summary["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(set(hook.events()), ids(1..3));
    assert_eq!(engine.ids(), ids(1..3));
}

#[test]
fn without_rules_events_are_only_loaded() {
    let engine = FakeEngine::start_as(Flavour::Elasticsearch);
    let function = Package::new().set("TRAILLOAD_INTO", engine.url()).start();
    let summary = function.invoke(&envelope(&created(1, "al", 1))).response();
    assert_eq!((&summary["created"], summary.get("alerts")), (&json!(1), None));
}

#[test]
fn alerts_of_rules_without_actions_are_in_the_log() {
    let package = Package::new();
    package.write("rules/users.yml", "name: user created\nevents: [CreateUser]\n");
    let function = package.set("AWS_LAMBDA_LOG_FORMAT", "JSON").start();
    function.invoke(&envelope(&created(1, "al", 1))).response();
    let [alerts, log] = function.stop();
    let alert: Value = serde_json::from_str(alerts.trim_end()).unwrap();
    assert_eq!((&alert["rule"], &alert["event_id"]), (&json!("user created"), &json!(event_id(1))));
    let summary: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["level"], &summary["about"], &summary["alerts"]),
        (&json!("info"), &json!("summary"), &json!(1))
    );
    assert!(summary["request_id"].as_str().unwrap().starts_with("8476a536-"));
    assert!(summary["trace_id"].as_str().unwrap().starts_with("Root=1-"));
}

#[test]
fn an_event_without_a_match_and_a_schedule_do_nothing() {
    let hook = Hook::start();
    let function = Package::with_rule(&hook.actions()).start();
    let mut other = created(1, "al", 1);
    other["eventName"] = json!("DeleteUser");
    let summary = function.invoke(&envelope(&other)).response();
    assert_eq!((&summary["events"], &summary["matches"]), (&json!(1), &json!(0)));
    let schedule = json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "111122223333", "time": "2024-01-01T00:00:00Z", "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:111122223333:rule/every-5-minutes"], "detail": {},
    });
    let summary = function.invoke(&schedule).response();
    assert_eq!((&summary["messages"], &summary["events"]), (&json!(0), &json!(0)));
    assert!(hook.received().is_empty());
}
