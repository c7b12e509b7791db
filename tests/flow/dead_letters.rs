//! Dead letters: no run ends with 0 before they are in the index or accepted, and they are sent again.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::{FakeEngine, Fault};
use crate::support::events::{event_with, events, id, ids, records};
use crate::support::load::{Chain, Desk, Load, Outcome, PROGRAM};
use crate::support::wire;

/// Runs a command that has nothing to do with a load: `status`, `retry --accept`.
fn tell(desk: &Desk, words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words).args("--checkpoint".chain(desk.checkpoint()));
    command.env_clear().env("HOME", desk.path("home")).output().unwrap()
}

/// Returns the dead letters of `status --json`.
fn dead_letters(desk: &Desk) -> Value {
    let output = tell(desk, &["status", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["dead_letters"].clone()
}

/// Prepares `trailload retry`.
fn retry(desk: &Desk, engine: &FakeEngine) -> Load {
    desk.load_all::<&str>([], engine.url()).instead("retry")
}

/// Returns how many documents were sent again, and how many of them were created, duplicates, and dead letters.
fn retried(outcome: &Outcome) -> [u64; 4] {
    let retried = &outcome.summary.as_ref().unwrap()["retried"];
    ["documents", "created", "duplicates", "dead_letters"]
        .map(|name| retried[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {retried}")))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Refuses the documents of these events for their content.
fn refuse(engine: &FakeEngine, numbers: &[usize]) {
    let parts: Vec<String> = numbers.iter().map(|number| id(*number)).collect();
    engine.refuse(move |document| {
        let refused = parts.iter().any(|part| contains(document, part.as_bytes()));
        refused.then(|| (400, "no room for this one".to_owned()))
    });
}

/// Loads ten events, of which number 3 is refused for its content.
fn one_refused() -> (FakeEngine, Desk, Load) {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..10)));
    refuse(&engine, &[3]);
    let load = desk.load(file, engine.url());
    load.run().exits(3).counted([10, 9, 0, 1]);
    (engine, desk, load)
}

#[test]
fn a_load_never_ends_with_0_while_there_is_a_dead_letter() {
    let (engine, desk, load) = one_refused();
    let sent = engine.asked().items;
    for _ in 0..2 {
        let again = load.run().exits(3).counted([0, 0, 0, 0]).says(["1 dead letter;"]);
        assert_eq!(retried(&again), [0; 4], "nothing changed that would let it in");
    }
    assert_eq!(engine.asked().items, sent, "and it is not sent");
    assert_eq!(dead_letters(&desk)["documents"], 1);
}

#[test]
fn retry_sends_what_was_refused_and_then_all_is_well() {
    let (engine, desk, load) = one_refused();
    let still = retry(&desk, &engine).run().exits(3).counted([0; 4]);
    assert_eq!(retried(&still), [1, 0, 0, 1]);
    engine.heal();
    let sent = retry(&desk, &engine).run().exits(0).says(["1 dead letter retried = 1 created"]);
    assert_eq!(retried(&sent), [1, 1, 0, 0]);
    assert_eq!(engine.ids(), ids(0..10));
    let last = load.run().exits(0).counted([0; 4]);
    assert_eq!(retried(&last), [0; 4]);
    assert_eq!(dead_letters(&desk), json!({ "documents": 0, "accepted": 0, "reasons": [] }));
    engine.assert_no_complaints();
}

#[test]
fn a_load_sends_what_was_refused_once_the_mapping_has_changed() {
    let (engine, desk, load) = one_refused();
    engine.heal();
    assert_eq!(retried(&load.run().exits(3)), [0; 4], "the mapping is the same");
    let properties = json!({ "properties": { "note": { "type": "keyword" } } }).to_string();
    let path = "/cloudtrail-2024.04/_mapping";
    assert_eq!(wire::ask(engine.url(), "PUT", path, Some(properties.as_bytes())).0, 200);
    assert_eq!(retried(&load.run().exits(0).counted([0; 4])), [1, 1, 0, 0]);
    assert_eq!(engine.ids(), ids(0..10));
    assert_eq!(dead_letters(&desk)["documents"], 0);
}

#[test]
fn a_load_of_everything_again_sends_what_was_refused_and_counts_each_document_once() {
    let (engine, _desk, load) = one_refused();
    engine.heal();
    let again = load.with(["--reload"]).run().exits(0).counted([10, 0, 10, 0]);
    assert_eq!(retried(&again), [1, 1, 0, 0]);
    assert_eq!(engine.count(), 10);
}

#[test]
fn what_is_too_large_for_the_engine_is_sent_again_by_every_load() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let large = event_with(0, "requestParameters.text", "x".repeat(200_000).into());
    let file = desk.file("a.json", records(&[vec![large], events(1..5)].concat()));
    engine.limit_bodies(100_000);
    let load = desk.load(file, engine.url());
    load.run().exits(3).counted([5, 4, 0, 1]);
    let again = load.run().exits(3).counted([0; 4]);
    assert_eq!(retried(&again), [1, 0, 0, 1]);
    assert_eq!(dead_letters(&desk)["reasons"][0]["cause"], "limit");
    engine.limit_bodies(10_000_000);
    assert_eq!(retried(&load.run().exits(0).counted([0; 4])), [1, 1, 0, 0]);
    assert_eq!(engine.ids(), ids(0..5));
}

#[test]
fn a_document_comes_back_whole_however_long_it_is() {
    let long: String = (0..200_000_u32).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
    let all = [
        event_with(0, "requestParameters.text", long.into()),
        event_with(1, "requestParameters.b", json!([{ "c": 1 }, "d"])),
    ];
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&all));
    refuse(&engine, &[0, 1]);
    desk.load(&file, engine.url()).run().exits(3).counted([2, 0, 0, 2]);
    engine.heal();
    retry(&desk, &engine).run().exits(0);
    let (other, fresh) = (FakeEngine::start(), Desk::new());
    fresh.load(&file, other.url()).run().exits(0);
    assert_eq!(engine.documents(), other.documents(), "as if it had gone in at once");
}

