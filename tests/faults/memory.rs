//! `--memory` holds, also where records are huge: what has no room is set aside, and the run stays within its share.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::{FakeEngine, Fault};
use crate::support::events::{events, ids, lines, records};
use crate::support::load::{Desk, Load, Outcome};

/// What the program takes beside the buffers that `--memory` counts: code, tables, the page cache of the checkpoint.
const PROGRAM_MIB: u64 = 32;

/// Returns an event with a text of so many MiB in it.
fn huge(event: &Value, mebibytes: usize) -> Value {
    let mut event = event.clone();
    event["requestParameters"] = json!({ "text": "y".repeat(mebibytes << 20) });
    event
}

/// Runs to the end, and returns the most memory that was ever held. The engine takes its time, so that the peak is
/// seen while everything is still there.
fn peak(engine: &FakeEngine, load: &Load) -> (u64, Outcome) {
    engine.fail(100_000, &Fault::Slow(Duration::from_secs(1)));
    let mut running = load.start();
    let mut peak = 0;
    while !running.ends_within(Duration::from_millis(5)) {
        peak = running.peak_memory_mib().unwrap_or(0).max(peak);
    }
    assert!(peak > 0, "the system does not tell");
    (peak, running.end())
}

#[test]
fn a_record_that_has_no_room_is_set_aside_and_the_rest_goes_in() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all = events(0..11);
    all[0] = huge(&all[0], 30);
    for (name, content) in [("plain.json", records(&all)), ("lines.json", lines(&all))] {
        let file = desk.file(name, content);
        let load = desk.load(&file, engine.url()).with(["--memory", "32MiB"]);
        let (peak, outcome) = peak(&engine, &load);
        assert_eq!(
            (outcome.code, outcome.number("dead_letters")),
            (Some(3), 1),
            "{}",
            outcome.stderr
        );
        assert!(peak <= 32 + PROGRAM_MIB, "{peak} MiB of 32 MiB and what the program takes");
        outcome.says(["too long", "--memory allows at most 8.0 MiB"]);
        assert_eq!(engine.ids(), ids(1..11));
    }
}

#[test]
fn records_that_have_room_are_loaded_within_the_budget() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for number in 0..8 {
        let mut all = events(number * 10..number * 10 + 10);
        all[3] = huge(&all[3], 7);
        desk.file(format!("in/{number}.json"), records(&all));
    }
    let load = desk.load(desk.path("in"), engine.url());
    let (peak, outcome) = peak(&engine, &load.with(["--memory", "64MiB", "--workers", "4"]));
    outcome.exits(0).counted([80, 80, 0, 0]);
    assert_eq!(engine.ids(), ids(0..80));
    assert!(peak <= 64 + PROGRAM_MIB, "{peak} MiB of 64 MiB and what the program takes");
}

#[test]
fn with_the_usual_memory_a_record_of_30_mib_is_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut all = events(0..3);
    all[1] = huge(&all[1], 30);
    let file = desk.file("a.json", records(&all));
    let (peak, outcome) = peak(&engine, &desk.load(&file, engine.url()));
    outcome.exits(0).counted([3, 3, 0, 0]);
    assert!(peak <= 256 + PROGRAM_MIB, "{peak} MiB");
}
