//! A fake engine in this process: a model strict enough to catch what a real engine would refuse.
//!
//! In: HTTP requests on a free port of 127.0.0.1. Out: answers in the words of OpenSearch or
//! Elasticsearch, or one of the scripted [`Fault`]s. What it holds is read directly by the test.
//! Holds: a document is stored only if the index's mapping takes it, and never replaced.
//! Absent on purpose: search, shards, dynamic mapping.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};

use super::json::{self, Json};
use super::mapping::Mapping;
use super::wire::{self, Request};

/// Whose words the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    OpenSearch,
    Elasticsearch,
}

/// What goes wrong with one bulk request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The whole request is answered with this status, and nothing is stored.
    Status(u16),
    /// Every n-th item is answered with this status; the others are stored.
    ItemStatus { every: usize, status: u16 },
    /// The connection is reset before the body was read.
    ResetBefore,
    /// Everything is stored, but the answer ends in its middle.
    ResetInside,
    /// The first half of the items is stored, then the connection closes without an answer.
    HalfAccepted,
    /// Nothing is stored and nothing answered; after this long the connection closes.
    Hang(Duration),
    /// Everything is stored; the answer comes so late.
    Slow(Duration),
    /// A page of a proxy that knows nothing of engines, with status 200; nothing is stored.
    Html,
    /// A page of a proxy with this status; nothing is stored.
    HtmlStatus(u16),
    /// Everything is stored, but the answer has one item too few.
    ItemMissing,
    /// Everything is stored; the answer is `{}`.
    EmptyAnswer,
}

/// One index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) mapping: Mapping,
    pub(crate) documents: BTreeMap<String, Vec<u8>>,
    limit: usize,
}

/// What was asked of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) requests: usize,
    pub(crate) bulks: usize,
    pub(crate) items: usize,
    pub(crate) mapping_calls: usize,
    pub(crate) writes: usize,
    pub(crate) gzip_bodies: usize,
    pub(crate) largest_bulk_bytes: usize,
}

type Refuse = Box<dyn Fn(&[u8]) -> Option<(u16, String)> + Send>;

struct State {
    flavour: Flavour,
    indices: BTreeMap<String, Index>,
    index_templates: BTreeMap<String, Value>,
    component_templates: BTreeMap<String, Value>,
    faults: VecDeque<Option<Fault>>,
    asked: Asked,
    refuse: Option<Refuse>,
    other_loader: Vec<Value>,
    credentials: Option<String>,
    longest_body_bytes: usize,
    bulk_only: bool,
    complaints: Vec<String>,
    repeated: HashMap<String, usize>,
    over: bool,
}

/// The engine; it ends when this is dropped.
pub(crate) struct FakeEngine {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl FakeEngine {
    /// Starts an OpenSearch.
    pub(crate) fn start() -> FakeEngine {
        FakeEngine::start_as(Flavour::OpenSearch)
    }

    /// Starts an engine of that flavour.
    pub(crate) fn start_as(flavour: Flavour) -> FakeEngine {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            flavour,
            indices: BTreeMap::new(),
            index_templates: BTreeMap::new(),
            component_templates: BTreeMap::new(),
            faults: VecDeque::new(),
            asked: Asked::default(),
            refuse: None,
            other_loader: Vec::new(),
            credentials: None,
            longest_body_bytes: 100 << 20,
            bulk_only: false,
            complaints: Vec::new(),
            repeated: HashMap::new(),
            over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        FakeEngine { url, shared }
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> &FakeEngine {
        change(&mut self.shared.state());
        self
    }

    /// Lets the next bulk requests go wrong so, in this order; `None` lets one pass.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) -> &FakeEngine {
        self.change(|state| state.faults.extend(faults))
    }

    /// Lets the next `times` bulk requests go wrong in the same way.
    pub(crate) fn fail(&self, times: usize, fault: &Fault) -> &FakeEngine {
        self.script(std::iter::repeat_n(Some(fault.clone()), times))
    }

    /// Forgets the faults that have not happened yet.
    pub(crate) fn heal(&self) {
        self.change(|state| {
            state.faults.clear();
            state.refuse = None;
        });
    }

    /// Refuses each document for which `why` gives a status and a reason.
    pub(crate) fn refuse(
        &self,
        why: impl Fn(&[u8]) -> Option<(u16, String)> + Send + 'static,
    ) -> &FakeEngine {
        self.change(|state| state.refuse = Some(Box::new(why)))
    }

    /// Lets another loader put these properties just before our next mapping call.
    pub(crate) fn another_loader_decides(&self, properties: Value) -> &FakeEngine {
        self.change(|state| state.other_loader.push(json!({ "properties": properties })))
    }

