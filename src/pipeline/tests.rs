//! The threads of a run as a whole, without an engine.

use std::{
    io::Cursor,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;

use super::run::{Error, Load, MOST_KEPT_OUT, Outcome, count_kept_out, spawn, start};
use crate::{
    checkpoint::{Ended, Note, Reader, Retry, Store},
    event::{Batch, IndexCount, Kept, Lane, Listed, Packed, Receipt, SetAside, SetAsideCause},
    normalize::{Fields, IndexBy, Profile, Rules, Settings, TimeRange},
    report::{
        Tally,
        log::{Format, Verbosity, tests::page},
    },
    shutdown::{ShutdownTrigger, shutdown_channel},
    sink::{Sink, Unfinished},
    source::{self, Content, Found, Held, Input, Page, Slice, Source},
};

/// Lists what a test sends it, until the test hangs up.
struct Fed(mpsc::Receiver<Found>);

impl Source for Fed {
    fn list(&mut self, found: &mut dyn FnMut(usize, Found) -> bool) -> Result<(), source::Error> {
        while let Ok(what) = self.0.recv() {
            if !found(0, what) {
                break;
            }
        }
        Ok(())
    }
}

/// Returns a run of `workers` that waits to be fed.
fn load(workers: usize) -> (Load, mpsc::Sender<Found>, ShutdownTrigger) {
    let (feed, fed) = mpsc::channel();
    let (raise, stop) = shutdown_channel();
    let rules = Arc::new(Rules::embedded().unwrap());
    let load = Load {
        source: Box::new(Fed(fed)),
        fields: Arc::new(Fields::new(rules, Profile::Standard, 5_000)),
        settings: Settings {
            prefix: "cloudtrail".to_owned(),
            by: IndexBy::Month,
            range: TimeRange { from: None, to: None },
            keep_original: false,
        },
        workers,
        batch_bytes: 1 << 20,
        memory_bytes: 256 << 20,
        tally: Arc::new(Tally::new(["fed".to_owned()])),
        log: page(Format::Text, Verbosity::Quiet).0,
        stop,
        retry: Retry::Due,
    };
    (load, feed, raise)
}

/// Returns an input of one record.
fn input(number: u32) -> Found {
    let record = format!(
        r#"{{"eventVersion":"1.08","eventID":"{number}","eventTime":"2024-06-01T12:00:00Z"}}"#
    );
    Found::Input(Input {
        lane: Lane { key: format!("test:{number}"), fingerprint: String::new() },
        name: number.to_string(),
        size: record.len() as u64,
        content: Content::Stream(Box::new(Cursor::new(record))),
    })
}

/// Workers took turns to wait for work once, each with the door locked behind it, and the one that had
/// something to hand on waited outside.
#[tokio::test]
async fn an_idle_worker_hands_on_what_it_has_while_the_others_wait() {
    let (load, feed, _raise) = load(8);
    let (_threads, mut products) = start(load, Arc::default(), None).unwrap();
    for number in 0..8 {
        feed.send(input(number)).unwrap();
        let product = tokio::time::timeout(Duration::from_secs(5), products.recv()).await;
        let batch = product.expect("it came in time").unwrap().batch.unwrap();
        assert_eq!(batch.entries.len(), 1);
    }
}

#[tokio::test]
async fn a_touched_file_is_told_to_the_store() {
    let (load, feed, _raise) = load(1);
    let (_threads, mut products) = start(load, Arc::default(), None).unwrap();
    let lane = Lane { key: "file:/a".to_owned(), fingerprint: "1:2:3".to_owned() };
    feed.send(Found::Done { size: 1, touched: None }).unwrap();
    feed.send(Found::Done { size: 1, touched: Some(lane.clone()) }).unwrap();
    drop(feed);
    let product = products.recv().await.unwrap();
    assert!(matches!(&product.notes[..], [Note::Unchanged(told)] if *told == lane));
    assert!(products.recv().await.is_none(), "nothing else, and it ends");
}

#[test]
fn a_thread_that_cannot_be_had_is_an_error_with_its_cause() {
    // More than a process can address.
    let error = spawn("worker", 1 << 48, (), |()| ()).unwrap_err();
    assert_eq!(error.to_string(), "could not start a thread (worker)");
    assert!(matches!(error, Error::Thread { .. }) && std::error::Error::source(&error).is_some());
}

#[test]
fn too_many_documents_that_are_kept_out_end_a_run() {
    let one = |cause| SetAside {
        lane: 0,
        id: "a".to_owned(),
        index: "trail-2024.03".to_owned(),
        cause,
        reason: "closed".to_owned(),
        kept: Kept::Document(Packed::new(b"{}")),
    };
    let mut kept_out = MOST_KEPT_OUT - 1;
    let content = [one(SetAsideCause::Content), one(SetAsideCause::Limit)];
    assert!(count_kept_out(&mut kept_out, &content).is_none());
    assert!(count_kept_out(&mut kept_out, &[one(SetAsideCause::Index)]).is_none(), "just enough");
    let error = count_kept_out(&mut kept_out, &[one(SetAsideCause::Pipeline)]).unwrap();
    let told = "more than 50,000 documents had to be set aside; the last was for 'trail-2024.03'";
    assert_eq!(error.to_string(), told);
}

/// Takes everything, unless it is to refuse.
#[derive(Default)]
struct Kind {
    ids: Mutex<Vec<String>>,
    /// All bodies, one behind the other.
    body: Mutex<Vec<u8>>,
}

impl Sink for Kind {
    async fn write(&self, batch: Batch) -> Result<Receipt, Unfinished> {
        let ids = batch.entries.iter().map(|entry| {
            let action = &batch.body[entry.action as usize..entry.document as usize];
            let action: serde_json::Value = serde_json::from_slice(action).unwrap();
            action["create"]["_id"].as_str().unwrap().to_owned()
        });
        self.ids.lock().unwrap().extend(ids);
        self.body.lock().unwrap().extend_from_slice(&batch.body);
        let created = batch.entries.len() as u64;
        let indices = vec![IndexCount { created, ..IndexCount::default() }];
        Ok(Receipt { shares: batch.shares, indices, ..Receipt::default() })
    }
}

const SERIES: &str = "lookup:111122223333/eu-west-1/management";

fn slice(from: i64, to: i64) -> Found {
    Found::Begun(Slice {
        key: format!("{SERIES}/{from}-{to}"),
        name: "111122223333/eu-west-1/management".to_owned(),
        series: SERIES.to_owned(),
        from,
        to,
        sure_until: to,
    })
}

/// A page of the slice from 1000 to 1999, with these events.
fn paged(number: u32, since: i64, events: &[&str]) -> Found {
    let events: Vec<String> = events
        .iter()
        .map(|id| {
            let record = if *id == "broken" {
                r#"{"eventID":"broken","eventVersion""#.to_owned()
            } else {
                format!(
                    r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-{id:0>12}","eventTime":"2024-06-01T12:00:00Z"}}"#
                )
            };
            serde_json::json!({ "EventId": id, "CloudTrailEvent": record }).to_string()
        })
        .collect();
    let bytes = Bytes::from(format!(r#"{{"Events":[{}]}}"#, events.join(",")));
    let content = Held { bytes, room: None };
    let key = format!("{SERIES}/1000-1999");
    Found::Page(Page { key, number, content, since: Some(since) })
}

fn over(pages: u32, complete: bool) -> Found {
    Found::Ended { key: format!("{SERIES}/1000-1999"), pages, complete }
}

/// What a run left behind.
struct Left {
    coverage: Vec<(i64, i64)>,
    /// The last digits of each event's id, in order.
    ids: Vec<String>,
    failed: usize,
    done: u64,
}

/// Loads what these tell, with the range asked for.
async fn loaded(found: Vec<Found>, range: TimeRange) -> Left {
    let (mut load, feed, raise) = load(3);
    load.settings.range = range;
    for what in found {
        feed.send(what).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("safe.sqlite");
    let store = Store::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let tally = Arc::clone(&load.tally);
    let sink = Arc::new(Kind::default());
    let outcome = super::load(load, Arc::clone(&sink), store, &raise).await.outcome.unwrap();
    assert_eq!(outcome, Outcome::Complete);
    let ids = std::mem::take(&mut *sink.ids.lock().unwrap());
    let mut ids: Vec<String> =
        ids.iter().map(|id| id.rsplit(['-', '0']).next().unwrap().to_owned()).collect();
    ids.sort();
    Left {
        coverage: Reader::open(&file).unwrap().coverage(SERIES).unwrap(),
        ids,
        failed: tally.failures().len(),
        done: tally.sources[0].done.load(Relaxed),
    }
}

const ALWAYS: TimeRange = TimeRange { from: None, to: None };

#[tokio::test]
async fn a_slice_is_covered_once_all_of_its_pages_are_settled() {
    let found = vec![
        slice(1_000, 1_999),
        paged(0, 1_600, &["a", "b"]),
        paged(1, 1_400, &[]),
        paged(2, 1_200, &["c"]),
        over(3, true),
    ];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_000, 1_999)], 0, 1));
    assert_eq!(left.ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_slice_that_is_cut_is_covered_as_far_as_it_came() {
    let found =
        vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), paged(1, 1_400, &["b"]), over(2, false)];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_400, 1_999)], 0, 0));
}

