//! What the user asks: words typed become a ready plan, and what went wrong becomes an exit code.
//!
//! In: arguments, environment, clock (nobody else reads them). Out: an exit code.
//! Holds: nothing is opened, read or sent before the whole command line makes sense.
//! Absent on purpose: a configuration file. The cron line is the configuration.

mod assemble;
mod choice;
pub mod cloud;
pub mod doctor;
pub mod engine;
mod enter;
pub mod environment;
mod estimate;
pub mod exit;
pub mod failure;
mod gather;
#[cfg(test)]
mod help;
pub mod load;
pub mod policy;
mod presence;
pub mod retry;
mod signals;
pub mod size;
pub mod status;
pub mod time;
pub mod words;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    report::{
        log::{Format, Log, Verbosity},
        terminal::{is_printable, printable},
    },
    secret,
};
use environment::Environment;
use exit::Exit;
use failure::Failure;

/// Widest help. Longer lines are hard to read, however wide the terminal is.
const HELP_COLUMNS: usize = 100;

/// Load AWS CloudTrail into Elasticsearch or OpenSearch: nothing refused, nothing lost, nothing twice
#[derive(Debug, Parser)]
#[command(name = "trailload", version, max_term_width = HELP_COLUMNS, arg_required_else_help = true)]
#[command(after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The end of `trailload --help`.
const AFTER_HELP: &str = "\
Examples:
  trailload load --into http://localhost:9200
  trailload load s3://my-trail --into http://localhost:9200
  trailload load trail/ --into http://localhost:9200
  trailload doctor --into http://localhost:9200
  trailload status --into http://localhost:9200
  trailload load --help

Exit codes:
  0  everything asked for is in the index
  1  a person has to change something: credentials, permission, address
  2  the command line makes no sense
  3  done, but documents are set aside, or something could not be read ('trailload status' tells)
  4  stopped early, position saved: run the same command again";

#[derive(Debug, Subcommand)]
enum Command {
    /// Load CloudTrail into an engine; run it again and only what is new is loaded
    Load(Box<load::Args>),
    /// Show what is safe by source, what was set aside and why, and what was learned
    Status(status::Args),
    /// Send documents again that were set aside, or accept that they stay out
    Retry(Box<retry::Args>),
    /// Look whether a load would succeed, and what to do if not; nothing is changed
    Doctor(Box<doctor::Args>),
    /// Print the least IAM policy for a load with these options
    Policy(Box<policy::Args>),
}

/// How much is said, and how: the same for every command.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "What is shown")]
pub struct Shown {
    /// Write lines on standard error as text, or each as a JSON object
    #[arg(long, value_name = "text|json", value_enum, default_value_t = Format::Text)]
    #[arg(hide_possible_values = true)]
    pub log_format: Format,
    /// Show nothing but warnings and errors
    #[arg(long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show what helps to find a fault
    #[arg(short, long)]
    pub verbose: bool,
}

impl Shown {
    /// Returns the log that was asked for.
    pub fn log(self, environment: &Environment) -> Log {
        let verbosity = match self {
            Self { quiet: true, .. } => Verbosity::Quiet,
            Self { verbose: true, .. } => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let log = if environment.redraws {
            Log::terminal(self.log_format, verbosity, environment::now)
        } else {
            Log::plain(self.log_format, verbosity, environment::now)
        };
        log.shown_on(environment.error)
    }
}

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => perform(cli.command, &Environment::read()).into(),
        Err(answer) => {
            answer_usage(&answer, &arguments);
            if answer.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
        }
    }
}

/// Shows help, or a usage error. What was typed may be somebody else's words, such as a file name that a shell expanded,
/// or an address with a password.
fn answer_usage(answer: &clap::Error, arguments: &[OsString]) {
    let plain = answer.to_string();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let safe = secret::taken_out(&plain, words.iter().map(AsRef::as_ref));
    // Help goes to standard output, which may be closed (`--help | head`); so be it.
    let _ = if safe == plain && plain.lines().all(is_printable) {
        answer.print()
    } else {
        let safe: Vec<String> = safe.lines().map(printable).collect();
        io::stderr().write_all(format!("{}\n", safe.join("\n")).as_bytes())
    };
}

