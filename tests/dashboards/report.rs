//! `trailload dashboards --html`: what a page shows, from files and from engines, and what is written when something fails.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use trailload::dashboard::{
    Chart, Dashboards, Data, Page, PageData, Panel, PanelAnswer, PanelBucket, TimeScale,
};

use super::model;
use crate::cloud::World;
use crate::engine::on_every_engine;
use crate::support::aws::s3::{Bucket, Fake};
use crate::support::aws::{ACCOUNT, KEY, SECRET};
use crate::support::events::{event, event_with, events, gzip, lines, lookup, records};
use crate::support::load::{Desk, PROGRAM};
use crate::support::real::{Corner, Engine};
use crate::support::relay::{forward, response};
use crate::support::signature;
use crate::support::stranger::Stranger;

on_every_engine!(
    a_page_shows_the_same_from_files_and_from_an_engine,
    a_field_that_is_not_aggregatable_is_named,
    a_range_of_time_is_the_same_everywhere,
);

/// A run that has ended.
struct Ended {
    code: Option<i32>,
    page: String,
    messages: String,
}

impl Ended {
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.messages);
        self
    }

    fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.messages.contains(part), "{part:?} is not in\n{}", self.messages);
        }
        self
    }

    /// Checks that the page contains these texts, as HTML.
    fn shows(self, parts: &[&str]) -> Self {
        // Without the places where long texts may break.
        let page = self.page.replace("<wbr>", "");
        for part in parts {
            assert!(page.contains(part), "{part:?} is not on the page\n{}", self.messages);
        }
        self
    }

    /// Returns what the page shows for each panel about events, as HTML.
    fn panels(&self) -> BTreeMap<String, String> {
        panels_of(&self.page)
    }
}

fn panels_of(page: &str) -> BTreeMap<String, String> {
    let dashboards = Dashboards::embedded().unwrap();
    let of_events = dashboards.panels().filter(|(dashboard, _)| dashboard.data == Data::Events);
    let find = |panel: &Panel| {
        let start = page.find(&format!(" id=\"{}\"", panel.id))?;
        let end = page[start..].find("</section>")?;
        Some((panel.id.clone(), page[start..start + end].to_owned()))
    };
    of_events.map(|(_, panel)| find(panel).unwrap_or_else(|| panic!("no {}", panel.id))).collect()
}

/// Runs `trailload dashboards` with these arguments, and reads the page from standard output.
fn dashboards(arguments: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    command.arg("dashboards").args(arguments).env_clear().env("HOME", "/nonexistent");
    ended(command.stdin(Stdio::null()).output().unwrap())
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        page: String::from_utf8(output.stdout).unwrap(),
        messages: String::from_utf8(output.stderr).unwrap(),
    }
}

fn of_files(sources: &[&Path]) -> Ended {
    let sources = sources.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<&str> = ["--html", "-", "--from"].into_iter().chain(sources).collect();
    dashboards(&arguments)
}

fn of_engine(url: &str, prefix: &str) -> Ended {
    dashboards(&["--html", "-", "--into", url, "--index", prefix])
}

fn load(corner: &Corner, desk: &Desk, file: &Path, options: &[&str]) {
    let load = desk.load(file, corner.url()).with(corner.index()).with(options.iter().copied());
    load.run().exits(0);
    corner.refresh();
}

/// Returns the latest events of a page, as HTML.
fn latest(page: &str) -> &str {
    let (_, list) = page.split_once("Which events came last?").unwrap();
    list.split_once("</section>").unwrap().0
}

fn a_page_shows_the_same_from_files_and_from_an_engine(corner: &Corner) {
    let desk = Desk::new();
    let all: Vec<Value> = model::sample_events().into_iter().map(|event| event.event).collect();
    let file = desk.file("events.ndjson", lines(&all));
    load(corner, &desk, &file, &["--index-by", "year"]);
    let files = of_files(&[&file]).exits(0);
    let engine = of_engine(corner.url(), corner.prefix()).exits(0);
    let (expected, found) = (files.panels(), engine.panels());
    for (panel, html) in &expected {
        assert_eq!(found.get(panel), Some(html), "{panel}");
    }
    assert_eq!(latest(&files.page), latest(&engine.page));
    // The dashboard about loads is filled from the engine alone.
    let health = |page: &str| page.split_once("id=\"h1\"").unwrap().1.contains("No such runs");
    assert!(!health(&engine.page));
    files.shows(&["this page was not made from one"]);
}

