//! Remembers how far each lane is safe.
//!
//! In: what was read and what was settled. Out: a [`Step`] when a lane is safe from an earlier second on, or
//! done.
//! Holds: a position never passes an unsettled page, and a lane is done only when every page of it was
//! read and every document of it is settled. So a crash repeats work and never skips any.
//! Absent on purpose: time, SQL and threads. See [`Store`](super::Store) for those.

use std::collections::{BTreeMap, HashMap};

use super::Error;
use crate::event::{Lane, LaneNumber, Position, Share, Span};

/// The lanes of a run that are not safe to their end yet.
#[derive(Debug, Default)]
pub struct Ledger {
    lanes: HashMap<LaneNumber, Reading>,
}

/// What became safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A lane that covers a stretch of time is safe from a second to its end.
    Moved {
        /// What it covers as a whole.
        span: Span,
        /// From where on it is safe.
        since: Position,
        /// Records that became safe with this step.
        records: u64,
    },
    /// A lane is done; the ledger has forgotten it.
    Finished(Finished),
}

/// A lane of which every page was read, with every document settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The lane, with its final fingerprint.
    pub lane: Lane,
    /// What it covers, if it is a stretch of time.
    pub span: Option<Span>,
    /// Records read from it; those of an earlier [`Step::Moved`] are not told again.
    pub records: u64,
    /// Bytes read from it.
    pub bytes: u64,
    /// Whether it holds no CloudTrail.
    pub skipped: bool,
}

/// One lane between its opening and the moment that all of it is settled.
#[derive(Debug)]
struct Reading {
    lane: Lane,
    name: String,
    span: Option<Span>,
    /// The first page that is not known to be settled; all before it are.
    front: u32,
    /// What is known of the pages from `front` on. Pages may be settled before they are read to
    /// their end, so there can be holes.
    pages: BTreeMap<u32, Page>,
    /// Records of the pages before `front` that no step has told yet.
    records: u64,
    bytes: u64,
    skipped: bool,
    end: End,
}

#[derive(Debug, Default)]
struct Page {
    settled: u64,
    /// Unknown until the page is read to its end.
    read: Option<Read>,
}

#[derive(Debug)]
struct Read {
    documents: u32,
    bytes: u64,
    reaches: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// Nobody knows how many pages there are.
    Open,
    /// There are so many, and that is all of it.
    Reached { pages: u32 },
    /// There are so many, and it is given up, for now.
    Left { pages: u32 },
}

impl Ledger {
    /// Takes in a lane that is being read from now on.
    pub fn open(&mut self, number: LaneNumber, lane: Lane, name: String, span: Option<Span>) {
        let reading = Reading {
            lane,
            name,
            span,
            front: 0,
            pages: BTreeMap::new(),
            records: 0,
            bytes: 0,
            skipped: false,
            end: End::Open,
        };
        self.lanes.insert(number, reading);
    }

    /// Takes in a page that was read to its end.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read, and [`Error::Miscounted`] if
    /// more documents of the page are settled than it has.
    pub fn page(
        &mut self,
        number: LaneNumber,
        page: u32,
        (documents, bytes): (u32, u64),
        reaches: Option<Position>,
    ) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        let counted = reading.page(number, page, 0)?;
        counted.read = Some(Read { documents, bytes, reaches });
        counted.check(number, page)?;
        Ok(self.advance(number))
    }

    /// Takes in settled documents.
    ///
    /// A lane that the ledger does not know (any more) is no error: documents of a lane that was
    /// given up may be settled late, and nothing becomes safe by them.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Miscounted`] if more documents of the page are settled than it has.
    pub fn settle(&mut self, share: Share) -> Result<Option<Step>, Error> {
        let Some(reading) = self.lanes.get_mut(&share.lane) else { return Ok(None) };
        if share.documents == 0 {
            return Ok(None);
        }
        let counted = reading.page(share.lane, share.page, share.documents)?;
        counted.settled += u64::from(share.documents);
        counted.check(share.lane, share.page)?;
        Ok(self.advance(share.lane))
    }

    /// Takes in that a lane holds no CloudTrail. Its end is told as that of any other.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read.
    pub fn skip(&mut self, number: LaneNumber) -> Result<(), Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        reading.skipped = true;
        Ok(())
    }

    /// Takes in that a lane has so many pages, which are all of it; `fingerprint` replaces the one it was opened
    /// with.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read.
    pub fn reach_end(
        &mut self,
        number: LaneNumber,
        pages: u32,
        fingerprint: Option<String>,
    ) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        if let Some(fingerprint) = fingerprint {
            reading.lane.fingerprint = fingerprint;
        }
        reading.end = End::Reached { pages };
        Ok(self.advance(number))
    }

    /// Takes in that a lane is given up in this run, by an error or a stop, behind so many pages: it will not be
    /// done.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read.
    pub fn leave(&mut self, number: LaneNumber, pages: u32) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        reading.end = End::Left { pages };
        Ok(self.advance(number))
    }

    /// Returns a lane that is not safe to its end, and its name for a person.
    pub fn lane(&self, number: LaneNumber) -> Option<(&Lane, &str)> {
        self.lanes.get(&number).map(|reading| (&reading.lane, reading.name.as_str()))
    }

    /// Returns how many records of a lane were read, as far as pages are read to their end.
    pub fn records(&self, number: LaneNumber) -> u64 {
        let Some(reading) = self.lanes.get(&number) else { return 0 };
        let ahead = reading.pages.values().filter_map(|page| page.read.as_ref());
        reading.records + ahead.map(|read| u64::from(read.documents)).sum::<u64>()
    }

    /// Returns how many lanes the ledger has to remember.
    pub fn open_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Moves a lane's front over settled pages, and lets go of the lane if nothing is left of it.
    fn advance(&mut self, number: LaneNumber) -> Option<Step> {
        let reading = self.lanes.get_mut(&number)?;
        let since = reading.take_settled_front();
        match reading.end {
            End::Reached { pages } if reading.front >= pages => {
                let Reading { lane, span, records, bytes, skipped, .. } =
                    self.lanes.remove(&number)?;
                let finished = Finished { lane, span, records, bytes, skipped };
                return Some(Step::Finished(finished));
            }
            End::Left { pages } if reading.front >= pages => {
                let mut left = self.lanes.remove(&number)?;
                return left.moved(since);
            }
            _ => {}
        }
        reading.moved(since)
    }
}

