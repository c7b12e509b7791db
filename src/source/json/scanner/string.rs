//! Scans texts in strings: events, and everything that events are wrapped in.
//!
//! A text in a string may be anything that an input may be, and is scanned in the same way, up to [`MAX_TEXT_DEPTH`]
//! texts deep. A defect in it affects only that text.

use std::rc::Rc;

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    Interrupt, MAX_TEXT_DEPTH, RecordHandler, RecordScanner, ScanResult, StringEncoding, TOO_DEEP,
    visible,
};
use crate::source::{
    decode_memory::DecodeMemory,
    decoded::{Decoded, MAX_DEFECTS_KEPT},
    input_format::InputFormat,
    json::{
        classify::{ForeignKind, ObjectContext},
        skip::skip_string,
        unescape::unescape,
        window::{TextWindow, WindowRead},
    },
    unpack::{ReadCounter, Unpacked, counted, unpack},
};

/// The initial window of a compressed text; it grows up to [`MAX_COMPRESSED_RECORD`].
const COMPRESSED_WINDOW: usize = 64 << 10;

/// The longest record in a compressed text. A record of Kinesis or Firehose has at most 10 MiB.
const MAX_COMPRESSED_RECORD: usize = 16 << 20;

/// Memory for decompressing a text in a string. Such texts are gzip, which needs far less, or zstd, whose smallest window
/// that is reserved is 8 MiB.
const DECOMPRESSION_BYTES: u64 = 10 << 20;

