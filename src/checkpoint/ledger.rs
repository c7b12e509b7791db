//! Tracks which pages of each partition have been read and settled, and decides how far the partition may be recorded.
//!
//! Input: pages read, and documents settled, in any order. Output: a [`LedgerUpdate`] when a partition has advanced or is
//! complete.
//! Invariant: the position never moves past a page with unsettled documents, and a partition is complete only when all of
//! its pages are read and all of their documents are settled. A crash can repeat work, but never skip events.
//! Deliberately not here: time, SQL and threads (see [`CheckpointStore`](super::CheckpointStore)).

use std::collections::{BTreeMap, HashMap};

use super::Error;
use crate::event::{Partition, PartitionNumber, Position, Share, TimeSlice};

/// The partitions of a run that are not complete yet.
#[derive(Debug, Default)]
pub struct Ledger {
    partitions: HashMap<PartitionNumber, OpenPartition>,
}

/// Progress of a partition that may be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUpdate {
    /// A partition that covers a time range has advanced: it is covered from `since` to the end of the range.
    Advanced {
        /// The time range of the whole partition.
        span: TimeSlice,
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
    pub span: Option<TimeSlice>,
    /// Number of records, without those of earlier [`LedgerUpdate::Advanced`]s.
    pub records: u64,
    /// Bytes of input, as stored.
    pub bytes: u64,
    /// Whether it contains no CloudTrail events.
    pub skipped: bool,
}

/// A partition that is being read or still has unsettled documents.
#[derive(Debug)]
struct OpenPartition {
    partition: Partition,
    name: String,
    span: Option<TimeSlice>,
    /// The first page that is not settled. All pages before it are.
    front: u32,
    /// The known pages from `front` on. Documents may be settled before their page is read to its end, so there can be
    /// gaps.
    pages: BTreeMap<u32, Page>,
    /// Records of the pages before `front` that no update has reported yet.
    records: u64,
    bytes: u64,
    skipped: bool,
    end: PartitionEnd,
}

#[derive(Debug, Default)]
struct Page {
    settled: u64,
    /// `None` until the page is read to its end.
    read: Option<Read>,
}

