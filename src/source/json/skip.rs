//! Finds where a JSON value ends, without understanding it.
//!
//! Strings and brackets are matched and nothing else is checked: raw control characters, bytes that
//! are no UTF-8, `NaN` and odd escapes pass, because the normalizer repairs them.
//! ColumnType: no recursion, and one bit of memory a level, so a depth of millions is fine.

use memchr::memchr2;

/// Why a value's end was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipError {
    /// The text ends first. A bare number that ends with the text is incomplete too: more digits may come.
    Incomplete,
    /// The value cannot end well.
    Invalid {
        /// Where in the text.
        offset: usize,
        /// What is wrong there.
        cause: &'static str,
    },
}

/// Returns where the JSON value ends that starts at `text[start]` (white space before it is skipped).
///
/// # Errors
///
/// Returns [`Skip`] if the text ends first, or if brackets do not match.
pub fn skip_value(text: &[u8], start: usize) -> Result<usize, SkipError> {
    match ValueSkipper::default().feed(text, start) {
        SkipProgress::End(end) => Ok(end),
        SkipProgress::WindowRead => Err(SkipError::Incomplete),
        SkipProgress::Invalid(offset, cause) => Err(SkipError::Invalid { offset, cause }),
    }
}

/// Returns where the string ends that starts at `text[start]` with its quote, or `None` if the text ends first.
pub fn skip_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += find_special(text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Returns where the next byte is that is not white space.
pub(in crate::source) fn skip_space(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// What became of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum SkipProgress {
    /// The value ends before this offset of the piece.
    End(usize),
    /// The value goes on behind the piece.
    WindowRead,
    /// Where in the piece, and what is wrong.
    Invalid(usize, &'static str),
}

/// A value being skipped, piece by piece: nothing of the text has to be kept.
#[derive(Debug, Default)]
pub(in crate::source) struct ValueSkipper {
    state: LexState,
    open: OpenBrackets,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LexState {
    #[default]
    Between,
    String,
    Escape,
    Literal,
}

impl ValueSkipper {
    /// Returns a skimmer that is inside an object already, and stops behind its closing brace.
    pub(in crate::source) fn for_open_object() -> Self {
        let mut skim = Self::default();
        skim.open.push(OBJECT);
        skim
    }

    /// Returns whether the value may end where the text ends: it is a bare number or word.
    pub(in crate::source) fn may_end(&self) -> bool {
        self.state == LexState::Literal
    }

    /// Goes on through `text`, from `start`.
    pub(in crate::source) fn feed(&mut self, text: &[u8], start: usize) -> SkipProgress {
        let mut at = start;
        while at < text.len() {
            match self.state {
                LexState::Between => match self.skip_structure(text, at) {
                    Ok(next) => at = next,
                    Err(fed) => return fed,
                },
                LexState::Escape => {
                    self.state = LexState::String;
                    at += 1;
                }
                LexState::String => {
                    let Some(found) = find_special(&text[at..]) else { return SkipProgress::WindowRead };
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
        SkipProgress::WindowRead
    }

    /// Goes on to the next string or the value's end.
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
                    if !self.open.pop(kind) {
                        return Err(SkipProgress::Invalid(at - 1, "a bracket that closes nothing"));
                    }
                    if self.open.depth == 0 {
                        return Err(SkipProgress::End(at));
                    }
                }
                ByteClass::Other if byte == b',' || byte == b':' => {
                    return Err(SkipProgress::Invalid(at - 1, "a value was expected"));
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

/// The brackets that are open: their number, and one bit each for their kind.
#[derive(Debug, Default)]
struct OpenBrackets {
    depth: usize,
    /// The innermost up to 64, the last one lowest.
    inner: u64,
    /// 64 at a time, what does not fit there.
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

    fn pop(&mut self, kind: u64) -> bool {
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

/// Strings are searched this far byte by byte first: most are keys, too short to pay for a call.
const SHORT_STRING: usize = 16;

/// Returns where the first quote or backslash is.
fn find_special(text: &[u8]) -> Option<usize> {
    let (short, long) = text.split_at(text.len().min(SHORT_STRING));
    for (at, &byte) in short.iter().enumerate() {
        if byte == b'"' || byte == b'\\' {
            return Some(at);
        }
    }
    memchr2(b'"', b'\\', long).map(|at| at + short.len())
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
            let mut skim = ValueSkipper::default();
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let (last, first) = pieces.split_last().unwrap();
            for piece in first {
                prop_assert_eq!(skim.feed(piece, 0), SkipProgress::WindowRead);
            }
            prop_assert_eq!(skim.feed(last, 0), SkipProgress::End(last.len()));
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
            assert_eq!(skip_value(&text.as_bytes()[..text.len() - 1], 0), Err(SkipError::Incomplete));
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
