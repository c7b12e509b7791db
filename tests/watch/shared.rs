//! Several processes that share alerts in a DynamoDB table (moto): each alert reaches its receiver once, whatever ends when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        ScalarAttributeType, TimeToLiveSpecification,
    },
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::hook::{Answer, Ended, Folder, Hook, created, ends_within, event_id, ids, signal};
use crate::support::{
    aws::server::{Response, Server},
    real::given,
    wire::{read_body, read_head},
};

const REGION: &str = "eu-west-1";

/// A table of its own.
pub(crate) struct Table {
    name: String,
    client: Client,
    runtime: Runtime,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::with_key("id")
    }

    fn with_key(key: &str) -> Self {
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "x", None, None, "test");
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(given("TRAILLOAD_TEST_S3"))
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let table = Self {
            name: format!("alerts-{:x}", fastrand::u64(..)),
            client: Client::from_conf(config.build()),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        };
        let attribute = AttributeDefinition::builder()
            .attribute_name(key)
            .attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash);
        let create = table
            .client
            .create_table()
            .table_name(&table.name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute.build().unwrap())
            .key_schema(element.build().unwrap());
        table.runtime.block_on(create.send()).unwrap();
        table
    }

    pub(crate) fn let_expire(&self) {
        let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires");
        let request = self.client.update_time_to_live().table_name(&self.name);
        let request = request.time_to_live_specification(expiry.build().unwrap());
        self.runtime.block_on(request.send()).unwrap();
    }

    pub(crate) fn address(&self) -> String {
        format!("dynamodb://{}", self.name)
    }

    fn items(&self) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let pages = self.client.scan().table_name(&self.name).into_paginator().items().send();
        self.runtime.block_on(pages.collect::<Result<Vec<_>, _>>()).unwrap()
    }

    /// Ends all leases, as time would.
    fn end_leases(&self) {
        for item in self.items() {
            if !item.contains_key("until:hook") {
                continue;
            }
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .key("id", item["id"].clone())
                .update_expression("SET #until = :past")
                .expression_attribute_names("#until", "until:hook")
                .expression_attribute_values(":past", AttributeValue::N("1".to_owned()));
            self.runtime.block_on(request.send()).unwrap();
        }
    }

    /// Returns `watch` of a process with this table.
    fn watch(&self, folder: &Folder, arguments: &[&str]) -> Command {
        self.watch_at(&given("TRAILLOAD_TEST_S3"), folder, arguments)
    }

    fn watch_at(&self, endpoint: &str, folder: &Folder, arguments: &[&str]) -> Command {
        let address = self.address();
        let mut all = vec!["--actions", "actions.yml", "--alert-state", &address];
        all.extend(arguments);
        with_aws(folder.watch_command(&all), endpoint)
    }

    fn run(&self, folder: &Folder, arguments: &[&str]) -> Ended {
        Ended::of(&self.watch(folder, arguments).output().unwrap())
    }
}

/// Adds credentials and the address of DynamoDB. Nobody listens at other services.
fn with_aws(mut command: Command, endpoint: &str) -> Command {
    command
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_REGION", REGION);
    command
}

/// The folder of a process.
fn process(hook: &Hook) -> Folder {
    let folder = Folder::new();
    folder.write("actions.yml", hook.actions());
    folder
}

