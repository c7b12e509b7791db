//! Events and files for tests: small, invented, in every shape that CloudTrail is stored in.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Returns a UUID that stands for a number.
pub(crate) fn id(number: usize) -> String {
    format!("0a1b2c3d-4e5f-4a6b-8c7d-{number:012x}")
}

/// Returns an ordinary event; numbers spread over four months of 2024.
pub(crate) fn event(number: usize) -> Value {
    let (month, day, minute) = (1 + number % 4, 1 + number % 28, number / 60 % 60);
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:tester",
            "arn": format!("arn:aws:sts::111122223333:assumed-role/Tester/{}", number % 7),
            "accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE",
            "sessionContext": { "attributes": { "creationDate": "2024-01-01T00:00:00Z", "mfaAuthenticated": "false" } }
        },
        "eventTime": format!("2024-{month:02}-{day:02}T10:{minute:02}:{:02}Z", number % 60),
        "eventSource": "ec2.amazonaws.com",
        "eventName": "RunInstances",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": format!("198.51.100.{}", number % 250),
        "userAgent": "aws-cli/2.15",
        "requestParameters": { "instanceType": "t3.micro", "minCount": number, "filter": { "name": "a" } },
        "responseElements": { "reservationId": format!("r-{number}") },
        "requestID": format!("request-{number}"),
        "eventID": id(number),
        "readOnly": number.is_multiple_of(2),
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management"
    })
}

/// Returns the events of a range of numbers.
pub(crate) fn events(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(event).collect()
}

/// Returns an event with one member set; `path` may lead into objects, by dots.
pub(crate) fn event_with(number: usize, path: &str, value: Value) -> Value {
    let mut event = event(number);
    let pointer = format!("/{}", path.replace('.', "/"));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[name] = value;
    event
}

/// Returns a log file as trails write it.
pub(crate) fn records(events: &[Value]) -> Vec<u8> {
    json!({ "Records": events }).to_string().into_bytes()
}

/// Returns one event a line.
pub(crate) fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("{event}\n").into_bytes()).collect()
}

/// Returns a page of LookupEvents as the AWS command line prints it.
pub(crate) fn lookup(events: &[Value]) -> Vec<u8> {
    let events: Vec<Value> = events
        .iter()
        .map(|event| json!({
            "EventId": event["eventID"], "EventName": event["eventName"], "ReadOnly": "false",
            "EventTime": event["eventTime"], "EventSource": event["eventSource"], "Username": "tester",
            "Resources": [], "CloudTrailEvent": event.to_string()
        }))
        .collect();
    serde_json::to_vec_pretty(&json!({ "Events": events, "NextToken": "abc" })).unwrap()
}

/// Returns EventBridge envelopes, one a line.
pub(crate) fn envelopes(events: &[Value]) -> Vec<u8> {
    let envelopes: Vec<Value> = events
        .iter()
        .map(|event| json!({
            "version": "0", "id": "8e5622f9-d81c-4d81-612a-9319e7ee2506",
            "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "account": "111122223333",
            "time": "2024-01-01T00:00:00Z", "region": "eu-central-1", "resources": [], "detail": event
        }))
        .collect();
    lines(&envelopes)
}

/// Returns what CloudWatch Logs sends to a subscription.
pub(crate) fn subscription(events: &[Value]) -> Vec<u8> {
    let events: Vec<Value> = events
        .iter()
        .enumerate()
        .map(|(number, event)| json!({ "id": number.to_string(), "timestamp": 1_704_067_200_000_u64, "message": event.to_string() }))
        .collect();
    json!({ "messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "CloudTrail/logs", "logStream": "s",
        "subscriptionFilters": ["all"], "logEvents": events })
    .to_string()
    .into_bytes()
}

/// Returns bytes as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns bytes as one zstd frame.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Returns the ids of a range of numbers, as an engine holds them.
pub(crate) fn ids(numbers: std::ops::Range<usize>) -> std::collections::BTreeSet<String> {
    numbers.map(id).collect()
}
