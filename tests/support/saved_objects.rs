//! A fake of the saved objects API of Kibana and of OpenSearch Dashboards: strict about headers, forms, references and versions,
//! as both products are.
//!
//! In: requests; what the product knows, and whom it lets in. Out: responses as the products give them; the objects by space
//! or tenant.
//! Absent on purpose: pages, migrations of objects, and everything about how a dashboard is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::aws::server::{Request, Response, Server};
use super::signature;
use super::wire;

/// A product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Kibana,
    OpenSearchDashboards,
}

/// Type and id.
type Key = (String, String);

/// What the product holds, and how it behaves.
pub(crate) struct State {
    product: Product,
    /// The version that it names, if it names one.
    pub(crate) version: Option<&'static str>,
    /// What paths begin with.
    pub(crate) base_path: String,
    /// Spaces of Kibana, beside the default one.
    pub(crate) spaces: BTreeSet<String>,
    /// The `Authorization` header that is required.
    pub(crate) login: Option<String>,
    /// Access key and secret that requests must be signed with.
    pub(crate) signer: Option<(String, String)>,
    /// Whether the user may only read.
    pub(crate) read_only: bool,
    /// The longest body that is accepted.
    pub(crate) max_bytes: usize,
    /// The version of objects that the product knows.
    pub(crate) last_version: [u32; 3],
    /// Errors of single objects in an import, by id.
    pub(crate) refused: BTreeMap<String, Value>,
    /// The fields of the indices; `None` if no index matches.
    pub(crate) fields: Option<Value>,
    /// Objects by space or tenant.
    objects: BTreeMap<String, BTreeMap<Key, Value>>,
    /// Requests that change something.
    pub(crate) writes: Vec<String>,
}

