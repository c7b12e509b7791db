//! Reads API models for `scripts/derive-shapes` and `scripts/derive-kinds`.
//!
//! ```text
//! models shapes FILE SOURCES FOLDER...    write the shape table to FILE
//! models check SOURCES FOLDER...          compare the embedded shape table with one made from FOLDERs
//! models paths FOLDER...                  print the paths of all operations: {path: {class: [sources]}}
//! models fields                           print the fields of the embedded table, one side per line
//! ```
//!
//! A FOLDER is the `data` folder of a release of botocore, the newest first: a service of an older one counts for the
//! shape table only if the newer ones lack it. SOURCES names the releases in the first line of the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::{Value, json};
use trailload::schema::{
    Table, botocore,
    fields::{ExpandedField, FieldType, Step, expanded},
    model::{Member, Operation, ScalarType, Service, ShapeKind, Side},
    only_reads,
    spelling::Offer,
    table,
};

type Paths = BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["shapes", file, sources, folders @ ..] => {
            let services = newest(folders)?;
            let frames = table::render(&services, sources);
            let packed = table::compress(&frames)?;
            let operations: usize = services.iter().map(|one| one.operations.len()).sum();
            let length: usize = frames.iter().map(String::len).sum();
            writeln!(
                io::stdout(),
                "{} services, {operations} operations, {length} bytes as text, {} compressed",
                services.len(),
                packed.len()
            )?;
            fs::write(file, packed)?;
            Ok(ExitCode::SUCCESS)
        }
        ["check", sources, folders @ ..] => {
            let made = table::render(&newest(folders)?, sources);
            let same = table::embedded_frames()? == made;
            Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ["paths", folders @ ..] => {
            let mut paths = Paths::new();
            for folder in folders {
                for service in botocore::read_all(Path::new(folder))? {
                    add_service(&mut paths, &service);
                }
            }
            add_objects_above(&mut paths);
            writeln!(io::stdout(), "{}", serde_json::to_string(&paths)?)?;
            Ok(ExitCode::SUCCESS)
        }
        ["fields"] => {
            print_fields(&mut io::BufWriter::new(io::stdout().lock()))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("usage: models shapes FILE SOURCES FOLDER... | check SOURCES FOLDER... | paths FOLDER... | fields".into()),
    }
}

/// Adds the levels above fields that no shape has: `items`, and the wrappers of EC2's calls.
fn add_objects_above(paths: &mut Paths) {
    let mut above: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (path, classes) in &*paths {
        let mut path = path.as_str();
        while let Some((parent, _)) =
            path.rsplit_once('.').filter(|(parent, _)| parent.contains('.'))
        {
            if !paths.contains_key(parent) {
                above.push((parent.to_owned(), classes.values().flatten().cloned().collect()));
            }
            path = parent;
        }
    }
    for (path, sources) in above {
        paths.entry(path).or_default().entry("object").or_default().extend(sources);
    }
}

/// Prints a line of JSON for each side: its name, and what is known of each field by its path.
fn print_fields(out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let table = Table::embedded()?;
    for entry in &table.services {
        let service = table.service(entry)?;
        for operation in &service.operations {
            for side in Side::ALL.into_iter().filter(|side| side.of(operation).is_some()) {
                let mut known = serde_json::Map::new();
                for field in &expanded(&service, operation, side, Offer::Likely) {
                    collect(&service, field, "", &mut known);
                }
                let name = format!("{}.{}.{}", service.info.id, operation.name, side.name());
                writeln!(out, "{}", json!({ "side": name, "fields": known }))?;
            }
        }
    }
    Ok(())
}

fn collect(
    service: &Service,
    field: &ExpandedField<'_>,
    above: &str,
    known: &mut serde_json::Map<String, Value>,
) {
    let path = match &field.step {
        Step::Added(_) | Step::Subresource(_) => return,
        Step::Item => format!("{above}[]"),
        Step::Value => format!("{above}.*"),
        Step::Member(member) if above.is_empty() => member.name.to_string(),
        Step::Member(member) => format!("{above}.{}", member.name),
    };
    let Some(shape) = field.value.shape(service) else { return };
    let kind = match &shape.kind {
        ShapeKind::Structure { .. } => "structure",
        ShapeKind::List { .. } => "list",
        ShapeKind::Map { .. } => "map",
        ShapeKind::Scalar(scalar) => scalar.name(),
    };
    let fact = json!({
        "type": kind,
        "required": member(field).map(|member| member.flags.required),
        "min": shape.min,
        "max": shape.max,
        "pattern": shape.pattern,
        "enum": shape.enumeration,
        "sensitive": shape.flags.sensitive,
        "recursive": field.recursive,
    });
    known.insert(path.clone(), fact);
    for child in &field.children {
        collect(service, child, &path, known);
    }
}

