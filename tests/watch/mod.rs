//! `trailload watch`: checking, testing and translating rules, with the real binary.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

fn watch(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trailload"))
        .arg("watch")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The repository, with the rules that are shipped.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const SECURITY_GROUP: &str = r#"name: "ec2.amazonaws.com: someone changes the security group"
events: [AuthorizeSecurityGroupIngress]
match: contains(flat."userAgent", 'console')
tests:
  - { event: tests/by-hand.json, fires: true }
  - { name: by a script, event: { eventSource: ec2.amazonaws.com, eventName: AuthorizeSecurityGroupIngress, userAgent: aws-cli }, fires: false }
"#;

fn by_hand() -> Value {
    json!({ "eventSource": "ec2.amazonaws.com", "eventName": "AuthorizeSecurityGroupIngress", "userAgent": "console.ec2.amazonaws.com" })
}

/// Writes a rule file and the event of its test.
fn folder_with(event: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    fs::write(folder.path().join("sg.yml"), SECURITY_GROUP).unwrap();
    fs::write(folder.path().join("tests/by-hand.json"), event.to_string()).unwrap();
    folder
}

#[test]
fn tests_of_rules_pass_on_events_records_and_envelopes() {
    for event in [
        by_hand(),
        json!({ "Records": [by_hand()] }),
        json!({ "detail-type": "AWS API Call via CloudTrail", "detail": by_hand() }),
    ] {
        let folder = folder_with(&event);
        let output = watch(folder.path(), &["--test", "sg.yml"]);
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
        assert!(table.contains("tests/by-hand.json  fires     pass"), "{table}");
        assert!(table.contains("1 rule, 2 tests: 2 passed, 0 failed"), "{table}");
    }
}

#[test]
fn a_failed_test_ends_with_1_and_the_reason() {
    let mut event = by_hand();
    event["userAgent"] = json!("aws-cli");
    let folder = folder_with(&event);
    let output = watch(folder.path(), &["--test", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAIL: `match` is not true"), "{}", text(&output.stdout));
    fs::remove_file(folder.path().join("tests/by-hand.json")).unwrap();
    let output = watch(folder.path(), &["--test", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAIL: cannot read"), "{}", text(&output.stdout));
}

#[test]
fn an_invalid_rule_is_refused_by_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yml"), "name: x\nevents: [A]\nmatch: detail.a = 'b'\n")
        .unwrap();
    fs::write(folder.path().join("b.yml"), "name: y\nevents: [A]\nmatch: detail.a == \"Root\"\n")
        .unwrap();
    let output = watch(folder.path(), &["--check", "."]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(text(&output.stdout), "");
    for part in [
        "a.yml:3:17: `=` is not an operator",
        "detail.a = 'b'",
        "write `==` to compare",
        "b.yml:3:20:",
        "'Root'",
    ] {
        assert!(errors.contains(part), "{part} is not in\n{errors}");
    }
}

#[test]
fn a_rule_with_a_warning_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yml"), "name: x\nevents: [A]\nmatch: '!detail.a.b'\n").unwrap();
    let output = watch(folder.path(), &["--check", "a.yml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "1 rule valid\n");
    assert!(text(&output.stderr).contains("!(detail.a.b)"), "{}", text(&output.stderr));
}

#[test]
fn a_name_that_two_files_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["a.yml", "b.yaml"] {
        fs::write(folder.path().join(file), "name: x\nevents: [A]\n").unwrap();
    }
    let output = watch(folder.path(), &["--check", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("b.yaml:1:7: the name is that of a rule in"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_path_without_rules_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--check", "."][..],
        &["--check", "missing.yml"],
        &["--check"],
        &["."],
        &["--from-drl", "missing.drl"],
    ] {
        let output = watch(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_drools_file_becomes_a_rule_file_that_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "import java.util.Map\nrule \"ec2.amazonaws.com: Someone is Changing security group\"\nwhen\n$map: Map(this[\"userIdentity.arn\"].contains(\"user@company.com\") &&\nthis[\"eventName\"] == \"AuthorizeSecurityGroupIngress\")\nthen\nnew DatadogAlertService().report($map, drools.getRule().getName());\nend\n";
    fs::write(folder.path().join("a.drl"), rule).unwrap();
    let output = watch(folder.path(), &["--from-drl", "a.drl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let yaml = text(&output.stdout);
    assert!(yaml.contains("events: [\"AuthorizeSecurityGroupIngress\"]"), "{yaml}");
    fs::write(folder.path().join("a.yml"), &yaml).unwrap();
    assert_eq!(watch(folder.path(), &["--check", "a.yml"]).status.code(), Some(0));

    let more =
        format!("{rule}rule \"ec2.amazonaws.com: y\" when Map(this[\"a\"] matches \"x\") then end");
    fs::write(folder.path().join("b.drl"), more).unwrap();
    let output = watch(folder.path(), &["--from-drl", "b.drl"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("`matches` cannot be translated"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), yaml);
}

#[test]
fn the_event_pattern_is_json() {
    let folder = folder_with(&by_hand());
    let output = watch(folder.path(), &["--event-pattern", "sg.yml"]);
    assert_eq!(output.status.code(), Some(0));
    let pattern: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pattern["detail"]["eventName"], json!(["AuthorizeSecurityGroupIngress"]));
    assert_eq!(pattern["detail"]["eventSource"], json!(["ec2.amazonaws.com"]));
}

#[test]
fn the_shipped_rules_are_valid_and_tested() {
    let output = watch(repository(), &["--test", "rules/"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "no warnings");
    assert!(!table.contains("without a test"), "{table}");
    let rules: usize =
        table.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(rules >= 25, "{rules} rules");
}
