//! `doctor` and `policy` for queues, and what a load says when a permission is missing.

use std::{collections::BTreeSet, process::Command, time::Duration};

use serde_json::Value;

use super::follow::Watch;
use super::{BUCKET, QUEUE, QueueWorld, key};
use crate::support::aws::s3::Fault;
use crate::support::aws::sqs::from_event_bus;
use crate::support::events::{event, ids};
use crate::support::load::{PROGRAM, wait_for};
use crate::watch::hook::created;

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
        assert!(asked(&world).is_subset(&actions(&policy)), "the doctor needs no more");
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
    assert!(said.ends_with("1 problem\n"), "{said}");
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

/// A permission that is missing alone.
struct Missing {
    /// The action, as in a policy.
    action: &'static str,
    /// Its resource.
    resource: &'static str,
    /// The statement that is advised has them.
    is_advised: bool,
    /// Takes the permission away.
    take: fn(&QueueWorld),
    /// The exit codes of a run, and of the doctor: `None` if the doctor cannot know it.
    exits: (i32, Option<i32>),
}

const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:111122223333:trail";

/// Takes an action of SQS away.
fn without(world: &QueueWorld, action: &'static str, denial: (u16, &'static str, &'static str)) {
    world.queue.state().denied.insert(action, denial);
}

/// Has every request for the object refused.
fn refuse_object(world: &QueueWorld, fault: &Fault) {
    world.s3.change(BUCKET, |bucket| {
        bucket.always.insert(key("a"), fault.clone());
    });
}

/// Every permission of a queue, each missing alone.
const MISSING: [Missing; 8] = [
    Missing {
        action: "sqs:GetQueueUrl",
        resource: QUEUE_ARN,
        is_advised: true,
        take: |world| without(world, "GetQueueUrl", DENIED),
        exits: (1, Some(1)),
    },
    Missing {
        action: "sqs:GetQueueAttributes",
        resource: QUEUE_ARN,
        is_advised: false,
        take: |world| without(world, "GetQueueAttributes", DENIED),
        exits: (0, Some(0)),
    },
    Missing {
        action: "sqs:ReceiveMessage",
        resource: QUEUE_ARN,
        is_advised: true,
        take: |world| without(world, "ReceiveMessage", DENIED),
        exits: (1, None),
    },
    Missing {
        action: "kms:Decrypt",
        resource: "arn:aws:kms:us-east-1:111122223333:key/k",
        is_advised: true,
        take: |world| without(world, "ReceiveMessage", KEY_DENIED),
        exits: (1, None),
    },
    Missing {
        action: "sqs:DeleteMessage",
        resource: QUEUE_ARN,
        is_advised: true,
        take: |world| without(world, "DeleteMessageBatch", DENIED),
        exits: (1, Some(1)),
    },
    Missing {
        action: "sqs:ChangeMessageVisibility",
        resource: QUEUE_ARN,
        is_advised: false,
        take: |world| without(world, "ChangeMessageVisibilityBatch", DENIED),
        // Nothing takes long here.
        exits: (0, Some(0)),
    },
    Missing {
        action: "s3:GetObject",
        resource: "arn:aws:s3:::logs/AWSLogs/*",
        is_advised: false,
        take: |world| refuse_object(world, &Fault::denied()),
        exits: (3, None),
    },
    Missing {
        action: "kms:Decrypt",
        resource: "arn:aws:kms:eu-west-1:123456789012:key/4f5e",
        is_advised: false,
        take: |world| refuse_object(world, &Fault::key_denied()),
        exits: (3, None),
    },
];

impl Missing {
    /// Returns the ways in which a permission is named: in a sentence, and in a statement.
    fn names(&self) -> [String; 2] {
        let Self { action, resource, .. } = self;
        [
            format!("requires {action} on {resource}"),
            format!("\"Action\":\"{action}\",\"Resource\":\"{resource}\""),
        ]
    }

    /// Checks that a run has named the permission once, and ended with its exit code.
    fn assert_named(&self, command: &str, code: Option<i32>, said: &str) {
        let [sentence, statement] = self.names();
        let Self { action, exits: (exit, _), .. } = self;
        assert_eq!(code, Some(*exit), "{command} without {action}: {said}");
        if *action == "sqs:ChangeMessageVisibility" {
            return;
        }
        assert_eq!(said.matches(&sentence).count(), 1, "{command} without {action}: {said}");
        let statements = usize::from(self.is_advised);
        assert_eq!(
            said.matches(&statement).count(),
            statements,
            "{command} without {action}: {said}"
        );
    }
}

#[test]
fn each_missing_permission_is_named_once_and_loses_nothing() {
    for missing in MISSING {
        // One that only warns goes on following.
        let ends = missing.exits.0 == 1;
        for follow in [&[][..], &["--follow"]].into_iter().take(1 + usize::from(ends)) {
            let world = QueueWorld::new();
            world.queue.send(&from_event_bus(&event(0)));
            world.deliver("a", 1..3);
            (missing.take)(&world);
            let outcome = world.load(&[QUEUE]).with(follow).run();
            missing.assert_named("load", outcome.code, &outcome.stderr);
            world.queue.state().denied.clear();
            world.s3.change(BUCKET, |bucket| bucket.always.clear());
            world.queue.expire_all();
            world.load(&[QUEUE]).run().exits(0);
            assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..3), 0));
            assert_eq!(world.engine.count(), 3);
        }
    }
}

