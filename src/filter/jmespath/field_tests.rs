//! Which tests of single fields an expression requires.
//!
//! Input: a syntax tree that is evaluated on the view of an event that rules see. Output: [`Requirement`]s.
//! Invariant: on an event on which each test of one of the requirements is rejected, the expression has a result that is
//! false in JMESPath and in JavaScript. Where a test means that the evaluation fails, it does.
//!
//! A function that fails decides about parts of an expression that stand before it. So a requirement of `b` in `a && b` has
//! further tests that tell where `a` fails.

use serde_json::Value;

use super::{
    node::Node,
    possible_kinds::possible_kinds,
    signature::{Function, Kinds, Signature},
    syntax_tree::{Comparator, Expr, Field},
};
use crate::filter::{
    eventbridge::{DETAIL, FLAT, is_envelope_field},
    field_test::{
        Case, FieldPath, FieldTest, OnNull, OnOther, PathStep, Requirement, TextOperand, TextTest,
    },
    flat,
};

/// Returns the requirements of an expression. It has to meet all of them.
pub(super) fn requirements(expr: &Expr) -> Vec<Requirement> {
    required(expr, Place::First)
}

/// Where in the order of evaluation a part of an expression is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// It is evaluated first, and always.
    First,
    /// Others may be evaluated before it, or instead of it.
    Later,
}

impl Place {
    fn on_failure(self) -> OnNull {
        match self {
            Self::First => OnNull::Fails,
            Self::Later => OnNull::Undecided,
        }
    }
}

fn required(expr: &Expr, place: Place) -> Vec<Requirement> {
    match expr {
        Expr::And(parts) => required_by_all(parts, place),
        Expr::Or(parts) => required_by_one(parts, place).into_iter().collect(),
        Expr::Comparison { comparator, left, right } => {
            compared(*comparator, left, right, place).into_iter().map(|test| vec![test]).collect()
        }
        Expr::Call { function, arguments, .. } => {
            let tests = called(*function, arguments, place);
            tests.or_else(|| absent(expr, place).map(|test| vec![test])).into_iter().collect()
        }
        _ => absent(expr, place).into_iter().map(|test| vec![test]).collect(),
    }
}

/// Returns the requirements of the parts of `a && b`. `a && b` is `a` where `a` is an empty array or object, and that is
/// true in JavaScript whatever `b` is; so parts behind one that can be such a value require nothing.
fn required_by_all(parts: &[Expr], place: Place) -> Vec<Requirement> {
    let mut all = Vec::new();
    let mut guards = Vec::new();
    let mut place = place;
    for part in parts {
        for mut requirement in required(part, place) {
            requirement.extend(guards.iter().cloned());
            all.push(requirement);
        }
        if possible_kinds(part).intersects(Kinds::ARRAY.or(Kinds::OBJECT)) {
            break;
        }
        let Some(tests) = failures(part, place) else { break };
        guards.extend(tests);
        place = Place::Later;
    }
    all
}

/// Returns the requirement that one of the parts has a requirement that is met.
fn required_by_one(parts: &[Expr], place: Place) -> Option<Requirement> {
    let mut either = Vec::new();
    let mut place = place;
    for part in parts {
        either.extend(required(part, place).into_iter().min_by_key(breadth)?);
        place = Place::Later;
    }
    Some(either)
}

/// Returns how many events a requirement probably lets pass: the smaller, the fewer.
fn breadth(requirement: &Requirement) -> usize {
    requirement
        .iter()
        .map(|test| match test.test {
            TextTest::Never => 1,
            TextTest::Equals(_) => 2,
            TextTest::StartsWith(_) | TextTest::EndsWith(_) | TextTest::Contains(_) => 3,
            TextTest::Any => 100,
        })
        .sum()
}

/// Returns the tests of a part that tell where its evaluation may fail: none if it never fails, and `None` if fields alone
/// do not tell.
fn failures(expr: &Expr, place: Place) -> Option<Vec<FieldTest>> {
    if !can_fail(expr) {
        return Some(Vec::new());
    }
    match expr {
        Expr::Not(inner) => failures(inner, place),
        Expr::And(parts) | Expr::Or(parts) => {
            let mut tests = Vec::new();
            let mut place = place;
            for part in parts {
                tests.extend(failures(part, place)?);
                place = Place::Later;
            }
            Some(tests)
        }
        Expr::Comparison { left, right, .. } => {
            let mut tests = failures(left, place)?;
            tests.extend(failures(right, Place::Later)?);
            Some(tests)
        }
        Expr::Call { function, arguments, .. } => failures_of_call(*function, arguments, place),
        _ => None,
    }
}

