//! Accounts for the memory that decompressors and the members of archives take while one input is read.
//!
//! Input: reservations, before the memory is used. Output: a [`Reservation`], or an error that names `--memory`.
//! Invariant: the sum of all reservations of an input never exceeds [`DecoderLimits::max_extra_bytes`](crate::limit::DecoderLimits) by more than what a
//! decoder holds anyway. Beyond that share, the [`RecordHandler`] is asked to wait for memory, so that only one worker at
//! a time uses it.

use std::{
    cell::Cell,
    fmt,
    io::{self, ErrorKind},
    rc::Rc,
};

use super::json::record_handler::RecordHandler;
use crate::{limit::DecoderLimits, report::format};

/// Reserves memory for reading an input.
pub(super) trait ReserveMemory {
    /// Reserves memory; may wait until there is enough. `purpose` is the beginning of the error message.
    ///
    /// # Errors
    ///
    /// Returns an error of [`ErrorKind::OutOfMemory`] if the limit does not allow it.
    fn reserve(&mut self, bytes: u64, purpose: &dyn fmt::Display) -> io::Result<Reservation>;

    /// Returns whether reading is to stop.
    fn is_stopped(&self) -> bool;
}

/// Reserved memory; released when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Rc<DecodeMemory>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.used.set(self.memory.used.get() - self.bytes);
    }
}

/// The memory for decompressors and archive members of one input.
#[derive(Debug, Default)]
pub(super) struct DecodeMemory {
    /// Size of the decoder's buffer for a stored file, as far as it is free.
    stored_buffer: u64,
    /// Memory that the decoder has anyway: both of its buffers. It is used without asking.
    included: u64,
    /// Limit of all reservations.
    max: u64,
    used: Cell<u64>,
    /// The handler was asked for memory.
    is_extra: Cell<bool>,
}

impl DecodeMemory {
    /// Returns the memory for an input of which `held` bytes are in memory as stored.
    pub(super) fn new(limits: &DecoderLimits, held: usize) -> Rc<Self> {
        // The buffer for a whole file holds the input, or is free. The buffer for text is a window.
        let stored_buffer = limits.max_stored_bytes.saturating_sub(held) as u64;
        let included = stored_buffer + limits.unused_text_buffer_bytes();
        let max = included + limits.max_extra_bytes as u64;
        Rc::new(Self { stored_buffer, included, max, ..Self::default() })
    }

    /// Returns the memory for decompressing a text in a string, which is small enough not to be asked for.
    pub(super) fn for_string(bytes: u64) -> Rc<Self> {
        Rc::new(Self { included: bytes, max: bytes, ..Self::default() })
    }

    /// Returns the reserving side, which asks `records` to wait for memory.
    pub(super) fn with<'r, R: RecordHandler + ?Sized>(
        self: &Rc<Self>,
        records: &'r mut R,
    ) -> HandlerMemory<'r, R> {
        HandlerMemory { memory: Rc::clone(self), records }
    }

    /// Returns whether the buffer for text has to be freed, because its memory is reserved for something else.
    pub(super) fn needs_text_buffer(&self) -> bool {
        self.used.get() > self.stored_buffer
    }

    /// Tells `records` that no more memory is used than each decoder has.
    pub(super) fn release<R: RecordHandler + ?Sized>(&self, records: &mut R) {
        if self.is_extra.take() {
            records.release_extra_memory();
        }
    }
}

/// Reserves memory, and asks a [`RecordHandler`] to wait for it.
pub(super) struct HandlerMemory<'r, R: RecordHandler + ?Sized> {
    memory: Rc<DecodeMemory>,
    records: &'r mut R,
}

impl<R: RecordHandler + ?Sized> ReserveMemory for HandlerMemory<'_, R> {
    fn reserve(&mut self, bytes: u64, purpose: &dyn fmt::Display) -> io::Result<Reservation> {
        let memory = &self.memory;
        let used = memory.used.get().saturating_add(bytes);
        if used > memory.max {
            let free = format::bytes(memory.max - memory.used.get());
            let bytes = format::bytes(bytes);
            let text = format!(
                "{purpose} takes {bytes}, more than the {free} that --memory has room for; raise --memory, or unpack the file before loading it"
            );
            return Err(io::Error::new(ErrorKind::OutOfMemory, text));
        }
        if used > memory.included && !memory.is_extra.replace(true) {
            self.records.reserve_extra_memory();
        }
        memory.used.set(used);
        Ok(Reservation { memory: Rc::clone(memory), bytes })
    }

    fn is_stopped(&self) -> bool {
        self.records.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::json::record_handler::{OversizedRecord, RecordOutcome};

    /// Counts how often memory was asked for and released.
    #[derive(Default)]
    struct Asked(Vec<&'static str>);

    impl RecordHandler for Asked {
        fn record(&mut self, _: &[u8], _: usize) -> RecordOutcome {
            RecordOutcome::Incomplete
        }

        fn oversized(&mut self, _: OversizedRecord) {}

        fn reserve_extra_memory(&mut self) {
            self.0.push("reserve");
        }

        fn release_extra_memory(&mut self) {
            self.0.push("release");
        }
    }

    #[test]
    fn what_a_decoder_has_is_free_and_more_is_asked_for_once() {
        let limits = DecoderLimits {
            max_stored_bytes: 100,
            max_unpacked_bytes: 0,
            max_extra_bytes: 50,
            ..DecoderLimits::DEFAULT
        };
        let (memory, mut asked) = (DecodeMemory::new(&limits, 20), Asked::default());
        let mut reserve = |bytes| memory.with(&mut asked).reserve(bytes, &"reading it");
        let first = reserve(80).unwrap();
        let second = reserve(50).unwrap();
        let error = reserve(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.to_string().starts_with("reading it takes 1 B"), "{error}");
        assert!(error.to_string().contains("more than the 0 B that --memory"), "{error}");
        drop(first);
        let third = reserve(80).unwrap();
        drop((second, third));
        assert_eq!(memory.used.get(), 0);
        memory.release(&mut asked);
        memory.release(&mut asked);
        assert_eq!(asked.0, ["reserve", "release"]);
    }
}
