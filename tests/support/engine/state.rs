//! Takes a request to the part of the engine that answers it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use super::super::signature;
use super::super::wire::Request;
use super::filter::filtered;
use super::{Asked, Fault, Flavour, Index, Pipeline, Refuse, Shut};

/// All that the engine knows, and what it is told to do wrong.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that may go wrong")]
pub(super) struct State {
    pub(super) flavour: Flavour,
    pub(super) indices: BTreeMap<String, Index>,
    pub(super) index_templates: BTreeMap<String, Value>,
    pub(super) component_templates: BTreeMap<String, Value>,
    /// Names and deeds of ingest pipelines, by the index that names them.
    pub(super) pipelines: BTreeMap<String, (String, Pipeline)>,
    /// Indices that take no documents.
    pub(super) shut: BTreeMap<String, Shut>,
    pub(super) faults: VecDeque<Option<Fault>>,
    pub(super) asked: Asked,
    pub(super) refuse: Option<Refuse>,
    pub(super) other_loader: Vec<Value>,
    pub(super) credentials: Option<String>,
    /// Access key and secret that requests must be signed with.
    pub(super) signer: Option<(String, String)>,
    pub(super) longest_body_bytes: usize,
    pub(super) bulk_only: bool,
    pub(super) root_hidden: bool,
    /// How much of the disk is used, in percent.
    pub(super) disk_used: u64,
    /// Privileges that the caller does not have; nothing about rights is told while there are none of them.
    pub(super) lacking: Option<Vec<String>>,
    /// Method of each request so far.
    pub(super) methods: BTreeSet<String>,
    pub(super) complaints: Vec<String>,
    pub(super) repeated: HashMap<String, usize>,
    /// Which cluster answers.
    pub(super) cluster: u64,
    /// Indices made so far.
    pub(super) made: u64,
    /// Whether only mappings are told of indices.
    pub(super) secret: bool,
    pub(super) over: bool,
}

