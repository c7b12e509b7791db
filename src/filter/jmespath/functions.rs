//! What the functions of JMESPath return.
//!
//! Input: a function and its arguments, of kinds that it accepts. Output: its result.
//! Invariant: the work and the size of results are within the budget.
//! Not here: the evaluation of arguments and references (see [`evaluation`](super::evaluation)); `map`, `sort_by` and the
//! like get the values that their reference has on each element.

use std::{cmp::Ordering, collections::HashMap, rc::Rc};

use serde_json::{Number, Value};

use super::{
    budget::{Budget, BudgetExceeded},
    node::{Elements, Kind, Node},
    number,
    signature::Function,
};

/// Why a function has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FunctionError {
    /// The evaluation does too much.
    BudgetExceeded,
    /// What is wrong with the arguments.
    Arguments(String),
}

impl From<BudgetExceeded> for FunctionError {
    fn from(_: BudgetExceeded) -> Self {
        Self::BudgetExceeded
    }
}

type FunctionResult<'a> = Result<Node<'a>, FunctionError>;

/// Calls a function that takes no reference. The arguments are of kinds that the signature accepts.
pub(super) fn call<'a>(
    function: Function,
    arguments: &[Node<'a>],
    budget: &Budget,
) -> FunctionResult<'a> {
    let first = arguments.first().unwrap_or(&Node::NULL);
    let second = arguments.get(1).unwrap_or(&Node::NULL);
    match function {
        Function::Abs | Function::Ceil | Function::Floor => Ok(round(function, first)),
        Function::Avg | Function::Sum => total(function, first, budget),
        Function::Contains => contains(first, second, budget),
        Function::StartsWith | Function::EndsWith => Ok(affix(function, first, second)),
        Function::Join => join(first, second, budget),
        Function::Split => split(arguments, budget),
        Function::Reverse => reverse(first, budget),
        Function::Keys | Function::Values | Function::Merge => objects(function, arguments, budget),
        Function::Length => Ok(Node::Number(Number::from(length(first)))),
        Function::Max | Function::Min => extreme(function, first, budget),
        Function::NotNull => {
            Ok(arguments.iter().find(|node| !node.is_null()).cloned().unwrap_or(Node::NULL))
        }
        Function::Sort => sort(first, budget),
        Function::ToArray if first.kind() == Kind::Array => Ok(first.clone()),
        Function::ToArray => Ok(Node::list(vec![first.clone()])),
        Function::ToString if first.kind() == Kind::String => Ok(first.clone()),
        Function::ToString | Function::ToJson => to_json(first, budget),
        Function::ParseJson => parse_json(first, budget),
        Function::ToNumber => Ok(to_number(first)),
        Function::Type => Ok(Node::text_from(first.kind().name())),
        // These take a reference; see `call_by`.
        Function::Map | Function::MaxBy | Function::MinBy | Function::SortBy => Ok(Node::NULL),
    }
}

/// Calls a function that takes a reference, with the value of the reference on each element.
pub(super) fn call_by<'a>(
    function: Function,
    elements: &Elements<'_, 'a>,
    keys: Vec<Node<'a>>,
    budget: &Budget,
) -> FunctionResult<'a> {
    if function == Function::Map {
        return Ok(Node::list(keys));
    }
    let kind = keys.first().map(Node::kind);
    if let Some(wrong) = keys
        .iter()
        .find(|key| !matches!(key.kind(), Kind::Number | Kind::String) || Some(key.kind()) != kind)
    {
        return Err(FunctionError::Arguments(format!(
            "the values to order by must all be strings or all numbers, but one of them is {}",
            described(wrong.kind())
        )));
    }
    budget.take(sort_steps(keys.len()))?;
    let mut order: Vec<usize> = (0..keys.len()).collect();
    match function {
        Function::SortBy => order.sort_by(|left, right| compare_at(&keys, *left, *right)),
        // The first of several that are equal.
        Function::MaxBy => {
            order = order
                .into_iter()
                .reduce(
                    |best, next| if compare_at(&keys, next, best).is_gt() { next } else { best },
                )
                .into_iter()
                .collect();
        }
        _ => {
            order = order
                .into_iter()
                .reduce(
                    |best, next| if compare_at(&keys, next, best).is_lt() { next } else { best },
                )
                .into_iter()
                .collect();
        }
    }
    let mut nodes = order.into_iter().filter_map(|position| elements.get(position));
    Ok(if function == Function::SortBy {
        Node::list(nodes.collect())
    } else {
        nodes.next().unwrap_or(Node::NULL)
    })
}

