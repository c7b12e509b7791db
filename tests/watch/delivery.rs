//! `trailload watch` with actions: what is sent, what is not, and what becomes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::hook::{Answer, Ended, Folder, Hook, created, ends_within, event_id, ids, signal};

const WITH_ACTIONS: [&str; 2] = ["--actions", "actions.yml"];

/// Returns a folder with events of users, some minutes ago, and an action file.
fn folder(hook: &Hook, events: &[Value]) -> Folder {
    let folder = Folder::new();
    folder.write("actions.yml", hook.actions());
    folder.trail("0.json", events);
    folder
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(|number| created(number, "al", 5)).collect()
}

fn set(list: Vec<String>) -> BTreeSet<String> {
    list.into_iter().collect()
}

#[test]
fn every_alert_is_sent_once_and_later_runs_read_only_what_is_new() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..5));
    let first = folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(first.numbers(["events", "alerts", "delivered", "pending"]), [5, 5, 5, 0]);
    assert_eq!(first.stdout, "");
    let second = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(second.numbers(["events", "matches", "delivered"]), [0, 0, 0]);
    // An overlap: two events that are known, and two that are not.
    folder.trail("1.json", &events(3..7));
    let third = folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(third.numbers(["events", "alerts", "duplicates", "delivered"]), [4, 2, 2, 2]);
    assert_eq!(set(hook.events()), ids(0..7));
    assert_eq!(hook.received().len(), 7);
    for request in hook.received() {
        assert_eq!(request.key, request.body["id"], "the key is the id of the alert");
    }
}

#[test]
fn without_an_action_file_alerts_are_printed() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..3));
    let run = folder.watch(&[]).exits(0);
    let printed: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed.len(), 3);
    assert_eq!(printed[0]["rule"], "user created");
    assert_eq!(printed[0]["event"]["eventName"], "CreateUser");
    assert!(run.stderr.contains("alerts for hook are printed"), "{}", run.stderr);
    assert_eq!(folder.watch(&[]).exits(0).stdout, "");
    assert!(hook.received().is_empty());
}

#[test]
fn old_events_are_recorded_and_a_replay_sends_them_once() {
    let hook = Hook::start();
    let old = created(0, "al", 3 * 24 * 60);
    let folder = folder(&hook, &[old, created(1, "al", 1)]);
    let run = folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(run.numbers(["alerts", "recorded", "delivered"]), [1, 1, 1]);
    assert_eq!(hook.events(), [event_id(1)]);
    let replay = folder.watch(&["--replay", "--actions", "actions.yml"]).exits(0).adds_up();
    assert_eq!(replay.numbers(["events", "alerts", "duplicates", "delivered"]), [2, 1, 1, 1]);
    let again = folder.watch(&["--replay", "--actions", "actions.yml"]).exits(0).adds_up();
    assert_eq!(again.numbers(["events", "alerts", "duplicates", "delivered"]), [2, 0, 2, 0]);
    assert_eq!(hook.events(), [event_id(1), event_id(0)]);
}

#[test]
fn the_age_of_alerts_is_an_option() {
    let hook = Hook::start();
    let folder = folder(&hook, &[created(0, "al", 120), created(1, "al", 1)]);
    folder.watch(&["--alert-max-age", "1h", "--actions", "actions.yml"]).exits(0);
    assert_eq!(hook.events(), [event_id(1)]);
}

#[test]
fn only_events_of_the_time_range_are_evaluated_and_others_wait_for_another_run() {
    let hook = Hook::start();
    let folder = folder(&hook, &[created(0, "al", 120), created(1, "al", 1)]);
    let run = folder.watch(&["--last", "1h", "--actions", "actions.yml"]).exits(0);
    assert_eq!(run.numbers(["events", "alerts"]), [1, 1]);
    let run = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(run.numbers(["events", "alerts", "duplicates"]), [2, 1, 1]);
    assert_eq!(hook.events(), [event_id(1), event_id(0)]);
}

