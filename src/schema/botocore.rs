//! Reads API models as botocore and the AWS CLI ship them: `DATA/SERVICE/VERSION/service-2.json`, or `.json.gz`.
//!
//! Input: a folder. Output: [`Service`]s. Invariant: a service has only shapes that requests and responses reach, numbered
//! in the order in which they are first referred to; equal scalars share a number.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::model::{
    Location, Member, MemberFlags, Operation, Protocol, ScalarType, Service, ServiceInfo, Shape,
    ShapeFlags, ShapeId, ShapeKind, Text,
};

/// A model is at most this long when uncompressed; EC2's has 5 MB.
const MODEL_LIMIT: u64 = 128 << 20;

/// Error from reading models.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder contains no model.
    #[error("{} contains no API models (SERVICE/VERSION/service-2.json or service-2.json.gz)", .0.display())]
    Empty(PathBuf),
    /// A file or folder cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A file is not JSON.
    #[error("{} is not an API model", path.display())]
    Json {
        /// Its path.
        path: PathBuf,
        /// The JSON error, with line and column.
        source: serde_json::Error,
    },
    /// A model lacks a part, or refers to a shape that it lacks.
    #[error("{} is not an API model: it lacks {part}", path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// What it lacks.
        part: String,
    },
}

/// A model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Name of the service, which is the name of the folder.
    pub service: String,
    /// Version of the API, which is the name of the folder below.
    pub version: String,
    /// The path.
    pub path: PathBuf,
}

/// Lists the model files of a folder, sorted by service and version.
///
/// # Errors
///
/// Returns [`Error`] if the folder cannot be read or contains no model.
pub fn list(folder: &Path) -> Result<Vec<ModelFile>, Error> {
    let mut found = Vec::new();
    for service in children(folder)? {
        if !service.is_dir() {
            continue;
        }
        for version in children(&service)? {
            let Some(path) = model_path(&version) else { continue };
            let (service, version) = (file_name(&service), file_name(&version));
            found.push(ModelFile { service, version, path });
        }
    }
    if found.is_empty() { Err(Error::Empty(folder.to_owned())) } else { Ok(found) }
}

