//! The examples that the rule language comes from, as they are written, with the real binary.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{alerts, text, trail, watch};

/// The expressions in the documentation of the CloudTrail event trigger, each with an event name, and values in `detail` on
/// which a rule fires and stays silent.
fn trigger_examples() -> Vec<(&'static str, &'static str, Value, Value)> {
    vec![
        (
            "!starts_with(detail.requestParameters.bucketName, 'gorillastack-')",
            "CreateBucket",
            json!({ "requestParameters": { "bucketName": "logs-gorillastack-" } }),
            json!({ "requestParameters": { "bucketName": "gorillastack-logs" } }),
        ),
        (
            "detail.userIdentity.sessionContext.attributes.mfaAuthenticated == 'false'",
            "TerminateInstances",
            json!({ "userIdentity": { "sessionContext": { "attributes": { "mfaAuthenticated": "false" } } } }),
            json!({ "userIdentity": { "type": "IAMUser" } }),
        ),
        (
            "detail.requestParameters.storageEncrypted == `false`",
            "CreateDBInstance",
            json!({ "requestParameters": { "storageEncrypted": false } }),
            json!({ "requestParameters": { "storageEncrypted": "false" } }),
        ),
        (
            "contains(detail.userAgent, 'S3Console')",
            "PutBucketAcl",
            json!({ "userAgent": "[S3Console/0.4, aws-internal/3]" }),
            json!({ "userAgent": "[s3console/0.4]" }),
        ),
        (
            "detail.userIdentity.type == 'Root'",
            "ConsoleLogin",
            json!({ "userIdentity": { "type": "Root" } }),
            json!({ "userIdentity": { "type": "root" } }),
        ),
        (
            "!starts_with(detail.sourceIPAddress, '55.10.15.')",
            "RunInstances",
            json!({ "sourceIPAddress": "AWS Internal" }),
            json!({ "sourceIPAddress": "55.10.15.200" }),
        ),
    ]
}

