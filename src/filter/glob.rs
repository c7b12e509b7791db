//! Glob patterns as in `fnmatch`: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`. The case of letters does not matter.
//!
//! Input: a pattern, and texts. Output: whether a text matches as a whole.
//! Invariant: every text is a valid pattern, and matching takes time proportional to the length of the pattern times the
//! length of the text at most. A `[` that is not closed stands for itself, and nothing escapes a character.
//! Not here: what the texts are (see `action` and `selectors`).

use std::{fmt, iter, ops::RangeInclusive};

/// A pattern for a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The pattern as it was written.
    text: String,
    /// The pattern in lower case, if it contains no wildcard.
    literal: Option<String>,
    tokens: Vec<Token>,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character, in lower case.
    Char(char),
    /// Any one character: `?`.
    Any,
    /// Any text, also an empty one: `*`.
    Star,
    /// One of some characters, or one of all others: `[a-z]`, `[!a-z]`.
    Class { negated: bool, ranges: Vec<RangeInclusive<char>> },
}

impl Glob {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(char) = chars.get(at) {
            at += 1;
            let token = match char {
                '*' if tokens.last() == Some(&Token::Star) => continue,
                '*' => Token::Star,
                '?' => Token::Any,
                '[' => match class(&chars[at..]) {
                    Some((class, length)) => {
                        at += length;
                        class
                    }
                    None => Token::Char('['),
                },
                char => Token::Char(*char),
            };
            tokens.push(token);
        }
        let char = |token: &Token| if let Token::Char(char) = token { Some(*char) } else { None };
        Self { text: pattern.to_owned(), literal: tokens.iter().map(char).collect(), tokens }
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the only text that matches, in lower case, or `None` if the pattern contains a wildcard.
    pub fn literal(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    /// Returns whether every text matches.
    pub fn matches_everything(&self) -> bool {
        self.tokens == [Token::Star]
    }

    /// Returns whether the pattern contains a class that no character belongs to, such as `[z-a]`. Then no text matches.
    pub fn matches_nothing(&self) -> bool {
        let is_empty = |token: &Token| matches!(token, Token::Class { negated: false, ranges } if ranges.iter().all(RangeInclusive::is_empty));
        self.tokens.iter().any(is_empty)
    }

    /// Returns whether the pattern contains a `[` that is not closed.
    pub fn has_open_bracket(&self) -> bool {
        self.tokens.contains(&Token::Char('['))
    }

    /// Returns whether a text matches as a whole.
    pub fn matches(&self, text: &str) -> bool {
        if self.matches_everything() {
            return true;
        }
        match &self.literal {
            Some(literal) if text.is_ascii() => literal.eq_ignore_ascii_case(text),
            _ if text.is_ascii() => self.matches_bytes(text.as_bytes()),
            _ => {
                let chars: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
                self.matches_with(chars.len(), |place| chars[place])
            }
        }
    }

    /// Matches a text of ASCII characters, which needs no copy.
    fn matches_bytes(&self, text: &[u8]) -> bool {
        self.matches_with(text.len(), |place| char::from(text[place].to_ascii_lowercase()))
    }

    /// Matches `length` characters. On a mismatch, the last star takes one character more; earlier ones need not,
    /// because the last star can take whatever they would.
    fn matches_with(&self, length: usize, char_at: impl Fn(usize) -> char) -> bool {
        let (mut place, mut token) = (0, 0);
        let mut last_star = None;
        while place < length {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    last_star = Some((token, place));
                }
                Some(one) if one.accepts(char_at(place)) => {
                    token += 1;
                    place += 1;
                }
                _ => {
                    let Some((behind, taken)) = last_star else { return false };
                    last_star = Some((behind, taken + 1));
                    (token, place) = (behind, taken + 1);
                }
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::Star)
    }
}

impl Token {
    /// Returns whether a token other than a star accepts a character in lower case.
    fn accepts(&self, char: char) -> bool {
        match self {
            Self::Char(own) => *own == char,
            Self::Any => true,
            Self::Star => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|range| range.contains(&char)) != *negated
            }
        }
    }
}

