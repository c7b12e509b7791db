//! Reads rule files.
//!
//! Input: paths of files and folders. Output: the rules of each file, with what is wrong in them.
//! Invariant: files are read in the order of their names, so output is the same for every run; a name of a rule that occurs
//! twice is an error, also across files.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cli::failure::Failure,
    filter::{
        rule::{Rule, RuleFile, parse_rule_file},
        yaml::DefinitionError,
    },
    report::terminal::escape_unprintable,
};

/// The largest file, in bytes. 1,000 rules with their tests have less than 10 MiB.
const MAX_BYTES: u64 = 64 << 20;

/// How deep folders are searched. Links to a parent folder would otherwise never end.
const MAX_DEPTH: usize = 16;

/// A rule file.
#[derive(Debug)]
pub(super) struct LoadedFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) content: RuleFile,
}

/// The rules of all files.
#[derive(Debug, Default)]
pub(super) struct LoadedRules {
    pub(super) files: Vec<LoadedFile>,
}

impl LoadedRules {
    /// Returns the rules without an error, each with its file.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&LoadedFile, &Rule)> {
        self.files.iter().flat_map(|file| file.content.rules.iter().map(move |rule| (file, rule)))
    }

    pub(super) fn error_count(&self) -> usize {
        self.files.iter().map(|file| file.content.errors.len()).sum()
    }

    /// Adds an error for each name that another file has too.
    fn check_names(&mut self) {
        let mut first: HashMap<String, String> = HashMap::new();
        for file in &mut self.files {
            let path = escape_unprintable(&file.path.to_string_lossy());
            for rule in &file.content.rules {
                match first.get(&rule.name) {
                    Some(other) if *other != path => {
                        let message = format!("the name is that of a rule in {other} too");
                        let error = DefinitionError::new(rule.position, message);
                        file.content.errors.push(error.suggest("give each rule a name of its own"));
                    }
                    Some(_) => {}
                    None => drop(first.insert(rule.name.clone(), path.clone())),
                }
            }
        }
    }
}

/// Loads the rules of files and folders.
///
/// # Errors
///
/// Returns a [`Failure`] if a path cannot be read, or a folder has no rule file. Errors in rules are in the result.
pub(super) fn load_rules(paths: &[PathBuf]) -> Result<LoadedRules, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let mut found = Vec::new();
        collect(path, 0, &mut found)?;
        if found.is_empty() {
            let heading = format!("there is no rule file in {}", shown(path));
            return Err(
                Failure::usage(heading).hint("the names of rule files end with .yml or .yaml")
            );
        }
        files.extend(found);
    }
    let mut seen = Vec::new();
    files.retain(|path| {
        let is_new = !seen.contains(path);
        if is_new {
            seen.push(path.clone());
        }
        is_new
    });
    let mut loaded = LoadedRules::default();
    for path in files {
        let text = read(&path)?;
        let content = parse_rule_file(&text);
        loaded.files.push(LoadedFile { path, text, content });
    }
    loaded.check_names();
    Ok(loaded)
}

fn shown(path: &Path) -> String {
    escape_unprintable(&path.to_string_lossy())
}

/// Adds a file, or the rule files of a folder and the folders in it.
fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error: &std::io::Error| {
        Failure::usage(format!("cannot read {}", shown(path))).caused_by(error)
    };
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path).and_then(Iterator::collect);
    let mut entries: Vec<PathBuf> = entries
        .map_err(|error| unreadable(&error))?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    entries.sort_unstable();
    for entry in entries {
        let is_hidden =
            entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_rule_file = matches!(
            entry.extension().and_then(|extension| extension.to_str()),
            Some("yml" | "yaml")
        );
        if !is_hidden && (is_rule_file || entry.is_dir() && depth < MAX_DEPTH) {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let heading = || format!("cannot read {}", shown(path));
    let size =
        fs::metadata(path).map_err(|error| Failure::usage(heading()).caused_by(&error))?.len();
    if size > MAX_BYTES {
        return Err(Failure::usage(format!(
            "{} has {size} bytes; a rule file has at most {MAX_BYTES}",
            shown(path)
        )));
    }
    let bytes =
        fs::read(path).map_err(|error| Failure::action_required(heading()).caused_by(&error))?;
    String::from_utf8(bytes).map_err(|error| Failure::usage(heading()).caused_by(&error))
}
