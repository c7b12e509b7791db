//! Every shape that CloudTrail is stored in, known by its content and never by its name.

use serde_json::{Value, json};

use crate::support::engine::FakeEngine;
use crate::support::events::{
    self, envelopes, event, events, gzip, ids, lines, lookup, records, subscription, zstd,
};
use crate::support::load::{Desk, Outcome};

/// Loads one file with the given content; all events must go in, and their fields be those given.
fn loads(content: &[u8], expected: &[Value]) -> Outcome {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("input", content);
    let outcome = desk.load(&file, engine.url()).run().exits(0);
    let all = expected.len() as u64;
    assert_eq!(outcome.counts(), [all, all, 0, 0], "{}", outcome.stderr);
    for event in expected {
        let id = event["eventID"].as_str().unwrap();
        let held = engine.document(id).unwrap_or_else(|| panic!("{id} is missing"));
        for name in ["eventName", "awsRegion", "requestID", "eventTime"] {
            assert_eq!(
                held.get(name).and_then(|value| value.text()),
                event[name].as_str(),
                "{name}"
            );
        }
    }
    engine.assert_no_complaints();
    outcome
}

#[test]
fn a_trail_file_plain_gzipped_and_as_zstd() {
    let all = events(0..50);
    let file = records(&all);
    loads(&file, &all);
    loads(&gzip(&file), &all);
    loads(&zstd(&file), &all);
}

#[test]
fn a_gzip_file_of_several_members() {
    let all = events(0..50);
    let file = lines(&all);
    let (first, rest) = file.split_at(file.len() / 3);
    loads(&[gzip(first), gzip(rest), gzip(b"")].concat(), &all);
}

#[test]
fn a_bare_array_lines_and_single_objects() {
    let all = events(0..30);
    loads(Value::from(all.clone()).to_string().as_bytes(), &all);
    loads(&lines(&all), &all);
    loads(event(1).to_string().as_bytes(), &[event(1)]);
    let without_newline_at_the_end = lines(&all);
    loads(without_newline_at_the_end.trim_ascii_end(), &all);
}

#[test]
fn concatenated_and_pretty_printed_objects() {
    let all = events(0..30);
    let joined: String = all.iter().map(Value::to_string).collect();
    loads(joined.as_bytes(), &all);
    let pretty: Vec<String> =
        all.iter().map(|event| serde_json::to_string_pretty(event).unwrap()).collect();
    loads(pretty.join("\n").as_bytes(), &all);
    loads(&serde_json::to_vec_pretty(&json!({ "Records": all })).unwrap(), &all);
    let files: Vec<_> = all.chunks(7).map(|part| json!({ "Records": part }).to_string()).collect();
    loads(files.join("\r\n").as_bytes(), &all);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends() {
    let all = events(0..10);
    let text = String::from_utf8(lines(&all)).unwrap().replace('\n', "\r\n");
    loads(format!("\u{feff}{text}").as_bytes(), &all);
}

#[test]
fn lookup_results_whole_and_one_a_line() {
    let all = events(0..20);
    loads(&lookup(&all), &all);
    let whole: Value = serde_json::from_slice(&lookup(&all)).unwrap();
    loads(&lines(whole["Events"].as_array().unwrap()), &all);
}

/// The example of the API reference of LookupEvents, and what it says beside its record. The order of an envelope's
/// members is any.
#[test]
fn what_lookup_events_says_beside_a_record_is_kept_where_the_record_does_not_say_it() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all = events(0..4);
    all[0]["userIdentity"] = json!({ "type": "IAMUser", "userName": "Alice" });
    all[3]["resources"] = json!([{ "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::logs" }]);
    let group = json!([
        { "ResourceType": "AWS::EC2::SecurityGroup", "ResourceName": "sg-33a" },
        { "ResourceType": "AWS::EC2::Instance", "ResourceName": "i-b7f" }
    ]);
    let bucket =
        json!([{ "ResourceType": "AWS::S3::Bucket", "ResourceName": "arn:aws:s3:::logs" }]);
    let text = |at: usize| Value::from(all[at].to_string());
    let envelopes = format!(
        r#"{{"Events":[{{"Username":"Alice","Resources":[],"CloudTrailEvent":{}}},
        {{"CloudTrailEvent":{},"EventId":"x","Resources":{group},"Username":"session"}},
        {{"CloudTrailEvent":{}}},
        {{"Resources":{bucket},"CloudTrailEvent":{}}}],"NextToken":"abc"}}"#,
        text(0),
        text(1),
        text(2),
        text(3)
    );
    let file = desk.file("lookup.json", envelopes);
    desk.load(&file, engine.url()).run().exits(0).counted([4, 4, 0, 0]);
    let said = |number: usize| -> Option<Value> {
        let text = engine.document_text(&events::id(number)).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        document.pointer("/trailload/lookup").cloned()
    };
    assert_eq!([said(0), said(2), said(3)], [None, None, None]);
    let expected = json!({ "username": "session", "resources": [
        { "type": "AWS::EC2::SecurityGroup", "name": "sg-33a" },
        { "type": "AWS::EC2::Instance", "name": "i-b7f" }
    ]});
    assert_eq!(said(1), Some(expected));
    let trail = desk.file("trail.json", records(&all));
    desk.load(&trail, engine.url()).run().exits(0).counted([4, 0, 4, 0]);
    engine.assert_no_complaints();
}

