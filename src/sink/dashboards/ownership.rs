//! Who wrote a saved object, and which version of it is there.
//!
//! Saved objects have no place for marks but their description, whose end is `(trailload VERSION DIGEST)`. The digest is that
//! of the object as it is imported: an object that people have changed since keeps it, and is replaced only by an object
//! that this program would write differently. An index pattern has no description; the title, the pattern itself, identifies
//! it. An object of a file that was imported by hand has no mark; its id, title and description identify it.
//! Input: a [`SavedObject`], and what is stored under its type and id. Output: an [`ObjectState`].

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::dashboard::SavedObject;

/// The version of this program.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of the digest: enough to tell versions of one object apart.
const DIGEST_BYTES: usize = 5;

/// What is stored under the type and id of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// Nothing.
    Missing,
    /// The object of this program.
    Current,
    /// The object of another version of this program, which is not newer, or one that was imported by hand.
    Outdated,
    /// The object of a newer version of this program.
    Newer(String),
    /// An object of another program, or of a person.
    Foreign,
    /// It cannot be read.
    Unreadable(String),
}

impl ObjectState {
    /// Compares an object with an entry of the response.
    pub(super) fn new(object: &SavedObject, found: &Value) -> Self {
        if let Some(error) = found.get("error").filter(|error| !error.is_null()) {
            return match error["statusCode"].as_u64() {
                Some(404) => Self::Missing,
                _ => Self::Unreadable(error["message"].as_str().unwrap_or("unknown").to_owned()),
            };
        }
        let theirs = &found["attributes"];
        let ours = &object.to_json()["attributes"];
        let Some(description) = ours["description"].as_str() else {
            return if theirs["title"] == ours["title"] { Self::Current } else { Self::Foreign };
        };
        // What a person wrote behind the mark does not matter.
        let stored = theirs["description"].as_str().unwrap_or_default();
        let Some((version, digest)) = parse_mark(stored) else {
            // The files of `trailload dashboards`, which people import by hand, have no marks.
            let is_by_hand = stored == description && theirs["title"] == ours["title"];
            return if is_by_hand { Self::Outdated } else { Self::Foreign };
        };
        if marked(description, object).contains(&format!(" {digest})")) {
            Self::Current
        } else if numbers(version) > numbers(OWN_VERSION) {
            Self::Newer(version.to_owned())
        } else {
            Self::Outdated
        }
    }
}

/// Returns the object as it is imported: with a mark in its description.
pub(super) fn with_mark(object: &SavedObject) -> Value {
    let mut json = object.to_json().clone();
    if let Some(description) = json["attributes"]["description"].as_str() {
        json["attributes"]["description"] = marked(description, object).into();
    }
    json
}

fn marked(description: &str, object: &SavedObject) -> String {
    let hash = Sha256::digest(object.to_json().to_string());
    let mut digest = String::new();
    for byte in hash.iter().take(DIGEST_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    format!("{description} (trailload {OWN_VERSION} {digest})").trim_start().to_owned()
}

/// Returns version and digest of the last mark in a description.
fn parse_mark(description: &str) -> Option<(&str, &str)> {
    let (_, mark) = description.rsplit_once("(trailload ")?;
    let (mark, _) = mark.split_once(')')?;
    let (version, digest) = mark.split_once(' ')?;
    let is_digest =
        digest.len() == 2 * DIGEST_BYTES && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some((version, digest))
}

/// Returns the numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|letter: char| !letter.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dashboard::{Dashboards, saved_objects};

    fn objects() -> Vec<SavedObject> {
        saved_objects(&Dashboards::embedded().unwrap(), "cloudtrail")
    }

    fn dashboard() -> SavedObject {
        objects().into_iter().find(|object| object.kind == "dashboard").unwrap()
    }

    #[test]
    fn every_object_is_recognized_again() {
        for object in objects() {
            let imported = with_mark(&object);
            assert_eq!(ObjectState::new(&object, &imported), ObjectState::Current, "{}", object.id);
        }
    }

    #[test]
    fn changes_of_people_do_not_make_an_object_outdated() {
        let object = dashboard();
        let mut stored = with_mark(&object);
        stored["attributes"]["title"] = json!("Mine");
        stored["attributes"]["panelsJSON"] = json!("[]");
        let description = stored["attributes"]["description"].as_str().unwrap();
        stored["attributes"]["description"] = format!("Ours. {description} Do not touch").into();
        assert_eq!(ObjectState::new(&object, &stored), ObjectState::Current);
    }

    #[test]
    fn versions_and_strangers_are_told_apart() {
        let object = dashboard();
        let state = |description: &str| {
            let mut stored = object.to_json().clone();
            stored["attributes"]["description"] = description.into();
            ObjectState::new(&object, &stored)
        };
        assert_eq!(state("What? (trailload 0.0.1 0123456789)"), ObjectState::Outdated);
        assert_eq!(
            state("What? (trailload 99.0.0 0123456789)"),
            ObjectState::Newer("99.0.0".to_owned())
        );
        for theirs in ["", "My dashboard", "(trailload rules)", "(trailload 1 xyz)"] {
            assert_eq!(state(theirs), ObjectState::Foreign, "{theirs}");
        }
        let missing = json!({ "id": "x", "type": "dashboard", "error": { "statusCode": 404 } });
        assert_eq!(ObjectState::new(&object, &missing), ObjectState::Missing);
        let forbidden = json!({ "error": { "statusCode": 403, "message": "no" } });
        assert_eq!(ObjectState::new(&object, &forbidden), ObjectState::Unreadable("no".to_owned()));
    }

    #[test]
    fn objects_that_were_imported_by_hand_are_recognized() {
        for object in objects() {
            let mut stored = object.to_json().clone();
            assert_ne!(ObjectState::new(&object, &stored), ObjectState::Foreign, "{}", object.id);
            stored["attributes"]["title"] = json!("Mine");
            assert_eq!(ObjectState::new(&object, &stored), ObjectState::Foreign, "{}", object.id);
        }
    }

    #[test]
    fn another_index_pattern_under_the_id_is_foreign() {
        let objects = objects();
        let pattern = objects.iter().find(|object| object.kind == "index-pattern").unwrap();
        let stored = json!({ "attributes": { "title": "other-*", "fields": "[]" } });
        assert_eq!(ObjectState::new(pattern, &stored), ObjectState::Foreign);
        let stored = json!({ "attributes": { "title": "cloudtrail-*", "fields": "[]" } });
        assert_eq!(ObjectState::new(pattern, &stored), ObjectState::Current);
    }
}
