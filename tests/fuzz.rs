//! Runs the bodies of the fuzz targets on a bounded number of random inputs.
//!
//! `cargo +nightly fuzz run NAME` runs the same without a bound (see `fuzz/`).

use proptest::{prelude::*, sample::select, test_runner::TestRunner};

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// Runs a body on random bytes, and on texts that are put together from tokens of its grammar.
fn run(body: fn(&[u8]), tokens: &'static [&'static str]) {
    let texts = prop::collection::vec(select(tokens), 0..24)
        .prop_map(|tokens| tokens.concat().into_bytes());
    let mixed = (texts.clone(), prop::collection::vec(any::<u8>(), 0..12), texts.clone())
        .prop_map(|(before, bytes, behind)| [before, bytes, behind].concat());
    let inputs =
        prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..200), 6 => texts, 2 => mixed];
    TestRunner::new(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
    .run(&inputs, |input| {
        body(&input);
        Ok(())
    })
    .unwrap();
}

#[test]
fn any_match_expression_is_parsed_or_refused() {
    run(
        bodies::match_expression,
        &[
            "$",
            ".",
            "..",
            "[",
            "]",
            "(",
            ")",
            "?",
            "@",
            "*",
            "'",
            "\"",
            "\\",
            ",",
            ":",
            "-",
            "0",
            "1",
            "a",
            "x-y",
            " ",
            " == ",
            " != ",
            " regex ",
            "=~",
            "&&",
            "||",
            "!",
            "<",
            "(@.length-1)",
            "match(@.b,'x')",
            "{",
            "}",
            "null",
            "True",
            "r\"",
            "'''",
            "\\u00e9",
            "\\ud800",
            "^",
            "(?!",
            "(?<=",
            "{2,3}",
            "+",
            "|",
            "$.userIdentity",
            ".arn",
            "\0",
            "ö",
            "\n",
        ],
    );
}

#[test]
fn any_literal_is_parsed_or_refused() {
    run(
        bodies::literal,
        &[
            "'",
            "\"",
            "'''",
            "\"\"\"",
            "\\",
            "\\x",
            "\\u",
            "\\U",
            "\\N",
            "0",
            "1",
            "9",
            "f",
            "_",
            "0x",
            "0b",
            ".",
            "e",
            "-",
            "+",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            ",",
            ":",
            " ",
            "None",
            "true",
            "r",
            "b",
            "\n",
            "ö",
            "99999999999999999999",
        ],
    );
}

#[test]
fn any_jmespath_expression_is_parsed_or_refused() {
    run(
        bodies::jmespath,
        &[
            "detail",
            ".",
            "[",
            "]",
            "[]",
            "[?",
            "[*]",
            "*",
            "{",
            "}",
            "(",
            ")",
            "'x'",
            "`1`",
            "`[\"a\"]`",
            "`",
            "\"",
            "'",
            "&",
            "@",
            "|",
            "||",
            "&&",
            "!",
            "==",
            "!=",
            "<",
            ">=",
            ":",
            ",",
            "-1",
            "0",
            " ",
            "length(",
            "contains(",
            "sort_by(",
            "split(",
            "parse_json(",
            "to_json(",
            "userIdentity",
            "arn",
            "flat",
            "a",
            "b",
            "requestParameters",
            "null",
            "\0",
            "ö",
            "\\",
        ],
    );
}

#[test]
fn any_action_is_parsed_or_refused() {
    run(
        bodies::action_pattern,
        &[
            "s3",
            "*",
            ":",
            "?",
            "[",
            "]",
            "!",
            "-",
            "a",
            "z",
            "Get",
            "Object",
            "20150331",
            "v2",
            ".amazonaws.com",
            " ",
            ",",
            "^",
            "\\",
            "{",
            "}",
            "\0",
            "ö",
            "İ",
            "ß",
        ],
    );
}

#[test]
fn any_yaml_is_parsed_or_refused() {
    run(
        bodies::yaml,
        &[
            "a",
            "b:",
            ": ",
            "- ",
            "-",
            "\n",
            "  ",
            "    ",
            "\t",
            "|",
            ">",
            "|-\n",
            "'",
            "\"",
            "[",
            "]",
            "{",
            "}",
            ",",
            "#",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "---\n",
            "...\n",
            "? ",
            "%YAML 1.2\n",
            "null",
            "~",
            "1",
            "0x1",
            ".inf",
            "true",
            "\\",
            "ö",
        ],
    );
}

#[test]
fn any_input_is_searched_for_records() {
    run(
        bodies::records,
        &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\\"",
            "\\",
            "\\u0041",
            "\"Records\":[",
            "\"eventVersion\":\"1.08\",",
            "\"eventSource\":\"s3.amazonaws.com\",",
            "\"eventName\":\"GetObject\"",
            "\"CloudTrailEvent\":\"",
            "\"logEvents\":[",
            "\"message\":\"{\\\"eventVersion\\\"",
            "{\"eventVersion\":\"1.08\"}",
            "\n",
            "\r\n",
            " ",
            "1",
            "true",
            "null",
            "-",
            "\u{1f}",
            "\u{feff}",
            "eventVersion,",
            "PK\u{3}\u{4}",
            "H4sIAAAA",
            "ö",
        ],
    );
}
