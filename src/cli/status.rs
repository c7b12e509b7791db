//! `trailload status`: what is safe by source, what was set aside and why, what was learned.
//!
//! In: a checkpoint file, read only, also while a load is writing to it. Out: tables, or JSON with
//! the same numbers, on standard output.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use console::measure_text_width;
use serde_json::{Value, json};

use super::{
    engine::{self, Address, DEFAULT_INDEX, IndexPrefix},
    environment::Environment,
    failure::Failure,
};
use crate::checkpoint::{
    Reader, Status,
    status::{Bucket, Day},
};
use crate::report::{
    figures::{bytes, count, counted, duration},
    summary::Retried,
    terminal::{
        Padded,
        Side::{self, Left, Right},
        Terminal, printable, printable_json, shortened,
    },
};

/// Rows of one table. Longer lists are for `--json`.
const ROWS_SHOWN: usize = 20;

/// The end of `trailload status --help`.
const AFTER_HELP: &str = "\
Without --into and --checkpoint, the only checkpoint in the state folder is shown.

Examples:
  trailload status --into http://localhost:9200
  trailload status --json | jq .set_aside";

/// The words of `trailload status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(next_help_heading = "What to show")]
pub struct Args {
    /// Show the checkpoint of this engine
    #[arg(long, value_name = "URL", conflicts_with = "checkpoint")]
    pub into: Option<Address>,
    /// Show the checkpoint of this index prefix
    #[arg(long, value_name = "PREFIX", default_value = DEFAULT_INDEX, requires = "into")]
    pub index: IndexPrefix,
    /// Show this checkpoint file
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Write JSON with all rows, not tables
    #[arg(long, help_heading = "What is shown")]
    pub json: bool,
}

/// Runs `trailload status`.
///
/// # Errors
///
/// Returns a [`Failure`] if there is no checkpoint, or it cannot be read.
pub(super) fn run(args: &Args, environment: &Environment) -> Result<(), Failure> {
    let path = args.path(environment)?;
    let status = Reader::open(&path)?.status(super::environment::now())?;
    let text = if args.json {
        as_json(&path, &status)
    } else {
        as_text(&path, &status, environment.output)
    };
    super::print(&text)
}

impl Args {
    fn path(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        checkpoint_file(self.into.as_ref(), &self.index, self.checkpoint.as_deref(), environment)
    }
}

/// Returns the checkpoint file that is asked for: the one named, that of an engine and a prefix, or the only one.
///
/// # Errors
///
/// Returns a [`Failure`] if that is none, or more than one.
pub(super) fn checkpoint_file(
    into: Option<&Address>,
    index: &IndexPrefix,
    file: Option<&Path>,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    if let Some(path) = file {
        return Ok(path.to_owned());
    }
    match into {
        Some(address) => engine::default_checkpoint(&address.url()?, index, environment),
        None => only_checkpoint(&engine::checkpoint_folder(environment)?),
    }
}

/// Returns the one checkpoint file of a folder.
fn only_checkpoint(folder: &Path) -> Result<PathBuf, Failure> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("sqlite")))
        .collect();
    files.sort();
    match files.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::person(format!("there is no checkpoint in {}", folder.display()))
            .hint("load something first, or name a file with --checkpoint")),
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
            .hint("choose one with --into URL or --checkpoint FILE"))
        }
    }
}

fn as_json(path: &Path, status: &Status) -> String {
    let mut value = json!({ "checkpoint": path.display().to_string() });
    if let (Value::Object(all), Ok(Value::Object(fields))) =
        (&mut value, serde_json::to_value(status))
    {
        all.extend(fields);
    }
    format!("{}\n", printable_json(&format!("{value:#}")))
}

fn as_text(path: &Path, status: &Status, terminal: Terminal) -> String {
    let mut text = format!("{}\ncheckpoint {}\n", status.target, path.display());
    text.push_str(&safe(status));
    text.push_str(&runs(status));
    text.push_str(&missing(status, terminal));
    text.push_str(&coverage(status, terminal));
    text.push_str(&buckets(status, terminal));
    text.push_str(&days(status, terminal));
    text.push_str(&sources(status, terminal));
    text.push_str(&failures(status, terminal));
    text.push_str(&set_aside(status, terminal));
    text.push_str(&decisions(status, terminal));
    text
}

