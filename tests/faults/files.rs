//! Files that are broken, huge, or no files at all.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::engine::FakeEngine;
use crate::support::events::{event, event_with, events, gzip, ids, lines, records};
use crate::support::load::{Desk, Load, Outcome, PROGRAM};

/// Most memory a run may hold with its default budget of 256 MiB, in MiB.
const MOST_MEMORY_MIB: u64 = 300;

#[test]
fn a_cut_gzip_file_gives_what_it_has() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let whole = gzip(&lines(&events(0..2_000)));
    desk.file("in/cut.json.gz", &whole[..whole.len() / 2]);
    desk.file("in/whole.json", records(&events(3_000..3_010)));
    let load = desk.load(desk.path("in"), engine.url());
    let outcome = load.run().exits(3).says(["cut.json.gz"]);
    assert_eq!(outcome.of_sources("failed"), 1);
    let held = engine.ids();
    assert!(held.is_superset(&ids(3_000..3_010)), "the run goes on");
    assert!(held.len() > 100, "what came before the cut is loaded: {}", held.len());
    desk.file("in/cut.json.gz", &whole);
    load.run().exits(0);
    assert_eq!(engine.count(), 2_010);
}

#[test]
fn a_broken_line_is_reported_with_its_place() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let mut text = lines(&events(0..10));
    let offset = text.len();
    text.extend_from_slice(b"{\"eventID\":\"x\",\"eventName\":]\n");
    text.extend_from_slice(&lines(&events(10..20)));
    desk.file("in/broken.ndjson", text);
    desk.file("in/whole.json", records(&events(30..40)));
    let outcome = desk.load(desk.path("in"), engine.url()).run().exits(3).says(["broken.ndjson"]);
    assert!(engine.ids().is_superset(&ids(0..10)), "the records before it are loaded");
    assert!(engine.ids().is_superset(&ids(30..40)), "the run goes on");
    let places: Vec<u64> = numbers(&outcome.stderr);
    assert!(
        places.iter().any(|place| (offset as u64..offset as u64 + 30).contains(place)),
        "the offset {offset} is in: {}",
        outcome.stderr
    );
}

fn numbers(text: &str) -> Vec<u64> {
    let plain = text.replace([',', '_'], "");
    plain.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn a_broken_record_among_records_keeps_those_before_it() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let text = String::from_utf8(records(&events(0..20))).unwrap();
    let broken =
        text.replacen(&format!("\"requestID\":\"{}\"", "request-10"), "\"requestID\":]", 1);
    let file = desk.file("broken.json", broken);
    desk.load(&file, engine.url()).run().exits(3).says(["broken.json"]);
    assert!(engine.ids().is_superset(&ids(0..10)));
    assert!(!engine.ids().contains(&crate::support::events::id(10)));
}

#[test]
fn text_that_is_no_json_is_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/readme.txt", "Once upon a time there was a file.\n");
    desk.file("in/bytes.bin", [0_u8, 159, 146, 150, 255, 254]);
    desk.file("in/a.json", records(&events(0..5)));
    let outcome = desk.load(desk.path("in"), engine.url()).run();
    assert!(matches!(outcome.code, Some(0 | 3)), "{}", outcome.stderr);
    outcome.counted([5, 5, 0, 0]).says(["readme.txt", "bytes.bin"]);
}

/// The place of a trail's log file.
const TRAIL: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2024/03/05";

/// Returns the name of a trail's log file.
fn log_file(random: &str) -> String {
    format!("{TRAIL}/111122223333_CloudTrail_us-east-1_20240305T1000Z_{random}.json.gz")
}

/// What a log file may have become on its way, and what is said about it.
fn damaged() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = gzip(&records(&events(0..10)));
    let with = |at: usize, byte: u8| {
        let mut damaged = whole.clone();
        damaged[at] = byte;
        damaged
    };
    let random = (0..4_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]);
    vec![
        ("firstbyte", with(0, 0), "binary data"),
        ("secondbyte", with(1, 0), "binary data"),
        ("method", with(2, 0xff), "gzip"),
        ("middle", with(whole.len() / 2, !whole[whole.len() / 2]), "gzip"),
        ("nothing", vec![], "0 bytes"),
        ("zeros", vec![0; 5_000], "only zero bytes"),
        ("header", whole[..3].to_vec(), "cut off"),
        ("html", b"<!DOCTYPE html><html>503 Service Unavailable</html>".to_vec(), "HTML"),
        ("xml", b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec(), "XML"),
        (
            "error",
            br#"{"__type":"AccessDeniedException","Message":"no"}"#.to_vec(),
            "not CloudTrail",
        ),
        ("packederror", gzip(b"<html>404 Not Found</html>"), "HTML"),
        ("emptygzip", gzip(b""), "compressed data without content"),
        ("blank", b" \n\n".to_vec(), "white space"),
        ("firstletter", [b"x", &records(&events(0..3))[1..]].concat(), "not JSON"),
        ("config", br#"{"fileVersion":"1.0","configurationItems":[]}"#.to_vec(), "Config"),
        ("random", std::iter::once(0xfe).chain(random).collect(), "binary data"),
    ]
}

