//! `search` of files, folders and standard input: what a user types, and what comes back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::events::{event, event_with, events, gzip, id, lines, lookup, records};
use crate::support::load::{Desk, PROGRAM};

/// A search that has ended.
struct Ended {
    code: Option<i32>,
    out: String,
    messages: String,
}

impl Ended {
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.messages);
        self
    }

    fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.messages.contains(part), "{part:?} is not in\n{}", self.messages);
        }
        self
    }

    fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part), "{part:?} is not in\n{}", self.out);
        }
        self
    }

    /// Returns the ids of the events, sorted.
    fn ids(&self) -> Vec<String> {
        let event = |line: &str| serde_json::from_str::<Value>(line).expect(line);
        let id = |line: &str| event(line)["eventID"].as_str().unwrap().to_owned();
        let mut ids: Vec<String> = self.out.lines().map(id).collect();
        ids.sort();
        ids
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            messages: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Prepares `trailload search` without credentials and without an endpoint that could answer.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("search")
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn search(words: &[&str]) -> Ended {
    command(words).output().unwrap().into()
}

/// Searches a file or folder.
fn search_in(source: &Path, words: &[&str]) -> Ended {
    let source = ["--in", source.to_str().unwrap()];
    search(&[words, &source].concat())
}

/// Searches what is written to standard input.
fn search_input(input: &[u8], words: &[&str]) -> Ended {
    let mut child =
        command(&[words, &["--in", "-"]].concat()).stdin(Stdio::piped()).spawn().unwrap();
    // The search may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// Returns an event with its members replaced.
fn like(number: usize, members: Value) -> Value {
    let mut event = event(number);
    let Value::Object(members) = members else { panic!("{members} is no object") };
    for (name, value) in members {
        event[name] = value;
    }
    event
}

/// Returns the sample event of the page that describes aws-spitzel.
fn sample_of_the_seed() -> Value {
    like(
        1,
        json!({
            "userIdentity": {
                "type": "IAMUser", "principalId": "EX_PRINCIPAL_ID", "accountId": "123456789012",
                "arn": "arn:aws:iam::123456789012:user/Alice",
                "accessKeyId": "EXAMPLE_KEY_ID", "userName": "AliceIsNotBob"
            },
            "eventTime": "2016-07-14T19:15:45Z", "eventSource": "cloudtrail.amazonaws.com",
            "eventName": "UpdateTrail", "errorCode": "TrailNotFoundException",
            "requestParameters": { "name": "myTrail2" }, "responseElements": null
        }),
    )
}

/// Returns a time before now as events contain it.
fn ago(minutes: u64) -> String {
    let time = Timestamp::now() - Duration::from_mins(minutes);
    Timestamp::from_second(time.as_second()).unwrap().to_string()
}

#[test]
fn the_examples_of_aws_spitzel_work_as_written() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[sample_of_the_seed(), event(2)]));
    let found = |words: &[&str]| search_in(&file, words).exits(0).ids();
    let update = "cloudtrail:Update*";
    let seed = [id(1)];
    assert_eq!(found(&[update, "--match", r#"$.userIdentity.userName == "AliceIsNotBob""#]), seed);
    assert_eq!(
        found(&[update, "--match", r#"$.userIdentity.userName regex "AliceIsNot.*""#]),
        seed
    );
    assert_eq!(found(&["--match", "$.errorCode != None"]), seed);
    search_in(&file, &[update, "--match", r#"$.userIdentity.userName != "AliceIsNotBob""#])
        .exits(5);

    let call = |number, time: &str, source: &str, name: &str| {
        like(number, json!({ "eventTime": time, "eventSource": source, "eventName": name }))
    };
    let (s3, dynamodb, ssm) = ("s3.amazonaws.com", "dynamodb.amazonaws.com", "ssm.amazonaws.com");
    let file = desk.file(
        "b.json",
        records(&[
            call(0, &ago(10), s3, "GetObject"),
            call(1, &ago(10), dynamodb, "PutItem"),
            call(2, &ago(400), dynamodb, "GetItem"),
            call(3, "2023-03-31T14:00:12Z", s3, "GetBucketAcl"),
            call(4, "2023-04-01T00:00:00Z", dynamodb, "Scan"),
            call(5, "2023-04-01T00:00:01Z", dynamodb, "Scan"),
            call(6, "2023-03-31T14:00:11Z", s3, "GetBucketAcl"),
            call(7, &ago(10), ssm, "ListCommands"),
        ]),
    );
    let found = |words: &[&str]| search_in(&file, words).exits(0).ids();
    assert_eq!(found(&["s3:Get*", "dynamodb:Get*"]), [id(0), id(2), id(3), id(6)]);
    assert_eq!(found(&["s3:Get*", "dynamodb:*", "--last-minute", "300"]), [id(0), id(1)]);
    let range = ["--from", "2023-03-31 14:00:12", "--to", "2023-04-01 00:00:00"];
    let ended = search_in(&file, &[&range[..], &["s3:Get*", "dynamodb:*"]].concat()).exits(0);
    assert_eq!(ended.ids(), [id(3), id(4)], "both ends are included");
    ended.says(&["'2023-03-31 14:00:12' is taken as UTC", "'2023-04-01 00:00:00' is taken as UTC"]);
    let piped = ["--match", r#"$.errorCode != "AccessDenied""#, "--last-minute", "300"];
    assert_eq!(found(&[&piped[..], &["s3:*Acl", "ssm:List*"]].concat()), [id(7)]);
}

#[test]
fn the_strange_query_of_aws_spitzel_is_explained_and_its_meaning_found() {
    let call = |number, user: &str| {
        like(
            number,
            json!({
                "eventSource": "transfer.amazonaws.com", "eventName": "ListServers",
                "errorCode": "AccessDenied", "sourceIPAddress": "147.161.171.112",
                "userIdentity": { "type": "AssumedRole", "principalId": format!("AROAEXAMPLE:{user}"),
                    "accountId": "060862059283",
                    "arn": format!("arn:aws:sts::060862059283:assumed-role/MyRole/{user}") }
            }),
        )
    };
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[call(1, "Alice"), call(2, "MyUser")]));
    let rest = [
        "--match",
        r#"$.errorCode == "AccessDenied""#,
        "--match",
        r#"$.userIdentity.accountId == "060862059283""#,
        "--match",
        r#"$.sourceIPAddress == "147.161.171.112""#,
        "transfer:List*",
    ];
    let with = |pattern: &str| {
        let pattern = format!(r#"$.userIdentity.principalId regex "{pattern}""#);
        search_in(&file, &[&["--match", &pattern], &rest[..]].concat())
    };
    with(".*:^((?!Alice).)").exits(5).says(&["cannot match any text", "^(?!.*:Alice$)"]);
    assert_eq!(with("^(?!.*:Alice$)").exits(0).ids(), [id(2)]);
    let last = [
        "--match",
        r#"$.errorCode == "AccessDenied""#,
        "--match",
        r#"$.userIdentity.arn regex ".*/MyRole/MyUser""#,
        "--match",
        r#"$.userIdentity.accountId == "060862059283""#,
        "--match",
        "",
    ];
    let ended = search_in(&file, &last).exits(0).says(&["--match: an empty expression"]);
    assert_eq!(ended.ids(), [id(2)]);
}

#[test]
fn values_have_the_spellings_of_python_and_json() {
    let event = like(
        1,
        json!({ "requestParameters": {
        "on": true, "none": null, "count": -3, "list": ["a", 1], "map": { "k": [] }, "path": "C:\\d" } }),
    );
    let file = Desk::new();
    let path = file.file("a.json", records(&[event]));
    for (value, fits) in [
        ("$.requestParameters.on == True", true),
        ("$.requestParameters.on == true", true),
        ("$.requestParameters.on == 1", false),
        ("$.requestParameters.none == None", true),
        ("$.requestParameters.none == null", true),
        ("$.requestParameters.missing == None", true),
        ("$.requestParameters.missing != None", false),
        ("$.requestParameters.count == -3", true),
        ("$.requestParameters.count == -3.0", true),
        ("$.requestParameters.list == ['a', 1]", true),
        ("$.requestParameters.list == ('a', 1)", true),
        (r#"$.requestParameters.map == {"k": []}"#, true),
        (r"$.requestParameters.path == r'C:\d'", true),
        (r"$.requestParameters.path regex r'^C:\\'", true),
        ("$.requestParameters.count regex '3'", false),
    ] {
        let ended = search_in(&path, &["--match", value]);
        assert_eq!(ended.code, Some(if fits { 0 } else { 5 }), "{value}: {}", ended.messages);
    }
}

#[test]
fn an_invalid_command_line_is_exit_2_before_any_request() {
    for (words, parts) in [
        (&["--match", "$.a = 1"][..], &["'--match <PATH OP VALUE>'", "    $.a = 1\n        ^"][..]),
        (&["--match", "$.a == x"], &["'--match", "^"]),
        (&["--match", "$.a[ == 1"], &["'--match", "^"]),
        (&["--except", "$.a regex '('"], &["'--except <PATH OP VALUE>'", "^"]),
        (&["--where", "detail.a == `x"], &["'--where <JMESPATH>'", "^"]),
        (&["--where", "nonsense(detail)"], &["'--where <JMESPATH>'", "nonsense"]),
        (&["s3:"], &["the action behind ':' is missing"]),
        (&["arn:aws:s3:::b"], &["--resource"]),
        (&["trail/"], &["'trail/' is a source, not an action", "--in trail/"]),
        (&["s3://logs"], &["--in s3://logs"]),
        (&["--from", "now", "--to", "now-1h"], &["the time range is reversed"]),
        (&["--from", "noon"], &["'noon' for '--from <TIME>'", "now-2h"]),
        (&["--last", "3h", "--last-minute", "3"], &["cannot be used with"]),
        (&["--ip", "1.2.3"], &["'1.2.3' for '--ip <ADDRESS|CIDR>'"]),
        (&["--access-key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"], &["a secret access key"]),
        (&["--read-only", "--write-only"], &["exclude each other"]),
        (&["--limit", "0"], &["'0' for '--limit <N>': expected a number of events, at least 1"]),
        (&["--limit", "-1"], &["'-1' for '--limit <N>': expected a number"]),
        (&["--last", "-3h"], &["'-3h' for '--last <AGE>': expected an age"]),
        (&["--histogram", "0s"], &["'0s' for '--histogram <LENGTH>': expected a length"]),
        (&["--resource", ""], &["the value of '--resource <PATTERN>' is empty"]),
        (&["--principal", " "], &["the value of '--principal <PATTERN>' is empty"]),
        (&["--trace", ""], &["the value of '--trace <IDENTITY>' is empty"]),
        (&["--in", ""], &["the name of a source is empty"]),
        (&["--ip", "ec2.amazonaws.com"], &["'$.sourceIPAddress == \"ec2.amazonaws.com\"'"]),
        (&["s3:Get*,ec2:*"], &["write 's3:Get*' 'ec2:*'"]),
        (&["--fields", "time,ip,time"], &["'time' is given twice"]),
        (&["--count-by", "action", "--sort", "time"], &["'--sort' sorts events"]),
        (&["--policy", "--limit", "5"], &["'--policy' prints neither", "remove --limit"]),
        (&["--histogram", "1h", "--limit", "5"], &["'--histogram' prints neither"]),
        (&["--sort", "size"], &["'size'", "time, -time"]),
        (&["--output", "xml"], &["'xml'", "ndjson"]),
        (&["--include-denied"], &["--policy"]),
        (&["--policy", "--count-by", "eventName"], &["cannot be used with"]),
        (&["--into", "http://localhost:9200"], &["'--into' has no effect", "--in index"]),
        (&["--in", "index"], &["no engine is given", "--into"]),
        (&["--in", "nowhere"], &["cannot find nowhere"]),
        (&["--follow", "--in", "tests"], &["'--follow' applies only"]),
        (&["--follow", "--count-by", "eventName"], &["'--count-by' is printed at the end"]),
        (&["--preset", "denid"], &["unknown preset 'denid'", "denied"]),
        (&["--preset", "key"], &["the preset 'key' needs an argument"]),
        (&["--in", "tests", "--regions", "all"], &["'--regions' applies only"]),
    ] {
        let ended = search(words).exits(2).says(parts);
        assert_eq!(ended.out, "", "{words:?}");
        assert!(!ended.messages.contains("wJalr"), "{}", ended.messages);
    }
    let deep = format!("$.a{} == 1", "[?(@.b".repeat(20));
    search(&["--match", &deep]).exits(2).says(&["nested deeper than 8 levels"]);
    let long = format!("$.a == '{}'", "x".repeat(5_000));
    search(&["--where", &long]).exits(2).says(&["at most 4096"]);
}

#[test]
fn the_exit_code_reports_what_was_found() {
    let desk = Desk::new();
    let good = desk.file("good.json", records(&events(0..4)));
    search_in(&good, &["ec2:*"]).exits(0).says(&["found 4 of 4 events in 1 file, "]);
    search_in(&good, &["s3:*"]).exits(5).says(&["found nothing in "]);
    let broken = desk.file("broken.json", &records(&events(10..14))[..2_000]);
    search(&["ec2:*", "--in", good.to_str().unwrap(), "--in", broken.to_str().unwrap()]).exits(3);
    search(&["s3:*", "--in", good.to_str().unwrap(), "--in", broken.to_str().unwrap()]).exits(3);
    let foreign = desk.file("foreign.json", r#"{"a": 1}"#);
    search_in(&foreign, &[]).exits(3).says(&["not CloudTrail"]);
    search_in(&desk.path("."), &["s3:*"]).exits(3);
    std::fs::create_dir(desk.path("empty")).unwrap();
    search_in(&desk.path("empty"), &[]).exits(5).says(&["no file was found here; check the path"]);
    let folder = desk.file("others/foreign.json", r#"{"a": 1}"#);
    let ended = search_in(folder.parent().unwrap(), &[]).exits(3);
    ended.says(&["no CloudTrail events in 1 input"]);
    search(&["ec2:*"]).exits(1).says(&["found no AWS credentials"]);
    let limited = ["ec2:*", "--limit", "1", "--in", good.to_str().unwrap()];
    let limited = search(&[&limited[..], &["--in", broken.to_str().unwrap()]].concat());
    assert_eq!(limited.exits(0).ids().len(), 1, "the limit was reached: all that was asked for");
}

#[test]
fn files_of_every_form_give_each_event_once_as_its_original_bytes() {
    let desk = Desk::new();
    let odd = r#"{"eventID":"x-1",  "eventName":"É\u00c9", "big": 12345678901234567890.10,"eventTime":"2024-01-01T00:00:00Z"}"#;
    desk.file("all/odd.ndjson", odd);
    desk.file("all/a.json", records(&events(0..20)));
    desk.file("all/b.json.gz", gzip(&lines(&events(10..30))));
    desk.file("all/deep/c.json", lookup(&events(25..40)));
    let ended = search_in(&desk.path("all"), &[]).exits(0);
    assert!(ended.out.lines().any(|line| line == odd), "{}", ended.out);
    let mut expected: Vec<String> = (0..40).map(id).collect();
    expected.push("x-1".to_owned());
    assert_eq!(ended.ids(), expected);
    ended.says(&["found 41 of 56 events, 15 copies left out in 4 files"]);
    let input = gzip(&lines(&events(0..5)));
    let ended = search_input(&input, &["--where", "detail.requestParameters.minCount > `2`"]);
    assert_eq!(ended.exits(0).ids(), [id(3), id(4)]);
}

#[test]
fn events_are_sorted_and_limited() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..50)));
    let times = |words: &[&str]| {
        let ended = search_in(&file, words).exits(0);
        let time = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["eventTime"].as_str().unwrap().to_owned()
        };
        ended.out.lines().map(time).collect::<Vec<_>>()
    };
    let oldest_first = times(&["--sort", "time"]);
    assert!(oldest_first.is_sorted() && oldest_first.len() == 50);
    let newest = times(&["--sort", "-time", "--limit", "3"]);
    assert_eq!(newest, oldest_first.iter().rev().take(3).cloned().collect::<Vec<_>>());
    assert_eq!(times(&["--sort=-time"]).len(), 50);
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_search_quietly() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..20_000)));
    for format in ["ndjson", "json", "csv", "table"] {
        let words = ["--in", file.to_str().unwrap(), "--output", format];
        let mut child = command(&words).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut messages = String::new();
        child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}: {messages}");
        assert!(messages.starts_with("found ") && messages.lines().count() == 1, "{messages}");
    }
}

