//! Two loaders at once into one empty index: all ids once, the same kinds, no error.

use super::on_every_engine;
use crate::support::events::gzip;
use crate::support::load::Desk;
use crate::support::real::{Corner, Engine};
use crate::support::samples::{Samples, shuffled};

on_every_engine!(two_loaders_at_once_agree);

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
            (outcome.number("read"), outcome.number("set_aside")),
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
    assert_eq!(load.with(["--again"]).run().exits(0).number("created"), 0);
    assert_eq!(corner.kinds(), kinds);
}