/// A page that was saved to a file says as much as one from the service: an event without its record is no success.
#[test]
fn a_saved_page_with_events_without_a_record_is_named_each_time() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let all = events(0..2);
    let item = |number: usize, record: Value| json!({ "EventId": events::id(number), "EventName": "A", "CloudTrailEvent": record });
    let page = json!({ "Events": [
        item(0, all[0].to_string().into()),
        item(7, Value::Null),
        item(8, "".into()),
        item(9, "(truncated)".into()),
        { "EventId": events::id(10), "EventName": "A" },
        item(1, all[1].to_string().into()),
    ]});
    for name in ["page.json", "in/page.json"] {
        let file = desk.file(name, page.to_string());
        let file = if name.contains('/') { desk.path("in") } else { file };
        let load = desk.load(&file, engine.url()).with(["--quiet"]);
        for _ in 0..2 {
            let outcome = load.run().exits(3);
            let outcome =
                outcome.says([&events::id(7), "CloudTrailEvent is null", "3 more places"]);
            assert_eq!((outcome.number("read"), outcome.of_sources("failed")), (2, 1));
            let run = &desk.status()["runs"][0];
            let sum =
                ["created", "duplicates", "dead_letters"].map(|name| run[name].as_u64().unwrap());
            assert_eq!((run["read"].as_u64(), &run["exit"]), (Some(sum.iter().sum()), &json!(3)));
        }
    }
    assert_eq!(engine.ids(), ids(0..2));
}

#[test]
fn event_bridge_envelopes() {
    let all = events(0..20);
    loads(&envelopes(&all), &all);
}

#[test]
fn cloud_watch_logs_subscriptions() {
    let all = events(0..20);
    loads(&gzip(&subscription(&all)), &all);
}

#[test]
fn the_same_event_has_one_id_in_every_shape() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all = events(0..20);
    all[3]["eventID"] = json!("1");
    all[4]["eventID"] = json!("1");
    all[5].as_object_mut().unwrap().remove("eventID");
    desk.file("in/1-records.json", records(&all));
    desk.file("in/2-lookup.json", lookup(&all));
    desk.file("in/3-bridge.json", envelopes(&all));
    desk.file("in/4-logs.gz", gzip(&subscription(&all)));
    let outcome = desk.load(desk.path("in"), engine.url()).run().exits(0);
    assert_eq!(outcome.counts(), [80, 20, 60, 0], "{}", outcome.stderr);
    assert_eq!(engine.count(), 20);
}