fn model_path(version: &Path) -> Option<PathBuf> {
    let names = ["service-2.json", "service-2.json.gz"];
    names.map(|name| version.join(name)).into_iter().find(|path| path.is_file())
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    if !folder.is_dir() {
        // A file between the folders of services.
        return fs::metadata(folder).map(|_| Vec::new()).map_err(failed);
    }
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the newest model of a service in a folder; `None` if it has none.
pub fn find(folder: &Path, service: &str) -> Option<ModelFile> {
    let versions = children(&folder.join(service)).ok()?;
    versions.iter().rev().find_map(|version| {
        let path = model_path(version)?;
        Some(ModelFile { service: service.to_owned(), version: file_name(version), path })
    })
}

/// Which operations of a model are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// All.
    All,
    /// The one with this name, which takes less time.
    Operation(&'a str),
}

/// Reads a model.
///
/// # Errors
///
/// Returns [`Error`] if the file cannot be read or is no model.
pub fn read(file: &ModelFile, selection: Selection<'_>) -> Result<Service, Error> {
    let bytes = content(&file.path)?;
    let json = |source| Error::Json { path: file.path.clone(), source };
    let model: Model<'_> = serde_json::from_slice(&bytes).map_err(json)?;
    let mut reader = ModelReader::new(&model.shapes);
    let extras = ["service-2.sdk-extras.json", "service-2.sdk-extras.json.gz"];
    let extras = extras.map(|name| file.path.with_file_name(name));
    if let Some(path) = extras.into_iter().find(|path| path.is_file()) {
        let mut extras: Value = serde_json::from_slice(&content(&path)?).map_err(json)?;
        reader.extras = extras["merge"]["shapes"].take();
    }
    reader.read(&file.service, &model, selection).map_err(|failure| match failure {
        Failure::Json(source) => json(source),
        Failure::Lacks(part) => Error::Invalid { path: file.path.clone(), part },
    })
}

/// Returns the content of a file, uncompressed.
fn content(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(failed)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut text = Vec::with_capacity(bytes.len() * 8);
    let gzip = flate2::read::MultiGzDecoder::new(bytes.as_slice());
    gzip.take(MODEL_LIMIT).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// Version of EC2's last API before CloudTrail wrapped the requests of new calls.
const BEFORE_WRAPPING: &str = "2015-03-01";

/// Reads every version of every service in a folder, sorted by service and version.
///
/// # Errors
///
/// Returns [`Error`] if the folder contains no model, or a file cannot be read or is no model.
pub fn read_all(folder: &Path) -> Result<Vec<Service>, Error> {
    read_files(&list(folder)?, |_| true)
}

/// Reads the newest version of every service in a folder, sorted by service.
///
/// # Errors
///
/// Returns [`Error`] if the folder contains no model, or a file cannot be read or is no model.
pub fn read_newest(folder: &Path) -> Result<Vec<Service>, Error> {
    let files = list(folder)?;
    let newest: Vec<ModelFile> = files
        .chunk_by(|one, other| one.service == other.service)
        .filter_map(|versions| versions.last().cloned())
        .collect();
    read_files(&files, |file| newest.contains(file))
}

/// Reads some files. The older versions of EC2 decide which of its calls [predate](Operation::predates_wrapping) the
/// wrapping of requests.
fn read_files(
    files: &[ModelFile],
    is_wanted: impl Fn(&ModelFile) -> bool,
) -> Result<Vec<Service>, Error> {
    let mut old_calls = HashSet::new();
    for file in files.iter().filter(|file| file.service == "ec2") {
        if file.version.as_str() <= BEFORE_WRAPPING {
            old_calls.extend(
                read(file, Selection::All)?.operations.into_iter().map(|operation| operation.name),
            );
        }
    }
    let mut services = Vec::new();
    for file in files.iter().filter(|file| is_wanted(file)) {
        let mut service = read(file, Selection::All)?;
        for operation in &mut service.operations {
            operation.predates_wrapping =
                file.service == "ec2" && old_calls.contains(&operation.name);
        }
        services.push(service);
    }
    Ok(services)
}

/// A model, of which only the wanted parts are parsed.
#[derive(Deserialize)]
struct Model<'a> {
    metadata: Map<String, Value>,
    #[serde(borrow)]
    operations: Members<'a>,
    #[serde(borrow)]
    shapes: Members<'a>,
}

/// The members of a JSON object in their order, unparsed.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Why a model cannot be converted.
enum Failure {
    Json(serde_json::Error),
    /// It lacks a shape.
    Lacks(String),
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

fn info(id: &str, metadata: &Map<String, Value>) -> ServiceInfo {
    let text =
        |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let endpoint_prefix = text("endpointPrefix");
    let signing_name = Some(text("signingName")).filter(|name| !name.is_empty());
    let signing_name = signing_name.unwrap_or_else(|| endpoint_prefix.clone());
    // Later models list the protocols of a service; the first that we know is the one that older models name.
    let protocol = text("protocol");
    ServiceInfo {
        id: id.to_owned().into(),
        event_source: super::event_source::of(id, &signing_name, &endpoint_prefix).into(),
        endpoint_prefix: endpoint_prefix.into(),
        signing_name: signing_name.into(),
        service_id: text("serviceId").into(),
        protocol: Protocol::from_name(&protocol),
        api_version: text("apiVersion").into(),
    }
}

/// Converts a model, following references from its operations.
struct ModelReader<'a> {
    shapes: HashMap<&'a str, &'a RawValue>,
    /// Parts of shapes that botocore adds, by name.
    extras: Value,
    ids: HashMap<String, ShapeId>,
    /// Scalars by their definition without documentation.
    scalars: HashMap<String, ShapeId>,
    /// Shapes by number. Documentation of a shape is that of members which have none.
    parsed: Vec<Value>,
    documentation: HashMap<String, Option<Text>>,
}

impl<'a> ModelReader<'a> {
    fn new(shapes: &'a Members<'_>) -> Self {
        let shapes = shapes.0.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        let (ids, scalars) = (HashMap::new(), HashMap::new());
        let (parsed, documentation) = (Vec::new(), HashMap::new());
        Self { shapes, extras: Value::Null, ids, scalars, parsed, documentation }
    }

    fn read(
        &mut self,
        id: &str,
        model: &Model<'_>,
        selection: Selection<'_>,
    ) -> Result<Service, Failure> {
        let mut service = Service { info: info(id, &model.metadata), ..Service::default() };
        for (name, operation) in &model.operations.0 {
            if matches!(selection, Selection::Operation(wanted) if wanted != name) {
                continue;
            }
            let operation: Value = serde_json::from_str(operation.get())?;
            service.operations.push(self.operation(name, &operation)?);
        }
        let mut number = 0;
        while number < self.parsed.len() {
            let shape = std::mem::take(&mut self.parsed[number]);
            service.shapes.push(self.shape(&shape)?);
            number += 1;
        }
        Ok(service)
    }

    fn operation(&mut self, name: &str, operation: &Value) -> Result<Operation, Failure> {
        let side = |side: &str| operation[side]["shape"].as_str();
        let input = side("input").map(|name| self.id(name)).transpose()?;
        let output = side("output").map(|name| self.id(name)).transpose()?;
        Ok(Operation {
            name: name.to_owned().into(),
            method: text(&operation["http"]["method"]).unwrap_or_default(),
            uri: text(&operation["http"]["requestUri"]).unwrap_or_default(),
            input,
            output,
            deprecated: is_true(operation, "deprecated"),
            predates_wrapping: false,
            documentation: text(&operation["documentation"]),
        })
    }

    /// Returns the number of a shape, assigning the next one if it has none.
    fn id(&mut self, name: &str) -> Result<ShapeId, Failure> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        let lacks = || Failure::Lacks(format!("the shape `{name}`"));
        let mut shape = match self.shapes.get(name) {
            Some(shape) => serde_json::from_str(shape.get())?,
            None => Value::Null,
        };
        merge(&mut shape, &self.extras[name]);
        if shape.is_null() {
            return Err(lacks());
        }
        self.documentation.insert(name.to_owned(), text(&shape["documentation"]));
        let id = self.assign(shape);
        self.ids.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Returns the number for a shape: the next one, or that of an equal scalar.
    fn assign(&mut self, shape: Value) -> ShapeId {
        #[expect(clippy::cast_possible_truncation, reason = "no model has 2^32 shapes")]
        let next = ShapeId(self.parsed.len() as u32);
        let id = match scalar_definition(&shape) {
            Some(definition) => *self.scalars.entry(definition).or_insert(next),
            None => next,
        };
        if id == next {
            self.parsed.push(shape);
        }
        id
    }

    /// Returns the number for a member's shape, whose values the member may restrict.
    fn restricted(&mut self, member: &Value) -> Result<ShapeId, Failure> {
        let id = self.referenced_by(member)?;
        let Some(values) = member.get("enum") else { return Ok(id) };
        let Some(Value::String(name)) = member.get("shape") else { return Ok(id) };
        let Some(shape) = self.shapes.get(name.as_str()) else { return Ok(id) };
        let mut shape: Value = serde_json::from_str(shape.get())?;
        shape["enum"] = values.clone();
        Ok(self.assign(shape))
    }

    fn referenced_by(&mut self, reference: &Value) -> Result<ShapeId, Failure> {
        self.id(reference["shape"].as_str().unwrap_or_default())
    }

    fn shape(&mut self, shape: &Value) -> Result<Shape, Failure> {
        let kind = match shape["type"].as_str() {
            Some("structure") => ShapeKind::Structure { members: self.members(shape)? },
            Some("list") => ShapeKind::List {
                item: self.referenced_by(&shape["member"])?,
                item_name: text(&shape["member"]["locationName"]),
            },
            Some("map") => ShapeKind::Map {
                key: self.referenced_by(&shape["key"])?,
                value: self.referenced_by(&shape["value"])?,
            },
            other => ShapeKind::Scalar(ScalarType::from_name(other.unwrap_or_default())),
        };
        let number = |name: &str| shape.get(name).map(|number| Text::from(number.to_string()));
        let values = shape["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Shape {
            kind,
            min: number("min"),
            max: number("max"),
            pattern: text(&shape["pattern"]),
            enumeration: values.iter().filter_map(text).collect(),
            flags: ShapeFlags {
                sensitive: is_true(shape, "sensitive"),
                document: is_true(shape, "document"),
                event_stream: is_true(shape, "eventstream"),
                streaming: is_true(shape, "streaming"),
                wrapper: is_true(shape, "wrapper"),
                flattened: is_true(shape, "flattened"),
                union: is_true(shape, "union"),
            },
        })
    }

    fn members(&mut self, shape: &Value) -> Result<Vec<Member>, Failure> {
        let required = shape["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let payload = shape["payload"].as_str();
        let Some(members) = shape["members"].as_object() else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(members.len());
        for (name, member) in members {
            let target = member["shape"].as_str().unwrap_or_default();
            let id = self.restricted(member)?;
            let documentation = text(&member["documentation"])
                .or_else(|| self.documentation.get(target).cloned().flatten());
            found.push(Member {
                name: name.clone().into(),
                shape: id,
                location_name: text(&member["locationName"]).filter(|wire| wire != name),
                query_name: text(&member["queryName"]),
                location: Location::from_name(member["location"].as_str()),
                flags: MemberFlags {
                    required: required.iter().any(|required| required == name),
                    payload: payload == Some(name),
                    json_text: is_true(member, "jsonvalue"),
                    flattened: is_true(member, "flattened"),
                    streaming: is_true(member, "streaming"),
                    deprecated: is_true(member, "deprecated"),
                },
                documentation,
            });
        }
        Ok(found)
    }
}

/// Returns what equal scalars have in common, or `None` for a shape that refers to others.
fn scalar_definition(shape: &Value) -> Option<String> {
    let kind = shape["type"].as_str()?;
    if matches!(kind, "structure" | "list" | "map") {
        return None;
    }
    let facts = ["min", "max", "pattern", "enum", "sensitive", "streaming", "document"];
    Some(facts.iter().fold(
        ScalarType::from_name(kind).name().to_owned(),
        |mut definition, fact| {
            definition.push('\u{1f}');
            definition.push_str(&shape.get(*fact).map(Value::to_string).unwrap_or_default());
            definition
        },
    ))
}

/// Merges the members of an object into another; other values replace.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => into.clone_from(from),
    }
}

fn text(value: &Value) -> Option<Text> {
    value.as_str().map(|text| Text::Owned(text.to_owned()))
}

fn is_true(value: &Value, name: &str) -> bool {
    value[name] == Value::Bool(true)
}