#[test]
fn what_is_accepted_stays_out_and_is_counted() {
    let (engine, desk, load) = one_refused();
    let accepted = tell(&desk, &["retry", "--accept"]);
    let said = String::from_utf8_lossy(&accepted.stderr).into_owned();
    assert_eq!(accepted.status.code(), Some(0), "{said}");
    assert!(said.contains("accepted 1 dead letter"), "{said}");
    load.run().exits(0).counted([0; 4]);
    let kept = dead_letters(&desk);
    assert_eq!((&kept["documents"], &kept["accepted"]), (&json!(1), &json!(1)));
    assert_eq!(kept["reasons"][0]["reason"], "400 mapper_parsing_exception: no room for this one");
    engine.heal();
    assert_eq!(retried(&retry(&desk, &engine).run().exits(0)), [0; 4]);
    assert_eq!(engine.ids().len(), 9);
    let all = retry(&desk, &engine).with(["--all"]).run().exits(0);
    assert_eq!(retried(&all), [1, 1, 0, 0]);
    assert_eq!(engine.ids(), ids(0..10));
    assert_eq!(dead_letters(&desk)["documents"], 0);
}

#[test]
fn a_new_dead_letter_after_others_were_accepted_is_exit_3_again() {
    let (engine, desk, load) = one_refused();
    tell(&desk, &["retry", "--accept"]);
    refuse(&engine, &[3, 12]);
    let other = desk.file("b.json", records(&events(10..15)));
    desk.load(&other, engine.url()).run().exits(3).counted([5, 4, 0, 1]);
    // The same document, refused once more, is still accepted.
    tell(&desk, &["retry", "--accept"]);
    load.with(["--reload"]).run().exits(0).counted([10, 0, 9, 1]);
    assert_eq!(dead_letters(&desk)["accepted"], 2);
}

