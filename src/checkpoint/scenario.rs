//! Random courses of a run, and a naive model of what is safe after each: for the property tests.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Ended, Note};
use crate::event::{Lane, LaneNumber, Receipt, Share};

/// The documents of one lane: for each page the sizes of its shares.
type Pages = Vec<Vec<u32>>;

#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The next note of this lane.
    Lane(LaneNumber),
    /// This share is settled.
    Share(Share),
}

/// Returns any order in which the notes of some lanes may come in, complete to the last receipt.
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

fn turns(lanes: &[Pages]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (number, pages) in (0..).zip(lanes) {
        turns.push(Turn::Lane(number));
        for (page, shares) in (0..).zip(pages) {
            turns.push(Turn::Lane(number));
            let share = |documents| Turn::Share(Share { lane: number, page, documents });
            turns.extend(shares.iter().copied().map(share));
        }
    }
    turns
}

fn play(lanes: &[Pages], turns: &[Turn]) -> Vec<Note> {
    let mut notes: Vec<Note> = (0..)
        .zip(lanes)
        .map(|(number, _)| Note::Opened { number, lane: lane(number), name: number.to_string() })
        .collect();
    let mut next = BTreeMap::new();
    for turn in turns {
        match *turn {
            Turn::Lane(number) => {
                let page = next.entry(number).or_insert(0);
                notes.push(note(&lanes[number as usize], number, *page));
                *page += 1;
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

/// Returns the note of a page, or of the end behind the last one.
fn note(pages: &Pages, lane: LaneNumber, page: u32) -> Note {
    match pages.get(page as usize) {
        Some(shares) => {
            let reaches = Some(format!("{page}"));
            Note::Page { lane, page, documents: shares.iter().sum(), reaches }
        }
        None => Note::Ended {
            lane,
            outcome: Ended::Done,
            records: 1,
            bytes: 1,
            fingerprint: Some(format!("{lane}:1:final")),
        },
    }
}

/// What is safe, said as simply as possible.
#[derive(Debug, Default)]
pub(super) struct Model {
    lanes: BTreeMap<LaneNumber, ModelLane>,
}

#[derive(Debug, Default)]
struct ModelLane {
    ended: bool,
    documents: Vec<u32>,
    settled: BTreeMap<u32, u32>,
}

impl Model {
    /// Takes in what the ledger takes in.
    pub(super) fn take(&mut self, note: &Note) {
        match note {
            Note::Page { lane, documents, .. } => {
                self.lanes.entry(*lane).or_default().documents.push(*documents);
            }
            Note::Settled(receipt) => {
                for share in &receipt.shares {
                    let settled = &mut self.lanes.entry(share.lane).or_default().settled;
                    *settled.entry(share.page).or_default() += share.documents;
                }
            }
            Note::Ended { lane, .. } => self.lanes.entry(*lane).or_default().ended = true,
            _ => {}
        }
    }

    /// Returns how many pages of a lane are settled, from the front.
    pub(super) fn safe_pages(&self, lane: LaneNumber) -> usize {
        let Some(lane) = self.lanes.get(&lane) else { return 0 };
        let settled = |page| lane.settled.get(&page).copied().unwrap_or(0);
        (0..).zip(&lane.documents).take_while(|(page, all)| settled(*page) == **all).count()
    }

    /// Returns whether a lane is read to its end and all of it is settled.
    pub(super) fn is_done(&self, number: LaneNumber) -> bool {
        let Some(lane) = self.lanes.get(&number) else { return false };
        lane.ended && self.safe_pages(number) == lane.documents.len()
    }
}
