//! Takes compression off, whatever a file is called.
//!
//! Holds: memory is bounded by the window sizes of the formats; a bomb is left after [`BOMB_BYTES`].

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    rc::Rc,
};

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use memchr::memmem;

/// More text than this is suspicious if it comes from very few bytes. Far above any file of a trail.
const BOMB_BYTES: u64 = 256 << 20;

/// Text from one stored byte that is beyond suspicion. Trail files unpack to 5 to 20 times their size.
const BOMB_RATIO: u64 = 250;

/// Layers of compression that are taken off. Two occur: Firehose packs what CloudWatch Logs packed.
const LAYERS: usize = 3;

/// What is read from disk at once.
const READ_BYTES: usize = 128 << 10;

/// Text from one stored byte that deflate can give at most (RFC 1951), rounded up.
const DEFLATE_RATIO: usize = 1_040;

/// Counts what is read as stored, and remembers whether it was the reading itself that failed.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) bytes: Cell<u64>,
    pub(super) failed: Cell<bool>,
}

struct Metered<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(read) => self.meter.bytes.set(self.meter.bytes.get() + *read as u64),
            Err(error) => self.meter.failed.set(error.kind() != ErrorKind::Interrupted),
        }
        read
    }
}

/// How some bytes are packed, by their first four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    None,
}

/// Returns how bytes are packed that begin like this.
pub(super) fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        _ => Packing::None,
    }
}

/// Returns a reader of the text in `stored`, which is counted by `meter`.
///
/// # Errors
///
/// Returns an error if the first bytes cannot be read.
pub(super) fn unpacked<'a>(
    stored: impl Read + 'a,
    meter: &Rc<Meter>,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut text: Box<dyn Read + 'a> = Box::new(Metered { inner: stored, meter: Rc::clone(meter) });
    for _ in 0..LAYERS {
        let head = head(&mut text)?;
        let packing = packing(&head);
        let whole = Cursor::new(head).chain(text);
        if packing == Packing::None {
            return Ok(Box::new(whole));
        }
        let whole = BufReader::with_capacity(READ_BYTES, whole);
        text = Box::new(Guard {
            inner: match packing {
                Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
                _ => Box::new(Gunzip::Between(whole)),
            },
            text: 0,
            meter: Rc::clone(meter),
        });
    }
    Ok(text)
}

/// Reads the first four bytes, or what there is.
fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut head)?;
    Ok(head)
}

/// Stops a bomb.
struct Guard<'a> {
    inner: Box<dyn Read + 'a>,
    text: u64,
    meter: Rc<Meter>,
}

impl Read for Guard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.text += read as u64;
        if self.text > BOMB_BYTES && self.text / BOMB_RATIO > self.meter.bytes.get() {
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
enum Gunzip<R> {
    Between(R),
    Inside(Box<GzDecoder<R>>),
    End,
}

impl<R: BufRead> Read for Gunzip<R> {
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
                    let read = member.read(buffer).map_err(explained)?;
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
                let text = "bytes that are no gzip follow the gzip part";
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
            None if zeros == 0 => return Ok(false),
            None => stored.consume(zeros),
        }
    }
}

/// Says it in words for a person: the library's own do not name gzip.
fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the gzip file is cut off"),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            io::Error::new(error.kind(), format!("the gzip data is damaged ({error})"))
        }
        _ => error,
    }
}

/// Makes a buffer hold `size` bytes, whatever they are: at once the `most` that it may ever have to. The system gives
/// fresh memory as zeros, and what is never touched costs nothing; growing step by step would touch it again and again.
pub(super) fn make_room(buffer: &mut Vec<u8>, size: usize, most: usize) {
    if buffer.len() < size {
        *buffer = Vec::new();
        *buffer = vec![0; size.max(most)];
    }
}

/// Unpacks gzip of a single member in one go, which takes two thirds of the time of streaming.
///
/// Returns how much text there is, or `None` if that is not possible: more than `most` bytes, several
/// members, a cut or damaged file. The size at the end of the file is only a hint.
pub(super) fn gunzip_whole(
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
    make_room(text, size, most);
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

    fn streamed(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        unpacked(stored, &Rc::default())?.read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn every_packing_is_known_by_its_content() {
        let text = b"{\"a\":1}\n".repeat(1000);
        let gz = gzip(&text);
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        for stored in [text.clone(), gz.clone(), zst, gzip(&gz)] {
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
        assert_eq!(gunzip_whole(&mut inflate, &one, &mut text, 1 << 20), Some(297));
        assert_eq!(&text[..297], &b"abc".repeat(99)[..]);
        let twice = [one.clone(), one.clone()].concat();
        let lying = [&one[..one.len() - 4], &[0, 1, 0, 0][..]].concat();
        let padded = [one.clone(), vec![0; 9]].concat();
        for other in [&twice[..], &lying, &padded, &one[..one.len() - 1], &one[..9], b""] {
            assert_eq!(gunzip_whole(&mut inflate, other, &mut text, 1 << 20), None);
        }
        assert_eq!(gunzip_whole(&mut inflate, &one, &mut text, 296), None);
    }

    #[test]
    fn a_bomb_is_left() {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..300 {
            bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let error = io::copy(&mut unpacked(&bomb[..], &Rc::default()).unwrap(), &mut io::sink())
            .unwrap_err();
        assert!(error.to_string().contains("bomb"), "{error}");
    }
}
