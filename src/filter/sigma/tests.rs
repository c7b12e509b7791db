//! Sigma rules on events.

use serde_json::{Value, json};

use super::super::rule::{Rule, parse_rule_file};

fn yaml(detection: &str) -> String {
    format!(
        "title: x\nlogsource:\n  product: aws\n  service: cloudtrail\nlevel: high\ndetection:\n{detection}"
    )
}

fn rule(detection: &str) -> Rule {
    let file = parse_rule_file(&yaml(detection));
    assert_eq!(file.errors, [], "{detection}");
    file.rules.into_iter().next().unwrap()
}

fn error(text: &str) -> (String, String) {
    let error = parse_rule_file(text).errors.remove(0);
    (error.position.to_string(), error.message)
}

#[test]
fn items_are_compared_as_documented() {
    let event = json!({
        "eventName": "PutBucketVersioning", "n": 5, "flag": false, "none": null, "empty": "",
        "requestParameters": { "VersioningConfiguration": { "Status": "Suspended" }, "list": ["a", "B"], "items": [{ "id": 1 }, { "id": 2 }] },
        "sourceIPAddress": "10.1.2.3", "userIdentity": { "arn": "arn:aws:iam::1:user/alice", "userName": "alice" },
    });
    for (item, expected) in [
        ("eventName: putbucketversioning", true),
        ("eventName: 'Put*'", true),
        ("eventName|cased: putbucketversioning", false),
        ("eventName|startswith: put", true),
        ("eventName|endswith: ING", true),
        ("eventName|contains: [x, bucket]", true),
        ("eventName|contains|all: [x, bucket]", false),
        ("eventName|contains|all: [put, bucket]", true),
        ("eventName|re: '^Put.*ing$'", true),
        ("eventName|re: '^put'", false),
        ("eventName|re|i: '^put'", true),
        ("flag: 'false'", true),
        ("flag: false", true),
        ("n: 5", true),
        ("n: '5'", true),
        ("n|gte: 5", true),
        ("n|lt: 5", false),
        ("none: null", true),
        ("missing: null", true),
        ("missing.deeper:", true),
        ("n: null", false),
        ("empty: ''", true),
        ("missing: ''", false),
        ("missing|contains: '*'", false),
        ("n|exists: true", true),
        ("none|exists: false", true),
        ("sourceIPAddress|cidr: 10.0.0.0/8", true),
        ("sourceIPAddress|cidr: [192.168.0.0/16, 10.1.2.4]", false),
        ("requestParameters|contains: 'Suspended'", true),
        ("requestParameters.list: b", true),
        ("requestParameters.items.id: 2", true),
        ("requestParameters.items|contains: '\"id\":2'", true),
        ("requestParameters.items: 2", false),
        ("userIdentity.arn|endswith|fieldref: userIdentity.userName", true),
        ("userIdentity.arn|fieldref: userIdentity.userName", false),
    ] {
        assert_eq!(
            rule(&format!("  s:\n    {item}\n  condition: s\n")).fires(&event),
            expected,
            "{item}"
        );
    }
}

#[test]
fn conditions_combine_search_identifiers() {
    let identifiers = "  sel_a:\n    a: 1\n  sel_b:\n    b: 1\n  filter_x:\n    - x: 1\n    - y: 1\n  words: [needle, other]\n";
    let fires = |condition: &str, event: Value| {
        rule(&format!("{identifiers}  condition: {condition}\n")).fires(&event)
    };
    for (condition, event, expected) in [
        ("sel_a and sel_b", json!({"a": 1}), false),
        ("sel_a or sel_b", json!({"a": 1}), true),
        ("sel_a and not filter_x", json!({"a": 1, "y": 1}), false),
        ("1 of sel_*", json!({"b": 1}), true),
        ("all of sel_*", json!({"b": 1}), false),
        ("all of them", json!({"a": 1, "b": 1, "x": 1, "w": "the needle"}), true),
        ("sel_a or sel_b and filter_x", json!({"a": 1}), true),
        ("(sel_a or sel_b) and filter_x", json!({"a": 1}), false),
        ("not 1 of sel_* AND words", json!({"deep": [{"w": "NEEDLE"}]}), true),
        ("[sel_a, sel_b]", json!({"b": 1}), true),
    ] {
        assert_eq!(fires(condition, event.clone()), expected, "{condition} on {event}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (detection, position, message) in [
        (
            "  s:\n    a|expand: '%x%'\n  condition: s\n",
            "8:5",
            "the modifier `expand` is not supported",
        ),
        (
            "  s:\n    a: 1\n  timeframe: 5m\n  condition: s\n",
            "9:3",
            "`timeframe` is not supported",
        ),
        (
            "  s:\n    a: 1\n  condition: s | count() > 5\n",
            "9:14",
            "the condition is not valid: aggregations behind `|` are not supported",
        ),
        (
            "  s:\n    a: 1\n  condition: 2 of s*\n",
            "9:14",
            "the condition is not valid: `2 of` is not supported; `1 of` and `all of` are",
        ),
        (
            "  s:\n    a: 1\n  condition: t\n",
            "9:14",
            "the condition is not valid: there is no search identifier `t`",
        ),
        ("  s:\n    a|re: '('\n  condition: s\n", "8:11", "the regular expression is not valid"),
    ] {
        let (found, text) = error(&yaml(detection));
        assert_eq!(found, position, "{detection}");
        assert!(text.starts_with(message), "{text}");
    }
    let other = "title: x\nlogsource:\n  product: windows\n  service: security\ndetection:\n  s: {a: 1}\n  condition: s\n";
    assert_eq!(error(other).1, "the rule is for another log source; `product` is not aws");
    assert_eq!(
        error("title: x\ncorrelation:\n  type: event_count\n").1,
        "`correlation` is not supported"
    );
}

#[test]
fn names_bind_a_rule_to_events_in_any_case() {
    use super::super::rule::{RuleSet, Verdict};
    let set = RuleSet::new(vec![rule(
        "  s:\n    eventSource: iam.amazonaws.com\n    eventName: [CreateUser, DeleteUser]\n  condition: s\n",
    )]);
    assert!(set.has_candidate("IAM.amazonaws.com", "createuser"));
    assert!(!set.has_candidate("iam.amazonaws.com", "ListUsers"));
    let mut fired = 0;
    let event = json!({ "eventSource": "iam.amazonaws.com", "eventName": "CREATEUSER" });
    set.evaluate(&event, |_, _, verdict| fired += u32::from(matches!(verdict, Verdict::Fires(_))));
    assert_eq!(fired, 1);
}

/// Returns the events of `tests/data/events`.
fn corpus() -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let file = std::fs::File::open(path).unwrap();
            let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).unwrap();
            events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    events
}

#[test]
fn public_rules_match_the_events_that_an_independent_model_finds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigma");
    let expected: std::collections::BTreeMap<String, u64> =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let mut rules = Vec::new();
    for entry in std::fs::read_dir(folder.join("rules")).unwrap() {
        let file = parse_rule_file(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        assert_eq!(file.errors, []);
        rules.extend(file.rules);
    }
    assert_eq!(rules.len(), 57);
    let set = super::super::rule::RuleSet::new(rules);
    let mut found: std::collections::BTreeMap<String, u64> =
        set.rules().iter().map(|rule| (rule.name.clone(), 0)).collect();
    for event in corpus() {
        set.evaluate(&event, |_, rule, verdict| {
            if matches!(verdict, super::super::rule::Verdict::Fires(_)) {
                *found.get_mut(&rule.name).unwrap() += 1;
            }
        });
    }
    assert_eq!(found, expected);
}
