//! Small faults, one at a time, against a tiny engine in this process.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::{Engine, Flavour, Learned, Rewrite, Target};
use crate::event::{Batch, Entry, Kept, Need, Packed, Receipt, SetAsideCause, Share};
use crate::normalize::Origin;
use crate::report::{Log, Tally};
use crate::shutdown::{ShutdownLevel, ShutdownTrigger, shutdown_channel};
use crate::sink::{Cause, Error, Sink, Unreachable, Why};

const INDEX: &str = "trail-2024.06";
const TEMPLATE: &str = "/_index_template/trail";
const LEARNED: &str = "/_component_template/trail-learned";

/// What the tiny engine does with one bulk request instead of obeying.
enum Fault {
    Whole(u16, &'static str),
    Item(u16, &'static str),
    /// No document is stored, and this is what each item has behind its names.
    Each(&'static str),
    /// Each document is stored under this id.
    Renamed(&'static str),
    Reset,
    HalfThenReset,
    OneItemLess,
    Silence,
}

/// The memory of the tiny engine.
#[derive(Default)]
struct State {
    /// What happens to the next bulk requests.
    faults: VecDeque<Fault>,
    /// Answers to the next `PUT index/_mapping`.
    put_mapping: VecDeque<(u16, Value)>,
    /// Answers given instead of the usual ones, by method and path.
    fixed: BTreeMap<String, (u16, Value)>,
    /// Method, path and body of every call but bulk ones.
    calls: Vec<(String, Value)>,
    /// Number of documents of every bulk request.
    bulks: Vec<usize>,
    stored: BTreeMap<String, Value>,
    mapping: Option<Value>,
    /// The index template.
    template: Option<Value>,
    /// The component template of learned fields.
    learned: Option<Value>,
    /// What another loader replaces it by once fields were stored in it.
    replaced: Option<Value>,
    largest: Option<usize>,
    /// An index that takes no documents, and what its items have behind their names.
    shut: Option<(&'static str, &'static str)>,
}

/// An engine that holds one index and obeys, unless told otherwise.
struct Fake {
    url: Url,
    state: Arc<Mutex<State>>,
}

impl Fake {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { url, state }
    }

    fn with(faults: impl IntoIterator<Item = Fault>) -> Self {
        let fake = Self::start();
        fake.state.lock().unwrap().faults.extend(faults);
        fake
    }

    fn fix(&self, call: &str, status: u16, body: Value) {
        self.state.lock().unwrap().fixed.insert(call.to_owned(), (status, body));
    }

    fn ids(&self) -> Vec<String> {
        self.state.lock().unwrap().stored.keys().cloned().collect()
    }

    fn bulks(&self) -> Vec<usize> {
        self.state.lock().unwrap().bulks.clone()
    }

    fn calls(&self, call: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|(name, _)| name == call).map(|(_, body)| body.clone()).collect()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => {
                    // Not HTTP; real servers say so in plain text, too.
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

/// Returns status and body, or nothing to close the connection.
fn answer(method: &str, path: &str, body: &[u8], state: &Mutex<State>) -> Option<(u16, String)> {
    if path.starts_with("/_bulk") {
        let fault = state.lock().unwrap().faults.pop_front();
        if matches!(fault, Some(Fault::Silence)) {
            // Longer than the client waits for an answer.
            std::thread::sleep(Duration::from_secs(2));
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
                super::tree::add(
                    &mut state.mapping.as_mut().unwrap()["properties"],
                    &last["properties"],
                );
                (200, json!({"acknowledged": true}))
            })
        }
        ("PUT", path) if path == format!("/{INDEX}") => {
            let mut mapping = core();
            let asked = &state.calls.last().unwrap().1["mappings"]["properties"];
            super::tree::add(&mut mapping["properties"], asked);
            state.mapping = Some(mapping);
            (200, json!({"acknowledged": true}))
        }
        ("PUT", TEMPLATE) => {
            state.template = state.calls.last().map(|(_, put)| put.clone());
            (200, json!({"acknowledged": true}))
        }
        ("GET", TEMPLATE) if state.template.is_some() => {
            let template = json!({"name": "trail", "index_template": state.template});
            (200, json!({"index_templates": [template]}))
        }
        ("GET", LEARNED) if state.learned.is_some() => {
            let template = json!({"name": "trail-learned", "component_template": state.learned});
            (200, json!({"component_templates": [template]}))
        }
        ("PUT", LEARNED) => {
            let put = state.calls.last().unwrap().1.clone();
            let learned = !super::tree::is_empty(&put["template"]["mappings"]["properties"]);
            let theirs = if learned { state.replaced.take() } else { None };
            state.learned = Some(theirs.unwrap_or(put));
            (200, json!({"acknowledged": true}))
        }
        ("GET", _) => (404, json!({"error": {"type": "resource_not_found_exception"}})),
        _ => (200, json!({"acknowledged": true})),
    };
    Some((status, answer.to_string()))
}

fn bulk(body: &[u8], fault: Option<&Fault>, state: &mut State) -> Option<(u16, String)> {
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let documents = lines.len() / 2;
    state.bulks.push(documents);
    if state.largest.is_some_and(|largest| body.len() > largest) {
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

/// Returns what an item names, and what it says.
fn item(
    number: usize,
    pair: &[&[u8]],
    fault: Option<&Fault>,
    state: &mut State,
) -> (String, String) {
    let action: Value = serde_json::from_slice(pair[0]).unwrap();
    let (index, mut id) = (&action["create"]["_index"], action["create"]["_id"].clone());
    let (status, code) = match (fault, state.shut) {
        (Some(Fault::Item(status, code)), _) if number == 0 => (*status, *code),
        (Some(Fault::Each(rest)), _) => {
            return (format!("\"_index\":{index},\"_id\":{id}"), (*rest).to_owned());
        }
        (_, Some((shut, rest))) if index == shut => {
            return (format!("\"_index\":{index},\"_id\":{id}"), rest.to_owned());
        }
        (Some(Fault::Renamed(other)), _) => {
            id = json!(other);
            store(&[json!({ "create": { "_id": other } }).to_string().as_bytes(), pair[1]], state)
        }
        _ => store(pair, state),
    };
    let reason = match code {
        "cluster_block_exception" => FLOODED,
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

/// What engines say while a disk is full.
const FLOODED: &str = "index [trail-2024.06] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];";

fn store(pair: &[&[u8]], state: &mut State) -> (u16, &'static str) {
    let action: Value = serde_json::from_slice(pair[0]).unwrap();
    let document: Value = serde_json::from_slice(pair[1]).unwrap();
    let id = action["create"]["_id"].as_str().unwrap().to_owned();
    if document["bad"] == true || (document.get("clash").is_some()) {
        return (400, "mapper_parsing_exception");
    }
    if state.stored.contains_key(&id) {
        return (409, "version_conflict_engine_exception");
    }
    state.stored.insert(id, document);
    (201, "")
}

fn core() -> Value {
    json!({
        "dynamic": "false",
        "_meta": { "managed_by": "trailload", "version": 1 },
        "properties": { "eventTime": { "type": "date" } },
    })
}

/// A normalizer with as many fields as it is told, and two simple cures.
#[derive(Default)]
struct Toy {
    fields: AtomicU32,
    /// How many more turn up while an index is looked at.
    meanwhile: AtomicU32,
    absorbed: Mutex<Vec<Value>>,
    closed: AtomicBool,
}

impl Learned for Toy {
    fn count(&self) -> u32 {
        self.fields.load(Ordering::Relaxed)
    }
    fn properties(&self, from: u32, to: u32) -> Value {
        (from..to).map(|number| (format!("f{number}"), json!({"type": "keyword"}))).collect()
    }
    fn absorb(&self, mappings: &Value, origin: Origin) {
        if origin == Origin::Index {
            let more = self.meanwhile.swap(0, Ordering::Relaxed);
            self.fields.fetch_add(more, Ordering::Relaxed);
        }
        self.absorbed.lock().unwrap().push(mappings.clone());
    }
    fn close(&self, mappings: &Value) {
        assert_eq!(mappings["dynamic"], "false", "it is the live mapping");
        self.closed.store(true, Ordering::Relaxed);
    }
    fn relearn(&self, mappings: &Value) -> Box<dyn Rewrite> {
        assert_eq!(mappings["dynamic"], "false", "it is the live mapping");
        Box::new(Renaming)
    }
    fn raw(&self, document: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(document).unwrap();
        if text.contains("hopeless") {
            return document.to_vec();
        }
        json!({ "original": text }).to_string().into_bytes()
    }
}

struct Renaming;

impl Rewrite for Renaming {
    fn again(&mut self, document: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(document).unwrap();
        text.contains("clash").then(|| text.replace("clash", "renamed").into_bytes())
    }
}

/// A connected engine and what it was connected with.
struct Rig {
    engine: Engine,
    toy: Arc<Toy>,
    tally: Arc<Tally>,
    raise: ShutdownTrigger,
}

fn target(url: &Url) -> Target {
    Target {
        patience: Duration::from_secs(3),
        timeout: Duration::from_secs(1),
        ..Target::new(url.clone(), "trail")
    }
}

async fn connect(target: Target) -> Result<Rig, Error> {
    let (raise, stop) = shutdown_channel();
    let (toy, tally) = (Arc::new(Toy::default()), Arc::new(Tally::default()));
    let template = json!({"dynamic": "false", "_meta": {"version": 1}, "properties": {"eventTime": {"type": "date"}}});
    let engine =
        Engine::connect(target, template, toy.clone(), Log::default(), tally.clone(), stop).await?;
    Ok(Rig { engine, toy, tally, raise })
}

async fn rig(fake: &Fake) -> Rig {
    connect(target(&fake.url)).await.unwrap()
}

fn batch(documents: &[&str], fields: u32) -> Batch {
    let all: Vec<_> = documents.iter().map(|document| (0, *document)).collect();
    batch_of(&[INDEX], fields, &all)
}

/// Makes a batch of documents, each with the number of its index.
fn batch_of(indices: &[&str], fields: u32, documents: &[(u16, &str)]) -> Batch {
    let (mut body, mut entries) = (Vec::new(), Vec::new());
    let position = |body: &Vec<u8>| u32::try_from(body.len()).unwrap();
    for (number, (index, document)) in documents.iter().enumerate() {
        let (action, index) = (position(&body), *index);
        let name = indices[usize::from(index)];
        writeln!(body, "{{\"create\":{{\"_index\":\"{name}\",\"_id\":\"id{number:04}\"}}}}")
            .unwrap();
        let line = position(&body);
        writeln!(body, "{document}").unwrap();
        entries.push(Entry { action, document: line, end: position(&body), index, share: 0 });
    }
    let need = |index: &&str| Need { index: (*index).to_owned(), fields };
    Batch {
        body: body.into(),
        needs: indices.iter().map(need).collect(),
        shares: vec![Share { lane: 7, page: 0, documents: u32::try_from(entries.len()).unwrap() }],
        entries,
        set_aside: Vec::new(),
    }
}

fn plain(documents: usize) -> Batch {
    batch(&vec!["{\"a\":1}"; documents], 0)
}

/// Checks that every document is accounted for.
#[track_caller]
fn adds_up(receipt: &Receipt) {
    let documents: u32 = receipt.shares.iter().map(|share| share.documents).sum();
    let settled = receipt.created() + receipt.already_there() + receipt.set_aside.len() as u64;
    assert_eq!(settled, u64::from(documents));
}

/// Writes ten documents through `faults` and checks that each is there once.
async fn survives(faults: impl IntoIterator<Item = Fault>) -> (Receipt, Vec<usize>) {
    let fake = Fake::with(faults);
    let receipt = rig(&fake).await.engine.write(plain(10)).await.unwrap();
    adds_up(&receipt);
    assert_eq!(fake.ids().len(), 10);
    assert!(receipt.set_aside.is_empty());
    (receipt, fake.bulks())
}

async fn fails(fault: Fault) -> Error {
    let fake = Fake::with([fault]);
    rig(&fake).await.engine.write(plain(3)).await.unwrap_err().error
}

#[tokio::test]
async fn a_second_write_finds_everything_there() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    assert_eq!(rig.engine.write(plain(10)).await.unwrap().created(), 10);
    let again = rig.engine.write(plain(10)).await.unwrap();
    assert_eq!((again.created(), again.already_there()), (0, 10));
    assert_eq!(rig.engine.describe().to_string(), "OpenSearch 3.8.0");
}

#[tokio::test]
async fn a_receipt_counts_each_index_by_its_name() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    let all = |receipt: Receipt| {
        let counted = receipt.indices.into_iter();
        counted.map(|one| (one.index, one.created, one.already_there)).collect::<Vec<_>>()
    };
    let february = "trail-2024.02";
    // Every third one is for the second index.
    let spread = |documents: u16| -> Vec<_> {
        (0..documents).map(|number| (u16::from(number % 3 == 1), "{}")).collect()
    };
    let first = rig.engine.write(batch_of(&[february, INDEX], 0, &spread(5))).await.unwrap();
    assert_eq!(all(first), [(february.to_owned(), 3, 0), (INDEX.to_owned(), 2, 0)]);
    let more = rig.engine.write(batch_of(&[february, INDEX], 0, &spread(7))).await.unwrap();
    assert_eq!(all(more), [(february.to_owned(), 2, 3), (INDEX.to_owned(), 0, 2)]);
}

#[tokio::test]
async fn documents_of_a_batch_that_fails_are_counted() {
    let fake = Fake::with([Fault::Item(403, "security_exception")]);
    let rig = rig(&fake).await;
    let unfinished = rig.engine.write(plain(10)).await.unwrap_err();
    assert!(matches!(unfinished.error, Error::Denied { .. }), "{unfinished:?}");
    let created: u64 = unfinished.indices.iter().map(|one| one.created).sum();
    assert_eq!(created, fake.ids().len() as u64);
    assert_eq!(created, 9, "all but the one that was refused");
}

#[tokio::test]
async fn whole_requests_are_sent_again() {
    for fault in [
        Fault::Whole(429, "{}"),
        Fault::Whole(503, "<html>later</html>"),
        Fault::Whole(200, "<html>who are you</html>"),
        Fault::Whole(200, "{}"),
        Fault::Reset,
    ] {
        let (receipt, bulks) = survives([fault]).await;
        assert_eq!(receipt.created(), 10);
        assert_eq!(bulks, [10, 10]);
    }
}

#[tokio::test]
async fn a_half_accepted_request_creates_nothing_twice() {
    let (receipt, _) = survives([Fault::HalfThenReset]).await;
    assert_eq!((receipt.created(), receipt.already_there()), (5, 5));
    let (receipt, _) = survives([Fault::OneItemLess]).await;
    assert_eq!((receipt.created(), receipt.already_there()), (0, 10));
}

#[tokio::test]
async fn a_silent_engine_is_asked_again() {
    let (receipt, _) = survives([Fault::Silence]).await;
    assert_eq!(receipt.created(), 10);
}

#[tokio::test]
async fn only_refused_items_are_sent_again() {
    for status in [429, 503] {
        let (receipt, bulks) =
            survives([Fault::Item(status, "es_rejected_execution_exception")]).await;
        assert_eq!(receipt.created(), 10);
        assert_eq!(bulks, [10, 1]);
    }
}

#[tokio::test]
async fn retries_are_counted() {
    let fake = Fake::with([Fault::Whole(503, ""), Fault::Item(429, "busy")]);
    let rig = rig(&fake).await;
    rig.engine.write(plain(2)).await.unwrap();
    assert_eq!(rig.tally.retries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn too_large_requests_are_halved_and_the_size_is_remembered() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    fake.state.lock().unwrap().largest = Some(plain(3).body.len());
    let receipt = rig.engine.write(plain(8)).await.unwrap();
    adds_up(&receipt);
    assert_eq!(receipt.created(), 8);
    let before = fake.bulks().len();
    rig.engine.write(plain(8)).await.unwrap();
    assert_eq!(fake.bulks()[before..], [2, 2, 2, 2], "no second try with what was too large");
}

#[tokio::test]
async fn one_document_that_is_too_large_is_set_aside() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    fake.state.lock().unwrap().largest = Some(1000);
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(2000));
    let receipt = rig.engine.write(batch(&["{}", &huge, "{}"], 0)).await.unwrap();
    adds_up(&receipt);
    assert_eq!(receipt.created(), 2);
    assert_eq!((receipt.set_aside[0].id.as_str(), receipt.set_aside[0].lane), ("id0001", 7));
    assert_eq!(receipt.set_aside[0].cause, SetAsideCause::Limit);
    assert!(receipt.set_aside[0].reason.contains("too large"));
}

#[tokio::test]
async fn credentials_that_are_not_accepted_stop_the_run() {
    for status in [401, 403] {
        let whole = fails(Fault::Whole(
            status,
            "{\"error\":{\"type\":\"security_exception\",\"reason\":\"no\"}}",
        ))
        .await;
        assert!(matches!(whole, Error::Denied { status: found, .. } if found == status));
        let item = fails(Fault::Item(status, "security_exception")).await;
        assert!(matches!(item, Error::Denied { status: found, .. } if found == status));
    }
}

#[tokio::test]
async fn what_would_meet_the_next_document_too_stops_the_run() {
    for (status, code) in [(404, "index_not_found_exception"), (400, "validation_exception")] {
        let error = fails(Fault::Item(status, code)).await;
        assert!(
            matches!(&error, Error::Refused { source, .. } if source.code() == code),
            "{error:?}"
        );
    }
    assert!(matches!(fails(Fault::Whole(404, "")).await, Error::Refused { status: 404, .. }));
}

/// What the tiny engine says of an index that names this pipeline.
fn names_pipeline(fake: &Fake, index: &str, pipeline: &str) {
    let path = format!(
        "GET /{index}/_settings?filter_path=*.settings.index.default_pipeline,*.settings.index.final_pipeline"
    );
    let settings = json!({ "index": { "default_pipeline": pipeline } });
    fake.fix(&path, 200, json!({ index: { "settings": settings } }));
}

fn causes(receipt: &Receipt) -> Vec<(SetAsideCause, &str)> {
    receipt.set_aside.iter().map(|one| (one.cause, one.reason.as_str())).collect()
}

#[tokio::test]
async fn documents_that_a_pipeline_drops_or_moves_are_set_aside_with_its_name() {
    for (fault, told) in [
        (
            Fault::Each("\"result\":\"noop\",\"status\":200"),
            "ingest pipeline 'p': 200 noop: the engine did not create the document",
        ),
        (
            Fault::Renamed("other"),
            "ingest pipeline 'p': 201 created: it went to 'trail-2024.06' as 'other' instead",
        ),
    ] {
        let fake = Fake::with([fault]);
        names_pipeline(&fake, INDEX, "p");
        let receipt = rig(&fake).await.engine.write(plain(3)).await.unwrap();
        adds_up(&receipt);
        assert_eq!((receipt.created(), receipt.already_there()), (0, 0));
        assert_eq!(causes(&receipt)[0], (SetAsideCause::Pipeline, told));
        assert!(causes(&receipt).iter().all(|(cause, _)| *cause == SetAsideCause::Pipeline));
        assert_eq!(fake.bulks(), [3], "nothing is sent again");
    }
}

#[tokio::test]
async fn a_failing_pipeline_is_not_tried_again() {
    let nameless = Fault::Each(
        "\"status\":500,\"error\":{\"type\":\"null_pointer_exception\",\"reason\":\"x\"}",
    );
    let fake = Fake::with([nameless]);
    names_pipeline(&fake, INDEX, "p");
    let receipt = rig(&fake).await.engine.write(plain(3)).await.unwrap();
    let told = "ingest pipeline 'p': 500 null_pointer_exception: x";
    assert_eq!(causes(&receipt), [(SetAsideCause::Pipeline, told); 3]);
    assert_eq!(fake.bulks(), [3]);
    let missing = Fault::Each(
        "\"status\":400,\"error\":{\"type\":\"illegal_argument_exception\",\"reason\":\"pipeline with id [p] does not exist\"}",
    );
    let fake = Fake::with([missing]);
    let receipt = rig(&fake).await.engine.write(plain(3)).await.unwrap();
    assert!(causes(&receipt).iter().all(|(cause, _)| *cause == SetAsideCause::Pipeline));
    assert_eq!(fake.bulks(), [3], "also where the settings do not name it");
}

#[tokio::test]
async fn the_same_error_without_a_pipeline_is_tried_again() {
    let (receipt, bulks) = survives([Fault::Item(500, "null_pointer_exception")]).await;
    assert_eq!(receipt.created(), 10);
    assert_eq!(bulks, [10, 1]);
}

#[tokio::test]
async fn documents_of_an_index_that_takes_none_are_set_aside_and_others_go_in() {
    let february = "trail-2024.02";
    for rest in [
        "\"status\":400,\"error\":{\"type\":\"index_closed_exception\",\"reason\":\"closed\"}",
        "\"status\":403,\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"index [trail-2024.02] blocked by: [FORBIDDEN/8/index write (api)];\"}",
    ] {
        let fake = Fake::start();
        fake.state.lock().unwrap().shut = Some((february, rest));
        let rig = rig(&fake).await;
        let documents = [(0, "{}"), (1, "{}"), (0, "{}"), (1, "{}"), (1, "{}")];
        let receipt = rig.engine.write(batch_of(&[february, INDEX], 0, &documents)).await.unwrap();
        adds_up(&receipt);
        assert_eq!(receipt.created(), 3);
        assert_eq!(
            receipt.set_aside.iter().map(|one| one.index.as_str()).collect::<Vec<_>>(),
            [february; 2]
        );
        assert!(causes(&receipt).iter().all(|(cause, _)| *cause == SetAsideCause::Index));
        let receipt = rig.engine.write(batch_of(&[february, INDEX], 0, &documents)).await.unwrap();
        adds_up(&receipt);
        assert_eq!((receipt.already_there(), receipt.set_aside.len()), (3, 2));
        assert_eq!(fake.bulks(), [5, 3], "what it does not take is not sent a second time");
    }
}

#[tokio::test]
async fn an_index_whose_mapping_is_blocked_takes_no_documents() {
    let february = "trail-2024.02";
    let fake = Fake::start();
    let reason = "index [trail-2024.02] blocked by: [FORBIDDEN/9/index metadata (api)];";
    let block = json!({ "error": { "type": "cluster_block_exception", "reason": reason } });
    fake.fix(&format!("GET /{february}/_mapping"), 403, block);
    let rig = rig(&fake).await;
    let documents = [(0, "{}"), (1, "{}")];
    let receipt = rig.engine.write(batch_of(&[february, INDEX], 0, &documents)).await.unwrap();
    adds_up(&receipt);
    assert_eq!((receipt.created(), receipt.set_aside.len()), (1, 1));
    assert!(receipt.set_aside[0].reason.contains("FORBIDDEN/9"));
    assert_eq!(fake.bulks(), [1]);
    rig.toy.fields.store(1, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 1)).await.unwrap();
    rig.engine.finish().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_somebody_made_read_only_ends_the_run_at_once() {
    let fake = Fake::with([Fault::Each(
        "\"status\":403,\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"blocked by: [FORBIDDEN/6/cluster read-only (api)];\"}",
    )]);
    let error = rig(&fake).await.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(error, Error::Refused { why: Why::Block(_), .. }), "{error:?}");
    assert_eq!(fake.bulks(), [1]);
}

#[tokio::test]
async fn a_full_disk_is_named_after_some_tries() {
    let block = || Fault::Item(429, "cluster_block_exception");
    let fake = Fake::with((0..1000).map(|_| block()));
    let error = rig(&fake).await.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    let (receipt, _) = survives([block()]).await;
    assert_eq!(receipt.created(), 10, "a disk that was emptied is no error");
}

#[tokio::test]
async fn an_engine_that_stays_away_ends_the_run_with_the_position_saved() {
    let fake = Fake::with((0..1000).map(|_| Fault::Whole(503, "")));
    let rig = rig(&fake).await;
    let start = Instant::now();
    let error = rig.engine.write(plain(1)).await.unwrap_err().error;
    assert!(matches!(error, Error::GaveUp { source: Cause::Answer { status: 503, .. }, .. }));
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn leaving_does_not_wait_for_the_engine() {
    let fake = Fake::with([Fault::Silence]);
    let rig = rig(&fake).await;
    let start = Instant::now();
    let (written, ()) = tokio::join!(rig.engine.write(plain(1)), async {
        tokio::task::yield_now().await;
        rig.raise.raise(ShutdownLevel::Immediate);
    });
    assert!(matches!(written.unwrap_err().error, Error::Interrupted { .. }));
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn refused_documents_climb_the_ladder() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    let documents = [
        "{\"a\":1}",
        "{\"clash\":1}",
        "{\"bad\":true}",
        "{\"bad\":true,\"clash\":1}",
        "{\"bad\":true,\"hopeless\":1}",
    ];
    let receipt = rig.engine.write(batch(&documents, 0)).await.unwrap();
    adds_up(&receipt);
    assert_eq!(receipt.created(), 4);
    let stored = fake.state.lock().unwrap().stored.clone();
    assert_eq!(stored["id0001"], json!({"renamed": 1}), "rewritten for the live mapping");
    assert_eq!(stored["id0002"], json!({"original": "{\"bad\":true}"}), "raw");
    assert_eq!(
        stored["id0003"],
        json!({"original": "{\"bad\":true,\"renamed\":1}"}),
        "rewritten, then raw"
    );
    assert_eq!(receipt.set_aside[0].id, "id0004");
    assert_eq!(receipt.set_aside[0].kept, Kept::Document(Packed::new(documents[4].as_bytes())));
    assert_eq!(receipt.set_aside[0].cause, SetAsideCause::Content);
    assert!(receipt.set_aside[0].reason.contains("mapper_parsing_exception"));
}

#[tokio::test]
async fn fields_are_put_before_the_batch_that_needs_them_and_once() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    rig.toy.fields.store(3, Ordering::Relaxed);
    let put = format!("PUT /{INDEX}/_mapping");
    let (one, two) = tokio::join!(
        rig.engine.write(batch(&["{}", "{}"], 2)),
        rig.engine.write(batch(&["{}", "{}"], 3))
    );
    assert_eq!(one.unwrap().created() + two.unwrap().created(), 2);
    let keyword = json!({"type": "keyword"});
    let all = json!({"f0": keyword, "f1": keyword, "f2": keyword});
    assert_eq!(
        fake.calls(&format!("PUT /{INDEX}")),
        [json!({"mappings": {"properties": all}})],
        "both waited for one call with all of it"
    );

    rig.toy.fields.store(4, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 4)).await.unwrap();
    assert_eq!(fake.calls(&put), [json!({"properties": {"f3": keyword}})], "only what is new");
    let learned = fake.calls("PUT /_component_template/trail-learned");
    assert_eq!(learned.last().unwrap()["template"]["mappings"]["properties"]["f3"], keyword);
    assert_eq!(rig.tally.mapping_calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_batch_does_not_wait_for_fields_that_turned_up_since() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    rig.toy.fields.store(2, Ordering::Relaxed);
    rig.toy.meanwhile.store(3, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 2)).await.unwrap();
    let put = format!("PUT /{INDEX}/_mapping");
    assert_eq!(rig.toy.count(), 5, "they turned up while the index was made");
    assert!(fake.calls(&put).is_empty(), "its own fields came with the index");
    rig.engine.write(batch(&["{}"], 3)).await.unwrap();
    let keyword = json!({"type": "keyword"});
    let rest = json!({"f2": keyword, "f3": keyword, "f4": keyword});
    assert_eq!(fake.calls(&put), [json!({"properties": rest})], "with one call for all");
}

#[tokio::test]
async fn at_the_end_the_template_gets_what_another_loader_took_out_of_it() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    rig.toy.fields.store(2, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 2)).await.unwrap();
    // It read the template before ours was stored, and is the last to write.
    let keyword = json!({"type": "keyword"});
    let theirs = json!({"template": {"mappings": {"properties": {"other": keyword}}}});
    fake.state.lock().unwrap().learned = Some(theirs);
    rig.engine.finish().await.unwrap();
    let learned = fake.state.lock().unwrap().learned.clone().unwrap();
    let both = json!({"f0": keyword, "f1": keyword, "other": keyword});
    assert_eq!(learned["template"]["mappings"]["properties"], both);
}

