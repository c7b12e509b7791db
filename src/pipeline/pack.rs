//! Packs documents into batches: the body of one request, and where each document of it came from.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::{
    event::{Batch, Entry, LaneNumber, Need, SetAside, Share},
    report::tally::Amount,
};

/// Room beyond the wanted size: the document that fills a batch usually fits without moving the body.
const SLACK: usize = 64 << 10;

/// Bodies that were sent, to be used again: fresh memory costs more than what is written into it.
#[derive(Debug, Default)]
pub(super) struct Bodies(Mutex<Vec<Bytes>>);

/// Bodies that are kept: more than a run with a few workers ever has. One that is given back to the system's allocator,
/// and asked for again, ends up among small pieces there, and leaves a hole that nothing fills.
const BODIES_KEPT: usize = 16;

impl Bodies {
    /// Takes back a body that nobody needs any more, unless a huge document made it much larger than `limit`.
    pub(super) fn give(&self, body: Bytes, limit: usize) {
        if body.len() > limit.saturating_mul(2) {
            return;
        }
        let mut bodies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies.len() < BODIES_KEPT {
            bodies.push(body);
        }
    }

    /// Returns an empty body with room for `bytes`.
    fn take(&self, bytes: usize) -> Vec<u8> {
        let mut bodies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The connection that sent it may let go of it a little later; it would have to be copied now.
        let Some(free) = bodies.iter().rposition(Bytes::is_unique) else {
            drop(bodies);
            return Vec::with_capacity(bytes);
        };
        let mut body = Vec::from(bodies.swap_remove(free));
        drop(bodies);
        body.clear();
        // Grown for a huge record that did not stay in it.
        if body.capacity() > bytes.saturating_mul(2) {
            body.shrink_to(bytes);
        }
        body
    }
}

/// What a batch adds to the counters of one SOURCE word once it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) word: usize,
    /// What its documents, and records set aside, were made of.
    pub(super) amount: Amount,
}

/// Returns what `documents` of a batch add to the counters. Which of its records they were made of nobody knows, so
/// they are taken from the front, each with its share of the bytes.
pub(super) fn part_of(weights: &[Weight], documents: u64) -> Vec<Weight> {
    let mut left = documents;
    let parts = weights.iter().map(|weight| {
        let all = weight.amount;
        let records = left.min(all.records);
        left -= records;
        let share = |of: u64| of.saturating_mul(records).checked_div(all.records).unwrap_or(0);
        let amount = Amount {
            records,
            bytes: share(all.bytes),
            rewritten: share(all.rewritten),
            undated: share(all.undated),
        };
        Weight { word: weight.word, amount }
    });
    parts.collect()
}

/// A batch in the making. Documents are written straight into its body.
#[derive(Debug)]
pub(super) struct Pack {
    limit: usize,
    /// Action and document lines.
    pub(super) body: Vec<u8>,
    entries: Vec<Entry>,
    /// The bucket of each need, in the same order.
    buckets: Vec<u32>,
    needs: Vec<Need>,
    shares: Vec<Share>,
    set_aside: Vec<SetAside>,
    /// Bytes that the set-aside records hold.
    set_aside_bytes: usize,
    weights: Vec<Weight>,
}