fn failures_of_call(
    function: Function,
    arguments: &[Expr],
    place: Place,
) -> Option<Vec<FieldTest>> {
    // Others may fail for what is in their arguments.
    if !matches!(
        function,
        Function::Contains | Function::StartsWith | Function::EndsWith | Function::Length
    ) {
        return None;
    }
    let signature = Signature::of(function);
    let mut tests = Vec::new();
    for (position, argument) in arguments.iter().enumerate() {
        let parameter = signature.parameter(position)?;
        if let Expr::Literal(value) = argument {
            if parameter.accepts(&Node::Json(value)) {
                continue;
            }
            return None;
        }
        let (path, default) = field_with_default(argument)?;
        let accepts = |kinds| parameter.kinds().intersects(kinds);
        let accepts_null = match default {
            Some(default) => parameter.accepts(&Node::Json(default)),
            None => accepts(Kinds::NULL),
        };
        tests.push(FieldTest {
            path,
            test: if accepts(Kinds::STRING) { TextTest::Never } else { TextTest::Any },
            on_null: match (accepts_null, position) {
                (true, _) => OnNull::Rejected,
                (false, 0) => place.on_failure(),
                (false, _) => OnNull::Undecided,
            },
            on_other: if parameter.kinds() == Kinds::ANY {
                OnOther::Rejected
            } else {
                OnOther::Undecided
            },
        });
    }
    Some(tests)
}

/// Returns whether an evaluation may fail for the kinds of values; it may always do too much work.
fn can_fail(expr: &Expr) -> bool {
    match expr {
        Expr::Call { function, arguments, .. } => {
            let never_fails = match function {
                Function::NotNull
                | Function::Type
                | Function::ToString
                | Function::ToArray
                | Function::ToNumber
                | Function::ToJson => true,
                Function::Contains => {
                    matches!(
                        arguments.first(),
                        Some(Expr::Literal(Value::Array(_) | Value::String(_)))
                    )
                }
                _ => false,
            };
            !never_fails || arguments.iter().any(can_fail)
        }
        Expr::Current | Expr::Path(_) | Expr::Index(_) | Expr::Slice { .. } | Expr::Literal(_) => {
            false
        }
        Expr::Chain(parts) | Expr::Or(parts) | Expr::And(parts) | Expr::List(parts) => {
            parts.iter().any(can_fail)
        }
        Expr::Not(inner) | Expr::Flatten(inner) | Expr::Values(inner) | Expr::Reference(inner) => {
            can_fail(inner)
        }
        Expr::Comparison { left, right, .. } => can_fail(left) || can_fail(right),
        Expr::Condition { predicate, then } => can_fail(predicate) || can_fail(then),
        Expr::Projection { list, each } => can_fail(list) || can_fail(each),
        Expr::Object(entries) => entries.iter().any(|(_, value)| can_fail(value)),
    }
}

/// Returns what a comparison requires of a field.
fn compared(comparator: Comparator, left: &Expr, right: &Expr, place: Place) -> Option<FieldTest> {
    let literal = match (left, right) {
        (field, Expr::Literal(value)) | (Expr::Literal(value), field) => {
            field_path(field).map(|path| (path, value))
        }
        _ => None,
    };
    match (comparator, literal) {
        (Comparator::NotEqual, _) | (Comparator::Equal, Some((_, Value::Null))) => {
            failing(left, place)
        }
        (Comparator::Equal, Some((path, Value::String(text)))) => Some(FieldTest {
            path,
            test: TextTest::Equals(respecting_case(text)),
            on_null: OnNull::Rejected,
            on_other: OnOther::Rejected,
        }),
        // Text equals no other value, and only numbers have an order.
        (_, Some((path, _))) => Some(FieldTest {
            path,
            test: TextTest::Never,
            on_null: OnNull::Rejected,
            on_other: OnOther::Undecided,
        }),
        (Comparator::Equal, None) => match (left, right) {
            (Expr::Literal(value), other) | (other, Expr::Literal(value)) if !value.is_null() => {
                null_source(other).map(FieldTest::present).or_else(|| failing(left, place))
            }
            _ => failing(left, place),
        },
        (_, None) => null_source(left)
            .map(FieldTest::present)
            .or_else(|| failing(left, place))
            .or_else(|| null_source(right).filter(|_| !can_fail(left)).map(FieldTest::present)),
    }
}