/// A running fake.
pub(crate) struct SavedObjectsApi {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl SavedObjectsApi {
    pub(crate) fn start(product: Product) -> Self {
        let state = Arc::new(Mutex::new(State {
            product,
            version: Some(match product {
                Product::Kibana => "8.12.2",
                Product::OpenSearchDashboards => "2.19.2",
            }),
            base_path: String::new(),
            spaces: BTreeSet::new(),
            login: None,
            signer: None,
            read_only: false,
            max_bytes: 25 << 20,
            last_version: match product {
                Product::Kibana => [8, 12, 0],
                Product::OpenSearchDashboards => [7, 10, 0],
            },
            refused: BTreeMap::new(),
            fields: None,
            objects: BTreeMap::new(),
            writes: Vec::new(),
        }));
        let theirs = Arc::clone(&state);
        let server = Server::start(move |request| {
            let mut state = theirs.lock().unwrap();
            let (status, body) = state.answer(request);
            let (name, kind) = match state.product {
                Product::Kibana => ("kbn-name", "application/json; charset=utf-8"),
                Product::OpenSearchDashboards => ("osd-name", "application/json; charset=utf-8"),
            };
            Response::new(status, kind, body.to_string()).header(name, "fake")
        });
        Self { server, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state().base_path)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns the objects of a space or tenant.
    pub(crate) fn objects(&self, of: &str) -> BTreeMap<Key, Value> {
        self.state().objects.get(of).cloned().unwrap_or_default()
    }

    /// Stores an object that somebody else made.
    pub(crate) fn put(&self, of: &str, kind: &str, id: &str, attributes: &Value) {
        let object = json!({ "type": kind, "id": id, "attributes": attributes, "references": [] });
        let key = (kind.to_owned(), id.to_owned());
        self.state().objects.entry(of.to_owned()).or_default().insert(key, object);
    }
}

fn error(status: u16, message: &str) -> (u16, Value) {
    let name = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        422 => "Unprocessable Entity",
        _ => "Internal Server Error",
    };
    (status, json!({ "statusCode": status, "error": name, "message": message }))
}

impl State {
    fn answer(&mut self, request: &Request) -> (u16, Value) {
        if let Some(login) = &self.login
            && request.header("authorization") != Some(login)
        {
            return error(401, "Unauthorized");
        }
        if request.body.len() > self.max_bytes {
            return error(413, "Payload content length greater than maximum allowed");
        }
        if let Some((key, secret)) = &self.signer
            && let Err(why) = signature::check(&as_wire(request), key, secret)
        {
            return (403, json!({ "Message": why }));
        }
        let path = wire::percent_decoded(&request.path);
        let Some(path) = path.strip_prefix(&self.base_path) else {
            return error(404, "Not Found");
        };
        let Some((of, path)) = self.namespace(request, path) else {
            return error(404, "Not Found");
        };
        if request.method != "GET"
            && let Some(refusal) = self.refuses_write(request)
        {
            return refusal;
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if request.method != "GET" && parts != ["api", "saved_objects", "_bulk_get"] {
            self.writes.push(format!("{} {path}", request.method));
        }
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", []) => (200, json!({})),
            ("GET", ["api", "status"]) => {
                (200, json!({ "name": "fake", "version": { "number": self.version } }))
            }
            ("POST", ["api", "saved_objects", "_bulk_get"]) => self.bulk_get(&of, &request.json()),
            ("POST", ["api", "saved_objects", "_import"]) => self.import(&of, request),
            ("DELETE", ["api", "saved_objects", kind, id]) => {
                let key = ((*kind).to_owned(), (*id).to_owned());
                match self.objects.entry(of).or_default().remove(&key) {
                    Some(_) => (200, json!({})),
                    None => error(404, &format!("Saved object [{kind}/{id}] not found")),
                }
            }
            ("GET", ["api", "saved_objects", kind, id]) => {
                let key = ((*kind).to_owned(), (*id).to_owned());
                match self.objects.entry(of).or_default().get(&key) {
                    Some(object) => (200, object.clone()),
                    None => error(404, &format!("Saved object [{kind}/{id}] not found")),
                }
            }
            ("PUT", ["api", "saved_objects", kind, id]) => {
                let key = ((*kind).to_owned(), (*id).to_owned());
                let Some(object) = self.objects.entry(of).or_default().get_mut(&key) else {
                    return error(404, "not found");
                };
                let body = request.json();
                for (name, value) in body["attributes"].as_object().unwrap() {
                    object["attributes"][name] = value.clone();
                }
                (200, object.clone())
            }
            ("GET", ["api", "index_patterns", "_fields_for_wildcard"]) => self.fields(request),
            _ => error(404, "Not Found"),
        }
    }

    /// Returns the space or tenant of a request, and the rest of the path.
    fn namespace(&self, request: &Request, path: &str) -> Option<(String, String)> {
        if self.product == Product::OpenSearchDashboards {
            let tenant = request.header("securitytenant").unwrap_or("__user__");
            return Some((tenant.to_owned(), path.to_owned()));
        }
        match path.strip_prefix("/s/") {
            Some(rest) => {
                let (space, path) = rest.split_once('/').unwrap_or((rest, ""));
                self.spaces.contains(space).then(|| (space.to_owned(), path.to_owned()))
            }
            None => Some(("default".to_owned(), path.to_owned())),
        }
    }

    fn refuses_write(&self, request: &Request) -> Option<(u16, Value)> {
        let missing = match self.product {
            Product::Kibana => ("kbn-xsrf", "Request must contain a kbn-xsrf header."),
            Product::OpenSearchDashboards => {
                ("osd-xsrf", "Request must contain the osd-xsrf header.")
            }
        };
        if request.header(missing.0).is_none() {
            return Some(error(400, missing.1));
        }
        let reads = request.path.ends_with("_bulk_get");
        (self.read_only && !reads)
            .then(|| error(403, "Unable to bulk_create dashboard,visualization"))
    }

