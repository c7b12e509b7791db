//! Lists and what is in them: records, envelopes, and what is passed by.

use std::fmt;

use memchr::memmem;

use super::{Interrupt, RecordHandler, ScanResult, RecordScanner, string::StringEncoding, view};
use crate::event::BoundedCompressor;
use crate::source::{
    ForeignKind, SkipError,
    decode::{InputFormat, RecordOutcome, OversizedRecord},
    json::classify::{EnvelopeFields, ObjectContext, Classification, envelope_fields, list_context, container_context, classify},
    envelope::{
        self,
        payload::{PayloadForm, Payload},
        row::{self, RowContent},
    },
    json::skip::{SkipProgress, ValueSkipper, skip_string, skip_value},
    json::window::WindowRead,
};

/// Most bytes, compressed, of a too long record that are kept: usually some 40 MiB of text. They are held in memory
/// until the checkpoint has them.
const RECORD_KEPT_BYTES: usize = 4 << 20;

/// Bytes of a skipped value at the top that are kept, so that if it swallowed lines we can go back to them.
const SKIP_KEPT: usize = 1 << 20;

/// Objects within objects that are gone into, looking for an event: an entry of a search, in it a message, in it a body.
const WITHIN: u32 = 4;

/// What is said of an event that stands in more texts than are gone into.
pub(in crate::source) const TOO_DEEP: &str = "an event within too many texts";

