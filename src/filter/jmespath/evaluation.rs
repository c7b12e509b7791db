//! Evaluates a syntax tree on an event.
//!
//! Input: a syntax tree and a node. Output: a node, or why there is none.
//! Invariant: nothing of the event is copied, and the work is bounded by a budget.

use std::rc::Rc;

use super::{
    budget::{Budget, BudgetExceeded},
    functions::{self, FunctionError, described},
    node::{Elements, Node},
    number,
    signature::{Function, Parameter, Signature},
    syntax_tree::{Comparator, Expr, Field},
};

/// Why an expression has no result on an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A function was called with arguments that it does not accept, most often because a field is missing.
    #[error("{message}")]
    Function {
        /// Offset of the function's name in the expression, in bytes.
        offset: usize,
        /// What is wrong, in lower case without a full stop.
        message: String,
    },
    /// The expression does more work on this event than any sensible expression.
    #[error("the expression needs more than a million steps on this event")]
    TooExpensive,
}

impl From<BudgetExceeded> for EvaluationError {
    fn from(_: BudgetExceeded) -> Self {
        Self::TooExpensive
    }
}

type Evaluated<'a> = Result<Node<'a>, EvaluationError>;

/// Evaluates a syntax tree on a node.
pub(super) fn evaluate<'a>(expr: &'a Expr, root: &Node<'a>) -> Evaluated<'a> {
    Evaluation { budget: Budget::new() }.evaluate(expr, root)
}

struct Evaluation {
    budget: Budget,
}

impl Evaluation {
    fn evaluate<'a>(&self, expr: &'a Expr, current: &Node<'a>) -> Evaluated<'a> {
        self.budget.take(1)?;
        match expr {
            Expr::Current => Ok(current.clone()),
            Expr::Path(fields) => Ok(path(fields, current)),
            Expr::Index(index) => Ok(element(current, *index)),
            Expr::Slice { start, stop, step } => self.slice(current, *start, *stop, *step),
            Expr::Literal(value) => Ok(Node::Json(value)),
            Expr::Chain(parts) => self.chain(parts, current),
            Expr::Or(parts) => self.first(parts, current, Node::is_true_in_jmespath),
            Expr::And(parts) => self.first(parts, current, |node| !node.is_true_in_jmespath()),
            Expr::Not(inner) => {
                Ok(Node::Bool(!self.evaluate(inner, current)?.is_true_in_jmespath()))
            }
            Expr::Comparison { comparator, left, right } => {
                self.compare(*comparator, left, right, current)
            }
            Expr::Condition { predicate, then } => self.condition(predicate, then, current),
            Expr::Flatten(inner) => self.flatten(inner, current),
            Expr::Values(inner) => self.values(inner, current),
            Expr::Projection { list, each } => self.project(list, each, current),
            Expr::List(items) => self.list(items, current),
            Expr::Object(entries) => self.object(entries, current),
            // Only functions evaluate a reference; see `call`.
            Expr::Reference(_) => Ok(Node::NULL),
            Expr::Call { function, offset, arguments } => {
                self.call(*function, *offset, arguments, current)
            }
        }
    }

    fn chain<'a>(&self, parts: &'a [Expr], current: &Node<'a>) -> Evaluated<'a> {
        let mut node = current.clone();
        for part in parts {
            node = self.evaluate(part, &node)?;
        }
        Ok(node)
    }

