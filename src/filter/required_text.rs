//! Finds the texts that every match of a regular expression contains.
//!
//! Input: a regular expression. Output: the longest of these texts, or a wildcard pattern that matches every text in which the expression
//! matches.
//! Invariant: an expression with anything that is not understood, such as look-around, has neither.

use regex_syntax::hir::{Hir, HirKind, Look};

/// Returns a wildcard pattern for the texts in which an expression matches. `None` if fewer than `min_text` bytes of text
/// are certain to occur in one place.
pub fn wildcard_of_regex(pattern: &str, min_text: usize) -> Option<String> {
    Pieces::of_regex(pattern)?.wildcard(min_text)
}

/// Returns the longest text that every match of an expression contains, if there is one.
pub fn longest_text_of_regex(pattern: &str) -> Option<String> {
    Pieces::of_regex(pattern)?.texts.into_iter().max_by_key(String::len)
}

/// Appends a letter so that it stands for itself in a wildcard.
pub fn push_escaped(pattern: &mut String, letter: char) {
    if matches!(letter, '*' | '?' | '\\') {
        pattern.push('\\');
    }
    pattern.push(letter);
}

/// Texts that occur one after another.
#[derive(Debug, Default)]
struct Pieces {
    /// Whether the first text is at the beginning.
    is_anchored: bool,
    texts: Vec<String>,
    /// Whether the next text directly follows the last one.
    is_adjacent: bool,
    /// Whether anything was added.
    has_started: bool,
}

impl Pieces {
    fn of_regex(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
        let mut pieces = Self::default();
        pieces.add(&hir)?;
        Some(pieces)
    }

    /// Adds what a part of the expression requires. `None` if it matches other bytes than those of a text.
    fn add(&mut self, hir: &Hir) -> Option<()> {
        match hir.kind() {
            HirKind::Look(Look::Start) => self.is_anchored |= !self.has_started,
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.add_text(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Capture(capture) => self.add(&capture.sub)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            HirKind::Repetition(repetition) if repetition.min >= 1 => {
                self.add(&repetition.sub)?;
                if repetition.max != Some(1) {
                    self.add_gap();
                }
            }
            HirKind::Repetition(_) | HirKind::Class(_) | HirKind::Alternation(_) => self.add_gap(),
        }
        Some(())
    }

    fn add_text(&mut self, text: &str) {
        match self.texts.last_mut() {
            Some(last) if self.is_adjacent => last.push_str(text),
            _ => self.texts.push(text.to_owned()),
        }
        (self.is_adjacent, self.has_started) = (true, true);
    }

    fn add_gap(&mut self) {
        if self.texts.is_empty() {
            self.is_anchored = false;
        }
        (self.is_adjacent, self.has_started) = (false, true);
    }

    fn wildcard(self, min_text: usize) -> Option<String> {
        if self.texts.iter().all(|text| text.len() < min_text) {
            return None;
        }
        let mut pattern = String::new();
        for (number, text) in self.texts.iter().enumerate() {
            if number > 0 || !self.is_anchored {
                pattern.push('*');
            }
            text.chars().for_each(|letter| push_escaped(&mut pattern, letter));
        }
        pattern.push('*');
        Some(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_must_occur_become_a_wildcard() {
        for (pattern, expected) in [
            ("Alice", "*Alice*"),
            ("^arn:aws:sts::\\d+:assumed-role/(Admin|Power)/", "arn:aws:sts::*:assumed-role/*/*"),
            ("^Get", "Get*"),
            ("Get$", "*Get*"),
            ("a(bc)d", "*abcd*"),
            ("ab+c", "*ab*c*"),
            ("(ab){2}", "*ab*"),
            ("x?yz", "*yz*"),
            ("^x?yz", "*yz*"),
            ("[ab]cd|ef", ""),
            ("(?i)admin", ""),
            (".*", ""),
            ("a", ""),
            ("(?=x)yz", ""),
            ("^(?!.*:Alice$)", ""),
            (r"a\*b\?c\\d", r"*a\*b\?c\\d*"),
            ("foo.*bar", "*foo*bar*"),
            ("^foo|bar", ""),
            ("(?:^ab)cd", "abcd*"),
            ("ab(?:^cd)", "*abcd*"),
            (r"ab\bcd", "*abcd*"),
        ] {
            assert_eq!(wildcard_of_regex(pattern, 2).unwrap_or_default(), expected, "{pattern}");
        }
    }
    #[test]
    fn the_longest_text_is_in_every_match() {
        for (pattern, expected) in [
            (".+:assumed-role/aws:.+", Some(":assumed-role/aws:")),
            ("^arn:aws:sts::\\d+:assumed-role/(Admin|Power)/", Some(":assumed-role/")),
            ("ab+c", Some("ab")),
            ("(?i)admin", None),
            ("(?i)\\d-admin", Some("-")),
            ("a|b", None),
            ("x*", None),
            ("(?=x)yz", None),
            ("", None),
        ] {
            assert_eq!(longest_text_of_regex(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
