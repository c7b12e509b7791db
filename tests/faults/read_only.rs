//! `status` of a checkpoint that lies where nothing can be written, or that was copied.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::engine::FakeEngine;
use crate::support::events::{events, records};
use crate::support::load::{Desk, PROGRAM};

/// Makes root obey modes, as everybody else has to.
const OBEDIENT: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

/// Loads ten events; returns where the checkpoint is, in a folder of its own.
fn loaded(desk: &Desk) -> std::path::PathBuf {
    let engine = FakeEngine::start();
    let file = desk.file("a.json", records(&events(0..10)));
    let path = desk.path("kept/checkpoint.sqlite");
    desk.load(&file, engine.url()).checkpoint(&path).run().exits(0);
    path
}

/// Writes one more row into a checkpoint, and leaves it as it would lie there after a kill: the row is only in the
/// `-wal` file.
fn killed(path: &Path, into: &Path) {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let database = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    database
        .execute(
            "INSERT INTO failed_partitions (partition_key, name, cause, records, attempts, failed) VALUES ('x', 'x.json', 'cut', 0, 1, 0)",
            [],
        )
        .unwrap();
    fs::create_dir_all(into).unwrap();
    for end in ["", "-wal"] {
        let name = format!("checkpoint.sqlite{end}");
        fs::copy(path.with_file_name(&name), into.join(&name)).unwrap();
    }
}

/// Asks for the status as somebody who obeys modes; fails unless it comes.
fn status(path: &Path) -> Value {
    let mut words = OBEDIENT.iter().copied();
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    let mut command = if is_root {
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(PROGRAM);
        command
    } else {
        Command::new(PROGRAM)
    };
    let output = command.args(["status", "--json", "--checkpoint"]).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Takes away the right to write, does something, and gives it back.
fn frozen<T>(path: &Path, what: impl FnOnce() -> T) -> T {
    let folder = path.parent().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for name in names(folder) {
        mode(&folder.join(name), 0o400);
    }
    mode(folder, 0o500);
    let before = names(folder);
    let done = what();
    assert_eq!(names(folder), before, "nothing is left behind");
    mode(folder, 0o700);
    done
}

#[test]
fn a_checkpoint_that_cannot_be_written_can_be_read() {
    let desk = Desk::new();
    let path = loaded(&desk);
    let status = frozen(&path, || status(&path));
    assert_eq!((&status["records"], &status["runs"][0]["exit"]), (&10.into(), &0.into()));
}

#[test]
fn what_a_killed_run_left_beside_a_checkpoint_that_cannot_be_written_is_read_too() {
    let desk = Desk::new();
    let path = loaded(&desk);
    let away = desk.path("away");
    killed(&path, &away);
    let path = away.join("checkpoint.sqlite");
    let status = frozen(&path, || status(&path));
    assert_eq!(status["failures"][0]["name"], "x.json", "{status}");
    assert_eq!(status["records"], 10);
}

#[test]
fn a_checkpoint_that_was_copied_without_the_files_beside_it_is_read() {
    let desk = Desk::new();
    let path = loaded(&desk);
    let away = desk.path("away");
    killed(&path, &away);
    let alone = desk.path("alone/checkpoint.sqlite");
    fs::create_dir_all(alone.parent().unwrap()).unwrap();
    fs::copy(away.join("checkpoint.sqlite"), &alone).unwrap();
    assert_eq!(status(&alone)["records"], 10);
    let status = frozen(&alone, || status(&alone));
    assert_eq!(status["records"], 10);
}

#[test]
fn a_copy_without_any_table_is_told_as_such() {
    let desk = Desk::new();
    let empty = desk.file("empty.sqlite", "");
    let output =
        Command::new(PROGRAM).args(["status", "--checkpoint"]).arg(&empty).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is empty") && said.contains("-wal"), "{said}");
}
