//! Sigma rules on events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::rule::{Rule, RuleSet, Verdict, parse_rule_file};

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
        ("1 of them", json!({"zz": 1}), false),
        ("any of sel*_*", json!({"a": 1}), true),
        ("not sel_a and sel_b", json!({"b": 1}), true),
        ("not (sel_a and sel_b)", json!({"a": 1}), true),
        ("all of *", json!({"a": 1, "b": 1, "x": 1, "w": "needle"}), true),
    ] {
        assert_eq!(fires(condition, event.clone()), expected, "{condition} on {event}");
    }
}

#[test]
fn identifiers_with_an_underscore_are_not_among_them() {
    let rule = |condition: &str| {
        rule(&format!("  _hidden:\n    a: 1\n  shown:\n    b: 1\n  condition: {condition}\n"))
    };
    assert!(!rule("1 of them").fires(&json!({"a": 1})));
    assert!(rule("1 of them").fires(&json!({"b": 1})));
    assert!(rule("all of them").fires(&json!({"b": 1})));
    assert!(rule("1 of _*").fires(&json!({"a": 1})));
}

#[test]
fn what_is_not_supported_is_named() {
    for (detection, position, message) in [
        (
            "  s:\n    a|expand: '%x%'\n  condition: s\n",
            "8:5",
            "the modifier `expand` is not supported: the values of placeholders are not known",
        ),
        ("  s:\n    a|lower: x\n  condition: s\n", "8:5", "the modifier `lower` is not supported"),
        (
            "  s:\n    a|contains|startswith: x\n  condition: s\n",
            "8:5",
            "only one of contains, startswith and endswith is possible",
        ),
        ("  s:\n    a|re|cidr: x\n  condition: s\n", "8:5", "the modifier `cidr` does not go with"),
        ("  s:\n    a|i: x\n  condition: s\n", "8:5", "the modifier `i` is not supported"),
        (
            "  s:\n    a|wide: x\n  condition: s\n",
            "8:5",
            "text in UTF-16 is possible only before base64",
        ),
        (
            "  s:\n    a|base64: 'x*'\n  condition: s\n",
            "8:15",
            "text with wildcards cannot be encoded",
        ),
        ("  s:\n    a|gt: many\n  condition: s\n", "8:11", "a number is expected here, not text"),
        (
            "  s:\n    a|cidr: 10.0.0.0/99\n  condition: s\n",
            "8:13",
            "a network such as 10.0.0.0/8 is expected",
        ),
        ("  s:\n    a: []\n  condition: s\n", "8:8", "`a` has no value"),
        ("  s:\n    a: {b: c}\n  condition: s\n", "8:8", "a value is expected here, not a mapping"),
        (
            "  s:\n    a|contains: null\n  condition: s\n",
            "8:17",
            "a value is expected here, not nothing",
        ),
        ("  s: []\n  condition: s\n", "7:6", "the search identifier is empty"),
        ("  s: {}\n  condition: s\n", "7:6", "the search identifier is empty"),
        ("  s:\n    - {}\n  condition: s\n", "8:7", "the search identifier is empty"),
        (
            "  s:\n    '|exists': true\n  condition: s\n",
            "8:5",
            "the modifier needs the name of a field",
        ),
        (
            "  s:\n    a: 1\n  condition: s and (t\n",
            "9:14",
            "the condition is not valid: there is no search",
        ),
        (
            "  s:\n    a: 1\n  condition: (s\n",
            "9:14",
            "the condition is not valid: a closing parenthesis",
        ),
        (
            "  s:\n    a: 1\n  condition: 1 of x*\n",
            "9:14",
            "the condition is not valid: no search identifier matches `x*`",
        ),
        (
            "  s:\n    a: 1\n  condition: s s\n",
            "9:14",
            "the condition is not valid: `and`, `or` or the end is expected",
        ),
        ("  s:\n    a: 1\n  condition: ''\n", "9:14", "the condition is not valid: it is empty"),
        ("  s:\n    a: 1\n", "7:3", "`detection` has no `condition`"),
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
}

#[test]
fn documents_that_are_no_rules_are_named() {
    for (text, position, message) in [
        (
            "title: x\ncorrelation:\n  type: event_count\n",
            "3:3",
            "`correlation` is not supported in Sigma rules",
        ),
        ("action: global\ntitle: x\n", "1:9", "`action` is not supported in Sigma rules"),
        (
            "title: x\nlogsource: {service: cloudtrail}\nfilter: {rules: any}\n",
            "3:9",
            "`filter` is not supported in Sigma rules",
        ),
        (
            "logsource: {product: aws, service: cloudtrail}\ndetection: {s: {a: 1}, condition: s}\n",
            "1:1",
            "the Sigma rule has no `title`",
        ),
        ("title: x\nlogsource: aws\ndetection: {}\n", "2:12", "`logsource` is not a mapping"),
    ] {
        assert_eq!(error(text), (position.to_owned(), message.to_owned()), "{text}");
    }
}

#[test]
fn rules_for_other_logs_are_told_apart() {
    for (log_source, message) in [
        ("{product: windows, service: security}", "`product` is windows, not aws"),
        ("{product: aws, service: guardduty}", "`service` is guardduty, not cloudtrail"),
        ("{category: process_creation, product: windows}", "`product` is windows, not aws"),
        ("{product: aws}", "it has no `service: cloudtrail`"),
    ] {
        let text = format!(
            "title: x\nlogsource: {log_source}\ndetection:\n  s: {{a: 1}}\n  condition: s\n"
        );
        let file = parse_rule_file(&text);
        assert_eq!((file.rules.len(), file.errors), (0, Vec::new()));
        let expected = format!("the rule is for another log source: {message}");
        assert_eq!(file.other_log_sources[0].message, expected);
    }
}

#[test]
fn modifiers_mean_what_the_specification_defines() {
    let event = json!({
        "command": "cmd.exe /c whoami -all", "encoded": "L2Jpbi9iYXNoIC1p", "part": "eHgvYmluL2Jhc2ggLWk=",
        "eventTime": "2026-11-27T03:05:09Z", "n": 5, "half": 0.5, "text": "A\nb", "flag": true, "none": null,
        "list": ["alice", "bob"], "userIdentity": { "userName": "Alice" }, "name": "alice", "other": "bob",
        "ip6": "2001:db8::1", "path": "C:\\Temp\\*x", "wide": "YQBiAA==",
        "big": 9_007_199_254_740_993_i64, "bigText": "9007199254740993", "infinite": "inf",
    });
    for (item, expected) in [
        ("n|neq: 4", true),
        ("n|neq: 5", false),
        ("n|neq: [4, 5]", false),
        ("missing|neq: 4", false),
        ("none|neq: 4", false),
        ("list|neq: alice", false),
        ("list|neq: carol", true),
        ("big: 9007199254740993", true),
        ("big: 9007199254740992", false),
        ("big: '9007199254740993'", true),
        ("big|gt: 9007199254740992", true),
        ("big|lte: 9007199254740992", false),
        ("bigText|gte: 9007199254740993", true),
        ("bigText|gt: 9007199254740993", false),
        ("big|gt: -1e300", true),
        ("infinite|gt: 1", false),
        ("infinite: 1e999", false),
        ("name|neq: ALICE", false),
        ("name|contains|neq: lic", false),
        ("name|neq|fieldref: other", true),
        ("name|neq|fieldref: userIdentity.userName", false),
        ("name|fieldref: userIdentity.userName", true),
        ("name|cased|fieldref: userIdentity.userName", false),
        ("name|fieldref: missing", false),
        ("command|windash|contains: ' -c '", true),
        ("command|windash|contains: ' /all'", true),
        ("command|contains|windash: ' -c whoami –all'", true),
        ("command|contains: ' -c '", false),
        ("encoded|base64: '/bin/bash -i'", true),
        ("encoded|base64: '/bin/bash'", false),
        ("part|base64offset|contains: '/bin/bash'", true),
        ("part|base64offset|contains: '/bin/zsh'", false),
        ("wide|wide|base64: ab", true),
        ("wide|utf16le|base64: ab", true),
        ("wide|utf16be|base64: ab", false),
        ("eventTime|hour: 3", true),
        ("eventTime|hour|gte: 3", true),
        ("eventTime|hour|lt: 3", false),
        ("eventTime|minute: 5", true),
        ("eventTime|day: [26, 27]", true),
        ("eventTime|month: 11", true),
        ("eventTime|year|gt: 2025", true),
        ("eventTime|week: 48", true),
        ("name|hour: 3", false),
        ("text|re: 'A.b'", false),
        ("text|re|s: 'A.b'", true),
        ("text|re|m: '^b$'", true),
        ("text|re: '^b$'", false),
        ("text|re|i|s: 'a.B'", true),
        ("text|re|ignorecase|dotall: 'a.B'", true),
        ("ip6|cidr: '2001:db8::/32'", true),
        ("ip6|cidr: 10.0.0.0/8", false),
        ("name|cidr: 10.0.0.0/8", false),
        ("n: 5.0", true),
        ("n: 5.5", false),
        ("half: .5", true),
        ("n|lte: '5'", true),
        ("half|gt: 0.4", true),
        ("name|gt: 1", false),
        ("flag: TRUE", true),
        ("flag: 'yes'", false),
        ("list|all: [alice, BOB]", true),
        ("list|all: [alice, carol]", false),
        ("list|contains|all: [lic, ob]", true),
        ("list: carol", false),
        ("name: [null, alice]", true),
        ("missing: [null, alice]", true),
        ("none: [alice, null]", true),
        ("other: [null, alice]", false),
        ("name|exists: yes", true),
        ("missing|exists: false", true),
        ("none|exists: true", false),
        (r"path: C:\Temp\\\*x", true),
        (r"path: 'C:\Temp\\*'", true),
        (r"path|endswith: '\*x'", true),
        (r"path|endswith: '\*y'", false),
        ("name: 'ALI?E'", true),
        ("name: 'AL?E'", false),
        ("name|cased: alice", true),
        ("name|cased|startswith: A", false),
        ("Name: alice", false),
    ] {
        assert_eq!(
            rule(&format!("  s:\n    {item}\n  condition: s\n")).fires(&event),
            expected,
            "{item}"
        );
    }
}

#[test]
fn keywords_are_found_anywhere_in_the_event() {
    let event = json!({"a": {"b": [{"c": "Say \"hi\""}, 1234]}, "path": "C:\\Temp"});
    for (identifier, expected) in [
        ("s: [say, other]", true),
        ("s: [other]", false),
        ("s: 'say \"HI\"'", true),
        (r"s: [C:\temp]", true),
        ("s: [1234]", true),
        ("s: ['s?y*hi']", true),
        ("s:\n    '|all': [say, temp]", true),
        ("s:\n    '|all': [say, other]", false),
        ("s:\n    '|contains|all': [say, temp]", true),
        ("s:\n    '|re': 'Say.*hi'", true),
        ("s: [{path: x}, say]", true),
    ] {
        let text = format!("  {identifier}\n  condition: s\n");
        assert_eq!(rule(&text).fires(&event), expected, "{identifier}");
    }
}

#[test]
fn names_bind_a_rule_to_events_in_any_case() {
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
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    let mut events = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "gz") {
            let file = std::fs::File::open(path).unwrap();
            let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).unwrap();
            events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    events
}

