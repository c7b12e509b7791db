//! `trailload status`: what is loaded per source, dead letters and their reasons, and discovered fields.
//!
//! Input: a checkpoint file, opened read-only, also while a load writes to it. Output: tables, or JSON with the same
//! numbers, on standard output.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use console::measure_text_width;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    args::engine::{DEFAULT_INDEX, EngineUrl, IndexPrefix},
    environment::{self, Environment},
    failure::Failure,
    plan::engine::{self, engine_url},
    watch,
};
use crate::checkpoint::{
    CheckpointReader, Status,
    alerts::{ActionStatus, RuleStatus, UndeliveredAlert},
    is_in_use,
    status::{Bucket, Day, Failures, InputGroup, RunStatus},
};
use crate::report::{
    format::{bytes, count, duration, plural},
    summary::RetrySummary,
    terminal::{
        Align::{self, Left, Right},
        Padded, Terminal, escape_unprintable, escape_unprintable_json, truncate_middle,
    },
};

/// The name of the number of events with a match.
const MATCHED_EVENTS: &str = "matched_events";

/// The numbers of a run that only a load has.
const LOAD_NUMBERS: [&str; 5] = ["read", "created", "duplicates", "dead_letters", "retried"];

/// Number of rows in a table. `--json` shows longer lists.
const MAX_ROWS_SHOWN: usize = 20;

/// Number of alerts that could not be delivered in the JSON form. Each names its rule, action and cause.
const MAX_ALERTS_LISTED: usize = 1_000;

/// The end of `trailload status --help`.
const AFTER_HELP: &str = "\
Without --into and --checkpoint, the only checkpoint in the state folder is shown.

Examples:
  trailload status --into http://localhost:9200
  trailload status --json | jq .dead_letters";

/// The arguments of `trailload status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(next_help_heading = "Status options")]
pub struct StatusArgs {
    /// Show the checkpoint of the engine at this URL
    #[arg(long, value_name = "URL", conflicts_with = "checkpoint")]
    pub into: Option<EngineUrl>,
    /// Show the checkpoint of this index prefix
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_INDEX, requires = "into")]
    pub index: IndexPrefix,
    /// Show this checkpoint file
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// List every input that could not be read, instead of one line per cause
    #[arg(long, conflicts_with = "json", help_heading = "Output options")]
    pub failed: bool,
    /// Print JSON with all rows instead of tables
    #[arg(long, help_heading = "Output options")]
    pub json: bool,
}

/// Runs `trailload status`.
///
/// # Errors
///
/// Returns a [`Failure`] if there is no checkpoint, or if it cannot be read.
pub(super) fn run(args: &StatusArgs, environment: &Environment) -> Result<(), Failure> {
    let path = args.path(environment)?;
    let failures = if args.json || args.failed { Failures::All } else { Failures::Causes };
    let reader = CheckpointReader::open(&path)?;
    let status = reader.status(environment::now(), failures)?;
    let alerts = AlertStatus::read(&reader)?;
    // Only then does it matter, and a run that starts at the same moment waits for this check.
    let is_open = status.runs.first().is_some_and(|run| run.ended.is_none());
    let in_use = if is_open { is_in_use(&path) } else { Some(false) };
    let text = if args.json {
        as_json(&path, &status, &alerts, in_use)
    } else {
        as_text(&path, &status, in_use, environment.output) + &alerts.as_text(environment.output)
    };
    super::print(&text)
}

/// The alerts in a checkpoint.
#[derive(Debug, Default, Serialize)]
struct AlertStatus {
    actions: Vec<ActionStatus>,
    rules: Vec<RuleStatus>,
    /// The alerts that could not be delivered.
    undelivered: Vec<UndeliveredAlert>,
    /// Where the state of alerts is shared with other processes, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_in: Option<String>,
}

