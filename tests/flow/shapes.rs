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
                ["created", "already_there", "set_aside"].map(|name| run[name].as_u64().unwrap());
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
    let all = desk.load(&folder, engine.url()).with(["--again"]).run().exits(0);
    assert_eq!(all.counts(), [60, 0, 60, 0]);
    assert_eq!((all.of_sources("foreign"), desk.status()["lanes_done"].as_u64()), (0, Some(14)));
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
    outcome.says(["cut.json", "at byte", "counted in UTF-8; the file is UTF-16"]);
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
    let load = desk.load(desk.path("in"), engine.url());
    let outcome = load.run().exits(0).says(["others are only counted", "30 not CloudTrail"]);
    let named = |outcome: &Outcome| outcome.stderr.matches("skipped what is no CloudTrail").count();
    assert_eq!(named(&outcome), 11, "{}", outcome.stderr);
    assert_eq!(outcome.of_sources("foreign"), 30);
    assert_eq!(named(&load.with(["--again", "-v"]).run().exits(0)), 30);
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
    assert_eq!((outcome.number("read"), outcome.number("set_aside")), (164, 0));
    assert_eq!(outcome.of_sources("foreign"), 7);
}

#[test]
fn the_shipped_files_that_are_cut_broken_or_odd() {
    let outcome = loads_shipped("edge").exits(3);
    assert_eq!(
        (outcome.number("read"), outcome.number("set_aside")),
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
