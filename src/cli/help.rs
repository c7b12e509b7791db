//! Snapshots of the help texts at 100 columns, in `snapshots/`.
//!
//! A changed or missing snapshot fails the test. To accept a change, read it as a user would, then run the test with
//! `INSTA_UPDATE=always`.

use clap::{CommandFactory as _, error::ErrorKind};

use super::{Cli, HELP_COLUMNS};

/// Returns the output of the program for these arguments, which ask for help.
fn help(arguments: &[&str]) -> String {
    let arguments = ["trailload"].iter().chain(arguments);
    let error =
        Cli::command().term_width(HELP_COLUMNS).try_get_matches_from(arguments).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    error.to_string()
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!("trailload", help(&["--help"]));
}

#[test]
fn help_of_load() {
    insta::assert_snapshot!("load", help(&["load", "--help"]));
}

#[test]
fn help_of_search() {
    insta::assert_snapshot!("search", help(&["search", "--help"]));
}

#[test]
fn help_of_status() {
    insta::assert_snapshot!("status", help(&["status", "--help"]));
}

#[test]
fn help_of_retry() {
    insta::assert_snapshot!("retry", help(&["retry", "--help"]));
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!("doctor", help(&["doctor", "--help"]));
}

#[test]
fn help_of_policy() {
    insta::assert_snapshot!("policy", help(&["policy", "--help"]));
}

#[test]
fn help_of_watch() {
    insta::assert_snapshot!("watch", help(&["watch", "--help"]));
}

#[test]
fn help_of_setup() {
    insta::assert_snapshot!("setup", help(&["setup", "--help"]));
}

#[test]
fn help_of_dashboards() {
    insta::assert_snapshot!("dashboards", help(&["dashboards", "--help"]));
}
