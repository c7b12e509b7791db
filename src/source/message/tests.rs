use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    limit::DecoderLimits,
    source::{
        Content, Decoder, OversizedRecord, RecordHandler, RecordOutcome, ReservedBytes, skip_value,
    },
};

const KEY: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2024/06/01/111122223333_CloudTrail_eu-west-1_20240601T0005Z_abcdefghijklmnop.json.gz";

fn record(id: &str) -> Value {
    json!({
        "eventVersion": "1.08", "eventTime": "2024-06-01T00:00:00Z", "eventSource": "s3.amazonaws.com",
        "eventName": "PutObject", "awsRegion": "eu-west-1", "userIdentity": {"type": "Root"},
        "requestParameters": {"body": "x", "Message": "{}"}, "eventID": id,
    })
}

fn eventbridge(detail: &Value) -> Value {
    json!({
        "version": "0", "id": "e", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3",
        "account": "111122223333", "time": "2024-06-01T00:00:00Z", "region": "eu-west-1",
        "resources": [], "detail": detail,
    })
}

fn s3_record(name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
        "eventTime": "2024-06-01T00:05:00.000Z", "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "c",
            "bucket": {"name": "trail", "ownerIdentity": {}, "arn": "arn:aws:s3:::trail"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0"},
        },
    })
}

fn s3_notification(records: &[Value]) -> Value {
    json!({ "Records": records })
}

fn s3_over_eventbridge(detail_type: &str, key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124", "detail-type": detail_type, "source": "aws.s3",
        "account": "111122223333", "time": "2024-06-01T00:05:00Z", "region": "eu-west-1",
        "resources": ["arn:aws:s3:::trail"],
        "detail": {
            "version": "0", "bucket": {"name": "trail"},
            "object": {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "0"},
            "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "reason": "PutObject",
        },
    })
}

fn sns(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:t",
        "Subject": "Amazon S3 Notification", "Message": message, "Timestamp": "2024-06-01T00:05:01.000Z",
        "SignatureVersion": "1", "Signature": "x", "SigningCertURL": "https://sns", "UnsubscribeURL": "https://sns",
    })
}

fn parse(body: &(impl ToString + ?Sized)) -> Message {
    Message::parse(&body.to_string().into())
}

fn work(body: &(impl ToString + ?Sized)) -> Work {
    match parse(body) {
        Message::Work(work) => work,
        other => panic!("{other:?}"),
    }
}

/// Collects the event IDs of the records in a text.
#[derive(Default)]
struct Ids(Vec<String>);

impl RecordHandler for Ids {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        let end = skip_value(text, start).unwrap();
        let record: Value = serde_json::from_slice(&text[start..end]).unwrap();
        self.0.push(record["eventID"].as_str().unwrap().to_owned());
        RecordOutcome::EndsAt(end)
    }

    fn oversized(&mut self, _record: OversizedRecord) {}
}

/// Returns the event IDs that a decoder finds in the events of a body.
fn ids(body: &(impl ToString + ?Sized)) -> Vec<String> {
    let work = work(body);
    assert_eq!(work.objects, []);
    let content = Content::Memory(ReservedBytes { bytes: work.events.unwrap(), permit: None });
    let mut ids = Ids::default();
    let decoded = Decoder::new(DecoderLimits::DEFAULT).read("m", content, &mut ids).unwrap();
    assert!(decoded.defects.is_empty(), "{decoded:?}");
    ids.0
}

/// Returns the keys that a body names, all in the bucket `trail`.
fn keys(body: &(impl ToString + ?Sized)) -> Vec<String> {
    let work = work(body);
    assert_eq!(work.events, None);
    assert!(work.objects.iter().all(|object| object.bucket == "trail"));
    work.objects.into_iter().map(|object| object.key).collect()
}

fn ignorable(body: &(impl ToString + ?Sized)) -> Ignorable {
    match parse(body) {
        Message::Ignorable(ignorable) => ignorable,
        other => panic!("{other:?}"),
    }
}

