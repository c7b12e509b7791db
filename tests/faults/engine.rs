//! An engine, or a proxy before it, that does everything wrong once.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::support::engine::{FakeEngine, Fault, Flavour};
use crate::support::events::{events, ids, lines, records};
use crate::support::load::{Desk, Load, Outcome};

/// Events of every test here; with the batch size below, several bulk requests.
const EVENTS: usize = 600;

fn prepared(engine: &FakeEngine) -> (Desk, Load) {
    let desk = Desk::new();
    for (number, part) in events(0..EVENTS).chunks(100).enumerate() {
        desk.file(format!("in/{number}.json"), records(part));
    }
    let load = desk.load(desk.path("in"), engine.url()).with(["--batch", "64KiB"]);
    (desk, load)
}

/// Loads while the faults happen; then everything must be there, once.
fn survives(faults: impl IntoIterator<Item = Option<Fault>>) -> (FakeEngine, Outcome) {
    let engine = FakeEngine::start();
    let (_desk, load) = prepared(&engine);
    engine.script(faults);
    let outcome = load.run().exits(0);
    assert_eq!(outcome.number("read"), EVENTS as u64);
    assert_eq!(outcome.number("dead_letters"), 0, "{}", outcome.stderr);
    assert_eq!(engine.ids(), ids(0..EVENTS));
    engine.assert_no_complaints();
    (engine, outcome)
}

fn first(fault: Fault, times: usize) -> Vec<Option<Fault>> {
    std::iter::repeat_n(Some(fault), times).collect()
}

#[test]
fn a_whole_429_is_tried_again() {
    let (_, outcome) = survives(first(Fault::Status(429), 4));
    assert_eq!(outcome.number("created"), EVENTS as u64);
}

#[test]
fn only_the_items_that_met_429_are_sent_again() {
    let (engine, outcome) = survives(first(Fault::ItemStatus { every: 3, status: 429 }, 6));
    assert_eq!(outcome.number("created"), EVENTS as u64);
    assert_eq!(engine.most_sendings_of_one_id(), 1, "what was stored is not sent again");
}

#[test]
fn a_503_and_other_failures_of_a_server_are_tried_again() {
    survives([503, 502, 500, 504].map(|status| Some(Fault::Status(status))));
}

#[test]
fn items_that_met_503_are_sent_again() {
    survives(first(Fault::ItemStatus { every: 2, status: 503 }, 3));
}

#[test]
fn a_reset_before_the_answer_loses_nothing() {
    survives(first(Fault::ResetBefore, 3));
}

#[test]
fn a_reset_inside_the_answer_loses_nothing() {
    let (_, outcome) = survives(first(Fault::ResetInside, 3));
    assert!(outcome.number("duplicates") > 0, "what was stored before the reset is found there");
}

#[test]
fn a_half_accepted_bulk_loses_nothing() {
    survives(first(Fault::HalfAccepted, 3));
}

#[test]
fn an_engine_that_hangs_or_is_slow_loses_nothing() {
    let hang = Some(Fault::Hang(Duration::from_secs(3)));
    let slow = Some(Fault::Slow(Duration::from_secs(2)));
    survives([hang, slow.clone(), None, slow]);
}

#[test]
fn an_engine_that_says_nothing_is_told_while_it_is_waited_for() {
    let (_, outcome) = survives([Some(Fault::Hang(Duration::from_secs(7)))]);
    outcome.says(["no answer for ", "still waiting"]);
}

#[test]
fn a_proxy_page_instead_of_an_answer_is_tried_again() {
    survives([Some(Fault::Html), Some(Fault::HtmlStatus(502)), Some(Fault::HtmlStatus(503))]);
}

#[test]
fn an_answer_with_too_few_items_counts_nothing_as_done() {
    survives([Some(Fault::ItemMissing), None, Some(Fault::ItemMissing), Some(Fault::EmptyAnswer)]);
}

#[test]
fn everything_at_once_loses_nothing() {
    survives([
        Some(Fault::Status(429)),
        Some(Fault::HalfAccepted),
        None,
        Some(Fault::ItemStatus { every: 2, status: 429 }),
        Some(Fault::ResetInside),
        Some(Fault::ItemStatus { every: 5, status: 503 }),
        Some(Fault::ResetBefore),
        Some(Fault::Html),
        Some(Fault::ItemMissing),
    ]);
}

#[test]
fn a_body_that_is_too_large_is_halved() {
    let engine = FakeEngine::start();
    let (desk, _) = prepared(&engine);
    engine.limit_bodies(100_000);
    let load = desk.load(desk.path("in"), engine.url()).with(["--batch", "1MiB"]);
    load.run().exits(0).counted([EVENTS as u64, EVENTS as u64, 0, 0]);
    assert_eq!(engine.ids(), ids(0..EVENTS));
    assert!(engine.asked().bulks < 60, "halves are remembered: {:?}", engine.asked());
}

#[test]
fn a_document_that_is_too_large_becomes_a_dead_letter_and_the_rest_is_loaded() {
    let engine = FakeEngine::start();
    let desk = Desk::new();
    engine.limit_bodies(100_000);
    let mut all = events(0..20);
    all[7]["errorMessage"] = json!("x".repeat(300_000));
    let file = desk.file("a.json", records(&all));
    let outcome = desk.load(&file, engine.url()).run().exits(3);
    outcome.counted([20, 19, 0, 1]).says(["dead letter"]);
    assert_eq!(engine.count(), 19);
}

