//! Formats, `--find`, `--models`, `--observed`, completion, and the cost of an answer.

use std::{
    fs,
    io::Read as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json as value};

use super::{json, messages, schema, text};
use crate::support::load::PROGRAM;

#[test]
fn every_format_shows_the_same_fields() {
    let name = "iam.CreatePolicy.input";
    let json = json(&[name]);
    let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    for format in ["tree", "yaml", "table", "markdown"] {
        let text = text(&[name, "--format", format]);
        for field in &fields {
            assert!(text.contains(field.as_str()), "{format} lacks {field}: {text}");
        }
        assert!(text.contains("requestParameters.policyDocument"), "{format}");
    }
    let table = text(&["--format", "table"]);
    let row = table.lines().find(|line| line.starts_with("iam ")).unwrap();
    assert!(row.contains("iam.amazonaws.com") && row.contains("2010-05-08"), "{row}");
}

#[test]
fn without_a_terminal_the_answer_is_json() {
    let plain = text(&["sqs.CreateQueue"]);
    assert_eq!(plain, text(&["sqs.CreateQueue", "--format", "json"]));
}

#[test]
fn find_lists_operations_and_fields_of_all_services() {
    let found = json(&["--find", "instanceprofile"]);
    let found = found.as_array().unwrap();
    let has = |operation: &str, field: Option<&str>| {
        found.iter().any(|hit| hit["operation"] == operation && hit["field"].as_str() == field)
    };
    assert!(has("iam.CreateInstanceProfile", None));
    assert!(has("ec2.RunInstances.input", Some("iamInstanceProfile")));
    let within = json(&["sqs", "--find", "queueUrl"]);
    assert!(
        within
            .as_array()
            .unwrap()
            .iter()
            .all(|hit| hit["operation"].as_str().unwrap().starts_with("sqs."))
    );
    let nothing = schema(&["--find", "nosuchword"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(String::from_utf8(nothing.stdout).unwrap(), "[]\n");
}

#[test]
fn models_of_a_folder_replace_those_of_the_table_and_have_descriptions() {
    let folder = tempfile::tempdir().unwrap();
    let model = value!({
        "metadata": {"apiVersion": "2030-01-01", "endpointPrefix": "sqs", "protocol": "json", "serviceId": "SQS"},
        "operations": {"CreateQueue": {
            "name": "CreateQueue", "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "Request"}, "documentation": "<p>Creates a <b>queue</b>.</p>",
        }},
        "shapes": {
            "Request": {"type": "structure", "required": ["Color"], "members": {
                "Color": {"shape": "String", "documentation": "<p>Its color &amp; more.</p>"},
                "Self": {"shape": "Request"},
            }},
            "String": {"type": "string", "max": 9},
        },
    });
    for service in ["sqs", "brand-new"] {
        let version = folder.path().join(service).join("2030-01-01");
        fs::create_dir_all(&version).unwrap();
        fs::write(version.join("service-2.json"), model.to_string()).unwrap();
    }
    let models = ["--models", folder.path().to_str().unwrap()];
    for service in ["sqs", "brand-new"] {
        let name = format!("{service}.CreateQueue");
        let answer = json(&[&name, models[0], models[1]]);
        assert_eq!(answer["documentation"], "Creates a queue.");
        assert_eq!(answer["input"]["color"]["documentation"], "Its color & more.");
        assert_eq!(answer["input"]["color"]["required"], true);
        assert_eq!(answer["input"]["self"]["recursive"], true);
    }
    // Services that the folder lacks are those of the table.
    assert_eq!(json(&["iam.CreatePolicy", models[0], models[1]])["service"], "iam");
    let missing = schema(&["iam", "--models", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1), "{}", messages(&missing));
}

#[test]
fn observed_counts_events_and_shows_examples() {
    let answer = json(&["iam.CreateUser", "--observed", "tests/data/events"]);
    let events = answer["observed_events"].as_u64().unwrap();
    assert!(events > 0);
    let user = &answer["input"]["userName"]["observed"];
    assert!(user["events"].as_u64().unwrap() <= events && user["events"] != 0, "{user}");
    assert!(user["example"].is_string(), "{user}");
    let table =
        text(&["iam.CreateUser.input", "--observed", "tests/data/events", "--format", "table"]);
    assert!(table.lines().next().unwrap().ends_with("example"), "{table}");
    let missing = schema(&["iam.CreateUser", "--observed", "nonexistent.json"]);
    assert_eq!(missing.status.code(), Some(2), "{}", messages(&missing));
}

#[test]
fn options_that_need_an_operation_say_so() {
    for words in [&["iam", "--custodian"][..], &["--sample"], &["iam.*", "--observed", "x"]] {
        let output = schema(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(messages(&output).contains("requires one operation"), "{}", messages(&output));
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut program = Command::new(PROGRAM)
        .args(["schema", "--find", "name"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 100];
    program.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", messages(&output));
    assert!(output.stderr.is_empty(), "{}", messages(&output));
}

#[test]
fn shells_complete_services_and_operations() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("trailload") && script.contains("COMPLETE"), "{shell}: {script}");
    }
    let ask = |word: &str| {
        let output = Command::new(PROGRAM)
            .args(["--", "trailload", "schema", word])
            .env("COMPLETE", "fish")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask("iam.CreatePo").contains("iam.CreatePolicyVersion"), "{}", ask("iam.CreatePo"));
    assert!(ask("secretsm").contains("secretsmanager"));
}

/// The largest answers take no more memory than the promise, also in a build without optimization.
#[cfg(target_os = "linux")]
#[test]
fn the_largest_answers_fit_in_40_mib() {
    for words in [
        "quicksight.CreateDashboard --format json",
        "quicksight.CreateDashboard --format table",
        "--find name",
    ] {
        let kib = peak_memory(words);
        // The pages of a debug binary count too, so the limit is checked against those of its data.
        assert!(kib < 40 * 1024 + binary_allowance(), "{words}: {kib} KiB");
    }
}

/// Returns the most memory that an answer took, in KiB.
#[cfg(target_os = "linux")]
fn peak_memory(words: &str) -> u64 {
    let script = r#""$0" schema $1 >/dev/null & pid=$!
most=0
while kill -0 $pid 2>/dev/null; do
  now=$(awk '/^VmHWM/ { print $2 }' /proc/$pid/status 2>/dev/null); [ "${now:-0}" -gt $most ] && most=$now
done
echo $most"#;
    let output = Command::new("bash").args(["-c", script, PROGRAM, words]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Pages of a debug binary that are mapped: it is many times as large as the one that is released.
#[cfg(target_os = "linux")]
fn binary_allowance() -> u64 {
    if cfg!(debug_assertions) { 40 * 1024 } else { 0 }
}

#[test]
fn the_answer_is_an_object_with_unique_keys_in_any_nesting() {
    let text = text(&["ec2.RunInstances.input"]);
    let parsed: Value = serde_json::from_str(&text).unwrap();
    // A duplicate key would be lost in parsing.
    assert_eq!(text.matches("\"cloudtrail\": [").count(), count(&parsed, "cloudtrail"));
}

fn count(value: &Value, key: &str) -> usize {
    match value {
        Value::Object(members) => {
            usize::from(members.contains_key(key) && members[key].is_array())
                + members.values().map(|below| count(below, key)).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(|below| count(below, key)).sum(),
        _ => 0,
    }
}

#[test]
fn a_format_that_an_output_does_not_have_is_a_usage_error() {
    for (option, formats) in [
        ("--custodian", &["yaml"][..]),
        ("--rule", &["yaml"]),
        ("--sample", &["json"]),
        ("--query", &["tree", "json", "yaml"]),
    ] {
        for format in ["tree", "json", "yaml", "table", "markdown"] {
            let output = schema(&["iam.CreatePolicy", option, "--format", format]);
            let expected = if formats.contains(&format) { 0 } else { 2 };
            assert_eq!(output.status.code(), Some(expected), "{option} {format}");
            if expected == 2 {
                let text = messages(&output);
                assert!(text.contains(option) && text.contains("it prints "), "{text}");
            }
        }
    }
}
