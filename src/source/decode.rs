//! Opens an input, takes compression off, and hands over its records in order.
//!
//! In: one [`Content`]. Out: [`RecordHandler::record`] once for every record, and [`Decoded`], which says what
//! else there was. What is wrong with the content is in [`Decoded::broken`]; an [`Error`] is the system's.
//! Holds: each byte of a record is looked at once on the common path; memory is bounded by [`Limits`].

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read},
    mem,
    rc::Rc,
};

use libdeflater::Decompressor;

use crate::event::Fingerprint;

use super::{
    Content, Error, ReservedBytes, ForeignKind,
    archive::{Front, Stored},
    transcode::TextEncoding,
    unpack::{self, HEAD_BYTES, ReadCounter, Unpacked, FileFormat},
    json::scanner::RecordScanner,
    json::window::TextWindow,
};
use crate::event::CompressedText;

/// Takes the records of one input, in order.
pub trait RecordHandler {
    /// Takes the record that starts at `text[start]`, always with its `{`.
    ///
    /// The text goes on behind the record, and may end within it. Nothing may remain of a record
    /// that was [`RecordOutcome::Incomplete`] or [`RecordOutcome::Invalid`]: an incomplete one comes again.
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome;

    /// Learns what an envelope of LookupEvents says beside the record that comes next: the values of `Username` and
    /// `Resources`, as they stand there. Called with nothing behind that record.
    fn envelope_fields(&mut self, _username: Option<&[u8]>, _resources: Option<&[u8]>) {}

    /// Takes note of a record of more than [`Limits::record`] bytes. It is counted in [`Decoded::too_long`].
    fn oversized(&mut self, record: OversizedRecord);

    /// Learns that a long record needs a window of so many bytes; may wait until there is room for it.
    fn reserve_window(&mut self, _bytes: usize) {}

    /// Learns that the window is of the usual size (again).
    fn release_window(&mut self) {}

    /// Learns that what follows comes from this file of an archive; nothing if it comes from no archive.
    fn member(&mut self, _path: &str) {}

    /// Returns `false` to stop reading.
    fn go_on(&self) -> bool {
        true
    }

    /// Learns, now and then, how many more bytes were read, as stored.
    fn consumed(&mut self, _bytes: u64) {}
}

/// A record that is longer than what is read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OversizedRecord {
    /// Its text, or the text of the string that holds it; nothing if that is large even when compressed.
    pub content: Option<CompressedText>,
    /// Where it begins in the unpacked text.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It was taken and ends before this place.
    EndsAt(usize),
    /// The text ends inside the record.
    Incomplete,
    /// It is no JSON.
    Invalid {
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
    pub const DEFAULT: Self =
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
        Self::DEFAULT
    }
}

/// The form that an input's records came in: that of the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputFormat {
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
    /// Messages of SNS and SQS, and what Lambda is called with.
    Messages,
    /// Records of a stream in base64: Kinesis, and what Firehose could not deliver.
    Stream,
    /// Documents of an index, or entries of another store.
    Documents,
    /// Rows with columns.
    Columns,
    /// Texts of JSON, one after another.
    Texts,
    /// Nothing of CloudTrail.
    Foreign,
}

/// A place where the content is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
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
    pub oversized: u64,
    /// Bytes of text.
    pub bytes_read: u64,
    /// Bytes as stored.
    pub bytes_consumed: u64,
    /// How the records came.
    pub format: InputFormat,
    /// How many other things there were, by kind.
    pub foreign: BTreeMap<ForeignKind, u64>,
    /// What was broken: the first [`MAX_DEFECTS_KEPT`] places.
    pub defects: Vec<Defect>,
    /// How many places were broken.
    pub defect_count: u64,
    /// The file changed while it was read: it must not be remembered as done.
    pub changed: bool,
    /// [`RecordHandler::go_on`] said no: it was not read to its end.
    pub stopped: bool,
    /// It is an archive of files.
    pub archive: bool,
    /// What the file is to be known by, if it is one. Made when it was opened, so it says what was read.
    pub fingerprint: Option<Fingerprint>,
}

/// Broken places that are kept for one input. Whoever reads the report needs a few, not a million.
pub const MAX_DEFECTS_KEPT: usize = 20;

