//! Builds batches of documents: the body of one bulk request, and which page of which partition each document came from.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::{
    event::{Batch, DeadLetter, Entry, TargetIndex},
    pipeline::consumer::{Origin, Shares},
    report::metrics::RecordTotals,
};

/// Capacity beyond the wanted size, so that the document that completes a batch rarely makes its body grow.
const EXTRA_CAPACITY: usize = 64 << 10;

/// Buffers of bodies that were sent, for reuse: allocating fresh memory costs more than writing the documents.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Bytes>>);

/// Buffers that the pool keeps: more than a run with a few workers has in use. A buffer that is freed and allocated again
/// fragments the heap, because small allocations take its place.
const MAX_POOLED_BUFFERS: usize = 16;

impl BufferPool {
    /// Returns a body to the pool, unless a long document made it much larger than `limit` bytes.
    pub(super) fn release(&self, body: Bytes, limit: usize) {
        if body.len() > limit.saturating_mul(2) {
            return;
        }
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < MAX_POOLED_BUFFERS {
            buffers.push(body);
        }
    }

    /// Returns an empty buffer with a capacity of at least `bytes`.
    fn acquire(&self, bytes: usize) -> Vec<u8> {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The connection may release a body a little later than the request ends; until then it would have to be copied.
        let Some(free) = buffers.iter().rposition(Bytes::is_unique) else {
            drop(buffers);
            return Vec::with_capacity(bytes);
        };
        let mut body = Vec::from(buffers.swap_remove(free));
        drop(buffers);
        body.clear();
        // It grew for a long record that was then removed from it.
        if body.capacity() > bytes.saturating_mul(2) {
            body.shrink_to(bytes);
        }
        body
    }
}

/// The records of one SOURCE argument in a batch, which are added to its metrics when the batch is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceTotals {
    pub(super) source_number: usize,
    pub(super) totals: RecordTotals,
}

/// Returns the totals of the first `documents` documents of a batch. A partly settled batch does not tell which of its
/// documents are settled, so bytes and other counts are taken proportionally.
pub(super) fn proportional_totals(batch: &[SourceTotals], documents: u64) -> Vec<SourceTotals> {
    let mut left = documents;
    let parts = batch.iter().map(|&SourceTotals { source_number, totals: all }| {
        let records = left.min(all.records);
        left -= records;
        let part = |of: u64| of.saturating_mul(records).checked_div(all.records).unwrap_or(0);
        let totals = RecordTotals {
            records,
            bytes: part(all.bytes),
            rewritten: part(all.rewritten),
            undated: part(all.undated),
            newest_event: if records > 0 { all.newest_event } else { 0 },
        };
        SourceTotals { source_number, totals }
    });
    parts.collect()
}

/// A batch under construction. The normalizer writes documents directly into its body.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    limit: usize,
    /// Action and document lines.
    pub(super) body: Vec<u8>,
    entries: Vec<Entry>,
    /// The index period of each target, in the same order.
    periods: Vec<u32>,
    targets: Vec<TargetIndex>,
    /// As [`Batch::fields_version`].
    fields_version: u64,
    shares: Shares,
    dead_letters: Vec<DeadLetter>,
    /// Memory that the dead letters take.
    dead_letter_bytes: usize,
    totals: Vec<SourceTotals>,
}

/// The target of a document, as the normalizer returns it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DocumentTarget {
    /// The period of the index, usually a month, as the normalizer numbers it.
    pub(super) period: u32,
    /// Discovered fields that the index must know before it receives the document.
    pub(super) required_fields: u32,
}

impl BatchBuilder {
    /// Starts an empty batch of about `limit` bytes, with the version of the field registry as it is now.
    pub(super) fn new(limit: usize, fields_version: u64) -> Self {
        Self {
            limit,
            fields_version,
            body: Vec::with_capacity(limit + EXTRA_CAPACITY),
            entries: Vec::new(),
            periods: Vec::new(),
            targets: Vec::new(),
            shares: Shares::default(),
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            totals: Vec::new(),
        }
    }

    /// Returns whether the documents and dead letters have reached the size of a batch.
    pub(super) fn is_full(&self) -> bool {
        self.body.len() + self.dead_letter_bytes >= self.limit
    }

