//! What is refused, where, and with which words; and that the work is bounded.

use std::time::{Duration, Instant};

use super::super::{EvaluationError, Expression};

fn error(text: &str) -> (usize, String) {
    let error = Expression::parse(text).unwrap_err();
    (error.offset, error.message)
}

#[test]
fn errors_name_the_place_and_what_is_expected() {
    for (text, offset, message) in [
        ("detail.type = 'Root'", 12, "`=` is not an operator"),
        ("nosuch(detail)", 0, "there is no function nosuch()"),
        ("a && startsWith(b, 'c')", 5, "there is no function startsWith()"),
        ("length(a, b)", 0, "length() takes 1 argument, not 2"),
        ("split('a')", 0, "split() takes 2 or 3 arguments, not 1"),
        ("detail.[", 8, "a field, a value or a function is expected here, not the end"),
        ("a b", 2, "an operator or the end is expected here, not `b`"),
        ("a == 'x", 5, "the closing `'` is missing"),
        ("a == `x`", 5, "the text in backticks is not JSON"),
        ("sort_by(a, b)", 11, "argument 2 of sort_by() is a reference such as &name"),
        ("a == §", 5, "`§` has no meaning here"),
        ("", 0, "a field, a value or a function is expected here, not the end"),
    ] {
        assert_eq!(error(text), (offset, message.to_owned()), "{text}");
    }
}

#[test]
fn a_misspelled_function_is_suggested() {
    let suggestion = |text| Expression::parse(text).unwrap_err().suggestion.unwrap();
    assert_eq!(suggestion("startsWith(a, 'b')"), "write starts_with()");
    assert_eq!(suggestion("parseJson(a)"), "write parse_json()");
    assert!(suggestion("regex(a)").starts_with("the functions are abs, avg, "));
}

#[test]
fn deep_and_long_expressions_are_refused_quickly() {
    for (repeated, end) in [
        ("(", ""),
        ("[", ""),
        ("!", "a"),
        ("! ", "a"),
        ("a[?", ""),
        ("&", "a"),
        ("[]", ""),
        ("*.", "*"),
        ("a[*].", "a"),
        ("{a:", ""),
        ("f(", ""),
        ("a==", "a"),
    ] {
        for count in [100, 500, 5_000] {
            let text = format!("{}{end}", repeated.repeat(count));
            let started = Instant::now();
            let _ = Expression::parse(&text);
            assert!(started.elapsed() < Duration::from_secs(1), "{repeated} × {count}");
        }
    }
    for (text, sequence) in [("detail", ".a"), ("a", "|b"), ("a", "||b"), ("a", " && b")] {
        let text = format!("{text}{}", sequence.repeat(600));
        let expression = Expression::parse(&text).unwrap();
        assert!(expression.evaluate(&serde_json::Value::Null).unwrap().is_null());
    }
}

#[test]
fn an_expression_that_explodes_ends_with_an_error() {
    let event = serde_json::json!({ "a": vec![1; 1000], "t": "x".repeat(1000) });
    for text in [
        format!("a{}", " | [@,@][]".repeat(60)),
        format!("@{} | to_json(@)", " | [@,@]".repeat(60)),
        format!("@{} | @ == [@]", " | [@,@]".repeat(60)),
        format!("t{}", " | join('', [@,@])".repeat(100)),
        "a[*].[@][].[@][]".to_owned(),
        format!("[a,a]{}", " | [@,@] | [0][] | [@,@][]".repeat(40)),
    ] {
        let started = Instant::now();
        let expression = Expression::parse(&text).unwrap();
        match expression.evaluate(&event) {
            Err(EvaluationError::TooExpensive) | Ok(_) => {}
            Err(error) => panic!("{text}: {error}"),
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{text}");
    }
    let doubling = format!("a{}", " | [@,@][]".repeat(60));
    let expression = Expression::parse(&doubling).unwrap();
    assert_eq!(expression.evaluate(&event).unwrap_err(), EvaluationError::TooExpensive);
}

#[test]
fn a_missing_field_in_a_function_is_named() {
    let event = serde_json::json!({});
    let expression = Expression::parse("a || starts_with(b.c, 'x')").unwrap();
    let error = expression.evaluate(&event).unwrap_err();
    assert_eq!(
        error.to_string(),
        "starts_with() takes string as argument 1, and the event has null"
    );
    assert!(matches!(error, EvaluationError::Function { offset: 5, .. }));
}
