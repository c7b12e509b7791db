//! Helpers for errors of any crate: iterating over their causes, and removing text that must not be shown.
//!
//! Input: an error, or its message. Output: its causes, or the message without the canonical request.
//! Deliberately absent: how an error is shown to the user (see `cli`), and what it means (see `aws` and `sink`).

use std::error::Error;
use std::io;

/// Returns the error and its causes, outermost first.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Returns the error and its causes, outermost first, including the errors that an [`io::Error`] wraps: its `source` skips
/// them.
pub fn chain_through_io<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Removes the canonical request that AWS appends to a `SignatureDoesNotMatch` message: it repeats the whole request
/// with its session token, and helps only authors of signing code.
pub fn strip_canonical_request(mut message: String) -> String {
    if let Some(at) = message.find("The Canonical String for this request should have been") {
        message.truncate(message[..at].trim_end().len());
    }
    message
}
