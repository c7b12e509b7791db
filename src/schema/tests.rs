//! Tests over the whole embedded table, and against the paths of real events.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read as _,
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::{
    Table,
    fields::{ExpandedField, expanded},
    has_operation,
    model::{Service, ServiceInfo, Side},
    names, operations, records,
    spelling::Offer,
    table, text,
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/events");
/// Files with recorded events; the others are examples of documentation and of tests.
const RECORDED: [&str; 5] = ["stratus", "traildiscover", "invictus", "opensearch-catalog", "plaso"];

#[test]
fn the_text_of_every_service_can_be_rendered_again() {
    let table = Table::embedded().unwrap();
    assert!(table.services.len() > 400);
    for entry in &table.services {
        let service = table.service(entry).unwrap();
        assert_eq!(text::render(&service), table.text(entry).unwrap(), "{}", entry.info.id);
        let names: Vec<&str> = service.operations.iter().map(|one| one.name.as_ref()).collect();
        assert_eq!(names, entry.operations, "{}", entry.info.id);
    }
}

#[test]
fn the_table_fits_into_two_megabytes() {
    let frames = table::embedded_frames().unwrap();
    assert!(frames[0].starts_with("trailload-shapes 1 botocore "));
    let bytes = fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/shapes.zst"));
    assert!(bytes.unwrap().len() <= 2 << 20);
}

#[test]
fn damaged_texts_are_errors() {
    for text in ["Op\u{1f}GET\u{1f}/\u{1f}+\n\nS\u{1f}a\u{1e}7\n", "Op\n\nZ\n", "Op\n\nL\n"] {
        assert!(text::parse(ServiceInfo::default(), text).is_err(), "{text:?}");
    }
}

#[test]
fn operations_are_known_by_source_and_event_name() {
    assert!(has_operation("iam.amazonaws.com", "CreatePolicy"));
    assert!(has_operation("lambda.amazonaws.com", "UpdateFunctionCode20150331v2"));
    assert!(has_operation("ses.amazonaws.com", "CreateEmailIdentity"), "of a second service");
    assert!(!has_operation("iam.amazonaws.com", "CreateBucket"));
    assert!(!has_operation("nosuch.amazonaws.com", "CreatePolicy"));
    assert!(operations("monitoring.amazonaws.com").any(|name| name == "PutMetricAlarm"));
}

#[test]
fn events_that_are_not_api_calls_are_sorted_and_unique() {
    let keys: Vec<(&str, &str)> =
        records::EVENTS.iter().map(|event| (event.source, event.name)).collect();
    assert!(keys.is_sorted_by(|one, other| one < other), "{keys:?}");
    assert!(records::EVENTS.iter().all(|event| !event.fields.is_empty()));
}

/// Names that one side of a call may have in events, as a tree.
#[derive(Default)]
struct Names {
    below: HashMap<String, Self>,
    /// Whether what is below is not predicted.
    is_any: bool,
}

/// Numbers of leaves of the model, and of the spellings offered for them.
#[derive(Default)]
struct Offered {
    leaves: u64,
    spellings: u64,
}

impl Names {
    fn add(&mut self, field: &ExpandedField<'_>, service: &Service, offered: &mut Offered) {
        let shape = field.value.shape(service);
        let is_any = field.recursive || shape.is_some_and(|shape| shape.flags.document);
        let name = field.step.name().to_ascii_lowercase();
        // Policies are texts that hold JSON, which some services parse.
        let is_policy =
            ["policy", "policydocument", "policies"].iter().any(|end| name.ends_with(end));
        for path in &field.paths {
            let mut at = &mut *self;
            for key in path.split('.') {
                at = at.below.entry(key.to_owned()).or_default();
            }
            at.is_any |= is_any || is_policy || field.is_any;
        }
        if field.children.is_empty() && !field.paths.is_empty() {
            offered.leaves += 1;
            offered.spellings += field.paths.len() as u64;
        }
        for child in &field.children {
            self.add(child, service, offered);
        }
    }

    fn has(&self, path: &[String]) -> bool {
        let Some((key, rest)) = path.split_first() else { return true };
        self.is_any
            || [key.as_str(), "*"]
                .iter()
                .any(|key| self.below.get(*key).is_some_and(|below| below.has(rest)))
    }
}

/// Collects the paths of leaves without list positions.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, below) in members {
                path.push(key.clone());
                leaves(below, path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for below in items {
                leaves(below, path, found);
            }
        }
        Value::Null => {}
        _ if path.is_empty() => {}
        _ => found.push(path.clone()),
    }
}

