//! Sorts events by time, beyond what fits into memory.
//!
//! Input: rendered events with their time and id, in any order. Output: the events in order.
//! Invariant: memory stays below a budget. What exceeds it is written to a temporary file as a sorted run; the file has
//! no name, so it disappears however the process ends. With a limit, only the events that can be among the first ones
//! are kept. An event that was added twice comes once.
//!
//! ```text
//!  add ──▶ buffer ──(full)──▶ sort, cut to the limit ──(still large)──▶ run in the temporary file
//!  for_each ◀── merge of all runs and the buffer
//! ```

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The least that is read of a run at once.
const LEAST_READ: usize = 4 << 10;

/// Attempts to find a free name for the temporary file.
const NAME_ATTEMPTS: u32 = 100;

/// The order of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrder {
    /// The oldest event first.
    Ascending,
    /// The newest event first.
    Descending,
}

/// The temporary file of a sort cannot be used.
#[derive(Debug, Error)]
#[error("cannot sort the events: a temporary file in {} failed", folder.display())]
pub struct SortError {
    /// The folder for temporary files.
    pub folder: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// The place of an event in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey {
    /// Milliseconds of the Unix epoch, negated for descending order. Events without a time come last in both orders.
    time: i64,
    /// The id, so that the order does not depend on the order of arrival.
    id: u128,
}

/// An event in the buffer.
#[derive(Clone, Copy, Debug)]
struct BufferedEvent {
    key: SortKey,
    start: usize,
    end: usize,
}

/// Sorts events.
#[derive(Debug)]
pub(in crate::pipeline) struct EventSort {
    order: TimeOrder,
    limit: u64,
    budget: usize,
    folder: PathBuf,
    bytes: Vec<u8>,
    events: Vec<BufferedEvent>,
    /// The key of the last event that can be among the first ones, once so many are known.
    cutoff: Option<SortKey>,
    spill: Option<SpillFile>,
}

impl EventSort {
    /// Returns a sort that keeps at most `budget` bytes in memory, and returns the first `limit` events.
    pub(in crate::pipeline) fn new(
        order: TimeOrder,
        limit: Option<u64>,
        budget: usize,
        folder: &Path,
    ) -> Self {
        Self {
            order,
            limit: limit.unwrap_or(u64::MAX),
            budget,
            folder: folder.to_owned(),
            bytes: Vec::new(),
            events: Vec::new(),
            cutoff: None,
            spill: None,
        }
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// Returns [`SortError`] if the temporary file cannot be written, such as on a full disk.
    pub(in crate::pipeline) fn add(
        &mut self,
        time: Option<i64>,
        id: u128,
        event: &[u8],
    ) -> Result<(), SortError> {
        let key = self.key(time, id);
        if self.cutoff.is_some_and(|cutoff| key > cutoff) {
            return Ok(());
        }
        let needed = event.len() + size_of::<BufferedEvent>();
        if !self.events.is_empty() && self.memory() + needed > self.budget {
            self.make_room(needed)?;
        }
        if self.bytes.capacity() == 0 {
            // Memory that is not used yet costs nothing; growing step by step takes up to three times the budget.
            self.bytes.reserve_exact(self.budget);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(event);
        self.events.push(BufferedEvent { key, start, end: self.bytes.len() });
        Ok(())
    }

    /// Calls `print` with the events in order, until it returns `Break`.
    ///
    /// # Errors
    ///
    /// Returns [`SortError`] if the temporary file cannot be read, or the error of `print`.
    pub(in crate::pipeline) fn for_each<E: From<SortError>>(
        mut self,
        mut print: impl FnMut(&[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.sort_buffer();
        if self.spill.is_some() {
            // The merge needs the memory of the buffer.
            self.write_buffer()?;
            (self.bytes, self.events) = (Vec::new(), Vec::new());
        }
        let mut left = self.limit;
        let mut last = None;
        let mut print_once = |key: SortKey, event: &[u8]| {
            if left == 0 || last == Some(key) {
                return Ok(if left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                });
            }
            (left, last) = (left - 1, Some(key));
            print(event)
        };
        let Some(spill) = self.spill.take() else {
            for event in &self.events {
                if print_once(event.key, &self.bytes[event.start..event.end])?.is_break() {
                    break;
                }
            }
            return Ok(());
        };
        let failed = |source| SortError { folder: self.folder.clone(), source };
        spill.merge(self.budget, failed, print_once)
    }

    fn key(&self, time: Option<i64>, id: u128) -> SortKey {
        let time = match (time, self.order) {
            (None, _) => i64::MAX,
            (Some(time), TimeOrder::Ascending) => time,
            (Some(time), TimeOrder::Descending) => -time,
        };
        SortKey { time, id }
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.events.len() * size_of::<BufferedEvent>()
    }

    /// Sorts the buffer, and removes what occurs twice or is beyond the limit.
    fn sort_buffer(&mut self) {
        self.events.sort_unstable_by_key(|event| event.key);
        self.events.dedup_by_key(|event| event.key);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if self.events.len() >= limit {
            self.events.truncate(limit);
            self.cutoff = self.events.last().map(|event| event.key);
        }
    }

    fn make_room(&mut self, needed: usize) -> Result<(), SortError> {
        self.sort_buffer();
        let kept: usize = self.events.iter().map(|event| event.end - event.start).sum();
        if kept + needed <= self.budget / 2 {
            self.compact();
            return Ok(());
        }
        if self.spill.is_none() {
            let failed = |source| SortError { folder: self.folder.clone(), source };
            self.spill = Some(SpillFile::create(&self.folder).map_err(failed)?);
        }
        self.write_buffer()?;
        self.bytes.clear();
        self.events.clear();
        Ok(())
    }

    /// Writes the sorted buffer to the temporary file, if there is one.
    fn write_buffer(&mut self) -> Result<(), SortError> {
        let Some(spill) = &mut self.spill else { return Ok(()) };
        let events =
            self.events.iter().map(|event| (event.key, &self.bytes[event.start..event.end]));
        let failed = |source| SortError { folder: self.folder.clone(), source };
        spill.write_run(events).map_err(failed)
    }

    /// Moves the events that are kept to the start of a new buffer.
    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.budget);
        for event in &mut self.events {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[event.start..event.end]);
            (event.start, event.end) = (start, bytes.len());
        }
        self.bytes = bytes;
    }
}

