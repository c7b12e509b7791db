//! The command line: parses arguments, runs a command, and returns its exit code.
//!
//! Input: arguments, environment, clock. Output: an exit code.
//! Invariant: nothing is sent or written before the whole command line is valid.
//! Not here: a configuration file. The command line of the cron job or service is the configuration.
//!
//! Arguments ([`args`]) become a plan ([`plan`]), which a command carries out ([`load`], [`retry`], [`status`],
//! [`doctor`], [`policy`]). Errors of all modules become a [`failure`], and an [`exit`] code.

mod alert_summary;
mod alerts;
pub mod args;
pub mod completions;
pub mod dashboards;
mod dashboards_endpoint;
pub mod doctor;
#[cfg(test)]
mod documentation;
pub mod environment;
pub mod exit;
pub mod failure;
#[cfg(test)]
mod help;
mod index_endpoint;
mod lambda;
pub mod load;
mod output_pipe;
pub mod plan;
pub mod policy;
mod reading_progress;
#[cfg(test)]
mod reference;
pub mod retry;
mod rule_files;
mod run_scope;
mod runtime;
pub mod schema;
pub mod search;
pub mod setup;
mod signals;
mod sources;
pub mod status;
mod time_notes;
pub mod watch;

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use self::{
    args::{given::GivenOptions, load::LoadArgs, output::LogArgs, search::SearchArgs},
    environment::Environment,
    exit::Exit,
    failure::Failure,
};
use crate::{
    redact,
    report::{
        Log,
        terminal::{escape_unprintable, is_printable},
    },
};

/// Maximum width of the help text. Longer lines are hard to read, even on a wide terminal.
const HELP_COLUMNS: usize = 100;

/// Load AWS CloudTrail events into Elasticsearch or OpenSearch, completely and without duplicates
#[derive(Debug, Parser)]
#[command(name = "trailload", version, max_term_width = HELP_COLUMNS, arg_required_else_help = true)]
#[command(after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

/// The end of `trailload --help`.
const AFTER_HELP: &str = "\
Examples:
  trailload load --into http://localhost:9200
  trailload load s3://my-trail --into http://localhost:9200
  trailload load trail/ --into http://localhost:9200
  trailload search '*:Delete*' --last 3h
  trailload doctor --into http://localhost:9200
  trailload status --into http://localhost:9200
  trailload load --help

Exit codes:
  0  everything requested is in the index, or was found
  1  action required: fix the credentials, permissions or address named in the error
  2  invalid command line
  3  finished, but with dead letters, unreadable input or missing documents; see 'trailload status'
  4  stopped early, position saved; run the same command again to continue
  5  nothing found (search)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Load CloudTrail events; later runs load only what is new
    // Without rules, only 'doctor' and 'policy' use it.
    #[command(mut_arg("alert_state", |option| option.requires("rules")))]
    Load(Box<LoadArgs>),
    /// Find events by IAM action and by any field, in every Region, in files, buckets and indices
    Search(Box<SearchArgs>),
    /// Show the shape of requests and responses, as CloudTrail writes them and as the index holds them
    Schema(Box<schema::SchemaArgs>),
    /// Send alerts for events that match rules; check, test and try rules
    Watch(Box<watch::WatchArgs>),
    /// Show what is loaded per source, dead letters and their reasons, and discovered fields
    Status(status::StatusArgs),
    /// Send dead letters again, or accept that they stay out of the index
    Retry(Box<retry::RetryArgs>),
    /// Check whether a load would succeed and how to fix what would stop it; changes nothing
    Doctor(Box<doctor::DoctorArgs>),
    /// Prepare an engine: templates, lifecycle, roles and dashboards; delete what has expired
    Setup(Box<setup::SetupArgs>),
    /// Write a page with all dashboards, or print them for Kibana and OpenSearch Dashboards
    Dashboards(Box<dashboards::DashboardsArgs>),
    /// Print the minimal IAM policy, or role of an engine, for a load or another command
    Policy(Box<policy::PolicyArgs>),
    /// Print a script that completes commands, options, services and operations in a shell
    Completions(completions::CompletionsArgs),
}

/// Returns the log on standard error.
fn log(args: LogArgs, environment: &Environment) -> Log {
    let (format, verbosity) = (args.log_format, args.verbosity());
    let log = if environment.redraws {
        Log::terminal(format, verbosity, environment::now)
    } else {
        Log::plain(format, verbosity, environment::now)
    };
    log.shown_on(environment.error)
}

