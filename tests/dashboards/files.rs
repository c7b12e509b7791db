//! The files that people import by hand.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trailload");

fn printed(options: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(["dashboards", "--print"]).args(options).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn committed(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/dashboards");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_committed_files_are_what_the_program_prints() {
    let hint = "run scripts/derive-dashboards";
    assert!(printed(&[]) == committed("saved-objects.ndjson"), "{hint}");
    assert!(printed(&["--lens"]) == committed("lens.ndjson"), "{hint}");
}

#[test]
fn a_prefix_replaces_the_indices_and_nothing_of_another_prefix_is_replaced() {
    let objects = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (own, other) = (objects(&printed(&[])), objects(&printed(&["--index", "acme"])));
    assert_eq!(own.len(), other.len());
    let key = |object: &Value| (object["type"].to_string(), object["id"].to_string());
    let keys: BTreeSet<_> = own.iter().map(key).collect();
    assert!(other.iter().all(|object| !keys.contains(&key(object))));
    let patterns = |objects: &[Value]| -> Vec<String> {
        let patterns = objects.iter().filter(|object| object["type"] == "index-pattern");
        patterns.map(|object| object["attributes"]["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(patterns(&own), ["cloudtrail-*", "cloudtrail-runs"]);
    assert_eq!(patterns(&other), ["acme-*", "acme-runs"]);
}

#[test]
fn every_title_is_a_question() {
    for line in printed(&[]).lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let title = object["attributes"]["title"].as_str().unwrap();
        assert!(object["type"] == "index-pattern" || title.contains('?'), "{title}");
        if let Some(panels) = object["attributes"]["panelsJSON"].as_str() {
            let panels: Value = serde_json::from_str(panels).unwrap();
            let titles =
                panels.as_array().unwrap().iter().filter_map(|panel| panel["title"].as_str());
            assert!(titles.clone().count() > 4);
            for title in titles {
                assert!(title.ends_with('?'), "{title}");
            }
        }
    }
}

/// A panel of Lens draws its own columns and nothing else.
#[test]
fn every_column_of_a_lens_panel_exists() {
    let mut panels = 0;
    for line in printed(&["--lens"]).lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let Some(text) = object["attributes"]["panelsJSON"].as_str() else { continue };
        assert_eq!(object["typeMigrationVersion"], "8.9.0");
        let listed: Value = serde_json::from_str(text).unwrap();
        for panel in listed.as_array().unwrap().iter().filter(|panel| panel["type"] == "lens") {
            panels += 1;
            let attributes = &panel["embeddableConfig"]["attributes"];
            let state = &attributes["state"];
            let layer = &state["datasourceStates"]["formBased"]["layers"]["l"];
            let columns: BTreeSet<&str> =
                layer["columns"].as_object().unwrap().keys().map(String::as_str).collect();
            let order: BTreeSet<&str> = layer["columnOrder"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_str().unwrap())
                .collect();
            assert_eq!(columns, order, "{panel}");
            let mut used = Vec::new();
            collect_columns(&state["visualization"], &mut used);
            assert!(!used.is_empty(), "{panel}");
            assert!(used.iter().all(|id| columns.contains(id.as_str())), "{panel}");
            let name = format!(
                "{}:indexpattern-datasource-layer-l",
                panel["panelIndex"].as_str().unwrap()
            );
            let references = object["references"].as_array().unwrap();
            assert!(references.iter().any(|reference| reference["name"] == *name), "{name}");
        }
    }
    assert!(panels > 50, "{panels}");
}

/// Collects the ids of columns in the state of a chart.
fn collect_columns(state: &Value, used: &mut Vec<String>) {
    const KEYS: [&str; 6] =
        ["columnId", "xAccessor", "splitAccessor", "accessors", "primaryGroups", "metrics"];
    match state {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(id) if KEYS.contains(&key.as_str()) => used.push(id.clone()),
                    Value::Array(ids) if KEYS.contains(&key.as_str()) => {
                        used.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned()));
                    }
                    value => collect_columns(value, used),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect_columns(value, used)),
        _ => {}
    }
}