fn foreign(body: &(impl ToString + ?Sized)) -> String {
    match parse(body) {
        Message::Foreign { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn invalid(body: &(impl ToString + ?Sized)) -> String {
    match parse(body) {
        Message::Invalid { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_are_found_in_everything_that_delivers_them() {
    let event = eventbridge(&record("a"));
    let two = json!({"Records": [record("a"), record("b")]});
    for (body, expected) in [
        (record("a"), &["a"][..]),
        (event.clone(), &["a"]),
        (sns(&event.to_string()), &["a"]),
        (Value::from(event.to_string()), &["a"]),
        (sns(&Value::from(event.to_string()).to_string()), &["a"]),
        (two.clone(), &["a", "b"]),
        (sns(&two.to_string()), &["a", "b"]),
        (json!([record("a"), record("b")]), &["a", "b"]),
        (json!([event, eventbridge(&record("b"))]), &["a", "b"]),
        (json!({"Records": [eventbridge(&record("a")), eventbridge(&record("b"))]}), &["a", "b"]),
        (json!({"eventSource": "aws:sqs", "messageId": "1", "body": event.to_string()}), &["a"]),
        (
            json!({"Records": [
                {"messageId": "1", "receiptHandle": "r", "body": event.to_string(), "eventSource": "aws:sqs"},
                {"messageId": "2", "receiptHandle": "r", "body": sns(&two.to_string()).to_string(), "eventSource": "aws:sqs"},
            ]}),
            &["a", "a", "b"],
        ),
        (
            json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns(&event.to_string())}]}),
            &["a"],
        ),
        (json!({"Messages": [{"MessageId": "1", "Body": event.to_string()}]}), &["a"]),
        (json!({"version": "1.0", "requestContext": {}, "requestPayload": event}), &["a"]),
        (json!({"Message": event}), &["a"]),
    ] {
        assert_eq!(ids(&body), expected, "{body}");
        assert_eq!(ids(&format!("\u{feff} \n{body:#}\n")), expected, "{body}");
    }
    let lines = format!("{}\n{}\n", eventbridge(&record("a")), record("b"));
    assert_eq!(ids(&lines), ["a", "b"]);
}

#[test]
fn one_event_is_passed_on_without_a_copy() {
    let body = Bytes::from(eventbridge(&record("a")).to_string());
    let Message::Work(Work { events: Some(events), .. }) = Message::parse(&body) else { panic!() };
    assert_eq!(events.as_ptr_range(), body.as_ptr_range());
}

#[test]
fn objects_are_named_directly_through_a_topic_and_through_eventbridge() {
    let direct = s3_notification(&[s3_record("ObjectCreated:Put", KEY)]);
    let named = work(&direct).objects;
    assert_eq!(
        named,
        [ObjectReference {
            bucket: "trail".to_owned(),
            key: KEY.to_owned(),
            size: Some(1024),
            etag: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            region: Some("eu-west-1".to_owned()),
        }]
    );
    assert_eq!(work(&sns(&direct.to_string())).objects, named);
    let event = s3_over_eventbridge("Object Created", KEY);
    let named = work(&event).objects;
    assert_eq!((named[0].key.as_str(), named[0].size), (KEY, Some(5)));
    assert_eq!(named[0].etag.as_deref(), Some("b1946ac92492d2347c6235b4d2611184"));
    assert_eq!(work(&sns(&event.to_string())).objects, named);
    assert_eq!(keys(&json!([direct, event])).len(), 2, "they differ in size");
    let lambda = json!({"Records": [
        {"eventSource": "aws:sqs", "body": direct.to_string()},
        {"eventSource": "aws:sqs", "body": sns(&direct.to_string()).to_string()},
    ]});
    assert_eq!(keys(&lambda), [KEY], "each object once");
}

#[test]
fn keys_are_decoded_where_they_are_encoded() {
    let encoded = "my+logs/a%2Bb%20%C3%BC/x.json";
    assert_eq!(
        keys(&s3_notification(&[s3_record("ObjectCreated:Put", encoded)])),
        ["my logs/a+b ü/x.json"]
    );
    assert_eq!(keys(&s3_over_eventbridge("Object Created", encoded)), [encoded]);
    assert_eq!(keys(&json!({"s3Bucket": "trail", "s3ObjectKey": [encoded]})), [encoded]);
}

#[test]
fn cloudtrail_names_several_keys() {
    let other = KEY.replace("eu-west-1", "us-east-1");
    let body = json!({"s3Bucket": "trail", "s3ObjectKey": [KEY, other]});
    for body in [body.clone(), sns(&body.to_string())] {
        assert_eq!(keys(&body), [KEY, &other]);
    }
    assert_eq!(keys(&json!({"s3Bucket": "trail", "s3ObjectKey": KEY})), [KEY]);
    assert_eq!(ignorable(&sns("CloudTrail validation message.")), Ignorable::ValidationMessage);
}

#[test]
fn several_records_name_several_objects() {
    let every =
        ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Copy"];
    let records: Vec<Value> =
        every.iter().enumerate().map(|(at, name)| s3_record(name, &format!("{at}.json"))).collect();
    assert_eq!(keys(&s3_notification(&records)), ["0.json", "1.json", "2.json"]);
    let mut minio = s3_notification(&records);
    for record in minio["Records"].as_array_mut().unwrap() {
        record["eventSource"] = "minio:s3".into();
    }
    minio["EventName"] = "s3:ObjectCreated:Put".into();
    minio["Key"] = "trail/0.json".into();
    assert_eq!(keys(&minio).len(), 3);
}

#[test]
fn what_needs_nothing_to_be_done_is_ignorable() {
    let test =
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "t", "Bucket": "trail"});
    assert_eq!(ignorable(&test), Ignorable::TestEvent);
    assert_eq!(ignorable(&sns(&test.to_string())), Ignorable::TestEvent);
    for name in [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectTagging:Put",
        "ObjectRestore:Completed",
        "ObjectAcl:Put",
        "LifecycleExpiration:Delete",
        "Replication:OperationFailedReplication",
    ] {
        let expected = Ignorable::ObjectEvent(name.to_owned());
        assert_eq!(ignorable(&s3_notification(&[s3_record(name, KEY)])), expected);
    }
    for name in ["Object Deleted", "Object Tags Added", "Object Restore Completed"] {
        let expected = Ignorable::ObjectEvent(name.to_owned());
        assert_eq!(ignorable(&s3_over_eventbridge(name, KEY)), expected);
    }
    let digest = KEY.replace("/CloudTrail/", "/CloudTrail-Digest/");
    for (key, expected) in [
        (digest.as_str(), Ignorable::Digest),
        ("AWSLogs/111122223333/", Ignorable::Folder),
        ("AWSLogs/111122223333/Config/ConfigWritabilityCheckFile", Ignorable::PermissionTest),
    ] {
        assert_eq!(ignorable(&s3_notification(&[s3_record("ObjectCreated:Put", key)])), expected);
    }
    assert_eq!(ignorable("[]"), Ignorable::Empty);
    let mixed = [s3_record("ObjectRemoved:Delete", "a"), s3_record("ObjectCreated:Put", KEY)];
    assert_eq!(keys(&s3_notification(&mixed)), [KEY]);
}