/// Loads into an engine that says no; the run must stop, keep its place, and finish once healed.
fn stops_and_goes_on(engine: &FakeEngine, fault: &Fault, words: &[&str]) {
    let (_desk, load) = prepared(engine);
    engine.script([None]).fail(100, fault);
    load.run().exits(1).says(words.iter().copied());
    engine.heal();
    let outcome = load.run().exits(0);
    assert_eq!(outcome.number("dead_letters"), 0);
    assert_eq!(engine.ids(), ids(0..EVENTS));
}

#[test]
fn a_403_stops_with_a_hint_and_the_position_saved() {
    let engine = FakeEngine::start();
    stops_and_goes_on(
        &engine,
        &Fault::Status(403),
        &["403", "hint", "no permissions", engine.url()],
    );
}

#[test]
fn a_401_stops_with_a_hint() {
    let engine = FakeEngine::start();
    stops_and_goes_on(&engine, &Fault::Status(401), &["401", "hint", "TRAILLOAD_"]);
}

#[test]
fn a_404_stops_with_a_hint() {
    let engine = FakeEngine::start();
    stops_and_goes_on(&engine, &Fault::Status(404), &["404", "hint"]);
}

#[test]
fn items_refused_with_403_stop_the_run_instead_of_becoming_dead_letters() {
    let engine = FakeEngine::start();
    stops_and_goes_on(&engine, &Fault::ItemStatus { every: 2, status: 403 }, &["403", "hint"]);
}

#[test]
fn a_wrong_password_stops_before_anything_is_read() {
    let engine = FakeEngine::start();
    engine.require("Basic bG9hZGVyOnNlY3JldA==");
    let (_desk, load) = prepared(&engine);
    load.run().exits(1).says(["401", "TRAILLOAD_USERNAME"]);
    let wrong = load
        .clone()
        .environment("TRAILLOAD_USERNAME", "loader")
        .environment("TRAILLOAD_PASSWORD", "wr0ngpass");
    let outcome = wrong.run().exits(1).says(["401"]);
    assert!(!outcome.stderr.contains("wr0ngpass"), "a password is never shown");
    assert_eq!(engine.count(), 0);
    let right = load
        .environment("TRAILLOAD_USERNAME", "loader")
        .environment("TRAILLOAD_PASSWORD", "secret");
    assert_eq!(right.run().exits(0).number("created"), EVENTS as u64);
}

#[test]
fn an_api_key_opens_the_engine() {
    let engine = FakeEngine::start_as(Flavour::Elasticsearch);
    engine.require("ApiKey a2V5OnNlY3JldA==");
    let (_desk, load) = prepared(&engine);
    let outcome = load.environment("TRAILLOAD_API_KEY", "a2V5OnNlY3JldA==").run().exits(0);
    assert_eq!(outcome.number("created"), EVENTS as u64);
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..3)));
    let url = format!("http://127.0.0.1:{port}");
    desk.load(&file, &url).run().exits(1).says([
        "error: ",
        url.as_str(),
        "caused by: ",
        "refused",
        "hint: ",
    ]);
}

#[test]
fn a_password_in_the_address_is_never_shown() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = Desk::new();
    let file = desk.file("a.json", records(&events(0..3)));
    let outcome = desk.load(&file, &format!("http://me:hush5ecret@127.0.0.1:{port}")).run();
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("hush5ecret"), "{outcome:?}");
}

#[test]
fn a_server_that_is_no_engine_is_named() {
    let engine = FakeEngine::start();
    engine.fail(100_000, &Fault::HtmlStatus(400));
    let (_desk, load) = prepared(&engine);
    let outcome = load.run();
    assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(engine.count(), 0);
    engine.heal();
    load.run().exits(0);
    assert_eq!(engine.ids(), ids(0..EVENTS));
}

#[test]
fn a_refused_document_goes_in_raw() {
    let engine = FakeEngine::start();
    let desk = Desk::new();
    let file = desk.file("a.json", lines(&events(0..50)));
    // Refuses the document as it is, but not its text inside a raw document.
    engine.refuse(|document| {
        holds(document, br#""reservationId":"r-7""#)
            .then(|| (400, "failed to parse: no idea why".to_owned()))
    });
    let outcome = desk.load(&file, engine.url()).run().exits(0).counted([50, 50, 0, 0]);
    assert_eq!(engine.ids(), ids(0..50), "{}", outcome.stderr);
}

#[test]
fn a_document_that_no_form_helps_becomes_a_dead_letter_with_its_reason() {
    let engine = FakeEngine::start();
    let desk = Desk::new();
    let file = desk.file("a.json", lines(&events(0..50)));
    engine.refuse(|document| {
        holds(document, b"r-7").then(|| (400, "failed to parse: it has a seven".to_owned()))
    });
    let load = desk.load(&file, engine.url());
    load.run().exits(3).counted([50, 49, 0, 1]).says(["dead letter", "status"]);
    assert_eq!(engine.count(), 49);
    engine.heal();
    // It is sent again before anything is read, and is there when its record comes.
    let again = load.with(["--reload"]).run().exits(0).counted([50, 0, 50, 0]);
    assert_eq!(again.summary.as_ref().unwrap()["retried"]["created"], 1, "{}", again.stderr);
    assert_eq!(engine.ids(), ids(0..50), "{}", again.stderr);
}

fn holds(document: &[u8], part: &[u8]) -> bool {
    document.windows(part.len()).any(|window| window == part)
}