impl AlertStatus {
    fn read(reader: &CheckpointReader) -> Result<Self, Failure> {
        Ok(Self {
            actions: reader.action_status()?,
            rules: reader.rule_status()?,
            undelivered: reader.undelivered_alerts(MAX_ALERTS_LISTED)?,
            shared_in: reader.shared_alerts()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.rules.is_empty()
    }

    fn as_text(&self, terminal: Terminal) -> String {
        let mut text = match &self.shared_in {
            Some(address) => {
                format!(
                    "alerts are shared with other processes in {address}; these are the ones of this checkpoint\n"
                )
            }
            None => String::new(),
        };
        text.push_str(&self.actions_table(terminal));
        text.push_str(&self.undelivered_table(terminal));
        text.push_str(&self.rules_table(terminal));
        text
    }

    fn actions_table(&self, terminal: Terminal) -> String {
        let rows = self.actions.iter().map(|action| {
            let accepted = if action.accepted > 0 { count(action.accepted) } else { String::new() };
            vec![
                action.action.clone(),
                count(action.delivered),
                count(action.pending),
                count(action.dead_letters),
                accepted,
                shown_time(action.last_delivered),
                action.cause.clone().unwrap_or_default(),
            ]
        });
        let heads = [
            "alerts by action",
            "delivered",
            "pending",
            "dead",
            "accepted",
            "last delivered",
            "last failure",
        ];
        table(terminal, &heads, &[Left, Right, Right, Right, Right, Left, Left], rows.collect())
    }

    fn undelivered_table(&self, terminal: Terminal) -> String {
        let rows = self.undelivered.iter().map(|alert| {
            vec![
                alert.rule.clone(),
                alert.action.clone(),
                count(alert.attempts),
                shown_time(alert.last_attempt),
                alert.cause.clone(),
            ]
        });
        let heads = ["alert not delivered", "action", "attempts", "last attempt", "cause"];
        table(terminal, &heads, &[Left, Left, Right, Left, Left], rows.collect())
    }

    fn rules_table(&self, terminal: Terminal) -> String {
        let rows = self.rules.iter().map(|rule| {
            vec![
                rule.rule.clone(),
                count(rule.alerts),
                count(rule.recorded),
                shown_time(rule.last_alert),
            ]
        });
        let heads = ["rule", "alerts", "recorded", "last alert"];
        table(terminal, &heads, &[Left, Right, Right, Left], rows.collect())
    }
}

fn shown_time(milliseconds: Option<i64>) -> String {
    let time = milliseconds.and_then(|time| Timestamp::from_millisecond(time).ok());
    time.map_or_else(String::new, |time| format!("{time:.0}"))
}

impl StatusArgs {
    fn path(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        checkpoint_file(self.into.as_ref(), &self.index, self.checkpoint.as_deref(), environment)
    }
}

/// Returns the requested checkpoint file: the one named, the one of an engine and an index prefix, or the only one.
///
/// # Errors
///
/// Returns a [`Failure`] if there is none, or more than one.
pub(super) fn checkpoint_file(
    into: Option<&EngineUrl>,
    index: &IndexPrefix,
    file: Option<&Path>,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    if let Some(path) = file {
        return Ok(path.to_owned());
    }
    match into {
        Some(url) => engine::default_checkpoint(&engine_url(url)?, index, environment),
        None => only_checkpoint(&engine::checkpoint_folder(environment)?),
    }
}

/// Returns the only checkpoint file of `watch` in the state folder.
///
/// # Errors
///
/// Returns a [`Failure`] if there is none, or more than one.
pub(super) fn only_watch_checkpoint(environment: &Environment) -> Result<PathBuf, Failure> {
    let folder = engine::checkpoint_folder(environment)?;
    let (_, watched) = checkpoints_in(&folder);
    let hints = Hints {
        none: "run 'trailload watch' first, or name a file with --checkpoint",
        several: "select one with the RULES and --in of the run, or with --checkpoint FILE",
    };
    only(&folder, &watched, hints)
}

/// Returns the only checkpoint file in a folder. Those of `watch` count only if there is no other.
fn only_checkpoint(folder: &Path) -> Result<PathBuf, Failure> {
    let (loaded, watched) = checkpoints_in(folder);
    let files = if loaded.is_empty() { watched } else { loaded };
    let hints = Hints {
        none: "run 'trailload load' first, or name a file with --checkpoint",
        several: "select one with --into URL or --checkpoint FILE",
    };
    only(folder, &files, hints)
}

/// Returns the checkpoint files in a folder, those of `watch` apart.
fn checkpoints_in(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("sqlite")))
        .collect();
    files.sort();
    let is_watched = |path: &PathBuf| {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        name.starts_with(watch::CHECKPOINT_PREFIX)
    };
    let (watched, loaded) = files.into_iter().partition(is_watched);
    (loaded, watched)
}

/// How a checkpoint can be named.
#[derive(Clone, Copy, Debug)]
struct Hints {
    /// If there is none.
    none: &'static str,
    /// If there are several.
    several: &'static str,
}

fn only(folder: &Path, files: &[PathBuf], hints: Hints) -> Result<PathBuf, Failure> {
    match files {
        [only] => Ok(only.clone()),
        [] => {
            Err(Failure::action_required(format!("there is no checkpoint in {}", folder.display()))
                .hint(hints.none))
        }
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|path| path.file_name())
                .map(OsStr::to_string_lossy)
                .collect();
            Err(Failure::usage(format!(
                "there are {} checkpoints in {}: {}",
                count(several.len() as u64),
                folder.display(),
                names.join(", ")
            ))
            .hint(hints.several))
        }
    }
}

fn as_json(path: &Path, status: &Status, alerts: &AlertStatus, in_use: Option<bool>) -> String {
    let mut value = json!({ "checkpoint": path.display().to_string(), "in_use": in_use });
    if let (Value::Object(all), Ok(Value::Object(fields))) =
        (&mut value, serde_json::to_value(status))
    {
        let is_watched = status.target == watch::CHECKPOINT_TARGET;
        all.extend(if is_watched { with_matched_events(fields) } else { fields });
        if !alerts.is_empty() {
            all.insert("alerts".to_owned(), json!(alerts));
        }
    }
    format!("{}\n", escape_unprintable_json(&format!("{value:#}")))
}

