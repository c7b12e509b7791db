//! Cuts texts to the limits of services.
//!
//! Input: a text and a limit in characters, bytes or UTF-16 units, as the service counts. Output: the text, or its start and a
//! mark.
//! Invariant: the result is within the limit and valid UTF-8; no escape sequence and no joined emoji is cut in two.

use std::borrow::Cow;

/// What a service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Characters,
    Bytes,
    /// Units of UTF-16: what `length` is in JavaScript and Java. An emoji counts as two or more.
    Utf16,
}

/// The longest text that a service accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextLimit {
    max: usize,
    unit: Unit,
}

/// The end of a text that was cut.
const MARK: char = '…';

impl TextLimit {
    /// A limit in characters.
    pub(super) const fn characters(max: usize) -> Self {
        Self { max, unit: Unit::Characters }
    }

    /// A limit in bytes of UTF-8.
    pub(super) const fn bytes(max: usize) -> Self {
        Self { max, unit: Unit::Bytes }
    }

    /// A limit in units of UTF-16, which is never more than as many characters.
    pub(super) const fn utf16(max: usize) -> Self {
        Self { max, unit: Unit::Utf16 }
    }

    /// Returns the length of a text in the unit of the limit.
    pub(super) fn length(self, text: &str) -> usize {
        match self.unit {
            Unit::Characters => text.chars().count(),
            Unit::Bytes => text.len(),
            Unit::Utf16 => text.encode_utf16().count(),
        }
    }

    /// Returns the text, or its start and a mark if it is too long.
    pub(super) fn cut(self, text: &str) -> Cow<'_, str> {
        if self.length(text) <= self.max {
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.escape(text, |letter, to| to.push(letter)))
    }

    /// Escapes each character and cuts the result. No escape sequence is cut in two.
    pub(super) fn escape(self, text: &str, escape: impl Fn(char, &mut String)) -> String {
        let mut result = String::new();
        let mut used = 0;
        // How much of the result stays if the text has to be cut.
        let mut kept = 0;
        let mark = self.length(MARK.encode_utf8(&mut [0; 4]));
        for letter in text.chars() {
            let start = result.len();
            escape(letter, &mut result);
            used += self.length(&result[start..]);
            if used > self.max {
                result.truncate(kept);
                let joined = result.trim_end_matches(is_joining).len();
                result.truncate(joined);
                if self.length(&result) + mark <= self.max {
                    result.push(MARK);
                }
                return result;
            }
            if used + mark <= self.max {
                kept = result.len();
            }
        }
        result
    }
}

/// Returns whether a character joins what follows to what precedes, so that a text must not end with it.
fn is_joining(letter: char) -> bool {
    letter == '\u{200d}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_within_the_limit_stays() {
        assert_eq!(TextLimit::characters(3).cut("äöü"), "äöü");
        assert_eq!(TextLimit::bytes(6).cut("äöü"), "äöü");
        assert_eq!(TextLimit::utf16(2).cut("😀"), "😀");
    }

    #[test]
    fn a_longer_text_is_cut_with_a_mark() {
        assert_eq!(TextLimit::characters(3).cut("abcd"), "ab…");
        assert_eq!(TextLimit::bytes(5).cut("äöü"), "ä…");
        assert_eq!(TextLimit::utf16(4).cut("😀😀😀"), "😀…");
        assert_eq!(TextLimit::characters(3).cut("a\u{200d}bcd"), "a…");
        assert_eq!(TextLimit::bytes(2).cut("abc"), "", "no room for the mark");
    }

    #[test]
    fn no_escape_sequence_is_cut_in_two() {
        let escape = |letter: char, to: &mut String| match letter {
            '&' => to.push_str("&amp;"),
            letter => to.push(letter),
        };
        assert_eq!(TextLimit::characters(11).escape("&&", escape), "&amp;&amp;");
        assert_eq!(TextLimit::characters(9).escape("&&&", escape), "&amp;…");
    }

    proptest! {
        #[test]
        fn the_result_is_within_the_limit(text in any::<String>(), max in 0_usize..40) {
            for limit in [TextLimit::characters(max), TextLimit::bytes(max), TextLimit::utf16(max)] {
                let cut = limit.cut(&text);
                prop_assert!(limit.length(&cut) <= max);
                let start = cut.strip_suffix(MARK).unwrap_or(&cut);
                prop_assert!(text.starts_with(start));
            }
        }
    }
}
