//! What text needs before it reaches a terminal: no character that steers it, lines that fit it, colors where it has
//! them.
//!
//! In: other people's words (names of files and objects, reasons of engines, values in logs). Out: text that is safe to
//! show, and JSON that means the same and is safe to show.
//! Invariant: no control character, no bidirectional control and no invisible separator is ever written raw.

use std::fmt::{self, Write as _};

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use console::measure_text_width;

/// The narrowest terminal that lines are broken for; below it they would be a word each.
const LEAST_COLUMNS: usize = 40;

/// Where text is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Its width. `None` for a file or a pipe, whose lines are never broken or cut.
    pub columns: Option<usize>,
    /// Whether it shows colors.
    pub color: Color,
}

/// Whether text has colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// A file, a pipe, `NO_COLOR`, or a terminal without any.
    #[default]
    Never,
    /// A terminal with colors, or `CLICOLOR_FORCE`.
    Always,
}

/// A word with a meaning, which clap's own messages give the same color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accent {
    /// As `error:` of a usage error.
    Error,
    /// As `warning:` of cargo.
    Warning,
    /// As `tip:` of a usage error.
    Hint,
}

impl Terminal {
    /// Returns a word with its color, if there are colors.
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

    /// Returns a line broken at blanks so that it fits, each further line indented by `indent` columns. A word that is
    /// too long for a line, such as a path or an address, stays whole, so that it can be copied.
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

/// Returns whether a terminal would act on a character, or hide it, instead of showing it: C0 and C1 controls,
/// bidirectional controls, line and paragraph separators, and characters without width that only mark text.
fn is_steering(letter: char) -> bool {
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

/// Returns whether a text can be shown as it is.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(is_steering)
}

/// Returns the text with everything escaped that would steer a terminal or forge a line: `\n`, `\u{202e}`.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_steering(letter) {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Returns JSON text with the same escaped as JSON does it: `\u202e`. It means the same to who reads it as JSON.
///
/// Line ends and tabs between values stay: within texts JSON has none.
pub fn printable_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_steering(letter) && !matches!(letter, '\n' | '\t' | '\r') {
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

/// Returns a text of at most `columns` columns: a longer one loses its middle, since names differ at their ends and
/// begin with what they are about.
pub fn shortened(text: &str, columns: usize) -> String {
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

/// Returns as many of the first characters as fit into `columns`.
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

/// A text filled up with blanks to a width, at its right or left side.
pub(crate) struct Padded<'a> {
    pub(crate) text: &'a str,
    pub(crate) columns: usize,
    pub(crate) side: Side,
}

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl fmt::Display for Padded<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blanks = self.columns.saturating_sub(measure_text_width(self.text));
        match self.side {
            Side::Left => write!(to, "{}{:blanks$}", self.text, ""),
            Side::Right => write!(to, "{:blanks$}{}", "", self.text),
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
            assert_eq!(printable(raw), shown);
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
        assert_eq!(shortened("trail/", 24), "trail/");
        assert_eq!(
            shortened("/a/very/long/path/to/AWSLogs/111122223333", 24),
            "/a/very/lon…111122223333"
        );
        assert_eq!(shortened("世界世界", 5), "世…界");
    }

    #[test]
    fn padding_counts_columns_and_not_characters() {
        let padded = |text, side| Padded { text, columns: 5, side }.to_string();
        assert_eq!(padded("世界", Side::Left), "世界 ");
        assert_eq!(padded("ab", Side::Right), "   ab");
        assert_eq!(padded("abcdefg", Side::Left), "abcdefg");
    }

    proptest! {
        #[test]
        fn nothing_steering_is_left(text in any::<String>()) {
            prop_assert!(is_printable(&printable(&text)));
        }

        #[test]
        fn json_means_the_same_and_steers_nothing(text in any::<String>()) {
            let json = serde_json::json!({ "a": text.as_str(), text.as_str(): [text.as_str()] }).to_string();
            let safe = printable_json(&json);
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
            prop_assert!(measure_text_width(&shortened(&text, columns)) <= columns);
        }
    }
}
