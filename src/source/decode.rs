//! Opens an input, takes compression off, and hands over its records in order.
//!
//! In: one [`Content`]. Out: [`Records::record`] once for every record, and [`Decoded`], which says what
//! else there was. What is wrong with the content is in [`Decoded::broken`]; an [`Error`] is the system's.
//! Holds: each byte of a record is looked at once on the common path; memory is bounded by [`Limits`].

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read},
    rc::Rc,
};

use libdeflater::Decompressor;

use super::{
    Content, Error, Fingerprint, Held, Kind,
    unpack::{self, Meter, Packing},
    walk::Walk,
    window::Window,
};

/// Takes the records of one input, in order.
pub trait Records {
    /// Takes the record that starts at `text[start]`, always with its `{`.
    ///
    /// The text goes on behind the record, and may end within it. Nothing may remain of a record
    /// that was [`Taken::Incomplete`] or [`Taken::Broken`]: an incomplete one comes again.
    fn record(&mut self, text: &[u8], start: usize) -> Taken;

    /// Learns what an envelope of LookupEvents says beside the record that comes next: the values of `Username` and
    /// `Resources`, as they stand there. Called with nothing behind that record.
    fn beside(&mut self, _username: Option<&[u8]>, _resources: Option<&[u8]>) {}

    /// Takes note of a record of more than [`Limits::record`] bytes: its first bytes, where it begins in the
    /// unpacked text, and how long it is. It is counted in [`Decoded::too_long`].
    fn too_long(&mut self, head: &[u8], offset: u64, bytes: u64);

    /// Learns that a long record needs a window of so many bytes; may wait until there is room for it.
    fn make_room(&mut self, _bytes: usize) {}

    /// Learns that the window is of the usual size (again).
    fn give_room_back(&mut self) {}

    /// Returns `false` to stop reading.
    fn go_on(&self) -> bool {
        true
    }

    /// Learns, now and then, how many more bytes were read, as stored.
    fn consumed(&mut self, _bytes: u64) {}
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken and ends before this place.
    Upto(usize),
    /// The text ends inside the record.
    Incomplete,
    /// It is no JSON.
    Broken {
        /// Where in the text it goes wrong.
        offset: usize,
        /// What is wrong, in words for a person.
        cause: Cow<'static, str>,
    },
}

/// What keeps memory bounded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the window that larger texts are read through.
    pub window: usize,
    /// Bytes of the longest record; the window grows up to it when it must.
    pub record: usize,
    /// Files up to this size, as stored, are read as a whole.
    pub stored: usize,
    /// They are unpacked as a whole up to this size.
    pub whole: usize,
}

impl Limits {
    /// What a run uses. A file of a trail is far smaller, stored and unpacked.
    pub const USUAL: Self =
        Self { window: 1 << 20, record: 32 << 20, stored: 8 << 20, whole: 16 << 20 };

    /// Returns how many bytes a decoder holds, also between two inputs. A long record takes more while it
    /// is read.
    pub const fn held_bytes(&self) -> usize {
        self.stored + self.text_bytes()
    }

    /// What is unpacked as a whole and the window share a buffer.
    const fn text_bytes(&self) -> usize {
        if self.whole > self.window { self.whole } else { self.window }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// The form that an input's records came in: that of the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// There was nothing in it.
    #[default]
    Empty,
    /// `{"Records":[…]}`, as a trail writes it.
    Records,
    /// A bare list.
    Array,
    /// One object.
    Object,
    /// Objects one after another, a line each or not.
    Objects,
    /// What LookupEvents answers.
    Lookup,
    /// Envelopes of EventBridge.
    EventBridge,
    /// A subscription or an export of CloudWatch Logs.
    Logs,
    /// Nothing of CloudTrail.
    Foreign,
}

/// A place where the content is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Offset in the unpacked text.
    pub offset: u64,
    /// What is wrong, in words for a person.
    pub cause: Cow<'static, str>,
}

