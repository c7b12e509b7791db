//! Lines on standard error: text or JSON, quiet or verbose, never in the way of a progress bar.

use std::fmt::Display;

/// Where lines go. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Log {}

impl Log {
    /// A person is needed, or data is lost. `about` names the file, index or address.
    pub fn error(&self, _about: &str, _text: impl Display) {}
    /// We recovered, or will try again.
    pub fn warn(&self, _about: &str, _text: impl Display) {}
    /// Something the user asked for happened. Not shown with `--quiet`.
    pub fn info(&self, _about: &str, _text: impl Display) {}
    /// Shown with `-v` only; never once an event.
    pub fn debug(&self, _about: &str, _text: impl Display) {}
}