#[tokio::test]
async fn a_broken_event_is_told_and_stops_what_is_covered_before_its_page() {
    let found = vec![
        slice(1_000, 1_999),
        paged(0, 1_600, &["a"]),
        paged(1, 1_400, &["b", "broken", "c"]),
        paged(2, 1_200, &["d"]),
        over(3, true),
    ];
    let left = loaded(found, ALWAYS).await;
    assert_eq!((left.coverage, left.failed, left.done), (vec![(1_600, 1_999)], 1, 0));
    assert_eq!(left.ids, ["a", "b", "c", "d"], "what can be read is loaded");
}

/// The event's own time is in June 2024: a range that holds the slice leaves it out by right, as another slice's.
#[tokio::test]
async fn what_a_range_leaves_out_is_not_covered_unless_it_lies_outside_of_the_slice() {
    let found = || vec![slice(1_000, 1_999), paged(0, 1_600, &["a"]), over(1, true)];
    let second = |second| Some(Timestamp::from_second(second).unwrap());
    let within = TimeRange { from: second(1_000), to: second(2_000) };
    assert_eq!(loaded(found(), within).await.coverage, [(1_000, 1_999)]);
    let across = TimeRange { from: second(1_500), to: second(2_000) };
    assert_eq!(loaded(found(), across).await.coverage, []);
}

