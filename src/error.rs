//! Helpers for errors of other crates: their chain of causes, and text in them that must not be shown.

use std::error::Error;

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

/// Removes the canonical request that AWS appends to a `SignatureDoesNotMatch` message: it repeats the whole request,
/// and helps only who writes a signer.
pub fn strip_canonical_request(mut message: String) -> String {
    if let Some(at) = message.find("The Canonical String for this request should have been") {
        message.truncate(message[..at].trim_end().len());
    }
    message
}
