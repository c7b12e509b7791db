//! Decompresses an input until there is text or an archive, whatever the file is called.
//!
//! Input: the bytes as stored. Output: [`Unpacked`].
//! Invariant: memory for decompression is reserved before it is used, see [`ReserveMemory`]; a decompression bomb is
//! abandoned after [`MAX_SUSPICIOUS_BYTES`].
//! Not here: the members of an archive (see `archive`).

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    rc::Rc,
};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use lzma_rust2::XzReader;
use memchr::memmem;

use super::{
    decode_memory::{Reservation, ReserveMemory},
    transcode::{TextEncoding, Transcoder, detect_encoding},
    unsupported_archive::{UnsupportedArchive, unsupported_archive},
};

/// The size from which text is suspicious if it comes from very few bytes. Far above any log file of a trail.
const MAX_SUSPICIOUS_BYTES: u64 = 256 << 20;

/// Bytes of text from one stored byte that are above suspicion. Log files of a trail grow 5 to 20 times.
const MAX_EXPANSION: u64 = 250;

/// Layers of compression that are removed. Two occur: Firehose compresses what CloudWatch Logs compressed.
const MAX_LAYERS: usize = 3;

/// First bytes that show the format of a file: the length of a tar header.
pub(super) const HEAD_BYTES: usize = 512;

/// Size of the buffer in front of a decompressor.
const READ_BYTES: usize = 128 << 10;

/// The most text that deflate gives for one stored byte (RFC 1951), rounded up.
const DEFLATE_EXPANSION: usize = 1_040;

/// Counts the bytes that are read as stored, and records whether reading them failed.
#[derive(Debug, Default)]
pub(super) struct ReadCounter {
    pub(super) bytes: Cell<u64>,
    /// Those of them that were reported as progress.
    reported: Cell<u64>,
    /// The input itself could not be read, rather than decompressed.
    pub(super) failed: Cell<bool>,
    /// Nothing is to be reported, because the bytes were counted before.
    is_unreported: bool,
}

impl ReadCounter {
    /// Returns a counter for bytes that were reported before.
    pub(super) fn unreported() -> Self {
        Self { is_unreported: true, ..Self::default() }
    }

    /// Adds the result of a read.
    pub(super) fn count(&self, read: &io::Result<usize>) {
        match read {
            Ok(read) => self.bytes.set(self.bytes.get() + *read as u64),
            Err(error) => self.failed.set(error.kind() != ErrorKind::Interrupted),
        }
    }

    /// Returns the number of bytes that were read since the last call.
    pub(super) fn take_unreported(&self) -> u64 {
        let unreported = self.bytes.get() - self.reported.replace(self.bytes.get());
        if self.is_unreported { 0 } else { unreported }
    }
}

struct CountingReader<R> {
    inner: R,
    counter: Rc<ReadCounter>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.counter.count(&read);
        read
    }
}

/// The format of a file, from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    /// An archive of members one after another.
    Tar,
    /// An archive with a directory at its end.
    Zip,
    /// Text in an encoding other than UTF-8.
    Encoded(TextEncoding),
    /// A format that is not supported.
    Unsupported(&'static UnsupportedArchive),
    /// Text in UTF-8, or unknown.
    Plain,
}

impl FileFormat {
    /// Returns whether it is a compression format.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Bzip2 | Self::Xz)
    }
}

/// Returns the format of a file that starts with `head`: [`HEAD_BYTES`] or fewer.
pub(super) fn detect_format(head: &[u8]) -> FileFormat {
    match head {
        [b'{' | b'[', second, ..] if *second != 0 => FileFormat::Plain,
        [0x1f, 0x8b, ..] => FileFormat::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FileFormat::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if begins_bzip2_block(rest) => FileFormat::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => FileFormat::Xz,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => FileFormat::Zip,
        _ if begins_tar(head) => FileFormat::Tar,
        _ => match (detect_encoding(head), unsupported_archive(head)) {
            (Some(encoding), _) => FileFormat::Encoded(encoding),
            (None, Some(archive)) => FileFormat::Unsupported(archive),
            (None, None) => FileFormat::Plain,
        },
    }
}

