//! Every real event, and every hostile one, goes in on every engine, whatever the order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::on_every_engine;
use crate::support::events::gzip;
use crate::support::hostile::{self, Hostile};
use crate::support::load::{Desk, Outcome};
use crate::support::real::{Corner, Engine, given};
use crate::support::samples::{Samples, shuffled};

on_every_engine!(
    real_events_in_any_order_give_the_same_kinds,
    the_hostile_corpus_goes_in,
    every_row_of_the_table_of_refusals_goes_in,
);

/// Random orders in an ordinary run of the tests; the long run asks for ten.
const ORDERS: u64 = 3;

fn orders() -> u64 {
    let asked = std::env::var_os("TRAILLOAD_ORDERS").and_then(|text| text.into_string().ok());
    asked.map_or(ORDERS, |text| text.parse().expect("TRAILLOAD_ORDERS is a number"))
}

/// What an engine must hold of events, whatever their order.
struct Expected {
    documents: u64,
    ids: BTreeSet<String>,
}

impl Expected {
    fn of(samples: &Samples) -> Self {
        Self { documents: samples.distinct() as u64, ids: samples.ids() }
    }
}

/// Loads the lines in this order, and once more; returns the kinds of all fields.
fn loaded(
    corner: &Corner,
    expected: &Expected,
    lines: &[Vec<u8>],
    by: &str,
    workers: &str,
) -> BTreeMap<String, String> {
    let desk = Desk::new();
    let file = desk.file("all.ndjson.gz", gzip(&lines.concat()));
    let load = desk.load(&file, corner.url()).with(corner.index());
    let load = load.with(["--index-by", by, "--workers", workers]);
    let first = load.run().exits(0);
    let (all, documents) = (lines.len() as u64, expected.documents);
    assert_eq!(first.counts(), [all, documents, all - documents, 0], "{}", first.stderr);
    assert_eq!(corner.count(), documents);
    assert!(corner.ids().is_superset(&expected.ids), "all ids are present");
    let kinds = corner.kinds();
    let second = load.with(["--reload"]).run().exits(0);
    assert_eq!(second.number("created"), 0);
    assert_eq!(second.number("duplicates"), lines.len() as u64);
    assert_eq!(corner.kinds(), kinds, "a second load changes no mapping");
    corner.clear();
    kinds
}

fn same_kinds_in_all_orders(corner: &Corner, samples: &Samples, orders: u64) {
    // Newest first, as LookupEvents gives them. A hundred months would only cost the engines memory.
    let expected = Expected::of(samples);
    let newest_first = loaded(corner, &expected, &samples.newest_first(), "year", "1");
    for seed in 0..orders {
        let workers = if seed % 2 == 0 { "1" } else { "2" };
        let kinds = loaded(corner, &expected, &shuffled(samples.lines(), seed), "none", workers);
        let differing: Vec<_> =
            newest_first.iter().filter(|(path, kind)| kinds.get(*path) != Some(kind)).collect();
        assert!(
            differing.is_empty() && kinds.len() == newest_first.len(),
            "order {seed}: {differing:#?}"
        );
    }
}

fn real_events_in_any_order_give_the_same_kinds(corner: &Corner) {
    same_kinds_in_all_orders(corner, &Samples::shipped(), orders());
}

#[test]
#[ignore = "takes a folder of one's own: TRAILLOAD_CORPUS=/path, with *.ndjson.gz files"]
fn a_folder_of_events_in_any_order_gives_the_same_kinds_on_all_engines() {
    let samples = Samples::of(&PathBuf::from(given("TRAILLOAD_CORPUS")));
    for engine in Engine::ALL {
        println!("{engine:?}");
        same_kinds_in_all_orders(&Corner::of(engine), &samples, orders().max(10));
    }
}

fn all_go_in(corner: &Corner, records: &[Hostile]) {
    let desk = Desk::new();
    for (number, part) in records.chunks(40).enumerate() {
        let lines: Vec<u8> =
            part.iter().flat_map(|record| [record.bytes.as_slice(), b"\n"].concat()).collect();
        desk.file(format!("in/{number:03}.gz"), gzip(&lines));
    }
    let load =
        desk.load(desk.path("in"), corner.url()).with(corner.index()).with(["--index-by", "none"]);
    let outcome = load.run();
    let held = corner.ids();
    let missing =
        records.iter().filter(|record| !record.id.is_empty() && !held.contains(&record.id));
    let missing: Vec<&str> = missing.map(|record| record.name.as_str()).collect();
    assert!(missing.is_empty(), "missing: {missing:#?}\n{}", outcome.stderr);
    let all = records.len() as u64;
    assert_settled(outcome, all);
    assert_eq!(corner.count(), all);
    assert_eq!(load.with(["--reload"]).run().exits(0).counts(), [all, 0, all, 0]);
}

fn assert_settled(outcome: Outcome, all: u64) {
    outcome.exits(0).counted([all, all, 0, 0]);
}

fn the_hostile_corpus_goes_in(corner: &Corner) {
    all_go_in(corner, &hostile::all());
}

fn every_row_of_the_table_of_refusals_goes_in(corner: &Corner) {
    all_go_in(corner, &hostile::table());
}
