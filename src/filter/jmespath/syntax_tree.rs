//! The syntax tree of an expression, ready to be evaluated.
//!
//! Invariant: functions exist and have as many arguments as they take; the depth is limited, so evaluation needs little
//! stack.

use serde_json::Value;

use super::signature::Function;

/// A part of an expression. It is evaluated on a value, the current node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// `@`, the current node.
    Current,
    /// `a.b.c`.
    Path(Vec<Field>),
    /// `[1]`.
    Index(i32),
    /// `[1:2]`.
    Slice { start: Option<i32>, stop: Option<i32>, step: i32 },
    /// A value in backticks or quotation marks.
    Literal(Value),
    /// `a.b`, `a | b`: each part on the result of the part before it.
    Chain(Vec<Expr>),
    /// `a || b || c`.
    Or(Vec<Expr>),
    /// `a && b && c`.
    And(Vec<Expr>),
    /// `!a`.
    Not(Box<Expr>),
    /// `a == b`, at the offset of its operator or behind it.
    Comparison { comparator: Comparator, left: Box<Expr>, right: Box<Expr> },
    /// The condition of a filter: the result of `then` where it holds, else null.
    Condition { predicate: Box<Expr>, then: Box<Expr> },
    /// `a[]`, one level.
    Flatten(Box<Expr>),
    /// The values of `a.*`.
    Values(Box<Expr>),
    /// `a[*].b`: `each` on every element of `list`.
    Projection { list: Box<Expr>, each: Box<Expr> },
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `{a: b}`.
    Object(Vec<(String, Expr)>),
    /// `&a`, an argument of `sort_by` and the like.
    Reference(Box<Expr>),
    /// `f(a, b)`.
    Call { function: Function, offset: usize, arguments: Vec<Expr> },
}

/// A field of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// Where it is in the expression, in bytes.
    pub(super) offset: usize,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
