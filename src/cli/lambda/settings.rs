//! The settings of the function: variables, and the files beside the program.
//!
//! ```text
//!  bootstrap       the program
//!  rules/          the rules, unless TRAILLOAD_RULES names others
//!  actions.yml     the actions, unless TRAILLOAD_ACTIONS names another file
//! ```
//!
//! Input: the variables of the environment that begin with `TRAILLOAD_`, and a folder. Output: [`FunctionSettings`].
//! Invariant: a variable has the meaning, the default and the error messages of the option of that name. One that is unknown or has no
//! effect is an error, so a misspelled name is not ignored.
//! Not here: user name, password and API key of the engine, which have the same variables on the command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, Command};

use crate::{
    cli::{args::load::LoadArgs, environment, failure::Failure, watch::WatchArgs},
    redact,
    report::terminal::escape_unprintable,
};

/// What all variables of the program begin with.
pub(super) const PREFIX: &str = "TRAILLOAD_";

const RULES: &str = "TRAILLOAD_RULES";
const INTO: &str = "TRAILLOAD_INTO";
const REQUESTER_PAYS: &str = "TRAILLOAD_REQUESTER_PAYS";
const FOREIGN_MESSAGES: &str = "TRAILLOAD_DELETE_FOREIGN_MESSAGES";

/// The folder with rules in the package.
const RULES_FOLDER: &str = "rules";

/// The action file in the package.
const ACTION_FILES: [&str; 2] = ["actions.yml", "actions.yaml"];

/// How alike a name must be to be suggested, from 0 to 1.
const SIMILARITY: f64 = 0.85;

/// A variable that stands for an option.
struct Variable {
    name: &'static str,
    option: &'static str,
    value: VariableValue,
    needs: Need,
}

/// What a variable contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VariableValue {
    /// The value of the option.
    Text,
    /// A path, relative to the folder of the function.
    Path,
    /// `true` or `false`.
    Flag,
}

/// What a variable needs to have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Rules are evaluated.
    Rules,
    /// Events are loaded into an engine.
    Engine,
}

const VARIABLES: [Variable; 14] = [
    variable(INTO, "--into", VariableValue::Text, Need::Engine),
    variable("TRAILLOAD_INDEX", "--index", VariableValue::Text, Need::Engine),
    variable("TRAILLOAD_INDEX_BY", "--index-by", VariableValue::Text, Need::Engine),
    variable("TRAILLOAD_AWS_AUTH", "--aws-auth", VariableValue::Flag, Need::Engine),
    variable("TRAILLOAD_CA_FILE", "--ca-file", VariableValue::Path, Need::Engine),
    variable("TRAILLOAD_FIELDS", "--fields", VariableValue::Text, Need::Engine),
    variable("TRAILLOAD_MAX_FIELDS", "--max-fields", VariableValue::Text, Need::Engine),
    variable("TRAILLOAD_KEEP_ORIGINAL", "--keep-original", VariableValue::Flag, Need::Engine),
    variable("TRAILLOAD_MAPPINGS", "--mappings", VariableValue::Path, Need::Engine),
    variable("TRAILLOAD_ACTIONS", "--actions", VariableValue::Path, Need::Rules),
    variable("TRAILLOAD_ALERT_STATE", "--alert-state", VariableValue::Text, Need::Rules),
    variable("TRAILLOAD_ALERT_MAX_AGE", "--alert-max-age", VariableValue::Text, Need::Rules),
    variable("TRAILLOAD_DELIVER_WITHIN", "--deliver-within", VariableValue::Text, Need::Rules),
    variable("TRAILLOAD_CHECKPOINT", "--checkpoint", VariableValue::Path, Need::Nothing),
];

const fn variable(
    name: &'static str,
    option: &'static str,
    value: VariableValue,
    needs: Need,
) -> Variable {
    Variable { name, option, value, needs }
}

/// The variables that are read elsewhere.
const OTHER_VARIABLES: [&str; 8] = [
    RULES,
    REQUESTER_PAYS,
    FOREIGN_MESSAGES,
    environment::USERNAME,
    environment::PASSWORD,
    environment::PASSWORD_FILE,
    environment::API_KEY,
    environment::API_KEY_FILE,
];