#[tokio::test]
async fn the_end_asks_nothing_where_nobody_got_fields() {
    let fake = Fake::start();
    let first = rig(&fake).await;
    first.toy.fields.store(2, Ordering::Relaxed);
    first.engine.write(batch(&["{}"], 2)).await.unwrap();
    first.engine.finish().await.unwrap();
    let second = rig(&fake).await;
    second.toy.fields.store(2, Ordering::Relaxed);
    second.engine.write(batch(&["{}"], 2)).await.unwrap();
    let before = fake.state.lock().unwrap().calls.len();
    second.engine.finish().await.unwrap();
    assert_eq!(fake.state.lock().unwrap().calls.len(), before);
}

#[tokio::test]
async fn the_learned_template_keeps_what_others_put() {
    let fake = Fake::start();
    let theirs = json!({"properties": {"other": {"type": "keyword"}, "f0": {"properties": {"x": {"type": "keyword"}}}}});
    let component = json!({"template": {"mappings": theirs}, "_meta": {"managed_by": "trailload", "version": 1}});
    fake.state.lock().unwrap().learned = Some(component);
    let rig = rig(&fake).await;
    assert!(
        rig.toy.absorbed.lock().unwrap().contains(&theirs),
        "an earlier run's decisions are read"
    );
    rig.toy.fields.store(2, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 2)).await.unwrap();
    let again = rig.toy.absorbed.lock().unwrap().iter().filter(|one| **one == theirs).count();
    assert!(again >= 2, "and read again before an index gets a field");
    let put = fake.calls("PUT /_component_template/trail-learned");
    let properties = &put[0]["template"]["mappings"]["properties"];
    assert_eq!(properties["other"], theirs["properties"]["other"]);
    assert_eq!(properties["f1"], json!({"type": "keyword"}));
}