    /// Asks for this `authorization` header from now on.
    pub(crate) fn require(&self, authorization: &str) -> &FakeEngine {
        self.change(|state| state.credentials = Some(authorization.to_owned()))
    }

    /// Answers 413 to longer bodies from now on.
    pub(crate) fn limit_bodies(&self, bytes: usize) -> &FakeEngine {
        self.change(|state| state.longest_body_bytes = bytes)
    }

    /// Answers `{}` to everything but bulk requests, as some write-only endpoints do.
    pub(crate) fn answer_bulk_only(&self) -> &FakeEngine {
        self.change(|state| state.bulk_only = true)
    }

    /// Returns what was asked so far.
    pub(crate) fn asked(&self) -> Asked {
        self.shared.state().asked
    }

    /// Waits until `enough` holds of what was asked; returns whether it came to be in time.
    pub(crate) fn wait_until(&self, within: Duration, enough: impl Fn(Asked) -> bool) -> bool {
        let state = self.shared.state();
        let waited =
            self.shared.changed.wait_timeout_while(state, within, |state| !enough(state.asked));
        !waited.unwrap_or_else(std::sync::PoisonError::into_inner).1.timed_out()
    }

    /// Returns the ids of all documents, over all indices.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.each(|_, index| index.documents.keys().cloned().collect::<Vec<_>>())
            .into_iter()
            .flatten()
            .collect()
    }

    /// Returns how many documents are held, over all indices.
    pub(crate) fn count(&self) -> usize {
        self.each(|_, index| index.documents.len()).into_iter().sum()
    }

    /// Returns what `what` says of each index.
    pub(crate) fn each<T>(&self, what: impl Fn(&str, &Index) -> T) -> Vec<T> {
        self.shared.state().indices.iter().map(|(name, index)| what(name, index)).collect()
    }

    /// Returns the names of the indices.
    pub(crate) fn index_names(&self) -> Vec<String> {
        self.each(|name, _| name.to_owned())
    }

    /// Returns a document by its id, from whichever index holds it.
    pub(crate) fn document(&self, id: &str) -> Option<Json> {
        self.document_text(id).map(|bytes| json::read(&bytes).unwrap())
    }

    /// Returns the bytes of a document.
    pub(crate) fn document_text(&self, id: &str) -> Option<Vec<u8>> {
        self.each(|_, index| index.documents.get(id).cloned()).into_iter().flatten().next()
    }

    /// Returns all documents by index and id, in a form that compares by meaning.
    pub(crate) fn documents(&self) -> BTreeMap<(String, String), Json> {
        let all = self.each(|name, index| {
            let name = name.to_owned();
            let documents = index.documents.iter();
            documents
                .map(move |(id, bytes)| {
                    ((name.clone(), id.clone()), json::read(bytes).unwrap().sorted())
                })
                .collect::<Vec<_>>()
        });
        all.into_iter().flatten().collect()
    }

    /// Returns the type of every field by its path, over all indices.
    pub(crate) fn kinds(&self) -> BTreeMap<String, String> {
        self.each(|_, index| index.mapping.kinds()).into_iter().flatten().collect()
    }

    /// Returns how often documents were sent for each of these ids, also when they were there already.
    pub(crate) fn sendings(&self, ids: &BTreeSet<String>) -> usize {
        let state = self.shared.state();
        let sent = state
            .repeated
            .iter()
            .filter(|(key, _)| key.rsplit('/').next().is_some_and(|id| ids.contains(id)));
        sent.map(|(_, times)| times).sum()
    }

    /// Returns how often a document was sent for the id that was sent most.
    pub(crate) fn most_sendings_of_one_id(&self) -> usize {
        self.shared.state().repeated.values().copied().max().unwrap_or(0)
    }

    /// Returns the templates' names, both sorts.
    pub(crate) fn template_names(&self) -> Vec<String> {
        let state = self.shared.state();
        state.index_templates.keys().chain(state.component_templates.keys()).cloned().collect()
    }

    /// Puts a template, as somebody else would have.
    pub(crate) fn put_index_template(&self, name: &str, template: Value) {
        self.change(|state| {
            state.index_templates.insert(name.to_owned(), template);
        });
    }

    /// Fails if the loader misused the protocol, or left anything to dynamic mapping.
    pub(crate) fn assert_no_complaints(&self) {
        let complaints = &self.shared.state().complaints;
        assert!(complaints.is_empty(), "the engine complains: {complaints:#?}");
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts; it sees that the engine is over.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state().over {
            return;
        }
        let (Ok(stream), theirs) = (stream, Arc::clone(shared)) else { continue };
        // Documents may be a thousand levels deep, and the reader is recursive.
        let builder = std::thread::Builder::new().stack_size(16 << 20);
        builder.spawn(move || serve(stream, &theirs)).unwrap();
    }
}

