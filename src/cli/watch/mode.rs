//! The modes of `trailload watch`, and the options that have an effect in each.
//!
//! Input: the options that are given. Output: the mode, or a usage error that names an option without effect.
//! Invariant: a mode that neither reads nor sends anything accepts only the options that are listed here, so an option that is added
//! to the command is refused there until somebody decides otherwise.
//! Not here: options whose effect depends on the sources or the actions of a run (see `input`).

use super::{WatchArgs, WatchMode};
use crate::cli::{args::given::GivenOptions, failure::Failure};

/// What the command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It reads events and sends alerts.
    Run,
    /// It reads events and prints alerts.
    DryRun,
    /// It checks rules and actions.
    Check,
    /// It runs the tests of rules.
    Test,
    /// It sends the alerts of earlier runs.
    Retry,
    /// It prints an event pattern.
    EventPattern,
    /// It translates a Drools file.
    FromDrools,
}

/// Options that have no effect in a dry run, which sends nothing, has no checkpoint, and leaves nothing to another run.
const NOT_IN_DRY_RUN: [&str; 8] = [
    "--alert-max-age",
    "--deliver-within",
    "--alert-state",
    "--replay",
    "--follow",
    "--checkpoint",
    "--delay",
    "--overlap",
];

/// Options of a retry: they name the checkpoint, the actions, and how receivers are reached.
const IN_RETRY: [&str; 13] = [
    "--actions",
    "--deliver-within",
    "--alert-state",
    "--checkpoint",
    "--in",
    "--trail",
    "--profile",
    "--into",
    "--index",
    "--ca-file",
    "--password-file",
    "--api-key-file",
    "--aws-auth",
];

impl Mode {
    /// Returns the mode that options select.
    pub(super) fn of(mode: &WatchMode) -> Self {
        let flags = [
            (mode.dry_run, Self::DryRun),
            (mode.check, Self::Check),
            (mode.test, Self::Test),
            (mode.retry, Self::Retry),
            (mode.event_pattern, Self::EventPattern),
            (mode.from_drl.is_some(), Self::FromDrools),
        ];
        flags.into_iter().find(|(is_given, _)| *is_given).map_or(Self::Run, |(_, mode)| mode)
    }

    /// Returns the option that selects the mode.
    fn option(self) -> Option<&'static str> {
        match self {
            Self::Run => None,
            Self::DryRun => Some("--dry-run"),
            Self::Check => Some("--check"),
            Self::Test => Some("--test"),
            Self::Retry => Some("--retry"),
            Self::EventPattern => Some("--event-pattern"),
            Self::FromDrools => Some("--from-drl"),
        }
    }

    /// Returns whether an option has an effect in the mode, or may have one.
    fn accepts(self, option: &str) -> bool {
        match self {
            Self::Run => true,
            Self::DryRun => !NOT_IN_DRY_RUN.contains(&option),
            Self::Check => option == "--actions",
            Self::Retry => IN_RETRY.contains(&option),
            Self::Test | Self::EventPattern | Self::FromDrools => false,
        }
    }
}