/// Returns whether a bzip2 block, or the end of the stream, begins here: the digits of pi, or of its square root.
fn begins_bzip2_block(rest: &[u8]) -> bool {
    const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let length = rest.len().min(BLOCK.len());
    [BLOCK, END].iter().any(|magic| rest[..length] == magic[..length])
}

/// Returns whether bytes are a tar header with a correct checksum, in which the checksum field counts as spaces.
fn begins_tar(head: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let Some(header) = head.first_chunk::<HEAD_BYTES>() else { return false };
    let byte = |(at, &byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { byte };
    let sum: u32 = header.iter().enumerate().map(|entry| u32::from(byte(entry))).sum();
    let digits = header[CHECKSUM].iter().filter(|byte| byte.is_ascii_digit());
    let stored = digits.fold(0_u32, |stored, byte| stored * 8 + u32::from(byte - b'0'));
    header[0] != 0 && stored == sum
}

/// An input without its compression.
pub(super) enum Unpacked<'a> {
    /// Text in UTF-8, and its encoding if it is stored in another one.
    Text(Box<dyn Read + 'a>, Option<TextEncoding>),
    /// A tar archive.
    Tar(Box<dyn Read + 'a>),
    /// A zip archive.
    Zip(Box<dyn Read + 'a>),
    /// A format that is not supported.
    Unsupported(&'static UnsupportedArchive),
}

/// Returns a reader that counts what it reads.
pub(super) fn counted<'a>(stored: impl Read + 'a, counter: &Rc<ReadCounter>) -> Box<dyn Read + 'a> {
    Box::new(CountingReader { inner: stored, counter: Rc::clone(counter) })
}

/// Removes all compression from `stored`, whose bytes are counted by `counter`.
///
/// # Errors
///
/// Returns an error if the first bytes cannot be read, or if there is no memory for decompression.
pub(super) fn unpack<'a>(
    stored: Box<dyn Read + 'a>,
    counter: &Rc<ReadCounter>,
    memory: &mut dyn ReserveMemory,
) -> io::Result<Unpacked<'a>> {
    let mut stored = stored;
    for _ in 0..MAX_LAYERS {
        let head = read_head(&mut stored)?;
        let format = detect_format(&head);
        let compression = Compression::new(format, &head);
        let whole: Box<dyn Read + 'a> = Box::new(Cursor::new(head).chain(stored));
        stored = match format {
            FileFormat::Plain => return Ok(Unpacked::Text(whole, None)),
            FileFormat::Encoded(encoding) => {
                let text = Transcoder::new(whole, encoding);
                return Ok(Unpacked::Text(Box::new(text), Some(encoding)));
            }
            FileFormat::Tar => return Ok(Unpacked::Tar(whole)),
            FileFormat::Zip => return Ok(Unpacked::Zip(whole)),
            FileFormat::Unsupported(archive) => return Ok(Unpacked::Unsupported(archive)),
            _ => decompress(whole, compression, counter, memory)?,
        };
    }
    Ok(Unpacked::Text(stored, None))
}

