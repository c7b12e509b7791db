//! Rules on events: the examples of the projects that the language comes from, and the index against naive evaluation.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn rules(yaml: &str) -> Vec<Rule> {
    let file = parse_rule_file(yaml);
    assert_eq!(file.errors, [], "{yaml}");
    file.rules
}

fn error(yaml: &str) -> (String, String) {
    let file = parse_rule_file(yaml);
    let error = file.errors.first().unwrap_or_else(|| panic!("no error in {yaml}"));
    (error.position.to_string(), error.message.clone())
}

/// The event of the rules engine's documentation.
fn security_group_event() -> Value {
    json!({
        "eventID": "d3510c1d-2f67-45f1-b145-db0b7190202a", "awsRegion": "us-east-2", "eventVersion": "1.05",
        "sourceIPAddress": "1.2.3.4", "eventSource": "ec2.amazonaws.com", "eventName": "AuthorizeSecurityGroupIngress",
        "requestParameters": { "groupId": "sg-abcdefg", "ipPermissions": { "items": [{ "ipProtocol": "tcp", "fromPort": 0 }] } },
        "userAgent": "console.ec2.amazonaws.com",
        "userIdentity": { "type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/assume-role-name/user@company.com" }
    })
}

const DROOLS_EXAMPLE: &str = r#"import java.util.Map
import cloudengine.AlertServices.DatadogAlertService;
rule "ec2.amazonaws.com: Test Alert - Someone is Changing security group"
when
$map: Map(this["userIdentity.arn"].contains("user@company.com") &&
this["eventName"] == "AuthorizeSecurityGroupIngress" &&
this["userAgent"].contains("console"))
then
new DatadogAlertService().report($map, drools.getRule().getName());
end
"#;

#[test]
fn the_example_of_the_rules_engine_is_translated_and_fires() {
    let translation = translate_drools(DROOLS_EXAMPLE);
    assert_eq!((translation.translated, translation.untranslated), (1, Vec::new()));
    let rules = rules(&translation.yaml);
    let rule = &rules[0];
    assert_eq!(rule.selection.sources.as_deref(), Some(&["ec2.amazonaws.com".to_owned()][..]));
    assert_eq!(
        rule.selection.events.as_deref(),
        Some(&["AuthorizeSecurityGroupIngress".to_owned()][..])
    );
    assert_eq!(rule.actions.iter().map(ActionReference::name).collect::<Vec<_>>(), ["datadog"]);
    let event = security_group_event();
    assert!(rule.fires(&event));
    for (key, value) in [
        ("eventName", json!("RevokeSecurityGroupIngress")),
        ("userAgent", json!("aws-cli/2.9")),
        ("eventSource", json!("s3.amazonaws.com")),
    ] {
        let mut other = event.clone();
        other[key] = value;
        assert!(!rule.fires(&other), "{key}");
    }
    let mut without = event.clone();
    without.as_object_mut().unwrap().remove("userAgent");
    assert!(
        matches!(rule.verdict(&without), Verdict::Failed(_)),
        "contains() of a missing key fails, and the rule stays silent"
    );
}

#[test]
fn the_examples_of_the_event_trigger_fire_as_documented() {
    for (expression, fires, silent) in [
        (
            "!starts_with(detail.requestParameters.bucketName, 'gorillastack-')",
            json!({ "requestParameters": { "bucketName": "logs" } }),
            json!({ "requestParameters": { "bucketName": "gorillastack-logs" } }),
        ),
        (
            "detail.userIdentity.sessionContext.attributes.mfaAuthenticated == 'false'",
            json!({ "userIdentity": { "sessionContext": { "attributes": { "mfaAuthenticated": "false" } } } }),
            json!({ "userIdentity": { "sessionContext": { "attributes": { "mfaAuthenticated": "true" } } } }),
        ),
        (
            "detail.requestParameters.storageEncrypted == `false`",
            json!({ "requestParameters": { "storageEncrypted": false } }),
            json!({ "requestParameters": {} }),
        ),
        (
            "contains(detail.userAgent, 'S3Console')",
            json!({ "userAgent": "[S3Console/0.4]" }),
            json!({ "userAgent": "aws-cli" }),
        ),
        (
            "detail.userIdentity.type == 'Root'",
            json!({ "userIdentity": { "type": "Root" } }),
            json!({ "userIdentity": { "type": "IAMUser" } }),
        ),
        (
            "!starts_with(detail.sourceIPAddress, '55.10.15.')",
            json!({ "sourceIPAddress": "55.10.150.7" }),
            json!({ "sourceIPAddress": "55.10.15.7" }),
        ),
    ] {
        let yaml = format!(
            "name: example\nevents: [CreateBucket, CreateDBInstance]\nmatch: >-\n  {expression}\n"
        );
        let rule = rules(&yaml).remove(0);
        for (mut event, expected) in [(fires, true), (silent, false)] {
            event["eventName"] = json!("CreateDBInstance");
            assert_eq!(rule.fires(&event), expected, "{expression} on {event}");
            event["eventName"] = json!("createdbinstance");
            assert!(!rule.fires(&event), "names are case-sensitive");
        }
    }
}

