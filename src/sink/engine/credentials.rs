//! Credentials for an engine: user name and password, API key, or token.
//!
//! Invariant: credentials leave this file only as the value of the `Authorization` header, marked as sensitive.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderValue, InvalidHeaderValue};
use url::Url;

/// Credentials for an engine. `Debug` prints no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None: security is disabled, or requests are signed.
    #[default]
    None,
    /// User name and password.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// An API key, in the encoded form or as `id:key`.
    ApiKey(String),
    /// A bearer token.
    Bearer(String),
}

impl Credentials {
    /// Returns the value of the `Authorization` header, if there are credentials.
    pub(super) fn to_header(&self) -> Option<Result<HeaderValue, InvalidHeaderValue>> {
        let text = match self {
            Self::None => return None,
            Self::Basic { username, password } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
            }
            // Both engines issue keys as `id:key`, and encoded.
            Self::ApiKey(key) if key.contains(':') => {
                format!("ApiKey {}", BASE64_STANDARD.encode(key))
            }
            Self::ApiKey(key) => format!("ApiKey {key}"),
            Self::Bearer(token) => format!("Bearer {token}"),
        };
        Some(HeaderValue::from_str(&text).map(|mut value| {
            value.set_sensitive(true);
            value
        }))
    }
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

/// Removes user name and password from a URL and returns them percent-decoded.
pub fn take_userinfo(url: &mut Url) -> (Option<String>, Option<String>) {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let username = Some(decode(url.username())).filter(|name| !name.is_empty());
    let password = url.password().map(decode);
    // Both fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    (username, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_the_header_that_engines_expect() {
        let header = |credentials: Credentials| {
            credentials.to_header().map(|value| value.unwrap().to_str().unwrap().to_owned())
        };
        let basic = Credentials::Basic { username: "me".into(), password: "p:w".into() };
        assert_eq!(header(Credentials::None), None);
        assert_eq!(header(basic).as_deref(), Some("Basic bWU6cDp3"));
        let padded = Credentials::Basic { username: "a".into(), password: "ÿ~".into() };
        assert_eq!(header(padded).as_deref(), Some("Basic YTrDv34="));
        assert_eq!(
            header(Credentials::ApiKey("aWQ6a2V5".into())).as_deref(),
            Some("ApiKey aWQ6a2V5")
        );
        assert_eq!(
            header(Credentials::ApiKey("id:key".into())).as_deref(),
            Some("ApiKey aWQ6a2V5")
        );
        assert_eq!(header(Credentials::Bearer("t".into())).as_deref(), Some("Bearer t"));
        assert!(Credentials::Bearer("a\nb".into()).to_header().is_some_and(|value| value.is_err()));
    }

    #[test]
    fn credentials_are_removed_from_a_url_once() {
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