impl Decoded {
    /// Returns how many things there were that are no CloudTrail.
    pub fn foreign_count(&self) -> u64 {
        self.foreign.values().sum()
    }

    /// Returns what there was in an archive without files.
    pub(super) fn for_archive() -> Self {
        Self { archive: true, ..Self::default() }
    }

    /// Returns whether nothing in it is CloudTrail, nor may have been.
    pub fn is_foreign(&self) -> bool {
        self.records + self.oversized + self.defect_count == 0
            && (matches!(self.format, InputFormat::Empty | InputFormat::Foreign) || !self.foreign.is_empty())
    }

    /// Returns what there is in it that is no CloudTrail, in words for a person; nothing if there is nothing of that
    /// kind. A list without records is CloudTrail.
    pub fn foreign_summary(&self) -> Option<String> {
        if self.format == InputFormat::Empty && self.foreign.is_empty() {
            let kind = match (self.bytes_consumed, self.bytes_read) {
                _ if self.archive => "an archive without files that say anything",
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

    /// Notes a place that is not as it should be.
    pub(super) fn add_defect(&mut self, offset: u64, cause: impl Into<Cow<'static, str>>) {
        self.defect_count += 1;
        if self.defects.len() < MAX_DEFECTS_KEPT {
            self.defects.push(Defect { offset, cause: cause.into() });
        }
    }

    /// Adds what there was in one file of an archive.
    pub(super) fn merge_member(&mut self, name: &str, file: Self) {
        self.records += file.records;
        self.oversized += file.oversized;
        self.bytes_read += file.bytes_read;
        self.stopped |= file.stopped;
        for (kind, count) in file.foreign {
            *self.foreign.entry(kind).or_default() += count;
        }
        self.defect_count += file.defect_count;
        let room = MAX_DEFECTS_KEPT - self.defects.len();
        self.defects.extend(file.defects.into_iter().take(room).map(|Defect { offset, cause }| {
            Defect { offset, cause: format!("in {name}: {cause}").into() }
        }));
        if matches!(self.format, InputFormat::Empty | InputFormat::Foreign) && file.format != InputFormat::Empty {
            self.format = file.format;
        }
    }
}

/// Reads inputs one after another; the buffers live on from one to the next.
pub struct Decoder {
    limits: Limits,
    inflate: Decompressor,
    stored: Vec<u8>,
    text: Vec<u8>,
    scratch: Scratch,
}

/// Texts within the text, of the outermost one first. A packed one takes two places.
pub(super) type Scratch = [Vec<u8>; 2 * NESTED];

/// Texts within texts that are gone into: a message in a queue that holds a notification that holds an event is three.
pub(super) const NESTED: usize = 8;

impl Decoder {
    /// Returns a decoder that keeps to `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inflate: Decompressor::new(),
            stored: Vec::new(),
            text: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Reads `content` to its end and hands its records to `records`. `name` is for messages.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the system refuses to open the input or to read on. Records before that were
    /// handed over.
    pub fn read<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        content: Content,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let open = |source| Error::Open { name: name.to_owned(), source };
        let decoded = match content {
            Content::Stream(stream) => self.stream(name, stream, records),
            Content::Memory(held) => self.held(name, held, records),
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

    fn file<R: RecordHandler + ?Sized>(
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
            (self.large(name, file, fingerprint.size, records)?, fingerprint)
        };
        let after = file.metadata().map_err(broken_off)?;
        decoded.changed = Fingerprint::of(&after) != Fingerprint::of(before);
        decoded.fingerprint = Some(fingerprint);
        Ok(decoded)
    }

    /// Reads a file of `size` bytes, or what is left of it, into `stored`.
    fn fetch(&mut self, mut file: &File, size: usize) -> io::Result<usize> {
        unpack::ensure_len(&mut self.stored, size, self.limits.stored);
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
    fn held<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        held: ReservedBytes,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let ReservedBytes { bytes, permit: _permit } = held;
        // Copied only if someone else holds them too.
        let mut stored = Vec::from(bytes);
        let size = stored.len();
        self.whole(name, &mut stored, size, records)
    }

    /// Reads the first `size` bytes of `stored`.
    fn whole<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        stored: &mut Vec<u8>,
        size: usize,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let texts = self.texts(name, records);
        texts.read(|texts| {
            let read = texts.held(stored, size);
            texts.meter.bytes.set(size as u64);
            read
        })
    }

    /// Reads a file that is not held as a whole.
    fn large<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        file: &File,
        size: u64,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let texts = self.texts(name, records);
        let stored = Stored::File(file, size, Rc::clone(&texts.meter));
        texts.read(|texts| {
            let read = texts.stored(&stored, size)?;
            if !read.stopped {
                texts.meter.bytes.set(size);
            }
            Ok(read)
        })
    }

    fn stream<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        stream: impl Read,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        self.texts(name, records).stream(stream)
    }

