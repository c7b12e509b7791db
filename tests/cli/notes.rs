//! Notes and hints about what was typed.

use std::{fs, process::Command};

use crate::support::load::PROGRAM;

/// Runs the program in a folder with a log file and a rule, and returns its standard error.
fn errors_of(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.json"), r#"{"Records":[]}"#).unwrap();
    fs::write(folder.path().join("r.yml"), "name: x\nevents: [CreateUser]\n").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().env("HOME", folder.path()).current_dir(folder.path());
    String::from_utf8(command.output().unwrap().stderr).unwrap()
}

#[test]
fn every_command_notes_how_it_reads_a_time_without_zone() {
    for command in [
        &["search", "--in", "a.json"][..],
        &["watch", "r.yml", "--in", "a.json"],
        &["watch", "r.yml", "--in", "a.json", "--dry-run"],
        &["load", "a.json", "--into", "http://127.0.0.1:9", "--dry-run"],
    ] {
        let range = ["--from", "2024-06-01 14:00:12", "--to", "2024-06-03"];
        let said = errors_of(&[command, &range].concat());
        for note in [
            "'2024-06-01 14:00:12' is taken as UTC",
            "2024-06-03 is 2024-06-03T00:00:00Z, the start of the day; --to 2024-06-04 includes",
        ] {
            assert!(said.contains(note), "{command:?}: {said}");
        }
        let exact = ["--from", "2024-06-01T14:00:12Z", "--to", "2024-06-03T02:00:00+02:00"];
        let said = errors_of(&[command, &exact].concat());
        assert!(!said.contains("UTC") && !said.contains("start of the day"), "{said}");
    }
}

#[test]
fn a_long_option_with_one_dash_gets_a_hint() {
    for (arguments, hint) in [
        (&["load", "a.json", "-into", "http://h"][..], "hint: write two dashes: --into"),
        (&["search", "-last", "7d"], "hint: write two dashes: --last"),
        (&["watch", "r.yml", "-in=a.json"], "hint: write two dashes: --in"),
    ] {
        let said = errors_of(arguments);
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
}