/// What is unpacked from damaged data may look well, and the id of a true event may stand in it.
#[test]
fn of_damaged_data_nothing_is_loaded_and_of_cut_data_what_is_whole() {
    let text = records(&events(0..300));
    let pack = |level| {
        let mut writer = GzEncoder::new(Vec::new(), level);
        writer.write_all(&text).unwrap();
        writer.finish().unwrap()
    };
    // Without compression every byte is one of the text, and only the sum at the end says that it is wrong.
    let (plain, packed) = (pack(Compression::none()), pack(Compression::best()));
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for (whole, name) in [(plain, "plain"), (packed, "packed")] {
        let mut damaged = whole.clone();
        let at = damaged.len() / 2;
        damaged[at] ^= 1;
        let members = [gzip(&records(&events(400..401))), damaged.clone()].concat();
        for (bytes, name) in [(damaged, name.to_owned()), (members, format!("{name}-members"))] {
            let file = desk.file(format!("{name}.json.gz"), bytes);
            let outcome = desk.load(&file, engine.url()).run().exits(3);
            assert_eq!(outcome.counts(), [0, 0, 0, 0], "{name}: {}", outcome.stderr);
            outcome.says(["the gzip data is damaged", "none of it is loaded"]);
        }
    }
    assert_eq!(engine.count(), 0);
}

/// Transfers that broke a log file cost its events for good: it counted as no CloudTrail and as done.
#[test]
fn a_damaged_log_file_fails_until_it_is_mended() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let damaged = damaged();
    for (name, bytes, _) in &damaged {
        desk.file(format!("in/{}", log_file(name)), bytes);
    }
    desk.file(format!("in/{}", log_file("whole")), gzip(&records(&events(20..25))));
    desk.file(format!("in/{}", log_file("none")), gzip(br#"{"Records":[]}"#));
    desk.file(format!("in/{TRAIL}/.DS_Store"), b"\0\0\0\x01Bud1");
    let load = desk.load(desk.path("in"), engine.url()).with(["--quiet"]);
    for tries in 1..=2 {
        let outcome = load.run().exits(3);
        for (name, _, cause) in &damaged {
            let named = |line: &&str| line.contains(&format!("_{name}.json.gz"));
            let line = outcome.stderr.lines().find(named);
            let line = line.unwrap_or_else(|| panic!("{name} is not named: {}", outcome.stderr));
            assert!(line.contains(cause), "{cause}: {line}");
        }
        assert_eq!(outcome.of_sources("failed"), damaged.len() as u64, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("_whole") && !outcome.stderr.contains("_none"));
        let status = desk.status();
        assert_eq!(status["partitions_failed"], damaged.len());
        assert_eq!(
            (&status["partitions_loaded"], &status["partitions_skipped"]),
            (&json!(2), &json!(1))
        );
        let listed = status["failures"].as_array().unwrap();
        assert!(listed.iter().all(|failure| failure["attempts"] == tries), "{listed:?}");
    }
    for (name, _, _) in &damaged {
        desk.file(format!("in/{}", log_file(name)), gzip(&records(&events(0..10))));
    }
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..10).union(&ids(20..25)).cloned().collect());
    assert_eq!(desk.status()["partitions_failed"], 0);
}

#[test]
fn a_file_that_was_named_has_to_be_cloud_trail() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for (name, bytes, cause) in damaged() {
        let file = desk.file(format!("named/{name}"), bytes);
        let load = desk.load(&file, engine.url()).with(["--quiet"]);
        load.run().exits(3).says([&*file.to_string_lossy(), cause]);
        load.run().exits(3).says([cause]);
    }
    for harmless in [r#"{"Records":[]}"#, "[]", r#"{"Events":[]}"#, r#"{"events":[]}"#] {
        let file = desk.file("named/harmless", harmless);
        let outcome = desk.load(&file, engine.url()).with(["--quiet"]).run().exits(0);
        assert_eq!(outcome.stderr, "", "{harmless}");
    }
    // The same content in a folder is what happens to lie there.
    desk.file("folder/readme.html", "<html>how to</html>");
    desk.file("folder/digest.json", r#"{"digestStartTime":"2024-01-01T00:00:00Z"}"#);
    desk.file("folder/zeros", [0; 100]);
    desk.file("folder/events.json", records(&events(0..3)));
    let load = desk.load(desk.path("folder"), engine.url());
    let outcome = load.run().exits(0).says(["readme.html", "digest.json", "zeros"]);
    assert_eq!((outcome.of_sources("foreign"), outcome.of_sources("failed")), (3, 0));
    assert_eq!(load.run().exits(0).of_sources("skipped"), 4);
}

