//! Prepares text for a terminal: escapes control characters, wraps and truncates lines, adds colors.
//!
//! Input: untrusted text, such as names of files and objects, error messages of engines, and values in logs. Output: text
//! that is safe to print, and JSON that is safe to print and has the same meaning.
//! Invariant: no control character, bidirectional control or invisible separator is written unescaped.

use std::fmt::{self, Write as _};

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use console::measure_text_width;

/// The narrowest terminal for which lines are wrapped. In a narrower one, most lines would be a single word.
const LEAST_COLUMNS: usize = 40;

/// Properties of the output device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// The width, or `None` for a file or pipe, for which lines are never wrapped or truncated.
    pub columns: Option<usize>,
    /// Whether colors are used.
    pub color: Color,
}

/// Whether colors are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// For a file, a pipe, a terminal without colors, or if `NO_COLOR` is set.
    #[default]
    Never,
    /// For a terminal with colors, or if `CLICOLOR_FORCE` is set.
    Always,
}

/// A kind of highlighted word, in the same colors as the messages of clap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accent {
    /// Like `error:` in clap's usage errors.
    Error,
    /// Like `warning:` in Cargo's output.
    Warning,
    /// Like `tip:` in clap's usage errors.
    Hint,
}

impl Terminal {
    /// Returns a word in its color, or unchanged if colors are not used.
    pub fn paint(self, accent: Accent, word: &str) -> String {
        if self.color == Color::Never {
            return word.to_owned();
        }
        let styles = Styles::styled();
        let style = match accent {
            Accent::Error => *styles.get_error(),
            Accent::Warning => Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
            Accent::Hint => *styles.get_valid(),
        };
        format!("{style}{word}{style:#}")
    }

    /// Wraps a line at spaces to fit the terminal, with continuation lines indented by `indent` columns. A word that is
    /// longer than a line, such as a path or URL, is not broken, so that it can be copied.
    pub fn wrap(self, line: &str, indent: usize) -> String {
        let Some(columns) = self.columns.filter(|columns| *columns >= LEAST_COLUMNS) else {
            return line.to_owned();
        };
        let words = line.trim_start_matches(' ');
        let blanks = line.len() - words.len();
        let mut text = " ".repeat(blanks);
        let mut used = blanks;
        for (at, word) in words.split(' ').enumerate() {
            let width = measure_text_width(word);
            if at > 0 && used + 1 + width > columns {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                used = indent;
            } else if at > 0 {
                text.push(' ');
                used += 1;
            }
            text.push_str(word);
            used += width;
        }
        text
    }
}

/// Returns whether a terminal would interpret or hide a character instead of displaying it: C0 and C1 controls,
/// bidirectional controls, line and paragraph separators, and invisible format characters.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns whether a text can be printed without escaping.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(is_unprintable)
}