    fn bulk_get(&mut self, of: &str, wanted: &Value) -> (u16, Value) {
        let objects = self.objects.entry(of.to_owned()).or_default();
        let found = wanted.as_array().unwrap().iter().map(|wanted| {
            let (kind, id) = (text(&wanted["type"]), text(&wanted["id"]));
            objects.get(&(kind.clone(), id.clone())).cloned().unwrap_or_else(|| {
                let message = format!("Saved object [{kind}/{id}] not found");
                json!({ "id": id, "type": kind,
                    "error": { "statusCode": 404, "error": "Not Found", "message": message } })
            })
        });
        let found: Vec<_> = found.collect();
        (200, json!({ "saved_objects": found }))
    }

    fn import(&mut self, of: &str, request: &Request) -> (u16, Value) {
        let lines = match file(request) {
            Ok(lines) => lines,
            Err(refusal) => return refusal,
        };
        let overwrite = request.parameter("overwrite").as_deref() == Some("true");
        if let Some(refusal) = lines.iter().find_map(|object| self.too_new(object)) {
            return refusal;
        }
        let places = lines.iter().map(|object| self.place(of, object)).collect::<Vec<_>>();
        let moved: BTreeMap<Key, String> = places
            .iter()
            .filter_map(|place| match place {
                Place::Moved { key, id } => Some((key.clone(), id.clone())),
                _ => None,
            })
            .collect();
        let known = self.objects.entry(of.to_owned()).or_default();
        let of_file: BTreeSet<Key> =
            lines.iter().map(|object| (text(&object["type"]), text(&object["id"]))).collect();
        let (mut errors, mut results) = (Vec::new(), Vec::new());
        for (object, place) in lines.iter().zip(places) {
            let (kind, id) = (text(&object["type"]), text(&object["id"]));
            let title = object["attributes"]["title"].clone();
            let mut fail = |error: Value| {
                let meta = json!({ "title": title, "icon": "x" });
                errors.push(
                    json!({ "id": id, "type": kind, "title": title, "meta": meta, "error": error }),
                );
            };
            let mut key = (kind.clone(), id.clone());
            let missing = missing_references(object, &of_file, known);
            if !["index-pattern", "search", "visualization", "dashboard"].contains(&kind.as_str()) {
                fail(json!({ "type": "unsupported_type" }));
            } else if let Some(error) = self.refused.get(&id) {
                fail(error.clone());
            } else if !missing.is_empty() {
                fail(json!({ "type": "missing_references", "references": missing }));
            } else if matches!(place, Place::Ambiguous) {
                fail(json!({ "type": "ambiguous_conflict", "destinations": [] }));
            } else if known.contains_key(&key) && !overwrite {
                fail(json!({ "type": "conflict" }));
            } else {
                let meta = json!({ "title": title, "icon": "x" });
                let mut result = json!({ "type": kind, "id": id, "meta": meta });
                let mut stored = object.clone();
                for reference in stored["references"].as_array_mut().into_iter().flatten() {
                    let to = (text(&reference["type"]), text(&reference["id"]));
                    if let Some(id) = moved.get(&to) {
                        reference["id"] = json!(id);
                    }
                }
                if let Place::Moved { id: new_id, .. } = &place {
                    result["destinationId"] = json!(new_id);
                    stored["originId"] = json!(id);
                    stored["id"] = json!(new_id);
                    key.1.clone_from(new_id);
                }
                let overwritten = known.insert(key, stored).is_some();
                if overwritten {
                    result["overwrite"] = true.into();
                }
                results.push(result);
            }
        }
        let mut answer = json!({ "successCount": results.len(), "success": errors.is_empty() });
        if !results.is_empty() {
            answer["successResults"] = results.into();
        }
        if !errors.is_empty() {
            answer["errors"] = errors.into();
        }
        if self.product == Product::Kibana {
            answer["warnings"] = json!([]);
        }
        (200, answer)
    }

