//! Presets: names for sets of conditions, such as `denied` or `who-changed my-bucket`.
//!
//! Input: `mappings/presets.json`, and the arguments of a search. Output: the conditions with the options of the presets
//! added, as if they had been given.
//! Invariant: a preset consists of ordinary conditions only, so everything that it does can be written without it.

use std::{fmt, fmt::Write as _, sync::LazyLock};

use serde::Deserialize;

use crate::cli::{
    args::search::{ConditionArgs, SearchArgs},
    failure::Failure,
};

/// The presets.
static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let file: PresetFile = serde_json::from_str(include_str!("../../../mappings/presets.json"))
        .expect("a test parses the file");
    file.presets
});

#[derive(Debug, Deserialize)]
struct PresetFile {
    presets: Vec<Preset>,
}

/// A name for a set of conditions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    name: String,
    /// Name of the argument, if the preset takes one.
    argument: Option<String>,
    /// What it finds.
    about: String,
    /// The options, in which `{NAME}` stands for the argument.
    options: Vec<String>,
}

/// A preset that was used, and the options that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpandedPreset {
    /// The preset with its argument.
    pub(super) name: String,
    /// The options.
    pub(super) options: Vec<String>,
}

impl fmt::Display for ExpandedPreset {
    /// Writes the options as they would be written in a shell.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&command_line(&self.options))
    }
}

/// Adds the options of all presets to the conditions.
///
/// # Errors
///
/// Returns a usage [`Failure`] for an unknown preset, or for an argument that is missing or superfluous.
pub(super) fn expand(args: &SearchArgs) -> Result<(ConditionArgs, Vec<ExpandedPreset>), Failure> {
    let mut conditions = ConditionArgs { actions: Vec::new(), ..args.conditions.clone() };
    let mut expanded = Vec::new();
    let mut words = args.conditions.actions.iter();
    while let Some(word) = words.next() {
        let (name, argument) = split(word);
        match find(name) {
            Some(preset) => {
                let takes_next = preset.argument.is_some() && argument.is_none();
                let argument = if takes_next { words.next().map(String::as_str) } else { argument };
                expanded.push(preset.expand(argument)?);
            }
            None => conditions.actions.push(word.clone()),
        }
    }
    for given in &args.preset {
        let (name, argument) = split(given);
        expanded.push(find(name).ok_or_else(|| unknown(name))?.expand(argument)?);
    }
    for preset in &expanded {
        conditions.extend(parse(&preset.options)?);
    }
    Ok((conditions, expanded))
}

/// Returns the names that begin like this text, or that it begins with: what may have been meant.
pub(super) fn similar_names(text: &str) -> Vec<&'static str> {
    /// Letters that have to agree, so that a name of an event is rarely taken for a preset.
    const COMMON_LETTERS: usize = 3;
    /// Letters that have to agree in a name of almost the same length, such as `rot` for `root`.
    const COMMON_LETTERS_OF_TYPO: usize = 2;
    let text = text.to_ascii_lowercase();
    let common = |name: &str| name.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    let is_typo =
        |name: &str| common(name) >= COMMON_LETTERS_OF_TYPO && has_one_letter_less(&text, name);
    let names = PRESETS.iter().map(|preset| preset.name.as_str());
    names.filter(|name| common(name) >= COMMON_LETTERS.min(name.len()) || is_typo(name)).collect()
}

/// Returns whether a text is a name in which one letter is missing.
fn has_one_letter_less(text: &str, name: &str) -> bool {
    (0..name.len()).any(|at| {
        name.get(..at)
            .zip(name.get(at + 1..))
            .is_some_and(|(before, after)| text.strip_prefix(before) == Some(after))
    })
}

/// Returns the list of presets for `--presets`.
pub(super) fn list(columns: usize) -> String {
    const INDENT: usize = 4;
    let mut text = String::new();
    for preset in PRESETS.iter() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n{:INDENT$}{}", preset.usage(), "", preset.about);
        for line in lines(&preset.options, columns.saturating_sub(2 * INDENT)) {
            let _ = writeln!(text, "{:1$}{line}", "", 2 * INDENT);
        }
    }
    text
}