/// Renames the numbers of records in the status of a checkpoint of `watch`, which counts only the events with a match. Its runs load
/// nothing, so they have no such numbers: `alerts` has those of each rule and action.
fn with_matched_events(status: Map<String, Value>) -> Map<String, Value> {
    let renamed = |key: String| if key == "records" { MATCHED_EVENTS.to_owned() } else { key };
    let rename = |row: Map<String, Value>| -> Map<String, Value> {
        row.into_iter().map(|(key, value)| (renamed(key), value)).collect()
    };
    let unload = |row: Map<String, Value>| -> Map<String, Value> {
        row.into_iter().filter(|(key, _)| !LOAD_NUMBERS.contains(&key.as_str())).collect()
    };
    let in_list =
        |list: Value, change: &dyn Fn(Map<String, Value>) -> Map<String, Value>| match list {
            Value::Array(rows) => rows
                .into_iter()
                .map(|row| match row {
                    Value::Object(row) => Value::Object(change(row)),
                    row => row,
                })
                .collect(),
            value => value,
        };
    status
        .into_iter()
        .map(|(key, value)| match key.as_str() {
            "folders" | "coverage" | "failures" => (key, in_list(value, &rename)),
            "runs" => (key, in_list(value, &unload)),
            _ => (renamed(key), value),
        })
        .collect()
}

fn as_text(path: &Path, status: &Status, in_use: Option<bool>, terminal: Terminal) -> String {
    let mut text = format!("{}\ncheckpoint {}\n", status.target, path.display());
    if status.target == watch::CHECKPOINT_TARGET {
        text.push_str(&watched(status, in_use));
    } else {
        text.push_str(&loaded(status));
        text.push_str(&runs(status, in_use));
    }
    text.push_str(&missing(status, terminal));
    text.push_str(&followed(status, terminal));
    text.push_str(&coverage(status, terminal));
    text.push_str(&buckets(status, terminal));
    text.push_str(&days(status, terminal));
    text.push_str(&folders(status, terminal));
    text.push_str(&failures(status, terminal));
    text.push_str(&inputs("skipped", &status.skip_causes, terminal));
    text.push_str(&dead_letters(status, terminal));
    text.push_str(&discovered_fields(status, terminal));
    text
}

/// Returns the lines on what is loaded: files, event history, or both.
fn loaded(status: &Status) -> String {
    let mut text = String::new();
    if status.partitions_loaded + status.partitions_skipped > 0 || has_files_only(status) {
        let (files, records) =
            (plural(status.partitions_loaded, "file"), plural(status.records, "record"));
        let _ = write!(text, "{files} loaded: {records}, {}", bytes(status.bytes));
        if status.partitions_skipped > 0 {
            let _ = write!(text, "; {} skipped (not CloudTrail)", count(status.partitions_skipped));
        }
        text.push('\n');
    }
    if !status.coverage.is_empty() {
        let regions = status.coverage.iter().map(|it| (&it.account, &it.region));
        let accounts = status.coverage.iter().map(|it| &it.account);
        let _ = writeln!(
            text,
            "event history loaded: {} in {} of {}",
            plural(status.coverage.iter().map(|it| it.records).sum(), "event"),
            plural(regions.collect::<BTreeSet<_>>().len() as u64, "Region"),
            plural(accounts.collect::<BTreeSet<_>>().len() as u64, "account"),
        );
    }
    text
}

/// Returns the lines on what `watch` has read. Its records are those with a match.
fn watched(status: &Status, in_use: Option<bool>) -> String {
    let mut text = String::new();
    if status.partitions_loaded > 0 || has_files_only(status) {
        let files = plural(status.partitions_loaded, "file");
        let _ = writeln!(text, "{files} read: {} with a match", plural(status.records, "event"));
    }
    if let Some(run) = status.runs.first() {
        let end = end_of(run, in_use);
        let _ = writeln!(text, "last run: started {:.0}, {end}", run.started);
    }
    text
}

/// Returns whether nothing but files was read, as far as the checkpoint has it.
fn has_files_only(status: &Status) -> bool {
    status.coverage.is_empty() && status.sources.is_empty()
}

/// Returns how a run ended.
fn end_of(run: &RunStatus, in_use: Option<bool>) -> String {
    match (run.ended, run.exit) {
        (Some(ended), Some(exit)) => format!("ended {ended:.0} with exit code {exit}"),
        (Some(ended), None) => format!("ended {ended:.0}"),
        _ => match in_use {
            Some(true) => "still running".to_owned(),
            Some(false) => "killed; the next run continues".to_owned(),
            None => "still running or killed".to_owned(),
        },
    }
}

fn runs(status: &Status, in_use: Option<bool>) -> String {
    let Some(run) = status.runs.first() else { return "no run yet\n".to_owned() };
    let end = end_of(run, in_use);
    if run.ended.is_none() {
        // Its counts are recorded at its end.
        return format!("last run: started {:.0}, {end}\n", run.started);
    }
    let retried = match run.retried {
        RetrySummary { documents: 0, .. } => String::new(),
        retried => format!("; {retried}"),
    };
    format!(
        "last run: started {:.0}, {end}: {} read = {} created + {} duplicates + {} dead letters{retried}\n",
        run.started,
        count(run.read),
        count(run.created),
        count(run.duplicates),
        count(run.dead_letters),
    )
}

