//! What keeps documents out of an index, on the engines themselves: pipelines, closed and blocked indices, templates.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::events::{event_with, records};
use crate::support::load::{Desk, Load, Outcome};
use crate::support::real::{Corner, Engine};

on_every_engine!(
    a_missing_pipeline_sets_its_month_aside_and_names_itself,
    a_closed_or_blocked_month_keeps_nothing_else_out,
    a_template_of_the_same_priority_is_named_with_what_to_do,
    a_template_for_data_streams_is_named_with_what_to_do,
    the_doctor_names_what_is_in_the_way,
);

/// Events of each of the months January to March 2024.
const EACH: u64 = 4;

fn prepared(corner: &Corner) -> (Desk, Load) {
    let desk = Desk::new();
    let time = |number: usize| format!("2024-0{}-05T10:00:00Z", number % 3 + 1);
    let events: Vec<_> =
        (0..12).map(|number| event_with(number, "eventTime", time(number).into())).collect();
    let file = desk.file("a.json", records(&events));
    let load = desk.load(&file, corner.url()).with(corner.index());
    (desk, load)
}

fn march(corner: &Corner) -> String {
    format!("/{}-2024.03", corner.prefix())
}

fn put(corner: &Corner, path: &str, body: &Value) {
    corner.ask("PUT", path, body);
}

/// Fails unless January and February are loaded, and March has dead letters.
fn without_march(corner: &Corner, load: &Load) -> Outcome {
    let outcome = load.run().exits(3).counted([3 * EACH, 2 * EACH, 0, EACH]);
    assert_eq!(corner.count(), 2 * EACH);
    outcome
}

fn a_missing_pipeline_sets_its_month_aside_and_names_itself(corner: &Corner) {
    let (_desk, load) = prepared(corner);
    let settings = json!({ "settings": { "index.default_pipeline": "nosuch-pipeline" } });
    put(corner, &march(corner), &settings);
    let outcome = without_march(corner, &load);
    outcome.says(["nosuch-pipeline", "does not exist"]);
}

fn a_closed_or_blocked_month_keeps_nothing_else_out(corner: &Corner) {
    let (_desk, load) = prepared(corner);
    load.run().exits(0);
    for (block, hint) in [
        ("close", "_open"),
        ("write", "index.blocks.write"),
        ("read_only", "index.blocks.read_only"),
        ("metadata", "index.blocks.metadata"),
    ] {
        let (settings, month) = (format!("{}/_settings", march(corner)), march(corner));
        corner.ask("DELETE", &format!("/{}-2024.01", corner.prefix()), &Value::Null);
        corner.ask("DELETE", &format!("/{}-2024.02", corner.prefix()), &Value::Null);
        match block {
            "close" => drop(corner.ask("POST", &format!("{month}/_close"), &Value::Null)),
            _ => put(corner, &settings, &json!({ format!("index.blocks.{block}"): true })),
        }
        let desk = Desk::new();
        let again = load.clone().checkpoint(&desk.checkpoint());
        let outcome = again.run().exits(3).counted([3 * EACH, 2 * EACH, 0, EACH]);
        assert!(!outcome.stderr.contains("disk"), "{}", outcome.stderr);
        outcome.says([hint, &march(corner)[1..]]);
        match block {
            "close" => drop(corner.ask("POST", &format!("{month}/_open"), &Value::Null)),
            _ => put(corner, &settings, &json!({ format!("index.blocks.{block}"): null })),
        }
        assert_eq!(corner.count(), 3 * EACH, "what March held before is still there");
    }
}

/// Puts an index template as somebody else would, with the priority that ours has.
fn put_rival(corner: &Corner, more: u64, streams: bool) -> String {
    let name = format!("{}-rival", corner.prefix());
    let priority = 100 + corner.prefix().len() as u64 + more;
    let mut template =
        json!({ "index_patterns": [format!("{}-*", corner.prefix())], "priority": priority });
    if streams {
        template["data_stream"] = json!({});
    }
    put(corner, &format!("/_index_template/{name}"), &template);
    name
}

fn a_template_of_the_same_priority_is_named_with_what_to_do(corner: &Corner) {
    let (_desk, load) = prepared(corner);
    let rival = put_rival(corner, 0, false);
    let outcome = load.run().exits(1);
    assert!(!outcome.stderr.contains("collection"), "{}", outcome.stderr);
    outcome.says([rival.as_str(), "another priority", "trailload doctor"]);
    let doctor = load.instead("doctor").run().exits(1);
    assert!(doctor.stdout.contains(&format!("✗ index template '{rival}'")), "{}", doctor.stdout);
}

