//! The same events give the same documents and kinds, whatever the order they come in.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::engine::FakeEngine;
use crate::support::events::gzip;
use crate::support::load::Desk;
use crate::support::samples::{Samples, shuffled};

type Held = (BTreeMap<(String, String), crate::support::json::Json>, BTreeMap<String, String>);

fn held_after(lines: &[Vec<u8>], workers: &str) -> Held {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("all.gz", gzip(&lines.concat()));
    let load = desk.load(&file, engine.url()).with(["--index-by", "year", "--workers", workers]);
    let outcome = load.run().exits(0);
    assert_eq!(outcome.number("set_aside"), 0, "{}", outcome.stderr);
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
        for (path, kind) in &kinds {
            assert_eq!(others.get(path), Some(kind), "{path}, seed {seed}");
        }
        assert_eq!(others.len(), kinds.len());
    }
}

#[test]
fn the_shipped_samples_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    assert!(Samples::shipped().lines().len() > 3_000);
}