/// Decompresses an input to its end without using the text, unless `is_stopped`. Returns the size of the text, and what
/// is wrong with the input.
pub(super) fn verify(
    stored: Box<dyn Read + '_>,
    counter: &Rc<ReadCounter>,
    memory: &mut dyn ReserveMemory,
) -> (u64, Option<io::Error>) {
    let mut text = match unpack(stored, counter, memory) {
        Ok(Unpacked::Text(text, _) | Unpacked::Tar(text) | Unpacked::Zip(text)) => text,
        Ok(Unpacked::Unsupported(_)) => return (0, None),
        Err(error) => return (0, Some(error)),
    };
    let (mut read, mut buffer) = (0, vec![0; READ_BYTES]);
    while !memory.is_stopped() {
        match text.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => read += length as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

/// How one layer of an input is compressed, and the memory that decompressing it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not compressed.
    None,
    /// Deflate in a zip archive.
    Deflate,
    /// Gzip, any number of members.
    Gzip,
    /// Bzip2.
    Bzip2,
    /// Xz with a dictionary of this size.
    Xz { dictionary_bytes: u64 },
    /// Zstandard with a window of this size.
    Zstd { window_bytes: u64 },
}

/// The window of deflate (RFC 1951), and the tables for it.
const DEFLATE_MEMORY_BYTES: u64 = 64 << 10;

/// The memory that bzip2 takes for its largest blocks: 100 KiB and four times 900 kB (manual of bzip2, "Memory
/// management").
const BZIP2_MEMORY_BYTES: u64 = 4 << 20;

/// The smallest window that is reserved for zstd: that of `zstd -19`. Data consists of frames, and the first one may have
/// a smaller window than the others.
const MIN_ZSTD_WINDOW_BYTES: u64 = 8 << 20;

/// What the decoders of xz and zstd take in addition to dictionary and window.
const DECODER_OVERHEAD_BYTES: u64 = 1 << 20;

impl Compression {
    /// Returns the compression of a file of this format that starts with `head`.
    pub(super) fn new(format: FileFormat, head: &[u8]) -> Self {
        match format {
            FileFormat::Gzip => Self::Gzip,
            FileFormat::Bzip2 => Self::Bzip2,
            FileFormat::Xz => {
                Self::Xz { dictionary_bytes: xz_dictionary_bytes(head).unwrap_or_default() }
            }
            FileFormat::Zstd => {
                let window = zstd_window_bytes(head).unwrap_or_default();
                Self::Zstd { window_bytes: window.max(MIN_ZSTD_WINDOW_BYTES) }
            }
            _ => Self::None,
        }
    }

    /// Returns the memory that decompression takes.
    fn memory_bytes(self) -> u64 {
        READ_BYTES as u64
            + match self {
                Self::None => 0,
                Self::Deflate | Self::Gzip => DEFLATE_MEMORY_BYTES,
                Self::Bzip2 => BZIP2_MEMORY_BYTES,
                Self::Xz { dictionary_bytes: bytes } | Self::Zstd { window_bytes: bytes } => {
                    bytes + DECODER_OVERHEAD_BYTES
                }
            }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "stored",
            Self::Deflate => "zip",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz { .. } => "xz",
            Self::Zstd { .. } => "zstd",
        }
    }
}

/// Returns the dictionary size in the first block header of an xz file (xz file format 1.2, sections 3.1 and 5.3.1), or
/// `None` without a block.
fn xz_dictionary_bytes(head: &[u8]) -> Option<u64> {
    const STREAM_HEADER_BYTES: usize = 12;
    const LZMA2: u64 = 0x21;
    let block = head.get(STREAM_HEADER_BYTES..)?;
    let flags = *block.get(1).filter(|_| block[0] != 0)?;
    let mut rest = &block[2..];
    let integer = |rest: &mut &[u8]| -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (byte, behind) = rest.split_first()?;
            *rest = behind;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    for size_is_present in [flags & 0x40 != 0, flags & 0x80 != 0] {
        if size_is_present {
            integer(&mut rest)?;
        }
    }
    for _ in 0..=flags & 3 {
        let (id, size) = (integer(&mut rest)?, integer(&mut rest)?);
        let properties = rest.get(..usize::try_from(size).ok()?)?;
        if id == LZMA2 {
            let bits = *properties.first()?;
            return match bits {
                0..40 => Some((2 | u64::from(bits & 1)) << (bits / 2 + 11)),
                _ => Some(u64::from(u32::MAX)),
            };
        }
        rest = &rest[properties.len()..];
    }
    None
}

/// Returns the window size of the first frame of zstd data (RFC 8878, section 3.1.1.1), or `None` for another frame.
fn zstd_window_bytes(head: &[u8]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = head else { return None };
    if descriptor & 0x20 == 0 {
        let window = u64::from(*rest.first()?);
        let base = 1 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    // A single segment: the window is the content.
    let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (size_bytes, offset) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let size = rest.get(dictionary_id_bytes..)?.get(..size_bytes)?;
    let mut bytes = [0; 8];
    bytes[..size_bytes].copy_from_slice(size);
    Some(u64::from_le_bytes(bytes).saturating_add(offset))
}

/// Decompresses one layer.
///
/// # Errors
///
/// Returns an error of [`ErrorKind::OutOfMemory`] if there is no memory for it.
pub(super) fn decompress<'a>(
    stored: Box<dyn Read + 'a>,
    compression: Compression,
    counter: &Rc<ReadCounter>,
    memory: &mut dyn ReserveMemory,
) -> io::Result<Box<dyn Read + 'a>> {
    let name = compression.name();
    let bytes = compression.memory_bytes();
    let reservation = memory.reserve(bytes, &format_args!("decompressing its {name} data"))?;
    let stored = BufReader::with_capacity(READ_BYTES, stored);
    let text: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(stored),
        Compression::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(stored)),
        Compression::Gzip => Box::new(MultiGzip::Between(stored)),
        Compression::Bzip2 => named(MultiBzDecoder::new(stored), name),
        Compression::Xz { .. } => {
            let limit = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
            named(XzReader::new_mem_limit(stored, true, limit), name)
        }
        Compression::Zstd { window_bytes } => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
            decoder.window_log_max(window_bytes.next_power_of_two().ilog2().clamp(10, 31))?;
            named(decoder, name)
        }
    };
    Ok(guard(Box::new(Reserved { inner: text, _reservation: reservation }), counter))
}

