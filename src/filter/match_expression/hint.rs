//! Explains why an expression found nothing, or more than was meant.
//!
//! Input: an expression before the search; what [`MatchObservations`] have seen after it. Output: hints, as text.
//! Invariant: a hint is given only for what is certain: a pattern that cannot match, a field that no event had, a value
//! that was met in another form. All values of events in it are escaped and shortened.
//! Not here: where hints are printed.

use super::super::literal::Literal;
use super::lint::{self, PatternFlaw};
use super::look_alike::LookAlike;
use super::observations::MatchObservations;
use super::{Condition, MatchExpression, Operator};
use crate::report::format::plural;

/// A hint about one expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchHint {
    /// What the hint is about.
    pub kind: MatchHintKind,
    /// The expression as the user wrote it.
    pub expression: String,
    /// The fact, in lower case without a full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// What a hint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchHintKind {
    /// The expression is empty and matches every event.
    Empty,
    /// The pattern is valid, and cannot do what was meant.
    Pattern(PatternFlaw),
    /// No event had the field.
    FieldNeverSeen,
    /// Events had the value in another form, such as the text "true".
    LookAlike(LookAlike),
    /// The pattern gave up on some events, which count as not matching.
    GaveUp,
}

impl MatchExpression {
    /// Returns what can be said about the expression before any event is read.
    pub fn warnings(&self) -> Vec<MatchHint> {
        let Some(condition) = &self.condition else {
            let message = "an empty expression is no condition and was left out";
            return vec![self.hint(MatchHintKind::Empty, message, None)];
        };
        let Some(pattern) = condition.pattern.as_ref().and(condition.literal.as_text()) else {
            return Vec::new();
        };
        lint::flaws(pattern)
            .into_iter()
            .map(|(flaw, meant)| {
                let suggestion =
                    meant.map(|meant| format!("write {}", condition.with_pattern(&meant)));
                self.hint(MatchHintKind::Pattern(flaw), flaw.describe(), suggestion)
            })
            .collect()
    }

    /// Returns what the observations of all events explain.
    pub fn hints(&self, observations: &MatchObservations) -> Vec<MatchHint> {
        let Some(condition) = &self.condition else { return Vec::new() };
        let mut hints = Vec::new();
        if observations.gave_up > 0 {
            let id = observations.gave_up_on.as_ref();
            let example = id.map(|id| format!(", such as {id},")).unwrap_or_default();
            let message = format!(
                "the pattern took too many steps on {}{example} and did not match them",
                plural(observations.gave_up, "event")
            );
            let suggestion = "simplify the pattern, or let it start with ^".to_owned();
            hints.push(self.hint(MatchHintKind::GaveUp, message, Some(suggestion)));
        }
        if observations.is_field_missing() && condition.needs_field() {
            hints.push(self.field_never_seen(condition, observations));
        } else if observations.matched == 0 {
            hints.extend(self.look_alike(condition, observations));
        }
        hints
    }

    fn field_never_seen(
        &self,
        condition: &Condition,
        observations: &MatchObservations,
    ) -> MatchHint {
        let effect = match condition.operator {
            Operator::NotEqual if condition.literal != Literal::Null => {
                ", so that it matches all of them"
            }
            _ => "",
        };
        let message = format!(
            "none of the {} that it was compared with has this field{effect}",
            plural(observations.events, "event")
        );
        let near = observations.near_paths();
        let suggestion = (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")));
        self.hint(MatchHintKind::FieldNeverSeen, message, suggestion)
    }

    fn look_alike(
        &self,
        condition: &Condition,
        observations: &MatchObservations,
    ) -> Option<MatchHint> {
        let (kind, seen) = observations.most_frequent_look_alike()?;
        let message = kind.describe(&observations.count(seen), &seen.example);
        let suggestion = kind.suggest(condition, &seen.example);
        Some(self.hint(MatchHintKind::LookAlike(kind), message, suggestion))
    }

    fn hint(
        &self,
        kind: MatchHintKind,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> MatchHint {
        MatchHint { kind, expression: self.text.clone(), message: message.into(), suggestion }
    }
}

impl Condition {
    /// Returns whether a search makes sense only for events that have the field. `== None` is a search for those without.
    pub(super) fn needs_field(&self) -> bool {
        !(self.operator == Operator::Equal && self.literal == Literal::Null)
    }

    /// Returns the condition with another pattern.
    pub(super) fn with_pattern(&self, pattern: &str) -> String {
        format!("{} regex {}", self.path_text, quote_pattern(pattern))
    }
}

/// Returns a pattern in quotation marks, raw where that is possible.
fn quote_pattern(pattern: &str) -> String {
    if pattern.contains('\\') && !pattern.contains(['"', '\n']) && !pattern.ends_with('\\') {
        return format!("r\"{pattern}\"");
    }
    Literal::Text(pattern.to_owned()).to_string()
}
