//! When a JSON value counts as true.
//!
//! Input: a value. Output: its truth in JavaScript, which decides about the result of a whole expression, or in JMESPath,
//! which decides inside an expression (`!`, `&&`, `||`, filters).
//! Invariant: pure. Both agree on null, booleans and strings. They differ on numbers (0 is true in JMESPath) and on empty
//! arrays and objects (false in JMESPath).

use serde_json::{Number, Value};

/// Returns whether JavaScript's `Boolean(value)` is true: everything but null, `false`, 0 and the empty string.
pub fn is_true_in_javascript(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(boolean) => *boolean,
        Value::Number(number) => is_nonzero(number),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Returns whether JMESPath takes a value as true: everything but null, `false` and empty strings, arrays and objects.
pub fn is_true_in_jmespath(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(boolean) => *boolean,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// Returns whether a number is neither 0 nor -0.
pub fn is_nonzero(number: &Number) -> bool {
    number.as_f64() != Some(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of `tests/data/vectors/truthiness.json`.
    #[derive(serde::Deserialize)]
    struct Case {
        json: String,
        javascript: bool,
        jmespath: bool,
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }

    #[test]
    fn every_vector_has_the_truth_of_both_languages() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../../tests/data/vectors/truthiness.json")).unwrap();
        assert!(!vectors.cases.is_empty());
        for Case { json, javascript, jmespath } in vectors.cases {
            let Ok(value) = serde_json::from_str::<Value>(&json) else {
                assert_eq!(
                    json, "1e400",
                    "only a number that no f64 holds is not JSON for this program"
                );
                continue;
            };
            assert_eq!(is_true_in_javascript(&value), javascript, "JavaScript: {json}");
            assert_eq!(is_true_in_jmespath(&value), jmespath, "JMESPath: {json}");
        }
    }
}
