//! Splits a text at its placeholders, `${…}`.
//!
//! Input: a text. Output: its parts, in order.
//! Invariant: the literal parts are never empty; `$${` stands for the characters `${` and starts no placeholder.
//! Not here: what a placeholder contains (see `secret_text` and `json_template`).

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextSegment<'t> {
    /// Text as it is.
    Literal(String),
    /// What is between `${` and `}`.
    Placeholder(&'t str),
    /// A placeholder without an end. Nothing follows.
    Unclosed,
}

/// Returns the parts of a text. `end` returns the offset of the brace that ends a placeholder, in the text that follows its `${`.
pub(super) fn split_at_placeholders(
    text: &str,
    end: impl Fn(&str) -> Option<usize>,
) -> Vec<TextSegment<'_>> {
    let mut segments = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        literal.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        if rest[..at].ends_with('$') {
            literal.push('{');
            rest = inside;
            continue;
        }
        if !literal.is_empty() {
            segments.push(TextSegment::Literal(std::mem::take(&mut literal)));
        }
        let Some(end) = end(inside) else {
            segments.push(TextSegment::Unclosed);
            return segments;
        };
        segments.push(TextSegment::Placeholder(&inside[..end]));
        rest = &inside[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        segments.push(TextSegment::Literal(literal));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::{TextSegment::*, *};

    #[test]
    fn a_text_is_split_at_its_placeholders() {
        let split = |text| split_at_placeholders(text, |inside| inside.find('}'));
        let literal = |text: &str| Literal(text.to_owned());
        assert_eq!(split(""), []);
        assert_eq!(split("a$b}"), [literal("a$b}")]);
        assert_eq!(split("${A}${B}"), [Placeholder("A"), Placeholder("B")]);
        assert_eq!(split("a${B}c"), [literal("a"), Placeholder("B"), literal("c")]);
        assert_eq!(split("a$${B}${C}"), [literal("a${B}"), Placeholder("C")]);
        assert_eq!(split("a${B"), [literal("a"), Unclosed]);
    }
}
