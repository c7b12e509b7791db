//! What travels between the rooms.
//!
//! A [`Lane`] is one independently resumable stretch of input. The source numbers the lanes of a
//! run and cuts each into pages; the normalizer packs the documents of pages into [`Batch`]es; the
//! sink answers every batch with a [`Receipt`]; the ledger moves a lane on once all of it is settled.

mod compressed_text;
pub mod fingerprint;
mod index;

use bytes::Bytes;

pub use compressed_text::{BoundedCompressor, CompressedText, DeadLetterContent};
pub use fingerprint::Fingerprint;
pub use index::{IndexIdentity, IndexState, Inventory};

/// Number of a lane within this run, given by the source in the order lanes are opened.
pub type PartitionNumber = u32;

/// One independently resumable stretch of input: one file, one object, one slice of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What the checkpoint knows the lane by: `file:` and the absolute path.
    pub key: String,
    /// Changes when the content may have changed: for files size, mtime and a hash of head and tail.
    pub fingerprint: String,
}

/// What a listing of a folder looked like. Two that are equal had the same inputs, with the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListingSummary {
    /// How many inputs there were.
    pub inputs: u64,
    /// The sum of what their names and fingerprints hash to: in whatever order they are taken.
    pub digest: u64,
    /// When the newest of them was last modified, in seconds of the Unix epoch.
    pub newest: i64,
}

impl ListingSummary {
    /// Takes in one more input, by what its name and fingerprint hash to.
    pub fn add(&mut self, hash: u64, modified: i64) {
        self.inputs += 1;
        self.digest = self.digest.wrapping_add(hash);
        self.newest = self.newest.max(modified);
    }
}

/// How far a lane that comes in pages, newest first, is read: the second of the Unix epoch from which it is safe
/// to its end.
pub type Position = i64;

/// The stretch of time that a lane covers, in whole seconds of the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSlice {
    /// What is fetched, whatever the time. Coverage is kept for each.
    pub series: String,
    /// First second.
    pub from: i64,
    /// Last second; it belongs to the span.
    pub to: i64,
    /// Up to this second no late events are to be expected.
    pub complete_until: i64,
}

/// Which documents of a batch came from which page of which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The lane, by its number in this run.
    pub partition: PartitionNumber,
    /// The page of that lane, from 0 in each run.
    pub page: u32,
    /// How many documents of the batch belong to it.
    pub documents: u32,
}

/// Where one document lies in a batch's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the action line.
    pub action: u32,
    /// Offset of the document line; the action line, with its newline, ends here.
    pub document: u32,
    /// Offset behind the document line's newline.
    pub end: u32,
    /// Which of [`Batch::needs`] the document goes to.
    pub index: u16,
    /// Which of [`Batch::shares`] the document belongs to.
    pub share: u32,
}

/// An index that a batch writes to, and how many learned fields it must know first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetIndex {
    /// Name of the index, such as `cloudtrail-2024.06`.
    pub index: String,
    /// The documents use learned fields `0..fields` at most (see `normalize::Fields`).
    pub required_fields: u32,
}

/// What keeps a document out of its index, and so what has to change before it can go in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadLetterCause {
    /// The engine refuses what the document holds: a mapping, a template or this program has to change.
    #[default]
    Content,
    /// The index takes no documents: it is closed, blocked, or an alias that cannot be written to.
    Index,
    /// An ingest pipeline fails, drops the document, or changes its index or id.
    Pipeline,
    /// A limit: the document is larger than the engine or this program takes, or there is no room for it.
    Limit,
}

impl DeadLetterCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Content, Self::Index, Self::Pipeline, Self::Limit];

    /// Returns the name under which the checkpoint and `status --json` keep the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Index => "index",
            Self::Pipeline => "pipeline",
            Self::Limit => "limit",
        }
    }

    /// Returns the cause of that name. A name that is not known counts as the content.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|cause| cause.name() == name).unwrap_or_default()
    }
}

/// A document that could not go in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The lane it came from, by its number in this run.
    pub partition: PartitionNumber,
    /// Its document id.
    pub id: String,
    /// The index it was meant for.
    pub index: String,
    /// What kind of cause keeps it out.
    pub cause: DeadLetterCause,
    /// Why it could not go in, in words for a person.
    pub reason: String,
    /// What is kept of it.
    pub content: DeadLetterContent,
}

/// The documents of one bulk request.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Action and document lines in turn.
    pub body: Bytes,
    /// Every document of the body, in order.
    pub entries: Vec<Entry>,
    /// The indices written to.
    pub targets: Vec<TargetIndex>,
    /// The pages the documents came from.
    pub shares: Vec<Share>,
    /// Records of the same pages that could not become documents; counted in the shares too.
    pub dead_letters: Vec<DeadLetter>,
}

/// How many documents of a batch one index holds, by what the engine answered for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexCount {
    /// Name of the index, as it was sent.
    pub index: String,
    /// Documents that are new in it.
    pub created: u64,
    /// Documents that it held already.
    pub duplicates: u64,
    /// Which index it was when documents were sent to it first in this run, if the engine tells.
    pub identity: Option<IndexIdentity>,
}

/// What became of a batch. Every document of every share is settled.
///
/// A receipt without shares counts documents of a batch that was not settled as a whole: they are in their
/// index, and no lane moves on.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// The batch's shares, untouched.
    pub shares: Vec<Share>,
    /// What the indices hold of it, each index once.
    pub indices: Vec<IndexCount>,
    /// Documents that could not go in.
    pub dead_letters: Vec<DeadLetter>,
}

impl Receipt {
    /// Returns how many documents are new in their index.
    pub fn created(&self) -> u64 {
        self.indices.iter().map(|one| one.created).sum()
    }

    /// Returns how many documents their index held already.
    pub fn duplicates(&self) -> u64 {
        self.indices.iter().map(|one| one.duplicates).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::DeadLetterCause;

    #[test]
    fn a_cause_is_found_by_its_name() {
        for cause in DeadLetterCause::ALL {
            assert_eq!(DeadLetterCause::from_name(cause.name()), cause);
        }
        assert_eq!(DeadLetterCause::from_name("of a later version"), DeadLetterCause::Content);
    }
}
