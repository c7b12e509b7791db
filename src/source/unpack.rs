//! Takes compression off, whatever a file is called, until there is text or an archive.
//!
//! In: the bytes as stored. Out: [`Unpacked`].
//! ColumnType: memory is bounded by the window sizes of the formats; a bomb is left after [`BOMB_BYTES`].
//! Absent on purpose: the files in an archive (see `archive`).

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
    unsupported_archive::{UnsupportedArchive, unsupported_archive},
    transcode::{TextEncoding, Transcoder, detect_encoding},
};

/// WindowRead text than this is suspicious if it comes from very few bytes. Far above any file of a trail.
const BOMB_BYTES: u64 = 256 << 20;

/// Text from one stored byte that is beyond suspicion. Trail files unpack to 5 to 20 times their size.
const BOMB_RATIO: u64 = 250;

/// Layers of compression that are taken off. Two occur: Firehose packs what CloudWatch Logs packed.
const LAYERS: usize = 3;

/// What the decoder of xz may take, in KiB. The largest preset, `xz -9`, takes 65 MiB; the usual one 9.
const XZ_KIB: u32 = 80 << 10;

/// First bytes that show how something is packed: a header of tar is that long.
pub(super) const HEAD_BYTES: usize = 512;

/// What is read from disk at once.
const READ_BYTES: usize = 128 << 10;

/// Text from one stored byte that deflate can give at most (RFC 1951), rounded up.
const DEFLATE_RATIO: usize = 1_040;

/// Counts what is read as stored, and remembers whether it was the reading itself that failed.
#[derive(Debug, Default)]
pub(super) struct ReadCounter {
    pub(super) bytes: Cell<u64>,
    /// Those of them that somebody was told of.
    told: Cell<u64>,
    pub(super) failed: Cell<bool>,
    /// Nobody is to be told: it was told before.
    silent: bool,
}

impl ReadCounter {
    /// Returns one for what was counted before.
    pub(super) fn unreported() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// Takes in what reading gave.
    pub(super) fn count(&self, read: &io::Result<usize>) {
        match read {
            Ok(read) => self.bytes.set(self.bytes.get() + *read as u64),
            Err(error) => self.failed.set(error.kind() != ErrorKind::Interrupted),
        }
    }

    /// Returns how many bytes were read since the last time.
    pub(super) fn take_unreported(&self) -> u64 {
        let news = self.bytes.get() - self.told.replace(self.bytes.get());
        if self.silent { 0 } else { news }
    }
}

struct CountingReader<R> {
    inner: R,
    meter: Rc<ReadCounter>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.meter.count(&read);
        read
    }
}

/// PayloadForm some bytes are packed, by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    /// An archive of files, one behind the other.
    Tar,
    /// An archive of files, with a directory at its end.
    Zip,
    /// Text in another encoding than UTF-8.
    Encoded(TextEncoding),
    /// Something that is not opened here.
    UnsupportedArchive(&'static UnsupportedArchive),
    /// Text, or what is of no interest.
    None,
}

impl FileFormat {
    /// Returns whether bytes that are packed so are compressed.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Bzip2 | Self::Xz)
    }
}

/// Returns how bytes are packed that begin like this: with [`HEAD_BYTES`] or fewer.
pub(super) fn detect_format(head: &[u8]) -> FileFormat {
    match head {
        [b'{' | b'[', second, ..] if *second != 0 => FileFormat::None,
        [0x1f, 0x8b, ..] => FileFormat::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FileFormat::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if begins_block(rest) => FileFormat::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => FileFormat::Xz,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => FileFormat::Zip,
        _ if begins_tar(head) => FileFormat::Tar,
        _ => match (detect_encoding(head), unsupported_archive(head)) {
            (Some(encoding), _) => FileFormat::Encoded(encoding),
            (None, Some(locked)) => FileFormat::UnsupportedArchive(locked),
            (None, None) => FileFormat::None,
        },
    }
}

/// Returns whether a block of bzip2, or its end, begins here: pi, or its square root, in decimal digits.
fn begins_block(rest: &[u8]) -> bool {
    const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let length = rest.len().min(BLOCK.len());
    [BLOCK, END].iter().any(|magic| rest[..length] == magic[..length])
}

/// Returns whether bytes are a header of tar: its sum, in which its own field counts as spaces, is right.
fn begins_tar(head: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let Some(header) = head.first_chunk::<HEAD_BYTES>() else { return false };
    let is_sum = |at: usize| SUM.contains(&at);
    let bytes = header.iter().enumerate();
    let sum: u32 = bytes.map(|(at, &byte)| u32::from(if is_sum(at) { b' ' } else { byte })).sum();
    let said = header[SUM].iter().filter(|byte| byte.is_ascii_digit());
    let said = said.fold(0_u32, |said, byte| said * 8 + u32::from(byte - b'0'));
    header[0] != 0 && said == sum
}

