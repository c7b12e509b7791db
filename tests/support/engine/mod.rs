//! A fake engine in this process: a model strict enough to catch what a real engine would refuse.
//!
//! In: HTTP requests on a free port of 127.0.0.1. Out: answers in the words of OpenSearch or
//! Elasticsearch, or one of the scripted [`Fault`]s. What it holds is read directly by the test.
//! Holds: a document is stored only if the index's mapping takes it, and never replaced.
//! Absent on purpose: search, shards, dynamic mapping.

mod bulk;
mod filter;
mod indices;
mod serve;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::json::{self, Json};
use super::mapping::Mapping;
use state::State;

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
    /// The request is sent to another address with this status; nothing is stored.
    Redirect(u16, String),
    /// Everything is stored, but the answer has one item too few.
    ItemMissing,
    /// Everything is stored; the answer is `{}`.
    EmptyAnswer,
}

/// What an ingest pipeline does with each document.
#[derive(Clone, Debug)]
pub(crate) enum Pipeline {
    /// There is none of that name.
    Missing,
    /// It drops the document.
    Drop,
    /// It fails with this status, name and reason.
    Fail(u16, &'static str, &'static str),
    /// It stores the document in another index.
    Move(&'static str),
    /// It stores the document under another id.
    Rename(&'static str),
}

/// What keeps documents out of an index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shut {
    /// It is closed.
    Closed,
    /// `index.blocks.write` is set.
    WriteBlock,
}

/// One index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) mapping: Mapping,
    pub(crate) documents: BTreeMap<String, Vec<u8>>,
    limit: usize,
    /// Never used twice; also the time at which it was made.
    number: u64,
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
        let state = State::new(flavour);
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || serve::accept(&listener, &theirs));
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

    /// Lets another loader put these properties just before we create an index or map a field.
    pub(crate) fn another_loader_decides(&self, properties: &Value) -> &FakeEngine {
        self.change(|state| state.other_loader.push(json!({ "properties": properties })))
    }

    /// Lets an ingest pipeline of that name see the documents of an index from now on.
    pub(crate) fn pipeline(&self, index: &str, name: &str, pipeline: Pipeline) -> &FakeEngine {
        let entry = (name.to_owned(), pipeline);
        self.change(|state| drop(state.pipelines.insert(index.to_owned(), entry)))
    }

    /// Lets no ingest pipeline see the documents of an index any more.
    pub(crate) fn no_pipeline(&self, index: &str) -> &FakeEngine {
        self.change(|state| drop(state.pipelines.remove(index)))
    }

    /// Keeps documents out of an index from now on, or no more.
    pub(crate) fn shut(&self, index: &str, shut: Option<Shut>) -> &FakeEngine {
        self.change(|state| match shut {
            Some(shut) => drop(state.shut.insert(index.to_owned(), shut)),
            None => drop(state.shut.remove(index)),
        })
    }

    /// Asks for this `authorization` header from now on.
    pub(crate) fn require(&self, authorization: &str) -> &FakeEngine {
        self.change(|state| state.credentials = Some(authorization.to_owned()))
    }

    /// Takes only requests that are signed with this key from now on.
    pub(crate) fn require_signature(&self, access_key: &str, secret: &str) -> &FakeEngine {
        self.change(|state| state.signer = Some((access_key.to_owned(), secret.to_owned())))
    }

    /// Answers 413 to longer bodies from now on.
    pub(crate) fn limit_bodies(&self, bytes: usize) -> &FakeEngine {
        self.change(|state| state.longest_body_bytes = bytes)
    }

    /// Answers `{}` to everything but bulk requests, as some write-only endpoints do.
    pub(crate) fn answer_bulk_only(&self) -> &FakeEngine {
        self.change(|state| state.bulk_only = true)
    }

    /// Answers at its root as a distribution of Elasticsearch does that lacks the module for it.
    pub(crate) fn hide_root(&self) -> &FakeEngine {
        self.change(|state| state.root_hidden = true)
    }

    /// Tells that so much of the disk is used.
    pub(crate) fn fill_disk(&self, percent: u64) -> &FakeEngine {
        self.change(|state| state.disk_used = percent)
    }

    /// Tells about rights from now on: the caller has all but these.
    pub(crate) fn tell_rights(&self, lacking: &[&str]) -> &FakeEngine {
        let lacking = lacking.iter().map(|name| (*name).to_owned()).collect();
        self.change(|state| state.lacking = Some(lacking))
    }

    /// Returns the methods of all requests so far.
    pub(crate) fn methods(&self) -> BTreeSet<String> {
        self.shared.state().methods.clone()
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

    /// Returns how often documents were sent for each of these ids, also if they were duplicates.
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

    /// Removes every index and every template, as a person would who starts anew.
    pub(crate) fn remove_everything(&self) -> &FakeEngine {
        self.change(|state| {
            state.indices.clear();
            state.index_templates.clear();
            state.component_templates.clear();
        })
    }

    /// Lets another, empty cluster answer from now on, as after a new start without the data of the old one.
    pub(crate) fn recreate(&self) -> &FakeEngine {
        self.remove_everything().change(|state| state.cluster += 1)
    }

    /// Lets another cluster answer that holds what this one held, as after a snapshot was restored there: the indices
    /// keep the time at which they were made, and get other UUIDs.
    pub(crate) fn restore_elsewhere(&self) -> &FakeEngine {
        self.change(|state| state.cluster += 1)
    }

    /// Removes an index template.
    pub(crate) fn remove_template(&self, name: &str) -> &FakeEngine {
        self.change(|state| drop(state.index_templates.remove(name).expect("a template")))
    }

    /// Removes one index with its documents.
    pub(crate) fn remove_index(&self, name: &str) -> &FakeEngine {
        self.change(|state| drop(state.indices.remove(name).expect("an index of this name")))
    }

    /// Removes so many documents of one index.
    pub(crate) fn remove_documents(&self, name: &str, count: usize) -> &FakeEngine {
        self.change(|state| {
            let index = state.indices.get_mut(name).expect("an index of this name");
            (0..count).for_each(|_| drop(index.documents.pop_first()));
        })
    }

    /// Tells nothing about indices but their mappings from now on, as to a user who may not know.
    pub(crate) fn keep_indices_secret(&self) -> &FakeEngine {
        self.change(|state| state.secret = true)
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

mod tests {
    use super::super::wire;
    use super::*;

    fn ask(engine: &FakeEngine, method: &str, path: &str, body: &str) -> (u16, Value) {
        wire::ask(engine.url(), method, path, Some(body.as_bytes()))
    }

    fn prepared() -> FakeEngine {
        let engine = FakeEngine::start();
        let put = |path: &str, body: Value| {
            assert_eq!(ask(&engine, "PUT", path, &body.to_string()).0, 200);
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
        let error_only = filter::filtered(answer.clone(), Some("items.*.error".to_owned()));
        assert_eq!(error_only["items"].as_array().unwrap().len(), 1);
        let both = filter::filtered(answer, Some("items.*.status,items.*.error.type".to_owned()));
        assert_eq!(both["items"][1]["create"], json!({ "status": 400, "error": { "type": "x" } }));
    }
}