/// Returns the table of indices with missing documents.
fn missing(status: &Status, terminal: Terminal) -> String {
    let rows = status.missing.iter().map(|missing| {
        let accepted = missing.accepted.map_or("no".to_owned(), |at| format!("{at:.0}"));
        vec![
            missing.index.clone(),
            count(missing.documents),
            missing.reason.to_owned(),
            format!("{:.0}", missing.detected),
            accepted,
        ]
    });
    let heads = ["missing from index", "documents", "reason", "noticed", "accepted"];
    table(terminal, &heads, &[Left, Right, Left, Left, Left], rows.collect())
}

/// Returns the table of sources that were followed, and of queues that were read.
fn followed(status: &Status, terminal: Terminal) -> String {
    let shown = |time: Option<Timestamp>| time.map_or(String::new(), |time| format!("{time:.0}"));
    let number = |number: Option<u64>| number.map_or(String::new(), count);
    let rows = status.sources.iter().map(|source| {
        let age = Duration::from_secs(source.age_seconds.max(0).unsigned_abs());
        vec![
            source.source.clone(),
            format!("{} ago", duration(age)),
            shown(source.newest_event),
            shown(source.covered_until),
            shown(source.oldest_waiting),
            number(source.waiting),
            number(source.in_flight),
        ]
    });
    let heads = [
        "source",
        "last poll",
        "newest event",
        "complete to",
        "oldest message",
        "waiting",
        "in flight",
    ];
    let sides = [Left, Right, Left, Left, Left, Right, Right];
    table(terminal, &heads, &sides, rows.collect())
}

fn coverage(status: &Status, terminal: Terminal) -> String {
    let rows = status.coverage.iter().map(|covered| {
        let filter = covered.filter.as_ref().map_or(String::new(), |only| format!(" ({only})"));
        let lag = Duration::from_secs(covered.lag_seconds.unsigned_abs());
        vec![
            covered.account.clone(),
            covered.region.clone(),
            format!("{}{filter}", covered.category),
            format!("{:.0}", covered.from),
            format!("{:.0}", covered.to),
            count(covered.gap_count),
            count(covered.records),
            if covered.lag_seconds > 0 { duration(lag) } else { "none".to_owned() },
        ]
    });
    let records = if status.target == watch::CHECKPOINT_TARGET { "with a match" } else { "read" };
    let heads = ["account", "region", "events", "covered from", "to", "gaps", records, "lag"];
    let sides = [Left, Left, Left, Left, Left, Right, Right, Right];
    table(terminal, &heads, &sides, rows.collect())
}

fn buckets(status: &Status, terminal: Terminal) -> String {
    let rows = status.buckets.iter().map(|bucket| {
        let Bucket { bucket, loaded: done, skipped, failed, .. } = bucket;
        vec![bucket.clone(), count(*done), count(*skipped), count(*failed)]
    });
    let heads = ["bucket", "objects loaded", "skipped", "failed"];
    table(terminal, &heads, &[Left, Right, Right, Right], rows.collect())
}

fn days(status: &Status, terminal: Terminal) -> String {
    let rows = status.buckets.iter().flat_map(|bucket| {
        bucket.days.iter().map(|day| {
            let Day { day, loaded: done, skipped, failed } = day;
            vec![bucket.bucket.clone(), day.clone(), count(*done), count(*skipped), count(*failed)]
        })
    });
    let mut rows: Vec<_> = rows.collect();
    // The most recent day first, of all buckets.
    rows.sort_by(|one, other| other[1].cmp(&one[1]));
    let heads = ["objects of", "day", "loaded", "skipped", "failed"];
    table(terminal, &heads, &[Left, Left, Right, Right, Right], rows)
}

fn folders(status: &Status, terminal: Terminal) -> String {
    if status.target == watch::CHECKPOINT_TARGET {
        return read_folders(status, terminal);
    }
    let rows = status.folders.iter().map(|folder| {
        vec![
            folder.folder.clone(),
            count(folder.partitions),
            count(folder.records),
            bytes(folder.bytes),
            format!("{:.0}", folder.last_loaded),
        ]
    });
    let heads = ["loaded from", "files", "records", "size", "last loaded"];
    table(terminal, &heads, &[Left, Right, Right, Right, Left], rows.collect())
}

/// Returns the folders that `watch` has read. Of their records, the checkpoint has only the number of those with a match.
fn read_folders(status: &Status, terminal: Terminal) -> String {
    let rows = status.folders.iter().map(|folder| {
        vec![
            folder.folder.clone(),
            count(folder.partitions),
            count(folder.records),
            format!("{:.0}", folder.last_loaded),
        ]
    });
    let heads = ["read from", "files", "events with a match", "last read"];
    table(terminal, &heads, &[Left, Right, Right, Left], rows.collect())
}

