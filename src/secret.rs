//! Keeps user names and passwords that stand in addresses out of what is shown.
//!
//! In: an address as typed, which may make no sense. Out: what of it may be shown.
//! Holds: whatever stands before the last `@` is never shown, since a password may hold any sign that should have been
//! escaped; nor is a query or a fragment, which may be a part of a password.

/// Returns an address as it may be shown, even if it makes no sense.
pub fn shown(address: &str) -> String {
    let (scheme, rest) = match address.find("://") {
        Some(at) => address.split_at(at + "://".len()),
        None => ("", address),
    };
    match rest.rsplit_once('@') {
        // Behind the `@` of a password stands more of it.
        Some((_, host)) if host.contains(['?', '#']) => format!("{scheme}…"),
        Some((_, host)) => format!("{scheme}{host}"),
        None => format!("{scheme}{}", without_login(rest)),
    }
}

/// Returns an address without `@` as far as it cannot be `USER:PASSWORD`, of which the host was forgotten.
fn without_login(rest: &str) -> String {
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

/// Takes out of a message what must not be shown of the words that it may repeat.
pub fn taken_out<'a>(message: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let mut message = message.to_owned();
    for word in words {
        let Some(at) = word.find("://") else { continue };
        let address =
            &word[word[..at].rfind(|sign: char| !is_scheme(sign)).map_or(0, |end| end + 1)..];
        if address.contains('@') {
            message = message.replace(address, &shown(address));
        }
    }
    message
}

fn is_scheme(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '+' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_login_is_shown() {
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
            assert_eq!(shown(address), expected, "{address}");
        }
    }

    #[test]
    fn a_message_that_repeats_a_word_shows_no_login() {
        let words = ["load", "--intoo=http://me:hu#sh@host", "plain@name", "s3://b/a@b"];
        let message = "unexpected argument '--intoo=http://me:hu#sh@host' found, plain@name";
        let expected = "unexpected argument '--intoo=http://host' found, plain@name";
        assert_eq!(taken_out(message, words), expected);
    }
}
