//! Remembers how far each lane is safe.
//!
//! In: what was read and what was settled. Out: a [`Step`] when a lane's position moved or the lane
//! is done.
//! Holds: a position never passes an unsettled page, and a lane is done only when it was read to
//! its end and every document of it is settled. So a crash repeats work and never skips any.
//! Absent on purpose: time, SQL and threads. See [`Store`](super::Store) for those.

use std::collections::{BTreeMap, HashMap};

use super::Error;
use crate::event::{Lane, LaneNumber, Position, Share};

/// The lanes of a run that are not safe to their end yet.
#[derive(Debug, Default)]
pub struct Ledger {
    lanes: HashMap<LaneNumber, Reading>,
}

/// What became safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A lane is safe up to a position.
    Moved {
        /// The lane.
        lane: Lane,
        /// How far.
        position: Position,
    },
    /// A lane is done; the ledger has forgotten it.
    Finished(Finished),
}

/// A lane that was read to its end, with every document settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The lane, with its final fingerprint.
    pub lane: Lane,
    /// Records read from it.
    pub records: u64,
    /// Bytes read from it.
    pub bytes: u64,
}

/// One lane between its opening and the moment that all of it is settled.
#[derive(Debug)]
struct Reading {
    lane: Lane,
    name: String,
    /// The first page that is not known to be settled; all before it are.
    front: u32,
    /// What is known of the pages from `front` on. Pages may be settled before they are read to
    /// their end, so there can be holes.
    pages: BTreeMap<u32, Page>,
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
    reaches: Option<Position>,
}

#[derive(Debug)]
enum End {
    /// Pages may still come.
    Open,
    /// Read to its end.
    Reached { records: u64, bytes: u64 },
    /// Given up, for now.
    Left,
}

impl Ledger {
    /// Takes in a lane that is being read from now on.
    pub fn open(&mut self, number: LaneNumber, lane: Lane, name: String) {
        let reading = Reading { lane, name, front: 0, pages: BTreeMap::new(), end: End::Open };
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
        documents: u32,
        reaches: Option<Position>,
    ) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        let counted = reading.page(number, page, 0)?;
        counted.read = Some(Read { documents, reaches });
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

