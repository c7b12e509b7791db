//! Lists and what is in them: records, envelopes, and what is passed by.

use std::fmt;

use memchr::memmem;

use super::{Halt, Records, Step, Walk, string::Wrap, view};
use crate::event::Packer;
use crate::source::{
    Kind, Skip,
    decode::{Shape, Taken, TooLong},
    look::{Beside, Context, Look, beside, list, lists_in, look},
    shape::{
        self,
        payload::{How, Payload},
        row::{self, Row},
    },
    skip::{Fed, Skim, skip_string, skip_value},
    window::More,
};

/// Most bytes, compressed, of a too long record that are kept: usually some 40 MiB of text. They are held in memory
/// until the checkpoint has them.
const RECORD_KEPT_BYTES: usize = 4 << 20;

/// Bytes of a skipped value at the top that are kept, so that if it swallowed lines we can go back to them.
const SKIP_KEPT: usize = 1 << 20;

/// Objects within objects that are gone into, looking for an event: an entry of a search, in it a message, in it a body.
const WITHIN: u32 = 4;

/// What is said of an event that stands in more texts than are gone into.
pub(super) const TOO_DEEP: &str = "an event within too many texts";

/// Lists within lists, or files within a list of files, that are entered. More has no meaning.
const LEVELS: u32 = 4;