/// Runs the program and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if lambda::is_started_by_lambda(&arguments) {
        return lambda::run(&arguments).into();
    }
    if completions::answer(&arguments) {
        return Exit::Success.into();
    }
    match parse(&arguments) {
        Ok((cli, given)) => perform(cli, &given, &Environment::read()).into(),
        Err(error) => {
            print_usage(&error, &arguments);
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() }
        }
    }
}

/// Parses a command line. Returns the options of its command that are given, too.
fn parse(arguments: &[OsString]) -> Result<(Cli, GivenOptions), clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, GivenOptions::of_subcommand(&command, &matches)))
}

/// Prints help or a usage error. The arguments may hold control characters, as in a file name that a shell expanded, or a
/// URL with a password, so they are escaped and redacted.
fn print_usage(error: &clap::Error, arguments: &[OsString]) {
    let plain = error.to_string();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let safe = redact::message(&plain, arguments.iter().map(AsRef::as_ref));
    // Help goes to standard output, which may be closed (`--help | head`): that is not an error.
    let _ = if safe == plain && plain.lines().all(is_printable) {
        error.print()
    } else {
        let safe: Vec<String> = safe.lines().map(escape_unprintable).collect();
        io::stderr().write_all(format!("{}\n", safe.join("\n")).as_bytes())
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(name) = long_option_after_one_dash(&arguments)
    {
        let hint = format!("\n  hint: write two dashes: --{name}\n");
        let _ = io::stderr().write_all(hint.as_bytes());
    }
    // The usage that follows names what was given too.
    let missing = plain.split("Usage:").next().unwrap_or_default();
    if error.kind() == ErrorKind::MissingRequiredArgument && missing.contains("--into <URL>") {
        let hint = "\n  hint: add the URL of the engine, such as --into http://localhost:9200\n";
        let _ = io::stderr().write_all(hint.as_bytes());
    }
}

fn perform(cli: Cli, given: &GivenOptions, environment: &Environment) -> Exit {
    let log = log(cli.log, environment);
    let now = environment::now();
    let result = match cli.command {
        Command::Load(args) => load::run(&args, environment, now, &log),
        Command::Search(args) => search::run(&args, environment, now, &log),
        Command::Status(args) => status::run(&args, environment).map(|()| Exit::Success),
        Command::Retry(args) => retry::run(&args, environment, now, &log),
        Command::Doctor(args) => doctor::run(&args, given, environment, now, &log),
        Command::Setup(args) => setup::run(&args, environment, now, &log),
        Command::Completions(args) => completions::run(&args).map(|()| Exit::Success),
        Command::Schema(args) => schema::run(&args, environment, &log).map(|()| Exit::Success),
        Command::Watch(args) => watch::run(&args, given, environment, now, &log),
        Command::Dashboards(args) => dashboards::run(&args, given, environment, now, &log),
        Command::Policy(args) => {
            policy::run(&args, given, environment, &log).map(|()| Exit::Success)
        }
    };
    result.unwrap_or_else(|failure| failure.report(&log))
}

/// Returns the name of the first long option that is written with one dash, such as `-into`.
fn long_option_after_one_dash<'a>(arguments: &'a [Cow<'_, str>]) -> Option<&'a str> {
    let program = Cli::command();
    let is_long = |name: &str| {
        let commands = std::iter::once(&program).chain(program.get_subcommands());
        let mut options = commands.flat_map(clap::Command::get_arguments);
        options.any(|option| option.get_long() == Some(name))
    };
    let names = arguments.iter().filter_map(|argument| argument.strip_prefix('-'));
    let mut names = names.map(|name| name.split_once('=').map_or(name, |(name, _)| name));
    names.find(|name| is_long(name))
}

/// Writes data to standard output. A closed pipe is not an error: the reader may stop early.
///
/// # Errors
///
/// Returns a [`Failure`] if it cannot be written for another reason, such as a full disk.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::action_required("cannot write to standard output").caused_by(&error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_option_with_one_dash_is_recognized() {
        let found = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| Cow::from(*word)).collect();
            long_option_after_one_dash(&words).map(str::to_owned)
        };
        assert_eq!(found(&["load", "-into", "http://h"]).as_deref(), Some("into"));
        assert_eq!(found(&["load", "a", "-last=7d"]).as_deref(), Some("last"));
        assert_eq!(found(&["load", "-x", "--into", "-", "-nothing"]), None);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_name_option_value_and_expectation() {
        let load = ["trailload", "load", "a.json", "--into", "http://h"];
        let size = "expected a size such as 256MiB, 1GiB, 500MB or 1048576 (bytes)";
        let moment = "expected a time ('2024-06-01 14:00:12', UTC unless a zone follows), a date";
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
