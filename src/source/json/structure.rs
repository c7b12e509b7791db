//! Walks through strings and brackets of a text, 64 bytes in one step, as simdjson does.
//!
//! Input: text, and the offset of a value in it. Output: where strings, objects and lists end.
//! Invariant: each block is looked at once, so that a caller who asks for one end after the other reads a text once. A
//! backslash outside of strings escapes nothing; the cursor refuses such a text ([`StructureError::Irregular`]), because
//! it does not look at the bytes one by one.

use wide::u8x32;

use super::skip::{SkipError, StringEnd};

/// Why an end was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StructureError {
    /// The text ends first, or it is not JSON.
    Skip(SkipError),
    /// There may be a backslash outside of strings.
    Irregular,
}

impl From<SkipError> for StructureError {
    fn from(error: SkipError) -> Self {
        Self::Skip(error)
    }
}

/// The message for a closing bracket that closes nothing, or a bracket of the other kind.
pub(super) const UNMATCHED: &str = "an unmatched closing bracket";

/// Bytes that are looked at in one step: one bit of a word each.
const BLOCK: usize = 64;

/// A position in a text that moves forward, block by block.
pub struct StructureCursor<'t> {
    text: &'t [u8],
    /// Offset of the current block.
    at: usize,
    /// Where in the block strings begin and end; the first byte is the lowest bit.
    quotes: u64,
    /// Backslashes, all of them in strings.
    backslashes: u64,
    /// Brackets outside of strings; also `Y`, `_`, `y` and DEL, which share their bits.
    brackets: u64,
    strings: StringState,
}

impl<'t> StructureCursor<'t> {
    /// Returns a cursor at an offset outside of strings.
    ///
    /// # Errors
    ///
    /// Returns [`StructureError::Irregular`] if there may be a backslash outside of strings.
    #[inline]
    pub fn new(text: &'t [u8], start: usize) -> Result<Self, StructureError> {
        let strings = StringState::default();
        let mut cursor = Self { text, at: start, quotes: 0, backslashes: 0, brackets: 0, strings };
        cursor.read_block()?;
        Ok(cursor)
    }

    /// Returns the end of the string whose opening quote is at this offset, not before those that were asked for.
    ///
    /// # Errors
    ///
    /// Returns [`StructureError`] if the text ends first or is irregular.
    #[inline]
    pub fn string_end(&mut self, start: usize) -> Result<StringEnd, StructureError> {
        let first = start - self.at + 1;
        if first < BLOCK {
            let quotes = self.quotes >> first;
            if quotes != 0 {
                let is_plain = self.backslashes >> first & below(quotes) == 0;
                let end = start + quotes.trailing_zeros() as usize + 2;
                return Ok(StringEnd { end, is_plain });
            }
        }
        self.distant_string_end(start)
    }

    /// As [`Self::string_end`], in a later block.
    #[inline(never)]
    fn distant_string_end(&mut self, start: usize) -> Result<StringEnd, StructureError> {
        self.seek(start)?;
        // The bits behind the opening quote.
        let mut behind = !1 << (start - self.at);
        let mut is_plain = true;
        loop {
            let quotes = self.quotes & behind;
            is_plain &= self.backslashes & behind & below(quotes) == 0;
            if quotes != 0 {
                let end = self.at + quotes.trailing_zeros() as usize + 1;
                return Ok(StringEnd { end, is_plain });
            }
            self.advance()?;
            behind = !0;
        }
    }

    /// Returns the offset behind the object or list that starts at this offset, not before those that were asked for.
    ///
    /// # Errors
    ///
    /// Returns [`StructureError`] if the text ends first, if brackets do not match, or if it is irregular.
    #[inline]
    pub fn container_end(&mut self, start: usize) -> Result<usize, StructureError> {
        let mut open = OpenBrackets::default();
        self.seek(start)?;
        let mut brackets = self.brackets & !0 << (start - self.at);
        loop {
            while brackets != 0 {
                let offset = self.at + brackets.trailing_zeros() as usize;
                brackets &= brackets - 1;
                match self.text.get(offset) {
                    Some(b'{') => open.push(OBJECT),
                    Some(b'[') => open.push(LIST),
                    Some(byte @ (b'}' | b']')) => {
                        let kind = if *byte == b'}' { OBJECT } else { LIST };
                        if !open.close(kind) {
                            return Err(SkipError::Invalid { offset, cause: UNMATCHED }.into());
                        }
                        if open.depth == 0 {
                            return Ok(offset + 1);
                        }
                    }
                    _ => {}
                }
            }
            self.advance()?;
            brackets = self.brackets;
        }
    }