#[test]
fn status_has_one_line_for_one_cause() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..40)));
    engine.refuse(|document| {
        let document: Value = serde_json::from_slice(document).unwrap();
        let (id, address) = (&document["eventID"], &document["sourceIPAddress"]);
        let (id, address) = (id.as_str().unwrap(), address.as_str().unwrap());
        let reason = format!(
            "failed to parse field [sourceIPAddress] of type [long] in document with id '{id}'. Preview of field's \
             value: '{address}': For input string: \"{address}\""
        );
        Some((400, reason))
    });
    desk.load(&file, engine.url()).run().exits(3).counted([40, 0, 0, 40]);
    let told = dead_letters(&desk);
    let reasons = told["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{told:#}");
    assert_eq!(reasons[0]["documents"], 40);
    let reason = reasons[0]["reason"].as_str().unwrap();
    assert!(reason.contains("[sourceIPAddress] of type [long]"), "{reason}");
    assert!(!reason.contains("198.51.100") && !reason.contains(&id(0)[..8]), "{reason}");
    let text = String::from_utf8(tell(&desk, &["status"]).stdout).unwrap();
    assert_eq!(text.matches("mapper_parsing_exception").count(), 1, "{text}");
}

#[test]
fn a_record_too_long_to_load_is_kept_and_named_until_it_is_accepted() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let long = event_with(1, "requestParameters.text", "y".repeat(33 << 20).into());
    let file = desk.file("a.json", records(&[events(0..1), vec![long], events(2..3)].concat()));
    let load = desk.load(file, engine.url());
    load.run().exits(3).counted([3, 2, 0, 1]);
    load.run().exits(3).says(["1 document not sent again: the record is longer than 32.0 MiB"]);
    assert_eq!(dead_letters(&desk)["reasons"][0]["cause"], "limit");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(desk.checkpoint(), flags).unwrap();
    let row = "SELECT content_kind, length(content), bytes FROM dead_letters";
    let (kept, stored, bytes): (String, i64, i64) =
        database.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(kept, "record");
    assert!(bytes > 33 << 20 && stored < 100_000, "{bytes} bytes kept as {stored}");
    drop(database);
    tell(&desk, &["retry", "--accept"]);
    load.run().exits(0);
}

#[test]
fn killed_while_it_sends_again_nothing_is_lost_or_twice() {
    const EVENTS: usize = 300;
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    let file = desk.file("a.json", records(&events(0..EVENTS)));
    engine.refuse(|_| Some((400, "not today".to_owned())));
    desk.load(&file, engine.url()).run().exits(3).counted([300, 0, 0, 300]);
    engine.heal();
    engine.fail(1_000_000, &Fault::Slow(Duration::from_millis(10)));
    // A load of nothing new that sends everything again, a few documents at a time.
    let nothing = desk.file("none.json", records(&[]));
    let load = desk.load(nothing, engine.url()).with(["--reload", "--batch", "4KiB"]);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills = 0;
    while dead_letters(&desk)["documents"] != 0 && kills < 40 {
        let mut running = load.start();
        if running.ends_within(Duration::from_millis(random.u64(20..300))) {
            break;
        }
        kills += u64::from(running.kill());
        let waiting = dead_letters(&desk)["documents"].as_u64().unwrap();
        let missing = (EVENTS - engine.count()) as u64;
        assert!(waiting >= missing, "{missing} are not in the index, and only {waiting} are kept");
    }
    retry(&desk, &engine).run().exits(0);
    assert!(kills > 0, "it was killed at least once");
    assert_eq!(engine.ids(), ids(0..EVENTS));
    assert_eq!(engine.count(), EVENTS, "none is there twice");
    assert_eq!(dead_letters(&desk)["documents"], 0);
}

#[test]
fn nothing_is_accepted_or_sent_again_without_a_checkpoint() {
    let (engine, desk) = (FakeEngine::start(), Desk::new());
    assert_eq!(tell(&desk, &["retry", "--accept"]).status.code(), Some(1));
    retry(&desk, &engine).run().exits(1);
    assert!(!desk.checkpoint().exists());
}
