//! Policies, rules, events and queries to start from.

use std::{fs, process::Command};

use serde_json::Value;

use super::{json, text};
use crate::support::load::PROGRAM;

const CALLS: [&str; 9] = [
    "iam.CreatePolicy",
    "ec2.CreateVpcPeeringConnection",
    "ec2.RunInstances",
    "ec2.CreateFlowLogs",
    "s3.PutBucketPolicy",
    "lambda.UpdateFunctionCode",
    "kms.ScheduleKeyDeletion",
    "signin.ConsoleLogin",
    "sts.GetCallerIdentity",
];

#[test]
fn custodian_policies_name_source_event_and_identifier() {
    let policy = text(&["iam.CreatePolicy", "--custodian"]);
    for line in [
        "resource: iam-policy",
        "type: cloudtrail",
        "- source: iam.amazonaws.com",
        "event: CreatePolicy",
        "ids: responseElements.policy.arn",
        "- type: event",
    ] {
        assert!(policy.contains(line), "{line}: {policy}");
    }
    let policy = text(&["ec2.CreateVpcPeeringConnection.output", "--custodian"]);
    assert!(policy.contains("resource: peering-connection"), "{policy}");
    let ids = "ids: responseElements.vpcPeeringConnection.vpcPeeringConnectionId";
    assert!(policy.contains(ids), "{policy}");
    let policy = text(&["lambda.CreateFunction", "--custodian"]);
    assert!(policy.contains("event: CreateFunction20150331"), "{policy}");
    let policy = text(&["ec2.RunInstances", "--custodian"]);
    assert!(policy.contains("ids: 'responseElements.instancesSet.items[].instanceId'"), "{policy}");
}

#[test]
fn rules_pass_their_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    for (number, call) in CALLS.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.yml")), text(&[call, "--rule"])).unwrap();
    }
    for mode in ["--check", "--test"] {
        let output =
            Command::new(PROGRAM).args(["watch", mode]).arg(folder.path()).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        let table = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{mode}: {messages}{table}");
    }
}

#[test]
fn example_events_have_the_paths_that_are_shown() {
    for call in CALLS {
        let event: Value = serde_json::from_str(&text(&[call, "--sample"])).unwrap();
        for name in ["eventVersion", "userIdentity", "eventTime", "eventID", "recipientAccountId"] {
            assert!(!event[name].is_null(), "{call} lacks {name}");
        }
        assert_eq!(event["eventSource"], json(&[call])["event_source"], "{call}");
    }
    let event: Value = serde_json::from_str(&text(&["ec2.RunInstances", "--sample"])).unwrap();
    assert_eq!(event["requestParameters"]["instancesSet"]["items"][0]["minCount"], 1);
}

#[test]
fn queries_search_the_fields_of_the_index() {
    let query = json(&["iam.CreatePolicy", "--query"]);
    let filter = &query["dsl"]["query"]["bool"]["filter"];
    assert_eq!(filter[0]["term"]["eventSource"], "iam.amazonaws.com");
    assert_eq!(filter[1]["term"]["eventName"], "CreatePolicy");
    assert_eq!(filter[2]["term"]["requestParameters.policyName"], "example");
    assert_eq!(
        query["kql"],
        r#"eventSource: "iam.amazonaws.com" and eventName: "CreatePolicy" and requestParameters.policyName: "example""#
    );
    assert_eq!(
        query["command"],
        r#"trailload search iam:CreatePolicy --match '$.requestParameters.policyName == "example"' --in index --into http://localhost:9200"#
    );
    let query = json(&["s3.CreateBucket", "--query"]);
    assert!(
        query["lucene"].as_str().unwrap().starts_with(r#"eventSource:"s3.amazonaws.com" AND "#)
    );
    let text = text(&["iam.CreatePolicy", "--query", "--format", "tree"]);
    for heading in ["# Command", "# Query DSL", "# KQL", "# Lucene"] {
        assert!(text.contains(heading), "{text}");
    }
}

/// The number of operations between two that are tried.
const STRIDE: usize = 41;

/// Returns operations of all protocols, every one after some others.
fn many_calls() -> Vec<String> {
    let all = json(&["*.*"]);
    let all = all.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    all.step_by(STRIDE).collect()
}

#[test]
fn rules_of_many_operations_pass_their_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    let calls = many_calls();
    assert!(calls.len() > 400);
    for call in &calls {
        let file = folder.path().join(format!("{call}.yml"));
        fs::write(file, text(&[call, "--rule"])).unwrap();
    }
    let output =
        Command::new(PROGRAM).args(["watch", "--test"]).arg(folder.path()).output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{messages}");
}

#[test]
fn every_path_of_an_example_event_is_predicted() {
    for call in many_calls() {
        let event: Value = serde_json::from_str(&text(&[&call, "--sample"])).unwrap();
        let answer = json(&[&call]);
        let mut shown = Vec::new();
        collect_paths(&answer, &mut shown);
        for member in ["requestParameters", "responseElements"] {
            let mut paths = Vec::new();
            leaves(&event[member], member.to_owned(), &mut paths);
            for path in paths {
                let is_shown = shown.iter().any(|known| fits(known, &path));
                assert!(is_shown, "{call}: {path} is not among {shown:?}");
            }
        }
    }
}

fn collect_paths(value: &Value, shown: &mut Vec<String>) {
    if let Value::Object(members) = value {
        let paths = members.get("cloudtrail").and_then(Value::as_array).into_iter().flatten();
        shown.extend(paths.filter_map(Value::as_str).map(str::to_owned));
        members.values().for_each(|below| collect_paths(below, shown));
    }
}

/// Collects the paths of single values, without list positions.
fn leaves(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, below) in members {
                leaves(below, format!("{path}.{key}"), paths);
            }
        }
        Value::Array(items) => {
            for below in items {
                leaves(below, path.clone(), paths);
            }
        }
        Value::Null => {}
        _ => paths.push(path),
    }
}

/// Returns whether a path is one that is shown, in which `*` stands for a key.
fn fits(known: &str, path: &str) -> bool {
    let (known, path) = (known.split('.'), path.split('.'));
    known.clone().count() == path.clone().count()
        && known.zip(path).all(|(known, key)| known == "*" || known == key)
}