/// Returns the newest model of every service, sorted by id.
fn newest(folders: &[&str]) -> Result<Vec<Service>, botocore::Error> {
    let mut services = BTreeMap::new();
    for folder in folders {
        for service in botocore::read_newest(Path::new(folder))? {
            services.entry(service.info.id.clone()).or_insert(service);
        }
    }
    Ok(services.into_values().collect())
}

fn add_service(paths: &mut Paths, service: &Service) {
    for operation in &service.operations {
        add_side(paths, service, operation, Side::Input);
        if !only_reads(&service.info.event_source, &operation.name) {
            add_side(paths, service, operation, Side::Output);
        }
    }
}

fn add_side(paths: &mut Paths, service: &Service, operation: &Operation, side: Side) {
    let fields = expanded(service, operation, side, Offer::Possible);
    let mut add = |path: &str, class: &'static str| {
        let path = format!("{}.{path}", side.record_member());
        let classes = paths.entry(path).or_default();
        classes.entry(class).or_default().insert(service.info.event_source.to_string());
    };
    for field in &fields {
        add_field(&mut add, service, field, &|path| vec![path.to_owned()]);
    }
}

/// Adds a field and those below. `expand` replaces the free keys of maps above by the keys that an enumeration lists.
fn add_field(
    add: &mut dyn FnMut(&str, &'static str),
    service: &Service,
    field: &ExpandedField<'_>,
    expand: &dyn Fn(&str) -> Vec<String>,
) {
    let mut add_all = |class: &'static str| {
        for path in &field.paths {
            for path in expand(path).iter().filter(|path| !path.is_empty()) {
                add(path, class);
            }
        }
    };
    let Some(shape) = field.value.shape(service) else {
        match field.value {
            FieldType::Scalar(scalar) => add_all(class(scalar)),
            _ if matches!(
                field.children.first(),
                Some(ExpandedField { step: Step::Value, .. })
            ) =>
            {
                add_all("map");
            }
            _ => add_all("object"),
        }
        for child in &field.children {
            add_field(add, service, child, expand);
        }
        return;
    };
    match &shape.kind {
        _ if shape.flags.event_stream => return,
        _ if shape.flags.document || field.is_any => {
            add_all("document");
        }
        _ if member(field).is_some_and(|member| member.flags.json_text) => add_all("string"),
        ShapeKind::Structure { .. } => add_all("object"),
        ShapeKind::Map { key, .. } => {
            let keys = &service.shape(*key).enumeration;
            if keys.is_empty() {
                add_all("map");
                if field.recursive {
                    for map in &field.paths {
                        for path in expand(&format!("{map}.*")) {
                            add(&path, "object");
                        }
                    }
                }
            } else {
                add_all("object");
                let maps: Vec<&str> = field.paths.iter().map(String::as_str).collect();
                let with_keys = |path: &str| {
                    let map = maps.iter().filter(|map| path.starts_with(&format!("{map}.*")));
                    let Some(map) = map.max_by_key(|map| map.len()) else { return expand(path) };
                    let below = &path[map.len() + 2..];
                    let of_key = |key| expand(&format!("{map}.{key}{below}"));
                    keys.iter().flat_map(of_key).collect()
                };
                for child in &field.children {
                    add_field(add, service, child, &with_keys);
                }
                return;
            }
        }
        ShapeKind::List { .. } => {
            // A list adds no path of its own unless its items are below a key.
            let items = field.children.first().map(|item| item.paths.as_slice());
            for (number, list) in field.paths.iter().enumerate() {
                let item = items.and_then(|items| items.get(number));
                if item.is_some_and(|item| item != list) {
                    for path in expand(list) {
                        add(&path, "object");
                    }
                }
                if field.recursive {
                    for path in expand(list) {
                        add(&path, "object");
                    }
                }
            }
        }
        ShapeKind::Scalar(scalar) => add_all(class(*scalar)),
    }
    for child in &field.children {
        add_field(add, service, child, expand);
    }
}

/// Returns the member of the model, if the field is one.
fn member<'a>(field: &ExpandedField<'a>) -> Option<&'a Member> {
    match field.step {
        Step::Member(member) => Some(member),
        _ => None,
    }
}

/// Returns the class that `scripts/kinds` weighs.
fn class(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::String => "string",
        ScalarType::Blob => "blob",
        ScalarType::Boolean => "boolean",
        ScalarType::Integer | ScalarType::Long => "long",
        ScalarType::Float | ScalarType::Double => "double",
        ScalarType::Timestamp => "date",
    }
}
