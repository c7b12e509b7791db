//! What a target's search did not look into, to be told once at its end.
//!
//! In: folders and objects that were passed over, and where trails were found. Out: one sentence that names them.
//! Holds: memory is bounded, however many there are.

use std::{collections::BTreeSet, fmt::Write as _};

/// Folders and trails that are kept by name; more are only counted as "more".
const MAX_NAMES: usize = 1_000;

/// Names that are told.
const NAMES_SHOWN: usize = 3;

/// What was not looked into.
#[derive(Debug, Default)]
pub(super) struct SkippedNames {
    names: BTreeSet<String>,
    /// The `AWSLogs/` folders that were found.
    trails: BTreeSet<String>,
    truncated: bool,
}

impl SkippedNames {
    /// Takes in that a folder, with its slash, or an object is passed over.
    pub(super) fn add(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES {
            self.names.insert(name.to_owned());
        } else {
            self.truncated |= !self.names.contains(name);
        }
    }

    /// Takes in that there is an `AWSLogs/` folder.
    pub(super) fn add_trail_folder(&mut self, folder: &str) {
        if self.trails.len() < MAX_NAMES {
            self.trails.insert(folder.to_owned());
        }
    }

    /// Returns whether any trail was found.
    pub(super) fn has_trails(&self) -> bool {
        !self.trails.is_empty()
    }

    /// Says what was passed over, and how it is included; `None` if nothing was. `bucket` is the address of the
    /// bucket, with a slash at its end.
    pub(super) fn summary(&self, bucket: &str) -> Option<String> {
        let names: BTreeSet<&str> = self.names.iter().map(|name| self.largest_skipped_folder(name)).collect();
        let example = names.first()?;
        let add_trail_folder = self.trails.first().map_or("", String::as_str);
        let mut summary: String = names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let others = names.len().saturating_sub(NAMES_SHOWN);
        if self.truncated {
            summary += " and more";
        } else if others > 0 {
            let _ = write!(summary, " and {others} more");
        }
        Some(format!(
            "not looked into, because they are not laid out as a add_trail_folder's logs: {summary}; to load what they hold, name \
             them too, such as {bucket}{example}; to leave them out, name the logs, such as {bucket}{add_trail_folder}"
        ))
    }

    /// Returns the largest folder around a name that holds no trail, and is not part of one.
    fn largest_skipped_folder<'a>(&self, name: &'a str) -> &'a str {
        if self.trails.iter().any(|add_trail_folder| name.starts_with(add_trail_folder)) {
            return name;
        }
        let holds_trail = |folder: &str| self.trails.iter().any(|add_trail_folder| add_trail_folder.starts_with(folder));
        let mut folders = name.match_indices('/').map(|(slash, _)| &name[..=slash]);
        folders.find(|folder| !holds_trail(folder)).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_over_is_named_by_its_largest_folder() {
        let mut skipped = SkippedNames::default();
        assert_eq!(skipped.summary("s3://b/"), None);
        skipped.add_trail_folder("AWSLogs/");
        skipped.add_trail_folder("team/sub/AWSLogs/");
        for name in ["x.json", "reports/2024/", "reports/2023/", "team/notes/a/", "team/sub/y.gz"] {
            skipped.add(name);
        }
        skipped.add("AWSLogs/123456789012/mine/");
        let summary = skipped.summary("s3://b/").unwrap();
        assert_eq!(
            summary,
            "not looked into, because they are not laid out as a add_trail_folder's logs: AWSLogs/123456789012/mine/, reports/, \
             team/notes/ and 2 truncated; to load what they hold, name them too, such as s3://b/AWSLogs/123456789012/mine/; to \
             leave them out, name the logs, such as s3://b/AWSLogs/"
        );
    }

    #[test]
    fn very_many_names_are_not_kept() {
        let mut skipped = SkippedNames::default();
        skipped.add_trail_folder("z/AWSLogs/");
        for number in 0..3_000 {
            skipped.add(&format!("{number}.gz"));
        }
        assert_eq!(skipped.names.len(), MAX_NAMES);
        assert!(skipped.summary("s3://b/").unwrap().contains(" and more; "));
    }
}
