//! A way to a real engine on which every request is counted: engines tell nobody how often they were asked.
//!
//! In: connections on a free port of 127.0.0.1. Out: the same bytes, both ways; what passed is noted.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wire;

/// Runs until the test program ends; a test needs few connections.
pub(crate) struct Proxy {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one before the engine at `engine`, which is reached by plain HTTP.
    pub(crate) fn before(engine: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (theirs, engine) = (Arc::clone(&seen), engine.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, engine) = (Arc::clone(&theirs), engine.clone());
                std::thread::spawn(move || carry(client, &engine, &seen));
            }
        });
        Proxy { url, seen }
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns what was asked since the last time, such as `PUT /cloudtrail/_mapping`, in the order of arrival.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.seen))
    }
}

fn lock(seen: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until either side closes it.
fn carry(client: TcpStream, engine: &str, seen: &Mutex<Vec<String>>) {
    let engine = TcpStream::connect(engine).unwrap();
    for stream in [&client, &engine] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut answers, mut back) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut requests = BufReader::new(Tee { from: client, to: engine });
    while let Some(request) = wire::read_head(&mut requests) {
        lock(seen).push(format!("{} {}", request.method, request.path));
        if wire::read_body(&mut requests, &request.headers).is_none() {
            break;
        }
    }
    let _ = requests.get_ref().to.shutdown(Shutdown::Both);
}

/// Sends on whatever is read through it.
struct Tee {
    from: TcpStream,
    to: TcpStream,
}

impl Read for Tee {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        self.to.write_all(&into[..length])?;
        Ok(length)
    }
}