#[test]
fn anything_else_is_foreign_and_named() {
    let other_event = json!({
        "version": "0", "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
        "detail": {"instance-id": "i-1", "state": "running"},
    });
    for (body, reason) in [
        ("hello".to_owned(), "text that is not JSON"),
        ("12345".to_owned(), "text that is not JSON"),
        ("<html></html>".to_owned(), "text that is not JSON"),
        (" \n".to_owned(), "an empty message"),
        (String::new(), "an empty message"),
        ("{}".to_owned(), "JSON that is not CloudTrail"),
        ("{\"a\":1}".to_owned(), "JSON that is not CloudTrail"),
        ("[1,2]".to_owned(), "JSON that is not CloudTrail"),
        ("\"hello\"".to_owned(), "text that is not JSON"),
        ("{broken".to_owned(), "JSON that is invalid or cut off"),
        (sns("disk full").to_string(), "text that is not JSON"),
        (
            other_event.to_string(),
            "an event of EventBridge, EC2 Instance State-change Notification from aws.ec2",
        ),
        (
            s3_notification(&[s3_record(
                "ObjectCreated:Put",
                "AWSLogs/111122223333/Config/x.json.gz",
            )])
            .to_string(),
            "a notification about a log of another service (Config)",
        ),
    ] {
        assert_eq!(foreign(&body), reason, "{body}");
    }
    let confirmation = json!({
        "Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://sns",
        "Message": "You have chosen to subscribe to the topic.",
    });
    assert!(foreign(&confirmation).contains("SubscribeURL"));
}

