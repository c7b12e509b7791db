//! Opens an input, decompresses it, and passes its records on in order.
//!
//! Input: one [`Content`]. Output: one call of [`RecordHandler::record`] per record, and [`Decoded`], the report on
//! everything else. Damaged, invalid or unsupported content is a [`Defect`](super::Defect) in the report; an [`Error`]
//! says that the operating system could not open or read the input.
//! Invariant: memory is bounded by [`DecoderLimits`]; on the common path each byte of a record is examined once before it is
//! parsed.
//!
//! The way of an input: `unpack` removes compression, `archive` separates the members of an archive, which start again
//! at `unpack`, and [`json::scanner`](super::json) finds the records in a text.

use std::{
    fs::{File, Metadata},
    io::{self, Cursor, ErrorKind, Read},
    mem,
    rc::Rc,
};

use libdeflater::Decompressor;

use super::{
    archive::{self, FromStart, MemberReader, RandomAccess},
    decode_memory::{DecodeMemory, ReserveMemory},
    decoded::Decoded,
    error::Error,
    expectation::is_trail_file,
    input::{Content, ReservedBytes},
    input_format::InputFormat,
    json::{
        record_handler::RecordHandler,
        scanner::{MAX_TEXT_DEPTH, RecordScanner, ScratchBuffers},
        window::TextWindow,
    },
    transcode::TextEncoding,
    unpack::{self, Compression, FileFormat, HEAD_BYTES, ReadCounter, Unpacked},
};
use crate::{event::Fingerprint, limit::DecoderLimits};

/// Archives within an archive that are read. No format has more.
const MAX_ARCHIVE_DEPTH: usize = 3;

/// Reads inputs one after another.
///
/// A decoder belongs to one worker. Its buffers are reused from one input to the next: allocating them anew would cost
/// more than reading a usual log file.
pub struct Decoder {
    limits: DecoderLimits,
    inflate: Decompressor,
    /// A small file as stored.
    stored: Vec<u8>,
    /// A decompressed text, or the window of one.
    text: Vec<u8>,
    scratch: ScratchBuffers,
}

impl Decoder {
    /// Returns a decoder within these limits. No memory is allocated yet.
    pub fn new(limits: DecoderLimits) -> Self {
        Self {
            limits,
            inflate: Decompressor::new(),
            stored: Vec::new(),
            text: Vec::new(),
            scratch: ScratchBuffers::default(),
        }
    }

