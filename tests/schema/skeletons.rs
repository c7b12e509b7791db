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
    let query: Value = serde_json::from_str(&text(&["iam.CreatePolicy", "--query"])).unwrap();
    let filter = &query["query"]["bool"]["filter"];
    assert_eq!(filter[0]["term"]["eventSource"], "iam.amazonaws.com");
    assert_eq!(filter[1]["term"]["eventName"], "CreatePolicy");
    assert_eq!(filter[2]["term"]["requestParameters.policyName"], "example");
}
