//! The options that a command line gives, as opposed to those that have their default.
//!
//! Input: what clap has parsed. Output: [`GivenOptions`].
//! Not here: options that every command has, such as `--quiet`.

use clap::{ArgMatches, parser::ValueSource};

/// The options of a command that its command line gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenOptions(Vec<String>);

impl GivenOptions {
    /// Returns the options of the subcommand in `matches` that are given, in the order of the help.
    pub fn of_subcommand(command: &clap::Command, matches: &ArgMatches) -> Self {
        let Some((name, matches)) = matches.subcommand() else { return Self::default() };
        let command = command.find_subcommand(name);
        let own = command.into_iter().flat_map(clap::Command::get_arguments);
        let given = own.filter(|argument| {
            !argument.is_global_set()
                && matches.value_source(argument.get_id().as_str())
                    == Some(ValueSource::CommandLine)
        });
        Self(given.filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect())
    }

    /// Returns the names of the options, such as `--into`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