impl<R: Records + ?Sized> Walk<'_, R> {
    /// Goes through the list at [`Self::at`].
    pub(super) fn array(&mut self, context: Context) -> Step {
        self.level += 1;
        self.at += 1;
        loop {
            match self.peek()? {
                Some(b'{') => self.item(context)?,
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(b'[')
                    if matches!(context, Context::Array | Context::Rows) && self.level < LEVELS =>
                {
                    if self.is_row()? {
                        self.row()?;
                    } else {
                        self.array(context)?;
                    }
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
    pub(super) fn lists(&mut self, context: Context) -> Step {
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

    pub(super) fn member(&mut self, context: Context) -> Step {
        let end = loop {
            if let Some(end) = skip_string(self.text(), self.at) {
                break end;
            }
            if self.more()? != More::Read {
                return Err(self.cut("a key"));
            }
        };
        let key = &self.text()[self.at + 1..end - 1];
        let (inside, lists) = (list(key, context), lists_in(key, context));
        self.at = end;
        if self.peek()? != Some(b':') {
            return Err(self.broken(self.at, "a colon was expected"));
        }
        self.at += 1;
        match (inside.or(lists), self.peek()?) {
            (Some(inside), Some(b'[')) if lists.is_none() => {
                if inside == Context::Records {
                    self.shape(Shape::Records);
                }
                self.array(inside)
            }
            (Some(lists), Some(b'{')) if inside.is_none() && self.level < LEVELS => {
                self.shape(Shape::Documents);
                self.lists(lists)
            }
            _ => self.skip(Skim::default()).map(|_| ()),
        }
    }

    /// Deals with the object at [`Self::at`].
    pub(super) fn item(&mut self, context: Context) -> Step {
        loop {
            let look = look(view(&self.window, self.line_end), self.at, context);
            self.hopeful |= !matches!(
                look,
                Look::Foreign(_) | Look::Silent | Look::Incomplete { .. } | Look::Broken { .. }
            );
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
                    self.text_of(string - self.at, Wrap::Text, Shape::Logs)?;
                    return self.skip(Skim::in_object()).map(|_| ());
                }
                Look::Within(object) => {
                    self.shape(Shape::Documents);
                    self.within(object)?;
                    return self.skip(Skim::in_object()).map(|_| ());
                }
                Look::Payload(payload, end) => return self.payload(payload, end),
                Look::Unread(unread) => {
                    self.note(self.offset(self.at), unread.to_string());
                    return self.skip(Skim::default()).map(|_| ());
                }
                Look::Action => {
                    self.shape(Shape::Documents);
                    return self.skip(Skim::default()).map(|_| ());
                }
                Look::Event(string) => return self.event(string - self.at),
                Look::WithoutRecord(why) => {
                    self.without_record(self.at, self.at, why);
                    return self.skip(Skim::default()).map(|_| ());
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
                Look::Silent => {
                    self.shape(Shape::Logs);
                    return self.skip(Skim::default()).map(|_| ());
                }
                Look::Broken { offset, cause } => return Err(self.broken(offset, cause)),
                Look::Incomplete { record } => match self.more()? {
                    More::Read => {}
                    More::End if record => return Err(self.cut_here("a record")),
                    // Of a text within another one nothing is to be hoped for, until it looks like an event.
                    More::End if self.depth > 0 && !self.hopeful => {
                        return Err(self.broken(self.at, "an object that does not end"));
                    }
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

    /// Deals with the object at `object`, which stands in another one. The end of that one is not looked for.
    fn within(&mut self, object: usize) -> Step {
        if self.within >= WITHIN {
            self.foreign(Kind::Json);
            self.at = object;
            return self.skip(Skim::default()).map(|_| ());
        }
        self.at = object;
        self.within += 1;
        let done = self.item(Context::Document);
        self.within -= 1;
        done
    }

    /// Deals with the event in an envelope that is in the window as a whole and ends before `end`.
    fn payload(&mut self, payload: Payload, end: usize) -> Step {
        let Payload { place, how, shape } = payload;
        let after = self.offset(end);
        match how {
            How::Text => self.text_of(place - self.at, Wrap::Text, shape)?,
            How::Encoded => self.text_of(place - self.at, Wrap::Base64, shape)?,
            How::Within => {
                self.shape(shape);
                self.within(place)?;
            }
            How::Record => {
                self.shape(shape);
                self.record(place - self.at)?;
            }
            How::Columns => {
                self.shape(shape);
                self.restored(place)?;
            }
        }
        // What was in the envelope may have moved the window.
        self.at = usize::try_from(after - self.window.before()).unwrap_or(self.at);
        Ok(())
    }

    /// Hands over the record at `place`, with CloudTrail's names and values in the place of those of columns.
    fn restored(&mut self, place: usize) -> Step {
        let offset = self.offset(place);
        let Some(scratch) = self.scratch.first_mut() else {
            self.note(offset, TOO_DEEP);
            return Ok(());
        };
        if !shape::restore(view(&self.window, self.line_end), place, scratch) {
            self.note(offset, "an object that is no JSON");
            return Ok(());
        }
        self.written(offset)
    }

    /// Hands over the record in the first scratch buffer, which was made of what is at `offset`.
    pub(super) fn written(&mut self, offset: u64) -> Step {
        let Some(scratch) = self.scratch.first() else { return Ok(()) };
        match self.records.record(scratch, 0) {
            Taken::Upto(_) => return self.taken(),
            Taken::Incomplete => self.note(offset, "a row from which no record can be made"),
            Taken::Broken { cause, .. } => self.note(offset, cause),
        }
        Ok(())
    }

    /// Returns whether the list at [`Self::at`] is a row.
    fn is_row(&mut self) -> Step<bool> {
        loop {
            if let Some(is_row) = row::begins(self.text(), self.at) {
                return Ok(is_row);
            }
            if self.more()? != More::Read {
                return Ok(false);
            }
        }
    }

    /// Deals with the row at [`Self::at`].
    fn row(&mut self) -> Step {
        let end = loop {
            match skip_value(self.text(), self.at) {
                Ok(end) => break end,
                Err(Skip::Broken { offset, cause }) => return Err(self.broken(offset, cause)),
                Err(Skip::Incomplete) => match self.more()? {
                    More::Read => {}
                    More::End => return Err(self.cut_here("a row")),
                    More::Full => return self.skip(Skim::default()).map(|_| ()),
                },
            }
        };
        let (after, offset) = (self.offset(end), self.offset(self.at));
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        let found = row::read(&view(&self.window, self.line_end)[..end], self.at, scratch);
        match found {
            Row::Text(place) => self.text_of(place - self.at, Wrap::Text, Shape::Logs)?,
            Row::Record => {
                self.hopeful = true;
                self.shape(Shape::Columns);
                self.written(offset)?;
            }
            Row::Unread(unread) => {
                self.hopeful = true;
                self.note(offset, unread.to_string());
            }
            Row::Foreign => self.foreign(Kind::Json),
        }
        self.at = usize::try_from(after - self.window.before()).unwrap_or(self.at);
        Ok(())
    }

    /// Deals with the event of LookupEvents at [`Self::at`], whose record is the text of the string `inside` bytes behind
    /// that.
    fn event(&mut self, inside: usize) -> Step {
        let said = self.beside()?;
        let done = self.string(inside, Context::Lookup);
        if said {
            self.records.beside(None, None);
        }
        done?;
        self.skip(Skim::in_object()).map(|_| ())
    }

    /// Notes that the event of LookupEvents at `event` does not bring its record, which was to be `at` that place.
    pub(super) fn without_record(&mut self, event: usize, at: usize, why: impl fmt::Display) {
        self.shape(Shape::Lookup);
        let id = beside(view(&self.window, self.line_end), event).event_id;
        let id = id.map_or_else(String::new, |id| format!(" {}", String::from_utf8_lossy(id)));
        self.note(self.offset(at), format!("event{id} without a record: {why}"));
    }

    /// Hands over what the envelope at [`Self::at`] says beside its record, and returns whether that is anything.
    /// It is held as a whole for that.
    fn beside(&mut self) -> Step<bool> {
        while !beside(self.text(), self.at).is_all && self.more()? == More::Read {}
        let Beside { username, resources, .. } = beside(view(&self.window, self.line_end), self.at);
        if username.is_none() && resources.is_none() {
            return Ok(false);
        }
        self.records.beside(username, resources);
        Ok(true)
    }

    /// Hands over the record that starts `inside` bytes behind [`Self::at`], and goes to its end.
    pub(super) fn record(&mut self, inside: usize) -> Step {
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

    pub(super) fn taken(&mut self) -> Step {
        self.out.records += 1;
        if self.records.go_on() { Ok(()) } else { Err(Halt::Stopped) }
    }

    /// Goes past a record that fills the window, and says so.
    pub(super) fn too_long(&mut self, inside: usize) -> Step {
        let text = self.text();
        if self.level == 0 && memmem::find(&text[self.at..], b"\n{").is_some() {
            return Err(self.broken(self.at, "an object that does not end on its line"));
        }
        self.at += inside;
        let offset = self.offset(self.at);
        let mut packer = Packer::new(RECORD_KEPT_BYTES);
        let bytes = self.pass(Skim::default(), &mut |part| packer.add(part))?;
        self.out.too_long += 1;
        self.records.too_long(TooLong { content: packer.finish(), offset, bytes });
        Ok(())
    }

    /// Goes past a value without keeping much of it, and returns its length.
    pub(super) fn skip(&mut self, skim: Skim) -> Step<u64> {
        self.pass(skim, &mut |_| {})
    }

    /// Goes past a value, shows its text part by part, and returns its length.
    fn pass(&mut self, mut skim: Skim, show: &mut dyn FnMut(&[u8])) -> Step<u64> {
        let (mut bytes, mut kept) = (0, 0);
        loop {
            let text = view(&self.window, self.line_end);
            match skim.feed(text, self.at + kept) {
                Fed::End(end) => {
                    show(&text[self.at..end]);
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
                show(&self.text()[self.at..self.at + kept]);
                bytes += kept as u64;
                self.at += kept;
                kept = 0;
            }
            let more = if more == More::Full { self.more()? } else { more };
            if more == More::End {
                if skim.may_end() {
                    show(&self.text()[self.at..self.at + kept]);
                    self.at += kept;
                    return Ok(bytes + kept as u64);
                }
                return Err(self.cut("a value"));
            }
        }
    }
}

fn shape_of(context: Context) -> Shape {
    match context {
        Context::Top | Context::Inner => Shape::Object,
        Context::Array => Shape::Array,
        Context::Records => Shape::Records,
        Context::Lookup => Shape::Lookup,
        Context::Logs => Shape::Logs,
        Context::Document | Context::Hits => Shape::Documents,
        Context::Rows => Shape::Columns,
    }
}