/// Escapes every character that a terminal would interpret or that would start a new line, as `\n` or `\u{202e}`.
///
/// The only function that makes untrusted text safe to print; everything that is printed passes through it or through
/// [`escape_unprintable_json`].
pub fn escape_unprintable(text: &str) -> String {
    if is_visible_ascii(text) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unprintable(letter) {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Returns whether a text has nothing but visible ASCII and blanks, which is the rule for names. Every byte is looked at, so
/// that the compiler takes many in one step.
pub fn is_visible_ascii(text: &str) -> bool {
    text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}

/// Appends blanks.
pub fn push_blanks(line: &mut String, count: usize) {
    const BLANKS: &str = "                                                                ";
    let mut left = count;
    while left > 0 {
        let some = left.min(BLANKS.len());
        line.push_str(&BLANKS[..some]);
        left -= some;
    }
}

/// Appends a text, escaped as by [`escape_unprintable`].
pub fn push_printable(line: &mut String, text: &str) {
    if is_visible_ascii(text) {
        line.push_str(text);
    } else {
        line.push_str(&escape_unprintable(text));
    }
}

/// Escapes the same characters in JSON text, in JSON notation (`\u202e`), so that parsing gives the same values.
///
/// Line breaks and tabs are kept: in valid JSON they only occur between values.
pub fn escape_unprintable_json(json: &str) -> String {
    if is_visible_ascii(json) {
        return json.to_owned();
    }
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_unprintable(letter) && !matches!(letter, '\n' | '\t' | '\r') {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Truncates a text in the middle to at most `columns` columns, because names differ most at their ends.
pub fn truncate_middle(text: &str, columns: usize) -> String {
    let wide = measure_text_width(text);
    if wide <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let head = kept / 2;
    let front = prefix(text.chars(), head);
    let back: String = prefix(text.chars().rev(), kept - head).chars().rev().collect();
    format!("{front}…{back}")
}

/// Returns the longest prefix that fits into `columns` columns.
fn prefix(letters: impl Iterator<Item = char>, columns: usize) -> String {
    let (mut text, mut used) = (String::new(), 0);
    for letter in letters {
        used += measure_text_width(letter.encode_utf8(&mut [0; 4]));
        if used > columns {
            break;
        }
        text.push(letter);
    }
    text
}

/// Text that is padded with spaces to a width in columns.
pub(crate) struct Padded<'a> {
    pub(crate) text: &'a str,
    pub(crate) columns: usize,
    pub(crate) side: Align,
}

/// The alignment of a table column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl fmt::Display for Padded<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blanks = self.columns.saturating_sub(measure_text_width(self.text));
        match self.side {
            Align::Left => write!(to, "{}{:blanks$}", self.text, ""),
            Align::Right => write!(to, "{:blanks$}{}", "", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDE: Terminal = Terminal { columns: Some(60), color: Color::Never };

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (raw, shown) in [
            ("a\u{1b}[2J", "a\\u{1b}[2J"),
            ("x\nerror: forged", "x\\nerror: forged"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{2066}a\u{2069}\u{61c}\u{200f}", "\\u{2066}a\\u{2069}\\u{61c}\\u{200f}"),
            ("a\u{2028}b\u{feff}\u{7f}", "a\\u{2028}b\\u{feff}\\u{7f}"),
            ("Grüße, 世界, नमस्ते, 👩\u{200d}💻", "Grüße, 世界, नमस्ते, 👩\u{200d}💻"),
        ] {
            assert_eq!(escape_unprintable(raw), shown);
            assert_eq!(is_printable(raw), raw == shown, "{shown}");
        }
    }

    #[test]
    fn lines_are_broken_at_blanks_and_words_stay_whole() {
        let line = "warning: s3://bucket/AWSLogs/111122223333/CloudTrail/eu-west-1/2024/03/05/x.json.gz: the gzip file is cut off; the next run tries again";
        assert_eq!(
            WIDE.wrap(line, 2),
            "warning:\n  s3://bucket/AWSLogs/111122223333/CloudTrail/eu-west-1/2024/03/05/x.json.gz:\n  \
             the gzip file is cut off; the next run tries again"
        );
        assert_eq!(Terminal::default().wrap(line, 2), line, "a file has no width");
        assert_eq!(Terminal { columns: Some(9), ..WIDE }.wrap(line, 2), line, "nor has a slit");
        assert_eq!(WIDE.wrap("  caused by: no", 4), "  caused by: no");
    }

    #[test]
    fn colors_are_those_of_clap_or_none() {
        let colorful = Terminal { color: Color::Always, ..WIDE };
        let error = clap::Command::new("x").error(clap::error::ErrorKind::UnknownArgument, "no");
        let theirs = error.render().ansi().to_string();
        let ours = colorful.paint(Accent::Error, "error:");
        assert!(theirs.starts_with(&ours), "{theirs:?} {ours:?}");
        assert_eq!(WIDE.paint(Accent::Error, "error:"), "error:");
        let [warning, hint] =
            [Accent::Warning, Accent::Hint].map(|accent| colorful.paint(accent, "w"));
        assert!(warning.contains("33m") && hint.contains("32m"), "{warning:?} {hint:?}");
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(truncate_middle("trail/", 24), "trail/");
        assert_eq!(
            truncate_middle("/a/very/long/path/to/AWSLogs/111122223333", 24),
            "/a/very/lon…111122223333"
        );
        assert_eq!(truncate_middle("世界世界", 5), "世…界");
    }

    #[test]
    fn padding_counts_columns_and_not_characters() {
        let padded = |text, side| Padded { text, columns: 5, side }.to_string();
        assert_eq!(padded("世界", Align::Left), "世界 ");
        assert_eq!(padded("ab", Align::Right), "   ab");
        assert_eq!(padded("abcdefg", Align::Left), "abcdefg");
    }

    proptest! {
        #[test]
        fn nothing_steering_is_left(text in any::<String>()) {
            prop_assert!(is_printable(&escape_unprintable(&text)));
        }

        #[test]
        fn json_means_the_same_and_steers_nothing(text in any::<String>()) {
            let json = serde_json::json!({ "a": text.as_str(), text.as_str(): [text.as_str()] }).to_string();
            let safe = escape_unprintable_json(&json);
            prop_assert!(is_printable(&safe));
            let read: serde_json::Value = serde_json::from_str(&safe).unwrap();
            prop_assert_eq!(read, serde_json::from_str::<serde_json::Value>(&json).unwrap());
        }

        #[test]
        fn wrapped_lines_fit_and_lose_nothing(words in proptest::collection::vec("[a-zö世]{1,30}", 1..30), columns in 60usize..200) {
            let line = words.join(" ");
            let wrapped = Terminal { columns: Some(columns), ..WIDE }.wrap(&line, 2);
            for row in wrapped.lines() {
                prop_assert!(measure_text_width(row) <= columns || row.trim().split(' ').count() == 1, "{}", row);
            }
            prop_assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>(), words);
        }

        #[test]
        fn shortened_fits(text in "\\PC{0,60}", columns in 3usize..40) {
            prop_assert!(measure_text_width(&truncate_middle(&text, columns)) <= columns);
        }
    }
}
