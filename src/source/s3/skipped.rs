//! Collects the folders that a listing skipped, to be reported once at its end.
//!
//! Input: skipped folders and objects, and the trail folders found. Output: one sentence that names them.
//! Invariant: memory is bounded, whatever their number.

use std::{collections::BTreeSet, fmt::Write as _};

/// Maximum number of names that are kept; further ones are only reported as "more".
const MAX_NAMES: usize = 1_000;

/// Maximum number of names in the report.
const NAMES_SHOWN: usize = 3;

/// Names of skipped folders and objects.
#[derive(Debug, Default)]
pub(super) struct SkippedNames {
    names: BTreeSet<String>,
    /// The `AWSLogs/` folders that were found.
    trails: BTreeSet<String>,
    truncated: bool,
}

impl SkippedNames {
    /// Adds a skipped folder, with its slash, or object.
    pub(super) fn add(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES {
            self.names.insert(name.to_owned());
        } else {
            self.truncated |= !self.names.contains(name);
        }
    }

    /// Adds an `AWSLogs/` folder.
    pub(super) fn add_trail_folder(&mut self, folder: &str) {
        if self.trails.len() < MAX_NAMES {
            self.trails.insert(folder.to_owned());
        }
    }

    /// Returns whether any trail was found.
    pub(super) fn has_trails(&self) -> bool {
        !self.trails.is_empty()
    }

    /// Describes what was skipped and how to include it; `None` if nothing was. `bucket` is the URI of the bucket,
    /// with a trailing slash.
    pub(super) fn summary(&self, bucket: &str) -> Option<String> {
        let names: BTreeSet<&str> =
            self.names.iter().map(|name| self.largest_skipped_folder(name)).collect();
        let example = names.first()?;
        let trail = self.trails.first().map_or("", String::as_str);
        let mut summary: String =
            names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let others = names.len().saturating_sub(NAMES_SHOWN);
        if self.truncated {
            summary += " and more";
        } else if others > 0 {
            let _ = write!(summary, " and {others} more");
        }
        Some(format!(
            "skipped, because they do not have the layout of trail logs: {summary}; to load them, also pass \
             {bucket}{example}; to load only the trail, pass {bucket}{trail}"
        ))
    }

    /// Returns the largest folder that contains a name and no trail, and is not part of a trail.
    fn largest_skipped_folder<'a>(&self, name: &'a str) -> &'a str {
        if self.trails.iter().any(|trail| name.starts_with(trail)) {
            return name;
        }
        let holds_trail = |folder: &str| self.trails.iter().any(|trail| trail.starts_with(folder));
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
            "skipped, because they do not have the layout of trail logs: AWSLogs/123456789012/mine/, reports/, team/notes/ \
             and 2 more; to load them, also pass s3://b/AWSLogs/123456789012/mine/; to load only the trail, pass \
             s3://b/AWSLogs/"
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