/// Returns the failed inputs: each one if they are listed by name, and otherwise one line per cause.
fn failures(status: &Status, terminal: Terminal) -> String {
    if status.failures.is_empty() {
        return inputs("not read completely", &status.failure_causes, terminal);
    }
    let rows = status.failures.iter().map(|failure| {
        // Without thousands separators, so that the offset can be passed to another tool.
        let at = failure.offset.map_or(String::new(), |offset| format!("at byte {offset}: "));
        vec![
            failure.name.clone(),
            count(failure.attempts),
            count(failure.records),
            format!("{at}{}", failure.cause),
        ]
    });
    let is_watched = status.target == watch::CHECKPOINT_TARGET;
    let before = if is_watched { "matches before" } else { "records before" };
    let heads = ["not read completely", "attempts", before, "cause"];
    whole_table(terminal, &heads, &[Left, Right, Right, Left], rows.collect())
}

/// Returns a table of inputs by cause.
fn inputs(head: &str, groups: &[InputGroup], terminal: Terminal) -> String {
    let rows = groups
        .iter()
        .map(|group| vec![group.cause.clone(), count(group.partitions), group.example.clone()]);
    table(terminal, &[head, "inputs", "example"], &[Left, Right, Left], rows.collect())
}

fn dead_letters(status: &Status, terminal: Terminal) -> String {
    let dead_letters = &status.dead_letters;
    let rows = dead_letters.reasons.iter().map(|reason| {
        let example = reason
            .examples
            .first()
            .map_or(String::new(), |document| format!("{}/{}", document.index, document.id));
        let accepted = if reason.accepted > 0 { count(reason.accepted) } else { String::new() };
        vec![
            count(reason.documents),
            accepted,
            reason.cause.clone(),
            reason.reason.clone(),
            example,
        ]
    });
    let head = format!("dead letters ({})", count(dead_letters.documents));
    let heads = [&head, "accepted", "cause", "reason", "example"];
    table(terminal, &heads, &[Right, Right, Left, Left, Left], rows.collect())
}

fn discovered_fields(status: &Status, terminal: Terminal) -> String {
    let rows = status
        .discovered_fields
        .iter()
        .map(|field| vec![field.path.clone(), field.kind.clone(), field.origin.clone()]);
    table(terminal, &["discovered field", "kind", "reason"], &[Left, Left, Left], rows.collect())
}

/// Minimum width of a text column when a table is shortened to fit the terminal.
const MIN_COLUMN_WIDTH: usize = 12;

/// Spaces between two columns.
const GAP: usize = 2;

/// Returns a table with at most [`MAX_ROWS_SHOWN`] rows.
fn table(
    terminal: Terminal,
    heads: &[&str],
    sides: &[Align],
    mut rows: Vec<Vec<String>>,
) -> String {
    let hidden = rows.len().saturating_sub(MAX_ROWS_SHOWN);
    rows.truncate(MAX_ROWS_SHOWN);
    let mut text = whole_table(terminal, heads, sides, rows);
    if hidden > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "... and {} more (see --json)", count(hidden as u64));
    }
    text
}