#[test]
fn a_page_from_files_shows_a_plain_count() {
    let desk = Desk::new();
    let events = model::sample_events();
    let all: Vec<Value> = events.iter().map(|event| event.event.clone()).collect();
    let found = of_files(&[&desk.file("events.ndjson", lines(&all))]).exits(0).panels();
    let dashboards = Dashboards::embedded().unwrap();
    let answer = |panel| {
        let matching = model::matching(panel, &events);
        let (documents, rows) = (matching.len() as u64, model::rows(panel, &matching, model::year));
        PanelAnswer { documents, rows, is_incomplete: false }
    };
    let panels = dashboards.panels().filter(|(dashboard, _)| dashboard.data == Data::Events);
    let page = Page {
        dashboards: &dashboards,
        source: "a plain count".to_owned(),
        created: Duration::ZERO,
        data: vec![PageData {
            data: Data::Events,
            documents: events.len() as u64,
            range: None,
            scale: TimeScale::Month,
            latest: Vec::new(),
        }],
        answers: panels.map(|(_, panel)| (panel, answer(panel))).collect(),
        notes: Vec::new(),
    };
    let expected = panels_of(&page.to_html());
    let mut compared = 0;
    for (_, panel) in dashboards.panels() {
        let has_axis = panel.chart == Chart::Bars || panel.buckets.contains(&PanelBucket::Time);
        if let Some(html) = expected.get(&panel.id).filter(|_| !has_axis) {
            assert_eq!(found.get(&panel.id), Some(html), "{}", panel.id);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn events_are_counted_in_every_format_that_is_read() {
    let desk = Desk::new();
    let all = events(0..300);
    let expected = of_files(&[&desk.file("a.json", records(&all))]).exits(0).panels();
    assert!(expected["o1"].contains("300"), "{}", expected["o1"]);
    for file in [
        desk.file("lines/a.ndjson", lines(&all)),
        desk.file("gzip/a.json.gz", gzip(&records(&all))),
        desk.file("lookup/a.json", lookup(&all)),
    ] {
        let found = of_files(&[file.parent().unwrap()]).exits(0);
        assert_eq!(found.panels(), expected, "{}", file.display());
    }
    let text = lines(&all);
    let mut command = Command::new(PROGRAM);
    command.args(["dashboards", "--html", "-", "--from", "-"]).env_clear();
    let mut child = command
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_ref()));
    let piped = ended(child.wait_with_output().unwrap()).exits(0);
    writer.join().unwrap().unwrap();
    assert_eq!(piped.panels(), expected);
}

#[test]
fn buckets_and_the_event_history_are_counted_together_with_files() {
    let (world, desk) = (World::new(), Desk::new());
    world.put(ACCOUNT, "eu-west-1", (90_000, 3_600), 70);
    let mut bucket = Bucket::new();
    let name = "AWSLogs/111122223333/CloudTrail/eu-west-1/2024/01/01/111122223333_CloudTrail_eu-west-1_20240101T0000Z_a.json.gz";
    bucket.put(name, gzip(&records(&events(0..30))));
    let fake = Fake::start([("trail", bucket)]);
    let file = desk.file("a.json", records(&events(20..50)));
    let of = |sources: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["dashboards", "--html", "-", "--from"]).args(sources).env_clear();
        command.env("HOME", "/nonexistent").env("AWS_ENDPOINT_URL", world.server.url());
        command.env("AWS_ENDPOINT_URL_S3", &fake.url).env("AWS_REGION", "us-east-1");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", KEY);
        command.env("AWS_SECRET_ACCESS_KEY", SECRET).stdin(Stdio::null());
        ended(command.output().unwrap()).exits(0)
    };
    let all = of(&["s3://trail", file.to_str().unwrap(), "lookup"]);
    all.says(&[": 120 events from 2024-01-01"]).shows(&["10 events were found more than once"]);
    let bucket = of(&["s3://trail"]).panels();
    let events = desk.file("b.json", records(&events(0..30)));
    assert_eq!(bucket, of_files(&[&events]).panels());
}