/// What only hints about credentials of a shell contain.
const SHELL_CREDENTIALS: [&str; 2] = ["AWS_PROFILE", "aws sso login"];

/// What to do if a function has no credentials, or some that AWS does not accept.
pub(super) const NO_CREDENTIALS_HINT: &str = "Lambda gives a function the credentials of its execution role: attach one, and remove variables of your own such as \
     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// The options of variables that are read elsewhere.
const OTHER_OPTIONS: [(&str, &str); 3] = [
    ("--rules", RULES),
    ("--requester-pays", REQUESTER_PAYS),
    ("--delete-foreign-messages", FOREIGN_MESSAGES),
];

/// What the function does with events.
#[derive(Clone, Debug)]
pub(super) enum FunctionTask {
    /// It evaluates rules.
    Watch(Box<WatchArgs>),
    /// It loads them into an engine, and evaluates rules if there are any.
    Load(Box<LoadArgs>),
}

/// What happens to messages that are not CloudTrail's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ForeignMessages {
    /// They are answered as failed, so that they end up in the dead-letter queue.
    #[default]
    Refused,
    /// They are answered as processed, so that the queue deletes them.
    Deleted,
}

/// The settings of the function.
#[derive(Clone, Debug)]
pub(super) struct FunctionSettings {
    pub(super) task: FunctionTask,
    pub(super) foreign: ForeignMessages,
    /// Whether the owner of the function pays for requests to buckets that ask for it.
    pub(super) requester_pays: bool,
}

/// The variables of the environment, and the folder with the files of the function.
pub(super) struct FunctionEnvironment<'e> {
    /// The variables that begin with [`PREFIX`]. Empty ones count as unset.
    pub(super) variables: &'e [(String, OsString)],
    pub(super) folder: &'e Path,
}