/// Parses a class behind its `[`. Returns it with its length, or `None` if it is not closed.
fn class(chars: &[char]) -> Option<(Token, usize)> {
    let negated = chars.first() == Some(&'!');
    let start = usize::from(negated);
    // A `]` in the first place belongs to the class.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|char| *char == ']')?;
    let mut rest = &chars[start..end];
    let ranges = iter::from_fn(|| {
        let (range, behind) = match rest {
            [first, '-', last, behind @ ..] => (*first..=*last, behind),
            [char, behind @ ..] => (*char..=*char, behind),
            [] => return None,
        };
        rest = behind;
        Some(range)
    });
    Some((Token::Class { negated, ranges: ranges.collect() }, end + 1))
}

impl fmt::Display for Glob {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// What `fnmatch` in Python defines: recursion over the pattern, without any shortcut.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|taken| reference(rest, &text[taken..])),
            ['?', rest @ ..] => !text.is_empty() && reference(rest, &text[1..]),
            ['[', inside @ ..] => {
                let start = usize::from(inside.first() == Some(&'!'));
                let end = (start + 1..inside.len()).find(|place| inside[*place] == ']');
                let Some(end) = end else {
                    return text.first() == Some(&'[') && reference(inside, &text[1..]);
                };
                let Some(char) = text.first() else { return false };
                let is_member = is_member(&inside[start..end], *char);
                is_member != (start == 1) && reference(&inside[end + 1..], &text[1..])
            }
            [char, rest @ ..] => text.first() == Some(char) && reference(rest, &text[1..]),
        }
    }

    fn is_member(class: &[char], char: char) -> bool {
        match class {
            [] => false,
            [first, '-', last, rest @ ..] => {
                (*first <= char && char <= *last) || is_member(rest, char)
            }
            [one, rest @ ..] => *one == char || is_member(rest, char),
        }
    }

    fn lower(text: &str) -> Vec<char> {
        text.to_lowercase().chars().collect()
    }

    #[test]
    fn wildcards_and_classes_match_as_documented() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("*b*", "abc", true),
            ("[a-c]x", "Bx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("[a-]", "-", true),
            ("[^a]", "^", true),
            ("[z-a]", "m", false),
            ("[!z-a]", "m", true),
            ("[ab", "[ab", true),
            ("[!]", "[!]", true),
            ("é?", "ÉX", true),
            ("Straße", "STRASSE", false),
            ("a\\*", "a*", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_that_no_text_matches_is_recognized() {
        assert!(Glob::new("a[z-a]").matches_nothing());
        assert!(!Glob::new("[!z-a]").matches_nothing());
        assert!(Glob::new("Get[").has_open_bracket());
        assert_eq!(Glob::new("GetObject").literal(), Some("getobject"));
        assert_eq!(Glob::new("Get*").literal(), None);
        assert!(Glob::new("**").matches_everything());
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let glob = Glob::new(&"a*".repeat(200));
        let begin = Instant::now();
        assert!(!glob.matches(&format!("{}b", "a".repeat(100))));
        assert!(!Glob::new("*a*a*a*a*a*b").matches(&"a".repeat(20_000)));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_the_reference_matches(
            pattern in "[ab*?!\\[\\]A-]{0,8}",
            text in "[abAB!\\]\\[-]{0,7}",
        ) {
            prop_assert_eq!(
                Glob::new(&pattern).matches(&text),
                reference(&lower(&pattern), &lower(&text)),
                "{} {}", pattern, text
            );
        }

        #[test]
        fn a_text_without_wildcards_matches_itself_in_any_case(text in "[^*?\\[İẞΣ]{0,20}") {
            prop_assert!(Glob::new(&text).matches(&text));
            let longer = text.clone() + "x";
            prop_assert!(!Glob::new(&text).matches(&longer));
        }
    }
}
