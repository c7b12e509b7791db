//! Fields of the events that resemble a field which no event has.
//!
//! Input: a path and events. Output: the few paths that were probably meant.
//! Invariant: at most [`KEPT_PATHS`] paths of at most [`MAX_PATH_BYTES`] bytes are kept, the most similar ones.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::Path;
use crate::report::terminal::escape_unprintable;

/// How many candidates are kept while events are read.
const KEPT_PATHS: usize = 32;

/// How many are suggested.
const SUGGESTED_PATHS: usize = 3;

/// The longest path that is kept. The longest path of the public events that were looked at has 150 bytes.
const MAX_PATH_BYTES: usize = 200;

/// How many members of an event are looked at.
const MAX_MEMBERS: usize = 2_000;

/// How deep members are looked at.
const MAX_DEPTH: usize = 10;

/// Paths that resemble another one, the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NearPaths(BTreeSet<NearPath>);

/// A path that resembles another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NearPath {
    likeness: Likeness,
    /// The edits between the whole paths, or the last names where the wanted path has no other.
    distance: usize,
    path: String,
}

/// How the last names of two paths resemble each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// They are the same, in another place.
    Same,
    /// They differ in upper and lower case.
    Case,
    /// They differ in a few letters.
    Letters,
}

impl NearPaths {
    /// Adds the members of an event whose name resembles the last name of the path.
    pub(super) fn collect(&mut self, path: &Path, event: &Value) {
        let Some(name) = path.last_name() else { return };
        let whole = path.names().map(|names| names.join("."));
        let mut walk = Walk { name, whole, members: 0, path: String::from("$"), near: self };
        walk.visit(event, MAX_DEPTH);
    }

    /// Adds those of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|near| self.insert(near));
    }

    /// Returns the most similar paths, escaped.
    pub(super) fn best(&self) -> Vec<String> {
        let Some(best) = self.0.first() else { return Vec::new() };
        self.0
            .iter()
            .take_while(|near| near.likeness == best.likeness)
            // A name that needs more changes than the nearest one was not meant.
            .filter(|near| near.likeness != Likeness::Letters || near.distance <= best.distance + 1)
            .take(SUGGESTED_PATHS)
            .map(|near| escape_unprintable(&near.path))
            .collect()
    }

    fn insert(&mut self, near: NearPath) {
        self.0.insert(near);
        if self.0.len() > KEPT_PATHS {
            self.0.pop_last();
        }
    }
}

/// A walk through the members of one event.
struct Walk<'a> {
    name: &'a str,
    /// The names of the wanted path, joined by points; `None` if it does not consist of names only.
    whole: Option<String>,
    members: usize,
    path: String,
    near: &'a mut NearPaths,
}

impl Walk<'_> {
    fn visit(&mut self, node: &Value, depth: usize) {
        match node {
            Value::Object(members) if depth > 0 => {
                for (name, value) in members {
                    self.members += 1;
                    if self.members > MAX_MEMBERS {
                        return;
                    }
                    self.visit_member(name, value, depth);
                }
            }
            Value::Array(elements) if depth > 0 => {
                let len = self.path.len();
                self.path.push_str("[*]");
                // The elements of one list resemble each other.
                for element in elements.iter().take(3) {
                    self.visit(element, depth - 1);
                }
                self.path.truncate(len);
            }
            _ => {}
        }
    }

    fn visit_member(&mut self, name: &str, value: &Value, depth: usize) {
        let len = self.path.len();
        if len + name.len() + 6 > MAX_PATH_BYTES {
            return;
        }
        push_name(&mut self.path, name);
        if let Some(likeness) = likeness(self.name, name).filter(|_| !value.is_null()) {
            let distance = match &self.whole {
                Some(whole) => {
                    let names = self.path.trim_start_matches("$.").replace("[*]", "");
                    strsim::damerau_levenshtein(whole, &names)
                }
                None => strsim::damerau_levenshtein(self.name, name),
            };
            self.near.insert(NearPath { likeness, distance, path: self.path.clone() });
        }
        self.visit(value, depth - 1);
        self.path.truncate(len);
    }
}

/// Appends a member to a path, in brackets if its name needs them.
fn push_name(path: &mut String, name: &str) {
    let is_plain = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == ':')
        && name.chars().all(|letter| letter.is_alphanumeric() || "_-:".contains(letter));
    if is_plain {
        path.push('.');
        path.push_str(name);
    } else {
        path.push_str("['");
        path.push_str(&name.replace('\\', "\\\\").replace('\'', "\\'"));
        path.push_str("']");
    }
}

/// Returns how two names resemble each other; they may differ in a third of their letters.
fn likeness(wanted: &str, name: &str) -> Option<Likeness> {
    if wanted == name {
        return Some(Likeness::Same);
    }
    if wanted.eq_ignore_ascii_case(name) {
        return Some(Likeness::Case);
    }
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    // A letter has at most four bytes, so that most names need no comparison.
    let is_similar = wanted.len().abs_diff(name.len()) <= 4 * allowed
        && strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()) <= allowed;
    is_similar.then_some(Likeness::Letters)
}
