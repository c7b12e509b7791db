//! The top of a text: objects and lists one after another, lines with a time stamp, and what is neither.

use memchr::{memchr, memchr_iter, memmem};

use super::{Halt, Records, Step, Walk};
use crate::source::{
    Kind,
    decode::Shape,
    look::Context,
    shape::{
        payload::{begins_json, columns},
        table::Table,
    },
    skip::Skim,
    window::More,
};

/// How far records are looked for behind a beginning that is no JSON: a banner, not a whole document.
const LOOK_AHEAD: usize = 64 << 10;

/// Bytes after which it is clear whether a string holds JSON: there may be some space before it.
const JSON_TEXT: usize = 64;

/// Lines that show that there are some.
const LINES: [&[u8]; 2] = [b"\n{\"eventVersion\":", b"\n{\"Records\":["];

impl<R: Records + ?Sized> Walk<'_, R> {
    pub(super) fn texts(&mut self) -> Step {
        while let Some(byte) = self.next_text()? {
            let before = self.out.records;
            let outcome = match byte {
                b'{' => self.object(),
                b'[' => self.list(),
                b'0'..=b'9' => self.stamp(),
                b'"' if self.is_json_text()? => self.line_of_text(),
                _ => self.junk(),
            };
            self.texts += 1;
            if self.out.shape == Shape::Object && self.out.records > before && before > 0 {
                self.out.shape = Shape::Objects;
            }
            match outcome {
                // What is broken inside a list ends all, unless it is known where its line ends.
                Err(Halt::Broken) if self.level == 0 || self.line_end.is_some() => {
                    (self.level, self.within) = (0, 0);
                    self.next_line()?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Goes to the next text. Commas between lines, padding with zeros and byte order marks mean nothing.
    pub(super) fn next_text(&mut self) -> Step<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte @ (b',' | 0)) => {
                    self.zeros += u64::from(byte == 0);
                    self.at += 1;
                }
                Some(0xef) if self.begins(b"\xef\xbb\xbf")? => self.at += 3,
                None if self.line_end.is_some() => self.line_end = None,
                other => return Ok(other),
            }
        }
    }

    /// Returns whether the text goes on with `beginning`.
    pub(super) fn begins(&mut self, beginning: &[u8]) -> Step<bool> {
        while self.text().len() < self.at + beginning.len() {
            if self.more()? != More::Read {
                return Ok(false);
            }
        }
        Ok(self.text()[self.at..].starts_with(beginning))
    }

    pub(super) fn object(&mut self) -> Step {
        if self.careful {
            self.stay_on_line()?;
        }
        self.item(Context::Top)
    }

    pub(super) fn list(&mut self) -> Step {
        if self.careful || matches!(self.out.shape, Shape::Object | Shape::Objects) {
            self.stay_on_line()?;
        }
        self.array(Context::Array)
    }

    /// Returns whether the string at [`Self::at`] begins like JSON.
    fn is_json_text(&mut self) -> Step<bool> {
        while self.text().len() < self.at + JSON_TEXT && self.more()? == More::Read {}
        Ok(begins_json(self.text(), self.at))
    }

    /// Deals with a string that holds JSON: what `jq` prints without `-r`.
    fn line_of_text(&mut self) -> Step {
        if self.careful {
            self.stay_on_line()?;
        }
        self.string(0, Context::Top)
    }

    /// Deals with the first line of a text if it is the header of a table, and returns whether it is.
    fn begins_table(&mut self) -> Step<bool> {
        if self.depth > 0 {
            return Ok(false);
        }
        let rest = &self.text()[self.at..];
        let line = memchr(b'\n', rest).unwrap_or(rest.len().min(LOOK_AHEAD));
        match Table::new(&rest[..line]) {
            None => return Ok(false),
            Some(Ok(table)) => {
                self.texts += 1;
                self.at += line;
                self.table(&table)?;
            }
            Some(Err(unread)) => {
                self.hopeful = true;
                self.note(self.offset(self.at), unread.to_string());
            }
        }
        Ok(true)
    }

    /// Keeps an object or list from swallowing the lines behind its own, unless it is printed over several.
    pub(super) fn stay_on_line(&mut self) -> Step {
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
            if self.more()? != More::Read {
                return Ok(());
            }
        }
    }

    /// Takes the time stamp off a line of a CloudWatch Logs export: `2024-01-01T00:00:00.000Z {…}`.
    pub(super) fn stamp(&mut self) -> Step {
        const STAMP: usize = 40;
        while self.text().len() < self.at + STAMP && self.more()? == More::Read {}
        let rest = &self.text()[self.at..];
        let stamp = rest.iter().position(|byte| {
            !matches!(byte, b'0'..=b'9' | b'-' | b'T' | b':' | b'.' | b'Z' | b'+')
        });
        let stamp = stamp.unwrap_or(rest.len());
        if stamp < 20 || rest[4] != b'-' || rest[10] != b'T' || rest.get(stamp) != Some(&b' ') {
            return self.junk();
        }
        self.at += stamp + 1;
        if self.text().get(self.at) == Some(&b'{') {
            self.shape(Shape::Logs);
            return self.object();
        }
        self.foreign(Kind::Text);
        self.next_line()
    }

    /// Deals with what begins no text. A file that begins so is none of ours, unless records follow soon.
    pub(super) fn junk(&mut self) -> Step {
        if self.texts > 0 || !self.out.broken.is_empty() {
            self.skip_word()?;
            return Ok(());
        }
        while self.text().len() < self.at + LOOK_AHEAD && self.more()? == More::Read {}
        if let Some(unread) = columns(&self.text()[self.at..]) {
            self.hopeful = true;
            self.note(self.offset(self.at), unread.to_string());
            return Err(Halt::Foreign);
        }
        if self.begins_table()? {
            return Err(Halt::Foreign);
        }
        let text = &self.text()[self.at..];
        let text = &text[..text.len().min(LOOK_AHEAD)];
        if LINES.iter().any(|line| memmem::find(text, line).is_some()) {
            return Err(self.broken(self.at, "text that is no JSON"));
        }
        let kind = match text {
            _ if text.iter().take(1024).any(|&byte| byte < 9) => Kind::Binary,
            [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z', ..] => Kind::Markup,
            _ if std::str::from_utf8(&text[..text.len().min(4)]).is_err() => Kind::Binary,
            _ => Kind::Text,
        };
        self.foreign(kind);
        Err(Halt::Foreign)
    }

    /// Counts a line that is a bare word, number or string; anything else is broken.
    pub(super) fn skip_word(&mut self) -> Step {
        const WORD: usize = 5;
        while self.text().len() <= self.at + WORD && self.more()? == More::Read {}
        let rest = &self.text()[self.at..];
        let word = rest[0] == b'"'
            || rest[0] == b'-'
            || rest[0].is_ascii_digit()
            || [&b"null"[..], b"true", b"false"].iter().any(|word| rest.starts_with(word));
        if !word {
            return Err(self.broken(self.at, "text that is no JSON"));
        }
        self.foreign(Kind::Json);
        self.skip(Skim::default()).map(|_| ())
    }

    /// Goes to the next line that may begin a text.
    pub(super) fn next_line(&mut self) -> Step {
        self.careful = true;
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
            if self.more()? != More::Read {
                self.at = self.text().len();
                return Ok(());
            }
        }
    }
}
