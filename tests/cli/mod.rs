//! What a user types and reads.

mod deploy;
mod doctor;
mod notes;

use std::process::{Command, Output};

use crate::support::load::PROGRAM;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().env("HOME", "/nonexistent").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn help_names_every_option_of_the_contract() {
    let help = run(&["load", "--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in [
        "--into",
        "--index",
        "--index-by",
        "--checkpoint",
        "--from",
        "--to",
        "--last",
        "--memory",
        "--workers",
        "--batch",
        "--max-fields",
        "--fields",
        "--keep-original",
        "--summary",
        "--log-format",
        "--quiet",
        "--dry-run",
        "--reload",
        "--ca-file",
        "--force",
        "--profile",
        "--regions",
        "--accounts",
        "--assume-role",
        "--external-id",
        "--insights",
        "--lookup-attribute",
        "--read-only",
        "--write-only",
        "--overlap",
        "--delay",
        "--trail",
        "--kinds",
        "--late-days",
        "--requester-pays",
        "--aws-auth",
    ] {
        assert!(text.contains(option), "{option} is not in:\n{text}");
    }
    let status = run(&["status", "--help"]);
    assert!(status.status.success() && said(&status).contains("--json"));
}

#[test]
fn the_first_help_names_the_commands_and_nothing_that_is_not_there() {
    let help = run(&["--help"]);
    let text = said(&help);
    assert!(help.status.success(), "{text}");
    for command in
        ["load", "search", "watch", "schema", "status", "doctor", "setup", "dashboards", "policy"]
    {
        assert!(text.contains(&format!("\n  {command} ")), "{command}:\n{text}");
    }
    for absent in ["lookup", "sqs", "lambda"] {
        assert!(!text.to_lowercase().contains(absent), "`{absent}` is not a command:\n{text}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_makes_no_sense_exits_2() {
    for arguments in [
        &["nonsense"][..],
        &["load", "--no-such-option"],
        &["load", "."],
        &["load", ".", "--into", "not a url"],
        &["load", ".", "--into", "http://127.0.0.1:1", "--memory", "lots"],
        &["load", ".", "--into", "http://127.0.0.1:1", "--workers", "0"],
        &["load", ".", "--into", "http://127.0.0.1:1", "--fields", "many"],
        &["load", ".", "--into", "http://127.0.0.1:1", "--from", "yesterday-ish"],
        &[
            "load",
            ".",
            "--into",
            "http://127.0.0.1:1",
            "--from",
            "2024-02-01",
            "--to",
            "2024-01-01",
        ],
        &["load", ".", "--into", "http://127.0.0.1:1", "--from", "2024-02-01", "--last", "7d"],
        &["load", ".", "--into", "http://127.0.0.1:1", "--index", "Upper Case"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
        assert!(output.stdout.is_empty(), "{arguments:?} keeps stdout for data");
    }
}

#[test]
fn common_mistakes_are_answered_with_what_to_do() {
    for (arguments, answer) in [
        (&["load", "trail/"][..], "hint: add the URL of the engine, such as --into http://"),
        (&["load", ".", "--into", "localhost:9200"], "such as http://localhost:9200"),
        (&["load", ".", "--into", "search.example"], "such as https://search.example"),
        (&["load", "./nowhere", "--into", "http://127.0.0.1:1"], "hint: check the path"),
        (&["lod"], "a similar subcommand exists: 'load'"),
        (&["load", ".", "--relod"], "a similar argument exists: '--reload'"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(answer), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn an_unknown_scheme_is_a_clear_error() {
    let output = run(&["load", "gopher://hole/trail", "--into", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("gopher"), "{}", said(&output));
}

#[test]
fn status_without_a_checkpoint_says_so() {
    let output = run(&["status", "--checkpoint", "/nonexistent/checkpoint.sqlite"]);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", said(&output));
    assert!(said(&output).contains("/nonexistent/checkpoint.sqlite"), "{}", said(&output));
}
