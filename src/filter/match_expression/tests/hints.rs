//! What hints promise: the fact, and what was probably meant.

use serde_json::{Value, json};

use super::super::*;

fn parse(expression: &str) -> MatchExpression {
    MatchExpression::parse(expression).expect(expression)
}

/// Evaluates an expression on events and returns the hints afterwards.
fn hints(expression: &str, events: &[Value]) -> Vec<MatchHint> {
    let parsed = parse(expression);
    // Two workers, whose observations are merged.
    let mut observations = [MatchObservations::default(), MatchObservations::default()];
    for (number, event) in events.iter().enumerate() {
        parsed.evaluate(event, &mut observations[number % 2]);
        parsed.collect_names(event, &mut observations[number % 2]);
    }
    let [mut all, other] = observations;
    all.merge(other);
    assert_eq!(all.events, events.len() as u64);
    parsed.hints(&all)
}

/// Returns the only hint as kind, message and suggestion.
fn hint(expression: &str, events: &[Value]) -> (MatchHintKind, String, String) {
    let mut hints = hints(expression, events);
    assert_eq!(hints.len(), 1, "{expression}: {hints:?}");
    let hint = hints.remove(0);
    assert_eq!(hint.expression, expression);
    (hint.kind, hint.message, hint.suggestion.unwrap_or_default())
}

/// Returns the suggested expression, which matches one of the events.
fn suggested(expression: &str, events: &[Value]) -> String {
    let (_, _, suggestion) = hint(expression, events);
    let meant =
        suggestion.strip_prefix("write ").unwrap_or_else(|| panic!("{expression}: {suggestion}"));
    assert!(events.iter().any(|event| parse(meant).matches(event).is_match()), "{meant}");
    meant.to_owned()
}

