//! JSON text of any kind and size: which objects are CloudTrail records, and where each of them starts and ends.
//!
//! Input: UTF-8 text, decompressed, read through a window. Output: calls of a [`RecordHandler`](super::RecordHandler),
//! one per record, and a [`Decoded`](super::Decoded) with everything else that the text contained.
//! Invariant: on the common path each byte of a record is examined once before the handler parses it; nothing
//! recurses with the depth of the JSON.
//! Not here: what a record means (see `normalize`); decompression and archives (see the parent module).
//!
//! | file | responsible for |
//! |---|---|
//! | [`classify`] | whether an object is a record, an envelope or something else, from its first keys |
//! | `scanner` | the walk over one text: lists, lines, envelopes, nested texts, tables |
//! | [`record_handler`] | the contract with the receiver of records |
//! | [`skip`] | finding the end of a JSON value or string without parsing it |
//! | `members` | iterating over the members of an object that is in memory |
//! | `unescape` | decoding the escapes of a JSON string |
//! | [`validate`] | whether a text is JSON |
//! | `window` | the part of the text that is in memory |

pub mod classify;
pub(super) mod members;
pub mod record_handler;
pub(super) mod scanner;
pub mod skip;
pub(super) mod unescape;
pub mod validate;
pub(super) mod window;
