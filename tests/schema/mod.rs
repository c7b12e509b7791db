//! What `trailload schema` answers: vectors, names, formats, options, and what it costs.

mod answers;
mod models;
mod observed;
mod options;
mod skeletons;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::load::PROGRAM;

/// Runs `trailload schema` without anything of this machine: no home folder, no models that are installed.
fn schema(words: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg("schema")
        .args(words)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn messages(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns standard output. The exit code has to be 0.
fn text(words: &[&str]) -> String {
    let output = schema(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", messages(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the answer in JSON.
fn json(words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&text(&words)).unwrap()
}
