//! Numbers in JMESPath: by value, whole numbers exactly, and written as JavaScript writes them.
//!
//! Input: JSON numbers and text. Output: comparisons, JSON numbers, text.
//! Invariant: whole numbers that fit in 64 bits are never rounded to floating point for a comparison.

use std::cmp::Ordering;

use serde_json::Number;

/// Up to this value, floating point numbers without a fraction are exact whole numbers (2^53).
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// From this value on, JavaScript writes numbers with an exponent.
const MIN_WITH_EXPONENT: f64 = 1e21;

/// Below this value, JavaScript writes numbers with an exponent.
const MAX_WITH_NEGATIVE_EXPONENT: f64 = 1e-6;

/// Compares two numbers by value. `None` if one of them is not a number of JSON.
pub(crate) fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// Converts a floating point number; `None` for infinities and NaN. Numbers without a fraction become whole numbers.
pub(super) fn from_f64(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() <= MAX_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// Converts text to a number like JavaScript's `Number(text)`; `None` where that is NaN or infinite.
pub(super) fn from_text(text: &str) -> Option<Number> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Number::from(0));
    }
    if let Some(value) = from_radix(text) {
        return Some(Number::from(value));
    }
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Number::from(value));
    }
    from_f64(text.parse().ok()?)
}

fn from_radix(text: &str) -> Option<u64> {
    let (prefix, digits) = text.split_at_checked(2)?;
    let radix = match prefix {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// Writes a number as JavaScript does: `1` for `1.0`, `1e+21` for a large one.
pub(super) fn to_text(number: &Number) -> String {
    let value = match number.as_f64() {
        Some(value) if number.is_f64() => value,
        _ => return number.to_string(),
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    if (MAX_WITH_NEGATIVE_EXPONENT..MIN_WITH_EXPONENT).contains(&value.abs()) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(compare(&number("1"), &number("1.0")), Some(Ordering::Equal));
        assert_eq!(
            compare(&number("12345678901234567890"), &number("12345678901234567891")),
            Some(Ordering::Less)
        );
        assert_eq!(compare(&number("-0.5"), &number("0")), Some(Ordering::Less));
    }

    #[test]
    fn numbers_are_written_as_in_javascript() {
        for (json, text) in [
            ("1.0", "1"),
            ("0.1", "0.1"),
            ("-0.0", "0"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e-7", "1.5e-7"),
            ("0.000001", "0.000001"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(to_text(&number(json)), text, "{json}");
        }
    }

    #[test]
    fn text_is_converted_as_in_javascript() {
        for (text, json) in [
            ("", "0"),
            (" 12 ", "12"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("5.", "5"),
            ("+7", "7"),
            ("0x10", "16"),
        ] {
            assert_eq!(from_text(text), Some(number(json)), "{text}");
        }
        for text in ["x", "1 2", "inf", "NaN", "Infinity", "1e400", "--1", "0x", "-0x10", "1_000"] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }
}
