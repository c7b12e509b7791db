//! Tracks which pages of each partition have been read and settled, and decides how far the partition may be recorded.
//!
//! Input: pages read, and documents settled, in any order. Output: a [`LedgerUpdate`] when a partition has advanced or is
//! complete; and the results of partitions that a source waits for.
//! Invariant: the position never moves past a page with unsettled documents, and a partition is complete only when all of
//! its pages are read and all of their documents are settled. A crash can repeat work, but never skip events.
//! Deliberately not here: time, SQL and threads (see [`CheckpointStore`](super::CheckpointStore)).

use std::collections::{BTreeMap, HashMap};

use super::{Error, PageExtent};
use crate::event::{
    Partition, PartitionNumber, PartitionResult, Position, ResultSender, Share, TimeSlice,
};

/// The partitions of a run that are not complete yet.
#[derive(Debug, Default)]
pub struct Ledger {
    partitions: HashMap<PartitionNumber, OpenPartition>,
    results: Vec<DueResult>,
}

/// A result to be sent once everything that it depends on is committed.
#[derive(Debug)]
pub struct DueResult {
    sender: ResultSender,
    result: PartitionResult,
}

impl DueResult {
    /// Sends the result to the source that waits for it.
    pub fn send(self) {
        self.sender.send(self.result);
    }
}

/// Progress of a partition that may be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUpdate {
    /// A partition that covers a time range has advanced: it is covered from `since` to the end of the range.
    Advanced {
        /// The time range of the whole partition.
        time_slice: TimeSlice,
        /// The first covered second.
        since: Position,
        /// Number of records settled with this update.
        records: u64,
    },
    /// A partition is complete. The ledger no longer tracks it.
    Completed(CompletedPartition),
}

/// A partition of which all pages are read and all documents are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPartition {
    /// The partition, with its final fingerprint.
    pub partition: Partition,
    /// The time range that it covers, if any.
    pub time_slice: Option<TimeSlice>,
    /// Number of records, without those of earlier [`LedgerUpdate::Advanced`]s.
    pub records: u64,
    /// Bytes of input, as stored.
    pub bytes: u64,
    /// What it contains instead, if it contains no CloudTrail events.
    pub skipped: Option<String>,
    /// Whether a source waits for its result.
    pub is_awaited: bool,
}

/// A partition that is being read or still has unsettled documents.
#[derive(Debug)]
struct OpenPartition {
    partition: Partition,
    name: String,
    time_slice: Option<TimeSlice>,
    /// The first page that is not settled. All pages before it are.
    first_unsettled: u32,
    /// The known pages from `first_unsettled` on. Documents may be settled before their page is read to its end, so there can be
    /// gaps.
    pages: BTreeMap<u32, Page>,
    /// Records of the pages before `first_unsettled` that no update has reported yet.
    records: u64,
    bytes: u64,
    skipped: Option<String>,
    /// Whether a page before `first_unsettled` was not processed as a whole. The partition is not recorded beyond it.
    is_restricted: bool,
    /// Why a page could not be read.
    failure: Option<String>,
    /// Receives the result of the partition.
    result: Option<ResultSender>,
    end: PartitionEnd,
}

#[derive(Debug, Default)]
struct Page {
    settled: u64,
    /// Whether a part of it was not processed.
    is_restricted: bool,
    /// `None` until the page is read to its end.
    content: Option<PageContent>,
}

/// The content of a page that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageContent {
    /// Number of documents, including dead letters.
    pub documents: u32,
    /// Bytes of input, as stored.
    pub bytes: u64,
    /// The position that the partition reaches when this page and all earlier pages are settled.
    pub position: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
enum PartitionEnd {
    /// The number of pages is not known yet.
    NotReached,
    /// The partition was read to its end.
    Reached { pages: u32 },
    /// Reading failed or was stopped; the partition cannot become complete in this run.
    Abandoned { pages: u32 },
}

impl Ledger {
    /// Adds a partition whose reading starts.
    pub fn open(
        &mut self,
        number: PartitionNumber,
        partition: Partition,
        name: String,
        time_slice: Option<TimeSlice>,
        result: Option<ResultSender>,
    ) {
        let entry = OpenPartition {
            partition,
            name,
            time_slice,
            first_unsettled: 0,
            pages: BTreeMap::new(),
            records: 0,
            bytes: 0,
            skipped: None,
            is_restricted: false,
            failure: None,
            result,
            end: PartitionEnd::NotReached,
        };
        self.partitions.insert(number, entry);
    }

