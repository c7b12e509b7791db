//! `--memory` holds, also where records are huge: a record that exceeds it becomes a dead letter, and the run stays within the limit.

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
fn a_record_that_exceeds_memory_becomes_a_dead_letter_and_the_rest_is_loaded() {
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

/// Returns xz data whose header states a dictionary of 64 MiB, as `xz -9` writes it, in place of its own smaller one.
fn with_large_dictionary(xz: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 12;
    // 2 << (28 / 2 + 11) bytes, by the xz file format, section 5.3.1.
    const PROPERTY_64_MIB: u8 = 28;
    let mut xz = xz.to_vec();
    let end = BLOCK + 4 * usize::from(xz[BLOCK]);
    let filter = xz[BLOCK..end].windows(2).position(|bytes| bytes == [0x21, 1]).unwrap();
    xz[BLOCK + filter + 2] = PROPERTY_64_MIB;
    let mut crc = flate2::Crc::new();
    crc.update(&xz[BLOCK..end]);
    let crc = crc.sum().to_le_bytes();
    xz[end..end + 4].copy_from_slice(&crc);
    xz
}

/// Returns zstd data with a window of 64 MiB, as `zstd --long=26` writes it.
fn zstd_with_large_window(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(26).unwrap();
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_stream_that_has_no_room_is_a_failed_input_and_the_rest_goes_in() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packed");
    let xz = with_large_dictionary(&std::fs::read(folder.join("xz.json.xz")).unwrap());
    let zst = zstd_with_large_window(&records(&events(0..3)));
    let archive = tar(&[("a.json", &records(&events(20..23))), ("b.json.xz", &xz)]);
    for (name, bytes) in [("a.json.xz", &xz), ("a.json.zst", &zst), ("a.tar", &archive)] {
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        desk.file(format!("in/{name}"), bytes);
        desk.file("in/other.json", records(&events(10..13)));
        let load = desk.load(desk.path("in"), engine.url());
        let (peak, outcome) = peak(&engine, &load.clone().with(["--memory", "64MiB"]));
        let outcome = outcome.exits(3).says([name, "more than the ", "that --memory has room for"]);
        assert_eq!(outcome.of_sources("failed"), 1, "{}", outcome.stderr);
        assert!(engine.ids().is_superset(&ids(10..13)), "{name}");
        assert!(
            peak <= 64 + PROGRAM_MIB,
            "{name}: {peak} MiB of 64 MiB and what the program takes"
        );
        // With the default memory there is room.
        let outcome = load.run().exits(0);
        assert_eq!(outcome.of_sources("failed"), 0, "{name}: {}", outcome.stderr);
        assert!(engine.count() > 3, "{name}");
    }
}