#[derive(Debug)]
struct Read {
    documents: u32,
    bytes: u64,
    reaches: Option<Position>,
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
        span: Option<TimeSlice>,
    ) {
        let reading = OpenPartition {
            partition,
            name,
            span,
            front: 0,
            pages: BTreeMap::new(),
            records: 0,
            bytes: 0,
            skipped: false,
            end: PartitionEnd::NotReached,
        };
        self.partitions.insert(number, reading);
    }

    /// Records that a page was read to its end.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read, and [`Error::Miscounted`] if more
    /// documents of the page are settled than it has.
    pub fn page(
        &mut self,
        number: PartitionNumber,
        page: u32,
        (documents, bytes): (u32, u64),
        reaches: Option<Position>,
    ) -> Result<Option<LedgerUpdate>, Error> {
        let reading = self
            .partitions
            .get_mut(&number)
            .ok_or(Error::UnknownPartition { partition: number })?;
        let counted = reading.page(number, page, 0)?;
        counted.read = Some(Read { documents, bytes, reaches });
        counted.check(number, page)?;
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
        let Some(reading) = self.partitions.get_mut(&share.partition) else { return Ok(None) };
        if share.documents == 0 {
            return Ok(None);
        }
        let counted = reading.page(share.partition, share.page, share.documents)?;
        counted.settled += u64::from(share.documents);
        counted.check(share.partition, share.page)?;
        Ok(self.advance(share.partition))
    }

    /// Marks a partition as containing no CloudTrail events. It still ends like any other.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read.
    pub fn skip(&mut self, number: PartitionNumber) -> Result<(), Error> {
        let reading = self
            .partitions
            .get_mut(&number)
            .ok_or(Error::UnknownPartition { partition: number })?;
        reading.skipped = true;
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
        let reading = self
            .partitions
            .get_mut(&number)
            .ok_or(Error::UnknownPartition { partition: number })?;
        if let Some(fingerprint) = fingerprint {
            reading.partition.fingerprint = fingerprint;
        }
        reading.end = PartitionEnd::Reached { pages };
        Ok(self.advance(number))
    }

    /// Records that reading of a partition failed or was stopped after `pages` pages. It cannot become complete in this
    /// run.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownPartition`] for a partition that is not being read.
    pub fn abandon(
        &mut self,
        number: PartitionNumber,
        pages: u32,
    ) -> Result<Option<LedgerUpdate>, Error> {
        let reading = self
            .partitions
            .get_mut(&number)
            .ok_or(Error::UnknownPartition { partition: number })?;
        reading.end = PartitionEnd::Abandoned { pages };
        Ok(self.advance(number))
    }

    /// Returns an incomplete partition and the name shown to the user.
    pub fn partition(&self, number: PartitionNumber) -> Option<(&Partition, &str)> {
        self.partitions.get(&number).map(|reading| (&reading.partition, reading.name.as_str()))
    }

    /// Returns the number of records of a partition, counting only pages that were read to their end.
    pub fn records_read(&self, number: PartitionNumber) -> u64 {
        let Some(reading) = self.partitions.get(&number) else { return 0 };
        let ahead = reading.pages.values().filter_map(|page| page.read.as_ref());
        reading.records + ahead.map(|read| u64::from(read.documents)).sum::<u64>()
    }

    /// Returns the number of incomplete partitions.
    pub fn open_partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Advances a partition past settled pages, and drops it once all of its pages are settled.
    fn advance(&mut self, number: PartitionNumber) -> Option<LedgerUpdate> {
        let reading = self.partitions.get_mut(&number)?;
        let since = reading.pop_settled_pages();
        match reading.end {
            PartitionEnd::Reached { pages } if reading.front >= pages => {
                let OpenPartition { partition, span, records, bytes, skipped, .. } =
                    self.partitions.remove(&number)?;
                let finished = CompletedPartition { partition, span, records, bytes, skipped };
                return Some(LedgerUpdate::Completed(finished));
            }
            PartitionEnd::Abandoned { pages } if reading.front >= pages => {
                let mut left = self.partitions.remove(&number)?;
                return left.moved(since);
            }
            _ => {}
        }
        reading.moved(since)
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
        if page < self.front {
            let settled = u64::from(more);
            return Err(Error::Miscounted { partition, page, documents: 0, settled });
        }
        Ok(self.pages.entry(page).or_default())
    }

    /// Removes the leading settled pages and returns the last position among them.
    fn pop_settled_pages(&mut self) -> Option<Position> {
        let mut safe = None;
        while let Some(first) = self.pages.first_entry() {
            if *first.key() != self.front || !first.get().is_settled() {
                break;
            }
            let Some(Read { documents, bytes, reaches }) = first.remove().read else { break };
            safe = reaches.or(safe);
            self.front += 1;
            self.records += u64::from(documents);
            self.bytes += bytes;
        }
        safe
    }

    /// Returns the update for a position. A partition without a time range is recorded only as a whole.
    fn moved(&mut self, since: Option<Position>) -> Option<LedgerUpdate> {
        let (span, since) = (self.span.clone()?, since?);
        Some(LedgerUpdate::Advanced { span, since, records: std::mem::take(&mut self.records) })
    }
}

impl Page {
    fn is_settled(&self) -> bool {
        self.read.as_ref().is_some_and(|read| u64::from(read.documents) == self.settled)
    }

