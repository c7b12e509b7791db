//! The top of a text: objects and lists one after another, lines with a time stamp, and what is neither.

use memchr::{memchr, memchr_iter, memmem};

use super::{Interrupt, RecordHandler, ScanResult, RecordScanner};
use crate::source::{
    ForeignKind,
    decode::InputFormat,
    json::classify::ObjectContext,
    envelope::{
        payload::{begins_json, columns},
        table::EventTable,
    },
    json::skip::ValueSkipper,
    json::window::WindowRead,
};

/// PayloadForm far records are looked for behind a beginning that is no JSON: a banner, not a whole document.
const LOOK_AHEAD: usize = 64 << 10;

/// Bytes after which it is clear whether a string holds JSON: there may be some space before it.
const JSON_TEXT: usize = 64;

/// Lines that show that there are some.
const LINES: [&[u8]; 2] = [b"\n{\"eventVersion\":", b"\n{\"Records\":["];

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    pub(in crate::source) fn scan_texts(&mut self) -> ScanResult {
        while let Some(byte) = self.next_text()? {
            let before = self.out.records;
            let outcome = match byte {
                b'{' => self.scan_object(),
                b'[' => self.scan_list(),
                b'0'..=b'9' => self.skip_timestamp(),
                b'"' if self.is_json_string()? => self.scan_json_string(),
                _ => self.skip_non_json(),
            };
            self.texts += 1;
            if self.out.format == InputFormat::Object && self.out.records > before && before > 0 {
                self.out.format = InputFormat::Objects;
            }
            match outcome {
                // What is broken inside a list ends all, unless it is known where its line ends.
                Err(Interrupt::Invalid) if self.list_depth == 0 || self.line_end.is_some() => {
                    (self.list_depth, self.document_depth) = (0, 0);
                    self.skip_to_next_line()?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Goes to the next text. Commas between lines, padding with zeros and byte order marks mean nothing.
    pub(in crate::source) fn next_text(&mut self) -> ScanResult<Option<u8>> {
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

    /// Returns whether the text goes on with `beginning`.
    pub(in crate::source) fn starts_with(&mut self, beginning: &[u8]) -> ScanResult<bool> {
        while self.text().len() < self.at + beginning.len() {
            if self.read_more()? != WindowRead::Read {
                return Ok(false);
            }
        }
        Ok(self.text()[self.at..].starts_with(beginning))
    }

    pub(in crate::source) fn scan_object(&mut self) -> ScanResult {
        if self.line_bounded {
            self.bound_to_line()?;
        }
        self.scan_item(ObjectContext::Top)
    }

    pub(in crate::source) fn scan_list(&mut self) -> ScanResult {
        if self.line_bounded || matches!(self.out.format, InputFormat::Object | InputFormat::Objects) {
            self.bound_to_line()?;
        }
        self.scan_array(ObjectContext::Array)
    }

    /// Returns whether the string at [`Self::at`] begins like JSON.
    fn is_json_string(&mut self) -> ScanResult<bool> {
        while self.text().len() < self.at + JSON_TEXT && self.read_more()? == WindowRead::Read {}
        Ok(begins_json(self.text(), self.at))
    }

    /// Deals with a string that holds JSON: what `jq` prints without `-r`.
    fn scan_json_string(&mut self) -> ScanResult {
        if self.line_bounded {
            self.bound_to_line()?;
        }
        self.scan_string(0, ObjectContext::Top)
    }

    /// Deals with the first line of a text if it is the header of a table, and returns whether it is.
    fn scan_if_table(&mut self) -> ScanResult<bool> {
        if self.depth > 0 {
            return Ok(false);
        }
        let rest = &self.text()[self.at..];
        let line = memchr(b'\n', rest).unwrap_or(rest.len().min(LOOK_AHEAD));
        match EventTable::new(&rest[..line]) {
            None => return Ok(false),
            Some(Ok(table)) => {
                self.texts += 1;
                self.at += line;
                self.scan_table(&table)?;
            }
            Some(Err(unread)) => {
                self.may_be_cloudtrail = true;
                self.add_defect(self.offset(self.at), unread.to_string());
            }
        }
        Ok(true)
    }

    /// Keeps an object or list from swallowing the lines behind its own, unless it is printed over several.
    pub(in crate::source) fn bound_to_line(&mut self) -> ScanResult {
        let mut looked = 0;
        loop {
            let rest = &self.text()[self.at..];
            if matches!(rest.get(1), Some(b'\n' | b'\r')) {
                return Ok(());
            }
            if let Some(length) = memchr(b'\n', &rest[looked..]) {
                self.line_end = Some(self.at + looked + length);
                return Ok(());
            }
            looked = rest.len();
            if self.read_more()? != WindowRead::Read {
                return Ok(());
            }
        }
    }

    /// Takes the time stamp off a line of a CloudWatch Logs export: `2024-01-01T00:00:00.000Z {…}`.
    pub(in crate::source) fn skip_timestamp(&mut self) -> ScanResult {
        const STAMP: usize = 40;
        while self.text().len() < self.at + STAMP && self.read_more()? == WindowRead::Read {}
        let rest = &self.text()[self.at..];
        let stamp = rest.iter().position(|byte| {
            !matches!(byte, b'0'..=b'9' | b'-' | b'T' | b':' | b'.' | b'Z' | b'+')
        });
        let stamp = stamp.unwrap_or(rest.len());
        if stamp < 20 || rest[4] != b'-' || rest[10] != b'T' || rest.get(stamp) != Some(&b' ') {
            return self.skip_non_json();
        }
        self.at += stamp + 1;
        if self.text().get(self.at) == Some(&b'{') {
            self.set_format(InputFormat::Logs);
            return self.scan_object();
        }
        self.count_foreign(ForeignKind::Text);
        self.skip_to_next_line()
    }

    /// Deals with what begins no text. A file that begins so is none of ours, unless records follow soon.
    pub(in crate::source) fn skip_non_json(&mut self) -> ScanResult {
        if self.texts > 0 || !self.out.defects.is_empty() {
            self.skip_scalar()?;
            return Ok(());
        }
        while self.text().len() < self.at + LOOK_AHEAD && self.read_more()? == WindowRead::Read {}
        if let Some(unread) = columns(&self.text()[self.at..]) {
            self.may_be_cloudtrail = true;
            self.add_defect(self.offset(self.at), unread.to_string());
            return Err(Interrupt::Foreign);
        }
        if self.scan_if_table()? {
            return Err(Interrupt::Foreign);
        }
        let text = &self.text()[self.at..];
        let text = &text[..text.len().min(LOOK_AHEAD)];
        if LINES.iter().any(|line| memmem::find(text, line).is_some()) {
            return Err(self.invalid(self.at, "text that is no JSON"));
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

    /// Counts a line that is a bare word, number or string; anything else is broken.
    pub(in crate::source) fn skip_scalar(&mut self) -> ScanResult {
        const WORD: usize = 5;
        while self.text().len() <= self.at + WORD && self.read_more()? == WindowRead::Read {}
        let rest = &self.text()[self.at..];
        let word = rest[0] == b'"'
            || rest[0] == b'-'
            || rest[0].is_ascii_digit()
            || [&b"null"[..], b"true", b"false"].iter().any(|word| rest.starts_with(word));
        if !word {
            return Err(self.invalid(self.at, "text that is no JSON"));
        }
        self.count_foreign(ForeignKind::Json);
        self.skip_value(ValueSkipper::default()).map(|_| ())
    }

    /// Goes to the next line that may begin a text.
    pub(in crate::source) fn skip_to_next_line(&mut self) -> ScanResult {
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
