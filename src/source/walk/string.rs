//! Texts within strings: events, and all that events are wrapped in.
//!
//! A text in a string may be anything that a file may be, so it is gone through in the same way, up to [`NESTED`] texts
//! deep. What is broken in it costs only itself.

use std::rc::Rc;

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{Halt, Records, Step, Walk, item::TOO_DEEP, view};
use crate::source::{
    Kind,
    decode::{BROKEN_KEPT, Decoded, NESTED, Shape},
    look::Context,
    skip::skip_string,
    unescape::unescape,
    unpack::{Meter, Opened, metered, open},
    window::{More, Window},
};

/// How a text is put into a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    /// With the escapes of JSON.
    Text,
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

impl<R: Records + ?Sized> Walk<'_, R> {
    /// Deals with the string that starts `inside` bytes behind [`Self::at`], and goes to its end.
    pub(super) fn string(&mut self, inside: usize, context: Context) -> Step {
        let object = self.offset(self.at);
        let shape = if context == Context::Top { Shape::Texts } else { Shape::Lookup };
        let Some((offset, kind)) = self.wrapped(inside, Wrap::Text, shape)? else { return Ok(()) };
        match kind {
            None => {}
            Some(kind) if context == Context::Lookup => {
                let is_empty = self.scratch.first().is_none_or(|text| text.trim_ascii().is_empty());
                let why = if is_empty {
                    "CloudTrailEvent is empty".to_owned()
                } else {
                    format!("CloudTrailEvent holds {kind}")
                };
                let place = |offset: u64| {
                    usize::try_from(offset - self.window.before()).unwrap_or_default()
                };
                self.without_record(place(object), place(offset), why);
            }
            Some(kind) => self.foreign(kind),
        }
        Ok(())
    }

    /// The same for a string in which there may be an event.
    pub(super) fn text_of(&mut self, inside: usize, wrap: Wrap, shape: Shape) -> Step {
        if let Some((_, Some(kind))) = self.wrapped(inside, wrap, shape)? {
            self.foreign(kind);
        }
        Ok(())
    }

    /// Goes through the text in a string, and returns where the string is, and what is in it if there is no event. Nothing
    /// if it is too long to be held.
    fn wrapped(
        &mut self,
        inside: usize,
        wrap: Wrap,
        shape: Shape,
    ) -> Step<Option<(u64, Option<Kind>)>> {
        loop {
            let text = view(&self.window, self.line_end);
            let start = self.at + inside;
            if let Some(end) = skip_string(text, start) {
                let offset = self.offset(start);
                let Some((scratch, _)) = self.scratch.split_first_mut() else {
                    self.at = end;
                    self.note(offset, TOO_DEEP);
                    return Ok(Some((offset, None)));
                };
                scratch.clear();
                unescape(&view(&self.window, self.line_end)[start + 1..end - 1], scratch);
                let kind = match wrap {
                    Wrap::Text => self.inner(offset, shape),
                    Wrap::Base64 => self.encoded(offset, shape),
                };
                self.at = end;
                return Ok(Some((offset, kind?)));
            }
            match self.more()? {
                More::Read => {}
                More::End => return Err(self.cut_here("an object")),
                More::Full => {
                    self.too_long(inside)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Deals with the text in the first scratch buffer, from a string at `offset`, and returns what it is if there is no
    /// event in it.
    pub(super) fn inner(&mut self, offset: u64, shape: Shape) -> Step<Option<Kind>> {
        let Some((text, deeper)) = self.scratch.split_first_mut() else { return Ok(None) };
        let length = text.len();
        let nested = Walk {
            depth: self.depth + 1,
            ..Walk::new(Window::whole(text, length), deeper, &self.meter, &mut *self.records)
        };
        let nested = nested.walk_if(self.depth < NESTED);
        self.take_in(nested, offset, shape)
    }

    /// The same for base64.
    fn encoded(&mut self, offset: u64, shape: Shape) -> Step<Option<Kind>> {
        let [text, window, deeper @ ..] = &mut *self.scratch else { return Ok(None) };
        let Ok(stored) = BASE64.decode(&*text) else {
            self.hopeful = true;
            self.note(offset, "text that is no base64");
            return Ok(None);
        };
        let meter = Rc::new(Meter::silent());
        let reader = match open(metered(&stored[..], &meter), &meter) {
            Ok(Opened::Text(reader, _)) => reader,
            Ok(_) => return Ok(Some(Kind::Binary)),
            Err(error) => {
                self.hopeful = true;
                self.note(offset, error.to_string());
                return Ok(None);
            }
        };
        let window = Window::sliding(window, reader, PACKED_WINDOW, PACKED_RECORD);
        let nested =
            Walk { depth: self.depth + 1, ..Walk::new(window, deeper, &meter, &mut *self.records) };
        let nested = nested.walk_if(self.depth < NESTED);
        self.take_in(nested, offset, shape)
    }

    /// Goes through a nested text, unless it is too deep.
    fn walk_if(self, is_shallow: bool) -> Option<Decoded> {
        is_shallow.then(|| self.walk().0)
    }

    /// Adds what a nested text held.
    fn take_in(
        &mut self,
        nested: Option<Decoded>,
        offset: u64,
        shape: Shape,
    ) -> Step<Option<Kind>> {
        let Some(nested) = nested else {
            self.hopeful = true;
            self.note(offset, TOO_DEEP);
            return Ok(None);
        };
        self.out.records += nested.records;
        self.out.too_long += nested.too_long;
        let places = nested.broken_places;
        self.hopeful |= nested.records + nested.too_long + places > 0;
        for broken in nested.broken {
            self.note(offset, broken.cause);
        }
        self.out.broken_places += places.saturating_sub(BROKEN_KEPT as u64);
        if nested.stopped {
            return Err(Halt::Stopped);
        }
        if nested.records + nested.too_long + places == 0 {
            return Ok(match nested.foreign.keys().next() {
                Some(kind) => Some(*kind),
                None if nested.shape == Shape::Empty => Some(Kind::Text),
                None => None,
            });
        }
        self.shape(shape);
        for (kind, count) in nested.foreign {
            *self.out.foreign.entry(kind).or_default() += count;
        }
        Ok(None)
    }
}