/// Says how much is safe: of files, of the event history, or of both.
fn safe(status: &Status) -> String {
    let mut text = String::new();
    if status.lanes_done + status.lanes_skipped > 0 || status.coverage.is_empty() {
        let (files, records) =
            (counted(status.lanes_done, "file"), counted(status.records, "record"));
        let _ = write!(text, "{files} safe: {records}, {}", bytes(status.bytes));
        if status.lanes_skipped > 0 {
            let _ = write!(text, "; {} skipped (no CloudTrail)", count(status.lanes_skipped));
        }
        text.push('\n');
    }
    if !status.coverage.is_empty() {
        let places = status.coverage.iter().map(|it| (&it.account, &it.region));
        let accounts = status.coverage.iter().map(|it| &it.account);
        let _ = writeln!(
            text,
            "event history safe: {} read, {} of {}",
            counted(status.coverage.iter().map(|it| it.records).sum(), "event"),
            counted(places.collect::<BTreeSet<_>>().len() as u64, "Region"),
            counted(accounts.collect::<BTreeSet<_>>().len() as u64, "account"),
        );
    }
    text
}

fn runs(status: &Status) -> String {
    let Some(run) = status.runs.first() else { return "no run yet\n".to_owned() };
    let end = match (run.ended, run.exit) {
        (Some(ended), Some(exit)) => format!("ended {ended:.0} with exit {exit}"),
        (Some(ended), None) => format!("ended {ended:.0}"),
        _ => "goes on, or was killed".to_owned(),
    };
    let retried = match run.retried {
        Retried { documents: 0, .. } => String::new(),
        retried => format!("; {retried}"),
    };
    format!(
        "last run: began {:.0}, {end}: {} read = {} created + {} already there + {} set aside{retried}\n",
        run.started,
        count(run.read),
        count(run.created),
        count(run.already_there),
        count(run.set_aside),
    )
}

/// Says which indices lack documents that are told as safe.
fn missing(status: &Status, terminal: Terminal) -> String {
    let rows = status.missing.iter().map(|missing| {
        let accepted = missing.accepted.map_or("no".to_owned(), |at| format!("{at:.0}"));
        vec![
            missing.index.clone(),
            count(missing.documents),
            missing.why.to_owned(),
            format!("{:.0}", missing.found),
            accepted,
        ]
    });
    let heads = ["not in the index any more", "documents", "it was", "noticed", "accepted"];
    table(terminal, &heads, &[Left, Right, Left, Left, Left], rows.collect())
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
    let heads = ["account", "region", "events", "covered from", "to", "gaps", "read", "lag"];
    let sides = [Left, Left, Left, Left, Left, Right, Right, Right];
    table(terminal, &heads, &sides, rows.collect())
}

fn buckets(status: &Status, terminal: Terminal) -> String {
    let rows = status.buckets.iter().map(|bucket| {
        let Bucket { bucket, done, skipped, failed, .. } = bucket;
        vec![bucket.clone(), count(*done), count(*skipped), count(*failed)]
    });
    let heads = ["bucket", "objects done", "skipped", "failed"];
    table(terminal, &heads, &[Left, Right, Right, Right], rows.collect())
}

fn days(status: &Status, terminal: Terminal) -> String {
    let rows = status.buckets.iter().flat_map(|bucket| {
        bucket.days.iter().map(|day| {
            let Day { day, done, skipped, failed } = day;
            vec![bucket.bucket.clone(), day.clone(), count(*done), count(*skipped), count(*failed)]
        })
    });
    let mut rows: Vec<_> = rows.collect();
    // The latest first, whatever the bucket.
    rows.sort_by(|one, other| other[1].cmp(&one[1]));
    let heads = ["objects of", "day", "done", "skipped", "failed"];
    table(terminal, &heads, &[Left, Left, Right, Right, Right], rows)
}

