//! `setup` on an engine with security: the role that is shipped is enough, and each missing right is named.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};

use super::SetupRun;
use crate::engine::secure::{PASSWORD, Role, Secured};
use crate::support::events::{events, records};
use crate::support::load::{Chain, Desk};

/// Returns `policy/opensearch-setup.json`, for another prefix.
fn shipped(prefix: &str) -> Role {
    let text = include_str!("../../policy/opensearch-setup.json");
    Role(serde_json::from_str(&text.replace("\"cloudtrail", &format!("\"{prefix}"))).unwrap())
}

fn run(engine: &Secured, arguments: &[&str]) -> SetupRun {
    let user = engine.user();
    let always = ["--into", &engine.url, "--index", &engine.prefix, "--ca-file", &engine.authority];
    let login = [("TRAILLOAD_USERNAME", user.as_str()), ("TRAILLOAD_PASSWORD", PASSWORD)];
    SetupRun::new(&[&always, arguments].concat(), &login)
}

/// Makes what a role needs to be seen at work: an expired index.
fn with_expired_index(engine: &Secured) {
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..1)));
    let load = desk.load(&file, &engine.url).with(["--index", &engine.prefix]);
    let load = load.with("--ca-file".chain(&engine.authority));
    let load = load.environment("TRAILLOAD_USERNAME", "admin");
    load.environment("TRAILLOAD_PASSWORD", "admin").run().exits(0);
}

fn clear(engine: &Secured) {
    for path in ["_index_template", "_component_template"] {
        engine.ask("DELETE", &format!("/{path}/{}*", engine.prefix));
    }
    engine.ask("DELETE", &format!("/{}-2024.01", engine.prefix));
}

#[test]
fn the_role_shipped_is_enough() {
    let engine = Secured::corner();
    engine.admit(&shipped(&engine.prefix));
    let first = run(&engine, &["--retention", "400d"]).exits(0);
    first.prints(["4 created", "this user may not manage roles"]);
    run(&engine, &["--retention", "400d"]).exits(0).prints(["0 created, 0 changed"]);
    run(&engine, &["--remove"]).exits(0).prints(["4 deleted"]);
    with_expired_index(&engine);
    let enforce = ["--enforce-retention", "--retention", "400d"];
    run(&engine, &enforce).exits(0).prints(["1 deleted"]);
    clear(&engine);
}

/// Without those of index state management, which is not part of the engine that tests run.
#[test]
fn a_right_that_is_missing_is_named() {
    let engine = Secured::corner();
    let whole = shipped(&engine.prefix);
    engine.admit(&whole);
    for right in whole.rights().into_iter().filter(|right| !right.contains("/ism/")) {
        clear(&engine);
        engine.grant(&whole.without(&right));
        let mut named = String::new();
        let mut codes = Vec::new();
        for step in [
            &["--retention", "400d"][..],
            &["--remove"],
            &["--enforce-retention", "--retention", "400d"],
        ] {
            if step[0] == "--enforce-retention" {
                with_expired_index(&engine);
            }
            let ended = run(&engine, step);
            codes.push(ended.code);
            named.push_str(&ended.stdout);
            named.push_str(&ended.stderr);
        }
        let is_optional = OPTIONAL.contains(&right.as_str());
        let has_failed = codes.iter().any(|code| matches!(code, Some(1 | 3)));
        assert_eq!(has_failed, !is_optional, "without {right}: {codes:?}");
        if !is_optional {
            assert!(named.contains(right.trim_end_matches('*')), "without {right}:\n{named}");
        }
        assert!(!named.contains(PASSWORD));
    }
    clear(&engine);
}

/// Only tells the version, or under which aliases indices are known.
const OPTIONAL: [&str; 2] = ["cluster:monitor/main", "indices:admin/aliases/get"];

#[test]
fn an_administrator_gets_roles_which_are_removed_again() {
    let engine = Secured::corner();
    let always = ["--into", &engine.url, "--index", &engine.prefix, "--ca-file", &engine.authority];
    let login = [("TRAILLOAD_USERNAME", "admin"), ("TRAILLOAD_PASSWORD", "admin")];
    let run = |arguments: &[&str]| SetupRun::new(&[&always, arguments].concat(), &login);
    let role = |suffix: &str| -> Value {
        engine.ask("GET", &format!("/_plugins/_security/api/roles/{}-{suffix}", engine.prefix))
    };
    run(&[]).exits(0).prints(["create role", "5 created"]);
    let name = format!("{}-loader", engine.prefix);
    let loader = role("loader");
    let patterns = &loader[&name]["index_permissions"][0]["index_patterns"];
    assert_eq!(*patterns, json!([engine.prefix, format!("{}-*", engine.prefix)]));
    run(&[]).exits(0).prints(["keep   role", "0 created, 0 changed"]);
    run(&["--remove"]).exits(0).prints(["delete role", "5 deleted"]);
    assert!(role("loader").get(&name).is_none() && role("reader").as_object().unwrap().len() < 3);
}

#[test]
fn roles_are_written_while_others_change_users() {
    let engine = Secured::corner();
    let always = ["--into", &engine.url, "--index", &engine.prefix, "--ca-file", &engine.authority];
    let login = [("TRAILLOAD_USERNAME", "admin"), ("TRAILLOAD_PASSWORD", "admin")];
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let others = Secured::corner();
                while !is_done.load(Relaxed) {
                    others.grant(&shipped(&others.prefix));
                }
            });
        }
        for _ in 0..3 {
            let run = |arguments: &[&str]| SetupRun::new(&[&always, arguments].concat(), &login);
            let ended = [run(&[]), run(&["--remove"])].map(|run| (run.code, run.stderr.clone()));
            is_done.fetch_or(ended.iter().any(|(code, _)| *code != Some(0)), Relaxed);
            assert!(ended.iter().all(|(code, _)| *code == Some(0)), "{ended:?}");
        }
        is_done.store(true, Relaxed);
    });
    clear(&engine);
}