/// Archives, compressed files and encodings, as other programs write them.
#[test]
fn packed_files_are_read_one_by_one_from_a_pipe_and_from_a_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packed");
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut before = 0;
    for file in &files {
        let outcome = desk.load(file, engine.url()).with(["--quiet"]).run().exits(0);
        let read = outcome.number("read");
        assert!(matches!(read, 3 | 6), "{}", file.display());
        before += read;
        assert_eq!((outcome.number("created"), engine.count() as u64), (read, before));
        let load = desk.load("-", engine.url()).with(["--quiet"]);
        let piped = load.input(std::fs::read(file).unwrap()).run().exits(0);
        assert_eq!(piped.counts(), [read, 0, read, 0], "{}", file.display());
    }
    assert_eq!(before, 60, "as tests/data/README.md says");
    let all = desk.load(&folder, engine.url()).with(["--reload"]).run().exits(0);
    assert_eq!(all.counts(), [60, 0, 60, 0]);
    // The files, and standard input.
    assert_eq!(
        (all.of_sources("foreign"), desk.status()["partitions_loaded"].as_u64()),
        (0, Some(15))
    );
    engine.assert_no_complaints();
}

/// Without a byte order mark, cut inside a character, and in several pieces one behind the other.
#[test]
fn text_of_power_shell_is_read_and_broken_text_has_a_place() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let text = String::from_utf8(lookup(&events(0..20))).unwrap();
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let whole = desk.file("whole.json", utf16(&text));
    desk.load(&whole, engine.url()).run().exits(0).counted([20, 20, 0, 0]);
    let twice = [&b"\xff\xfe"[..], &utf16(&text), b"\xff\xfe", &utf16(&text)].concat();
    let twice = desk.file("twice.json", twice);
    desk.load(&twice, engine.url()).run().exits(0).counted([40, 0, 40, 0]);
    let cut = desk.file("cut.json", &utf16(&text)[..text.len()]);
    let outcome = desk.load(&cut, engine.url()).with(["--quiet"]).run().exits(3);
    outcome.says(["cut.json", "at byte", "offset in UTF-8; the file is UTF-16"]);
}

#[test]
fn insights_network_and_aggregated_records() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let insight = json!({
        "eventVersion": "1.07", "eventTime": "2024-03-01T00:10:00Z", "awsRegion": "us-east-1", "eventID": events::id(1),
        "eventType": "AwsCloudTrailInsight", "recipientAccountId": "111122223333", "sharedEventID": "s", "eventCategory": "Insight",
        "insightDetails": { "state": "Start", "eventSource": "ssm.amazonaws.com", "eventName": "UpdateInstanceInformation",
            "insightType": "ApiCallRateInsight", "insightContext": { "statistics": { "baseline": { "average": 85.4 }, "insight": { "average": 664.0 } } } }
    });
    let network = json!({
        "eventVersion": "1.09", "userIdentity": { "type": "AWSAccount", "principalId": "AIDA", "accountId": "1" },
        "eventTime": "2024-03-02T00:10:00Z", "eventSource": "s3.amazonaws.com", "eventName": "ListBuckets", "awsRegion": "us-east-1",
        "sourceIPAddress": "10.0.0.1", "errorCode": "VpceAccessDenied", "requestParameters": null, "responseElements": null,
        "eventID": events::id(2), "readOnly": true, "eventType": "AwsVpceEvent", "managementEvent": true,
        "recipientAccountId": "1", "vpcEndpointId": "vpce-1", "eventCategory": "NetworkActivity"
    });
    let aggregated = json!({
        "eventVersion": "1.0", "accountId": "111122223333", "eventId": events::id(3), "eventCategory": "Aggregated",
        "timeWindow": { "windowStart": "2024-05-02T00:10:00Z", "windowEnd": "2024-05-02T00:15:00Z" }, "awsRegion": "us-east-1",
        "summary": { "primaryDimension": { "dimension": "resourceARN", "statistics": [{ "name": "a", "value": 7 }] } }
    });
    let file = desk.file("mixed.json", records(&[insight, network, aggregated]));
    desk.load(&file, engine.url()).run().exits(0).counted([3, 3, 0, 0]);
    assert!(engine.ids().is_superset(&ids(1..3)));
    assert_eq!(engine.index_names(), ["cloudtrail-2024.03", "cloudtrail-2024.05"]);
    engine.assert_no_complaints();
}