    /// Returns the first result that decides, or else the last one.
    fn first<'a>(
        &self,
        parts: &'a [Expr],
        current: &Node<'a>,
        decides: impl Fn(&Node<'a>) -> bool,
    ) -> Evaluated<'a> {
        let mut node = Node::NULL;
        for part in parts {
            node = self.evaluate(part, current)?;
            if decides(&node) {
                break;
            }
        }
        Ok(node)
    }

    fn compare<'a>(
        &self,
        comparator: Comparator,
        left: &'a Expr,
        right: &'a Expr,
        current: &Node<'a>,
    ) -> Evaluated<'a> {
        let left = self.evaluate(left, current)?;
        let right = self.evaluate(right, current)?;
        let result = match comparator {
            Comparator::Equal => Some(left.equals(&right, &self.budget)?),
            Comparator::NotEqual => Some(!left.equals(&right, &self.budget)?),
            // Only numbers have an order; everything else is null.
            _ => match (left.as_number(), right.as_number()) {
                (Some(left), Some(right)) => {
                    number::compare(left, right).map(|order| match comparator {
                        Comparator::Less => order.is_lt(),
                        Comparator::LessOrEqual => order.is_le(),
                        Comparator::Greater => order.is_gt(),
                        _ => order.is_ge(),
                    })
                }
                _ => None,
            },
        };
        Ok(result.map_or(Node::NULL, Node::Bool))
    }

    fn condition<'a>(
        &self,
        predicate: &'a Expr,
        then: &'a Expr,
        current: &Node<'a>,
    ) -> Evaluated<'a> {
        if self.evaluate(predicate, current)?.is_true_in_jmespath() {
            self.evaluate(then, current)
        } else {
            Ok(Node::NULL)
        }
    }

    fn flatten<'a>(&self, inner: &'a Expr, current: &Node<'a>) -> Evaluated<'a> {
        let node = self.evaluate(inner, current)?;
        let Some(elements) = node.as_elements() else { return Ok(Node::NULL) };
        let mut flat = Vec::with_capacity(elements.len());
        for element in elements.iter() {
            match element.as_elements() {
                Some(nested) => {
                    self.budget.take(nested.len())?;
                    flat.extend(nested.iter());
                }
                None => flat.push(element),
            }
        }
        self.budget.take(elements.len())?;
        Ok(Node::list(flat))
    }

    fn values<'a>(&self, inner: &'a Expr, current: &Node<'a>) -> Evaluated<'a> {
        let node = self.evaluate(inner, current)?;
        if node.kind() != super::node::Kind::Object {
            return Ok(Node::NULL);
        }
        self.budget.take(node.entry_count())?;
        Ok(Node::list(node.values()))
    }

    fn project<'a>(&self, list: &'a Expr, each: &'a Expr, current: &Node<'a>) -> Evaluated<'a> {
        let node = self.evaluate(list, current)?;
        let Some(elements) = node.as_elements() else { return Ok(Node::NULL) };
        let mut projected = Vec::new();
        for element in elements.iter() {
            let result = self.evaluate(each, &element)?;
            if !result.is_null() {
                projected.push(result);
            }
        }
        Ok(Node::list(projected))
    }

    fn list<'a>(&self, items: &'a [Expr], current: &Node<'a>) -> Evaluated<'a> {
        if current.is_null() {
            return Ok(Node::NULL);
        }
        let nodes: Result<Vec<_>, _> =
            items.iter().map(|item| self.evaluate(item, current)).collect();
        Ok(Node::list(nodes?))
    }

    fn object<'a>(&self, entries: &'a [(String, Expr)], current: &Node<'a>) -> Evaluated<'a> {
        if current.is_null() {
            return Ok(Node::NULL);
        }
        let mut nodes: Vec<(Rc<str>, Node<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let node = self.evaluate(value, current)?;
            match nodes.iter_mut().find(|(name, _)| **name == **key) {
                Some(entry) => entry.1 = node,
                None => nodes.push((key.as_str().into(), node)),
            }
        }
        Ok(Node::Object(Rc::new(nodes)))
    }

    fn slice<'a>(
        &self,
        node: &Node<'a>,
        start: Option<i32>,
        stop: Option<i32>,
        step: i32,
    ) -> Evaluated<'a> {
        let Some(elements) = node.as_elements() else { return Ok(Node::NULL) };
        self.budget.take(elements.len())?;
        let positions = slice_positions(elements.len(), start, stop, step);
        Ok(Node::list(positions.filter_map(|position| elements.get(position)).collect()))
    }

    fn call<'a>(
        &self,
        function: Function,
        offset: usize,
        arguments: &'a [Expr],
        current: &Node<'a>,
    ) -> Evaluated<'a> {
        let signature = Signature::of(function);
        let mut reference = None;
        let mut nodes = Vec::with_capacity(arguments.len());
        for (position, argument) in arguments.iter().enumerate() {
            if let Expr::Reference(inner) = argument {
                reference = Some(&**inner);
                continue;
            }
            let node = self.evaluate(argument, current)?;
            let parameter = signature.parameter(position);
            if let Some(parameter) = parameter.filter(|parameter| !parameter.accepts(&node)) {
                let message = wrong_argument(signature, position, parameter, &node);
                return Err(EvaluationError::Function { offset, message });
            }
            nodes.push(node);
        }
        let result = match reference {
            None => functions::call(function, &nodes, &self.budget),
            Some(reference) => {
                let elements =
                    nodes.first().and_then(Node::as_elements).unwrap_or(Elements::Json(&[]));
                let keys: Result<Vec<_>, _> =
                    elements.iter().map(|element| self.evaluate(reference, &element)).collect();
                functions::call_by(function, &elements, keys?, &self.budget)
            }
        };
        result.map_err(|error| match error {
            FunctionError::BudgetExceeded => EvaluationError::TooExpensive,
            FunctionError::Arguments(cause) => EvaluationError::Function {
                offset,
                message: format!("{}(): {cause}", signature.name),
            },
        })
    }
}

/// Follows a path of fields. Parts of the event are followed without an intermediate node.
fn path<'a>(fields: &'a [Field], current: &Node<'a>) -> Node<'a> {
    let mut fields = fields.iter();
    let mut node = match fields.next() {
        Some(field) => current.field(&field.name),
        None => return current.clone(),
    };
    for field in fields {
        if node.is_null() {
            return node;
        }
        node = node.field(&field.name);
    }
    node
}

fn element<'a>(node: &Node<'a>, index: i32) -> Node<'a> {
    let Some(elements) = node.as_elements() else { return Node::NULL };
    let position = match usize::try_from(index) {
        Ok(position) => Some(position),
        Err(_) => elements.len().checked_sub(index.unsigned_abs() as usize),
    };
    position.and_then(|position| elements.get(position)).unwrap_or(Node::NULL)
}

/// Returns the positions of a slice, as Python defines them.
fn slice_positions(
    length: usize,
    start: Option<i32>,
    stop: Option<i32>,
    step: i32,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = i64::from(step);
    // The first position that can be taken in the direction of the step, and the one behind the last.
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let bound = |bound: Option<i32>, default: i64| match bound.map(i64::from) {
        None => default,
        Some(bound) if bound < 0 => (bound + length).max(lowest),
        Some(bound) => bound.min(highest),
    };
    let (from, to) = if step > 0 {
        (bound(start, lowest), bound(stop, highest))
    } else {
        (bound(start, highest), bound(stop, lowest))
    };
    std::iter::successors(Some(from), move |position| position.checked_add(step))
        .take_while(move |position| if step > 0 { *position < to } else { *position > to })
        .filter_map(|position| usize::try_from(position).ok())
}

fn wrong_argument(
    signature: &Signature,
    position: usize,
    parameter: Parameter,
    node: &Node<'_>,
) -> String {
    let found = match parameter {
        Parameter::ArrayOf(_) if node.as_elements().is_some() => "an array with other elements",
        _ => described(node.kind()),
    };
    format!(
        "{}() takes {} as argument {}, and the event has {found}",
        signature.name,
        parameter.description(),
        position + 1
    )
}