/// Returns an event with these values.
fn event(number: usize, name: &str, values: &Value) -> Value {
    let mut event = json!({
        "eventVersion": "1.08", "eventSource": "ec2.amazonaws.com", "eventName": name, "awsRegion": "us-east-1",
        "eventTime": format!("2026-11-27T00:00:{number:02}Z"), "eventID": format!("00000000-0000-0000-0000-{number:012}"),
    });
    for (key, value) in values.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

#[test]
fn the_examples_of_the_event_trigger_pass_as_tests_of_rules() {
    let folder = tempfile::tempdir().unwrap();
    let rules: Vec<String> = trigger_examples()
        .iter()
        .enumerate()
        .map(|(number, (expression, name, fires, silent))| {
            let tests = json!([
                { "event": event(number, name, fires), "fires": true },
                { "event": event(number, name, silent), "fires": false },
                { "name": "another event", "event": event(number, "Other", fires), "fires": false },
            ]);
            format!("- name: example {number}\n  events: [{name}]\n  match: >-\n    {expression}\n  tests: {tests}\n")
        })
        .collect();
    fs::write(folder.path().join("rules.yml"), rules.concat()).unwrap();
    let output = watch(folder.path(), &["--test", "rules.yml"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    assert!(table.ends_with("6 rules, 18 tests: 18 passed, 0 failed\n"), "{table}");
    assert_eq!(text(&output.stderr), "", "the examples have no warnings");
}

#[test]
fn the_examples_of_the_event_trigger_fire_on_past_events() {
    let folder = tempfile::tempdir().unwrap();
    let examples = trigger_examples();
    let events = examples.iter().enumerate().flat_map(|(number, (_, name, fires, silent))| {
        [event(number, name, fires), event(number + 20, name, silent)]
    });
    trail(folder.path(), &[events.collect()]);
    let rules: Vec<String> = examples
        .iter()
        .map(|(expression, name, ..)| {
            format!("- name: {name}\n  events: [{name}]\n  match: {}\n", Value::from(*expression))
        })
        .collect();
    fs::write(folder.path().join("rules.yml"), rules.concat()).unwrap();
    let output = watch(folder.path(), &["rules.yml", "--dry-run", "--in", "trail"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Vec<Value> =
        alerts(&output).iter().map(|alert| alert["event"]["eventName"].clone()).collect();
    let expected: Vec<Value> = examples.iter().map(|(_, name, ..)| json!(name)).collect();
    assert_eq!(found, expected);
}

/// The rule in the documentation of the rules engine.
const DROOLS_EXAMPLE: &str = r#"import java.util.Map
import cloudengine.AlertServices.DatadogAlertService;
rule "ec2.amazonaws.com: Test Alert - Someone is Changing security group"
when
$map: Map(this["userIdentity.arn"].contains("user@company.com") &&
this["eventName"] == "AuthorizeSecurityGroupIngress" &&
this["userAgent"].contains("console"))
then
new DatadogAlertService().report($map, drools.getRule().getName());
end
"#;

/// The event in the documentation of the rules engine, as CloudTrail wrote it.
fn security_group_event() -> Value {
    json!({
        "eventID": "d3510c1d-2f67-45f1-b145-db0b7190202a", "awsRegion": "us-east-2", "eventVersion": "1.05",
        "responseElements": { "requestId": "f723aa75-d771-4dff-97d1-6b81e663ff8c", "_return": true },
        "sourceIPAddress": "1.2.3.4", "eventSource": "ec2.amazonaws.com",
        "requestParameters": {
            "groupId": "sg-abcdefg",
            "ipPermissions": { "items": [{
                "ipProtocol": "tcp", "fromPort": 0, "toPort": 0, "groups": {},
                "ipRanges": { "items": [{ "cidrIp": "1.2.3.4/32", "description": "test" }] },
                "ipv6Ranges": {}, "prefixListIds": {},
            }] },
        },
        "userAgent": "console.ec2.amazonaws.com",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAIIEUYW2FCCWM6LZJ2:user@company.com",
            "arn": "arn:aws:sts::123456789012:assumed-role/assume-role-name/user@company.com",
        },
        "eventType": "AwsApiCall", "requestID": "f723aa75-d771-4dff-97d1-6b81e663ff8c",
        "eventTime": "2018-08-22T02:08:03Z", "eventName": "AuthorizeSecurityGroupIngress",
    })
}

/// Translates a Drools file, and returns the alerts of the translation on events.
fn alerts_of_drools(folder: &Path, rules: &str, events: Vec<Value>) -> Vec<Value> {
    fs::write(folder.join("rules.drl"), rules).unwrap();
    let output = watch(folder, &["--from-drl", "rules.drl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(folder.join("rules.yml"), &output.stdout).unwrap();
    trail(folder, &[events]);
    let output = watch(folder, &["rules.yml", "--dry-run", "--in", "trail"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    alerts(&output)
}

#[test]
fn the_example_of_the_rules_engine_fires_on_its_event() {
    let folder = tempfile::tempdir().unwrap();
    let event = security_group_event();
    let mut events = vec![event.clone()];
    for (number, (key, value)) in [
        ("eventName", json!("RevokeSecurityGroupIngress")),
        ("userAgent", json!("aws-cli/2.9")),
        ("eventSource", json!("s3.amazonaws.com")),
        ("userIdentity", json!({ "arn": "arn:aws:iam::123456789012:user/other" })),
        ("userIdentity", json!({ "type": "AWSService" })),
    ]
    .into_iter()
    .enumerate()
    {
        let mut other = event.clone();
        other["eventID"] = json!(format!("00000000-0000-0000-0000-{number:012}"));
        other[key] = value;
        events.push(other);
    }
    let alerts = alerts_of_drools(folder.path(), DROOLS_EXAMPLE, events);
    let events: Vec<&Value> = alerts.iter().map(|alert| &alert["event"]).collect();
    assert_eq!(events, [&event]);
    assert_eq!(
        alerts[0]["rule"],
        "ec2.amazonaws.com: Test Alert - Someone is Changing security group"
    );
    assert_eq!(alerts[0]["actions"], json!(["datadog"]));
}

#[test]
fn flat_keys_with_positions_are_those_of_the_rules_engine() {
    let folder = tempfile::tempdir().unwrap();
    let rule = r#"rule "ec2.amazonaws.com: open port" when
        Map(this["requestParameters.ipPermissions.items[0].fromPort"] == 0,
            this["requestParameters.ipPermissions.items[0].ipRanges.items[0].cidrIp"] != "10.0.0.0/8",
            this["responseElements._return"] == true)
        then end"#;
    let event = security_group_event();
    let mut internal = event.clone();
    internal["eventID"] = json!("00000000-0000-0000-0000-000000000001");
    internal["requestParameters"]["ipPermissions"]["items"][0]["ipRanges"]["items"][0]["cidrIp"] =
        json!("10.0.0.0/8");
    let alerts = alerts_of_drools(folder.path(), rule, vec![event.clone(), internal]);
    assert_eq!(alerts.iter().map(|alert| &alert["event"]).collect::<Vec<_>>(), [&event]);
}

#[test]
fn the_documented_rule_is_valid() {
    let page = fs::read_to_string(super::repository().join("docs/rules.md")).unwrap();
    let rule = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.yml"), rule).unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    let event = json!({ "eventSource": "ec2.amazonaws.com", "eventName": "RevokeSecurityGroupIngress", "userAgent": "console.amazonaws.com" });
    fs::write(folder.path().join("tests/by-hand.json"), event.to_string()).unwrap();
    let output = watch(folder.path(), &["--test", "rule.yml"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}