#[test]
fn a_refused_alert_is_a_dead_letter_that_a_retry_sends() {
    let hook = Hook::start();
    hook.answers(|body, _| match body["event_id"].as_str() {
        Some(id) if id == event_id(1) => Answer::Status(400, ""),
        _ => Answer::Accept,
    });
    let folder = folder(&hook, &events(0..3));
    let run = folder.watch(&WITH_ACTIONS).exits(3).adds_up();
    assert_eq!(run.numbers(["delivered", "dead_letters", "pending"]), [2, 1, 0]);
    assert_eq!(hook.received().len(), 3, "a refusal is final");
    let status = folder.status();
    assert_eq!(status["actions"][0]["action"], "hook");
    assert_eq!(status["actions"][0]["delivered"], 2);
    assert_eq!(status["actions"][0]["dead_letters"], 1);
    assert_eq!(status["undelivered"][0]["rule"], "user created");
    let cause = status["undelivered"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("400") && cause.contains("said"), "{cause}");
    assert_eq!(status["rules"][0]["alerts"], 3);
    // A run without anything new still reports it.
    folder.watch(&WITH_ACTIONS).exits(3);
    assert_eq!(hook.received().len(), 3);

    folder.retry(&WITH_ACTIONS).exits(3);
    assert_eq!(hook.received().len(), 4);
    hook.answers(|_, _| Answer::Accept);
    let retried = folder.retry(&WITH_ACTIONS).exits(0);
    assert_eq!(retried.numbers(["events", "delivered", "undelivered"]), [0, 1, 0]);
    assert_eq!(set(hook.events()), ids(0..3));
    assert_eq!(folder.status()["actions"][0]["dead_letters"], 0);
    folder.watch(&WITH_ACTIONS).exits(0);
}

#[test]
fn a_retry_without_the_action_file_keeps_the_alerts_and_names_their_actions() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(400, ""));
    let folder = folder(&hook, &events(0..2));
    folder.watch(&WITH_ACTIONS).exits(3);
    let retried = folder.retry(&[]).exits(3);
    assert_eq!(retried.numbers(["delivered", "pending"]), [0, 2]);
    assert!(retried.stderr.contains("alerts for hook wait"), "{}", retried.stderr);
    hook.answers(|_, _| Answer::Accept);
    let retried = folder.retry(&WITH_ACTIONS).exits(0);
    assert!(retried.stderr.contains("2 alerts to be delivered"), "{}", retried.stderr);
}

#[test]
fn the_search_command_of_a_retried_alert_names_the_sources_of_the_run() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(400, ""));
    let folder = folder(&hook, &events(0..1));
    folder.watch(&WITH_ACTIONS).exits(3);
    hook.answers(|_, _| Answer::Accept);
    folder.watch(&["--actions", "actions.yml", "--retry"]).exits(0);
    let commands: Vec<_> =
        hook.received().iter().map(|request| request.body["search_command"].clone()).collect();
    assert_eq!(commands.len(), 2);
    assert!(commands[0].as_str().unwrap().ends_with("--in trail"), "{commands:?}");
    assert_eq!(commands[0], commands[1]);
}

#[test]
fn a_dry_run_accepts_the_engine_of_the_run_that_it_stands_for() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..1));
    let engine = ["--in", "trail", "--into", "https://search.example:9200", "--aws-auth"];
    let dry_run = |rules| {
        let arguments = [&["watch", rules, "--dry-run"][..], &engine].concat();
        Ended::of(&folder.command(&arguments).output().unwrap())
    };
    folder.write("index.yml", "name: x\nevents: [CreateUser]\nactions: [{index: {}}]\n");
    assert_eq!(dry_run("index.yml").exits(0).stdout.lines().count(), 1);
    dry_run("rules.yml").exits(2);
}

#[test]
fn a_receiver_that_is_down_gets_everything_later() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..3));
    folder.write("down.yml", "hook: {kind: webhook, url: \"http://127.0.0.1:9/hook\"}\n");
    let started = Instant::now();
    let run = folder.watch(&["--actions", "down.yml", "--deliver-within", "2s"]).exits(3).adds_up();
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(run.numbers(["alerts", "delivered", "dead_letters"]), [3, 0, 3]);
    assert!(run.stderr.contains("watch --retry"), "{}", run.stderr);
    let text = folder.command(&["status", "--checkpoint", "checkpoint.sqlite"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("alert not delivered") && text.contains("127.0.0.1"), "{text}");
    folder.retry(&WITH_ACTIONS).exits(0);
    assert_eq!(set(hook.events()), ids(0..3));
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let hook = Hook::start();
    hook.answers(|_, before| match before {
        0 => Answer::Status(429, "retry-after: 2\r\n"),
        _ => Answer::Accept,
    });
    let folder = folder(&hook, &events(0..1));
    let run = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(run.numbers(["delivered", "dead_letters"]), [1, 0]);
    let received = hook.received();
    assert!(received[1].at - received[0].at >= Duration::from_secs(2));
    assert_eq!(received[0].key, received[1].key);
}

