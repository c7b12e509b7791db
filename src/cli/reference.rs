//! Generates `docs/options.md`, the reference of all commands and options, from the parser.
//!
//! The test fails if the page differs from the parser. To write the page, run the test with `UPDATE=1`.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::Cli;

const PAGE: &str = "docs/options.md";

const INTRODUCTION: &str = "\
# Commands and options

<!-- Generated from the command-line parser; do not edit. To update: UPDATE=1 cargo test --lib reference -->

`trailload COMMAND --help` prints the same on the terminal. Options can be written as `--option VALUE` or `--option=VALUE`.
";

#[test]
fn the_option_reference_matches_the_parser() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "{PAGE} differs from the parser: run 'UPDATE=1 cargo test --lib reference' and commit it"
    );
}

#[test]
fn every_visible_option_is_in_the_reference() {
    let page = page();
    let program = built();
    for command in program.get_subcommands() {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(name) = argument.get_long() else { continue };
            assert!(page.contains(&format!("--{name}")), "{} --{name}", command.get_name());
        }
    }
}

/// Returns the parser with all global options in each command.
fn built() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

fn page() -> String {
    let program = built();
    let mut page = INTRODUCTION.to_owned();
    page.push_str(&after_help(&program));
    page.push_str("\n## Options of every command\n");
    page.push_str(&table(program.get_arguments().filter(|argument| argument.is_global_set())));
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        page.push_str(&section(command));
    }
    page
}

/// Returns the section of one command: what it does, its arguments, and its options by heading.
fn section(command: &Command) -> String {
    let name = command.get_name();
    let mut text = format!("\n## trailload {name}\n\n{}.\n", describe(command.get_about()));
    let usage = command.clone().render_usage().to_string();
    let _ = write!(text, "\n```\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let arguments = visible(command);
    for heading in headings(&arguments) {
        let of_heading = arguments.iter().copied();
        let of_heading = of_heading.filter(|argument| heading_of(argument) == heading);
        let _ = write!(text, "\n### {heading}\n{}", table(of_heading));
    }
    text.push_str(&after_help(command));
    text
}

/// Returns the arguments that only this command has, in the order of its help.
fn visible(command: &Command) -> Vec<&Arg> {
    let help = command.clone().render_long_help().to_string();
    let arguments = command.get_arguments().filter(|argument| {
        !argument.is_hide_set() && !argument.is_global_set() && !is_builtin(argument)
    });
    let mut arguments: Vec<&Arg> = arguments.collect();
    arguments.sort_by_key(|argument| help.find(&format!("  {}", names(argument))));
    arguments
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let head = "\n| option | description | default |\n|---|---|---|\n".to_owned();
    arguments.fold(head, |table, argument| table + &row(argument))
}

/// Returns whether clap adds the argument itself, to every command.
fn is_builtin(argument: &Arg) -> bool {
    matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// Returns the headings of the arguments, each once.
fn headings(arguments: &[&Arg]) -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    for argument in arguments {
        let heading = heading_of(argument);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn heading_of(argument: &Arg) -> String {
    let fallback = if argument.is_positional() { "Arguments" } else { "Options" };
    argument.get_help_heading().unwrap_or(fallback).to_owned()
}

/// Returns the row of one argument.
fn row(argument: &Arg) -> String {
    let (text, stated_default) = split_default(&describe(argument.get_help()));
    let default = stated_default.unwrap_or_else(|| parsed_default(argument));
    format!("| {} | {} | {} |\n", code(&names(argument)), cell(&text), cell(&default))
}

/// Returns an argument as it is written: `-q, --quiet`, `--from <TIME>`, `[SOURCE]...`.
fn names(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map(|name| format!("<{name}>")).unwrap_or_default();
    if argument.is_positional() {
        return format!("[{}]...", values.first().map_or("", |name| name.as_str()));
    }
    let mut text = String::new();
    if let Some(short) = argument.get_short() {
        let _ = write!(text, "-{short}, ");
    }
    let _ = write!(text, "--{}", argument.get_long().unwrap_or_default());
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && argument.is_require_equals_set() {
        let _ = write!(text, "[={value}]");
    } else if takes_value {
        let _ = write!(text, " {value}");
    }
    text
}

/// Returns the help text without the default that it states, and that default.
fn split_default(help: &str) -> (String, Option<String>) {
    match help.split_once("[default: ") {
        Some((text, default)) => {
            (text.trim_end().to_owned(), Some(default.trim_end_matches(']').to_owned()))
        }
        None => (help.to_owned(), None),
    }
}

/// Returns the default that the parser fills in, unless the argument is a flag.
fn parsed_default(argument: &Arg) -> String {
    if !matches!(argument.get_action(), ArgAction::Set) {
        return String::new();
    }
    let defaults = argument.get_default_values().iter();
    defaults.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
}

fn describe(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().replace('\n', " ")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Returns the text below the options as it is printed.
fn after_help(command: &Command) -> String {
    let text = describe_lines(command);
    if text.is_empty() { text } else { format!("\n```\n{text}\n```\n") }
}

fn describe_lines(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}