#[test]
fn what_is_no_cloud_trail_is_skipped_by_name_and_counted() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let digest = json!({ "awsAccountId": "1", "digestStartTime": "2024-01-01T00:00:00Z", "digestEndTime": "2024-01-01T01:00:00Z",
        "digestS3Bucket": "b", "digestS3Object": "o", "digestSignatureAlgorithm": "SHA256withRSA", "logFiles": [] });
    let config = json!({ "fileVersion": "1.0", "configSnapshotId": "x", "configurationItems": [{ "configurationItemVersion": "1.3", "resourceType": "AWS::S3::Bucket" }] });
    desk.file("in/a-digest.json.gz", gzip(digest.to_string().as_bytes()));
    desk.file("in/b-config.json.gz", gzip(config.to_string().as_bytes()));
    desk.file("in/c-package.json", r#"{"name":"x","version":"1.0.0","dependencies":{"a":"1"}}"#);
    desk.file("in/d-events.json", records(&events(0..5)));
    let outcome = desk.load(desk.path("in"), engine.url()).run();
    let outcome =
        outcome.exits(0).counted([5, 5, 0, 0]).says(["a-digest", "b-config", "c-package"]);
    assert_eq!(outcome.of_sources("foreign"), 3);
    assert_eq!(engine.ids(), ids(0..5));
}

#[test]
fn of_many_files_that_are_no_cloud_trail_the_first_are_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for number in 0..30 {
        desk.file(format!("in/{number}.json"), r#"{"digestStartTime":"2024-01-01T00:00:00Z"}"#);
    }
    desk.file("in/none.json", r#"{"Records":[]}"#);
    let load = desk.load(desk.path("in"), engine.url());
    let outcome =
        load.run().exits(0).says(["further inputs are only counted", "30 not CloudTrail"]);
    let named =
        |outcome: &Outcome| outcome.stderr.matches("skipped non-CloudTrail content").count();
    assert_eq!(named(&outcome), 11, "{}", outcome.stderr);
    assert_eq!(outcome.of_sources("foreign"), 30);
    assert_eq!(named(&load.with(["--reload", "-v"]).run().exits(0)), 30);
}

#[test]
fn nothing_to_read_is_no_error() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/empty.json", "");
    desk.file("in/no-records.json", r#"{"Records":[]}"#);
    desk.file("in/blank.json", "\n \n");
    desk.file("in/empty.json.gz", gzip(b""));
    desk.load(desk.path("in"), engine.url()).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(engine.count(), 0);
}

/// Loads a folder of the shipped test data, twice; the second time nothing is new.
fn loads_shipped(folder: &str) -> Outcome {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let load = desk.load(path, engine.url());
    let first = load.run();
    assert_eq!(load.run().number("created"), 0);
    engine.assert_no_complaints();
    first
}

#[test]
fn the_shipped_sample_of_every_shape() {
    let outcome = loads_shipped("sample").exits(0);
    assert_eq!((outcome.number("read"), outcome.number("dead_letters")), (177, 0));
    assert_eq!(outcome.of_sources("foreign"), 7);
}

#[test]
fn the_shipped_files_that_are_cut_broken_or_odd() {
    let outcome = loads_shipped("edge").exits(3);
    assert_eq!(
        (outcome.number("read"), outcome.number("dead_letters")),
        (50, 0),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.of_sources("failed"), 5, "{}", outcome.stderr);
}

#[test]
fn a_fifo_that_is_named_is_read_to_its_end() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let pipe = desk.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let running = desk.load(&pipe, engine.url()).start();
    std::fs::write(&pipe, lines(&events(0..20))).unwrap();
    running.end().exits(0).counted([20, 20, 0, 0]);
    assert_eq!(engine.ids(), ids(0..20));
}

