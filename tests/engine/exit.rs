//! What a real engine does to the exit code, and where that code is found.

use std::process::Command;

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::load::{Desk, PROGRAM};
use crate::support::real::{Corner, Engine};
use crate::support::wire;

on_every_engine!(a_template_that_is_refused_is_exit_1_for_process_summary_and_status);

/// With nothing to read, only the sink can fail, and it used to do so behind the checkpoint's back.
fn a_template_that_is_refused_is_exit_1_for_process_summary_and_status(corner: &Corner) {
    let desk = Desk::new();
    let prefix = corner.prefix();
    // Engines refuse two templates of one priority that match the same names.
    let rival =
        json!({ "index_patterns": [format!("{prefix}-*")], "priority": 100 + prefix.len() });
    corner.ask("PUT", &format!("/_index_template/{prefix}-rival"), &rival);
    std::fs::create_dir_all(desk.path("empty")).unwrap();
    let load = desk.load(desk.path("empty"), corner.url()).with(corner.index());
    let outcome = load.run();
    let _ = wire::ask(corner.url(), "DELETE", &format!("/_index_template/{prefix}-rival"), None);
    let outcome = outcome.exits(1).says(["refused installing the index template"]);
    assert_eq!(outcome.summary.unwrap()["exit"], 1);
    let status = Command::new(PROGRAM)
        .args(["status", "--json", "--checkpoint"])
        .arg(desk.checkpoint())
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["runs"][0]["exit"], 1, "{status}");
    load.run().exits(0);
}
