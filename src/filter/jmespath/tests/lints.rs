//! What lints report, and what they leave alone.

use super::super::{Expression, LintKind};

fn lints(text: &str) -> Vec<(LintKind, usize, String)> {
    let lints = Expression::parse(text).unwrap().lints();
    lints.into_iter().map(|lint| (lint.kind, lint.offset, lint.fix)).collect()
}

#[test]
fn traps_are_reported_with_their_fix() {
    for (text, kind, offset, fix) in [
        ("!detail.a.b", LintKind::NegatedPath, 0, "!(detail.a.b)"),
        ("detail.x && !detail.a[0].b", LintKind::NegatedPath, 12, "!(detail.a[0].b)"),
        ("!detail.\"a b\".c && detail.d", LintKind::NegatedPath, 0, "!(detail.\"a b\".c)"),
        ("detail.userIdentity.type == \"Root\"", LintKind::TextWithoutQuotes, 28, "'Root'"),
        ("detail.userIdentity.type == Root", LintKind::TextWithoutQuotes, 28, "'Root'"),
        ("\"Root\" == detail.userIdentity.type", LintKind::TextWithoutQuotes, 0, "'Root'"),
        ("contains(detail.userAgent, \"S3\")", LintKind::TextWithoutQuotes, 27, "'S3'"),
        ("length(detail.items[?type == \"a\"]) > `0`", LintKind::TextWithoutQuotes, 29, "'a'"),
        (
            "detail.a == false",
            LintKind::BareLiteral,
            12,
            "`false` in backticks, or 'false' where the event has text",
        ),
        (
            "detail.items[?type == 'a']",
            LintKind::ListAsResult,
            0,
            "length(detail.items[?type == 'a']) > `0`",
        ),
        ("detail.items[*].type", LintKind::ListAsResult, 0, "length(detail.items[*].type) > `0`"),
        ("length(`5`) == `1`", LintKind::AlwaysFails, 0, "string or array or object as argument 1"),
        ("starts_with(detail.a == 'b', 'c')", LintKind::AlwaysFails, 0, "string as argument 1"),
        (
            "contains(detail.a, 'b') && sum('a') > `0`",
            LintKind::AlwaysFails,
            27,
            "array of number as argument 1",
        ),
        ("eventName == 'RunInstances'", LintKind::MissingDetail, 0, "detail.eventName"),
        ("contains(userIdentity.arn, 'x')", LintKind::MissingDetail, 9, "detail.userIdentity.arn"),
        ("'Root'", LintKind::Constant, 0, "a comparison of a field with it"),
        // In every place where expressions nest.
        (
            "contains(detail.x, 'a') && (detail.y || !detail.a.b)",
            LintKind::NegatedPath,
            40,
            "!(detail.a.b)",
        ),
        ("length(detail.items[?!a.b]) > `0`", LintKind::NegatedPath, 21, "!(a.b)"),
        ("to_string(!detail.a.b) == 'x'", LintKind::NegatedPath, 10, "!(detail.a.b)"),
        ("!detail.items[?type == 'a']", LintKind::NegatedPath, 0, "!(detail.items[?type == 'a'])"),
        ("!detail.a.b == 'x'", LintKind::NegatedPath, 0, "!(detail.a.b)"),
        ("[!detail.a.b][0] == `true`", LintKind::NegatedPath, 1, "!(detail.a.b)"),
        ("!(detail.a == \"Root\")", LintKind::TextWithoutQuotes, 14, "'Root'"),
        ("detail.a[?b == 'c'] | [0].d == \"Root\"", LintKind::TextWithoutQuotes, 31, "'Root'"),
        (
            "length(detail.items[?contains(name, \"a\")]) > `0`",
            LintKind::TextWithoutQuotes,
            36,
            "'a'",
        ),
        (
            "length(detail.items[?false == enabled]) > `0`",
            LintKind::BareLiteral,
            21,
            "`false` in backticks, or 'false' where the event has text",
        ),
        (
            "detail.a == 'b' && detail.items[?type == 'a']",
            LintKind::ListAsResult,
            19,
            "length(detail.items[?type == 'a']) > `0`",
        ),
        (
            "detail.items[?type == 'a'] && detail.a == 'b'",
            LintKind::ListAsResult,
            0,
            "length(detail.items[?type == 'a']) > `0`",
        ),
        (
            "detail.a == 'b' || detail.items[].c",
            LintKind::ListAsResult,
            19,
            "length(detail.items[].c) > `0`",
        ),
        ("split(detail.a, ',')", LintKind::ListAsResult, 0, "length(split(detail.a, ',')) > `0`"),
        ("[detail.a, detail.b]", LintKind::ListAsResult, 0, "length([detail.a, detail.b]) > `0`"),
        ("detail.a && keys(detail.b)", LintKind::ListAsResult, 12, "length(…) > `0`"),
        ("!starts_with(detail.a, `5`)", LintKind::AlwaysFails, 1, "string as argument 2"),
    ] {
        assert_eq!(lints(text), [(kind, offset, fix.to_owned())], "{text}");
    }
}

#[test]
fn sound_expressions_have_no_lints() {
    for text in [
        "!starts_with(detail.requestParameters.bucketName, 'gorillastack-')",
        "!(detail.a.b)",
        "detail.userIdentity.sessionContext.attributes.mfaAuthenticated == 'false'",
        "detail.requestParameters.storageEncrypted == `false`",
        "contains(detail.userAgent, 'S3Console')",
        "detail.missing == null",
        "source == 'aws.s3' && region != detail.awsRegion",
        "length(detail.items[?fromPort != toPort && cidrIp == '0.0.0.0/0']) > `0`",
        "detail.items[?a == 'b'] | [0]",
        "detail.items[0]",
        "contains(flat.\"userAgent\", 'console')",
        "sort_by(detail.items, &name)[0].name == 'a'",
        "length(not_null(detail.items, `[]`)) > `0`",
        "detail.a && !detail",
        "detail.items[?type == 'a'] || detail.a == 'b'",
        "!(detail.items[?type == 'a'])",
        "length(detail.items[?enabled]) > `0`",
        "length(detail.items[?contains(names, name)]) > `0`",
        "contains(keys(detail.a), 'b')",
        "split(detail.a, ',')[0] == 'b'",
        "detail.a.b || detail.c.d",
    ] {
        assert_eq!(lints(text), [], "{text}");
    }
}
