//! Turns the inside of a JSON string back into the text that was put into it.
//!
//! Some shapes carry a record as text within a string. Its bytes are restored as they were, except that
//! an escape of half a character (a lone surrogate), which no text can hold, stays an escape.

/// Writes what `string` (without its quotes) stands for to the end of `text`.
pub(crate) fn unescape(string: &[u8], text: &mut Vec<u8>) {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        let length = escape(&rest[at..], text);
        rest = &rest[at + length..];
    }
    text.extend_from_slice(rest);
}

/// Writes what the escape at the beginning of `rest` stands for, and returns its length.
fn escape(rest: &[u8], text: &mut Vec<u8>) -> usize {
    let plain = match rest.get(1) {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'u') => return unicode(rest, text),
        Some(&other) => other,
        None => {
            text.push(b'\\');
            return 1;
        }
    };
    text.push(plain);
    2
}

fn unicode(rest: &[u8], text: &mut Vec<u8>) -> usize {
    let Some(first) = unit(rest) else {
        text.extend_from_slice(b"\\u");
        return 2;
    };
    let pair = [Some(first), unit(rest.get(6..).unwrap_or_default())];
    let decoded = char::decode_utf16(pair.into_iter().flatten()).next();
    let Some(Ok(character)) = decoded else {
        text.extend_from_slice(&rest[..6]);
        return 6;
    };
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    character.len_utf16() * 6
}

/// Returns the UTF-16 unit of the `\uXXXX` at the beginning of `rest`.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` alone would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn restored(string: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        unescape(string, &mut text);
        text
    }

    proptest! {
        #[test]
        fn what_serde_json_escapes_is_restored(given: String) {
            let string = serde_json::to_string(&given).unwrap();
            prop_assert_eq!(restored(&string.as_bytes()[1..string.len() - 1]), given.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(given: Vec<u8>) {
            restored(&given);
        }
    }

    #[test]
    fn pairs_become_one_character_and_halves_stay() {
        assert_eq!(restored(br"\ud83d\ude00\u0041"), "\u{1f600}A".as_bytes());
        assert_eq!(restored(br"\ud83d!\ude00"), br"\ud83d!\ude00");
        assert_eq!(restored(br"\u12"), br"\u12");
        assert_eq!(restored(br"\u+123"), br"\u+123");
        assert_eq!(restored(br#"\/\"\\"#), br#"/"\"#);
    }
}
