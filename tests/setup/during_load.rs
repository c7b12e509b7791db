//! `setup --remove` and `--enforce-retention` while a load runs, on real engines. The load reads from a pipe, so that the test
//! decides when it goes on.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun, access::before, templates};
use crate::engine::on_every_engine;
use crate::support::events::{event, id, lines, records};
use crate::support::load::{Desk, Load, Outcome, Running, wait_for};
use crate::support::wire;

on_every_engine!(
    templates_removed_during_a_load_are_there_before_the_next_month,
    a_month_that_expires_during_a_load_is_not_created_again,
    a_month_deleted_on_the_command_line_is_created_again_and_reported,
    other_months_that_expire_do_not_disturb_a_load,
    a_load_at_full_speed_and_a_retention_agree,
    a_month_that_an_engine_makes_up_gets_no_more_documents,
    what_a_load_creates_again_is_named,
);

/// Events of each part of a load: many small batches.
const PART: usize = 60;

/// Returns events of a month; `first` tells them from those of other parts.
fn events_of(month: &str, first: usize) -> Vec<Value> {
    let of_month = |number| {
        let mut event = event(number);
        event["eventTime"] = json!(format!("{month}-15T12:00:00Z"));
        event
    };
    (first..first + PART).map(of_month).collect()
}

fn this_month() -> String {
    jiff::Timestamp::now().strftime("%Y-%m").to_string()
}

/// A load that reads what a test writes.
struct Piped {
    running: Running,
    writer: File,
}

impl Piped {
    fn start(desk: &Desk, url: &str, corner: &Corner) -> Self {
        let pipe = desk.path(format!("pipe-{}", fastrand::u64(..)));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let running = load(desk, &pipe, url, corner).start();
        Self { running, writer: File::create(&pipe).unwrap() }
    }

    fn write(&mut self, events: &[Value]) {
        self.writer.write_all(&lines(events)).unwrap();
    }

    /// Writes events, and waits until an index has all but the last few, whose batch is not full.
    fn write_and_wait(&mut self, corner: &Corner, month: &str, events: &[Value]) {
        self.write(events);
        let index = index(corner, month);
        wait_for("most documents", || Some(()).filter(|()| written(corner, &index) >= PART - 6));
        // Until the load looks again whether the index is there, which it does four times a second.
        let start = Instant::now();
        wait_for("the next look", || {
            Some(()).filter(|()| start.elapsed() > Duration::from_millis(300))
        });
    }

    fn end(self) -> Outcome {
        drop(self.writer);
        self.running.end()
    }
}

fn load(desk: &Desk, source: &Path, url: &str, corner: &Corner) -> Load {
    desk.load(source, url).with(corner.index()).with(["--batch", "4KiB"])
}

fn index(corner: &Corner, month: &str) -> String {
    format!("{}-{}", corner.prefix(), month.replace('-', "."))
}

/// Returns how many documents were written to an index.
fn written(corner: &Corner, index: &str) -> usize {
    let (_, found) = wire::ask(corner.url(), "GET", &format!("/{index}/_stats/indexing"), None);
    let total = &found["_all"]["primaries"]["indexing"]["index_total"];
    usize::try_from(total.as_u64().unwrap_or(0)).unwrap()
}

fn exists(corner: &Corner, index: &str) -> bool {
    wire::ask(corner.url(), "GET", &format!("/{index}"), None).0 == 200
}

/// Fails unless each index of events has the mapping of the template.
fn have_mapping_of_the_template(corner: &Corner) {
    let path = format!("/{}-20*/_mapping", corner.prefix());
    let found = corner.ask("GET", &path, &Value::Null);
    for (index, found) in found.as_object().unwrap() {
        let mapping = &found["mappings"];
        assert_eq!(mapping["_meta"]["managed_by"], "trailload", "{index}: {mapping}");
        assert!(mapping["dynamic"] == "false" || mapping["dynamic"] == false, "{index}: {mapping}");
        assert_eq!(mapping["properties"]["eventName"]["type"], "keyword", "{index}");
    }
}

fn delete_templates(corner: &Corner) {
    let prefix = corner.prefix();
    for path in [
        format!("/_index_template/{prefix}"),
        format!("/_component_template/{prefix}-discovered"),
        format!("/_component_template/{prefix}-settings"),
    ] {
        wire::ask(corner.url(), "DELETE", &path, None);
    }
}

