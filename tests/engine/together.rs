//! Two loaders at once into one empty index: all ids once, the same kinds, no error.

use serde_json::json;

use super::on_every_engine;
use crate::support::events::{event_with, gzip, lines, records};
use crate::support::load::Desk;
use crate::support::mapping::flatten;
use crate::support::real::{Corner, Engine};
use crate::support::samples::{Samples, shuffled};

on_every_engine!(two_loaders_at_once_agree, what_two_loaders_learn_at_once_is_next_months_mapping);

fn two_loaders_at_once_agree(corner: &Corner) {
    let samples = Samples::shipped();
    let desk = Desk::new();
    for (number, part) in shuffled(samples.lines(), 7).chunks(300).enumerate() {
        desk.file(format!("in/{number:02}.gz"), gzip(&part.concat()));
    }
    let load = desk.load(desk.path("in"), corner.url()).with(corner.index());
    let load = load.with(["--index-by", "none", "--batch", "256KiB"]);
    let other = desk.load(desk.path("in"), corner.url()).with(corner.index());
    let other = other
        .with(["--index-by", "none", "--batch", "256KiB"])
        .checkpoint(&desk.path("other.sqlite"));
    let (first, second) = (load.start(), other.start());
    let (first, second) = (first.end().exits(0), second.end().exits(0));
    let all = samples.lines().len() as u64;
    for outcome in [&first, &second] {
        assert_eq!(
            (outcome.number("read"), outcome.number("dead_letters")),
            (all, 0),
            "{}",
            outcome.stderr
        );
    }
    let distinct = samples.distinct() as u64;
    assert_eq!(
        first.number("created") + second.number("created"),
        distinct,
        "each was created once"
    );
    assert_eq!(corner.count(), distinct);
    assert!(corner.ids().is_superset(&samples.ids()));
    let kinds = corner.kinds();
    assert_eq!(load.with(["--reload"]).run().exits(0).number("created"), 0);
    assert_eq!(corner.kinds(), kinds);
}

/// New fields of each loader, of each sort: together more than the thousand that engines allow by default.
const UNKNOWN: usize = 600;

/// Each loader meets fields of its own, and others that it knows as texts and the other as objects.
fn what_two_loaders_learn_at_once_is_next_months_mapping(corner: &Corner) {
    let desk = Desk::new();
    let running =
        [("one", json!("text")), ("two", json!({ "name": "text" }))].map(|(whose, value)| {
            let events: Vec<_> = (0..UNKNOWN)
                .map(|number| {
                    // January only; two sets of ids.
                    let id = number * 8 + if whose == "one" { 0 } else { 4 };
                    let own = format!("{whose}{number}");
                    let both = format!("both{number}");
                    event_with(id, "requestParameters", json!({ own: "text", both: value }))
                })
                .collect();
            let file = desk.file(format!("{whose}.json"), lines(&events));
            let load =
                desk.load(&file, corner.url()).with(corner.index()).with(["--batch", "16KiB"]);
            load.checkpoint(&desk.path(format!("{whose}.sqlite"))).start()
        });
    for load in running {
        let outcome = load.end().exits(0).counted([UNKNOWN as u64, UNKNOWN as u64, 0, 0]);
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    }
    let january = corner.kinds();
    let learned = january.keys().filter(|path| path.starts_with("requestParameters."));
    assert!(learned.count() > 3 * UNKNOWN - 50, "own fields, and both");
    // Somebody who knows none of these fields brings the first event of February.
    let february = desk.file("february.json", records(&[event_with(1, "apiVersion", json!("1"))]));
    let load = desk.load(&february, corner.url()).with(corner.index());
    load.checkpoint(&desk.path("third.sqlite")).run().exits(0).counted([1, 1, 0, 0]);
    let index = format!("{}-2024.02", corner.prefix());
    let mapping = corner.ask("GET", &format!("/{index}/_mapping"), &serde_json::Value::Null);
    let february = flatten(&mapping[&index]["mappings"]);
    let differing: Vec<_> =
        january.iter().filter(|(path, kind)| february.get(*path) != Some(kind)).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
