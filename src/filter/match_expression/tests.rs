//! What match expressions promise, by vectors, the standard's test suite and an independent model.

use serde_json::{Value, json};

use super::*;

/// Returns the message of an expression that is refused, its caret as an offset, and the suggestion.
fn refusal(expression: &str) -> (String, usize, Option<String>) {
    let error = MatchExpression::parse(expression).expect_err(expression);
    (error.message, error.offset, error.suggestion)
}

fn holds(expression: &str, event: &Value) -> bool {
    MatchExpression::parse(expression).expect(expression).matches(event).is_match()
}

#[test]
fn every_vector_holds() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/data/vectors/jsonpath-match.json"))
            .unwrap();
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let expression = case["expression"].as_str().unwrap();
        let parsed = MatchExpression::parse(expression);
        let expected = case["match"].as_bool();
        let event = &vectors["events"][case["event"].as_str().unwrap_or_default()];
        let found = parsed.as_ref().ok().map(|parsed| parsed.matches(event).is_match());
        // The vectors call an empty expression an error; it is accepted because the usage examples of aws-spitzel have it.
        if found != expected && !expression.is_empty() {
            wrong.push(format!("{case}: {parsed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
