//! Finds the end of a JSON value without parsing it.
//!
//! Input: text, whole or in pieces. Output: the offset behind the value.
//! Invariant: only strings and brackets are matched. Control characters, invalid UTF-8, `NaN` and unknown escapes
//! pass, because the normalizer repairs them. No recursion, and one bit of memory per level, so that a depth of
//! millions is safe.

use memchr::memchr2;
use wide::u8x32;

/// Why the end of a value was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipError {
    /// The text ends inside the value. A bare number at the end of the text is incomplete too: more digits may follow.
    Incomplete,
    /// The value is not JSON.
    Invalid {
        /// Offset in the text.
        offset: usize,
        /// The reason, as shown to the user.
        cause: &'static str,
    },
}

/// Returns the offset behind the JSON value that starts at `text[start]`; leading white space is skipped.
///
/// # Errors
///
/// Returns [`SkipError`] if the text ends first or if brackets do not match.
pub fn skip_value(text: &[u8], start: usize) -> Result<usize, SkipError> {
    let at = skip_space(text, start);
    match text.get(at) {
        Some(b'{' | b'[') => skip_container(text, at),
        Some(b'"') => skip_string(text, at).ok_or(SkipError::Incomplete),
        Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'-' => skip_literal(text, at),
        _ => skip_piece(text, at),
    }
}

/// Returns the offset behind the number or word that starts at `text[start]`.
fn skip_literal(text: &[u8], start: usize) -> Result<usize, SkipError> {
    let ends = |byte: &u8| {
        !matches!(BYTE_CLASSES[usize::from(*byte)], ByteClass::Other) || matches!(byte, b',' | b':')
    };
    text[start..].iter().position(ends).map(|length| start + length).ok_or(SkipError::Incomplete)
}

fn skip_piece(text: &[u8], start: usize) -> Result<usize, SkipError> {
    match ValueSkipper::default().feed(text, start) {
        SkipProgress::End(end) => Ok(end),
        SkipProgress::More => Err(SkipError::Incomplete),
        SkipProgress::Invalid(offset, cause) => Err(SkipError::Invalid { offset, cause }),
    }
}

/// Returns the offset behind the object or list that starts at `text[start]`.
///
/// It looks at 64 bytes in one step, as simdjson does, which takes a quarter of the instructions of a [`ValueSkipper`].
fn skip_container(text: &[u8], start: usize) -> Result<usize, SkipError> {
    let mut open = OpenBrackets::default();
    let mut strings = StringState::default();
    let mut at = start;
    while at < text.len() {
        let block = Block::at(text, at);
        let Some(inside) = strings.advance(&block) else {
            // A backslash outside of a string escapes nothing.
            return skip_piece(text, start);
        };
        let mut brackets = block.brackets & !inside;
        while brackets != 0 {
            let offset = at + brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match text.get(offset).map(|byte| BYTE_CLASSES[usize::from(*byte)]) {
                Some(ByteClass::Open(kind)) => open.push(kind),
                Some(ByteClass::Close(kind)) if !open.close(kind) => {
                    return Err(SkipError::Invalid { offset, cause: UNMATCHED });
                }
                Some(ByteClass::Close(_)) if open.depth == 0 => return Ok(offset + 1),
                _ => {}
            }
        }
        at += BLOCK;
    }
    Err(SkipError::Incomplete)
}

/// The message for a closing bracket that closes nothing, or a bracket of the other kind.
const UNMATCHED: &str = "an unmatched closing bracket";

/// Bytes that are looked at in one step: one bit of a word each.
const BLOCK: usize = 64;

/// Where in a block certain bytes are, the first byte in the lowest bit.
struct Block {
    quotes: u64,
    backslashes: u64,
    /// Brackets of all kinds; also `Y`, `_`, `y` and DEL, which share their bits.
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
    /// Returns which bytes of the next block are in strings, or `None` if there is a backslash outside of strings.
    #[inline]
    fn advance(&mut self, block: &Block) -> Option<u64> {
        let escaped = if block.backslashes == 0 && !self.is_escaped {
            0
        } else {
            self.escaped(block.backslashes)
        };
        let mut inside = block.quotes & !escaped;
        // Each bit becomes the parity of the quotes up to it.
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.inside;
        self.inside = (inside.cast_signed() >> 63).cast_unsigned();
        (block.backslashes & !inside == 0).then_some(inside)
    }