/// A reader, and the memory that it takes.
struct Reserved<'a> {
    inner: Box<dyn Read + 'a>,
    _reservation: Reservation,
}

impl Read for Reserved<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Returns a reader whose errors name the format.
pub(super) fn named<'a>(inner: impl Read + 'a, format: &'static str) -> Box<dyn Read + 'a> {
    Box::new(FormatErrors { inner, format })
}

/// Returns a reader that stops at a decompression bomb: it compares what it returns with what `counter` counts from now
/// on.
pub(super) fn guard<'a>(
    inner: Box<dyn Read + 'a>,
    counter: &Rc<ReadCounter>,
) -> Box<dyn Read + 'a> {
    // Some of it may be in a buffer already.
    let before = counter.bytes.get().saturating_sub(READ_BYTES as u64);
    Box::new(BombGuard { inner, text: 0, before, counter: Rc::clone(counter) })
}

/// Reads as many bytes as show the format, or all there are. Of text no more are read, since it may come from a slow
/// pipe.
pub(super) fn read_head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    const FIRST: u64 = 4;
    let mut head = Vec::new();
    reader.by_ref().take(FIRST).read_to_end(&mut head)?;
    if !matches!(head.first(), None | Some(b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | 0x1f)) {
        reader.by_ref().take(HEAD_BYTES as u64 - FIRST).read_to_end(&mut head)?;
    }
    Ok(head)
}

/// Stops at a decompression bomb.
struct BombGuard<'a> {
    inner: Box<dyn Read + 'a>,
    text: u64,
    /// Number of stored bytes that had been read before.
    before: u64,
    counter: Rc<ReadCounter>,
}

impl Read for BombGuard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.text += read as u64;
        let stored = self.counter.bytes.get() - self.before;
        if self.text > MAX_SUSPICIOUS_BYTES && self.text / MAX_EXPANSION > stored {
            let text = format!(
                "the data decompresses to more than {MAX_EXPANSION} times its size and may be a decompression bomb; stopped after {} MiB",
                self.text >> 20
            );
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

/// Gzip of any number of members, and zero bytes behind them.
///
/// Not `flate2::MultiGzDecoder`: that takes padding for an invalid member.
enum MultiGzip<R> {
    Between(R),
    Inside(Box<GzDecoder<R>>),
    End,
}

impl<R: BufRead> Read for MultiGzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::End) {
                Self::Between(mut stored) => {
                    if !skip_to_member(&mut stored)? {
                        return Ok(0);
                    }
                    *self = Self::Inside(Box::new(GzDecoder::new(stored)));
                }
                Self::Inside(mut member) => {
                    let read =
                        member.read(buffer).map_err(|error| describe_error(error, "gzip"))?;
                    if read > 0 || buffer.is_empty() {
                        *self = Self::Inside(member);
                        return Ok(read);
                    }
                    *self = Self::Between(member.into_inner());
                }
                Self::End => return Ok(0),
            }
        }
    }
}

/// Skips padding, and returns whether another member follows.
fn skip_to_member(stored: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = stored.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        match bytes.get(zeros) {
            Some(0x1f) => {
                stored.consume(zeros);
                return Ok(true);
            }
            Some(_) => {
                // The members before are intact.
                let text = "the gzip data is followed by bytes that are not gzip";
                return Err(io::Error::new(ErrorKind::Unsupported, text));
            }
            None if zeros == 0 => return Ok(false),
            None => stored.consume(zeros),
        }
    }
}

