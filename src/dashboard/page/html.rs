//! An HTML document in the making.
//!
//! Input: markup and texts. Output: the document.
//! Invariant: markup is part of this program (`&'static str`), and everything else is escaped, so that no text can become markup.
//! Characters that would be invisible or change the direction of text are written as `\u{202e}`.

use std::fmt::{self, Display, Write as _};

use crate::report::terminal::escape_unprintable;

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

    /// Returns the document.
    pub(super) fn into_string(self) -> String {
        self.0
    }
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
}