/// Serves one connection until the client closes it or a fault does.
fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = wire::read_head(&mut reader) {
        let bulk = request.path.ends_with("/_bulk");
        let fault = if bulk { shared.state().faults.pop_front().flatten() } else { None };
        if matches!(fault, Some(Fault::ResetBefore)) {
            note(shared, &request);
            return; // Unread bytes make the kernel send a reset.
        }
        if request.header("expect").is_some()
            && writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err()
        {
            return;
        }
        let Some(body) = wire::read_body(&mut reader, &request.headers) else { return };
        request.body = body;
        note(shared, &request);
        let Some(bytes) = reply(shared, &request, fault) else { return };
        if writer.write_all(&bytes.0).is_err() || bytes.1 {
            return;
        }
    }
}

fn note(shared: &Shared, request: &Request) {
    let mut state = shared.state();
    let asked = &mut state.asked;
    asked.requests += 1;
    let bulk = request.path.ends_with("/_bulk");
    asked.bulks += usize::from(bulk);
    asked.writes += usize::from(!matches!(request.method.as_str(), "GET" | "HEAD"));
    asked.mapping_calls +=
        usize::from(request.method == "PUT" && request.path.ends_with("/_mapping"));
    if bulk {
        asked.largest_bulk_bytes = asked.largest_bulk_bytes.max(request.body.len());
    }
    shared.changed.notify_all();
}

/// Returns the bytes to send and whether to close then; `None` to close at once.
fn reply(shared: &Shared, request: &Request, fault: Option<Fault>) -> Option<(Vec<u8>, bool)> {
    let kind = "application/json; charset=UTF-8";
    let whole = |(status, body): (u16, Value)| {
        let body = serde_json::to_vec(&body).unwrap();
        wire::answer(status, kind, &body, request.method == "HEAD")
    };
    match fault {
        Some(Fault::Status(status)) => Some((whole((status, status_error(status))), false)),
        Some(Fault::HtmlStatus(status)) => Some((html(status), false)),
        Some(Fault::Html) => Some((html(200), false)),
        Some(Fault::Hang(time)) => {
            wait(shared, time);
            None
        }
        Some(Fault::HalfAccepted) => {
            let _ = shared.state().handle(request, &Some(Fault::HalfAccepted));
            shared.changed.notify_all();
            None
        }
        Some(Fault::ResetInside) => {
            let bytes = whole(shared.state().handle(request, &None));
            Some((bytes[..bytes.len() / 2].to_vec(), true))
        }
        fault => {
            let answer = shared.state().handle(request, &fault);
            shared.changed.notify_all();
            if let Some(Fault::Slow(time)) = fault {
                wait(shared, time);
            }
            Some((whole(answer), false))
        }
    }
}

fn html(status: u16) -> Vec<u8> {
    let page = b"<html><head><title>Gateway</title></head><body><h1>It works</h1></body></html>";
    wire::answer(status, "text/html", page, false)
}

fn wait(shared: &Shared, time: Duration) {
    let waited = shared.changed.wait_timeout_while(shared.state(), time, |state| !state.over);
    drop(waited);
}

fn status_error(status: u16) -> Value {
    let (kind, reason) = match status {
        401 => {
            ("security_exception", "missing authentication credentials for REST request [/_bulk]")
        }
        403 => (
            "security_exception",
            "no permissions for [indices:data/write/bulk] and User [name=loader]",
        ),
        413 => ("content_too_long", "Request Entity Too Large"),
        429 => ("es_rejected_execution_exception", "rejected execution of coordinating operation"),
        503 => (
            "cluster_block_exception",
            "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];",
        ),
        _ => ("exception", "something went wrong"),
    };
    error(status, kind, reason)
}

fn error(status: u16, kind: &str, reason: &str) -> Value {
    let cause = json!({ "type": kind, "reason": reason });
    json!({ "error": { "root_cause": [cause], "type": kind, "reason": reason }, "status": status })
}

type Answer = (u16, Value);

fn refused(status: u16, kind: &str, reason: &str) -> Answer {
    (status, error(status, kind, reason))
}

fn acknowledged() -> Answer {
    (200, json!({ "acknowledged": true }))
}

