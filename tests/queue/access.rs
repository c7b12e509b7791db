//! `doctor` and `policy` for queues, and what a load says when a permission is missing.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use super::{QUEUE, QueueWorld};
use crate::support::aws::sqs::from_event_bus;
use crate::support::events::event;
use crate::support::load::PROGRAM;

type Actions = BTreeSet<String>;

/// Returns the actions that a policy allows.
fn actions(policy: &Value) -> Actions {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let names = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    });
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Returns what was asked of SQS and S3, as policies name it.
fn asked(world: &QueueWorld) -> Actions {
    let sqs = world.server.calls().into_iter().filter(|(service, _)| service == "sqs");
    let sqs = sqs.map(|(_, action)| format!("sqs:{}", action.trim_end_matches("Batch")));
    let s3 = world.s3.take_calls().into_iter().map(|call| match call.action {
        "GetObject" | "HeadObject" => "s3:GetObject".to_owned(),
        other => panic!("a policy says nothing of {other}"),
    });
    sqs.chain(s3).collect()
}

#[test]
fn a_load_asks_for_what_its_policy_allows_and_for_all_of_it() {
    for queue in [QUEUE, "sqs://111122223333/trail", "arn:aws:sqs:us-east-1:111122223333:trail"] {
        let world = QueueWorld::new();
        let printed = world.load(&[queue]).instead("policy").run().exits(0);
        assert_eq!(world.server.calls(), [], "to print a policy asks nobody");
        let policy: Value = serde_json::from_str(&printed.stdout).unwrap();
        world.queue.send(&from_event_bus(&event(0)));
        world.deliver("a", 1..3);
        world.load(&[queue]).run().exits(0).counted([3, 3, 0, 0]);
        let mut allowed = actions(&policy);
        let by_load = asked(&world);
        // Only what takes long is extended; `killed` shows that it is, and that what was not begun is released.
        assert!(allowed.remove("sqs:ChangeMessageVisibility"));
        assert_eq!(by_load, allowed, "{queue}");
        world.server.forget();
        world.load(&[queue]).instead("doctor").run().exits(0);
        assert!(asked(&world).is_subset(&allowed), "the doctor needs no more");
        let arn = policy["Statement"][0]["Resource"].as_str().unwrap();
        let account = if queue == QUEUE { "ACCOUNT" } else { "111122223333" };
        assert_eq!(arn, format!("arn:aws:sqs:us-east-1:{account}:trail"));
    }
}

#[test]
fn the_file_has_the_actions_of_the_source() {
    let file: Value = serde_json::from_str(include_str!("../../policy/queue.json")).unwrap();
    let named: Actions = trailload::source::queue::ACTIONS.map(str::to_owned).into();
    let of_s3 = ["s3:GetObject", "kms:Decrypt"].map(str::to_owned);
    assert_eq!(actions(&file), named.into_iter().chain(of_s3).collect());
}

#[test]
fn the_doctor_names_what_is_wrong_with_a_queue() {
    let world = QueueWorld::new();
    world.queue.state().max_receives = Some(5);
    world.queue.send("a message");
    let good = world.load(&[QUEUE]).instead("doctor").run().exits(0);
    assert!(
        good.stdout
            .contains("✓ sqs://trail: 1 message waiting, 0 in flight; visibility timeout 5 min"),
        "{}",
        good.stdout
    );
    assert!(good.stdout.contains("dead after 5 receives"), "{}", good.stdout);
    assert!(good.stdout.ends_with("this load can run\n"), "{}", good.stdout);
    {
        let mut queue = world.queue.state();
        (queue.max_receives, queue.visibility_seconds, queue.retention_seconds) = (None, 30, 600);
    }
    let weak = world.load(&[QUEUE]).instead("doctor").run().exits(0).stdout;
    for part in [
        "! sqs://trail: its visibility timeout is only 30.0 s\n  fix: set VisibilityTimeout",
        "! sqs://trail: it keeps messages for only 10 min 0 s\n  fix: set MessageRetentionPeriod",
        "! sqs://trail: it has no dead-letter queue\n  fix: set a RedrivePolicy",
    ] {
        assert!(weak.contains(part), "{weak}");
    }
    world.queue.state().exists = false;
    let gone = world.load(&[QUEUE]).instead("doctor").run().exits(1).stdout;
    assert!(gone.contains("does not exist"), "{gone}");
    assert_eq!(world.queue.state().received, 0, "the doctor receives nothing");
}

#[test]
fn the_doctor_checks_a_queue_without_an_engine() {
    let world = QueueWorld::new();
    world.queue.state().max_receives = Some(5);
    let doctor = || {
        let mut command = Command::new(PROGRAM);
        command.args(["doctor", QUEUE]).env_clear().envs(world.environment());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = doctor();
    assert!(said.contains("✓ sqs://trail: 0 messages waiting"), "{said}");
    assert!(said.ends_with("all checks passed\n"), "{said}");
    assert_eq!(code, Some(0), "{said}");
    world.queue.state().exists = false;
    let (code, said) = doctor();
    assert!(said.contains("does not exist"), "{said}");
    assert!(said.ends_with("no source can be read\n"), "{said}");
    assert_eq!(code, Some(1), "{said}");
}

/// How SQS denies an action, and how it denies the use of a key.
const DENIED: (u16, &str, &str) =
    (403, "AccessDeniedException", "Access to the resource is denied.");
const KEY_DENIED: (u16, &str, &str) = (
    400,
    "KmsAccessDenied",
    "User is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:111122223333:key/k because no policy allows it",
);

#[test]
fn a_missing_permission_is_named_and_exit_1() {
    for (action, denial, missing) in [
        ("ReceiveMessage", DENIED, "\"Action\":\"sqs:ReceiveMessage\""),
        ("DeleteMessageBatch", DENIED, "\"Action\":\"sqs:DeleteMessage\""),
        ("GetQueueUrl", DENIED, "\"Action\":\"sqs:GetQueueUrl\""),
        (
            "ReceiveMessage",
            KEY_DENIED,
            "\"Action\":\"kms:Decrypt\",\"Resource\":\"arn:aws:kms:us-east-1:111122223333:key/k\"",
        ),
    ] {
        let world = QueueWorld::new();
        world.queue.send(&from_event_bus(&event(0)));
        world.queue.state().denied.insert(action, denial);
        let outcome = world.load(&[QUEUE]).run().exits(1);
        outcome.says(["add this statement to the policy", missing]);
        assert_eq!(world.queue.len(), 1);
    }
}

#[test]
fn a_load_runs_without_the_attributes_of_its_queue_and_says_so() {
    let world = QueueWorld::new();
    world.queue.send(&from_event_bus(&event(0)));
    world.queue.state().denied.insert("GetQueueAttributes", DENIED);
    let outcome = world.load(&[QUEUE]).run().exits(0).counted([1, 1, 0, 0]);
    outcome.says(["requires sqs:GetQueueAttributes on arn:aws:sqs:us-east-1:111122223333:trail"]);
}

#[test]
fn a_queue_that_does_not_exist_is_exit_1() {
    let world = QueueWorld::new();
    for queue in ["sqs://other", "sqs://111122223333/other"] {
        let outcome = world.load(&[queue]).run().exits(1);
        outcome.says(["other does not exist", "aws sqs list-queues"]);
    }
}