    fn texts<'d, R: RecordHandler + ?Sized>(
        &'d mut self,
        name: &'d str,
        records: &'d mut R,
    ) -> InputReader<'d, R> {
        let Self { limits, inflate, text, scratch, .. } = self;
        let (limits, meter) = (*limits, Rc::default());
        InputReader { name, limits, inflate, text, scratch, records, meter, inside: Vec::new() }
    }

    /// Gives back what a rare long record needed, so that no more than [`Limits::held_bytes`] are held.
    fn shrink(&mut self) {
        // Its length never goes down; what was only reserved costs nothing.
        if self.text.len() > self.limits.text_bytes() {
            self.text = Vec::new();
        }
        // It is used rarely.
        for scratch in &mut self.scratch {
            if scratch.capacity() > self.limits.window / NESTED {
                *scratch = Vec::new();
            }
        }
    }

    /// Returns how many bytes are held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let scratch: usize = self.scratch.iter().map(Vec::capacity).sum();
        self.stored.len() + self.text.len() + scratch
    }
}

/// Reads texts, and archives of texts, through a sliding window.
pub(super) struct InputReader<'d, R: RecordHandler + ?Sized> {
    /// The input, for messages.
    pub(super) name: &'d str,
    pub(super) limits: Limits,
    inflate: &'d mut Decompressor,
    text: &'d mut Vec<u8>,
    scratch: &'d mut Scratch,
    pub(super) records: &'d mut R,
    pub(super) meter: Rc<ReadCounter>,
    /// The file that is read and the archives that it lies in, from the outermost on; empty for an input that is no archive.
    pub(super) inside: Vec<String>,
}

