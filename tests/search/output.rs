//! What a search prints: every format, order and limit, and what hostile or huge events do to it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::events::{event, event_with, events, gzip, id, lines, records};
use crate::support::load::{Desk, PROGRAM};

/// The most memory that a search may take, in MiB.
const MOST_MEMORY_MIB: u64 = 100;

fn command(source: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["search", "--in", source.to_str().unwrap()])
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

fn messages(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Searches, and returns standard output. The exit code has to be 0.
fn search(source: &Path, words: &[&str]) -> String {
    let output = command(source, words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", messages(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns an event with few members, in the order in which they are written.
fn small(number: usize, members: &Value) -> Value {
    let mut event = json!({
        "eventVersion": "1.08", "eventID": id(number), "eventTime": "2024-06-30T10:00:00Z",
        "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": "eu-west-1",
        "sourceIPAddress": "192.0.2.1", "userAgent": "cli", "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "userName": "alice", "arn": "arn:aws:iam::111122223333:user/alice"},
    });
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

#[test]
fn every_format_holds_the_same_events() {
    let desk = Desk::new();
    let first = small(1, &json!({"requestParameters": {"bucketName": "b", "key": "a,\"b\""}}));
    let second = small(2, &json!({"errorCode": "AccessDenied"}));
    let file = desk.file("a.json", records(&[first.clone(), second.clone()]));
    let printed = |words: &[&str]| search(&file, words);

    assert_eq!(printed(&[]), format!("{first}\n{second}\n"));
    assert_eq!(printed(&["--output", "json"]), format!("[\n{first},\n{second}\n]\n"));
    let header =
        "time,account,region,principal,userIdentity.arn,action,resource,error,ip,userAgent,eventID";
    let start = "2024-06-30T10:00:00Z,111122223333,eu-west-1,user/alice,arn:aws:iam::111122223333:user/alice,s3:GetObject";
    let csv = [
        header.to_owned(),
        format!("{start},b,,192.0.2.1,cli,{}", id(1)),
        format!("{start},,AccessDenied,192.0.2.1,cli,{}", id(2)),
    ];
    assert_eq!(printed(&["--output", "csv"]), csv.join("\n") + "\n");
    assert_eq!(printed(&["--output", "tsv"]), (csv.join("\n") + "\n").replace(',', "\t"));
    let table = printed(&["--output", "table"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let cells = ["2024-06-30T10:00:00Z", "111122223333 eu-west-1", "user/alice", "s3:GetObject"];
    assert_eq!(
        rows[0],
        ["TIME", "ACCOUNT/REGION", "PRINCIPAL", "ACTION", "RESOURCE OR ERROR", "IP"]
    );
    assert_eq!(rows[1], [&cells[..], &["b", "192.0.2.1"]].concat());
    assert_eq!(rows[2], [&cells[..], &["AccessDenied", "192.0.2.1"]].concat());
}

#[test]
fn selected_fields_are_printed_in_every_format() {
    let desk = Desk::new();
    let object = json!({"requestParameters": {"key": "a,\"b\"\n", "tags": [{"k": 1}]}});
    let file = desk.file("a.json", records(&[small(1, &object)]));
    let fields =
        ["--fields", "requestParameters.key,$.requestParameters.tags[0].k,missing,principal"];
    let printed = |format: &str| search(&file, &[&fields[..], &["--output", format]].concat());
    let names = "requestParameters.key,$.requestParameters.tags[0].k,missing,principal";
    assert_eq!(printed("csv"), format!("{names}\n\"a,\"\"b\"\"\n\",1,,user/alice\n"));
    assert_eq!(
        printed("ndjson"),
        "{\"requestParameters.key\":\"a,\\\"b\\\"\\n\",\"$.requestParameters.tags[0].k\":1,\"missing\":null,\"principal\":\"user/alice\"}\n"
    );
    assert_eq!(serde_json::from_str::<Value>(&printed("json")).unwrap()[0]["missing"], Value::Null);
    assert!(printed("table").contains(r#"a,"b"\n"#));
}

#[test]
fn a_path_through_a_list_selects_the_member_of_each_element() {
    let desk = Desk::new();
    let resources = json!({"resources": [{"ARN": "arn:1"}, {"ARN": "arn:2"}, {"type": "t"}]});
    let file = desk.file("a.json", records(&[small(1, &resources), small(2, &json!({}))]));
    for path in ["resources.ARN", "resources[*].ARN", "$.resources.*.ARN"] {
        let csv = search(&file, &["--fields", path, "--output", "csv"]);
        assert_eq!(csv, format!("{path}\n\"arn:1, arn:2\"\n\"\"\n"));
        let lines = search(&file, &["--fields", path]);
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [json!({path: ["arn:1", "arn:2"]}), json!({path: null})]);
        let counts = search(&file, &["--count-by", path]);
        assert_eq!(counts.lines().next().unwrap(), json!({path: null, "count": 1}).to_string());
    }
}

#[test]
fn a_field_that_no_event_has_is_named_with_what_was_meant() {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..3)));
    for (words, expected) in [
        (&["--fields", "time,username"][..], "--fields username: none of the 3 events found has"),
        (&["--fields", "Principal"], "has this field; did you mean principal?"),
        (
            &["--count-by", "eventname"],
            "--count-by eventname: none of the 3 events found has this field; did you mean $.eventName?",
        ),
        (&["--count-by", "eventname", "--histogram", "1h"], "--count-by eventname: none of the 3"),
        (
            &["--fields", "xyz", "--limit", "1"],
            "--fields xyz: the event found does not have this field",
        ),
    ] {
        let output = command(&file, words).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(messages(&output).contains(expected), "{words:?}: {}", messages(&output));
    }
    for usual in ["time,error,eventName", "resource"] {
        let output = command(&file, &["--fields", usual]).output().unwrap();
        assert!(!messages(&output).contains("warning"), "{}", messages(&output));
    }
}

#[test]
fn no_cell_becomes_a_formula() {
    let desk = Desk::new();
    let hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1"];
    let events: Vec<Value> = hostile
        .iter()
        .enumerate()
        .map(|(number, text)| small(number, &json!({"userAgent": text, "count": -1})))
        .collect();
    let file = desk.file("a.json", records(&events));
    for (format, end) in [("csv", ",-1\n"), ("tsv", "\t-1\n")] {
        let text = search(&file, &["--output", format, "--fields", "userAgent,count"]);
        for cell in hostile {
            let quoted = cell.contains(['\r', '\n']) || (format == "tsv" && cell.contains('\t'));
            let cell = if quoted { format!("\"'{cell}\"") } else { format!("'{cell}") };
            assert!(text.contains(&format!("{cell}{end}")), "{format} {cell:?}: {text:?}");
        }
    }
    let counts = search(&file, &["--output", "csv", "--count-by", "userAgent"]);
    assert!(counts.contains("'=cmd|' /C calc'!A0,1\n"), "{counts}");
}

#[test]
fn an_event_is_one_line_whatever_it_contains() {
    let desk = Desk::new();
    let pretty = serde_json::to_string_pretty(&json!({"Records": events(0..3)})).unwrap();
    let printed = search(&desk.file("a.json", pretty.replace('\n', "\r\n")), &[]);
    let parsed: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, events(0..3));
    // Not valid JSON, as some tools write it: raw control characters, bad escapes, bytes that are no text.
    let broken = b"{\"eventVersion\":\"1\",\"eventName\":\"A\",\"a\":\"x\ny\t\x1b\",\"b\":\"\\q\xff\",\"c\":NaN}";
    let printed = search(&desk.file("b.json", broken), &["*:A"]);
    assert_eq!(printed.lines().count(), 1);
    let parsed: Value = serde_json::from_str(printed.trim_end()).unwrap();
    assert_eq!((&parsed["a"], &parsed["b"]), (&json!("x\ny\t\u{1b}"), &json!("\\q\u{fffd}")));
}

#[test]
fn an_event_of_several_files_and_forms_is_printed_once() {
    let desk = Desk::new();
    let folder = desk.path("in");
    fs::create_dir(&folder).unwrap();
    let all = events(0..40);
    fs::write(folder.join("a.json.gz"), gzip(&records(&all[..30]))).unwrap();
    fs::write(folder.join("b.ndjson"), lines(&all[10..])).unwrap();
    fs::write(folder.join("c.json"), serde_json::to_vec_pretty(&all[5..20]).unwrap()).unwrap();
    let without_id = |number| {
        let mut event = event(number);
        event.as_object_mut().unwrap().remove("eventID");
        event
    };
    fs::write(folder.join("d.json"), records(&[without_id(0), without_id(1), without_id(0)]))
        .unwrap();
    for words in [
        &[][..],
        &["--sort", "time"],
        &["--workers", "8"],
        &["*:Run*", "--match", "eventSource != 1"],
    ] {
        let printed = search(&folder, words);
        let distinct: BTreeSet<&str> = printed.lines().collect();
        assert_eq!((printed.lines().count(), distinct.len()), (42, 42), "{words:?}");
    }
    assert!(search(&folder, &["--count-by", "eventName"]).contains("\"count\":42"));
}

#[test]
fn a_limit_prints_exactly_so_many_events_in_every_format() {
    let desk = Desk::new();
    let folder = desk.path("in");
    fs::create_dir(&folder).unwrap();
    for file in 0..20 {
        let events = events(file * 100..file * 100 + 100);
        fs::write(folder.join(format!("{file}.json.gz")), gzip(&records(&events))).unwrap();
    }
    for limit in ["1", "7", "1999"] {
        let words = |format| ["--limit", limit, "--workers", "4", "--output", format];
        let wanted: usize = limit.parse().unwrap();
        assert_eq!(search(&folder, &words("ndjson")).lines().count(), wanted);
        assert_eq!(search(&folder, &words("csv")).lines().count(), wanted + 1);
        let array: Vec<Value> = serde_json::from_str(&search(&folder, &words("json"))).unwrap();
        assert_eq!(array.len(), wanted);
    }
}

/// Runs a search, and returns standard output and the peak of its memory in MiB.
fn measured(source: &Path, words: &[&str]) -> (Output, u64) {
    let (output, peak) = measured_with(source, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", messages(&output));
    (output, peak)
}

/// As [`measured`], with any exit code.
fn measured_with(source: &Path, words: &[&str]) -> (Output, u64) {
    let mut child = command(source, words).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        thread::sleep(Duration::from_millis(5));
    }
    let mut output = child.wait_with_output().unwrap();
    output.stdout = reader.join().unwrap();
    (output, peak)
}

#[test]
fn memory_is_bounded_whatever_is_found() {
    let desk = Desk::new();
    let folder = desk.path("in");
    fs::create_dir(&folder).unwrap();
    // 100,000 events of 1 KB, of which the sort holds 4 MiB at a time.
    let few = desk.path("few");
    fs::create_dir(&few).unwrap();
    for file in 0..50 {
        let events = events(file * 2_000..file * 2_000 + 2_000);
        let name = format!("{file}.json.gz");
        fs::write(folder.join(&name), gzip(&records(&events))).unwrap();
        if file < 10 {
            fs::copy(folder.join(&name), few.join(&name)).unwrap();
        }
    }
    let memory = ["--memory", "32MiB", "--workers", "1"];
    for (source, words) in [
        (&folder, &["--sort", "time"][..]),
        (&folder, &["--count-by", "eventID"]),
        (&few, &["--sort", "time", "--output", "csv", "--fields", "time,eventID"]),
        (&few, &["--sort=-time", "--limit", "5000"]),
        (&few, &["--histogram", "1s", "--count-by", "eventID"]),
        (&few, &["--policy"]),
        (&few, &["--match", "$..name == 'a'"]),
    ] {
        let (output, peak) = measured(source, &[words, &memory].concat());
        assert!(
            (1..MOST_MEMORY_MIB).contains(&peak),
            "{words:?}: {peak} MiB, {}",
            messages(&output)
        );
    }
}

#[test]
fn events_of_many_megabytes_take_bounded_memory() {
    let desk = Desk::new();
    let text = small(1, &json!({"requestParameters": {"text": "x".repeat(26 << 20)}}));
    let list = small(2, &json!({"requestParameters": {"list": vec![1; 1 << 20]}}));
    for event in [text, list] {
        let file = desk.file("a.json", records(&[event, small(3, &json!({}))]));
        let simple =
            ["--match", "eventName == 'GetObject'", "--match", "userIdentity.userName != 'x'"];
        for (words, exit, found) in [
            (&[][..], 0, 2),
            (&simple, 0, 2),
            (&["--sort", "time"], 0, 2),
            (&["--where", "detail.eventName == 'GetObject'"], 0, 2),
            // What cannot be parsed within the memory is reported, and the rest is found.
            (&["--where", "contains(to_string(detail), 'GetObject')"], 3, 1),
        ] {
            let (output, peak) = measured_with(&file, words);
            assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", messages(&output));
            assert_eq!(memchr::memchr_iter(b'\n', &output.stdout).count(), found);
            assert!(peak < MOST_MEMORY_MIB, "{words:?}: {peak} MiB");
        }
    }
}

#[test]
fn a_sort_beyond_memory_is_complete_and_leaves_no_file() {
    let desk = Desk::new();
    let temporary = desk.path("tmp");
    fs::create_dir(&temporary).unwrap();
    // 12 MB, of which the sort holds a third.
    let padded: Vec<Value> = (0..6_000)
        .map(|number| event_with(number, "userAgent", json!("x".repeat(1_000))))
        .collect();
    let file = desk.file("a.json", records(&padded));
    for (order, descending) in [("time", false), ("-time", true)] {
        let sort = format!("--sort={order}");
        let words = [sort.as_str(), "--memory", "32MiB", "--workers", "1"];
        let output = command(&file, &words).env("TMPDIR", &temporary).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", messages(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let times: Vec<&str> =
            events.iter().map(|event| event["eventTime"].as_str().unwrap()).collect();
        assert!(if descending { times.is_sorted_by(|a, b| a >= b) } else { times.is_sorted() });
        let ids: BTreeSet<&str> =
            events.iter().map(|event| event["eventID"].as_str().unwrap()).collect();
        assert_eq!((events.len(), ids.len()), (6_000, 6_000));
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    }
    let nowhere = desk.path("nowhere");
    let words = ["--sort", "time", "--memory", "32MiB", "--workers", "1"];
    let output = command(&file, &words).env("TMPDIR", &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", messages(&output));
    assert!(messages(&output).contains(nowhere.to_str().unwrap()), "{}", messages(&output));
}

#[test]
fn huge_and_deep_events_are_found_as_they_are() {
    let desk = Desk::new();
    let huge =
        small(1, &json!({"requestParameters": {"text": "x".repeat(12 << 20), "mark": "here"}}));
    let mut deep = small(2, &json!({})).to_string();
    deep.pop();
    deep = format!("{deep},\"deep\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let file = desk.file("a.json", format!("{huge}\n{deep}\n"));
    assert_eq!(
        search(&file, &["--match", "requestParameters.mark == 'here'"]),
        format!("{huge}\n")
    );
    for words in [
        &["s3:GetObject", "--match", "$..deep != None"][..],
        &["--except", "requestParameters.mark == 'here'"],
    ] {
        assert_eq!(search(&file, words), format!("{deep}\n"), "{words:?}");
    }
    let table = search(&file, &["--output", "table", "--fields", "eventID,deep,requestParameters"]);
    assert_eq!(table.lines().count(), 3);
}

#[test]
fn counts_and_histograms_are_printed_in_every_format() {
    let desk = Desk::new();
    let mut all: Vec<Value> = (0..3).map(|number| small(number, &json!({}))).collect();
    all.push(small(
        3,
        &json!({"eventTime": "2024-06-30T12:59:59Z", "eventName": "PutObject", "errorCode": "X"}),
    ));
    let file = desk.file("a.json", records(&all));
    let printed = |words: &[&str]| search(&file, words);
    assert_eq!(
        printed(&["--count-by", "action,errorCode"]),
        "{\"action\":\"s3:GetObject\",\"errorCode\":null,\"count\":3}\n{\"action\":\"s3:PutObject\",\"errorCode\":\"X\",\"count\":1}\n"
    );
    assert_eq!(
        printed(&["--histogram", "1h", "--output", "csv"]),
        "time,count\n2024-06-30T10:00:00Z,3\n2024-06-30T11:00:00Z,0\n2024-06-30T12:00:00Z,1\n"
    );
    assert_eq!(
        printed(&["--histogram", "6h", "--count-by", "eventName", "--output", "tsv"]),
        "time\tcount\tGetObject\tPutObject\n2024-06-30T06:00:00Z\t3\t3\t0\n2024-06-30T12:00:00Z\t1\t0\t1\n"
    );
    let bars = printed(&["--histogram", "1h", "--output", "table"]);
    let bar_widths: Vec<usize> =
        bars.lines().skip(1).map(|line| line.matches('█').count()).collect();
    assert!(
        bar_widths[0] > 20 && bar_widths[1] == 0 && bar_widths[2] * 3 <= bar_widths[0],
        "{bars}"
    );
    let none = command(&file, &["s3:DeleteBucket", "--count-by", "action", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!((none.status.code(), &*none.stdout), (Some(5), &b"[]\n"[..]));
}