/// What there is once all compression is taken off.
pub(super) enum Unpacked<'a> {
    /// Text in UTF-8, and how it is stored if that is something else.
    Text(Box<dyn Read + 'a>, Option<TextEncoding>),
    /// An archive of files, one behind the other.
    Tar(Box<dyn Read + 'a>),
    /// An archive with a directory at its end.
    Zip(Box<dyn Read + 'a>),
    /// Something that is not opened here.
    UnsupportedArchive(&'static UnsupportedArchive),
}

/// Returns a reader that counts what it reads.
pub(super) fn counted<'a>(stored: impl Read + 'a, meter: &Rc<ReadCounter>) -> Box<dyn Read + 'a> {
    Box::new(CountingReader { inner: stored, meter: Rc::clone(meter) })
}

/// Takes compression off `stored`. What `meter` counts is what is behind it.
///
/// # Errors
///
/// Returns an error if the first bytes cannot be read.
pub(super) fn open<'a>(stored: Box<dyn Read + 'a>, meter: &Rc<ReadCounter>) -> io::Result<Unpacked<'a>> {
    let mut stored = stored;
    for _ in 0..LAYERS {
        let head = head(&mut stored)?;
        let packing = detect_format(&head);
        let whole: Box<dyn Read + 'a> = Box::new(Cursor::new(head).chain(stored));
        stored = match packing {
            FileFormat::None => return Ok(Unpacked::Text(whole, None)),
            FileFormat::Encoded(encoding) => {
                let text = Transcoder::new(whole, encoding);
                return Ok(Unpacked::Text(Box::new(text), Some(encoding)));
            }
            FileFormat::Tar => return Ok(Unpacked::Tar(whole)),
            FileFormat::Zip => return Ok(Unpacked::Zip(whole)),
            FileFormat::UnsupportedArchive(locked) => return Ok(Unpacked::UnsupportedArchive(locked)),
            _ => decompress(whole, packing, meter)?,
        };
    }
    Ok(Unpacked::Text(stored, None))
}

/// Reads something to the end of what it unpacks to, while `go_on` says so, and returns how much that is and what is wrong.
pub(super) fn verify(
    stored: Box<dyn Read + '_>,
    meter: &Rc<ReadCounter>,
    go_on: &dyn Fn() -> bool,
) -> (u64, Option<io::Error>) {
    let mut text = match open(stored, meter) {
        Ok(Unpacked::Text(text, _) | Unpacked::Tar(text) | Unpacked::Zip(text)) => text,
        Ok(Unpacked::UnsupportedArchive(_)) => return (0, None),
        Err(error) => return (0, Some(error)),
    };
    let (mut read, mut piece) = (0, vec![0; READ_BYTES]);
    while go_on() {
        match text.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => read += length as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

/// Takes one layer of compression off.
///
/// # Errors
///
/// Returns an error if there is no memory for it.
pub(super) fn decompress<'a>(
    stored: Box<dyn Read + 'a>,
    packing: FileFormat,
    meter: &Rc<ReadCounter>,
) -> io::Result<Box<dyn Read + 'a>> {
    let stored = BufReader::with_capacity(READ_BYTES, stored);
    let text: Box<dyn Read + 'a> = match packing {
        FileFormat::Gzip => Box::new(MultiGzip::Between(stored)),
        FileFormat::Zstd => named(zstd::stream::read::Decoder::with_buffer(stored)?, "zstd"),
        FileFormat::Bzip2 => named(MultiBzDecoder::new(stored), "bzip2"),
        FileFormat::Xz => named(XzReader::new_mem_limit(stored, true, XZ_KIB), "xz"),
        _ => Box::new(stored),
    };
    Ok(guard(text, meter))
}

/// Returns a reader whose errors name the format.
pub(super) fn named<'a>(inner: impl Read + 'a, format: &'static str) -> Box<dyn Read + 'a> {
    Box::new(FormatErrors { inner, format })
}

/// Returns a reader that stops a bomb: it compares what it gives with what `meter` counts from now on.
pub(super) fn guard<'a>(inner: Box<dyn Read + 'a>, meter: &Rc<ReadCounter>) -> Box<dyn Read + 'a> {
    // Some of it may be in a buffer in front of us already.
    let before = meter.bytes.get().saturating_sub(READ_BYTES as u64);
    Box::new(BombGuard { inner, text: 0, before, meter: Rc::clone(meter) })
}

/// Reads as much as shows how something is packed, or what there is. Text is not waited for longer than that takes: it
/// may come from a slow pipe.
pub(super) fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    const FIRST: u64 = 4;
    let mut head = Vec::new();
    reader.by_ref().take(FIRST).read_to_end(&mut head)?;
    if !matches!(head.first(), None | Some(b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | 0x1f)) {
        reader.by_ref().take(HEAD_BYTES as u64 - FIRST).read_to_end(&mut head)?;
    }
    Ok(head)
}

