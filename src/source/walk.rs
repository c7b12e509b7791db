//! Goes through the text of one input and finds where its records start.
//!
//! At the top there may be any number of texts: objects, lists, lines with a time stamp before an object.
//! Holds: a broken line costs that line; a broken list costs the rest of the input; what was handed over stays.

use std::{borrow::Cow, io, rc::Rc};

use memchr::{memchr, memchr_iter, memmem};

use super::{
    Kind,
    decode::{BROKEN_KEPT, Broken, Decoded, Records, Shape, Taken},
    look::{Context, Look, list, look, skip_space},
    skip::{Fed, Skim, skip_string},
    unescape::unescape,
    unpack::Meter,
    window::{More, Window},
};

/// First bytes of a too long record that are handed over: enough to tell which one it is.
const HEAD_BYTES: usize = 4 << 10;

/// How far records are looked for behind a beginning that is no JSON: a banner, not a whole document.
const LOOK_AHEAD: usize = 64 << 10;

/// Lines that show that there are some.
const LINES: [&[u8]; 2] = [b"\n{\"eventVersion\":", b"\n{\"Records\":["];

/// Bytes of a skipped value at the top that are kept, so that if it swallowed lines we can go back to them.
const SKIP_KEPT: usize = 1 << 20;

/// Lists within lists, or files within a list of files, that are entered. More has no meaning.
const LEVELS: u32 = 4;

/// Why walking ends, or goes on at the next line.
enum Halt {
    /// Nobody wants more.
    Stopped,
    /// What is here makes no sense; that was noted.
    Broken,
    /// Nothing of CloudTrail is in here; that was noted.
    Foreign,
    /// The system failed.
    Failed(io::Error),
}

type Step<T = ()> = Result<T, Halt>;

/// The way through one text.
pub(super) struct Walk<'a, R: Records + ?Sized> {
    window: Window<'a>,
    /// Where we are in the window. What is before may be forgotten.
    at: usize,
    /// Where the line ends that must not be left, if broken lines were met.
    line_end: Option<usize>,
    /// A broken line was met: an object that begins compactly must end on its line.
    careful: bool,
    /// How many lists we are in.
    level: u32,
    /// The packed data ended badly, which was noted.
    cut_off: bool,
    /// Something looked like CloudTrail, or may have before it was cut off.
    hopeful: bool,
    /// Texts at the top so far.
    texts: u64,
    scratch: &'a mut Vec<u8>,
    meter: Rc<Meter>,
    told: u64,
    records: &'a mut R,
    out: Decoded,
}

/// The part of the window that may be looked at.
fn view<'v>(window: &'v Window<'_>, line_end: Option<usize>) -> &'v [u8] {
    let text = window.text();
    &text[..line_end.unwrap_or(text.len())]
}

impl<'a, R: Records + ?Sized> Walk<'a, R> {
    /// Returns a walk from the window's beginning.
    pub(super) fn new(
        window: Window<'a>,
        scratch: &'a mut Vec<u8>,
        meter: &Rc<Meter>,
        records: &'a mut R,
    ) -> Self {
        Self {
            window,
            at: 0,
            line_end: None,
            careful: false,
            level: 0,
            cut_off: false,
            hopeful: false,
            texts: 0,
            scratch,
            meter: Rc::clone(meter),
            told: 0,
            records,
            out: Decoded::default(),
        }
    }

    /// Goes to the end, and returns what there was and how the system failed, if it did.
    pub(super) fn walk(mut self) -> (Decoded, Option<io::Error>) {
        let failed = match self.texts() {
            Err(Halt::Failed(error)) => Some(error),
            Err(Halt::Stopped) => {
                self.out.stopped = true;
                None
            }
            Ok(()) | Err(Halt::Broken | Halt::Foreign) => None,
        };
        self.tell();
        if !self.hopeful && self.out.broken_places > 0 {
            self.none_of_ours();
        }
        let found = self.out.records + self.out.too_long + self.out.broken_places;
        if found == 0 && !self.out.foreign.is_empty() {
            self.out.shape = Shape::Foreign;
        }
        self.out.bytes_read = self.window.end();
        self.out.bytes_consumed = self.meter.bytes.get();
        (self.out, failed)
    }

    fn text(&self) -> &[u8] {
        view(&self.window, self.line_end)
    }

    fn offset(&self, at: usize) -> u64 {
        self.window.before() + at as u64
    }

