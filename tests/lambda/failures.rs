//! What is not processed completely is delivered again, and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use super::{batch, envelope, function::Package, notification};
use crate::{
    support::{
        aws::{
            s3::{Bucket, Fake, Fault},
            server::{Response, Server},
        },
        engine::FakeEngine,
    },
    watch::hook::{Answer, Hook, created, event_id, ids},
};

fn body(number: usize) -> String {
    envelope(&created(number, "al", 1)).to_string()
}

fn records(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let events: Vec<Value> = numbers.map(|number| created(number, "al", 1)).collect();
    json!({ "Records": events }).to_string().into_bytes()
}

/// A receiver that refuses the alerts of some events.
fn refusing(numbers: &'static [usize]) -> Hook {
    let hook = Hook::start();
    hook.answers(|body, _| {
        let id = body["event_id"].as_str().unwrap();
        let is_refused = numbers.iter().any(|number| id == event_id(*number));
        if is_refused { Answer::Status(400, "") } else { Answer::Accept }
    });
    hook
}

fn acknowledged(hook: &Hook) -> BTreeSet<String> {
    let events = hook.events();
    let set: BTreeSet<String> = events.iter().cloned().collect();
    assert_eq!(set.len(), events.len(), "an alert was sent twice");
    set
}

#[test]
fn foreign_messages_are_refused_or_deleted() {
    let hook = Hook::start();
    let bodies = [
        ("event", body(1)),
        ("text", "hello".to_owned()),
        ("other", json!({ "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "detail": { "state": "running" } }).to_string()),
        ("cut", body(2)[..200].to_owned()),
        ("list", "{\"Records\":[".to_owned()),
    ];
    let function = Package::with_rule(&hook.actions()).start();
    assert_eq!(function.invoke(&batch(&bodies)).failed_items(), ["text", "other", "cut", "list"]);
    let (kind, message) = function.invoke(&json!({ "key1": "value1" })).error();
    assert_eq!(kind, "Trailload.ForeignMessage");
    assert!(message.starts_with("not CloudTrail: "), "{message}");
    let [_, log] = function.stop();
    assert!(log.contains("warning: message text: not CloudTrail: "), "{log}");
    assert!(log.contains("warning: message list: at byte 12: "), "{log}");
    assert!(!log.contains("lambda://"), "{log}");
    assert_eq!(hook.events(), [event_id(1)]);

    let function = Package::with_rule(&hook.actions())
        .set("TRAILLOAD_DELETE_FOREIGN_MESSAGES", "true")
        .start();
    assert_eq!(function.invoke(&batch(&bodies)).failed_items(), ["cut", "list"]);
    function.invoke(&json!({ "key1": "value1" })).response();
}

#[test]
fn objects_that_cannot_be_read_fail_their_messages_only() {
    let hook = Hook::start();
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put("a.json", records(1..2));
    bucket.put("b.json", records(2..3));
    bucket.put("config.json", "{\"fileVersion\":\"1.0\",\"configurationItems\":[]}");
    bucket.put("cut.json", &records(3..4)[..150]);
    bucket.always.insert("denied.json".to_owned(), Fault::denied());
    let s3 = Fake::start([("logs", bucket)]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let bodies = [
        ("good", notification(&["a.json"]).to_string()),
        ("missing", notification(&["nothing.json"]).to_string()),
        ("denied", notification(&["denied.json"]).to_string()),
        ("foreign", notification(&["config.json"]).to_string()),
        ("cut", notification(&["cut.json"]).to_string()),
        ("half", notification(&["b.json", "nothing.json"]).to_string()),
    ];
    let failed = function.invoke(&batch(&bodies)).failed_items();
    assert_eq!(failed, ["missing", "denied", "foreign", "cut", "half"]);
    assert!(acknowledged(&hook).is_superset(&ids(1..3)));
    let (kind, message) = function.invoke(&notification(&["denied.json"])).error();
    assert_eq!(kind, "Trailload.Incomplete");
    assert!(
        message.contains("s3://logs/denied.json") && message.contains("s3:GetObject"),
        "{message}"
    );
}

#[test]
fn the_message_of_a_refused_alert_fails_and_no_other() {
    let hook = refusing(&[2]);
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put("a.json", records(3..5));
    let s3 = Fake::start([("logs", bucket)]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let bodies =
        [("1", body(1)), ("2", body(2)), ("object", notification(&["a.json"]).to_string())];
    assert_eq!(function.invoke(&batch(&bodies)).failed_items(), ["2"]);
    assert_eq!(acknowledged(&hook), [1, 3, 4].map(event_id).into());
    // Other messages do not suffer from it, and do not send it again.
    assert_eq!(function.invoke(&batch(&[("5", body(5))])).failed_items(), [""; 0]);
    assert_eq!(hook.received().len(), 5);
    // It is tried again with its message, and still refused.
    assert_eq!(function.invoke(&batch(&[("2 again", body(2))])).failed_items(), ["2 again"]);
    assert_eq!(hook.received().len(), 6);
    hook.answers(|_, _| Answer::Accept);
    assert_eq!(function.invoke(&batch(&[("2 again", body(2))])).failed_items(), [""; 0]);
    assert_eq!(acknowledged(&hook), ids(1..6));
    let [_, log] = function.stop();
    assert!(log.contains("an alert of it is not delivered: action hook: "), "{log}");
}

#[test]
fn the_message_of_an_object_whose_alert_is_refused_fails() {
    let hook = refusing(&[4]);
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put("a.json", records(1..3));
    bucket.put("b.json", records(3..5));
    let s3 = Fake::start([("logs", bucket)]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let notified = |key: &str| notification(&[key]).to_string();
    let bodies = [("a", notified("a.json")), ("b", notified("b.json"))];
    assert_eq!(function.invoke(&batch(&bodies)).failed_items(), ["b"]);
    assert_eq!(acknowledged(&hook), ids(1..4));
    hook.answers(|_, _| Answer::Accept);
    assert_eq!(function.invoke(&batch(&bodies[1..])).failed_items(), [""; 0]);
    assert_eq!(acknowledged(&hook), ids(1..5));
}

/// A batch of a FIFO queue: groups, ids and bodies.
fn fifo(messages: &[(&str, &str, String)]) -> Value {
    let bodies: Vec<_> = messages.iter().map(|(_, id, body)| (*id, body.clone())).collect();
    let mut payload = batch(&bodies);
    for (record, (group, ..)) in payload["Records"].as_array_mut().unwrap().iter_mut().zip(messages)
    {
        record["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:111122223333:trail.fifo");
        record["attributes"]["MessageGroupId"] = json!(group);
    }
    payload
}

#[test]
fn a_fifo_group_stops_at_its_first_failure() {
    let hook = refusing(&[2]);
    let function = Package::with_rule(&hook.actions()).start();
    let messages = [
        ("a", "1", body(1)),
        ("a", "2", body(2)),
        ("b", "3", body(3)),
        ("a", "4", body(4)),
        ("b", "5", body(5)),
        ("a", "6", body(6)),
    ];
    assert_eq!(function.invoke(&fifo(&messages)).failed_items(), ["2", "4", "6"]);
    // What is behind the failed message is not processed.
    assert_eq!(acknowledged(&hook), [1, 3, 5].map(event_id).into());
    hook.answers(|_, _| Answer::Accept);
    let again = [("a", "2", body(2)), ("a", "4", body(4)), ("a", "6", body(6))];
    assert_eq!(function.invoke(&fifo(&again)).failed_items(), [""; 0]);
    let of_group: Vec<String> =
        hook.events().into_iter().filter(|id| ![3, 5].map(event_id).contains(id)).collect();
    assert_eq!(of_group, [1, 2, 4, 6].map(event_id), "the order of the group");
    let [_, log] = function.stop();
    let held = "message 6: not processed, because an earlier message of its group failed";
    assert!(log.contains(held), "{log}");
    assert!(
        log.contains("6 messages (3 failed), 4 events, 4 matches = 4 alerts; 3 delivered"),
        "{log}"
    );
}

#[test]
fn whatever_fails_in_a_fifo_group_holds_back_what_is_behind_it() {
    let hook = Hook::start();
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put("behind.json", records(9..10));
    bucket.always.insert("denied.json".to_owned(), Fault::denied());
    bucket.always.insert("slow.json".to_owned(), Fault::Late(Duration::from_mins(1)));
    let s3 = Fake::start([("logs", bucket)]);
    let notified = |key: &str| notification(&[key]).to_string();
    let bad = [
        ("foreign", "hello".to_owned()),
        ("missing", notified("nothing.json")),
        ("denied", notified("denied.json")),
        ("slow", notified("slow.json")),
    ];
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    for (number, (id, body_of_first)) in bad.into_iter().enumerate() {
        s3.take_calls();
        let messages = [
            ("a", id, body_of_first),
            ("a", "event", body(2)),
            ("a", "object", notified("behind.json")),
            ("b", "other", body(20 + number)),
        ];
        let answer = function.invoke_for(&fifo(&messages), Duration::from_secs(6));
        assert_eq!(answer.failed_items(), [id, "event", "object"]);
        let fetched = s3.take_calls().into_iter().any(|call| call.key == "behind.json");
        assert!(!fetched, "{id}: what is behind it is not fetched");
    }
    assert_eq!(acknowledged(&hook), ids(20..24));
    let function = Package::with_rule(&hook.actions())
        .set("TRAILLOAD_DELETE_FOREIGN_MESSAGES", "true")
        .start();
    let messages = [("a", "foreign", "hello".to_owned()), ("a", "event", body(3))];
    assert_eq!(function.invoke(&fifo(&messages)).failed_items(), [""; 0]);
    assert!(acknowledged(&hook).contains(&event_id(3)), "what is deleted holds back nothing");
}

#[test]
fn a_fifo_batch_is_loaded_as_a_whole() {
    let engine = FakeEngine::start();
    let function = Package::new().set("TRAILLOAD_INTO", engine.url()).start();
    let messages: Vec<_> = (0..10)
        .map(|number| (["a", "b"][number / 5], format!("m{number}"), body(number)))
        .collect();
    let messages: Vec<_> =
        messages.iter().map(|(group, id, body)| (*group, id.as_str(), body.clone())).collect();
    assert_eq!(function.invoke(&fifo(&messages)).failed_items(), [""; 0]);
    assert_eq!(engine.count(), 10);
    let [_, log] = function.stop();
    assert!(log.contains("10 messages, 10 events = 10 created"), "{log}");
}

#[test]
fn what_is_missing_is_named_as_the_function_has_it() {
    let hook = Hook::start();
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.always.insert("denied.json".to_owned(), Fault::denied());
    let s3 = Fake::start([("logs", bucket)]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let (_, message) = function.invoke(&notification(&["denied.json"])).error();
    assert!(message.contains("(or TRAILLOAD_REQUESTER_PAYS for a requester-pays"), "{message}");
    let without = |package: Package| {
        package
            .set("AWS_ENDPOINT_URL_S3", &s3.url)
            .set("AWS_ACCESS_KEY_ID", "")
            .set("AWS_SECRET_ACCESS_KEY", "")
            .set("AWS_EC2_METADATA_DISABLED", "true")
    };
    let role = "Lambda gives a function the credentials of its execution role: attach one";
    let function = without(Package::with_rule(&hook.actions())).start();
    let (kind, message) = function.invoke(&notification(&["denied.json"])).error();
    assert_eq!(kind, "Trailload.Incomplete");
    let expected = "s3://logs/denied.json: found no AWS credentials; ";
    assert!(message.starts_with(&format!("{expected}{role}")), "{message}");
    // Others need none.
    function.invoke(&envelope(&created(1, "al", 1))).response();
    // What always needs them cannot start.
    let topic = "hook: {kind: sns, topic_arn: \"arn:aws:sns:us-east-1:111122223333:trail\"}\n";
    for package in [
        Package::with_rule(topic),
        Package::with_rule(&hook.actions()).set("TRAILLOAD_ALERT_STATE", "dynamodb://alerts"),
        Package::new()
            .set("TRAILLOAD_INTO", "http://127.0.0.1:9")
            .set("TRAILLOAD_AWS_AUTH", "true"),
    ] {
        let function = without(package).start();
        let (kind, message) = function.api.start_error().expect("the start fails");
        assert_eq!(kind, "Trailload.InvalidConfiguration");
        assert!(message.contains("found no AWS credentials"), "{message}");
        assert!(message.contains(role) && !message.contains("sso"), "{message}");
    }
}

#[test]
fn what_a_message_names_leads_to_no_host_outside_of_aws() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let theirs = Arc::clone(&asked);
    // Everything goes through a proxy, which refuses it.
    let proxy = Server::start(move |request| {
        theirs.lock().unwrap().push(request.header("host").unwrap_or_default().to_owned());
        Response::json(403, &json!({}))
    });
    let package = Package::with_rule("hook: {kind: stdout}\n").set("HTTPS_PROXY", &proxy.url());
    let function = package.start();
    for (bucket, region) in [
        ("logs", "evil.example/#"),
        ("logs", "evil.example#"),
        ("logs", "x@evil.example:443/"),
        ("b", "evil.example/#"),
        ("evil.example/", "us-east-1"),
        ("x@evil.example", "us-east-1"),
        ("arn:aws:s3:evil.example/#:111122223333:accesspoint/x", "us-east-1"),
        ("logs", "cn-north-1"),
        ("logs", "us-east-1"),
    ] {
        let mut payload = notification(&["a.json"]);
        payload["Records"][0]["awsRegion"] = json!(region);
        payload["Records"][0]["s3"]["bucket"]["name"] = json!(bucket);
        function.invoke(&payload).error();
    }
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 2, "{asked:?}");
    for host in asked.iter() {
        assert!(host.ends_with(".amazonaws.com:443") && !host.contains("evil.example/"), "{host}");
    }
}

#[test]
fn an_event_that_is_not_from_a_queue_fails_as_a_whole() {
    let hook = refusing(&[1]);
    let function = Package::with_rule(&hook.actions()).start();
    let event = envelope(&created(1, "al", 1));
    let (kind, message) = function.invoke(&event).error();
    assert_eq!(kind, "Trailload.Incomplete");
    assert!(message.contains("an alert of it is not delivered: action hook: "), "{message}");
    assert!(message.contains("400 Bad Request"), "{message}");
    hook.answers(|_, _| Answer::Accept);
    function.invoke(&event).response();
    function.invoke(&event).response();
    assert_eq!(acknowledged(&hook), ids(1..2));
}

#[test]
fn a_receiver_that_hangs_does_not_outlast_the_deadline() {
    let hook = Hook::start();
    hook.answers(|body, _| match body["event_id"].as_str() {
        Some(id) if id == event_id(1) => Answer::Hang,
        _ => Answer::Accept,
    });
    let actions = format!("hook: {{kind: webhook, url: \"{}\", timeout: 1m}}\n", hook.url());
    let package = Package::with_rule(&actions);
    // An alert waits for those before it in its group only.
    let grouped = "name: user created\nevents: [CreateUser]\ngroup_by: [detail.userIdentity.arn]\nactions: [hook]\n";
    package.write("rules/users.yml", grouped);
    let function = package.start();
    let other = envelope(&created(2, "bo", 1)).to_string();
    let answer =
        function.invoke_for(&batch(&[("1", body(1)), ("2", other)]), Duration::from_secs(6));
    assert_eq!(answer.failed_items(), ["1"]);
    assert_eq!(acknowledged(&hook), ids(2..3));
    // The next invocation delivers what is left.
    hook.answers(|_, _| Answer::Accept);
    assert_eq!(function.invoke(&batch(&[("1", body(1))])).failed_items(), [""; 0]);
    assert!(acknowledged(&hook).is_superset(&ids(1..3)));
}

#[test]
fn a_process_that_is_to_end_answers_before_it_is_killed() {
    let hook = Hook::start();
    hook.answers(|body, _| match body["event_id"].as_str() {
        Some(id) if id == event_id(1) => Answer::Hang,
        _ => Answer::Accept,
    });
    let actions = format!("hook: {{kind: webhook, url: \"{}\", timeout: 15m}}\n", hook.url());
    let package = Package::with_rule(&actions);
    let grouped = "name: user created\nevents: [CreateUser]\ngroup_by: [detail.userIdentity.arn]\nactions: [hook]\n";
    package.write("rules/users.yml", grouped);
    let function = package.start();
    let other = envelope(&created(2, "bo", 1)).to_string();
    let payload = batch(&[("1", body(1)), ("2", other)]);
    let id = function.api.invoke(&payload, Duration::from_mins(15));
    while hook.received().len() < 2 {
        std::thread::yield_now();
    }
    function.terminate();
    assert_eq!(function.api.answer(&id).expect("it answers").failed_items(), ["1"]);
    let (code, log) = function.ended();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let package = Package::with_rule("hook: {kind: stdout}\n");
    let folder = package.path().join("file");
    fs::write(&folder, "").unwrap();
    let function = package.set("TMPDIR", folder.to_str().unwrap()).start();
    let (kind, message) = function.invoke(&envelope(&created(1, "al", 1))).error();
    assert_eq!(kind, "Trailload.Incomplete");
    assert!(message.contains(folder.to_str().unwrap()), "{message}");
    assert!(message.contains("Not a directory"), "the cause: {message}");
    assert_eq!(function.invoke(&batch(&[("1", body(1))])).failed_items(), ["1"]);
    let [_, log] = function.stop();
    assert!(log.contains("or use another file with TRAILLOAD_CHECKPOINT"), "{log}");
}

#[test]
fn an_object_that_does_not_arrive_does_not_outlast_the_deadline() {
    let hook = Hook::start();
    let mut bucket = Bucket::new();
    bucket.region = "us-east-1";
    bucket.put("slow.json", records(2..3));
    bucket.always.insert("slow.json".to_owned(), Fault::Late(Duration::from_mins(1)));
    let s3 = Fake::start([("logs", bucket)]);
    let function = Package::with_rule(&hook.actions()).set("AWS_ENDPOINT_URL_S3", &s3.url).start();
    let bodies = [("1", body(1)), ("slow", notification(&["slow.json"]).to_string())];
    let answer = function.invoke_for(&batch(&bodies), Duration::from_secs(6));
    assert_eq!(answer.failed_items(), ["slow"]);
    assert_eq!(acknowledged(&hook), ids(1..2));
    let slow = notification(&["slow.json"]);
    let (kind, _) = function.invoke_for(&slow, Duration::from_secs(6)).error();
    assert_eq!(kind, "Trailload.DeadlineExceeded");
    s3.change("logs", |bucket| {
        bucket.always.remove("slow.json");
    });
    function.invoke(&slow).response();
    assert_eq!(acknowledged(&hook), ids(1..3));
}

#[test]
fn an_engine_that_is_down_fails_the_messages_until_it_is_back() {
    let engine = FakeEngine::start();
    let url = engine.url().to_owned();
    drop(engine);
    let function = Package::new().set("TRAILLOAD_INTO", &url).start();
    let answer = function.invoke_for(&batch(&[("1", body(1))]), Duration::from_secs(6));
    assert_eq!(answer.failed_items(), ["1"]);
}

#[test]
fn a_document_that_the_engine_rejects_fails_its_message() {
    let engine = FakeEngine::start();
    let function = Package::new().set("TRAILLOAD_INTO", engine.url()).start();
    engine.refuse(|document| {
        let is_refused = String::from_utf8_lossy(document).contains(&event_id(2));
        is_refused.then(|| (400, "mapper_parsing_exception".to_owned()))
    });
    let bodies = [("1", body(1)), ("2", body(2)), ("3", body(3))];
    assert_eq!(function.invoke(&batch(&bodies)).failed_items(), ["2"]);
}

#[test]
fn a_process_that_is_killed_loses_no_alert_and_sends_none_twice() {
    let hook = Hook::start();
    let mut function = Package::with_rule(&hook.actions()).start();
    assert_eq!(function.invoke(&batch(&[("1", body(1))])).failed_items(), [""; 0]);
    // Killed while the alert of the second message is on its way.
    hook.answers(|_, before| if before == 0 { Answer::Hang } else { Answer::Accept });
    let payload = batch(&[("1 again", body(1)), ("2", body(2))]);
    let id = function.api.invoke(&payload, super::function::TIMEOUT);
    while hook.received().len() < 2 {
        std::thread::yield_now();
    }
    function = function.restart();
    function.api.invoke_again(&id, &payload, super::function::TIMEOUT);
    assert_eq!(function.api.answer(&id).unwrap().failed_items(), [""; 0]);
    assert_eq!(acknowledged(&hook), ids(1..3));
}

#[test]
fn a_process_that_is_killed_at_any_moment_repeats_only_what_was_on_its_way() {
    const MESSAGES: usize = 40;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let hook = Hook::start();
    let mut function = Package::with_rule(&hook.actions()).start();
    let mut kills = 0;
    for number in 0..MESSAGES {
        let payload = batch(&[("1", body(number))]);
        let id = function.api.invoke(&payload, super::function::TIMEOUT);
        if random.bool() {
            std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
            function = function.restart();
            kills += 1;
            function.api.invoke_again(&id, &payload, super::function::TIMEOUT);
        }
        assert_eq!(function.api.answer(&id).unwrap().failed_items(), [""; 0]);
    }
    let events = hook.events();
    let set: BTreeSet<String> = events.iter().cloned().collect();
    assert_eq!(set, ids(0..MESSAGES));
    // An alert that was acknowledged when the process ended is sent again, with the same key.
    assert!(events.len() <= MESSAGES + kills, "{} alerts, {kills} kills", events.len());
}

#[test]
fn the_checkpoint_does_not_grow_with_the_messages() {
    let hook = Hook::start();
    let function = Package::with_rule(&hook.actions()).start();
    let mut other = created(1, "al", 1);
    other["eventName"] = json!("DeleteUser");
    let payload = batch(&[("1", envelope(&other).to_string())]);
    let sizes = |function: &super::function::Function| -> u64 {
        let folder = fs::read_dir(function.temporary().join("trailload")).unwrap();
        folder
            .map(Result::unwrap)
            .filter(|file| file.path().extension().is_some_and(|end| end == "sqlite"))
            .map(|file| file.metadata().unwrap().len())
            .sum()
    };
    function.invoke(&payload).failed_items();
    let before = sizes(&function);
    for _ in 0..50 {
        function.invoke(&payload).failed_items();
    }
    assert!(sizes(&function) <= before + (64 << 10), "{before} to {}", sizes(&function));
}
