//! The contract between reading an input and the use of its records.
//!
//! A [`Decoder`](crate::source::Decoder) finds the records of an input; a [`RecordHandler`] receives them in order.

use std::borrow::Cow;

use crate::event::CompressedText;

/// A member of an envelope: its name, and its value as JSON.
pub type EnvelopeMember<'t> = (&'t str, &'t [u8]);

/// Receives the records of one input, in order.
pub trait RecordHandler {
    /// Handles the record that starts at `text[start]`, always with its `{`, and finds its end.
    ///
    /// The text continues behind the record, or ends inside it. A record that is [`RecordOutcome::Incomplete`] or
    /// [`RecordOutcome::Invalid`] must leave no trace: an incomplete one is passed again with more text.
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome;

    /// Receives the fields that the envelope of the next record adds to it: the JSON values of `Username` and `Resources`
    /// of an event of LookupEvents. Called with `None` behind that record.
    fn envelope_fields(&mut self, _username: Option<&[u8]>, _resources: Option<&[u8]>) {}

    /// Returns whether [`eventbridge_envelope`](Self::eventbridge_envelope) is to be called.
    fn reads_eventbridge_envelopes(&self) -> bool {
        false
    }

    /// Receives the members beside `detail` of the event of EventBridge that holds the next record. Called with `None`
    /// behind that record.
    fn eventbridge_envelope(&mut self, _members: Option<&[EnvelopeMember<'_>]>) {}

    /// Receives a record of more than [`DecoderLimits::max_record_bytes`](crate::limit::DecoderLimits). It is counted in
    /// [`Decoded::oversized`](crate::source::Decoded).
    fn oversized(&mut self, record: OversizedRecord);

    /// Called before the window grows to this size for a long record; may wait until there is memory for it.
    fn reserve_window(&mut self, _bytes: usize) {}

    /// Called when the window is back at its usual size.
    fn release_window(&mut self) {}

    /// Called before decompressors and archive members take more memory than each decoder has; may wait until there is
    /// memory for it.
    fn reserve_extra_memory(&mut self) {}

    /// Called when that memory is free again.
    fn release_extra_memory(&mut self) {}

    /// Called before a member of an archive is read, with its path in the archive, and with an empty path behind it.
    fn archive_member(&mut self, _path: &str) {}

    /// Returns whether reading is to stop.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Called before more of a stream is read, which may take long.
    fn before_read(&mut self) {}

    /// Called now and then with the number of further bytes, as stored, that were read.
    fn stored_bytes_read(&mut self, _bytes: u64) {}
}

/// A record that is longer than [`DecoderLimits::max_record_bytes`](crate::limit::DecoderLimits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OversizedRecord {
    /// Its text, or the text of the string that holds it; `None` if that is too large even when compressed.
    pub content: Option<CompressedText>,
    /// Offset of its first byte in the decompressed text.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// The result of handling a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It was handled, and ends before this offset.
    EndsAt(usize),
    /// The text ends inside the record.
    Incomplete,
    /// It is not valid JSON.
    Invalid {
        /// Offset in the text.
        offset: usize,
        /// The reason, as shown to the user.
        cause: Cow<'static, str>,
    },
}