impl<R: RecordHandler + ?Sized> InputReader<'_, R> {
    /// Reads an input from front to back.
    fn stream(self, stored: impl Read) -> Result<Decoded, Error> {
        let stored = unpack::counted(stored, &self.meter);
        self.read(|texts| texts.unpack(stored))
    }

    /// Reads an input, and tells how much of it was read.
    fn read(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<Decoded, Error>,
    ) -> Result<Decoded, Error> {
        let mut decoded = read(&mut self)?;
        let bytes = self.meter.take_unreported();
        if bytes > 0 {
            self.records.consumed(bytes);
        }
        decoded.bytes_consumed = self.meter.bytes.get();
        if decoded.is_foreign() && !decoded.foreign.is_empty() {
            decoded.format = InputFormat::Foreign;
        }
        Ok(decoded)
    }

    /// Reads what can be read at any place.
    fn stored(&mut self, stored: &Stored<'_>, size: u64) -> Result<Decoded, Error> {
        let head = stored.head().map_err(|error| self.failed(error))?;
        if unpack::detect_format(&head) == FileFormat::Zip {
            return self.zip(stored);
        }
        // No further than it was long at first: a file that grows for ever must end.
        let whole = || Front::new(stored).take(size);
        match self.check(whole(), &head)? {
            Some(damaged) => Ok(damaged),
            None => self.unpack(unpack::counted(whole(), &self.meter)),
        }
    }

    /// Reads bytes that are held as a whole: the first `size` of `stored`.
    pub(super) fn held(&mut self, stored: &mut Vec<u8>, size: usize) -> Result<Decoded, Error> {
        let bytes = &stored[..size];
        let packing = |text: &[u8]| unpack::detect_format(&text[..text.len().min(HEAD_BYTES)]);
        let packed = packing(bytes);
        // How far it is read is told by whoever holds it.
        let silent = Rc::new(ReadCounter::unreported());
        match packed {
            FileFormat::None => {
                let window = TextWindow::whole(stored, size);
                return finish(self.name, RecordScanner::new(window, self.scratch, &silent, self.records));
            }
            FileFormat::Gzip => {
                let unpacked =
                    unpack::gunzip_single_member(self.inflate, bytes, self.text, self.limits.whole);
                let is_text = |length: &usize| packing(&self.text[..*length]) == FileFormat::None;
                if let Some(length) = unpacked.filter(is_text) {
                    let window = TextWindow::whole(self.text, length);
                    let walk = RecordScanner::new(window, self.scratch, &silent, self.records);
                    return finish(self.name, walk);
                }
            }
            FileFormat::Zip => return self.zip(&Stored::Bytes(bytes)),
            _ => {}
        }
        if let Some(damaged) = self.check(bytes, bytes)? {
            return Ok(damaged);
        }
        let meter = mem::replace(&mut self.meter, silent);
        let read = self.unpack(unpack::counted(bytes, &self.meter));
        self.meter = meter;
        read
    }

    /// Reads what is packed once without handing anything over. Returns what there was if it is damaged: what is unpacked
    /// from damaged data may look well, and would stay in the index for ever. What is only cut is right as far as it goes.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses to read it.
    fn check(&self, stored: impl Read, head: &[u8]) -> Result<Option<Decoded>, Error> {
        let head = &head[..head.len().min(HEAD_BYTES)];
        if !unpack::detect_format(head).is_compressed() {
            return Ok(None);
        }
        let meter = Rc::default();
        let stored = unpack::counted(stored, &meter);
        let mut decoded = Decoded::default();
        let (text, error) = unpack::verify(stored, &meter, &|| self.records.go_on());
        match error {
            Some(error) if meter.failed.get() => Err(self.failed(error)),
            Some(error) if error.kind() == io::ErrorKind::InvalidData => {
                decoded.add_defect(text, format!("{error}: nothing of it is loaded"));
                Ok(Some(decoded))
            }
            _ => Ok(None),
        }
    }

    /// Takes compression off and reads what is behind it.
    pub(super) fn unpack(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let opened = match unpack::open(stored, &self.meter) {
            Ok(opened) => opened,
            Err(error) if self.meter.failed.get() => return Err(self.failed(error)),
            // A layer of compression is cut or damaged within its first bytes.
            Err(error) => Unpacked::Text(Box::new(Damaged(Some(error))), None),
        };
        match opened {
            Unpacked::Text(text, encoding) => self.read_text(text, encoding),
            Unpacked::Tar(stored) => self.tar(stored),
            Unpacked::Zip(stored) => self.streamed_zip(stored),
            Unpacked::UnsupportedArchive(locked) => {
                let mut decoded = Decoded::default();
                decoded.add_defect(0, locked.advice());
                Ok(decoded)
            }
        }
    }

    fn read_text(
        &mut self,
        text: Box<dyn Read + '_>,
        encoding: Option<TextEncoding>,
    ) -> Result<Decoded, Error> {
        let Limits { window, record, .. } = self.limits;
        let window = TextWindow::sliding(self.text, text, window, record);
        let mut decoded =
            finish(self.name, RecordScanner::new(window, self.scratch, &self.meter, self.records))?;
        if let Some(encoding) = encoding {
            for broken in &mut decoded.defects {
                broken.cause =
                    format!("{} (counted in UTF-8; the file is {encoding})", broken.cause).into();
            }
        }
        Ok(decoded)
    }

    /// Returns the error that the system refuses to read on.
    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Read { name: self.name.to_owned(), offset: self.meter.bytes.get(), source }
    }
}

fn finish<R: RecordHandler + ?Sized>(name: &str, walk: RecordScanner<'_, R>) -> Result<Decoded, Error> {
    let (decoded, failed) = walk.scan();
    match failed {
        None => Ok(decoded),
        Some(source) => {
            Err(Error::Read { name: name.to_owned(), offset: decoded.bytes_consumed, source })
        }
    }
}

/// What is wrong from the first byte on.
pub(super) struct Damaged(pub(super) Option<io::Error>);

impl Read for Damaged {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