/// Base64 as services write it. Expected values must not come from the program's own crate.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let group = three
            .iter()
            .chain([0; 2].iter())
            .take(3)
            .fold(0, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = char::from(LETTERS[group >> (18 - 6 * place) & 63]);
            text.push(if place > three.len() { '=' } else { letter });
        }
    }
    text
}

fn bridge(event: &Value) -> String {
    String::from_utf8(envelopes(std::slice::from_ref(event))).unwrap()
}

fn sns(text: &str) -> Value {
    json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-central-1:111122223333:t",
        "Message": text, "Timestamp": "2024-03-05T10:00:00.000Z", "SignatureVersion": "1" })
}

fn each(all: &[Value], wrapped: impl Fn(&Value) -> Value) -> Vec<u8> {
    lines(&all.iter().map(wrapped).collect::<Vec<_>>())
}

#[test]
fn messages_of_topics_and_queues_however_they_are_nested() {
    let all = events(0..20);
    loads(&each(&all, |event| sns(&bridge(event))), &all);
    loads(&each(&all, |event| sns(&event.to_string())), &all);
    let bodies = |key: &str| -> Vec<Value> {
        all.iter()
            .map(|event| json!({ "messageId": "m", "receiptHandle": "r", key: sns(&bridge(event)).to_string(),
                "attributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-central-1" }))
            .collect()
    };
    loads(json!({ "Records": bodies("body") }).to_string().as_bytes(), &all);
    loads(&serde_json::to_vec_pretty(&json!({ "Messages": bodies("Body") })).unwrap(), &all);
    loads(&lines(&bodies("Body")), &all);
    let topics: Vec<Value> = all
        .iter()
        .map(|event| {
            json!({ "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "a",
            "Sns": sns(&bridge(event)) })
        })
        .collect();
    loads(json!({ "Records": topics }).to_string().as_bytes(), &all);
    let stream: Vec<Value> = all
        .iter()
        .map(|event| json!({ "kinesis": { "partitionKey": "p", "data": base64(&gzip(&subscription(std::slice::from_ref(event)))) },
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": "shard:1", "eventName": "aws:kinesis:record" }))
        .collect();
    loads(json!({ "Records": stream }).to_string().as_bytes(), &all);
    loads(
        json!({ "awslogs": { "data": base64(&gzip(&subscription(&all))) } }).to_string().as_bytes(),
        &all,
    );
}

/// What lies in the folders of Firehose for what it could not deliver, or not transform.
#[test]
fn records_that_firehose_could_not_deliver() {
    let all = events(0..20);
    let failed = |stored: &[u8]| {
        json!({ "attemptsMade": 4, "arrivalTimestamp": 1_709_287_200_000_u64, "errorCode": "400",
        "errorMessage": "mapper_parsing_exception", "attemptEndingTimestamp": 1_709_287_300_000_u64,
        "rawData": base64(stored), "esDocumentId": "49", "esIndexName": "ct" })
    };
    loads(&each(&all, |event| failed(event.to_string().as_bytes())), &all);
    loads(
        &gzip(&each(&all, |event| failed(&gzip(&subscription(std::slice::from_ref(event)))))),
        &all,
    );
    let transformed = json!({ "attemptsMade": "4", "arrivalTimestamp": "1", "errorCode": "Lambda.FunctionError",
        "errorMessage": "x", "attemptEndingTimestamp": "2", "rawData": base64(&gzip(&subscription(&all))), "lambdaArn": "arn" });
    loads(transformed.to_string().as_bytes(), &all);
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let cut = base64(&gzip(all[0].to_string().as_bytes())[..40]);
    let broken = json!({ "attemptsMade": 4, "rawData": cut });
    let file = desk.file(
        "failed",
        [lines(&[failed(all[1].to_string().as_bytes())]), lines(&[broken])].concat(),
    );
    desk.load(&file, engine.url()).run().exits(3).counted([1, 1, 0, 0]).says(["cut off"]);
}

#[test]
fn searches_scrolls_and_dumps_of_indices() {
    let all = events(0..20);
    let hit = |source: Value| json!({ "_index": "logs-aws", "_type": "_doc", "_id": "x", "_score": 1.0, "_source": source });
    let logstash = |event: &Value| {
        let mut event = event.clone();
        event["@version"] = json!("1");
        event["tags"] = json!(["aws"]);
        event
    };
    let filebeat = |event: &Value| {
        json!({ "@timestamp": "2024-01-01T00:00:00.000Z", "ecs": { "version": "8.0.0" },
        "event": { "kind": "event", "original": event.to_string() }, "source": { "ip": "192.0.2.1" },
        "aws": { "cloudtrail": { "event_version": "1.08" } } })
    };
    let message = |event: &Value| json!({ "@timestamp": "2024-01-01T00:00:00.000Z", "message": event.to_string(), "host": "h" });
    for source in [&logstash as &dyn Fn(&Value) -> Value, &filebeat, &message] {
        let hits: Vec<Value> = all.iter().map(|event| hit(source(event))).collect();
        let search = json!({ "took": 3, "_scroll_id": "s", "hits": { "total": { "value": 20 }, "hits": hits } });
        loads(search.to_string().as_bytes(), &all);
        loads(&serde_json::to_vec_pretty(&search).unwrap(), &all);
        loads(&lines(&hits), &all);
        loads(&each(&all, source), &all);
    }
}

/// What trailload wrote, read back out of the index that it wrote it to.
#[test]
fn documents_of_our_own_are_the_events_they_were() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all = events(0..20);
    all[3]["requestParameters"] =
        json!({ "filter": "a", "attribute": { "b": 1 }, "policy": ["a", { "b": 1 }] });
    all[4]["eventID"] = json!("none");
    all[5].as_object_mut().unwrap().remove("eventTime");
    all[6]["sourceIPAddress"] = json!("ec2.amazonaws.com");
    let trail = desk.file("trail.json", records(&all));
    desk.load(&trail, engine.url()).run().exits(0).counted([20, 20, 0, 0]);
    let sources: Vec<Value> = engine
        .ids()
        .iter()
        .map(|id| serde_json::from_slice(&engine.document_text(id).unwrap()).unwrap())
        .collect();
    let hits: Vec<Value> = sources
        .iter()
        .map(|source| json!({ "_index": "cloudtrail-2024.01", "_id": "x", "_source": source }))
        .collect();
    let dump = desk.file("dump.json", lines(&hits));
    let search = desk.file("search.json", json!({ "hits": { "hits": hits } }).to_string());
    let bare = desk.file("sources.json", lines(&sources));
    let again = desk.load_all([&dump, &search, &bare], engine.url()).run();
    again.exits(0).counted([60, 0, 60, 0]);
    // Into another engine they are the same documents again.
    let other = FakeEngine::start();
    let moved = desk.load(&dump, other.url()).checkpoint(&desk.path("other.sqlite"));
    moved.run().exits(0).counted([20, 20, 0, 0]);
    for id in engine.ids() {
        let document = |engine: &FakeEngine| -> Value {
            serde_json::from_slice(&engine.document_text(&id).unwrap()).unwrap()
        };
        assert_eq!(document(&other), document(&engine), "{id}");
    }
}

#[test]
fn texts_of_json_as_jq_prints_them() {
    let all = events(0..20);
    loads(&each(&all, |event| Value::from(event.to_string())), &all);
    let list: Vec<Value> = all.iter().map(|event| Value::from(event.to_string())).collect();
    loads(&serde_json::to_vec_pretty(&list).unwrap(), &all);
}

/// Names in lower case, as Athena has them: also those within structures.
fn lower(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.iter().map(|(key, value)| (key.to_lowercase(), lower(value))).collect(),
        ),
        other => other.clone(),
    }
}