    fn check(&self, partition: PartitionNumber, page: u32) -> Result<(), Error> {
        let Some(read) = &self.read else { return Ok(()) };
        let documents = u64::from(read.documents);
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
            CheckpointEvent::PartitionOpened { number, partition, name, span } => {
                ledger.open(number, partition, name, span);
                None
            }
            CheckpointEvent::PageRead { partition, page, documents, bytes, position: reaches } => {
                ledger.page(partition, page, (documents, bytes), reaches).unwrap()
            }
            CheckpointEvent::PartitionEnded {
                partition,
                outcome: PartitionOutcome::Done,
                pages,
                fingerprint,
            } => ledger.complete(partition, pages, fingerprint).unwrap(),
            CheckpointEvent::PartitionEnded { partition, pages, .. } => {
                ledger.abandon(partition, pages).unwrap()
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
        ledger.open(7, partition(7), "seven".to_owned(), None);
        ledger
    }

    fn span() -> TimeSlice {
        TimeSlice { series: "1/eu-west-1".to_owned(), from: 100, to: 199, complete_until: 150 }
    }

    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, partition(7), "seven".to_owned(), Some(span()));
        ledger
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what the ledger returns")]
    fn moved(since: Position, records: u64) -> Option<LedgerUpdate> {
        Some(LedgerUpdate::Advanced { span: span(), since, records })
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
                        LedgerUpdate::Advanced { span, since, .. } => {
                            prop_assert!(model.is_safe(number_of(&span.series), since));
                        }
                        LedgerUpdate::Completed(done) => {
                            let partition = number_of(&done.partition.key);
                            prop_assert!(model.is_done(partition));
                            prop_assert_eq!(done.span.map(|span| span.series), series(partition));
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
                span: None,
                records: 0,
                bytes: 0,
                skipped: false
            }
        );
        assert_eq!(ledger.open_partitions(), 0);
    }

    #[test]
    fn an_empty_page_moves_the_position() {
        let mut ledger = begun();
        assert_eq!(ledger.page(7, 0, (0, 20), Some(180)).unwrap(), moved(180, 0));
    }

    #[test]
    fn a_page_without_a_position_keeps_the_one_before_it() {
        let mut ledger = begun();
        ledger.page(7, 1, (0, 20), None).unwrap();
        assert_eq!(ledger.page(7, 0, (0, 20), Some(180)).unwrap(), moved(180, 0));
    }

    /// A worker may still read a page after the source has reported the last one.
    #[test]
    fn pages_may_come_behind_the_end_and_in_any_order() {
        let mut ledger = begun();
        assert_eq!(ledger.complete(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, (1, 20), Some(120)).unwrap(), None);
        assert_eq!(ledger.settle(share(2, 1)).unwrap(), None);
        assert_eq!(ledger.page(7, 0, (2, 20), Some(180)).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), moved(180, 2));
        let Some(LedgerUpdate::Completed(done)) = ledger.page(7, 1, (0, 20), Some(150)).unwrap()
        else {
            panic!("not complete")
        };
        let records = 1;
        assert_eq!(
            done,
            CompletedPartition {
                partition: partition(7),
                span: Some(span()),
                records,
                bytes: 60,
                skipped: false
            }
        );
    }

    #[test]
    fn a_partition_that_was_left_is_covered_as_far_as_its_late_pages_go() {
        let mut ledger = begun();
        assert_eq!(ledger.abandon(7, 2).unwrap(), None);
        assert_eq!(ledger.page(7, 0, (0, 20), Some(180)).unwrap(), moved(180, 0));
        assert_eq!(ledger.page(7, 1, (0, 20), Some(120)).unwrap(), moved(120, 0));
        assert_eq!(ledger.open_partitions(), 0);
    }

    /// A page with a malformed event sends no `PageRead`.
    #[test]
    fn a_page_that_never_comes_keeps_its_partition_from_being_done() {
        let mut ledger = begun();
        ledger.page(7, 0, (0, 20), Some(180)).unwrap();
        assert_eq!(ledger.complete(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, (0, 20), Some(100)).unwrap(), None);
        assert_eq!(ledger.open_partitions(), 1);
    }

    #[test]
    fn a_partition_that_was_left_is_never_done_and_its_late_receipts_do_no_harm() {
        let mut ledger = opened();
        ledger.page(7, 0, (2, 20), None).unwrap();
        assert_eq!(ledger.abandon(7, 1).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), None);
        assert_eq!(ledger.open_partitions(), 0);
        assert_eq!(ledger.settle(share(1, 3)).unwrap(), None);
    }

    #[test]
    fn more_settled_than_read_is_an_error_whatever_comes_first() {
        let mut late = opened();
        late.page(7, 0, (2, 20), None).unwrap();
        assert!(matches!(late.settle(share(0, 3)), Err(Error::Miscounted { settled: 3, .. })));
        let mut early = opened();
        early.settle(share(0, 3)).unwrap();
        assert!(matches!(
            early.page(7, 0, (2, 20), None),
            Err(Error::Miscounted { settled: 3, .. })
        ));
        let mut again = opened();
        again.page(7, 0, (1, 20), None).unwrap();
        again.settle(share(0, 1)).unwrap();
        assert!(matches!(again.settle(share(0, 1)), Err(Error::Miscounted { page: 0, .. })));
    }

    #[test]
    fn a_note_about_an_unknown_partition_is_an_error() {
        let mut ledger = Ledger::default();
        assert!(matches!(
            ledger.page(3, 0, (1, 20), None),
            Err(Error::UnknownPartition { partition: 3 })
        ));
        assert!(matches!(
            ledger.complete(3, 0, None),
            Err(Error::UnknownPartition { partition: 3 })
        ));
        assert!(matches!(ledger.abandon(3, 0), Err(Error::UnknownPartition { partition: 3 })));
    }
}
