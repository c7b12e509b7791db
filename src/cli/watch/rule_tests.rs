//! Runs the tests of rules.
//!
//! Input: rules with tests, and the files with their events. Output: a table of the results.
//! Invariant: a test passes only if its event could be read and the rule does what the test expects. A test is about one
//! event, so `threshold`, `window` and `first_seen` have no effect.

use std::{fmt, fs, path::Path};

use serde_json::Value;

use super::table::aligned;
use crate::{
    cli::rule_files::{LoadedFile, LoadedRules, counted},
    filter::{
        eventbridge::{Envelope, EventView},
        rule::{Rule, RuleTest, TestEvent, TestExpectation, Verdict},
        yaml::DefinitionError,
    },
};

/// The result of a test.
struct TestResult {
    rule: String,
    test: String,
    expectation: TestExpectation,
    /// Why the test failed, if it did.
    failure: Option<String>,
}

/// The results of all tests.
pub(super) struct TestReport {
    results: Vec<TestResult>,
    rules: usize,
    /// The names of rules without a test.
    untested: Vec<String>,
}

impl TestReport {
    pub(super) fn total(&self) -> usize {
        self.results.len()
    }

    pub(super) fn failed(&self) -> usize {
        self.results.iter().filter(|result| result.failure.is_some()).count()
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["RULE", "TEST", "EXPECTED", "RESULT"].map(str::to_owned)];
        let mut last = None;
        for result in &self.results {
            let rule = if last == Some(&result.rule) { String::new() } else { result.rule.clone() };
            last = Some(&result.rule);
            let expected = match result.expectation {
                TestExpectation::Fires => "fires",
                TestExpectation::Silent => "silent",
            };
            let outcome = result
                .failure
                .as_ref()
                .map_or_else(|| "pass".to_owned(), |failure| format!("FAIL: {failure}"));
            rows.push([rule, result.test.clone(), expected.to_owned(), outcome]);
        }
        if !self.results.is_empty() {
            formatter.write_str(&aligned(&rows))?;
            formatter.write_str("\n")?;
        }
        let passed = self.total() - self.failed();
        writeln!(
            formatter,
            "{}, {}: {passed} passed, {} failed",
            counted(self.rules, "rule"),
            counted(self.total(), "test"),
            self.failed()
        )?;
        if !self.untested.is_empty() {
            let names: Vec<_> = self.untested.iter().map(|name| [name.clone()]).collect();
            write!(formatter, "without a test:\n{}", aligned(&names))?;
        }
        Ok(())
    }
}

/// Runs the tests of all rules.
pub(super) fn run_tests(loaded: &LoadedRules) -> TestReport {
    let mut report = TestReport { results: Vec::new(), rules: 0, untested: Vec::new() };
    for (file, rule) in loaded.rules() {
        report.rules += 1;
        if rule.tests.is_empty() {
            report.untested.push(rule.name.clone());
        }
        for (number, test) in rule.tests.iter().enumerate() {
            report.results.push(TestResult {
                rule: rule.name.clone(),
                test: label(test, number),
                expectation: test.expectation,
                failure: failure(file, rule, test),
            });
        }
    }
    report
}

fn label(test: &RuleTest, number: usize) -> String {
    match (&test.name, &test.event) {
        (Some(name), _) => name.clone(),
        (None, TestEvent::File(path)) => path.to_string_lossy().into_owned(),
        (None, TestEvent::Inline(_)) => format!("test {}", number + 1),
    }
}

/// Returns why a test has no event, with the place of the test; `None` if it has one.
pub(super) fn event_error(file: &LoadedFile, test: &RuleTest) -> Option<DefinitionError> {
    let message = delivered_event(file, test).and_then(only_event).err()?;
    Some(DefinitionError::new(test.position, message))
}

/// Returns what a test has as its event: an event, a trail file, or what EventBridge delivers.
fn delivered_event(file: &LoadedFile, test: &RuleTest) -> Result<Value, String> {
    match &test.event {
        TestEvent::Inline(event) => Ok(event.clone()),
        TestEvent::File(path) => read_event(&file.path, path),
    }
}

/// Returns why a test fails, or `None` if it passes.
fn failure(file: &LoadedFile, rule: &Rule, test: &RuleTest) -> Option<String> {
    let event = match delivered_event(file, test) {
        Ok(event) => event,
        Err(failure) => return Some(failure),
    };
    let envelope = Envelope::of_delivered(&event);
    let event = match only_event(event) {
        Ok(event) => event,
        Err(failure) => return Some(failure),
    };
    let view = EventView::new(&event).with_envelope(envelope.as_ref());
    let fired = rule.fires(view);
    match test.expectation {
        TestExpectation::Fires if !fired => Some(why_silent(rule, view)),
        TestExpectation::Silent if fired => Some("it fires".to_owned()),
        _ => None,
    }
}

/// Reads the event of a test, whose path is relative to the folder of the rule file.
fn read_event(rule_file: &Path, path: &Path) -> Result<Value, String> {
    let path = rule_file.parent().unwrap_or(Path::new("")).join(path);
    let bytes =
        fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

/// Returns the event itself, out of a trail file with one record or out of the envelope of EventBridge.
fn only_event(value: Value) -> Result<Value, String> {
    let Value::Object(mut entries) = value else {
        return Err("the event is not a JSON object".to_owned());
    };
    if let Some(Value::Array(records)) = entries.get_mut("Records") {
        return match (records.pop(), records.len()) {
            (Some(record), 0) => Ok(record),
            (_, others) => {
                Err(format!("the file has {} events, and a test is about one", others + 1))
            }
        };
    }
    match entries.remove("detail") {
        Some(detail @ Value::Object(_)) if entries.contains_key("detail-type") => Ok(detail),
        Some(detail) => {
            entries.insert("detail".to_owned(), detail);
            Ok(Value::Object(entries))
        }
        None => Ok(Value::Object(entries)),
    }
}

/// Returns why a rule stays silent on an event.
fn why_silent(rule: &Rule, view: EventView<'_>) -> String {
    let text = |key: &str| view.detail().get(key).and_then(Value::as_str).unwrap_or_default();
    let (source, name) = (text("eventSource"), text("eventName"));
    if !rule.selection.selects(source, name) {
        return format!("the rule does not look at {name} of {source}");
    }
    match rule.verdict(view) {
        Verdict::NoMatch => "`match` is not true".to_owned(),
        Verdict::Failed(error) => format!("`match` fails: {error}"),
        Verdict::Excepted(number) => {
            let exception = rule.exceptions.get(number).map_or("", |exception| exception.text());
            format!("`except` is true: {exception}")
        }
        Verdict::Fires(_) => "it fires".to_owned(),
    }
}
