//! A field in the text of an event, as far as rules can be found by it without parsing the event.
//!
//! Not here: how fields are found in a text.

/// A field in the text of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawField<'t> {
    /// It is missing.
    #[default]
    Missing,
    /// It is null.
    Null,
    /// The content of a string without escape sequences.
    Text(&'t str),
    /// The JSON of an object.
    Object(&'t [u8]),
    /// The JSON of another value.
    Other(&'t [u8]),
}