#[test]
fn what_breaks_off_is_not_taken_as_complete() {
    let whole = s3_notification(&[
        s3_record("ObjectCreated:Put", KEY),
        s3_record("ObjectCreated:Put", "b.json"),
    ])
    .to_string();
    for end in 1..whole.len() {
        match parse(&whole[..end]) {
            Message::Foreign { .. } | Message::Invalid { .. } => {}
            // The decoder reports where it breaks off.
            Message::Work(Work { events: Some(events), objects }) => {
                assert_eq!((&events[..], objects), (&whole.as_bytes()[..end], Vec::new()));
            }
            other => panic!("{other:?}"),
        }
    }
    let no_key =
        s3_notification(&[json!({"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}})]);
    assert_eq!(invalid(&no_key), "a notification without bucket and key");
    let half = json!({"s3Bucket": "trail", "s3ObjectKey": [KEY, 7]});
    assert_eq!(invalid(&half), "a notification without bucket and key");
    assert_eq!(invalid(r#"{"Records": nonsense]}"#), "JSON that is invalid or cut off");
}

#[test]
fn text_in_base64_and_gzip_is_read() {
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let event = eventbridge(&record("a")).to_string();
    assert_eq!(ids(&BASE64_STANDARD.encode(&event)), ["a"]);
    assert_eq!(ids(&BASE64_STANDARD.encode(gzip(&event))), ["a"]);
    assert_eq!(ids(&sns(&BASE64_STANDARD.encode(gzip(&event)))), ["a"]);
    assert_eq!(
        ids(&json!({"isBase64Encoded": true, "body": BASE64_STANDARD.encode(&event)})),
        ["a"]
    );
    let notification = s3_notification(&[s3_record("ObjectCreated:Put", KEY)]).to_string();
    assert_eq!(keys(&BASE64_STANDARD.encode(gzip(&notification))), [KEY]);
    let mut damaged = gzip(&notification);
    damaged.truncate(damaged.len() - 9);
    assert_eq!(foreign(&BASE64_STANDARD.encode(damaged)), "compressed data that is damaged");
    // Too long for a notification: the decoder reads it in pieces.
    let bomb = Bytes::from(gzip(&" ".repeat(MAX_DECODED_BYTES + 1)));
    let work = work(&BASE64_STANDARD.encode(&bomb));
    assert_eq!(work.events, Some(bomb));
}

#[test]
fn layers_and_objects_are_limited() {
    let mut nested = record("a").to_string();
    for _ in 0..4 {
        nested = sns(&nested).to_string();
    }
    assert_eq!(ids(&nested), ["a"]);
    for _ in 0..8 {
        nested = json!({ "Message": nested }).to_string();
    }
    assert_eq!(invalid(&nested), "wrapped in too many layers");
    let deep = format!("{}{}", "{\"Message\":".repeat(100_000), "}".repeat(100_000));
    assert!(matches!(parse(&deep), Message::Foreign { .. } | Message::Invalid { .. }));
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(matches!(parse(&deep), Message::Foreign { .. } | Message::Invalid { .. }));
    let keys: Vec<String> = (0..10_001).map(|number| format!("{number}.json")).collect();
    let body = json!({"s3Bucket": "trail", "s3ObjectKey": keys});
    assert_eq!(invalid(&body), "names too many objects");
    let many = format!("[{}]", "0,".repeat(500_000));
    assert_eq!(foreign(&many), "JSON that is not CloudTrail");
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_parsed(body: Vec<u8>) {
        let _ = Message::parse(&body.into());
    }

    /// Independent of the form: what goes in comes out, however it is wrapped.
    #[test]
    fn wrapping_changes_nothing(layers in prop::collection::vec(0..4_u8, 0..6), is_event: bool) {
        let inner = if is_event {
            eventbridge(&record("a"))
        } else {
            s3_notification(&[s3_record("ObjectCreated:Put", KEY)])
        };
        let mut body = inner.to_string();
        for layer in &layers {
            body = match layer {
                0 => sns(&body).to_string(),
                1 => json!({"Records": [{"eventSource": "aws:sqs", "body": body}]}).to_string(),
                2 => Value::from(body).to_string(),
                _ => format!("[{body}]"),
            };
        }
        if is_event {
            prop_assert_eq!(ids(&body), ["a"]);
        } else {
            prop_assert_eq!(keys(&body), [KEY]);
        }
    }
}