/// Adds the format to errors of a decompressor.
struct FormatErrors<R> {
    inner: R,
    format: &'static str,
}

impl<R: Read> Read for FormatErrors<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| describe_error(error, self.format))
    }
}

/// The message of zstd for a window that is larger than allowed; the `zstd` crate passes on no code.
const ZSTD_WINDOW_ERROR: &str = "Frame requires too much memory for decoding";

/// Returns the error with a message that names the format, which those of the libraries do not.
pub(super) fn describe_error(error: io::Error, format: &str) -> io::Error {
    let kind = error.kind();
    let text = error.to_string();
    match kind {
        // A message of this module, from an inner layer.
        _ if text.starts_with("the ") => error,
        _ if kind == ErrorKind::OutOfMemory || text == ZSTD_WINDOW_ERROR => {
            let text = format!(
                "the {format} data needs more memory to decompress than its beginning says; decompress the file before loading it"
            );
            io::Error::new(ErrorKind::OutOfMemory, text)
        }
        ErrorKind::UnexpectedEof => io::Error::new(kind, format!("the {format} file is cut off")),
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
            let text = format!("the {format} data is damaged ({text})");
            io::Error::new(ErrorKind::InvalidData, text)
        }
        _ => error,
    }
}

/// Makes a buffer at least `size` bytes long; their content is undefined. A buffer that has to grow gets its `max` length
/// at once: fresh memory comes zeroed from the system and costs nothing until it is used, while growing step by step
/// would copy it again and again.
pub(super) fn ensure_len(buffer: &mut Vec<u8>, size: usize, max: usize) {
    if buffer.len() < size {
        *buffer = Vec::new();
        *buffer = vec![0; size.max(max)];
    }
}

/// Decompresses gzip with a single member in one call, which takes two thirds of the time of streaming.
///
/// Returns the size of the text, or `None` if that is not possible: more than `max` bytes, several members, a truncated
/// or damaged file. The size at the end of the file is only a hint.
pub(super) fn gunzip_single_member(
    inflate: &mut Decompressor,
    stored: &[u8],
    text: &mut Vec<u8>,
    max: usize,
) -> Option<usize> {
    let hint = *stored.last_chunk::<4>().filter(|_| stored.len() >= 18)?;
    let size = usize::try_from(u32::from_le_bytes(hint)).ok()?;
    if size > max.min(stored.len().saturating_mul(DEFLATE_EXPANSION)) {
        return None;
    }
    ensure_len(text, size, max);
    let unpacked = inflate.gzip_decompress(stored, &mut text[..size]).ok()?;
    (unpacked == size && !has_second_member(stored, &text[..size])).then_some(size)
}

