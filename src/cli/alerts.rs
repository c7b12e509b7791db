//! Alerts of `watch` and `load --rules`: the rules, the actions that they use, and how alerts are delivered.
//!
//! Input: rule files, the action file, options. Output: an [`AlertPlan`], then the receivers.
//! Invariant: an action that a rule names exists before anything is read; every error in the files is reported with its place.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    args::{alerts::AlertArgs, time::Age},
    environment::{self, Environment},
    failure::Failure,
    index_endpoint::IndexEndpoint,
    plan::sources::SourceList,
    rule_files::{self, LoadedRules, counted},
};
use crate::{
    aws::{Clock, Session},
    checkpoint::{
        CheckpointReader, CheckpointStore,
        alerts::{ActionStatus, AlertOptions},
        shared_alerts::{AlertStateAddress, DynamoTable, SharedAlerts, SharedAlertsConfig},
    },
    filter::{
        rule::{ActionReference, Rule, RuleSet, is_action_of_rule},
        yaml::DefinitionError,
    },
    normalize::TimeRange,
    pipeline::alert::{
        AlertReceiver,
        delivery::{ActionReceiver, DeliveryPolicy},
    },
    report::{Log, format, terminal::escape_unprintable},
    shutdown::ShutdownSignal,
    sink::alert::{Action, ActionsFile, MessageContext, Receiver, ReceiverContext, SecretLookup},
};

/// Alerts for older events are recorded and not sent, unless an option sets another age: what happened the day before
/// yesterday needs no one tonight, and services refuse events of that age.
const DEFAULT_MAX_AGE: Duration = Duration::from_hours(24);

/// How long a receiver may fail before an alert is a dead letter: longer than a restart of a service.
const DEFAULT_DELIVER_WITHIN: Duration = Duration::from_mins(2);

/// The action of alerts of rules that name none.
pub(in crate::cli) const DEFAULT_ACTION: &str = "stdout";

/// What alerts are raised, and who receives them.
#[derive(Clone, Debug)]
pub(in crate::cli) struct AlertPlan {
    /// The rules.
    pub(in crate::cli) rules: Arc<RuleSet>,
    /// The actions of the action file; none without one.
    file: ActionsFile,
    /// The action file, if one is given.
    path: Option<PathBuf>,
    /// The actions of the rules.
    pub(in crate::cli) actions: Vec<Action>,
    /// The names of actions whose alerts wait, because their definition is not given.
    waiting: Vec<String>,
    /// Alerts for older events are recorded, not delivered.
    pub(in crate::cli) max_age: Duration,
    /// How deliveries are made.
    pub(in crate::cli) policy: DeliveryPolicy,
    /// The state of alerts that is shared with other processes, if it is.
    pub(in crate::cli) state: Option<AlertStateAddress>,
}

/// For which run the state of alerts is shared.
#[derive(Clone, Copy)]
pub(in crate::cli) struct SharingRun<'a> {
    /// The time range that the run evaluates.
    pub(in crate::cli) range: TimeRange,
    /// For events of which age alerts are sent.
    pub(in crate::cli) ages: AlertAges,
    /// The session that uses the table, if the run has one.
    pub(in crate::cli) session: Option<&'a Session>,
    /// Ends the wait for a table that is not available.
    pub(in crate::cli) shutdown: &'a ShutdownSignal,
    /// Receives messages.
    pub(in crate::cli) log: &'a Log,
}

impl AlertArgs {
    /// Reads the action file, and finds the actions of the rules in it.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the file cannot be read or is invalid, or if a rule names an action that does not exist. Each error was
    /// logged.
    pub(in crate::cli) fn plan(
        &self,
        loaded: &LoadedRules,
        log: &Log,
    ) -> Result<AlertPlan, Failure> {
        let file = self.read_file(log)?;
        let mut rules: Vec<Rule> = loaded.rules().map(|(_, rule)| rule.clone()).collect();
        match &self.actions {
            Some(path) => add_default_actions(&mut rules, &file, path, log),
            None => replace_unknown_actions(&mut rules, log),
        }
        let actions = resolve(&file, &rules, loaded, log)?;
        Ok(AlertPlan { rules: Arc::new(RuleSet::new(rules)), actions, ..self.plan_of(file) })
    }

