//! An engine that is killed under a load comes back to a loader that waited for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::events::{events, gzip, ids, records};
use crate::support::load::{Desk, wait_for};
use crate::support::wire;

/// An engine of one test's own, taken away at its end.
pub(super) struct Own {
    folder: PathBuf,
    url: String,
}

fn script(arguments: &[&str], folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/engine");
    let output = Command::new(&script).args(arguments).arg("--dir").arg(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Own {
    /// Starts one, which may keep snapshots.
    pub(super) fn start() -> Own {
        // The engine runs as another user when root starts it, so the folder must be open to it.
        let folder =
            std::env::temp_dir().join(format!("trailload-engine-{:016x}", fastrand::u64(..)));
        let mut own = Own { folder, url: String::new() };
        own.url = own.started();
        own
    }

    fn started(&self) -> String {
        let snapshots = format!("path.repo={}", self.folder.join("snapshots").display());
        let words = ["start", "opensearch3", "--heap", "512m", "--set", &snapshots];
        let url = script(&words, &self.folder);
        url.lines().last().unwrap().trim_end_matches('/').to_owned()
    }

    /// Returns the engine's address.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Starts an empty engine at the same address.
    pub(super) fn recreate(&mut self) {
        script(&["stop", "opensearch3", "--kill", "--purge"], &self.folder);
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        let words = ["start", "opensearch3", "--heap", "512m", "--port", &port];
        let url = script(&words, &self.folder);
        assert_eq!(url.lines().last().unwrap().trim_end_matches('/'), self.url);
    }

    fn kill_and_start_again(&self) {
        script(&["stop", "opensearch3", "--kill"], &self.folder);
        assert_eq!(self.started(), self.url);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let folder = self.folder.clone();
        let _ = std::panic::catch_unwind(move || {
            script(&["stop", "opensearch3", "--kill", "--purge"], &folder)
        });
    }
}

#[test]
fn an_engine_killed_under_a_load_loses_nothing() {
    const FILES: usize = 200;
    const EVENTS: usize = 200;
    let (engine, desk) = (Own::start(), Desk::new());
    for file in 0..FILES {
        desk.file(
            format!("in/{file:03}.gz"),
            gzip(&records(&events(file * EVENTS..(file + 1) * EVENTS))),
        );
    }
    let load = desk.load(desk.path("in"), &engine.url);
    let load = load.with(["--index-by", "none", "--batch", "64KiB", "--workers", "1"]);
    let running = load.start();
    let count = || {
        wire::ask(&engine.url, "GET", "/cloudtrail*/_stats/indexing", None).1["_all"]["primaries"]["indexing"]["index_total"].as_u64()
    };
    wait_for("the first documents", || count().filter(|count| *count > 500));
    engine.kill_and_start_again();
    let outcome = running.end();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.number("read"), (FILES * EVENTS) as u64);
    let again = load.with(["--reload"]).run().exits(0);
    assert_eq!(again.number("created"), 0, "nothing was lost");
    wire::ask(&engine.url, "POST", "/_refresh", None);
    let held = wire::ask(&engine.url, "GET", "/cloudtrail/_count", None).1["count"].as_u64();
    assert_eq!(held, Some(ids(0..FILES * EVENTS).len() as u64), "nothing is there twice");
}