/// What there was in an input.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Records taken.
    pub records: u64,
    /// Records that were too long.
    pub too_long: u64,
    /// Bytes of text.
    pub bytes_read: u64,
    /// Bytes as stored.
    pub bytes_consumed: u64,
    /// How the records came.
    pub shape: Shape,
    /// How many other things there were, by kind.
    pub foreign: BTreeMap<Kind, u64>,
    /// What was broken: the first [`BROKEN_KEPT`] places.
    pub broken: Vec<Broken>,
    /// How many places were broken.
    pub broken_places: u64,
    /// The file changed while it was read: it must not be remembered as done.
    pub changed: bool,
    /// [`Records::go_on`] said no: it was not read to its end.
    pub stopped: bool,
    /// What the file is to be known by, if it is one. Made when it was opened, so it says what was read.
    pub fingerprint: Option<Fingerprint>,
}

/// Broken places that are kept for one input. Whoever reads the report needs a few, not a million.
pub const BROKEN_KEPT: usize = 20;

impl Decoded {
    /// Returns how many things there were that are no CloudTrail.
    pub fn foreign_total(&self) -> u64 {
        self.foreign.values().sum()
    }

    /// Returns what there is in it that is no CloudTrail, in words for a person; nothing if there is nothing of that
    /// kind. A list without records is CloudTrail.
    pub fn strangers(&self) -> Option<String> {
        if self.shape == Shape::Empty && self.foreign.is_empty() {
            let kind = match (self.bytes_consumed, self.bytes_read) {
                (0, _) => "it is empty (0 bytes)",
                (_, 0) => "it unpacks to nothing",
                _ => "nothing but white space",
            };
            return Some(kind.to_owned());
        }
        let kinds = self.foreign.iter().map(|(kind, count)| {
            if *count == 1 { kind.to_string() } else { format!("{count} times {kind}") }
        });
        let kinds: Vec<String> = kinds.collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }
}

/// Reads inputs one after another; the buffers live on from one to the next.
pub struct Decoder {
    limits: Limits,
    inflate: Decompressor,
    stored: Vec<u8>,
    text: Vec<u8>,
    scratch: Vec<u8>,
}

impl Decoder {
    /// Returns a decoder that keeps to `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inflate: Decompressor::new(),
            stored: Vec::new(),
            text: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Reads `content` to its end and hands its records to `records`. `name` is for messages.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the system refuses to open the input or to read on. Records before that were
    /// handed over.
    pub fn read<R: Records + ?Sized>(
        &mut self,
        name: &str,
        content: Content,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let open = |source| Error::Open { name: name.to_owned(), source };
        let decoded = match content {
            Content::Stream(stream) => self.stream(name, stream, records),
            Content::Held(held) => self.held(name, held, records),
            Content::File(path) => {
                let file = File::open(path).map_err(open)?;
                let before = file.metadata().map_err(open)?;
                if before.is_file() {
                    self.file(name, &file, &before, records)
                } else {
                    self.stream(name, file, records)
                }
            }
        };
        self.shrink();
        decoded
    }

    fn file<R: Records + ?Sized>(
        &mut self,
        name: &str,
        file: &File,
        before: &Metadata,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let broken_off = |source| Error::Read { name: name.to_owned(), offset: 0, source };
        let fingerprint = Fingerprint::of(before);
        let small =
            usize::try_from(fingerprint.size).ok().filter(|&size| size <= self.limits.stored);
        let (mut decoded, fingerprint) = if let Some(size) = small {
            let size = self.fetch(file, size).map_err(broken_off)?;
            let fingerprint = fingerprint.with_stored(&self.stored[..size]);
            let mut stored = std::mem::take(&mut self.stored);
            let whole = self.whole(name, &mut stored, size, records);
            self.stored = stored;
            (whole?, fingerprint)
        } else {
            let fingerprint = fingerprint.with_content(file).map_err(broken_off)?;
            // No further than it was long at first: a file that grows for ever must end.
            (self.stream(name, file.take(fingerprint.size), records)?, fingerprint)
        };
        let after = file.metadata().map_err(broken_off)?;
        decoded.changed = Fingerprint::of(&after) != Fingerprint::of(before);
        decoded.fingerprint = Some(fingerprint);
        Ok(decoded)
    }

