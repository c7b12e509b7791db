//! The vectors of GorillaStack's dialect: what its own library returns.

use serde_json::{Map, Value};

use super::super::Expression;

#[derive(serde::Deserialize)]
struct Vectors {
    events: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    expression: String,
    event: String,
    result: Option<Value>,
    error: Option<String>,
    fires: Option<bool>,
}

fn check(case: &Case, event: &Value) -> Result<(), String> {
    let parsed = Expression::parse(&case.expression);
    match (case.error.as_deref(), parsed) {
        (Some("compile"), Err(_)) => Ok(()),
        (_, Err(error)) => Err(format!("{error}\n{}", error.caret())),
        (Some("compile"), Ok(_)) => Err("is not refused".to_owned()),
        (Some(_), Ok(expression)) => match expression.evaluate(event) {
            Err(_) => Ok(()),
            Ok(node) => Err(format!("{:?} instead of an error", node.to_value())),
        },
        (None, Ok(expression)) => {
            let node = expression.evaluate(event).map_err(|error| error.to_string())?;
            let (value, fires) = (node.to_value(), node.is_true_in_javascript());
            if value != case.result.clone().unwrap_or_default() {
                return Err(format!("{value} instead of {:?}", case.result));
            }
            if Some(fires) == case.fires { Ok(()) } else { Err(format!("fires: {fires}")) }
        }
    }
}

#[test]
fn every_vector_has_the_result_of_the_original_library() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../tests/data/vectors/jmespath.json")).unwrap();
    assert!(!vectors.cases.is_empty());
    let failures: Vec<String> = vectors
        .cases
        .iter()
        .filter_map(|case| {
            check(case, &vectors.events[&case.event])
                .err()
                .map(|error| format!("{} on {}: {error}", case.expression, case.event))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_view_of_an_event_has_the_results_of_the_delivered_event() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../tests/data/vectors/jmespath.json")).unwrap();
    for case in vectors
        .cases
        .iter()
        .filter(|case| case.expression.contains("detail") && case.error.is_none())
    {
        let Ok(expression) = Expression::parse(&case.expression) else { continue };
        let view =
            crate::filter::eventbridge::EventView::new(&vectors.events[&case.event]["detail"]);
        assert_eq!(
            expression.is_true(view).ok(),
            case.fires,
            "{} on {}",
            case.expression,
            case.event
        );
    }
}

/// Evaluates an expression on null.
fn result(expression: &str) -> Value {
    Expression::parse(expression).unwrap().evaluate(&Value::Null).unwrap().to_value()
}

#[test]
fn split_keeps_the_remainder_in_the_last_part() {
    for (expression, expected) in [
        ("split('a-b-c', '-')", serde_json::json!(["a", "b", "c"])),
        ("split('a-b-c', '-', `2`)", serde_json::json!(["a", "b-c"])),
        ("split('a-b-c', '-', `1`)", serde_json::json!(["a-b-c"])),
        ("split('a-b-c', '-', `0`)", serde_json::json!(["a-b-c"])),
        ("split('a-b-c', '-', `-1`)", serde_json::json!(["a", "b", "c"])),
        // As the original library has it.
        ("split('a-b', '-', `5`)", serde_json::json!(["a", "b", ""])),
        ("split('abc', '')", serde_json::json!(["a", "b", "c"])),
        ("split('', '-')", serde_json::json!([""])),
        ("split('', '')", serde_json::json!([])),
    ] {
        assert_eq!(result(expression), expected, "{expression}");
    }
}

#[test]
fn json_is_parsed_and_written_as_in_javascript() {
    assert_eq!(
        result("to_json(parse_json('{\"b\":[1.0,\"x\\u0001\"],\"a\":null}'))"),
        Value::from("{\"b\":[1,\"x\\u0001\"],\"a\":null}")
    );
    assert_eq!(result("to_json('a')"), Value::from("\"a\""));
    assert_eq!(result("to_string('a')"), Value::from("a"));
}
