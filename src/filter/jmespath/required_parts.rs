//! Which parts of an event decide whether an expression is true.
//!
//! Input: a syntax tree that is evaluated on an event as EventBridge delivers it. Output: parts of the event.
//! Invariant: on a copy of the event that holds nothing but these parts, the expression has a result of the same truth,
//! or fails with the same message.
//!
//! The analysis follows where in the event the results of expressions come from. A value becomes a part as soon as
//! something looks at it; an element of a list is there with its list.

use super::{
    possible_kinds::possible_kinds,
    signature::{Function, Kinds, Parameter, Signature},
    syntax_tree::{Comparator, Expr, Field},
};
use crate::filter::{
    event_part::{EventPart, Extent, MemberPath},
    eventbridge::member_paths,
};

/// The most places that a value may come from. `(a || b) | (c || d)` doubles them with each `|`.
const MAX_ORIGINS: usize = 32;

/// Returns the parts, or `None` if the expression may look at the whole event.
pub(super) fn required_parts(expr: &Expr) -> Option<Vec<EventPart>> {
    let mut analysis = Analysis::default();
    let result = analysis.trace(expr, &[Origin::View])?;
    // An object is true, whatever is in it.
    analysis.require(result, &Extent::Kind)?;
    Some(analysis.parts)
}

/// Returns the parts that decide about the value of an expression, or `None` if that may be the whole event.
pub(super) fn value_parts(expr: &Expr) -> Option<Vec<EventPart>> {
    let mut analysis = Analysis::default();
    let result = analysis.trace(expr, &[Origin::View])?;
    analysis.require(result, &Extent::Value)?;
    Some(analysis.parts)
}

/// Where a value may come from. What is computed comes from nowhere: the parts that it is computed from are required.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// The event as EventBridge delivers it.
    View,
    /// The value at this path of the event; an empty path is the event.
    Event(MemberPath),
}

type Origins = Vec<Origin>;

#[derive(Default)]
struct Analysis {
    parts: Vec<EventPart>,
}

impl Analysis {
    /// Returns where the result of an expression may come from, and adds the parts that it looks at. `None` if that may
    /// be the whole event.
    fn trace(&mut self, expr: &Expr, current: &[Origin]) -> Option<Origins> {
        match expr {
            Expr::Current => Some(current.to_vec()),
            Expr::Path(fields) => follow(fields, current),
            Expr::Literal(_) | Expr::Reference(_) => Some(Vec::new()),
            // Of a value that is no list, nothing is selected.
            Expr::Index(_) | Expr::Slice { .. } => {
                self.require(current.to_vec(), &Extent::Kind)?;
                Some(Vec::new())
            }
            Expr::Chain(parts) => {
                parts.iter().try_fold(current.to_vec(), |origins, part| self.trace(part, &origins))
            }
            Expr::Or(parts) | Expr::And(parts) => self.trace_alternatives(parts, current),
            Expr::Not(inner) => self.consume_truth(inner, current),
            Expr::Comparison { comparator, left, right } => {
                self.consume(left, current, &compared(*comparator, right))?;
                self.consume(right, current, &compared(*comparator, left))
            }
            Expr::Condition { predicate, then } => {
                self.consume_truth(predicate, current)?;
                self.trace(then, current)
            }
            Expr::Flatten(inner) => self.consume(inner, current, &Extent::Kind),
            Expr::Values(inner) => self.consume(inner, current, &Extent::Value),
            Expr::Projection { list, each } => {
                self.consume(list, current, &Extent::Kind)?;
                // The elements are there with the list.
                let elements = self.trace(each, &[])?;
                self.require(elements, &Extent::Value)?;
                Some(Vec::new())
            }
            Expr::List(items) => self.construct(items.iter(), current),
            Expr::Object(entries) => {
                self.construct(entries.iter().map(|(_, value)| value), current)
            }
            Expr::Call { function, arguments, .. } => self.call(*function, arguments, current),
        }
    }

