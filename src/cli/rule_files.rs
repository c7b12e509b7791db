//! Reads rule files.
//!
//! Input: paths of files and folders. Output: the rules of each file, with what is wrong in them.
//! Invariant: files are read in the order of their names, so output is the same for every run; a name of a rule that occurs
//! twice is an error, also across files.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::failure::Failure;
use crate::{
    filter::{
        rule::{Rule, RuleFile, parse_rule_file},
        yaml::{DefinitionError, line_of},
    },
    report::{Log, terminal::escape_unprintable},
};

/// The largest file, in bytes. 1,000 rules with their tests have less than 10 MiB.
const MAX_BYTES: u64 = 64 << 20;

/// How deep folders are searched. Links to a parent folder would otherwise never end.
const MAX_DEPTH: usize = 16;

/// A rule file.
#[derive(Debug)]
pub(in crate::cli) struct LoadedFile {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) text: String,
    pub(in crate::cli) content: RuleFile,
}

/// The rules of all files.
#[derive(Debug, Default)]
pub(in crate::cli) struct LoadedRules {
    pub(in crate::cli) files: Vec<LoadedFile>,
}

impl LoadedRules {
    /// Returns the rules without an error, each with its file.
    pub(in crate::cli) fn rules(&self) -> impl Iterator<Item = (&LoadedFile, &Rule)> {
        self.files.iter().flat_map(|file| file.content.rules.iter().map(move |rule| (file, rule)))
    }

    pub(in crate::cli) fn error_count(&self) -> usize {
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
fn load_rules(paths: &[PathBuf]) -> Result<LoadedRules, Failure> {
    let mut files = Vec::new();
    let is_named = |path: &PathBuf| paths.contains(path);
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
    let mut seen = HashSet::new();
    files.retain(|path| seen.insert(path.clone()));
    let mut loaded = LoadedRules::default();
    for path in files {
        let text = read(&path)?;
        let mut content = parse_rule_file(&text);
        // Folders of Sigma rules have rules for all kinds of logs.
        if is_named(&path) {
            content.errors.append(&mut content.other_log_sources);
        }
        loaded.files.push(LoadedFile { path, text, content });
    }
    if loaded.rules().next().is_none() && loaded.error_count() == 0 {
        return Err(Failure::usage("none of the rules is for CloudTrail")
            .hint("Sigma rules for CloudTrail have `product: aws` and `service: cloudtrail`"));
    }
    loaded.check_names();
    Ok(loaded)
}

fn shown(path: &Path) -> String {
    escape_unprintable(&path.to_string_lossy())
}

/// Returns the failure for a file or folder of the command line that cannot be read.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let heading = format!("cannot read {}", shown(path));
    let (failure, hint) = match error.kind() {
        io::ErrorKind::NotFound => (Failure::usage(heading), "check the path"),
        _ => (Failure::action_required(heading), "check that this user has permission to read it"),
    };
    failure.caused_by(error).hint(hint)
}

/// Adds a file, or the rule files of a folder and the folders in it.
fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path).and_then(Iterator::collect);
    let mut entries: Vec<PathBuf> = entries
        .map_err(|error| unreadable(path, &error))?
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

/// Reads a rule file, or a file like it, as text.
pub(in crate::cli) fn read(path: &Path) -> Result<String, Failure> {
    let heading = || format!("cannot read {}", shown(path));
    let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > MAX_BYTES {
        return Err(Failure::usage(format!(
            "{} has {size} bytes; a rule file has at most {MAX_BYTES}",
            shown(path)
        )));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes)
        .map_err(|error| Failure::usage(heading()).caused_by(&error).hint("save the file in UTF-8"))
}

/// Loads the rules of files and folders, and logs what is wrong with them.
///
/// # Errors
///
/// Returns a [`Failure`] if a path cannot be read, or a rule is invalid.
pub(in crate::cli) fn load_valid_rules(
    paths: &[PathBuf],
    log: &Log,
) -> Result<LoadedRules, Failure> {
    let loaded = load_rules(paths)?;
    for file in &loaded.files {
        let path = shown(&file.path);
        for warning in &file.content.warnings {
            let heading =
                format!("{path}:{}: {}; write {}", warning.position, warning.message, warning.fix);
            log.warn(&warning.rule, heading);
        }
        for error in &file.content.errors {
            report_error(&file.path, &file.text, error, log);
        }
    }
    let skipped: usize = loaded.files.iter().map(|file| file.content.other_log_sources.len()).sum();
    if skipped > 0 {
        log.info(
            "rules",
            format_args!(
                "skipped {} for other logs than CloudTrail's",
                counted(skipped, "Sigma rule")
            ),
        );
    }
    match loaded.error_count() {
        0 => Ok(loaded),
        errors => Err(Failure::usage(format!(
            "{} in {}",
            counted(errors, "error"),
            counted(loaded.files.len(), "rule file")
        ))),
    }
}

/// Logs what is wrong in a file, with its place.
pub(in crate::cli) fn report_error(path: &Path, text: &str, error: &DefinitionError, log: &Log) {
    let excerpt = match &error.excerpt {
        Some(excerpt) => excerpt.lines().map(str::to_owned).collect(),
        None => excerpt_of(text, error.position.line, error.position.column),
    };
    let heading = format!("{}:{}: {}", shown(path), error.position, error.message);
    log.failure(&heading, &excerpt, &[], error.suggestion.as_deref());
}

/// Returns a line of a file with a caret below a column.
fn excerpt_of(text: &str, line: usize, column: usize) -> Vec<String> {
    let shown = line_of(text, line);
    if shown.trim().is_empty() {
        return Vec::new();
    }
    let before: String = shown.chars().take(column.saturating_sub(1)).collect();
    vec![shown, format!("{}^", " ".repeat(console::measure_text_width(&before)))]
}

/// Returns a number with a noun in the right form.
pub(in crate::cli) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