pub(super) fn status_error(status: u16) -> Value {
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

pub(super) fn error(status: u16, kind: &str, reason: &str) -> Value {
    let cause = json!({ "type": kind, "reason": reason });
    json!({ "error": { "root_cause": [cause], "type": kind, "reason": reason }, "status": status })
}

/// Status and body.
pub(super) type Answer = (u16, Value);

pub(super) fn refused(status: u16, kind: &str, reason: &str) -> Answer {
    (status, error(status, kind, reason))
}

/// Returns templates as engines list them.
fn listed(kind: &str, templates: &BTreeMap<String, Value>) -> Value {
    let entries: Vec<_> =
        templates.iter().map(|(name, template)| json!({ "name": name, kind: template })).collect();
    json!({ format!("{kind}s"): entries })
}

pub(super) fn acknowledged() -> Answer {
    (200, json!({ "acknowledged": true }))
}
impl State {
    /// Returns an empty engine that does nothing wrong.
    pub(super) fn new(flavour: Flavour) -> State {
        State {
            flavour,
            indices: BTreeMap::new(),
            index_templates: BTreeMap::new(),
            component_templates: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            shut: BTreeMap::new(),
            faults: VecDeque::new(),
            asked: Asked::default(),
            refuse: None,
            other_loader: Vec::new(),
            credentials: None,
            signer: None,
            longest_body_bytes: 100 << 20,
            bulk_only: false,
            root_hidden: false,
            disk_used: 40,
            lacking: None,
            methods: BTreeSet::new(),
            complaints: Vec::new(),
            repeated: HashMap::new(),
            cluster: 0,
            made: 0,
            secret: false,
            over: false,
        }
    }

    pub(super) fn handle(&mut self, request: &Request, fault: Option<&Fault>) -> Answer {
        if let Some(wanted) = &self.credentials
            && request.header("authorization") != Some(wanted.as_str())
        {
            return refused(
                401,
                "security_exception",
                "unable to authenticate user for REST request",
            );
        }
        if let Some((access_key, secret)) = &self.signer
            && let Err(why) = signature::check(request, access_key, secret)
        {
            return (403, json!({ "message": why }));
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
        if let Some(answer) = self.examined(&request.method, &parts, &json) {
            return (answer.0, filtered(answer.1, request.parameter("filter_path")));
        }
        let answer = self.route(&request.method, &parts, &json, request);
        if answer.0 >= 400 && !matches!(answer.0, 403 | 404) && self.other_loader.is_empty() {
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
            ("GET", []) if self.root_hidden => {
                let text = "Incorrect HTTP method for uri [/] and method [GET], allowed: [DELETE]";
                (405, json!({ "error": text, "status": 405 }))
            }
            ("GET" | "HEAD", []) => (200, self.about()),
            ("GET", ["_index_template"]) => (200, listed("index_template", &self.index_templates)),
            ("GET", ["_component_template"]) => {
                (200, listed("component_template", &self.component_templates))
            }
            ("GET", ["_template"]) => (200, json!({})),
            ("GET", ["_ingest", "pipeline", name]) => self.ingest_pipeline(name),
            (_, ["_index_template", name]) => self.index_template(method, name, body),
            (_, ["_component_template", name]) => self.component_template(method, name, body),
            ("GET", ["_cluster", "health", ..]) => {
                (200, json!({ "status": "green", "number_of_nodes": 1, "timed_out": false }))
            }
            ("GET" | "POST", ["_refresh" | "_flush"] | [_, "_refresh" | "_flush"]) => {
                (200, json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
            }
            ("POST", ["_mget"]) => self.get_many(body),
            ("GET", ["_mapping"]) => self.mappings("*"),
            ("GET", [name, "_mapping"]) => self.mappings(name),
            ("PUT" | "POST", [name, "_mapping"]) => self.put_mapping(name, body),
            ("GET" | "POST", [name, "_count"]) => {
                let count: usize =
                    self.matching(name).iter().map(|name| self.indices[name].documents.len()).sum();
                (200, json!({ "count": count }))
            }
            ("GET", [_, "_settings" | "_alias" | "_stats", ..]) if self.secret => {
                (403, status_error(403))
            }
            ("GET" | "PUT", [name, "_settings"] | [name, "_settings", _]) => {
                self.settings(method, name)
            }
            ("GET", [name, "_alias"]) => {
                let names = self.matching(name).into_iter();
                (200, names.map(|name| (name, json!({ "aliases": {} }))).collect())
            }
            ("GET", [name, "_stats", "docs"]) => {
                let count = |name: String| {
                    let count = self.indices[&name].documents.len();
                    (name, json!({ "primaries": { "docs": { "count": count, "deleted": 0 } } }))
                };
                let counts: Value = self.matching(name).into_iter().map(count).collect();
                (200, json!({ "indices": counts }))
            }
            ("HEAD" | "GET", [name]) if !name.starts_with('_') => self.index(name, request),
            // The index of documents about loads is hidden: nothing that lists or counts documents finds it.
            ("PUT", [name, "_create", _]) if name.ends_with("-runs") => {
                (201, json!({ "result": "created" }))
            }
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

    fn ingest_pipeline(&self, name: &str) -> Answer {
        let mut all = self.pipelines.values();
        if all.any(|(known, does)| known == name && !matches!(does, Pipeline::Missing)) {
            return (200, json!({ name: { "processors": [] } }));
        }
        (404, json!({}))
    }

    /// Gives documents back by index and id, each as it was sent.
    fn get_many(&self, body: &Value) -> Answer {
        let stored = |wanted: &Value| {
            let (index, id) = (wanted["_index"].as_str().unwrap(), wanted["_id"].as_str().unwrap());
            let source = self.indices.get(index).and_then(|index| index.documents.get(id));
            let source = source.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
            json!({ "_index": index, "_id": id, "found": source.is_some(), "_source": source })
        };
        let wanted = body["docs"].as_array().unwrap();
        (200, json!({ "docs": wanted.iter().map(stored).collect::<Vec<_>>() }))
    }

    /// Answers what only a doctor asks; an engine without logins does not know what rights are.
    fn examined(&self, method: &str, parts: &[&str], body: &Value) -> Option<Answer> {
        let unknown = || (400, json!({ "error": "no handler found for uri", "status": 400 }));
        match (method, parts) {
            ("GET", ["_nodes", "stats", "fs"]) => {
                let (total, free) = (100_u64 << 30, (100 - self.disk_used) << 30);
                let fs = json!({ "total": { "total_in_bytes": total, "free_in_bytes": free,
                    "available_in_bytes": free } });
                Some((200, json!({ "nodes": { "n1": { "name": "node-1", "fs": fs } } })))
            }
            ("GET", ["_cluster", "settings"]) => {
                let disk = json!({ "threshold_enabled": "true",
                    "watermark": { "flood_stage": "95%", "high": "90%", "low": "85%" } });
                let routing = json!({ "allocation": { "disk": disk } });
                let defaults = json!({ "cluster": { "routing": routing } });
                Some((200, json!({ "persistent": {}, "transient": {}, "defaults": defaults })))
            }
            ("GET", ["_plugins", "_security", "authinfo"]) => {
                let said = json!({ "user_name": "loader", "roles": ["trailload"] });
                Some(self.lacking.as_ref().map_or_else(unknown, |_| (200, said)))
            }
            ("GET", ["_security", "user", "_has_privileges"]) => {
                let Some(lacking) = &self.lacking else { return Some(unknown()) };
                let has = |list: &Value| {
                    let names = list.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    let pairs = names.map(|name| {
                        (name.to_owned(), json!(!lacking.iter().any(|missing| missing == name)))
                    });
                    Value::Object(pairs.collect())
                };
                let names = body["index"][0]["names"].as_array().unwrap().iter();
                let index = names.map(|name| {
                    (name.as_str().unwrap().to_owned(), has(&body["index"][0]["privileges"]))
                });
                let index = Value::Object(index.collect());
                Some((
                    200,
                    json!({ "username": "loader", "has_all_requested": lacking.is_empty(),
                    "cluster": has(&body["cluster"]), "index": index, "application": {} }),
                ))
            }
            _ => None,
        }
    }

    fn about(&self) -> Value {
        match self.flavour {
            Flavour::OpenSearch => json!({
                "name": "fake", "cluster_name": "fake", "cluster_uuid": format!("cluster{}", self.cluster), "tagline": "The OpenSearch Project: https://opensearch.org/",
                "version": { "distribution": "opensearch", "number": "3.8.0", "build_type": "tar", "lucene_version": "10.3.2",
                    "minimum_wire_compatibility_version": "2.19.0", "minimum_index_compatibility_version": "2.0.0" }
            }),
            Flavour::Elasticsearch => json!({
                "name": "fake", "cluster_name": "fake", "cluster_uuid": format!("cluster{}", self.cluster), "tagline": "You Know, for Search",
                "version": { "number": "9.5.3", "build_flavor": "default", "build_type": "tar", "lucene_version": "10.3.2",
                    "minimum_wire_compatibility_version": "8.19.0", "minimum_index_compatibility_version": "8.0.0" }
            }),
        }
    }
}