/// Lists within lists, or files within a list of files, that are entered. WindowRead has no meaning.
const LEVELS: u32 = 4;

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Goes through the list at [`Self::at`].
    pub(in crate::source) fn scan_array(&mut self, context: ObjectContext) -> ScanResult {
        self.list_depth += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'{') => self.scan_item(context)?,
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(b'[')
                    if matches!(context, ObjectContext::Array | ObjectContext::Rows) && self.list_depth < LEVELS =>
                {
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
                    self.skip_value(ValueSkipper::default())?;
                }
                None => return Err(self.truncated("a list")),
            }
        }
        self.at += 1;
        self.list_depth -= 1;
        self.set_format(if context == ObjectContext::Array { InputFormat::Array } else { InputFormat::Records });
        Ok(())
    }

    /// Goes through an object that holds lists: every one of them, and past everything else.
    pub(in crate::source) fn scan_list_members(&mut self, context: ObjectContext) -> ScanResult {
        self.list_depth += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'"') => self.scan_member(context)?,
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(self.invalid(self.at, "a key was expected")),
                None => return Err(self.truncated("an object")),
            }
        }
        self.at += 1;
        self.list_depth -= 1;
        Ok(())
    }

    pub(in crate::source) fn scan_member(&mut self, context: ObjectContext) -> ScanResult {
        let end = loop {
            if let Some(end) = skip_string(self.text(), self.at) {
                break end;
            }
            if self.read_more()? != WindowRead::Read {
                return Err(self.truncated("a key"));
            }
        };
        let key = &self.text()[self.at + 1..end - 1];
        let (inside, lists) = (list_context(key, context), container_context(key, context));
        self.at = end;
        if self.peek()? != Some(b':') {
            return Err(self.invalid(self.at, "a colon was expected"));
        }
        self.at += 1;
        match (inside.or(lists), self.peek()?) {
            (Some(inside), Some(b'[')) if lists.is_none() => {
                if inside == ObjectContext::Records {
                    self.set_format(InputFormat::Records);
                }
                self.scan_array(inside)
            }
            (Some(lists), Some(b'{')) if inside.is_none() && self.list_depth < LEVELS => {
                self.set_format(InputFormat::Documents);
                self.scan_list_members(lists)
            }
            _ => self.skip_value(ValueSkipper::default()).map(|_| ()),
        }
    }

    /// Deals with the object at [`Self::at`].
    pub(in crate::source) fn scan_item(&mut self, context: ObjectContext) -> ScanResult {
        loop {
            let look = classify(view(&self.window, self.line_end), self.at, context);
            self.may_be_cloudtrail |= !matches!(
                look,
                Classification::Foreign(_) | Classification::ControlMessage | Classification::Incomplete { .. } | Classification::Invalid { .. }
            );
            match look {
                Classification::Record => {
                    self.set_format(shape_of(context));
                    return self.emit_record(0);
                }
                Classification::RecordAt(record) => {
                    self.set_format(InputFormat::EventBridge);
                    self.emit_record(record - self.at)?;
                    return self.skip_value(ValueSkipper::for_open_object()).map(|_| ());
                }
                Classification::TextAt(string) => {
                    self.scan_text(string - self.at, StringEncoding::Json, InputFormat::Logs)?;
                    return self.skip_value(ValueSkipper::for_open_object()).map(|_| ());
                }
                Classification::DocumentAt(object) => {
                    self.set_format(InputFormat::Documents);
                    self.scan_document(object)?;
                    return self.skip_value(ValueSkipper::for_open_object()).map(|_| ());
                }
                Classification::Payload(payload, end) => return self.scan_payload(payload, end),
                Classification::Unsupported(unread) => {
                    self.add_defect(self.offset(self.at), unread.to_string());
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::BulkAction => {
                    self.set_format(InputFormat::Documents);
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::LookupEvent(string) => return self.scan_lookup_event(string - self.at),
                Classification::MissingRecord(why) => {
                    self.note_missing_record(self.at, self.at, why);
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::List if self.list_depth < LEVELS => return self.scan_list_members(context),
                Classification::List => {
                    self.count_foreign(ForeignKind::Json);
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::Foreign(kind) => {
                    self.count_foreign(kind);
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::ControlMessage => {
                    self.set_format(InputFormat::Logs);
                    return self.skip_value(ValueSkipper::default()).map(|_| ());
                }
                Classification::Invalid { offset, cause } => return Err(self.invalid(offset, cause)),
                Classification::Incomplete { record } => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End if record => return Err(self.truncated_here("a record")),
                    // Of a text within another one nothing is to be hoped for, until it looks like an event.
                    WindowRead::End if self.depth > 0 && !self.may_be_cloudtrail => {
                        return Err(self.invalid(self.at, "an object that does not end"));
                    }
                    WindowRead::End => return Err(self.truncated_here("an object")),
                    WindowRead::Full if record => return self.skip_too_long(0),
                    WindowRead::Full => {
                        self.count_foreign(ForeignKind::Json);
                        return self.skip_value(ValueSkipper::default()).map(|_| ());
                    }
                },
            }
        }
    }

    /// Deals with the object at `object`, which stands in another one. The end of that one is not looked for.
    fn scan_document(&mut self, object: usize) -> ScanResult {
        if self.document_depth >= WITHIN {
            self.count_foreign(ForeignKind::Json);
            self.at = object;
            return self.skip_value(ValueSkipper::default()).map(|_| ());
        }
        self.at = object;
        self.document_depth += 1;
        let done = self.scan_item(ObjectContext::Document);
        self.document_depth -= 1;
        done
    }

    /// Deals with the event in an envelope that is in the window as a whole and ends before `end`.
    fn scan_payload(&mut self, payload: Payload, end: usize) -> ScanResult {
        let Payload { place, how, shape } = payload;
        let after = self.offset(end);
        match how {
            PayloadForm::Text => self.scan_text(place - self.at, StringEncoding::Json, shape)?,
            PayloadForm::Base64 => self.scan_text(place - self.at, StringEncoding::Base64, shape)?,
            PayloadForm::Container => {
                self.set_format(shape);
                self.scan_document(place)?;
            }
            PayloadForm::Record => {
                self.set_format(shape);
                self.emit_record(place - self.at)?;
            }
            PayloadForm::Columns => {
                self.set_format(shape);
                self.restore_record(place)?;
            }
        }
        // What was in the envelope may have moved the window.
        self.at = usize::try_from(after - self.window.before()).unwrap_or(self.at);
        Ok(())
    }

    /// Hands over the record at `place`, with CloudTrail's names and values in the place of those of columns.
    fn restore_record(&mut self, place: usize) -> ScanResult {
        let offset = self.offset(place);
        let Some(scratch) = self.scratch.first_mut() else {
            self.add_defect(offset, TOO_DEEP);
            return Ok(());
        };
        if !envelope::restore(view(&self.window, self.line_end), place, scratch) {
            self.add_defect(offset, "an object that is no JSON");
            return Ok(());
        }
        self.emit_restored(offset)
    }

    /// Hands over the record in the first scratch buffer, which was made of what is at `offset`.
    pub(in crate::source) fn emit_restored(&mut self, offset: u64) -> ScanResult {
        let Some(scratch) = self.scratch.first() else { return Ok(()) };
        match self.records.record(scratch, 0) {
            RecordOutcome::EndsAt(_) => return self.count_record(),
            RecordOutcome::Incomplete => self.add_defect(offset, "a row from which no record can be made"),
            RecordOutcome::Invalid { cause, .. } => self.add_defect(offset, cause),
        }
        Ok(())
    }

    /// Returns whether the list at [`Self::at`] is a row.
    fn is_row(&mut self) -> ScanResult<bool> {
        loop {
            if let Some(is_row) = row::begins(self.text(), self.at) {
                return Ok(is_row);
            }
            if self.read_more()? != WindowRead::Read {
                return Ok(false);
            }
        }
    }

    /// Deals with the row at [`Self::at`].
    fn scan_row(&mut self) -> ScanResult {
        let end = loop {
            match skip_value(self.text(), self.at) {
                Ok(end) => break end,
                Err(SkipError::Invalid { offset, cause }) => return Err(self.invalid(offset, cause)),
                Err(SkipError::Incomplete) => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => return Err(self.truncated_here("a row")),
                    WindowRead::Full => return self.skip_value(ValueSkipper::default()).map(|_| ()),
                },
            }
        };
        let (after, offset) = (self.offset(end), self.offset(self.at));
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        let found = row::read(&view(&self.window, self.line_end)[..end], self.at, scratch);
        match found {
            RowContent::Text(place) => self.scan_text(place - self.at, StringEncoding::Json, InputFormat::Logs)?,
            RowContent::Record => {
                self.may_be_cloudtrail = true;
                self.set_format(InputFormat::Columns);
                self.emit_restored(offset)?;
            }
            RowContent::UnsupportedInput(unread) => {
                self.may_be_cloudtrail = true;
                self.add_defect(offset, unread.to_string());
            }
            RowContent::Foreign => self.count_foreign(ForeignKind::Json),
        }
        self.at = usize::try_from(after - self.window.before()).unwrap_or(self.at);
        Ok(())
    }

    /// Deals with the event of LookupEvents at [`Self::at`], whose record is the text of the string `inside` bytes behind
    /// that.
    fn scan_lookup_event(&mut self, inside: usize) -> ScanResult {
        let said = self.beside()?;
        let done = self.scan_string(inside, ObjectContext::Lookup);
        if said {
            self.records.envelope_fields(None, None);
        }
        done?;
        self.skip_value(ValueSkipper::for_open_object()).map(|_| ())
    }

    /// Notes that the event of LookupEvents at `event` does not bring its record, which was to be `at` that place.
    pub(in crate::source) fn note_missing_record(&mut self, event: usize, at: usize, why: impl fmt::Display) {
        self.set_format(InputFormat::Lookup);
        let id = envelope_fields(view(&self.window, self.line_end), event).event_id;
        let id = id.map_or_else(String::new, |id| format!(" {}", String::from_utf8_lossy(id)));
        self.add_defect(self.offset(at), format!("event{id} without a record: {why}"));
    }

    /// Hands over what the envelope at [`Self::at`] says beside its record, and returns whether that is anything.
    /// It is held as a whole for that.
    fn beside(&mut self) -> ScanResult<bool> {
        while !envelope_fields(self.text(), self.at).is_complete && self.read_more()? == WindowRead::Read {}
        let EnvelopeFields { username, resources, .. } = envelope_fields(view(&self.window, self.line_end), self.at);
        if username.is_none() && resources.is_none() {
            return Ok(false);
        }
        self.records.envelope_fields(username, resources);
        Ok(true)
    }

    /// Hands over the record that starts `inside` bytes behind [`Self::at`], and goes to its end.
    pub(in crate::source) fn emit_record(&mut self, inside: usize) -> ScanResult {
        loop {
            let start = self.at + inside;
            match self.records.record(view(&self.window, self.line_end), start) {
                RecordOutcome::EndsAt(end) => {
                    self.at = end;
                    return self.count_record();
                }
                RecordOutcome::Invalid { offset, cause } => return Err(self.invalid(offset, cause)),
                RecordOutcome::Incomplete => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => return Err(self.truncated_here("a record")),
                    WindowRead::Full => return self.skip_too_long(inside),
                },
            }
        }
    }

    pub(in crate::source) fn count_record(&mut self) -> ScanResult {
        self.out.records += 1;
        if self.records.go_on() { Ok(()) } else { Err(Interrupt::Stopped) }
    }

    /// Goes past a record that fills the window, and says so.
    pub(in crate::source) fn skip_too_long(&mut self, inside: usize) -> ScanResult {
        let text = self.text();
        if self.list_depth == 0 && memmem::find(&text[self.at..], b"\n{").is_some() {
            return Err(self.invalid(self.at, "an object that does not end on its line"));
        }
        self.at += inside;
        let offset = self.offset(self.at);
        let mut packer = BoundedCompressor::new(RECORD_KEPT_BYTES);
        let bytes = self.skip_and_show(ValueSkipper::default(), &mut |part| packer.add(part))?;
        self.out.oversized += 1;
        self.records.oversized(OversizedRecord { content: packer.finish(), offset, bytes });
        Ok(())
    }

    /// Goes past a value without keeping much of it, and returns its length.
    pub(in crate::source) fn skip_value(&mut self, skim: ValueSkipper) -> ScanResult<u64> {
        self.skip_and_show(skim, &mut |_| {})
    }

    /// Goes past a value, shows its text part by part, and returns its length.
    fn skip_and_show(&mut self, mut skim: ValueSkipper, show: &mut dyn FnMut(&[u8])) -> ScanResult<u64> {
        let (mut bytes, mut kept) = (0, 0);
        loop {
            let text = view(&self.window, self.line_end);
            match skim.feed(text, self.at + kept) {
                SkipProgress::End(end) => {
                    show(&text[self.at..end]);
                    bytes += (end - self.at) as u64;
                    self.at = end;
                    return Ok(bytes);
                }
                SkipProgress::Invalid(offset, cause) => return Err(self.invalid(offset, cause)),
                SkipProgress::WindowRead => kept = text.len() - self.at,
            }
            let keep = self.list_depth == 0 && kept < SKIP_KEPT;
            let more = if keep { self.read_more()? } else { WindowRead::Full };
            if more == WindowRead::Full {
                show(&self.text()[self.at..self.at + kept]);
                bytes += kept as u64;
                self.at += kept;
                kept = 0;
            }
            let more = if more == WindowRead::Full { self.read_more()? } else { more };
            if more == WindowRead::End {
                if skim.may_end() {
                    show(&self.text()[self.at..self.at + kept]);
                    self.at += kept;
                    return Ok(bytes + kept as u64);
                }
                return Err(self.truncated("a value"));
            }
        }
    }
}

fn shape_of(context: ObjectContext) -> InputFormat {
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