#[test]
fn every_key_of_a_rule_is_read() {
    let rules = rules(
        r#"
name: "ec2.amazonaws.com: someone changes the security group by hand"
description: Look for a change request.
references: [https://example.com]
events: [AuthorizeSecurityGroupIngress, RevokeSecurityGroupIngress]
sources: [ec2.amazonaws.com]
match: contains(detail.userIdentity.arn, 'user@company.com') && contains(flat."userAgent", 'console')
except: ["detail.userIdentity.invokedBy != null"]
severity: high
group_by: [detail.userIdentity.arn, detail.eventName]
window: 60m
threshold: 5
first_seen: { by: [detail.userIdentity.arn, detail.awsRegion], within: 14d }
actions: [security-slack, datadog, { index: {} }]
tests: [{ event: tests/open-to-world.json, fires: true }, { name: other, event: {eventName: X}, fires: false }]
"#,
    );
    let rule = &rules[0];
    assert_eq!(rule.severity, Severity::High);
    assert_eq!(rule.grouping.group_by.len(), 2);
    assert_eq!(rule.grouping.window, Some(Duration::from_hours(1)));
    assert_eq!(rule.grouping.threshold, 5);
    assert_eq!(
        rule.grouping.first_seen.as_ref().map(|seen| (seen.by.len(), seen.within)),
        Some((2, Duration::from_hours(14 * 24)))
    );
    assert_eq!(rule.actions[2].name(), "index");
    assert_eq!(rule.tests[0].event, TestEvent::File("tests/open-to-world.json".into()));
    assert_eq!(rule.tests[1].event, TestEvent::Inline(json!({ "eventName": "X" })));
    let mut event = security_group_event();
    assert_eq!(rule.verdict(&event), Verdict::Fires(None));
    event["userIdentity"]["invokedBy"] = json!("cloudformation.amazonaws.com");
    assert_eq!(rule.verdict(&event), Verdict::Excepted(0));
}

#[test]
fn errors_have_line_and_column_and_the_fix() {
    for (yaml, position, message) in [
        ("name: x\nevent: [A]\n", "2:1", "a rule has no key `event`"),
        ("name: x\n", "1:1", "the rule does not select any events"),
        ("events: [A]\n", "1:1", "the rule has no `name`"),
        (
            "name: x\nevents: [A, 'Delete*']\n",
            "2:13",
            "`Delete*` is not an event name such as RunInstances; names are compared exactly",
        ),
        ("name: x\nevents: [A]\nmatch: detail.a = 'b'\n", "3:17", "`=` is not an operator"),
        ("name: x\nevents: [A]\nmatch: !detail.a\n", "3:8", "YAML reads a leading `!` as a tag"),
        (
            "name: x\nevents: [A]\nexcept:\n  - a == b\n  - \"nosuch(a)\"\n",
            "5:6",
            "there is no function nosuch()",
        ),
        (
            "name: x\nevents: [A]\nmatch: >-\n  detail.a == 'b'\n  && nosuch(detail.c)\n",
            "5:6",
            "there is no function nosuch()",
        ),
        (
            "{name: x, events: [A], match: \"detail.a == \\\"b\\\" && nosuch(a)\"}\n",
            "1:53",
            "there is no function nosuch()",
        ),
        ("name: x\nevents: [A]\nseverity: urgent\n", "3:11", "`urgent` is not a severity"),
        (
            "name: x\nevents: [A]\nwindow: 60\n",
            "3:9",
            "`60` is not a duration such as 90s, 60m, 24h or 14d",
        ),
        (
            "name: x\nevents: [A]\nthreshold: 0\n",
            "3:12",
            "`0` is not a whole number from 1 to 10000",
        ),
        ("name: x\nevents: [A]\nthreshold: many\n", "3:12", "a number is expected here, not text"),
        ("name: x\nevents: [A]\ntests: [{event: a.json}]\n", "3:9", "the test has no `fires`"),
        ("name: x\nevents: [A]\nactions: [{indx: {}}]\n", "3:12", "an action has no key `indx`"),
        (
            "name: 's3.amazonaws.com: x'\nsources: [ec2.amazonaws.com]\n",
            "2:10",
            "the name selects s3.amazonaws.com, which is not in `sources`",
        ),
        (
            "- name: x\n  events: [A]\n- name: x\n  events: [B]\n",
            "3:9",
            "the name is that of the rule in line 1 too",
        ),
        (
            "just text\n",
            "1:1",
            "a rule, which is a mapping with `name`, is expected here, not text",
        ),
        ("", "1:1", "the file has no rule"),
    ] {
        assert_eq!(error(yaml), (position.to_owned(), message.to_owned()), "{yaml}");
    }
    let file = parse_rule_file("name: x\nevnts: [A]\n");
    assert_eq!(file.errors[0].suggestion.as_deref(), Some("write `events`"));
}

#[test]
fn a_rule_with_an_error_does_not_hide_the_others() {
    let file = parse_rule_file("name: a\nevents: [A]\n---\nname: b\n---\n- name: c\n  events: A\n");
    assert_eq!(file.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(file.errors.len(), 1);
}

#[test]
fn suspicious_expressions_are_warned_about() {
    let file = parse_rule_file(
        "name: x\nevents: [A]\nmatch: detail.a == \"Root\"\nexcept: ['!detail.b.c']\n",
    );
    let warnings: Vec<_> = file
        .warnings
        .iter()
        .map(|warning| (warning.rule.as_str(), warning.position.to_string(), warning.fix.as_str()))
        .collect();
    assert_eq!(
        warnings,
        [("x", "3:20".to_owned(), "'Root'"), ("x", "4:11".to_owned(), "!(detail.b.c)")]
    );
}

#[test]
fn the_event_pattern_delivers_the_events_of_all_rules() {
    let set = rules(
        "name: 'ec2.amazonaws.com: a'\nevents: [B, A]\n---\nname: 's3.amazonaws.com: b'\nevents: [C]\n",
    );
    let EventPattern { pattern, left_out } = event_pattern(&set);
    assert_eq!(
        pattern["detail"],
        json!({ "eventName": ["A", "B", "C"], "eventSource": ["ec2.amazonaws.com", "s3.amazonaws.com"] })
    );
    assert_eq!(left_out, Vec::<&str>::new());
    let all = rules("name: a\nevents: ['*']\n---\nname: 's3.amazonaws.com: b'\nevents: [C]\n");
    assert_eq!(event_pattern(&all).pattern.get("detail"), None);
    let sigma = "title: x\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {eventName: [CreateUser], eventSource: iam.amazonaws.com}\n  condition: s\n";
    let both =
        rules(&format!("{sigma}---\nname: b\nmatch: detail.eventName == 'C'\nevents: ['*']\n"));
    assert_eq!(
        event_pattern(&both).pattern["detail"],
        json!({ "eventName": ["C", { "equals-ignore-case": "createuser" }] })
    );
}

#[test]
fn an_event_pattern_fits_the_quota_of_eventbridge() {
    let numbered = |count: usize, name: &str| {
        let texts: Vec<String> = (0..count)
            .map(|number| {
                format!(
                    "- name: 's{}.amazonaws.com: {number}'\n  events: [{name}{number}]\n",
                    number % 3
                )
            })
            .collect();
        rules(&texts.concat())
    };
    let few = event_pattern(&numbered(20, "Name"));
    assert_eq!(few.left_out, Vec::<&str>::new());
    let many = event_pattern(&numbered(150, "AVeryLongEventName"));
    assert_eq!(many.left_out, ["eventName"]);
    assert_eq!(many.pattern["detail"]["eventSource"].as_array().unwrap().len(), 3);
    for pattern in [few, many] {
        assert!(pattern.pattern.to_string().chars().count() <= MAX_PATTERN_CHARACTERS);
    }
}

/// Returns whether an event pattern matches an event, as the documentation of EventBridge defines it.
fn is_delivered(pattern: &Value, delivered: &Value) -> bool {
    pattern.as_object().unwrap().iter().all(|(field, pattern)| match pattern {
        Value::Array(choices) => choices.iter().any(|choice| match choice {
            Value::Object(filter) => {
                let text = filter["equals-ignore-case"].as_str().unwrap();
                delivered[field].as_str().is_some_and(|value| value.eq_ignore_ascii_case(text))
            }
            value => delivered[field] == *value,
        }),
        inner => is_delivered(inner, &delivered[field]),
    })
}

/// The keys of the JSON schema below a pointer.
fn schema_keys(schema: &Value, pointer: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_json_schema_has_the_keys_of_rules() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../mappings/rule.schema.json")).unwrap();
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(schema_keys(&schema, "/$defs/rule/properties"), sorted(&definition::RULE_KEYS));
    assert_eq!(
        schema_keys(&schema, "/$defs/rule/properties/first_seen/properties"),
        sorted(&definition::FIRST_SEEN_KEYS)
    );
    assert_eq!(schema_keys(&schema, "/$defs/test/properties"), sorted(&definition::TEST_KEYS));
    assert_eq!(
        schema_keys(&schema, "/$defs/action/anyOf/1/properties"),
        sorted(&definition::ACTION_KINDS)
    );
    assert_eq!(
        schema["$defs"]["rule"]["properties"]["severity"]["enum"],
        json!(Severity::ALL.map(Severity::name))
    );
}

const SOURCES: [&str; 3] = ["a.amazonaws.com", "b.amazonaws.com", "A.amazonaws.com"];
const NAMES: [&str; 4] = ["A", "B", "C", "a"];

/// Paths of fields in the views that rules see, and one that EventBridge adds.
const FIELDS: [&str; 9] = [
    "detail.eventName",
    "detail.x",
    "detail.y",
    "detail.o.p",
    "detail.o.l[0].q",
    "detail.o",
    "flat.\"o.p\"",
    "flat.\"o.l[0].q\"",
    "account",
];

fn any_condition() -> impl Strategy<Value = String> {
    let field = || prop::sample::select(&FIELDS[..]);
    let text = || prop::sample::select(vec!["A", "a", "ab", "", "ä", "b"]);
    let function = || prop::sample::select(vec!["contains", "starts_with", "ends_with"]);
    let leaf = prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(|name| format!("detail.eventName == '{name}'")),
        prop::sample::select(&NAMES[..]).prop_map(|name| format!("'{name}' != flat.\"eventName\"")),
        prop::sample::select(&SOURCES[..])
            .prop_map(|source| format!("flat.\"eventSource\" == '{source}'")),
        Just("contains(['A', 'B'], detail.eventName)".to_owned()),
        field().prop_map(|field| format!("contains(['ab', 'a'], {field})")),
        field().prop_map(|field| format!("contains(`[null, 1, \"a\"]`, {field})")),
        field().prop_map(str::to_owned),
        (field(), text()).prop_map(|(field, text)| format!("{field} == '{text}'")),
        (field(), text()).prop_map(|(field, text)| format!("{field} != '{text}'")),
        field().prop_map(|field| format!("{field} == `1`")),
        field().prop_map(|field| format!("{field} == `null`")),
        field().prop_map(|field| format!("{field} > `0`")),
        (function(), field(), text())
            .prop_map(|(function, field, text)| format!("{function}({field}, '{text}')")),
        (function(), field(), text(), text()).prop_map(|(function, field, default, text)| {
            format!("{function}(not_null({field}, '{default}'), '{text}')")
        }),
        field().prop_map(|field| format!("length({field}) > `1`")),
        field().prop_map(|field| format!("length(not_null({field}, `[]`)) > `0`")),
        Just("detail.o.l[?q == 'a']".to_owned()),
        Just("length(detail.o.l[?q == 'a']) > `0`".to_owned()),
        Just("detail.o.l[*].q | [0] == 'a'".to_owned()),
        Just("to_string(detail.x) == 'ab'".to_owned()),
        Just("source == 'aws.a'".to_owned()),
        Just("keys(flat)[0] == 'eventSource'".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} && {right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn any_sigma_condition() -> impl Strategy<Value = RuleCondition> {
    let field = prop::sample::select(vec![
        "eventName",
        "eventSource|startswith",
        "eventName|neq",
        "x",
        "y",
        "o.p|contains",
        "o.l.q",
        "o.l.q|endswith",
        "x|contains|all",
        "o|contains",
        "y|gt",
        "x|re",
        "x|cased",
        "o.p|exists",
    ]);
    let value =
        prop::sample::select(vec!["a", "ab", "A*", "*b", "'?b'", "Ä", "1", "null", "''", "true"]);
    let item = (field, prop::collection::vec(value, 1..3))
        .prop_map(|(field, values)| format!("{field}: [{}]", values.join(", ")));
    let condition =
        prop::sample::select(vec!["s", "not s", "s and t", "s or t", "s and not t", "1 of them"]);
    let identifier = || prop::collection::vec(item.clone(), 1..3);
    (identifier(), identifier(), condition).prop_filter_map("refused", |(first, second, condition)| {
        let yaml = format!(
            "title: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  s:\n    {}\n  t:\n    - {}\n  condition: {condition}\n",
            first.join("\n    "),
            second.join("\n    - ")
        );
        parse_rule_file(&yaml).rules.pop()?.condition
    })
}

prop_compose! {
    pub(crate) fn any_rule()(
        sources in prop::option::of(prop::sample::subsequence(&SOURCES[..], 1..3)),
        events in prop::option::of(prop::sample::subsequence(&NAMES[..], 1..4)),
        condition in prop_oneof![
            1 => Just(None),
            6 => any_condition().prop_map(|text| Some(RuleCondition::Expression(Expression::parse(&text).unwrap()))),
            3 => any_sigma_condition().prop_map(Some),
        ],
        exception in prop::option::weighted(0.3, any_condition()),
    ) -> Rule {
        let mut rule = rules("name: x\nevents: ['*']\n").remove(0);
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        if !matches!(condition, Some(RuleCondition::Sigma(_))) {
            rule.selection = Selection { sources: sources.map(owned), events: events.map(owned) };
        }
        rule.condition = condition;
        rule.exceptions = exception.iter().map(|text| Expression::parse(text).unwrap()).collect();
        rule
    }
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(
        0.8,
        prop::sample::select(vec![
            json!(null),
            json!("ab"),
            json!("A"),
            json!("äB"),
            json!(""),
            json!([]),
            json!({}),
            json!(0),
            json!(1),
            json!(true),
            json!(["a", "ab"]),
            json!([{ "q": "a" }, { "q": "b" }]),
            json!({ "p": "ab" }),
        ]),
    )
}

prop_compose! {
    pub(crate) fn any_event()(
        source in prop::sample::select(&SOURCES[..]),
        name in prop::sample::select(&NAMES[..]),
        x in any_value(),
        y in any_value(),
        p in any_value(),
        l in any_value(),
        unnamed in prop::bool::weighted(0.05),
    ) -> Value {
        let mut event = json!({ "eventSource": source, "eventName": name, "o": {} });
        for (name, value) in [("x", x), ("y", y)] {
            event.as_object_mut().unwrap().extend(value.map(|value| (name.to_owned(), value)));
        }
        for (name, value) in [("p", p), ("l", l)] {
            event["o"].as_object_mut().unwrap().extend(value.map(|value| (name.to_owned(), value)));
        }
        if unnamed {
            event[""] = json!({ "o": { "p": "ab" } });
        }
        event
    }
}

/// What a rule does on an event, as far as it is reported.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reported {
    Fires,
    Excepted,
    Fails,
}

/// Evaluates a rule without the index, and without anything that is known about its condition but the names and sources
/// that it requires.
fn evaluated_naively(rule: &Rule, event: &Value) -> Option<Reported> {
    let mut flat = serde_json::Map::new();
    for (key, value) in super::super::flat::FlatView::new(event).entries() {
        flat.entry(key).or_insert_with(|| value.clone());
    }
    let source = event["eventSource"].as_str().unwrap();
    let envelope = json!({ "detail": event, "flat": flat, "source": format!("aws.{}", source.split('.').next().unwrap()) });
    let is_true = |expression: &Expression| {
        let result = expression.evaluate(&envelope).map(|node| node.to_value());
        result.map(|value| super::super::truth::is_true_in_javascript(&value))
    };
    let listed = |names: &Option<Vec<String>>, key: &str| {
        names.as_ref().is_none_or(|names| names.contains(&event[key].as_str().unwrap().to_owned()))
    };
    let required = |key: &str| {
        let texts = rule.condition.as_ref().and_then(|condition| condition.required_texts(key));
        let is_it =
            |text: &&str| text.to_lowercase() == event[key].as_str().unwrap().to_lowercase();
        match &rule.condition {
            Some(RuleCondition::Sigma(_)) => texts.is_none_or(|texts| texts.iter().any(is_it)),
            _ => texts.is_none_or(|texts| texts.contains(&event[key].as_str().unwrap())),
        }
    };
    let is_selected = listed(&rule.selection.sources, "eventSource")
        && listed(&rule.selection.events, "eventName")
        && required("eventSource")
        && required("eventName");
    if !is_selected {
        return None;
    }
    match &rule.condition {
        None => {}
        Some(RuleCondition::Sigma(detection)) if detection.matches(event) => {}
        Some(RuleCondition::Sigma(_)) => return None,
        Some(RuleCondition::Expression(expression)) => match is_true(expression) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => return Some(Reported::Fails),
        },
    }
    let is_excepted = rule.exceptions.iter().any(|exception| is_true(exception) == Ok(true));
    Some(if is_excepted { Reported::Excepted } else { Reported::Fires })
}

fn reported(verdict: &Verdict) -> Reported {
    match verdict {
        Verdict::Fires(_) => Reported::Fires,
        Verdict::Excepted(_) => Reported::Excepted,
        Verdict::Failed(_) => Reported::Fails,
        Verdict::NoMatch => panic!("rules that do not match are not reported"),
    }
}

pub(crate) fn with_numbers(rules: Vec<Rule>) -> Vec<Rule> {
    let numbered = rules.into_iter().enumerate();
    numbered.map(|(number, rule)| Rule { name: number.to_string(), ..rule }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_index_reports_what_naive_evaluation_finds(
        rules in prop::collection::vec(any_rule(), 1..16),
        events in prop::collection::vec(any_event(), 1..8),
    ) {
        // Results of rules that look at the same fields are remembered.
        let copies = std::iter::repeat_n(rules[0].clone(), 4);
        let set = RuleSet::new(with_numbers(rules.iter().cloned().chain(copies).collect()));
        for event in events.iter().chain(&events) {
            let expected: Vec<(usize, Reported)> = set
                .rules()
                .iter()
                .enumerate()
                .filter_map(|(number, rule)| Some((number, evaluated_naively(rule, event)?)))
                .collect();
            let mut found = Vec::new();
            set.evaluate(event, |number, _, verdict| found.push((number, reported(&verdict))));
            found.sort_unstable();
            prop_assert_eq!(found, expected, "{}", event);
        }
    }

    #[test]
    fn events_of_rules_are_delivered(
        rules in prop::collection::vec(any_rule(), 1..6),
        events in prop::collection::vec(any_event(), 1..8),
    ) {
        let pattern = event_pattern(&rules).pattern;
        for event in &events {
            if rules.iter().any(|rule| rule.fires(event)) {
                let delivered = json!({ "detail-type": "AWS API Call via CloudTrail", "detail": event });
                prop_assert!(is_delivered(&pattern, &delivered), "{} {}", pattern, event);
            }
        }
    }

    #[test]
    fn the_required_parts_of_an_event_decide(
        rules in prop::collection::vec(any_rule(), 1..4),
        event in any_event(),
    ) {
        let set = RuleSet::new(with_numbers(rules));
        let name = |key: &str| event[key].as_str().unwrap();
        let parts = set
            .shortlist(name("eventSource"), name("eventName"))
            .and_then(|shortlist| set.required_parts(shortlist));
        if let Some(parts) = parts {
            let evaluate = |event: &Value| {
                let mut found = Vec::new();
                set.evaluate(event, |number, _, verdict| found.push((number, format!("{verdict:?}"))));
                found
            };
            let pruned = super::super::event_part::tests::pruned(&event, &parts);
            prop_assert_eq!(evaluate(&pruned), evaluate(&event), "{} {:?}", event, parts);
        }
    }
}