    /// Asks for more text; what is before [`Self::at`] is forgotten, so all other places move.
    fn more(&mut self) -> Step<More> {
        if self.line_end.is_some() {
            return Ok(More::End);
        }
        if !self.records.go_on() {
            return Err(Halt::Stopped);
        }
        let keep = std::mem::take(&mut self.at);
        let more = self.window.more(keep);
        self.tell();
        match more {
            Ok(more) => Ok(more),
            Err(error) if self.meter.failed.get() => Err(Halt::Failed(error)),
            Err(error) => {
                self.note(self.window.end(), error.to_string());
                self.cut_off = true;
                self.hopeful = true;
                Ok(More::End)
            }
        }
    }

    fn tell(&mut self) {
        let bytes = self.meter.bytes.get();
        if bytes > self.told {
            self.records.consumed(bytes - self.told);
            self.told = bytes;
        }
    }

    /// Goes to the next byte that is not white space and returns it, or `None` at the end.
    fn peek(&mut self) -> Step<Option<u8>> {
        loop {
            self.at = skip_space(self.text(), self.at);
            if let Some(&byte) = self.text().get(self.at) {
                return Ok(Some(byte));
            }
            if self.more()? == More::End {
                return Ok(None);
            }
        }
    }

    // The top: any number of texts.