    /// Traces `a || b` and `a && b`: the result is one of the parts, and all but the last one decide which.
    fn trace_alternatives(&mut self, parts: &[Expr], current: &[Origin]) -> Option<Origins> {
        let mut origins = Vec::new();
        for (position, part) in parts.iter().enumerate() {
            let result = self.trace(part, current)?;
            if position + 1 < parts.len() {
                self.require_truth(result.clone())?;
            }
            origins.extend(result);
        }
        (origins.len() <= MAX_ORIGINS).then_some(origins)
    }

    fn construct<'e>(
        &mut self,
        mut items: impl Iterator<Item = &'e Expr>,
        current: &[Origin],
    ) -> Option<Origins> {
        // The result on null is null.
        self.require(current.to_vec(), &Extent::Kind)?;
        items.try_for_each(|item| self.consume(item, current, &Extent::Value).map(drop))?;
        Some(Vec::new())
    }

    fn call(
        &mut self,
        function: Function,
        arguments: &[Expr],
        current: &[Origin],
    ) -> Option<Origins> {
        let signature = Signature::of(function);
        for (position, argument) in arguments.iter().enumerate() {
            let extent = match signature.parameter(position) {
                _ if function == Function::Type => Extent::Kind,
                Some(Parameter::Value(kinds)) if kinds.intersects(Kinds::OBJECT) => Extent::Value,
                // An object is refused, and the message names only its kind.
                _ => Extent::Kind,
            };
            self.consume(argument, current, &extent)?;
        }
        Some(Vec::new())
    }

    /// Traces an expression whose result is looked at here.
    fn consume(&mut self, expr: &Expr, current: &[Origin], extent: &Extent) -> Option<Origins> {
        let origins = self.trace(expr, current)?;
        self.require(origins, extent)?;
        Some(Vec::new())
    }

    fn consume_truth(&mut self, expr: &Expr, current: &[Origin]) -> Option<Origins> {
        let origins = self.trace(expr, current)?;
        self.require_truth(origins)?;
        Some(Vec::new())
    }

    /// Requires what decides whether a value is true within an expression: an empty object is not.
    fn require_truth(&mut self, mut origins: Origins) -> Option<()> {
        // The view is never empty.
        origins.retain(|origin| *origin != Origin::View);
        self.require(origins, &Extent::Value)
    }

    fn require(&mut self, origins: Origins, extent: &Extent) -> Option<()> {
        for origin in origins {
            let part = match origin {
                Origin::Event(path) if !path.is_empty() => {
                    EventPart { path, extent: extent.clone() }
                }
                // Both are objects, whatever is in them.
                Origin::View | Origin::Event(_) if *extent == Extent::Kind => continue,
                Origin::View | Origin::Event(_) => return None,
            };
            if !self.parts.contains(&part) {
                self.parts.push(part);
            }
        }
        Some(())
    }
}

/// Returns what a comparison looks at in one operand, given the other one.
fn compared(comparator: Comparator, other: &Expr) -> Extent {
    let is_equality = matches!(comparator, Comparator::Equal | Comparator::NotEqual);
    // Objects equal nothing but objects, and only numbers have an order.
    if is_equality && possible_kinds(other).intersects(Kinds::OBJECT) {
        Extent::Value
    } else {
        Extent::Kind
    }
}

/// Returns where the values at a path come from.
fn follow(fields: &[Field], current: &[Origin]) -> Option<Origins> {
    let mut origins = Vec::new();
    for origin in current {
        match (origin, fields.split_first()) {
            (_, None) => origins.push(origin.clone()),
            (Origin::Event(path), Some(_)) => origins.push(Origin::Event(extended(path, fields))),
            (Origin::View, Some((first, rest))) => origins.extend(
                member_paths(&first.name)
                    .iter()
                    .map(|path| Origin::Event(extended(&to_owned(path), rest))),
            ),
        }
    }
    (origins.len() <= MAX_ORIGINS).then_some(origins)
}

fn extended(path: &[String], fields: &[Field]) -> MemberPath {
    path.iter().cloned().chain(fields.iter().map(|field| field.name.clone())).collect()
}

fn to_owned(path: &[&str]) -> MemberPath {
    path.iter().map(|name| (*name).to_owned()).collect()
}