    /// Moves to the block of an offset.
    #[inline]
    fn seek(&mut self, offset: usize) -> Result<(), StructureError> {
        while offset >= self.at + BLOCK {
            self.advance()?;
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self) -> Result<(), StructureError> {
        self.at += BLOCK;
        if self.at >= self.text.len() {
            return Err(SkipError::Incomplete.into());
        }
        self.read_block()
    }

    #[inline]
    fn read_block(&mut self) -> Result<(), StructureError> {
        let block = Block::at(self.text, self.at);
        let escaped = self.strings.escaped(block.backslashes);
        let quotes = block.quotes & !escaped;
        let inside = self.strings.inside(quotes);
        if block.backslashes & !inside != 0 {
            return Err(StructureError::Irregular);
        }
        self.quotes = quotes;
        self.backslashes = block.backslashes;
        self.brackets = block.brackets & !inside;
        Ok(())
    }
}

/// Returns the bits below the lowest one that is set, or all if none is.
#[inline]
fn below(bits: u64) -> u64 {
    bits.wrapping_sub(1) & !bits
}

/// Where in a block certain bytes are, the first byte in the lowest bit.
struct Block {
    quotes: u64,
    backslashes: u64,
    brackets: u64,
}

impl Block {
    /// Reads the block at `text[at]`, padded with zeros behind the end of the text.
    #[inline]
    fn at(text: &[u8], at: usize) -> Self {
        match text.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => Self::of(bytes),
            None => Self::at_end(text, at),
        }
    }

    #[cold]
    #[inline(never)]
    fn at_end(text: &[u8], at: usize) -> Self {
        let mut bytes = [0; BLOCK];
        for (to, from) in bytes.iter_mut().zip(text.get(at..).unwrap_or_default()) {
            *to = *from;
        }
        Self::of(&bytes)
    }

    #[inline]
    fn of(bytes: &[u8; BLOCK]) -> Self {
        let (mut quotes, mut backslashes, mut brackets) = (0, 0, 0);
        for (half, shift) in bytes.as_chunks::<32>().0.iter().zip([0, 32]) {
            let text = u8x32::new(*half);
            let mask = |found: u8x32| u64::from(found.to_bitmask()) << shift;
            quotes |= mask(text.simd_eq(u8x32::splat(b'"')));
            backslashes |= mask(text.simd_eq(u8x32::splat(b'\\')));
            // The four brackets differ only in these bits.
            brackets |= mask((text | u8x32::splat(0x26)).simd_eq(u8x32::splat(0x7F)));
        }
        Self { quotes, backslashes, brackets }
    }
}

/// Whether a block starts within a string.
#[derive(Default)]
struct StringState {
    /// All bits are set if it does.
    inside: u64,
    /// Whether its first byte is escaped by the last one of the previous block.
    is_escaped: bool,
}

impl StringState {
    /// Returns which bytes of the next block are in strings, the opening quotes included.
    #[inline]
    fn inside(&mut self, quotes: u64) -> u64 {
        let mut inside = quotes;
        // Each bit becomes the parity of the quotes up to it.
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.inside;
        self.inside = (inside.cast_signed() >> 63).cast_unsigned();
        inside
    }

    /// Returns which bytes of the next block are escaped.
    #[inline]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 && !self.is_escaped { 0 } else { self.escaped_by(backslashes) }
    }

    fn escaped_by(&mut self, backslashes: u64) -> u64 {
        let mut escaped = u64::from(self.is_escaped);
        let mut left = backslashes & !escaped;
        self.is_escaped = false;
        while left != 0 {
            let first = left & left.wrapping_neg();
            self.is_escaped = first << 1 == 0;
            escaped |= first << 1;
            left &= !(first | first << 1);
        }
        escaped
    }
}

/// The brackets that are open: their number, and one bit for the kind of each.
#[derive(Debug, Default)]
pub(super) struct OpenBrackets {
    pub(super) depth: usize,
    /// The innermost ones, up to 64; the last one is the lowest bit.
    inner: u64,
    /// The ones that do not fit there, 64 per word.
    outer: Vec<u64>,
}

pub(super) const LIST: u64 = 0;
pub(super) const OBJECT: u64 = 1;

impl OpenBrackets {
    #[inline]
    pub(super) fn push(&mut self, kind: u64) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | kind;
        self.depth += 1;
    }

    /// Closes the innermost bracket, and returns whether it was of this kind; if not, nothing changes.
    #[inline]
    pub(super) fn close(&mut self, kind: u64) -> bool {
        if self.depth == 0 || self.inner & 1 != kind {
            return false;
        }
        self.depth -= 1;
        self.inner >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
        true
    }
}
