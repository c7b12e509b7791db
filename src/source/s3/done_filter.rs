//! Lets through what is not done.
//!
//! A thread of its own, because looking something up in the checkpoint blocks, and so does waiting for the fetcher.

use tokio::sync::mpsc::{Receiver, Sender};

use super::objects::{DayFolder, FetchJob, S3Object, ListedObjects};
use crate::source::{SourceEvent, files::FinishedLookup};

/// Looks up what is done.
pub(super) struct DoneFilter {
    pub(super) done: FinishedLookup,
    pub(super) again: bool,
    pub(super) jobs: Sender<FetchJob>,
    pub(super) out: Sender<(usize, SourceEvent)>,
}

impl DoneFilter {
    /// Works until nothing more is listed, or nobody wants more.
    pub(super) fn run(mut self, mut listed: Receiver<ListedObjects>) {
        while let Some(shelf) = listed.blocking_recv() {
            if !self.sort(shelf) {
                return;
            }
        }
    }

    fn sort(&mut self, shelf: ListedObjects) -> bool {
        let ListedObjects { word, bucket, day, objects } = shelf;
        for object in objects {
            let lane = object.lane(&bucket.name);
            let done = !self.again && (self.done)(&lane.key) == Some(lane.fingerprint);
            let sent = if done {
                let S3Object { size, .. } = object;
                self.out.blocking_send((word, SourceEvent::AlreadyDone { size, touched: None })).is_ok()
            } else {
                let (bucket, day) = (bucket.clone(), day.clone());
                self.jobs.blocking_send(FetchJob { word, bucket, day, object }).is_ok()
            };
            if !sent {
                return false;
            }
        }
        DayFolder::release(day).is_none_or(|over| self.out.blocking_send((word, over)).is_ok())
    }
}
