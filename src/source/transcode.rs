//! Converts text in UTF-16 and UTF-32 to UTF-8 while it is read.
//!
//! Input: the bytes of a text, from the first one on. Output: the same text in UTF-8, with its byte order mark.
//! Invariant: memory is bounded by [`CHUNK`]; the text does not depend on how the bytes arrive; conversion never fails. A
//! lone surrogate becomes its JSON escape; an invalid code point becomes U+FFFD.

use std::{
    fmt,
    io::{self, ErrorKind, Read},
};

/// Bytes that are converted at a time.
const CHUNK: usize = 32 << 10;

/// An encoding other than UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextEncoding {
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
            Self::Utf32Le | Self::Utf32Be => "UTF-32",
        })
    }
}

/// Returns the encoding of a text that starts with `head`; `None` for UTF-8 and for other data.
///
/// Without a byte order mark, the first character must be one that JSON may start with: RFC 4627, section 3.
pub(super) fn detect_encoding(head: &[u8]) -> Option<TextEncoding> {
    Some(match head {
        [0xff, 0xfe, 0, 0, ..] => TextEncoding::Utf32Le,
        [0, 0, 0xfe, 0xff, ..] => TextEncoding::Utf32Be,
        [0xff, 0xfe, ..] => TextEncoding::Utf16Le,
        [0xfe, 0xff, ..] => TextEncoding::Utf16Be,
        [first, 0, 0, 0, ..] if begins_json(*first) => TextEncoding::Utf32Le,
        [0, 0, 0, first, ..] if begins_json(*first) => TextEncoding::Utf32Be,
        [first, 0, second, 0, ..] if begins_json(*first) && *second != 0 => TextEncoding::Utf16Le,
        [0, first, 0, second, ..] if begins_json(*first) && *second != 0 => TextEncoding::Utf16Be,
        _ => return None,
    })
}

fn begins_json(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b'"' | b'0'..=b'9' | b' ' | b'\t' | b'\r' | b'\n')
}

/// Reads a text as UTF-8 that is stored in another encoding.
pub(super) struct Transcoder<R> {
    inner: R,
    encoding: TextEncoding,
    /// Bytes that were read and not converted: less than a character and a chunk.
    input: Vec<u8>,
    /// Converted text; what is behind `at` was not returned yet.
    output: Vec<u8>,
    at: usize,
    /// The first half of a surrogate pair.
    high_surrogate: Option<u16>,
    ended: bool,
}

impl<R: Read> Transcoder<R> {
    pub(super) fn new(inner: R, encoding: TextEncoding) -> Self {
        let (input, output) = (Vec::with_capacity(CHUNK), Vec::with_capacity(2 * CHUNK));
        Self { inner, encoding, input, output, at: 0, high_surrogate: None, ended: false }
    }

