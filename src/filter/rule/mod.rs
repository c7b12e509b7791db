//! Rules: on which events an alert is due.
//!
//! Input: a rule file in YAML, or a Sigma rule; an event. Output: an error with line and column, or rules; the [`Verdict`] of each rule
//! that selects the event.
//! Invariant: expressions are parsed once; a rule that does not select an event costs nothing on it, and no event is
//! copied.
//! Not here: the delivery of alerts. A verdict is about one event; what a rule remembers of others is in [`AlertGate`].
//!
//! | module | responsible for |
//! |---|---|
//! | `definition`, `duration` | the rule file: keys, values and their errors |
//! | `rule_set` | the index of rules by event source and name, and the verdicts on an event |
//! | `bound` | the event names and sources that a rule is bound to |
//! | `candidates` | the rules that may match an event, found in its text |
//! | `raw_field` | a field in the text of an event |
//! | `field_index` | the index of rules by the fields that they require |
//! | `value_cache` | which rules to evaluate for values that were met before |
//! | `alert_gate` | `window`, `threshold` and `first_seen`, for matches in the order of time |
//! | `event_pattern` | the EventBridge pattern that delivers the events of rules |
//! | `drools` | rules of a Drools file as a rule file |

mod alert_gate;
mod bound;
mod candidates;
mod definition;
mod drools;
mod duration;
mod event_pattern;
mod field_index;
mod raw_field;
mod rule_set;
#[cfg(test)]
pub(crate) mod tests;
mod value_cache;

use std::{borrow::Cow, fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use self::{
    alert_gate::{AlertGate, RuleMatch},
    candidates::{Candidates, DecidingFields, DecidingValues, RawEvent, Shortlist},
    definition::{DefinitionWarning, RuleFile, parse_rule_file},
    drools::{DroolsTranslation, translate_drools},
    duration::parse_duration,
    event_pattern::{EventPattern, MAX_PATTERN_CHARACTERS, event_pattern},
    raw_field::RawField,
    rule_set::{Finding, RuleSet},
};
pub use crate::event::Severity;

use super::{
    eventbridge::EventView,
    jmespath::{EvaluationError, Expression},
    sigma::Detection,
    yaml::{TextPosition, YamlNode},
};

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name, which is unique among the rules of a run.
    pub name: String,
    /// What an alert means, and what to do.
    pub description: Option<String>,
    /// How serious an alert is.
    pub severity: Severity,
    /// The events that are looked at.
    pub selection: Selection,
    /// When it fires on an event that is looked at.
    pub condition: Option<RuleCondition>,
    /// When it does not.
    pub exceptions: Vec<Expression>,
    /// How alerts are grouped and limited.
    pub grouping: Grouping,
    /// The actions, in the order of the file.
    pub actions: Vec<ActionReference>,
    /// Events on which the rule must fire, or must not.
    pub tests: Vec<RuleTest>,
    /// Where the rule starts in its file.
    pub position: TextPosition,
}

/// When a rule fires on an event that it looks at.
#[derive(Clone, Debug)]
pub enum RuleCondition {
    /// If the result of an expression is true.
    Expression(Expression),
    /// If a Sigma rule matches.
    Sigma(Detection),
}

impl RuleCondition {
    fn is_true(&self, view: EventView<'_>) -> Result<bool, EvaluationError> {
        match self {
            Self::Expression(expression) => expression.is_true(view.with_flat()),
            Self::Sigma(detection) => Ok(detection.matches(view.detail())),
        }
    }

    /// Returns texts of which a field at the top level of the event must have one, in any case, for the condition to be true.
    /// `None` if it can be true whatever the field is.
    fn required_texts(&self, field: &str) -> Option<Vec<&str>> {
        match self {
            Self::Expression(expression) => {
                expression.required_texts(&[&["detail", field], &["flat", field]])
            }
            Self::Sigma(detection) => detection.required_texts(field),
        }
    }
}

/// The events that a rule looks at. Names are compared exactly; `None` stands for every name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Values of `eventSource`.
    pub sources: Option<Vec<String>>,
    /// Values of `eventName`.
    pub events: Option<Vec<String>>,
}

impl Selection {
    /// Returns whether an event is looked at.
    pub fn selects(&self, event_source: &str, event_name: &str) -> bool {
        let has = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|listed| listed == name))
        };
        has(&self.sources, event_source) && has(&self.events, event_name)
    }
}

/// How the alerts of a rule are grouped and limited.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// The expressions whose values make a group.
    pub group_by: Vec<Expression>,
    /// There is one alert for each group in this time; also the time in which events are counted.
    pub window: Option<Duration>,
    /// The number of events in a window with which the rule fires.
    pub threshold: u64,
    /// Fires only on combinations of values that are new.
    pub first_seen: Option<FirstSeen>,
}

impl Grouping {
    /// Returns whether other events decide whether a match is an alert.
    pub fn depends_on_other_events(&self) -> bool {
        self.window.is_some() || self.first_seen.is_some()
    }