impl State {
    fn handle(&mut self, request: &Request, fault: &Option<Fault>) -> Answer {
        if let Some(wanted) = &self.credentials
            && request.header("authorization") != Some(wanted.as_str())
        {
            return refused(
                401,
                "security_exception",
                "unable to authenticate user for REST request",
            );
        }
        if request.body.len() > self.longest_body_bytes {
            return (413, json!({}));
        }
        if !request.body.is_empty()
            && !request.header("content-type").is_some_and(|kind| kind.contains("json"))
        {
            self.complaints
                .push(format!("{} {} without a content type", request.method, request.path));
            return refused(
                406,
                "media_type_header_exception",
                "Content-Type header [] is not supported",
            );
        }
        let Some(body) = self.unpacked(request) else {
            return refused(
                400,
                "parse_exception",
                "the body is not what its content-encoding says",
            );
        };
        let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(&"_bulk") = parts.last() {
            let answer =
                self.bulk(parts.first().copied().filter(|_| parts.len() == 2), &body, fault);
            return (answer.0, filtered(answer.1, request.parameter("filter_path")));
        }
        if self.bulk_only {
            return (200, json!({}));
        }
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if !body.is_empty() && json.is_null() {
            return refused(400, "parse_exception", "request body is not JSON");
        }
        let answer = self.route(&request.method, &parts, &json, request);
        if answer.0 >= 400 && answer.0 != 404 && self.other_loader.is_empty() {
            self.complaints.push(format!("{} {}: {}", request.method, request.path, answer.1));
        }
        (answer.0, filtered(answer.1, request.parameter("filter_path")))
    }

    fn unpacked(&mut self, request: &Request) -> Option<Vec<u8>> {
        if request.header("content-encoding") != Some("gzip") {
            return Some(request.body.clone());
        }
        self.asked.gzip_bodies += 1;
        let mut body = Vec::new();
        MultiGzDecoder::new(request.body.as_slice()).read_to_end(&mut body).ok()?;
        Some(body)
    }