/// Stops a bomb.
struct BombGuard<'a> {
    inner: Box<dyn Read + 'a>,
    text: u64,
    /// What had been read as stored when it began.
    before: u64,
    meter: Rc<ReadCounter>,
}

impl Read for BombGuard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.text += read as u64;
        let stored = self.meter.bytes.get() - self.before;
        if self.text > BOMB_BYTES && self.text / BOMB_RATIO > stored {
            let text = format!(
                "it unpacks to more than {BOMB_RATIO} times its size and looks like a bomb; left after {} MiB",
                self.text >> 20
            );
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

/// Gzip of any number of members, with padding of zeros behind them.
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
                    if !next_member(&mut stored)? {
                        return Ok(0);
                    }
                    *self = Self::Inside(Box::new(GzDecoder::new(stored)));
                }
                Self::Inside(mut member) => {
                    let read = member.read(buffer).map_err(|error| describe_error(error, "gzip"))?;
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

/// Skips padding and returns whether another member follows.
fn next_member(stored: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = stored.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        match bytes.get(zeros) {
            Some(0x1f) => {
                stored.consume(zeros);
                return Ok(true);
            }
            Some(_) => {
                // The part itself is well.
                let text = "bytes that are no gzip follow the gzip part";
                return Err(io::Error::new(ErrorKind::Unsupported, text));
            }
            None if zeros == 0 => return Ok(false),
            None => stored.consume(zeros),
        }
    }
}

/// Names the format in which something went wrong.
struct FormatErrors<R> {
    inner: R,
    format: &'static str,
}

impl<R: Read> Read for FormatErrors<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| describe_error(error, self.format))
    }
}

/// Says it in words for a person: the libraries' own do not name the format.
pub(super) fn describe_error(error: io::Error, format: &str) -> io::Error {
    let kind = error.kind();
    match kind {
        // Our own words, from further inside.
        _ if error.to_string().starts_with("the ") => error,
        ErrorKind::UnexpectedEof => io::Error::new(kind, format!("the {format} file is cut off")),
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
            let text = format!("the {format} data is damaged ({error})");
            io::Error::new(ErrorKind::InvalidData, text)
        }
        ErrorKind::OutOfMemory => {
            let text = format!("its {format} data takes more than {} MiB to unpack", XZ_KIB >> 10);
            io::Error::new(kind, text)
        }
        _ => error,
    }
}

/// Makes a buffer hold `size` bytes, whatever they are: at once the `most` that it may ever have to. The system gives
/// fresh memory as zeros, and what is never touched costs nothing; growing step by step would touch it again and again.
pub(super) fn ensure_len(buffer: &mut Vec<u8>, size: usize, most: usize) {
    if buffer.len() < size {
        *buffer = Vec::new();
        *buffer = vec![0; size.max(most)];
    }
}

/// Unpacks gzip of a single member in one go, which takes two thirds of the time of streaming.
///
/// Returns how much text there is, or `None` if that is not possible: more than `most` bytes, several
/// members, a cut or damaged file. The size at the end of the file is only a hint.
pub(super) fn gunzip_single_member(
    inflate: &mut Decompressor,
    stored: &[u8],
    text: &mut Vec<u8>,
    most: usize,
) -> Option<usize> {
    let hint = *stored.last_chunk::<4>().filter(|_| stored.len() >= 18)?;
    let size = usize::try_from(u32::from_le_bytes(hint)).ok()?;
    if size > most.min(stored.len().saturating_mul(DEFLATE_RATIO)) {
        return None;
    }
    ensure_len(text, size, most);
    let unpacked = inflate.gzip_decompress(stored, &mut text[..size]).ok()?;
    (unpacked == size && !another_follows(stored, &text[..size])).then_some(size)
}

/// Returns whether another member follows the one that holds `text`.
///
/// The library stops behind the first member and does not say where. But right before a second one stand
/// checksum and size of the first; the three bytes that begin one occur by chance in one file of a hundred.
fn another_follows(stored: &[u8], text: &[u8]) -> bool {
    let Ok(size) = u32::try_from(text.len()) else { return true };
    let begins = memmem::find_iter(stored, &[0x1f, 0x8b, 0x08]).skip(1);
    let before =
        |begin: usize, bytes: usize| stored.get(begin.checked_sub(bytes)?..)?.first_chunk();
    begins
        .filter(|begin| before(*begin, 4) == Some(&size.to_le_bytes()))
        .any(|begin| before(begin, 8) == Some(&libdeflater::crc32(text).to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
        match open(Box::new(stored), &Rc::default())? {
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
        assert!(error.to_string().contains("no gzip"), "{error}");
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