/// The event as a row: free parts as the text of JSON, all names in lower case.
fn row(event: &Value) -> Value {
    let mut row = event.clone();
    for column in ["requestParameters", "responseElements"] {
        row[column] = Value::from(event[column].to_string());
    }
    lower(&row)
}

fn csv(rows: &[Vec<String>]) -> Vec<u8> {
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> =
            cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        cells.join(",") + "\n"
    };
    rows.iter().map(line).collect::<String>().into_bytes()
}

/// Loads rows, then the events themselves: the rows must be the same documents as these, and hold the same.
fn loads_rows(content: &[u8], all: &[Value]) {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let rows = desk.file("rows", content);
    desk.load(&rows, engine.url()).run().exits(0).counted([
        all.len() as u64,
        all.len() as u64,
        0,
        0,
    ]);
    let trail = desk.file("trail.json", records(all));
    desk.load(&trail, engine.url()).run().exits(0).counted([
        all.len() as u64,
        0,
        all.len() as u64,
        0,
    ]);
    for event in all {
        let text = engine.document_text(event["eventID"].as_str().unwrap()).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        for name in
            ["userIdentity", "requestParameters", "responseElements", "readOnly", "sourceIPAddress"]
        {
            assert_eq!(document[name], event[name], "{name}");
        }
    }
    engine.assert_no_complaints();
}

