//! A record as one line.
//!
//! Input: the original bytes of a record. Output: the same bytes without line breaks.
//! Invariant: a line break between tokens is removed; one within a string, which JSON does not allow, becomes `\n` or
//! `\r`. All other bytes stay.

use memchr::{memchr2, memchr3};

/// Appends a record without its line breaks.
pub(crate) fn write_single_line(record: &[u8], out: &mut Vec<u8>) {
    if memchr2(b'\n', b'\r', record).is_none() {
        out.extend_from_slice(record);
        return;
    }
    let mut rest = record;
    while let Some(quote) = memchr3(b'"', b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..quote]);
        if rest[quote] == b'"' {
            out.push(b'"');
            rest = write_string(&rest[quote + 1..], out);
        } else {
            rest = &rest[quote + 1..];
        }
    }
    out.extend_from_slice(rest);
}

/// Appends a string whose opening quote was written, and returns what follows it.
fn write_string<'r>(text: &'r [u8], out: &mut Vec<u8>) -> &'r [u8] {
    let mut is_escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'\n' => out.extend_from_slice(if is_escaped { b"n" } else { b"\\n" }),
            b'\r' => out.extend_from_slice(if is_escaped { b"r" } else { b"\\r" }),
            byte => out.push(byte),
        }
        if byte == b'"' && !is_escaped {
            return &text[at + 1..];
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    &[]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn line(record: &str) -> String {
        let mut out = Vec::new();
        write_single_line(record.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn line_breaks_between_tokens_are_removed_and_those_in_strings_are_escaped() {
        assert_eq!(line("{\r\n  \"a\" :\n 1\n}"), "{  \"a\" : 1}");
        assert_eq!(line(r#"{"a":"b\n"}"#), r#"{"a":"b\n"}"#);
        assert_eq!(line("{\"a\":\"b\n\\\"\r\",\n\"c\":\"\\\\\"\n}"), r#"{"a":"b\n\"\r","c":"\\"}"#);
        assert_eq!(line("\"\\\n"), "\"\\n");
    }

    proptest! {
        #[test]
        fn any_json_stays_what_it_was(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let value = json!({"list": texts, "again": {"list": texts}});
            let text = serde_json::to_string_pretty(&value).unwrap();
            let line = line(&text);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
