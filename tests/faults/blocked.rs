//! An engine that takes requests and keeps documents out: ingest pipelines, closed and blocked indices.
//!
//! Holds: what the engine does not hold under its id in its index is never counted as loaded.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::engine::{FakeEngine, Flavour, Pipeline, Shut};
use crate::support::events::{event_with, lines};
use crate::support::load::{Desk, Load};

const JANUARY: &str = "cloudtrail-2024.01";
const MARCH: &str = "cloudtrail-2024.03";

/// Events of each month.
const EACH: usize = 7;

/// Events of January, February and March, one after the other.
fn three_months() -> Vec<Value> {
    let time = |number: usize| format!("2024-0{}-05T10:00:00Z", number % 3 + 1);
    (0..3 * EACH).map(|number| event_with(number, "eventTime", time(number).into())).collect()
}

fn prepared(engine: &FakeEngine) -> (Desk, Load) {
    let desk = Desk::new();
    let file = desk.file("a.json", lines(&three_months()));
    let load = desk.load(&file, engine.url());
    (desk, load)
}

fn in_index(engine: &FakeEngine, index: &str) -> usize {
    let held = engine.each(|name, one| if name == index { one.documents.len() } else { 0 });
    held.into_iter().sum()
}

#[test]
fn documents_that_a_pipeline_rejects_become_dead_letters_that_name_it() {
    let wrong = "java.lang.NullPointerException";
    for pipeline in [
        Pipeline::Missing,
        Pipeline::Drop,
        Pipeline::Move("elsewhere"),
        Pipeline::Rename("one"),
        Pipeline::Fail(400, "illegal_argument_exception", "field [x] not present"),
        Pipeline::Fail(400, "script_exception", "runtime error"),
        Pipeline::Fail(404, "resource_not_found_exception", "no such model"),
        Pipeline::Fail(500, "null_pointer_exception", wrong),
        Pipeline::Fail(500, "fail_processor_exception", "no good"),
        Pipeline::Fail(503, "fail_processor_exception", "no good"),
    ] {
        for flavour in [Flavour::OpenSearch, Flavour::Elasticsearch] {
            let engine = FakeEngine::start_as(flavour);
            let (_desk, load) = prepared(&engine);
            engine.pipeline(MARCH, "audit-pipe", pipeline.clone());
            let start = Instant::now();
            let outcome = load.run().exits(3);
            assert!(start.elapsed() < Duration::from_secs(30), "{pipeline:?}");
            let (read, out) = (3 * EACH as u64, EACH as u64);
            let outcome = outcome.counted([read, read - out, 0, out]);
            assert_eq!(in_index(&engine, JANUARY), EACH, "{pipeline:?}");
            assert!(outcome.stderr.contains("audit-pipe"), "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_closed_or_blocked_month_keeps_nothing_else_out() {
    for shut in [Shut::Closed, Shut::WriteBlock] {
        let engine = FakeEngine::start();
        let (_desk, load) = prepared(&engine);
        engine.shut(MARCH, Some(shut));
        let start = Instant::now();
        let (read, out) = (3 * EACH as u64, EACH as u64);
        let outcome = load.run().exits(3).counted([read, read - out, 0, out]);
        assert!(start.elapsed() < Duration::from_secs(30), "it is not waited for");
        assert_eq!((in_index(&engine, JANUARY), in_index(&engine, MARCH)), (EACH, 0));
        assert!(outcome.stderr.contains(MARCH), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("disk"), "{}", outcome.stderr);
    }
}

#[test]
fn the_last_line_counts_what_is_there_also_when_the_run_fails() {
    let engine = FakeEngine::start();
    let (_desk, load) = prepared(&engine);
    // January and February are taken; what is said to March ends the run.
    engine.refuse(|document| {
        let march = document.windows(8).any(|part| part == b"2024-03-");
        march.then(|| (405, "not here".to_owned()))
    });
    let outcome = load.run().exits(1);
    assert_eq!(outcome.number("created"), engine.count() as u64);
    assert_eq!(engine.count(), 2 * EACH);
}