#[test]
fn rows_of_athena_and_lake_are_the_events_they_come_from() {
    let mut all = events(0..20);
    for event in &mut all {
        // Its kinds are the same in every spelling.
        event["requestParameters"] = json!({ "instanceType": "t3.micro", "minCount": "1" });
    }
    loads_rows(&gzip(&each(&all, row)), &all);
    loads_rows(
        &each(&all, |event| {
            let mut event = event.clone();
            event["userIdentity"] = Value::from(event["userIdentity"].to_string());
            event["requestParameters"] = Value::from(event["requestParameters"].to_string());
            event
        }),
        &all,
    );
    let names: Vec<String> = all[0].as_object().unwrap().keys().cloned().collect();
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut table = vec![names.iter().map(|name| name.to_lowercase()).collect()];
    table.extend(all.iter().map(|event| names.iter().map(|name| cell(&event[name])).collect()));
    loads_rows(&csv(&table), &all);
    let identity = "{type=AssumedRole, principalid=AROAEXAMPLE:tester, arn=ARN, accountid=111122223333, accesskeyid=ASIAEXAMPLE, \
        sessioncontext={attributes={creationdate=2024-01-01T00:00:00Z, mfaauthenticated=false}}}";
    let place = names.iter().position(|name| name == "userIdentity").unwrap();
    for (row, event) in table[1..].iter_mut().zip(&all) {
        row[place] = identity.replace("ARN", event["userIdentity"]["arn"].as_str().unwrap());
    }
    loads_rows(&csv(&table), &all);
    let lake: Vec<Value> = all
        .iter()
        .map(|event| names.iter().map(|name| json!({ name: cell(&event[name]) })).collect())
        .collect();
    let lake = json!({ "QueryStatus": "FINISHED", "QueryResultRows": lake, "QueryStatistics": {} });
    loads_rows(lake.to_string().as_bytes(), &all);
}

/// A row of the console says less than the event, and must never stand beside it.
#[test]
fn the_consoles_table_of_the_event_history() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let all = events(0..4);
    let mut table = vec![
        [
            "Event ID",
            "Event time",
            "User name",
            "Event name",
            "Resource type",
            "Resource name",
            "AWS region",
            "Read-only",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    table.extend(all.iter().map(|event| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        vec![
            text("eventID"),
            text("eventTime"),
            "tester".into(),
            text("eventName"),
            "AWS::EC2::Instance".into(),
            "i-1".into(),
            text("awsRegion"),
            event["readOnly"].to_string(),
        ]
    }));
    let file = desk.file("event_history.csv", csv(&table));
    desk.load(&file, engine.url()).run().exits(0).counted([4, 4, 0, 0]);
    let document: Value =
        serde_json::from_slice(&engine.document_text(&events::id(1)).unwrap()).unwrap();
    assert_eq!(
        document["trailload"]["lookup"],
        json!({ "username": "tester",
        "resources": [{ "type": "AWS::EC2::Instance", "name": "i-1" }] })
    );
    assert_eq!(
        (&document["@timestamp"], &document["readOnly"]),
        (&all[1]["eventTime"], &json!(false))
    );
    let trail = desk.file("trail.json", records(&all));
    desk.load(&trail, engine.url()).run().exits(0).counted([4, 0, 4, 0]);
    assert_eq!(engine.count(), 4);
}

