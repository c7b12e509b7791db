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
        (
            "length(`5`) == `1`",
            LintKind::AlwaysFails,
            0,
            "pass string or array or object as argument 1",
        ),
        (
            "starts_with(detail.a == 'b', 'c')",
            LintKind::AlwaysFails,
            0,
            "pass string as argument 1",
        ),
        (
            "contains(detail.a, 'b') && sum('a') > `0`",
            LintKind::AlwaysFails,
            27,
            "pass array of number as argument 1",
        ),
        ("eventName == 'RunInstances'", LintKind::MissingDetail, 0, "detail.eventName"),
        ("contains(userIdentity.arn, 'x')", LintKind::MissingDetail, 9, "detail.userIdentity.arn"),
        ("'Root'", LintKind::Constant, 0, "compare a field with it"),
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
    ] {
        assert_eq!(lints(text), [], "{text}");
    }
}