    fn texts(&mut self) -> Step {
        while let Some(byte) = self.next_text()? {
            let before = self.out.records;
            let outcome = match byte {
                b'{' => self.object(),
                b'[' => self.list(),
                b'0'..=b'9' => self.stamp(),
                _ => self.junk(),
            };
            self.texts += 1;
            if self.out.shape == Shape::Object && self.out.records > before && before > 0 {
                self.out.shape = Shape::Objects;
            }
            match outcome {
                // What is broken inside a list ends all, unless it is known where its line ends.
                Err(Halt::Broken) if self.level == 0 || self.line_end.is_some() => {
                    self.level = 0;
                    self.next_line()?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Goes to the next text. Commas between lines, padding with zeros and byte order marks mean nothing.
    fn next_text(&mut self) -> Step<Option<u8>> {
        loop {
            match self.peek()? {
                Some(b',' | 0) => self.at += 1,
                Some(0xef) if self.begins(b"\xef\xbb\xbf")? => self.at += 3,
                None if self.line_end.is_some() => self.line_end = None,
                other => return Ok(other),
            }
        }
    }

    /// Returns whether the text goes on with `beginning`.
    fn begins(&mut self, beginning: &[u8]) -> Step<bool> {
        while self.text().len() < self.at + beginning.len() {
            if self.more()? != More::Read {
                return Ok(false);
            }
        }
        Ok(self.text()[self.at..].starts_with(beginning))
    }

    fn object(&mut self) -> Step {
        if self.careful {
            self.stay_on_line()?;
        }
        self.item(Context::Top)
    }

    fn list(&mut self) -> Step {
        if self.careful || matches!(self.out.shape, Shape::Object | Shape::Objects) {
            self.stay_on_line()?;
        }
        self.array(Context::Array)
    }

    /// Keeps an object or list from swallowing the lines behind its own, unless it is printed over several.
    fn stay_on_line(&mut self) -> Step {
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
    fn stamp(&mut self) -> Step {
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
    fn junk(&mut self) -> Step {
        if self.texts > 0 || !self.out.broken.is_empty() {
            self.skip_word()?;
            return Ok(());
        }
        while self.text().len() < self.at + LOOK_AHEAD && self.more()? == More::Read {}
        let text = &self.text()[self.at..];
        let text = &text[..text.len().min(LOOK_AHEAD)];
        if LINES.iter().any(|line| memmem::find(text, line).is_some()) {
            return Err(self.broken(self.at, "text that is no JSON"));
        }
        let kind = match text {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Kind::Utf16,
            _ if text.iter().take(1024).any(|&byte| byte < 9) => Kind::Binary,
            _ if std::str::from_utf8(&text[..text.len().min(4)]).is_err() => Kind::Binary,
            _ => Kind::Text,
        };
        self.foreign(kind);
        Err(Halt::Foreign)
    }

    /// Counts a line that is a bare word, number or string; anything else is broken.
    fn skip_word(&mut self) -> Step {
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
    fn next_line(&mut self) -> Step {
        self.careful = true;
        if let Some(end) = self.line_end.take() {
            self.at = end;
        }
        loop {
            let text = self.text();
            let mut last = text.len();
            for newline in memchr_iter(b'\n', &text[self.at..]).map(|found| self.at + found) {
                match text.get(newline + 1) {
                    Some(b'{' | b'[' | b'0'..=b'9') => {
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

    // Lists and what is in them.

    /// Goes through the list at [`Self::at`].
    fn array(&mut self, context: Context) -> Step {
        self.level += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'{') => self.item(context)?,
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(b'[') if context == Context::Array && self.level < LEVELS => {
                    self.array(context)?;
                }
                Some(b'"') if context == Context::Array => self.string(0, context)?,
                Some(b'}' | b':') => return Err(self.broken(self.at, "the list is not closed")),
                Some(_) => {
                    self.foreign(Kind::Json);
                    self.skip(Skim::default())?;
                }
                None => return Err(self.cut("a list")),
            }
        }
        self.at += 1;
        self.level -= 1;
        self.shape(if context == Context::Array { Shape::Array } else { Shape::Records });
        Ok(())
    }

    /// Goes through an object that holds lists: every one of them, and past everything else.
    fn lists(&mut self, context: Context) -> Step {
        self.level += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'"') => self.member(context)?,
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(self.broken(self.at, "a key was expected")),
                None => return Err(self.cut("an object")),
            }
        }
        self.at += 1;
        self.level -= 1;
        Ok(())
    }

    fn member(&mut self, context: Context) -> Step {
        let end = loop {
            if let Some(end) = skip_string(self.text(), self.at) {
                break end;
            }
            if self.more()? != More::Read {
                return Err(self.cut("a key"));
            }
        };
        let inside = list(&self.text()[self.at + 1..end - 1], context);
        self.at = end;
        if self.peek()? != Some(b':') {
            return Err(self.broken(self.at, "a colon was expected"));
        }
        self.at += 1;
        match (inside, self.peek()?) {
            (Some(inside), Some(b'[')) => {
                if inside == Context::Records {
                    self.shape(Shape::Records);
                }
                self.array(inside)
            }
            _ => self.skip(Skim::default()).map(|_| ()),
        }
    }

    /// Deals with the object at [`Self::at`].
    fn item(&mut self, context: Context) -> Step {
        loop {
            let look = look(view(&self.window, self.line_end), self.at, context);
            self.hopeful |=
                matches!(look, Look::Record | Look::Inner(_) | Look::Text(_) | Look::List);
            match look {
                Look::Record => {
                    self.shape(shape_of(context));
                    return self.record(0);
                }
                Look::Inner(record) => {
                    self.shape(Shape::EventBridge);
                    self.record(record - self.at)?;
                    return self.skip(Skim::in_object()).map(|_| ());
                }
                Look::Text(string) => {
                    self.string(string - self.at, context)?;
                    return self.skip(Skim::in_object()).map(|_| ());
                }
                Look::List if self.level < LEVELS => return self.lists(context),
                Look::List => {
                    self.foreign(Kind::Json);
                    return self.skip(Skim::default()).map(|_| ());
                }
                Look::Foreign(kind) => {
                    self.foreign(kind);
                    return self.skip(Skim::default()).map(|_| ());
                }
                Look::Silent => return self.skip(Skim::default()).map(|_| ()),
                Look::Broken { offset, cause } => return Err(self.broken(offset, cause)),
                Look::Incomplete { record } => match self.more()? {
                    More::Read => {}
                    More::End => return Err(self.cut_here("an object")),
                    More::Full if record => return self.too_long(0),
                    More::Full => {
                        self.foreign(Kind::Json);
                        return self.skip(Skim::default()).map(|_| ());
                    }
                },
            }
        }
    }

    /// Hands over the record that starts `inside` bytes behind [`Self::at`], and goes to its end.
    fn record(&mut self, inside: usize) -> Step {
        loop {
            let start = self.at + inside;
            match self.records.record(view(&self.window, self.line_end), start) {
                Taken::Upto(end) => {
                    self.at = end;
                    return self.taken();
                }
                Taken::Broken { offset, cause } => return Err(self.broken(offset, cause)),
                Taken::Incomplete => match self.more()? {
                    More::Read => {}
                    More::End => return Err(self.cut_here("a record")),
                    More::Full => return self.too_long(inside),
                },
            }
        }
    }

    fn taken(&mut self) -> Step {
        self.out.records += 1;
        if self.records.go_on() { Ok(()) } else { Err(Halt::Stopped) }
    }

    /// Goes past a record that fills the window, and says so.
    fn too_long(&mut self, inside: usize) -> Step {
        let text = self.text();
        if self.level == 0 && memmem::find(&text[self.at..], b"\n{").is_some() {
            return Err(self.broken(self.at, "an object that does not end on its line"));
        }
        self.at += inside;
        let text = self.text();
        let head = text[self.at..text.len().min(self.at + HEAD_BYTES)].to_vec();
        let offset = self.offset(self.at);
        let bytes = self.skip(Skim::default())?;
        self.out.too_long += 1;
        self.records.too_long(&head, offset, bytes);
        Ok(())
    }

    /// Goes past a value without keeping much of it, and returns its length.
    fn skip(&mut self, mut skim: Skim) -> Step<u64> {
        let (mut bytes, mut kept) = (0, 0);
        loop {
            let text = view(&self.window, self.line_end);
            match skim.feed(text, self.at + kept) {
                Fed::End(end) => {
                    bytes += (end - self.at) as u64;
                    self.at = end;
                    return Ok(bytes);
                }
                Fed::Broken(offset, cause) => return Err(self.broken(offset, cause)),
                Fed::More => kept = text.len() - self.at,
            }
            let keep = self.level == 0 && kept < SKIP_KEPT;
            let more = if keep { self.more()? } else { More::Full };
            if more == More::Full {
                bytes += kept as u64;
                self.at += kept;
                kept = 0;
            }
            let more = if more == More::Full { self.more()? } else { more };
            if more == More::End {
                if skim.may_end() {
                    self.at += kept;
                    return Ok(bytes + kept as u64);
                }
                return Err(self.cut("a value"));
            }
        }
    }

    // Records that are text within a string.

    /// Deals with the string that starts `inside` bytes behind [`Self::at`], and goes to its end.
    fn string(&mut self, inside: usize, context: Context) -> Step {
        loop {
            let text = view(&self.window, self.line_end);
            let start = self.at + inside;
            if let Some(end) = skip_string(text, start) {
                self.scratch.clear();
                unescape(&text[start + 1..end - 1], self.scratch);
                let offset = self.offset(start);
                self.at = end;
                let shape = if context == Context::Logs { Shape::Logs } else { Shape::Lookup };
                return self.inner(offset, shape);
            }
            match self.more()? {
                More::Read => {}
                More::End => return Err(self.cut_here("an object")),
                More::Full => return self.too_long(inside),
            }
        }
    }

    /// Deals with the text in the scratch buffer, from a string at `offset`. What is broken here costs only itself.
    fn inner(&mut self, offset: u64, shape: Shape) -> Step {
        let start = skip_space(self.scratch, 0);
        if self.scratch.get(start) != Some(&b'{') {
            self.foreign(Kind::Text);
            return Ok(());
        }
        let record = match look(self.scratch, start, Context::Lookup) {
            Look::Record => start,
            Look::Inner(record) => record,
            Look::Silent => return Ok(()),
            Look::Foreign(kind) => {
                self.foreign(kind);
                return Ok(());
            }
            Look::Text(_) | Look::List => {
                self.foreign(Kind::Json);
                return Ok(());
            }
            Look::Incomplete { .. } => {
                self.note(offset, "the text in this string ends inside an object");
                return Ok(());
            }
            Look::Broken { cause, .. } => {
                self.note(offset, cause);
                return Ok(());
            }
        };
        self.shape(shape);
        match self.records.record(self.scratch, record) {
            Taken::Upto(_) => return self.taken(),
            Taken::Incomplete => self.note(offset, "the text in this string ends inside a record"),
            Taken::Broken { cause, .. } => self.note(offset, cause),
        }
        Ok(())
    }

    // What is said at the end.

    fn shape(&mut self, shape: Shape) {
        if self.out.shape == Shape::Empty {
            self.out.shape = shape;
        }
    }

    fn foreign(&mut self, kind: Kind) {
        *self.out.foreign.entry(kind).or_default() += 1;
    }

    /// Settings, templates and scripts may begin like JSON too: broken is only what might be CloudTrail.
    fn none_of_ours(&mut self) {
        self.out.broken.clear();
        self.out.broken_places = 0;
        self.out.foreign.clear();
        self.out.shape = Shape::Foreign;
        self.foreign(Kind::Text);
    }

    fn note(&mut self, offset: u64, cause: impl Into<Cow<'static, str>>) {
        self.out.broken_places += 1;
        if self.out.broken.len() < BROKEN_KEPT {
            self.out.broken.push(Broken { offset, cause: cause.into() });
        }
    }

    fn broken(&mut self, at: usize, cause: impl Into<Cow<'static, str>>) -> Halt {
        self.note(self.offset(at), cause);
        Halt::Broken
    }

    /// Notes that the text, or the line, ends inside `what`.
    fn cut(&mut self, what: &str) -> Halt {
        self.hopeful = true;
        if !self.cut_off {
            let container = if self.line_end.is_some() { "line" } else { "text" };
            let end = self.offset(self.text().len());
            self.note(end, format!("the {container} ends inside {what}"));
        }
        Halt::Broken
    }

    /// The same for something that begins at [`Self::at`].
    fn cut_here(&mut self, what: &str) -> Halt {
        let start = self.offset(self.at);
        self.cut(&format!("{what} that begins at byte {start}"))
    }
}

fn shape_of(context: Context) -> Shape {
    match context {
        Context::Top | Context::Inner => Shape::Object,
        Context::Array => Shape::Array,
        Context::Records => Shape::Records,
        Context::Lookup => Shape::Lookup,
        Context::Logs => Shape::Logs,
    }
}