    /// Returns where Kibana imports an object: ids are unique in all spaces together. An object that was imported under another
    /// id before is found again by the id that it came from.
    fn place(&self, of: &str, object: &Value) -> Place {
        let key = (text(&object["type"]), text(&object["id"]));
        let here = self.objects.get(of);
        let is_here = here.is_some_and(|objects| objects.contains_key(&key));
        if self.product == Product::OpenSearchDashboards || is_here {
            return Place::Own;
        }
        let of_origin = here
            .into_iter()
            .flatten()
            .filter(|((kind, _), stored)| *kind == key.0 && stored["originId"] == json!(key.1));
        let found: Vec<String> = of_origin.map(|((_, id), _)| id.clone()).collect();
        match found.as_slice() {
            [id] => Place::Moved { id: id.clone(), key },
            [] if self.objects.values().any(|objects| objects.contains_key(&key)) => {
                Place::Moved { id: format!("{:016x}", fastrand::u64(..)), key }
            }
            [] => Place::Own,
            _ => Place::Ambiguous,
        }
    }

    /// Refuses the whole file for an object that a newer product wrote.
    fn too_new(&self, object: &Value) -> Option<(u16, Value)> {
        let kind = text(&object["type"]);
        let version = text(&object["migrationVersion"][&kind]);
        let numbers: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
        (numbers.as_slice() > self.last_version.as_slice()).then(|| {
            error(422, &format!("Document \"{}\" has property \"{kind}\" which belongs to a more recent version [{version}].", text(&object["id"])))
        })
    }

    fn fields(&self, request: &Request) -> (u16, Value) {
        let meta = request.parameter("meta_fields").unwrap_or_default();
        if request.parameter("pattern").is_none()
            || !serde_json::from_str::<Value>(&meta).is_ok_and(|list| list.is_array())
        {
            return error(400, "[request query]: expected value of type [array]");
        }
        match &self.fields {
            Some(fields) => (200, json!({ "fields": fields })),
            None => error(404, "No indices match pattern"),
        }
    }
}

/// Under which id an object is imported.
enum Place {
    /// Its own.
    Own,
    /// Another one, because another space has its own.
    Moved { key: Key, id: String },
    /// Several objects came from its id.
    Ambiguous,
}

/// Returns the objects in the file of a multipart form.
fn file(request: &Request) -> Result<Vec<Value>, (u16, Value)> {
    let kind = request.header("content-type").unwrap_or_default();
    let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") else {
        return Err(error(400, "Unsupported Media Type"));
    };
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    let end = format!("\r\n--{boundary}--\r\n");
    let part = body
        .strip_prefix(&format!("--{boundary}\r\n"))
        .and_then(|rest| rest.strip_suffix(&end))
        .ok_or_else(|| error(400, "Invalid multipart payload format"))?;
    let (head, content) = part
        .split_once("\r\n\r\n")
        .ok_or_else(|| error(400, "Invalid multipart payload format"))?;
    if !head.contains("name=\"file\"") {
        return Err(error(400, "[request body.file]: expected value of type [Stream]"));
    }
    if !head.contains(".ndjson\"") {
        return Err(error(400, "Invalid file extension"));
    }
    let lines = content.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).map_err(|_| error(400, "Unexpected end of JSON input"))
        })
        .collect()
}

/// Returns the references that both products check: those to index patterns and searches.
fn missing_references(
    object: &Value,
    of_file: &BTreeSet<Key>,
    known: &BTreeMap<Key, Value>,
) -> Vec<Value> {
    let references = object["references"].as_array().into_iter().flatten();
    let checked = references.filter(|it| it["type"] == "index-pattern" || it["type"] == "search");
    let missing = checked.filter(|it| {
        let key = (text(&it["type"]), text(&it["id"]));
        !of_file.contains(&key) && !known.contains_key(&key)
    });
    missing.map(|it| json!({ "type": it["type"], "id": it["id"] })).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn as_wire(request: &Request) -> wire::Request {
    wire::Request {
        method: request.method.clone(),
        path: wire::percent_decoded(&request.path),
        query: request.query.clone(),
        headers: request.headers.clone().into_iter().collect(),
        body: request.body.to_vec(),
    }
}
