//! Prints which events of `tests/data/events` rsigma finds with each rule of `tests/data/sigma/rules`, or, with the argument
//! `comparisons`, whether it matches each item of `tests/data/sigma/comparisons.json`.
//!
//! Output: JSON, the title of a rule to the numbers of its events, from 0, in the order of file names and lines; an item to
//! true or false. What rsigma refuses has its message instead.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    if std::env::args().nth(1).as_deref() == Some("comparisons") {
        return compare(&data.join("sigma/comparisons.json"));
    }
    let events = events(&data.join("events"))?;
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for path in sorted(&data.join("sigma/rules"))? {
        let rules = parse_sigma_yaml(&fs::read_to_string(&path)?)?;
        for rule in &rules.rules {
            let mut engine = Engine::new();
            let matches = match engine.add_rule(rule) {
                Err(error) => Value::from(error.to_string()),
                Ok(()) => events
                    .iter()
                    .enumerate()
                    .filter(|(_, event)| !engine.evaluate(&JsonEvent::borrow(event)).is_empty())
                    .map(|(number, _)| Value::from(number))
                    .collect(),
            };
            found.insert(rule.title.clone(), matches);
        }
    }
    let lines: Vec<String> =
        found.iter().map(|(title, matches)| format!(" {}: {matches}", Value::from(title.as_str()))).collect();
    println!("{{\n{}\n}}", lines.join(",\n"));
    Ok(())
}

/// Prints which items match the event of a file.
fn compare(path: &std::path::Path) -> Result<(), Failure> {
    let file: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let mut lines = Vec::new();
    for item in file["items"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let rule = format!(
            "title: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  s:\n    {item}\n  condition: s\n"
        );
        let matched = parse_sigma_yaml(&rule).map_err(Failure::from).and_then(|rules| {
            let mut engine = Engine::new();
            for rule in &rules.rules {
                engine.add_rule(rule)?;
            }
            Ok(!engine.evaluate(&JsonEvent::borrow(&file["event"])).is_empty())
        });
        let matched = matched.map_or_else(|error| Value::from(error.to_string()), Value::from);
        lines.push(format!(" {}: {matched}", Value::from(item)));
    }
    println!("{{\n{}\n}}", lines.join(",\n"));
    Ok(())
}

/// Reads the events of all files.
fn events(folder: &std::path::Path) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    for path in sorted(folder)? {
        if path.extension().is_some_and(|extension| extension == "gz") {
            let text = io::read_to_string(flate2::read::MultiGzDecoder::new(fs::File::open(path)?))?;
            for line in text.lines() {
                events.push(serde_json::from_str(line)?);
            }
        }
    }
    Ok(events)
}

fn sorted(folder: &std::path::Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort_unstable();
    Ok(paths)
}