    /// Returns the expressions of which a match has the values.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let first_seen = self.first_seen.iter().flat_map(|first_seen| &first_seen.by);
        self.group_by.iter().chain(first_seen)
    }
}

/// Combinations of values on which a rule fires once.
#[derive(Clone, Debug)]
pub struct FirstSeen {
    /// The expressions whose values make a combination.
    pub by: Vec<Expression>,
    /// A combination is new if it did not occur for this time.
    pub within: Duration,
    /// For this time after the first event, combinations are only remembered.
    pub learning: Duration,
}

/// Part of the names of actions that rules define with settings.
const IN_RULES: &str = " in rules ";

/// An action of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionReference {
    /// The name of an action that is defined elsewhere.
    Named {
        /// The name.
        name: String,
        /// Where the name is in the rule file.
        position: TextPosition,
    },
    /// An action that is defined in the rule: its kind and its settings.
    Inline {
        /// The kind, such as `index`.
        kind: String,
        /// The settings, where they are in the rule file.
        settings: YamlNode,
    },
}

impl ActionReference {
    /// Returns the name of the action. Without settings, an action that a rule defines is the one with the name of its kind. With
    /// settings, its name has a digest of them, so that rules with the same settings share one; the names of an action file have no
    /// blanks.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Named { name, .. } => Cow::Borrowed(name),
            Self::Inline { kind, .. } if !self.has_settings() => Cow::Borrowed(kind),
            Self::Inline { kind, settings } => {
                let digest = Sha256::digest(settings.to_json().to_string());
                let mut name = format!("{kind}{IN_RULES}(");
                for byte in digest.iter().take(4) {
                    let _ = write!(name, "{byte:02x}");
                }
                Cow::Owned(name + ")")
            }
        }
    }

    /// Returns whether the action is defined in the rule, with settings.
    pub fn has_settings(&self) -> bool {
        match self {
            Self::Named { .. } => false,
            Self::Inline { settings, .. } => match settings.to_json() {
                Value::Null => false,
                Value::Object(entries) => !entries.is_empty(),
                _ => true,
            },
        }
    }
}

/// Returns whether an action was defined in a rule, by its name.
pub fn is_action_of_rule(name: &str) -> bool {
    name.contains(IN_RULES)
}

/// An event on which a rule must fire, or must not.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTest {
    /// What the test shows, if the file has a name for it.
    pub name: Option<String>,
    /// The event.
    pub event: TestEvent,
    /// What must happen.
    pub expectation: TestExpectation,
    /// Where the test is in the file.
    pub position: TextPosition,
}

/// The event of a [`RuleTest`].
#[derive(Clone, Debug, PartialEq)]
pub enum TestEvent {
    /// A file, relative to the folder of the rule file.
    File(PathBuf),
    /// The event itself.
    Inline(Value),
}

/// What must happen in a [`RuleTest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestExpectation {
    /// The rule fires.
    Fires,
    /// It stays silent.
    Silent,
}

/// What a rule does on an event that it selects.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It fires. An exception that could not be evaluated does not prevent that; its error is kept.
    Fires(Option<EvaluationError>),
    /// The condition is not true.
    NoMatch,
    /// The condition is true, and so is the exception with this number, from 0.
    Excepted(usize),
    /// The condition could not be evaluated, most often because a field is missing. The rule does not fire.
    Failed(EvaluationError),
}

impl Rule {
    /// Returns the verdict on an event, which the rule must select.
    pub fn verdict<'a>(&self, event: impl Into<EventView<'a>>) -> Verdict {
        let view = event.into().with_flat();
        match self.condition.as_ref().map_or(Ok(true), |condition| condition.is_true(view)) {
            Ok(true) => {}
            Ok(false) => return Verdict::NoMatch,
            Err(error) => return Verdict::Failed(error),
        }
        let mut first_error = None;
        for (number, exception) in self.exceptions.iter().enumerate() {
            match exception.is_true(view) {
                Ok(true) => return Verdict::Excepted(number),
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Verdict::Fires(first_error)
    }

    /// Returns what the memory of the rule needs to know of an event on which it fires.
    pub fn match_on<'a>(&self, event: impl Into<EventView<'a>>) -> RuleMatch {
        let view = event.into().with_flat();
        // A value that cannot be evaluated is null, as a missing one.
        let values = |expressions: &[Expression]| {
            let values = expressions.iter().map(|expression| {
                expression.evaluate(view).map_or(Value::Null, |node| node.to_value())
            });
            Value::Array(values.collect())
        };
        RuleMatch {
            group: values(&self.grouping.group_by),
            combination: self.grouping.first_seen.as_ref().map(|first_seen| values(&first_seen.by)),
        }
    }

    /// Returns whether the rule selects an event and fires on it.
    pub fn fires<'a>(&self, event: impl Into<EventView<'a>>) -> bool {
        let view: EventView<'a> = event.into();
        let text = |key: &str| view.detail().get(key).and_then(Value::as_str).unwrap_or_default();
        self.selection.selects(text("eventSource"), text("eventName"))
            && matches!(self.verdict(view), Verdict::Fires(_))
    }
}
