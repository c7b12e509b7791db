//! Reads API models as botocore and the AWS CLI ship them: `DATA/SERVICE/VERSION/service-2.json`, or `.json.gz`.
//!
//! Input: a folder. Output: [`Service`]s. Invariant: a service has only shapes that requests and responses reach, numbered
//! in the order in which they are first referred to; equal scalars share a number.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

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
            let file = ["service-2.json", "service-2.json.gz"].map(|name| version.join(name));
            let Some(path) = file.into_iter().find(|path| path.is_file()) else { continue };
            let (service, version) = (file_name(&service), file_name(&version));
            found.push(ModelFile { service, version, path });
        }
    }
    if found.is_empty() { Err(Error::Empty(folder.to_owned())) } else { Ok(found) }
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

/// Reads a model.
///
/// # Errors
///
/// Returns [`Error`] if the file cannot be read or is no model.
pub fn read(file: &ModelFile) -> Result<Service, Error> {
    let failed = |source| Error::Read { path: file.path.clone(), source };
    let bytes = fs::read(&file.path).map_err(failed)?;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut text = Vec::new();
        let gzip = flate2::read::MultiGzDecoder::new(bytes.as_slice());
        gzip.take(MODEL_LIMIT).read_to_end(&mut text).map_err(failed)?;
        text
    } else {
        bytes
    };
    let model: Value = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Json { path: file.path.clone(), source })?;
    parse(&file.service, &model).map_err(|part| Error::Invalid { path: file.path.clone(), part })
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
            old_calls.extend(read(file)?.operations.into_iter().map(|operation| operation.name));
        }
    }
    let mut services = Vec::new();
    for file in files.iter().filter(|file| is_wanted(file)) {
        let mut service = read(file)?;
        for operation in &mut service.operations {
            operation.predates_wrapping =
                file.service == "ec2" && old_calls.contains(&operation.name);
        }
        services.push(service);
    }
    Ok(services)
}

/// Converts a model. An error is the part that it lacks.
fn parse(id: &str, model: &Value) -> Result<Service, String> {
    let object = |name: &str| model[name].as_object().ok_or_else(|| format!("`{name}`"));
    let (metadata, operations, shapes) =
        (object("metadata")?, object("operations")?, object("shapes")?);
    let mut reader =
        ModelReader { shapes, ids: HashMap::new(), scalars: HashMap::new(), queue: Vec::new() };
    let mut service = Service { info: info(id, metadata), ..Service::default() };
    for (name, operation) in operations {
        service.operations.push(reader.operation(name, operation));
    }
    let mut number = 0;
    while let Some(name) = reader.queue.get(number) {
        let shape = shapes.get(*name).ok_or_else(|| format!("the shape `{name}`"))?;
        service.shapes.push(reader.shape(shape));
        number += 1;
    }
    Ok(service)
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

struct ModelReader<'a> {
    shapes: &'a Map<String, Value>,
    ids: HashMap<&'a str, ShapeId>,
    /// Scalars by their definition without documentation.
    scalars: HashMap<String, ShapeId>,
    /// Names of shapes, by number.
    queue: Vec<&'a str>,
}

impl<'a> ModelReader<'a> {
    fn operation(&mut self, name: &str, operation: &'a Value) -> Operation {
        let side = |side: &str| operation[side]["shape"].as_str();
        let (input, output) = (side("input"), side("output"));
        Operation {
            name: name.to_owned().into(),
            method: text(&operation["http"]["method"]).unwrap_or_default(),
            uri: text(&operation["http"]["requestUri"]).unwrap_or_default(),
            input: input.map(|name| self.id(name)),
            output: output.map(|name| self.id(name)),
            deprecated: is_true(operation, "deprecated"),
            predates_wrapping: false,
            documentation: text(&operation["documentation"]),
        }
    }

    /// Returns the number of a shape, assigning the next one if it has none.
    fn id(&mut self, name: &'a str) -> ShapeId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        #[expect(clippy::cast_possible_truncation, reason = "no model has 2^32 shapes")]
        let next = ShapeId(self.queue.len() as u32);
        let definition = self.shapes.get(name).and_then(scalar_definition);
        let id = match definition {
            Some(definition) => *self.scalars.entry(definition).or_insert(next),
            None => next,
        };
        if id == next {
            self.queue.push(name);
        }
        self.ids.insert(name, id);
        id
    }

    fn shape(&mut self, shape: &'a Value) -> Shape {
        let kind = match shape["type"].as_str() {
            Some("structure") => ShapeKind::Structure { members: self.members(shape) },
            Some("list") => ShapeKind::List {
                item: self.id(shape["member"]["shape"].as_str().unwrap_or_default()),
                item_name: text(&shape["member"]["locationName"]),
            },
            Some("map") => ShapeKind::Map {
                key: self.id(shape["key"]["shape"].as_str().unwrap_or_default()),
                value: self.id(shape["value"]["shape"].as_str().unwrap_or_default()),
            },
            other => ShapeKind::Scalar(ScalarType::from_name(other.unwrap_or_default())),
        };
        let number = |name: &str| shape.get(name).map(|number| Text::from(number.to_string()));
        let values = shape["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        Shape {
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
        }
    }

    fn members(&mut self, shape: &'a Value) -> Vec<Member> {
        let required = shape["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let payload = shape["payload"].as_str();
        let Some(members) = shape["members"].as_object() else { return Vec::new() };
        let member = |(name, member): (&String, &'a Value)| {
            let target = member["shape"].as_str().unwrap_or_default();
            let documentation = text(&member["documentation"])
                .or_else(|| text(&self.shapes.get(target)?["documentation"]));
            Member {
                name: name.clone().into(),
                shape: self.id(target),
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
            }
        };
        members.iter().map(member).collect()
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

fn text(value: &Value) -> Option<Text> {
    value.as_str().map(|text| Text::Owned(text.to_owned()))
}

fn is_true(value: &Value, name: &str) -> bool {
    value[name] == Value::Bool(true)
}
