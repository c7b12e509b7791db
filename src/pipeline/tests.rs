//! The threads of a run as a whole, without an engine.

use std::{
    io::Cursor,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{
    run::{Error, Load, spawn, start},
    stop::{Raise, stop},
};
use crate::{
    checkpoint::Note,
    event::Lane,
    normalize::{Fields, IndexBy, Profile, Rules, Settings, TimeRange},
    report::{
        Tally,
        log::{Format, Verbosity, tests::page},
    },
    source::{self, Content, Found, Input, Source},
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
fn load(workers: usize) -> (Load, mpsc::Sender<Found>, Raise) {
    let (feed, fed) = mpsc::channel();
    let (raise, stop) = stop();
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