fn a_template_for_data_streams_is_named_with_what_to_do(corner: &Corner) {
    let (_desk, load) = prepared(corner);
    let rival = put_rival(corner, 10, true);
    let doctor = load.clone().instead("doctor").run().exits(1);
    assert!(doctor.stdout.contains(&format!("✗ index template '{rival}'")), "{}", doctor.stdout);
    let outcome = load.run().exits(1);
    assert!(!outcome.stderr.contains("collection"), "{}", outcome.stderr);
    outcome.says(["data streams", "--index"]);
}

fn the_doctor_names_what_is_in_the_way(corner: &Corner) {
    let (_desk, load) = prepared(corner);
    let prefix = corner.prefix();
    let legacy = format!("{prefix}-legacy");
    let named = json!({ "index_patterns": [format!("{prefix}*")],
        "settings": { "index.final_pipeline": "legacy-pipe" } });
    // First: Elasticsearch takes none beside an index template that matches the same.
    put(corner, &format!("/_template/{legacy}"), &named);
    let higher = put_rival(corner, 10, false);
    let pipeline = json!({ "settings": { "index.default_pipeline": "nosuch-pipeline" } });
    put(corner, &format!("/{prefix}-2024.01"), &pipeline);
    put(
        corner,
        &format!("/{prefix}-2024.02"),
        &json!({ "settings": { "index.blocks.write": true } }),
    );
    put(corner, &march(corner), &json!({}));
    corner.ask("POST", &format!("{}/_close", march(corner)), &Value::Null);

    let doctor = load.clone().instead("doctor").run();
    corner.ask("DELETE", &format!("/_template/{legacy}"), &Value::Null);
    for line in [
        format!("! index template '{higher}'"),
        format!("✓ templates: legacy template '{legacy}'"),
        "! ingest pipeline 'nosuch-pipeline' does not exist".to_owned(),
        "! ingest pipeline 'legacy-pipe' does not exist".to_owned(),
        format!("! closed indices: {prefix}-2024.03"),
        format!("! index.blocks.write blocks writes to {prefix}-2024.02"),
    ] {
        assert!(doctor.stdout.contains(&line), "`{line}` is not in:\n{}", doctor.stdout);
    }
}

/// Where an engine has the usual processors.
mod opensearch_3_with_processors {
    use super::*;

    fn with_pipeline(processor: &Value) -> (Corner, Outcome) {
        let corner = Corner::of(Engine::OpenSearch3);
        let (_desk, load) = prepared(&corner);
        let name = format!("{}-pipe", corner.prefix());
        put(&corner, &format!("/_ingest/pipeline/{name}"), &json!({ "processors": [processor] }));
        put(&corner, &march(&corner), &json!({ "settings": { "index.final_pipeline": name } }));
        let outcome = load.run();
        corner.ask(
            "PUT",
            &format!("{}/_settings", march(&corner)),
            &json!({ "index.final_pipeline": null }),
        );
        corner.ask("DELETE", &format!("/_ingest/pipeline/{name}"), &Value::Null);
        assert!(outcome.stderr.contains(&name), "{}", outcome.stderr);
        (corner, outcome)
    }

    #[test]
    fn documents_that_a_pipeline_drops_become_dead_letters() {
        let (corner, outcome) = with_pipeline(&json!({ "drop": {} }));
        outcome.exits(3).counted([3 * EACH, 2 * EACH, 0, EACH]);
        assert_eq!(corner.count(), 2 * EACH);
    }

    #[test]
    fn documents_that_get_another_id_become_dead_letters() {
        let (_corner, outcome) =
            with_pipeline(&json!({ "set": { "field": "_id", "value": "same" } }));
        outcome.exits(3).counted([3 * EACH, 2 * EACH, 0, EACH]);
    }

    #[test]
    fn a_pipeline_that_fails_is_not_waited_for() {
        for processor in [
            json!({ "fail": { "message": "no good" } }),
            json!({ "rename": { "field": "nosuch", "target_field": "x" } }),
            json!({ "script": { "source": "ctx.a.b = 1" } }),
        ] {
            let started = std::time::Instant::now();
            let (_corner, outcome) = with_pipeline(&processor);
            outcome.exits(3).counted([3 * EACH, 2 * EACH, 0, EACH]);
            assert!(started.elapsed().as_secs() < 30, "{processor}");
        }
    }

    #[test]
    fn a_pipeline_that_only_adds_a_field_is_warned_of_and_everything_goes_in() {
        let (corner, outcome) =
            with_pipeline(&json!({ "set": { "field": "team", "value": "audit" } }));
        outcome.exits(0).counted([3 * EACH, 3 * EACH, 0, 0]);
        assert_eq!(corner.count(), 3 * EACH);
    }
}