fn compare_at(keys: &[Node<'_>], left: usize, right: usize) -> Ordering {
    match (keys.get(left), keys.get(right)) {
        (Some(left), Some(right)) => compare(left, right),
        _ => Ordering::Equal,
    }
}

/// Compares two strings by code points or two numbers by value.
fn compare(left: &Node<'_>, right: &Node<'_>) -> Ordering {
    match (left.as_number(), right.as_number()) {
        (Some(left), Some(right)) => number::compare(left, right).unwrap_or(Ordering::Equal),
        _ => left.as_text().cmp(&right.as_text()),
    }
}

/// Steps of sorting: n log n.
fn sort_steps(length: usize) -> usize {
    length * (1 + length.checked_ilog2().unwrap_or(0) as usize)
}

/// Returns a kind with its article.
pub(super) fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Boolean => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}

fn elements<'n, 'a>(
    node: &'n Node<'a>,
    budget: &Budget,
) -> Result<Elements<'n, 'a>, BudgetExceeded> {
    let elements = node.as_elements().unwrap_or(Elements::Json(&[]));
    budget.take(elements.len())?;
    Ok(elements)
}

fn round<'a>(function: Function, node: &Node<'a>) -> Node<'a> {
    let Some(value) = node.as_number() else { return Node::NULL };
    let rounded = match (value.as_i64(), value.as_f64()) {
        (Some(whole), _) if function == Function::Abs => Some(Number::from(whole.unsigned_abs())),
        _ if !value.is_f64() => Some(value.clone()),
        (_, Some(float)) => number::from_f64(match function {
            Function::Abs => float.abs(),
            Function::Ceil => float.ceil(),
            _ => float.floor(),
        }),
        _ => None,
    };
    rounded.map_or(Node::NULL, Node::Number)
}

fn total<'a>(function: Function, list: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let elements = elements(list, budget)?;
    let sum: f64 = elements.iter().filter_map(|node| node.as_number()?.as_f64()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a list has less than 2^53 elements")]
    let value = match function {
        Function::Avg if elements.len() == 0 => return Ok(Node::NULL),
        Function::Avg => sum / elements.len() as f64,
        _ => sum,
    };
    number::from_f64(value)
        .map(Node::Number)
        .ok_or_else(|| FunctionError::Arguments("the sum is too large for a number".to_owned()))
}

fn contains<'a>(subject: &Node<'a>, part: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    if let Some(text) = subject.as_text() {
        budget.take_text(text.len())?;
        return Ok(Node::Bool(part.as_text().is_some_and(|part| {
            memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
        })));
    }
    for element in elements(subject, budget)?.iter() {
        if element.equals(part, budget)? {
            return Ok(Node::Bool(true));
        }
    }
    Ok(Node::Bool(false))
}

fn affix<'a>(function: Function, subject: &Node<'a>, affix: &Node<'a>) -> Node<'a> {
    let (text, affix) =
        (subject.as_text().unwrap_or_default(), affix.as_text().unwrap_or_default());
    Node::Bool(if function == Function::StartsWith {
        text.starts_with(affix)
    } else {
        text.ends_with(affix)
    })
}

fn join<'a>(glue: &Node<'a>, list: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let glue = glue.as_text().unwrap_or_default();
    let mut joined = String::new();
    for (position, element) in elements(list, budget)?.iter().enumerate() {
        let text = element.as_text().unwrap_or_default();
        budget.take_text(text.len() + glue.len())?;
        if position > 0 {
            joined.push_str(glue);
        }
        joined.push_str(text);
    }
    Ok(Node::text_from(joined))
}

