//! Finds the HTTP proxy for a URL and the reason why that proxy refuses a connection.
//!
//! Input: a URL and the proxy variables that HTTP clients read (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`,
//! also in lower case). Output: the proxy for the URL and, after a connection failed, the proxy's response to
//! `CONNECT`, which the errors of the HTTP clients do not contain.
//! Invariant: the user name and password of a proxy are sent to the proxy and never shown.
//! Deliberately absent: the connections themselves. The HTTP clients read the same variables.

use std::{
    fmt::{self, Write as _},
    io,
    time::Duration,
};

use hyper_util::client::proxy::matcher::Matcher;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use url::Url;

/// Time limit for connecting to the proxy, and for its response to `CONNECT`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest number of bytes read while looking for the end of the status line.
const MAX_HEAD_BYTES: usize = 4 << 10;

/// The HTTP proxy that the environment configures for a URL.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    /// Value of `Proxy-Authorization`, if the variable contains a user name.
    authorization: Option<String>,
}

/// The reason why a connection through a proxy failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The proxy responded to `CONNECT` with a status other than 2xx.
    #[error("the proxy {proxy} refused the connection: {status} {reason}")]
    Refused {
        /// Host and port.
        proxy: String,
        /// HTTP status. 407: credentials are required; 403: the host is not allowed; 502 and 504: the proxy cannot
        /// connect to the host.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// The proxy does not exist, does not accept connections, or does not speak HTTP.
    #[error("the proxy {proxy} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        proxy: String,
        /// The error of the operating system, or what was wrong with the response.
        reason: String,
    },
}

impl ProxyError {
    /// Returns the HTTP status, if the proxy responded with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. } => None,
        }
    }

    /// Returns true if a retry fails as well until the configuration has changed.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused { status: 400..=499, .. })
    }

    /// Returns how to fix an error with this status; `None` stands for [`Self::Unreachable`].
    pub fn hint(status: Option<u16>) -> &'static str {
        match status {
            Some(407) => {
                "add the user name and password of the proxy to HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT, \
                 percent-encoded)"
            }
            Some(400..=499) => {
                "allow this host and port in the proxy, or bypass the proxy by adding the host to NO_PROXY"
            }
            Some(_) => {
                "the proxy cannot connect to the host: check the URL, or bypass the proxy with NO_PROXY"
            }
            None => "check HTTPS_PROXY and HTTP_PROXY, or bypass the proxy with NO_PROXY",
        }
    }
}

impl Proxy {
    /// Returns the HTTP proxy that the environment configures for a URL. Returns `None` for SOCKS proxies, too.
    pub fn for_url(url: &Url) -> Option<Self> {
        let found = Matcher::from_env().intercept(&url.as_str().parse().ok()?)?;
        let uri = found.uri();
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let authorization = found.basic_auth().and_then(|value| value.to_str().ok());
        Some(Self {
            host: uri.host()?.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            authorization: authorization.map(str::to_owned),
        })
    }

    /// Requests a tunnel to the host of a URL. Returns why it failed, or `None` if it succeeded.
    pub async fn probe(&self, url: &Url) -> Option<ProxyError> {
        let unreachable =
            |reason: String| ProxyError::Unreachable { proxy: self.to_string(), reason };
        let connected =
            timeout(PROBE_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Some(unreachable(error.to_string())),
            Err(_) => return Some(unreachable(timeout_reason())),
        };
        // Plain HTTP uses no tunnel: the caller received the proxy's own response already.
        if url.scheme() != "https" {
            return None;
        }
        match timeout(PROBE_TIMEOUT, self.send_connect(stream, url)).await {
            Ok(Ok(line)) => self.parse_status_line(&line),
            Ok(Err(error)) => Some(unreachable(error.to_string())),
            Err(_) => Some(unreachable(timeout_reason())),
        }
    }

    /// Sends `CONNECT` and returns the first line of the response.
    async fn send_connect(&self, mut stream: TcpStream, url: &Url) -> io::Result<String> {
        let host = url.host_str().unwrap_or_default();
        let to = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some(authorization) = &self.authorization {
            // Writing to a String cannot fail.
            let _ = write!(head, "Proxy-Authorization: {authorization}\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut response = Vec::new();
        while !response.contains(&b'\n') && response.len() < MAX_HEAD_BYTES {
            if stream.read_buf(&mut response).await? == 0 {
                break;
            }
        }
        let line = response.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(line).trim().to_owned())
    }

    /// Returns the error that a status line stands for; `None` for a 2xx status.
    fn parse_status_line(&self, line: &str) -> Option<ProxyError> {
        let proxy = self.to_string();
        let mut words = line.splitn(3, ' ');
        let status = words.nth(1).and_then(|status| status.parse::<u16>().ok());
        match (line.starts_with("HTTP/"), status) {
            (true, Some(200..=299)) => None,
            (true, Some(status)) => {
                let reason: String = words
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .filter(|character| !character.is_control())
                    .take(80)
                    .collect();
                Some(ProxyError::Refused { proxy, status, reason })
            }
            _ => {
                let reason = "the response is not HTTP".to_owned();
                Some(ProxyError::Unreachable { proxy, reason })
            }
        }
    }
}

fn timeout_reason() -> String {
    format!("no response within {} s", PROBE_TIMEOUT.as_secs())
}

impl fmt::Display for Proxy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        let authorization = Some("Basic aHVzaDpodXNo".to_owned());
        Proxy { host: "gate.example".into(), port: 3128, authorization }
    }

    #[test]
    fn a_connect_response_is_parsed_and_shows_no_password() {
        assert_eq!(proxy().parse_status_line("HTTP/1.1 200 Connection established"), None);
        for (line, status, expected) in [
            ("HTTP/1.1 407 Proxy Authentication Required", Some(407), "407 Proxy Authentication"),
            ("HTTP/1.0 403 Forbidden", Some(403), "http://gate.example:3128"),
            ("HTTP/1.1 502", Some(502), "502"),
            ("SSH-2.0-OpenSSH_9.6", None, "not HTTP"),
            ("", None, "not HTTP"),
        ] {
            let error = proxy().parse_status_line(line).unwrap();
            assert_eq!(error.status(), status, "{line}");
            assert!(error.to_string().contains(expected), "{error}");
            let shown = format!("{error:?} {:?} {}", proxy(), proxy());
            assert!(!shown.contains("aHVzaDpodXNo"), "{shown}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_hint() {
        let hints = [Some(407), Some(403), Some(502), None].map(ProxyError::hint);
        assert!(hints[0].contains("USER:PASSWORD") && hints[1].contains("allow this host"));
        assert_eq!(std::collections::BTreeSet::from(hints).len(), 4);
    }

    #[tokio::test]
    async fn a_closed_port_is_reported_as_unreachable() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let proxy = Proxy { host: "127.0.0.1".into(), port, authorization: None };
        let error = proxy.probe(&"https://search.example".parse().unwrap()).await.unwrap();
        assert!(matches!(error, ProxyError::Unreachable { .. }), "{error}");
    }
}
