//! Which kinds of values an expression may have, whatever the event.
//!
//! Input: a syntax tree. Output: a set of kinds.
//! Invariant: the result on any event is of one of these kinds.

use serde_json::Value;

use super::{
    node::Node,
    signature::{Kinds, Signature},
    syntax_tree::{Comparator, Expr},
};

/// Returns the kinds that the results of an expression may have.
pub(super) fn possible_kinds(expr: &Expr) -> Kinds {
    match expr {
        Expr::Current | Expr::Path(_) | Expr::Index(_) | Expr::Reference(_) => Kinds::ANY,
        Expr::Literal(value) => literal_kind(value),
        Expr::Not(_) => Kinds::BOOLEAN,
        Expr::Comparison { comparator: Comparator::Equal | Comparator::NotEqual, .. } => {
            Kinds::BOOLEAN
        }
        Expr::Comparison { .. } => Kinds::BOOLEAN.or(Kinds::NULL),
        Expr::Slice { .. }
        | Expr::Flatten(_)
        | Expr::Values(_)
        | Expr::Projection { .. }
        | Expr::List(_) => Kinds::ARRAY.or(Kinds::NULL),
        Expr::Object(_) => Kinds::OBJECT.or(Kinds::NULL),
        Expr::Chain(parts) => parts.last().map_or(Kinds::ANY, possible_kinds),
        Expr::Or(parts) | Expr::And(parts) => {
            parts.iter().map(possible_kinds).reduce(Kinds::or).unwrap_or(Kinds::ANY)
        }
        Expr::Condition { then, .. } => possible_kinds(then).or(Kinds::NULL),
        Expr::Call { function, .. } => Signature::of(*function).returns,
    }
}

fn literal_kind(value: &Value) -> Kinds {
    Kinds::of(Node::Json(value).kind())
}
