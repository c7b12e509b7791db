//! Records that no sane service would write all end in the index.

use std::collections::BTreeSet;

use crate::support::engine::{FakeEngine, Flavour};
use crate::support::events::{event, gzip, id};
use crate::support::hostile::{self, Hostile};
use crate::support::load::Desk;

/// Loads the records as lines, ordinary ones between them; returns the names of the missing ones.
fn missing(flavour: Flavour, records: &[Hostile]) -> Vec<String> {
    let (engine, desk) = (FakeEngine::start_as(flavour), Desk::new());
    for (number, part) in records.chunks(40).enumerate() {
        let mut lines = Vec::new();
        for (at, record) in part.iter().enumerate() {
            lines.extend_from_slice(&record.bytes);
            lines.extend_from_slice(format!("\n{}\n", event(number * 40 + at)).as_bytes());
        }
        desk.file(format!("in/{number:03}.gz"), gzip(&lines));
    }
    let outcome = desk.load(desk.path("in"), engine.url()).run();
    let held = engine.ids();
    let named = records.iter().filter(|record| !record.id.is_empty() && !held.contains(&record.id));
    let missing: Vec<String> = named.map(|record| record.name.clone()).collect();
    let expected = records.len() * 2;
    if missing.is_empty() {
        let outcome = outcome.exits(0);
        assert_eq!(
            outcome.counts(),
            [expected as u64, expected as u64, 0, 0],
            "{}",
            outcome.stderr
        );
        assert_eq!(engine.count(), expected);
        engine.assert_no_complaints();
    } else {
        println!("{}", outcome.stderr);
    }
    let ordinary = (0..records.len()).map(id).filter(|id| !held.contains(id));
    missing.into_iter().chain(ordinary.map(|id| format!("the ordinary event {id}"))).collect()
}

#[test]
fn the_hostile_corpus_goes_in() {
    let none: Vec<String> = Vec::new();
    assert_eq!(missing(Flavour::OpenSearch, &hostile::all()), none);
}

#[test]
fn the_hostile_corpus_goes_in_backwards_on_the_other_engine() {
    let mut records = hostile::all();
    records.reverse();
    let none: Vec<String> = Vec::new();
    assert_eq!(missing(Flavour::Elasticsearch, &records), none);
}

#[test]
fn every_row_of_the_table_of_refusals_goes_in() {
    let none: Vec<String> = Vec::new();
    assert_eq!(missing(Flavour::OpenSearch, &hostile::table()), none);
}

#[test]
fn different_events_under_one_odd_id_do_not_meet() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let records: Vec<Hostile> =
        hostile::all().into_iter().filter(|record| record.id.is_empty()).collect();
    let lines: Vec<u8> =
        records.iter().flat_map(|record| [record.bytes.as_slice(), b"\n"].concat()).collect();
    let file = desk.file("a.json", lines);
    let load = desk.load(&file, engine.url());
    let all = records.len() as u64;
    load.run().exits(0).counted([all, all, 0, 0]);
    load.with(["--reload"]).run().exits(0).counted([all, 0, all, 0]);
    let ids: BTreeSet<String> = engine.ids();
    assert!(ids.iter().all(|id| id.len() <= 512), "{ids:?}");
}
