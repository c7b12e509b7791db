//! Published examples of rules, as they were written, through the whole program: what they fire on and where they stay silent.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::hook::{Folder, event_id};

/// The match expressions of an event trigger, and the rule of a rules engine in both of its forms.
const RULES: &str = r#"
- {name: wrong prefix, events: [CreateBucket], match: "!starts_with(detail.requestParameters.bucketName, 'gorillastack-')"}
- {name: no MFA, events: ["*"], match: "detail.userIdentity.sessionContext.attributes.mfaAuthenticated == 'false'"}
- {name: unencrypted, events: [CreateDBInstance], match: "detail.requestParameters.storageEncrypted == `false`"}
- {name: S3 console, events: ["*"], match: "contains(detail.userAgent, 'S3Console')"}
- {name: root, events: ["*"], match: "detail.userIdentity.type == 'Root'"}
- {name: not in subnet, events: ["*"], match: "!starts_with(detail.sourceIPAddress, '55.10.15.')"}
- name: "ec2.amazonaws.com: Test Alert - Someone is Changing security group"
  match: contains(flat."userIdentity.arn", 'user@company.com') && flat."eventName" == 'AuthorizeSecurityGroupIngress' && contains(flat."userAgent", 'console')
"#;

const DROOLS: &str = r#"import java.util.Map
import cloudengine.AlertServices.DatadogAlertService;
rule "ec2.amazonaws.com: Someone is Changing security group, translated"
when
$map: Map(this["userIdentity.arn"].contains("user@company.com") &&
this["eventName"] == "AuthorizeSecurityGroupIngress" &&
this["userAgent"].contains("console"))
then
new DatadogAlertService().report($map, drools.getRule().getName());
end
"#;

/// The values of an event that differ, by JSON pointer.
type Changes = Vec<(&'static str, Value)>;

/// Returns an event on which no rule fires, with some values changed.
fn event(number: usize, changes: &[(&str, Value)]) -> Value {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(2);
    let mut event = json!({
        "eventVersion": "1.08", "eventID": event_id(number), "awsRegion": "us-east-2",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": "s3.amazonaws.com", "eventName": "ListBuckets",
        "sourceIPAddress": "55.10.15.7", "userAgent": "aws-cli/2.0",
        "userIdentity": {
            "type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/r/user@company.com",
            "sessionContext": {"attributes": {"mfaAuthenticated": "true"}},
        },
        "requestParameters": {},
    });
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    event
}

fn security_group(user_agent: &str, name: &str) -> Changes {
    vec![
        ("/eventSource", json!("ec2.amazonaws.com")),
        ("/eventName", json!(name)),
        ("/userAgent", json!(user_agent)),
        (
            "/requestParameters",
            json!({"groupId": "sg-abcdefg", "ipPermissions": {"items": [{"fromPort": 0}]}}),
        ),
    ]
}

/// Returns what differs in each event, and the rules that fire on it.
fn cases() -> Vec<(Changes, Vec<&'static str>)> {
    let bucket = |name: &str| {
        vec![
            ("/eventName", json!("CreateBucket")),
            ("/requestParameters", json!({ "bucketName": name })),
        ]
    };
    let database = |is_encrypted: Value| {
        vec![
            ("/eventSource", json!("rds.amazonaws.com")),
            ("/eventName", json!("CreateDBInstance")),
            ("/requestParameters", json!({ "storageEncrypted": is_encrypted })),
        ]
    };
    let group = "ec2.amazonaws.com: Test Alert - Someone is Changing security group";
    let translated = "ec2.amazonaws.com: Someone is Changing security group, translated";
    let console = "console.ec2.amazonaws.com";
    vec![
        (vec![], vec![]),
        (bucket("other-bucket"), vec!["wrong prefix"]),
        (bucket("gorillastack-logs"), vec![]),
        // The field is missing: the function fails, and the rule stays silent.
        (vec![("/eventName", json!("CreateBucket"))], vec![]),
        (
            vec![(
                "/userIdentity/sessionContext",
                json!({"attributes": {"mfaAuthenticated": "false"}}),
            )],
            vec!["no MFA"],
        ),
        (
            vec![(
                "/userIdentity/sessionContext",
                json!({"attributes": {"mfaAuthenticated": false}}),
            )],
            vec![],
        ),
        (vec![("/userIdentity/sessionContext", Value::Null)], vec![]),
        (database(json!(false)), vec!["unencrypted"]),
        (database(json!(true)), vec![]),
        (database(json!("false")), vec![]),
        (database(Value::Null), vec![]),
        (vec![("/userAgent", json!("[S3Console/0.4, aws-internal/3]"))], vec!["S3 console"]),
        (vec![("/userAgent", json!("s3console"))], vec![]),
        (vec![("/userIdentity/type", json!("Root"))], vec!["root"]),
        (vec![("/userIdentity/type", json!("root"))], vec![]),
        (vec![("/sourceIPAddress", json!("203.0.113.5"))], vec!["not in subnet"]),
        (vec![("/sourceIPAddress", json!("55.10.150.1"))], vec!["not in subnet"]),
        (security_group(console, "AuthorizeSecurityGroupIngress"), vec![group, translated]),
        (security_group(console, "RevokeSecurityGroupIngress"), vec![]),
        (security_group("aws-cli/2.0", "AuthorizeSecurityGroupIngress"), vec![]),
        (
            [
                security_group(console, "AuthorizeSecurityGroupIngress"),
                vec![("/eventSource", json!("vpc.amazonaws.com"))],
            ]
            .concat(),
            vec![],
        ),
        (
            [
                security_group(console, "AuthorizeSecurityGroupIngress"),
                vec![("/userIdentity/arn", json!("arn:aws:sts::1:assumed-role/r/else"))],
            ]
            .concat(),
            vec![],
        ),
    ]
}

#[test]
fn published_examples_fire_and_stay_silent_as_they_say() {
    let cases = cases();
    let folder = Folder::new();
    folder.write("rules.drl", DROOLS);
    let output = folder.command(&["watch", "--from-drl", "rules.drl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    folder.write("translated.yml", output.stdout);
    folder.write("rules.yml", RULES);
    let events: Vec<Value> =
        cases.iter().enumerate().map(|(number, (changes, _))| event(number, changes)).collect();
    folder.trail("0.json", &events);
    let expected: BTreeSet<(String, String)> = cases
        .iter()
        .enumerate()
        .flat_map(|(number, (_, rules))| {
            rules.iter().map(move |rule| (event_id(number), (*rule).to_owned()))
        })
        .collect();
    for mode in [&["--dry-run"][..], &[]] {
        let arguments: Vec<&str> = ["watch", "rules.yml", "translated.yml", "--in", "trail"]
            .iter()
            .chain(mode)
            .copied()
            .collect();
        let output = folder.command(&arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let fired: BTreeSet<(String, String)> = text
            .lines()
            .map(|line| {
                let alert: Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| alert[key].as_str().unwrap().to_owned();
                (text("event_id"), text("rule"))
            })
            .collect();
        assert_eq!(fired, expected);
        assert!(errors.contains("could not be evaluated on 1 event"), "{errors}");
    }
}
