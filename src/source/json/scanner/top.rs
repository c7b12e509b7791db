//! Scans the top level of a text: objects and lists one after another, lines with a timestamp, and everything else.

use memchr::{memchr, memchr_iter, memmem};

use super::{Interrupt, RecordHandler, RecordScanner, ScanResult};
use crate::source::{
    envelope::{
        payload::{begins_json, columnar_format},
        table::EventTable,
    },
    input_format::InputFormat,
    json::{
        classify::{ForeignKind, ObjectContext},
        window::WindowRead,
    },
};

/// How far records are searched behind a beginning that is not JSON: that skips a banner, not a whole document.
const LOOKAHEAD_BYTES: usize = 64 << 10;

/// Bytes that show whether a string holds JSON: some white space may precede it.
const STRING_LOOKAHEAD_BYTES: usize = 64;

/// Beginnings of lines that show that records follow.
const RECORD_LINES: [&[u8]; 2] = [b"\n{\"eventVersion\":", b"\n{\"Records\":["];

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Scans all values to the end of the text.
    pub(super) fn scan_texts(&mut self) -> ScanResult {
        while let Some(byte) = self.next_text()? {
            let before = self.decoded.records;
            let outcome = match byte {
                b'{' => self.scan_object(),
                b'[' => self.scan_list(),
                b'0'..=b'9' => self.skip_timestamp(),
                b'"' if self.is_json_string()? => self.scan_json_string(),
                _ => self.skip_non_json(),
            };
            self.text_count += 1;
            if self.decoded.format == InputFormat::Object
                && self.decoded.records > before
                && before > 0
            {
                self.decoded.format = InputFormat::Objects;
            }
            match outcome {
                // Invalid JSON inside a list ends the scan, unless the end of its line is known.
                Err(Interrupt::Invalid) if self.list_depth == 0 || self.line_end.is_some() => {
                    (self.list_depth, self.document_depth) = (0, 0);
                    self.skip_to_next_line()?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Moves to the next value, and returns its first byte. Skips commas, padding with zero bytes and byte order marks.
    fn next_text(&mut self) -> ScanResult<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte @ (b',' | 0)) => {
                    self.zero_count += u64::from(byte == 0);
                    self.at += 1;
                }
                Some(0xef) if self.starts_with(b"\xef\xbb\xbf")? => self.at += 3,
                None if self.line_end.is_some() => self.line_end = None,
                other => return Ok(other),
            }
        }
    }

    /// Returns whether the text continues with `prefix`.
    fn starts_with(&mut self, prefix: &[u8]) -> ScanResult<bool> {
        while self.text().len() < self.at + prefix.len() {
            if self.read_more()? != WindowRead::Read {
                return Ok(false);
            }
        }
        Ok(self.text()[self.at..].starts_with(prefix))
    }

    fn scan_object(&mut self) -> ScanResult {
        if self.line_bounded {
            self.bound_to_line()?;
        }
        self.scan_item(ObjectContext::Top)
    }

    fn scan_list(&mut self) -> ScanResult {
        if self.line_bounded
            || matches!(self.decoded.format, InputFormat::Object | InputFormat::Objects)
        {
            self.bound_to_line()?;
        }
        self.scan_array(ObjectContext::Array)
    }

    /// Returns whether the string at [`Self::at`] starts like JSON.
    fn is_json_string(&mut self) -> ScanResult<bool> {
        while self.text().len() < self.at + STRING_LOOKAHEAD_BYTES
            && self.read_more()? == WindowRead::Read
        {}
        Ok(begins_json(self.text(), self.at))
    }

    /// Scans a string with JSON in it: the output of `jq` without `-r`.
    fn scan_json_string(&mut self) -> ScanResult {
        if self.line_bounded {
            self.bound_to_line()?;
        }
        self.scan_string(0, ObjectContext::Top)
    }

    /// Scans the text as a table if its first line is the header of one.
    ///
    /// # Errors
    ///
    /// Returns [`Interrupt::Foreign`] behind the table, since nothing can follow it.
    fn scan_if_table(&mut self) -> ScanResult {
        if self.text_depth > 0 {
            return Ok(());
        }
        let rest = &self.text()[self.at..];
        let line = memchr(b'\n', rest).unwrap_or(rest.len().min(LOOKAHEAD_BYTES));
        match EventTable::new(&rest[..line]) {
            None => return Ok(()),
            Some(Ok(table)) => {
                self.text_count += 1;
                self.at += line;
                self.scan_table(&table)?;
            }
            Some(Err(unsupported)) => {
                self.may_be_cloudtrail = true;
                self.add_defect(self.offset(self.at), unsupported.to_string());
            }
        }
        Err(Interrupt::Foreign)
    }

    /// Limits the next value to its line, so that an unclosed one does not include the lines behind it. A pretty-printed
    /// value is not limited.
    fn bound_to_line(&mut self) -> ScanResult {
        let mut searched = 0;
        loop {
            let rest = &self.text()[self.at..];
            if matches!(rest.get(1), Some(b'\n' | b'\r')) {
                return Ok(());
            }
            if let Some(length) = memchr(b'\n', &rest[searched..]) {
                self.line_end = Some(self.at + searched + length);
                return Ok(());
            }
            searched = rest.len();
            if self.read_more()? != WindowRead::Read {
                return Ok(());
            }
        }
    }

    /// Skips the timestamp of a line of a CloudWatch Logs export (`2024-01-01T00:00:00.000Z {…}`), and scans the object.
    fn skip_timestamp(&mut self) -> ScanResult {
        const MAX_LENGTH: usize = 40;
        while self.text().len() < self.at + MAX_LENGTH && self.read_more()? == WindowRead::Read {}
        let rest = &self.text()[self.at..];
        let end = rest.iter().position(|byte| {
            !matches!(byte, b'0'..=b'9' | b'-' | b'T' | b':' | b'.' | b'Z' | b'+')
        });
        let end = end.unwrap_or(rest.len());
        if end < 20 || rest[4] != b'-' || rest[10] != b'T' || rest.get(end) != Some(&b' ') {
            return self.skip_non_json();
        }
        self.at += end + 1;
        if self.text().get(self.at) == Some(&b'{') {
            self.set_format(InputFormat::Logs);
            return self.scan_object();
        }
        self.count_foreign(ForeignKind::Text);
        self.skip_to_next_line()
    }

    /// Skips text that is not JSON. An input that starts with such text is foreign, unless records follow soon or it is a
    /// table.
    fn skip_non_json(&mut self) -> ScanResult {
        if self.text_count > 0 || !self.decoded.defects.is_empty() {
            return self.skip_scalar();
        }
        while self.text().len() < self.at + LOOKAHEAD_BYTES && self.read_more()? == WindowRead::Read
        {
        }
        if let Some(unsupported) = columnar_format(&self.text()[self.at..]) {
            self.may_be_cloudtrail = true;
            self.add_defect(self.offset(self.at), unsupported.to_string());
            return Err(Interrupt::Foreign);
        }
        self.scan_if_table()?;
        let text = &self.text()[self.at..];
        let text = &text[..text.len().min(LOOKAHEAD_BYTES)];
        if RECORD_LINES.iter().any(|line| memmem::find(text, line).is_some()) {
            return Err(self.invalid(self.at, "text that is not JSON"));
        }
        let kind = match text {
            _ if text.iter().take(1024).any(|&byte| byte < 9) => ForeignKind::Binary,
            [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] => ForeignKind::Markup,
            _ if std::str::from_utf8(&text[..text.len().min(4)]).is_err() => ForeignKind::Binary,
            _ => ForeignKind::Text,
        };
        self.count_foreign(kind);
        Err(Interrupt::Foreign)
    }

    /// Skips a bare word, number or string and counts it as foreign; anything else is invalid.
    fn skip_scalar(&mut self) -> ScanResult {
        const LONGEST_WORD: usize = 5;
        while self.text().len() <= self.at + LONGEST_WORD && self.read_more()? == WindowRead::Read {
        }
        let rest = &self.text()[self.at..];
        let is_scalar = rest[0] == b'"'
            || rest[0] == b'-'
            || rest[0].is_ascii_digit()
            || [&b"null"[..], b"true", b"false"].iter().any(|word| rest.starts_with(word));
        if !is_scalar {
            return Err(self.invalid(self.at, "text that is not JSON"));
        }
        self.count_foreign(ForeignKind::Json);
        self.skip_value()
    }

    /// Moves to the next line that may start a value.
    fn skip_to_next_line(&mut self) -> ScanResult {
        self.line_bounded = true;
        if let Some(end) = self.line_end.take() {
            self.at = end;
        }
        loop {
            let text = self.text();
            let mut last = text.len();
            for newline in memchr_iter(b'\n', &text[self.at..]).map(|found| self.at + found) {
                match text.get(newline + 1) {
                    Some(b'{' | b'[' | b'"' | b'0'..=b'9') => {
                        self.at = newline + 1;
                        return Ok(());
                    }
                    Some(_) => {}
                    None => last = newline,
                }
            }
            self.at = last;
            if self.read_more()? != WindowRead::Read {
                self.at = self.text().len();
                return Ok(());
            }
        }
    }
}
