//! Templates on real engines: made, kept, reviewed, removed; what others made stays.

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun, setting, templates};
use crate::engine::on_every_engine;
use crate::support::events::{events, records};
use crate::support::load::Desk;

on_every_engine!(
    a_second_setup_changes_nothing,
    print_shows_the_requests_and_changes_nothing,
    remove_leaves_what_others_made,
    a_template_of_another_program_is_named_and_left_alone,
    a_newer_template_is_named_and_left_alone,
    the_settings_of_the_user_survive_and_apply_to_the_next_month,
    a_load_keeps_what_setup_made,
);

fn a_second_setup_changes_nothing(corner: &Corner) {
    let options = ["--retention", "400d", "--replicas", "0"];
    let first = SetupRun::of(corner, &options).exits(0);
    first.prints(["create index template", "4 created, 0 changed"]);
    let before = templates(corner);
    for again in [&options[..], &[]] {
        SetupRun::of(corner, again).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
        assert_eq!(templates(corner), before, "{again:?}");
    }
    let changed = SetupRun::of(corner, &["--retention", "500d"]).exits(0);
    changed.prints(["change component template", "retention 500d, replicas 0", "1 changed"]);
    SetupRun::of(corner, &["--retention", "none"]).exits(0).prints(["1 changed"]);
}

/// Sends the requests that were printed, as a person does who reviewed them.
fn send_printed(corner: &Corner, printed: &str) -> usize {
    let mut sent = 0;
    for block in printed.split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let Some((head, body)) = lines.split_first() else { continue };
        let (method, path) = head.split_once(' ').unwrap();
        let body = body.join("\n");
        let body: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        corner.ask(method, path, &body);
        sent += 1;
    }
    sent
}

fn print_shows_the_requests_and_changes_nothing(corner: &Corner) {
    let options = ["--retention", "400d", "--replicas", "0"];
    let nothing = templates(corner);
    let printed = SetupRun::of(corner, &[&options[..], &["--print"]].concat()).exits(0);
    assert_eq!(templates(corner), nothing);
    assert_eq!(send_printed(corner, &printed.stdout), 4);
    SetupRun::of(corner, &options).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
    let made = templates(corner);
    let printed = SetupRun::of(corner, &["--remove", "--print"]).exits(0);
    assert_eq!(templates(corner), made);
    assert_eq!(send_printed(corner, &printed.stdout), 4);
    assert_eq!(templates(corner), nothing);
}

fn remove_leaves_what_others_made(corner: &Corner) {
    let prefix = corner.prefix();
    let theirs = json!({ "template": { "settings": { "number_of_shards": 1 } } });
    corner.ask("PUT", &format!("/_component_template/{prefix}-theirs"), &theirs);
    let patterns = json!({ "index_patterns": [format!("{prefix}other-*")] });
    corner.ask("PUT", &format!("/_index_template/{prefix}other"), &patterns);
    let before = templates(corner);
    SetupRun::of(corner, &["--retention", "400d"]).exits(0);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..20)));
    SetupRun::of(corner, &["--retention", "none"]).exits(0);
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    SetupRun::of(corner, &["--remove"]).exits(0).prints(["4 deleted"]);
    assert_eq!(templates(corner), before);
    assert_eq!(corner.count(), 20, "events stay");
    SetupRun::of(corner, &["--remove"]).exits(0).prints(["0 deleted"]);
    // Settings of the user are not trailload's.
    SetupRun::of(corner, &[]).exits(0);
    let mine = json!({ "template": { "settings": { "number_of_shards": 2 } } });
    corner.ask("PUT", &format!("/_component_template/{prefix}-settings"), &mine);
    let removed = SetupRun::of(corner, &["--remove"]).exits(0);
    removed.prints(["keep   component template", "your own settings"]);
    let path = format!("/_component_template/{prefix}-settings");
    assert!(corner.ask("GET", &path, &Value::Null)["component_templates"].is_array());
}