#[test]
fn a_signal_ends_a_search_with_what_was_found() {
    let words = ["ec2:*", "--in", "-"];
    let mut child = command(&words).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // Standard input stays open, as that of a program that has nothing more to write yet.
    input.write_all(&lines(&[event(1)])).unwrap();
    input.write_all(&lines(&[event(2)])).unwrap();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains(&id(1)), "{line}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let mut messages = String::new();
    child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{messages}");
    assert!(messages.contains("stopping the search"), "{messages}");
}

#[test]
fn a_preset_finds_the_same_as_its_options() {
    let denied = |number, code: &str| event_with(number, "errorCode", json!(code));
    let desk = Desk::new();
    let mut all = events(0..3);
    all.extend([denied(3, "AccessDenied"), denied(4, "Client.UnauthorizedOperation")]);
    all.extend([denied(5, "AccessDeniedException"), denied(6, "ThrottlingException")]);
    all.push(event_with(8, "requestParameters.bucketName", json!("my-bucket")));
    all[7]["readOnly"] = json!(false);
    let file = desk.file("a.json", records(&all));
    let found = |words: &[&str]| search_in(&file, words).exits(0).ids();
    let expected = [id(3), id(4), id(5)];
    assert_eq!(found(&["denied"]), expected);
    assert_eq!(found(&["--preset", "denied"]), expected);
    assert_eq!(found(&["denied", "ec2:Run*"]), expected);
    search_in(&file, &["denied", "s3:*"]).exits(5);
    for words in [
        &["who-changed", "my-bucket"][..],
        &["--preset", "who-changed my-bucket"],
        &["--write-only", "--resource", "my-bucket"],
    ] {
        assert_eq!(found(words), [id(8)], "{words:?}");
    }
    assert_eq!(found(&["key", "ASIAEXAMPLE", "--limit", "2"]).len(), 2);
    let list = search(&["--presets"]).exits(0);
    list.prints(&[
        "denied\n",
        "root\n",
        "console-logins\n",
        "no-mfa\n",
        "iam-changes\n",
        "network-changes\n",
        "logging-off\n",
        "public-s3\n",
        "key KEYID\n",
        "who-changed RESOURCE\n",
        "--write-only",
    ]);
}

