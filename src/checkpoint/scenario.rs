//! Random courses of a run, and a naive model of what is safe after each: for the property tests.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Ended, Note};
use crate::event::{Lane, LaneNumber, Position, Receipt, Share, Span};

/// The documents of one lane: for each page the sizes of its shares.
type Pages = Vec<Vec<u32>>;

/// Seconds that a page of a lane with an odd number covers.
const PAGE_SECONDS: i64 = 10;

/// The last second of every span.
const TO: i64 = 10_000;

#[derive(Clone, Copy, Debug)]
enum Turn {
    /// This page of a lane was read.
    Page(LaneNumber, u32),
    /// A lane ends.
    End(LaneNumber),
    /// This share is settled.
    Share(Share),
}

/// Returns any order in which the notes of some lanes may come in, complete to the last receipt.
///
/// Pages of a lane come in any order, and its end before, between or after them. Lanes with odd numbers cover a
/// stretch of time.
pub(super) fn course() -> impl Strategy<Value = Vec<Note>> {
    let page = vec(1_u32..5, 0..4);
    vec(vec(page, 0..6), 1..5).prop_flat_map(|lanes| {
        let turns = turns(&lanes);
        Just(turns).prop_shuffle().prop_map(move |turns| play(&lanes, &turns))
    })
}

/// Returns the lane with a number, as the courses name it.
pub(super) fn lane(number: LaneNumber) -> Lane {
    Lane { key: format!("file:/trail/{number}.json"), fingerprint: format!("{number}:1:") }
}

/// Returns the series that a lane belongs to, if it covers a stretch of time.
pub(super) fn series(number: LaneNumber) -> Option<String> {
    (number % 2 == 1).then(|| format!("lookup/{number}"))
}

/// Returns the number of the lane with a key, or with a series.
pub(super) fn number_of(name: &str) -> LaneNumber {
    let (_, end) = name.rsplit_once('/').unwrap();
    end.trim_end_matches(".json").parse().unwrap()
}

fn span(number: LaneNumber) -> Option<Span> {
    let series = series(number)?;
    Some(Span { series, from: 0, to: TO, sure_until: TO })
}

/// Returns from where on a lane is safe once this page and all before it are.
fn reaches(page: u32) -> Position {
    TO + 1 - PAGE_SECONDS * (i64::from(page) + 1)
}

fn turns(lanes: &[Pages]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (number, pages) in (0..).zip(lanes) {
        turns.push(Turn::End(number));
        for (page, shares) in (0..).zip(pages) {
            turns.push(Turn::Page(number, page));
            let share = |documents| Turn::Share(Share { lane: number, page, documents });
            turns.extend(shares.iter().copied().map(share));
        }
    }
    turns
}

fn play(lanes: &[Pages], turns: &[Turn]) -> Vec<Note> {
    let opened = |number: LaneNumber| Note::Opened {
        number,
        lane: lane(number),
        name: number.to_string(),
        span: span(number),
    };
    let mut notes: Vec<Note> = (0..).zip(lanes).map(|(number, _)| opened(number)).collect();
    for turn in turns {
        match *turn {
            Turn::Page(lane, page) => {
                let documents = lanes[lane as usize][page as usize].iter().sum();
                let reaches = Some(reaches(page));
                notes.push(Note::Page { lane, page, documents, bytes: 1, reaches });
            }
            Turn::End(lane) => {
                let pages = u32::try_from(lanes[lane as usize].len()).unwrap();
                let fingerprint = Some(format!("{lane}:1:final"));
                notes.push(Note::Ended { lane, outcome: Ended::Done, pages, fingerprint });
            }
            Turn::Share(share) => match notes.last_mut() {
                Some(Note::Settled(receipt)) if receipt.shares.len() < 3 => {
                    receipt.shares.push(share);
                }
                _ => {
                    notes
                        .push(Note::Settled(Receipt { shares: vec![share], ..Receipt::default() }));
                }
            },
        }
    }
    notes
}

/// What is safe, said as simply as possible.
#[derive(Debug, Default)]
pub(super) struct Model {
    lanes: BTreeMap<LaneNumber, ModelLane>,
}

#[derive(Debug, Default)]
struct ModelLane {
    pages: Option<u32>,
    documents: BTreeMap<u32, u32>,
    settled: BTreeMap<u32, u32>,
}

impl Model {
    /// Takes in what the ledger takes in.
    pub(super) fn take(&mut self, note: &Note) {
        match note {
            Note::Page { lane, page, documents, .. } => {
                self.lanes.entry(*lane).or_default().documents.insert(*page, *documents);
            }
            Note::Settled(receipt) => {
                for share in &receipt.shares {
                    let settled = &mut self.lanes.entry(share.lane).or_default().settled;
                    *settled.entry(share.page).or_default() += share.documents;
                }
            }
            Note::Ended { lane, pages, .. } => {
                self.lanes.entry(*lane).or_default().pages = Some(*pages);
            }
            _ => {}
        }
    }

    /// Returns how many pages of a lane are settled, from the front.
    fn safe_pages(&self, lane: LaneNumber) -> u32 {
        let Some(lane) = self.lanes.get(&lane) else { return 0 };
        let settled = |page: &u32| lane.settled.get(page).copied().unwrap_or(0);
        let is_safe =
            |page: &u32| lane.documents.get(page).is_some_and(|all| settled(page) == *all);
        (0..u32::MAX).find(|page| !is_safe(page)).unwrap_or(0)
    }

    /// Returns whether a lane is safe from a second to its end.
    pub(super) fn is_safe(&self, lane: LaneNumber, since: Position) -> bool {
        let safe = self.safe_pages(lane);
        self.is_done(lane) || safe > 0 && since >= reaches(safe - 1)
    }

    /// Returns whether a lane is read to its end and all of it is settled.
    pub(super) fn is_done(&self, number: LaneNumber) -> bool {
        let Some(lane) = self.lanes.get(&number) else { return false };
        lane.pages.is_some_and(|pages| self.safe_pages(number) == pages)
    }
}
