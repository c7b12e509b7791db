//! Whom we say we are, and how an address may say so.

use std::fmt;

use url::Url;

/// Whom we say we are. `Debug` prints no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// An API key, encoded as the engine gave it out or as `id:key`.
    ApiKey(String),
    /// A bearer token.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::ApiKey(_) => "ApiKey(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Moves user name and password out of an address, and undoes their escapes.
pub fn take_userinfo(url: &mut Url) -> (Option<String>, Option<String>) {
    let username = Some(unescaped(url.username())).filter(|name| !name.is_empty());
    let password = url.password().map(unescaped);
    // Both fail only for addresses that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    (username, password)
}

/// Undoes percent escapes. What is no escape stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte =
            digits.filter(|_| first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_its_credentials_away_once() {
        let table = [
            ("http://u:p%40s%2Fs%zz@h/", (Some("u"), Some("p@s/s%zz"))),
            ("http://%C3%BC@h/", (Some("ü"), None)),
            ("http://:p@h/", (None, Some("p"))),
            ("http://h/", (None, None)),
        ];
        for (address, (username, password)) in table {
            let mut url: Url = address.parse().unwrap();
            let taken = take_userinfo(&mut url);
            assert_eq!((taken.0.as_deref(), taken.1.as_deref()), (username, password), "{address}");
            assert_eq!(url.as_str(), "http://h/");
            assert_eq!(take_userinfo(&mut url), (None, None));
        }
    }
}
