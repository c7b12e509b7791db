//! The same events give the same documents and kinds, whatever the order they come in.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::engine::FakeEngine;
use crate::support::events::gzip;
use crate::support::json::{self, Json};
use crate::support::load::Desk;
use crate::support::samples::{Samples, shuffled};

type Held = (BTreeMap<(String, String), Json>, BTreeMap<String, String>);

fn held_after(lines: &[Vec<u8>], workers: &str) -> Held {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("all.gz", gzip(&lines.concat()));
    let load = desk.load(&file, engine.url()).with(["--index-by", "year", "--workers", workers]);
    let outcome = load.run().exits(0);
    assert_eq!(outcome.number("dead_letters"), 0, "{}", outcome.stderr);
    assert_eq!(outcome.number("read"), lines.len() as u64);
    engine.assert_no_complaints();
    (engine.documents(), engine.kinds())
}

#[test]
fn real_events_give_the_same_kinds_in_any_order() {
    let samples = Samples::shipped();
    let (first, kinds) = held_after(&samples.newest_first(), "1");
    assert_eq!(first.len(), samples.distinct());
    for seed in 0..2 {
        let (documents, others) = held_after(&shuffled(samples.lines(), seed), "2");
        assert!(documents.keys().eq(first.keys()), "the same ids, seed {seed}");
        let differing = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            let differing = one.iter().filter(|(path, kind)| other.get(*path) != Some(kind));
            differing.map(|(path, kind)| format!("{path}: {kind}")).collect::<Vec<_>>()
        };
        let (gone, new) = (differing(&kinds, &others), differing(&others, &kinds));
        assert!(gone.is_empty() && new.is_empty(), "seed {seed}, gone {gone:#?}, new {new:#?}");
    }
}

#[test]
fn every_member_of_a_real_event_is_in_its_document() {
    let samples = Samples::shipped();
    let (documents, _) = held_after(samples.lines(), "2");
    let by_id: BTreeMap<&str, &Json> =
        documents.iter().map(|((_, id), document)| (id.as_str(), document)).collect();
    let mut compared = 0;
    for line in samples.lines() {
        let event = json::read(line.trim_ascii_end()).unwrap().sorted();
        let held = event.get("eventID").and_then(Json::text).and_then(|id| by_id.get(id));
        let Some(held) = held.filter(|held| held.at("trailload.changes").is_none()) else {
            continue;
        };
        let Json::Object(members) = &event else { panic!("{event:?}") };
        for (key, value) in members {
            let key = std::str::from_utf8(key).unwrap();
            assert_eq!(held.get(key), Some(value), "{key} of {event:?}");
        }
        compared += 1;
    }
    assert!(compared * 2 > samples.lines().len(), "most events need no rewrite: {compared}");
}

#[test]
fn the_shipped_samples_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    assert!(Samples::shipped().lines().len() > 3_000);
}