#[test]
fn exports_of_splunk_wazuh_and_logs_insights() {
    let all = events(0..20);
    loads(
        &each(
            &all,
            |event| json!({ "preview": false, "offset": 0, "result": { "_raw": event.to_string(), "_time": "t" } }),
        ),
        &all,
    );
    let raw = |name: &str| {
        let mut table = vec![vec!["_time".to_owned(), name.to_owned(), "eventID".to_owned()]];
        table.extend(
            all.iter().map(|event| vec!["t".to_owned(), event.to_string(), "other".to_owned()]),
        );
        csv(&table)
    };
    loads(&raw("_raw"), &all);
    loads(&raw("@message"), &all);
    let field = |name: &str, value: String| json!({ "field": name, "value": value });
    let insights: Vec<Value> = all
        .iter()
        .map(|event| {
            json!([
                field("@timestamp", "t".into()),
                field("@message", event.to_string()),
                field("@ptr", "p".into())
            ])
        })
        .collect();
    loads(json!({ "results": insights, "status": "Complete" }).to_string().as_bytes(), &all);
    let listed: Vec<Value> =
        all.iter().map(|event| json!({ "@timestamp": "t", "@message": event })).collect();
    loads(Value::from(listed).to_string().as_bytes(), &all);
    loads(
        &each(&all, |event| {
            let mut aws = event.clone();
            aws["log_info"] = json!({ "s3bucket": "b", "log_file": "f" });
            aws["readOnly"] = Value::from(event["readOnly"].to_string());
            json!({ "timestamp": "t", "rule": { "id": "80202" }, "agent": { "id": "000" }, "id": "1.2",
            "decoder": { "name": "json" }, "data": { "integration": "aws", "aws": aws }, "location": "Wazuh-AWS" })
        }),
        &all,
    );
}

#[test]
fn what_holds_events_and_cannot_be_read_is_named_each_time() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let ecs = json!({ "_source": { "@timestamp": "t", "aws": { "cloudtrail": { "event_version": "1.08" } } } });
    desk.file("in/a.json", lines(&[json!({ "_source": event(1) }), ecs]));
    desk.file("in/b.parquet", b"PAR1\x15\x04\x15\x00");
    desk.file("in/c.csv", "eventname,eventsource,awsregion\nA,b,c\n");
    desk.file("in/d.orc", b"ORC\x11\x00");
    let load = desk.load(desk.path("in"), engine.url());
    let outcome = load.run().exits(3).counted([1, 1, 0, 0]);
    let outcome = outcome.says(["event.original", "Parquet", "ORC", "column eventID"]);
    assert_eq!(outcome.of_sources("failed"), 4, "{}", outcome.stderr);
    // Not done: the next run says so again.
    assert_eq!(load.run().exits(3).of_sources("failed"), 4);
}

#[test]
fn messages_that_are_no_cloud_trail_are_skipped_beside_those_that_are() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all: Vec<Value> = events(0..5).iter().map(|event| sns(&bridge(event))).collect();
    all.insert(2, sns(&json!({ "detail-type": "EC2 Instance State-change Notification", "detail": { "state": "running" } }).to_string()));
    all.insert(4, sns("plain text"));
    all.push(sns(&json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }).to_string()));
    let file = desk.file("queue.json", lines(&all));
    let outcome = desk.load(&file, engine.url()).run().exits(0).counted([5, 5, 0, 0]);
    outcome.says(["skipped non-CloudTrail content", "event notification"]);
    let other = json!({ "hits": { "hits": [{ "_index": "web", "_source": { "message": "GET /", "eventVersion": "1.0", "status": 200 } }] } });
    let file = desk.file(
        "web.json",
        json!([other, { "hits": { "hits": [{ "_source": event(7) }] } }]).to_string(),
    );
    desk.load(&file, engine.url()).run().exits(0).counted([1, 1, 0, 0]);
}