    fn route(&mut self, method: &str, parts: &[&str], body: &Value, request: &Request) -> Answer {
        match (method, parts) {
            ("GET" | "HEAD", []) => (200, self.about()),
            (_, ["_index_template", name]) => self.index_template(method, name, body),
            (_, ["_component_template", name]) => self.component_template(method, name, body),
            ("GET", ["_cluster", "health", ..]) => {
                (200, json!({ "status": "green", "number_of_nodes": 1, "timed_out": false }))
            }
            ("GET" | "POST", ["_refresh" | "_flush"] | [_, "_refresh" | "_flush"]) => {
                (200, json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
            }
            ("GET", ["_mapping"]) => self.mappings("*"),
            ("GET", [name, "_mapping"]) => self.mappings(name),
            ("PUT" | "POST", [name, "_mapping"]) => self.put_mapping(name, body),
            ("GET" | "POST", [name, "_count"]) => {
                let count: usize =
                    self.matching(name).iter().map(|name| self.indices[name].documents.len()).sum();
                (200, json!({ "count": count }))
            }
            ("GET" | "PUT", [name, "_settings"]) => self.settings(method, name),
            ("HEAD" | "GET", [name]) if !name.starts_with('_') => self.index(name, request),
            ("PUT", [name]) if !name.starts_with('_') => self.create(name, body),
            ("DELETE", [name]) if !name.starts_with('_') => {
                self.matching(name).iter().for_each(|name| drop(self.indices.remove(name)));
                acknowledged()
            }
            _ => {
                let text =
                    format!("no handler found for uri [{}] and method [{method}]", request.path);
                (400, json!({ "error": text, "status": 400 }))
            }
        }
    }

    fn about(&self) -> Value {
        match self.flavour {
            Flavour::OpenSearch => json!({
                "name": "fake", "cluster_name": "fake", "cluster_uuid": "f", "tagline": "The OpenSearch Project: https://opensearch.org/",
                "version": { "distribution": "opensearch", "number": "3.8.0", "build_type": "tar", "lucene_version": "10.3.2",
                    "minimum_wire_compatibility_version": "2.19.0", "minimum_index_compatibility_version": "2.0.0" }
            }),
            Flavour::Elasticsearch => json!({
                "name": "fake", "cluster_name": "fake", "cluster_uuid": "f", "tagline": "You Know, for Search",
                "version": { "number": "9.5.3", "build_flavor": "default", "build_type": "tar", "lucene_version": "10.3.2",
                    "minimum_wire_compatibility_version": "8.19.0", "minimum_index_compatibility_version": "8.0.0" }
            }),
        }
    }

    fn index_template(&mut self, method: &str, name: &str, body: &Value) -> Answer {
        match method {
            "PUT" | "POST" => {
                if self.flavour == Flavour::OpenSearch
                    && body.get("ignore_missing_component_templates").is_some()
                {
                    return refused(
                        400,
                        "x_content_parse_exception",
                        "[1:1] [index_template] unknown field [ignore_missing_component_templates]",
                    );
                }
                if let Err(reason) = self.composed(body) {
                    let text = format!("index template [{name}] invalid, cause [{reason}]");
                    return refused(400, "invalid_index_template_exception", &text);
                }
                self.index_templates.insert(name.to_owned(), body.clone());
                acknowledged()
            }
            "DELETE" => {
                self.index_templates.remove(name);
                acknowledged()
            }
            _ => match self.index_templates.get(name) {
                None => refused(
                    404,
                    "resource_not_found_exception",
                    &format!("index template matching [{name}] not found"),
                ),
                Some(template) => (
                    200,
                    json!({ "index_templates": [{ "name": name, "index_template": template }] }),
                ),
            },
        }
    }

    fn component_template(&mut self, method: &str, name: &str, body: &Value) -> Answer {
        match method {
            "PUT" | "POST" => {
                let before = self.component_templates.insert(name.to_owned(), body.clone());
                let users: Vec<_> = self.index_templates.values().cloned().collect();
                let wrong = users
                    .iter()
                    .filter(|user| components(user).contains(&name))
                    .find_map(|user| self.composed(user).err());
                let alone = Mapping::default()
                    .merged(&body["template"]["mappings"], usize::MAX)
                    .err()
                    .filter(|reason| !reason.contains("alias"));
                let Some(reason) = wrong.or(alone) else { return acknowledged() };
                match before {
                    Some(before) => self.component_templates.insert(name.to_owned(), before),
                    None => self.component_templates.remove(name),
                };
                refused(
                    400,
                    "illegal_argument_exception",
                    &format!(
                        "updating component template [{name}] results in invalid composable template after templates are merged: {reason}"
                    ),
                )
            }
            "DELETE" => {
                self.component_templates.remove(name);
                acknowledged()
            }
            _ => match self.component_templates.get(name) {
                None => refused(
                    404,
                    "resource_not_found_exception",
                    &format!("component template matching [{name}] not found"),
                ),
                Some(template) => (
                    200,
                    json!({ "component_templates": [{ "name": name, "component_template": template }] }),
                ),
            },
        }
    }

    /// Returns the mapping and field limit that a template gives, all its components merged.
    fn composed(&self, template: &Value) -> Result<(Mapping, usize), String> {
        let mut parts = Vec::new();
        for name in components(template) {
            let component = self.component_templates.get(name);
            let ignored = template["ignore_missing_component_templates"].as_array();
            match component {
                Some(component) => parts.push(&component["template"]),
                None if ignored.is_some_and(|names| names.contains(&json!(name))) => {}
                None => return Err(format!("component templates [{name}] that do not exist")),
            }
        }
        parts.push(&template["template"]);
        let limit = parts
            .iter()
            .filter_map(|part| field_limit(&part["settings"]))
            .next_back()
            .unwrap_or(1_000);
        // Aliases may point into another component: all properties first, then one merge.
        let mut mapping = Mapping::default();
        let mut aliases = Vec::new();
        for part in parts {
            match mapping.merged(&part["mappings"], limit) {
                Ok(merged) => mapping = merged,
                Err(reason) if reason.contains("alias must refer") => {
                    aliases.push(&part["mappings"])
                }
                Err(reason) => return Err(reason),
            }
        }
        for late in aliases {
            mapping = mapping.merged(late, limit)?;
        }
        Ok((mapping, limit))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let fits = |name: &&String| {
            pattern.split(',').any(|pattern| pattern == "_all" || glob(pattern, name))
        };
        self.indices.keys().filter(fits).cloned().collect()
    }

    fn mappings(&self, pattern: &str) -> Answer {
        let names = self.matching(pattern);
        if names.is_empty() && !pattern.contains('*') {
            return refused(
                404,
                "index_not_found_exception",
                &format!("no such index [{pattern}]"),
            );
        }
        let shown = names.into_iter().map(|name| {
            let mapping = self.indices[&name].mapping.shown();
            (name, json!({ "mappings": mapping }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    fn put_mapping(&mut self, pattern: &str, body: &Value) -> Answer {
        let names = self.matching(pattern);
        if names.is_empty() {
            return refused(
                404,
                "index_not_found_exception",
                &format!("no such index [{pattern}]"),
            );
        }
        for other in std::mem::take(&mut self.other_loader) {
            for name in &names {
                let index = self.indices.get_mut(name).unwrap();
                index.mapping =
                    index.mapping.merged(&other, index.limit).expect("what the other loader puts");
            }
            if names.iter().any(|name| self.indices[name].mapping.merged(body, usize::MAX).is_err())
            {
                let index = &self.indices[&names[0]];
                let reason = index.mapping.merged(body, index.limit).unwrap_err();
                return refused(400, "illegal_argument_exception", &reason);
            }
        }
        for name in &names {
            let index = self.indices.get_mut(name).unwrap();
            match index.mapping.merged(body, index.limit) {
                Ok(merged) => index.mapping = merged,
                Err(reason) => return refused(400, "illegal_argument_exception", &reason),
            }
        }
        acknowledged()
    }

    fn settings(&mut self, method: &str, pattern: &str) -> Answer {
        if method == "PUT" {
            return acknowledged();
        }
        let shown = self.matching(pattern).into_iter().map(|name| {
            let limit = self.indices[&name].limit.to_string();
            let settings = json!({ "index": { "mapping": { "total_fields": { "limit": limit } }, "number_of_shards": "1" } });
            (name, json!({ "settings": settings }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    fn index(&self, name: &str, request: &Request) -> Answer {
        let names = self.matching(name);
        if names.is_empty() && !request.path.contains('*') {
            return refused(404, "index_not_found_exception", &format!("no such index [{name}]"));
        }
        let shown = names.into_iter().map(|name| {
            let mapping = self.indices[&name].mapping.shown();
            (name, json!({ "aliases": {}, "mappings": mapping, "settings": {} }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    fn create(&mut self, name: &str, body: &Value) -> Answer {
        if self.indices.contains_key(name) {
            return refused(
                400,
                "resource_already_exists_exception",
                &format!("index [{name}/x] already exists"),
            );
        }
        match self.new_index(name, body) {
            Ok(()) => {
                (200, json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }))
            }
            Err(reason) => refused(400, "mapper_parsing_exception", &reason),
        }
    }

    fn new_index(&mut self, name: &str, body: &Value) -> Result<(), String> {
        let wrong = name.is_empty()
            || name.starts_with(['_', '-', '+'])
            || name.len() > 255
            || name.contains(|c: char| c.is_uppercase() || "\\/*?\"<>| ,#:".contains(c));
        if wrong {
            return Err(format!("Invalid index name [{name}]"));
        }
        let fits = |template: &&Value| {
            let patterns = template["index_patterns"].as_array();
            patterns
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .any(|pattern| glob(pattern, name))
        };
        let template =
            self.index_templates.values().filter(fits).max_by_key(|t| t["priority"].as_u64());
        let (mapping, limit) = match template {
            Some(template) => self.composed(template)?,
            None => (Mapping::default(), 1_000),
        };
        let limit = field_limit(&body["settings"]).unwrap_or(limit);
        let mapping = mapping.merged(&body["mappings"], limit)?;
        if !matches!(mapping.head.get("dynamic"), Some(Value::Bool(false)))
            && mapping.head.get("dynamic") != Some(&json!("false"))
        {
            self.complaints.push(format!("index {name} would map dynamically"));
        }
        self.indices.insert(name.to_owned(), Index { mapping, limit, documents: BTreeMap::new() });
        Ok(())
    }

    fn bulk(&mut self, default_index: Option<&str>, body: &[u8], fault: &Option<Fault>) -> Answer {
        if body.last() != Some(&b'\n') {
            self.complaints.push("a bulk body without a newline at its end".to_owned());
            return refused(
                400,
                "illegal_argument_exception",
                "The bulk request must be terminated by a newline [\\n]",
            );
        }
        let lines: Vec<&[u8]> = body[..body.len() - 1].split(|byte| *byte == b'\n').collect();
        let mut pairs = Vec::new();
        for (number, pair) in lines.chunks(2).enumerate() {
            let action = serde_json::from_slice::<Value>(pair[0]).ok();
            let (Some(action), [_, document]) =
                (action.as_ref().and_then(|a| a["create"].as_object()), pair)
            else {
                self.complaints.push(format!(
                    "a bulk body with a bad action line: {}",
                    String::from_utf8_lossy(&pair[0][..pair[0].len().min(200)])
                ));
                return refused(
                    400,
                    "illegal_argument_exception",
                    &format!(
                        "Malformed action/metadata line [{}], expected START_OBJECT",
                        2 * number + 1
                    ),
                );
            };
            let index =
                action.get("_index").and_then(Value::as_str).or(default_index).unwrap_or_default();
            let id = action.get("_id").and_then(Value::as_str).unwrap_or_default();
            if id.is_empty() || id.len() > 512 {
                self.complaints.push(format!("an id of {} bytes", id.len()));
                return refused(
                    400,
                    "action_request_validation_exception",
                    "id is too long, must be no longer than 512 bytes",
                );
            }
            pairs.push((index.to_owned(), id.to_owned(), *document));
        }
        self.bulk_items(&pairs, fault)
    }

    fn bulk_items(&mut self, pairs: &[(String, String, &[u8])], fault: &Option<Fault>) -> Answer {
        let taken = match fault {
            Some(Fault::HalfAccepted) => pairs.len().div_ceil(2),
            _ => pairs.len(),
        };
        let mut items = Vec::new();
        for (number, (index, id, document)) in pairs[..taken].iter().enumerate() {
            self.asked.items += 1;
            let mut item = match fault {
                Some(Fault::ItemStatus { every, status }) if number % every == 0 => {
                    status_error(*status)
                }
                _ => self.item(index, id, document),
            };
            let answer = item.as_object_mut().unwrap();
            if let Some(Value::Object(error)) = answer.get_mut("error") {
                error.remove("root_cause");
            }
            answer.insert("_index".to_owned(), json!(index));
            answer.insert("_id".to_owned(), json!(id));
            items.push(json!({ "create": item }));
        }
        let errors = items.iter().any(|item| item["create"]["status"].as_u64() != Some(201));
        match fault {
            Some(Fault::ItemMissing) => drop(items.pop()),
            Some(Fault::EmptyAnswer) => return (200, json!({})),
            _ => {}
        }
        (200, json!({ "took": 3, "errors": errors, "items": items }))
    }

    fn item(&mut self, index: &str, id: &str, document: &[u8]) -> Value {
        if !self.indices.contains_key(index)
            && let Err(reason) = self.new_index(index, &json!({}))
        {
            return error(400, "invalid_index_name_exception", &reason);
        }
        *self.repeated.entry(format!("{index}/{id}")).or_default() += 1;
        if let Some((status, reason)) = self.refuse.as_ref().and_then(|refuse| refuse(document)) {
            return error(status, self.parsing_exception(), &reason);
        }
        let parsed = match json::read(document) {
            Ok(parsed) => parsed,
            Err(reason) => return self.unreadable(&reason),
        };
        let held = self.indices.get_mut(index).unwrap();
        if let Some(reason) = held.mapping.refusal(&parsed) {
            return self.unfitting(id, &reason);
        }
        if held.documents.contains_key(id) {
            let reason =
                format!("[{id}]: version conflict, document already exists (current version [1])");
            return error(409, "version_conflict_engine_exception", &reason);
        }
        held.documents.insert(id.to_owned(), document.to_vec());
        json!({ "_version": 1, "result": "created", "_seq_no": 0, "_primary_term": 1, "status": 201 })
    }

    fn parsing_exception(&self) -> &'static str {
        match self.flavour {
            Flavour::OpenSearch => "mapper_parsing_exception",
            Flavour::Elasticsearch => "document_parsing_exception",
        }
    }

    fn unreadable(&self, reason: &str) -> Value {
        let mut answer = error(400, self.parsing_exception(), "failed to parse");
        answer["error"]["caused_by"] = json!({ "type": "json_parse_exception", "reason": reason });
        answer
    }

    fn unfitting(&self, id: &str, reason: &str) -> Value {
        let at = if self.flavour == Flavour::Elasticsearch { "[1:20] " } else { "" };
        let reason = match reason.strip_suffix(" in document") {
            Some(start) => format!(
                "{at}{start} in document with id '{id}'. Preview of field's value: '{{x=1}}'"
            ),
            None => format!("{at}{reason}"),
        };
        error(400, self.parsing_exception(), &reason)
    }
}

fn components(template: &Value) -> Vec<&str> {
    template["composed_of"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn field_limit(settings: &Value) -> Option<usize> {
    let settings = settings.as_object()?;
    let whole = Value::Object(settings.clone());
    let dotted = ["index.mapping.total_fields.limit", "mapping.total_fields.limit"];
    let found = dotted.iter().find_map(|name| settings.get(*name)).cloned().or_else(|| {
        let nested = ["/index/mapping/total_fields/limit", "/mapping/total_fields/limit"];
        let mixed = [
            whole["index"].get("mapping.total_fields.limit"),
            whole["mapping"].get("total_fields.limit"),
        ];
        nested
            .iter()
            .find_map(|path| whole.pointer(path))
            .or(mixed.into_iter().flatten().next())
            .cloned()
    })?;
    found
        .as_u64()
        .or_else(|| found.as_str()?.parse().ok())
        .and_then(|limit| usize::try_from(limit).ok())
}

/// Returns whether a name fits a pattern in which `*` stands for anything.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(after) = name.strip_prefix(start) else { return false };
            (0..=after.len())
                .filter(|at| after.is_char_boundary(*at))
                .any(|at| glob(rest, &after[at..]))
        }
    }
}

/// Returns what `filter_path` leaves of an answer; an item that loses everything disappears, as on the engines.
fn filtered(answer: Value, filter: Option<String>) -> Value {
    let Some(filter) = filter else { return answer };
    let paths: Vec<Vec<&str>> = filter.split(',').map(|path| path.split('.').collect()).collect();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    kept(&answer, &paths).unwrap_or_else(|| json!({}))
}

fn kept(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().filter_map(|item| kept(item, paths)).collect();
            (!items.is_empty()).then(|| items.into())
        }
        Value::Object(members) => {
            let members: Map<String, Value> = members
                .iter()
                .filter_map(|(key, value)| {
                    let mut inner: Vec<&[&str]> = Vec::new();
                    for path in paths {
                        match path[0] {
                            "**" => {
                                inner.push(path);
                                if path.get(1).is_some_and(|next| glob(next, key)) {
                                    inner.push(&path[2..]);
                                }
                            }
                            pattern if glob(pattern, key) => inner.push(&path[1..]),
                            _ => {}
                        }
                    }
                    kept(value, &inner).map(|value| (key.clone(), value))
                })
                .collect();
            (!members.is_empty()).then(|| members.into())
        }
        _ => None,
    }
}

mod tests {
    use super::*;

    fn ask(engine: &FakeEngine, method: &str, path: &str, body: &str) -> (u16, Value) {
        wire::ask(engine.url(), method, path, Some(body.as_bytes()))
    }

    fn prepared() -> FakeEngine {
        let engine = FakeEngine::start();
        let put = |path: &str, body: Value| {
            assert_eq!(ask(&engine, "PUT", path, &body.to_string()).0, 200)
        };
        put("/_component_template/learned", json!({ "template": { "mappings": {} } }));
        put(
            "/_index_template/t",
            json!({ "index_patterns": ["t-*"], "composed_of": ["learned"], "template": {
            "settings": { "index.mapping.total_fields.limit": 5 },
            "mappings": { "dynamic": false, "properties": { "k": { "type": "keyword", "ignore_above": 10 } } } } }),
        );
        engine
    }

    const PAIR: &str = "{\"create\":{\"_index\":\"t-1\",\"_id\":\"a\"}}\n{\"k\":1}\n{\"create\":{\"_index\":\"t-1\",\"_id\":\"b\"}}\n{\"k\":{\"x\":1}}\n";

    #[test]
    fn a_bulk_request_is_sorted_item_by_item() {
        let engine = prepared();
        let statuses = |answer: Value| -> Vec<u64> {
            answer["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["create"]["status"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(
            statuses(ask(&engine, "POST", "/_bulk?filter_path=errors,items.*.status", PAIR).1),
            [201, 400]
        );
        assert_eq!(statuses(ask(&engine, "POST", "/_bulk", PAIR).1), [409, 400]);
        assert_eq!(engine.ids().into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(engine.most_sendings_of_one_id(), 2);
        engine.assert_no_complaints();
    }

    #[test]
    fn a_mapping_call_obeys_conflicts_and_the_limit() {
        let engine = prepared();
        assert_eq!(ask(&engine, "PUT", "/t-1", "{}").0, 200);
        assert_eq!(
            ask(&engine, "PUT", "/t-1", "{}").1["error"]["type"],
            "resource_already_exists_exception"
        );
        let put = |properties: &str| {
            ask(&engine, "PUT", "/t-1/_mapping", &format!("{{\"properties\":{properties}}}")).0
        };
        assert_eq!(put(r#"{"o":{"properties":{"p":{"type":"keyword"}}}}"#), 200);
        assert_eq!(put(r#"{"o":{"type":"keyword"}}"#), 400);
        assert_eq!(
            put(r#"{"a":{"type":"keyword"},"b":{"type":"keyword"},"c":{"type":"keyword"}}"#),
            400
        );
        assert_eq!(engine.kinds().keys().collect::<Vec<_>>(), ["k", "o", "o.p"]);
        let shown = ask(&engine, "GET", "/t-*/_mapping", "").1;
        assert_eq!(
            shown["t-1"]["mappings"]["properties"]["o"]["properties"]["p"]["type"],
            "keyword"
        );
    }

    #[test]
    fn faults_happen_to_bulk_requests_in_order() {
        let engine = prepared();
        engine.script([
            Some(Fault::Status(429)),
            None,
            Some(Fault::ItemStatus { every: 2, status: 429 }),
        ]);
        assert_eq!(ask(&engine, "POST", "/_bulk", PAIR).0, 429);
        assert_eq!(engine.count(), 0);
        assert_eq!(ask(&engine, "POST", "/_bulk", PAIR).0, 200);
        let third = ask(&engine, "POST", "/_bulk", PAIR).1;
        assert_eq!(third["items"][0]["create"]["status"], 429);
        assert_eq!(third["items"][1]["create"]["status"], 400);
        assert_eq!(engine.asked().bulks, 3);
        engine.require("Basic abc");
        assert_eq!(ask(&engine, "GET", "/", "").0, 401);
    }

    #[test]
    fn a_filter_drops_items_that_lose_everything() {
        let answer = json!({ "errors": true, "items": [{ "create": { "status": 201 } }, { "create": { "status": 400, "error": { "type": "x" } } }] });
        let error_only = filtered(answer.clone(), Some("items.*.error".to_owned()));
        assert_eq!(error_only["items"].as_array().unwrap().len(), 1);
        let both = filtered(answer, Some("items.*.status,items.*.error.type".to_owned()));
        assert_eq!(both["items"][1]["create"], json!({ "status": 400, "error": { "type": "x" } }));
    }
}