#[test]
fn a_wait_beyond_the_run_leaves_alerts_to_the_next_one() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(429, "retry-after: 3000\r\n"));
    let folder = folder(&hook, &events(0..2));
    let run = folder.watch(&["--actions", "actions.yml", "--deliver-within", "1s"]).exits(3);
    assert_eq!(run.numbers(["delivered", "dead_letters", "pending"]), [0, 0, 2]);
    hook.answers(|_, _| Answer::Accept);
    let run = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(run.numbers(["events", "delivered", "pending"]), [0, 2, 0]);
    assert_eq!(set(hook.events()), ids(0..2));
}

#[test]
fn faults_on_the_way_end_in_an_acknowledgement() {
    let hook = Hook::start();
    hook.answers(|_, before| match before {
        0 => Answer::Cut,
        1 => Answer::Status(503, ""),
        2 => Answer::Hang,
        _ => Answer::Accept,
    });
    let folder = folder(&hook, &events(0..2));
    let run = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(run.numbers(["delivered", "dead_letters"]), [2, 0]);
    assert_eq!(hook.acknowledged().values().copied().collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn alerts_of_a_group_arrive_in_order_whatever_the_receiver_does() {
    let hook = Hook::start();
    // Every third alert is refused for now, some are slow.
    hook.answers(|body, before| {
        let id = body["event_id"].as_str().unwrap();
        match (id.as_bytes().last().unwrap() % 3, before) {
            (0, 0) => Answer::Status(503, ""),
            (1, _) => Answer::Slow(Duration::from_millis(20)),
            _ => Answer::Accept,
        }
    });
    let groups = ["al", "bob", "eve"];
    let events: Vec<Value> = (0..30)
        .map(|number| created(number, groups[number % 3], 100 - i64::try_from(number).unwrap()))
        .collect();
    let folder = folder(&hook, &events);
    folder.write(
        "rules.yml",
        "name: x\nevents: [CreateUser]\ngroup_by: [detail.userIdentity.arn]\nwindow: 1s\nactions: [hook]\n",
    );
    folder.watch(&WITH_ACTIONS).exits(0);
    let mut by_group: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in hook.received().into_iter().filter(|request| request.is_acknowledged) {
        let group = request.body["group_id"].as_str().unwrap().to_owned();
        by_group
            .entry(group)
            .or_default()
            .push(request.body["event_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(by_group.len(), 3);
    for order in by_group.values() {
        assert_eq!(order.len(), 10);
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[test]
fn windows_thresholds_and_groups_hold_across_runs_and_orders() {
    let hook = Hook::start();
    let folder = folder(&hook, &[created(3, "al", 10), created(4, "al", 9)]);
    folder.write(
        "rules.yml",
        "name: x\nevents: [CreateUser]\ngroup_by: [detail.userIdentity.arn]\nwindow: 1h\nthreshold: 3\nactions: [hook]\n",
    );
    folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(hook.received().len(), 0, "two of three");
    // An older file arrives later.
    folder.trail("1.json", &[created(1, "al", 30), created(2, "bob", 20)]);
    let run = folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(run.numbers(["alerts", "suppressed"]), [1, 1]);
    folder.trail("2.json", &[created(5, "al", 1)]);
    let run = folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(run.numbers(["alerts", "suppressed"]), [0, 1], "one alert a group and window");
    assert_eq!(hook.received().len(), 1);
    assert_eq!(hook.received()[0].body["events"], 3);
}

#[test]
fn a_slow_receiver_delays_no_other_and_a_throttle_holds() {
    let (hook, slow) = (Hook::start(), Hook::start());
    slow.answers(|_, _| Answer::Slow(Duration::from_millis(300)));
    let folder = folder(&hook, &events(0..4));
    folder.write(
        "actions.yml",
        format!(
            "hook: {{kind: webhook, url: \"{}\", throttle: 1/s}}\nslow: {{kind: webhook, url: \"{}\"}}\n",
            hook.url(),
            slow.url()
        ),
    );
    folder.write("rules.yml", "name: x\nevents: [CreateUser]\nactions: [hook, slow]\n");
    let run = folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(run.numbers(["alerts", "deliveries", "delivered"]), [4, 8, 8]);
    let times: Vec<Instant> = hook.received().iter().map(|request| request.at).collect();
    // Three seconds pass between the first attempt and the last. The first can arrive late on a busy machine.
    assert!(times[3] - times[0] >= Duration::from_secs(2), "{times:?}");
}

#[test]
fn two_runs_at_once_share_nothing_and_lose_nothing() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Slow(Duration::from_millis(200)));
    let folder = folder(&hook, &events(0..20));
    let mut first = folder.watch_command(&WITH_ACTIONS).spawn().unwrap();
    crate::support::load::wait_for("a request", || (!hook.received().is_empty()).then_some(()));
    let second = folder.watch(&WITH_ACTIONS);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("in use"), "{}", second.stderr);
    assert!(ends_within(&mut first, Duration::from_mins(1)));
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(set(hook.events()), ids(0..20));
    assert_eq!(hook.received().len(), 20);
}

#[test]
fn a_signal_ends_the_run_and_the_next_one_sends_the_rest() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Slow(Duration::from_millis(300)));
    let folder = folder(&hook, &events(0..40));
    let mut run = folder.watch_command(&WITH_ACTIONS).spawn().unwrap();
    crate::support::load::wait_for("requests", || (hook.received().len() >= 6).then_some(()));
    signal(&run, "TERM");
    assert!(ends_within(&mut run, Duration::from_secs(10)));
    let ended = Ended::of(&run.wait_with_output().unwrap()).exits(4);
    assert!(ended.numbers(["pending"])[0] > 0, "{}", ended.stderr);
    hook.answers(|_, _| Answer::Accept);
    folder.watch(&WITH_ACTIONS).exits(0);
    assert_eq!(set(hook.events()), ids(0..40));
    assert!(
        hook.acknowledged().values().all(|times| *times == 1),
        "what was in progress was finished"
    );
}

#[test]
fn a_closed_pipe_ends_a_run_quietly_and_the_next_one_prints_the_rest() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..2_000));
    let program = env!("CARGO_BIN_EXE_trailload");
    let script = format!(
        "{program} watch rules.yml --in trail --checkpoint checkpoint.sqlite 2>errors | head -1; echo ${{PIPESTATUS[0]}}"
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("\n0\n"),
        "{text}{}",
        fs::read_to_string(folder.path("errors")).unwrap()
    );
    let rest = folder.watch(&[]).exits(0);
    let printed = rest.stdout.lines().count();
    assert!(printed > 0 && printed <= 2_000, "{printed}");
}