fn templates_removed_during_a_load_are_there_before_the_next_month(corner: &Corner) {
    let desk = Desk::new();
    SetupRun::of(corner, &["--replicas", "0"]).exits(0);
    let mut piped = Piped::start(&desk, corner.url(), corner);
    piped.write_and_wait(corner, "2024-01", &events_of("2024-01", 0));
    SetupRun::of(corner, &["--remove"]).exits(0).prints(["4 deleted", " 0 not possible"]);
    for (part, month) in ["2024-01", "2024-02", "2024-03"].into_iter().enumerate() {
        piped.write(&events_of(month, (part + 1) * PART));
    }
    let all = 4 * PART as u64;
    let outcome = piped.end().exits(0).counted([all, all, 0, 0]);
    outcome.says(["was deleted during the run; installing it again"]);
    have_mapping_of_the_template(corner);
    assert_eq!(corner.ids(), (0..4 * PART).map(id).collect());
    // As the page says: what the load installed again is removed after it.
    SetupRun::of(corner, &["--remove"]).exits(0).prints([" 0 not possible"]);
    let left = templates(corner).to_string();
    assert!(!left.contains("managed_by"), "{left}");
}

fn a_month_that_expires_during_a_load_is_not_created_again(corner: &Corner) {
    let desk = Desk::new();
    let mut piped = Piped::start(&desk, corner.url(), corner);
    piped.write_and_wait(corner, "2014-01", &events_of("2014-01", 0));
    let before = written(corner, &index(corner, "2014-01")) as u64;
    SetupRun::of(corner, &["--retention", "1000d"]).exits(0);
    SetupRun::of(corner, &["--enforce-retention"])
        .exits(0)
        .prints(["1 deleted", " 0 not possible"]);
    // The same month, one that has no index yet, and the current one.
    let now = this_month();
    for (part, month) in ["2014-01", "2014-02", now.as_str()].into_iter().enumerate() {
        piped.write(&events_of(month, (part + 1) * PART));
    }
    let outcome = piped.end().exits(0);
    let outcome = outcome.says([
        "2014.01: was deleted during the run, and all its events are older than the retention (1000d)",
        "2014.02: all its events are older than the retention",
        "older than the retention",
    ]);
    let (part, all) = (PART as u64, 4 * PART as u64);
    let outcome = outcome.counted([before + part, before + part, 0, 0]);
    assert_eq!(outcome.number("expired"), all - before - part);
    for month in ["2014-01", "2014-02"] {
        assert!(!exists(corner, &index(corner, month)), "{month} was created again");
    }
    assert_eq!(corner.ids(), (3 * PART..4 * PART).map(id).collect());
    // What was left out is settled: nothing is missing later either.
    let file = desk.file("later.json", records(&events_of(&now, 4 * PART)));
    load(&desk, &file, corner.url(), corner).run().exits(0).counted([part, part, 0, 0]);
    SetupRun::of(corner, &["--enforce-retention"]).exits(0).prints([" 0 expired", " 0 deleted"]);
}

fn a_month_deleted_on_the_command_line_is_created_again_and_reported(corner: &Corner) {
    let desk = Desk::new();
    let mut piped = Piped::start(&desk, corner.url(), corner);
    piped.write_and_wait(corner, "2014-01", &events_of("2014-01", 0));
    // Not recorded: no load knows that these events are not wanted.
    let options = ["--enforce-retention", "--retention", "1000d"];
    SetupRun::of(corner, &options).exits(0).prints(["1 deleted"]);
    piped.write(&events_of("2014-01", PART));
    let name = index(corner, "2014-01");
    let outcome = piped.end().exits(3);
    outcome.says([
        format!("{name}: was deleted during the run; creating it again").as_str(),
        "--reload --from 2014-01-01 --to 2014-02-01",
    ]);
    have_mapping_of_the_template(corner);
    let both = [events_of("2014-01", 0), events_of("2014-01", PART)].concat();
    let file = desk.file("all.json", records(&both));
    let again = ["--reload", "--from", "2014-01-01", "--to", "2014-02-01"];
    load(&desk, &file, corner.url(), corner).with(again).run().exits(0);
    assert_eq!(corner.ids(), (0..2 * PART).map(id).collect());
}

fn other_months_that_expire_do_not_disturb_a_load(corner: &Corner) {
    let desk = Desk::new();
    let file = desk.file("old.json", records(&events_of("2014-01", 0)));
    load(&desk, &file, corner.url(), corner).run().exits(0);
    let mut piped = Piped::start(&desk, corner.url(), corner);
    let now = this_month();
    piped.write_and_wait(corner, &now, &events_of(&now, PART));
    SetupRun::of(corner, &["--retention", "1000d"]).exits(0);
    SetupRun::of(corner, &["--enforce-retention"]).exits(0).prints(["1 deleted"]);
    piped.write(&events_of(&now, 2 * PART));
    let both = 2 * PART as u64;
    let outcome = piped.end().exits(0).counted([both, both, 0, 0]);
    // The deletion was asked for, so it is no loss.
    let outcome = outcome.says(["was deleted with 60 documents older than 1000d"]);
    assert!(outcome.summary.as_ref().unwrap()["expired"].is_null());
    assert_eq!(corner.ids(), (PART..3 * PART).map(id).collect());
    // A load that begins now leaves expired months out before it reads.
    let late = desk.file("late.json", records(&events_of("2014-03", 3 * PART)));
    load(&desk, &late, corner.url(), corner).run().exits(0).counted([0, 0, 0, 0]);
}

