//! `--observed`: what real engines hold is shown as what the files hold that were loaded.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::engine::on_every_engine;
use crate::support::load::{Desk, PROGRAM};
use crate::support::real::{Corner, Engine};

on_every_engine!(
    an_index_shows_what_the_files_show,
    examples_of_queries_find_their_event_and_no_other,
);

/// Recorded events, which hold every kind of value that a load rewrites.
const FILES: [&str; 2] = [
    "tests/data/events/stratus-red-team.ndjson.gz",
    "tests/data/events/invictus-aws-dataset.ndjson.gz",
];

/// Calls of all protocols, some of them frequent.
const CALLS: [&str; 12] = [
    "iam.CreateUser",
    "iam.CreatePolicy",
    "ec2.RunInstances",
    "ec2.DescribeInstances",
    "ec2.AuthorizeSecurityGroupIngress",
    "s3.PutBucketPolicy",
    "s3.CreateBucket",
    "sts.AssumeRole",
    "sts.GetCallerIdentity",
    "secretsmanager.GetSecretValue",
    "lambda.CreateFunction",
    "signin.ConsoleLogin",
];

fn run(words: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {messages}");
    String::from_utf8(output.stdout).unwrap()
}

fn an_index_shows_what_the_files_show(corner: &Corner) {
    let desk = Desk::new();
    desk.load_all(FILES, corner.url()).with(corner.index()).run().exits(0);
    corner.refresh();
    let engine = ["--observed", "index", "--into", corner.url(), "--index", corner.prefix()];
    let mut counted = 0;
    for call in CALLS {
        let name = ["schema", call, "--format", "json"];
        let of_files =
            run(&[&name[..], &["--observed", FILES[0], "--observed", FILES[1]]].concat());
        let of_index = run(&[&name[..], &engine].concat());
        assert_eq!(of_index, of_files, "{call}");
        let answer: Value = serde_json::from_str(&of_index).unwrap();
        counted += answer["observed_events"].as_u64().unwrap();
    }
    assert!(counted > 100, "{counted} events are too few to show anything");
    corner.clear();
}

/// Calls whose examples test a field of the index, a renamed one, a term of `trailload.unmapped` and a boolean.
const QUERIES: [&str; 8] = [
    "iam.CreatePolicy",
    "ec2.CreateVpc",
    "s3.CreateBucket",
    "lambda.UpdateFunctionCode",
    "kms.ScheduleKeyDeletion",
    "signin.ConsoleLogin",
    "rds.CreateDBInstance",
    "apigateway.CreateRestApi",
];

/// Every form of `--query` finds the event of `--sample`, and none of another call or with another value.
fn examples_of_queries_find_their_event_and_no_other(corner: &Corner) {
    let desk = Desk::new();
    let mut lines = String::new();
    for (number, call) in QUERIES.iter().enumerate() {
        let mut event: Value = serde_json::from_str(&run(&["schema", call, "--sample"])).unwrap();
        event["eventID"] = format!("00000000-0000-4000-8000-0000000000{number:02}").into();
        writeln!(lines, "{event}").unwrap();
        // The same call with other values.
        event["eventID"] = format!("00000000-0000-4000-8000-0000000001{number:02}").into();
        for member in ["requestParameters", "responseElements", "additionalEventData"] {
            if let Some(value) = event.get_mut(member) {
                change_texts(value);
            }
        }
        writeln!(lines, "{event}").unwrap();
    }
    let file = desk.file("events.ndjson", lines);
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    corner.refresh();
    for (number, call) in QUERIES.iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-0000000000{number:02}");
        let query: Value =
            serde_json::from_str(&run(&["schema", call, "--query", "--format", "json"])).unwrap();
        let lucene = json!({ "query": { "query_string": { "query": query["lucene"] } } });
        let kql = json!({ "query": kql_as_dsl(query["kql"].as_str().unwrap()) });
        for (form, body) in [("dsl", &query["dsl"]), ("lucene", &lucene), ("kql", &kql)] {
            assert_eq!(found(corner, body), [id.as_str()], "{call} {form}: {body}");
        }
        let command = query["command"].as_str().unwrap();
        let target = format!("--into {} --index {}", corner.url(), corner.prefix());
        let command = command.replace("--into http://localhost:9200", &target);
        let command = command.replacen("trailload", PROGRAM, 1);
        let output = Command::new("bash").args(["-c", &command]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}");
        let event: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(event["eventID"], id, "{command}");
    }
    corner.clear();
}

/// Returns the ids of the events that a search finds.
fn found(corner: &Corner, body: &Value) -> Vec<String> {
    let answer = corner.ask("POST", &format!("/{}*/_search", corner.prefix()), body);
    let hits = answer["hits"]["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["_source"]["eventID"].as_str().unwrap().to_owned()).collect()
}

/// Changes every text, except those that only have some values.
fn change_texts(value: &mut Value) {
    match value {
        Value::String(text) => text.push_str("-other"),
        Value::Object(members) => members.values_mut().for_each(change_texts),
        Value::Array(items) => items.iter_mut().for_each(change_texts),
        Value::Bool(bool) => *bool = !*bool,
        _ => {}
    }
}

/// Translates a line of KQL as Kibana does: `and` between conditions, and a phrase for a value in quotation marks.
fn kql_as_dsl(line: &str) -> Value {
    let conditions = line.split(" and ").map(|condition| {
        let (field, values) = condition.split_once(": ").unwrap();
        let field = field.replace('\\', "");
        let values = values.trim_start_matches('(').trim_end_matches(')').split(" or ");
        let phrases = values.map(|value| {
            let value: String = serde_json::from_str(value).unwrap();
            json!({ "match_phrase": { &field: value } })
        });
        json!({ "bool": { "should": phrases.collect::<Vec<_>>(), "minimum_should_match": 1 } })
    });
    json!({ "bool": { "filter": conditions.collect::<Vec<_>>() } })
}
