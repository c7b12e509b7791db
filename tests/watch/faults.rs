//! What becomes of alerts when a receiver, an output or a checkpoint is not what it should be.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::hook::{Answer, Ended, Folder, Hook, created, event_id, ids};

fn folder(hook: &Hook, events: usize) -> Folder {
    let folder = Folder::new();
    folder.write("actions.yml", hook.actions());
    let events: Vec<Value> = (0..events).map(|number| created(number, "al", 5)).collect();
    folder.trail("0.json", &events);
    folder
}

/// Runs a command in which `$T` is the program.
fn shell(folder: &Folder, script: &str) -> Output {
    Command::new("bash")
        .args(["-c", script])
        .env("T", env!("CARGO_BIN_EXE_trailload"))
        .env("XDG_STATE_HOME", folder.path("state"))
        .current_dir(folder.path(""))
        .output()
        .unwrap()
}

#[test]
fn a_receiver_that_asks_for_time_without_end_gets_dead_letters() {
    for header in ["retry-after: 1\r\n", "retry-after: 0\r\n"] {
        let hook = Hook::start();
        hook.answers(move |_, _| Answer::Status(429, header));
        let folder = folder(&hook, 3);
        let run = folder.watch(&["--actions", "actions.yml", "--deliver-within", "2s"]).exits(3);
        assert_eq!(run.numbers(["delivered", "dead_letters", "pending"]), [0, 3, 0]);
        let requests = hook.received().len();
        assert!((12..=40).contains(&requests), "{requests} requests");
        let status = folder.status();
        let cause = status["undelivered"][0]["cause"].as_str().unwrap().to_owned();
        assert!(cause.contains("429") && cause.contains("given up after"), "{cause}");
        hook.answers(|_, before| match before % 2 {
            0 => Answer::Status(429, "retry-after: 1\r\n"),
            _ => Answer::Accept,
        });
        let retried = folder.retry(&["--actions", "actions.yml"]).exits(0);
        assert_eq!(retried.numbers(["delivered"]), [3], "a retry starts to count again");
    }
}

