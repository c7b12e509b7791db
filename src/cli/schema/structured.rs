//! JSON and YAML, written piece by piece.
//!
//! Input: keys, values and nesting. Output: a document. Invariant: memory does not grow with the document, and every text is
//! escaped, so it is safe on a terminal. Whole lines are collected and written at once, without a copy in another buffer.

use std::io::{self, Write};

use serde_json::Value;

use crate::report::terminal::{escape_unprintable_json, is_visible_ascii, push_blanks};

/// The notation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Json,
    Yaml,
}

/// How the members of an object are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// On one line.
    Line,
    /// Objects on lines of their own. In JSON, the values before them stand behind the brace.
    Block,
}

/// An open object.
#[derive(Clone, Copy, Debug)]
struct OpenObject {
    layout: Layout,
    is_empty: bool,
    /// Whether it has a member on a line of its own.
    has_lines: bool,
}

/// Writer of one document, which is an object.
pub(super) struct Document<'w> {
    out: &'w mut dyn Write,
    notation: Notation,
    open: Vec<OpenObject>,
    /// The lines that are not yet written, and the one that is being made.
    lines: String,
}

impl<'w> Document<'w> {
    /// Starts a document.
    pub(super) fn new(out: &'w mut dyn Write, notation: Notation) -> Self {
        let mut lines = String::with_capacity(2 * BLOCK);
        lines.push_str(if notation == Notation::Json { "{" } else { "" });
        let top = OpenObject { layout: Layout::Block, is_empty: true, has_lines: false };
        Self { out, notation, open: vec![top], lines }
    }

    /// Writes a member.
    pub(super) fn value(&mut self, key: &str, value: &Value) -> io::Result<()> {
        self.json(key, &json_text(value))
    }

    /// Writes a member, given its value as JSON that is safe to print.
    pub(super) fn json(&mut self, key: &str, value: &str) -> io::Result<()> {
        let is_top = self.open.len() == 1;
        self.start_member(is_top)?;
        self.key(key);
        self.lines.push(' ');
        self.lines.push_str(value);
        Ok(())
    }

    /// Writes a member whose key is an identifier.
    pub(super) fn fact(&mut self, key: &'static str, value: &str) -> io::Result<()> {
        self.start_member(false)?;
        let quote = if self.notation == Notation::Json { "\"" } else { "" };
        self.lines.extend([quote, key, quote, ": ", value]);
        Ok(())
    }

    /// Starts an object.
    pub(super) fn open(&mut self, key: &str, layout: Layout) -> io::Result<()> {
        self.start_member(true)?;
        self.key(key);
        if self.is_flow(layout) {
            self.lines.push_str(" {");
        }
        self.open.push(OpenObject { layout, is_empty: true, has_lines: false });
        Ok(())
    }

    /// Ends the object that was started last.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let Some(object) = self.open.pop() else { return Ok(()) };
        match self.notation {
            Notation::Json => {
                if object.has_lines {
                    self.start_line()?;
                }
                self.lines.push('}');
            }
            Notation::Yaml if object.layout == Layout::Line => self.lines.push('}'),
            Notation::Yaml if object.is_empty => {
                let separator = if self.open.is_empty() { "" } else { " " };
                self.lines.push_str(separator);
                self.lines.push_str("{}");
            }
            Notation::Yaml => {}
        }
        Ok(())
    }

    /// Ends the document.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.close()?;
        self.lines.push('\n');
        self.out.write_all(self.lines.as_bytes())
    }

    /// Returns whether an object is written in braces.
    fn is_flow(&self, layout: Layout) -> bool {
        self.notation == Notation::Json || layout == Layout::Line
    }

    /// Separates a member from the one before. It is on a line of its own if that is wanted or if the notation requires it.
    fn start_member(&mut self, own_line: bool) -> io::Result<()> {
        let Some(object) = self.open.last().copied() else { return Ok(()) };
        let is_flow = self.is_flow(object.layout);
        let own_line = object.layout == Layout::Block && (own_line || !is_flow);
        if is_flow && !object.is_empty {
            self.lines.push(',');
        }
        if own_line {
            let is_first_of_yaml =
                self.open.len() == 1 && object.is_empty && self.notation == Notation::Yaml;
            if !is_first_of_yaml {
                self.start_line()?;
            }
        } else if !object.is_empty {
            self.lines.push(' ');
        }
        if let Some(object) = self.open.last_mut() {
            object.is_empty = false;
            object.has_lines |= own_line;
        }
        Ok(())
    }

    fn key(&mut self, key: &str) {
        if self.notation == Notation::Json && is_unescaped(key) || is_plain(key) {
            let quote = if self.notation == Notation::Json { "\"" } else { "" };
            self.lines.push_str(quote);
            self.lines.push_str(key);
            self.lines.push_str(quote);
        } else {
            push_json_text(&mut self.lines, key);
        }
        self.lines.push(':');
    }

    /// Ends the line, and indents the next one.
    fn start_line(&mut self) -> io::Result<()> {
        self.lines.push('\n');
        write_blocks(&mut self.lines, self.out)?;
        let levels = match self.notation {
            Notation::Json => self.open.len(),
            Notation::Yaml => self.open.len().saturating_sub(1),
        };
        push_blanks(&mut self.lines, 2 * levels);
        Ok(())
    }
}

