//! Text with the wildcards `*` and `?`.
//!
//! Input: a pattern as Sigma writes it, in which a backslash makes a wildcard or a backslash literal; a text. Output:
//! whether it matches.
//! Invariant: time grows with the product of the lengths at most.

/// How letters are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Ignored,
    Respected,
}

/// Where a pattern has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Whole,
    Start,
    End,
    Anywhere,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    case: Case,
    /// The text, if the pattern is compared with the whole text and has no wildcards.
    plain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Character(char),
    One,
    Many,
}

impl Pattern {
    /// Parses a pattern.
    pub(super) fn parse(text: &str, anchor: Anchor, case: Case) -> Self {
        let mut tokens = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    let escaped = characters.next_if(|next| matches!(next, '*' | '?' | '\\'));
                    tokens.push(Token::Character(escaped.unwrap_or('\\')));
                }
                '*' => tokens.push(Token::Many),
                '?' => tokens.push(Token::One),
                other => tokens.push(Token::Character(other)),
            }
        }
        Self::new(tokens, anchor, case)
    }

    /// Creates a pattern that matches a text literally.
    pub(super) fn literal(text: &str, anchor: Anchor, case: Case) -> Self {
        Self::new(text.chars().map(Token::Character).collect(), anchor, case)
    }

    fn new(mut tokens: Vec<Token>, anchor: Anchor, case: Case) -> Self {
        let plain: Option<String> = tokens
            .iter()
            .map(|token| match token {
                Token::Character(character) => Some(*character),
                Token::One | Token::Many => None,
            })
            .collect();
        if matches!(anchor, Anchor::End | Anchor::Anywhere) {
            tokens.insert(0, Token::Many);
        }
        if matches!(anchor, Anchor::Start | Anchor::Anywhere) {
            tokens.push(Token::Many);
        }
        if case == Case::Ignored {
            tokens = tokens.into_iter().flat_map(lower).collect();
        }
        Self { tokens, case, plain: plain.filter(|_| anchor == Anchor::Whole) }
    }

    /// Returns the text that this matches, if that is one text.
    pub(super) fn as_plain(&self) -> Option<&str> {
        self.plain.as_deref()
    }

    /// Returns whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.plain {
            Some(plain) if self.case == Case::Respected || text.is_ascii() && plain.is_ascii() => {
                plain == text || self.case == Case::Ignored && plain.eq_ignore_ascii_case(text)
            }
            _ if self.case == Case::Ignored => {
                let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
                self.matches_characters(&text)
            }
            _ => self.matches_characters(&text.chars().collect::<Vec<char>>()),
        }
    }

    /// Matches from left to right; after a mismatch, the last `*` takes one character more.
    fn matches_characters(&self, text: &[char]) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut retry = None;
        loop {
            match (self.tokens.get(token), text.get(at)) {
                (Some(Token::Many), _) => {
                    retry = Some((token, at));
                    token += 1;
                }
                (Some(Token::One), Some(_)) => (token, at) = (token + 1, at + 1),
                (Some(Token::Character(expected)), Some(found)) if expected == found => {
                    (token, at) = (token + 1, at + 1);
                }
                (None, None) => return true,
                _ => match retry {
                    Some((many, start)) if start < text.len() => {
                        retry = Some((many, start + 1));
                        (token, at) = (many + 1, start + 1);
                    }
                    _ => return false,
                },
            }
        }
    }
}

fn lower(token: Token) -> Vec<Token> {
    match token {
        Token::Character(character) => character.to_lowercase().map(Token::Character).collect(),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_case_and_escapes() {
        for (pattern, anchor, text, expected) in [
            ("Root", Anchor::Whole, "root", true),
            ("Root", Anchor::Whole, "roots", false),
            ("*.amazonaws.com", Anchor::Whole, "S3.amazonaws.com", true),
            ("a?c", Anchor::Whole, "abc", true),
            ("a?c", Anchor::Whole, "ac", false),
            ("*", Anchor::Anywhere, "", true),
            ("a*b*c", Anchor::Whole, "a-b-b-c", true),
            ("a*b*c", Anchor::Whole, "a-b-b", false),
            ("b", Anchor::Anywhere, "abc", true),
            ("b", Anchor::Start, "abc", false),
            ("bc", Anchor::End, "abc", true),
            (r"\*", Anchor::Whole, "*", true),
            (r"\*", Anchor::Whole, "a", false),
            (r"C:\Windows\\*", Anchor::Whole, r"c:\windows\x", true),
            ("ÄB", Anchor::Whole, "äb", true),
            ("", Anchor::Whole, "", true),
            ("", Anchor::Whole, "a", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern, anchor, Case::Ignored).matches(text),
                expected,
                "{pattern} {anchor:?} {text}"
            );
        }
        assert!(!Pattern::parse("Root", Anchor::Whole, Case::Respected).matches("root"));
    }
}