/// Standard base64; some services omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The result of scanning a string.
enum StringContent {
    /// Records, or defects, all of which were reported.
    Reported,
    /// Nothing that is CloudTrail; the string starts at this offset of the text.
    Foreign(u64, ForeignKind),
}

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Scans the string `inside` bytes behind [`Self::at`], which stands in place of a record, and moves to its end.
    pub(super) fn scan_string(&mut self, inside: usize, context: ObjectContext) -> ScanResult {
        let object = self.offset(self.at);
        let format =
            if context == ObjectContext::Top { InputFormat::Strings } else { InputFormat::Lookup };
        match self.scan_nested(inside, StringEncoding::Json, format)? {
            StringContent::Reported => {}
            StringContent::Foreign(offset, kind) if context == ObjectContext::Lookup => {
                let is_empty = self.scratch.first().is_none_or(|text| text.trim_ascii().is_empty());
                let why = if is_empty {
                    "CloudTrailEvent is empty".to_owned()
                } else {
                    format!("CloudTrailEvent contains {kind}")
                };
                let place = |offset: u64| {
                    usize::try_from(offset - self.window.before()).unwrap_or_default()
                };
                self.add_missing_record(place(object), place(offset), why);
            }
            StringContent::Foreign(_, kind) => self.count_foreign(kind),
        }
        Ok(())
    }

    /// Scans the string `inside` bytes behind [`Self::at`], which may hold an event, and moves to its end.
    pub(super) fn scan_text(
        &mut self,
        inside: usize,
        encoding: StringEncoding,
        format: InputFormat,
    ) -> ScanResult {
        if let StringContent::Foreign(_, kind) = self.scan_nested(inside, encoding, format)? {
            self.count_foreign(kind);
        }
        Ok(())
    }

    /// Scans the text in a string.
    fn scan_nested(
        &mut self,
        inside: usize,
        encoding: StringEncoding,
        format: InputFormat,
    ) -> ScanResult<StringContent> {
        loop {
            let text = visible(&self.window, self.line_end);
            let start = self.at + inside;
            if let Some(end) = skip_string(text, start) {
                let offset = self.offset(start);
                let Some(scratch) = self.scratch.first_mut() else {
                    self.at = end;
                    self.add_defect(offset, TOO_DEEP);
                    return Ok(StringContent::Reported);
                };
                scratch.clear();
                unescape(&visible(&self.window, self.line_end)[start + 1..end - 1], scratch);
                let foreign = match encoding {
                    StringEncoding::Json => self.scan_scratch(offset, format),
                    StringEncoding::Base64 => self.scan_base64(offset, format),
                };
                self.at = end;
                return Ok(match foreign? {
                    Some(kind) => StringContent::Foreign(offset, kind),
                    None => StringContent::Reported,
                });
            }
            match self.read_more()? {
                WindowRead::Read => {}
                WindowRead::End => return Err(self.truncated_here("an object")),
                WindowRead::Full => {
                    self.skip_oversized(inside)?;
                    return Ok(StringContent::Reported);
                }
            }
        }
    }

    /// Scans the text in the first scratch buffer, from a string at `offset`. Returns its kind if it is not CloudTrail.
    pub(super) fn scan_scratch(
        &mut self,
        offset: u64,
        format: InputFormat,
    ) -> ScanResult<Option<ForeignKind>> {
        if self.text_depth >= MAX_TEXT_DEPTH {
            return Ok(self.too_deep(offset));
        }
        let Some((text, deeper)) = self.scratch.split_first_mut() else { return Ok(None) };
        let length = text.len();
        let nested = RecordScanner {
            text_depth: self.text_depth + 1,
            ..RecordScanner::new(
                TextWindow::whole(text, length),
                deeper,
                &self.counter,
                &mut *self.records,
            )
        };
        let (nested, _) = nested.scan();
        self.merge_nested(nested, offset, format)
    }

    /// Scans the base64 text in the first scratch buffer, as [`Self::scan_scratch`] does.
    fn scan_base64(&mut self, offset: u64, format: InputFormat) -> ScanResult<Option<ForeignKind>> {
        let [text, window, deeper @ ..] = &mut *self.scratch else { return Ok(None) };
        let Ok(stored) = BASE64.decode(&*text) else {
            self.may_be_cloudtrail = true;
            self.add_defect(offset, "text that is not valid base64");
            return Ok(None);
        };
        let counter = Rc::new(ReadCounter::unreported());
        let memory = DecodeMemory::for_string(DECOMPRESSION_BYTES);
        let stored = counted(&stored[..], &counter);
        let reader = match unpack(stored, &counter, &mut memory.with(&mut *self.records)) {
            Ok(Unpacked::Text(reader, _)) => reader,
            Ok(_) => return Ok(Some(ForeignKind::Binary)),
            Err(error) => {
                self.may_be_cloudtrail = true;
                self.add_defect(offset, error.to_string());
                return Ok(None);
            }
        };
        if self.text_depth >= MAX_TEXT_DEPTH {
            drop(reader);
            return Ok(self.too_deep(offset));
        }
        let window = TextWindow::sliding(window, reader, COMPRESSED_WINDOW, MAX_COMPRESSED_RECORD);
        let nested = RecordScanner {
            text_depth: self.text_depth + 1,
            ..RecordScanner::new(window, deeper, &counter, &mut *self.records)
        };
        let (nested, _) = nested.scan();
        self.merge_nested(nested, offset, format)
    }

    fn too_deep(&mut self, offset: u64) -> Option<ForeignKind> {
        self.may_be_cloudtrail = true;
        self.add_defect(offset, TOO_DEEP);
        None
    }

    /// Adds the report on a text in a string. Returns its kind if it is not CloudTrail.
    fn merge_nested(
        &mut self,
        nested: Decoded,
        offset: u64,
        format: InputFormat,
    ) -> ScanResult<Option<ForeignKind>> {
        self.decoded.records += nested.records;
        self.decoded.oversized += nested.oversized;
        let defects = nested.defect_count;
        self.may_be_cloudtrail |= nested.records + nested.oversized + defects > 0;
        for defect in nested.defects {
            self.add_defect(offset, defect.cause);
        }
        self.decoded.defect_count += defects.saturating_sub(MAX_DEFECTS_KEPT as u64);
        if nested.stopped {
            return Err(Interrupt::Stopped);
        }
        if nested.records + nested.oversized + defects == 0 {
            return Ok(match nested.foreign.keys().next() {
                Some(kind) => Some(*kind),
                None if nested.format == InputFormat::Empty => Some(ForeignKind::Text),
                None => None,
            });
        }
        self.set_format(format);
        for (kind, count) in nested.foreign {
            *self.decoded.foreign.entry(kind).or_default() += count;
        }
        Ok(None)
    }
}