    /// Reads `content` to its end and passes its records to `records`. `name` is the input's name in messages.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the input cannot be opened or read. Records before that were passed on.
    pub fn read<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        content: Content,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let open_error = |source| Error::Open { name: name.to_owned(), source };
        let decoded = match content {
            Content::Stream(stream) => self.read_stream(name, stream, records),
            Content::Memory(bytes) => self.read_memory(name, bytes, records),
            Content::File(path) => {
                let file = File::open(path).map_err(open_error)?;
                let metadata = file.metadata().map_err(open_error)?;
                if metadata.is_file() {
                    self.read_file(name, &file, &metadata, records)
                } else {
                    self.read_stream(name, file, records)
                }
            }
        };
        self.shrink();
        decoded
    }

    fn read_file<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        file: &File,
        before: &Metadata,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let read_error = |source| Error::Read { name: name.to_owned(), offset: 0, source };
        let fingerprint = Fingerprint::from_metadata(before);
        let small_size = usize::try_from(fingerprint.size)
            .ok()
            .filter(|&size| size <= self.limits.max_stored_bytes);
        let (mut decoded, fingerprint) = if let Some(size) = small_size {
            let size = self.fill_stored(file, size).map_err(read_error)?;
            let fingerprint = fingerprint.with_content_hash_of(&self.stored[..size]);
            let mut stored = mem::take(&mut self.stored);
            let decoded = self.read_whole(name, &mut stored, size, records);
            self.stored = stored;
            (decoded?, fingerprint)
        } else {
            let fingerprint = fingerprint.with_content_hash(file).map_err(read_error)?;
            (self.read_large_file(name, file, fingerprint.size, records)?, fingerprint)
        };
        let after = file.metadata().map_err(read_error)?;
        decoded.changed = Fingerprint::from_metadata(&after) != Fingerprint::from_metadata(before);
        decoded.fingerprint = Some(fingerprint);
        Ok(decoded)
    }

    /// Reads up to `size` bytes of a file into `stored`, and returns how many there are.
    fn fill_stored(&mut self, mut file: &File, size: usize) -> io::Result<usize> {
        unpack::ensure_len(&mut self.stored, size, self.limits.max_stored_bytes);
        let mut filled = 0;
        while filled < size {
            match file.read(&mut self.stored[filled..size]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads bytes that the source holds in memory; they are freed at the end, with their share of the memory.
    fn read_memory<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        content: ReservedBytes,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        let ReservedBytes { bytes, permit: _permit } = content;
        // Copies only if there is another reference to the bytes.
        let mut stored = Vec::from(bytes);
        let size = stored.len();
        self.read_whole(name, &mut stored, size, records)
    }

    /// Reads the first `size` bytes of `stored`.
    fn read_whole<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        stored: &mut Vec<u8>,
        size: usize,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        self.reader(name, size, records).read_to_report(|reader| {
            let decoded = reader.read_held(stored, size);
            reader.counter.bytes.set(size as u64);
            decoded
        })
    }

    /// Reads a file that is too large for memory.
    fn read_large_file<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        file: &File,
        size: u64,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        self.stored = Vec::new();
        self.reader(name, 0, records).read_to_report(|reader| {
            let stored = RandomAccess::File { file, size, counter: Rc::clone(&reader.counter) };
            let decoded = reader.read_random_access(&stored, size)?;
            if !decoded.stopped {
                reader.counter.bytes.set(size);
            }
            Ok(decoded)
        })
    }

    fn read_stream<R: RecordHandler + ?Sized>(
        &mut self,
        name: &str,
        stream: impl Read,
        records: &mut R,
    ) -> Result<Decoded, Error> {
        self.stored = Vec::new();
        self.reader(name, 0, records).read_to_report(|reader| {
            let stored = unpack::counted(stream, &reader.counter);
            reader.unpack(stored)
        })
    }

    /// Returns a reader of one input, of which `held` bytes are in memory as stored.
    fn reader<'d, R: RecordHandler + ?Sized>(
        &'d mut self,
        name: &'d str,
        held: usize,
        records: &'d mut R,
    ) -> InputReader<'d, R> {
        let Self { limits, inflate, text, scratch, .. } = self;
        InputReader {
            name,
            memory: DecodeMemory::new(limits, held),
            limits: *limits,
            inflate,
            text,
            scratch,
            records,
            counter: Rc::default(),
            members: Vec::new(),
        }
    }

    /// Frees what a rare long record needed, so that no more than [`DecoderLimits::retained_bytes`] remain.
    fn shrink(&mut self) {
        // The length of the buffer never decreases; memory that was only reserved costs nothing.
        if self.text.len() > self.limits.text_buffer_bytes() {
            self.text = Vec::new();
        }
        for scratch in &mut self.scratch {
            if scratch.capacity() > self.limits.window_bytes / MAX_TEXT_DEPTH {
                *scratch = Vec::new();
            }
        }
    }

    /// Returns the number of bytes that the buffers take.
    #[cfg(test)]
    pub(super) fn retained_bytes(&self) -> usize {
        let scratch: usize = self.scratch.iter().map(Vec::capacity).sum();
        self.stored.len() + self.text.len() + scratch
    }
}

/// Reads one input: a text, or an archive of texts and archives.
struct InputReader<'d, R: RecordHandler + ?Sized> {
    /// The input's name in messages.
    name: &'d str,
    limits: DecoderLimits,
    memory: Rc<DecodeMemory>,
    inflate: &'d mut Decompressor,
    text: &'d mut Vec<u8>,
    scratch: &'d mut ScratchBuffers,
    records: &'d mut R,
    counter: Rc<ReadCounter>,
    /// The member that is read and the archives that contain it, the outermost first; empty outside of archives.
    members: Vec<String>,
}

