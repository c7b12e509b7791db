//! Several sandboxes: with a shared state, an alert is sent once, whichever of them has its event.

use std::{collections::BTreeSet, process::Command, time::Duration};

use serde_json::json;

use super::{batch, envelope, function::Package};
use crate::{
    support::{
        aws::{
            KEY, SECRET,
            server::{Response, Server},
        },
        load::PROGRAM,
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

/// A table whose answers are those of a check that finds nothing, but for one action that is denied.
fn table_without(denied: &'static str) -> Server {
    Server::start(move |request| {
        let operation = request.header("x-amz-target").unwrap().rsplit('.').next().unwrap();
        let has_check = request.json()["TransactItems"].to_string().contains("ConditionCheck");
        let action = match operation {
            "TransactWriteItems" if has_check => "ConditionCheckItem",
            "TransactWriteItems" => "PutItem",
            other => other,
        };
        let failed = |code: &str, message: &str| {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
            Response::json(400, &json!({ "__type": kind, "message": message }))
        };
        if action == denied {
            let message = format!(
                "User: arn:aws:iam::111122223333:user/x is not authorized to perform: dynamodb:{action} on resource: \
                 {TABLE_ARN} because no identity-based policy allows the dynamodb:{action} action"
            );
            return failed("AccessDeniedException", &message);
        }
        let unfulfilled = "The conditional request failed";
        match operation {
            "DescribeTable" => Response::json(
                200,
                &json!({ "Table": {
                    "TableStatus": "ACTIVE", "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
                    "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
                } }),
            ),
            "DescribeTimeToLive" => Response::json(
                200,
                &json!({ "TimeToLiveDescription": {
                    "TimeToLiveStatus": "ENABLED", "AttributeName": "expires",
                } }),
            ),
            "BatchGetItem" => {
                Response::json(200, &json!({ "Responses": {}, "UnprocessedKeys": {} }))
            }
            "TransactWriteItems" => {
                let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
                let reasons = json!([{ "Code": "ConditionalCheckFailed", "Message": unfulfilled }]);
                Response::json(
                    400,
                    &json!({
                        "__type": kind, "CancellationReasons": reasons,
                        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]",
                    }),
                )
            }
            _ => failed("ConditionalCheckFailedException", unfulfilled),
        }
    })
}

const TABLE_ARN: &str = "arn:aws:dynamodb:us-east-1:111122223333:table/alerts";

#[test]
fn the_doctor_names_each_action_of_the_table_that_is_missing() {
    for (denied, exit) in [
        ("", 0),
        ("DescribeTable", 0),
        ("DescribeTimeToLive", 0),
        ("BatchGetItem", 1),
        ("ConditionCheckItem", 1),
        ("PutItem", 1),
        ("UpdateItem", 1),
    ] {
        let server = table_without(denied);
        let mut command = Command::new(PROGRAM);
        command.args(["doctor", "--alert-state", "dynamodb://alerts"]).env_clear();
        command.env("AWS_ENDPOINT_URL", server.url()).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{denied}: {said}");
        if denied.is_empty() {
            assert!(
                said.contains("exists with its key, items expire, can be read, can be written")
            );
            continue;
        }
        let needed = format!("\"dynamodb:{denied}\"");
        let fix = said.lines().find(|line| line.starts_with("  fix: add this statement")).unwrap();
        assert!(fix.contains(&needed) && fix.contains(&format!("\"{TABLE_ARN}\"")), "{said}");
        assert_eq!(said.matches("  fix: ").count(), 1, "{denied}: {said}");
        let named = format!("perform: dynamodb:{denied} on resource: {TABLE_ARN}");
        assert_eq!(said.matches(&named).count(), 1, "{denied}: {said}");
    }
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