#[test]
fn an_event_in_two_files_counts_once() {
    let desk = Desk::new();
    let once = of_files(&[&desk.file("once.json", records(&events(0..200)))]).exits(0);
    desk.file("trail/a.json", records(&events(0..150)));
    desk.file("trail/b/a.json.gz", gzip(&records(&events(100..200))));
    let again = desk.file("again.json", records(&events(20..30)));
    let twice = of_files(&[&desk.path("trail"), &again]).exits(0);
    assert_eq!(twice.panels(), once.panels());
    assert_eq!(latest(&twice.page), latest(&once.page));
    twice.shows(&["60 events were found more than once; each event counts once."]);
}

#[test]
fn what_cannot_be_read_is_on_the_page() {
    let desk = Desk::new();
    let expected = of_files(&[&desk.file("good.json", records(&events(0..50)))]).exits(0);
    desk.file("trail/good.json", records(&events(0..50)));
    let cut = gzip(&records(&events(50..90)));
    desk.file("trail/<b>cut.json.gz", &cut[..20]);
    let found = of_files(&[&desk.path("trail")]).exits(3);
    assert_eq!(found.panels(), expected.panels());
    found.shows(&["Not read completely: ", "&lt;b&gt;cut.json.gz"]).says(&["<b>cut.json.gz"]);
    let foreign = desk.file("foreign.txt", "these are no events");
    of_files(&[&foreign, &desk.path("good.json")]).exits(3).shows(&["foreign.txt"]);
}

#[test]
fn a_page_without_events_is_written_and_has_its_own_exit_code() {
    let desk = Desk::new();
    let empty = desk.file("empty.json", records(&[]));
    of_files(&[&empty]).exits(5).says(&["no events"]).shows(&["No such events."]);
}