    /// Takes in that a lane was read to its end; `fingerprint` replaces the one it was opened with.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read.
    pub fn reach_end(
        &mut self,
        number: LaneNumber,
        fingerprint: Option<String>,
        records: u64,
        bytes: u64,
    ) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        if let Some(fingerprint) = fingerprint {
            reading.lane.fingerprint = fingerprint;
        }
        reading.end = End::Reached { records, bytes };
        Ok(self.advance(number))
    }

    /// Takes in that a lane is given up in this run, by an error or a stop: it will not be done.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unopened`] for a lane that is not being read.
    pub fn leave(&mut self, number: LaneNumber) -> Result<Option<Step>, Error> {
        let reading = self.lanes.get_mut(&number).ok_or(Error::Unopened { lane: number })?;
        reading.end = End::Left;
        Ok(self.advance(number))
    }

    /// Returns a lane that is not safe to its end, and its name for a person.
    pub fn lane(&self, number: LaneNumber) -> Option<(&Lane, &str)> {
        self.lanes.get(&number).map(|reading| (&reading.lane, reading.name.as_str()))
    }

    /// Returns how many lanes the ledger has to remember.
    pub fn open_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Moves a lane's front over settled pages, and lets go of the lane if nothing is left of it.
    fn advance(&mut self, number: LaneNumber) -> Option<Step> {
        let reading = self.lanes.get_mut(&number)?;
        let moved = reading.take_settled_front();
        if reading.is_open() {
            let lane = &reading.lane;
            return moved.map(|position| Step::Moved { lane: lane.clone(), position });
        }
        let Reading { lane, end, .. } = self.lanes.remove(&number)?;
        match end {
            End::Reached { records, bytes } => {
                Some(Step::Finished(Finished { lane, records, bytes }))
            }
            End::Left | End::Open => moved.map(|position| Step::Moved { lane, position }),
        }
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
            let reaches = first.remove().read.and_then(|read| read.reaches);
            safe = reaches.or(safe);
            self.front += 1;
        }
        safe
    }

    /// Returns whether pages may still come, or are not settled.
    fn is_open(&self) -> bool {
        matches!(self.end, End::Open) || !self.pages.is_empty()
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

    use super::super::Note;
    use super::super::scenario::{Model, course, lane};
    use super::*;

    /// Gives a note to a ledger, and returns the steps it answers with.
    fn take(ledger: &mut Ledger, note: Note) -> Vec<Step> {
        let step = match note {
            Note::Opened { number, lane, name } => {
                ledger.open(number, lane, name);
                None
            }
            Note::Page { lane, page, documents, reaches } => {
                ledger.page(lane, page, documents, reaches).unwrap()
            }
            Note::Ended { lane, records, bytes, fingerprint, .. } => {
                ledger.reach_end(lane, fingerprint, records, bytes).unwrap()
            }
            Note::Settled(receipt) => {
                let shares = receipt.shares.into_iter();
                return shares.filter_map(|share| ledger.settle(share).unwrap()).collect();
            }
            other => panic!("no note of a course: {other:?}"),
        };
        step.into_iter().collect()
    }

    fn number_of(lane: &Lane) -> LaneNumber {
        lane.key.trim_start_matches("file:/trail/").trim_end_matches(".json").parse().unwrap()
    }

    fn opened() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(7, lane(7), "seven".to_owned());
        ledger
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
                        Step::Moved { lane, position } => {
                            let page: usize = position.parse().unwrap();
                            prop_assert!(page < model.safe_pages(number_of(&lane)));
                        }
                        Step::Finished(done) => {
                            prop_assert!(model.is_done(number_of(&done.lane)));
                        }
                    }
                }
            }
        }

        /// Nothing waits for ever, nothing is told twice, and nothing is kept.
        #[test]
        fn every_lane_ends_once_when_all_has_come_in(course in course()) {
            let lanes = course.iter().filter(|note| matches!(note, Note::Opened { .. })).count();
            let mut ledger = Ledger::default();
            let mut done = Vec::new();
            for note in course {
                for step in take(&mut ledger, note) {
                    if let Step::Finished(finished) = step {
                        let lane = number_of(&finished.lane);
                        prop_assert_eq!(finished.lane.fingerprint, format!("{lane}:1:final"));
                        done.push(lane);
                    }
                }
            }
            done.sort_unstable();
            prop_assert_eq!(done, (0..).take(lanes).collect::<Vec<_>>());
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
        let Some(Step::Finished(done)) = ledger.reach_end(7, None, 0, 20).unwrap() else {
            panic!("not done")
        };
        assert_eq!(done, Finished { lane: lane(7), records: 0, bytes: 20 });
        assert_eq!(ledger.open_lanes(), 0);
    }

    #[test]
    fn an_empty_page_moves_the_position() {
        let mut ledger = opened();
        let step = ledger.page(7, 0, 0, Some("a".to_owned())).unwrap();
        assert_eq!(step, Some(Step::Moved { lane: lane(7), position: "a".to_owned() }));
    }

    #[test]
    fn a_page_without_a_position_keeps_the_one_before_it() {
        let mut ledger = opened();
        ledger.page(7, 1, 0, None).unwrap();
        let step = ledger.page(7, 0, 0, Some("a".to_owned())).unwrap();
        assert_eq!(step, Some(Step::Moved { lane: lane(7), position: "a".to_owned() }));
    }

    #[test]
    fn a_lane_that_was_left_is_never_done_and_its_late_receipts_do_no_harm() {
        let mut ledger = opened();
        ledger.page(7, 0, 2, None).unwrap();
        assert_eq!(ledger.leave(7).unwrap(), None);
        assert_eq!(ledger.settle(share(0, 2)).unwrap(), None);
        assert_eq!(ledger.open_lanes(), 0);
        assert_eq!(ledger.settle(share(1, 3)).unwrap(), None);
    }

    #[test]
    fn more_settled_than_read_is_an_error_whatever_comes_first() {
        let mut late = opened();
        late.page(7, 0, 2, None).unwrap();
        assert!(matches!(late.settle(share(0, 3)), Err(Error::Miscounted { settled: 3, .. })));
        let mut early = opened();
        early.settle(share(0, 3)).unwrap();
        assert!(matches!(early.page(7, 0, 2, None), Err(Error::Miscounted { settled: 3, .. })));
        let mut again = opened();
        again.page(7, 0, 1, None).unwrap();
        again.settle(share(0, 1)).unwrap();
        assert!(matches!(again.settle(share(0, 1)), Err(Error::Miscounted { page: 0, .. })));
    }

    #[test]
    fn a_note_about_an_unknown_lane_is_an_error() {
        let mut ledger = Ledger::default();
        assert!(matches!(ledger.page(3, 0, 1, None), Err(Error::Unopened { lane: 3 })));
        assert!(matches!(ledger.reach_end(3, None, 0, 0), Err(Error::Unopened { lane: 3 })));
        assert!(matches!(ledger.leave(3), Err(Error::Unopened { lane: 3 })));
    }
}