impl Reading {
    /// Returns the page to count in; a page behind the front has all its documents already.
    fn page(&mut self, lane: LaneNumber, page: u32, more: u32) -> Result<&mut Page, Error> {
        if page < self.front {
            let settled = u64::from(more);
            return Err(Error::Miscounted { lane, page, documents: 0, settled });
        }
        Ok(self.pages.entry(page).or_default())
    }

    /// Removes the settled pages at the front and returns the last position among them.
    fn take_settled_front(&mut self) -> Option<Position> {
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

    /// Returns the step to a position. A lane that is no stretch of time is safe as a whole, or not at all.
    fn moved(&mut self, since: Option<Position>) -> Option<Step> {
        let (span, since) = (self.span.clone()?, since?);
        Some(Step::Moved { span, since, records: std::mem::take(&mut self.records) })
    }
}

impl Page {
    fn is_settled(&self) -> bool {
        self.read.as_ref().is_some_and(|read| u64::from(read.documents) == self.settled)
    }

    fn check(&self, lane: LaneNumber, page: u32) -> Result<(), Error> {
        let Some(read) = &self.read else { return Ok(()) };
        let documents = u64::from(read.documents);
        if self.settled > documents {
            return Err(Error::Miscounted { lane, page, documents, settled: self.settled });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::{Model, course, lane, number_of, series};
    use super::super::{Ended, Note};
    use super::*;

    /// Gives a note to a ledger, and returns the steps it answers with.
    fn take(ledger: &mut Ledger, note: Note) -> Vec<Step> {
        let step = match note {
            Note::Opened { number, lane, name, span } => {
                ledger.open(number, lane, name, span);
                None
            }
            Note::Page { lane, page, documents, bytes, reaches } => {
                ledger.page(lane, page, (documents, bytes), reaches).unwrap()
            }
            Note::Ended { lane, outcome: Ended::Done, pages, fingerprint } => {
                ledger.reach_end(lane, pages, fingerprint).unwrap()
            }
            Note::Ended { lane, pages, .. } => ledger.leave(lane, pages).unwrap(),
            Note::Settled(receipt) => {
                let shares = receipt.shares.into_iter();
                return shares.filter_map(|share| ledger.settle(share).unwrap()).collect();
            }
            other => panic!("no note of a course: {other:?}"),
        };
        step.into_iter().collect()
    }

    fn opened() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, lane(7), "seven".to_owned(), None);
        ledger
    }

    fn span() -> Span {
        Span { series: "1/eu-west-1".to_owned(), from: 100, to: 199, sure_until: 150 }
    }

    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, lane(7), "seven".to_owned(), Some(span()));
        ledger
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what the ledger returns")]
    fn moved(since: Position, records: u64) -> Option<Step> {
        Some(Step::Moved { span: span(), since, records })
    }

    fn share(page: u32, documents: u32) -> Share {
        Share { lane: 7, page, documents }
    }