#[test]
fn waits_that_end_every_run_end_after_ten_runs() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(429, "retry-after: 600\r\n"));
    let folder = folder(&hook, 1);
    let arguments = ["--actions", "actions.yml", "--deliver-within", "1s"];
    for _ in 0..9 {
        assert_eq!(folder.watch(&arguments).exits(3).numbers(["pending"]), [1]);
    }
    // Twenty minutes pass.
    let earlier = "update alert_deliveries set first_attempt = first_attempt - 1300000";
    let checkpoint = rusqlite::Connection::open_with_flags(
        folder.path("checkpoint.sqlite"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    )
    .unwrap();
    assert_eq!(checkpoint.execute(earlier, []).unwrap(), 1);
    drop(checkpoint);
    assert_eq!(folder.watch(&arguments).exits(3).numbers(["dead_letters", "pending"]), [1, 0]);
    assert_eq!(hook.received().len(), 10);
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_ends_at_once_and_the_next_run_prints_everything() {
    let hook = Hook::start();
    let folder = folder(&hook, 20);
    let run = "$T watch rules.yml --in trail --checkpoint checkpoint.sqlite";
    let started = Instant::now();
    let output = shell(&folder, &format!("{run} > /dev/full"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(started.elapsed() < Duration::from_mins(1));
    assert!(
        errors.contains("cannot write alerts to standard output: No space left on device")
            && errors.contains("the next run prints the alerts"),
        "{errors}"
    );
    let status = folder.status();
    assert_eq!(status["actions"][0]["pending"], 20);
    assert!(status["actions"][0]["cause"].as_str().unwrap().contains("No space"), "{status}");
    let again = folder.watch(&[]).exits(0);
    assert_eq!(again.stdout.lines().count(), 20);
}

#[cfg(target_os = "linux")]
#[test]
fn alerts_of_other_actions_are_sent_although_the_output_is_full() {
    let hook = Hook::start();
    let folder = folder(&hook, 10);
    folder.write("rules.yml", "name: x\nevents: [CreateUser]\nactions: [stdout, hook]\n");
    let run = "$T watch rules.yml --in trail --checkpoint checkpoint.sqlite --actions actions.yml";
    let output = shell(&folder, &format!("{run} > /dev/full"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(hook.events().into_iter().collect::<std::collections::BTreeSet<_>>(), ids(0..10));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_of_a_file_is_tried_again_and_named() {
    let hook = Hook::start();
    let folder = folder(&hook, 2);
    folder.write("actions.yml", "hook: {kind: file, path: /dev/full}\n");
    let run = folder.watch(&["--actions", "actions.yml", "--deliver-within", "2s"]).exits(3);
    assert_eq!(run.numbers(["dead_letters"]), [2]);
    let cause = folder.status()["undelivered"][0]["cause"].as_str().unwrap().to_owned();
    assert!(
        cause.contains("/dev/full: No space left on device") && cause.contains("free space"),
        "{cause}"
    );
}

#[test]
fn events_of_several_lines_are_one_line_everywhere() {
    let hook = Hook::start();
    let folder = folder(&hook, 0);
    let event = created(0, "al", 1);
    let pretty = format!("{{\"Records\": [\n{event:#}\n]}}");
    folder.write("trail/1.json", pretty);
    folder.write("rules.yml", "name: x\nevents: [CreateUser]\nactions: [hook, stdout, log]\n");
    folder.write("actions.yml", hook.actions() + "log: {kind: file, path: log.ndjson}\n");
    let run = folder.watch(&["--actions", "actions.yml"]).exits(0);
    let file = std::fs::read_to_string(folder.path("log.ndjson")).unwrap();
    for text in [&run.stdout, &file] {
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(&format!("\"event\":{event}")), "{text}");
    }
    assert_eq!(hook.received()[0].body["event"], event);
}

#[test]
fn a_retry_needs_only_the_actions_whose_alerts_wait() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(400, ""));
    let folder = folder(&hook, 1);
    folder.watch(&["--actions", "actions.yml"]).exits(3);
    hook.answers(|_, _| Answer::Accept);
    // The rules got actions that need an engine, a secret, and a definition.
    folder.write(
        "rules.yml",
        "name: user created\nevents: [CreateUser]\nactions: [hook, other, {index: {}}, missing]\n",
    );
    let more = "other: {kind: slack, url: \"${NOT_SET}\"}\n";
    folder.write("actions.yml", hook.actions() + more);
    let retried = folder.watch(&["--actions", "actions.yml", "--retry"]).exits(0);
    assert_eq!(retried.numbers(["delivered"]), [1]);
    assert_eq!(hook.events(), [event_id(0)]);
}

#[test]
fn alerts_of_an_action_that_a_rule_defines_wait_for_the_rule() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(400, ""));
    let folder = folder(&hook, 1);
    let rule = format!(
        "name: user created\nevents: [CreateUser]\nactions: [{{webhook: {{url: \"{}\"}}}}]\n",
        hook.url()
    );
    folder.write("rules.yml", rule);
    folder.watch(&["--actions", "actions.yml"]).exits(3);
    let action = folder.status()["actions"][0]["action"].as_str().unwrap().to_owned();
    assert!(action.starts_with("webhook in rules ("), "{action}");
    hook.answers(|_, _| Answer::Accept);
    let waiting = folder.retry(&["--actions", "actions.yml"]).exits(3);
    assert!(waiting.stderr.contains("without the rules that define it"), "{}", waiting.stderr);
    assert_eq!(waiting.numbers(["pending"]), [1]);
    folder.watch(&["--retry"]).exits(0);
    assert_eq!(hook.events(), [event_id(0)]);
}

#[test]
fn alerts_of_an_action_that_no_rule_defines_any_more_are_dead_letters() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(429, "retry-after: 3000\r\n"));
    let folder = folder(&hook, 1);
    let rule = |more: &str| {
        format!(
            "name: user created\nevents: [CreateUser]\nactions: [{{webhook: {{url: \"{}\"{more}}}}}]\n",
            hook.url()
        )
    };
    folder.write("rules.yml", rule(""));
    assert_eq!(folder.watch(&[]).exits(3).numbers(["pending"]), [1]);
    folder.write("rules.yml", rule(", method: PUT"));
    let run = folder.watch(&[]).exits(3);
    assert_eq!(run.numbers(["pending", "undelivered"]), [0, 1]);
    assert!(run.stderr.contains("of actions that are not defined"), "{}", run.stderr);
    hook.answers(|_, _| Answer::Accept);
    folder.write("rules.yml", rule(""));
    folder.watch(&["--retry"]).exits(0);
    assert_eq!(hook.events(), [event_id(0)]);
}

