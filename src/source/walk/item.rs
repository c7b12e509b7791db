//! Lists and what is in them: records, envelopes, and what is passed by.

use std::fmt;

use memchr::memmem;

use super::{Halt, Records, Step, Walk, view};
use crate::event::Packer;
use crate::source::{
    Kind,
    decode::{Shape, Taken, TooLong},
    look::{Beside, Context, Look, beside, list, look},
    skip::{Fed, Skim, skip_string},
    window::More,
};

/// Most bytes, compressed, of a too long record that are kept: usually some 40 MiB of text. They are held in memory
/// until the checkpoint has them.
const RECORD_KEPT_BYTES: usize = 4 << 20;

/// Bytes of a skipped value at the top that are kept, so that if it swallowed lines we can go back to them.
const SKIP_KEPT: usize = 1 << 20;

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
                    self.string(string - self.at, context)?;
                    return self.skip(Skim::in_object()).map(|_| ());
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
    }
}
