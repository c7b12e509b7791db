//! A receiver that keeps what it was sent and what it acknowledged, and a folder with rules and trails for `watch`.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::wire::{read_body, read_head};

/// What the receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It acknowledges.
    Accept,
    /// It acknowledges after a time.
    Slow(Duration),
    /// It answers with a status, and with headers.
    Status(u16, &'static str),
    /// It closes the connection in the middle of its answer.
    Cut,
    /// It never answers.
    Hang,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The idempotency key.
    pub(crate) key: String,
    /// The body.
    pub(crate) body: Value,
    /// When it arrived.
    pub(crate) at: Instant,
    /// Whether the acknowledgement was written in full.
    pub(crate) is_acknowledged: bool,
}

type Script = Box<dyn Fn(&Value, usize) -> Answer + Send + Sync>;

struct State {
    received: Mutex<Vec<Received>>,
    script: Mutex<Script>,
}

/// A receiver of webhooks.
pub(crate) struct Hook {
    state: Arc<State>,
    url: String,
}

impl Hook {
    /// Starts a receiver that acknowledges everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let script: Script = Box::new(|_, _| Answer::Accept);
        let state = Arc::new(State { received: Mutex::default(), script: Mutex::new(script) });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, Ok(stream)) = (Arc::clone(&shared), stream) else { return };
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { state, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sets what it answers, by the body and the number of earlier requests with the same key.
    pub(crate) fn answers(&self, script: impl Fn(&Value, usize) -> Answer + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    fn received_now(&self) -> MutexGuard<'_, Vec<Received>> {
        self.state.received.lock().unwrap()
    }

    /// Returns all requests, in the order of their arrival.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received_now().clone()
    }

    /// Returns how often each key was acknowledged.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for request in self.received_now().iter().filter(|request| request.is_acknowledged) {
            *keys.entry(request.key.clone()).or_default() += 1;
        }
        keys
    }

    /// Returns the ids of the events that were acknowledged, in the order of their arrival.
    pub(crate) fn events(&self) -> Vec<String> {
        let received = self.received_now();
        let acknowledged = received.iter().filter(|request| request.is_acknowledged);
        acknowledged.map(|request| request.body["event_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns an action file with this receiver.
    pub(crate) fn actions(&self) -> String {
        format!("hook: {{kind: webhook, url: \"{}\", timeout: 2s}}\n", self.url)
    }
}

fn serve(stream: &TcpStream, state: &State) {
    let mut from = BufReader::new(stream);
    while let Some(head) = read_head(&mut from) {
        let Some(body) = read_body(&mut from, &head.headers) else { return };
        let key = head.header("idempotency-key").expect("a request has a key").to_owned();
        let body: Value = serde_json::from_slice(&body).expect("a body is JSON");
        let (number, before) = {
            let mut received = state.received.lock().unwrap();
            let before = received.iter().filter(|request| request.key == key).count();
            let at = Instant::now();
            received.push(Received { key, body: body.clone(), at, is_acknowledged: false });
            (received.len() - 1, before)
        };
        let answer = (state.script.lock().unwrap())(&body, before);
        let is_written = respond(stream, &answer);
        if matches!(answer, Answer::Accept | Answer::Slow(_)) && is_written {
            state.received.lock().unwrap()[number].is_acknowledged = true;
        } else if !is_written {
            return;
        }
    }
}

/// Answers; returns whether the answer was written in full.
fn respond(mut stream: &TcpStream, answer: &Answer) -> bool {
    match answer {
        Answer::Accept => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_ok()
        }
        Answer::Slow(time) => {
            thread::sleep(*time);
            respond(stream, &Answer::Accept)
        }
        Answer::Status(status, headers) => {
            let head = format!("HTTP/1.1 {status} Said\r\n{headers}content-length: 4\r\n\r\nsaid");
            stream.write_all(head.as_bytes()).is_ok()
        }
        Answer::Cut => {
            let _ = stream.write_all(b"HTTP/1.1 20");
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Answer::Hang => {
            thread::sleep(Duration::from_mins(1));
            false
        }
    }
}

/// A folder with rules, trails and a checkpoint.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// Creates a folder with a rule that alerts on every `CreateUser`.
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("rules.yml", "name: user created\nevents: [CreateUser]\nactions: [hook]\n");
        fs::create_dir(folder.path("trail")).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes a trail file with events.
    pub(crate) fn trail(&self, name: &str, events: &[Value]) {
        // Written as a whole, because a run may be reading the folder.
        self.write("part", json!({ "Records": events }).to_string());
        fs::rename(self.path("part"), self.path("trail").join(name)).unwrap();
    }

    /// Returns `trailload watch` with arguments, in this folder, with a state folder of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trailload"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("XDG_STATE_HOME", self.path("state")).current_dir(self.0.path());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `trailload watch rules.yml --in trail --checkpoint checkpoint.sqlite` with more arguments.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.watch_command(arguments).output().unwrap())
    }

    pub(crate) fn watch_command(&self, arguments: &[&str]) -> Command {
        let always = [
            "watch",
            "rules.yml",
            "--in",
            "trail",
            "--checkpoint",
            "checkpoint.sqlite",
            "--log-format",
            "json",
        ];
        let arguments: Vec<&str> = always.iter().chain(arguments).copied().collect();
        self.command(&arguments)
    }

    /// Runs `watch --retry`.
    pub(crate) fn retry(&self, arguments: &[&str]) -> Ended {
        let always =
            ["watch", "--retry", "--checkpoint", "checkpoint.sqlite", "--log-format", "json"];
        let arguments: Vec<&str> = always.iter().chain(arguments).copied().collect();
        Ended::of(&self.command(&arguments).output().unwrap())
    }

    /// Returns the alerts part of `trailload status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = self
            .command(&["status", "--json", "--checkpoint", "checkpoint.sqlite"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["alerts"].clone()
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The last line.
    pub(crate) summary: Value,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let stderr = text(&output.stderr);
        let mut lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = lines.rfind(|line| line["about"] == "summary").unwrap_or_default();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr, summary }
    }

    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    /// Returns numbers of the summary.
    pub(crate) fn numbers<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| {
            self.summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {}", self.stderr))
        })
    }

    /// Checks that every match is accounted for.
    pub(crate) fn adds_up(self) -> Self {
        let [matches, parts @ ..] =
            self.numbers(["matches", "alerts", "recorded", "suppressed", "learned", "duplicates"]);
        assert_eq!(matches, parts.iter().sum::<u64>(), "{}", self.stderr);
        self
    }
}

thread_local! {
    /// When the test of this thread began: an event that is written twice has the same time in both.
    static TEST_START: LazyCell<jiff::Timestamp> = LazyCell::new(jiff::Timestamp::now);
}

/// An event of a user, some minutes ago.
pub(crate) fn created(number: usize, user: &str, minutes_ago: i64) -> Value {
    let time = TEST_START.with(|start| **start) - jiff::SignedDuration::from_mins(minutes_ago);
    json!({
        "eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser",
        "awsRegion": "us-east-1", "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventID": event_id(number), "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "arn": format!("arn:aws:iam::111122223333:user/{user}")},
    })
}

pub(crate) fn event_id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

pub(crate) fn ids(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(event_id).collect()
}

/// Waits until a process ends.
pub(crate) fn ends_within(child: &mut Child, time: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < time {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Sends a signal.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}