/// A world in which 20 objects take long, whose messages can be neither extended nor released.
fn slow_without_extension() -> QueueWorld {
    let world = QueueWorld::new();
    world.queue.state().visibility_seconds = 30;
    for number in 0..20 {
        world.deliver(&number.to_string(), number..number + 1);
        world.s3.change(BUCKET, |bucket| {
            let late = Fault::Late(Duration::from_secs(20));
            bucket.always.insert(key(&number.to_string()), late);
        });
    }
    without(&world, "ChangeMessageVisibilityBatch", DENIED);
    world
}

#[test]
fn messages_that_cannot_be_extended_are_loaded_all_the_same_and_the_permission_is_named_once() {
    let world = slow_without_extension();
    let outcome = world.load(&[QUEUE]).run().exits(3).counted([20, 20, 0, 0]);
    let named = format!("requires sqs:ChangeMessageVisibility on {QUEUE_ARN}");
    assert_eq!(outcome.stderr.matches(&named).count(), 1, "{}", outcome.stderr);
    assert_eq!((world.engine.ids(), world.queue.len()), (ids(0..20), 0));
}

#[test]
fn messages_that_cannot_be_released_return_by_themselves_and_the_permission_is_named_once() {
    let world = slow_without_extension();
    let running = world.load(&[QUEUE]).start();
    wait_for("all messages", || (world.queue.in_flight() == 20).then_some(()));
    running.signal("TERM");
    let outcome = running.end().exits(4);
    let named = format!("requires sqs:ChangeMessageVisibility on {QUEUE_ARN}");
    assert_eq!(outcome.stderr.matches(&named).count(), 1, "{}", outcome.stderr);
    assert_eq!((world.queue.len(), world.queue.state().released), (20, 0));
    world.s3.change(BUCKET, |bucket| bucket.always.clear());
    world.queue.expire_all();
    world.load(&[QUEUE]).run().exits(0);
    assert_eq!((world.engine.ids(), world.engine.count(), world.queue.len()), (ids(0..20), 20, 0));
}

#[test]
fn the_doctor_names_each_missing_permission_that_it_can_know() {
    for missing in MISSING {
        let Missing { action, exits: (_, exit), .. } = missing;
        let world = QueueWorld::new();
        world.queue.state().max_receives = Some(5);
        world.queue.send(&from_event_bus(&event(0)));
        world.deliver("a", 1..3);
        (missing.take)(&world);
        let outcome = world.load(&[QUEUE]).instead("doctor").run();
        assert_eq!(outcome.code, Some(exit.unwrap_or_default()), "{action}: {}", outcome.stdout);
        let [sentence, statement] = missing.names();
        let times = usize::from(exit.is_some());
        assert_eq!(
            outcome.stdout.matches(&sentence).count(),
            times,
            "{action}: {}",
            outcome.stdout
        );
        assert_eq!(
            outcome.stdout.matches(&statement).count(),
            times,
            "{action}: {}",
            outcome.stdout
        );
        assert_eq!((world.queue.len(), world.queue.state().received), (2, 0), "{action}");
    }
}

#[test]
fn search_and_watch_name_each_missing_permission_once_too() {
    for missing in MISSING {
        let (world, watch) = (QueueWorld::new(), Watch::new());
        world.queue.send(&from_event_bus(&created(0, "alice", 5)));
        world.deliver("a", 1..3);
        (missing.take)(&world);
        let ended = watch.command(&world, &["--in", QUEUE]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap().replace("\\\"", "\"");
        missing.assert_named("watch", ended.status.code(), &said);
        world.queue.state().denied.clear();
        world.s3.change(BUCKET, |bucket| bucket.always.clear());
        world.queue.expire_all();
        let ended = watch.command(&world, &["--in", QUEUE]).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!((watch.hook.events().len(), world.queue.len()), (1, 0), "{}", missing.action);

        let world = QueueWorld::new();
        world.queue.send(&from_event_bus(&event(0)));
        world.deliver("a", 1..3);
        (missing.take)(&world);
        let search = || {
            let mut command = Command::new(PROGRAM);
            command.args(["search", "ec2:RunInstances", "--in", QUEUE]).env_clear();
            command.env("HOME", world.desk.path("home")).envs(world.environment());
            command.output().unwrap()
        };
        let ended = search();
        let said = String::from_utf8(ended.stderr).unwrap();
        missing.assert_named("search", ended.status.code(), &said);
        world.queue.state().denied.clear();
        world.s3.change(BUCKET, |bucket| bucket.always.clear());
        world.queue.expire_all();
        search();
        assert_eq!(world.queue.len(), 0, "{}", missing.action);
    }
}

#[test]
fn a_queue_that_cannot_be_opened_ends_a_run_of_several_sources_and_the_doctor_knows_it() {
    let world = QueueWorld::new();
    world.put("a", 0..2);
    let sources = [QUEUE, "s3://logs"];
    let doctor = || world.load(&sources).instead("doctor").run();
    doctor().exits(0);
    without(&world, "GetQueueUrl", DENIED);
    world.load(&sources).run().exits(1);
    let said = doctor().exits(1).stdout;
    assert!(said.ends_with("this load cannot run: 1 problem\n"), "{said}");
}

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
