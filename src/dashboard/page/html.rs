//! An HTML document in the making.
//!
//! Input: markup and texts. Output: the document.
//! Invariant: markup is part of this program (`&'static str`), and everything else is escaped, so that no text can become markup.
//! Characters that would be invisible or change the direction of text are written as `\u{202e}`.

use std::fmt::{self, Display, Write as _};

use super::limits::Details;
use crate::report::terminal::escape_unprintable;

/// Texts of up to as many bytes stay in one line where they have no blank or hyphen.
const SHORT: usize = 28;

/// A document, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Creates an empty document.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Appends markup.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Appends text.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
    }

    /// Appends an attribute, as part of an open tag.
    pub(super) fn attribute(&mut self, name: &'static str, value: impl Display) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        self.text(value);
        self.0.push('"');
    }

    /// Appends the start of an element that a reader can scroll, with the keyboard too. The heading with the id `{name}-title`
    /// names it.
    pub(super) fn open_scrollable(&mut self, name: &str) {
        self.raw("<div class=\"scroll\" role=\"group\" tabindex=\"0\"");
        self.attribute("aria-labelledby", format_args!("{name}-title"));
        self.raw(">");
    }

    /// Appends an element that contains nothing but text.
    pub(super) fn element(&mut self, open: &'static str, text: impl Display, close: &'static str) {
        self.raw(open);
        self.text(text);
        self.raw(close);
    }

    /// Appends a text of any length in an element of its own: its beginning, and more of it while the pointer is over it. Its
    /// direction has no effect on what is around.
    pub(super) fn long_text(&mut self, text: &str, details: Details) {
        self.raw("<bdi");
        if text.len() > SHORT {
            self.raw(" class=\"long\"");
        }
        let shown = beginning(text, details.shown);
        if shown.len() < text.len() && details.whole > 0 {
            let whole = beginning(text, details.whole);
            let more = if whole.len() < text.len() { "…" } else { "" };
            self.attribute("title", format_args!("{whole}{more}"));
        }
        self.raw(">");
        self.text(shown);
        if shown.len() < text.len() {
            self.raw("…");
        }
        self.raw("</bdi>");
    }

    /// Returns the document.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Returns the first characters of a text.
pub(super) fn beginning(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// Escapes what is written to it.
struct Escaping<'h>(&'h mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in escape_unprintable(text).chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETAILS: Details = Details { rows: 1, shown: 3, whole: 5, series: 1 };

    fn long_text(text: &str, details: Details) -> String {
        let mut html = Html::new();
        html.long_text(text, details);
        html.into_string()
    }

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::new();
        html.raw("<a");
        html.attribute("title", "\"><script>'&amp;");
        html.raw(">");
        html.text("</a>\u{202e}\n\0");
        let expected =
            "<a title=\"&quot;&gt;&lt;script&gt;&#39;&amp;amp;\">&lt;/a&gt;\\u{202e}\\n\\u{0}";
        assert_eq!(html.into_string(), expected);
    }

    #[test]
    fn long_texts_are_cut_and_short_ones_are_not() {
        assert_eq!(long_text("a<b", DETAILS), "<bdi>a&lt;b</bdi>");
        assert_eq!(long_text("ä€😀x", DETAILS), "<bdi title=\"ä€😀x\">ä€😀…</bdi>");
        assert_eq!(long_text("123456", DETAILS), "<bdi title=\"12345…\">123…</bdi>");
        assert_eq!(long_text("1234", Details { whole: 0, ..DETAILS }), "<bdi>123…</bdi>");
    }
}