    /// Returns whether the batch has neither documents nor dead letters.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dead_letters.is_empty()
    }

    /// Adds the document that was written to the body, from `start` to its end. `index_name` is
    /// called for the first document of an index.
    pub(super) fn add(
        &mut self,
        origin: Origin,
        start: usize,
        action_bytes: u32,
        target: DocumentTarget,
        index_name: impl FnOnce() -> String,
    ) {
        let DocumentTarget { period, required_fields } = target;
        let known = self.periods.iter().position(|known| *known == period);
        let index = known.unwrap_or_else(|| {
            self.periods.push(period);
            self.targets.push(TargetIndex { index: index_name(), required_fields });
            self.targets.len() - 1
        });
        let known = &mut self.targets[index];
        known.required_fields = known.required_fields.max(required_fields);
        let share = self.shares.add(origin);
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

    /// Adds a record that cannot become a document.
    pub(super) fn add_dead_letter(&mut self, origin: Origin, dead_letter: DeadLetter) {
        self.shares.add(origin);
        let DeadLetter { id, index, reason, content, .. } = &dead_letter;
        self.dead_letter_bytes += id.len() + index.len() + reason.len() + content.held_bytes();
        self.dead_letters.push(dead_letter);
    }

    /// Adds totals of records that are in the batch.
    pub(super) fn add_totals(&mut self, source_number: usize, totals: RecordTotals) {
        match self.totals.last_mut() {
            _ if totals == RecordTotals::default() => {}
            Some(last) if last.source_number == source_number => last.totals += totals,
            _ => self.totals.push(SourceTotals { source_number, totals }),
        }
    }

    /// Takes the batch and its totals, and starts the next batch in a buffer of the pool, with the version of the field
    /// registry as it is now.
    pub(super) fn take(
        &mut self,
        buffers: &BufferPool,
        fields_version: u64,
    ) -> (Batch, Vec<SourceTotals>) {
        let next = buffers.acquire(self.limit + EXTRA_CAPACITY);
        let body = std::mem::replace(&mut self.body, next);
        self.periods.clear();
        self.dead_letter_bytes = 0;
        // The next batch has about as many documents.
        let next = Vec::with_capacity(self.entries.len() + self.entries.len() / 8);
        let batch = Batch {
            body: Bytes::from(body),
            entries: std::mem::replace(&mut self.entries, next),
            targets: std::mem::take(&mut self.targets),
            fields_version: std::mem::replace(&mut self.fields_version, fields_version),
            shares: std::mem::take(&mut self.shares).into_vec(),
            dead_letters: std::mem::take(&mut self.dead_letters),
        };
        (batch, std::mem::take(&mut self.totals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DeadLetterCause, DeadLetterContent};

    #[test]
    fn a_part_of_a_batch_has_its_documents_and_a_proportional_part_of_the_bytes() {
        let source = |source_number, records, bytes| SourceTotals {
            source_number,
            totals: RecordTotals {
                records,
                bytes,
                rewritten: records,
                undated: records,
                newest_event: 7,
            },
        };
        let batch = [source(0, 4, 400), source(1, 10, 1_000)];
        assert_eq!(proportional_totals(&batch, 6), [source(0, 4, 400), source(1, 2, 200)]);
        assert_eq!(proportional_totals(&batch, 14), batch);
        let none = proportional_totals(&batch, 0);
        assert_eq!(none.iter().map(|one| one.totals.records).sum::<u64>(), 0);
    }

    #[test]
    fn dead_letters_fill_a_batch_too() {
        let mut builder = BatchBuilder::new(1_000, 0);
        let origin = Origin { source_number: 0, partition: 1, page: 0 };
        let mut added = 0;
        while !builder.is_full() {
            let dead_letter = DeadLetter {
                partition: 1,
                id: String::new(),
                index: String::new(),
                cause: DeadLetterCause::Limit,
                reason: "x".repeat(300),
                content: DeadLetterContent::Record { content: None, offset: 0, bytes: 1 << 30 },
            };
            builder.add_dead_letter(origin, dead_letter);
            added += 1;
        }
        assert_eq!(added, 4);
        let (batch, _) = builder.take(&BufferPool::default(), 0);
        assert_eq!((batch.dead_letters.len(), batch.shares[0].documents), (4, 4));
        assert!(builder.is_empty() && !builder.is_full());
    }

    #[test]
    fn a_buffer_is_reused_once_it_has_no_other_owner() {
        let (buffers, limit) = (BufferPool::default(), 1_000);
        let mut body = buffers.acquire(limit);
        body.extend_from_slice(&[b'x'; 900]);
        let (sent, address) = (Bytes::from(body), |body: &[u8]| body.as_ptr());
        let (held, first) = (sent.clone(), address(&sent));
        buffers.release(sent, limit);
        let other = buffers.acquire(limit);
        assert_ne!(address(&other), first, "the connection still owns it");
        drop(held);
        let reused = buffers.acquire(limit);
        assert_eq!((address(&reused), reused.len()), (first, 0));
    }

    #[test]
    fn the_capacity_of_a_long_record_is_given_up() {
        let (buffers, limit) = (BufferPool::default(), 1_000);
        let mut body = Vec::with_capacity(100 * limit);
        body.extend_from_slice(b"little");
        buffers.release(Bytes::from(body), limit);
        assert!(buffers.acquire(limit).capacity() < 3 * limit);
    }
}