fn a_template_of_another_program_is_named_and_left_alone(corner: &Corner) {
    let prefix = corner.prefix();
    let theirs = json!({ "index_patterns": [format!("{prefix}-*")], "priority": 7 });
    corner.ask("PUT", &format!("/_index_template/{prefix}"), &theirs);
    let foreign = json!({ "template": { "settings": { "number_of_shards": 1 } } });
    corner.ask("PUT", &format!("/_component_template/{prefix}-setup"), &foreign);
    let index_template = || corner.ask("GET", &format!("/_index_template/{prefix}"), &Value::Null);
    let before = index_template();
    let run = SetupRun::of(corner, &["--retention", "400d"]).exits(3);
    run.prints([
        &format!("cannot index template '{prefix}'"),
        &format!("cannot component template '{prefix}-setup'"),
        "another program created it",
        "2 created, 0 changed, 0 deleted",
        "2 not possible",
    ]);
    assert_eq!(index_template(), before);
    SetupRun::of(corner, &["--remove"]).exits(0).prints(["trailload did not create it"]);
    assert_eq!(index_template(), before);
}

fn a_newer_template_is_named_and_left_alone(corner: &Corner) {
    let prefix = corner.prefix();
    let newer = json!({ "index_patterns": [format!("{prefix}-*")],
        "_meta": { "managed_by": "trailload", "version": 99_999 } });
    corner.ask("PUT", &format!("/_index_template/{prefix}"), &newer);
    let run = SetupRun::of(corner, &[]).exits(3);
    run.prints(["a newer trailload created it (version 99999)", "1 not possible"]);
}

fn the_settings_of_the_user_survive_and_apply_to_the_next_month(corner: &Corner) {
    let prefix = corner.prefix();
    SetupRun::of(corner, &["--replicas", "0"]).exits(0);
    let mine = json!({ "template": { "settings": {
        "index": { "number_of_replicas": "3", "codec": "best_compression", "refresh_interval": "7s" } } } });
    let path = format!("/_component_template/{prefix}-settings");
    corner.ask("PUT", &path, &mine);
    let stored = || {
        let found = corner.ask("GET", &path, &Value::Null);
        found["component_templates"][0]["component_template"]["template"].clone()
    };
    let before = stored();
    let desk = Desk::new();
    let all = events(0..20);
    let file = desk.file("a.json", records(&all));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    SetupRun::of(corner, &["--replicas", "1"]).exits(0);
    let again = desk.file("b.json", records(&events(20..40)));
    desk.load(&again, corner.url()).with(corner.index()).run().exits(0);
    assert_eq!(stored(), before);
    for month in ["01", "02"] {
        let index = format!("{prefix}-2024.{month}");
        for (path, value) in [
            ("/number_of_replicas", "3"),
            ("/codec", "best_compression"),
            ("/refresh_interval", "7s"),
        ] {
            assert_eq!(setting(corner, &index, path), value, "{index} {path}");
        }
    }
}

fn a_load_keeps_what_setup_made(corner: &Corner) {
    SetupRun::of(corner, &["--retention", "36500d", "--replicas", "0"]).exits(0);
    let before = templates(corner);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..20)));
    let load = desk.load(&file, corner.url()).with(corner.index());
    load.run().exits(0).counted([20, 20, 0, 0]);
    let kept = |all: &Value| {
        let mut all = all[1]["component_templates"].as_array().unwrap().clone();
        all.retain(|one| !one["name"].as_str().unwrap().ends_with("-discovered"));
        all
    };
    let after = templates(corner);
    assert_eq!(after[0], before[0], "the index template");
    assert_eq!(kept(&after), kept(&before));
    let index = format!("{}-2024.01", corner.prefix());
    assert_eq!(setting(corner, &index, "/number_of_replicas"), "0");
    // Where the engine can, the age of an index counts from its events.
    let end = setting(corner, &index, "/lifecycle/origination_date");
    assert!(end.is_null() || end == "1706745600000", "{end}");
    let created = setting(corner, &index, "/creation_date");
    let created: i64 = created.as_str().unwrap().parse().unwrap();
    let about = corner.ask("GET", "/_cluster/stats?filter_path=nodes.versions", &Value::Null);
    let is_opensearch_3 = about["nodes"]["versions"][0].as_str().unwrap().starts_with("3.");
    assert_eq!(created < 1_704_070_800_000, is_opensearch_3, "{about} {created}");
}