impl Pack {
    /// Starts an empty batch of about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            body: Vec::with_capacity(limit + SLACK),
            entries: Vec::new(),
            buckets: Vec::new(),
            needs: Vec::new(),
            shares: Vec::new(),
            set_aside: Vec::new(),
            set_aside_bytes: 0,
            weights: Vec::new(),
        }
    }

    /// Returns whether there is enough for a request, or so much set aside that it should not wait for one.
    pub(super) fn is_full(&self) -> bool {
        self.body.len() + self.set_aside_bytes >= self.limit
    }

    /// Returns whether there is nothing to send or to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.set_aside.is_empty()
    }

    /// Takes note of the document that was just written, from `start` to the end of the body. Its place is a lane
    /// and a page of it.
    pub(super) fn add(
        &mut self,
        place: (LaneNumber, u32),
        start: usize,
        action_bytes: u32,
        (bucket, fields): (u32, u32),
        name: impl FnOnce() -> String,
    ) {
        let known = self.buckets.iter().position(|known| *known == bucket);
        let index = known.unwrap_or_else(|| {
            self.buckets.push(bucket);
            self.needs.push(Need { index: name(), fields });
            self.needs.len() - 1
        });
        let need = &mut self.needs[index];
        need.fields = need.fields.max(fields);
        let share = self.share(place);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a body is far below 4 GiB, indices are few"
        )]
        self.entries.push(Entry {
            action: start as u32,
            document: start as u32 + action_bytes,
            end: self.body.len() as u32,
            index: index as u16,
            share,
        });
    }

    /// Takes note of a record that cannot become a document.
    pub(super) fn set_aside(&mut self, place: (LaneNumber, u32), what: SetAside) {
        self.share(place);
        let SetAside { id, index, reason, kept, .. } = &what;
        self.set_aside_bytes += id.len() + index.len() + reason.len() + kept.held_bytes();
        self.set_aside.push(what);
    }

    /// Takes note of what was put in for a SOURCE word.
    pub(super) fn weigh(&mut self, word: usize, amount: Amount) {
        match self.weights.last_mut() {
            _ if amount == Amount::default() => {}
            Some(weight) if weight.word == word => weight.amount += amount,
            _ => self.weights.push(Weight { word, amount }),
        }
    }

    /// Counts one more document of a page and returns the number of its share.
    fn share(&mut self, (lane, page): (LaneNumber, u32)) -> u32 {
        match self.shares.last_mut() {
            Some(share) if (share.lane, share.page) == (lane, page) => share.documents += 1,
            _ => self.shares.push(Share { lane, page, documents: 1 }),
        }
        #[expect(clippy::cast_possible_truncation, reason = "no more shares than documents")]
        let last = self.shares.len() as u32 - 1;
        last
    }

    /// Takes the batch out, with what it weighs, and starts the next.
    pub(super) fn take(&mut self, bodies: &Bodies) -> (Batch, Vec<Weight>) {
        let body = std::mem::replace(&mut self.body, bodies.take(self.limit + SLACK));
        self.buckets.clear();
        self.set_aside_bytes = 0;
        // The next batch has about as many documents.
        let next = Vec::with_capacity(self.entries.len() + self.entries.len() / 8);
        let batch = Batch {
            body: Bytes::from(body),
            entries: std::mem::replace(&mut self.entries, next),
            needs: std::mem::take(&mut self.needs),
            shares: std::mem::take(&mut self.shares),
            set_aside: std::mem::take(&mut self.set_aside),
        };
        (batch, std::mem::take(&mut self.weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kept, SetAsideCause};

    #[test]
    fn a_part_of_a_batch_counts_its_documents_and_their_share_of_the_bytes() {
        let weight = |word, records, bytes| Weight {
            word,
            amount: Amount { records, bytes, rewritten: records, undated: records },
        };
        let whole = [weight(0, 4, 400), weight(1, 10, 1_000)];
        let part = part_of(&whole, 6);
        assert_eq!(part, [weight(0, 4, 400), weight(1, 2, 200)]);
        assert_eq!(part_of(&whole, 14), whole);
        assert_eq!(part_of(&whole, 0).iter().map(|one| one.amount.records).sum::<u64>(), 0);
    }

    #[test]
    fn what_is_set_aside_fills_a_batch_too() {
        let mut pack = Pack::new(1_000);
        let mut added = 0;
        while !pack.is_full() {
            let what = SetAside {
                lane: 1,
                id: String::new(),
                index: String::new(),
                cause: SetAsideCause::Limit,
                reason: "x".repeat(300),
                kept: Kept::Record { content: None, offset: 0, bytes: 1 << 30 },
            };
            pack.set_aside((1, 0), what);
            added += 1;
        }
        assert_eq!(added, 4);
        let (batch, _) = pack.take(&Bodies::default());
        assert_eq!((batch.set_aside.len(), batch.shares[0].documents), (4, 4));
        assert!(pack.is_empty() && !pack.is_full());
    }

    #[test]
    fn a_body_is_used_again_as_soon_as_nobody_else_has_it() {
        let (bodies, limit) = (Bodies::default(), 1_000);
        let mut body = bodies.take(limit);
        body.extend_from_slice(&[b'x'; 900]);
        let (sent, place) = (Bytes::from(body), |body: &[u8]| body.as_ptr());
        let (held, first) = (sent.clone(), place(&sent));
        bodies.give(sent, limit);
        let other = bodies.take(limit);
        assert_ne!(place(&other), first, "the connection still has it");
        drop(held);
        let again = bodies.take(limit);
        assert_eq!((place(&again), again.len()), (first, 0));
    }

    #[test]
    fn the_room_of_a_huge_record_is_given_up() {
        let (bodies, limit) = (Bodies::default(), 1_000);
        let mut body = Vec::with_capacity(100 * limit);
        body.extend_from_slice(b"little");
        bodies.give(Bytes::from(body), limit);
        assert!(bodies.take(limit).capacity() < 3 * limit);
    }
}
