//! What would be sent to a receiver, for `--dry-run`.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::report::terminal::escape_unprintable_json;

/// What would be sent. It contains no secret: variables and files stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// `POST`, `run`, `append to`, …
    pub method: String,
    /// The URL, program, file or topic.
    pub to: String,
    /// Headers that are not the same for every request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The body; a text that is not JSON is a string.
    pub body: Value,
}

impl Rendered {
    /// Returns a POST request.
    pub(super) fn post(url: String, body: Value) -> Self {
        Self { method: "POST".to_owned(), to: url, headers: Vec::new(), body }
    }

    /// Returns what is done on this machine.
    pub(super) fn local(method: &str, to: String, body: impl Into<Value>) -> Self {
        Self { method: method.to_owned(), to, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header, whose value must be no secret.
    #[must_use]
    pub(super) fn header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }
}

impl fmt::Display for Rendered {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{} {}", self.method, self.to)?;
        for (name, value) in &self.headers {
            writeln!(to, "{name}: {value}")?;
        }
        match &self.body {
            Value::String(text) => write!(to, "\n{text}"),
            body => write!(to, "\n{}", escape_unprintable_json(&format!("{body:#}"))),
        }
    }
}