/// Returns the public rules.
fn public_rules() -> Vec<Rule> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigma/rules");
    let mut rules = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = parse_rule_file(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        assert_eq!((file.errors, file.other_log_sources), (Vec::new(), Vec::new()));
        rules.extend(file.rules);
    }
    assert_eq!(rules.len(), 57);
    rules
}

/// Returns the numbers of the events that each rule matches, as another program found them.
fn expected<T: serde::de::DeserializeOwned>(file: &str) -> BTreeMap<String, T> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigma");
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

#[test]
fn comparisons_mean_what_another_evaluator_takes_them_for_with_documented_exceptions() {
    let file: BTreeMap<String, serde_json::Value> = expected("comparisons.json");
    let other: BTreeMap<String, bool> = expected("rsigma-comparisons.json");
    let items = file["items"].as_array().unwrap().iter().map(|item| item.as_str().unwrap());
    let different: Vec<&str> = items
        .filter(|item| {
            let rule = format!(
                "title: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  s:\n    {item}\n  condition: s\n"
            );
            let rules = parse_rule_file(&rule);
            assert_eq!(rules.errors, Vec::new(), "{item}");
            let matched = rules.rules[0].fires(&file["event"]);
            matched != other[*item]
        })
        .collect();
    assert_eq!(
        different,
        [
            // Null is missing, for `neq` as for `exists`.
            "none|neq: 4",
            // Any element of an array can match.
            "list: bob",
            // Integers are exact.
            "big: 9007199254740992",
            "big|gt: 9007199254740992",
            "big|lte: 9007199254740992",
            "bigText: 9007199254740992",
            "bigText|gt: 9007199254740992",
            // A word is no number.
            "infinite|gt: 4",
        ]
    );
}

#[test]
fn public_rules_match_the_events_that_a_model_and_another_evaluator_find() {
    let set = RuleSet::new(public_rules());
    let mut found: BTreeMap<String, Vec<usize>> =
        set.rules().iter().map(|rule| (rule.name.clone(), Vec::new())).collect();
    for (number, event) in corpus().iter().enumerate() {
        set.evaluate(event, |_, rule, verdict| {
            if matches!(verdict, Verdict::Fires(_)) {
                found.get_mut(&rule.name).unwrap().push(number);
            }
        });
    }
    let counts: BTreeMap<String, usize> =
        found.iter().map(|(name, events)| (name.clone(), events.len())).collect();
    assert_eq!(counts, expected::<usize>("expected.json"), "the model in model.py");
    assert_eq!(found, expected::<Vec<usize>>("rsigma.json"), "rsigma");
}
