//! What match expressions promise, by vectors, the standard's test suite and an independent model.

use serde_json::Value;

use super::*;

mod hints;
mod model;

/// Returns the message of an expression that is refused, its caret as an offset, and the suggestion.
fn refusal(expression: &str) -> (String, usize, Option<String>) {
    let error = MatchExpression::parse(expression).expect_err(expression);
    (error.message, error.offset, error.suggestion)
}

#[test]
fn every_vector_holds() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/data/vectors/jsonpath-match.json"))
            .unwrap();
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let expression = case["expression"].as_str().unwrap();
        let parsed = MatchExpression::parse(expression);
        let expected = case["match"].as_bool();
        let event = &vectors["events"][case["event"].as_str().unwrap_or_default()];
        let found = parsed.as_ref().ok().map(|parsed| parsed.matches(event).is_match());
        // The vectors call an empty expression an error; it is accepted because the usage examples of aws-spitzel have it.
        if found != expected && !expression.is_empty() {
            wrong.push(format!("{case}: {parsed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Selectors that RFC 9535 refuses and that are accepted here, each for one of the five reasons.
const LENIENCIES: &[&str] = &[" $", "$ ", "$.1"];

#[test]
fn paths_select_what_the_standard_defines() {
    let packed: &[u8] =
        include_bytes!("../../../../tests/data/vectors/jsonpath-compliance.json.gz");
    let cases: Vec<Value> = serde_json::from_reader(flate2::read::GzDecoder::new(packed)).unwrap();
    assert_eq!(cases.len(), 703);
    let (mut wrong, mut accepted) = (Vec::new(), Vec::new());
    for case in &cases {
        let selector = case["selector"].as_str().unwrap();
        let parsed = path_reader::parse_path(selector, selector.len());
        let Ok(path) = parsed else {
            if case["invalid_selector"] != true {
                wrong.push(format!("{case}: {parsed:?}"));
            }
            continue;
        };
        if case["invalid_selector"] == true {
            accepted.push(selector);
            continue;
        }
        let mut found = Vec::new();
        let _ = path.visit(&case["document"], |value| {
            found.push(value.clone());
            ControlFlow::Continue(())
        });
        let found = Value::from(found);
        let expected = case["results"].as_array().cloned().unwrap_or(vec![case["result"].clone()]);
        if !expected.contains(&found) {
            wrong.push(format!("{case}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(accepted, LENIENCIES);
}

#[test]
fn five_leniencies_mean_what_rfc_9535_writes_otherwise() {
    for (lenient, canonical) in [
        ("eventName", "$.eventName"),
        ("userIdentity.type", "$.userIdentity.type"),
        ("['eventName']", "$['eventName']"),
        (".eventName", "$.eventName"),
        ("*", "$.*"),
        ("..arn", "$..arn"),
        ("  $.a \t", "$.a"),
        ("$.responseElements.x-amz-id-2", "$.responseElements['x-amz-id-2']"),
        ("$.tags.aws:created", "$.tags['aws:created']"),
        ("$.a.x-", "$.a['x-']"),
        ("$.resources.0.ARN", "$.resources['0',0].ARN"),
        ("$.a.007", "$.a['007']"),
        ("$.a.2fa", "$.a['2fa']"),
        ("$.a.99999999999999999999", "$.a['99999999999999999999']"),
        ("$..0", "$..['0',0]"),
        ("$..x-y", "$..['x-y']"),
        ("$.l[(@.length-1)]", "$.l[-1]"),
        ("$.l[ ( @.length - 2 ) ]", "$.l[-2]"),
        ("$[eventName]", "$['eventName']"),
        ("$[userIdentity][x-y, 'z']", "$['userIdentity']['x-y','z']"),
        ("$.r[?(@.x-y == 'a-b')]", "$.r[?(@['x-y'] == 'a-b')]"),
        ("$.r[?@[name]]", "$.r[?@['name']]"),
        ("$.r[?@.a.0]", "$.r[?@.a['0',0]]"),
        ("$ .a [ 'b' ]", "$.a['b']"),
        ("$.世界", "$.世界"),
    ] {
        let path = path_reader::parse_path(lenient, lenient.len()).expect(lenient);
        assert_eq!(path.as_str(), canonical, "{lenient}");
    }
}

#[test]
fn simple_paths_name_their_members() {
    let names = |text: &str| {
        let path = path_reader::parse_path(text, text.len()).unwrap();
        path.names().map(|names| names.join("/"))
    };
    assert_eq!(names("$.userIdentity['x.y'].z-1").as_deref(), Some("userIdentity/x.y/z-1"));
    for other in ["$.a[0]", "$.a.0", "$..a", "$.*", "$['a','b']", "$.a[?@.b]", "$.a[?$.b]"] {
        assert_eq!(names(other), None, "{other}");
    }
    assert_eq!(names("$").as_deref(), Some(""));
}

#[test]
fn the_operator_is_the_first_one_outside_of_brackets_and_quotation_marks() {
    for (expression, operator, path) in [
        ("$.user==\"r\"", Operator::Equal, "$.user"),
        ("$['a == b'] == 1", Operator::Equal, "$['a == b']"),
        ("$['it\\'s != x'] != 1", Operator::NotEqual, "$['it\\'s != x']"),
        ("$.a[?@.b == 'x'] regex 'x'", Operator::Regex, "$.a[?@.b == 'x']"),
        ("$.a[?(@.b != ')' )]regex'x'", Operator::Regex, "$.a[?(@.b != ')' )]"),
        ("$.regex regex 'regex'", Operator::Regex, "$.regex"),
        ("$.x-regex == 1", Operator::Equal, "$['x-regex']"),
        ("regex == 1", Operator::Equal, "$.regex"),
        ("$.regexName == 1", Operator::Equal, "$.regexName"),
        ("$.a regex\"x == y\"", Operator::Regex, "$.a"),
        ("$.a\tregex\n'x'", Operator::Regex, "$.a"),
        ("$.a == '!='", Operator::Equal, "$.a"),
        ("$.*regex 'x'", Operator::Regex, "$.*"),
    ] {
        let parsed = MatchExpression::parse(expression).expect(expression);
        assert_eq!(parsed.operator(), Some(operator), "{expression}");
        assert_eq!(parsed.path().map(Path::as_str), Some(path), "{expression}");
    }
}

#[test]
fn errors_show_the_place_and_what_to_write() {
    for (expression, offset, message, suggestion) in [
        (
            "$.a",
            3,
            "the operator is missing",
            "to find events that have this field, write $.a != null",
        ),
        ("$.a = 1", 4, "= is no operator", "write $.a == 1"),
        ("$.a = Alice", 4, "= is no operator", "write $.a == \"Alice\""),
        ("$.a =~ 'x'", 4, "=~ is no operator", "write $.a regex 'x'"),
        ("$.a <> 1", 4, "<> is no operator", "write $.a != 1"),
        (
            "$.a >= 1",
            4,
            ">= is no operator",
            "the operators are ==, != and regex; for order, use --where",
        ),
        ("$.a matches 'x'", 4, "matches is no operator", "write $.a regex 'x'"),
        ("$.a IS NOT null", 4, "is not is no operator", "write $.a != null"),
        (
            "$.a in ['x', 'y']",
            4,
            "in is no operator",
            "for one of several texts, write $.a regex \"^(a|b)$\"",
        ),
        ("$.a is None", 4, "is is no operator", "write $.a == None"),
        ("$.a contains x y", 4, "contains is no operator", "write $.a regex \"x y\""),
        (
            "$.tags.k8s.io/x == 1",
            13,
            "`/` cannot stand here in a path",
            "put a name with this character in brackets and quotation marks: ['a/b']",
        ),
        ("$.a regexp 'x'", 4, "this is no operator", "write regex and a text in quotation marks"),
        (
            "$.a ==",
            6,
            "the value is missing",
            "write a text in quotation marks, a number, true, false, null, a list or an object",
        ),
        ("$.a === 1", 6, "this is no value", "the operators are ==, != and regex"),
        ("== 1", 0, "the path is missing", "start with a path such as $.eventName"),
        ("$eventName == 1", 1, "a point is missing behind $", "write $.eventName"),
        ("$.a. == 1", 4, "a name is missing behind the point", ""),
        (
            "$.a.[0] == 1",
            4,
            "a name is missing behind the point",
            "leave out the point before the bracket",
        ),
        ("$.a.-1 == 1", 4, "a name is missing behind the point", "write [-1] for the last element"),
        ("$.a[] == 1", 4, "the brackets are empty", "write [*] for all elements"),
        ("$.a[0 == 1", 3, "the bracket is not closed", "add ] at its end"),
        ("$['a == 1", 2, "the quotation mark is not closed", "add ' at the end of the text"),
        (
            "event name == 1",
            6,
            "`n` cannot stand here in a path",
            "put a name with blanks in brackets and quotation marks: ['a name']",
        ),
        (
            "$.a[@.b] == 1",
            4,
            "a filter starts with a question mark",
            "write [?(@.name == 'value')]",
        ),
        (
            "$.a[(@.b)] == 1",
            4,
            "a script in brackets is not supported",
            "write [-1] for the last element, or [?(…)] for a filter",
        ),
        ("$..a..b..c == 1", 7, "`..` may occur at most 2 times in an expression", ""),
        ("$.a regex 5", 10, "a pattern is a text in quotation marks", "write \"5\""),
        ("$.a == AccessDenied", 7, "a text must be in quotation marks", "write \"AccessDenied\""),
    ] {
        let expected = (
            message.to_owned(),
            offset,
            Some(suggestion.to_owned()).filter(|text| !text.is_empty()),
        );
        assert_eq!(refusal(expression), expected, "{expression}");
    }
}

#[test]
fn errors_in_filters_and_patterns_show_their_place() {
    for (expression, offset, suggestion) in [
        (
            "$.a[?(@.b =~ /x/)] == 1",
            10,
            "write match(@.name, 'pattern') for the whole text, or search(@.name, 'pattern') for a part of it",
        ),
        ("$.a[?@.b == 1 and @.c == 2] == 1", 14, "write && in a filter"),
        ("$.x-y[?@.b == True] == 1", 14, "write true in a filter"),
        ("$.a[01] == 1", 5, ""),
        ("$.a regex '[z-a]'", 12, ""),
        ("$.a regex 'x(y'", 14, ""),
    ] {
        let (message, found, meant) = refusal(expression);
        assert_eq!(meant.unwrap_or_default(), suggestion, "{expression}: {message}");
        assert_eq!(found, offset, "{expression}: {message}");
    }
}

/// The expressions of the usage examples of aws-spitzel 1.0.7, on its sample event with an access denied error.
#[test]
fn the_usage_examples_of_aws_spitzel_hold_as_written() {
    let event = serde_json::json!({
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:Carol", "accountId": "060862059283",
            "arn": "arn:aws:sts::060862059283:assumed-role/MyRole/MyUser", "userName": "AliceIsNotBob",
        },
        "eventSource": "transfer.amazonaws.com", "eventName": "ListServers", "sourceIPAddress": "147.161.171.112",
        "errorCode": "AccessDenied",
    });
    for (expression, expected) in [
        ("$.userIdentity.userName == \"AliceIsNotBob\"", true),
        ("$.userIdentity.userName != \"AliceIsNotBob\"", false),
        ("$.userIdentity.userName regex \"AliceIsNot.*\"", true),
        ("$.errorCode == \"AccessDenied\"", true),
        ("$.errorCode != \"AccessDenied\"", false),
        ("$.errorCode != None", true),
        ("$.userIdentity.accountId == \"060862059283\"", true),
        ("$.sourceIPAddress == \"147.161.171.112\"", true),
        ("$.userIdentity.arn regex \".*/MyRole/MyUser\"", true),
        ("", true),
        // It requires the start of the text behind a colon: it matches nothing, there and here.
        ("$.userIdentity.principalId regex \".*:^((?!Alice).)\"", false),
        ("$.userIdentity.principalId regex \"^(?!.*:Alice$)\"", true),
    ] {
        let parsed = MatchExpression::parse(expression).expect(expression);
        assert_eq!(parsed.matches(&event).is_match(), expected, "{expression}");
        let is_flawed = expression.is_empty() || expression.contains(":^");
        assert_eq!(!parsed.warnings().is_empty(), is_flawed, "{expression}");
    }
}
