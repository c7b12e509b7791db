//! What a target's search did not look into, to be told once at its end.
//!
//! In: folders and objects that were passed over, and where trails were found. Out: one sentence that names them.
//! Holds: memory is bounded, however many there are.

use std::{collections::BTreeSet, fmt::Write as _};

/// Folders and trails that are kept by name; more are only counted as "more".
const KEPT: usize = 1_000;

/// Names that are told.
const TOLD: usize = 3;

/// What was not looked into.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    names: BTreeSet<String>,
    /// The `AWSLogs/` folders that were found.
    trails: BTreeSet<String>,
    more: bool,
}

impl LeftOut {
    /// Takes in that a folder, with its slash, or an object is passed over.
    pub(super) fn pass(&mut self, name: &str) {
        if self.names.len() < KEPT {
            self.names.insert(name.to_owned());
        } else {
            self.more |= !self.names.contains(name);
        }
    }

    /// Takes in that there is an `AWSLogs/` folder.
    pub(super) fn trail(&mut self, folder: &str) {
        if self.trails.len() < KEPT {
            self.trails.insert(folder.to_owned());
        }
    }

    /// Returns whether any trail was found.
    pub(super) fn has_trails(&self) -> bool {
        !self.trails.is_empty()
    }

    /// Says what was passed over, and how it is included; `None` if nothing was. `bucket` is the address of the
    /// bucket, with a slash at its end.
    pub(super) fn told(&self, bucket: &str) -> Option<String> {
        let names: BTreeSet<&str> = self.names.iter().map(|name| self.shortest(name)).collect();
        let example = names.first()?;
        let trail = self.trails.first().map_or("", String::as_str);
        let mut told: String = names.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
        let others = names.len().saturating_sub(TOLD);
        if self.more {
            told += " and more";
        } else if others > 0 {
            let _ = write!(told, " and {others} more");
        }
        Some(format!(
            "not looked into, because they are not laid out as a trail's logs: {told}; to load what they hold, name \
             them too, such as {bucket}{example}; to leave them out, name the logs, such as {bucket}{trail}"
        ))
    }

    /// Returns the largest folder around a name that holds no trail, and is not part of one.
    fn shortest<'a>(&self, name: &'a str) -> &'a str {
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
        let mut left = LeftOut::default();
        assert_eq!(left.told("s3://b/"), None);
        left.trail("AWSLogs/");
        left.trail("team/sub/AWSLogs/");
        for name in ["x.json", "reports/2024/", "reports/2023/", "team/notes/a/", "team/sub/y.gz"] {
            left.pass(name);
        }
        left.pass("AWSLogs/123456789012/mine/");
        let told = left.told("s3://b/").unwrap();
        assert_eq!(
            told,
            "not looked into, because they are not laid out as a trail's logs: AWSLogs/123456789012/mine/, reports/, \
             team/notes/ and 2 more; to load what they hold, name them too, such as s3://b/AWSLogs/123456789012/mine/; to \
             leave them out, name the logs, such as s3://b/AWSLogs/"
        );
    }

    #[test]
    fn very_many_names_are_not_kept() {
        let mut left = LeftOut::default();
        left.trail("z/AWSLogs/");
        for number in 0..3_000 {
            left.pass(&format!("{number}.gz"));
        }
        assert_eq!(left.names.len(), KEPT);
        assert!(left.told("s3://b/").unwrap().contains(" and more; "));
    }
}
