//! Vectors, and the content of answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{json, messages, schema, text};

const VECTORS: &str = include_str!("../data/vectors/schema.json");

fn cases(group: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap().clone();
    let cases: Vec<Value> = cases.into_iter().filter(|case| case["group"] == group).collect();
    assert!(!cases.is_empty(), "{group}");
    cases
}

/// Answers, so that each question is asked once.
#[derive(Default)]
struct Answers(BTreeMap<String, Value>);

impl Answers {
    fn of(&mut self, ask: &str) -> &Value {
        self.0.entry(ask.to_owned()).or_insert_with(|| json(&[ask]))
    }
}

/// Finds a field of a side: `tags[].key`, `expected.*.value`.
fn field<'a>(answer: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.replace("[]", ".[]");
    let mut at = answer;
    for (number, name) in path.split('.').enumerate() {
        at = match name {
            "[]" => &at["member"],
            "*" => &at["value"],
            _ if number == 0 => &at[name],
            _ => &at["members"][name],
        };
    }
    (!at.is_null()).then_some(at)
}

#[test]
fn fields_have_the_facts_of_the_model() {
    let mut answers = Answers::default();
    for case in cases("fields") {
        let ask = case["ask"].as_str().unwrap();
        let path = case["field"].as_str().unwrap();
        let answer = answers.of(ask);
        let field = field(answer, path).unwrap_or_else(|| panic!("{ask} lacks {path}"));
        for fact in ["type", "min", "max", "pattern", "enum"] {
            assert_eq!(field[fact], case[fact], "{fact} of {path} in {ask}");
        }
        let is = |value: &Value| value.as_bool().unwrap_or(false);
        assert_eq!(is(&field["recursive"]), is(&case["recursive"]), "recursion of {path} in {ask}");
        assert_eq!(is(&field["required"]), is(&case["required"]), "required: {path} in {ask}");
    }
}

#[test]
fn names_that_people_have_at_hand_are_understood() {
    for case in cases("names") {
        let ask = case["ask"].as_str().unwrap();
        let expected = case["resolves"].as_str().unwrap();
        let answer = json(&[ask]);
        match expected.split_once('.') {
            Some((service, operation)) => {
                assert_eq!(answer["service"], service, "{ask}");
                assert_eq!(answer["operation"], operation, "{ask}");
            }
            None => assert_eq!(answer, json(&[expected]), "{ask}"),
        }
    }
    let expected = json(&["iam.CreatePolicy"]);
    for words in [
        &["iam:CreatePolicy"][..],
        &["iam.amazonaws.com", "CreatePolicy"],
        &["iam.amazonaws.com CreatePolicy"],
        &["IAM.createpolicy"],
        &["iam.amazonaws.com.CreatePolicy"],
    ] {
        assert_eq!(json(words), expected, "{words:?}");
    }
}

#[test]
fn unknown_names_are_errors_that_name_similar_ones() {
    for case in cases("errors") {
        let ask = case["ask"].as_str().unwrap();
        let output = schema(&[ask]);
        assert_eq!(output.status.code(), Some(1), "{ask}");
        assert!(output.stdout.is_empty(), "{ask}");
        assert!(messages(&output).starts_with("error: "), "{ask}");
    }
    for (ask, similar) in [
        ("lamda.CreateFunction", "lambda"),
        ("iam.CretePolicy", "iam.CreatePolicy"),
        ("signin.ConsolLogin", "signin.ConsoleLogin"),
        ("iam.CreatePolicy.output.policy.policyNam", "policy.policyName"),
    ] {
        let message = messages(&schema(&[ask]));
        assert!(message.contains(&format!("did you mean {similar}")), "{ask}: {message}");
    }
}

#[test]
fn a_side_that_does_not_exist_is_empty() {
    for case in cases("empty") {
        let output = schema(&[case["ask"].as_str().unwrap(), "--format", "json"]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), serde_json::json!({}));
        assert!(messages(&output).contains("has no output"), "{}", messages(&output));
    }
}

#[test]
fn paths_of_real_events_are_among_those_shown() {
    let mut answers = Answers::default();
    for case in cases("cloudtrail") {
        let ask = case["ask"].as_str().unwrap();
        let member = case["side"].as_str().unwrap();
        let side = if member == "requestParameters" { "input" } else { "output" };
        let answer = answers.of(&format!("{ask}.{side}"));
        let mut shown = Vec::new();
        collect(answer, &mut shown);
        for path in case["paths_seen"].as_array().unwrap() {
            let path = format!("{member}.{}", path.as_str().unwrap());
            let is_shown = shown.iter().any(|(known, is_any)| {
                fits(known, &path) || *is_any && path.starts_with(&format!("{known}."))
            });
            assert!(is_shown, "{ask}.{side} does not show {path}");
        }
    }
}

/// Collects the paths of all fields, and whether what is below is any JSON.
fn collect(value: &Value, shown: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(members) => {
            for path in value["cloudtrail"].as_array().into_iter().flatten() {
                let is_any = value["parsed_json"] == true;
                shown.push((path.as_str().unwrap_or_default().to_owned(), is_any));
            }
            members.values().for_each(|below| collect(below, shown));
        }
        Value::Array(items) => items.iter().for_each(|below| collect(below, shown)),
        _ => {}
    }
}

