//! Random expressions on random events, against the interpreter of the `jmespath` crate.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::super::Expression;

/// Keys and texts are from a small alphabet, so that paths lead somewhere and comparisons hold. Keys are sorted, because
/// the crate orders them.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i8..4).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(-1.5), Just(1.0)].prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "'[ab]{0,2}'",
        "`(0|1|-2|0.5|true|false|null|\\[\\]|\\{\\}|\"a\"|\\[1,2\\]|\\{\"a\":1\\})`",
    ]
}

/// The forms that take one expression; `{}` is its place.
const UNARY: [&str; 37] = [
    "!{}",
    "({})",
    "{}.a",
    "{}.b",
    "{}[0]",
    "{}[-1]",
    "{}[1:]",
    "{}[::-1]",
    "{}[:2]",
    "{}[-5:5:2]",
    "{}[*]",
    "{}[*].a",
    "{}[]",
    "{}[].b",
    "{}.*",
    "{}.*.a",
    "{} | a",
    "{} | [0]",
    "{}[?a]",
    "{}[?a == b]",
    "{}[?@ > `0`].c",
    "[{}, a]",
    "{x: {}, y: b}",
    "length({})",
    "keys({})",
    "values({})",
    "type({})",
    "to_array({})",
    "to_string({})",
    "reverse({})",
    "sort({})",
    "max({})",
    "min({})",
    "sum({})",
    "avg({})",
    "map(&a, {})",
    "sort_by({}, &a)",
];

const BINARY: [&str; 12] = [
    "{} == {}",
    "{} != {}",
    "{} < {}",
    "{} >= {}",
    "{} && {}",
    "{} || {}",
    "contains({}, {})",
    "starts_with({}, {})",
    "ends_with({}, {})",
    "join({}, {})",
    "merge({}, {})",
    "not_null({}, {})",
];

fn any_expression() -> impl Strategy<Value = String> {
    expression_of(prop_oneof!["[abc]", Just("@".to_owned()), "[abc]\\.[abc]", literal()])
}

/// Returns expressions that consist of these ones.
pub(super) fn expression_of(
    leaf: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (prop::sample::select(&UNARY[..]), inner.clone())
                .prop_map(|(form, inner)| form.replacen("{}", &inner, 1)),
            (prop::sample::select(&BINARY[..]), inner.clone(), inner).prop_map(
                |(form, left, right)| form.replacen("{}", &left, 1).replacen("{}", &right, 1)
            ),
        ]
    })
}

/// Evaluates with the crate; `None` for a run-time error.
fn with_crate(expression: &jmespath::Expression<'_>, event: &Value) -> Option<Value> {
    let variable = jmespath::Variable::try_from(event).unwrap();
    let mut context = jmespath::Context::new(expression.as_str(), &jmespath::DEFAULT_RUNTIME);
    let result = jmespath::interpret(&Rc::new(variable), expression.as_ast(), &mut context).ok()?;
    Some(serde_json::to_value(&*result).unwrap())
}

/// Compares numbers by value, and objects in any order.
fn equals(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equals(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equals(value, other)))
        }
        _ => left == right,
    }
}

/// Returns whether the crate's result may differ: it writes numbers as Rust does (`1.0`), and has no average of an empty
/// list.
fn may_differ(expression: &str) -> bool {
    expression.contains("to_string(") || expression.contains("avg(")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn results_equal_those_of_another_implementation(text in any_expression(), event in any_value()) {
        let (Ok(theirs), Ok(ours)) = (jmespath::compile(&text), Expression::parse(&text)) else {
            // Refused by one of them: grammar is the same, our limits and checks of functions are stricter.
            prop_assume!(jmespath::compile(&text).is_ok() || Expression::parse(&text).is_err(), "{}", text);
            return Ok(());
        };
        let expected = with_crate(&theirs, &event);
        let found = ours.evaluate(&event).ok().map(|node| node.to_value());
        let is_equal = match (&found, &expected) {
            (Some(found), Some(expected)) => equals(found, expected),
            _ => found.is_none() && expected.is_none(),
        };
        prop_assert!(is_equal || may_differ(&text), "{} on {}: {:?}, the crate {:?}", text, event, found, expected);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[abc@.*!&|()\\[\\]{}:,?'`\"=<> 0-2-]{0,30}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&Value::Null);
            let _ = expression.lints();
        }
    }
}