impl WatchArgs {
    /// Returns the mode.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] that names an option without effect in it.
    pub(super) fn checked_mode(&self, given: &GivenOptions) -> Result<Mode, Failure> {
        let mode = Mode::of(&self.mode);
        let Some(selected_by) = mode.option() else { return Ok(mode) };
        match given.iter().find(|option| *option != selected_by && !mode.accepts(option)) {
            None => Ok(mode),
            Some(option) => {
                Err(Failure::usage(format!("'{option}' has no effect with '{selected_by}'"))
                    .hint(format!("remove {option} or {selected_by}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

    use super::*;
    use crate::cli::exit::Exit;

    #[derive(Parser)]
    struct TestCli {
        #[command(subcommand)]
        command: TestCommand,
    }

    #[derive(Subcommand)]
    enum TestCommand {
        Watch(Box<WatchArgs>),
    }

    /// Returns the mode, or the error of clap or of the check.
    fn mode(words: &[&str]) -> Result<Mode, String> {
        let mut command = TestCli::command();
        let words = ["trailload", "watch"].iter().chain(words);
        let matches = command.try_get_matches_from_mut(words).map_err(|error| error.to_string())?;
        let cli = TestCli::from_arg_matches(&matches).unwrap();
        let TestCommand::Watch(args) = cli.command;
        let given = GivenOptions::of_subcommand(&command, &matches);
        args.checked_mode(&given).map_err(|failure| {
            assert_eq!(failure.exit, Exit::Usage);
            failure.heading
        })
    }

    /// Returns every option of the command with a value that it accepts, and what it requires.
    fn every_option() -> Vec<(String, Vec<String>)> {
        let command = TestCli::command();
        let watch = command.find_subcommand("watch").unwrap();
        let modes = ["dry-run", "check", "test", "retry", "event-pattern", "from-drl"];
        let options = watch.get_arguments().filter_map(|argument| {
            let name = argument.get_long().filter(|name| !modes.contains(name))?;
            let mut words = vec![format!("--{name}")];
            if argument.get_action().takes_values() {
                words.push(value(name).to_owned());
            }
            if name == "external-id" {
                words.extend(["--assume-role".to_owned(), value("assume-role").to_owned()]);
            }
            Some((format!("--{name}"), words))
        });
        options.filter(|(name, _)| name != "--help").collect()
    }

    fn value(option: &str) -> &'static str {
        match option {
            "from" | "to" | "last" | "alert-max-age" | "deliver-within" | "delay" | "overlap" => {
                "1d"
            }
            "alert-state" => "dynamodb://alerts",
            "accounts" => "111122223333",
            "regions" => "eu-west-1",
            "assume-role" => "arn:aws:iam::111122223333:role/r",
            "lookup-attribute" => "Username=alice",
            "kinds" => "CloudTrail",
            "late-days" => "3",
            "into" => "http://localhost:9200",
            _ => "x",
        }
    }

    #[test]
    fn every_option_is_refused_by_name_in_every_mode_in_which_it_has_no_effect() {
        for (selector, accepted) in [
            (&["--check", "rules"][..], &["--actions"][..]),
            (&["--test", "rules"], &[]),
            (&["--event-pattern", "rules"], &[]),
            (&["--from-drl", "a.drl"], &[]),
            (&["--retry"], &IN_RETRY),
        ] {
            for (option, words) in every_option() {
                let words: Vec<&str> =
                    selector.iter().copied().chain(words.iter().map(String::as_str)).collect();
                let result = mode(&words);
                if accepted.contains(&&*option) {
                    assert_eq!(result, Ok(Mode::of_words(selector)), "{words:?}");
                } else {
                    let error = result.unwrap_err();
                    assert!(error.contains(&option) || error.contains("--assume-role"), "{error}");
                    assert!(error.contains(selector[0]), "{words:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_dry_run_refuses_what_is_about_sending_and_the_next_run() {
        for (option, words) in every_option() {
            let words: Vec<&str> = ["--dry-run", "rules"]
                .into_iter()
                .chain(words.iter().map(String::as_str))
                .collect();
            let expected = if NOT_IN_DRY_RUN.contains(&&*option) {
                Err(format!("'{option}' has no effect with '--dry-run'"))
            } else {
                Ok(Mode::DryRun)
            };
            assert_eq!(mode(&words), expected, "{words:?}");
        }
    }

    #[test]
    fn a_run_accepts_every_option() {
        for (_, words) in every_option() {
            let words: Vec<&str> =
                ["rules"].into_iter().chain(words.iter().map(String::as_str)).collect();
            assert_eq!(mode(&words), Ok(Mode::Run), "{words:?}");
        }
    }

    #[test]
    fn modes_exclude_each_other() {
        let modes = ["--dry-run", "--check", "--test", "--retry", "--event-pattern"];
        for one in modes {
            for other in modes.into_iter().filter(|other| *other != one) {
                assert!(mode(&["rules", one, other]).is_err(), "{one} {other}");
            }
            assert!(mode(&[one, "--from-drl", "a.drl"]).is_err(), "{one}");
        }
    }

    impl Mode {
        fn of_words(words: &[&str]) -> Self {
            let all = [Self::Check, Self::Test, Self::EventPattern, Self::FromDrools, Self::Retry];
            all.into_iter().find(|mode| mode.option() == Some(words[0])).unwrap()
        }
    }
}