    /// Returns which bytes of a block with these backslashes are escaped.
    fn escaped(&mut self, backslashes: u64) -> u64 {
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

/// Returns the offset behind the string whose opening quote is at `text[start]`, or `None` if the text ends first.
pub fn skip_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += find_quote_or_backslash(text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of a string, and whether its text has to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringEnd {
    /// Offset behind the closing quote.
    pub end: usize,
    /// Whether the string contains no escape sequence.
    pub is_plain: bool,
}

/// As [`skip_string`], with a note whether there are escape sequences.
#[inline]
pub fn find_string_end(text: &[u8], start: usize) -> Option<StringEnd> {
    let at = start + 1 + find_quote_or_backslash(text.get(start + 1..)?)?;
    if text[at] == b'"' {
        return Some(StringEnd { end: at + 1, is_plain: true });
    }
    // The text before the backslash is skipped again, which takes less than to keep the place.
    skip_string(text, start).map(|end| StringEnd { end, is_plain: false })
}

/// Returns the offset of the first byte from `start` on that is not white space, or the text's length.
#[inline]
pub(in crate::source) fn skip_space(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The result of feeding one piece of text to a [`ValueSkipper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum SkipProgress {
    /// The value ends before this offset of the piece.
    End(usize),
    /// The value continues behind the piece.
    More,
    /// The value is not JSON: the offset in the piece, and the reason.
    Invalid(usize, &'static str),
}

/// Skips a value piece by piece, so that its text need not be kept in memory.
#[derive(Debug, Default)]
pub(in crate::source) struct ValueSkipper {
    state: LexState,
    open: OpenBrackets,
}

/// The kind of token that the skipper is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LexState {
    #[default]
    Between,
    String,
    Escape,
    Literal,
}

impl ValueSkipper {
    /// Returns a skipper for the rest of an object whose opening brace was read before; it stops behind the closing one.
    pub(in crate::source) fn for_open_object() -> Self {
        let mut skipper = Self::default();
        skipper.open.push(OBJECT);
        skipper
    }

    /// Returns whether the value may end where the text ends, because it is a bare number or word.
    pub(in crate::source) fn may_end(&self) -> bool {
        self.state == LexState::Literal
    }

    /// Continues with `text` from `start` on.
    pub(in crate::source) fn feed(&mut self, text: &[u8], start: usize) -> SkipProgress {
        let mut at = start;
        while at < text.len() {
            match self.state {
                LexState::Between => match self.skip_structure(text, at) {
                    Ok(next) => at = next,
                    Err(progress) => return progress,
                },
                LexState::Escape => {
                    self.state = LexState::String;
                    at += 1;
                }
                LexState::String => {
                    let Some(found) = find_quote_or_backslash(&text[at..]) else {
                        return SkipProgress::More;
                    };
                    at += found + 1;
                    if text[at - 1] == b'\\' {
                        self.state = LexState::Escape;
                    } else {
                        self.state = LexState::Between;
                        if self.open.depth == 0 {
                            return SkipProgress::End(at);
                        }
                    }
                }
                LexState::Literal => match text[at] {
                    b',' | b':' | b']' | b'}' | b'[' | b'{' | b'"' | b' ' | b'\t' | b'\n'
                    | b'\r' => return SkipProgress::End(at),
                    _ => at += 1,
                },
            }
        }
        SkipProgress::More
    }

    /// Skips to the next string, the next literal or the end of the value.
    fn skip_structure(&mut self, text: &[u8], start: usize) -> Result<usize, SkipProgress> {
        let mut at = start;
        while let Some(&byte) = text.get(at) {
            at += 1;
            match BYTE_CLASSES[usize::from(byte)] {
                ByteClass::Other if self.open.depth > 0 => {}
                ByteClass::Space => {}
                ByteClass::Quote => {
                    self.state = LexState::String;
                    return Ok(at);
                }
                ByteClass::Open(kind) => self.open.push(kind),
                ByteClass::Close(kind) => {
                    if !self.open.close(kind) {
                        return Err(SkipProgress::Invalid(at - 1, UNMATCHED));
                    }
                    if self.open.depth == 0 {
                        return Err(SkipProgress::End(at));
                    }
                }
                ByteClass::Other if byte == b',' || byte == b':' => {
                    return Err(SkipProgress::Invalid(at - 1, "expected a value"));
                }
                ByteClass::Other => {
                    self.state = LexState::Literal;
                    return Ok(at);
                }
            }
        }
        Ok(at)
    }
}

/// The brackets that are open: their number, and one bit for the kind of each.
#[derive(Debug, Default)]
struct OpenBrackets {
    depth: usize,
    /// The innermost ones, up to 64; the last one is the lowest bit.
    inner: u64,
    /// The ones that do not fit there, 64 per word.
    outer: Vec<u64>,
}

const LIST: u64 = 0;
const OBJECT: u64 = 1;

impl OpenBrackets {
    fn push(&mut self, kind: u64) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | kind;
        self.depth += 1;
    }

    /// Closes the innermost bracket, and returns whether it was of this kind; if not, nothing changes.
    fn close(&mut self, kind: u64) -> bool {
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

#[derive(Clone, Copy)]
enum ByteClass {
    Other,
    Space,
    Quote,
    Open(u64),
    Close(u64),
}

static BYTE_CLASSES: [ByteClass; 256] = {
    let mut class = [ByteClass::Other; 256];
    class[b' ' as usize] = ByteClass::Space;
    class[b'\t' as usize] = ByteClass::Space;
    class[b'\n' as usize] = ByteClass::Space;
    class[b'\r' as usize] = ByteClass::Space;
    class[b'"' as usize] = ByteClass::Quote;
    class[b'{' as usize] = ByteClass::Open(OBJECT);
    class[b'[' as usize] = ByteClass::Open(LIST);
    class[b'}' as usize] = ByteClass::Close(OBJECT);
    class[b']' as usize] = ByteClass::Close(LIST);
    class
};

/// Returns the offset of the first quote or backslash.
#[inline]
fn find_quote_or_backslash(text: &[u8]) -> Option<usize> {
    let Some(first) = text.first_chunk() else { return memchr2(b'"', b'\\', text) };
    // Most strings are too short to pay for a call of `memchr2`.
    let first = u8x32::new(*first);
    let found = first.simd_eq(u8x32::splat(b'"')) | first.simd_eq(u8x32::splat(b'\\'));
    match found.to_bitmask() {
        0 => memchr2(b'"', b'\\', &text[32..]).map(|at| at + 32),
        mask => Some(mask.trailing_zeros() as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Any JSON value, a few levels deep.
    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\\\\"{}\\[\\],:]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn ends_where_serde_json_ends(value in any_json(), pretty: bool, tail in "[ ,}\\]\n]?.{0,20}") {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let tail = if tail.starts_with([' ', ',', '}', ']', '\n']) { tail } else { format!(" {tail}") };
            prop_assert_eq!(skip_value(format!("{text}{tail}").as_bytes(), 0), Ok(text.len()));
        }

        #[test]
        fn every_cut_is_incomplete(value in any_json(), part in 0.0..1.0) {
            let text = serde_json::to_vec(&vec![value]).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place within the text")]
            let cut = (text.len() as f64 * part) as usize;
            prop_assert_eq!(skip_value(&text[..cut], 0), Err(SkipError::Incomplete));
        }

        #[test]
        fn pieces_do_not_matter(value in any_json(), size in 1_usize..9) {
            let text = serde_json::to_vec(&vec![value]).unwrap();
            let mut skipper = ValueSkipper::default();
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let (last, first) = pieces.split_last().unwrap();
            for piece in first {
                prop_assert_eq!(skipper.feed(piece, 0), SkipProgress::More);
            }
            prop_assert_eq!(skipper.feed(last, 0), SkipProgress::End(last.len()));
        }

        #[test]
        fn blocks_do_not_matter(
            text in prop_oneof![
                "[\\\\\"{}\\[\\], aY_y]{0,300}",
                (any_json(), "[\\\\\"{}\\[\\]]{0,3}", any::<prop::sample::Index>()).prop_map(|(value, noise, at)| {
                    let mut text = serde_json::to_string(&vec![value]).unwrap();
                    let at = text.floor_char_boundary(at.index(text.len()));
                    text.insert_str(at, &noise);
                    text
                }),
            ],
        ) {
            let bytes = text.as_bytes();
            for start in 0..bytes.len() {
                prop_assert_eq!(skip_value(bytes, start), skip_piece(bytes, start), "{} in {}", start, text);
            }
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>) {
            if let Ok(end) = skip_value(&text, 0) {
                prop_assert!(end <= text.len());
            }
        }
    }

    #[test]
    fn what_the_normalizer_repairs_passes() {
        for text in ["{\"a\":\"x\ny\u{1}\"}", "[NaN,-Infinity]", r#"{"a":"\x\ud800"}"#] {
            assert_eq!(skip_value(text.as_bytes(), 0), Ok(text.len()));
        }
        assert_eq!(skip_value(b"[\"\xff\xfe\"] ", 0), Ok(6));
    }

    #[test]
    fn brackets_must_match() {
        for (text, offset) in [("{\"a\":[1}", 7), ("]", 0), ("  ,", 2), ("[[{]", 3)] {
            assert!(
                matches!(skip_value(text.as_bytes(), 0), Err(SkipError::Invalid { offset: at, .. }) if at == offset),
                "{text}"
            );
        }
    }

    #[test]
    fn a_million_levels_are_fine() {
        for depth in [63, 64, 65, 128, 2_000, 1_000_000] {
            let text = "{\"a\":[".repeat(depth) + &"]}".repeat(depth);
            assert_eq!(skip_value(text.as_bytes(), 0), Ok(text.len()), "{depth}");
            assert_eq!(
                skip_value(&text.as_bytes()[..text.len() - 1], 0),
                Err(SkipError::Incomplete)
            );
        }
    }

    #[test]
    fn strings_end_at_their_own_quote() {
        assert_eq!(skip_string(br#""a\"b\\" "#, 0), Some(8));
        assert_eq!(skip_string(br#""a\"#, 0), None);
        assert_eq!(skip_string(b"\"", 0), None);
        let long = format!("\"{}\\\"{}\"", "x".repeat(40), "y".repeat(40));
        assert_eq!(skip_string(long.as_bytes(), 0), Some(long.len()));
    }
}
