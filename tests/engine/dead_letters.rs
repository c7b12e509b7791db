//! What a real engine keeps out: told as one cause, never exit 0 before it is in, and sent again.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::events::{event_with, events, ids, records};
use crate::support::load::{Chain, Desk, Load, Outcome, PROGRAM};
use crate::support::real::{Corner, Engine};

/// Returns the dead letters of `status --json`.
fn dead_letters(desk: &Desk) -> Value {
    let mut command = Command::new(PROGRAM);
    command.args(["status", "--json"]).args("--checkpoint".chain(desk.checkpoint()));
    let output = command.env_clear().env("HOME", desk.path("home")).output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["dead_letters"].clone()
}

fn retried(outcome: &Outcome) -> [u64; 4] {
    let retried = &outcome.summary.as_ref().unwrap()["retried"];
    ["documents", "created", "duplicates", "dead_letters"]
        .map(|name| retried[name].as_u64().unwrap())
}

/// Makes the index of March as another program would, before anything is loaded.
fn march(corner: &Corner, body: &Value) {
    corner.ask("PUT", &format!("/{}-2024.03", corner.prefix()), body);
}

/// Prepares the load of events of March, each from a service.
fn from_services(desk: &Desk, corner: &Corner, count: usize) -> Load {
    let services = ["ec2", "config", "cloudtrail", "rds"];
    let all: Vec<Value> = (0..count)
        // Every fourth event is of March.
        .map(|number| {
            event_with(
                2 + 4 * number,
                "sourceIPAddress",
                format!("{}.amazonaws.com", services[number % 4]).into(),
            )
        })
        .collect();
    let file = desk.file("in.json", records(&all));
    desk.load(file, corner.url()).with(corner.index())
}

#[test]
fn an_index_of_another_loader_is_one_cause_and_its_documents_go_in_once_it_is_mended() {
    for engine in Engine::ALL {
        let (corner, desk) = (Corner::of(engine), Desk::new());
        let address = json!({ "sourceIPAddress": { "type": "ip" } });
        march(&corner, &json!({ "mappings": { "properties": address } }));
        let load = from_services(&desk, &corner, 40);
        load.run().exits(3).counted([40, 0, 0, 40]);
        let told = dead_letters(&desk);
        let reasons = told["reasons"].as_array().unwrap();
        assert_eq!(reasons.len(), 1, "{engine:?}: {told:#}");
        assert_eq!(
            (&reasons[0]["documents"], &reasons[0]["cause"]),
            (&json!(40), &json!("content"))
        );
        let reason = reasons[0]["reason"].as_str().unwrap();
        assert!(!reason.contains("amazonaws.com") && reason.contains("of type [ip]"), "{reason}");
        // Nothing changed, so nothing is sent, and still it is not 0.
        assert_eq!(retried(&load.run().exits(3).counted([0; 4])), [0; 4], "{engine:?}");
        corner.ask("DELETE", &format!("/{}-2024.03", corner.prefix()), &Value::Null);
        let mended = load.run().exits(0);
        assert_eq!(retried(&mended), [40, 40, 0, 0], "{engine:?}");
        assert_eq!(corner.count(), 40);
        assert_eq!(dead_letters(&desk)["documents"], 0);
    }
}

#[test]
fn an_index_with_a_pipeline_that_is_missing_is_never_exit_0_before_it_is_repaired() {
    for engine in Engine::ALL {
        let (corner, desk) = (Corner::of(engine), Desk::new());
        march(&corner, &json!({ "settings": { "index.default_pipeline": "nosuch" } }));
        let load = from_services(&desk, &corner, 10);
        load.run().exits(3).counted([10, 0, 0, 10]);
        load.run().exits(3).counted([0; 4]);
        assert_eq!(corner.count(), 0);
        let reasons = dead_letters(&desk)["reasons"].clone();
        assert_eq!(reasons.as_array().unwrap().len(), 1, "{engine:?}: {reasons:#}");
        assert!(reasons[0]["reason"].as_str().unwrap().contains("nosuch"), "{reasons:#}");
        let none = json!({ "index": { "default_pipeline": "_none" } });
        corner.ask("PUT", &format!("/{}-2024.03/_settings", corner.prefix()), &none);
        let repaired = load.run().exits(0).counted([0; 4]);
        assert_eq!(retried(&repaired), [10, 10, 0, 0], "{engine:?}");
        assert_eq!(corner.count(), 10);
    }
}

#[test]
fn killed_while_a_real_engine_takes_documents_again_nothing_is_lost_or_twice() {
    const EVENTS: usize = 400;
    let (corner, desk) = (Corner::of(Engine::OpenSearch3), Desk::new());
    corner.ask(
        "PUT",
        &format!("/{}", corner.prefix()),
        &json!({ "mappings": { "properties": { "userAgent": { "type": "long" } } } }),
    );
    let file = desk.file("in.json", records(&events(0..EVENTS)));
    let all = ["--index-by", "none"];
    let load = desk.load(&file, corner.url()).with(corner.index()).with(all);
    load.run().exits(3).counted([400, 0, 0, 400]);
    corner.ask("DELETE", &format!("/{}", corner.prefix()), &Value::Null);
    let nothing = desk.file("none.json", records(&[]));
    let again = desk.load(nothing, corner.url()).with(corner.index()).with(all);
    let again = again.with(["--reload", "--batch", "8KiB"]);
    for life in [150, 200, 250, 300, 400] {
        let mut running = again.start();
        if running.ends_within(std::time::Duration::from_millis(life)) {
            break;
        }
        running.kill();
    }
    again.run().exits(0);
    assert_eq!(corner.ids(), ids(0..EVENTS));
    assert_eq!(corner.count(), EVENTS as u64);
    assert_eq!(dead_letters(&desk)["documents"], 0);
}
