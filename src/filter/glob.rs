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
