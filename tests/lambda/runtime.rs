//! A fake of the Lambda runtime API, as strict as the documentation.
//!
//! In: payloads. Out: what the function answered to each.
//! Holds: one invocation at a time; an answer must be to the current one, be JSON, and have the header of an error if it is one; the
//! start is reported as failed only before the first invocation is asked for. Whatever breaks a rule is refused and fails the test.

use std::{
    collections::{HashMap, VecDeque},
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::wire::{Request, read_body, read_head};

/// How long a test waits for the function. Far above what it needs.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The largest response that Lambda accepts.
const MAX_RESPONSE_BYTES: usize = 6 << 20;

/// What a function answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answered {
    Response(Value),
    Error { kind: String, message: String },
}

impl Answered {
    /// Returns the response.
    pub(super) fn response(self) -> Value {
        match self {
            Self::Response(response) => response,
            Self::Error { kind, message } => panic!("{kind}: {message}"),
        }
    }

    /// Returns the kind and the message of the error.
    pub(super) fn error(self) -> (String, String) {
        match self {
            Self::Response(response) => panic!("no error: {response}"),
            Self::Error { kind, message } => (kind, message),
        }
    }

    /// Returns the ids of the messages that failed.
    pub(super) fn failed_items(self) -> Vec<String> {
        let response = self.response();
        let object = response.as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["batchItemFailures"], "{response}");
        let items = response["batchItemFailures"].as_array().unwrap();
        let id = |item: &Value| item["itemIdentifier"].as_str().unwrap().to_owned();
        items.iter().map(id).collect()
    }
}

/// An invocation that is to be made.
struct Invocation {
    id: String,
    payload: Vec<u8>,
    timeout: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Invocation>,
    current: Option<String>,
    answers: HashMap<String, Answered>,
    /// What broke a rule.
    faults: Vec<String>,
    start_error: Option<Answered>,
    has_asked: bool,
    connections: usize,
    invocations: usize,
    /// The number of processes that have ended.
    ended: usize,
    is_over: bool,
}

/// The runtime API.
pub(super) struct RuntimeApi {
    shared: Arc<(Mutex<State>, Condvar)>,
    address: String,
}

impl RuntimeApi {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, Ok(stream)) = (Arc::clone(&theirs), stream) else { return };
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { shared, address }
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Queues an invocation, and returns its id.
    pub(super) fn invoke(&self, payload: &Value, timeout: Duration) -> String {
        let number = {
            let mut state = self.state();
            state.invocations += 1;
            state.invocations
        };
        let id = format!("8476a536-e9f4-11e8-9739-{number:012}");
        self.invoke_again(&id, payload, timeout);
        id
    }

    /// Queues a retry of an invocation, which has the same id.
    pub(super) fn invoke_again(&self, id: &str, payload: &Value, timeout: Duration) {
        let payload = payload.to_string().into_bytes();
        let mut state = self.state();
        state.answers.remove(id);
        state.queue.push_back(Invocation { id: id.to_owned(), payload, timeout });
        self.shared.1.notify_all();
    }

    /// Forgets the invocation that the process had when it ended.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.current = None;
        state.has_asked = false;
        state.ended += 1;
        self.shared.1.notify_all();
    }

    /// Waits for something.
    fn wait<T>(&self, what: impl Fn(&State) -> Option<T>) -> Option<T> {
        let until = Instant::now() + LONGEST_WAIT;
        let mut state = self.state();
        loop {
            assert_eq!(state.faults, [""; 0]);
            if let Some(found) = what(&state) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Returns the answer to an invocation, once it is there.
    pub(super) fn answer(&self, id: &str) -> Option<Answered> {
        self.wait(|state| state.answers.get(id).cloned())
    }

    /// Returns the error that was reported instead of the start.
    pub(super) fn start_error(&self) -> Option<(String, String)> {
        self.wait(|state| state.start_error.clone()).map(Answered::error)
    }

    /// Returns how many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.state().connections
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.state().is_over = true;
        self.shared.1.notify_all();
        if !thread::panicking() {
            assert_eq!(self.state().faults, [""; 0]);
        }
    }
}

fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    shared.0.lock().unwrap().connections += 1;
    let mut from = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut from) {
        let Some(body) = read_body(&mut from, &request.headers) else { return };
        request.body = body;
        let response = match request.method.as_str() {
            "GET" => next(&request, shared),
            _ => post(&request, shared),
        };
        let response = response.unwrap_or_else(|(status, fault)| {
            shared.0.lock().unwrap().faults.push(fault);
            shared.1.notify_all();
            (status, String::new(), b"{\"errorType\":\"Refused\"}".to_vec())
        });
        if respond(stream, &response).is_none() {
            return;
        }
    }
}

type Response = (u16, String, Vec<u8>);
type Refusal = (u16, String);

fn respond(mut stream: &TcpStream, response: &Response) -> Option<()> {
    let (status, headers, body) = response;
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

/// Hands over the next invocation, once there is one.
fn next(request: &Request, shared: &(Mutex<State>, Condvar)) -> Result<Response, Refusal> {
    if request.path != "/2018-06-01/runtime/invocation/next" {
        return Err((404, format!("GET {}", request.path)));
    }
    let mut state = shared.0.lock().unwrap();
    state.has_asked = true;
    if let Some(current) = &state.current {
        return Err((403, format!("asked for the next before the answer to {current}")));
    }
    let ended = state.ended;
    loop {
        if state.is_over || state.ended > ended {
            return Ok((500, String::new(), Vec::new()));
        }
        if let Some(Invocation { id, payload, timeout }) = state.queue.pop_front() {
            let deadline = (jiff::Timestamp::now() + timeout).as_millisecond();
            let headers = format!(
                "Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:111122223333:function:trailload\r\n\
                 Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1\r\n"
            );
            state.current = Some(id);
            shared.1.notify_all();
            return Ok((200, headers, payload));
        }
        state = shared.1.wait(state).unwrap();
    }
}

/// Takes an answer.
fn post(request: &Request, shared: &(Mutex<State>, Condvar)) -> Result<Response, Refusal> {
    let fault =
        |status: u16, text: &str| (status, format!("{} {}: {text}", request.method, request.path));
    let rest = request
        .path
        .strip_prefix("/2018-06-01/runtime/")
        .ok_or_else(|| fault(404, "no path of the API"))?;
    if request.method != "POST" {
        return Err(fault(405, "no method of the API"));
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| fault(400, "not JSON"))?;
    let accepted = (202, String::new(), b"{\"status\":\"OK\"}".to_vec());
    let mut state = shared.0.lock().unwrap();
    if rest == "init/error" {
        if state.has_asked {
            return Err(fault(403, "after the start"));
        }
        state.start_error = Some(error(request, &body)?);
        shared.1.notify_all();
        return Ok(accepted);
    }
    let (id, kind) = rest
        .strip_prefix("invocation/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| fault(404, "no path of the API"))?;
    if state.current.as_deref() != Some(id) {
        return Err(fault(400, "not the current invocation"));
    }
    let answered = match kind {
        "response" if request.body.len() > MAX_RESPONSE_BYTES => {
            return Err(fault(413, "too large"));
        }
        "response" => Answered::Response(body),
        "error" => error(request, &body)?,
        _ => return Err(fault(404, "no path of the API")),
    };
    state.current = None;
    state.answers.insert(id.to_owned(), answered);
    shared.1.notify_all();
    Ok(accepted)
}

fn error(request: &Request, body: &Value) -> Result<Answered, Refusal> {
    let kind = request.header("lambda-runtime-function-error-type").unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    // CATEGORY.REASON
    let is_complete = kind.split('.').filter(|part| !part.is_empty()).count() == 2
        && text("errorType") == kind
        && !text("errorMessage").is_empty()
        && body["stackTrace"].is_array();
    if is_complete {
        Ok(Answered::Error { kind: kind.to_owned(), message: text("errorMessage") })
    } else {
        Err((400, format!("an incomplete error: {kind} {body}")))
    }
}
