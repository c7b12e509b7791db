//! A way to services on which the program under test is killed at an exact moment of a request.
//!
//! In: connections on free ports of 127.0.0.1. Out: the same requests and responses, both ways, until the moment has come: then the
//! program gets SIGKILL, and what it has not read by then never arrives.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::load::wait_for;
use super::wire::{Request, read_body, read_head};

/// When the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The request was sent, and the service does not learn of it.
    BeforeService,
    /// The service has done what was asked, and the program does not learn of it.
    BeforeResponse,
    /// The program has the response.
    AfterResponse,
}

/// Every moment.
pub(crate) const MOMENTS: [Moment; 3] =
    [Moment::BeforeService, Moment::BeforeResponse, Moment::AfterResponse];

/// A trap for one run. Clones are the same trap.
#[derive(Clone)]
pub(crate) struct Trap(Arc<State>);

struct State {
    is_meant: Box<dyn Fn(&Request) -> bool + Send + Sync>,
    moment: Moment,
    /// The requests that are meant, and still pass.
    passing: AtomicUsize,
    /// The program; 0 before it is known.
    victim: Mutex<u32>,
    is_known: Condvar,
    has_fired: AtomicBool,
    seen: AtomicU32,
}

impl Trap {
    /// Sets a trap: the request with this number, from 0, of those that are meant.
    pub(crate) fn new(
        moment: Moment,
        number: usize,
        is_meant: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(State {
            is_meant: Box::new(is_meant),
            moment,
            passing: AtomicUsize::new(number),
            victim: Mutex::new(0),
            is_known: Condvar::new(),
            has_fired: AtomicBool::new(false),
            seen: AtomicU32::new(0),
        }))
    }

    /// Starts a way to the service at `url`; returns its address, with the path of `url`.
    pub(crate) fn before(&self, url: &str) -> String {
        let rest = url.trim_start_matches("http://");
        let (service, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slash = if rest.contains('/') { "/" } else { "" };
        let address = format!("http://{}{slash}{path}", listener.local_addr().unwrap());
        let (trap, service) = (self.clone(), service.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (trap, service) = (trap.clone(), service.clone());
                thread::spawn(move || trap.carry(client, &service));
            }
        });
        address
    }

    /// Tells which process is to be killed.
    pub(crate) fn aim(&self, process: u32) {
        *self.0.victim.lock().unwrap() = process;
        self.0.is_known.notify_all();
    }

    /// Waits until the program was killed.
    pub(crate) fn wait(&self) {
        wait_for("the moment of the kill", || self.0.has_fired.load(SeqCst).then_some(()));
    }

    /// Serves one connection until either side closes it.
    fn carry(&self, client: TcpStream, service: &str) {
        let Ok(service) = TcpStream::connect(service) else { return };
        let (mut to_client, mut to_service) =
            (client.try_clone().unwrap(), service.try_clone().unwrap());
        let mut requests = BufReader::new(Copied { from: client, bytes: Vec::new() });
        let mut responses = BufReader::new(Copied { from: service, bytes: Vec::new() });
        while let Some(request) = read_head(&mut requests) {
            if read_body(&mut requests, &request.headers).is_none() {
                return;
            }
            let is_now = self.is_now(&request);
            let kills_at = |moment| is_now && self.0.moment == moment;
            if kills_at(Moment::BeforeService) {
                return self.kill();
            }
            if to_service.write_all(&requests.get_mut().take()).is_err()
                || !read_response(&mut responses, &request.method)
            {
                return;
            }
            if kills_at(Moment::BeforeResponse) {
                return self.kill();
            }
            if to_client.write_all(&responses.get_mut().take()).is_err() {
                return;
            }
            if kills_at(Moment::AfterResponse) {
                return self.kill();
            }
        }
    }

    /// Counts a request; returns whether it is the one.
    fn is_now(&self, request: &Request) -> bool {
        (self.0.is_meant)(request)
            && self.0.passing.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err()
            && self.0.seen.fetch_add(1, SeqCst) == 0
    }

    fn kill(&self) {
        let victim = self.0.victim.lock().unwrap();
        let unknown = |victim: &mut u32| *victim == 0;
        let wait = self.0.is_known.wait_timeout_while(victim, Duration::from_mins(1), unknown);
        let victim = wait.unwrap().0.to_string();
        assert!(Command::new("kill").args(["-KILL", &victim]).status().unwrap().success());
        self.0.has_fired.store(true, SeqCst);
    }
}

/// Reads a response to its end; returns whether there is one.
fn read_response(from: &mut BufReader<Copied>, method: &str) -> bool {
    // The status line of a response has its words in the places of a request's.
    let Some(head) = read_head(from) else { return false };
    let has_body = method != "HEAD" && !["204", "304"].contains(&head.path.as_str());
    !has_body || read_body(from, &head.headers).is_some()
}

/// Keeps what is read through it.
struct Copied {
    from: TcpStream,
    bytes: Vec<u8>,
}

impl Copied {
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl Read for Copied {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        self.bytes.extend_from_slice(&into[..length]);
        Ok(length)
    }
}
