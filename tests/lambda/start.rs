//! What is wrong at the start is reported as such, in the words of the command line.

use std::process::Command;

use serde_json::json;

use super::function::Package;

/// Starts a function that cannot start, and returns the message of the error and the exit code.
fn refused(package: Package) -> (String, i32) {
    let function = package.start();
    let (kind, message) = function.api.start_error().expect("the start fails");
    assert_eq!(kind, "Trailload.InvalidConfiguration");
    let (code, log) = function.ended();
    assert_eq!(message, log.trim_end(), "the error is the log");
    (message, code.unwrap())
}

#[test]
fn nothing_to_do_is_an_error() {
    let (message, code) = refused(Package::new());
    assert!(
        message.starts_with("error: there is nothing to do: neither rules nor an engine"),
        "{message}"
    );
    assert!(message.contains("\n  hint: pack the rules as rules/ beside the program"), "{message}");
    assert_eq!(code, 2);
}

#[test]
fn an_invalid_rule_is_named_as_on_the_command_line() {
    let package = Package::with_rule("hook: {kind: stdout}\n");
    package.write("rules/bad.yml", "name: x\nevents: [A]\nmatch: detail.a = 'b'\n");
    let output = Command::new(env!("CARGO_BIN_EXE_trailload"))
        .args(["watch", "--check", "--actions", "actions.yml"])
        .arg(package.path().join("rules"))
        .current_dir(package.path())
        .env_clear()
        .output()
        .unwrap();
    let expected = String::from_utf8(output.stderr).unwrap();
    let (message, code) = refused(package);
    assert_eq!(message, expected.trim_end());
    assert!(message.contains("bad.yml:3:17: `=` is not an operator"), "{message}");
    assert_eq!((code, output.status.code()), (2, Some(2)));
}

#[test]
fn a_missing_secret_an_unknown_action_and_a_mistyped_variable_are_named() {
    let (message, code) =
        refused(Package::with_rule("hook: {kind: slack, url: \"${SLACK_URL}\"}\n"));
    assert!(message.contains("SLACK_URL"), "{message}");
    assert_eq!(code, 1);

    let (message, _) = refused(Package::with_rule("other: {kind: stdout}\n"));
    assert!(message.contains("hook"), "{message}");

    let package = Package::with_rule("hook: {kind: stdout}\n").set("TRAILLOAD_DELIVER_WITIN", "5s");
    let (message, code) = refused(package);
    assert!(message.contains("the variable TRAILLOAD_DELIVER_WITIN is not known"), "{message}");
    assert!(message.contains("hint: write TRAILLOAD_DELIVER_WITHIN"), "{message}");
    assert_eq!(code, 2);
}

#[test]
fn an_index_action_without_an_engine_is_an_error() {
    let (message, _) = refused(Package::with_rule("hook: {kind: index}\n"));
    assert!(message.contains("url"), "{message}");
}

#[test]
fn the_program_is_a_command_without_the_runtime_api() {
    let package = Package::new();
    let bootstrap = package.path().join("bootstrap");
    let output = Command::new(&bootstrap).arg("--version").env_clear().output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("trailload "));
    let output = Command::new(env!("CARGO_BIN_EXE_trailload"))
        .arg("--version")
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .output()
        .unwrap();
    assert!(output.status.success(), "only `bootstrap` is a function");
}

#[test]
fn levels_of_the_log_are_those_of_lambda() {
    let package = Package::with_rule("hook: {kind: stdout}\n");
    let function =
        package.set("AWS_LAMBDA_LOG_FORMAT", "JSON").set("AWS_LAMBDA_LOG_LEVEL", "WARN").start();
    function.invoke(&json!({ "Records": [] })).response();
    let [_, log] = function.stop();
    assert_eq!(log, "");
}