/// Returns what a call of a function that compares text requires of a field.
fn called(function: Function, arguments: &[Expr], place: Place) -> Option<Requirement> {
    let [subject, operand] = arguments else { return None };
    if let (Function::Contains, Expr::Literal(Value::Array(items))) = (function, subject) {
        return contained(items, operand);
    }
    if let (Function::Contains, Expr::List(items)) = (function, subject) {
        let items: Option<Vec<Value>> = items
            .iter()
            .map(|item| match item {
                Expr::Literal(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        return contained(&items?, operand);
    }
    let Expr::Literal(Value::String(text)) = operand else { return None };
    let (path, default) = field_with_default(subject)?;
    let (test, passes): (_, fn(&str, &str) -> bool) = match function {
        Function::Contains => {
            (TextTest::Contains(respecting_case(text)), |subject, text| subject.contains(text))
        }
        Function::StartsWith => {
            (TextTest::StartsWith(respecting_case(text)), |subject, text| subject.starts_with(text))
        }
        Function::EndsWith => {
            (TextTest::EndsWith(respecting_case(text)), |subject, text| subject.ends_with(text))
        }
        _ => return None,
    };
    let on_null = match default {
        None => place.on_failure(),
        Some(Value::String(default)) if !passes(default, text) => OnNull::Rejected,
        Some(Value::Array(items)) if items.is_empty() && function == Function::Contains => {
            OnNull::Rejected
        }
        Some(_) => OnNull::Undecided,
    };
    let test = if text.is_empty() { TextTest::Any } else { test };
    Some(vec![FieldTest { path, test, on_null, on_other: OnOther::Undecided }])
}

/// Returns what `contains(['a', 'b'], field)` requires of the field.
fn contained(items: &[Value], field: &Expr) -> Option<Requirement> {
    let path = field_path(field)?;
    let on_null =
        if items.iter().any(Value::is_null) { OnNull::Undecided } else { OnNull::Rejected };
    let on_other =
        if items.iter().all(Value::is_string) { OnOther::Rejected } else { OnOther::Undecided };
    let texts = items.iter().filter_map(Value::as_str);
    let mut tests: Requirement = texts
        .map(|text| FieldTest {
            path: path.clone(),
            test: TextTest::Equals(respecting_case(text)),
            on_null,
            on_other,
        })
        .collect();
    if tests.is_empty() {
        tests.push(FieldTest { path, test: TextTest::Never, on_null, on_other });
    }
    Some(tests)
}

/// Returns the test that tells where an expression is null or fails because a field is missing.
fn absent(expr: &Expr, place: Place) -> Option<FieldTest> {
    null_source(expr).map(FieldTest::present).or_else(|| failing(expr, place))
}

/// Returns the test that tells where an expression fails because the field that it looks at first is missing.
fn failing(expr: &Expr, place: Place) -> Option<FieldTest> {
    let first = match expr {
        Expr::Not(inner) | Expr::Flatten(inner) | Expr::Values(inner) => inner,
        Expr::And(parts) | Expr::Or(parts) | Expr::Chain(parts) => parts.first()?,
        Expr::Comparison { left, .. } => left,
        Expr::Projection { list, .. } => list,
        Expr::Call { function, arguments, .. } => {
            let signature = Signature::of(*function);
            for (position, argument) in arguments.iter().enumerate() {
                let parameter = signature.parameter(position)?;
                match argument {
                    Expr::Literal(value) if parameter.accepts(&Node::Json(value)) => {}
                    _ => {
                        let accepts_null = parameter.accepts(&Node::NULL);
                        return null_source(argument)
                            .filter(|_| !accepts_null)
                            .map(|path| FieldTest {
                                on_null: place.on_failure(),
                                ..FieldTest::present(path)
                            })
                            .or_else(|| failing(argument, place));
                    }
                }
            }
            return None;
        }
        _ => return None,
    };
    failing(first, place)
}

/// Returns the field without which an expression is null, whatever other fields are.
fn null_source(expr: &Expr) -> Option<FieldPath> {
    match expr {
        Expr::Path(_) => field_path(expr),
        Expr::Projection { list: inner, .. } | Expr::Flatten(inner) | Expr::Values(inner) => {
            null_source(inner)
        }
        Expr::Chain(parts) => {
            let (first, rest) = parts.split_first()?;
            field_path(expr)
                .or_else(|| rest.iter().all(is_null_on_null).then(|| null_source(first)).flatten())
        }
        _ => None,
    }
}

/// Returns whether the result on null is null.
fn is_null_on_null(expr: &Expr) -> bool {
    match expr {
        Expr::Current
        | Expr::Path(_)
        | Expr::Index(_)
        | Expr::Slice { .. }
        | Expr::List(_)
        | Expr::Object(_) => true,
        Expr::Projection { list: inner, .. } | Expr::Flatten(inner) | Expr::Values(inner) => {
            is_null_on_null(inner)
        }
        Expr::Chain(parts) => parts.iter().all(is_null_on_null),
        _ => false,
    }
}

/// Returns the path of a field, and the value that `not_null(field, value)` has without it.
fn field_with_default(expr: &Expr) -> Option<(FieldPath, Option<&Value>)> {
    match expr {
        Expr::Call { function: Function::NotNull, arguments, .. } => match &arguments[..] {
            [field, Expr::Literal(default)] if !default.is_null() => {
                Some((field_path(field)?, Some(default)))
            }
            _ => None,
        },
        _ => Some((field_path(expr)?, None)),
    }
}

/// Returns the path of a field of the event, if an expression is nothing else.
fn field_path(expr: &Expr) -> Option<FieldPath> {
    match expr {
        Expr::Path(fields) => match &fields[..] {
            [view, rest @ ..] if view.name == DETAIL && !rest.is_empty() => {
                Some(members(rest).collect())
            }
            [view, key] if view.name == FLAT => flat::field_path(&key.name),
            _ => None,
        },
        Expr::Chain(parts) => {
            let (first, rest) = parts.split_first()?;
            // An element of the flat view is no field.
            let Expr::Path(fields) = first else { return None };
            fields.first().filter(|view| view.name == DETAIL)?;
            let mut path = field_path(first)?;
            for part in rest {
                match part {
                    Expr::Path(fields) => path.extend(members(fields)),
                    Expr::Index(index) => {
                        path.push(PathStep::Element(usize::try_from(*index).ok()?));
                    }
                    _ => return None,
                }
            }
            Some(path)
        }
        _ => None,
    }
}

fn members(fields: &[Field]) -> impl Iterator<Item = PathStep> {
    fields.iter().map(|field| PathStep::Member(field.name.clone()))
}

fn respecting_case(text: &str) -> TextOperand {
    TextOperand { text: text.to_owned(), case: Case::Respected }
}

/// Returns the keys of the flat view that an expression looks at, or `None` if it may look at the view as a whole.
pub(super) fn flat_keys(expr: &Expr) -> Option<Vec<&str>> {
    let mut keys = Vec::new();
    collect_flat_keys(expr, &mut keys).then_some(keys)
}

/// Returns whether the keys are all that the expression looks at in the flat view.
fn collect_flat_keys<'e>(expr: &'e Expr, keys: &mut Vec<&'e str>) -> bool {
    match expr {
        Expr::Path(fields) => match &fields[..] {
            [view] => view.name != FLAT,
            [view, key, ..] => {
                if view.name == FLAT {
                    keys.push(&key.name);
                }
                true
            }
            [] => true,
        },
        Expr::Current | Expr::Index(_) | Expr::Slice { .. } | Expr::Literal(_) => true,
        Expr::Chain(parts) | Expr::Or(parts) | Expr::And(parts) | Expr::List(parts) => {
            parts.iter().all(|part| collect_flat_keys(part, keys))
        }
        Expr::Not(inner) | Expr::Flatten(inner) | Expr::Values(inner) | Expr::Reference(inner) => {
            collect_flat_keys(inner, keys)
        }
        Expr::Comparison { left, right, .. } => {
            collect_flat_keys(left, keys) && collect_flat_keys(right, keys)
        }
        Expr::Condition { predicate, then } => {
            collect_flat_keys(predicate, keys) && collect_flat_keys(then, keys)
        }
        Expr::Projection { list, each } => {
            collect_flat_keys(list, keys) && collect_flat_keys(each, keys)
        }
        Expr::Object(entries) => entries.iter().all(|(_, value)| collect_flat_keys(value, keys)),
        Expr::Call { arguments, .. } => {
            arguments.iter().all(|argument| collect_flat_keys(argument, keys))
        }
    }
}

/// Returns whether an expression may look at a field that EventBridge adds to an event.
pub(super) fn looks_at_envelope(expr: &Expr) -> bool {
    match expr {
        Expr::Path(fields) => fields.first().is_some_and(|field| is_envelope_field(&field.name)),
        Expr::Current | Expr::Index(_) | Expr::Slice { .. } | Expr::Literal(_) => false,
        Expr::Chain(parts) | Expr::Or(parts) | Expr::And(parts) | Expr::List(parts) => {
            parts.iter().any(looks_at_envelope)
        }
        Expr::Not(inner) | Expr::Flatten(inner) | Expr::Values(inner) | Expr::Reference(inner) => {
            looks_at_envelope(inner)
        }
        Expr::Comparison { left, right, .. } => looks_at_envelope(left) || looks_at_envelope(right),
        Expr::Condition { predicate, then } => {
            looks_at_envelope(predicate) || looks_at_envelope(then)
        }
        Expr::Projection { list, each } => looks_at_envelope(list) || looks_at_envelope(each),
        Expr::Object(entries) => entries.iter().any(|(_, value)| looks_at_envelope(value)),
        Expr::Call { arguments, .. } => arguments.iter().any(looks_at_envelope),
    }
}
