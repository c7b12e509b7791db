//! The rule file.
//!
//! Input: the text of a YAML file: one rule, a list of rules, or several documents of these. A document may be a Sigma rule. Output: the rules, and what is
//! wrong or suspicious in the file, with line and column.
//! Invariant: a rule with an error is left out; the others are returned.
//!
//! The keys are listed in `mappings/rule.schema.json`, which editors use for completion; a test keeps both in step.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use super::{
    ActionReference, FirstSeen, Grouping, Rule, RuleCondition, RuleTest, Selection, Severity,
    TestEvent, TestExpectation, duration::parse_duration,
};
use crate::filter::{
    jmespath::Expression,
    scalar_position::position_in_scalar,
    sigma::{SigmaError, SigmaLevel, SigmaRule, is_sigma_rule, parse_sigma_rule},
    syntax::SyntaxError,
    yaml::{
        DefinitionError, TextPosition, YamlContent, YamlNode, check_keys, expected, list_of,
        parse_yaml, text,
    },
};

/// The keys of a rule.
pub(super) const RULE_KEYS: [&str; 14] = [
    "name",
    "description",
    "references",
    "events",
    "sources",
    "match",
    "except",
    "severity",
    "group_by",
    "window",
    "threshold",
    "first_seen",
    "actions",
    "tests",
];

/// The keys of `first_seen`.
pub(super) const FIRST_SEEN_KEYS: [&str; 3] = ["by", "within", "learning"];

/// The keys of a test.
pub(super) const TEST_KEYS: [&str; 3] = ["name", "event", "fires"];

/// The kinds of actions that a rule can define itself.
pub(super) const ACTION_KINDS: [&str; 9] =
    ["command", "datadog", "file", "index", "pagerduty", "slack", "sns", "stdout", "webhook"];

/// The element of `events` that selects all events.
const ALL_EVENTS: &str = "*";

/// The window of a rule that groups or counts events and has none. Of 74 public rules with a window, 54 have an hour.
const DEFAULT_WINDOW: Duration = Duration::from_hours(1);

/// The longest learning period of a rule that has none. What people and jobs do every week is met in it twice.
const MAX_DEFAULT_LEARNING: Duration = Duration::from_hours(14 * 24);

/// The largest threshold. The times of that many events are kept for each group.
const MAX_THRESHOLD: u64 = 10_000;

/// The content of a rule file.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// The rules without an error.
    pub rules: Vec<Rule>,
    /// What is wrong.
    pub errors: Vec<DefinitionError>,
    /// The places of Sigma rules for other logs than those of CloudTrail, and why they are that.
    pub other_log_sources: Vec<DefinitionError>,
    /// What is valid and probably not meant.
    pub warnings: Vec<DefinitionWarning>,
    /// The first line of each name.
    names: HashMap<String, usize>,
}

/// What is valid in a rule and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionWarning {
    /// The name of the rule.
    pub rule: String,
    /// Where it is.
    pub position: TextPosition,
    /// What it means, in lower case without a full stop.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Parses a rule file.
pub fn parse_rule_file(text: &str) -> RuleFile {
    let mut file = RuleFile::default();
    match parse_yaml(text) {
        Ok(documents) => documents.iter().for_each(|document| file.add(document, text)),
        Err(error) => file.errors.push(error),
    }
    if file.rules.is_empty() && file.errors.is_empty() && file.other_log_sources.is_empty() {
        let position = TextPosition { line: 1, column: 1 };
        file.errors.push(
            DefinitionError::new(position, "the file has no rule").suggest("start with `name: …`"),
        );
    }
    file
}

impl RuleFile {
    fn add(&mut self, document: &YamlNode, text: &str) {
        match document.as_list() {
            Some(items) => items.iter().for_each(|item| self.add_rule(item, text)),
            None => self.add_rule(document, text),
        }
    }

    fn add_rule(&mut self, node: &YamlNode, text: &str) {
        let mut reader = RuleReader { file: text, warnings: Vec::new() };
        let read = if is_sigma_rule(node) {
            match parse_sigma_rule(node) {
                Ok(rule) => Ok(Rule::from(rule)),
                Err(SigmaError::Invalid(error)) => Err(error),
                Err(SigmaError::OtherLogSource(error)) => {
                    self.other_log_sources.push(error);
                    return;
                }
            }
        } else {
            reader.read(node)
        };
        match read {
            Ok(rule) => {
                if let Some(first) = self.names.get(&rule.name) {
                    let message = format!("the name is that of the rule in line {first} too");
                    self.errors.push(
                        DefinitionError::new(rule.position, message)
                            .suggest("give each rule a name of its own"),
                    );
                } else {
                    self.names.insert(rule.name.clone(), rule.position.line);
                }
                let name = &rule.name;
                self.warnings.extend(
                    reader
                        .warnings
                        .into_iter()
                        .map(|warning| DefinitionWarning { rule: name.clone(), ..warning }),
                );
                self.rules.push(rule);
            }
            Err(error) => self.errors.push(error),
        }
    }
}

