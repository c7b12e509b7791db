//! The HTTP proxy between this machine and a server, and what it has against a connection.
//!
//! In: an address, and the variables that every HTTP client knows (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`, also in lower case). Out: which proxy stands before it, and, after a connection failed, what the proxy
//! answers to `CONNECT`: the HTTP clients do not say that.
//! Holds: user name and password of a proxy are sent to it and shown nowhere.
//! Absent on purpose: the connections themselves. The HTTP clients go through the proxy by the same variables.

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

/// How long a proxy may take to refuse.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: its first line is in them.
const HEAD: usize = 4 << 10;

/// A proxy that stands before an address.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    /// `Proxy-Authorization`, if the variable holds a user name.
    authorization: Option<String>,
}

/// What a proxy has against a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It answered, and not with 200.
    #[error("the proxy {proxy} refuses the connection: {status} {reason}")]
    Refused {
        /// Host and port.
        proxy: String,
        /// 407: log in; 403: that host is not allowed; 502 and the like: it cannot get there.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// Nobody listens there, its name is not known, or it says nothing.
    #[error("the proxy {proxy} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        proxy: String,
        /// What the system said.
        reason: String,
    },
}

impl Trouble {
    /// Returns the HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unreachable { .. } => None,
        }
    }

    /// Returns whether asking again is of no use until a person has changed something.
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::Refused { status: 400..=499, .. })
    }

    /// Returns what a person can do about it.
    pub fn advice(status: Option<u16>) -> &'static str {
        match status {
            Some(407) => {
                "put user name and password of the proxy into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT, \
                 percent-encoded)"
            }
            Some(400..=499) => {
                "have the proxy allow this host and port, or go around it: add the host to NO_PROXY"
            }
            Some(_) => {
                "the proxy does not get there: check the address, or go around the proxy with NO_PROXY"
            }
            None => "check HTTPS_PROXY and HTTP_PROXY, or go around the proxy with NO_PROXY",
        }
    }
}

impl Proxy {
    /// Returns the proxy that the environment puts before an address. `None` also for SOCKS proxies.
    pub fn before(url: &Url) -> Option<Self> {
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

    /// Asks the proxy for a tunnel to an address, and returns what it has against it; `None` if nothing.
    pub async fn try_out(&self, url: &Url) -> Option<Trouble> {
        let unreachable = |reason: String| Trouble::Unreachable { proxy: self.to_string(), reason };
        let connected =
            timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Some(unreachable(error.to_string())),
            Err(_) => return Some(unreachable(silence())),
        };
        // Without encryption there is no tunnel: the proxy's own answer came as the answer.
        if url.scheme() != "https" {
            return None;
        }
        match timeout(PATIENCE, self.ask(stream, url)).await {
            Ok(Ok(line)) => self.judge(&line),
            Ok(Err(error)) => Some(unreachable(error.to_string())),
            Err(_) => Some(unreachable(silence())),
        }
    }

    /// Sends `CONNECT` and returns the first line of the answer.
    async fn ask(&self, mut stream: TcpStream, url: &Url) -> io::Result<String> {
        let host = url.host_str().unwrap_or_default();
        let to = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some(authorization) = &self.authorization {
            // Writing to a String cannot fail.
            let _ = write!(head, "Proxy-Authorization: {authorization}\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') && answer.len() < HEAD {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(line).trim().to_owned())
    }

    /// Returns what the first line of an answer has against us.
    fn judge(&self, line: &str) -> Option<Trouble> {
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
                    .filter(|sign| !sign.is_control())
                    .take(80)
                    .collect();
                Some(Trouble::Refused { proxy, status, reason })
            }
            _ => {
                let reason = "what it answers is not HTTP".to_owned();
                Some(Trouble::Unreachable { proxy, reason })
            }
        }
    }
}

fn silence() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
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
    fn an_answer_to_connect_is_understood_and_shows_no_password() {
        assert_eq!(proxy().judge("HTTP/1.1 200 Connection established"), None);
        for (line, status, told) in [
            ("HTTP/1.1 407 Proxy Authentication Required", Some(407), "407 Proxy Authentication"),
            ("HTTP/1.0 403 Forbidden", Some(403), "http://gate.example:3128"),
            ("HTTP/1.1 502", Some(502), "502"),
            ("SSH-2.0-OpenSSH_9.6", None, "not HTTP"),
            ("", None, "not HTTP"),
        ] {
            let trouble = proxy().judge(line).unwrap();
            assert_eq!(trouble.status(), status, "{line}");
            assert!(trouble.to_string().contains(told), "{trouble}");
            let shown = format!("{trouble:?} {:?} {}", proxy(), proxy());
            assert!(!shown.contains("aHVzaDpodXNo"), "{shown}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_advice() {
        let advice = [Some(407), Some(403), Some(502), None].map(Trouble::advice);
        assert!(advice[0].contains("USER:PASSWORD") && advice[1].contains("allow this host"));
        assert_eq!(std::collections::BTreeSet::from(advice).len(), 4);
    }

    #[tokio::test]
    async fn nobody_behind_the_address_is_told_as_such() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let proxy = Proxy { host: "127.0.0.1".into(), port, authorization: None };
        let trouble = proxy.try_out(&"https://search.example".parse().unwrap()).await.unwrap();
        assert!(matches!(trouble, Trouble::Unreachable { .. }), "{trouble}");
    }
}
