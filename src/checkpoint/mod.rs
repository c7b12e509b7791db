//! What is safe: which lanes are in the engine to their last document, kept over crashes.
//!
//! In: [`Note`]s of the corridor, on one channel. Out: rows in one SQLite file, and [`Status`].
//! Holds: nothing counts as safe before the engine acknowledged it *and* the file holds it on disk.
//! So SIGKILL at any moment costs repeated work, and never a gap.
//!
//! [`Ledger`] decides (pure), [`Store`] writes, [`Reader`] answers. Migrations are the numbered
//! files of `checkpoints/`. The file never holds a secret: the target comes without credentials.

mod error;
mod file;
pub mod ledger;
mod lock;
mod migrate;
mod reader;
#[cfg(test)]
mod scenario;
pub mod status;
mod store;

use crate::event::{Lane, LaneNumber, Position, Receipt};

pub use error::Error;
pub use ledger::Ledger;
pub use reader::Reader;
pub use status::Status;
pub use store::Store;

/// What the corridor tells the store's thread.
///
/// `Opened`, `Page` and `Ended` of one lane come in this order. A receipt may come at any moment
/// after its lane was opened: before or after the note of its page, before or after the end.
#[derive(Clone, Debug)]
pub enum Note {
    /// A lane is being read.
    Opened {
        /// Its number in this run, never used twice.
        number: LaneNumber,
        /// What the checkpoint knows it by.
        lane: Lane,
        /// What a person knows it by.
        name: String,
    },
    /// A page of a lane was read to its end.
    Page {
        /// The lane.
        lane: LaneNumber,
        /// The page, from 0 in each run, without holes.
        page: u32,
        /// How many documents came from it, set-aside ones included. 0 is fine.
        documents: u32,
        /// Where the lane is safe up to once this page and all before it are settled.
        reaches: Option<Position>,
    },
    /// Documents are settled.
    Settled(Receipt),
    /// A lane will give no further page. Whatever was packed of it has had its [`Note::Page`], also
    /// the page in which a failed lane broke off: the ledger forgets a lane when all it knows of it
    /// is settled.
    Ended {
        /// The lane.
        lane: LaneNumber,
        /// How it ended.
        outcome: Ended,
        /// Records read from it in this run.
        records: u64,
        /// Bytes read from it in this run, as they lie on disk.
        bytes: u64,
        /// The final fingerprint, where it is known only at the end; otherwise the opening one.
        fingerprint: Option<String>,
    },
    /// The content of a done lane is the same, though its fingerprint changed (a touched file).
    Unchanged(Lane),
    /// The kind of a field that no table knew was decided.
    Learned {
        /// The field's path.
        path: String,
        /// The kind it has from now on.
        kind: String,
        /// Who decided: the first value met, or the engine.
        why: String,
    },
    /// The run is over; sent before the channel closes. Without it the run's exit code stays open.
    RunEnded {
        /// The exit code of the program.
        exit: u8,
    },
}

/// How the reading of a lane ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Read to its end.
    Done,
    /// Read with errors. It is not done, is tried again by the next run, and is listed.
    Failed {
        /// What was wrong, in words for a person.
        cause: String,
        /// Where, in bytes from the start.
        offset: Option<u64>,
    },
    /// The run stopped before its end.
    Interrupted,
}

/// What one run wrote down, all of it committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lanes that are done.
    pub lanes_done: u64,
    /// Lanes that were read with errors.
    pub lanes_failed: u64,
    /// Lanes that were opened and are neither: interrupted, or with unsettled documents.
    pub lanes_unfinished: u64,
    /// Records read, of all lanes that ended.
    pub records: u64,
    /// Bytes read, of all lanes that ended.
    pub bytes: u64,
    /// Documents new in the index.
    pub created: u64,
    /// Documents that were in the index already.
    pub already_there: u64,
    /// Documents set aside.
    pub set_aside: u64,
}