/// Returns a command line as lines of at most so many bytes, if its arguments allow that. An option and its value stay
/// together.
fn lines(options: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let takes_value = ["--match", "--where", "--except"].contains(&word.as_str());
        let value = if takes_value { words.next() } else { None };
        let part = command_line(&[Some(word), value].into_iter().flatten().collect::<Vec<_>>());
        match lines.last_mut() {
            Some(line) if line.len() + 1 + part.len() <= width => {
                line.push(' ');
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

impl Preset {
    /// Returns the preset as it is written.
    fn usage(&self) -> String {
        match &self.argument {
            Some(argument) => format!("{} {argument}", self.name),
            None => self.name.clone(),
        }
    }

    fn expand(&self, argument: Option<&str>) -> Result<ExpandedPreset, Failure> {
        let argument = argument.map(str::trim).filter(|argument| !argument.is_empty());
        let fill = |argument: &str| {
            let name = self.argument.as_deref().unwrap_or_default();
            let fill = |option: &String| option.replace(&format!("{{{name}}}"), argument);
            self.options.iter().map(fill).collect()
        };
        match (&self.argument, argument) {
            (None, None) => {
                Ok(ExpandedPreset { name: self.name.clone(), options: self.options.clone() })
            }
            (Some(_), Some(argument)) => Ok(ExpandedPreset {
                name: format!("{} {argument}", self.name),
                options: fill(argument),
            }),
            (Some(expected), None) => {
                Err(Failure::usage(format!("the preset '{}' needs an argument", self.name))
                    .hint(format!("write --preset '{} {expected}'", self.name)))
            }
            (None, Some(argument)) => Err(Failure::usage(format!(
                "the preset '{}' takes no argument, but '{argument}' is given",
                self.name
            ))),
        }
    }
}

fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Splits `NAME`, `NAME ARGUMENT` or `NAME=ARGUMENT`.
fn split(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    match text.split_once([' ', '=']) {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    }
}

fn unknown(name: &str) -> Failure {
    let names: Vec<String> = PRESETS.iter().map(Preset::usage).collect();
    Failure::usage(format!("unknown preset '{name}'"))
        .hint(format!("use one of {}", names.join(", ")))
}

/// Parses the options of a preset.
fn parse(options: &[String]) -> Result<ConditionArgs, Failure> {
    let preset = clap::Command::new("preset").no_binary_name(true);
    <ConditionArgs as clap::Args>::augment_args(preset)
        .try_get_matches_from(options)
        .and_then(|matches| <ConditionArgs as clap::FromArgMatches>::from_arg_matches(&matches))
        .map_err(|error| Failure::usage(error.to_string()))
}

impl ConditionArgs {
    /// Adds further conditions.
    fn extend(&mut self, other: Self) {
        self.actions.extend(other.actions);
        self.matches.extend(other.matches);
        self.conditions.extend(other.conditions);
        self.exceptions.extend(other.exceptions);
        self.errors_only |= other.errors_only;
        self.read_only |= other.read_only;
        self.write_only |= other.write_only;
        self.principal.extend(other.principal);
        self.resource.extend(other.resource);
        self.ip.extend(other.ip);
        self.access_key.extend(other.access_key);
    }
}

/// Returns arguments as they would be written in a POSIX shell.
pub(super) fn command_line<T: AsRef<str>>(arguments: &[T]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument.as_ref())).collect();
    quoted.join(" ")
}

/// Quotes an argument unless a shell takes it literally.
fn quote(argument: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::exit::Exit;

    #[derive(clap::Parser)]
    struct TestCli {
        #[command(flatten)]
        args: SearchArgs,
    }

    fn expanded(words: &[&str]) -> Result<(ConditionArgs, Vec<ExpandedPreset>), Failure> {
        let cli = TestCli::try_parse_from(["search"].iter().chain(words)).unwrap();
        expand(&cli.args)
    }

    #[test]
    fn every_preset_of_the_file_expands_to_conditions() {
        assert!(PRESETS.len() >= 10);
        for preset in PRESETS.iter() {
            let expanded = preset.expand(preset.argument.as_deref().map(|_| "-x y")).unwrap();
            let conditions = parse(&expanded.options).unwrap();
            assert_ne!(conditions, ConditionArgs::default(), "{}", preset.name);
            assert!(preset.options.iter().all(|option| !option.contains("{}")));
        }
    }

    #[test]
    fn a_preset_is_written_as_an_option_or_as_an_action() {
        let (as_action, named) = expanded(&["who-changed", "my-bucket", "s3:Put*"]).unwrap();
        assert_eq!(as_action.actions, ["s3:Put*"]);
        assert!(as_action.write_only);
        assert_eq!(as_action.resource, ["my-bucket"]);
        assert_eq!(named[0].name, "who-changed my-bucket");
        assert_eq!(named[0].to_string(), "--write-only --resource=my-bucket");
        for words in [
            &["s3:Put*", "--preset", "who-changed my-bucket"][..],
            &["s3:Put*", "--preset=who-changed=my-bucket"],
            &["s3:Put*", "who-changed my-bucket"],
            &["s3:Put*", "--write-only", "--resource", "my-bucket"],
        ] {
            assert_eq!(expanded(words).unwrap().0, as_action, "{words:?}");
        }
    }

    #[test]
    fn an_event_whose_name_is_a_preset_is_found_with_a_service() {
        let (conditions, presets) = expanded(&["*:root", "Root"]).unwrap();
        assert_eq!((conditions.actions.len(), presets.len()), (2, 0));
    }

    #[test]
    fn a_wrong_preset_is_exit_2() {
        for (words, part) in [
            (&["--preset", "denid"][..], "unknown preset 'denid'"),
            (&["--preset", "key"], "the preset 'key' needs an argument"),
            (&["key"], "the preset 'key' needs an argument"),
            (&["--preset", "root admin"], "takes no argument, but 'admin' is given"),
        ] {
            let failure = expanded(words).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.heading.contains(part), "{failure:?}");
        }
        assert_eq!(similar_names("denid"), ["denied"]);
        assert_eq!(similar_names("rot"), ["root"]);
        assert_eq!(similar_names("GetObject"), Vec::<&str>::new());
    }

    #[test]
    fn options_are_shown_as_a_shell_takes_them() {
        let shown = command_line(&["--match", "$.a == 'b'", "s3:Get*", "", "a=b"]);
        assert_eq!(shown, r"--match '$.a == '\''b'\''' 's3:Get*' '' a=b");
    }
}