/// Returns an empty line and a table with aligned columns, at most as wide as the terminal; nothing if there are no rows.
fn whole_table(
    terminal: Terminal,
    heads: &[&str],
    sides: &[Align],
    rows: Vec<Vec<String>>,
) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads)
        .chain(rows)
        .map(|row| row.iter().map(|cell| escape_unprintable(cell)).collect())
        .collect();
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max();
    let widths = (0..sides.len()).map(|column| width(column).unwrap_or(0)).collect();
    let widths = fitted(widths, sides, terminal);
    let mut text = "\n".to_owned();
    for row in &rows {
        let mut line = String::new();
        for ((cell, side), columns) in row.iter().zip(sides).zip(&widths) {
            let (text, columns, side) = (&truncate_middle(cell, *columns), *columns, *side);
            // Writing to a String cannot fail.
            let _ = write!(line, "{}{:GAP$}", Padded { text, columns, side }, "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Shortens the widest text columns until the table fits. Numbers are never shortened.
fn fitted(mut widths: Vec<usize>, sides: &[Align], terminal: Terminal) -> Vec<usize> {
    let Some(columns) = terminal.columns else { return widths };
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(columns);
    while over > 0 {
        let texts = widths.iter_mut().zip(sides).filter(|(_, side)| **side == Left);
        let Some((widest, _)) = texts.max_by_key(|(width, _)| **width) else { break };
        if *widest <= MIN_COLUMN_WIDTH {
            break;
        }
        *widest -= 1;
        over -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal::Color;
    use crate::{
        checkpoint::status::{
            Coverage, DeadLetterExample, DeadLetterGroup, DeadLetters, DiscoveredField,
            FailedPartition, IndexLoss, LoadedFolder, SourceStatus,
        },
        cli::exit::Exit,
    };

    const FILE: Terminal = Terminal { columns: None, color: Color::Never };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn run_of_today() -> RunStatus {
        RunStatus {
            started: time("2024-06-01T02:00:00.5Z"),
            ended: Some(time("2024-06-01T02:10:00Z")),
            exit: Some(3),
            read: 12_345,
            created: 12_000,
            duplicates: 340,
            dead_letters: 5,
            partitions_loaded: 41,
            partitions_skipped: 3,
            partitions_failed: 1,
            retried: RetrySummary::new(2, 1, 4),
        }
    }

    fn source(name: &str, lanes: u64) -> LoadedFolder {
        let done = time("2024-06-01T02:09:00Z");
        LoadedFolder {
            folder: name.to_owned(),
            partitions: lanes,
            skipped: 0,
            records: lanes * 300,
            bytes: lanes << 20,
            first_loaded: done,
            last_loaded: done,
        }
    }

    fn group(cause: &str, partitions: u64, example: &str) -> InputGroup {
        InputGroup { cause: cause.to_owned(), partitions, example: example.to_owned() }
    }

    fn failure(name: &str) -> FailedPartition {
        FailedPartition {
            name: name.to_owned(),
            cause: "unexpected end".into(),
            offset: Some(17_000),
            records: 45,
            attempts: 2,
            failed: time("2024-06-01T02:09:00Z"),
        }
    }

    fn status() -> Status {
        let at = time("2024-06-01T02:09:00Z");
        let document = DeadLetterExample {
            index: "cloudtrail-2024.06".into(),
            id: "a-b-c".into(),
            partition: "file:/a".into(),
            rejected: at,
            reason: "too long".into(),
        };
        Status {
            target: "http://localhost:9200 cloudtrail".into(),
            created: at,
            runs: vec![run_of_today()],
            partitions_loaded: 41,
            partitions_skipped: 3,
            partitions_failed: 1,
            records: 12_300,
            bytes: 41 << 20,
            folders: vec![source("file:/trail/eu-west-1", 40), source("file:/b", 1)],
            failure_causes: vec![group("unexpected end", 2, "/trail/cut.json.gz")],
            skip_causes: vec![group("a digest file", 3, "/trail/digest.json.gz")],
            failures: vec![],
            dead_letters: DeadLetters {
                documents: 5,
                accepted: 2,
                reasons: vec![DeadLetterGroup {
                    cause: "limit".into(),
                    reason: "too long\u{1b}[2J".into(),
                    documents: 5,
                    accepted: 2,
                    examples: vec![document],
                }],
            },
            coverage: vec![],
            buckets: vec![],
            cluster: None,
            indices: vec![],
            missing: vec![],
            discovered_fields: vec![DiscoveredField {
                path: "requestParameters.new".into(),
                kind: "text".into(),
                origin: "first kind met".into(),
                discovered: at,
            }],
            sources: vec![],
        }
    }

    #[test]
    fn the_tables_show_what_is_loaded_and_what_is_not() {
        let text = as_text(Path::new("/state/a.sqlite"), &status(), None, FILE);
        assert_eq!(
            text,
            "http://localhost:9200 cloudtrail\n\
             checkpoint /state/a.sqlite\n\
             41 files loaded: 12,300 records, 41.0 MiB; 3 skipped (not CloudTrail)\n\
             last run: started 2024-06-01T02:00:00Z, ended 2024-06-01T02:10:00Z with exit code 3: \
             12,345 read = 12,000 created + 340 duplicates + 5 dead letters; \
             7 dead letters retried = 2 created + 1 duplicates + 4 rejected again\n\
             \n\
             loaded from            files  records      size  last loaded\n\
             file:/trail/eu-west-1     40   12,000  40.0 MiB  2024-06-01T02:09:00Z\n\
             file:/b                    1      300   1.0 MiB  2024-06-01T02:09:00Z\n\
             \n\
             not read completely  inputs  example\n\
             unexpected end            2  /trail/cut.json.gz\n\
             \n\
             skipped        inputs  example\n\
             a digest file       3  /trail/digest.json.gz\n\
             \n\
             dead letters (5)  accepted  cause  reason             example\n\
             \u{20}              5         2  limit  too long\\u{1b}[2J  cloudtrail-2024.06/a-b-c\n\
             \n\
             discovered field       kind  reason\n\
             requestParameters.new  text  first kind met\n"
        );
    }

    #[test]
    fn an_index_that_is_gone_is_told_and_whether_that_was_accepted() {
        let lost = |index: &str, accepted| IndexLoss {
            index: index.into(),
            documents: 1_000,
            reason: "deleted",
            detected: time("2024-06-01T02:09:00Z"),
            accepted,
        };
        let accepted = Some(time("2024-06-02T08:00:00Z"));
        let lost = vec![lost("ct-2022.01", None), lost("ct-2022.02", accepted)];
        assert_eq!(
            missing(&Status { missing: lost, ..status() }, FILE),
            "\n\
             missing from index  documents  reason   noticed               accepted\n\
             ct-2022.01              1,000  deleted  2024-06-01T02:09:00Z  no\n\
             ct-2022.02              1,000  deleted  2024-06-01T02:09:00Z  2024-06-02T08:00:00Z\n"
        );
    }

    fn bucket(name: &str, done: u64, failed: u64, days: &[(&str, u64, u64)]) -> Bucket {
        let day = |(day, done, failed): &(&str, u64, u64)| Day {
            day: (*day).to_owned(),
            loaded: *done,
            skipped: 0,
            failed: *failed,
        };
        Bucket {
            bucket: name.to_owned(),
            loaded: done,
            skipped: 7,
            failed,
            days: days.iter().map(day).collect(),
        }
    }

    #[test]
    fn what_is_covered_is_a_table_by_account_and_region() {
        let covered = |category: &str, lag_seconds| Coverage {
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            category: category.into(),
            filter: (lag_seconds > 0).then(|| "ReadOnly=false".into()),
            from: time("2024-03-03T02:00:00Z"),
            to: time("2024-06-01T01:45:00Z"),
            gaps: vec![],
            gap_count: 2,
            records: 1_234_567,
            lag_seconds,
        };
        let status = Status {
            coverage: vec![covered("management", 900), covered("insight", -3)],
            buckets: vec![
                bucket("s3://logs", 2, 0, &[("2024-06-02", 1, 0), ("2024-05-31", 1, 0)]),
                bucket("s3://trail", 4_000, 1, &[("2024-06-01", 3_000, 1)]),
            ],
            ..status()
        };
        assert_eq!(
            loaded(&Status { partitions_loaded: 0, partitions_skipped: 0, ..status.clone() }),
            "event history loaded: 2,469,134 events in 1 Region of 1 account\n"
        );
        let watched = watched(&Status { partitions_loaded: 0, ..status.clone() }, None);
        assert!(!watched.contains("0 files read"), "{watched}");
        let text = coverage(&status, FILE) + &buckets(&status, FILE) + &days(&status, FILE);
        assert_eq!(
            text,
            "\n\
             account       region     events                       covered from          to                    gaps       read         lag\n\
             111122223333  eu-west-1  management (ReadOnly=false)  2024-03-03T02:00:00Z  2024-06-01T01:45:00Z     2  1,234,567  15 min 0 s\n\
             111122223333  eu-west-1  insight                      2024-03-03T02:00:00Z  2024-06-01T01:45:00Z     2  1,234,567        none\n\
             \n\
             bucket      objects loaded  skipped  failed\n\
             s3://logs                2        7       0\n\
             s3://trail           4,000        7       1\n\
             \n\
             objects of  day         loaded  skipped  failed\n\
             s3://logs   2024-06-02       1        0       0\n\
             s3://trail  2024-06-01   3,000        0       1\n\
             s3://logs   2024-05-31       1        0       0\n"
        );
    }

    #[test]
    fn a_source_that_is_followed_shows_its_state() {
        let lookup = SourceStatus {
            source: "lookup".into(),
            observed: time("2024-06-01T02:09:00Z"),
            oldest_waiting: None,
            waiting: None,
            in_flight: None,
            newest_event: Some(time("2024-06-01T02:05:30Z")),
            covered_until: Some(time("2024-06-01T01:54:00Z")),
            age_seconds: 8,
        };
        let queue = SourceStatus {
            source: "sqs://trail-events".into(),
            oldest_waiting: Some(time("2024-06-01T02:08:12Z")),
            waiting: Some(1_200),
            in_flight: Some(40),
            newest_event: None,
            covered_until: None,
            ..lookup.clone()
        };
        let followed = followed(&Status { sources: vec![lookup, queue], ..status() }, FILE);
        assert_eq!(
            followed,
            "\n\
             source              last poll  newest event          complete to           oldest message        waiting  in flight\n\
             lookup              8.0 s ago  2024-06-01T02:05:30Z  2024-06-01T01:54:00Z\n\
             sqs://trail-events  8.0 s ago                                              2024-06-01T02:08:12Z    1,200         40\n"
        );
    }

    #[test]
    fn what_is_empty_is_not_shown() {
        let empty = Status {
            runs: Vec::new(),
            folders: Vec::new(),
            failure_causes: Vec::new(),
            skip_causes: Vec::new(),
            failures: Vec::new(),
            dead_letters: DeadLetters::default(),
            discovered_fields: Vec::new(),
            ..status()
        };
        let text = as_text(Path::new("a"), &empty, None, FILE);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.ends_with("no run yet\n"), "{text}");
    }

    #[test]
    fn a_run_without_an_end_is_told_as_such() {
        let going_on = RunStatus { ended: None, exit: None, read: 0, ..run_of_today() };
        let status = Status { runs: vec![going_on], ..status() };
        for (in_use, end) in [
            (Some(true), "still running\n"),
            (Some(false), "killed; the next run continues\n"),
            (None, "still running or killed\n"),
        ] {
            for text in [runs(&status, in_use), watched(&status, in_use)] {
                assert!(text.ends_with(&format!("started 2024-06-01T02:00:00Z, {end}")), "{text}");
            }
        }
    }

    #[test]
    fn tables_fit_the_terminal_and_keep_their_numbers() {
        let long =
            "file:/srv/logs/AWSLogs/o-abcd123456/111122223333/CloudTrail/eu-west-1/2024/03/05";
        let status = Status { folders: vec![source(long, 40), source("世界", 1)], ..status() };
        for columns in [60, 80, 100, 200] {
            let text = folders(&status, Terminal { columns: Some(columns), ..FILE });
            let widest = text.lines().map(measure_text_width).max().unwrap();
            assert!(widest <= columns, "{columns}: {text}");
            assert!(text.contains(" 40 ") && text.contains("12,000"), "{text}");
            assert!(text.contains("2024/03/05") || text.contains("…"), "{text}");
        }
        assert!(folders(&status, FILE).contains(long), "a file or pipe gets all of it");
    }

    #[test]
    fn failed_inputs_are_one_line_per_cause_and_all_with_failed() {
        let causes = vec![group("unexpected end", 1_000, "/trail/0.json.gz")];
        let grouped = Status { failure_causes: causes, ..status() };
        for columns in [60, 80, 200] {
            let terminal = Terminal { columns: Some(columns), ..FILE };
            let widest = failures(&grouped, terminal).lines().map(measure_text_width).max();
            assert!(widest.unwrap() <= columns, "{columns}");
            let text = as_text(Path::new("/state/a.sqlite"), &grouped, None, terminal);
            let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            lines.sort_unstable();
            assert!(lines.windows(2).all(|two| two[0] != two[1]), "a line is repeated: {text}");
            assert_eq!(text.matches("unexpected end").count(), 1, "{text}");
        }
        let all = (0..1_000).map(|at| failure(&format!("/trail/{at}.json.gz"))).collect();
        let text = failures(&Status { failures: all, ..grouped }, FILE);
        assert_eq!(text.lines().count(), 1 + 1 + 1_000);
        assert!(text.contains("/trail/999.json.gz          2"), "{text}");
        assert!(text.contains("at byte 17000: unexpected end"), "{text}");
    }

    #[test]
    fn long_tables_are_cut_and_say_so() {
        let sources_many = (0..MAX_ROWS_SHOWN + 3).map(|at| source(&format!("file:/{at}"), 1));
        let text = folders(&Status { folders: sources_many.collect(), ..status() }, FILE);
        assert_eq!(text.lines().count(), 1 + 1 + MAX_ROWS_SHOWN + 1);
        assert!(text.ends_with("... and 3 more (see --json)\n"), "{text}");
    }

    #[test]
    fn json_has_all_numbers_and_the_file() {
        let status = Status { failures: vec![failure("/trail/cut.json.gz")], ..status() };
        let value: Value = serde_json::from_str(&as_json(
            Path::new("/state/a.sqlite"),
            &status,
            &AlertStatus::default(),
            Some(true),
        ))
        .unwrap();
        assert_eq!(value["checkpoint"], "/state/a.sqlite");
        assert_eq!(value["records"], 12_300);
        assert_eq!(value["dead_letters"]["documents"], 5);
        assert_eq!(value["folders"][0]["partitions"], 40);
        assert_eq!(value["failures"][0]["offset"], 17_000);
        assert_eq!(value["discovered_fields"][0]["path"], "requestParameters.new");
    }

    #[test]
    fn the_events_of_a_checkpoint_of_watch_are_those_with_a_match() {
        let status = Status {
            target: watch::CHECKPOINT_TARGET.to_owned(),
            failures: vec![failure("/trail/cut.json.gz")],
            ..status()
        };
        let json = as_json(Path::new("/state/a.sqlite"), &status, &AlertStatus::default(), None);
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["matched_events"], 12_300);
        for list in ["folders", "failures"] {
            assert!(value[list][0]["matched_events"].is_u64(), "{list}: {value:#}");
        }
        // A run of `watch` loads nothing: its zeros would be taken for results.
        let run = value["runs"][0].as_object().unwrap();
        assert!(run.contains_key("exit") && run.contains_key("partitions_loaded"), "{value:#}");
        assert!(LOAD_NUMBERS.iter().all(|number| !run.contains_key(*number)), "{value:#}");
        assert!(!json.contains("\"records\"") && !json.contains("\"read\""), "{json}");
        let text = as_text(Path::new("/state/a.sqlite"), &status, None, FILE);
        assert!(text.contains("with a match") && !text.contains("records"), "{text}");
        assert!(text.contains(" read: 12,300 events with a match"), "{text}");
    }

    fn args() -> StatusArgs {
        StatusArgs {
            into: None,
            index: "cloudtrail".parse().unwrap(),
            checkpoint: None,
            failed: false,
            json: false,
        }
    }

    #[test]
    fn the_file_is_named_by_option_engine_or_being_the_only_one() {
        let state = tempfile::tempdir().unwrap();
        let environment =
            Environment { state: Some(state.path().to_owned()), ..Environment::default() };
        let named = StatusArgs { checkpoint: Some("c.sqlite".into()), ..args() };
        assert_eq!(named.path(&environment).unwrap(), Path::new("c.sqlite"));
        let into = StatusArgs { into: Some("http://u@h:1".parse().unwrap()), ..args() };
        let folder = state.path().join("trailload");
        assert_eq!(into.path(&environment).unwrap(), folder.join("h-1-cloudtrail.sqlite"));

        let failure = args().path(&environment).unwrap_err();
        assert!(failure.heading.starts_with("there is no checkpoint in "), "{failure:?}");
        fs::create_dir(&folder).unwrap();
        for other in ["a.sqlite", "a.sqlite-wal", "a.lock"] {
            fs::write(folder.join(other), "").unwrap();
        }
        assert_eq!(args().path(&environment).unwrap(), folder.join("a.sqlite"));
        fs::write(folder.join("b.sqlite"), "").unwrap();
        let failure = args().path(&environment).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.heading.ends_with(": a.sqlite, b.sqlite"), "{failure:?}");
    }
}
