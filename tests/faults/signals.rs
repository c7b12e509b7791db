//! Ctrl-C, TERM and HUP drain and save, whatever hangs; twice leaves at once.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::engine::{FakeEngine, Fault};
use crate::support::events::{events, ids, lines, records};
use crate::support::load::{Desk, Load, Running, loaded_partitions};

/// Files and events in each; enough that a signal always comes before the end.
const FILES: usize = 200;
const EVENTS: usize = 50;

fn prepared(engine: &FakeEngine) -> (Desk, Load) {
    let desk = Desk::new();
    for file in 0..FILES {
        desk.file(
            format!("in/{file:03}.json"),
            records(&events(file * EVENTS..(file + 1) * EVENTS)),
        );
    }
    let load =
        desk.load(desk.path("in"), engine.url()).with(["--batch", "64KiB", "--workers", "2"]);
    (desk, load)
}

fn drains(signal: &str) {
    let engine = FakeEngine::start();
    let (desk, load) = prepared(&engine);
    engine.fail(100_000, &Fault::Slow(Duration::from_millis(30)));
    let running = started(&load);
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks >= 4));
    running.signal(signal);
    let outcome = running.end().exits(4);
    assert_eq!(outcome.number("created"), engine.count() as u64, "everything sent was waited for");
    let done = loaded_partitions(&desk.checkpoint());
    assert!(!done.is_empty(), "the position is saved");
    engine.heal();
    let second = load.run().exits(0);
    assert_eq!(second.of_sources("skipped"), done.len() as u64);
    assert_eq!(engine.ids(), ids(0..FILES * EVENTS));
    assert_eq!(load.run().exits(0).number("read"), 0);
}

/// Starts a load that ignores no signal, even if whoever runs the tests does, as `nohup` makes it.
fn started(load: &Load) -> Running {
    load.start_in_shell(&["env", "--default-signal=HUP,INT,TERM"], ":")
}

#[test]
fn term_drains_and_saves() {
    drains("TERM");
}

#[test]
fn an_interrupt_drains_and_saves() {
    drains("INT");
}

#[test]
fn a_hangup_drains_and_saves() {
    drains("HUP");
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let engine = FakeEngine::start();
    let (_desk, load) = prepared(&engine);
    engine.fail(4, &Fault::Slow(Duration::from_millis(300)));
    // As `nohup` does it.
    let running = load.start_in_shell(&[], "trap '' HUP");
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks >= 2));
    running.signal("HUP");
    running.end().exits(0);
    assert_eq!(engine.ids(), ids(0..FILES * EVENTS));
}

/// What a service manager or a container gives before it kills.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn an_engine_that_hangs_does_not_hold_up_the_end() {
    for signal in ["TERM", "HUP", "INT"] {
        let engine = FakeEngine::start();
        let (_desk, load) = prepared(&engine);
        engine.script([None, None]).fail(100_000, &Fault::Hang(Duration::from_mins(5)));
        let mut running = started(&load);
        assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks >= 3));
        running.signal(signal);
        assert!(running.ends_within(PATIENCE), "{signal}: it waits for the engine");
        let outcome = running.end().exits(4).says(["run the same command again"]);
        assert_eq!(outcome.number("created"), engine.count() as u64);
        engine.heal();
        load.run().exits(0);
        assert_eq!(engine.ids(), ids(0..FILES * EVENTS));
    }
}

#[test]
fn an_engine_that_says_nothing_at_first_contact_does_not_hold_up_the_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..3)));
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut running = desk.load(&file, &url).start();
    // It is asked.
    let (_asked, _) = silent.accept().unwrap();
    running.signal("TERM");
    assert!(running.ends_within(PATIENCE), "it waits for the engine");
    running.end().exits(4);
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    let engine = FakeEngine::start();
    let (_desk, load) = prepared(&engine);
    engine.script([None, None]).fail(100_000, &Fault::Hang(Duration::from_secs(100)));
    let running = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks >= 3));
    running.signal("INT");
    running.signal("INT");
    // One signal may swallow the other while both are pending, so the user presses on.
    let mut running = running;
    let asked = Instant::now();
    while !running.ends_within(Duration::from_millis(200)) {
        running.signal("INT");
        assert!(asked.elapsed() < Duration::from_secs(5), "it does not leave");
    }
    assert_ne!(running.end().code, Some(0));
    engine.heal();
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..FILES * EVENTS));
}

#[test]
fn a_signal_while_the_engine_is_away_ends_the_run() {
    let engine = FakeEngine::start();
    let (_desk, load) = prepared(&engine);
    engine.script([None, None]).fail(1_000_000, &Fault::Status(429));
    let mut running = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks >= 4));
    running.signal("TERM");
    assert!(running.ends_within(PATIENCE), "patience ends when the user asks to stop");
    running.end().exits(4);
    engine.heal();
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..FILES * EVENTS));
}

/// Enough that a pipe cannot hold most of it: who wrote it all knows that the rest was taken out.
const PIPED: usize = 2_000;

#[test]
fn a_silent_fifo_does_not_hold_up_the_end_and_what_it_gave_is_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let fifo = desk.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut running = desk.load(&fifo, engine.url()).start();
    // Waits until it is read.
    let mut pipe = std::fs::File::options().write(true).open(&fifo).unwrap();
    pipe.write_all(&lines(&events(0..PIPED))).unwrap();
    running.signal("TERM");
    assert!(running.ends_within(PATIENCE), "it waits for the other end");
    let outcome = running.end().exits(4);
    assert!(outcome.number("created") > 0, "{}", outcome.stderr);
    assert!(engine.ids().is_superset(&ids(0..10)));
    drop(pipe);
}
