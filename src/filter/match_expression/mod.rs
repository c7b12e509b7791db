//! Conditions such as `$.errorCode == "AccessDenied"`: a path, an operator, a value.
//!
//! Input: a parsed event. Output: whether the condition holds.
//! Invariant: a missing field has the value null. `==` and `regex` hold if any of the values that the path selects fits,
//! `!=` is the exact opposite of `==`. Numbers are compared by value, and a boolean equals no number. A pattern matches
//! anywhere in a text, and never a value of another type.
//! Not here: which conditions a search has and in which order they are evaluated (see [`query`](super::query)).

use std::ops::ControlFlow;

use serde_json::Value;

use self::pattern::{Pattern, Verdict};
use super::{
    literal::Literal,
    syntax::{SyntaxError, check_limits},
};

mod hint;
mod lint;
mod look_alike;
mod near_paths;
mod observations;
mod operator;
mod path;
mod path_reader;
mod pattern;

pub use self::{
    hint::{MatchHint, MatchHintKind},
    lint::PatternFlaw,
    look_alike::LookAlike,
    observations::MatchObservations,
    operator::Operator,
    path::{MAX_DESCENTS, Path, PathNeeds},
    pattern::BACKTRACK_LIMIT,
};

/// After how many texts on which the pattern gave up no further text of an event is searched. An event can hold thousands
/// of texts, and each of them takes some milliseconds.
const MAX_GIVEN_UP: usize = 16;

/// A condition on one event.
#[derive(Clone, Debug)]
pub struct MatchExpression {
    text: String,
    condition: Option<Condition>,
}

/// The parts of an expression.
#[derive(Clone, Debug)]
struct Condition {
    path: Path,
    operator: Operator,
    literal: Literal,
    /// The compiled literal of `regex`.
    pattern: Option<Pattern>,
    /// The same without regard to upper and lower case, for hints.
    ignoring_case: Option<Pattern>,
    /// The path and the value as the user wrote them.
    path_text: String,
    literal_text: String,
}

/// Whether an event matches an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOutcome {
    /// It matches.
    Matched,
    /// It does not match.
    NotMatched,
    /// The pattern gave up, and no other value matched. The event counts as not matching.
    GaveUp,
}

impl MatchOutcome {
    /// Returns whether the event matches.
    pub fn is_match(self) -> bool {
        self == Self::Matched
    }
}

impl From<bool> for MatchOutcome {
    fn from(matched: bool) -> Self {
        if matched { Self::Matched } else { Self::NotMatched }
    }
}

impl MatchExpression {
    /// Parses an expression. An empty one matches every event.
    ///
    /// # Errors
    ///
    /// If the expression is not valid, too long, or nested too deeply.
    pub fn parse(expression: &str) -> Result<Self, SyntaxError> {
        check_limits(expression)?;
        let condition =
            if expression.trim().is_empty() { None } else { Some(Condition::parse(expression)?) };
        Ok(Self { text: expression.to_owned(), condition })
    }

    /// Returns whether an event matches.
    pub fn matches(&self, event: &Value) -> MatchOutcome {
        self.condition.as_ref().map_or(MatchOutcome::Matched, |condition| condition.matches(event))
    }

    /// Returns the expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the expression is empty, so that it matches every event.
    pub fn is_empty(&self) -> bool {
        self.condition.is_none()
    }

    /// Returns the path, unless the expression is empty.
    pub fn path(&self) -> Option<&Path> {
        self.condition.as_ref().map(|condition| &condition.path)
    }

    /// Returns the operator, unless the expression is empty.
    pub fn operator(&self) -> Option<Operator> {
        self.condition.as_ref().map(|condition| condition.operator)
    }

    /// Returns the value to compare with, unless the expression is empty.
    pub fn literal(&self) -> Option<&Literal> {
        self.condition.as_ref().map(|condition| &condition.literal)
    }
}

impl Condition {
    /// Parses an expression that is not empty.
    fn parse(expression: &str) -> Result<Self, SyntaxError> {
        let (operator, place) = operator::find_operator(expression)?;
        let path = path_reader::parse_path(expression, place.start)?;
        let literal = Literal::parse(expression, place.end)?;
        let pattern = match operator {
            Operator::Regex => Some(compile(expression, place.end, &literal)?),
            Operator::Equal | Operator::NotEqual => None,
        };
        let ignoring_case = pattern
            .as_ref()
            .and(literal.as_text())
            .and_then(|pattern| Pattern::compile(&format!("(?i){pattern}")).ok());
        let path_text = expression[..place.start].trim().to_owned();
        let literal_text = expression[place.end..].trim().to_owned();
        Ok(Self { path, operator, literal, pattern, ignoring_case, path_text, literal_text })
    }

    fn matches(&self, event: &Value) -> MatchOutcome {
        match (self.operator, &self.pattern) {
            (Operator::NotEqual, _) => (!self.any_equal(event)).into(),
            (_, Some(pattern)) => self.any_search(pattern, event),
            (_, None) => self.any_equal(event).into(),
        }
    }

    /// Returns whether any selected value equals the literal; nothing selected is null.
    fn any_equal(&self, event: &Value) -> bool {
        let mut is_missing = true;
        let found = self.path.visit(event, |value| {
            is_missing = false;
            break_if(self.literal.equals(value))
        });
        found.is_break() || (is_missing && self.literal == Literal::Null)
    }

    /// Returns whether one value fits.
    fn fits(&self, value: &Value) -> bool {
        match &self.pattern {
            Some(pattern) => {
                value.as_str().is_some_and(|text| pattern.search(text) == Verdict::Matched)
            }
            None => self.literal.equals(value),
        }
    }

    /// Searches in all selected texts.
    fn any_search(&self, pattern: &Pattern, event: &Value) -> MatchOutcome {
        let mut gave_up = 0;
        let found = self.path.visit(event, |value| {
            let verdict = value.as_str().map(|text| pattern.search(text));
            gave_up += usize::from(verdict == Some(Verdict::GaveUp));
            break_if(verdict == Some(Verdict::Matched) || gave_up > MAX_GIVEN_UP)
        });
        match found {
            ControlFlow::Break(()) if gave_up <= MAX_GIVEN_UP => MatchOutcome::Matched,
            _ if gave_up > 0 => MatchOutcome::GaveUp,
            _ => MatchOutcome::NotMatched,
        }
    }
}

/// Breaks if a condition holds.
fn break_if(condition: bool) -> ControlFlow<()> {
    if condition { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Compiles the pattern behind `regex`.
fn compile(expression: &str, offset: usize, literal: &Literal) -> Result<Pattern, SyntaxError> {
    let blanks = expression[offset..].len() - expression[offset..].trim_start().len();
    let place = offset + blanks;
    let Some(pattern) = literal.as_text() else {
        return Err(SyntaxError::new(expression, place, "a pattern is a text in quotation marks")
            .suggest(format!("write {}", Value::from(expression[place..].trim_end()))));
    };
    Pattern::compile(pattern).map_err(|error| {
        // The offset in the pattern is that in the expression unless the text has escapes.
        let at =
            expression[place..].find(pattern).map_or(place, |body| place + body + error.offset);
        SyntaxError::new(expression, at, format!("the pattern is not valid: {}", error.message))
    })
}

#[cfg(test)]
mod tests;