    /// Reads the action file, and finds the actions of the alerts that earlier runs have not delivered: in the file, and in rules.
    /// Other actions of the rules are not needed.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the file cannot be read or is invalid. Each error was logged.
    pub(in crate::cli) fn retry_plan(
        &self,
        loaded: &LoadedRules,
        checkpoint: &Path,
        log: &Log,
    ) -> Result<AlertPlan, Failure> {
        let mut plan = self.plan_of(self.read_file(log)?);
        for status in undelivered_actions(checkpoint, log) {
            let references = loaded.rules().flat_map(|(_, rule)| &rule.actions);
            let of_rule = references
                .filter(|reference| reference.has_settings())
                .find(|reference| reference.name() == status.action)
                .and_then(|reference| plan.file.resolve(reference).ok());
            match plan.file.find(&status.action).or(of_rule) {
                Some(action) => plan.actions.push(action),
                // Rules that are given do not define it any more.
                None if is_action_of_rule(&status.action) && !loaded.files.is_empty() => {}
                None => plan.wait_for(status.action, log),
            }
        }
        Ok(plan)
    }

    fn read_file(&self, log: &Log) -> Result<ActionsFile, Failure> {
        let file = self.actions.as_deref().map(|path| read_actions(path, log)).transpose()?;
        Ok(file.unwrap_or_default())
    }

    /// Returns the options with what the environment sets.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] if a variable is invalid.
    pub(in crate::cli) fn with_environment(
        &self,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let mut options = self.clone();
        if options.alert_state.is_none()
            && let Some(text) = &environment.alert_state
        {
            let address = text.parse().map_err(|error| {
                Failure::usage(format!("invalid value for {}: {error}", environment::ALERT_STATE))
            })?;
            options.alert_state = Some(address);
        }
        Ok(options)
    }

    /// Returns a plan without rules and their actions.
    fn plan_of(&self, file: ActionsFile) -> AlertPlan {
        let deliver_within = self.deliver_within.map_or(DEFAULT_DELIVER_WITHIN, Age::length);
        AlertPlan {
            rules: Arc::default(),
            file,
            path: self.actions.clone(),
            actions: Vec::new(),
            waiting: Vec::new(),
            state: self.alert_state.clone(),
            max_age: self.alert_max_age.map_or(DEFAULT_MAX_AGE, Age::length),
            policy: DeliveryPolicy::new(deliver_within),
        }
    }

    /// Finds the actions that rules define themselves, and those that exist without an action file.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the settings of one are invalid. Each error was logged.
    pub(in crate::cli) fn actions_of_rules(
        loaded: &LoadedRules,
        log: &Log,
    ) -> Result<Vec<Action>, Failure> {
        let file = ActionsFile::default();
        let mut rules: Vec<Rule> = loaded.rules().map(|(_, rule)| rule.clone()).collect();
        retain_known_actions(&mut rules, &file);
        resolve(&file, &rules, loaded, log)
    }
}

impl AlertPlan {
    /// Returns how alerts are raised. A replay sends alerts for events of any age.
    fn options(&self, range: TimeRange, ages: AlertAges) -> AlertOptions {
        AlertOptions {
            max_age: match ages {
                AlertAges::Recent => Some(self.max_age),
                AlertAges::All => None,
            },
            evaluated_from: range.from,
            default_actions: vec![DEFAULT_ACTION.to_owned()],
        }
    }
}

impl AlertPlan {
    /// Returns whether an AWS session is needed for alerts.
    pub(in crate::cli) fn needs_session(&self) -> bool {
        self.state.is_some() || self.actions.iter().any(Action::needs_session)
    }

    /// Returns the number of actions in the action file.
    pub(in crate::cli) fn defined_actions(&self) -> usize {
        self.file.actions.len()
    }

    /// Checks the files that actions name, without their secrets. Returns the actions: those of the file, and those of rules.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if one cannot be used. Each error was logged.
    pub(in crate::cli) fn check_files(&self, log: &Log) -> Result<Vec<Action>, Failure> {
        let mut all = self.file.actions.clone();
        let is_in_file = |name: &str| self.file.actions.iter().any(|action| action.name == name);
        all.extend(self.actions.iter().filter(|action| !is_in_file(&action.name)).cloned());
        let mut errors = 0;
        for action in &all {
            for warning in action.local_warnings() {
                log.warn(&format!("action {}", action.name), warning);
            }
            if let Err(error) = action.check_files(self.folder()) {
                errors += 1;
                report_action(action, &error, log);
            }
        }
        match errors {
            0 => Ok(all),
            errors => Err(unusable(errors)),
        }
    }