    /// Records that a page was read, as far as `extent` says.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read, and [`Error::Miscounted`] if more
    /// documents of the page are settled than it has.
    pub fn page(
        &mut self,
        number: PartitionNumber,
        page: u32,
        content: PageContent,
        extent: PageExtent,
    ) -> Result<Option<LedgerUpdate>, Error> {
        let entry = self.entry(number)?;
        let counted = entry.page(number, page, 0)?;
        counted.content = Some(content);
        counted.is_restricted = extent != PageExtent::Whole;
        counted.check(number, page)?;
        if let PageExtent::Failed { cause } = extent {
            entry.failure.get_or_insert(cause);
        }
        Ok(self.advance(number))
    }

    /// Records settled documents.
    ///
    /// An unknown partition is not an error: documents of an abandoned partition may be settled late, and have no
    /// effect.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Miscounted`] if more documents of the page are settled than it has.
    pub fn settle(&mut self, share: Share) -> Result<Option<LedgerUpdate>, Error> {
        let Some(entry) = self.partitions.get_mut(&share.partition) else { return Ok(None) };
        if share.documents == 0 {
            return Ok(None);
        }
        let counted = entry.page(share.partition, share.page, share.documents)?;
        counted.settled += u64::from(share.documents);
        counted.check(share.partition, share.page)?;
        Ok(self.advance(share.partition))
    }

    /// Marks a partition as containing no CloudTrail events, but `cause`. It still ends like any other.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read.
    pub fn mark_skipped(&mut self, number: PartitionNumber, cause: String) -> Result<(), Error> {
        let entry = self.entry(number)?;
        entry.skipped = Some(cause);
        Ok(())
    }

    /// Records that a partition was read to its end and has `pages` pages. `fingerprint` replaces the one that it was
    /// opened with.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read.
    pub fn complete(
        &mut self,
        number: PartitionNumber,
        pages: u32,
        fingerprint: Option<String>,
    ) -> Result<Option<LedgerUpdate>, Error> {
        let entry = self.entry(number)?;
        if let Some(fingerprint) = fingerprint {
            entry.partition.fingerprint = fingerprint;
        }
        entry.end = PartitionEnd::Reached { pages };
        Ok(self.advance(number))
    }

    /// Records that reading of a partition failed with `failure`, or was stopped, after `pages` pages. It cannot become
    /// complete in this run. A partition that was stopped has no result.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read.
    pub fn abandon(
        &mut self,
        number: PartitionNumber,
        pages: u32,
        failure: Option<String>,
    ) -> Result<Option<LedgerUpdate>, Error> {
        let entry = self.entry(number)?;
        entry.end = PartitionEnd::Abandoned { pages };
        if let (Some(sender), Some(cause)) = (entry.result.take(), failure) {
            self.results.push(DueResult { sender, result: PartitionResult::Failed { cause } });
        }
        Ok(self.advance(number))
    }

    /// Returns the results that became due since the last call.
    pub fn take_results(&mut self) -> Vec<DueResult> {
        std::mem::take(&mut self.results)
    }

    /// Returns whether a partition without a fingerprint is remembered by the source that waits for its result.
    pub fn is_remembered_by_source(&self, number: PartitionNumber) -> bool {
        let entry = self.partitions.get(&number);
        entry.is_some_and(|entry| entry.partition.fingerprint.is_empty() && entry.result.is_some())
    }

    /// Returns an incomplete partition and the name shown to the user.
    pub fn partition(&self, number: PartitionNumber) -> Option<(&Partition, &str)> {
        self.partitions.get(&number).map(|entry| (&entry.partition, entry.name.as_str()))
    }

    /// Returns the number of records of a partition, counting only pages that were read to their end.
    pub fn records_read(&self, number: PartitionNumber) -> u64 {
        let Some(entry) = self.partitions.get(&number) else { return 0 };
        let ahead = entry.pages.values().filter_map(|page| page.content.as_ref());
        entry.records + ahead.map(|content| u64::from(content.documents)).sum::<u64>()
    }

    /// Returns the number of incomplete partitions.
    pub fn open_partitions(&self) -> usize {
        self.partitions.len()
    }

    fn entry(&mut self, number: PartitionNumber) -> Result<&mut OpenPartition, Error> {
        self.partitions.get_mut(&number).ok_or(Error::UnknownPartition { partition: number })
    }

