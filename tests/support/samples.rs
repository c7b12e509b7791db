//! Real events, as the project ships them or from a folder of the user's.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// Events, one a line with its newline, in the order of the files.
pub(crate) struct Samples {
    lines: Vec<Vec<u8>>,
}

impl Samples {
    /// Returns what the repository ships.
    pub(crate) fn shipped() -> Samples {
        Samples::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events"))
    }

    /// Returns the lines of every `.ndjson.gz` file of a folder.
    pub(crate) fn of(folder: &Path) -> Samples {
        let entries = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(".ndjson.gz"));
        paths.sort();
        let mut text = Vec::new();
        for path in paths {
            MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
        }
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        Samples { lines }
    }

    /// Returns the lines in the order of the files.
    pub(crate) fn lines(&self) -> &[Vec<u8>] {
        &self.lines
    }

    /// Returns the lines as LookupEvents would give them.
    pub(crate) fn newest_first(&self) -> Vec<Vec<u8>> {
        let mut lines = self.lines.clone();
        lines.sort_by_cached_key(|line| std::cmp::Reverse(time_of(line)));
        lines
    }

    /// Returns the ids of the events that bring a UUID of their own.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.lines.iter().filter_map(|line| uuid_of(&parsed(line))).collect()
    }

    /// Returns how many documents there must be: one for each id, and one for each content without.
    pub(crate) fn distinct(&self) -> usize {
        let parsed: Vec<Value> = self.lines.iter().map(|line| parsed(line)).collect();
        let keys = parsed.iter().map(|event| uuid_of(event).unwrap_or_else(|| canonical(event)));
        keys.collect::<BTreeSet<_>>().len()
    }
}

fn parsed(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

fn time_of(line: &[u8]) -> String {
    parsed(line)["eventTime"].as_str().unwrap_or_default().to_owned()
}

fn uuid_of(event: &Value) -> Option<String> {
    let id = event["eventID"].as_str()?;
    let shaped = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    shaped.then(|| id.to_owned())
}

/// Returns a text that is equal for equal contents, whatever the order of the keys.
fn canonical(event: &Value) -> String {
    match event {
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", canonical(value)))
                .collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// Returns the lines in an order that a seed decides.
pub(crate) fn shuffled(lines: &[Vec<u8>], seed: u64) -> Vec<Vec<u8>> {
    let mut lines = lines.to_vec();
    fastrand::Rng::with_seed(seed).shuffle(&mut lines);
    lines
}
