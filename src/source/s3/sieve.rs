//! Lets through what is not done.
//!
//! A thread of its own, because looking something up in the checkpoint blocks, and so does waiting for the fetcher.

use tokio::sync::mpsc::{Receiver, Sender};

use super::shelf::{Day, Job, Object, Shelf};
use crate::source::{Found, files::Done};

/// Looks up what is done.
pub(super) struct Sieve {
    pub(super) done: Done,
    pub(super) again: bool,
    pub(super) jobs: Sender<Job>,
    pub(super) out: Sender<(usize, Found)>,
}

impl Sieve {
    /// Works until nothing more is listed, or nobody wants more.
    pub(super) fn run(mut self, mut shelves: Receiver<Shelf>) {
        while let Some(shelf) = shelves.blocking_recv() {
            if !self.sort(shelf) {
                return;
            }
        }
    }

    fn sort(&mut self, shelf: Shelf) -> bool {
        let Shelf { word, bucket, day, objects } = shelf;
        for object in objects {
            let lane = object.lane(&bucket.name);
            let done = !self.again && (self.done)(&lane.key) == Some(lane.fingerprint);
            let sent = if done {
                let Object { size, .. } = object;
                self.out.blocking_send((word, Found::Done { size, touched: None })).is_ok()
            } else {
                let (bucket, day) = (bucket.clone(), day.clone());
                self.jobs.blocking_send(Job { word, bucket, day, object }).is_ok()
            };
            if !sent {
                return false;
            }
        }
        Day::leave(day).is_none_or(|over| self.out.blocking_send((word, over)).is_ok())
    }
}
