//! The corridor's end of the store's thread.
//!
//! Holds: notes arrive in the order they were written; a store that is slow, or a disk that stands still,
//! holds up who writes, and nothing else on the corridor's thread (signals, answers of the engine).

use std::{
    sync::mpsc::{self, SyncSender, TrySendError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::run::{Error, spawn};
use crate::{
    checkpoint::{self, Note, Store},
    waits::Waits,
};

/// Notes that wait for the store: some seconds of its work.
const NOTES_AHEAD: usize = 16 * 1_024;

/// Stack of the store's thread: what the standard library gives.
const STACK: usize = 2 << 20;

/// How soon a full notebook is looked at again. Far below the time that the store needs for what waits.
const LOOK: Duration = Duration::from_millis(10);

/// What is waited for where the store cannot keep up.
const DISK: &str = "the disk of the checkpoint";

/// Where notes are written.
pub(super) struct Notebook {
    notes: SyncSender<Note>,
    stored: oneshot::Receiver<Result<Store, checkpoint::Error>>,
    waits: Waits,
}

impl Notebook {
    /// Starts the store's thread.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Thread`] if the system gives none.
    pub(super) fn open(store: Store, waits: Waits) -> Result<Self, Error> {
        let (notes, noted) = mpsc::sync_channel(NOTES_AHEAD);
        let (done, stored) = oneshot::channel();
        // Nobody joins it: it says itself when it is done, so that the wait for it blocks no thread.
        spawn("checkpoint", STACK, done, |done| drop(done.send(store.run(noted))))?;
        Ok(Self { notes, stored, waits })
    }

    /// Writes a note, once there is room, and returns whether it will be read.
    pub(super) async fn write(&self, note: Note) -> bool {
        let mut waiting = note;
        let mut told = None;
        let is_read = loop {
            match self.notes.try_send(waiting) {
                Ok(()) => break true,
                Err(TrySendError::Disconnected(_)) => break false,
                Err(TrySendError::Full(note)) => waiting = note,
            }
            told.get_or_insert_with(|| self.waits.begin(DISK, ""));
            wait().await;
        };
        if let Some(told) = told {
            told.answered();
        }
        is_read
    }

    /// Waits until all notes are stored, and returns the store, in which the end of the run is still to be written.
    ///
    /// # Errors
    ///
    /// Returns what went wrong in the store, which is also why its notes found no reader.
    pub(super) async fn close(self) -> Result<Store, Error> {
        drop(self.notes);
        let waiting = self.waits.begin(DISK, "");
        let stored = self.stored.await;
        waiting.answered();
        match stored {
            Ok(stored) => Ok(stored?),
            Err(_) => Err(Error::Panic("checkpoint")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for our own disk, not for an engine")]
async fn wait() {
    tokio::time::sleep(LOOK).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Listed;

    fn note(number: u64) -> Note {
        let listed = Listed { inputs: number, ..Listed::default() };
        Note::Closed { prefix: String::new(), listed, known: 0, handed_out: 0 }
    }

    #[tokio::test]
    async fn a_store_that_stands_still_holds_up_nobody_else_and_the_order_stays() {
        let (notes, noted) = mpsc::sync_channel(1);
        let notebook = Notebook { notes, stored: oneshot::channel().1, waits: Waits::default() };
        assert!(notebook.write(note(0)).await);
        let rest = async { notebook.write(note(1)).await && notebook.write(note(2)).await };
        let read = async {
            let mut read = Vec::new();
            while read.len() < 3 {
                // Others have their turn while the notebook is full.
                wait().await;
                if let Ok(Note::Closed { listed: Listed { inputs, .. }, .. }) = noted.try_recv() {
                    read.push(inputs);
                }
            }
            read
        };
        let (written, read) = tokio::join!(rest, read);
        assert!(written);
        assert_eq!(read, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_store_that_is_gone_is_noticed() {
        let (notes, noted) = mpsc::sync_channel(1);
        let (done, stored) = oneshot::channel();
        drop((noted, done));
        let notebook = Notebook { notes, stored, waits: Waits::default() };
        assert!(!notebook.write(note(0)).await);
        assert!(matches!(notebook.close().await, Err(Error::Panic("checkpoint"))));
    }
}