#[test]
fn actions_that_do_not_exist_are_refused_before_anything_is_read() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..1));
    folder.write("rules.yml", "name: x\nevents: [CreateUser]\nactions: [hok]\n");
    for mode in [&["--check"][..], &["--dry-run", "--in", "trail"], &["--in", "trail"]] {
        let arguments: Vec<&str> = ["watch", "rules.yml", "--actions", "actions.yml"]
            .iter()
            .chain(mode)
            .copied()
            .collect();
        let output = folder.command(&arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("rules.yml:3:11: there is no action `hok`"), "{errors}");
        assert!(errors.contains("write `hook`"), "{errors}");
    }
    folder.write("actions.yml", "hook: {kind: webhok, url: \"http://x/\"}\n");
    let run = folder.watch(&WITH_ACTIONS).exits(2);
    assert!(run.stderr.contains("actions.yml:1:"), "{}", run.stderr);
    assert!(!folder.path("checkpoint.sqlite").exists());
    assert!(hook.received().is_empty());
}

#[test]
fn a_missing_secret_is_an_action_for_a_person() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..1));
    folder.write("actions.yml", "hook: {kind: webhook, url: \"${NOT_SET_ANYWHERE}\"}\n");
    let run = folder.watch(&WITH_ACTIONS).exits(1);
    assert!(run.stderr.contains("NOT_SET_ANYWHERE"), "{}", run.stderr);
    folder
        .command(&["watch", "rules.yml", "--check", "--actions", "actions.yml"])
        .output()
        .unwrap();
}