    /// Returns the folder from which paths in the action file start.
    fn folder(&self) -> &Path {
        self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Adds the actions of alerts that earlier runs have not delivered, as far as they exist.
    pub(in crate::cli) fn find_undelivered(
        &mut self,
        checkpoint: &Path,
        resumed: Resumed,
        log: &Log,
    ) {
        for status in undelivered_actions(checkpoint, log) {
            let is_sent = status.pending > 0 || resumed == Resumed::PendingAndDeadLetters;
            if !is_sent || self.actions.iter().any(|action| action.name == status.action) {
                continue;
            }
            match self.file.find(&status.action) {
                Some(action) => self.actions.push(action),
                // The rules of the run do not define it any more.
                None if is_action_of_rule(&status.action) => {}
                None => self.wait_for(status.action, log),
            }
        }
    }

    /// Leaves the alerts of an action as they are if its definition may exist in a file that is not given, and tells which.
    fn wait_for(&mut self, action: String, log: &Log) {
        let missing = if is_action_of_rule(&action) {
            "without the rules that define it"
        } else if self.path.is_none() {
            "without the action file"
        } else {
            // It is not defined any more.
            return;
        };
        log.warn("--actions", format_args!("{missing}, alerts for {action} wait"));
        self.waiting.push(action);
    }

    /// Prepares a checkpoint for the rules, and for what earlier runs left.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if it cannot be written.
    pub(in crate::cli) fn prepare(
        &self,
        store: &mut CheckpointStore,
        range: TimeRange,
        ages: AlertAges,
        log: &Log,
    ) -> Result<(), Failure> {
        store.set_rules(Arc::clone(&self.rules), self.options(range, ages))?;
        self.fail_undefined(store, log)
    }

    /// Opens the state of alerts that the run shares with other processes, if it does, and records that in the checkpoint.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the table or the checkpoint cannot be used.
    pub(in crate::cli) async fn share(
        &self,
        store: &mut CheckpointStore,
        run: SharingRun<'_>,
    ) -> Result<Option<SharedAlerts>, Failure> {
        let SharingRun { range, ages, session, shutdown, log } = run;
        let (Some(address), Some(session)) = (&self.state, session) else {
            if let Some(known) = store.shared_alerts()? {
                log.warn(
                    &store.path().display().to_string(),
                    format_args!(
                        "earlier runs shared alerts in {known}; without --alert-state, other processes may send the same alerts"
                    ),
                );
            }
            return Ok(None);
        };
        let owner = store.alert_owner()?;
        let clock = Clock::new(environment::now);
        let shared = SharedAlerts::open(SharedAlertsConfig {
            table: DynamoTable::new(address, session, clock.clone()),
            rules: Arc::clone(&self.rules),
            options: self.options(range, ages),
            owner,
            clock,
            shutdown: shutdown.clone(),
        });
        let shared = shared.await?;
        store.set_shared_alerts(&address.to_string())?;
        Ok(Some(shared))
    }

    /// Makes dead letters of alerts whose action is defined neither in the action file nor in a rule any more.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the checkpoint cannot be written.
    pub(in crate::cli) fn fail_undefined(
        &self,
        store: &mut CheckpointStore,
        log: &Log,
    ) -> Result<(), Failure> {
        let known = self.actions.iter().map(|action| &action.name).chain(&self.waiting);
        let names: Vec<String> = known.cloned().collect();
        let failed = store.fail_deliveries_without_action(&names)?;
        if failed > 0 {
            let about = store.path().display().to_string();
            let alerts = format::plural(failed, "alert");
            log.warn(
                &about,
                format_args!("{alerts} of actions that are not defined became dead letters"),
            );
        }
        Ok(())
    }

    /// Returns the receivers of the actions. Secrets are read now.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if a secret or a certificate cannot be used. Each error was logged.
    pub(in crate::cli) fn receivers(
        &self,
        context: &ReceiverContext,
        message: &MessageContext,
        log: &Log,
    ) -> Result<Vec<ActionReceiver<AlertReceiver>>, Failure> {
        let lookup = SecretLookup { variable: &environment::variable, folder: self.folder() };
        let mut receivers = Vec::new();
        let mut errors = 0;
        for action in &self.actions {
            match Receiver::new(action, &lookup, context) {
                Ok(receiver) => receivers.push(ActionReceiver {
                    action: action.name.clone(),
                    receiver: AlertReceiver::new(action, receiver, message.clone()),
                    throttle: action.throttle,
                }),
                Err(error) => {
                    errors += 1;
                    report_action(action, &error, log);
                }
            }
        }
        match errors {
            0 => Ok(receivers),
            errors => Err(unusable(errors)),
        }
    }
}

/// Logs why an action cannot be used.
fn report_action(action: &Action, error: &DefinitionError, log: &Log) {
    let heading = format!("action {}: {}", action.name, error.message);
    log.failure(&heading, &[], &[], error.suggestion.as_deref());
}

/// Returns the failure of a run with actions that cannot be used.
fn unusable(actions: usize) -> Failure {
    Failure::action_required(format!("{} cannot be used", counted(actions, "action")))
}

/// Returns the actions with alerts that are to be delivered, or could not be.
fn undelivered_actions(checkpoint: &Path, log: &Log) -> Vec<ActionStatus> {
    if !checkpoint.exists() {
        return Vec::new();
    }
    match CheckpointReader::open(checkpoint).and_then(|reader| reader.action_status()) {
        Ok(mut actions) => {
            actions.retain(|status| status.pending + status.dead_letters > 0);
            actions
        }
        Err(error) => {
            // The run opens the file for writing, and reports what is wrong with it.
            log.debug(&checkpoint.display().to_string(), error);
            Vec::new()
        }
    }
}

/// Returns what messages say about where events are found: in sources, and in the indices of an engine if one is read.
pub(in crate::cli) fn message_context(
    sources: &SourceList,
    index: Option<&IndexEndpoint>,
) -> MessageContext {
    let is_history_only = sources.names.len() == 1 && sources.lookup.is_some();
    let names = sources.names.iter().filter(|name| *name != "standard input");
    let names = names.map(|name| name.strip_prefix("trail ").unwrap_or(name).to_owned());
    let index = index.filter(|_| sources.index.is_some());
    MessageContext {
        sources: if is_history_only { Vec::new() } else { names.collect() },
        engine_options: index.map(IndexEndpoint::options).unwrap_or_default(),
    }
}

/// Which alerts of earlier runs are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Resumed {
    /// Those that are still to be delivered.
    Pending,
    /// Those that could not be delivered, too.
    PendingAndDeadLetters,
}

