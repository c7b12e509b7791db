//! Templates on real engines: made, kept, reviewed, removed; what others made stays.

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun, setting, templates, without_times};
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
    nothing_is_left_in_the_engine_after_a_removal,
    objects_of_an_older_version_are_brought_up_to_date,
    a_field_limit_that_was_raised_stays,
    two_setups_at_once_make_the_same,
    periods_of_several_setups_must_agree,
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
    // With the template of the index of runs, which the load installed.
    SetupRun::of(corner, &["--remove"]).exits(0).prints(["5 deleted"]);
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
    let run = run.prints([
        &format!("cannot index template '{prefix}'"),
        &format!("cannot component template '{prefix}-setup'"),
        "another program created it",
        "2 created, 0 changed, 0 deleted",
        "2 not possible",
    ]);
    run.prints(["delete it, or choose another prefix with --index"]);
    assert_eq!(index_template(), before);
    // What their template is composed of stays, and is named; everything else goes.
    let composed = json!({ "index_patterns": [format!("{prefix}-*")], "priority": 7,
        "composed_of": [format!("{prefix}-settings")] });
    corner.ask("PUT", &format!("/_index_template/{prefix}"), &composed);
    let before = index_template();
    let removed = SetupRun::of(corner, &["--remove"]).exits(0);
    removed.prints([
        &format!("keep   index template '{prefix}': trailload did not create it"),
        &format!("keep   component template '{prefix}-setup': trailload did not create it"),
        &format!("keep   component template '{prefix}-settings': the index template '{prefix}' of another"),
        &format!("delete component template '{prefix}-discovered'"),
        "1 deleted, 3 kept, 0 not possible",
    ]);
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
    let index_template = |all: &Value| {
        let mut templates = all[0]["index_templates"].as_array().unwrap().iter();
        templates.find(|template| template["name"] == corner.prefix()).cloned()
    };
    assert_eq!(index_template(&after), index_template(&before));
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

/// Returns all objects of the cluster whose names hold the prefix: other tests use the same engine.
fn cluster_state(corner: &Corner) -> Value {
    let mut state = corner.ask("GET", "/_cluster/state/metadata", &Value::Null);
    without_times(&mut state);
    let mut found = json!({});
    named(&state["metadata"], corner.prefix(), "", &mut found);
    found
}

/// Collects the members whose names hold the prefix, by their paths.
fn named(value: &Value, prefix: &str, path: &str, found: &mut Value) {
    for (name, member) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        if name.contains(prefix) {
            let mut member = member.clone();
            if path.starts_with("/indices/") {
                // Without the counters that each change raises.
                member = json!([member["settings"], member["mappings"], member["aliases"]]);
            }
            found[path] = member;
        } else {
            named(member, prefix, &path, found);
        }
    }
}

fn nothing_is_left_in_the_engine_after_a_removal(corner: &Corner) {
    let prefix = corner.prefix();
    // What others made: an index beside the months, and templates.
    corner.ask("PUT", &format!("/{prefix}-theirs"), &Value::Null);
    let theirs = json!({ "index_patterns": [format!("{prefix}x-*")] });
    corner.ask("PUT", &format!("/_index_template/{prefix}x"), &theirs);
    let before = cluster_state(corner);
    assert!(before.to_string().contains(&format!("{prefix}-theirs")), "{before}");
    SetupRun::of(corner, &["--retention", "36500d", "--replicas", "0"]).exits(0);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..20)));
    desk.load(&file, corner.url()).with(corner.index()).run().exits(0);
    assert_ne!(cluster_state(corner), before);
    SetupRun::of(corner, &["--remove"]).exits(0).prints([" 0 not possible"]);
    // Documents are not setup's: those of events and of runs stay until somebody deletes their indices.
    let after = cluster_state(corner);
    for path in after.as_object().unwrap().keys().filter(|path| before.get(path).is_none()) {
        if let Some(index) = path.strip_prefix("/indices/") {
            corner.ask("DELETE", &format!("/{index}"), &Value::Null);
        }
    }
    assert_eq!(cluster_state(corner), before);
}