/// Returns whether another member follows the one that holds `text`.
///
/// The library stops behind the first member without returning its end. But checksum and size of the first member are
/// directly before the second one; the three bytes that start a member occur by chance in one file of a hundred.
fn has_second_member(stored: &[u8], text: &[u8]) -> bool {
    let Ok(size) = u32::try_from(text.len()) else { return true };
    let starts = memmem::find_iter(stored, &[0x1f, 0x8b, 0x08]).skip(1);
    let before =
        |start: usize, bytes: usize| stored.get(start.checked_sub(bytes)?..)?.first_chunk();
    starts
        .filter(|start| before(*start, 4) == Some(&size.to_le_bytes()))
        .any(|start| before(start, 8) == Some(&libdeflater::crc32(text).to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::source::{
        OversizedRecord, RecordHandler, RecordOutcome, decode_memory::DecodeMemory,
    };

    /// A handler that is never called.
    struct Unused;

    impl RecordHandler for Unused {
        fn record(&mut self, _: &[u8], _: usize) -> RecordOutcome {
            RecordOutcome::Incomplete
        }

        fn oversized(&mut self, _: OversizedRecord) {}
    }

    pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    /// A thousand lines `{"a":1}`, as `xz` packs them.
    const XZ: &[u8] = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\
        \xe0\x1f\x3f\x00\x30\x5d\x00\x3d\x88\x88\x22\x37\x28\xa4\x18\x8e\xf9\x34\x0d\xd6\xa5\x7a\x6f\xcb\
        \x08\xc4\x00\xab\x5f\x2e\xde\x9f\x6b\x6f\x8a\xe7\x09\xe5\xd7\x8b\xd0\x43\xaa\xf3\x4c\x47\x2c\x45\
        \xb4\x7f\x89\x54\x37\x51\x00\x00\x9a\x0a\x81\x9e\xb8\xb7\xb1\xcb\x00\x01\x4c\xc0\x3e\x00\x00\x00\
        \x83\x79\x2e\x42\xb1\xc4\x67\xfb\x02\x00\x00\x00\x00\x04\x59\x5a";

    #[test]
    fn what_is_cut_or_damaged_names_its_format() {
        let text = b"{\"a\":1}\n".repeat(1000);
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&text).unwrap();
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        let all = [
            (gzip(&text), "gzip"),
            (bz.finish().unwrap(), "bzip2"),
            (XZ.to_vec(), "xz"),
            (zst, "zstd"),
        ];
        for (whole, format) in all {
            for cut in 6..whole.len() {
                let error = streamed(&whole[..cut]).unwrap_err().to_string();
                assert!(error.contains(format), "{format} cut at {cut}: {error}");
            }
            // The library writes zstd without a checksum.
            let end = if format == "zstd" { 0 } else { whole.len() };
            for at in 20..end {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x55;
                match streamed(&damaged) {
                    // A few bits mean nothing to the reader.
                    Ok(same) => assert_eq!(same, text, "{format} damaged at {at}"),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains(format), "{format} damaged at {at}: {error}");
                    }
                }
            }
        }
    }

    fn streamed(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let memory = DecodeMemory::for_string(100 << 20);
        match unpack(Box::new(stored), &Rc::default(), &mut memory.with(&mut Unused))? {
            Unpacked::Text(mut reader, _) => reader.read_to_end(&mut text).map(|_| text),
            _ => panic!("no text"),
        }
    }

    #[test]
    fn every_packing_is_known_by_its_content() {
        let text = b"{\"a\":1}\n".repeat(1000);
        let gz = gzip(&text);
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&text).unwrap();
        let (bz, xz) = (bz.finish().unwrap(), XZ.to_vec());
        let all = [text.clone(), gz.clone(), zst, gzip(&gz), bz.clone(), gzip(&bz), gzip(&xz), xz];
        for stored in all {
            assert_eq!(streamed(&stored).unwrap(), text);
        }
        assert_eq!(streamed(b"").unwrap(), b"");
        assert_eq!(streamed(b"{}").unwrap(), b"{}");
    }

    #[test]
    fn members_follow_each_other_and_padding_is_no_member() {
        let stored =
            [gzip(b"one "), gzip(b"two "), gzip(b""), gzip(b"three"), vec![0; 700]].concat();
        assert_eq!(streamed(&stored).unwrap(), b"one two three");
        let error = streamed(&[gzip(b"one"), b"garbage".to_vec()].concat()).unwrap_err();
        assert!(error.to_string().contains("not gzip"), "{error}");
    }

    #[test]
    fn one_go_takes_one_member_and_nothing_else() {
        let (mut inflate, mut text) = (Decompressor::new(), Vec::new());
        let one = gzip(&b"abc".repeat(99));
        assert_eq!(gunzip_single_member(&mut inflate, &one, &mut text, 1 << 20), Some(297));
        assert_eq!(&text[..297], &b"abc".repeat(99)[..]);
        let twice = [one.clone(), one.clone()].concat();
        let lying = [&one[..one.len() - 4], &[0, 1, 0, 0][..]].concat();
        let padded = [one.clone(), vec![0; 9]].concat();
        for other in [&twice[..], &lying, &padded, &one[..one.len() - 1], &one[..9], b""] {
            assert_eq!(gunzip_single_member(&mut inflate, other, &mut text, 1 << 20), None);
        }
        assert_eq!(gunzip_single_member(&mut inflate, &one, &mut text, 296), None);
    }

    #[test]
    fn a_bomb_is_left() {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..300 {
            bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let error = streamed(&bomb).unwrap_err();
        assert!(error.to_string().contains("bomb"), "{error}");
    }
}
