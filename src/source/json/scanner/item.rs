//! Scans lists and the objects in them: records, envelopes, and values that are skipped.

use std::fmt;

use memchr::memmem;

use super::{
    Interrupt, RecordHandler, RecordScanner, ScanResult, StringEncoding, TOO_DEEP, visible,
};
use crate::{
    event::BoundedCompressor,
    source::{
        envelope::{
            self,
            payload::{Payload, PayloadForm},
            row::{self, RowContent},
        },
        input_format::InputFormat,
        json::{
            classify::{
                Classification, EnvelopeFields, EventBridgeMembers, ForeignKind, ObjectContext,
                classify, container_context, envelope_fields, eventbridge_members, list_context,
            },
            record_handler::{OversizedRecord, RecordOutcome},
            skip::{SkipError, SkipProgress, ValueSkipper, skip_string, skip_value},
            window::WindowRead,
        },
    },
};

/// The largest compressed size at which an oversized record is kept: usually about 40 MiB of text. It is held in memory
/// until the checkpoint has it.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// Bytes of a skipped value at the top level that are kept, so that the lines inside an unclosed value can be scanned.
const MAX_REWIND_BYTES: usize = 1 << 20;

/// Documents within documents that are scanned: a search hit, in it a message, in it a body.
const MAX_DOCUMENT_DEPTH: u32 = 4;

