//! The compliance suite of JMESPath.

use serde_json::Value;

use super::super::Expression;

#[derive(serde::Deserialize)]
struct Suite {
    given: Value,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    expression: String,
    #[serde(default)]
    result: Value,
    error: Option<String>,
    bench: Option<String>,
}

/// Cases with a result of our own, and why it differs.
const DIFFERENCES: [(&str, &str); 0] = [];

/// Returns what is wrong with a case, if anything.
fn failure(given: &Value, case: &Case) -> Option<String> {
    let expression = match Expression::parse(&case.expression) {
        Ok(expression) => expression,
        Err(_) if case.error.is_some() => return None,
        Err(error) => return Some(format!("{}: {error}\n{}", case.expression, error.caret())),
    };
    match (expression.evaluate(given), &case.error) {
        (Err(_), Some(_)) => None,
        (Ok(node), None)
            if node.to_value() == case.result || equals(&node.to_value(), &case.result) =>
        {
            None
        }
        (result, _) => Some(format!(
            "{}: {:?}, expected {:?} {}",
            case.expression,
            result.map(|node| node.to_value()),
            case.error,
            case.result
        )),
    }
}

/// Compares numbers by value.
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

#[test]
fn every_case_of_the_compliance_suite_passes() {
    let files: serde_json::Map<String, Value> = serde_json::from_str(include_str!(
        "../../../../tests/data/vectors/jmespath-compliance.json"
    ))
    .unwrap();
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, suites) in files {
        let suites: Vec<Suite> = serde_json::from_value(suites).unwrap();
        for Suite { given, cases } in suites {
            for case in cases.iter().filter(|case| case.bench.is_none()) {
                count += 1;
                let is_known =
                    DIFFERENCES.iter().any(|(expression, _)| *expression == case.expression);
                match failure(&given, case) {
                    Some(failure) if !is_known => failures.push(format!("{file}: {failure}")),
                    None if is_known => {
                        failures.push(format!("{file}: {} passes now", case.expression));
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(count, 892);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
