//! JSON and YAML, written piece by piece.
//!
//! Input: keys, values and nesting. Output: a document. Invariant: memory does not grow with the document, and every text is
//! escaped, so it is safe on a terminal.

use std::io::{self, Write};

use serde_json::Value;

use crate::report::terminal::escape_unprintable_json;

/// The notation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Json,
    Yaml,
}

/// Writer of one document, which is an object.
pub(super) struct Document<'w> {
    out: &'w mut dyn Write,
    notation: Notation,
    /// For each open object, whether it has a member.
    open: Vec<bool>,
}

impl<'w> Document<'w> {
    /// Starts a document.
    pub(super) fn new(out: &'w mut dyn Write, notation: Notation) -> io::Result<Self> {
        if notation == Notation::Json {
            out.write_all(b"{")?;
        }
        Ok(Self { out, notation, open: vec![false] })
    }

    /// Writes a member.
    pub(super) fn value(&mut self, key: &str, value: &Value) -> io::Result<()> {
        self.key(key)?;
        if self.notation == Notation::Yaml {
            self.out.write_all(b" ")?;
        }
        let text = value.to_string();
        // Nearly all texts are plain, and there are hundreds of thousands in the largest answers.
        if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return self.out.write_all(text.as_bytes());
        }
        self.out.write_all(escape_unprintable_json(&text).as_bytes())
    }

    /// Starts an object.
    pub(super) fn open(&mut self, key: &str) -> io::Result<()> {
        self.key(key)?;
        if self.notation == Notation::Json {
            self.out.write_all(b"{")?;
        }
        self.open.push(false);
        Ok(())
    }

    /// Ends the object that was started last.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let has_members = self.open.pop().unwrap_or_default();
        match (self.notation, has_members) {
            (Notation::Json, true) => {
                self.line()?;
                self.out.write_all(b"}")
            }
            (Notation::Json, false) => self.out.write_all(b"}"),
            (Notation::Yaml, true) => Ok(()),
            (Notation::Yaml, false) => self.out.write_all(b" {}"),
        }
    }

    /// Ends the document.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let is_empty_yaml = self.notation == Notation::Yaml && self.open == [false];
        if is_empty_yaml {
            self.out.write_all(b"{}")?;
            self.open.pop();
        } else {
            self.close()?;
        }
        self.out.write_all(b"\n")
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        let is_first = self.open.len() == 1 && !self.open[0];
        if let Some(has_members) = self.open.last_mut() {
            let before = std::mem::replace(has_members, true);
            if before && self.notation == Notation::Json {
                self.out.write_all(b",")?;
            }
        }
        if !(is_first && self.notation == Notation::Yaml) {
            self.line()?;
        }
        let quoted = Value::from(key).to_string();
        match self.notation {
            Notation::Yaml if is_plain(key) => write!(self.out, "{key}:"),
            Notation::Yaml => write!(self.out, "{}:", escape_unprintable_json(&quoted)),
            Notation::Json => write!(self.out, "{}: ", escape_unprintable_json(&quoted)),
        }
    }

    fn line(&mut self) -> io::Result<()> {
        let levels = match self.notation {
            Notation::Json => self.open.len(),
            Notation::Yaml => self.open.len().saturating_sub(1),
        };
        write!(self.out, "\n{:width$}", "", width = 2 * levels)
    }
}

/// Returns whether YAML takes a key as a text without quotes.
fn is_plain(key: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let starts = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts
        && key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
        && !WORDS.contains(&key.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(notation: Notation) -> String {
        let mut out = Vec::new();
        let mut document = Document::new(&mut out, notation).unwrap();
        document.value("a", &json!("x\u{202e}")).unwrap();
        document.open("no").unwrap();
        document.value("b", &json!([1, "two"])).unwrap();
        document.open("empty").unwrap();
        document.close().unwrap();
        document.close().unwrap();
        document.value("x-amz-acl", &json!(true)).unwrap();
        document.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_indented_and_escaped() {
        let expected = "{\n  \"a\": \"x\\u202e\",\n  \"no\": {\n    \"b\": [1,\"two\"],\n    \"empty\": {}\n  },\n  \"x-amz-acl\": true\n}\n";
        assert_eq!(sample(Notation::Json), expected);
    }

    #[test]
    fn yaml_quotes_what_it_would_take_for_something_else() {
        let expected = "a: \"x\\u202e\"\n\"no\":\n  b: [1,\"two\"]\n  empty: {}\nx-amz-acl: true\n";
        assert_eq!(sample(Notation::Yaml), expected);
    }

    #[test]
    fn an_empty_document_is_an_empty_object() {
        for (notation, expected) in [(Notation::Json, "{}\n"), (Notation::Yaml, "{}\n")] {
            let mut out = Vec::new();
            Document::new(&mut out, notation).unwrap().finish().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