/// For events of which age alerts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum AlertAges {
    /// Of `--alert-max-age` and newer.
    Recent,
    /// Of any age: `--replay`.
    All,
}

/// Reads an action file.
fn read_actions(path: &Path, log: &Log) -> Result<ActionsFile, Failure> {
    let text = rule_files::read(path)?;
    let file = ActionsFile::parse(&text);
    for warning in &file.warnings {
        let fix = warning.suggestion.as_deref().map(|fix| format!("; {fix}")).unwrap_or_default();
        let place = format!("{}:{}", path.display(), warning.position);
        log.warn(&place, format_args!("{}{fix}", warning.message));
    }
    for error in &file.errors {
        rule_files::report_error(path, &text, error, log);
    }
    match file.errors.len() {
        0 => Ok(file),
        errors => Err(Failure::usage(format!("{} in the action file", counted(errors, "error")))),
    }
}

/// Gives rules that name no action those that the action file names for them.
fn add_default_actions(rules: &mut [Rule], file: &ActionsFile, path: &Path, log: &Log) {
    let without = rules.iter().filter(|rule| rule.actions.is_empty()).count();
    if file.default_actions.is_empty() && without > 0 {
        let place = escape_unprintable(&path.to_string_lossy());
        let name = file.actions.first().map_or("NAME", |action| action.name.as_str());
        let which = match without {
            1 => "1 rule names".to_owned(),
            count => format!("{count} rules name"),
        };
        log.info(
            &place,
            format_args!(
                "{which} no action: their alerts are printed; `default: {name}` in the file sends them"
            ),
        );
    }
    for rule in rules.iter_mut().filter(|rule| rule.actions.is_empty()) {
        rule.actions.clone_from(&file.default_actions);
    }
}

/// Lets alerts go to standard output instead of actions that only an action file could define.
fn replace_unknown_actions(rules: &mut [Rule], log: &Log) {
    let replaced = retain_known_actions(rules, &ActionsFile::default());
    if !replaced.is_empty() {
        let names: Vec<String> = replaced.into_iter().collect();
        log.info(
            "--actions",
            format_args!("no action file is given: alerts for {} are printed", names.join(", ")),
        );
    }
}

/// Removes the actions that a file does not define from rules. Returns their names.
fn retain_known_actions(rules: &mut [Rule], file: &ActionsFile) -> BTreeSet<String> {
    let mut removed = BTreeSet::new();
    for rule in rules {
        rule.actions.retain(|action| match action {
            ActionReference::Named { name, .. } if file.find(name).is_none() => {
                removed.insert(name.clone());
                false
            }
            _ => true,
        });
    }
    removed
}

/// Returns the actions of the rules and the default.
fn resolve(
    file: &ActionsFile,
    rules: &[Rule],
    loaded: &LoadedRules,
    log: &Log,
) -> Result<Vec<Action>, Failure> {
    let (mut actions, errors) = file.resolve_all(rules);
    let places: Vec<_> = loaded.rules().map(|(file, _)| file).collect();
    for (number, error) in &errors {
        if let Some(place) = places.get(*number) {
            rule_files::report_error(&place.path, &place.text, error, log);
        }
    }
    if !errors.is_empty() {
        let errors = counted(errors.len(), "error");
        return Err(Failure::usage(format!("{errors} in the actions of rules")));
    }
    let needs_default = rules.iter().any(|rule| rule.actions.is_empty());
    if needs_default
        && !actions.iter().any(|action| action.name == DEFAULT_ACTION)
        && let Some(action) = file.find(DEFAULT_ACTION)
    {
        actions.push(action);
    }
    Ok(actions)
}