#[test]
fn content_of_events_is_text_on_the_page() {
    let desk = Desk::new();
    let script = "<script>alert(1)</script>\u{202e}\"'&";
    let all =
        ["eventName", "awsRegion", "sourceIPAddress", "userAgent", "errorCode", "userIdentity.arn"]
            .iter()
            .enumerate()
            .map(|(number, path)| event_with(number, path, script.into()))
            .collect::<Vec<_>>();
    let file = desk.file("<img src=x onerror=alert(2)>.json", records(&all));
    let found = of_files(&[&file]).exits(0).shows(&["&lt;script&gt;alert(1)"]);
    for forbidden in ["<script", "<img", "onerror=alert(2)>"] {
        assert!(!found.page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_file_is_replaced_as_a_whole_or_not_at_all() {
    let desk = Desk::new();
    let events = desk.file("events.json", records(&events(0..20)));
    let (events, target) = (events.to_str().unwrap(), desk.file("out/report.html", "old"));
    let write = |target: &Path, source: &str| {
        dashboards(&["--html", target.to_str().unwrap(), "--from", source])
    };
    // What does not succeed leaves the old page.
    write(&target, "/nonexistent/trail").exits(2).says(&["/nonexistent/trail"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    let address = format!("to open it: file://{}", target.display());
    write(&target, events).exits(0).says(&["20 events", "from 2024-01-01", &address]);
    let page = fs::read_to_string(&target).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let names: Vec<_> =
        fs::read_dir(desk.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["report.html"]);
    let gone = desk.path("gone/report.html");
    write(&gone, events).exits(1).says(&["cannot write", "gone/report.html", "hint: "]);
    write(&desk.path("out"), events).exits(2).says(&["not a folder", "out/report.html"]);
    let full = Path::new("/dev/full");
    if full.exists() {
        write(full, events).exits(1).says(&["cannot write /dev/full", "No space left"]);
    }
}

#[test]
fn an_interrupt_leaves_the_old_page() {
    let desk = Desk::new();
    let target = desk.file("report.html", "old");
    let mut command = Command::new(PROGRAM);
    command.args(["dashboards", "--from", "-", "--html"]).arg(&target).env_clear();
    command.env("HOME", "/nonexistent").stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Far more than a pipe holds: when it is written, the program reads.
    input.write_all(lines(&events(0..2_000)).as_ref()).unwrap();
    let signal = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(signal.success());
    let output = child.wait_with_output().unwrap();
    drop(input);
    ended(output).exits(4).says(&["stopped", "report.html is not written"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn options_without_effect_are_refused_by_name() {
    let into = "http://localhost:9200";
    for (arguments, parts) in [
        (&[][..], &["neither '--html' nor '--print'", "--html report.html --from trail/"][..]),
        (&["--html", "a.html"], &["no source and no engine", "--from trail/", "--into"]),
        (&["--html", "a.html", "--print"], &["'--print'", "cannot be used with"]),
        (&["--print", "--from", "trail/"], &["'--from' has no effect with '--print'"]),
        (&["--print", "--into", into], &["'--into' has no effect with '--print'"]),
        (&["--print", "--last", "7d"], &["'--last' has no effect with '--print'"]),
        (&["--html", "a.html", "--from", "a", "--into", into], &["'--into' has no effect"]),
        (&["--html", "a.html", "--from", "a", "--index", "b"], &["'--index' has no effect"]),
        (&["--html", "a.html", "--from", "index"], &["'--from index'", "--into URL"]),
        (&["--html", "a.html", "--from", "a", "--regions", "all"], &["'--regions' applies only"]),
        (&["--html", "a.html", "--into", into, "--kinds", "Insight"], &["'--kinds' applies only"]),
        (&["--html", "a.html", "--into", into, "--profile", "a"], &["'--profile' applies only"]),
        (&["--html", "", "--from", "a"], &["a value is required for '--html <FILE>'"]),
        (&["--html", "a.html", "--from", ""], &["the name of a source is empty"]),
        (&["--html", "a.html", "--from", "a", "--last", "1d", "--since", "2d"], &["--since"]),
        (
            &["--html", "a.html", "--from", "a", "--since", "2024-02-01", "--to", "2024-01-01"],
            &["the time range is empty", "--since"],
        ),
    ] {
        dashboards(arguments).exits(2).says(parts);
    }
}

fn a_range_of_time_is_the_same_everywhere(corner: &Corner) {
    let desk = Desk::new();
    let file = desk.file("events.json", records(&events(0..500)));
    load(corner, &desk, &file, &["--index-by", "year"]);
    let path = file.to_str().unwrap();
    for range in
        [&["--since", "2024-02-01", "--to", "2024-03-01"][..], &["--to", "2024-02-03 10:05"]]
    {
        let of_files = dashboards(&[&["--html", "-", "--from", path], range].concat()).exits(0);
        let index = ["--html", "-", "--into", corner.url(), "--index", corner.prefix()];
        let of_engine = dashboards(&[&index[..], range].concat()).exits(0);
        assert_eq!(of_files.panels(), of_engine.panels(), "{range:?}");
        assert_eq!(
            latest(&of_files.page).contains("2024-04"),
            latest(&of_engine.page).contains("2024-04")
        );
    }
    let none = ["--html", "-", "--from", path, "--last", "1d"];
    dashboards(&none).exits(5);
}

fn a_field_that_is_not_aggregatable_is_named(corner: &Corner) {
    let text = json!({ "mappings": { "dynamic": false, "properties": {
        "@timestamp": { "type": "date" },
        "userAgent": { "type": "text" },
        "awsRegion": { "type": "keyword" },
    } } });
    let index = format!("{}-2024.01", corner.prefix());
    corner.ask("PUT", &format!("/{index}"), &text);
    let mut document = event(1);
    document["@timestamp"] = document["eventTime"].clone();
    corner.ask("POST", &format!("/{index}/_doc?refresh=true"), &document);
    let found = of_engine(corner.url(), corner.prefix()).exits(3);
    let found = found.shows(&["Not complete: ", "Which programs are used?", "userAgent"]);
    assert!(found.panels()["o1"].contains("1 event"), "other panels are there");
    found.says(&["Not complete: "]);
}

/// A server between the program and an engine that changes the answers to searches, given their numbers.
fn relay(
    corner: &Corner,
    change: impl Fn(usize, &mut u16, &mut Value) + Send + Sync + 'static,
) -> Stranger {
    let (url, number) = (corner.url().to_owned(), AtomicUsize::new(0));
    Stranger::answering(move |request| {
        let (mut status, mut answer) = forward(&url, request);
        if request.path.ends_with("/_search") {
            change(number.fetch_add(1, Ordering::Relaxed), &mut status, &mut answer);
        }
        response(request, status, &answer)
    })
}

#[test]
fn what_an_engine_refuses_or_leaves_out_is_named() {
    let (corner, desk) = (Corner::of(Engine::OpenSearch2), Desk::new());
    of_engine(corner.url(), corner.prefix()).exits(1).says(&["nothing is loaded yet", "hint: "]);
    of_engine("http://127.0.0.1:9", "a").exits(1).says(&["could not reach http://127.0.0.1:9"]);
    let file = desk.file("events.json", records(&events(0..50)));
    load(&corner, &desk, &file, &[]);
    let expected = of_engine(corner.url(), corner.prefix()).exits(0).panels();
    let of_relay = |server: &Stranger| of_engine(&server.url(), corner.prefix());
    let partial = relay(&corner, |number, _, answer| {
        if number == 3 {
            answer["_shards"]["failed"] = 1.into();
            answer["_shards"]["failures"] =
                json!([{ "reason": { "type": "gone_exception", "reason": "a node left" } }]);
        }
    });
    let found = of_relay(&partial).exits(3);
    assert_eq!(found.panels(), expected, "what is there is shown");
    found.shows(&["shards failed", "a node left"]).says(&["Not complete: ", "a node left"]);
    // The first search is about the time range of all panels.
    let survey = relay(&corner, |number, _, answer| {
        if number == 0 {
            answer["_shards"]["failed"] = 1.into();
        }
    });
    of_relay(&survey).exits(3).shows(&["Not complete: the time range of all panels"]);
    let forbidden = relay(&corner, |_, status, answer| {
        *status = 403;
        *answer = json!({ "error": { "type": "security_exception", "reason": "no permissions" } });
    });
    of_relay(&forbidden).exits(1).says(&["403", "no permissions", "hint: "]);
    let refused = |answer: &mut Value| {
        *answer =
            json!({ "error": { "type": "illegal_argument_exception", "reason": "no fielddata" } });
        400
    };
    let one = relay(&corner, move |number, status, answer| {
        if number == 5 {
            *status = refused(answer);
        }
    });
    of_relay(&one).exits(3).shows(&["no fielddata"]);
    let all = relay(&corner, move |number, status, answer| {
        if number > 0 {
            *status = refused(answer);
        }
    });
    of_relay(&all).exits(1).says(&["refuses the request of every panel", "no fielddata"]);
    let busy = relay(&corner, |number, status, _| {
        if matches!(number, 0 | 4 | 9) {
            *status = 503;
        }
    });
    assert_eq!(of_relay(&busy).exits(0).panels(), expected);
}

#[test]
fn requests_for_a_page_are_signed() {
    let (corner, desk) = (Corner::of(Engine::OpenSearch3), Desk::new());
    let file = desk.file("events.json", records(&events(0..50)));
    load(&corner, &desk, &file, &[]);
    let url = corner.url().to_owned();
    let gate = Stranger::answering(move |request| {
        let (status, answer) = match signature::check(request, KEY, SECRET) {
            Err(cause) => (403, json!({ "message": cause })),
            Ok(()) => forward(&url, request),
        };
        response(request, status, &answer)
    });
    let mut command = Command::new(PROGRAM);
    command.args(["dashboards", "--html", "-", "--aws-auth", "--into", &gate.url()]);
    command.args(corner.index()).stdin(Stdio::null()).env_clear().env("HOME", "/nonexistent");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "eu-central-1");
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    let signed = ended(command.output().unwrap()).exits(0);
    assert_eq!(signed.panels(), of_files(&[&file]).exits(0).panels());
}
