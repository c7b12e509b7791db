//! What literals promise: they mean what Python or JSON means by them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Literal, SyntaxError> {
    Literal::parse(text, 0)
}

/// Returns the message, the offset and the suggestion for a text that is refused.
fn refusal(text: &str) -> (String, usize, String) {
    let error = parse(text).expect_err(text);
    (error.message, error.offset, error.suggestion.unwrap_or_default())
}

#[test]
fn python_reads_the_same() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/data/vectors/literals.json")).unwrap();
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        match (parse(text), case.get("value")) {
            (Ok(literal), Some(value)) if literal.equals(value) => {}
            (Err(error), None) if error.offset <= text.len() => {}
            (found, _) => wrong.push(format!("{case}: {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn json_spellings_are_read_as_well() {
    for (text, value) in [
        ("null", json!(null)),
        ("true", json!(true)),
        (r#"{"a": [true, null]}"#, json!({"a": [true, null]})),
        (r#""a\/b""#, json!("a/b")),
        (r#""\ud83d\ude00 \u00eb""#, json!("😀 ë")),
    ] {
        assert!(parse(text).unwrap().equals(&value), "{text}");
    }
}

#[test]
fn numbers_are_equal_by_value_and_exactly() {
    let equal =
        |text: &str, json: &str| parse(text).unwrap().equals(&serde_json::from_str(json).unwrap());
    for (text, json) in [
        ("1", "1.0"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("-0.0", "0"),
        ("0", "-0"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0x18ee90ff6c373e0ee4e3f0ad2", "123456789012345678901234567890"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1e22", "10000000000000000000000"),
    ] {
        assert!(equal(text, json), "{text} {json}");
    }
    for (text, json) in [
        ("9007199254740993", "9007199254740992"),
        ("9007199254740993", "9007199254740992.0"),
        ("9007199254740993.0", "9007199254740993"),
        ("1", "true"),
        ("0", "false"),
        ("1", "\"1\""),
        ("1000000000000000000000000000000000000000", "1e38"),
    ] {
        assert!(!equal(text, json), "{text} {json}");
    }
}

#[test]
fn errors_show_the_place_and_what_to_write() {
    for (text, offset, message, suggestion) in [
        ("Alice", 0, "a text must be in quotation marks", "write \"Alice\""),
        (
            "arn:aws:iam::1:user/x",
            0,
            "a text must be in quotation marks",
            "write \"arn:aws:iam::1:user/x\"",
        ),
        ("2024-01-31", 0, "a text must be in quotation marks", "write \"2024-01-31\""),
        ("10.0.0.1", 0, "this is no number", "write \"10.0.0.1\""),
        (
            "060862059283",
            0,
            "a number has no leading zeros, and an identifier is a text",
            "write \"060862059283\"",
        ),
        ("[a, b]", 1, "a text must be in quotation marks", "write \"a\""),
        ("NULL", 0, "NULL is no value", "write null"),
        ("undefined", 0, "undefined is no value", "write null"),
        ("[TRUE]", 1, "TRUE is no value", "write true"),
        (
            "b'x'",
            0,
            "a text cannot have the prefix b",
            "write \"…\", or r\"…\" for a text without escapes",
        ),
        ("\"x", 0, "the quotation mark is not closed", "add \" at the end of the text"),
        ("'''x''", 0, "the quotation mark is not closed", "add ''' at the end of the text"),
        ("[1, (2", 4, "the bracket is not closed", "add ) at the end of the value"),
        ("{x: 1}", 1, "the keys of an object are texts", "put the key in quotation marks: \"x\""),
        ("1, 2", 1, "the value ends before this", "put a list in brackets: [1, 2]"),
        (
            "\"a\" and $.b == 1",
            4,
            "the value ends before this",
            "give each condition its own --match; all of them must hold",
        ),
        ("= 1", 0, "this is no value", "the operators are ==, != and regex"),
        ("“a”", 0, "this is a typographic quotation mark", "write \" or '"),
        ("\"a\\ud800\"", 2, "this escape is no Unicode character, so no event can hold it", ""),
        (
            "\"C:\\Users\"",
            3,
            "this escape needs 8 hexadecimal digits",
            "write \\\\ for a backslash, or r\"…\" for a text without escapes",
        ),
    ] {
        assert_eq!(refusal(text), (message.to_owned(), offset, suggestion.to_owned()), "{text}");
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&nested(8)).is_ok());
    assert_eq!(refusal(&nested(9)).1, 8);
    assert_eq!(refusal(&"(".repeat(4_000)).1, 8);
}

/// Returns JSON values as events hold them.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| {
            // The parser of events may round to a neighbour, whose text may be read as yet another one.
            let number = Value::from(serde_json::Number::from_f64(number)?);
            let again: Value = serde_json::from_str(&number.to_string()).ok()?;
            (again == number).then_some(number)
        }),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Equality as the facts define it, in the most direct form.
fn model_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            if one.is_f64() == other.is_f64() {
                one == other || one.as_f64() == Some(0.0) && other.as_f64() == Some(0.0)
            } else {
                let (float, integer) = if one.is_f64() { (one, other) } else { (other, one) };
                // Adding zero turns the negative zero into the positive one.
                let float = float.as_f64().unwrap() + 0.0;
                float.fract() == 0.0 && format!("{float:.0}") == integer.to_string()
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| model_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| model_equal(one, other)))
        }
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn json_is_a_literal_and_equals_itself(value in values(), other in values()) {
        let literal = parse(&value.to_string()).unwrap();
        prop_assert!(literal.equals(&value));
        prop_assert_eq!(literal.equals(&other), model_equal(&value, &other));
        let again = parse(&literal.to_string()).unwrap();
        prop_assert!(again.equals(&value), "{}", literal);
    }

    #[test]
    fn small_values_compare_like_the_model(one in prop::sample::select(small()), other in prop::sample::select(small())) {
        prop_assert_eq!(parse(&one.to_string()).unwrap().equals(&other), model_equal(&one, &other));
    }

    #[test]
    fn no_text_panics(text in "[\\[\\](){}'\"\\\\rRbuUxN0-9a-fA-F_.eE+,: \n😀-]{0,40}", start in 0_usize..10) {
        let start = (0..=start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        if let Err(error) = Literal::parse(&text, start) {
            prop_assert!(error.offset <= text.len());
            prop_assert!(text.is_char_boundary(error.offset));
        }
    }
}

/// Values of which many are nearly equal.
fn small() -> Vec<Value> {
    serde_json::from_str(
        r#"[null, true, false, 0, 0.0, -0.0, 1, 1.0, "1", "", "true", [], {}, [1], [1.0], ["1"], [true], [null],
            {"a": 1}, {"a": 1.0}, {"a": null}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, 9007199254740993,
            9007199254740992, 9007199254740992.0, 18446744073709551615, 18446744073709551616]"#,
    )
    .unwrap()
}