fn sources(status: &Status, terminal: Terminal) -> String {
    let rows = status.sources.iter().map(|source| {
        vec![
            source.source.clone(),
            count(source.lanes),
            count(source.records),
            bytes(source.bytes),
            format!("{:.0}", source.last_done),
        ]
    });
    let heads = ["safe by source", "files", "records", "size", "last done"];
    table(terminal, &heads, &[Left, Right, Right, Right, Left], rows.collect())
}

fn failures(status: &Status, terminal: Terminal) -> String {
    let rows = status.failures.iter().map(|failure| {
        // Without commas, as in the log and inside the cause: a person looks there with another tool.
        let at = failure.offset.map_or(String::new(), |offset| format!("at byte {offset}: "));
        vec![
            failure.name.clone(),
            count(failure.tries),
            count(failure.records),
            format!("{at}{}", failure.cause),
        ]
    });
    let heads = ["not read to the end", "tries", "records before", "cause"];
    table(terminal, &heads, &[Left, Right, Right, Left], rows.collect())
}

fn set_aside(status: &Status, terminal: Terminal) -> String {
    let told = &status.set_aside;
    let rows = told.reasons.iter().map(|reason| {
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
    let head = format!("set aside ({})", count(told.documents));
    let heads = [&head, "accepted", "because of", "reason", "for example"];
    table(terminal, &heads, &[Right, Right, Left, Left, Left], rows.collect())
}

fn decisions(status: &Status, terminal: Terminal) -> String {
    let rows = status
        .decisions
        .iter()
        .map(|decision| vec![decision.path.clone(), decision.kind.clone(), decision.why.clone()]);
    table(terminal, &["learned field", "kind", "why"], &[Left, Left, Left], rows.collect())
}

/// The narrowest that a column of text is made to fit a terminal.
const LEAST_COLUMN: usize = 12;

/// Columns between two columns of a table.
const GAP: usize = 2;

/// Returns an empty line and a table with its columns in line, as wide as the terminal at most; nothing if there are
/// no rows.
fn table(terminal: Terminal, heads: &[&str], sides: &[Side], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let hidden = rows.len().saturating_sub(ROWS_SHOWN);
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads)
        .chain(rows.into_iter().take(ROWS_SHOWN))
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max();
    let widths = (0..sides.len()).map(|column| width(column).unwrap_or(0)).collect();
    let widths = fitted(widths, sides, terminal);
    let mut text = "\n".to_owned();
    for row in &rows {
        let mut line = String::new();
        for ((cell, side), columns) in row.iter().zip(sides).zip(&widths) {
            let (text, columns, side) = (&shortened(cell, *columns), *columns, *side);
            // Writing to a String cannot fail.
            let _ = write!(line, "{}{:GAP$}", Padded { text, columns, side }, "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if hidden > 0 {
        let _ = writeln!(text, "... and {} more (see --json)", count(hidden as u64));
    }
    text
}

/// Returns the widths with the widest columns of text made narrower until the table fits. Numbers are never cut.
fn fitted(mut widths: Vec<usize>, sides: &[Side], terminal: Terminal) -> Vec<usize> {
    let Some(columns) = terminal.columns else { return widths };
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(columns);
    while over > 0 {
        let texts = widths.iter_mut().zip(sides).filter(|(_, side)| **side == Left);
        let Some((widest, _)) = texts.max_by_key(|(width, _)| **width) else { break };
        if *widest <= LEAST_COLUMN {
            break;
        }
        *widest -= 1;
        over -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::report::terminal::Color;
    use crate::{
        checkpoint::status::{
            Coverage, Decision, Document, Failure as Unread, MissingDocuments, Reason, Run,
            SetAside, Source,
        },
        cli::exit::Exit,
    };

    const FILE: Terminal = Terminal { columns: None, color: Color::Never };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn run_of_today() -> Run {
        Run {
            started: time("2024-06-01T02:00:00.5Z"),
            ended: Some(time("2024-06-01T02:10:00Z")),
            exit: Some(3),
            read: 12_345,
            created: 12_000,
            already_there: 340,
            set_aside: 5,
            lanes_done: 41,
            lanes_skipped: 3,
            lanes_failed: 1,
            retried: Retried::new(2, 1, 4),
        }
    }

    fn source(name: &str, lanes: u64) -> Source {
        let done = time("2024-06-01T02:09:00Z");
        Source {
            source: name.to_owned(),
            lanes,
            skipped: 0,
            records: lanes * 300,
            bytes: lanes << 20,
            first_done: done,
            last_done: done,
        }
    }

    fn status() -> Status {
        let at = time("2024-06-01T02:09:00Z");
        let document = Document {
            index: "cloudtrail-2024.06".into(),
            id: "a-b-c".into(),
            lane: "file:/a".into(),
            at,
            reason: "too long".into(),
        };
        Status {
            target: "http://localhost:9200 cloudtrail".into(),
            created: at,
            runs: vec![run_of_today()],
            lanes_done: 41,
            lanes_skipped: 3,
            lanes_failed: 1,
            records: 12_300,
            bytes: 41 << 20,
            sources: vec![source("file:/trail/eu-west-1", 40), source("file:/b", 1)],
            failures: vec![Unread {
                name: "/trail/cut.json.gz".into(),
                cause: "unexpected end".into(),
                offset: Some(17_000),
                records: 45,
                tries: 2,
                at,
            }],
            set_aside: SetAside {
                documents: 5,
                accepted: 2,
                reasons: vec![Reason {
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
            decisions: vec![Decision {
                path: "requestParameters.new".into(),
                kind: "text".into(),
                why: "first kind met".into(),
                decided: at,
            }],
        }
    }

    #[test]
    fn the_tables_say_what_is_safe_and_what_is_not() {
        let text = as_text(Path::new("/state/a.sqlite"), &status(), FILE);
        assert_eq!(
            text,
            "http://localhost:9200 cloudtrail\n\
             checkpoint /state/a.sqlite\n\
             41 files safe: 12,300 records, 41.0 MiB; 3 skipped (no CloudTrail)\n\
             last run: began 2024-06-01T02:00:00Z, ended 2024-06-01T02:10:00Z with exit 3: \
             12,345 read = 12,000 created + 340 already there + 5 set aside; \
             7 tried again = 2 created + 1 already there + 4 set aside\n\
             \n\
             safe by source         files  records      size  last done\n\
             file:/trail/eu-west-1     40   12,000  40.0 MiB  2024-06-01T02:09:00Z\n\
             file:/b                    1      300   1.0 MiB  2024-06-01T02:09:00Z\n\
             \n\
             not read to the end  tries  records before  cause\n\
             /trail/cut.json.gz       2              45  at byte 17000: unexpected end\n\
             \n\
             set aside (5)  accepted  because of  reason             for example\n\
             \u{20}           5         2  limit       too long\\u{1b}[2J  cloudtrail-2024.06/a-b-c\n\
             \n\
             learned field          kind  why\n\
             requestParameters.new  text  first kind met\n"
        );
    }

    #[test]
    fn an_index_that_is_gone_is_told_and_whether_that_was_accepted() {
        let lost = |index: &str, accepted| MissingDocuments {
            index: index.into(),
            documents: 1_000,
            why: "deleted",
            found: time("2024-06-01T02:09:00Z"),
            accepted,
        };
        let accepted = Some(time("2024-06-02T08:00:00Z"));
        let lost = vec![lost("ct-2022.01", None), lost("ct-2022.02", accepted)];
        assert_eq!(
            missing(&Status { missing: lost, ..status() }, FILE),
            "\n\
             not in the index any more  documents  it was   noticed               accepted\n\
             ct-2022.01                     1,000  deleted  2024-06-01T02:09:00Z  no\n\
             ct-2022.02                     1,000  deleted  2024-06-01T02:09:00Z  2024-06-02T08:00:00Z\n"
        );
    }

    fn bucket(name: &str, done: u64, failed: u64, days: &[(&str, u64, u64)]) -> Bucket {
        let day = |(day, done, failed): &(&str, u64, u64)| Day {
            day: (*day).to_owned(),
            done: *done,
            skipped: 0,
            failed: *failed,
        };
        Bucket {
            bucket: name.to_owned(),
            done,
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
            safe(&Status { lanes_done: 0, lanes_skipped: 0, ..status.clone() }),
            "event history safe: 2,469,134 events read, 1 Region of 1 account\n"
        );
        let text = coverage(&status, FILE) + &buckets(&status, FILE) + &days(&status, FILE);
        assert_eq!(
            text,
            "\n\
             account       region     events                       covered from          to                    gaps       read         lag\n\
             111122223333  eu-west-1  management (ReadOnly=false)  2024-03-03T02:00:00Z  2024-06-01T01:45:00Z     2  1,234,567  15 min 0 s\n\
             111122223333  eu-west-1  insight                      2024-03-03T02:00:00Z  2024-06-01T01:45:00Z     2  1,234,567        none\n\
             \n\
             bucket      objects done  skipped  failed\n\
             s3://logs              2        7       0\n\
             s3://trail         4,000        7       1\n\
             \n\
             objects of  day          done  skipped  failed\n\
             s3://logs   2024-06-02      1        0       0\n\
             s3://trail  2024-06-01  3,000        0       1\n\
             s3://logs   2024-05-31      1        0       0\n"
        );
    }

    #[test]
    fn what_is_empty_is_not_shown() {
        let empty = Status {
            runs: Vec::new(),
            sources: Vec::new(),
            failures: Vec::new(),
            set_aside: SetAside::default(),
            decisions: Vec::new(),
            ..status()
        };
        let text = as_text(Path::new("a"), &empty, FILE);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.ends_with("no run yet\n"), "{text}");
    }

    #[test]
    fn a_run_without_an_end_is_told_as_such() {
        let going_on = Run { ended: None, exit: None, ..run_of_today() };
        let text = runs(&Status { runs: vec![going_on], ..status() });
        assert!(text.contains("goes on, or was killed: 12,345 read = "), "{text}");
    }

    #[test]
    fn tables_fit_the_terminal_and_keep_their_numbers() {
        let long =
            "file:/srv/logs/AWSLogs/o-abcd123456/111122223333/CloudTrail/eu-west-1/2024/03/05";
        let status = Status { sources: vec![source(long, 40), source("世界", 1)], ..status() };
        for columns in [60, 80, 100, 200] {
            let text = sources(&status, Terminal { columns: Some(columns), ..FILE });
            let widest = text.lines().map(measure_text_width).max().unwrap();
            assert!(widest <= columns, "{columns}: {text}");
            assert!(text.contains(" 40 ") && text.contains("12,000"), "{text}");
            assert!(text.contains("2024/03/05") || text.contains("…"), "{text}");
        }
        assert!(sources(&status, FILE).contains(long), "a file or pipe gets all of it");
    }

    #[test]
    fn long_tables_are_cut_and_say_so() {
        let sources_many = (0..ROWS_SHOWN + 3).map(|at| source(&format!("file:/{at}"), 1));
        let text = sources(&Status { sources: sources_many.collect(), ..status() }, FILE);
        assert_eq!(text.lines().count(), 1 + 1 + ROWS_SHOWN + 1);
        assert!(text.ends_with("... and 3 more (see --json)\n"), "{text}");
    }

    #[test]
    fn json_has_all_numbers_and_the_file() {
        let value: Value =
            serde_json::from_str(&as_json(Path::new("/state/a.sqlite"), &status())).unwrap();
        assert_eq!(value["checkpoint"], "/state/a.sqlite");
        assert_eq!(value["records"], 12_300);
        assert_eq!(value["set_aside"]["documents"], 5);
        assert_eq!(value["sources"][0]["lanes"], 40);
        assert_eq!(value["failures"][0]["offset"], 17_000);
        assert_eq!(value["decisions"][0]["path"], "requestParameters.new");
    }

    fn args() -> Args {
        Args { into: None, index: "cloudtrail".parse().unwrap(), checkpoint: None, json: false }
    }

    #[test]
    fn the_file_is_named_by_option_engine_or_being_the_only_one() {
        let state = tempfile::tempdir().unwrap();
        let environment =
            Environment { state: Some(state.path().to_owned()), ..Environment::default() };
        let named = Args { checkpoint: Some("c.sqlite".into()), ..args() };
        assert_eq!(named.path(&environment).unwrap(), Path::new("c.sqlite"));
        let into = Args { into: Some("http://u@h:1".parse().unwrap()), ..args() };
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