impl From<SigmaRule> for Rule {
    fn from(rule: SigmaRule) -> Self {
        Self {
            name: rule.title,
            description: rule.description,
            severity: match rule.level {
                Some(SigmaLevel::Informational) => Severity::Info,
                Some(SigmaLevel::Low) => Severity::Low,
                Some(SigmaLevel::Medium) | None => Severity::Medium,
                Some(SigmaLevel::High) => Severity::High,
                Some(SigmaLevel::Critical) => Severity::Critical,
            },
            selection: Selection::default(),
            condition: Some(RuleCondition::Sigma(rule.detection)),
            exceptions: Vec::new(),
            grouping: Grouping { threshold: 1, ..Grouping::default() },
            actions: Vec::new(),
            tests: Vec::new(),
            position: rule.position,
        }
    }
}

type Read<T> = Result<T, DefinitionError>;

/// Reads a rule and collects warnings.
struct RuleReader<'t> {
    /// The text of the file.
    file: &'t str,
    warnings: Vec<DefinitionWarning>,
}

impl RuleReader<'_> {
    fn read(&mut self, node: &YamlNode) -> Read<Rule> {
        let entries = node
            .as_mapping()
            .ok_or_else(|| expected(node, "a rule, which is a mapping with `name`,"))?;
        check_keys(entries, &RULE_KEYS, "a rule")?;
        let name_node = node
            .get("name")
            .ok_or_else(|| DefinitionError::new(node.position, "the rule has no `name`"))?;
        let name = text(name_node)?;
        let condition = node.get("match").map(|node| self.expression(node)).transpose()?;
        let condition = condition.map(RuleCondition::Expression);
        Ok(Rule {
            selection: selection(node, &name)?,
            condition,
            exceptions: self.expressions(node.get("except"))?,
            grouping: self.grouping(node)?,
            description: node.get("description").map(text).transpose()?,
            severity: node.get("severity").map(severity).transpose()?.unwrap_or_default(),
            actions: list_of(node.get("actions")).into_iter().map(action).collect::<Read<_>>()?,
            tests: list_of(node.get("tests")).into_iter().map(test).collect::<Read<_>>()?,
            position: name_node.position,
            name,
        })
    }

    fn grouping(&mut self, node: &YamlNode) -> Read<Grouping> {
        let group_by = self.expressions(node.get("group_by"))?;
        let threshold = node.get("threshold").map(threshold).transpose()?.unwrap_or(1);
        let window = node.get("window").map(duration).transpose()?;
        let needs_window = threshold > 1 || !group_by.is_empty();
        let first_seen = match node.get("first_seen") {
            None => None,
            Some(node) => Some(self.first_seen(node)?),
        };
        Ok(Grouping {
            group_by,
            threshold,
            window: window.or(needs_window.then_some(DEFAULT_WINDOW)),
            first_seen,
        })
    }

    fn first_seen(&mut self, node: &YamlNode) -> Read<FirstSeen> {
        let entries =
            node.as_mapping().ok_or_else(|| expected(node, "a mapping with `by` and `within`"))?;
        check_keys(entries, &FIRST_SEEN_KEYS, "`first_seen`")?;
        let missing =
            |key: &str| DefinitionError::new(node.position, format!("`first_seen` has no `{key}`"));
        let by = self.expressions(Some(node.get("by").ok_or_else(|| missing("by"))?))?;
        if by.is_empty() {
            return Err(missing("by"));
        }
        let within = duration(node.get("within").ok_or_else(|| missing("within"))?)?;
        let learning = node.get("learning").map(learning).transpose()?;
        Ok(FirstSeen { by, within, learning: learning.unwrap_or(within.min(MAX_DEFAULT_LEARNING)) })
    }

    fn expressions(&mut self, node: Option<&YamlNode>) -> Read<Vec<Expression>> {
        list_of(node).into_iter().map(|node| self.expression(node)).collect()
    }

    fn expression_error(&self, node: &YamlNode, error: &SyntaxError) -> DefinitionError {
        DefinitionError {
            position: self.position_in(node, error.offset),
            message: error.message.clone(),
            suggestion: error.suggestion.clone(),
            excerpt: Some(error.caret().to_string()),
        }
    }

    /// Returns the place of an offset in an expression, which is the text of a scalar without the blanks around it.
    fn position_in(&self, node: &YamlNode, offset: usize) -> TextPosition {
        let text = node.as_text().unwrap_or_default();
        let blanks = text.len() - text.trim_start().len();
        position_in_scalar(self.file, node.position, text, blanks + offset)
    }

    fn expression(&mut self, node: &YamlNode) -> Read<Expression> {
        let text = text(node)?;
        let expression =
            Expression::parse(&text).map_err(|error| self.expression_error(node, &error))?;
        for lint in expression.lints() {
            self.warnings.push(DefinitionWarning {
                rule: String::new(),
                position: self.position_in(node, lint.offset),
                message: lint.message,
                fix: lint.fix,
            });
        }
        Ok(expression)
    }
}

/// Returns the source that a name such as `ec2.amazonaws.com: …` starts with.
pub(super) fn source_of_name(name: &str) -> Option<&str> {
    let (source, _) = name.split_once(':')?;
    let is_host_name = source.contains('.')
        && source
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-'));
    is_host_name.then_some(source)
}

