//! Removes the blanks between the tokens of JSON.
//!
//! Input: JSON text. Output: the same text without line breaks and other blanks outside of its strings.
//! Invariant: strings and numbers stay as they are written, so a value means exactly what it did. Text that is not JSON is shortened
//! likewise, and never lost within quotation marks.

use std::borrow::Cow;

/// Returns JSON text without the blanks between its tokens.
pub(super) fn compact_json(json: &[u8]) -> Cow<'_, [u8]> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let mut compact = Vec::new();
    // Up to where the text is copied; nothing is copied as long as there is no blank.
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_string(json, at),
            byte if is_blank(byte) => {
                compact.extend_from_slice(&json[copied..at]);
                at += json[at..].iter().take_while(|byte| is_blank(byte)).count();
                copied = at;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    compact.extend_from_slice(&json[copied..]);
    Cow::Owned(compact)
}

/// Returns the position behind the string that starts at a quotation mark.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        // The character behind a backslash does not end the string.
        at += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn compact(json: &str) -> String {
        String::from_utf8(compact_json(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn blanks_are_removed_between_tokens_only() {
        for (json, expected) in [
            ("{ \"a b\" :\r\n\t[ 1.50 , -0e+1,null ] }\n", r#"{"a b":[1.50,-0e+1,null]}"#),
            (r#"{"a":" \" \\ ","b":1}"#, r#"{"a":" \" \\ ","b":1}"#),
            (r#"{"a": "\\", "b": "\"  x" }"#, r#"{"a":"\\","b":"\"  x"}"#),
            ("", ""),
            ("  ", ""),
            (r#"{"cut  "#, r#"{"cut  "#),
            (r#" "cut \"#, r#""cut \"#),
        ] {
            assert_eq!(compact(json), expected);
        }
    }

    #[test]
    fn text_without_blanks_is_not_copied() {
        assert!(matches!(compact_json(br#"{"a":" b "}"#), Cow::Borrowed(_)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[ \\\\\"\n\t{}:,]{0,12}", any::<String>()].boxed();
        let members = prop::collection::vec((text.clone(), any::<i64>()), 0..4);
        (text, members, any::<Option<f64>>()).prop_map(|(text, members, number)| {
            let members: Value = members
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()
                .into_iter()
                .map(|(key, value)| (key, json!([value])))
                .collect::<serde_json::Map<_, _>>()
                .into();
            json!([text, {"members": members, "number": number, "text": [[text], {}, []]}])
        })
    }

    proptest! {
        #[test]
        fn pretty_json_becomes_what_serde_writes(value in any_value()) {
            prop_assert_eq!(compact(&format!("{value:#}")), value.to_string());
        }
    }
}