impl FunctionEnvironment<'_> {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] that names the variable.
    pub(super) fn settings(&self) -> Result<FunctionSettings, Failure> {
        self.check_names()?;
        let rules = self.rules()?;
        let into = self.value(INTO);
        self.check_needs(!rules.is_empty(), into.is_some())?;
        let options = self.options(!rules.is_empty())?;
        let task = if into.is_some() {
            let rules = rules.into_iter().flat_map(|path| ["--rules".into(), path.into()]);
            let words: Vec<OsString> = options.into_iter().chain(rules).collect();
            FunctionTask::Load(Box::new(self.parse("load", words)?))
        } else if rules.is_empty() {
            return Err(Failure::usage("there is nothing to do: neither rules nor an engine are given")
                .hint(format!(
                    "pack the rules as {RULES_FOLDER}/ beside the program, or set {RULES} to evaluate rules, or {INTO} to load events"
                )));
        } else {
            let rules = rules.into_iter().map(OsString::from);
            let words: Vec<OsString> =
                options.into_iter().chain(["--".into()]).chain(rules).collect();
            FunctionTask::Watch(Box::new(self.parse("watch", words)?))
        };
        Ok(FunctionSettings {
            task,
            foreign: if self.flag(FOREIGN_MESSAGES)? {
                ForeignMessages::Deleted
            } else {
                ForeignMessages::Refused
            },
            requester_pays: self.flag(REQUESTER_PAYS)?,
        })
    }

    /// Rejects variables that the program does not know.
    fn check_names(&self) -> Result<(), Failure> {
        let known = || VARIABLES.iter().map(|known| known.name).chain(OTHER_VARIABLES);
        for (name, _) in self.variables {
            if known().any(|known| known == name) {
                continue;
            }
            // All names begin alike, which would make any two of them similar.
            let without_prefix = |name: &str| name.trim_start_matches(PREFIX).to_owned();
            let rest = without_prefix(name);
            let similar = known()
                .map(|known| (strsim::jaro_winkler(&without_prefix(known), &rest), known))
                .max_by(|one, other| one.0.total_cmp(&other.0))
                .filter(|(similarity, _)| *similarity >= SIMILARITY);
            let hint = match similar {
                Some((_, known)) => format!("write {known}"),
                None => format!("remove it; names of other variables must not begin with {PREFIX}"),
            };
            let name = escape_unprintable(name);
            return Err(Failure::usage(format!("the variable {name} is not known")).hint(hint));
        }
        Ok(())
    }

    /// Rejects variables without effect.
    fn check_needs(&self, has_rules: bool, has_engine: bool) -> Result<(), Failure> {
        for Variable { name, needs, .. } in &VARIABLES {
            if self.value(name).is_none() {
                continue;
            }
            let (missing, hint) = match needs {
                Need::Rules if !has_rules => ("rules", format!("pack rules as {RULES_FOLDER}/")),
                Need::Engine if !has_engine => ("an engine", format!("set {INTO}")),
                _ => continue,
            };
            return Err(Failure::usage(format!("{name} has no effect without {missing}"))
                .hint(format!("{hint}, or remove {name}")));
        }
        Ok(())
    }

    /// Returns the paths of the rules: those of the variable, or the folder in the package.
    fn rules(&self) -> Result<Vec<PathBuf>, Failure> {
        let Some(value) = self.value(RULES) else {
            let packed = self.folder.join(RULES_FOLDER);
            return Ok(if packed.exists() { vec![packed] } else { Vec::new() });
        };
        let text = value
            .to_str()
            .ok_or_else(|| Failure::usage(format!("invalid value of {RULES}: expected UTF-8")))?;
        let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
        Ok(paths.map(|path| self.folder.join(path)).collect())
    }

    /// Returns the options that the variables stand for.
    fn options(&self, has_rules: bool) -> Result<Vec<OsString>, Failure> {
        let mut options = Vec::new();
        for Variable { name, option, value, .. } in &VARIABLES {
            let Some(text) = self.value(name) else { continue };
            match value {
                VariableValue::Flag => {
                    if self.flag(name)? {
                        options.push((*option).into());
                    }
                }
                VariableValue::Text => options.push(with_value(option, text)),
                VariableValue::Path => {
                    options.push(with_value(option, self.folder.join(text).as_os_str()));
                }
            }
        }
        let is_given = |option: &OsString| option.to_string_lossy().starts_with("--actions=");
        if has_rules && !options.iter().any(is_given) {
            let packed = ACTION_FILES.iter().map(|name| self.folder.join(name));
            let packed = packed.into_iter().find(|path| path.exists());
            options.extend(packed.map(|path| with_value("--actions", path.as_os_str())));
        }
        Ok(options)
    }

    /// Parses options as the command line does.
    fn parse<T: Args>(&self, command: &'static str, words: Vec<OsString>) -> Result<T, Failure> {
        let parser = T::augment_args(Command::new(command).no_binary_name(true));
        let parsed = parser.try_get_matches_from(words);
        parsed.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| {
            let values: Vec<_> =
                self.variables.iter().map(|(_, value)| value.to_string_lossy()).collect();
            let text = error.to_string();
            let text = redact::message(&text, values.iter().map(AsRef::as_ref));
            failure_of_option(&text)
        })
    }

    /// Returns whether a variable is `true`.
    fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.value(name).map(|value| value.to_string_lossy().to_ascii_lowercase()).as_deref()
        {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Failure::usage(format!(
                "invalid value '{}' of {name}: expected true or false",
                escape_unprintable(other)
            ))),
        }
    }

    fn value(&self, name: &str) -> Option<&OsString> {
        let mut variables = self.variables.iter();
        variables.find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
    }
}

fn with_value(option: &str, value: &std::ffi::OsStr) -> OsString {
    let mut word = OsString::from(option);
    word.push("=");
    word.push(value);
    word
}

/// Returns the failure for an option that the parser refuses, with the name of its variable.
fn failure_of_option(text: &str) -> Failure {
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message: Vec<&str> = message.lines().map(str::trim).collect();
    let message = escape_unprintable(&message.join(" "));
    let mut variables = VARIABLES.iter();
    // The longest name is that of the option: `--index-by`, not `--index`.
    let named = variables
        .by_ref()
        .filter(|known| message.contains(&format!("'{}", known.option)))
        .max_by_key(|known| known.option.len());
    match named {
        Some(known) => Failure::usage(format!("{}: {message}", known.name)),
        None => Failure::usage(message),
    }
}

