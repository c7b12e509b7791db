//! Secrets that are never shown, and URLs without the user names and passwords in them.
//!
//! Input: a secret, or a URL as the user typed it, valid or not. Output: the part of it that may be shown.
//! Invariant: nothing before the last `@` is shown, because a password may contain any character that should have been
//! percent-encoded; neither is a query or a fragment, which may be part of such a password.
//! Deliberately absent: parsing. A URL parser rejects the invalid URLs that an error message is about.

use std::fmt;

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be sent to the service that it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("(hidden)")
    }
}

/// Returns a URL, valid or not, without user info, query and fragment.
pub fn url(address: &str) -> String {
    let (scheme, rest) = match address.find("://") {
        Some(at) => address.split_at(at + "://".len()),
        None => ("", address),
    };
    match rest.rsplit_once('@') {
        // The `@` belongs to a password that continues after it.
        Some((_, host)) if host.contains(['?', '#']) => format!("{scheme}…"),
        Some((_, host)) => format!("{scheme}{host}"),
        None => format!("{scheme}{}", url_without_user_info(rest)),
    }
}

/// Returns a URL without `@` up to what may be the password of `USER:PASSWORD` with the host left out.
fn url_without_user_info(rest: &str) -> String {
    let visible = rest.split(['?', '#']).next().unwrap_or_default();
    let end = visible.find('/').unwrap_or(visible.len());
    let (authority, path) = visible.split_at(end);
    let host_ends = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[host_ends..].split_once(':') {
        Some((_, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let host = authority.split(':').next().unwrap_or_default();
            format!("{host}:…")
        }
        _ => format!("{authority}{path}"),
    }
}

/// Shortest secret that is searched for: a shorter text occurs by chance.
const MIN_SECRET_BYTES: usize = 4;

/// Redacts a text that may repeat secrets, such as the error message of a service.
pub fn secrets(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.expose().trim();
        if secret.len() >= MIN_SECRET_BYTES && text.contains(secret) {
            text = text.replace(secret, "(hidden)");
        }
    }
    text
}

/// Redacts a message that may quote the command-line arguments `args`.
pub fn message<'a>(message: &str, args: impl IntoIterator<Item = &'a str>) -> String {
    let mut message = message.to_owned();
    for arg in args {
        let Some(at) = arg.find("://") else { continue };
        let address =
            &arg[arg[..at].rfind(|it: char| !is_scheme_character(it)).map_or(0, |end| end + 1)..];
        if address.contains('@') {
            message = message.replace(address, &url(address));
        }
    }
    message
}

fn is_scheme_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_never_shown() {
        for (address, expected) in [
            ("http://me:hush@host:9200/es", "http://host:9200/es"),
            ("http://me:hu#sh@host", "http://host"),
            ("http://me:hu?sh@host:9200", "http://host:9200"),
            ("http://me:hu/sh@host", "http://host"),
            ("http://me:hu@sh@host", "http://host"),
            ("http://me:hu@sh#hush", "http://…"),
            ("http://me:12#34@host", "http://host"),
            ("http://me:hu\\sh@host", "http://host"),
            ("me:hush@host", "host"),
            ("http://me:hush", "http://me:…"),
            ("me:hush", "me:…"),
            ("http://host:9200/?token=hush", "http://host:9200/"),
            ("http://[::1]:9200/es", "http://[::1]:9200/es"),
            ("http://[::1]", "http://[::1]"),
            ("localhost:9200", "localhost:9200"),
            ("", ""),
        ] {
            assert_eq!(url(address), expected, "{address}");
        }
    }

    #[test]
    fn a_message_that_quotes_an_argument_shows_no_user_info() {
        let args = ["load", "--intoo=http://me:hu#sh@host", "plain@name", "s3://b/a@b"];
        let message = "unexpected argument '--intoo=http://me:hu#sh@host' found, plain@name";
        let expected = "unexpected argument '--intoo=http://host' found, plain@name";
        assert_eq!(super::message(message, args), expected);
    }
}
