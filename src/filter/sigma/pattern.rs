//! Text with the wildcards `*` and `?`.
//!
//! Input: a pattern as Sigma writes it, in which a backslash makes a wildcard or a backslash literal; a text. Output:
//! whether it matches.
//! Invariant: time grows with the product of the lengths at most. Comparing ASCII text copies nothing.

use memchr::memchr2_iter;

use crate::filter::field_test::{Case, TextOperand, TextTest, lowercase};

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
    kind: PatternKind,
    case: Case,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternKind {
    /// Text without wildcards, in small letters if case is ignored.
    Literal(Anchor, String),
    /// Text with wildcards for the whole text, in small letters if case is ignored.
    Wildcards(Vec<Token>),
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
        let mut tokens = tokens(text);
        if matches!(anchor, Anchor::End | Anchor::Anywhere) {
            tokens.insert(0, Token::Many);
        }
        if matches!(anchor, Anchor::Start | Anchor::Anywhere) {
            tokens.push(Token::Many);
        }
        let start = tokens.iter().take_while(|token| **token == Token::Many).count();
        let end =
            tokens.iter().skip(start).rev().take_while(|token| **token == Token::Many).count();
        let inner = tokens.get(start..tokens.len() - end).unwrap_or_default();
        let literal: Option<String> = inner
            .iter()
            .map(|token| match token {
                Token::Character(character) => Some(*character),
                Token::One | Token::Many => None,
            })
            .collect();
        match literal {
            Some(text) => {
                let anchor = match (start > 0, end > 0) {
                    (false, false) => Anchor::Whole,
                    (false, true) => Anchor::Start,
                    (true, false) if text.is_empty() => Anchor::Anywhere,
                    (true, false) => Anchor::End,
                    (true, true) => Anchor::Anywhere,
                };
                Self::literal(&text, anchor, case)
            }
            None if case == Case::Ignored => {
                let tokens = tokens.into_iter().flat_map(lower).collect();
                Self { kind: PatternKind::Wildcards(tokens), case }
            }
            None => Self { kind: PatternKind::Wildcards(tokens), case },
        }
    }

    /// Creates a pattern that matches a text literally.
    pub(super) fn literal(text: &str, anchor: Anchor, case: Case) -> Self {
        let text = if case == Case::Ignored { lowercase(text) } else { text.to_owned() };
        Self { kind: PatternKind::Literal(anchor, text), case }
    }

    /// Returns the text that this matches, if that is one text; in small letters if case is ignored.
    pub(super) fn as_plain(&self) -> Option<&str> {
        match &self.kind {
            PatternKind::Literal(Anchor::Whole, text) => Some(text),
            _ => None,
        }
    }

    /// Returns a test that each text passes which this matches.
    pub(super) fn required_test(&self) -> TextTest {
        let operand = |text: &str| TextOperand { text: text.to_owned(), case: self.case };
        match &self.kind {
            PatternKind::Literal(Anchor::Whole, text) => TextTest::Equals(operand(text)),
            PatternKind::Literal(_, text) if text.is_empty() => TextTest::Any,
            PatternKind::Literal(Anchor::Start, text) => TextTest::StartsWith(operand(text)),
            PatternKind::Literal(Anchor::End, text) => TextTest::EndsWith(operand(text)),
            PatternKind::Literal(Anchor::Anywhere, text) => TextTest::Contains(operand(text)),
            PatternKind::Wildcards(tokens) => {
                let runs = tokens.split(|token| !matches!(token, Token::Character(_)));
                let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
                let text: String = longest
                    .iter()
                    .filter_map(|token| match token {
                        Token::Character(character) => Some(*character),
                        Token::One | Token::Many => None,
                    })
                    .collect();
                if text.is_empty() { TextTest::Any } else { TextTest::Contains(operand(&text)) }
            }
        }
    }

    /// Returns whether a text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match (&self.kind, self.case) {
            (PatternKind::Literal(anchor, pattern), Case::Respected) => {
                found(*anchor, text, pattern)
            }
            (PatternKind::Literal(anchor, pattern), Case::Ignored) => {
                if text.is_ascii() {
                    // A pattern with other characters matches no ASCII text.
                    found_in_any_case(*anchor, text.as_bytes(), pattern.as_bytes())
                } else {
                    found(*anchor, &lowercase(text), pattern)
                }
            }
            (PatternKind::Wildcards(tokens), Case::Respected) => {
                matches_characters(tokens, &text.chars().collect::<Vec<char>>())
            }
            (PatternKind::Wildcards(tokens), Case::Ignored) => {
                let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
                matches_characters(tokens, &text)
            }
        }
    }
}

