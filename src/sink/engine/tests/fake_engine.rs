//! An engine with one index, on a socket of this process, that can be told to fail.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::super::properties;
use super::core_mapping;

pub(super) const INDEX: &str = "trail-2024.06";
pub(super) const INDEX_TEMPLATE: &str = "/_index_template/trail";
pub(super) const COMPONENT_TEMPLATE: &str = "/_component_template/trail-discovered";

/// How long a silent engine does not respond: longer than the client waits.
const SILENCE: Duration = Duration::from_secs(2);

/// What the engine does with one bulk request instead of storing its documents.
pub(super) enum Fault {
    /// It responds with this status and body.
    Whole(u16, &'static str),
    /// The first item has this status and error type.
    Item(u16, &'static str),
    /// No document is stored, and each item has this after its names.
    Each(&'static str),
    /// Each document is stored under this id.
    Renamed(&'static str),
    Reset,
    HalfThenReset,
    OneItemLess,
    Silence,
}

/// The state of the engine.
#[derive(Default)]
pub(super) struct FakeState {
    /// What happens to the next bulk requests.
    pub(super) faults: VecDeque<Fault>,
    /// Responses to the next `PUT index/_mapping`.
    pub(super) put_mapping: VecDeque<(u16, Value)>,
    /// Called when the index is created.
    pub(super) on_create: Option<Box<dyn FnOnce() + Send>>,
    /// Responses given instead of the usual ones, by method and path.
    pub(super) fixed: BTreeMap<String, (u16, Value)>,
    /// Method, path and body of every call but bulk requests.
    pub(super) calls: Vec<(String, Value)>,
    /// Number of documents of every bulk request.
    pub(super) bulks: Vec<usize>,
    pub(super) stored: BTreeMap<String, Value>,
    pub(super) mapping: Option<Value>,
    pub(super) index_template: Option<Value>,
    pub(super) component_template: Option<Value>,
    /// What another loader replaces the component template with, once fields are stored in it.
    pub(super) replacement: Option<Value>,
    /// Size in bytes of the largest bulk request that is accepted.
    pub(super) max_bytes: Option<usize>,
    /// An index that accepts no documents, and what its items have after their names.
    pub(super) unwritable: Option<(&'static str, &'static str)>,
}

pub(super) struct FakeEngine {
    pub(super) url: Url,
    pub(super) state: Arc<Mutex<FakeState>>,
}

impl FakeEngine {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state = Arc::new(Mutex::new(FakeState::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { url, state }
    }

    pub(super) fn with(faults: impl IntoIterator<Item = Fault>) -> Self {
        let engine = Self::start();
        engine.state.lock().unwrap().faults.extend(faults);
        engine
    }

    pub(super) fn fix(&self, call: &str, status: u16, body: Value) {
        self.state.lock().unwrap().fixed.insert(call.to_owned(), (status, body));
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.state.lock().unwrap().stored.keys().cloned().collect()
    }

    pub(super) fn bulks(&self) -> Vec<usize> {
        self.state.lock().unwrap().bulks.clone()
    }

    /// Returns the bodies of all calls with this method and path.
    pub(super) fn calls(&self, call: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|(name, _)| name == call).map(|(_, body)| body.clone()).collect()
    }
}

/// Responds to the requests of one connection.
fn serve(stream: &TcpStream, state: &Mutex<FakeState>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => {
                    // Not HTTP; real servers respond in plain text, too.
                    let _ = (&*stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                    return;
                }
            }
        }
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| {
                line.strip_prefix("content-length: ").map(|text| text.parse().unwrap())
            })
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let Some((status, answer)) = answer(method, path, &body, state) else { return };
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if (&*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Returns status and body, or `None` to close the connection.
fn answer(
    method: &str,
    path: &str,
    body: &[u8],
    state: &Mutex<FakeState>,
) -> Option<(u16, String)> {
    if path.starts_with("/_bulk") {
        let fault = state.lock().unwrap().faults.pop_front();
        if matches!(fault, Some(Fault::Silence)) {
            std::thread::sleep(SILENCE);
            return None;
        }
        return bulk(body, fault.as_ref(), &mut state.lock().unwrap());
    }
    let mut state = state.lock().unwrap();
    let call = format!("{method} {path}");
    state.calls.push((call.clone(), serde_json::from_slice(body).unwrap_or_default()));
    if let Some((status, body)) = state.fixed.get(&call) {
        return Some((*status, body.to_string()));
    }
    let mapping_path = format!("/{INDEX}/_mapping");
    let (status, answer) = match (method, path) {
        ("GET", "/") => {
            (200, json!({"version": {"number": "3.8.0", "distribution": "opensearch"}}))
        }
        ("GET", path) if path == mapping_path => match &state.mapping {
            Some(mapping) => (200, json!({ INDEX: { "mappings": mapping } })),
            None => (404, json!({"error": {"type": "index_not_found_exception"}})),
        },
        ("PUT", path) if path == mapping_path => {
            let last = state.calls.last().unwrap().1.clone();
            state.put_mapping.pop_front().unwrap_or_else(|| {
                properties::merge(
                    &mut state.mapping.as_mut().unwrap()["properties"],
                    &last["properties"],
                );
                (200, json!({"acknowledged": true}))
            })
        }
        ("PUT", path) if path == format!("/{INDEX}") => {
            let mut mapping = core_mapping();
            let asked = &state.calls.last().unwrap().1["mappings"]["properties"];
            properties::merge(&mut mapping["properties"], asked);
            state.mapping = Some(mapping);
            if let Some(on_create) = state.on_create.take() {
                on_create();
            }
            (200, json!({"acknowledged": true}))
        }
        ("PUT", INDEX_TEMPLATE) => {
            state.index_template = state.calls.last().map(|(_, put)| put.clone());
            (200, json!({"acknowledged": true}))
        }
        ("GET", INDEX_TEMPLATE) if state.index_template.is_some() => {
            let template = json!({"name": "trail", "index_template": state.index_template});
            (200, json!({"index_templates": [template]}))
        }
        ("GET", COMPONENT_TEMPLATE) if state.component_template.is_some() => {
            let template =
                json!({"name": "trail-discovered", "component_template": state.component_template});
            (200, json!({"component_templates": [template]}))
        }
        ("PUT", COMPONENT_TEMPLATE) => {
            let put = state.calls.last().unwrap().1.clone();
            let has_fields = !properties::is_empty(&put["template"]["mappings"]["properties"]);
            let theirs = if has_fields { state.replacement.take() } else { None };
            state.component_template = Some(theirs.unwrap_or(put));
            (200, json!({"acknowledged": true}))
        }
        ("GET", _) => (404, json!({"error": {"type": "resource_not_found_exception"}})),
        _ => (200, json!({"acknowledged": true})),
    };
    Some((status, answer.to_string()))
}

fn bulk(body: &[u8], fault: Option<&Fault>, state: &mut FakeState) -> Option<(u16, String)> {
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let documents = lines.len() / 2;
    state.bulks.push(documents);
    if state.max_bytes.is_some_and(|max| body.len() > max) {
        return Some((413, String::new()));
    }
    let kept = match fault {
        Some(Fault::Whole(status, answer)) => return Some((*status, (*answer).to_owned())),
        Some(Fault::Reset | Fault::Silence) => return None,
        Some(Fault::HalfThenReset) => documents / 2,
        _ => documents,
    };
    let mut items = String::new();
    for (number, pair) in lines.chunks(2).take(kept).enumerate() {
        let (names, rest) = item(number, pair, fault, state);
        write!(items, "{{\"create\":{{{names},{rest}}}}},").unwrap();
    }
    items.pop();
    match fault {
        Some(Fault::HalfThenReset) => None,
        Some(Fault::OneItemLess) => {
            let cut = items.rfind(",{").unwrap();
            Some((200, format!("{{\"errors\":true,\"items\":[{}]}}", &items[..cut])))
        }
        _ => {
            let errors = items.contains("error");
            Some((200, format!("{{\"errors\":{errors},\"items\":[{items}]}}")))
        }
    }
}

/// Returns the names of an item, and the rest of it.
fn item(
    number: usize,
    pair: &[&[u8]],
    fault: Option<&Fault>,
    state: &mut FakeState,
) -> (String, String) {
    let action: Value = serde_json::from_slice(pair[0]).unwrap();
    let (index, mut id) = (&action["create"]["_index"], action["create"]["_id"].clone());
    let (status, code) = match (fault, state.unwritable) {
        (Some(Fault::Item(status, code)), _) if number == 0 => (*status, *code),
        (Some(Fault::Each(rest)), _) => {
            return (format!("\"_index\":{index},\"_id\":{id}"), (*rest).to_owned());
        }
        (_, Some((unwritable, rest))) if index == unwritable => {
            return (format!("\"_index\":{index},\"_id\":{id}"), rest.to_owned());
        }
        (Some(Fault::Renamed(other)), _) => {
            id = json!(other);
            store(&[json!({ "create": { "_id": other } }).to_string().as_bytes(), pair[1]], state)
        }
        _ => store(pair, state),
    };
    let reason = match code {
        "cluster_block_exception" => FLOOD_STAGE,
        _ => "…",
    };
    let rest = match status {
        201 => "\"result\":\"created\",\"status\":201".to_owned(),
        _ => {
            format!("\"status\":{status},\"error\":{{\"type\":\"{code}\",\"reason\":\"{reason}\"}}")
        }
    };
    (format!("\"_index\":{index},\"_id\":{id}"), rest)
}

/// The reason of engines while a disk is full.
const FLOOD_STAGE: &str = "index [trail-2024.06] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];";

fn store(pair: &[&[u8]], state: &mut FakeState) -> (u16, &'static str) {
    let action: Value = serde_json::from_slice(pair[0]).unwrap();
    let document: Value = serde_json::from_slice(pair[1]).unwrap();
    let id = action["create"]["_id"].as_str().unwrap().to_owned();
    if is_rejected(&document) {
        return (400, "mapper_parsing_exception");
    }
    if state.stored.contains_key(&id) {
        return (409, "version_conflict_engine_exception");
    }
    state.stored.insert(id, document);
    (201, "")
}

/// Returns whether the mapping rejects a document: for a value under `clash`, anything under `bad`, and the word `hopeless`
/// anywhere.
fn is_rejected(document: &Value) -> bool {
    document.get("clash").is_some_and(|clash| !clash.is_object())
        || document.get("bad").is_some()
        || document.to_string().contains("hopeless")
}
