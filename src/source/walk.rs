//! Goes through the text of one input and finds where its records start.
//!
//! At the top there may be any number of texts: objects, lists, lines with a time stamp before an object.
//! Holds: a broken line costs that line; a broken list costs the rest of the input; what was handed over stays.

mod item;
mod string;
mod table;
mod top;

use std::{borrow::Cow, io, rc::Rc};

use super::{
    Kind,
    decode::{Decoded, Records, Shape},
    look::skip_space,
    unpack::Meter,
    window::{More, Window},
};

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
    /// Zeros between them.
    zeros: u64,
    scratch: &'a mut [Vec<u8>],
    /// This is a text within another one, which is within as many less one.
    depth: usize,
    /// Objects within each other that were gone into, looking for an event.
    within: u32,
    meter: Rc<Meter>,
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
        scratch: &'a mut [Vec<u8>],
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
            zeros: 0,
            scratch,
            depth: 0,
            within: 0,
            meter: Rc::clone(meter),
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
        if self.texts == 0 && self.zeros > 0 && self.out.broken_places == 0 {
            self.foreign(Kind::Zeros);
        }
        if self.out.is_foreign() && !self.out.foreign.is_empty() {
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
        if let Some(bytes) = self.window.growth(keep) {
            self.records.make_room(bytes);
        }
        let more = self.window.more(keep);
        if self.window.is_usual() {
            self.records.give_room_back();
        }
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
        let bytes = self.meter.news();
        if bytes > 0 {
            self.records.consumed(bytes);
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
        self.out.note(offset, cause);
    }

    fn broken(&mut self, at: usize, cause: impl Into<Cow<'static, str>>) -> Halt {
        self.note(self.offset(at), cause);
        Halt::Broken
    }

    /// Notes that the text, or the line, ends inside `what`.
    fn cut(&mut self, what: &str) -> Halt {
        self.hopeful = true;
        if !self.cut_off {
            let container = match self.line_end {
                _ if self.depth > 0 => "text in this string",
                Some(_) => "line",
                None => "text",
            };
            let end = self.offset(self.text().len());
            self.note(end, format!("the {container} ends inside {what}"));
        }
        Halt::Broken
    }

    /// The same for something that begins at [`Self::at`].
    fn cut_here(&mut self, what: &str) -> Halt {
        if self.depth > 0 {
            return self.cut(what);
        }
        let start = self.offset(self.at);
        self.cut(&format!("{what} that begins at byte {start}"))
    }
}