impl<R: RecordHandler + ?Sized> InputReader<'_, R> {
    /// Reads the input by `read`, and completes the report.
    fn read_to_report(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<Decoded, Error>,
    ) -> Result<Decoded, Error> {
        let decoded = read(&mut self);
        self.memory.release(self.records);
        let mut decoded = decoded?;
        let bytes = self.counter.take_unreported();
        if bytes > 0 {
            self.records.stored_bytes_read(bytes);
        }
        decoded.stored_bytes = self.counter.bytes.get();
        if decoded.is_foreign() && !decoded.foreign.is_empty() {
            decoded.format = InputFormat::Foreign;
        }
        Ok(decoded)
    }

    /// Reads bytes that can be read at any offset.
    fn read_random_access(
        &mut self,
        stored: &RandomAccess<'_>,
        size: u64,
    ) -> Result<Decoded, Error> {
        let head = stored.head().map_err(|error| self.read_error(error))?;
        if unpack::detect_format(&head) == FileFormat::Zip {
            return self.read_zip(stored);
        }
        // No more than the size at the beginning: reading a file that keeps growing must end.
        let whole = || FromStart::new(stored).take(size);
        match self.find_damage(whole(), &head)? {
            Some(damaged) => Ok(damaged),
            None => self.unpack(unpack::counted(whole(), &self.counter)),
        }
    }

    /// Reads bytes in memory: the first `size` of `stored`.
    fn read_held(&mut self, stored: &mut Vec<u8>, size: usize) -> Result<Decoded, Error> {
        let bytes = &stored[..size];
        let format = |text: &[u8]| unpack::detect_format(&text[..text.len().min(HEAD_BYTES)]);
        // The caller reports progress.
        let unreported = Rc::new(ReadCounter::unreported());
        match format(bytes) {
            FileFormat::Plain => {
                return self.scan(TextWindowSource::Stored(stored, size), &unreported);
            }
            FileFormat::Gzip => {
                let max = self.limits.max_unpacked_bytes;
                let length = unpack::gunzip_single_member(self.inflate, bytes, self.text, max);
                let is_text = |length: &usize| format(&self.text[..*length]) == FileFormat::Plain;
                if let Some(length) = length.filter(is_text) {
                    return self.scan(TextWindowSource::Text(length), &unreported);
                }
            }
            FileFormat::Zip => return self.read_zip(&RandomAccess::Bytes(bytes)),
            _ => {}
        }
        if let Some(damaged) = self.find_damage(bytes, bytes)? {
            return Ok(damaged);
        }
        self.with_counter(unreported, |reader| {
            reader.unpack(unpack::counted(bytes, &reader.counter))
        })
    }

    /// Reads with another counter.
    fn with_counter<T>(
        &mut self,
        counter: Rc<ReadCounter>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let own = mem::replace(&mut self.counter, counter);
        let result = read(self);
        self.counter = own;
        result
    }

    /// Decompresses an input without using it, and returns the report if it is damaged. Records from damaged data may look
    /// valid, and would stay in the index; data that is only cut off is valid as far as it goes.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the input cannot be read.
    fn find_damage(&mut self, stored: impl Read, head: &[u8]) -> Result<Option<Decoded>, Error> {
        let head = &head[..head.len().min(HEAD_BYTES)];
        if !unpack::detect_format(head).is_compressed() {
            return Ok(None);
        }
        let counter = Rc::default();
        let stored = unpack::counted(stored, &counter);
        let mut memory = self.memory.with(&mut *self.records);
        let (text_bytes, error) = unpack::verify(stored, &counter, &mut memory);
        match error {
            Some(error) if counter.failed.get() => Err(self.read_error(error)),
            Some(error) if error.kind() == ErrorKind::InvalidData => {
                let cause = format!("{error}: none of it is loaded");
                Ok(Some(Decoded::for_defect(text_bytes, cause)))
            }
            _ => Ok(None),
        }
    }

    /// Removes the compression and reads what it contains.
    fn unpack(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let mut memory = self.memory.with(&mut *self.records);
        let unpacked = match unpack::unpack(stored, &self.counter, &mut memory) {
            Ok(unpacked) => unpacked,
            Err(error) if self.counter.failed.get() => return Err(self.read_error(error)),
            // A layer of compression is damaged in its first bytes, or there is no memory for it.
            Err(error) => Unpacked::Text(Box::new(FailingReader(Some(error))), None),
        };
        if self.memory.needs_text_buffer() && self.members.is_empty() {
            *self.text = Vec::new();
        }
        match unpacked {
            Unpacked::Text(text, encoding) => self.read_text(text, encoding),
            Unpacked::Tar(stored) => self.read_tar(stored),
            Unpacked::Zip(stored) => self.read_streamed_zip(stored),
            Unpacked::Unsupported(archive) => Ok(Decoded::for_defect(0, archive.advice())),
        }
    }

    fn read_text(
        &mut self,
        text: Box<dyn Read + '_>,
        encoding: Option<TextEncoding>,
    ) -> Result<Decoded, Error> {
        let counter = Rc::clone(&self.counter);
        let mut decoded = self.scan(TextWindowSource::Reader(text), &counter)?;
        if let Some(encoding) = encoding {
            for defect in &mut decoded.defects {
                defect.cause =
                    format!("{} (offset in UTF-8; the file is {encoding})", defect.cause).into();
            }
        }
        Ok(decoded)
    }

    /// Scans a text for records.
    fn scan(
        &mut self,
        text: TextWindowSource<'_>,
        counter: &Rc<ReadCounter>,
    ) -> Result<Decoded, Error> {
        let window = match text {
            TextWindowSource::Stored(stored, size) => TextWindow::whole(stored, size),
            TextWindowSource::Text(length) => TextWindow::whole(self.text, length),
            TextWindowSource::Reader(reader) => {
                let DecoderLimits { window_bytes, max_record_bytes, .. } = self.limits;
                TextWindow::sliding(self.text, reader, window_bytes, max_record_bytes)
            }
        };
        let scanner = RecordScanner::new(window, self.scratch, counter, self.records);
        let (decoded, failed) = scanner.scan();
        match failed {
            None => Ok(decoded),
            Some(source) => {
                let name = self.name.to_owned();
                Err(Error::Read { name, offset: decoded.stored_bytes, source })
            }
        }
    }

    fn read_tar(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        self.read_archive(|reader| archive::read_tar(stored, reader))
    }

    fn read_zip(&mut self, stored: &RandomAccess<'_>) -> Result<Decoded, Error> {
        let max_held_bytes = self.limits.max_stored_bytes as u64;
        self.read_archive(|reader| archive::read_zip(stored, max_held_bytes, reader))
    }

    /// Reads a zip archive that can only be read from front to back.
    fn read_streamed_zip(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let max = self.limits.max_stored_bytes as u64;
        let mut memory = self.memory.with(&mut *self.records);
        let _reservation = match memory.reserve(max, &"holding the zip archive") {
            Ok(reservation) => reservation,
            Err(error) => return Ok(Decoded::for_defect(0, error.to_string())),
        };
        match archive::hold_zip(stored, max, self)? {
            Err(damaged) => Ok(damaged),
            // The bytes were counted when they were read into memory.
            Ok(bytes) => self.with_counter(Rc::new(ReadCounter::unreported()), |reader| {
                reader.read_zip(&RandomAccess::Bytes(&bytes))
            }),
        }
    }

    /// Reads an archive by `read`, unless it is nested too deep.
    fn read_archive(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Decoded, Error>,
    ) -> Result<Decoded, Error> {
        let defect = |cause| Decoded { is_archive: true, ..Decoded::for_defect(0, cause) };
        if self.members.len() > MAX_ARCHIVE_DEPTH {
            return Ok(defect(format!(
                "an archive in more than {MAX_ARCHIVE_DEPTH} archives is not read: unpack it and load the files in it"
            )));
        }
        // The buffer for text is used for members that are decompressed as a whole.
        let text_buffer =
            if self.members.is_empty() { self.limits.unused_text_buffer_bytes() } else { 0 };
        let mut memory = self.memory.with(&mut *self.records);
        match memory.reserve(text_buffer, &"reading the archive") {
            Ok(_reservation) => read(self),
            Err(error) => Ok(defect(error.to_string())),
        }
    }

    /// Reads a member of an archive. It is held in memory as a whole, if it is small, so that damage is found before
    /// anything is loaded.
    fn read_member_content(
        &mut self,
        size: u64,
        mut stored: Box<dyn Read + '_>,
    ) -> Result<Decoded, Error> {
        let max = self.limits.max_stored_bytes as u64;
        // One more byte shows that the member is larger than the archive states, or too large to be held.
        let (mut bytes, mut limit) = (Vec::new(), size.min(max) + 1);
        let mut reservations = Vec::new();
        let read = loop {
            let more = limit - bytes.len() as u64;
            let mut memory = self.memory.with(&mut *self.records);
            match memory.reserve(more, &"holding the file") {
                Ok(reservation) => reservations.push(reservation),
                Err(error) => return Ok(Decoded::for_defect(0, error.to_string())),
            }
            bytes.reserve_exact(usize::try_from(more).unwrap_or_default());
            match stored.by_ref().take(more).read_to_end(&mut bytes) {
                Ok(_) if bytes.len() as u64 == limit && limit <= max => limit = max + 1,
                read => break read,
            }
        };
        match read {
            Ok(_) if (bytes.len() as u64) < limit => {
                let length = bytes.len();
                self.read_held(&mut bytes, length)
            }
            Ok(_) => self.unpack(Box::new(Cursor::new(bytes).chain(stored))),
            Err(error) if self.counter.failed.get() => Err(self.read_error(error)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.unpack(Box::new(Cursor::new(bytes).chain(FailingReader(Some(error)))))
            }
            Err(error) => {
                let cause = format!("{error}: none of it is loaded");
                Ok(Decoded::for_defect(bytes.len() as u64, cause))
            }
        }
    }
}