    /// Advances a partition past settled pages, and drops it once all of its pages are settled.
    fn advance(&mut self, number: PartitionNumber) -> Option<LedgerUpdate> {
        let entry = self.partitions.get_mut(&number)?;
        let since = entry.pop_settled_pages();
        match entry.end {
            PartitionEnd::Reached { pages } if entry.first_unsettled >= pages => {
                let mut completed = self.partitions.remove(&number)?;
                let is_awaited = completed.result.is_some();
                self.results.extend(completed.take_result());
                if completed.is_restricted {
                    return completed.advanced(since);
                }
                let OpenPartition { partition, time_slice, records, bytes, skipped, .. } =
                    completed;
                let completed = CompletedPartition {
                    partition,
                    time_slice,
                    records,
                    bytes,
                    skipped,
                    is_awaited,
                };
                return Some(LedgerUpdate::Completed(completed));
            }
            PartitionEnd::Abandoned { pages } if entry.first_unsettled >= pages => {
                let mut left = self.partitions.remove(&number)?;
                return left.advanced(since);
            }
            _ => {}
        }
        entry.advanced(since)
    }
}

impl OpenPartition {
    /// Returns the entry of a page. For a page that is settled already, any further document is an error.
    fn page(
        &mut self,
        partition: PartitionNumber,
        page: u32,
        more: u32,
    ) -> Result<&mut Page, Error> {
        if page < self.first_unsettled {
            let settled = u64::from(more);
            return Err(Error::Miscounted { partition, page, documents: 0, settled });
        }
        Ok(self.pages.entry(page).or_default())
    }

    /// Removes the leading settled pages and returns the last position among them.
    fn pop_settled_pages(&mut self) -> Option<Position> {
        let mut position = None;
        while let Some(first) = self.pages.first_entry() {
            if *first.key() != self.first_unsettled || !first.get().is_settled() {
                break;
            }
            let Page { content: Some(content), is_restricted, .. } = first.remove() else { break };
            self.is_restricted |= is_restricted;
            if !self.is_restricted {
                position = content.position.or(position);
            }
            self.first_unsettled += 1;
            self.records += u64::from(content.documents);
            self.bytes += content.bytes;
        }
        position
    }

    /// Returns the result of a partition of which all pages are read and settled, if a source waits for it.
    fn take_result(&mut self) -> Option<DueResult> {
        let sender = self.result.take()?;
        let result = match (self.failure.take(), &self.skipped) {
            (Some(cause), _) => PartitionResult::Failed { cause },
            (None, Some(kind)) => PartitionResult::Foreign { kind: kind.clone() },
            (None, None) => PartitionResult::Complete,
        };
        Some(DueResult { sender, result })
    }

    /// Returns the update for a position. A partition without a time range is recorded only as a whole.
    fn advanced(&mut self, since: Option<Position>) -> Option<LedgerUpdate> {
        let (time_slice, since) = (self.time_slice.clone()?, since?);
        Some(LedgerUpdate::Advanced {
            time_slice,
            since,
            records: std::mem::take(&mut self.records),
        })
    }
}

impl Page {
    fn is_settled(&self) -> bool {
        self.content.as_ref().is_some_and(|content| u64::from(content.documents) == self.settled)
    }

    fn check(&self, partition: PartitionNumber, page: u32) -> Result<(), Error> {
        let Some(content) = &self.content else { return Ok(()) };
        let documents = u64::from(content.documents);
        if self.settled > documents {
            return Err(Error::Miscounted { partition, page, documents, settled: self.settled });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::{Model, course, number_of, partition, series};
    use super::super::{CheckpointEvent, PartitionOutcome};
    use super::*;

    /// Applies an event to a ledger and returns the updates.
    fn apply(ledger: &mut Ledger, event: CheckpointEvent) -> Vec<LedgerUpdate> {
        let update = match event {
            CheckpointEvent::PartitionOpened { number, partition, name, time_slice, result } => {
                ledger.open(number, partition, name, time_slice, result);
                None
            }
            CheckpointEvent::PageRead { partition, page, documents, extent, bytes, position } => {
                let content = PageContent { documents, bytes, position };
                ledger.page(partition, page, content, extent).unwrap()
            }
            CheckpointEvent::PartitionEnded {
                partition,
                outcome: PartitionOutcome::Done,
                pages,
                fingerprint,
            } => ledger.complete(partition, pages, fingerprint).unwrap(),
            CheckpointEvent::PartitionEnded { partition, pages, .. } => {
                ledger.abandon(partition, pages, None).unwrap()
            }
            CheckpointEvent::Settled(receipt) => {
                let shares = receipt.shares.into_iter();
                return shares.filter_map(|share| ledger.settle(share).unwrap()).collect();
            }
            other => panic!("unexpected event: {other:?}"),
        };
        update.into_iter().collect()
    }

    fn opened() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, partition(7), "seven".to_owned(), None, None);
        ledger
    }

