//! JMESPath over events: `detail.userIdentity.type == 'Root'`.
//!
//! Input: the text of an expression; an event, or a view of it. Output: an error with its place, or an [`Expression`];
//! its result on an event.
//! Invariant: an expression is checked completely when it is parsed, events are not copied, and time and memory of an
//! evaluation are bounded.
//!
//! The language is JMESPath with the functions `split`, `parse_json` and `to_json` of GorillaStack's dialect. Inside an
//! expression, truth is that of JMESPath; its result is true as in JavaScript (see [`truth`](super::truth)).
//!
//! | module | responsible for |
//! |---|---|
//! | `parse` | text to syntax tree; the grammar is that of the `jmespath` crate |
//! | `syntax_tree`, `signature` | what an expression consists of; the functions that exist |
//! | `evaluation`, `functions` | the result on an event |
//! | `node`, `number` | values: borrowed from the event or computed; numbers by value |
//! | `budget` | the limit on the work of an evaluation |
//! | `possible_kinds`, `requirement` | what is known about the result without an event |
//! | `required_parts` | which parts of an event decide about the result |
//! | `lint` | expressions that are valid and mean something else than their author believes |

mod budget;
mod evaluation;
mod field_tests;
mod functions;
mod lint;
mod node;
pub(crate) mod number;
mod parse;
mod possible_kinds;
mod required_parts;
mod requirement;
mod signature;
mod syntax_tree;
#[cfg(test)]
mod tests;

use self::syntax_tree::Expr;
pub use self::{
    evaluation::EvaluationError,
    lint::{Lint, LintKind},
    node::{Kind, Node},
};
use super::{event_part::EventPart, field_test::Requirement, syntax::SyntaxError};

/// A JMESPath expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    root: Expr,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// If it is not valid, calls a function that does not exist or with too few or too many arguments, or exceeds the
    /// limits on length and nesting.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let root = parse::parse(text)?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// Returns the text of the expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates the expression on an event or a view of it. A missing field is null.
    ///
    /// # Errors
    ///
    /// If a function does not accept its arguments, as most do not accept null, or if the evaluation does too much work.
    pub fn evaluate<'a>(&'a self, root: impl Into<Node<'a>>) -> Result<Node<'a>, EvaluationError> {
        evaluation::evaluate(&self.root, &root.into())
    }

    /// Returns whether the result is true as JavaScript sees it.
    ///
    /// # Errors
    ///
    /// As for [`evaluate`](Self::evaluate).
    pub fn is_true<'a>(&'a self, root: impl Into<Node<'a>>) -> Result<bool, EvaluationError> {
        Ok(self.evaluate(root)?.is_true_in_javascript())
    }

    /// Returns texts of which a field must have one for the expression to be true, if the expression requires that. The
    /// field is given by the names of its path; several paths may lead to it.
    pub fn required_texts(&self, fields: &[&[&str]]) -> Option<Vec<&str>> {
        requirement::required_texts(&self.root, fields)
    }

    /// Returns the parts of an event that decide whether the expression is true on the view of EventBridge, without the
    /// flat view; `None` if that may be the whole event.
    pub fn required_parts(&self) -> Option<Vec<EventPart>> {
        required_parts::required_parts(&self.root)
    }

    /// Returns the parts of an event that decide about the value of the expression on the view of EventBridge, without the flat
    /// view; `None` if that may be the whole event.
    pub fn value_parts(&self) -> Option<Vec<EventPart>> {
        required_parts::value_parts(&self.root)
    }

    /// Returns what the expression requires of single fields; it has to meet all of the requirements.
    pub fn requirements(&self) -> Vec<Requirement> {
        field_tests::requirements(&self.root)
    }

    /// Returns whether the expression may look at a field that EventBridge adds to an event.
    pub fn looks_at_envelope(&self) -> bool {
        field_tests::looks_at_envelope(&self.root)
    }

    /// Returns the keys of the flat view that the expression looks at, or `None` if it may look at the view as a whole.
    pub fn flat_keys(&self) -> Option<Vec<&str>> {
        field_tests::flat_keys(&self.root)
    }

    /// Returns what is valid in the expression and probably not meant.
    pub fn lints(&self) -> Vec<Lint> {
        lint::lints(&self.root, &self.text)
    }
}