    /// Reads a file of `size` bytes, or what is left of it, into `stored`.
    fn fetch(&mut self, mut file: &File, size: usize) -> io::Result<usize> {
        unpack::make_room(&mut self.stored, size, self.limits.stored);
        let mut filled = 0;
        while filled < size {
            match file.read(&mut self.stored[filled..size]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads bytes in memory, which are given back at the end with their share of it.
    fn held<R: Records + ?Sized>(
        &mut self,
        name: &str,
        held: Held,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let Held { bytes, room: _room } = held;
        // Copied only if someone else holds them too.
        let mut stored = Vec::from(bytes);
        let size = stored.len();
        self.whole(name, &mut stored, size, records)
    }

    /// Reads the first `size` bytes of `stored`.
    fn whole<R: Records + ?Sized>(
        &mut self,
        name: &str,
        stored: &mut Vec<u8>,
        size: usize,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let Self { inflate, text, scratch, limits, .. } = self;
        let bytes = &stored[..size];
        let window = match unpack::packing(bytes) {
            Packing::None => Window::whole(stored, size),
            Packing::Gzip => match unpack::gunzip_whole(inflate, bytes, text, limits.whole) {
                Some(length) if unpack::packing(&text[..length]) == Packing::None => {
                    Window::whole(text, length)
                }
                _ => return sliding(name, bytes, *limits, text, scratch, records),
            },
            Packing::Zstd => return sliding(name, bytes, *limits, text, scratch, records),
        };
        let meter = Rc::<Meter>::default();
        meter.bytes.set(size as u64);
        finish(name, Walk::new(window, scratch, &meter, records))
    }

    fn stream<R: Records + ?Sized>(
        &mut self,
        name: &str,
        stream: impl Read,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        sliding(name, stream, self.limits, &mut self.text, &mut self.scratch, records)
    }

    /// Gives back what a rare long record needed, so that no more than [`Limits::held_bytes`] are held.
    fn shrink(&mut self) {
        // Its length never goes down; what was only reserved costs nothing.
        if self.text.len() > self.limits.text_bytes() {
            self.text = Vec::new();
        }
        // It is used rarely.
        if self.scratch.capacity() > self.limits.window {
            self.scratch = Vec::new();
        }
    }

    /// Returns how many bytes are held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.stored.len() + self.text.len() + self.scratch.capacity()
    }
}

/// Reads through a sliding window.
fn sliding<R: Records + ?Sized>(
    name: &str,
    stored: impl Read,
    limits: Limits,
    text: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    records: &mut R,
) -> Result<Decoded, Error> {
    let meter = Rc::<Meter>::default();
    let reader = unpack::unpacked(stored, &meter);
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) if meter.failed.get() => {
            return Err(Error::Read { name: name.to_owned(), offset: 0, source: error });
        }
        // The second layer of compression is cut within its first bytes.
        Err(error) => Box::new(Damaged(Some(error))),
    };
    let window = Window::sliding(text, reader, limits.window, limits.record);
    finish(name, Walk::new(window, scratch, &meter, records))
}

fn finish<R: Records + ?Sized>(name: &str, walk: Walk<'_, R>) -> Result<Decoded, Error> {
    let (decoded, failed) = walk.walk();
    match failed {
        None => Ok(decoded),
        Some(source) => {
            Err(Error::Read { name: name.to_owned(), offset: decoded.bytes_consumed, source })
        }
    }
}

/// What is wrong from the first byte on.
struct Damaged(Option<io::Error>);

impl Read for Damaged {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