/// A temporary file without a name that holds sorted runs.
#[derive(Debug)]
struct SpillFile {
    file: BufWriter<File>,
    written: u64,
    runs: Vec<Run>,
}

/// A sorted run in the temporary file, or what has not been read of it.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    end: u64,
}

/// Bytes of the key and the length before each event of a run.
const ENTRY_HEAD: usize = 8 + 16 + 8;

impl SpillFile {
    fn create(folder: &Path) -> io::Result<Self> {
        for _ in 0..NAME_ATTEMPTS {
            let path = folder.join(format!(".trailload-sort-{:016x}", fastrand::u64(..)));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // Nobody finds it any more, and its space is free as soon as it is closed.
                    fs::remove_file(&path)?;
                    return Ok(Self { file: BufWriter::new(file), written: 0, runs: Vec::new() });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn write_run<'e>(
        &mut self,
        events: impl Iterator<Item = (SortKey, &'e [u8])>,
    ) -> io::Result<()> {
        let start = self.written;
        for (key, event) in events {
            self.file.write_all(&key.time.to_le_bytes())?;
            self.file.write_all(&key.id.to_le_bytes())?;
            self.file.write_all(&(event.len() as u64).to_le_bytes())?;
            self.file.write_all(event)?;
            self.written += (ENTRY_HEAD + event.len()) as u64;
        }
        self.file.flush()?;
        self.runs.push(Run { start, end: self.written });
        Ok(())
    }

    /// Calls `print` with the events of all runs in order, until it returns `Break`.
    fn merge<E: From<SortError>>(
        self,
        budget: usize,
        failed: impl Fn(io::Error) -> SortError,
        mut print: impl FnMut(SortKey, &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let read_size = (budget / self.runs.len().max(1)).max(LEAST_READ);
        let file = self.file.get_ref();
        let mut readers: Vec<RunReader<'_>> =
            self.runs.iter().map(|run| RunReader::new(file, *run, read_size)).collect();
        let mut heads = BinaryHeap::new();
        for (number, reader) in readers.iter_mut().enumerate() {
            if let Some(key) = reader.next_key().map_err(&failed)? {
                heads.push(Reverse((key, number)));
            }
        }
        while let Some(Reverse((key, number))) = heads.pop() {
            let reader = &mut readers[number];
            if print(key, reader.event().map_err(&failed)?)?.is_break() {
                break;
            }
            if let Some(key) = reader.next_key().map_err(&failed)? {
                heads.push(Reverse((key, number)));
            }
        }
        Ok(())
    }
}

/// Reads the events of a run.
struct RunReader<'f> {
    file: &'f File,
    run: Run,
    read_size: usize,
    buffer: Vec<u8>,
    /// Offset in the buffer of what is not used yet.
    at: usize,
    /// Length of the event whose key was read last.
    event_bytes: usize,
}

impl<'f> RunReader<'f> {
    fn new(file: &'f File, run: Run, read_size: usize) -> Self {
        Self { file, run, read_size, buffer: Vec::new(), at: 0, event_bytes: 0 }
    }

    /// Reads the key of the next event; `None` at the end of the run.
    fn next_key(&mut self) -> io::Result<Option<SortKey>> {
        if self.at == self.buffer.len() && self.run.start == self.run.end {
            return Ok(None);
        }
        let head = self.take(ENTRY_HEAD)?;
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
        };
        #[expect(clippy::cast_possible_truncation, reason = "eight bytes each")]
        let (time, length) = (number(0..8) as u64, number(24..32) as usize);
        let key = SortKey { time: time.cast_signed(), id: number(8..24) };
        self.event_bytes = length;
        Ok(Some(key))
    }

    /// Reads the event whose key was read last.
    fn event(&mut self) -> io::Result<&[u8]> {
        self.take(self.event_bytes)
    }

    fn take(&mut self, bytes: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.at = 0;
            let kept = self.buffer.len();
            let unread = usize::try_from(self.run.end - self.run.start).unwrap_or(usize::MAX);
            let more = (bytes - kept).max(self.read_size).min(unread);
            self.buffer.resize(kept + more, 0);
            self.file.read_exact_at(&mut self.buffer[kept..], self.run.start)?;
            self.run.start += more as u64;
        }
        let taken = self.buffer.get(self.at..self.at + bytes);
        self.at += bytes;
        taken.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Failed;

    impl From<SortError> for Failed {
        fn from(_: SortError) -> Self {
            Self
        }
    }

    fn sorted(sort: EventSort) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        sort.for_each::<Failed>(|event| {
            all.push(event.to_vec());
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        all
    }

    proptest! {
        #[test]
        fn events_come_in_order_and_once_whatever_the_budget(
            events in prop::collection::vec((prop::option::of(-5_i64..50), 0_u128..30), 0..300),
            descending: bool, limit in prop::option::of(0_u64..40), budget in 1_usize..4_000,
        ) {
            let order = if descending { TimeOrder::Descending } else { TimeOrder::Ascending };
            let mut sort = EventSort::new(order, limit, budget, &env::temp_dir());
            let mut expected = Vec::new();
            for (time, id) in events {
                // The content is a function of time and id, as that of an event.
                let text = format!("{time:?} {id} {}", "x".repeat(usize::try_from(id).unwrap() * 5));
                sort.add(time, id, text.as_bytes()).unwrap();
                let rank = time.map_or(i64::MAX, |time| if descending { -time } else { time });
                expected.push((rank, id, text.into_bytes()));
            }
            expected.sort();
            expected.dedup();
            expected.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|(.., text)| text).collect();
            prop_assert_eq!(sorted(sort), expected);
        }
    }

    #[test]
    fn a_limit_keeps_memory_low_without_a_file() {
        let mut sort =
            EventSort::new(TimeOrder::Descending, Some(10), 20_000, Path::new("/does/not/exist"));
        for time in 0..100_000_i64 {
            sort.add(Some(time), time.unsigned_abs().into(), time.to_string().as_bytes()).unwrap();
            assert!(sort.memory() <= 20_000);
        }
        let texts: Vec<Vec<u8>> =
            (99_990..100_000).rev().map(|time: i32| time.to_string().into_bytes()).collect();
        assert_eq!(sorted(sort), texts);
    }

    #[test]
    fn no_file_remains_and_a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut sort = EventSort::new(TimeOrder::Ascending, None, 1_000, folder.path());
        for time in 0..1_000_i64 {
            sort.add(Some(time), time.unsigned_abs().into(), b"an event").unwrap();
        }
        assert!(sort.spill.is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(sorted(sort).len(), 1_000);
        let gone = folder.path().join("gone");
        let mut sort = EventSort::new(TimeOrder::Ascending, None, 100, &gone);
        sort.add(Some(1), 1, b"an event").unwrap();
        let failed = (0..100).find_map(|id| sort.add(Some(2), id, b"an event").err()).unwrap();
        assert!(failed.to_string().contains(gone.to_str().unwrap()), "{failed}");
    }
}
