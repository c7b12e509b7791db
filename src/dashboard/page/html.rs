//! An HTML document in the making.
//!
//! Input: markup and texts. Output: the document.
//! Invariant: markup is part of this program (`&'static str`), and everything else is escaped, so that no text can become markup.
//! Characters that would be invisible or change the direction of text are written as `\u{202e}`.

use std::fmt::{self, Display, Write as _};

use super::limits::Details;
use crate::report::terminal::escape_unprintable;

/// Texts of up to as many characters stay in one line everywhere.
const SHORT: usize = 16;

/// Texts of up to as many characters stay in one line, except for lists with many columns.
pub(super) const MEDIUM: usize = 28;

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
        let length = escape_unprintable(text).chars().count();
        if length > SHORT {
            self.raw(if length > MEDIUM { " class=\"long\"" } else { " class=\"medium\"" });
        }
        let shown = beginning(text, details.shown);
        if shown.len() < text.len() && details.whole > 0 {
            let whole = beginning(text, details.whole);
            let more = if whole.len() < text.len() { "…" } else { "" };
            self.attribute("title", format_args!("{whole}{more}"));
        }
        self.raw(">");
        if length > SHORT {
            self.breakable_text(shown);
        } else {
            self.text(shown);
        }
        if shown.len() < text.len() {
            self.raw("…");
        }
        self.raw("</bdi>");
    }

    /// Appends text that may continue in a new line where a part of a name ends, rather than anywhere.
    fn breakable_text(&mut self, text: &str) {
        let mut part = 0;
        for ((start, letter), next) in text.char_indices().zip(text.chars().skip(1)) {
            if ends_part(letter, next) {
                let end = start + letter.len_utf8();
                self.text(&text[part..end]);
                self.raw("<wbr>");
                part = end;
            }
        }
        self.text(&text[part..]);
    }

    /// Appends digits in groups of four, between which a new line may start.
    pub(super) fn digits(&mut self, digits: &str) {
        self.raw("<bdi>");
        for (number, group) in digits.as_bytes().chunks(4).enumerate() {
            if number > 0 {
                self.raw("<wbr>");
            }
            self.text(String::from_utf8_lossy(group));
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

/// Returns whether a part of a name ends between two characters: `path/name`, `CamelCase`.
fn ends_part(letter: char, next: char) -> bool {
    let is_separator = "/:_.,;=&?@#|+".contains(letter);
    (is_separator && next.is_ascii_alphanumeric())
        || (letter.is_ascii_lowercase() && next.is_ascii_uppercase())
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

    #[test]
    fn names_break_between_their_parts() {
        let all = Details { shown: 100, ..DETAILS };
        for (text, expected) in [
            ("role/Admin/alice", "<bdi>role/Admin/alice</bdi>"),
            ("role/Admin/alice_b", "<bdi class=\"medium\">role/<wbr>Admin/<wbr>alice_<wbr>b</bdi>"),
            ("DescribeInstances", "<bdi class=\"medium\">Describe<wbr>Instances</bdi>"),
            (
                "a & b: <c>/d, &é/é",
                "<bdi class=\"medium\">a &amp; b: &lt;c&gt;/<wbr>d, &amp;é/é</bdi>",
            ),
            (
                "arn:aws:iam::111122223333:root/",
                "<bdi class=\"long\">arn:<wbr>aws:<wbr>iam::<wbr>111122223333:<wbr>root/</bdi>",
            ),
        ] {
            assert_eq!(long_text(text, all), expected);
        }
        let mut html = Html::new();
        html.digits("123456789012");
        assert_eq!(html.into_string(), "<bdi>1234<wbr>5678<wbr>9012</bdi>");
    }
}
