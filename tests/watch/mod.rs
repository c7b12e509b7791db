//! `trailload watch`: checking, testing and translating rules, with the real binary.

mod check;
mod delivery;
mod examples;
mod faults;
pub(crate) mod hook;
mod kill;
mod load;
mod receivers;
mod rules;
pub(crate) mod shared;
mod sigma;
mod sources;

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

/// An event of a user, `minute` minutes after midnight.
fn event(minute: u32, name: &str, user: &str) -> Value {
    json!({
        "eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventName": name, "awsRegion": "us-east-1",
        "eventTime": format!("2026-11-27T{:02}:{:02}:00Z", minute / 60, minute % 60),
        "eventID": format!("00000000-0000-0000-{minute:04}-{:012}", user.len()),
        "userIdentity": { "type": "IAMUser", "arn": format!("arn:aws:iam::111122223333:user/{user}") },
    })
}

/// Writes trail files, each with events.
fn trail(folder: &Path, files: &[Vec<Value>]) {
    fs::create_dir(folder.join("trail")).unwrap();
    for (number, records) in files.iter().enumerate() {
        let text = json!({ "Records": records }).to_string();
        fs::write(folder.join(format!("trail/{number}.json")), text).unwrap();
    }
}

fn alerts(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_dry_run_prints_alerts_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let late = event(90, "CreateUser", "al");
    // The newest file first, and an event that is in two files.
    trail(
        folder.path(),
        &[
            vec![late.clone(), event(5, "ListUsers", "al")],
            vec![event(30, "CreateUser", "bob"), late],
        ],
    );
    let rules = "name: \"iam.amazonaws.com: user created\"\nevents: [CreateUser]\nseverity: high\nactions: [slack, {index: {}}]\n";
    fs::write(folder.path().join("rules.yml"), rules).unwrap();
    let output = watch(folder.path(), &["rules.yml", "--dry-run", "--in", "trail"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let alerts = alerts(&output);
    let times: Vec<_> =
        alerts.iter().map(|alert| alert["event"]["eventTime"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-27T00:30:00Z", "2026-11-27T01:30:00Z"]);
    assert_eq!(alerts[0]["rule"], "iam.amazonaws.com: user created");
    assert_eq!(alerts[0]["severity"], "high");
    assert_eq!(alerts[0]["actions"], json!(["slack", "index"]));
    assert_eq!(alerts[0]["event"], event(30, "CreateUser", "bob"));
    assert!(errors.contains("2 alerts from 3 matches in 4 events"), "{errors}");
}

#[test]
fn a_dry_run_groups_and_counts_events() {
    let folder = tempfile::tempdir().unwrap();
    let events = [
        (0, "al"),
        (10, "al"),
        (20, "al"),
        (30, "al"),
        (31, "bob"),
        (90, "al"),
        (100, "al"),
        (110, "al"),
    ];
    trail(
        folder.path(),
        &[events.map(|(minute, user)| event(minute, "CreateAccessKey", user)).to_vec()],
    );
    let rules = "name: keys\nevents: [CreateAccessKey]\ngroup_by: detail.userIdentity.arn\nwindow: 60m\nthreshold: 3\n";
    fs::write(folder.path().join("rules.yml"), rules).unwrap();
    let output = watch(folder.path(), &["rules.yml", "--dry-run", "--in", "trail"]);
    let found: Vec<_> = alerts(&output)
        .iter()
        .map(|alert| (alert["event"]["eventTime"].clone(), alert["events"].clone()))
        .collect();
    assert_eq!(
        found,
        [(json!("2026-11-27T00:20:00Z"), json!(3)), (json!("2026-11-27T01:50:00Z"), json!(3))]
    );
    assert_eq!(
        alerts(&output)[0]["group"]["detail.userIdentity.arn"],
        "arn:aws:iam::111122223333:user/al"
    );
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_named_with_an_event() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), &[vec![event(1, "CreateUser", "al"), event(2, "CreateUser", "bob")]]);
    fs::write(
        folder.path().join("rules.yml"),
        "name: x\nevents: [CreateUser]\nmatch: starts_with(detail.userAgent, 'a')\n",
    )
    .unwrap();
    let output = watch(folder.path(), &["rules.yml", "--dry-run", "--in", "trail"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
    let errors = text(&output.stderr);
    assert!(
        errors.contains("could not be evaluated on 2 events") && errors.contains("starts_with()"),
        "{errors}"
    );
}

#[test]
fn a_dry_run_with_an_invalid_rule_or_path_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), &[vec![event(1, "CreateUser", "al")]]);
    fs::write(folder.path().join("good.yml"), "name: x\nevents: [CreateUser]\n").unwrap();
    fs::write(folder.path().join("bad.yml"), "name: y\nevents: [CreateUser]\nmatch: a =\n")
        .unwrap();
    for arguments in [
        &["good.yml", "bad.yml", "--dry-run", "--in", "trail"][..],
        &["good.yml", "--dry-run", "--in", "missing"],
        &["good.yml", "--check", "--in", "trail"],
        &["good.yml", "--dry-run", "--in", "trail", "--from", "2026-11-27", "--to", "2026-11-26"],
    ] {
        let output = watch(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_closed_pipe_ends_a_dry_run_quietly() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), &[(0..600).map(|minute| event(minute, "CreateUser", "al")).collect()]);
    fs::write(folder.path().join("good.yml"), "name: x\nevents: [CreateUser]\n").unwrap();
    let command = format!(
        "{} watch good.yml --dry-run --in trail 2>errors | head -1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_trailload")
    );
    let output =
        Command::new("bash").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
    assert!(text(&output.stdout).ends_with("\n0\n"), "{}", text(&output.stdout));
    assert!(!fs::read_to_string(folder.path().join("errors")).unwrap().contains("error"));
}
