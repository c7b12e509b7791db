//! Texts within strings: events, and all that events are wrapped in.
//!
//! A text in a string may be anything that a file may be, so it is gone through in the same way, up to [`NESTED`] texts
//! deep. What is broken in it costs only itself.

use std::rc::Rc;

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{Interrupt, RecordHandler, ScanResult, RecordScanner, item::TOO_DEEP, view};
use crate::source::{
    ForeignKind,
    decode::{MAX_DEFECTS_KEPT, Decoded, NESTED, InputFormat},
    json::classify::ObjectContext,
    json::skip::skip_string,
    json::unescape::unescape,
    unpack::{ReadCounter, Unpacked, counted, open},
    json::window::{WindowRead, TextWindow},
};

/// PayloadForm a text is put into a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum StringEncoding {
    /// With the escapes of JSON.
    Json,
    /// In base64, perhaps packed before that.
    Base64,
}

/// What a packed text is read through, at first; it grows to [`PACKED_RECORD`].
const PACKED_WINDOW: usize = 64 << 10;

/// The longest record in a packed text. A record of Kinesis or Firehose holds at most 10 MiB.
const PACKED_RECORD: usize = 16 << 20;

/// As services write it; some leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Deals with the string that starts `inside` bytes behind [`Self::at`], and goes to its end.
    pub(in crate::source) fn scan_string(&mut self, inside: usize, context: ObjectContext) -> ScanResult {
        let object = self.offset(self.at);
        let shape = if context == ObjectContext::Top { InputFormat::Texts } else { InputFormat::Lookup };
        let Some((offset, kind)) = self.scan_nested(inside, StringEncoding::Json, shape)? else { return Ok(()) };
        match kind {
            None => {}
            Some(kind) if context == ObjectContext::Lookup => {
                let is_empty = self.scratch.first().is_none_or(|text| text.trim_ascii().is_empty());
                let why = if is_empty {
                    "CloudTrailEvent is empty".to_owned()
                } else {
                    format!("CloudTrailEvent holds {kind}")
                };
                let place = |offset: u64| {
                    usize::try_from(offset - self.window.before()).unwrap_or_default()
                };
                self.note_missing_record(place(object), place(offset), why);
            }
            Some(kind) => self.count_foreign(kind),
        }
        Ok(())
    }

    /// The same for a string in which there may be an event.
    pub(in crate::source) fn scan_text(&mut self, inside: usize, wrap: StringEncoding, shape: InputFormat) -> ScanResult {
        if let Some((_, Some(kind))) = self.scan_nested(inside, wrap, shape)? {
            self.count_foreign(kind);
        }
        Ok(())
    }

    /// Goes through the text in a string, and returns where the string is, and what is in it if there is no event. Nothing
    /// if it is too long to be held.
    fn scan_nested(
        &mut self,
        inside: usize,
        wrap: StringEncoding,
        shape: InputFormat,
    ) -> ScanResult<Option<(u64, Option<ForeignKind>)>> {
        loop {
            let text = view(&self.window, self.line_end);
            let start = self.at + inside;
            if let Some(end) = skip_string(text, start) {
                let offset = self.offset(start);
                let Some((scratch, _)) = self.scratch.split_first_mut() else {
                    self.at = end;
                    self.add_defect(offset, TOO_DEEP);
                    return Ok(Some((offset, None)));
                };
                scratch.clear();
                unescape(&view(&self.window, self.line_end)[start + 1..end - 1], scratch);
                let kind = match wrap {
                    StringEncoding::Json => self.scan_scratch(offset, shape),
                    StringEncoding::Base64 => self.scan_base64(offset, shape),
                };
                self.at = end;
                return Ok(Some((offset, kind?)));
            }
            match self.read_more()? {
                WindowRead::Read => {}
                WindowRead::End => return Err(self.truncated_here("an object")),
                WindowRead::Full => {
                    self.skip_too_long(inside)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Deals with the text in the first scratch buffer, from a string at `offset`, and returns what it is if there is no
    /// event in it.
    pub(in crate::source) fn scan_scratch(&mut self, offset: u64, shape: InputFormat) -> ScanResult<Option<ForeignKind>> {
        let Some((text, deeper)) = self.scratch.split_first_mut() else { return Ok(None) };
        let length = text.len();
        let nested = RecordScanner {
            depth: self.depth + 1,
            ..RecordScanner::new(TextWindow::whole(text, length), deeper, &self.meter, &mut *self.records)
        };
        let nested = nested.walk_if(self.depth < NESTED);
        self.merge_nested(nested, offset, shape)
    }

    /// The same for base64.
    fn scan_base64(&mut self, offset: u64, shape: InputFormat) -> ScanResult<Option<ForeignKind>> {
        let [text, window, deeper @ ..] = &mut *self.scratch else { return Ok(None) };
        let Ok(stored) = BASE64.decode(&*text) else {
            self.may_be_cloudtrail = true;
            self.add_defect(offset, "text that is no base64");
            return Ok(None);
        };
        let meter = Rc::new(ReadCounter::unreported());
        let reader = match open(counted(&stored[..], &meter), &meter) {
            Ok(Unpacked::Text(reader, _)) => reader,
            Ok(_) => return Ok(Some(ForeignKind::Binary)),
            Err(error) => {
                self.may_be_cloudtrail = true;
                self.add_defect(offset, error.to_string());
                return Ok(None);
            }
        };
        let window = TextWindow::sliding(window, reader, PACKED_WINDOW, PACKED_RECORD);
        let nested =
            RecordScanner { depth: self.depth + 1, ..RecordScanner::new(window, deeper, &meter, &mut *self.records) };
        let nested = nested.walk_if(self.depth < NESTED);
        self.merge_nested(nested, offset, shape)
    }

    /// Goes through a nested text, unless it is too deep.
    fn walk_if(self, is_shallow: bool) -> Option<Decoded> {
        is_shallow.then(|| self.scan().0)
    }

    /// Adds what a nested text held.
    fn merge_nested(
        &mut self,
        nested: Option<Decoded>,
        offset: u64,
        shape: InputFormat,
    ) -> ScanResult<Option<ForeignKind>> {
        let Some(nested) = nested else {
            self.may_be_cloudtrail = true;
            self.add_defect(offset, TOO_DEEP);
            return Ok(None);
        };
        self.out.records += nested.records;
        self.out.oversized += nested.oversized;
        let places = nested.defect_count;
        self.may_be_cloudtrail |= nested.records + nested.oversized + places > 0;
        for broken in nested.defects {
            self.add_defect(offset, broken.cause);
        }
        self.out.defect_count += places.saturating_sub(MAX_DEFECTS_KEPT as u64);
        if nested.stopped {
            return Err(Interrupt::Stopped);
        }
        if nested.records + nested.oversized + places == 0 {
            return Ok(match nested.foreign.keys().next() {
                Some(kind) => Some(*kind),
                None if nested.format == InputFormat::Empty => Some(ForeignKind::Text),
                None => None,
            });
        }
        self.set_format(shape);
        for (kind, count) in nested.foreign {
            *self.out.foreign.entry(kind).or_default() += count;
        }
        Ok(None)
    }
}
