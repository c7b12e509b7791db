//! `trailload setup`: on real engines, with fakes of Kibana and OpenSearch Dashboards beside them.

mod access;
mod alerting;
mod dashboards;
mod during_load;
mod engines;
mod lifecycle;
mod retention;
mod secure;
mod usage;

use std::process::Command;

use serde_json::{Value, json};

use crate::support::load::PROGRAM;
use crate::support::real::{Corner, Engine};
use crate::support::wire;

/// What a run of `trailload setup` left behind.
#[derive(Debug)]
pub(crate) struct SetupRun {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl SetupRun {
    /// Runs `trailload setup` with these arguments, in an empty environment but for these variables.
    pub(crate) fn new(arguments: &[&str], variables: &[(&str, &str)]) -> SetupRun {
        let mut command = Command::new(PROGRAM);
        command.arg("setup").args(arguments).env_clear().envs(variables.iter().copied());
        command.env("HOME", "/nonexistent");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let run = SetupRun {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        println!("setup {arguments:?}: {:?}\n{}{}", run.code, run.stdout, run.stderr);
        run
    }

    /// Runs it for the prefix of a corner.
    pub(crate) fn of(corner: &Corner, arguments: &[&str]) -> SetupRun {
        let always = ["--into", corner.url(), "--index", corner.prefix()];
        SetupRun::new(&[&always, arguments].concat(), &[])
    }

    /// Fails unless the exit code is `code`.
    pub(crate) fn exits(self, code: i32) -> SetupRun {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless standard output holds each of these.
    pub(crate) fn prints<'a>(self, parts: impl IntoIterator<Item = &'a str>) -> SetupRun {
        for part in parts {
            assert!(self.stdout.contains(part), "`{part}` is not in:\n{}", self.stdout);
        }
        self
    }

    /// Fails unless standard error holds each of these.
    pub(crate) fn says<'a>(self, parts: impl IntoIterator<Item = &'a str>) -> SetupRun {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
        self
    }
}

/// Returns all templates whose names begin with a prefix, without the times that Elasticsearch 9 adds.
pub(crate) fn templates(corner: &Corner) -> Value {
    let kinds = ["index_template", "component_template"];
    let mut found = json!(kinds.map(|kind| listed(corner, kind)));
    without_times(&mut found);
    found
}

/// Returns the templates of a kind, or none: Elasticsearch and OpenSearch differ in how they say that there are none.
fn listed(corner: &Corner, kind: &str) -> Value {
    let path = format!("/_{kind}/{}*", corner.prefix());
    let (_, mut found) = wire::ask(corner.url(), "GET", &path, None);
    match found.get_mut(format!("{kind}s")).map(Value::take) {
        Some(templates @ Value::Array(_)) => json!({ format!("{kind}s"): templates }),
        _ => json!({ format!("{kind}s"): [] }),
    }
}

pub(crate) fn without_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("_date_millis") && !name.ends_with("_date"));
            members.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// Returns a setting of an index, by its path below `index`.
pub(crate) fn setting(corner: &Corner, index: &str, path: &str) -> Value {
    let settings = corner.ask("GET", &format!("/{index}/_settings"), &Value::Null);
    let index = &settings[index]["settings"]["index"];
    index.pointer(path).cloned().unwrap_or_default()
}