#[test]
fn a_retry_without_a_checkpoint_names_the_file_and_how_it_is_found() {
    let hook = Hook::start();
    let folder = folder(&hook, 0);
    for arguments in [
        &["watch", "rules.yml", "--retry"][..],
        &["watch", "--retry", "--checkpoint", "none.sqlite"],
    ] {
        let ended = Ended::of(&folder.command(arguments).output().unwrap()).exits(1);
        assert!(ended.stderr.contains("there is no checkpoint"), "{}", ended.stderr);
        assert!(ended.stderr.contains("give the RULES and --in of the run"), "{}", ended.stderr);
    }
}

#[test]
fn engine_options_of_a_retry_are_refused_unless_an_alert_needs_them() {
    let hook = Hook::start();
    hook.answers(|_, _| Answer::Status(400, ""));
    let folder = folder(&hook, 1);
    folder.watch(&["--actions", "actions.yml"]).exits(3);
    for option in [&["--into", "http://localhost:1"][..], &["--profile", "x"]] {
        let arguments: Vec<&str> =
            ["--actions", "actions.yml", "--retry"].iter().chain(option).copied().collect();
        let refused = folder.watch(&arguments).exits(2);
        assert!(refused.stderr.contains(option[0]), "{}", refused.stderr);
    }
}

#[test]
fn each_action_is_named_with_its_own_cause_while_it_is_waited_for() {
    let (one, other) = (Hook::start(), Hook::start());
    one.answers(|_, _| Answer::Status(503, ""));
    other.answers(|_, _| Answer::Status(500, ""));
    let folder = folder(&one, 1);
    folder.write("rules.yml", "name: x\nevents: [CreateUser]\nactions: [one, other]\n");
    let action =
        |name: &str, hook: &Hook| format!("{name}: {{kind: webhook, url: \"{}\"}}\n", hook.url());
    folder.write("actions.yml", action("one", &one) + &action("other", &other));
    let run = folder.watch(&["--actions", "actions.yml", "--deliver-within", "10s"]).exits(3);
    for part in ["one: 127.0.0.1: 503", "other: 127.0.0.1: 500"] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
}

#[test]
fn status_counts_what_was_read_and_raised_once() {
    let hook = Hook::start();
    let folder = folder(&hook, 4);
    folder.write(
        "rules.yml",
        "name: x\nevents: [CreateUser]\ngroup_by: [detail.userIdentity.arn]\nactions: [{index: {}}, hook]\n",
    );
    folder.write(
        "actions.yml",
        hook.actions() + "index: {kind: index, url: \"http://127.0.0.1:9\"}\n",
    );
    let arguments = ["--actions", "actions.yml", "--deliver-within", "1s"];
    folder.watch(&arguments).exits(3);
    let rules = folder.status()["rules"].clone();
    assert_eq!(rules[0]["alerts"], 1);
    folder.watch(&["--replay", "--actions", "actions.yml", "--deliver-within", "1s"]).exits(3);
    assert_eq!(folder.status()["rules"], rules, "a replay counts nothing again");
    let text = folder.command(&["status", "--checkpoint", "checkpoint.sqlite"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("read from") && text.contains("events with a match"), "{text}");
    assert!(!text.contains("loaded from") && !text.contains("inline:"), "{text}");
}