    /// Reads and converts a chunk.
    fn refill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.at = 0;
        while self.output.is_empty() && !self.ended {
            let kept = self.input.len();
            self.input.resize(CHUNK, 0);
            let read = loop {
                match self.inner.read(&mut self.input[kept..]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            self.input.truncate(kept + *read.as_ref().unwrap_or(&0));
            self.ended = read? == 0;
            self.convert();
        }
        Ok(())
    }

    /// Converts all complete code units of the input.
    fn convert(&mut self) {
        let width = if self.is_utf32() { 4 } else { 2 };
        let whole = self.input.len() - self.input.len() % width;
        for at in (0..whole).step_by(width) {
            match (self.encoding, &self.input[at..at + width]) {
                (TextEncoding::Utf16Le, &[a, b]) => self.push_utf16(u16::from_le_bytes([a, b])),
                (TextEncoding::Utf16Be, &[a, b]) => self.push_utf16(u16::from_be_bytes([a, b])),
                (TextEncoding::Utf32Le, &[a, b, c, d]) => {
                    self.push_utf32(u32::from_le_bytes([a, b, c, d]));
                }
                (_, &[a, b, c, d]) => self.push_utf32(u32::from_be_bytes([a, b, c, d])),
                _ => {}
            }
        }
        self.input.drain(..whole);
        if self.ended {
            self.finish();
        }
    }

    fn is_utf32(&self) -> bool {
        matches!(self.encoding, TextEncoding::Utf32Le | TextEncoding::Utf32Be)
    }

    /// Converts the next code unit of UTF-16.
    fn push_utf16(&mut self, unit: u16) {
        const SUPPLEMENTARY: u32 = 0x1_0000;
        match (self.high_surrogate.take(), unit) {
            (Some(first), 0xdc00..=0xdfff) => {
                let high = u32::from(first - 0xd800) << 10;
                self.push(SUPPLEMENTARY + high + u32::from(unit - 0xdc00));
                return;
            }
            (Some(first), _) => self.push_lone_surrogate(first),
            (None, _) => {}
        }
        match unit {
            0xd800..=0xdbff => self.high_surrogate = Some(unit),
            0xdc00..=0xdfff => self.push_lone_surrogate(unit),
            _ => self.push(u32::from(unit)),
        }
    }

    /// Converts the next code point of UTF-32.
    fn push_utf32(&mut self, point: u32) {
        match u16::try_from(point) {
            Ok(half @ 0xd800..=0xdfff) => self.push_lone_surrogate(half),
            _ => self.push(point),
        }
    }

    fn push(&mut self, point: u32) {
        let character = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Writes a lone surrogate as its JSON escape, because UTF-8 cannot encode it.
    fn push_lone_surrogate(&mut self, half: u16) {
        self.output.extend_from_slice(format!("\\u{half:04x}").as_bytes());
    }

    /// Converts what is left at the end of the input: a lone surrogate, and an incomplete code unit. A single white space
    /// byte is appended by tools that take the file for UTF-8.
    fn finish(&mut self) {
        if let Some(half) = self.high_surrogate.take() {
            self.push_lone_surrogate(half);
        }
        match self.input[..] {
            [] => {}
            [space @ (b'\n' | b'\r' | b' ')] => self.output.push(space),
            _ => self.push(u32::from(char::REPLACEMENT_CHARACTER)),
        }
        self.input.clear();
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.output.len() {
            self.refill()?;
        }
        let rest = &self.output[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [TextEncoding; 4] = [
        TextEncoding::Utf16Le,
        TextEncoding::Utf16Be,
        TextEncoding::Utf32Le,
        TextEncoding::Utf32Be,
    ];

    /// Encodes a text by the standard library.
    pub(super) fn stored(text: &str, encoding: TextEncoding) -> Vec<u8> {
        match encoding {
            TextEncoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            TextEncoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            TextEncoding::Utf32Le => {
                text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
            }
            TextEncoding::Utf32Be => {
                text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()
            }
        }
    }

    /// Returns bytes in pieces of these sizes, in turn.
    struct Pieces<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Self(rest, sizes, turn) = self;
            *turn += 1;
            if *turn % 5 == 0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let size = sizes[*turn % sizes.len()].min(rest.len()).min(buffer.len());
            buffer[..size].copy_from_slice(&rest[..size]);
            *rest = &rest[size..];
            Ok(size)
        }
    }

    fn turned(bytes: &[u8], encoding: TextEncoding, sizes: Vec<usize>) -> Vec<u8> {
        let mut text = Vec::new();
        Transcoder::new(Pieces(bytes, sizes, 0), encoding).read_to_end(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn any_text_comes_back_however_it_arrives(
            text in any::<String>(),
            sizes in prop::collection::vec(1_usize..9, 1..9),
        ) {
            for encoding in ALL {
                let text_again = turned(&stored(&text, encoding), encoding, sizes.clone());
                prop_assert_eq!(&text_again, text.as_bytes(), "{:?}", encoding);
            }
        }

        /// Two orders of the same units: what they mean must not depend on where a piece ends.
        #[test]
        fn any_bytes_give_one_text_in_utf_8(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            sizes in prop::collection::vec(1_usize..9, 1..9),
        ) {
            for encoding in ALL {
                let whole = turned(&bytes, encoding, vec![CHUNK]);
                prop_assert!(std::str::from_utf8(&whole).is_ok());
                prop_assert_eq!(&turned(&bytes, encoding, sizes.clone()), &whole);
            }
        }

        /// A text of JSON is known by its first bytes, with a mark and without.
        #[test]
        fn json_is_detected_by_its_first_bytes(rest in "[ -~]{1,9}", first in r#"[\{\[" 0-9]"#) {
            for encoding in ALL {
                let text = format!("{first}{rest}");
                prop_assert_eq!(super::detect_encoding(&stored(&text, encoding)), Some(encoding));
                let marked = format!("\u{feff}{text}");
                prop_assert_eq!(super::detect_encoding(&stored(&marked, encoding)), Some(encoding));
                prop_assert_eq!(super::detect_encoding(text.as_bytes()), None);
            }
        }
    }

    #[test]
    fn long_texts_keep_what_lies_across_chunks() {
        let text = "a\u{1f600}é".repeat(CHUNK);
        for encoding in ALL {
            let text_again = turned(&stored(&text, encoding), encoding, vec![CHUNK - 1, 3]);
            assert!(text_again == text.as_bytes(), "{encoding:?}");
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_its_escape_and_an_invalid_code_point_the_replacement() {
        let units =
            |units: &[u16]| -> Vec<u8> { units.iter().flat_map(|u| u.to_le_bytes()).collect() };
        let text = |bytes: &[u8]| {
            String::from_utf8(turned(bytes, TextEncoding::Utf16Le, vec![CHUNK])).unwrap()
        };
        assert_eq!(text(&units(&[0x61, 0xd83d, 0x62, 0xde00])), r"a\ud83db\ude00");
        assert_eq!(text(&units(&[0xd83d, 0xd83d, 0xde00])), "\\ud83d\u{1f600}");
        assert_eq!(text(&units(&[0xd83d])), r"\ud83d");
        assert_eq!(text(&[0x7b, 0, 0x7d]), "{\u{fffd}");
        assert_eq!(text(&[0x7b, 0, 0x7d, 0, b'\n']), "{}\n");
        let wide = [0x11_0000_u32, 0xd800, 0x61].map(u32::to_be_bytes).concat();
        let wide = turned(&wide, TextEncoding::Utf32Be, vec![CHUNK]);
        assert_eq!(String::from_utf8(wide).unwrap(), "\u{fffd}\\ud800a");
    }

    #[test]
    fn utf_8_and_other_data_have_no_encoding() {
        for head in [
            &b""[..],
            b"{",
            b"{\"",
            b"{}",
            b"\0\0\0\0",
            b"\0{\"a",
            b"{\0\0",
            b"\x1f\x8b\x08\0",
            b"\0\x8b\x08\0",
            b"L\0\0\0",
            b"\0\0\x01\0",
            b"\xef\xbb\xbf{",
        ] {
            assert_eq!(detect_encoding(head), None, "{head:?}");
        }
    }
}