fn perform(command: Command, environment: &Environment) -> Exit {
    match command {
        Command::Load(args) => load::run(&args, environment, environment::now()),
        Command::Status(args) => {
            let log = Shown::default().log(environment);
            status::run(&args, environment)
                .map_or_else(|failure| failure.report(&log), |()| Exit::Done)
        }
        Command::Retry(args) => retry::run(&args, environment, environment::now()),
        Command::Doctor(args) => {
            let log = args.load.shown.log(environment);
            doctor::run(&args, environment, environment::now(), &log)
                .unwrap_or_else(|failure| failure.report(&log))
        }
        Command::Policy(args) => {
            let log = args.load.shown.log(environment);
            policy::run(&args, environment, &log)
                .map_or_else(|failure| failure.report(&log), |()| Exit::Done)
        }
    }
}

/// Writes data to standard output. Whoever reads it may stop early: a closed pipe is no failure.
///
/// # Errors
///
/// Returns a [`Failure`] if it cannot be written for another reason, such as a full disk.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::person("could not write to standard output").caused_by(&error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_name_option_value_and_expectation() {
        let load = ["trailload", "load", "a.json", "--into", "http://h"];
        let size = "expected a size such as 256MiB, 1GiB, 500MB or 1048576 (bytes)";
        let moment = "expected a time (2024-06-01T12:00:00Z), a date (2024-06-01, midnight UTC)";
        let table: &[(&[&str], &[&str])] = &[
            (&["--memory", "lots"], &["invalid value 'lots' for '--memory <BYTES>'", size]),
            (&["--batch", "5PiB"], &["invalid value '5PiB' for '--batch <BYTES>'", size]),
            (&["--from", "monday"], &["invalid value 'monday' for '--from <TIME>'", moment]),
            (&["--to", "monday"], &["invalid value 'monday' for '--to <TIME>'", moment]),
            (&["--last", "2024-01-01"], &["for '--last <AGE>'", "expected an age such as 30m"]),
            (&["--last", "7d", "--from", "7d"], &["'--last <AGE>' cannot be used with '--from"]),
            (&["--index", "Trail"], &["'Trail' for '--index <PREFIX>'", "but found 'T'"]),
            (&["--index-by", "hour"], &["'hour'", "month, day, year, none"]),
            (&["--fields", "all"], &["'all'", "lean, standard"]),
            (&["--workers", "0"], &["'0' for '--workers <THREADS>'", "1..=256"]),
            (&["--max-fields", "all"], &["'all' for '--max-fields <FIELDS>'"]),
            (&["--log-format", "xml"], &["'xml'", "text, json"]),
            (&["--quiet", "--verbose"], &["'--quiet' cannot be used with '--verbose'"]),
            (&["--speed"], &["unexpected argument '--speed'"]),
        ];
        for (words, expected) in table {
            let error = Cli::try_parse_from(load.iter().chain(*words)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
            let text = error.to_string();
            for part in *expected {
                assert!(text.contains(part), "{words:?}: {text}");
            }
        }
        let error = Cli::try_parse_from(["trailload", "load", "a.json"]).unwrap_err();
        assert!(error.to_string().contains("--into <URL>"), "{error}");
    }

    #[test]
    fn an_address_with_a_password_is_not_in_debug() {
        let words = ["trailload", "load", "a", "--into", "http://u:hunter2@h"];
        let cli = Cli::try_parse_from(words).unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn exit_codes_of_the_parser() {
        let code = |words: &[&str]| {
            let words = ["trailload"].iter().chain(words).map(OsString::from);
            format!("{:?}", run(words.collect::<Vec<_>>()))
        };
        assert_eq!(code(&["--version"]), format!("{:?}", ExitCode::from(0)));
        assert_eq!(code(&["load", "--help"]), format!("{:?}", ExitCode::from(0)));
        assert_eq!(code(&["help", "load"]), format!("{:?}", ExitCode::from(0)));
        assert_eq!(code(&["lod"]), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(&[]), format!("{:?}", ExitCode::from(2)));
    }
}