fn objects_of_an_older_version_are_brought_up_to_date(corner: &Corner) {
    let prefix = corner.prefix();
    SetupRun::of(corner, &["--retention", "400d", "--replicas", "0"]).exits(0);
    let current = templates(corner);
    // As the first version left them: one index template without components, and a lower version.
    corner.ask("DELETE", &format!("/_index_template/{prefix}"), &Value::Null);
    corner.ask("DELETE", &format!("/_component_template/{prefix}-settings"), &Value::Null);
    let older = json!({
        "index_patterns": [prefix, format!("{prefix}-*")], "priority": 100,
        "composed_of": [format!("{prefix}-discovered")], "version": 1,
        "_meta": { "managed_by": "trailload", "version": 1, "index_by": "month" },
        "template": { "mappings": { "dynamic": false, "properties": { "eventName": { "type": "keyword" } } } },
    });
    corner.ask("PUT", &format!("/_index_template/{prefix}"), &older);
    let run = SetupRun::of(corner, &[]).exits(0);
    run.prints([
        &format!("change index template '{prefix}': version 1 becomes "),
        &format!("create component template '{prefix}-settings'"),
        "keep   component template",
        "1 created, 1 changed, 0 deleted",
    ]);
    assert_eq!(templates(corner), current);
    SetupRun::of(corner, &[]).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
}

/// Returns the field limit of the index template.
fn field_limit(corner: &Corner) -> Value {
    let found = corner.ask("GET", &format!("/_index_template/{}", corner.prefix()), &Value::Null);
    let template = &found["index_templates"][0]["index_template"];
    let limit = "/template/settings/index/mapping/total_fields/limit";
    template.pointer(limit).cloned().unwrap_or_default()
}

fn a_field_limit_that_was_raised_stays(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix());
    let file = desk.file("a.json", records(&events(0..20)));
    let load = desk.load(&file, corner.url()).with(corner.index());
    load.clone().with(["--max-fields", "20000"]).run().exits(0);
    assert_eq!(field_limit(corner), "40000");
    // Another version of the template: the next load and the next setup install theirs.
    for _ in 0..2 {
        let path = format!("/_index_template/{prefix}");
        let found = corner.ask("GET", &path, &Value::Null);
        let mut template = found["index_templates"][0]["index_template"].clone();
        template["version"] = json!(1);
        template["_meta"]["version"] = json!(1);
        without_times(&mut template);
        corner.ask("PUT", &path, &template);
        load.clone().with(["--reload"]).run().exits(0);
        assert_eq!(field_limit(corner), "40000", "a load with the default limit");
        corner.ask("PUT", &path, &template);
        SetupRun::of(corner, &[]).exits(0).prints(["version 1 becomes "]);
        assert_eq!(field_limit(corner), "40000", "a setup");
    }
    // The next month starts with it.
    let next = desk.file("b.json", records(&events(20..40)));
    desk.load(&next, corner.url()).with(corner.index()).run().exits(0);
    for month in ["01", "02"] {
        let index = format!("{prefix}-2024.{month}");
        assert_eq!(setting(corner, &index, "/mapping/total_fields/limit"), "40000");
    }
}

fn two_setups_at_once_make_the_same(corner: &Corner) {
    let options = ["--retention", "400d", "--replicas", "0"];
    std::thread::scope(|threads| {
        let runs: Vec<_> =
            (0..4).map(|_| threads.spawn(|| SetupRun::of(corner, &options))).collect();
        for run in runs {
            run.join().unwrap().exits(0);
        }
    });
    SetupRun::of(corner, &options).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
}

fn periods_of_several_setups_must_agree(corner: &Corner) {
    SetupRun::of(corner, &["--retention", "400d"]).exits(0);
    for days in ["400d", "500d"] {
        let refused = SetupRun::of(corner, &["--warm", days, "--print"]).exits(2);
        assert!(refused.stderr.contains("the recorded retention (400d)"), "{}", refused.stderr);
    }
    // With a retention that is longer, they agree.
    let both = ["--warm", "500d", "--retention", "800d", "--print"];
    let agreed = SetupRun::of(corner, &both);
    assert!(!agreed.stderr.contains("recorded"), "{}", agreed.stderr);
}