fn each_once(hook: &Hook, expected: &BTreeSet<String>) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in hook.events() {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(&times.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[test]
fn two_and_four_processes_that_read_the_same_events_send_each_alert_once() {
    for processes in [2_u64, 4] {
        let (hook, table) = (Hook::start(), Table::new());
        hook.answers(|_, _| Answer::Slow(Duration::from_millis(20)));
        let events: Vec<Value> = (0..40).map(|number| created(number, "u", 1)).collect();
        let folders: Vec<Folder> = (0..processes).map(|_| process(&hook)).collect();
        for (number, folder) in folders.iter().enumerate() {
            // Each has them in another order.
            let mut events = events.clone();
            events.rotate_left(number * 7);
            for (file, events) in events.chunks(8).enumerate() {
                folder.trail(&format!("{file}.json"), events);
            }
        }
        let runs: Vec<Child> =
            folders.iter().map(|folder| table.watch(folder, &[]).spawn().unwrap()).collect();
        let ended: Vec<Ended> = runs
            .into_iter()
            .map(|run| Ended::of(&run.wait_with_output().unwrap()).exits(0).adds_up())
            .collect();
        each_once(&hook, &ids(0..40));
        let sum = |name| ended.iter().map(|ended| ended.numbers([name])[0]).sum::<u64>();
        assert_eq!((sum("alerts"), sum("delivered")), (40, 40));
        assert_eq!(sum("matches"), 40 * processes);
        for ended in &ended {
            assert_eq!(ended.numbers(["pending", "undelivered"]), [0, 0], "{}", ended.stderr);
        }
    }
}

#[test]
fn a_threshold_is_reached_by_events_that_different_processes_read() {
    let (hook, table) = (Hook::start(), Table::new());
    let folders: Vec<Folder> = (0..4).map(|_| process(&hook)).collect();
    let mut all = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        folder.write(
            "rules.yml",
            "name: users\nevents: [CreateUser]\nactions: [hook]\n\
             group_by: [detail.userIdentity.arn]\nwindow: 60m\nthreshold: 4\n",
        );
        // One event of each of ten users, and two of another one.
        let mut events: Vec<Value> =
            (0..10).map(|user| created(number * 100 + user, &format!("u{user}"), 2)).collect();
        if number < 3 {
            events.push(created(number * 100 + 50, "rare", 2));
        }
        folder.trail("1.json", &events);
        all.extend(events);
    }
    let runs: Vec<Child> =
        folders.iter().map(|folder| table.watch(folder, &[]).spawn().unwrap()).collect();
    for run in runs {
        Ended::of(&run.wait_with_output().unwrap()).exits(0).adds_up();
    }
    let mut users: Vec<String> = hook
        .received()
        .iter()
        .map(|request| request.body["event"]["userIdentity"]["arn"].to_string())
        .collect();
    users.sort();
    assert_eq!(users.len(), 10, "{users:?}");
    users.dedup();
    assert_eq!(users.len(), 10, "one alert for each user");
    // A process that reads everything again finds nothing new.
    let another = process(&hook);
    another.write("rules.yml", std::fs::read(folders[0].path("rules.yml")).unwrap());
    another.trail("1.json", &all);
    let ended = table.run(&another, &[]).exits(0).adds_up();
    assert_eq!(ended.numbers(["alerts", "delivered"]), [0, 0]);
}

#[test]
fn processes_that_are_killed_at_random_moments_lose_no_alert_and_repeat_only_those_in_flight() {
    const KILLS: usize = 60;
    const EVENTS: usize = 5;
    let (hook, table) = (Hook::start(), Table::new());
    hook.answers(|body, before| {
        let byte = body["event_id"].as_str().unwrap().as_bytes().last().copied().unwrap();
        if byte % 5 == 0 && before == 0 {
            Answer::Status(503, "")
        } else {
            Answer::Slow(Duration::from_millis(5))
        }
    });
    let folders = [process(&hook), process(&hook), process(&hook)];
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut events, mut killed, mut repeatable) = (0, 0, BTreeSet::new());
    let add = |events: &mut usize| {
        for folder in &folders {
            let all: Vec<Value> =
                (*events..*events + EVENTS).map(|number| created(number, "u", 1)).collect();
            folder.trail(&format!("{events:05}.json"), &all);
        }
        *events += EVENTS;
    };
    add(&mut events);
    while killed < KILLS {
        let mut runs: Vec<Child> =
            folders.iter().map(|folder| table.watch(folder, &[]).spawn().unwrap()).collect();
        for (run, folder) in runs.iter_mut().zip(&folders) {
            if ends_within(run, Duration::from_millis(random.u64(1..600))) {
                continue;
            }
            run.kill().unwrap();
            run.wait().unwrap();
            killed += 1;
            repeatable.extend(sending(folder));
        }
        for run in &mut runs {
            run.wait().unwrap();
        }
        add(&mut events);
    }
    for folder in folders.iter().chain(&folders) {
        table.run(folder, &[]).exits(0).adds_up();
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in hook.events() {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.keys().cloned().collect::<BTreeSet<_>>(), ids(0..events));
    for (id, times) in times.iter().filter(|(_, times)| **times > 1) {
        assert!(repeatable.contains(id), "{id} was sent {times} times and not in flight");
    }
}

/// Returns the ids of the events of alerts whose delivery was interrupted.
fn sending(folder: &Folder) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let path = folder.path("checkpoint.sqlite");
    let Ok(database) = rusqlite::Connection::open_with_flags(path, flags) else {
        return Vec::new();
    };
    let query = "SELECT content FROM alert_deliveries JOIN alerts ON alerts.number = alert WHERE state = 'sending'";
    let Ok(mut statement) = database.prepare(query) else { return Vec::new() };
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(|content| {
        let content: Vec<u8> = content.unwrap();
        let text = zstd::decode_all(content.as_slice()).unwrap();
        let header = text.split(|byte| *byte == b'\n').next().unwrap();
        let header: Value = serde_json::from_slice(header).unwrap();
        header["event_id"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[test]
fn a_process_takes_over_what_another_one_left_once_its_lease_is_over() {
    let (hook, table) = (Hook::start(), Table::new());
    hook.answers(|_, _| Answer::Hang);
    let (one, other) = (process(&hook), process(&hook));
    for folder in [&one, &other] {
        folder.trail("1.json", &[created(1, "u", 1)]);
    }
    let mut run = table.watch(&one, &[]).spawn().unwrap();
    while hook.received().is_empty() {
        assert!(!ends_within(&mut run, Duration::from_millis(10)));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    hook.answers(|_, _| Answer::Accept);
    // The other one reads the same event, and waits for the first.
    let mut waiting = table.watch(&other, &[]).spawn().unwrap();
    assert!(!ends_within(&mut waiting, Duration::from_secs(3)));
    assert_eq!(hook.events(), Vec::<String>::new());
    table.end_leases();
    let ended = Ended::of(&waiting.wait_with_output().unwrap()).exits(0).adds_up();
    assert_eq!(ended.numbers(["alerts", "duplicates", "delivered"]), [0, 1, 1]);
    // The first one starts again, and drops its delivery.
    let ended = table.run(&one, &[]).exits(0);
    assert_eq!(ended.numbers(["delivered", "pending"]), [0, 0]);
    each_once(&hook, &ids(1..2));
}

#[test]
fn a_dead_letter_of_a_process_is_delivered_by_another_and_a_retry_drops_it() {
    let (hook, table) = (Hook::start(), Table::new());
    hook.answers(|_, _| Answer::Status(400, ""));
    let (one, other) = (process(&hook), process(&hook));
    for folder in [&one, &other] {
        folder.trail("1.json", &[created(1, "u", 1)]);
    }
    table.run(&one, &[]).exits(3);
    hook.answers(|_, _| Answer::Accept);
    let ended = table.run(&other, &[]).exits(0);
    assert_eq!(ended.numbers(["duplicates", "delivered"]), [1, 1]);
    let address = table.address();
    let retry = ["watch", "--retry", "--checkpoint", "checkpoint.sqlite", "--log-format", "json"];
    let retry: Vec<&str> = retry
        .into_iter()
        .chain(["--actions", "actions.yml", "--alert-state", address.as_str()])
        .collect();
    let command = with_aws(one.command(&retry), &given("TRAILLOAD_TEST_S3")).output().unwrap();
    let ended = Ended::of(&command).exits(0);
    assert_eq!(ended.numbers(["delivered", "undelivered"]), [0, 0]);
    each_once(&hook, &ids(1..2));
}

#[test]
fn the_variable_is_as_good_as_the_option_and_status_names_the_table() {
    let (hook, table) = (Hook::start(), Table::new());
    let folder = process(&hook);
    folder.trail("1.json", &[created(1, "u", 1)]);
    let command = folder.watch_command(&["--actions", "actions.yml"]);
    let mut command = with_aws(command, &given("TRAILLOAD_TEST_S3"));
    command.env("TRAILLOAD_ALERT_STATE", table.address());
    Ended::of(&command.output().unwrap()).exits(0);
    assert_eq!(folder.status()["shared_in"], table.address());
    let items = table.items();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["event"].as_s().unwrap(), &event_id(1));
    assert!(items[0].contains_key("delivered:hook"), "{items:?}");
    let expires: i64 = items[0]["expires"].as_n().unwrap().parse().unwrap();
    let days = (expires - jiff::Timestamp::now().as_second()) / 86_400;
    assert_eq!(days, 90);
    // Without it, the user is told.
    let ended = folder.watch(&["--actions", "actions.yml"]).exits(0);
    assert!(ended.stderr.contains("earlier runs shared alerts in"), "{}", ended.stderr);
    let mut command = folder.watch_command(&[]);
    command.env("TRAILLOAD_ALERT_STATE", "dynamo://x");
    let ended = Ended::of(&command.output().unwrap()).exits(2);
    assert!(ended.stderr.contains("TRAILLOAD_ALERT_STATE: expected dynamodb://"));
}

/// What stands between processes and the table.
struct Gate {
    is_open: Arc<AtomicBool>,
    /// The operations that were asked for, and their bodies.
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    url: String,
}

impl Gate {
    fn start() -> Self {
        Self::with_clock_ahead(0)
    }

    fn with_clock_ahead(ahead: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self {
            is_open: Arc::new(AtomicBool::new(true)),
            requests: Arc::default(),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let (is_open, requests) = (Arc::clone(&gate.is_open), Arc::clone(&gate.requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (is_open, requests) = (Arc::clone(&is_open), Arc::clone(&requests));
                thread::spawn(move || pass_on(&stream, ahead, &is_open, &requests));
            }
        });
        gate
    }

    fn operations(&self) -> BTreeSet<String> {
        self.requests.lock().unwrap().iter().map(|(operation, _)| operation.clone()).collect()
    }
}

/// Passes requests on to the table while the gate is open, and closes the connection otherwise.
fn pass_on(
    mut stream: &TcpStream,
    ahead: i64,
    is_open: &AtomicBool,
    requests: &Mutex<Vec<(String, Value)>>,
) -> Option<()> {
    let address = given("TRAILLOAD_TEST_S3");
    let host = address.trim_start_matches("http://").trim_end_matches('/');
    let mut from = BufReader::new(stream);
    loop {
        let head = read_head(&mut from)?;
        let body = read_body(&mut from, &head.headers)?;
        if !is_open.load(Relaxed) {
            return None;
        }
        let target = head.header("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let content = serde_json::from_slice(&body).unwrap_or_default();
        requests.lock().unwrap().push((operation, content));
        let mut table = TcpStream::connect(host).ok()?;
        let mut request = format!("{} {} HTTP/1.1\r\n", head.method, head.path);
        for (name, value) in &head.headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        table.write_all(request.as_bytes()).ok()?;
        table.write_all(&body).ok()?;
        let mut answers = BufReader::new(&table);
        // The status line has the form of a request line.
        let answer = read_head(&mut answers)?;
        let content = read_body(&mut answers, &answer.headers)?;
        let mut response = format!("HTTP/1.1 {} Passed on\r\n", answer.path);
        let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let _ = write!(response, "date: {}\r\n", date.strftime("%a, %d %b %Y %H:%M:%S GMT"));
        for (name, value) in answer.headers.iter().filter(|(name, _)| name != "date") {
            let _ = write!(response, "{name}: {value}\r\n");
        }
        response.push_str("\r\n");
        stream.write_all(response.as_bytes()).ok()?;
        stream.write_all(&content).ok()?;
    }
}

#[test]
fn leases_end_by_the_clock_of_the_service() {
    let (hook, table) = (Hook::start(), Table::new());
    // The clock of this machine is an hour behind, and then an hour ahead.
    for (ahead, number) in [(3_600, 1), (-3_600, 2)] {
        let gate = Gate::with_clock_ahead(ahead);
        let folder = process(&hook);
        folder.trail("1.json", &[created(number, "u", 1)]);
        let output = table.watch_at(&gate.url, &folder, &[]).output().unwrap();
        Ended::of(&output).exits(0);
        let items = table.items();
        let item = items.iter().find(|item| item["event"].as_s() == Ok(&event_id(number)));
        let until: i64 = item.unwrap()["until:hook"].as_n().unwrap().parse().unwrap();
        let left = until / 1_000 - jiff::Timestamp::now().as_second() - ahead;
        assert!((30..=65).contains(&left), "{left} s");
    }
}

#[test]
fn a_run_waits_for_a_table_that_is_not_available_and_says_so() {
    let (hook, table, gate) = (Hook::start(), Table::new(), Gate::start());
    let folder = process(&hook);
    let mut run = table.watch_at(&gate.url, &folder, &["--in", "-"]);
    folder.trail("1.json", &[created(1, "u", 1)]);
    // The table is there when the run starts, and away when it has a match.
    let mut run = run.stdin(std::process::Stdio::piped()).spawn().unwrap();
    while gate.operations().is_empty() {
        assert!(!ends_within(&mut run, Duration::from_millis(10)));
    }
    gate.is_open.store(false, Relaxed);
    let records = json!({ "Records": [created(2, "u", 1)] });
    run.stdin.take().unwrap().write_all(records.to_string().as_bytes()).unwrap();
    assert!(!ends_within(&mut run, Duration::from_secs(8)));
    assert_eq!(hook.events(), Vec::<String>::new());
    gate.is_open.store(true, Relaxed);
    let ended = Ended::of(&run.wait_with_output().unwrap()).exits(0).adds_up();
    assert!(ended.stderr.contains("dynamodb"), "{}", ended.stderr);
    each_once(&hook, &ids(1..3));
}

#[test]
fn a_signal_ends_the_wait_for_a_table_and_the_next_run_finds_the_events_again() {
    let (hook, table, gate) = (Hook::start(), Table::new(), Gate::start());
    let folder = process(&hook);
    let mut run = table.watch_at(&gate.url, &folder, &["--in", "-"]);
    let mut run = run.stdin(std::process::Stdio::piped()).spawn().unwrap();
    while gate.operations().is_empty() {
        assert!(!ends_within(&mut run, Duration::from_millis(10)));
    }
    gate.is_open.store(false, Relaxed);
    folder.trail("1.json", &[created(1, "u", 1)]);
    let records = json!({ "Records": [created(1, "u", 1)] });
    run.stdin.take().unwrap().write_all(records.to_string().as_bytes()).unwrap();
    assert!(!ends_within(&mut run, Duration::from_secs(1)));
    signal(&run, "TERM");
    let started = Instant::now();
    let ended = Ended::of(&run.wait_with_output().unwrap()).exits(4);
    assert!(started.elapsed() < Duration::from_secs(20), "{}", ended.stderr);
    gate.is_open.store(true, Relaxed);
    table.run(&folder, &[]).exits(0);
    each_once(&hook, &ids(1..2));
}

#[test]
fn what_a_receiver_has_acknowledged_during_an_outage_is_not_sent_again() {
    let (hook, table, gate) = (Hook::start(), Table::new(), Gate::start());
    let folder = process(&hook);
    folder.trail("1.json", &[created(1, "u", 1)]);
    let is_open = Arc::clone(&gate.is_open);
    hook.answers(move |_, _| {
        is_open.store(false, Relaxed);
        Answer::Accept
    });
    let run = table.watch_at(&gate.url, &folder, &[]).spawn().unwrap();
    while hook.events().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    signal(&run, "TERM");
    let ended = Ended::of(&run.wait_with_output().unwrap());
    assert_eq!(ended.summary["pending"], 1, "{}", ended.stderr);
    gate.is_open.store(true, Relaxed);
    let ended = table.run(&folder, &[]).exits(0);
    assert_eq!(ended.numbers(["pending"]), [0]);
    each_once(&hook, &ids(1..2));
    assert!(table.items()[0].contains_key("delivered:hook"));
}

#[test]
fn a_run_makes_the_requests_that_the_policy_allows() {
    let (hook, table, gate) = (Hook::start(), Table::new(), Gate::start());
    let folder = process(&hook);
    folder.write(
        "rules.yml",
        "- {name: every, events: [CreateUser], actions: [hook]}\n\
         - {name: some, events: [CreateUser], actions: [hook], window: 1m, threshold: 2}\n\
         - {name: new, events: [CreateUser], actions: [hook], first_seen: {by: [detail.userIdentity.arn], within: 1d, learning: 0s}}\n",
    );
    // Within so many minutes, some events are close to the end of an item of their group, and depend on two.
    for number in 0..17 {
        let minutes_ago = 20 - i64::try_from(number).unwrap();
        folder.trail(&format!("{number}.json"), &[created(number, "u", minutes_ago)]);
        let output = table.watch_at(&gate.url, &folder, &[]).output().unwrap();
        Ended::of(&output).exits(0).adds_up();
    }
    let mut actions = BTreeSet::new();
    for (operation, body) in gate.requests.lock().unwrap().iter() {
        if operation != "TransactWriteItems" {
            actions.insert(format!("dynamodb:{operation}"));
            continue;
        }
        for item in body["TransactItems"].as_array().unwrap() {
            for kind in item.as_object().unwrap().keys() {
                let name = if kind == "ConditionCheck" { "ConditionCheckItem" } else { "PutItem" };
                actions.insert(format!("dynamodb:{name}"));
            }
        }
    }
    let policy = folder.command(&[
        "policy",
        "--rules",
        "rules.yml",
        "--actions",
        "actions.yml",
        "--alert-state",
        "dynamodb://alerts?region=eu-west-1",
        "trail",
    ]);
    let output = { policy }.output().unwrap();
    let policy: Value = serde_json::from_slice(&output.stdout).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Resource"], "arn:aws:dynamodb:eu-west-1:ACCOUNT:table/alerts");
    let allowed: BTreeSet<String> = serde_json::from_value(statement["Action"].clone()).unwrap();
    assert_eq!(actions, allowed);
    // The rules of a function of AWS Lambda are elsewhere.
    let address = "dynamodb://alerts?region=eu-west-1";
    let output = folder.command(&["policy", "--alert-state", address, "trail"]).output().unwrap();
    let alone: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(alone["Statement"], json!([statement]));
}

/// Runs against a service that refuses everything.
fn refused(code: &str, message: &str) -> Ended {
    let body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message,
    });
    let server = Server::start(move |_| Response::json(400, &body));
    let (hook, table) = (Hook::start(), Table::new());
    let folder = process(&hook);
    folder.trail("1.json", &[created(1, "u", 1)]);
    let ended = Ended::of(&table.watch_at(&server.url(), &folder, &[]).output().unwrap());
    assert!(hook.received().is_empty());
    ended.exits(1)
}

#[test]
fn a_table_that_cannot_be_used_is_named_with_the_fix() {
    let hook = Hook::start();
    let folder = process(&hook);
    folder.trail("1.json", &[created(1, "u", 1)]);
    let mut missing = Table::new();
    missing.name = "alerts-that-nobody-created".to_owned();
    let ended = missing.run(&folder, &[]).exits(1);
    for part in [
        "BatchGetItem failed for the alert state in the table alerts-that-nobody-created (eu-west-1)",
        "aws dynamodb create-table --region eu-west-1 --table-name alerts-that-nobody-created",
        "Enabled=true,AttributeName=expires",
    ] {
        assert!(ended.stderr.contains(part), "{part} is not in {}", ended.stderr);
    }
    let ended = Table::with_key("name").run(&folder, &[]).exits(1);
    assert!(ended.stderr.contains("the table needs the key {id: S}"), "{}", ended.stderr);
    let denied = "User: arn:aws:iam::111122223333:user/x is not authorized to perform: dynamodb:BatchGetItem on resource: arn:aws:dynamodb:eu-west-1:111122223333:table/alerts";
    let ended = refused("AccessDeniedException", denied);
    assert!(ended.stderr.contains("dynamodb:ConditionCheckItem"), "{}", ended.stderr);
    let key = "KMS key access denied error: not authorized to perform: kms:Decrypt on resource";
    for code in ["AccessDeniedException", "KMSAccessDeniedException"] {
        let ended = refused(code, key);
        assert!(ended.stderr.contains("kms:Decrypt on the key"), "{}", ended.stderr);
    }
    assert!(hook.received().is_empty());
}

#[test]
fn doctor_checks_the_table() {
    let hook = Hook::start();
    let folder = process(&hook);
    let doctor_with = |rules: &[&str], table: &Table| {
        let address = table.address();
        let load = ["doctor", "trail", "--into", "http://127.0.0.1:9", "--alert-state", &address];
        let arguments = [&load, rules].concat();
        let command = folder.command(&arguments);
        let output = with_aws(command, &given("TRAILLOAD_TEST_S3")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let doctor =
        |table: &Table| doctor_with(&["--rules", "rules.yml", "--actions", "actions.yml"], table);
    let table = Table::new();
    let said = doctor(&table);
    assert!(said.contains("✓ rules: 1 rule, with alerts for hook\n"), "{said}");
    let of_function = said.replace("✓ rules: 1 rule, with alerts for hook\n", "");
    assert_eq!(doctor_with(&[], &table), of_function, "also for a function, without its rules");
    assert!(said.contains("! alert state in the table"), "{said}");
    assert!(said.contains("items do not expire"), "{said}");
    assert!(said.contains("exists with its key, can be read, can be written"), "{said}");
    table.let_expire();
    let said = doctor(&table);
    assert!(
        said.contains("exists with its key, items expire, can be read, can be written"),
        "{said}"
    );
    assert_eq!(table.items(), Vec::new(), "nothing is written");
    let said = doctor(&Table::with_key("name"));
    assert!(said.contains("its key is name (HASH, S) instead of id (HASH, S)"), "{said}");
    let mut missing = Table::new();
    missing.name = "alerts-that-nobody-created".to_owned();
    let said = doctor(&missing);
    assert!(said.contains("fix: create the table: aws dynamodb create-table"), "{said}");
    let alone = |table: &Table, rules: &[&str]| {
        let address = table.address();
        let command = folder.command(&[&["doctor", "--alert-state", &address], rules].concat());
        with_aws(command, &given("TRAILLOAD_TEST_S3")).output().unwrap()
    };
    let rules = ["--rules", "rules.yml", "--actions", "actions.yml"];
    for rules in [&[][..], &rules] {
        let ended = alone(&table, rules);
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{said}");
        assert!(said.contains("items expire, can be read, can be written"), "{said}");
        assert!(said.ends_with("all checks passed\n"), "{said}");
        let ended = alone(&missing, rules);
        assert_eq!(ended.status.code(), Some(1), "a missing table fails without an engine, too");
    }
}
