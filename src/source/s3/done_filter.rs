//! Drops objects that an earlier run finished.
//!
//! Runs on a thread of its own, because reading the checkpoint blocks.

use tokio::sync::mpsc::{Receiver, Sender};

use super::objects::{DayFolder, FetchJob, ListedObjects, S3Object};
use crate::{
    event::{FinishedPartition, Partition},
    source::SourceEvent,
};

/// Returns what is known of an object that was read to its end, in this version.
pub(super) type DoneCheck = Box<dyn FnMut(&Partition) -> Option<FinishedPartition> + Send>;

/// Looks up objects in the checkpoint.
pub(super) struct DoneFilter {
    pub(super) done: DoneCheck,
    pub(super) jobs: Sender<FetchJob>,
    pub(super) events: Sender<(usize, SourceEvent)>,
}

impl DoneFilter {
    /// Runs until there are no more objects, or the receiver is gone.
    pub(super) fn run(mut self, mut listed: Receiver<ListedObjects>) {
        while let Some(batch) = listed.blocking_recv() {
            if !self.sort(batch) {
                return;
            }
        }
    }

    fn sort(&mut self, batch: ListedObjects) -> bool {
        let ListedObjects { source_number, bucket, day, objects } = batch;
        for object in objects {
            let partition = object.partition(&bucket.name);
            let sent = if let Some(FinishedPartition { is_foreign, .. }) = (self.done)(&partition) {
                let S3Object { size, .. } = object;
                self.events
                    .blocking_send((
                        source_number,
                        SourceEvent::AlreadyDone { size, touched: None, is_foreign },
                    ))
                    .is_ok()
            } else {
                let (bucket, day) = (bucket.clone(), day.clone());
                self.jobs.blocking_send(FetchJob { source_number, bucket, day, object }).is_ok()
            };
            if !sent {
                return false;
            }
        }
        DayFolder::release(day)
            .is_none_or(|over| self.events.blocking_send((source_number, over)).is_ok())
    }
}
