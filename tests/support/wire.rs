//! HTTP/1.1 by hand, both sides, so that a test can break it at any byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// One request as the fake engine received it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns a header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter of the query, percent-decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| percent_decoded(value)).next()
    }
}

/// Reads the head of the next request; `None` when the client is done.
pub(crate) fn read_head(from: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let method = words.next()?.to_owned();
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (percent_decoded(path), query.to_owned());
    Some(Request { method, path, query, headers: read_headers(from)?, body: Vec::new() })
}

fn read_headers(from: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(headers);
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads the body that the headers announce.
pub(crate) fn read_body(from: &mut impl BufRead, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let header = |name| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
    if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return read_chunks(from);
    }
    let mut body = vec![0; header("content-length").map_or(Some(0), |text| text.parse().ok())?];
    from.read_exact(&mut body).ok()?;
    Some(body)
}

fn read_chunks(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
        let start = body.len();
        body.resize(start + size, 0);
        from.read_exact(&mut body[start..]).ok()?;
        from.read_line(&mut String::new()).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// Returns an answer as it goes over the wire.
pub(crate) fn answer(status: u16, kind: &str, body: &[u8], without_body: bool) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} Answer\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-elastic-product: Elasticsearch\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if !without_body {
        bytes.extend_from_slice(body);
    }
    bytes
}

/// Returns an answer of a server that is no engine.
pub(crate) fn answer_as_server(status: u16, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Answer\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Undoes the encoding of a path or a query.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (byte, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks a server on this machine one thing; returns the status and the body, `Null` if it is no JSON.
pub(crate) fn ask(base: &str, method: &str, path: &str, body: Option<&[u8]>) -> (u16, Value) {
    let host = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)
        .unwrap_or_else(|error| panic!("no engine answers at {base}: {error}"));
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut from = BufReader::new(stream);
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let status = line.split_whitespace().nth(1).unwrap_or("0").parse().unwrap();
    let headers = read_headers(&mut from).unwrap();
    let sized =
        headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    let body = match (method, sized) {
        ("HEAD", _) => Vec::new(),
        (_, true) => read_body(&mut from, &headers).unwrap(),
        _ => {
            let mut rest = Vec::new();
            from.read_to_end(&mut rest).unwrap();
            rest
        }
    };
    (status, serde_json::from_slice(&body).unwrap_or_default())
}