#[test]
fn a_named_file_in_a_named_folder_has_to_be_cloud_trail() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let named = desk.file("in/2024/named.html", "<html>503</html>");
    desk.file("in/2024/other.html", "<html>how to</html>");
    desk.file("in/2024/a.json", records(&events(0..3)));
    let folder = desk.path("in");
    let named = named.to_string_lossy();
    for arguments in [[&*folder.to_string_lossy(), &named], [&named, &*folder.to_string_lossy()]] {
        let load = desk.load(arguments[0], engine.url()).with([arguments[1]]);
        let outcome = load.run().exits(3).says([&*named, "not CloudTrail: HTML"]);
        assert_eq!(outcome.of_sources("failed"), 1);
    }
    assert_eq!(engine.ids(), ids(0..3));
}

#[test]
fn a_folder_without_cloud_trail_is_named_and_an_empty_one_is_not() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..3)));
    desk.file("in/readme.txt", "how to");
    desk.file("other/readme.txt", "how to");
    desk.file("other/digest.json", r#"{"digestStartTime":"2024-01-01T00:00:00Z"}"#);
    std::fs::create_dir(desk.path("empty")).unwrap();
    let load = |folder: &str| desk.load(desk.path(folder), engine.url());
    load("in").run().exits(0);
    load("empty").run().exits(0);
    let warning =
        format!("warning: {}: no CloudTrail events in 2 inputs", desk.path("other").display());
    load("other").with(["--dry-run"]).run().exits(3).says([&*warning]);
    let other = desk.path("other");
    let both = load("in").with([&*other.to_string_lossy()]);
    for run in ["first", "second"] {
        let outcome = both.run().exits(3).says([&*warning]);
        assert!(!outcome.stderr.contains("/in: no CloudTrail"), "{run}: {}", outcome.stderr);
    }
    let file = desk.path("other/readme.txt");
    let message = format!("warning: {}: no CloudTrail events in 1 input", file.display());
    load("other/readme.txt").run().exits(3).says([&*message]);
    // Once something in it was loaded, files of others beside it are no reason to ask.
    desk.file("other/b.json", records(&events(3..6)));
    load("other").run().exits(0);
    assert_eq!(engine.ids(), ids(0..6));
}

#[test]
fn standard_input_has_to_be_cloud_trail() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let load = desk.load("-", engine.url()).with(["--quiet"]);
    for (name, bytes, cause) in damaged() {
        let outcome = load.clone().input(bytes).run();
        assert_eq!(outcome.code, Some(3), "{name}");
        outcome.says(["standard input", cause]);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_the_rest_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..5)));
    std::os::unix::fs::symlink(desk.path("nowhere.json"), desk.path("in/broken-link.json"))
        .unwrap();
    desk.load(desk.path("in"), engine.url()).run().exits(3).says(["broken-link.json"]);
    assert_eq!(engine.ids(), ids(0..5));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// Returns what to run a program with so that permissions count for it, although `closed` opens for us.
///
/// Root reads everything, by two capabilities that a process can give away.
fn without_privileges(closed: &Path) -> &'static [&'static str] {
    const WRAPPER: &[&str] = &[
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ];
    let wrapper = if std::fs::File::open(closed).is_ok() { WRAPPER } else { &[] };
    let mut words = wrapper.iter().chain(&["cat"]);
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).arg(closed).output();
    let output = output.unwrap_or_else(|error| {
        panic!("setpriv: {error}: install util-linux, or run the tests as a normal user")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cat:"), "nothing keeps us from reading a closed file: {said}");
    wrapper
}

#[test]
fn what_this_user_may_not_read_is_named_and_the_rest_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..5)));
    let file = desk.file("in/closed.json", records(&events(5..10)));
    desk.file("in/closed-folder/b.json", records(&events(10..15)));
    let folder = desk.path("in/closed-folder");
    desk.file("in/z.json", records(&events(15..20)));
    set_mode(&file, 0o000);
    set_mode(&folder, 0o000);
    let wrapper = without_privileges(&file);
    let load = desk.load(desk.path("in"), engine.url());
    let outcome = load.start_in_shell(wrapper, "true").end();
    set_mode(&folder, 0o755);
    let outcome = outcome.exits(3).counted([10, 10, 0, 0]);
    for name in ["closed.json", "closed-folder"] {
        let told = |line: &str| line.contains(name) && line.contains("Permission denied");
        assert_eq!(
            outcome.stderr.lines().filter(|line| told(line)).count(),
            1,
            "{name}: {outcome:?}"
        );
    }
    assert_eq!(outcome.of_sources("failed"), 2);
    let held: BTreeSet<_> = ids(0..5).union(&ids(15..20)).cloned().collect();
    assert_eq!(engine.ids(), held);
    set_mode(&file, 0o644);
    load.start_in_shell(wrapper, "true").end().exits(0).counted([10, 10, 0, 0]);
    assert_eq!(engine.ids(), ids(0..20), "what was opened meanwhile is loaded by the next run");
}

