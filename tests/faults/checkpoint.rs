//! A checkpoint that is in use, damaged, too new, or has no room.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::engine::{FakeEngine, Fault};
use crate::support::events::{events, ids, records};
use crate::support::load::Desk;

#[test]
fn a_second_run_on_the_same_checkpoint_is_refused_by_name_and_pid() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..100)));
    let load = desk.load(desk.path("in"), engine.url());
    engine.fail(1, &Fault::Hang(Duration::from_secs(100)));
    let first = load.start();
    assert!(engine.wait_until(Duration::from_mins(1), |asked| asked.bulks > 0));
    let pid = first.pid().to_string();
    load.run().exits(1).says([pid.as_str(), "checkpoint.sqlite"]);
    assert!(first.kill());
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..100), "a lock dies with its process");
}

#[test]
fn a_damaged_checkpoint_is_a_clear_error_and_no_loss() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..10)));
    let load = desk.load(desk.path("in"), engine.url());
    desk.file(
        "checkpoint.sqlite",
        "this is no database at all, whatever its name says".repeat(200),
    );
    load.run().exits(1).says(["checkpoint.sqlite", "hint"]);
    assert_eq!(engine.count(), 0);
    let kept = std::fs::read(desk.checkpoint()).unwrap();
    assert!(kept.starts_with(b"this is no database"), "it is left for a person to look at");
    std::fs::rename(desk.checkpoint(), desk.path("away")).unwrap();
    load.run().exits(0).counted([10, 10, 0, 0]);
}

#[test]
fn a_checkpoint_of_a_newer_program_is_refused() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..10)));
    let load = desk.load(desk.path("in"), engine.url());
    load.run().exits(0);
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let database = rusqlite::Connection::open_with_flags(desk.checkpoint(), flags).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    desk.file("in/b.json", records(&events(10..20)));
    load.run().exits(1).says(["checkpoint.sqlite", "9999", "hint"]);
    assert_eq!(engine.count(), 10);
}

#[test]
fn a_checkpoint_of_another_target_is_not_obeyed() {
    let (one, other, desk) = (FakeEngine::start(), FakeEngine::start(), Desk::new());
    desk.file("in/a.json", records(&events(0..10)));
    desk.load(desk.path("in"), one.url()).run().exits(0).counted([10, 10, 0, 0]);
    let outcome = desk.load(desk.path("in"), other.url()).run();
    // Either it is refused, or the documents go in; to skip them silently would lose them.
    match outcome.code {
        Some(0) => assert_eq!(other.ids(), ids(0..10)),
        code => assert!(matches!(code, Some(1 | 2)), "{outcome:?}"),
    }
}

#[test]
fn a_limit_on_file_sizes_stops_the_run_with_nothing_lost() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    for file in 0..300 {
        // Long names fill the checkpoint quickly.
        let name = format!("in/{file:03}-{}/{}.json", "folder".repeat(30), "name".repeat(40));
        desk.file(name, records(&events(file * 2..file * 2 + 2)));
    }
    let load = desk.load(desk.path("in"), engine.url()).with(["--batch", "16KiB"]);
    // A signal is sent where the limit is met, unless it is ignored: then the write fails, as on a full disk.
    let outcome = load.start_in_shell(&[], "trap '' XFSZ && ulimit -f 200").end();
    outcome.exits(1).says(["checkpoint.sqlite", "hint: ", "nothing is lost"]);
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..600));
    let again = load.with(["--reload"]).run().exits(0);
    assert_eq!(again.number("created"), 0);
}

#[test]
fn a_folder_where_no_checkpoint_can_be_made_is_named() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    let blocked = desk.file("blocked", "a file, no folder").join("checkpoint.sqlite");
    let load = desk.load(&file, engine.url()).checkpoint(&blocked);
    load.run().exits(1).says(["blocked", "hint"]);
    assert_eq!(engine.count(), 0);
}

#[test]
fn a_full_disk_stops_the_run_with_nothing_lost() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let small = desk.path("small");
    std::fs::create_dir(&small).unwrap();
    for file in 0..600 {
        let name = format!("in/{file:03}-{}/{}.json", "folder".repeat(30), "name".repeat(40));
        desk.file(name, records(&events(file * 2..file * 2 + 2)));
    }
    let load = desk.load(desk.path("in"), engine.url()).with(["--batch", "16KiB"]);
    let full = load.clone().checkpoint(&small.join("checkpoint.sqlite"));
    let (wrapper, before) = small_disk(&small);
    let outcome = full.start_in_shell(&wrapper, &before).end();
    let outcome = outcome.exits(1).says(["checkpoint.sqlite", "hint: ", "nothing is lost"]);
    if !wrapper.is_empty() {
        outcome.says(["no space left"]);
    }
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..1_200));
}

/// Returns how to run a command that sees a disk of 256 KiB at `path`, or, where the system lets
/// nobody mount, one that may write no larger files.
fn small_disk(path: &Path) -> (Vec<&'static str>, String) {
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount"];
    let mount = format!("mount -t tmpfs -o size=256k none '{}'", path.display());
    let tried = Command::new(wrapper[0]).args(&wrapper[1..]).args(["sh", "-c", &mount]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        (wrapper.to_vec(), mount)
    } else {
        (Vec::new(), "trap '' XFSZ && ulimit -f 500".to_owned())
    }
}