/// Returns a failure that names variables instead of the options that they stand for.
pub(super) fn name_variables(failure: Failure) -> Failure {
    let named = |text: String| with_variables(&text);
    let is_for_shells = |hint: &str| SHELL_CREDENTIALS.iter().any(|word| hint.contains(word));
    let hint = failure.hint.map(|hint| {
        if is_for_shells(&hint) { NO_CREDENTIALS_HINT.to_owned() } else { with_variables(&hint) }
    });
    Failure {
        heading: with_variables(&failure.heading),
        causes: failure.causes.into_iter().map(named).collect(),
        hint,
        ..failure
    }
}

/// Replaces options by variables, except in a command line of the program.
pub(super) fn with_variables(text: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("--").filter(|_| !text.contains("trailload ")) {
        let (before, after) = rest.split_at(at);
        let is_name = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '-';
        let end = after.find(|symbol| !is_name(symbol)).unwrap_or(after.len());
        let (option, after) = after.split_at(end);
        let variable = VARIABLES.iter().map(|known| (known.option, known.name));
        let variable = variable.chain(OTHER_OPTIONS).find(|(known, _)| *known == option);
        named.push_str(before);
        named.push_str(variable.map_or(option, |(_, name)| name));
        rest = after;
    }
    named.push_str(rest);
    named
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::exit::Exit;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn read(folder: &Path, variables: &[(&str, &str)]) -> Result<FunctionSettings, Failure> {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        FunctionEnvironment { variables: &variables, folder }.settings()
    }

    #[test]
    fn packed_rules_and_actions_are_found() {
        let package = folder(&["rules/a.yml", "actions.yml"]);
        let settings = read(package.path(), &[("TRAILLOAD_ALERT_MAX_AGE", "2h")]).unwrap();
        let FunctionTask::Watch(args) = settings.task else { panic!("{settings:?}") };
        assert_eq!(args.rules, [package.path().join("rules")]);
        assert_eq!(args.alerts.actions, Some(package.path().join("actions.yml")));
        assert_eq!(args.alerts.alert_max_age.unwrap().length().as_secs(), 7_200);
        assert_eq!(settings.foreign, ForeignMessages::Refused);
    }

    #[test]
    fn an_engine_loads_and_evaluates_the_rules_if_there_are_any() {
        let into = ("TRAILLOAD_INTO", "https://search.example");
        for (files, rules) in [(&[][..], 0), (&["rules/a.yml", "actions.yaml"][..], 1)] {
            let package = folder(files);
            let variables =
                [into, ("TRAILLOAD_INDEX", "trail"), ("TRAILLOAD_KEEP_ORIGINAL", "true")];
            let settings = read(package.path(), &variables).unwrap();
            let FunctionTask::Load(args) = settings.task else { panic!("{settings:?}") };
            assert_eq!(args.rules.len(), rules);
            assert_eq!(args.alerts.actions.is_some(), rules > 0);
            assert_eq!(args.engine.connection.index.as_str(), "trail");
            assert!(args.documents.keep_original);
        }
    }

    #[test]
    fn several_rules_can_be_named() {
        let package = folder(&[]);
        let variables = [
            ("TRAILLOAD_RULES", "a.yml, /opt/rules ,"),
            ("TRAILLOAD_ACTIONS", "/opt/actions.yml"),
            ("TRAILLOAD_DELETE_FOREIGN_MESSAGES", "True"),
        ];
        let settings = read(package.path(), &variables).unwrap();
        let FunctionTask::Watch(args) = settings.task else { panic!("{settings:?}") };
        assert_eq!(args.rules, [package.path().join("a.yml"), PathBuf::from("/opt/rules")]);
        assert_eq!(args.alerts.actions, Some(PathBuf::from("/opt/actions.yml")));
        assert_eq!(settings.foreign, ForeignMessages::Deleted);
    }

    /// A folder, variables, and parts of the heading and of the hint of the failure.
    type Case<'c> = (&'c Path, &'c [(&'c str, &'c str)], &'c str, &'c str);

    #[test]
    fn what_is_wrong_is_named_by_its_variable() {
        let package = folder(&["rules/a.yml"]);
        let empty = folder(&[]);
        let into = ("TRAILLOAD_INTO", "https://u:hunter2@search.example");
        let table: &[Case<'_>] = &[
            (empty.path(), &[], "neither rules nor an engine", "TRAILLOAD_INTO to load"),
            (
                package.path(),
                &[("TRAILLOAD_INDEX", "x")],
                "TRAILLOAD_INDEX has no effect without an engine",
                "set TRAILLOAD_INTO",
            ),
            (
                empty.path(),
                &[into, ("TRAILLOAD_ACTIONS", "x")],
                "TRAILLOAD_ACTIONS has no effect without rules",
                "pack rules",
            ),
            (
                package.path(),
                &[("TRAILLOAD_ALERT_STAT", "x")],
                "TRAILLOAD_ALERT_STAT is not known",
                "write TRAILLOAD_ALERT_STATE",
            ),
            (
                package.path(),
                &[("TRAILLOAD_SLACK", "x")],
                "TRAILLOAD_SLACK is not known",
                "must not begin with",
            ),
            (
                package.path(),
                &[("TRAILLOAD_DELIVER_WITHIN", "soon")],
                "TRAILLOAD_DELIVER_WITHIN: invalid value 'soon' for '--deliver-within <AGE>': expected an age",
                "",
            ),
            (
                empty.path(),
                &[into, ("TRAILLOAD_INDEX_BY", "week")],
                "TRAILLOAD_INDEX_BY: invalid value 'week' for '--index-by <month|day|year|none>'",
                "",
            ),
            (
                empty.path(),
                &[into, ("TRAILLOAD_INDEX", "A")],
                "TRAILLOAD_INDEX: invalid value 'A' for '--index <PREFIX>'",
                "",
            ),
            (
                empty.path(),
                &[into, ("TRAILLOAD_AWS_AUTH", "yes")],
                "invalid value 'yes' of TRAILLOAD_AWS_AUTH: expected true or false",
                "",
            ),
        ];
        for (folder, variables, heading, hint) in table {
            let failure = read(folder, variables).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{variables:?}");
            assert!(failure.heading.contains(heading), "{}", failure.heading);
            assert!(failure.hint.unwrap_or_default().contains(hint), "{heading}");
            assert!(!failure.heading.contains("hunter2"));
        }
    }

    #[test]
    fn a_failure_names_the_variable_instead_of_the_option() {
        for (text, expected) in [
            ("use another file with --checkpoint", "use another file with TRAILLOAD_CHECKPOINT"),
            ("(--index-by), not '--index'", "(TRAILLOAD_INDEX_BY), not 'TRAILLOAD_INDEX'"),
            ("aws dynamodb --table-name a -- --", "aws dynamodb --table-name a -- --"),
            ("run `trailload load --into URL`", "run `trailload load --into URL`"),
            ("é--alert-stateé", "éTRAILLOAD_ALERT_STATEé"),
        ] {
            assert_eq!(with_variables(text), expected);
        }
        for hint in
            ["set AWS_PROFILE or --profile", "renew the session (with SSO: `aws sso login`)"]
        {
            let failure = name_variables(Failure::action_required("no credentials").hint(hint));
            assert_eq!(failure.hint.as_deref(), Some(NO_CREDENTIALS_HINT));
        }
        let mut failure = Failure::action_required("cannot open it").hint("change --mappings");
        failure.causes = vec!["--into is gone".to_owned()];
        let named = name_variables(failure);
        assert_eq!(named.causes, ["TRAILLOAD_INTO is gone"]);
        assert_eq!(named.hint.as_deref(), Some("change TRAILLOAD_MAPPINGS"));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let package = folder(&["rules/a.yml"]);
        assert!(read(package.path(), &[("TRAILLOAD_INTO", "")]).is_ok());
    }
}