#[tokio::test]
async fn an_object_that_is_lost_is_written_down_and_keeps_its_day_open() {
    let (load, feed, raise) = load(2);
    let lane =
        |name: &str| Lane { key: format!("s3://b/01/{name}"), fingerprint: "1:e".to_owned() };
    let lost = Found::Lost {
        lane: lane("gone"),
        name: "s3://b/01/gone".to_owned(),
        why: "it is gone".to_owned(),
        size: 5,
    };
    let record =
        r#"{"Records":[{"eventVersion":"1.08","eventID":"1","eventTime":"2024-06-01T12:00:00Z"}]}"#;
    let object = |key: Lane| {
        let held = Held { bytes: Bytes::from_static(record.as_bytes()), room: None };
        let name = key.key.clone();
        Found::Input(Input { lane: key, name, content: Content::Held(held), size: 5 })
    };
    let other = Lane { key: "s3://b/02/x".to_owned(), fingerprint: "1:e".to_owned() };
    for what in [lost, object(lane("here")), object(other)] {
        feed.send(what).unwrap();
    }
    for (prefix, inputs) in [("s3://b/01/", 2), ("s3://b/02/", 1)] {
        let listed = Listed { inputs, digest: 5, newest: 0 };
        feed.send(Found::Closed { prefix: prefix.to_owned(), listed, known: 0 }).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("safe.sqlite");
    let store = Store::open(&file, "test", Timestamp::UNIX_EPOCH).unwrap();
    let tally = Arc::clone(&load.tally);
    let sink = Arc::new(Kind::default());
    super::load(load, sink, store, &raise).await.outcome.unwrap();
    let reader = Reader::open(&file).unwrap();
    assert_eq!(reader.closed("s3://b/01/").unwrap(), None);
    assert_eq!(reader.closed("s3://b/02/").unwrap().map(|listed| listed.inputs), Some(1));
    assert_eq!(reader.done_content("s3://b/01/here").unwrap().as_deref(), Some("1:e"));
    let failures = reader.status(Timestamp::UNIX_EPOCH).unwrap().failures;
    assert_eq!((failures.len(), failures[0].cause.as_str()), (1, "it is gone"));
    assert_eq!(tally.sources[0].failed.load(Relaxed), 1);
    assert_eq!(tally.sources[0].done.load(Relaxed), 2);
}

/// A page must never meet a ledger that does not know its lane.
#[tokio::test]
async fn the_store_learns_of_a_lane_before_any_of_its_pages() {
    let (load, feed, _raise) = load(4);
    let (_threads, mut products) = start(load, Arc::default(), None).unwrap();
    feed.send(slice(1_000, 1_999)).unwrap();
    for number in 0..50 {
        feed.send(paged(number, 1_900 - i64::from(number), &["a"])).unwrap();
    }
    feed.send(over(50, true)).unwrap();
    drop(feed);
    let mut notes = Vec::new();
    while let Some(product) = products.recv().await {
        notes.extend(product.notes);
    }
    assert!(matches!(&notes[0], Note::Opened { span: Some(span), .. } if span.from == 1_000));
    let pages = notes.iter().filter(|note| matches!(note, Note::Page { documents: 1, .. })).count();
    assert_eq!(pages, 50);
    let ends: Vec<_> = notes.iter().filter(|note| matches!(note, Note::Ended { .. })).collect();
    assert!(matches!(ends[..], [Note::Ended { outcome: Ended::Done, pages: 50, .. }]), "{ends:?}");
}

#[tokio::test]
async fn what_a_page_says_beside_a_record_goes_with_that_record_only() {
    let (load, feed, raise) = load(1);
    let record = |id: u8| {
        format!(
            r#"{{"eventVersion":"1.08","eventID":"00000000-0000-0000-0000-00000000000{id}","eventTime":"2024-06-01T12:00:00Z"}}"#
        )
    };
    let named = serde_json::json!({
        "Username": "alice", "Resources": [{ "ResourceName": "b" }], "CloudTrailEvent": record(1)
    });
    let bare = serde_json::json!({ "CloudTrailEvent": record(2) });
    let bytes = Bytes::from(format!(r#"{{"Events":[{named},{bare}]}}"#));
    let page = Page {
        key: format!("{SERIES}/1000-1999"),
        number: 0,
        content: Held { bytes, room: None },
        since: Some(1_000),
    };
    for what in [slice(1_000, 1_999), Found::Page(page), over(1, true)] {
        feed.send(what).unwrap();
    }
    drop(feed);
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open(&folder.path().join("safe.sqlite"), "test", Timestamp::UNIX_EPOCH).unwrap();
    let sink = Arc::new(Kind::default());
    super::load(load, Arc::clone(&sink), store, &raise).await.outcome.unwrap();
    let body = String::from_utf8(sink.body.lock().unwrap().clone()).unwrap();
    let lookup = r#""trailload":{"lookup":{"username":"alice","resources":[{"name":"b"}]}}"#;
    for line in body.lines().filter(|line| line.contains("@timestamp")) {
        assert_eq!(line.contains(lookup), line.contains("000001\""), "{line}");
        assert_eq!(line.contains("trailload"), line.contains("000001\""), "{line}");
    }
    assert!(body.contains(lookup), "{body}");
}
