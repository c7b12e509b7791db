//! `search` of events in the forms in which they are delivered: in envelopes, in several copies, in any order, and with
//! members that no event of AWS has.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::events::{event, events, id, lines, records};
use crate::support::load::{Desk, PROGRAM};

/// A search that has ended: its exit code, its output, and its messages.
struct Ended {
    code: Option<i32>,
    lines: Vec<String>,
    messages: String,
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("search")
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn search(words: &[&str]) -> Ended {
    let output = command(words).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    Ended { code: output.status.code(), lines, messages: String::from_utf8(output.stderr).unwrap() }
}

fn id_of(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["eventID"].as_str().unwrap().to_owned()
}

/// Returns an event of EventBridge whose record has neither time nor account nor Region.
fn delivered() -> Value {
    json!({
        "version": "0", "id": "i-1", "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2",
        "account": "111122223333", "time": "2026-11-27T07:00:00Z", "region": "eu-west-1", "resources": ["arn:aws:x"],
        "detail": {"eventSource": "ec2.amazonaws.com", "eventName": "StopInstances"},
    })
}

#[test]
fn conditions_see_the_envelope_that_an_event_was_delivered_in() {
    let desk = Desk::new();
    let event = delivered().to_string();
    let mut rest = delivered();
    let detail = rest["detail"].take();
    rest.as_object_mut().unwrap().remove("detail");
    let first = format!("{{\"detail\":{detail},{}", &rest.to_string()[1..]);
    let forms = [
        ("plain", event.clone()),
        ("first", first),
        ("list", format!("[{event}]")),
        ("queue", json!({"Messages": [{"Body": event.clone()}]}).to_string()),
        ("lambda", json!({"Records": [{"eventSource": "aws:sqs", "body": event}]}).to_string()),
        ("pretty", format!("{:#}", delivered())),
    ];
    for (name, text) in forms {
        let file = desk.file(format!("{name}.json"), text);
        let holds = |condition: &str| {
            let words = ["--in", file.to_str().unwrap(), "--where", condition];
            search(&words).code == Some(0)
        };
        for condition in [
            "time == '2026-11-27T07:00:00Z'",
            "account == '111122223333' && region == 'eu-west-1'",
            "id == 'i-1' && source == 'aws.ec2' && resources[0] == 'arn:aws:x'",
            "\"detail-type\" == 'AWS API Call via CloudTrail' && detail.eventName == 'StopInstances'",
        ] {
            assert!(holds(condition), "{name}: {condition}");
        }
        assert!(!holds("time == '2026-11-27T07:00:01Z'") && !holds("other"), "{name}");
    }
}

#[test]
fn an_envelope_belongs_to_one_event_only() {
    let desk = Desk::new();
    let mut other = delivered();
    other["time"] = "2026-11-28T07:00:00Z".into();
    other["detail"]["eventName"] = "StartInstances".into();
    let bare = json!({"eventSource": "ec2.amazonaws.com", "eventName": "RunInstances"});
    let file = desk.file("a.ndjson", lines(&[delivered(), bare, other]));
    let found = |condition: &str| {
        let words = ["--in", file.to_str().unwrap(), "--where", condition];
        search(&words).lines.len()
    };
    assert_eq!((found("time"), found("!time"), found("time == '2026-11-28T07:00:00Z'")), (2, 1, 1));
}

#[test]
fn copies_in_overlapping_files_are_printed_once_and_sorted_by_time_and_id() {
    let desk = Desk::new();
    // Ten events of each second, each event in three files.
    let mut all = events(0..600);
    for (number, event) in all.iter_mut().enumerate() {
        event["eventTime"] = format!("2024-06-01T10:{:02}:00Z", number / 10).into();
    }
    let mut shuffled = all.clone();
    shuffled.reverse();
    for part in 0..12 {
        let at = part * 50;
        let copies: Vec<Value> =
            (0..150).map(|number| shuffled[(at + number) % 600].clone()).collect();
        desk.file(format!("trail/{part}.json"), records(&copies));
    }
    let folder = desk.path("trail");
    let mut expected: Vec<(String, String)> = all
        .iter()
        .map(|event| {
            [&event["eventTime"], &event["eventID"]].map(|it| it.as_str().unwrap().to_owned())
        })
        .map(|[time, id]| (time, id))
        .collect();
    expected.sort();
    for workers in ["1", "4", "8"] {
        let words = |order| ["--in", folder.to_str().unwrap(), "--workers", workers, order];
        let ids =
            |order| search(&words(order)).lines.iter().map(|line| id_of(line)).collect::<Vec<_>>();
        let ascending: Vec<String> = expected.iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(ids("--sort=time"), ascending, "{workers} workers");
        let newest = search(&[&words("--sort=-time")[..], &["--limit", "10"]].concat());
        let newest: Vec<String> = newest.lines.iter().map(|line| id_of(line)).collect();
        let mut last = ascending[590..].to_vec();
        last.sort();
        assert_eq!(newest, last, "{workers} workers");
        let plain = search(&["--in", folder.to_str().unwrap(), "--workers", workers]);
        assert_eq!(plain.lines.len(), 600);
        assert!(plain.messages.contains("1,200 copies left out"), "{}", plain.messages);
    }
}

#[test]
fn members_of_any_type_and_length_are_examined() {
    let values = [
        json!(null),
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!([1]),
        json!([["a"]]),
        json!(""),
        json!(12_345_678_901_234_567_890_u64),
        json!("x".repeat(70)),
    ];
    let names = [
        "eventTime",
        "eventSource",
        "eventName",
        "awsRegion",
        "readOnly",
        "errorCode",
        "sourceIPAddress",
        "userIdentity",
        "resources",
        "requestParameters",
        "responseElements",
        "recipientAccountId",
        "eventType",
        "additionalEventData",
    ];
    let mut all = Vec::new();
    for name in names {
        for value in &values {
            let mut odd = event(all.len());
            odd[name] = value.clone();
            all.push(odd);
        }
    }
    let desk = Desk::new();
    let file = desk.file("a.ndjson", lines(&all));
    let file = ["--in", file.to_str().unwrap()];
    let run = |words: &[&str]| search(&[&file[..], words].concat());
    assert_eq!(run(&[]).lines.len(), all.len());
    let found = run(&["--match", "$.userIdentity regex 'nothing'"]);
    assert!(found.messages.contains(&format!("{} events", all.len())), "{}", found.messages);
    for words in [
        &["--errors-only"][..],
        &["--read-only"],
        &["--write-only"],
        &["--ip", "10.0.0.0/8"],
        &["--principal", "*"],
        &["--resource", "*"],
        &["--sort", "time"],
        &["--count-by", "eventName,principal,time,ip,resource"],
        &["--histogram", "1h"],
        &["--policy"],
        &["--trace", "*"],
        &["--output", "table"],
        &["--where", "length(detail.eventName) > `1`"],
        &["*:*", "--match", "$..a != 1", "--except", "$.resources == []"],
    ] {
        let ended = run(words);
        assert!(
            matches!(ended.code, Some(0 | 5)),
            "{words:?}: {:?} {}",
            ended.code,
            ended.messages
        );
        assert!(!ended.messages.contains("panicked"), "{words:?}: {}", ended.messages);
    }
}

#[test]
fn records_of_every_length_are_read_to_their_end() {
    // The scan looks at blocks of 64 bytes: every place of the last members in them, with every kind of value.
    let mut all = Vec::new();
    for padding in 0..140 {
        for last in ["[]", "{}", "[[\"a\"]]", "1", "true", "\"\"", "{\"a\":{}}"] {
            let id = id(all.len());
            all.push(format!(
                "{{\"eventVersion\":\"1.08\",\"eventID\":\"{id}\",\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"GetObject\",\
                 \"userAgent\":\"{}\",\"requestParameters\":{last}}}",
                "x".repeat(padding)
            ));
        }
    }
    let desk = Desk::new();
    for (name, text) in [
        ("lines.ndjson", all.join("\n") + "\n"),
        ("records.json", format!("{{\"Records\":[{}]}}", all.join(","))),
    ] {
        let file = desk.file(name, text);
        let found = search(&["--in", file.to_str().unwrap(), "s3:GetObject"]);
        assert_eq!(
            (found.lines.len(), found.code),
            (all.len(), Some(0)),
            "{name}: {}",
            found.messages
        );
    }
}

#[test]
fn of_a_key_that_repeats_the_last_value_counts_everywhere() {
    let member = |name: &str| {
        format!(
            "{{\"eventVersion\":\"1.08\",\"eventID\":\"{}\",\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"GetObject\",{name}}}\n",
            id(1)
        )
    };
    let desk = Desk::new();
    for (name, text) in [
        ("plain", member("\"eventName\":\"PutObject\"")),
        ("escaped", member("\"\\u0065ventName\":\"PutObject\"")),
    ] {
        let file = desk.file(format!("{name}.json"), text);
        let found =
            |words: &[&str]| search(&[&["--in", file.to_str().unwrap()][..], words].concat()).code;
        assert_eq!(found(&["s3:PutObject"]), Some(0), "{name}");
        assert_eq!(found(&["s3:GetObject"]), Some(5), "{name}");
        assert_eq!(found(&["--match", "$.eventName == 'PutObject'"]), Some(0), "{name}");
        assert_eq!(found(&["--where", "detail.eventName == 'PutObject'"]), Some(0), "{name}");
    }
}

#[test]
fn a_large_input_without_a_time_range_gets_a_hint() {
    let desk = Desk::new();
    let large = desk.path("large.json.gz");
    // It takes no space on the disk, and is an image by its first bytes, so that the rest is not read.
    std::fs::write(&large, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR").unwrap();
    std::fs::OpenOptions::new().append(true).open(&large).unwrap().set_len(1_100_000_000).unwrap();
    let words = ["--in", large.to_str().unwrap(), "--in", "-"];
    for range in [&[][..], &["--last", "7d"]] {
        let mut child =
            command(&[&words[..], range].concat()).stdin(Stdio::piped()).spawn().unwrap();
        // Standard input stays open until the hint is there.
        let input = child.stdin.take();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        if range.is_empty() {
            while !text.contains("--last 7d, reads less") {
                assert!(messages.read_line(&mut text).unwrap() > 0, "{text}");
            }
        }
        drop(input);
        messages.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        assert_eq!(text.contains("reads less"), range.is_empty(), "{text}");
    }
}

#[test]
fn policies_of_several_principals_are_a_line_each() {
    let call = |number: usize, user: &str, table: &str| {
        let mut call = event(number);
        call["eventSource"] = "dynamodb.amazonaws.com".into();
        call["eventName"] = "GetItem".into();
        call["userIdentity"] = json!({"type": "IAMUser", "userName": user, "accountId": "111122223333",
            "arn": format!("arn:aws:iam::111122223333:user/{user}")});
        call["requestParameters"] = json!({ "tableName": table });
        call
    };
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[call(1, "alice", "a"), call(2, "bob", "b")]));
    let run = |words: &[&str]| {
        search(&[&["--in", file.to_str().unwrap(), "--policy"][..], words].concat())
    };
    let one: Value =
        serde_json::from_str(&run(&["--principal", "user/alice"]).lines.join("\n")).unwrap();
    assert_eq!(one["Statement"][0]["Action"], json!(["dynamodb:GetItem"]));
    let several = run(&[]).lines;
    let several: Vec<Value> =
        several.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(several.len(), 2);
    assert_eq!(
        (&several[0]["principal"], &several[0]["documents"][0]),
        (&json!("user/alice"), &one)
    );
    assert_eq!(run(&["--output", "ndjson", "--principal", "user/alice"]).lines.len(), 1);
}
