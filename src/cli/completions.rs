//! `trailload completions`: completion of commands, options, services and operations in a shell.
//!
//! Input: the name of a shell. Output: a script for it, which asks this program for candidates.
//! Invariant: candidates come from the embedded tables alone, so completion is fast and works offline.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
};

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, engine::CompletionCandidate, env::Shells};

use super::{Cli, exit::Exit, failure::Failure};
use crate::schema::{Table, names, records};

/// The variable through which a script asks for candidates.
const VARIABLE: &str = "COMPLETE";

/// The name of the program.
const PROGRAM: &str = "trailload";

/// The end of `trailload completions --help`.
const AFTER_HELP: &str = "\
Examples:
  bash  echo 'source <(trailload completions bash)' >> ~/.bashrc
  zsh   echo 'source <(trailload completions zsh)' >> ~/.zshrc
  fish  trailload completions fish > ~/.config/fish/completions/trailload.fish";

/// The arguments of `trailload completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct CompletionsArgs {
    /// The shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// fish.
    Fish,
    /// Elvish.
    Elvish,
    /// `PowerShell`.
    Powershell,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
            Self::Powershell => "powershell",
        }
    }
}

/// Runs `trailload completions`.
///
/// # Errors
///
/// Returns a [`Failure`] if the script cannot be written.
pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let failed = |error: &std::io::Error| Failure::from_error(Exit::ActionRequired, error);
    if let Some(shell) = shells.completer(args.shell.name()) {
        shell
            .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
            .map_err(|error| failed(&error))?;
    }
    super::print(&String::from_utf8_lossy(&script))
}

/// Answers a script that asks for candidates. Returns whether the arguments were such a question.
pub(super) fn answer(arguments: &[OsString]) -> bool {
    // A shell shows nothing if the question cannot be answered.
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(arguments, None)
        .unwrap_or(false)
}

/// Returns the services, operations and sides that a word may become.
pub(super) fn schema_names(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let Ok(table) = Table::embedded() else { return Vec::new() };
    candidates(table, word).into_iter().map(CompletionCandidate::new).collect()
}

fn candidates(table: &Table, word: &str) -> Vec<String> {
    let starts = |name: &str, start: &str| {
        name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let Some(end) = word.find(['.', ':']) else {
        let ids = table.services.iter().map(|entry| entry.info.id.as_ref());
        let sources = records::EVENTS.iter().map(|event| event.source);
        let names: BTreeSet<&str> = ids.chain(sources).filter(|id| starts(id, word)).collect();
        return names.into_iter().map(str::to_owned).collect();
    };
    let (service, separator, rest) = (&word[..end], &word[end..=end], &word[end + 1..]);
    let entries = names::services(&table.services, service);
    let source = names::service_name(service);
    match rest.split_once('.') {
        None => {
            let operations = entries.first().into_iter().flat_map(|entry| &entry.operations);
            let events = records::events(&source).map(|event| event.name);
            let names = operations.copied().chain(events).filter(|name| starts(name, rest));
            names.map(|name| format!("{service}{separator}{name}")).collect()
        }
        Some((operation, side)) => {
            let sides = ["input", "output"].into_iter().filter(|name| starts(name, side));
            sides.map(|side| format!("{service}{separator}{operation}.{side}")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_operations_and_sides_are_completed() {
        let table = Table::embedded().unwrap();
        let first = |word: &str| candidates(table, word).into_iter().next();
        assert_eq!(first("secretsm").as_deref(), Some("secretsmanager"));
        assert_eq!(first("iam.createpolicyv").as_deref(), Some("iam.CreatePolicyVersion"));
        assert_eq!(first("monitoring.PutMetricA").as_deref(), Some("monitoring.PutMetricAlarm"));
        assert_eq!(
            candidates(table, "iam.CreatePolicy."),
            ["iam.CreatePolicy.input", "iam.CreatePolicy.output"]
        );
        assert_eq!(first("iam:CreatePolicyV").as_deref(), Some("iam:CreatePolicyVersion"));
        assert_eq!(first("signin.ConsoleL").as_deref(), Some("signin.ConsoleLogin"));
        assert_eq!(first("signi").as_deref(), Some("signin"));
        assert_eq!(first("nosuch."), None);
    }
}