impl<R: RecordHandler + ?Sized> MemberReader for InputReader<'_, R> {
    fn read_member(
        &mut self,
        archive: &mut Decoded,
        name: String,
        size: u64,
        stored: Box<dyn Read + '_>,
    ) -> Result<(), Error> {
        self.members.push(name);
        let path = self.members.join("/");
        self.records.archive_member(&path);
        let decoded = self.read_member_content(size, stored);
        let path = format!("{}/{path}", self.name);
        let name = self.members.pop().unwrap_or_default();
        self.records.archive_member(&self.members.join("/"));
        let mut decoded = decoded?;
        if let Some(kinds) =
            decoded.foreign_summary().filter(|_| decoded.is_foreign() && is_trail_file(&path))
        {
            decoded.foreign.clear();
            decoded.add_defect(0, format!("not CloudTrail: {kinds}"));
        }
        archive.merge_member(&name, decoded);
        Ok(())
    }

    fn decompress<'a>(
        &mut self,
        stored: Box<dyn Read + 'a>,
        compression: Compression,
        counter: &Rc<ReadCounter>,
    ) -> io::Result<Box<dyn Read + 'a>> {
        let mut memory = self.memory.with(&mut *self.records);
        unpack::decompress(stored, compression, counter, &mut memory)
    }

    fn counter(&self) -> Rc<ReadCounter> {
        Rc::clone(&self.counter)
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { name: self.name.to_owned(), offset: self.counter.bytes.get(), source }
    }
}

/// Where the text to be scanned is.
enum TextWindowSource<'t> {
    /// The first bytes of a buffer.
    Stored(&'t mut Vec<u8>, usize),
    /// The first bytes of the text buffer.
    Text(usize),
    /// Behind a reader.
    Reader(Box<dyn Read + 't>),
}

/// Fails at the first read.
struct FailingReader(Option<io::Error>);

impl Read for FailingReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