#[test]
fn the_presets_find_what_they_promise() {
    let desk = Desk::new();
    let s3 = |number, name: &str, parameters: Value| {
        like(
            number,
            json!({ "eventSource": "s3.amazonaws.com", "eventName": name,
            "readOnly": false, "requestParameters": parameters }),
        )
    };
    let policy = |effect: &str, principal: Value| {
        json!({ "bucketName": "b", "bucketPolicy": { "Statement": [
            { "Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "*" }] } })
    };
    let login = |number, kind: &str, mfa: &str, result: &str| {
        like(
            number,
            json!({ "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin",
            "userIdentity": { "type": kind, "accountId": "111122223333" },
            "additionalEventData": { "MFAUsed": mfa }, "responseElements": { "ConsoleLogin": result } }),
        )
    };
    let file = desk.file(
        "a.json",
        records(&[
            s3(1, "PutBucketPolicy", policy("Allow", json!("*"))),
            s3(2, "PutBucketPolicy", policy("Deny", json!("*"))),
            s3(3, "PutBucketPolicy", policy("Allow", json!({ "AWS": ["*"] }))),
            s3(4, "PutBucketPolicy", policy("Allow", json!({ "AWS": "arn:aws:iam::1:root" }))),
            s3(5, "PutBucketAcl", json!({ "x-amz-acl": ["public-read"] })),
            s3(6, "PutBucketAcl", json!({ "x-amz-acl": ["private"] })),
            s3(7, "DeleteBucketPublicAccessBlock", json!({ "bucketName": "b" })),
            s3(8, "PutBucketPublicAccessBlock", json!({ "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": true, "BlockPublicPolicy": false } })),
            s3(9, "GetObject", json!({ "x-amz-acl": ["public-read"] })),
            login(10, "IAMUser", "No", "Success"),
            login(11, "IAMUser", "Yes", "Success"),
            login(12, "AssumedRole", "No", "Success"),
            login(13, "Root", "No", "Success"),
            login(14, "IAMUser", "No", "Failure"),
            like(15, json!({ "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging" })),
            like(16, json!({ "eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "readOnly": false })),
            like(17, json!({ "eventSource": "iam.amazonaws.com", "eventName": "ListUsers", "readOnly": true })),
            like(18, json!({ "eventSource": "ec2.amazonaws.com", "readOnly": false,
                "eventName": "AuthorizeSecurityGroupIngress" })),
        ]),
    );
    for (preset, numbers) in [
        ("public-s3", &[1, 3, 5, 7, 8][..]),
        ("console-logins", &[10, 11, 12, 13, 14]),
        ("no-mfa", &[10, 13]),
        ("root", &[13]),
        ("logging-off", &[15]),
        ("iam-changes", &[16]),
        ("network-changes", &[18]),
    ] {
        let expected: Vec<String> = numbers.iter().map(|number| id(*number)).collect();
        assert_eq!(search_in(&file, &[preset]).exits(0).ids(), expected, "{preset}");
    }
}

#[test]
fn explain_shows_how_a_search_runs_and_requests_no_events() {
    let explained = search(&["denied", "s3:Get*", "--last", "3h", "--explain"]).exits(0);
    explained.prints(&[
        "preset      denied: --match '$.errorCode regex",
        "actions     s3:Get*\n",
        "events of s3.amazonaws.com",
        "lookup (LookupEvents)",
        "accounts    unknown: found no AWS credentials",
        "sent        EventSource=s3.amazonaws.com",
        "here        all conditions",
        "requests    1 or more for each account and Region",
    ]);
    let index = ["--in", "index", "--into", "http://127.0.0.1:9", "--explain"];
    search(&index).exits(0).prints(&["index cloudtrail", "indices     unknown: could not reach"]);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..2)));
    let words = ["--from", "2024-01-01", "--to", "2024-01-02", "--sort", "time", "--explain"];
    search_in(&file, &words).exits(0).prints(&[
        "time        2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z (both included)",
        "events as ndjson at the end, oldest first",
        "read        1 file, ",
    ]);
}

#[test]
fn what_may_surprise_is_explained() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..4)));
    for (words, code, parts) in [
        (&["s3:ListBuckts"][..], 5, &["warning: action s3:ListBuckts: ", "s3:ListBuckets"][..]),
        (&["iam:PassRole"], 5, &["CloudTrail never records this action"]),
        (&["denid"], 5, &["the preset denied"]),
        (&["--match", "$.userIdentity.typ == 'Root'"], 5, &["did you mean $.userIdentity.type?"]),
        (
            &["--match", "$.userIdentity.sessionContext.attributes.mfaAuthenticated == False"],
            5,
            &[r#"text "false""#],
        ),
        (&["--where", "detail.userIdentity.type == \"Root\""], 0, &["write 'Root'"]),
        (&["--where", "starts_with(detail.errorCode, 'A')"], 5, &["failed on 4 of 4 events"]),
    ] {
        let ended = search_in(&file, words);
        if code == 5 {
            assert_eq!(ended.out, "", "{words:?}");
        }
        ended.says(parts);
    }
    let data_events = search(&["s3:GetObject", "--explain"]).exits(0);
    data_events.says(&["these are data events, which the event history does not hold"]);
    let quiet = search_in(&file, &["ec2:*", "--quiet"]).exits(0);
    assert_eq!(quiet.messages, "");
    search_in(&file, &["iam:PassRole", "--quiet"]).exits(5).says(&["never records"]);
}

#[test]
fn the_summary_is_json_for_programs() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..4)));
    let ended = search_in(&file, &["ec2:*", "--log-format", "json"]).exits(0);
    let summary: Value = serde_json::from_str(ended.messages.trim()).unwrap();
    assert_eq!(summary["about"], "summary");
    assert_eq!((&summary["found"], &summary["examined"]), (&json!(4), &json!(4)));
    assert_eq!(summary["exit"], 0);
}

#[test]
fn unusual_texts_neither_crash_nor_steer_a_terminal() {
    let desk = Desk::new();
    let hostile = event_with(1, "userAgent", json!("\u{1b}[31mred\u{202e}\n\u{0}"));
    let file = desk.file("a.json", records(&[hostile]));
    let ended = search_in(&file, &["--output", "table", "--fields", "userAgent"]).exits(0);
    assert!(!ended.out.contains('\u{1b}') && !ended.out.contains('\u{202e}'), "{:?}", ended.out);
    for text in ["", " ", "'", "\"", "[", "$", "*", "\u{1b}[2J", "é", "\u{202e}", "--", "-", "a b"]
    {
        for option in [
            "--match",
            "--where",
            "--except",
            "--principal",
            "--resource",
            "--ip",
            "--access-key",
            "--preset",
            "--fields",
            "--count-by",
            "--trace",
        ] {
            let ended = search_in(&file, &[&format!("{option}={text}")]);
            assert!(matches!(ended.code, Some(0 | 2 | 5)), "{option}={text}: {}", ended.messages);
            assert!(!ended.messages.contains('\u{1b}'), "{:?}", ended.messages);
        }
    }
}
