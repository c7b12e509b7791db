//! Several sandboxes: with a shared state, an alert is sent once, whichever of them has its event.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{batch, envelope, function::Package};
use crate::{
    support::{
        aws::server::{Response, Server},
        real::given,
    },
    watch::{
        hook::{Answer, Hook, created, ids},
        shared::Table,
    },
};

fn body(number: usize) -> String {
    envelope(&created(number, "al", 1)).to_string()
}

fn sandbox(hook: &Hook, table: &Table) -> Package {
    Package::with_rule(&hook.actions())
        .set("TRAILLOAD_ALERT_STATE", &format!("{}?region=eu-west-1", table.address()))
        .set("AWS_ENDPOINT_URL_DYNAMODB", &given("TRAILLOAD_TEST_S3"))
}

#[test]
fn sandboxes_that_share_the_state_send_each_alert_once() {
    let (hook, table) = (Hook::start(), Table::new());
    table.let_expire();
    let functions = [sandbox(&hook, &table).start(), sandbox(&hook, &table).start()];
    for number in 0..6 {
        let payload = batch(&[("1", body(number)), ("2", body((number + 1) % 6))]);
        let function = &functions[number % 2];
        assert_eq!(function.invoke(&payload).failed_items(), [""; 0]);
    }
    let events = hook.events();
    assert_eq!(events.iter().cloned().collect::<BTreeSet<String>>(), ids(0..6));
    assert_eq!(events.len(), 6);
}

#[test]
fn a_message_that_failed_in_one_sandbox_is_delivered_by_another() {
    let (hook, table) = (Hook::start(), Table::new());
    table.let_expire();
    let functions = [sandbox(&hook, &table).start(), sandbox(&hook, &table).start()];
    hook.answers(|_, _| Answer::Status(400, ""));
    let payload = batch(&[("1", body(1))]);
    assert_eq!(functions[0].invoke(&payload).failed_items(), ["1"]);
    hook.answers(|_, _| Answer::Accept);
    // A dead letter of the first one is free for others.
    assert_eq!(functions[1].invoke(&payload).failed_items(), [""; 0]);
    assert_eq!(functions[0].invoke(&payload).failed_items(), [""; 0]);
    assert_eq!(hook.events().len(), 1);
}

/// A sandbox whose table refuses an operation, or everything if none is named.
fn refused(
    hook: &Hook,
    operation: &'static str,
    code: &str,
) -> (super::function::Function, Server) {
    let body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "as it is",
    });
    let server = Server::start(move |request| {
        let target = request.header("x-amz-target").unwrap();
        if target.ends_with(operation) {
            return Response::json(400, &body);
        }
        Response::json(200, &json!({ "Responses": {}, "UnprocessedKeys": {} }))
    });
    let package = Package::with_rule(&hook.actions())
        .set("TRAILLOAD_ALERT_STATE", "dynamodb://alerts")
        .set("AWS_ENDPOINT_URL_DYNAMODB", &server.url());
    (package.start(), server)
}

#[test]
fn a_table_that_cannot_be_used_fails_what_needs_it_and_is_named_with_the_fix() {
    let hook = Hook::start();
    for (operation, code, fix) in [
        ("BatchGetItem", "ResourceNotFoundException", "aws dynamodb create-table"),
        ("PutItem", "ResourceNotFoundException", "aws dynamodb create-table"),
        ("UpdateItem", "ResourceNotFoundException", "aws dynamodb create-table"),
        ("UpdateItem", "AccessDeniedException", "dynamodb:UpdateItem"),
        ("BatchGetItem", "ProvisionedThroughputExceededException", "stopped while waiting"),
    ] {
        let (function, _server) = refused(&hook, operation, code);
        let payload = batch(&[("1", body(1))]);
        let answer = function.invoke_for(&payload, Duration::from_secs(6));
        assert_eq!(answer.failed_items(), ["1"], "{operation}: {code}");
        let [_, log] = function.stop();
        assert!(log.contains(code) && log.contains(fix), "{operation}: {code}: {log}");
    }
    assert!(hook.received().is_empty(), "an alert that may be another's is not sent");
}

#[test]
fn the_error_of_an_invocation_has_the_cause() {
    let hook = Hook::start();
    let (function, _server) = refused(&hook, "", "ResourceNotFoundException");
    let (kind, message) = function.invoke(&envelope(&created(1, "al", 1))).error();
    assert_eq!(kind, "Trailload.Incomplete");
    let expected = "BatchGetItem failed for the alert state in the table alerts (us-east-1): \
                    400 ResourceNotFoundException: as it is";
    assert_eq!(message, expected);
}

#[test]
fn requests_that_are_repeated_are_reported() {
    let hook = Hook::start();
    let (function, _server) = refused(&hook, "PutItem", "ProvisionedThroughputExceededException");
    let answer = function.invoke_for(&batch(&[("1", body(1))]), Duration::from_secs(12));
    assert_eq!(answer.failed_items(), ["1"], "the process goes on");
    let [_, log] = function.stop();
    let expected = "warning: dynamodb: us-east-1: 400 ProvisionedThroughputExceededException";
    assert!(log.contains(expected), "{log}");
}

#[test]
fn without_a_shared_state_each_sandbox_has_a_memory_of_its_own() {
    let hook = Hook::start();
    let functions =
        [Package::with_rule(&hook.actions()).start(), Package::with_rule(&hook.actions()).start()];
    for function in &functions {
        assert_eq!(function.invoke(&batch(&[("1", body(1))])).failed_items(), [""; 0]);
    }
    let received = hook.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].key, received[1].key, "a receiver can drop the repetition");
}