/// Without a pause between them, whatever is on its way when an index is deleted.
fn a_load_at_full_speed_and_a_retention_agree(corner: &Corner) {
    let desk = Desk::new();
    let now = this_month();
    let months: Vec<_> = (1..=12).map(|month| format!("2014-{month:02}")).chain([now]).collect();
    // Each month again and again, so that its index is in use when it is deleted.
    let rounds = (0..6).flat_map(|_| &months).enumerate();
    let all: Vec<_> =
        rounds.flat_map(|(part, month)| events_of(month, part * PART)[..20].to_vec()).collect();
    let file = desk.file("all.json", records(&all));
    let mut running = load(&desk, &file, corner.url(), corner).start();
    wait_for("the first index", || {
        Some(()).filter(|()| written(corner, &index(corner, "2014-01")) > 0)
    });
    SetupRun::of(corner, &["--retention", "1000d"]).exits(0);
    let enforce = || SetupRun::of(corner, &["--enforce-retention"]);
    while !running.ends_within(Duration::from_millis(1)) {
        // 3 if the load created an index again.
        let code = enforce().code;
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
    let outcome = running.end().exits(0);
    let [read, created, duplicates, dead_letters] = outcome.counts();
    assert_eq!((duplicates, dead_letters), (0, 0), "{}", outcome.stderr);
    let expired = outcome.summary.as_ref().unwrap()["expired"].as_u64().unwrap_or(0);
    assert_eq!((read, created + expired), (created, all.len() as u64));
    have_mapping_of_the_template(corner);
    enforce().exits(0);
    let left = corner.ids();
    assert_eq!(left.len(), 6 * 20, "the current month is complete, and nothing else is left");
    load(&desk, &file, corner.url(), corner).run().exits(0).counted([0, 0, 0, 0]);
}

/// Templates and index are deleted after the load looked for them, and before its documents arrive: the engine makes an index
/// up from the documents.
fn a_month_that_an_engine_makes_up_gets_no_more_documents(corner: &Corner) {
    let desk = Desk::new();
    let (is_armed, made_up) = (std::sync::Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let name = index(corner, "2024-01");
    let server = {
        let (url, prefix, name) =
            (corner.url().to_owned(), corner.prefix().to_owned(), name.clone());
        let is_armed = std::sync::Arc::clone(&is_armed);
        before(corner, move |request| {
            if request.path.ends_with("/_bulk") && is_armed.swap(false, Relaxed) {
                for path in [format!("/_index_template/{prefix}"), format!("/{name}")] {
                    wire::ask(&url, "DELETE", &path, None);
                }
            }
            None
        })
    };
    let mut piped = Piped::start(&desk, &server.url(), corner);
    piped.write_and_wait(corner, "2024-01", &events_of("2024-01", 0));
    is_armed.store(true, Relaxed);
    piped.write(&events_of("2024-01", PART)[..8]);
    let is_dynamic = || {
        let (_, found) = wire::ask(corner.url(), "GET", &format!("/{name}/_mapping"), None);
        let mapping = found.get(&name)?.get("mappings")?;
        Some(()).filter(|()| {
            !is_armed.load(Relaxed) && mapping["properties"]["eventName"]["type"] == "text"
        })
    };
    wait_for("the index that the engine makes up", is_dynamic);
    let start = Instant::now();
    wait_for("the next look", || {
        Some(()).filter(|()| start.elapsed() > Duration::from_millis(300))
    });
    made_up.store(written(corner, &name), Relaxed);
    piped.write(&events_of("2024-01", PART)[8..]);
    piped.write(&events_of("2024-02", 2 * PART));
    let outcome = piped.end().exits(3);
    let outcome = outcome.says([
        "created again without trailload's template, so it maps fields dynamically",
        "hint: delete it",
        "trailload retry",
        "--reload --from 2024-01-01",
    ]);
    let dead_letters = outcome.number("dead_letters");
    assert!(dead_letters > PART as u64 / 2, "{dead_letters}");
    assert_eq!(written(corner, &name), made_up.load(Relaxed), "no document more");
    // As the messages say.
    corner.ask("DELETE", &format!("/{name}"), &Value::Null);
    have_mapping_of_the_template(corner);
    let all = [events_of("2024-01", 0), events_of("2024-01", PART)].concat();
    let file = desk.file("all.json", records(&all));
    let again = ["--reload", "--from", "2024-01-01", "--to", "2024-02-01"];
    load(&desk, &file, &server.url(), corner).with(again).run().exits(0);
    load(&desk, &file, &server.url(), corner).run().exits(0);
    have_mapping_of_the_template(corner);
    assert_eq!(corner.ids(), (0..3 * PART).map(id).collect());
}

#[test]
fn templates_that_vanish_at_any_step_leave_no_month_without_a_mapping() {
    // The engines respond alike to each of these requests.
    for engine in [Engine::OpenSearch3, Engine::Elasticsearch8] {
        templates_vanish_at_each_step(&Corner::of(engine));
    }
}

/// Before each of the requests that make a new month, once, the templates are deleted.
fn templates_vanish_at_each_step(corner: &Corner) {
    let prefix = corner.prefix().to_owned();
    let month = format!("/{prefix}-2024.02");
    let template = format!("/_index_template/{prefix}");
    for (method, path) in [
        ("GET", format!("/_component_template/{prefix}-discovered")),
        ("GET", format!("{month}/_mapping")),
        ("GET", template.clone()),
        ("PUT", template),
        ("PUT", month),
    ] {
        let desk = Desk::new();
        let pending = Mutex::new(true);
        let is_armed = std::sync::Arc::new(AtomicBool::new(false));
        let server = {
            let at = (corner.url().to_owned(), prefix.clone());
            let (is_armed, path) = (std::sync::Arc::clone(&is_armed), path.clone());
            before(corner, move |request| {
                let is_step =
                    request.method == method && wire::percent_decoded(&request.path) == path;
                if is_step
                    && is_armed.load(Relaxed)
                    && std::mem::take(&mut *pending.lock().unwrap())
                {
                    let (url, prefix) = &at;
                    for path in [
                        format!("/_index_template/{prefix}"),
                        format!("/_component_template/{prefix}-discovered"),
                        format!("/_component_template/{prefix}-settings"),
                    ] {
                        wire::ask(url, "DELETE", &path, None);
                    }
                }
                None
            })
        };
        let mut piped = Piped::start(&desk, &server.url(), corner);
        piped.write_and_wait(corner, "2024-01", &events_of("2024-01", 0));
        if method == "PUT" && path.starts_with("/_index_template") {
            // So that the load restores it.
            delete_templates(corner);
        }
        is_armed.store(true, Relaxed);
        piped.write(&events_of("2024-02", PART));
        let outcome = piped.end().exits(0).counted([2 * PART as u64, 2 * PART as u64, 0, 0]);
        assert!(
            outcome.stderr.contains("installing it again"),
            "{method} {path}: {}",
            outcome.stderr
        );
        have_mapping_of_the_template(corner);
        corner.clear();
    }
}

/// What a load creates between the requests of a setup is not reported as done.
fn what_a_load_creates_again_is_named(corner: &Corner) {
    let (desk, prefix) = (Desk::new(), corner.prefix().to_owned());
    let file = desk.file("a.json", records(&events_of("2014-01", 0)));
    load(&desk, &file, corner.url(), corner).run().exits(0);
    let template = corner.ask("GET", &format!("/_index_template/{prefix}"), &Value::Null);
    let mut template = template["index_templates"][0]["index_template"].clone();
    super::without_times(&mut template);
    let name = index(corner, "2014-01");
    // As the load does: before a component template is deleted, or right after an index was.
    let server = {
        let (url, at) = (corner.url().to_owned(), prefix.clone());
        let body = template.to_string().into_bytes();
        before(corner, move |request| {
            if request.method != "DELETE" {
                return None;
            }
            if request.path == format!("/{at}-2014.01") {
                let (status, answer) = super::lifecycle::forward(&url, request);
                wire::ask(&url, "PUT", &request.path, None);
                return Some(crate::support::aws::server::Response::json(status, &answer));
            }
            if request.path.ends_with("-discovered") {
                wire::ask(&url, "PUT", &format!("/_index_template/{at}"), Some(&body));
            }
            None
        })
    };
    let url = server.url();
    let always = ["--into", &url, "--index", &prefix];
    let options = ["--enforce-retention", "--retention", "1000d"];
    let enforced = SetupRun::new(&[&always[..], &options].concat(), &[]).exits(3);
    let cannot = format!("cannot index '{name}': a load that runs created it again");
    enforced.prints([cannot.as_str(), "done in part", "1 not possible"]);
    let removed = SetupRun::new(&[&always[..], &["--remove"]].concat(), &[]).exits(3);
    let cannot =
        format!("cannot index template '{prefix}': it was created again, by a load that runs");
    let removed = removed.prints([cannot.as_str(), "done in part"]);
    removed.says([
        "still in use by index templates",
        "stop the load",
        "run the same command again",
    ]);
    SetupRun::of(corner, &options).exits(0).prints(["1 deleted"]);
    SetupRun::of(corner, &["--remove"]).exits(0).prints([" 0 not possible"]);
    let left = templates(corner).to_string();
    assert!(!left.contains("managed_by"), "{left}");
}
