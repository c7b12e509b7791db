//! The checkpoint file of `trailload watch`.
//!
//! Input: sources and rules. Output: the path of the file.
//! Invariant: runs with the same sources and rule files share a file, wherever they are started; others do not, because a file
//! records which events were evaluated, not with which rules.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::cli::{
    environment::Environment,
    failure::Failure,
    plan::{engine::checkpoint_folder, sources::SourceList},
};

/// Start of the names of these files.
pub(in crate::cli) const PREFIX: &str = "watch-";

/// Longest part of the name that is taken from the sources.
const MAX_LABEL_CHARS: usize = 60;

/// The target of these files in the checkpoint, instead of an engine.
pub(in crate::cli) const TARGET: &str = "alerts";

/// Returns the checkpoint file of a run if none is given.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the environment does not define the state folder.
pub(in crate::cli) fn default_checkpoint(
    sources: &SourceList,
    rules: &[PathBuf],
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    let mut parts = source_names(sources);
    parts.sort_unstable();
    let mut names = sources.names.clone();
    names.sort_unstable();
    let mut hash = Sha256::new();
    let mut rules: Vec<String> = rules.iter().map(|path| absolute(path.as_os_str())).collect();
    rules.sort_unstable();
    for part in parts.iter().chain(&rules) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut name = format!("{PREFIX}{}-", label(&names));
    for byte in hash.finalize().iter().take(4) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(checkpoint_folder(environment)?.join(format!("{name}.sqlite")))
}

/// Returns the names of the sources, with absolute paths.
fn source_names(sources: &SourceList) -> Vec<String> {
    let is_path = |number: usize, name: &str| {
        name != "standard input" && sources.files.iter().any(|(file, _)| *file == number)
    };
    let names = sources.names.iter().enumerate();
    names
        .map(
            |(number, name)| {
                if is_path(number, name) { absolute(OsStr::new(name)) } else { name.clone() }
            },
        )
        .collect()
}

fn absolute(path: &OsStr) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).to_owned()).display().to_string()
}

/// Returns a short name of the sources, in characters that every file system allows.
fn label(names: &[String]) -> String {
    let name = match names {
        [] => "nothing".to_owned(),
        [name] => name.clone(),
        [first, others @ ..] => format!("{first}-and-{}-more", others.len()),
    };
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let label = words.join("-");
    // The end of a path tells more than its start.
    let start = label.len().saturating_sub(MAX_LABEL_CHARS);
    label[start..].trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn file(sources: &[&str], rules: &[&str]) -> String {
        let sources: Vec<OsString> = sources.iter().map(OsString::from).collect();
        let sources = SourceList::for_search(&sources, &[]).unwrap();
        let rules: Vec<PathBuf> = rules.iter().map(PathBuf::from).collect();
        let environment = Environment { state: Some("/state".into()), ..Environment::default() };
        let path = default_checkpoint(&sources, &rules, &environment).unwrap();
        path.strip_prefix("/state/trailload").unwrap().display().to_string()
    }

    #[test]
    fn each_set_of_sources_and_rules_has_a_file() {
        let lookup = file(&[], &["rules"]);
        assert!(lookup.starts_with("watch-lookup-"), "{lookup}");
        assert_eq!(lookup, file(&["lookup"], &["rules/"]));
        assert_ne!(lookup, file(&["lookup"], &["other"]));
        assert_ne!(lookup, file(&["s3://logs/b"], &["rules"]));
        assert_eq!(file(&["a", "s3://logs"], &["x", "y"]), file(&["s3://logs", "a"], &["y", "x"]));
        assert!(file(&["s3://logs/org/x"], &["r"]).starts_with("watch-s3-logs-org-x-"));
        let long = file(&[&format!("/{}", "x/".repeat(500))], &["r"]);
        assert!(long.len() < 100, "{long}");
    }
}