/// Lists within lists that are scanned. No format has more.
const MAX_LIST_DEPTH: u32 = 4;

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Scans the list at [`Self::at`].
    pub(super) fn scan_array(&mut self, context: ObjectContext) -> ScanResult {
        let may_have_lists = matches!(context, ObjectContext::Array | ObjectContext::Rows);
        self.list_depth += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'{') => self.scan_item(context)?,
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(b'[') if may_have_lists && self.list_depth < MAX_LIST_DEPTH => {
                    if self.is_row()? {
                        self.scan_row()?;
                    } else {
                        self.scan_array(context)?;
                    }
                }
                Some(b'"') if context == ObjectContext::Array => self.scan_string(0, context)?,
                Some(b'}' | b':') => return Err(self.invalid(self.at, "the list is not closed")),
                Some(_) => {
                    self.count_foreign(ForeignKind::Json);
                    self.skip_value()?;
                }
                None => return Err(self.truncated("a list")),
            }
        }
        self.at += 1;
        self.list_depth -= 1;
        self.set_format(if context == ObjectContext::Array {
            InputFormat::Array
        } else {
            InputFormat::Records
        });
        Ok(())
    }

    /// Scans all lists in the object at [`Self::at`], and skips its other members.
    pub(super) fn scan_list_members(&mut self, context: ObjectContext) -> ScanResult {
        self.list_depth += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'"') => self.scan_member(context)?,
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(self.invalid(self.at, "expected a key")),
                None => return Err(self.truncated("an object")),
            }
        }
        self.at += 1;
        self.list_depth -= 1;
        Ok(())
    }

    fn scan_member(&mut self, context: ObjectContext) -> ScanResult {
        let end = loop {
            if let Some(end) = skip_string(self.text(), self.at) {
                break end;
            }
            if self.read_more()? != WindowRead::Read {
                return Err(self.truncated("a key"));
            }
        };
        let key = &self.text()[self.at + 1..end - 1];
        let (list, container) = (list_context(key, context), container_context(key, context));
        self.at = end;
        if self.peek()? != Some(b':') {
            return Err(self.invalid(self.at, "expected a colon"));
        }
        self.at += 1;
        match (list.or(container), self.peek()?) {
            (Some(inside), Some(b'[')) if container.is_none() => {
                if inside == ObjectContext::Records {
                    self.set_format(InputFormat::Records);
                }
                self.scan_array(inside)
            }
            (Some(inside), Some(b'{')) if list.is_none() && self.list_depth < MAX_LIST_DEPTH => {
                self.set_format(InputFormat::Documents);
                self.scan_list_members(inside)
            }
            _ => self.skip_value(),
        }
    }

    /// Scans the object at [`Self::at`].
    pub(super) fn scan_item(&mut self, context: ObjectContext) -> ScanResult {
        loop {
            let classification = classify(visible(&self.window, self.line_end), self.at, context);
            self.may_be_cloudtrail |= !matches!(
                classification,
                Classification::Foreign(_)
                    | Classification::ControlMessage
                    | Classification::Incomplete
                    | Classification::IncompleteRecord
                    | Classification::Invalid { .. }
            );
            match classification {
                Classification::Record => {
                    self.set_format(format_in(context));
                    return self.emit_record(0);
                }
                Classification::RecordAt(record) => {
                    self.set_format(InputFormat::EventBridge);
                    return self.scan_delivered_event(record - self.at);
                }
                Classification::TextAt(string) => {
                    self.scan_text(string - self.at, StringEncoding::Json, InputFormat::Logs)?;
                    return self.skip_rest_of_object();
                }
                Classification::DocumentAt(object) => {
                    self.set_format(InputFormat::Documents);
                    self.scan_document(object)?;
                    return self.skip_rest_of_object();
                }
                Classification::Payload(payload, end) => return self.scan_payload(payload, end),
                Classification::Unsupported(unsupported) => {
                    self.add_defect(self.offset(self.at), unsupported.to_string());
                    return self.skip_value();
                }
                Classification::BulkAction => {
                    self.set_format(InputFormat::Documents);
                    return self.skip_value();
                }
                Classification::LookupEvent(string) => {
                    return self.scan_lookup_event(string - self.at);
                }
                Classification::MissingRecord(reason) => {
                    self.add_missing_record(self.at, self.at, reason);
                    return self.skip_value();
                }
                Classification::List if self.list_depth < MAX_LIST_DEPTH => {
                    return self.scan_list_members(context);
                }
                Classification::List => {
                    self.count_foreign(ForeignKind::Json);
                    return self.skip_value();
                }
                Classification::Foreign(kind) => {
                    self.count_foreign(kind);
                    return self.skip_value();
                }
                Classification::ControlMessage => {
                    self.set_format(InputFormat::Logs);
                    return self.skip_value();
                }
                Classification::Invalid { offset, cause } => {
                    return Err(self.invalid(offset, cause));
                }
                Classification::IncompleteRecord => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => return Err(self.truncated_here("a record")),
                    WindowRead::Full => return self.skip_oversized(0),
                },
                Classification::Incomplete => match self.read_more()? {
                    WindowRead::Read => {}
                    // A text in a string is rarely CloudTrail, so it is not a defect unless it looks like an event.
                    WindowRead::End if self.text_depth > 0 && !self.may_be_cloudtrail => {
                        return Err(self.invalid(self.at, "the object is not closed"));
                    }
                    WindowRead::End => return Err(self.truncated_here("an object")),
                    WindowRead::Full => {
                        self.count_foreign(ForeignKind::Json);
                        return self.skip_value();
                    }
                },
            }
        }
    }

    /// Scans the object at `object`, which is nested in another one. The end of that one is not searched.
    fn scan_document(&mut self, object: usize) -> ScanResult {
        self.at = object;
        if self.document_depth >= MAX_DOCUMENT_DEPTH {
            self.count_foreign(ForeignKind::Json);
            return self.skip_value();
        }
        self.document_depth += 1;
        let scanned = self.scan_item(ObjectContext::Document);
        self.document_depth -= 1;
        scanned
    }

    /// Scans the event in an envelope that is in the window as a whole and ends before `end`.
    fn scan_payload(&mut self, payload: Payload, end: usize) -> ScanResult {
        let Payload { offset, form, format } = payload;
        let after = self.offset(end);
        match form {
            PayloadForm::Text => self.scan_text(offset - self.at, StringEncoding::Json, format)?,
            PayloadForm::Base64 => {
                self.scan_text(offset - self.at, StringEncoding::Base64, format)?;
            }
            PayloadForm::Container => {
                self.set_format(format);
                self.scan_document(offset)?;
            }
            PayloadForm::Record => {
                self.set_format(format);
                self.emit_record(offset - self.at)?;
            }
            PayloadForm::Columns => {
                self.set_format(format);
                self.restore_record(offset)?;
            }
        }
        self.move_to(after);
        Ok(())
    }

    /// Moves to an offset of the text. The window may have moved since the offset was in it.
    fn move_to(&mut self, offset: u64) {
        self.at = usize::try_from(offset - self.window.before()).unwrap_or(self.at);
    }

    /// Passes on the record at `place` with CloudTrail's names and values in place of those of columns.
    fn restore_record(&mut self, place: usize) -> ScanResult {
        let offset = self.offset(place);
        let Some(scratch) = self.scratch.first_mut() else {
            self.add_defect(offset, TOO_DEEP);
            return Ok(());
        };
        let text = visible(&self.window, self.line_end);
        if envelope::restore_record(text, place, scratch).is_none() {
            self.add_defect(offset, "an object that is not valid JSON");
            return Ok(());
        }
        self.emit_restored(offset)
    }

    /// Passes on the record in the first scratch buffer, which was made from what is at `offset`.
    pub(super) fn emit_restored(&mut self, offset: u64) -> ScanResult {
        let Some(scratch) = self.scratch.first() else { return Ok(()) };
        match self.records.record(scratch, 0) {
            RecordOutcome::EndsAt(_) => return self.count_record(),
            RecordOutcome::Incomplete => self.add_defect(offset, "a row that is not a record"),
            RecordOutcome::Invalid { cause, .. } => self.add_defect(offset, cause),
        }
        Ok(())
    }

    /// Returns whether the list at [`Self::at`] is a row.
    fn is_row(&mut self) -> ScanResult<bool> {
        loop {
            if let Some(is_row) = row::begins_row(self.text(), self.at) {
                return Ok(is_row);
            }
            if self.read_more()? != WindowRead::Read {
                return Ok(false);
            }
        }
    }

    /// Scans the row at [`Self::at`].
    fn scan_row(&mut self) -> ScanResult {
        let end = loop {
            match skip_value(self.text(), self.at) {
                Ok(end) => break end,
                Err(SkipError::Invalid { offset, cause }) => {
                    return Err(self.invalid(offset, cause));
                }
                Err(SkipError::Incomplete) => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => return Err(self.truncated_here("a row")),
                    WindowRead::Full => return self.skip_value(),
                },
            }
        };
        let (after, offset) = (self.offset(end), self.offset(self.at));
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        match row::read_row(&visible(&self.window, self.line_end)[..end], self.at, scratch) {
            RowContent::Text(string) => {
                self.scan_text(string - self.at, StringEncoding::Json, InputFormat::Logs)?;
            }
            RowContent::Record => {
                self.may_be_cloudtrail = true;
                self.set_format(InputFormat::Columns);
                self.emit_restored(offset)?;
            }
            RowContent::Unsupported(unsupported) => {
                self.may_be_cloudtrail = true;
                self.add_defect(offset, unsupported.to_string());
            }
            RowContent::Foreign => self.count_foreign(ForeignKind::Json),
        }
        self.move_to(after);
        Ok(())
    }

    /// Scans the event of LookupEvents at [`Self::at`], whose record is in the string `inside` bytes behind that.
    fn scan_lookup_event(&mut self, inside: usize) -> ScanResult {
        // The whole event is in the window for that.
        while !envelope_fields(self.text(), self.at).is_complete
            && self.read_more()? == WindowRead::Read
        {}
        let text = visible(&self.window, self.line_end);
        let EnvelopeFields { username, resources, .. } = envelope_fields(text, self.at);
        let has_fields = username.is_some() || resources.is_some();
        if has_fields {
            self.records.envelope_fields(username, resources);
        }
        let scanned = self.scan_string(inside, ObjectContext::Lookup);
        if has_fields {
            self.records.envelope_fields(None, None);
        }
        scanned?;
        self.skip_rest_of_object()
    }

    /// Scans the event of EventBridge at [`Self::at`], whose record is the object `inside` bytes behind that.
    fn scan_delivered_event(&mut self, inside: usize) -> ScanResult {
        if !self.records.reads_eventbridge_envelopes() {
            self.emit_record(inside)?;
            return self.skip_rest_of_object();
        }
        // The whole event is in the window for that: the fields of the envelope may be behind the record.
        while !eventbridge_members(self.text(), self.at).is_complete
            && self.read_more()? == WindowRead::Read
        {}
        let text = visible(&self.window, self.line_end);
        let EventBridgeMembers { members, .. } = eventbridge_members(text, self.at);
        self.records.eventbridge_envelope(Some(&members));
        let emitted = self.emit_record(inside);
        self.records.eventbridge_envelope(None);
        emitted?;
        self.skip_rest_of_object()
    }

    /// Adds the defect that the event of LookupEvents at `event` has no record where it should be, at `at`.
    pub(super) fn add_missing_record(&mut self, event: usize, at: usize, why: impl fmt::Display) {
        self.set_format(InputFormat::Lookup);
        let id = envelope_fields(visible(&self.window, self.line_end), event).event_id;
        let id = id.map_or_else(String::new, |id| format!(" {}", String::from_utf8_lossy(id)));
        self.add_defect(self.offset(at), format!("event{id} without a record: {why}"));
    }

    /// Passes on the record `inside` bytes behind [`Self::at`], and moves to its end.
    fn emit_record(&mut self, inside: usize) -> ScanResult {
        loop {
            let start = self.at + inside;
            match self.records.record(visible(&self.window, self.line_end), start) {
                RecordOutcome::EndsAt(end) => {
                    self.at = end;
                    return self.count_record();
                }
                RecordOutcome::Invalid { offset, cause } => {
                    return Err(self.invalid(offset, cause));
                }
                RecordOutcome::Incomplete => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => return Err(self.truncated_here("a record")),
                    WindowRead::Full => return self.skip_oversized(inside),
                },
            }
        }
    }

    fn count_record(&mut self) -> ScanResult {
        self.decoded.records += 1;
        if self.records.is_stopped() { Err(Interrupt::Stopped) } else { Ok(()) }
    }

    /// Skips a record that fills the window, and passes it on as oversized.
    pub(super) fn skip_oversized(&mut self, inside: usize) -> ScanResult {
        let text = self.text();
        if self.list_depth == 0 && memmem::find(&text[self.at..], b"\n{").is_some() {
            return Err(self.invalid(self.at, "an object that does not end on its line"));
        }
        self.at += inside;
        let offset = self.offset(self.at);
        let mut compressor = BoundedCompressor::new(MAX_KEPT_BYTES);
        let mut bytes = 0;
        self.skip_and_show(ValueSkipper::default(), &mut |part| {
            bytes += part.len() as u64;
            compressor.add(part);
        })?;
        self.decoded.oversized += 1;
        self.records.oversized(OversizedRecord { content: compressor.finish(), offset, bytes });
        Ok(())
    }

    /// Skips the value at [`Self::at`], however long it is.
    pub(super) fn skip_value(&mut self) -> ScanResult {
        self.skip_and_show(ValueSkipper::default(), &mut |_| {})
    }

    /// Skips the rest of an object whose opening brace is behind [`Self::at`].
    fn skip_rest_of_object(&mut self) -> ScanResult {
        self.skip_and_show(ValueSkipper::for_open_object(), &mut |_| {})
    }

    /// Skips a value and passes its text to `show`, part by part.
    fn skip_and_show(
        &mut self,
        mut skipper: ValueSkipper,
        show: &mut dyn FnMut(&[u8]),
    ) -> ScanResult {
        let mut kept = 0;
        loop {
            let text = visible(&self.window, self.line_end);
            match skipper.feed(text, self.at + kept) {
                SkipProgress::End(end) => {
                    show(&text[self.at..end]);
                    self.at = end;
                    return Ok(());
                }
                SkipProgress::Invalid(offset, cause) => return Err(self.invalid(offset, cause)),
                SkipProgress::More => kept = text.len() - self.at,
            }
            let keep = self.list_depth == 0 && kept < MAX_REWIND_BYTES;
            let mut read = if keep { self.read_more()? } else { WindowRead::Full };
            if read == WindowRead::Full {
                show(&self.text()[self.at..self.at + kept]);
                self.at += kept;
                kept = 0;
                read = self.read_more()?;
            }
            if read == WindowRead::End {
                if skipper.may_end() {
                    show(&self.text()[self.at..self.at + kept]);
                    self.at += kept;
                    return Ok(());
                }
                return Err(self.truncated("a value"));
            }
        }
    }
}

/// Returns the format of an input whose first record is found in this context.
fn format_in(context: ObjectContext) -> InputFormat {
    match context {
        ObjectContext::Top | ObjectContext::Embedded => InputFormat::Object,
        ObjectContext::Array => InputFormat::Array,
        ObjectContext::Records => InputFormat::Records,
        ObjectContext::Lookup => InputFormat::Lookup,
        ObjectContext::Logs => InputFormat::Logs,
        ObjectContext::Document | ObjectContext::Hits => InputFormat::Documents,
        ObjectContext::Rows => InputFormat::Columns,
    }
}