#[test]
fn an_action_that_was_removed_leaves_dead_letters() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(429, "retry-after: 3000\r\n"));
    let folder = folder(&hook, &events(0..1));
    folder.watch(&["--actions", "actions.yml", "--deliver-within", "1s"]).exits(3);
    folder.write("rules.yml", "name: user created\nevents: [CreateUser]\nactions: [other]\n");
    folder.write("other.yml", format!("other: {{kind: webhook, url: \"{}\"}}\n", hook.url()));
    let run = folder.watch(&["--actions", "other.yml"]).exits(3);
    assert!(run.stderr.contains("not defined"), "{}", run.stderr);
    hook.answers(|_, _| Answer::Accept);
    folder.retry(&WITH_ACTIONS).exits(0);
    assert_eq!(hook.events(), [event_id(0)]);
}

#[test]
fn a_dry_run_shows_each_message_and_sends_nothing() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..1));
    let output = folder
        .command(&["watch", "rules.yml", "--dry-run", "--in", "trail", "--actions", "actions.yml"])
        .output()
        .unwrap();
    let alert: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(alert["actions"], json!(["hook"]));
    assert_eq!(alert["deliveries"][0]["action"], "hook");
    assert_eq!(alert["deliveries"][0]["method"], "POST");
    assert_eq!(alert["deliveries"][0]["body"]["event_id"], event_id(0));
    assert!(hook.received().is_empty());
    assert!(!folder.path("state").exists());
}

#[test]
fn modes_and_options_that_exclude_each_other_are_usage_errors() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..1));
    for arguments in [
        &["rules.yml", "--check", "--in", "trail"][..],
        &["rules.yml", "--test", "--replay"],
        &["rules.yml", "--dry-run", "--checkpoint", "x"],
        &["rules.yml", "--dry-run", "--retry"],
        &["--retry", "--last", "1d"],
        &["rules.yml", "--retry", "--replay"],
        &["--actions", "actions.yml"],
        &["rules.yml", "--in", "trail", "--into", "http://localhost:9200"],
    ] {
        let arguments: Vec<&str> = ["watch"].iter().chain(arguments).copied().collect();
        let output = folder.command(&arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    }
    let output =
        folder.command(&["watch", "--retry", "--checkpoint", "missing.sqlite"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path("missing.sqlite").exists());
}

#[test]
fn the_default_checkpoint_is_that_of_sources_and_rules() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..2));
    let run = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["watch"].iter().chain(arguments).copied().collect();
        Ended::of(&folder.command(&arguments).output().unwrap())
    };
    assert_eq!(run(&["rules.yml", "--in", "trail"]).exits(0).stdout.lines().count(), 2);
    assert_eq!(run(&["./rules.yml", "--in", "./trail"]).exits(0).stdout.lines().count(), 0);
    folder.write("other.yml", "name: other\nevents: [CreateUser]\n");
    let other = run(&["other.yml", "--in", "trail"]).exits(0);
    assert_eq!(other.stdout.lines().count(), 2, "other rules have not seen the events");
    let files = fs::read_dir(folder.path("state/trailload")).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sqlite"))
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| name.starts_with("watch-trail-")), "{names:?}");
}

#[test]
fn a_full_disk_ends_the_run_and_nothing_is_lost() {
    let hook = Hook::start();
    let folder = folder(&hook, &events(0..3_000));
    // The size of files is limited, as on a full disk.
    let program = env!("CARGO_BIN_EXE_trailload");
    let script = format!(
        "ulimit -f 200; trap '' XFSZ; {program} watch rules.yml --in trail --checkpoint checkpoint.sqlite --actions actions.yml"
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("disk") || errors.contains("too large"), "{errors}");
    folder.watch(&WITH_ACTIONS).exits(0).adds_up();
    assert_eq!(set(hook.events()), ids(0..3_000));
}
