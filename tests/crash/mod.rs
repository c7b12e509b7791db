//! SIGKILL at any moment costs repeated work: never a gap, never a second copy.
//!
//! The real program is started, killed at a random moment, and started again, until it was killed as
//! often as asked for (`TRAILLOAD_KILLS`); then it may end. Whenever it ends before it is killed, it
//! gets more files.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::support::engine::{FakeEngine, Fault};
use crate::support::events::{events, gzip, ids, records};
use crate::support::load::{Desk, Load, loaded_partitions};
use crate::support::real::{Corner, Engine};

/// Kills in an ordinary run of the tests; the long run asks for 200.
const KILLS: u64 = 20;
/// Files that are added whenever the loader is done, and events in each.
const FILES: usize = 40;
const EVENTS: usize = 25;
/// Longest life of a process, in milliseconds: long enough to settle something, too short to finish.
const LONGEST_LIFE: u64 = 400;

/// Starts the loader and kills it at random moments, as often as usual or as asked for. Each end is told: whether
/// the loader came to it by itself.
pub(crate) fn kill_at_random(
    load: &Load,
    usual: u64,
    longest_life: u64,
    mut ended: impl FnMut(bool),
) {
    let asked = std::env::var_os("TRAILLOAD_KILLS").and_then(|text| text.into_string().ok());
    let kills = asked.map_or(usual, |text| text.parse().expect("TRAILLOAD_KILLS is a number"));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut killed = 0;
    while killed < kills {
        let mut running = load.start();
        let done = running.ends_within(Duration::from_millis(random.u64(1..longest_life)));
        if done {
            running.end().exits(0);
        } else {
            killed += u64::from(running.kill());
        }
        ended(done);
    }
    println!("killed {killed} times");
}

fn add_files(desk: &Desk, files: std::ops::Range<usize>) {
    for file in files {
        let content = gzip(&records(&events(file * EVENTS..(file + 1) * EVENTS)));
        desk.file(format!("in/{file:05}.json.gz"), content);
    }
}

/// Returns the ids of all events of the files that the checkpoint says are done.
fn ids_done(checkpoint: &Path) -> BTreeSet<String> {
    let number = |lane: &String| -> usize {
        Path::new(lane).file_name().unwrap().to_str().unwrap()[..5].parse().unwrap()
    };
    loaded_partitions(checkpoint)
        .iter()
        .map(number)
        .flat_map(|file| ids(file * EVENTS..(file + 1) * EVENTS))
        .collect()
}

/// Kills and restarts; returns how many events there were.
fn killed_until_done(
    desk: &Desk,
    load: &Load,
    mut after_each: impl FnMut(&BTreeSet<String>),
) -> usize {
    let mut files = FILES;
    let mut done = BTreeSet::new();
    add_files(desk, 0..files);
    kill_at_random(load, KILLS, LONGEST_LIFE, |is_done| {
        if is_done {
            add_files(desk, files..files + FILES);
            files += FILES;
        }
        let now = ids_done(&desk.checkpoint());
        assert!(now.is_superset(&done), "positions only grow");
        done = now;
        after_each(&done);
    });
    load.run().exits(0);
    let last = load.run().exits(0);
    assert_eq!(last.number("created"), 0);
    assert_eq!(last.number("read"), 0, "nothing done is read again");
    println!("{} events", files * EVENTS);
    files * EVENTS
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_twice() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    engine.fail(1_000_000, &Fault::Slow(Duration::from_millis(5)));
    let load =
        desk.load(desk.path("in"), engine.url()).with(["--batch", "32KiB", "--workers", "2"]);
    let safe = Cell::new((BTreeSet::new(), 0));
    let all = killed_until_done(&desk, &load, |done| {
        let (before, sendings) = safe.take();
        assert_eq!(engine.sendings(&before), sendings, "what is safe is never sent again");
        assert!(engine.ids().is_superset(done), "a position never passes what the engine has not");
        safe.set((done.clone(), engine.sendings(done)));
    });
    assert_eq!(engine.ids(), ids(0..all));
    assert_eq!(engine.count(), all, "no id in two indices");
    engine.assert_no_complaints();
}

#[test]
fn killed_while_the_engine_misbehaves_nothing_is_lost_or_twice() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let faults = [
        Fault::Slow(Duration::from_millis(5)),
        Fault::HalfAccepted,
        Fault::Slow(Duration::from_millis(5)),
        Fault::ItemStatus { every: 3, status: 429 },
        Fault::ResetInside,
    ];
    engine.script(faults.iter().cycle().take(5_000).cloned().map(Some));
    let load =
        desk.load(desk.path("in"), engine.url()).with(["--batch", "32KiB", "--workers", "2"]);
    let all = killed_until_done(&desk, &load, |done| {
        assert!(engine.ids().is_superset(done), "a position never passes what the engine has not");
        engine.heal();
        engine.script(faults.iter().cycle().take(5_000).cloned().map(Some));
    });
    assert_eq!(engine.ids(), ids(0..all));
    assert_eq!(engine.count(), all);
}

#[test]
fn killed_before_a_real_engine_nothing_is_lost_or_twice() {
    let (corner, desk) = (Corner::of(Engine::OpenSearch3), Desk::new());
    let load = desk.load(desk.path("in"), corner.url()).with(corner.index());
    let load = load.with(["--index-by", "none", "--batch", "32KiB", "--workers", "2"]);
    let all = killed_until_done(&desk, &load, |_| {});
    assert_eq!(corner.ids(), ids(0..all));
    assert_eq!(corner.count(), all as u64);
}