    proptest! {
        /// Any order, cut off anywhere: what the ledger called safe at that moment is safe.
        #[test]
        fn a_position_never_passes_an_unsettled_page(course in course()) {
            let mut ledger = Ledger::default();
            let mut model = Model::default();
            for note in course {
                model.take(&note);
                for step in take(&mut ledger, note) {
                    match step {
                        Step::Moved { span, since, .. } => {
                            prop_assert!(model.is_safe(number_of(&span.series), since));
                        }
                        Step::Finished(done) => {
                            let lane = number_of(&done.lane.key);
                            prop_assert!(model.is_done(lane));
                            prop_assert_eq!(done.span.map(|span| span.series), series(lane));
                        }
                    }
                }
            }
        }

        /// Nothing waits for ever, nothing is told twice, and nothing is kept.
        #[test]
        fn every_lane_ends_once_when_all_has_come_in(course in course()) {
            let mut lanes: Vec<LaneNumber> = Vec::new();
            let mut records = 0;
            for note in &course {
                match note {
                    Note::Page { documents, .. } => records += u64::from(*documents),
                    Note::Ended { lane, outcome: Ended::Done, .. } => lanes.push(*lane),
                    _ => {}
                }
            }
            let mut ledger = Ledger::default();
            let mut done = Vec::new();
            for note in course {
                for step in take(&mut ledger, note) {
                    match step {
                        Step::Moved { records: safe, .. } => records -= safe,
                        Step::Finished(finished) => {
                            let lane = number_of(&finished.lane.key);
                            prop_assert_eq!(finished.lane.fingerprint, format!("{lane}:1:final"));
                            records -= finished.records;
                            done.push(lane);
                        }
                    }
                }
            }
            done.sort_unstable();
            lanes.sort_unstable();
            prop_assert_eq!(done, lanes);
            prop_assert_eq!(records, 0, "every record is told once");
            prop_assert_eq!(ledger.open_lanes(), 0);
        }

        /// A single document that is missing keeps its lane from being done, and only its lane.
        #[test]
        fn one_missing_share_keeps_one_lane_open(course in course(), which in any::<prop::sample::Index>()) {
            let mut course = course;
            let receipts: Vec<usize> = (0..course.len())
                .filter(|at| matches!(&course[*at], Note::Settled(_)))
                .collect();
            prop_assume!(!receipts.is_empty());
            let Note::Settled(receipt) = &mut course[receipts[which.index(receipts.len())]] else {
                unreachable!("chosen above")
            };
            let lost = receipt.shares.pop().unwrap();
            let mut ledger = Ledger::default();
            for note in course {
                take(&mut ledger, note);
            }
            prop_assert_eq!(ledger.open_lanes(), 1);
            prop_assert!(ledger.lane(lost.lane).is_some());
        }
    }

    #[test]
    fn a_lane_without_pages_is_done_at_its_end() {
        let mut ledger = opened();
        let Some(Step::Finished(done)) = ledger.reach_end(7, 0, None).unwrap() else {
            panic!("not done")
        };
        assert_eq!(
            done,
            Finished { lane: lane(7), span: None, records: 0, bytes: 0, skipped: false }
        );
        assert_eq!(ledger.open_lanes(), 0);
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

    /// A worker may still read a page when the lister has seen the last one.
    #[test]
    fn pages_may_come_behind_the_end_and_in_any_order() {
        let mut ledger = begun();
        assert_eq!(ledger.reach_end(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, (1, 20), Some(120)).unwrap(), None);
        assert_eq!(ledger.settle(share(2, 1)).unwrap(), None);
        assert_eq!(ledger.page(7, 0, (2, 20), Some(180)).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), moved(180, 2));
        let Some(Step::Finished(done)) = ledger.page(7, 1, (0, 20), Some(150)).unwrap() else {
            panic!("not done")
        };
        let records = 1;
        assert_eq!(
            done,
            Finished { lane: lane(7), span: Some(span()), records, bytes: 60, skipped: false }
        );
    }

    #[test]
    fn a_lane_that_was_left_is_covered_as_far_as_its_late_pages_go() {
        let mut ledger = begun();
        assert_eq!(ledger.leave(7, 2).unwrap(), None);
        assert_eq!(ledger.page(7, 0, (0, 20), Some(180)).unwrap(), moved(180, 0));
        assert_eq!(ledger.page(7, 1, (0, 20), Some(120)).unwrap(), moved(120, 0));
        assert_eq!(ledger.open_lanes(), 0);
    }

    /// A page with a broken event has no note.
    #[test]
    fn a_page_that_never_comes_keeps_its_lane_from_being_done() {
        let mut ledger = begun();
        ledger.page(7, 0, (0, 20), Some(180)).unwrap();
        assert_eq!(ledger.reach_end(7, 3, None).unwrap(), None);
        assert_eq!(ledger.page(7, 2, (0, 20), Some(100)).unwrap(), None);
        assert_eq!(ledger.open_lanes(), 1);
    }

    #[test]
    fn a_lane_that_was_left_is_never_done_and_its_late_receipts_do_no_harm() {
        let mut ledger = opened();
        ledger.page(7, 0, (2, 20), None).unwrap();
        assert_eq!(ledger.leave(7, 1).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), None);
        assert_eq!(ledger.open_lanes(), 0);
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
    fn a_note_about_an_unknown_lane_is_an_error() {
        let mut ledger = Ledger::default();
        assert!(matches!(ledger.page(3, 0, (1, 20), None), Err(Error::Unopened { lane: 3 })));
        assert!(matches!(ledger.reach_end(3, 0, None), Err(Error::Unopened { lane: 3 })));
        assert!(matches!(ledger.leave(3, 0), Err(Error::Unopened { lane: 3 })));
    }
}