#[tokio::test]
async fn a_learned_template_that_another_loader_replaced_gets_our_fields_again() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    let keyword = json!({"type": "keyword"});
    let object = json!({"properties": {"x": keyword}});
    let theirs =
        json!({"template": {"mappings": {"properties": {"other": keyword, "f1": object}}}});
    fake.state.lock().unwrap().replaced = Some(theirs);
    rig.toy.fields.store(2, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 2)).await.unwrap();
    let learned = fake.state.lock().unwrap().learned.clone().unwrap();
    let both = json!({"f0": keyword, "f1": keyword, "other": keyword});
    assert_eq!(learned["template"]["mappings"]["properties"], both, "as our index has them");
}

#[tokio::test]
async fn a_field_that_another_loader_decided_is_left_and_the_others_go_in() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    rig.engine.write(batch(&["{}"], 0)).await.unwrap();
    {
        let mut state = fake.state.lock().unwrap();
        let theirs = json!({"properties": {"x": {"type": "keyword"}}});
        state.mapping.as_mut().unwrap()["properties"]["f1"] = theirs;
        state.put_mapping.push_back((
            400,
            json!({"error": {"type": "illegal_argument_exception", "reason": "can't merge"}}),
        ));
    }
    rig.toy.fields.store(3, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 3)).await.unwrap();
    let puts = fake.calls(&format!("PUT /{INDEX}/_mapping"));
    let keyword = json!({"type": "keyword"});
    assert_eq!(puts[1], json!({"properties": {"f0": keyword, "f2": keyword}}));
    let absorbed = rig.toy.absorbed.lock().unwrap();
    assert!(absorbed.last().unwrap()["properties"]["f1"]["properties"].is_object());
}

