//! `doctor` without an engine: what `watch` and `search` need.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::support::load::PROGRAM;

const RULE: &str = "name: user created\nevents: [CreateUser]\n";

/// Runs `trailload doctor` in a folder, and returns its exit code, standard output and standard error.
fn doctor(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("doctor").args(arguments).env_clear().current_dir(folder);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn without_anything_to_check_the_doctor_names_what_can_be_checked() {
    let folder = folder(&[]);
    for arguments in [&[][..], &["--quiet"], &["--regions", "eu-west-1"]] {
        let (code, out, errors) = doctor(folder.path(), arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains("there is nothing to check"), "{errors}");
        assert!(errors.contains("add --into"), "{errors}");
    }
}

#[test]
fn options_of_an_engine_are_refused_without_one() {
    let folder = folder(&[("a.json", "{}")]);
    for option in [
        &["--ca-file", "ca.pem"][..],
        &["--password-file", "p"],
        &["--api-key-file", "k"],
        &["--aws-auth"],
        &["--index", "trail"],
        &["--index", "cloudtrail"],
        &["--index-by", "day"],
        &["--checkpoint", "c.sqlite"],
        &["--accept-cluster"],
        &["--accept-missing"],
        &["--check-duplicates"],
        &["--dashboards", "http://localhost:5601"],
        &["--force"],
        &["--fields", "lean"],
        &["--max-fields", "500"],
        &["--keep-original"],
        &["--mappings", "m"],
        &["--dry-run"],
    ] {
        let (code, _, errors) = doctor(folder.path(), &[&["a.json"], option].concat());
        assert_eq!(code, 2, "{option:?}: {errors}");
        let expected = format!("'{}' has no effect without '--into'", option[0]);
        assert!(errors.contains(&expected), "{errors}");
    }
}

#[test]
fn files_and_rules_are_checked_without_an_engine() {
    let folder = folder(&[("a.json", "{}"), ("rules.yml", RULE)]);
    let (code, out, errors) = doctor(folder.path(), &["a.json", "--rules", "rules.yml"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "✓ a.json: can be read\n✓ rules: 1 rule, with alerts for stdout\nall checks passed\n"),
        "{errors}"
    );
    let (code, out, _) = doctor(folder.path(), &["--rules", "rules.yml"]);
    assert_eq!((code, out.lines().last()), (0, Some("all checks passed")));
}

#[test]
fn invalid_rules_and_actions_fail_a_check() {
    let folder = folder(&[
        ("good.yml", RULE),
        ("bad.yml", "name: x\nevents: [CreateUser]\nmatch: 'a ==='\n"),
        ("index.yml", "name: x\nevents: [CreateUser]\nactions: [{ index: {} }]\n"),
        ("named.yml", "name: x\nevents: [CreateUser]\nactions: [absent]\n"),
        ("actions.yml", "slack: {kind: slack, url: https://hooks.slack.com/services/x}\n"),
    ]);
    for (arguments, expected) in [
        (&["--rules", "bad.yml"][..], "✗ "),
        (&["--rules", "good.yml", "--rules", "bad.yml"], "✗ "),
        (&["--rules", "named.yml", "--actions", "actions.yml"], "✗ "),
        (&["--rules", "good.yml", "--actions", "absent.yml"], "✗ "),
        (&["--rules", "index.yml"], "✗ an action `index` requires an engine\n  fix: add --into"),
    ] {
        let (code, out, errors) = doctor(folder.path(), arguments);
        assert_eq!(code, 1, "{arguments:?}: {out}{errors}");
        assert!(out.contains(expected), "{arguments:?}: {out}{errors}");
    }
}
