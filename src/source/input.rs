//! What a source hands over to the workers: files, objects and streams, and pages of event history.

use std::{fmt, io::Read, path::PathBuf};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::LookupPage;
use crate::event::{Partition, Position, ResultSender, TimeSlice};

/// One input, to be read by a worker.
#[derive(Debug)]
pub struct Input {
    /// The partition in the checkpoint. An empty fingerprint says that the content cannot be recognized by a later run
    /// (standard input, a FIFO), so that it is never recorded as complete.
    pub partition: Partition,
    /// Its name in messages, as the user would write it.
    pub name: String,
    /// Where its bytes are.
    pub content: Content,
    /// Size as stored; 0 if unknown.
    pub size: u64,
    /// Receives the result of the partition, if the source needs it.
    pub result: Option<ResultSender>,
}

/// Where the bytes of an input are.
pub enum Content {
    /// In a file, which the worker opens.
    File(PathBuf),
    /// Behind a reader that is read once from front to back: standard input, a FIFO. Each read may block for long, even
    /// the first one, which may wait for the other end.
    Stream(Box<dyn Read + Send>),
    /// In memory: an object that the source fetched.
    Memory(ReservedBytes),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Memory(content) => f.debug_tuple("Memory").field(&content.bytes.len()).finish(),
        }
    }
}

/// Fetched bytes, and their share of the memory that a source may use.
///
/// A source acquires a permit for as many bytes before it fetches them. The permit travels with the bytes and is dropped
/// with them, once a worker has read them, so that a source never fetches more ahead than its share of `--memory` allows.
#[derive(Debug)]
pub struct ReservedBytes {
    /// The bytes as stored.
    pub bytes: Bytes,
    /// Permits for as many bytes; `None` if they are not limited.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A time range of event history that is fetched page by page, latest events first: a partition of LookupEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The partition's key in the checkpoint: the series and the bounds.
    pub key: String,
    /// Its name in messages.
    pub name: String,
    /// What is fetched, regardless of time: account, Region, category and filter. Coverage is recorded per series.
    pub series: String,
    /// First second, as a Unix timestamp.
    pub from: i64,
    /// Last second, which belongs to the slice.
    pub to: i64,
    /// Last second for which no late events are expected: time that is covered up to here is never fetched again. `None` if
    /// the slice is not all events of its range, so that no coverage is recorded.
    pub complete_until: Option<i64>,
    /// Receives the result of the partition, if the source needs it.
    pub result: Option<ResultSender>,
}

impl Slice {
    /// Returns the time range that is covered once the slice is complete. It is empty if no coverage is recorded; the records
    /// are counted for the series all the same.
    pub fn time_slice(&self) -> TimeSlice {
        let (series, from) = (self.series.clone(), self.from);
        match self.complete_until {
            Some(complete_until) => TimeSlice { series, from, to: self.to, complete_until },
            None => TimeSlice { series, from, to: from - 1, complete_until: from - 1 },
        }
    }
}

/// Events of a slice: one response of LookupEvents.
#[derive(Debug)]
pub struct Page {
    /// The slice's key.
    pub key: String,
    /// Number of the page in its slice, from 0.
    pub number: u32,
    /// The events.
    pub content: LookupPage,
    /// The slice is covered from this second to its end once this page and all pages before it are settled.
    pub since: Option<Position>,
}
