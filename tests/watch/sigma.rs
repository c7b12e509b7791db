//! Sigma rules as they are published, with the real binary.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use super::{alerts, repository, text, trail, watch};

fn rules() -> PathBuf {
    repository().join("tests/data/sigma/rules")
}

const OTHER_LOGS: &str = "title: Whoami\nlogsource: {product: windows, category: process_creation}\ndetection:\n  s: {Image|endswith: whoami.exe}\n  condition: s\n";

const FOR_CLOUDTRAIL: &str = "title: User Created\nlogsource: {product: aws, service: cloudtrail}\nlevel: critical\ndetection:\n  s: {eventSource: iam.amazonaws.com, eventName: CreateUser}\n  condition: s\n";

#[test]
fn public_rules_find_the_events_that_another_evaluator_finds() {
    let expected: BTreeMap<String, Vec<usize>> = serde_json::from_slice(
        &fs::read(repository().join("tests/data/sigma/rsigma.json")).unwrap(),
    )
    .unwrap();
    let rules = rules();
    let output =
        watch(repository(), &[rules.to_str().unwrap(), "--dry-run", "--in", "tests/data/events"]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for alert in alerts(&output) {
        *found.entry(alert["rule"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (rule, events) in expected {
        // Events with the same id count once.
        let alerts = found.get(&rule).copied().unwrap_or(0);
        assert!(
            alerts <= events.len() && (alerts > 0) != events.is_empty(),
            "{rule}: {alerts} {events:?}"
        );
    }
}

#[test]
fn rules_for_other_logs_are_skipped_in_folders_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sigma")).unwrap();
    fs::write(folder.path().join("sigma/other.yml"), OTHER_LOGS).unwrap();
    let output = watch(folder.path(), &["--check", "sigma"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("none of the rules is for CloudTrail"),
        "{}",
        text(&output.stderr)
    );
    fs::write(folder.path().join("sigma/trail.yml"), FOR_CLOUDTRAIL).unwrap();
    let output = watch(folder.path(), &["--check", "sigma"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "1 rule valid\n");
    assert!(text(&output.stderr).contains("skipped 1 Sigma rule"), "{}", text(&output.stderr));
    let output = watch(folder.path(), &["--check", "sigma/other.yml"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(
        errors.contains(
            "other.yml:2:22: the rule is for another log source: `product` is windows, not aws"
        ),
        "{errors}"
    );
}

#[test]
fn a_rule_with_an_unsupported_part_is_refused_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.yml"), FOR_CLOUDTRAIL).unwrap();
    let bad = FOR_CLOUDTRAIL
        .replace("User Created", "Bad")
        .replace("condition: s", "condition: s | count() > 5");
    fs::write(folder.path().join("bad.yml"), bad).unwrap();
    trail(
        folder.path(),
        &[vec![json!({ "eventSource": "iam.amazonaws.com", "eventName": "CreateUser" })]],
    );
    let output = watch(folder.path(), &["good.yml", "bad.yml", "--dry-run", "--in", "trail"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let errors = text(&output.stderr);
    assert!(
        errors.contains(
            "bad.yml:6:14: the condition is not valid: aggregations behind `|` are not supported"
        ),
        "{errors}"
    );
}

#[test]
fn an_alert_has_the_title_and_the_level() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rule.yml"), FOR_CLOUDTRAIL).unwrap();
    let event = json!({
        "eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventName": "createuser", "eventTime": "2026-11-27T00:00:00Z",
        "eventID": "00000000-0000-0000-0000-000000000001",
    });
    trail(folder.path(), &[vec![event]]);
    let output = watch(folder.path(), &["rule.yml", "--dry-run", "--in", "trail"]);
    let alerts: Vec<Value> = alerts(&output);
    assert_eq!(alerts.len(), 1, "{}", text(&output.stderr));
    assert_eq!(
        (&alerts[0]["rule"], &alerts[0]["severity"]),
        (&json!("User Created"), &json!("critical"))
    );
}