/// The event source, event name and side of a leaf, and its path without list positions.
type LeafPath = (String, String, Side, Vec<String>);

/// How many paths and leaves of events were predicted.
#[derive(Default)]
struct Score {
    paths: BTreeMap<LeafPath, (u64, bool)>,
}

impl Score {
    /// Returns the shares of distinct paths and of leaves, in percent.
    fn shares(&self) -> (f64, f64) {
        let (mut all, mut hits) = ((0, 0), (0, 0));
        for (count, is_hit) in self.paths.values() {
            all = (all.0 + 1, all.1 + count);
            if *is_hit {
                hits = (hits.0 + 1, hits.1 + count);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let share = |hits: u64, all: u64| hits as f64 / all as f64 * 100.0;
        (share(hits.0, all.0), share(hits.1, all.1))
    }
}

#[test]
fn paths_of_real_events_are_predicted() {
    let table = Table::embedded().unwrap();
    let mut services: HashMap<String, Service> = HashMap::new();
    let mut sides: HashMap<(String, String, Side), Option<Names>> = HashMap::new();
    let (mut recorded, mut others) = (Score::default(), Score::default());
    let mut offered = Offered::default();
    for entry in fs::read_dir(EVENTS).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_recorded = RECORDED.iter().any(|start| name.starts_with(start));
        let score = if is_recorded { &mut recorded } else { &mut others };
        let mut text = String::new();
        MultiGzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let (Some(source), Some(name)) =
                (event["eventSource"].as_str(), event["eventName"].as_str())
            else {
                continue;
            };
            for side in Side::ALL {
                let mut found = Vec::new();
                leaves(&event[side.record_member()], &mut Vec::new(), &mut found);
                if found.is_empty() {
                    continue;
                }
                let key = (source.to_owned(), name.to_owned(), side);
                let names = sides.entry(key).or_insert_with(|| {
                    predicted(table, &mut services, &mut offered, (source, name, side))
                });
                let Some(names) = names else { continue };
                for path in found {
                    let is_hit = names.has(&path);
                    let key = (source.to_owned(), name.to_owned(), side, path);
                    score.paths.entry(key).or_insert((0, is_hit)).0 += 1;
                }
            }
        }
    }
    let (paths, all_leaves) = recorded.shares();
    let (other_paths, other_leaves) = others.shares();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let spellings = offered.spellings as f64 / offered.leaves as f64;
    println!("recorded events: {paths:.1} % of paths, {all_leaves:.2} % of leaves");
    println!("other events: {other_paths:.1} % of paths, {other_leaves:.2} % of leaves");
    println!("{spellings:.3} spellings per leaf");
    assert!(paths >= 97.0 && all_leaves >= 99.0, "{paths} {all_leaves}");
    // Examples of documentation and of tests have names that no service ever logged.
    assert!(other_paths >= 96.0 && other_leaves >= 97.0, "{other_paths} {other_leaves}");
    assert!(spellings <= 1.5, "{spellings}");
}

/// Returns the names of a call in all services of its source that have it; `None` if none has.
fn predicted(
    table: &Table,
    services: &mut HashMap<String, Service>,
    offered: &mut Offered,
    (source, name, side): (&str, &str, Side),
) -> Option<Names> {
    let mut names = Names::default();
    let mut is_known = false;
    for entry in names::services(&table.services, source) {
        let Some(operation) = names::operation(&entry.operations, name) else { continue };
        let service = services
            .entry(entry.info.id.to_string())
            .or_insert_with(|| table.service(entry).unwrap());
        let operation = service.operation(operation).unwrap();
        for field in &expanded(service, operation, side, Offer::Likely) {
            names.add(field, service, offered);
        }
        is_known = true;
    }
    is_known.then_some(names)
}