#[test]
fn a_folder_of_rules_that_this_user_may_not_read_is_exit_1() {
    let desk = Desk::new();
    let file = desk.file("closed/rule.yml", "name: user created\nevents: [CreateUser]\n");
    let log = desk.file("a.json", records(&events(0..1)));
    let folder = desk.path("closed");
    set_mode(&file, 0o000);
    let wrapper = without_privileges(&file);
    set_mode(&file, 0o644);
    set_mode(&folder, 0o000);
    let log = log.to_str().unwrap();
    for arguments in
        [&["watch", "--check"][..], &["watch", "--in", log], &["doctor", log, "--rules"]]
    {
        let mut words = wrapper.iter().chain(&[PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).args(arguments).arg(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("closed") && said.contains("Permission denied"), "{said}");
    }
    set_mode(&folder, 0o755);
}

#[test]
fn a_source_that_this_user_may_not_read_is_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("closed.json", records(&events(0..5)));
    set_mode(&file, 0o000);
    let wrapper = without_privileges(&file);
    let outcome = desk.load(&file, engine.url()).start_in_shell(wrapper, "true").end();
    outcome.exits(3).says(["closed.json", "Permission denied"]);
    assert_eq!(engine.count(), 0);
}

#[test]
fn a_source_that_does_not_exist_is_an_error() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let outcome = desk.load(desk.path("no-such-folder"), engine.url()).run();
    assert!(matches!(outcome.code, Some(1..=3)), "{outcome:?}");
    outcome.says(["no-such-folder"]);
}

#[test]
fn a_fifo_and_a_loop_of_links_block_nothing() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/sub/a.json", records(&events(0..5)));
    assert!(Command::new("mkfifo").arg(desk.path("in/pipe")).status().unwrap().success());
    std::os::unix::fs::symlink(desk.path("in"), desk.path("in/sub/loop")).unwrap();
    std::os::unix::fs::symlink("self", desk.path("in/self")).unwrap();
    let outcome = desk.load(desk.path("in"), engine.url()).run();
    assert!(matches!(outcome.code, Some(0 | 3)), "{outcome:?}");
    assert_eq!(outcome.number("created"), 5);
    assert_eq!(engine.ids(), ids(0..5));
    outcome.says(["pipe"]);
}

#[test]
fn a_file_that_grows_is_completed_by_the_next_run() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let path = desk.file("in/growing.ndjson", lines(&events(0..2_000)));
    let load = desk.load(desk.path("in"), engine.url()).with(["--batch", "64KiB"]);
    engine.fail(1, &crate::support::engine::Fault::Slow(Duration::from_millis(300)));
    let running = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks > 0));
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&lines(&events(2_000..2_500))).unwrap();
    let outcome = running.end();
    assert!(matches!(outcome.code, Some(0 | 3)), "{}", outcome.stderr);
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..2_500));
}

#[test]
fn a_file_that_vanishes_is_named_and_the_rest_loaded() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for number in 0..400 {
        desk.file(format!("in/{number:04}.json"), records(&events(number * 5..number * 5 + 5)));
    }
    engine.fail(4, &crate::support::engine::Fault::Slow(Duration::from_millis(500)));
    let load =
        desk.load(desk.path("in"), engine.url()).with(["--batch", "32KiB", "--workers", "1"]);
    let running = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks > 0));
    std::fs::remove_file(desk.path("in/0399.json")).unwrap();
    let outcome = running.end();
    assert!(matches!(outcome.code, Some(0 | 3)), "{}", outcome.stderr);
    assert!(engine.ids().is_superset(&ids(0..1_995)));
    if outcome.code == Some(3) {
        outcome.says(["0399.json"]);
    }
}