/// Reads which events a rule looks at.
fn selection(node: &YamlNode, name: &str) -> Read<Selection> {
    let named = source_of_name(name);
    let sources = match node.get("sources") {
        None => named.map(|source| vec![source.to_owned()]),
        Some(list) => Some(names(list, "an event source such as ec2.amazonaws.com")?),
    };
    if let (Some(named), Some(sources)) = (named, &sources)
        && !sources.iter().any(|source| source == named)
    {
        let position = node.get("sources").map_or(node.position, |node| node.position);
        let message = format!("the name selects {named}, which is not in `sources`");
        return Err(DefinitionError::new(position, message).suggest("change the name or `sources`"));
    }
    let all = |node: &&YamlNode| {
        list_of(Some(node)).iter().any(|item| item.as_text() == Some(ALL_EVENTS))
    };
    let events = match node.get("events") {
        Some(list) if all(&list) => return Ok(Selection { sources, events: None }),
        Some(list) => Some(names(list, "an event name such as RunInstances")?),
        None => None,
    };
    if sources.is_none() && events.is_none() {
        return Err(DefinitionError::new(node.position, "the rule does not select any events")
            .suggest("add `events`, `sources` or a name such as `ec2.amazonaws.com: …`; `events: [\"*\"]` selects all events"));
    }
    Ok(Selection { sources, events })
}

/// Reads names of events or sources, which are compared exactly.
fn names(list: &YamlNode, what: &str) -> Read<Vec<String>> {
    let names: Vec<String> = list_of(Some(list)).into_iter().map(text).collect::<Read<_>>()?;
    if names.is_empty() {
        return Err(expected(list, what));
    }
    if let Some(name) = names.iter().find(|name| name.contains(['*', '?', ' '])) {
        let node = list_of(Some(list))
            .into_iter()
            .find(|node| node.as_text() == Some(name))
            .unwrap_or(list);
        return Err(DefinitionError::new(node.position, format!("`{name}` is not {what}; names are compared exactly"))
            .suggest("list the names, or select by `sources` and write the pattern in `match`, such as starts_with(detail.eventName, 'Delete')"));
    }
    Ok(names)
}

fn severity(node: &YamlNode) -> Read<Severity> {
    let text = text(node)?;
    Severity::ALL.into_iter().find(|severity| severity.name() == text).ok_or_else(|| {
        let names = Severity::ALL.map(Severity::name).join(", ");
        DefinitionError::new(node.position, format!("`{text}` is not a severity"))
            .suggest(format!("write one of {names}"))
    })
}

fn duration(node: &YamlNode) -> Read<Duration> {
    parse_duration(&text(node)?).map_err(|message| DefinitionError::new(node.position, message))
}

/// Reads a learning period. `0s` stands for none.
fn learning(node: &YamlNode) -> Read<Duration> {
    if text(node)? == "0s" { Ok(Duration::ZERO) } else { duration(node) }
}

fn threshold(node: &YamlNode) -> Read<u64> {
    match node.to_json() {
        serde_json::Value::Number(number) => number
            .as_u64()
            .filter(|threshold| (1..=MAX_THRESHOLD).contains(threshold))
            .ok_or_else(|| {
                let message = format!("`{number}` is not a whole number from 1 to {MAX_THRESHOLD}");
                DefinitionError::new(node.position, message)
            }),
        _ => Err(expected(node, "a number")),
    }
}

fn action(node: &YamlNode) -> Read<ActionReference> {
    let position = node.position;
    let Some(entries) = node.as_mapping() else {
        return text(node).map(|name| ActionReference::Named { name, position });
    };
    let [entry] = entries else {
        return Err(expected(
            node,
            "the name of an action, or one kind with its settings such as `index: {}`",
        ));
    };
    check_keys(entries, &ACTION_KINDS, "an action")?;
    Ok(ActionReference::Inline { kind: entry.key.clone(), settings: entry.value.clone() })
}

fn test(node: &YamlNode) -> Read<RuleTest> {
    let entries =
        node.as_mapping().ok_or_else(|| expected(node, "a test with `event` and `fires`"))?;
    check_keys(entries, &TEST_KEYS, "a test")?;
    let missing =
        |key: &str| DefinitionError::new(node.position, format!("the test has no `{key}`"));
    let event = node.get("event").ok_or_else(|| missing("event"))?;
    let fires = node.get("fires").ok_or_else(|| missing("fires"))?;
    let expectation = match fires.to_json().as_bool() {
        Some(true) => TestExpectation::Fires,
        Some(false) => TestExpectation::Silent,
        None => return Err(expected(fires, "true or false")),
    };
    let event = match &event.content {
        YamlContent::Mapping(_) => TestEvent::Inline(event.to_json()),
        YamlContent::List(_) => return Err(expected(event, "an event or the path of a file")),
        _ => TestEvent::File(PathBuf::from(text(event)?)),
    };
    Ok(RuleTest {
        name: node.get("name").map(text).transpose()?,
        event,
        expectation,
        position: node.position,
    })
}