/// Bytes of lines that are written at once: as many as a pipe takes.
pub(super) const BLOCK: usize = 64 << 10;

/// Writes lines if there are enough of them.
pub(super) fn write_blocks(lines: &mut String, out: &mut dyn Write) -> io::Result<()> {
    if lines.len() >= BLOCK {
        out.write_all(lines.as_bytes())?;
        lines.clear();
    }
    Ok(())
}

/// Returns a value as JSON that is safe to print.
pub(super) fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if is_visible_ascii(&text) { text } else { escape_unprintable_json(&text) }
}

/// Appends a text as JSON that is safe to print.
pub(super) fn push_json_text(json: &mut String, text: &str) {
    if is_unescaped(text) {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&json_text(&Value::from(text)));
    }
}

/// Returns whether a text stands between quotes as it is.
fn is_unescaped(text: &str) -> bool {
    // Every byte is looked at, so that the compiler takes many in one step.
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    text.bytes().fold(true, |all, byte| all & is_plain(byte))
}

/// Returns whether YAML takes a key as a text without quotes.
fn is_plain(key: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let starts = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts
        && key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(notation: Notation) -> String {
        let mut out = Vec::new();
        let mut document = Document::new(&mut out, notation);
        document.value("a", &json!("x\u{202e}")).unwrap();
        document.open("no", Layout::Block).unwrap();
        document.value("b", &json!([1, "two"])).unwrap();
        document.value("c", &json!(null)).unwrap();
        document.open("empty", Layout::Block).unwrap();
        document.close().unwrap();
        document.open("leaf", Layout::Line).unwrap();
        document.value("d", &json!(1)).unwrap();
        document.value("e f", &json!(2)).unwrap();
        document.close().unwrap();
        document.close().unwrap();
        document.value("x-amz-acl", &json!(true)).unwrap();
        document.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_has_a_line_for_each_object_and_is_escaped() {
        let expected = r#"{
  "a": "x\u202e",
  "no": {"b": [1,"two"], "c": null,
    "empty": {},
    "leaf": {"d": 1, "e f": 2}
  },
  "x-amz-acl": true
}
"#;
        assert_eq!(sample(Notation::Json), expected);
    }

    #[test]
    fn yaml_quotes_what_it_would_take_for_something_else() {
        let expected = r#"a: "x\u202e"
"no":
  b: [1,"two"]
  c: null
  empty: {}
  leaf: {d: 1, "e f": 2}
x-amz-acl: true
"#;
        assert_eq!(sample(Notation::Yaml), expected);
    }

    #[test]
    fn an_empty_document_is_an_empty_object() {
        for (notation, expected) in [(Notation::Json, "{}\n"), (Notation::Yaml, "{}\n")] {
            let mut out = Vec::new();
            Document::new(&mut out, notation).finish().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