#[tokio::test]
async fn a_full_index_still_takes_documents() {
    let fake = Fake::start();
    let full = json!({"error": {"type": "illegal_argument_exception", "reason": "Limit of total fields [9] has been exceeded"}});
    fake.state.lock().unwrap().put_mapping.push_back((400, full));
    let rig = rig(&fake).await;
    rig.toy.fields.store(1, Ordering::Relaxed);
    rig.engine.write(batch(&["{}"], 1)).await.unwrap();
    rig.toy.fields.store(9, Ordering::Relaxed);
    rig.engine.write(batch(&["{}", "{}"], 9)).await.unwrap();
    assert_eq!(fake.ids().len(), 2);
    assert_eq!(fake.calls(&format!("PUT /{INDEX}/_mapping")).len(), 1, "it is not asked again");
    assert!(rig.toy.closed.load(Ordering::Relaxed), "what is new goes into trailload.more");
}

#[tokio::test]
async fn templates_are_installed_before_anything_is_written() {
    let fake = Fake::start();
    let rig = rig(&fake).await;
    assert!(fake.calls("PUT /_index_template/trail").is_empty(), "looking changes nothing");
    rig.engine.write(batch(&["{}"], 0)).await.unwrap();
    rig.engine.prepare().await.unwrap();
    let written: Vec<_> =
        fake.state.lock().unwrap().calls.iter().map(|(call, _)| call.clone()).collect();
    let place = |call: &str| written.iter().position(|made| made == call);
    assert!(place("PUT /_index_template/trail") < place(&format!("PUT /{INDEX}")), "{written:?}");
    let template = &fake.calls("PUT /_index_template/trail")[0];
    assert_eq!(template["template"]["mappings"]["dynamic"], "false");
    assert_eq!(fake.calls("PUT /_component_template/trail-learned").len(), 1);
}

