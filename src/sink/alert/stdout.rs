//! Alerts on standard output.
//!
//! Input: an [`AlertMessage`]. Output: one line of JSON, or text for people.
//! Invariant: a message is written as a whole. An output that accepts nothing more is not an error of the alert, which stays to be
//! delivered.

use std::io::{self, Write as _};

use super::{
    AlertMessage, DeliveryError, OutputFailure, Rendered,
    settings::{Read, Settings},
};
use crate::{filter::yaml::YamlNode, report::terminal::escape_unprintable_json};

/// The keys of this kind.
pub(super) const KEYS: [&str; 1] = ["format"];

/// The formats of messages, for receivers that have a choice.
pub(super) const FORMATS: [(&str, MessageFormat); 2] =
    [("json", MessageFormat::Json), ("text", MessageFormat::Text)];

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageFormat {
    /// One line of JSON.
    Json,
    /// Lines for people.
    Text,
}

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdoutSettings {
    format: MessageFormat,
}

impl StdoutSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "stdout", &[&KEYS])?;
        Ok(Self { format: settings.one_of("format", &FORMATS)?.unwrap_or(MessageFormat::Json) })
    }

    /// Returns what is written.
    fn text(&self, message: &AlertMessage) -> String {
        match self.format {
            MessageFormat::Json => escape_unprintable_json(&message.document().to_json()) + "\n",
            MessageFormat::Text => message.to_text() + "\n",
        }
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        match self.format {
            MessageFormat::Json => {
                Rendered::local("print", "standard output".to_owned(), message.to_value())
            }
            MessageFormat::Text => {
                Rendered::local("print", "standard output".to_owned(), self.text(message))
            }
        }
    }

    pub(super) async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        let text = self.text(message);
        let write = move || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(output_error(&error)),
            Err(error) => Err(DeliveryError::transient(error.to_string())),
        }
    }
}

/// Returns the error of a write. A pipe that nobody empties for now is written again; anything else ends the output, because what
/// follows a line that was cut would be damaged, too.
fn output_error(error: &io::Error) -> DeliveryError {
    let cause = format!("standard output: {error}");
    let output = match error.kind() {
        io::ErrorKind::BrokenPipe => OutputFailure::ClosedPipe,
        io::ErrorKind::WouldBlock => return DeliveryError::transient(cause),
        _ => OutputFailure::Unwritable,
    };
    DeliveryError { output: Some(output), ..DeliveryError::permanent(cause) }
}