/// Runs to the end, and returns the most memory that was seen on the way.
fn measured(load: &Load) -> (Outcome, u64) {
    let mut running = load.start();
    let mut peak = 0;
    while !running.ends_within(Duration::from_millis(5)) {
        peak = peak.max(running.peak_memory_mib().unwrap_or(0));
    }
    (running.end(), peak)
}

/// Writes `count` copies of `part` as one gzip member, without ever holding them.
fn bomb(desk: &Desk, name: &str, before: &[u8], part: &[u8], count: usize, after: &[u8]) {
    let file = std::fs::File::create(desk.file(name, "")).unwrap();
    let mut encoder = GzEncoder::new(file, Compression::fast());
    encoder.write_all(before).unwrap();
    (0..count).for_each(|_| encoder.write_all(part).unwrap());
    encoder.write_all(after).unwrap();
    encoder.finish().unwrap();
}

#[test]
fn a_gzip_bomb_of_blanks_takes_bounded_memory() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    bomb(&desk, "in/bomb.json.gz", b"", &vec![b' '; 1 << 20], 600, event(1).to_string().as_bytes());
    desk.file("in/a.json", records(&events(2..5)));
    let (outcome, peak) = measured(&desk.load(desk.path("in"), engine.url()));
    assert!(matches!(outcome.code, Some(0 | 3)), "{}", outcome.stderr);
    assert!(engine.ids().is_superset(&ids(2..5)));
    assert!((1..MOST_MEMORY_MIB).contains(&peak), "{peak} MiB");
}

#[test]
fn a_gzip_bomb_of_one_text_takes_bounded_memory() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let before = b"{\"Records\":[{\"eventName\":\"";
    bomb(&desk, "in/bomb.json.gz", before, &vec![b'a'; 1 << 20], 600, b"\"}]}");
    desk.file("in/a.json", records(&events(2..5)));
    let (outcome, peak) = measured(&desk.load(desk.path("in"), engine.url()));
    let outcome = outcome.exits(3).says(["bomb.json.gz"]);
    assert!(engine.ids().is_superset(&ids(2..5)), "{}", outcome.stderr);
    assert!((1..MOST_MEMORY_MIB).contains(&peak), "{peak} MiB");
}

#[test]
fn a_large_file_of_records_takes_bounded_memory() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    // All copies are one event, so the engine holds one document and the loader does all the work.
    let part = format!("{},", event(1)).repeat(500);
    let last = event(1).to_string() + "]}";
    bomb(&desk, "a.json.gz", b"{\"Records\":[", part.as_bytes(), 200, last.as_bytes());
    let (outcome, peak) = measured(&desk.load(desk.path("a.json.gz"), engine.url()));
    outcome.exits(0).counted([100_001, 1, 100_000, 0]);
    assert!((1..MOST_MEMORY_MIB).contains(&peak), "{peak} MiB");
}

#[test]
fn a_record_of_fifty_megabytes_takes_bounded_memory() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let large = event_with(1, "requestParameters.text", json!("z".repeat(50_000_000)));
    desk.file("in/large.json.gz", gzip(&records(&[event(0), large, event(2)])));
    desk.file("in/other.json", records(&events(3..9)));
    let (outcome, peak) = measured(&desk.load(desk.path("in"), engine.url()));
    let [read, created, _, dead_letters] = outcome.counts();
    assert_eq!(read, 9, "{}", outcome.stderr);
    assert_eq!(created + dead_letters, 9);
    assert_eq!(outcome.code, Some(if dead_letters == 0 { 0 } else { 3 }), "{}", outcome.stderr);
    let held = engine.ids();
    assert!(held.is_superset(&ids(2..9)) && held.is_superset(&ids(0..1)));
    assert!((1..MOST_MEMORY_MIB).contains(&peak), "{peak} MiB");
}

#[test]
fn a_large_run_takes_no_more_memory_than_a_small_one() {
    let run = |files: usize| {
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        let file = gzip(&records(&events(0..2_000)));
        (0..files).for_each(|number| drop(desk.file(format!("in/{number:03}.json.gz"), &file)));
        let (outcome, peak) =
            measured(&desk.load(desk.path("in"), engine.url()).with(["--memory", "64MiB"]));
        assert_eq!(outcome.exits(0).number("read"), 2_000 * files as u64);
        peak
    };
    let (small, large) = (run(5), run(60));
    assert!(large < small + 60, "{small} MiB, then {large} MiB");
    assert!(large < 150, "{large} MiB");
}