/// Returns whether a path fits one in which `*` is any key.
fn fits(known: &str, path: &str) -> bool {
    let (known, path): (Vec<&str>, Vec<&str>) =
        (known.split('.').collect(), path.split('.').collect());
    known.len() == path.len()
        && known.iter().zip(path).all(|(one, other)| *one == "*" || *one == other)
}

#[test]
fn the_three_questions_of_the_first_version_have_the_same_content() {
    let services = json(&[]);
    for name in
        ["acm", "acm-pca", "amplify", "apigateway", "apigatewaymanagementapi", "apigatewayv2"]
    {
        assert!(services.as_array().unwrap().contains(&name.into()), "{name}");
    }
    let operations = json(&["iam"]);
    for name in ["AddClientIDToOpenIDConnectProvider", "AddRoleToInstanceProfile", "ChangePassword"]
    {
        assert!(operations.as_array().unwrap().contains(&name.into()), "{name}");
    }
    let output = json(&["iam.CreatePolicy.output"]);
    let policy = &output["policy"]["members"];
    assert_eq!(policy["policyName"]["type"], "string");
    assert_eq!(policy["policyId"]["min"], 16);
    assert_eq!(policy["arn"]["max"], 2048);
    assert_eq!(policy["createDate"]["type"], "timestamp");
    assert_eq!(policy["isAttachable"]["type"], "boolean");
    let output = json(&["ec2.CreateVpcPeeringConnection.output"]);
    let peering = &output["vpcPeeringConnection"]["members"];
    // The lists that the first version left unresolved.
    let owner = &peering["accepterVpcInfo"]["members"]["ownerId"];
    assert_eq!(
        owner["cloudtrail"][0],
        "responseElements.vpcPeeringConnection.accepterVpcInfo.ownerId"
    );
    let block = &peering["accepterVpcInfo"]["members"]["cidrBlockSet"]["member"]["members"];
    assert_eq!(block["cidrBlock"]["type"], "string");
    assert_eq!(peering["tags"]["member"]["members"]["key"]["type"], "string");
}

#[test]
fn the_field_of_the_index_is_that_of_a_load() {
    let policy = json(&["s3.PutBucketPolicy.input"]);
    assert_eq!(policy["policy"]["cloudtrail"][0], "requestParameters.bucketPolicy");
    assert_eq!(policy["policy"]["index"][0]["mapped"], false);
    let tags = json(&["kms.CreateKey.input"]);
    assert_eq!(tags["tags"]["member"]["members"]["tagKey"]["index"][0]["mapped"], true);
    let filter = json(&["ec2.DescribeInstanceAttribute.input"]);
    let attribute = &filter["attribute"];
    assert_eq!(attribute["cloudtrail"][0], "requestParameters.attribute");
    assert_eq!(attribute["index"][0]["field"], "requestParameters.attribute_value");
}

#[test]
fn values_that_may_be_hidden_and_texts_with_json_are_marked() {
    let secret = json(&["secretsmanager.CreateSecret.input"]);
    assert_eq!(secret["secretString"]["may_be_hidden"], true);
    let policy = json(&["iam.CreatePolicy.input"]);
    assert_eq!(policy["policyDocument"]["json_as_text"], true);
    assert_eq!(policy["policyName"]["json_as_text"], Value::Null);
}

#[test]
fn events_that_are_not_api_calls_have_their_fields() {
    let login = json(&["signin.ConsoleLogin"]);
    assert_eq!(login["event_type"], "AwsConsoleSignIn");
    let mfa = &login["additionalEventData"]["MFAUsed"];
    assert_eq!(mfa["cloudtrail"][0], "additionalEventData.MFAUsed");
    let rotation = json(&["kms.amazonaws.com", "RotateKey"]);
    assert_eq!(rotation["event_type"], "AwsServiceEvent");
    assert!(text(&["signin"]).contains("ConsoleLogin"));
    assert!(text(&["billingconsole"]).contains("SetContactAddress"));
}

#[test]
fn one_field_can_be_asked_for() {
    let answer = json(&["iam.CreatePolicy.output.policy.arn"]);
    assert_eq!(answer["arn"]["max"], 2048);
    assert_eq!(answer.as_object().unwrap().len(), 1);
    let answer = json(&["iam.CreatePolicy.input.tags.key"]);
    assert_eq!(answer["key"]["max"], 128);
}

#[test]
fn globs_list_operations_of_several_services() {
    let found = json(&["iam.*Policy*"]);
    let found = found.as_array().unwrap();
    assert!(found.contains(&"CreatePolicy".into()), "{found:?}");
    assert!(!found.contains(&"CreateUser".into()));
    let found = json(&["*.CreatePolicy"]);
    assert!(found.as_array().unwrap().contains(&"iot.CreatePolicy".into()));
    assert_eq!(schema(&["iam.*NoSuch*"]).status.code(), Some(1));
}