/// Returns the text of a value, in which a backslash makes a wildcard or a backslash literal; `None` if it has wildcards.
pub(super) fn plain_text(text: &str) -> Option<String> {
    tokens(text)
        .into_iter()
        .map(|token| match token {
            Token::Character(character) => Some(character),
            Token::One | Token::Many => None,
        })
        .collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '\\' => {
                let escaped = characters.next_if(|next| matches!(next, '*' | '?' | '\\'));
                Token::Character(escaped.unwrap_or('\\'))
            }
            '*' => Token::Many,
            '?' => Token::One,
            other => Token::Character(other),
        });
    }
    tokens
}

fn found(anchor: Anchor, text: &str, pattern: &str) -> bool {
    match anchor {
        Anchor::Whole => text == pattern,
        Anchor::Start => text.starts_with(pattern),
        Anchor::End => text.ends_with(pattern),
        Anchor::Anywhere => text.contains(pattern),
    }
}

/// Compares ASCII text with a pattern in small letters.
fn found_in_any_case(anchor: Anchor, text: &[u8], pattern: &[u8]) -> bool {
    let is_at = |start: Option<usize>| {
        let part = start.and_then(|start| text.get(start..start + pattern.len()));
        part.is_some_and(|part| part.eq_ignore_ascii_case(pattern))
    };
    match anchor {
        Anchor::Whole => text.eq_ignore_ascii_case(pattern),
        Anchor::Start => is_at(Some(0)),
        Anchor::End => is_at(text.len().checked_sub(pattern.len())),
        Anchor::Anywhere => match pattern.first() {
            None => true,
            Some(first) => memchr2_iter(*first, first.to_ascii_uppercase(), text)
                .any(|start| is_at(Some(start))),
        },
    }
}

/// Matches from left to right; after a mismatch, the last `*` takes one character more.
fn matches_characters(tokens: &[Token], text: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry = None;
    loop {
        match (tokens.get(token), text.get(at)) {
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

fn lower(token: Token) -> Vec<Token> {
    match token {
        Token::Character(character) => character.to_lowercase().map(Token::Character).collect(),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("*", Anchor::Whole, "", true),
            ("**", Anchor::Whole, "a", true),
            ("a*b*c", Anchor::Whole, "a-b-b-c", true),
            ("a*b*c", Anchor::Whole, "a-b-b", false),
            ("b", Anchor::Anywhere, "abc", true),
            ("B", Anchor::Anywhere, "aBc", true),
            ("b", Anchor::Start, "abc", false),
            ("bc", Anchor::End, "abc", true),
            ("abcd", Anchor::End, "abc", false),
            (r"\*", Anchor::Whole, "*", true),
            (r"\*", Anchor::Whole, "a", false),
            (r"\?", Anchor::Whole, "a", false),
            (r"C:\Windows\\*", Anchor::Whole, r"c:\windows\x", true),
            (r"a\\\*", Anchor::Whole, r"a\*", true),
            (r"a\\b", Anchor::Whole, r"a\b", true),
            (r"a\b", Anchor::Whole, r"a\b", true),
            ("ÄB", Anchor::Whole, "äb", true),
            ("k", Anchor::Whole, "\u{212a}", true),
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

    /// The same by recursion over the characters of pattern and text.
    fn model(tokens: &[Token], text: &[char]) -> bool {
        match (tokens.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Token::Many, rest)), None) => model(rest, text),
            (Some((Token::Many, rest)), Some((_, behind))) => {
                model(rest, text) || model(tokens, behind)
            }
            (Some((Token::One, rest)), Some((_, behind))) => model(rest, behind),
            (Some((Token::Character(expected), rest)), Some((found, behind))) => {
                expected.to_lowercase().eq(found.to_lowercase()) && model(rest, behind)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_the_model_says(pattern in "[aAbä*?]{0,6}", text in "[aAbBäÄ]{0,8}") {
            let characters: Vec<char> = text.chars().collect();
            for (anchor, wanted) in [
                (Anchor::Whole, pattern.clone()),
                (Anchor::Start, format!("{pattern}*")),
                (Anchor::End, format!("*{pattern}")),
                (Anchor::Anywhere, format!("*{pattern}*")),
            ] {
                let matches = Pattern::parse(&pattern, anchor, Case::Ignored).matches(&text);
                prop_assert_eq!(matches, model(&tokens(&wanted), &characters), "{:?}", anchor);
            }
        }
    }
}