    fn time_slice() -> TimeSlice {
        TimeSlice { series: "1/eu-west-1".to_owned(), from: 100, to: 199, complete_until: 150 }
    }

    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, partition(7), "seven".to_owned(), Some(time_slice()), None);
        ledger
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what the ledger returns")]
    fn moved(since: Position, records: u64) -> Option<LedgerUpdate> {
        Some(LedgerUpdate::Advanced { time_slice: time_slice(), since, records })
    }

    /// Returns the content of a page of 20 bytes.
    fn content(documents: u32, position: Option<Position>) -> PageContent {
        PageContent { documents, bytes: 20, position }
    }

    fn share(page: u32, documents: u32) -> Share {
        Share { partition: 7, page, documents }
    }

    proptest! {
        /// For any order of events, cut off anywhere: whatever the ledger reported is settled.
        #[test]
        fn a_position_never_passes_an_unsettled_page(course in course()) {
            let mut ledger = Ledger::default();
            let mut model = Model::default();
            for event in course {
                model.apply(&event);
                for update in apply(&mut ledger, event) {
                    match update {
                        LedgerUpdate::Advanced { time_slice, since, .. } => {
                            prop_assert!(model.is_covered(number_of(&time_slice.series), since));
                        }
                        LedgerUpdate::Completed(done) => {
                            let partition = number_of(&done.partition.key);
                            prop_assert!(model.is_loaded(partition));
                            prop_assert_eq!(done.time_slice.map(|time_slice| time_slice.series), series(partition));
                        }
                    }
                }
            }
        }

        /// Every partition completes exactly once, and none is left.
        #[test]
        fn every_partition_ends_once_when_all_has_come_in(course in course()) {
            let mut partitions: Vec<PartitionNumber> = Vec::new();
            let mut records = 0;
            for event in &course {
                match event {
                    CheckpointEvent::PageRead { documents, .. } => records += u64::from(*documents),
                    CheckpointEvent::PartitionEnded { partition, outcome: PartitionOutcome::Done, .. } => partitions.push(*partition),
                    _ => {}
                }
            }
            let mut ledger = Ledger::default();
            let mut done = Vec::new();
            for event in course {
                for update in apply(&mut ledger, event) {
                    match update {
                        LedgerUpdate::Advanced { records: safe, .. } => records -= safe,
                        LedgerUpdate::Completed(finished) => {
                            let partition = number_of(&finished.partition.key);
                            prop_assert_eq!(finished.partition.fingerprint, format!("{partition}:1:final"));
                            records -= finished.records;
                            done.push(partition);
                        }
                    }
                }
            }
            done.sort_unstable();
            partitions.sort_unstable();
            prop_assert_eq!(done, partitions);
            prop_assert_eq!(records, 0, "every record is reported once");
            prop_assert_eq!(ledger.open_partitions(), 0);
        }

        /// A single unsettled document keeps its partition incomplete, and only that partition.
        #[test]
        fn one_missing_share_keeps_one_partition_open(course in course(), which in any::<prop::sample::Index>()) {
            let mut course = course;
            let receipts: Vec<usize> = (0..course.len())
                .filter(|at| matches!(&course[*at], CheckpointEvent::Settled(_)))
                .collect();
            prop_assume!(!receipts.is_empty());
            let CheckpointEvent::Settled(receipt) = &mut course[receipts[which.index(receipts.len())]] else {
                unreachable!("chosen above")
            };
            let lost = receipt.shares.pop().unwrap();
            let mut ledger = Ledger::default();
            for event in course {
                apply(&mut ledger, event);
            }
            prop_assert_eq!(ledger.open_partitions(), 1);
            prop_assert!(ledger.partition(lost.partition).is_some());
        }
    }

    #[test]
    fn a_partition_without_pages_is_done_at_its_end() {
        let mut ledger = opened();
        let Some(LedgerUpdate::Completed(done)) = ledger.complete(7, 0, None).unwrap() else {
            panic!("not complete")
        };
        assert_eq!(
            done,
            CompletedPartition {
                partition: partition(7),
                time_slice: None,
                records: 0,
                bytes: 0,
                skipped: None,
                is_awaited: false,
            }
        );
        assert_eq!(ledger.open_partitions(), 0);
    }

    #[test]
    fn an_empty_page_moves_the_position() {
        let mut ledger = begun();
        assert_eq!(
            ledger.page(7, 0, content(0, Some(180)), PageExtent::Whole).unwrap(),
            moved(180, 0)
        );
    }

    #[test]
    fn a_page_without_a_position_keeps_the_one_before_it() {
        let mut ledger = begun();
        ledger.page(7, 1, content(0, None), PageExtent::Whole).unwrap();
        assert_eq!(
            ledger.page(7, 0, content(0, Some(180)), PageExtent::Whole).unwrap(),
            moved(180, 0)
        );
    }

    /// A worker may still read a page after the source has reported the last one.
    #[test]
    fn pages_may_come_behind_the_end_and_in_any_order() {
        let mut ledger = begun();
        assert_eq!(ledger.complete(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, content(1, Some(120)), PageExtent::Whole).unwrap(), None);
        assert_eq!(ledger.settle(share(2, 1)).unwrap(), None);
        assert_eq!(ledger.page(7, 0, content(2, Some(180)), PageExtent::Whole).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), moved(180, 2));
        let Some(LedgerUpdate::Completed(done)) =
            ledger.page(7, 1, content(0, Some(150)), PageExtent::Whole).unwrap()
        else {
            panic!("not complete")
        };
        let records = 1;
        assert_eq!(
            done,
            CompletedPartition {
                partition: partition(7),
                time_slice: Some(time_slice()),
                records,
                bytes: 60,
                skipped: None,
                is_awaited: false,
            }
        );
    }

    #[test]
    fn a_partition_that_was_left_is_covered_as_far_as_its_late_pages_go() {
        let mut ledger = begun();
        assert_eq!(ledger.abandon(7, 2, None).unwrap(), None);
        assert_eq!(
            ledger.page(7, 0, content(0, Some(180)), PageExtent::Whole).unwrap(),
            moved(180, 0)
        );
        assert_eq!(
            ledger.page(7, 1, content(0, Some(120)), PageExtent::Whole).unwrap(),
            moved(120, 0)
        );
        assert_eq!(ledger.open_partitions(), 0);
    }

    /// A page with a malformed event sends no `PageRead`.
    #[test]
    fn a_page_that_never_comes_keeps_its_partition_from_being_done() {
        let mut ledger = begun();
        ledger.page(7, 0, content(0, Some(180)), PageExtent::Whole).unwrap();
        assert_eq!(ledger.complete(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, content(0, Some(100)), PageExtent::Whole).unwrap(), None);
        assert_eq!(ledger.open_partitions(), 1);
    }

    #[test]
    fn a_partition_that_was_left_is_never_done_and_its_late_receipts_do_no_harm() {
        let mut ledger = opened();
        ledger.page(7, 0, content(2, None), PageExtent::Whole).unwrap();
        assert_eq!(ledger.abandon(7, 1, None).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), None);
        assert_eq!(ledger.open_partitions(), 0);
        assert_eq!(ledger.settle(share(1, 3)).unwrap(), None);
    }

    #[test]
    fn more_settled_than_read_is_an_error_whatever_comes_first() {
        let mut late = opened();
        late.page(7, 0, content(2, None), PageExtent::Whole).unwrap();
        assert!(matches!(late.settle(share(0, 3)), Err(Error::Miscounted { settled: 3, .. })));
        let mut early = opened();
        early.settle(share(0, 3)).unwrap();
        assert!(matches!(
            early.page(7, 0, content(2, None), PageExtent::Whole),
            Err(Error::Miscounted { settled: 3, .. })
        ));
        let mut again = opened();
        again.page(7, 0, content(1, None), PageExtent::Whole).unwrap();
        again.settle(share(0, 1)).unwrap();
        assert!(matches!(again.settle(share(0, 1)), Err(Error::Miscounted { page: 0, .. })));
    }

    #[test]
    fn a_note_about_an_unknown_partition_is_an_error() {
        let mut ledger = Ledger::default();
        assert!(matches!(
            ledger.page(3, 0, content(1, None), PageExtent::Whole),
            Err(Error::UnknownPartition { partition: 3 })
        ));
        assert!(matches!(
            ledger.complete(3, 0, None),
            Err(Error::UnknownPartition { partition: 3 })
        ));
        assert!(matches!(
            ledger.abandon(3, 0, None),
            Err(Error::UnknownPartition { partition: 3 })
        ));
    }
}