#[tokio::test]
async fn a_template_of_somebody_else_is_overwritten_by_force_only() {
    let fake = Fake::start();
    let found = |meta: Value| json!({"index_templates": [{"name": "trail", "index_template": {"_meta": meta}}]});
    fake.fix("GET /_index_template/trail", 200, found(json!({})));
    assert!(matches!(connect(target(&fake.url)).await, Err(Error::ForeignTemplate { .. })));
    fake.fix(
        "GET /_index_template/trail",
        200,
        found(json!({"managed_by": "trailload", "version": 2})),
    );
    let newer = connect(target(&fake.url)).await;
    assert!(matches!(newer, Err(Error::NewerTemplate { ours: 1, theirs: 2, .. })));
    assert!(fake.calls("PUT /_index_template/trail").is_empty());
    let forced = Target { force: true, ..target(&fake.url) };
    connect(forced).await.unwrap().engine.prepare().await.unwrap();
    assert_eq!(fake.calls("PUT /_index_template/trail").len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_knows_nothing_but_bulk_is_good_enough() {
    let fake = Fake::start();
    fake.fix("GET /", 200, json!({}));
    fake.fix("GET /_index_template/trail", 200, json!({}));
    let rig = rig(&fake).await;
    assert_eq!(rig.engine.describe().flavour, Flavour::Unknown);
    rig.toy.fields.store(2, Ordering::Relaxed);
    assert_eq!(rig.engine.write(batch(&["{}"], 2)).await.unwrap().created(), 1);
    assert!(fake.calls(&format!("GET /{INDEX}/_mapping")).is_empty());
}

#[tokio::test]
async fn an_engine_without_composable_templates_is_too_old() {
    let fake = Fake::start();
    let about = |number| json!({"version": {"number": number}, "tagline": "You Know, for Search"});
    fake.fix("GET /", 200, about("7.7.1"));
    assert!(matches!(connect(target(&fake.url)).await, Err(Error::TooOld { .. })));
    fake.fix("GET /", 200, about("7.10.2"));
    connect(target(&fake.url)).await.unwrap();
}

#[tokio::test]
async fn the_first_contact_says_what_is_wrong() {
    async fn how(url: &str) -> Unreachable {
        match connect(target(&url.parse().unwrap())).await {
            Err(Error::Connect { how, .. }) => how,
            other => panic!("{:?}", other.map(|rig| rig.engine)),
        }
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(how(&format!("http://127.0.0.1:{port}")).await, Unreachable::Refused);
    let fake = Fake::start();
    let plain_port = fake.url.port().unwrap();
    assert_eq!(how(&format!("https://127.0.0.1:{plain_port}")).await, Unreachable::NotTls);

    let fake = Fake::start();
    fake.fix(
        "GET /",
        401,
        json!({"error": {"type": "security_exception", "reason": "who are you"}}),
    );
    assert!(matches!(connect(target(&fake.url)).await, Err(Error::Denied { status: 401, .. })));
}

#[tokio::test]
async fn a_connection_that_just_closes_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Read a little, so that closing is no reset.
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let closed = connect(target(&url)).await.err();
    assert!(matches!(closed, Some(Error::Connect { how: Unreachable::Closed, .. })), "{closed:?}");
}

#[tokio::test]
async fn secrets_of_the_address_show_up_nowhere() {
    let fake = Fake::start();
    let mut url = fake.url.clone();
    url.set_username("me").unwrap();
    url.set_password(Some("s3cr%C3%A9t")).unwrap();
    let target = Target { ..Target::new(url, "trail") };
    assert_eq!(
        target.credentials,
        super::Credentials::Basic { username: "me".into(), password: "s3crét".into() }
    );
    let shown = format!("{target:?} {:?}", connect(target.clone()).await.unwrap().engine);
    assert!(!shown.contains("s3cr"), "{shown}");
}

#[tokio::test]
async fn a_prefix_that_no_index_can_have_is_named() {
    for prefix in ["", "_x", "Trail", "a b", "a/b", "a*"] {
        let target = Target::new("http://127.0.0.1:1".parse().unwrap(), prefix);
        assert!(matches!(connect(target).await, Err(Error::Prefix { .. })), "{prefix}");
    }
}
