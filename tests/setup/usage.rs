//! What `setup` answers to a command line or a server that it cannot use: what, where, and what to do.

use super::{Corner, Engine, SetupRun, templates};
use crate::engine::on_every_engine;

on_every_engine!(quiet_prints_only_what_is_not_possible);

#[test]
fn a_value_that_makes_no_sense_is_named_with_what_is_expected() {
    let nowhere = ["--into", "http://127.0.0.1:1"];
    let days = "expected whole days or weeks from 1d to 36500d";
    for (options, says) in [
        (&["--retention", "400"][..], &["'400' for '--retention", days][..]),
        (&["--retention", "0d"], &[days]),
        (&["--retention="], &[days]),
        (&["--retention=-5d"], &["'-5d'", days]),
        (&["--warm", "soon"], &["'soon' for '--warm", days]),
        (
            &["--warm", "400d", "--retention", "400d"],
            &["'--warm", "less than the retention (400d)"],
        ),
        (&["--replicas", "-1"], &["'-1' for '--replicas", "expected a number from 0 to 1000"]),
        (&["--replicas", "two"], &["'two' for '--replicas", "expected a number from 0 to 1000"]),
        (&["--index", "Trail"], &["'Trail' for '--index", "lowercase letters", "found 'T'"]),
        (&["--index", "a/b"], &["lowercase letters", "found '/'"]),
        (&["--index", ".trail"], &["a lowercase letter or a digit as the first character"]),
        (
            &["--dashboards", "kibana"],
            &["'kibana' for '--dashboards", "hint: use the URL of Kibana"],
        ),
        (&["--remove", "--replicas", "1"], &["'--remove' cannot be used with '--replicas"]),
        (&["--enforce-retention", "--print"], &["cannot be used with '--print"]),
        (&["--enforce-retention", "--retention", "none"], &["hint: give a number of days"]),
        (&["--enforce-retention", "--now", "2999-01-01"], &["requires '--dry-run'"]),
        (&["--dry-run"], &["--enforce-retention"]),
    ] {
        let run = SetupRun::new(&[&nowhere, options].concat(), &[]).exits(2);
        assert!(run.stdout.is_empty(), "{options:?}: {}", run.stdout);
        // The URL was given, so it is not what is missing.
        assert!(!run.stderr.contains("add the URL of the engine"), "{options:?}: {}", run.stderr);
        run.says(says.iter().copied());
    }
    SetupRun::new(&[], &[]).exits(2).says(["hint: add the URL of the engine"]);
}

#[test]
fn a_server_that_cannot_be_used_is_named_before_anything_is_changed() {
    let corner = Corner::of(Engine::OpenSearch3);
    let before = templates(&corner);
    let not_dashboards = "does not respond like Kibana or OpenSearch Dashboards";
    for (dashboards, says) in [
        ("http://127.0.0.1:1", ["could not reach http://127.0.0.1:1", "of --dashboards"]),
        ("http://nowhere.invalid", ["could not reach http://nowhere.invalid", "of --dashboards"]),
        (corner.url(), [not_dashboards, "hint: check host, port and base path of --dashboards"]),
    ] {
        SetupRun::of(&corner, &["--dashboards", dashboards]).exits(1).says(says);
        assert_eq!(templates(&corner), before, "{dashboards}");
    }
    let engine = ["--into", "http://127.0.0.1:1"];
    SetupRun::new(&engine, &[]).exits(1).says(["could not reach", "host and port of --into"]);
}

fn quiet_prints_only_what_is_not_possible(corner: &Corner) {
    let prefix = corner.prefix();
    let quiet = |options: &[&str]| SetupRun::of(corner, &[options, &["--quiet"]].concat());
    for options in [&["--retention", "400d"][..], &[], &["--enforce-retention"], &["--remove"]] {
        let run = quiet(options).exits(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""), "{options:?}");
    }
    // What was asked to be shown is shown.
    quiet(&["--print"]).exits(0).prints(["PUT /_index_template/"]);
    SetupRun::of(corner, &[]).exits(0);
    let dry = quiet(&["--enforce-retention", "--retention", "1d", "--dry-run"]).exits(0);
    dry.prints(["dry run: nothing was deleted"]);
    SetupRun::of(corner, &["--remove"]).exits(0);
    let theirs = serde_json::json!({ "index_patterns": [format!("{prefix}-*")] });
    corner.ask("PUT", &format!("/_index_template/{prefix}"), &theirs);
    let run = quiet(&[]).exits(3);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("  cannot index template"), "{lines:?}");
    assert!(lines[1].starts_with("done in part: ") && lines.len() == 2, "{lines:?}");
}
