//! A server that is no engine: it answers whatever a test wants, and remembers what it was asked.
//!
//! In: HTTP requests on a free port of 127.0.0.1. Out: bytes of the test's choice.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use super::wire::{self, Request};

type Answer = Box<dyn Fn(&Request) -> Vec<u8> + Send + Sync>;

/// Runs until the test program ends; a test needs few connections.
pub(crate) struct Stranger {
    host: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Stranger {
    /// Starts one that answers so. An empty answer closes the connection.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, answer) = (Arc::default(), Arc::<Answer>::new(Box::new(answer)));
        let theirs = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (Arc::clone(&theirs), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &asked, &answer));
            }
        });
        Self { host, asked }
    }

    /// Starts one that answers everything with these bytes.
    pub(crate) fn saying(status: u16, kind: &str, body: &str) -> Self {
        let head =
            if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let text =
            format!("HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}", body.len());
        Self::answering(move |_| text.clone().into_bytes())
    }

    /// Starts one that sends everybody to `location`.
    pub(crate) fn redirecting(status: u16, location: &str) -> Self {
        let text = redirect(status, location);
        Self::answering(move |_| text.clone())
    }

    /// Returns host and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Returns method and path of each request so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Returns all that was sent in the bodies of requests.
    pub(crate) fn bytes_taken(&self) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|request| request.body.len()).sum()
    }

    /// Returns a header of each request so far, where it was sent.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter_map(|request| request.header(name).map(str::to_owned)).collect()
    }
}

/// Returns an answer that sends somebody to `location`.
pub(crate) fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
        .into_bytes()
}

fn serve(stream: &TcpStream, asked: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = wire::read_head(&mut reader) {
        let Some(body) = wire::read_body(&mut reader, &request.headers) else { return };
        request.body = body;
        let bytes = answer(&request);
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let mut writer = stream;
        if bytes.is_empty() || writer.write_all(&bytes).is_err() {
            return;
        }
    }
}
