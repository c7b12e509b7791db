//! `trailload watch --check` finds what a run would refuse, and modes refuse options without effect.

use std::{fs, process::Output};

use serde_json::json;

use super::hook::{Folder, created};

fn check(folder: &Folder, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["watch", "--check"].iter().chain(arguments).copied().collect();
    folder.command(&arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_events_of_tests_are_checked_with_their_place() {
    let folder = Folder::new();
    let rule = |event: &str| {
        format!("name: x\nevents: [A]\ntests:\n  - {{ event: {event}, fires: true }}\n")
    };
    let two = json!({"Records": [created(0, "al", 1), created(1, "al", 1)]});
    folder.write("two.json", two.to_string());
    folder.write("text.json", "not JSON");
    folder.write("list.json", "[1]");
    folder.write("good.json", created(0, "al", 1).to_string());
    for (event, problem) in [
        ("missing.json", "cannot read"),
        ("trail", "cannot read"),
        ("text.json", "is not JSON"),
        ("list.json", "the event is not a JSON object"),
        ("two.json", "the file has 2 events, and a test is about one"),
    ] {
        folder.write("rules.yml", rule(event));
        let output = check(&folder, &["rules.yml"]);
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{event}: {errors}");
        assert!(errors.contains("rules.yml:4:5: ") && errors.contains(problem), "{errors}");
        assert!(errors.contains("1 error in the tests of rules"), "{errors}");
    }
    folder.write("rules.yml", rule("good.json"));
    let output = check(&folder, &["rules.yml"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 rule valid\n");
}

#[test]
fn what_a_run_refuses_about_actions_is_refused_without_reading_a_secret() {
    let folder = Folder::new();
    folder.trail("0.json", &[created(0, "al", 1)]);
    for (rule_actions, file, code, problem) in [
        ("[{slack: {}}]", "", 2, "rules.yml:3:19: slack needs `url`"),
        ("[{webhok: {}}]", "", 2, "rules.yml:3:"),
        ("[{webhook: {url: 'ftp://x'}}]", "", 2, "must start with https:// or http://"),
        ("[hook]", "other: {kind: stdout}", 2, "there is no action `hook`"),
        ("[{index: {}}]", "index: {kind: stdout}", 2, "`index` is an action of kind stdout"),
        (
            "[hook]",
            "hook: {kind: webhook, url: \"${NOT_SET}\", ca_file: missing.pem}",
            1,
            "action hook: cannot read certificates from missing.pem",
        ),
    ] {
        folder.write(
            "rules.yml",
            format!("name: x\nevents: [CreateUser]\nactions: {rule_actions}\n"),
        );
        folder.write("actions.yml", file);
        let with: &[&str] = if file.is_empty() { &[] } else { &["--actions", "actions.yml"] };
        let arguments: Vec<&str> = ["rules.yml"].iter().chain(with).copied().collect();
        let output = check(&folder, &arguments);
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{rule_actions} {file}: {errors}");
        assert!(errors.contains(problem), "{errors}");
        let run = folder.watch(with);
        assert_ne!(run.code, Some(0), "a run refuses it too: {rule_actions} {file}");
    }
}

#[test]
fn a_check_tells_what_only_a_run_can_have() {
    let folder = Folder::new();
    folder.write("rules.yml", "name: x\nevents: [A]\nactions: [{index: {}}, hook]\n");
    folder.write(
        "actions.yml",
        "hook: {kind: webhook, url: \"${NOT_SET}\"}\nmine: {kind: command, command: [no-such-program-here]}\nlog: {kind: file, path: no/such/folder.ndjson}\n",
    );
    let output = check(&folder, &["rules.yml", "--actions", "actions.yml"]);
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for part in [
        "the action `index` has no `url`: runs need --into",
        "action mine: there is no program no-such-program-here on this machine",
        "action log: the folder no/such does not exist on this machine",
    ] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 rule and 3 actions valid\n");
}

#[test]
fn an_option_without_effect_is_refused_by_its_name() {
    let folder = Folder::new();
    fs::write(folder.path("a.drl"), "").unwrap();
    for (arguments, option, why) in [
        (&["rules.yml", "--check", "--into", "http://h:9200"][..], "--into", "'--check'"),
        (&["rules.yml", "--test", "--actions", "a.yml"], "--actions", "'--test'"),
        (
            &["rules.yml", "--event-pattern", "--regions", "eu-west-1"],
            "--regions",
            "'--event-pattern'",
        ),
        (&["--from-drl", "a.drl", "--checkpoint", "x"], "--checkpoint", "'--from-drl'"),
        (&["--retry", "--overlap", "1h"], "--overlap", "'--retry'"),
        (&["rules.yml", "--dry-run", "--delay", "1m"], "--delay", "'--dry-run'"),
        (
            &["rules.yml", "--in", "trail", "--into", "http://h:9200"],
            "--into",
            "neither '--in index' nor",
        ),
        (&["rules.yml", "--in", "trail", "--index", "mine"], "--index", "neither '--in index' nor"),
        (&["rules.yml", "--in", "trail", "--delay", "1m"], "--delay", "the event history"),
    ] {
        let arguments: Vec<&str> = ["watch"].iter().chain(arguments).copied().collect();
        let output = folder.command(&arguments).output().unwrap();
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        let named = format!("'{option}'");
        assert!(errors.contains(&named) && errors.contains(why), "{arguments:?}: {errors}");
    }
    assert!(!folder.path("state").exists());
}
