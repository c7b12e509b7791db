//! What is safe: which lanes are in the engine to their last document, kept over crashes.
//!
//! In: [`Note`]s of the corridor, on one channel. Out: rows in one SQLite file, and [`Status`].
//! Holds: nothing counts as safe before the engine acknowledged it *and* the file holds it on disk.
//! So SIGKILL at any moment costs repeated work, and never a gap.
//!
//! [`Ledger`] decides (pure), [`Store`] writes, [`Reader`] answers. Migrations are the numbered
//! files of `checkpoints/`. The file never holds a secret: the target comes without credentials.

mod causes;
mod closed;
mod coverage;
mod error;
mod examine;
mod file;
mod frozen;
mod index_rows;
pub mod indices;
pub mod ledger;
mod lock;
mod migrate;
mod reader;
#[cfg(test)]
mod scenario;
mod set_aside;
pub mod status;
mod store;
mod target;

use crate::event::{Lane, LaneNumber, Listed, Position, Receipt, Span};

pub use error::Error;
pub use examine::{Standing, examine};
pub use indices::Indices;
pub use ledger::Ledger;
pub use reader::Reader;
pub use set_aside::{Key, Retried, Retry, Waiting, accept};
pub use status::Status;
pub use store::Store;
pub use target::{LOCALHOST, one_name};

/// What the corridor tells the store's thread.
///
/// `Opened` of a lane comes first. Its pages may come in any order, and before or after `Ended`, which says how
/// many there are; a receipt comes at any moment after `Opened`, also before the note of its page.
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
        /// What it covers, if it is a stretch of time: that is kept, and not the lane.
        span: Option<Span>,
    },
    /// A page of a lane was read to its end.
    Page {
        /// The lane.
        lane: LaneNumber,
        /// The page, from 0 in each run, without holes.
        page: u32,
        /// How many documents came from it, set-aside ones included. 0 is fine.
        documents: u32,
        /// Bytes it was read from, as stored.
        bytes: u64,
        /// From where on the lane is safe once this page and all before it are settled.
        reaches: Option<Position>,
    },
    /// Documents are settled.
    Settled(Receipt),
    /// Documents that were set aside were sent again.
    Retried(Retried),
    /// An index refused documents of this run for their content; it will refuse them again until this changes.
    RefusedUnder {
        /// The index.
        index: String,
        /// What refused them: program, rules and mapping.
        version: String,
    },
    /// A lane has no further pages than these. The ledger forgets it when all of them are read and settled, also
    /// if it failed: the page in which it broke off has its [`Note::Page`] too. A page that never has one keeps
    /// its lane from being done.
    Ended {
        /// The lane.
        lane: LaneNumber,
        /// How it ended.
        outcome: Ended,
        /// How many pages it has: 1 for a file, 0 for what could not be had at all.
        pages: u32,
        /// The final fingerprint, where it is known only at the end; otherwise the opening one.
        fingerprint: Option<String>,
    },
    /// A folder will get no further lanes: once all of them are done they may be kept as one row.
    Closed {
        /// The lanes' common key, with its last slash.
        prefix: String,
        /// How many lanes it has, and what else their listing looked like.
        listed: Listed,
        /// How many of them it had when it was closed before: they stay done.
        known: u64,
        /// How many of them are read in this run. The others were done before.
        handed_out: u64,
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
}

/// How the reading of a lane ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Read to its end.
    Done,
    /// Read to its end; it holds no CloudTrail, and need not.
    Skipped,
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
    /// Lanes that are done and hold no CloudTrail.
    pub lanes_skipped: u64,
    /// Lanes that were read with errors.
    pub lanes_failed: u64,
    /// Lanes that were opened and are none of these: interrupted, or with unsettled documents.
    pub lanes_unfinished: u64,
    /// Records read, of all pages that were read to their end.
    pub records: u64,
    /// The bytes they were read from, as stored.
    pub bytes: u64,
    /// Documents new in the index.
    pub created: u64,
    /// Documents that were in the index already.
    pub already_there: u64,
    /// Documents set aside.
    pub set_aside: u64,
    /// Documents that were set aside before, sent again, and are new in the index.
    pub retried_created: u64,
    /// Those of them that were in the index already.
    pub retried_already_there: u64,
    /// Those of them that stay set aside.
    pub retried_set_aside: u64,
}

/// What keeps the index from being complete, whichever run met it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Documents that are set aside, without those that are accepted.
    pub set_aside: u64,
    /// Documents of which a person said that they may stay out.
    pub accepted: u64,
}
