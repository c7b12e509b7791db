//! Random sequences of checkpoint events, and a simple model of what may be recorded after each (for property tests).

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CheckpointEvent, PageExtent, PartitionOutcome};
use crate::event::{Partition, PartitionNumber, Position, Receipt, Share, TimeSlice};

/// The documents of one partition: for each page, the sizes of its shares.
type Pages = Vec<Vec<u32>>;

/// Seconds that a page of a partition with an odd number covers.
const PAGE_SECONDS: i64 = 10;

/// The last second of every time range.
const TO: i64 = 10_000;

#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A page of a partition was read.
    Page(PartitionNumber, u32),
    /// A partition ends.
    End(PartitionNumber),
    /// A share is settled.
    Share(Share),
}

/// Returns the events of some partitions, complete to the last receipt, in any order in which they may arrive.
///
/// The pages of a partition arrive in any order, and its end before, between or after them. Partitions with odd numbers
/// cover a time range.
pub(super) fn course() -> impl Strategy<Value = Vec<CheckpointEvent>> {
    let page = vec(1_u32..5, 0..4);
    vec(vec(page, 0..6), 1..5).prop_flat_map(|partitions| {
        let turns = turns(&partitions);
        Just(turns).prop_shuffle().prop_map(move |turns| play(&partitions, &turns))
    })
}

/// Returns the partition with this number.
pub(super) fn partition(number: PartitionNumber) -> Partition {
    Partition { key: format!("file:/trail/{number}.json"), fingerprint: format!("{number}:1:") }
}

/// Returns the series of the partition with this number, if it covers a time range.
pub(super) fn series(number: PartitionNumber) -> Option<String> {
    (number % 2 == 1).then(|| format!("lookup/{number}"))
}

/// Returns the number of the partition with this key or series.
pub(super) fn number_of(name: &str) -> PartitionNumber {
    let (_, end) = name.rsplit_once('/').unwrap();
    end.trim_end_matches(".json").parse().unwrap()
}

fn time_slice(number: PartitionNumber) -> Option<TimeSlice> {
    let series = series(number)?;
    Some(TimeSlice { series, from: 0, to: TO, complete_until: TO })
}

/// Returns the position after this page and all earlier pages.
fn reaches(page: u32) -> Position {
    TO + 1 - PAGE_SECONDS * (i64::from(page) + 1)
}

fn turns(partitions: &[Pages]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (number, pages) in (0..).zip(partitions) {
        turns.push(Turn::End(number));
        for (page, shares) in (0..).zip(pages) {
            turns.push(Turn::Page(number, page));
            let share = |documents| Turn::Share(Share { partition: number, page, documents });
            turns.extend(shares.iter().copied().map(share));
        }
    }
    turns
}

fn play(partitions: &[Pages], turns: &[Turn]) -> Vec<CheckpointEvent> {
    let opened = |number: PartitionNumber| CheckpointEvent::PartitionOpened {
        number,
        partition: partition(number),
        name: number.to_string(),
        time_slice: time_slice(number),
        result: None,
    };
    let mut events: Vec<CheckpointEvent> =
        (0..).zip(partitions).map(|(number, _)| opened(number)).collect();
    for turn in turns {
        match *turn {
            Turn::Page(partition, page) => {
                let documents = partitions[partition as usize][page as usize].iter().sum();
                let reaches = Some(reaches(page));
                events.push(CheckpointEvent::PageRead {
                    partition,
                    page,
                    documents,
                    extent: PageExtent::Whole,
                    bytes: 1,
                    position: reaches,
                });
            }
            Turn::End(partition) => {
                let pages = u32::try_from(partitions[partition as usize].len()).unwrap();
                let fingerprint = Some(format!("{partition}:1:final"));
                events.push(CheckpointEvent::PartitionEnded {
                    partition,
                    outcome: PartitionOutcome::Done,
                    pages,
                    fingerprint,
                });
            }
            Turn::Share(share) => match events.last_mut() {
                Some(CheckpointEvent::Settled(receipt)) if receipt.shares.len() < 3 => {
                    receipt.shares.push(share);
                }
                _ => {
                    events.push(CheckpointEvent::Settled(Receipt {
                        shares: vec![share],
                        ..Receipt::default()
                    }));
                }
            },
        }
    }
    events
}

/// The simplest model of what may be recorded.
#[derive(Debug, Default)]
pub(super) struct Model {
    partitions: BTreeMap<PartitionNumber, ModelPartition>,
}

#[derive(Debug, Default)]
struct ModelPartition {
    pages: Option<u32>,
    documents: BTreeMap<u32, u32>,
    settled: BTreeMap<u32, u32>,
}

impl Model {
    /// Applies an event.
    pub(super) fn apply(&mut self, event: &CheckpointEvent) {
        match event {
            CheckpointEvent::PageRead { partition, page, documents, .. } => {
                self.partitions.entry(*partition).or_default().documents.insert(*page, *documents);
            }
            CheckpointEvent::Settled(receipt) => {
                for share in &receipt.shares {
                    let settled = &mut self.partitions.entry(share.partition).or_default().settled;
                    *settled.entry(share.page).or_default() += share.documents;
                }
            }
            CheckpointEvent::PartitionEnded { partition, pages, .. } => {
                self.partitions.entry(*partition).or_default().pages = Some(*pages);
            }
            _ => {}
        }
    }

    /// Returns the number of leading settled pages of a partition.
    fn settled_pages(&self, partition: PartitionNumber) -> u32 {
        let Some(partition) = self.partitions.get(&partition) else { return 0 };
        let settled = |page: &u32| partition.settled.get(page).copied().unwrap_or(0);
        let is_settled =
            |page: &u32| partition.documents.get(page).is_some_and(|all| settled(page) == *all);
        (0..u32::MAX).find(|page| !is_settled(page)).unwrap_or(0)
    }

    /// Returns whether a partition is covered from a second to its end.
    pub(super) fn is_covered(&self, partition: PartitionNumber, since: Position) -> bool {
        let safe = self.settled_pages(partition);
        self.is_loaded(partition) || safe > 0 && since >= reaches(safe - 1)
    }

    /// Returns whether all pages of a partition are read and settled.
    pub(super) fn is_loaded(&self, number: PartitionNumber) -> bool {
        let Some(partition) = self.partitions.get(&number) else { return false };
        partition.pages.is_some_and(|pages| self.settled_pages(number) == pages)
    }
}