#[test]
fn values_in_another_form_are_suggested_in_that_form() {
    for (expression, value, meant) in [
        ("$.a == True", json!("true"), "$.a == \"true\""),
        ("$.a == false", json!("False"), "$.a == \"False\""),
        ("$.a == 443", json!("443"), "$.a == \"443\""),
        ("$.a == 1.5e1", json!("15"), "$.a == \"15\""),
        ("$.a == \"true\"", json!(true), "$.a == true"),
        ("$.a == \"443\"", json!(443), "$.a == 443"),
        ("$.a == 'getobject'", json!("GetObject"), "$.a == \"GetObject\""),
        ("$.a == 'x'", json!(["w", "x"]), "$.a[*] == 'x'"),
        ("$.a == 'Get*'", json!("GetObject"), "$.a regex \"^Get.*$\""),
        ("$.a == 's3.*.com'", json!("s3.amazonaws.com"), r#"$.a regex r"^s3\..*\.com$""#),
        ("$.a == 'user/x.y'", json!("arn:aws:iam::1:user/x.y"), r#"$.a regex r"user/x\.y""#),
        ("a regex '^alice$'", json!("Alice"), "a regex \"(?i)^alice$\""),
        ("$.a regex 'x'", json!(["x1"]), "$.a[*] regex 'x'"),
        ("$.a regex '^44'", json!(443), "$.a == 443"),
        ("$.a == None", json!("null"), ""),
    ] {
        let events = [json!({"a": value}), json!({"b": 1})];
        if meant.is_empty() {
            assert_eq!(hints(expression, &events), [], "{expression}");
        } else {
            assert_eq!(suggested(expression, &events), meant);
        }
    }
}

#[test]
fn messages_name_the_fact() {
    let events = [json!({"mfa": "true"}), json!({"mfa": "false"}), json!({"mfa": "true"})];
    assert_eq!(
        hint("$.mfa == True", &events),
        (
            MatchHintKind::LookAlike(LookAlike::Text),
            "the field is the text \"true\" in 2 events".to_owned(),
            "write $.mfa == \"true\"".to_owned()
        )
    );
    assert_eq!(
        hint("$.mfa == 'TRUE'", &events).1,
        "the field differs in upper and lower case only in 2 events, for example \"true\""
    );
}

#[test]
fn counts_of_a_sample_are_lower_bounds() {
    let events = vec![json!({"a": "true"}); 3_000];
    let (_, message, _) = hint("$.a == true", &events);
    assert!(message.contains("\"true\" in at least 1,0"), "{message}");
}

#[test]
fn a_match_ends_all_hints() {
    let events = [json!({"a": "true"}), json!({"a": true}), json!({"a": "true"})];
    assert_eq!(hints("$.a == true", &events), []);
    assert_eq!(hints("$.a != 1", &events), []);
    assert_eq!(hints("", &events), []);
}

#[test]
fn a_field_that_no_event_has_is_named_with_similar_ones() {
    let event = json!({
        "userIdentity": {"userName": "alice", "arn": "x", "sessionContext": {"sessionIssuer": {"userName": "r"}}},
        "sourceIPAddress": "1.2.3.4", "errorCode": null, "resources": [{"ARN": "y"}], "odd": {"a b": {"user name": 1}},
    });
    let events = vec![event; 3];
    let none = "none of the 3 events that it was compared with has this field";
    for (expression, suggestion) in [
        (
            "$.userName == 'x'",
            "did you mean $.userIdentity.userName or $.userIdentity.sessionContext.sessionIssuer.userName?",
        ),
        (
            "$.userIdentity.username == 'x'",
            "did you mean $.userIdentity.userName or $.userIdentity.sessionContext.sessionIssuer.userName?",
        ),
        ("$.userIdentify.arn == 'x'", "did you mean $.userIdentity.arn?"),
        ("$.sourceIpAddress regex '^1'", "did you mean $.sourceIPAddress?"),
        ("$.resources.ARN == 'y'", "did you mean $.resources[*].ARN?"),
        (
            "$..usrName == 'x'",
            "did you mean $.userIdentity.sessionContext.sessionIssuer.userName or \
             $.userIdentity.userName?",
        ),
        ("$.odd['a b'].user_name == 1", "did you mean $.odd['a b']['user name']?"),
        ("$.somethingElse == 1", ""),
        ("$.errorCode != None", ""),
    ] {
        let (kind, message, found) = hint(expression, &events);
        assert_eq!((kind, message.as_str()), (MatchHintKind::FieldNeverSeen, none), "{expression}");
        assert_eq!(found, suggestion, "{expression}");
    }
    assert_eq!(hints("$.errorCode == None", &events), [], "a search for events without it");
    assert_eq!(
        hint("$.username != 'x'", &events).1,
        format!("{none}, so that it matches all of them")
    );
}

#[test]
fn values_of_events_are_escaped_and_shortened() {
    let hostile = "TRUE\u{1b}[2J\u{202e}".to_owned() + &"x".repeat(10_000);
    let (_, message, suggestion) = hint("$.a == 'TRUE'", &[json!({ "a": hostile })]);
    assert!(message.len() < 200, "{message}");
    assert!(!message.contains(['\u{1b}', '\u{202e}']), "{message}");
    assert!(!suggestion.contains('\u{1b}'), "{suggestion}");
    let name = "user\u{1b}Name";
    let (_, _, suggestion) = hint("$.userName == 'x'", &[json!({ name: 1 })]);
    assert_eq!(suggestion, "did you mean $['user\\u{1b}Name']?");
}

#[test]
fn memory_is_bounded_whatever_the_names() {
    let parsed = parse("$.userName == 'x'");
    let mut observations = MatchObservations::default();
    for number in 0..3_000 {
        let members = (0..20).map(|member| (format!("userName{member}{}", number % 10), json!(1)));
        let event = Value::Object(members.collect());
        parsed.evaluate(&event, &mut observations);
        parsed.collect_names(&event, &mut observations);
    }
    let size = format!("{observations:?}").len();
    assert!(size < 5_000, "{size}");
}

#[test]
fn events_on_which_a_pattern_gave_up_are_counted() {
    let events = [json!({"a": "a".repeat(50)}), json!({"a": "b"}), json!({"a": 1})];
    let (kind, ..) = hint(r#"$.a regex r"(a*)*\1b$""#, &events);
    assert_eq!(kind, MatchHintKind::GaveUp, "although the second event matches");
    let (kind, message, _) = hint(r#"$.a regex r"(a*)*\1c""#, &events);
    assert_eq!(kind, MatchHintKind::GaveUp);
    assert_eq!(message, "the pattern took too many steps on 1 event and did not match them");
    let (_, message, _) =
        hint(r#"$.a regex r"(a*)*\1c""#, &[json!({"a": "a".repeat(50), "eventID": "e-\u{1b}1"})]);
    assert_eq!(
        message,
        "the pattern took too many steps on 1 event, such as \"e-\\u001b1\", and did not match them"
    );
}

/// Returns the warnings about an expression as kinds and suggestions.
fn warnings(expression: &str) -> Vec<(MatchHintKind, Option<String>)> {
    parse(expression).warnings().into_iter().map(|hint| (hint.kind, hint.suggestion)).collect()
}

#[test]
fn a_pattern_that_cannot_match_is_warned_about_before_the_search() {
    for (pattern, meant) in [
        (".*:^((?!Alice).)", Some("^(?!.*:Alice$)")),
        (".*:^((?!Alice).)*$", Some("^(?!.*:Alice$)")),
        ("user/^alice", Some("user/alice")),
        ("a$b", Some("ab")),
        ("(x|y)+^z", Some("(x|y)+z")),
        ("(a^b|c$d)", None),
        ("(?:a$){2}", None),
        ("x(?=^)", None),
        ("(?<=$)x", None),
        ("(?!)", None),
        ("^(?!.*)", None),
        ("[^a]^b", Some("[^a]b")),
        (r"\^a^b", Some(r"\^ab")),
    ] {
        let found = warnings(&format!("$.a regex r'{pattern}'"));
        let [(MatchHintKind::Pattern(PatternFlaw::NeverMatches), suggestion)] = &found[..] else {
            panic!("{pattern}: {found:?}");
        };
        let meant = meant.map(|meant| {
            if meant.contains('\\') {
                format!("write $.a regex r\"{meant}\"")
            } else {
                format!("write $.a regex \"{meant}\"")
            }
        });
        assert_eq!(*suggestion, meant, "{pattern}");
    }
}

#[test]
fn patterns_that_can_match_are_not_warned_about() {
    for pattern in [
        "",
        ".",
        "^",
        "$",
        "^$",
        "^a$",
        "^a|b$",
        "a|^b",
        ".*^a",
        "a$.*",
        r"(?m)a\n^b",
        "a?^b",
        "(^a|b)c",
        "x*^",
        "$x?",
        "^(?!.*:Alice$)",
        ":(?!Alice$)",
        "(?<!x)y",
        "(?=.*a)(?=.*b)",
        "^(?=.*a).*b",
        "(a)(?(1)b|c)",
        r"\Ba",
        "(?:^a)?b",
        "[$]a",
        r"\$a",
        "a{0}^b",
        "(?!a)b",
        "^((?!Alice).)*$",
        "(?=$)|a",
        "(?<=^)a",
        ".*",
        "(a|)b",
        "(?!x)y|z",
    ] {
        assert_eq!(warnings(&format!("$.a regex r'{pattern}'")), [], "{pattern}");
    }
}

#[test]
fn other_flaws_of_patterns_are_warned_about() {
    for (expression, kind, meant) in [
        (
            "$.a regex '((?!Alice).)*'",
            MatchHintKind::Pattern(PatternFlaw::AlwaysMatches),
            "write $.a regex \"^(?!.*Alice)\"",
        ),
        (
            "$.a regex '(?!Alice)'",
            MatchHintKind::Pattern(PatternFlaw::AlwaysMatches),
            "write $.a regex \"^(?!Alice)\"",
        ),
        (
            "$.a regex '(?!Alice).*'",
            MatchHintKind::Pattern(PatternFlaw::AlwaysMatches),
            "write $.a regex \"^(?!Alice)\"",
        ),
        (
            "$.a regex '(?!.*Alice).*'",
            MatchHintKind::Pattern(PatternFlaw::AlwaysMatches),
            "write $.a regex \"^(?!.*Alice)\"",
        ),
        (
            "$.a regex \"\\bfoo\\b\"",
            MatchHintKind::Pattern(PatternFlaw::Backspace),
            r#"write $.a regex r"\bfoo\b""#,
        ),
    ] {
        assert_eq!(warnings(expression), [(kind, Some(meant.to_owned()))], "{expression}");
    }
    assert_eq!(warnings(" "), [(MatchHintKind::Empty, None)]);
    assert_eq!(warnings("$.a == '^b^'"), [], "no pattern");
}