/// `split(text, by[, max])` of GorillaStack's dialect. With a maximum, the last part is the remainder; if the text has
/// fewer parts, that is an empty string. The maximum 0 splits nothing, and a negative one everything.
fn split<'a>(arguments: &[Node<'a>], budget: &Budget) -> FunctionResult<'a> {
    let text = arguments.first().and_then(Node::as_text).unwrap_or_default();
    let by = arguments.get(1).and_then(Node::as_text).unwrap_or_default();
    let max = arguments.get(2).and_then(Node::as_number).and_then(Number::as_f64);
    budget.take_text(text.len())?;
    let mut parts: Vec<String> = if by.is_empty() {
        text.chars().map(String::from).collect()
    } else {
        text.split(by).map(str::to_owned).collect()
    };
    budget.take(parts.len())?;
    match max {
        Some(0.0) => parts = vec![text.to_owned()],
        Some(max) if max > 0.0 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates"
            )]
            let kept = ((max - 1.0) as usize).min(parts.len());
            let remainder = parts.split_off(kept).join(by);
            parts.push(remainder);
        }
        _ => {}
    }
    Ok(Node::list(parts.into_iter().map(Node::text_from).collect()))
}

fn reverse<'a>(node: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    if let Some(text) = node.as_text() {
        budget.take(text.len())?;
        return Ok(Node::text_from(text.chars().rev().collect::<String>()));
    }
    let mut reversed: Vec<Node<'a>> = elements(node, budget)?.iter().collect();
    reversed.reverse();
    Ok(Node::list(reversed))
}

fn objects<'a>(function: Function, arguments: &[Node<'a>], budget: &Budget) -> FunctionResult<'a> {
    let mut merged: Vec<(Rc<str>, Node<'a>)> = Vec::new();
    let mut positions: HashMap<Rc<str>, usize> = HashMap::new();
    for argument in arguments {
        budget.take(argument.entry_count())?;
        for (key, node) in argument.entries() {
            if let Some(entry) = positions.get(&key).and_then(|position| merged.get_mut(*position))
            {
                entry.1 = node;
            } else {
                positions.insert(Rc::clone(&key), merged.len());
                merged.push((key, node));
            }
        }
    }
    Ok(match function {
        Function::Keys => Node::list(merged.into_iter().map(|(key, _)| Node::Text(key)).collect()),
        Function::Values => Node::list(merged.into_iter().map(|(_, node)| node).collect()),
        _ => Node::Object(Rc::new(merged)),
    })
}

fn length(node: &Node<'_>) -> usize {
    match (node.as_text(), node.as_elements()) {
        (Some(text), _) => text.chars().count(),
        (_, Some(elements)) => elements.len(),
        _ => node.entry_count(),
    }
}

fn extreme<'a>(function: Function, list: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let elements = elements(list, budget)?;
    let best = elements.iter().reduce(|best, next| {
        let order = compare(&next, &best);
        let is_better = if function == Function::Max { order.is_gt() } else { order.is_lt() };
        if is_better { next } else { best }
    });
    Ok(best.unwrap_or(Node::NULL))
}

fn sort<'a>(list: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let elements = elements(list, budget)?;
    budget.take(sort_steps(elements.len()))?;
    let mut sorted: Vec<Node<'a>> = elements.iter().collect();
    sorted.sort_by(compare);
    Ok(Node::list(sorted))
}

fn to_json<'a>(node: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let mut text = String::new();
    node.write_json(&mut text, budget)?;
    Ok(Node::text_from(text))
}

fn parse_json<'a>(node: &Node<'a>, budget: &Budget) -> FunctionResult<'a> {
    let text = node.as_text().unwrap_or_default();
    // A parsed value is larger than its text.
    budget.take(text.len())?;
    let value: Value = serde_json::from_str(text)
        .map_err(|cause| FunctionError::Arguments(format!("the text is not JSON: {cause}")))?;
    Ok(Node::from_value(value))
}

fn to_number<'a>(node: &Node<'a>) -> Node<'a> {
    match node.as_text() {
        Some(text) => number::from_text(text).map_or(Node::NULL, Node::Number),
        None if node.kind() == Kind::Number => node.clone(),
        None => Node::NULL,
    }
}
