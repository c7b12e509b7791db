//! The command lines in `deploy/`: each is one that the program takes. `scripts/deploy-check` checks all around them.

use super::{run, said};

const SERVICE: &str = include_str!("../../deploy/systemd/trailload.service");
const CRON: &str = include_str!("../../deploy/cron/trailload");
const KUBERNETES: &str = include_str!("../../deploy/kubernetes/trailload.yaml");
const FOLLOWING_SERVICE: &str = include_str!("../../deploy/systemd/trailload-follow.service");
const FOLLOWING_KUBERNETES: &str = include_str!("../../deploy/kubernetes/trailload-follow.yaml");

/// Returns what stands behind the program's name in the line that has it.
fn words(line: &str) -> Vec<String> {
    let (_, words) = line.split_once("trailload load ").unwrap();
    let words = words.replace("${TRAILLOAD_INTO}", "https://search.example:9200");
    words.split_whitespace().map(str::to_owned).collect()
}

/// Returns the words of a list in a line of YAML: `name: [a, "b"]`.
fn list(yaml: &str, name: &str) -> Vec<String> {
    let line = yaml.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    let inside = line.split_once('[').unwrap().1.trim_end().strip_suffix(']').unwrap();
    inside.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
}

/// Fails unless the program takes these words behind `load`; a policy reads all of them, and asks nobody.
fn takes(words: &[String]) {
    let words: Vec<&str> =
        std::iter::once("policy").chain(words.iter().map(String::as_str)).collect();
    let output = run(&words);
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    assert!(said(&output).contains("cloudtrail:LookupEvents"), "{words:?}");
    assert!(words.contains(&"--into"), "{words:?}");
}

#[test]
fn the_services_run_a_load() {
    for (service, follows) in [(SERVICE, false), (FOLLOWING_SERVICE, true)] {
        let words = words(service.lines().find(|line| line.starts_with("ExecStart=")).unwrap());
        assert_eq!(words.iter().any(|word| word == "--follow"), follows);
        takes(&words);
    }
}

#[test]
fn the_cron_line_runs_a_load() {
    takes(&words(CRON.lines().find(|line| line.contains("trailload load")).unwrap()));
}

#[test]
fn the_pods_of_kubernetes_run_a_load() {
    for (yaml, follows) in [(KUBERNETES, false), (FOLLOWING_KUBERNETES, true)] {
        let command = [list(yaml, "command:"), list(yaml, "args:")].concat();
        assert_eq!(command[..2], ["trailload", "load"]);
        assert_eq!(command.iter().any(|word| word == "--follow"), follows);
        takes(&command[2..]);
    }
}
