//! Decodes the escapes of a JSON string.
//!
//! Several formats carry a record as text in a string. Its bytes are restored as they were; only a lone surrogate, which
//! UTF-8 cannot encode, stays an escape.
//! Not shared with `normalize::text::unescape`: that one returns WTF-8 and keeps unknown escapes, because it decodes single
//! values to compare and shorten them. The text that is decoded here is parsed again, so that it must stay valid JSON in
//! UTF-8; and it is a whole record of LookupEvents, so that everything between two escapes is copied as a block.

use crate::normalize::unicode_escape;

/// Appends the text of `string`, given without its quotes, to `text`.
pub(crate) fn unescape(string: &[u8], text: &mut Vec<u8>) {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        let length = escape(&rest[at..], text);
        rest = &rest[at + length..];
    }
    text.extend_from_slice(rest);
}

/// Appends the character of the escape at the beginning of `rest`, and returns the length of the escape.
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
    let Some((code_point, end)) = unicode_escape(rest, 2) else {
        text.extend_from_slice(b"\\u");
        return 2;
    };
    match char::from_u32(code_point) {
        Some(character) => {
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => text.extend_from_slice(&rest[..end]),
    }
    end
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
