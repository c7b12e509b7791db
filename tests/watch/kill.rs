//! SIGKILL at any moment: every alert is delivered, and none twice but those that were in flight.
//!
//! The program is started, killed at a random moment, and started again, until it was killed as often as asked for
//! (`TRAILLOAD_KILLS`). Whenever it ends before, it gets more events.

use std::{collections::BTreeSet, time::Duration};

use super::hook::{Answer, Folder, Hook, created, ends_within, ids};

/// Kills in an ordinary run of the tests.
const KILLS: usize = 100;

/// Kills while alerts are written to a file.
const FILE_KILLS: usize = 30;

/// Deliveries of an action that are in flight at the same time.
const CONCURRENCY: usize = 4;

/// Files that are added when the program has read everything, and events in each.
const FILES: usize = 4;
const EVENTS: usize = 10;

fn kills() -> usize {
    let asked = std::env::var_os("TRAILLOAD_KILLS").and_then(|text| text.into_string().ok());
    asked.map_or(KILLS, |text| text.parse().expect("TRAILLOAD_KILLS is a number"))
}

fn add_files(folder: &Folder, first: usize) -> usize {
    for file in first..first + FILES {
        let events: Vec<_> = (file * EVENTS..(file + 1) * EVENTS)
            .map(|number| created(number, &format!("user-{}", number % 7), 1))
            .collect();
        folder.trail(&format!("{file:05}.json"), &events);
    }
    first + FILES
}

#[test]
fn killed_at_random_moments_every_alert_arrives_and_none_twice_but_those_in_flight() {
    let hook = Hook::start();
    hook.answers(|body, before| {
        let byte = body["event_id"].as_str().unwrap().as_bytes().last().copied().unwrap();
        match (byte % 5, before) {
            (0, 0) => Answer::Status(503, ""),
            (1, _) => Answer::Slow(Duration::from_millis(10)),
            _ => Answer::Slow(Duration::from_millis(2)),
        }
    });
    let folder = Folder::new();
    folder.write("actions.yml", hook.actions());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut files = add_files(&folder, 0);
    let (mut killed, mut in_flight, mut repeatable) = (0, 0, BTreeSet::new());
    while killed < kills() {
        let mut run = folder.watch_command(&["--actions", "actions.yml"]).spawn().unwrap();
        if ends_within(&mut run, Duration::from_millis(random.u64(1..400))) {
            let code = run.wait().unwrap().code();
            assert_eq!(code, Some(0));
            files = add_files(&folder, files);
            continue;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        killed += 1;
        // What the memory calls interrupted: its acknowledgement was not recorded.
        let interrupted = sending(&folder);
        // Those of an earlier kill may still be waiting for their turn.
        let new = interrupted.iter().filter(|id| !repeatable.contains(*id)).count();
        assert!(new <= CONCURRENCY, "{interrupted:?}");
        in_flight += interrupted.len();
        repeatable.extend(interrupted);
    }
    folder.watch(&["--actions", "actions.yml"]).exits(0);
    folder.watch(&["--actions", "actions.yml"]).exits(0);
    let all = ids(0..files * EVENTS);
    let acknowledged: BTreeSet<String> = hook.events().into_iter().collect();
    assert_eq!(acknowledged, all, "every alert was acknowledged");
    let mut repeated = 0;
    for (key, times) in hook.acknowledged() {
        if times > 1 {
            repeated += times - 1;
            assert!(
                repeatable.contains(&key),
                "{key} was acknowledged {times} times and not in flight"
            );
        }
    }
    assert!(repeated <= in_flight);
    println!(
        "killed {killed} times, {} alerts, {in_flight} in flight, {repeated} repeated",
        all.len()
    );
}

#[test]
fn killed_at_random_moments_a_file_has_every_alert_once() {
    let folder = Folder::new();
    // Each event is a group of its own, so that many deliveries are in flight.
    let rule =
        "name: user created\nevents: [CreateUser]\ngroup_by: [detail.eventID]\nactions: [file]\n";
    folder.write("rules.yml", rule);
    folder.write("actions.yml", "file: {kind: file, path: alerts.ndjson}\n");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut files, mut killed, mut in_flight, mut most) = (0, 0, 0, 0);
    while killed < FILE_KILLS {
        let mut run = folder.watch_command(&["--actions", "actions.yml"]).spawn().unwrap();
        if ends_within(&mut run, Duration::from_millis(random.u64(1..500))) {
            assert_eq!(run.wait().unwrap().code(), Some(0));
            for _ in 0..10 {
                files = add_files(&folder, files);
            }
            continue;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        killed += 1;
        let interrupted = sending(&folder).len();
        in_flight += interrupted;
        most = most.max(interrupted);
    }
    folder.watch(&["--actions", "actions.yml"]).exits(0);
    let content = std::fs::read_to_string(folder.path("alerts.ndjson")).unwrap();
    let mut written: Vec<String> = content
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        .map(|alert| alert["event_id"].as_str().unwrap().to_owned())
        .collect();
    written.sort_unstable();
    let all: Vec<String> = ids(0..files * EVENTS).into_iter().collect();
    assert_eq!(written, all, "every alert is in the file once");
    println!("{} alerts, {in_flight} in flight, at most {most} at a time", all.len());
}

/// Returns the ids of alerts whose delivery was interrupted.
fn sending(folder: &Folder) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(database) =
        rusqlite::Connection::open_with_flags(folder.path("checkpoint.sqlite"), flags)
    else {
        return Vec::new();
    };
    let query = "SELECT id FROM alert_deliveries JOIN alerts ON alerts.number = alert WHERE state = 'sending'";
    let Ok(mut statement) = database.prepare(query) else { return Vec::new() };
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
