//! Action patterns against the cases of `tests/data/vectors/globs.json` and a naive model of the rules.

use proptest::prelude::*;
use serde_json::Value;

use super::{ActionFilter, ActionPattern, ActionWarningKind, actions_of_event};

/// The table, read again without the types of the program.
fn table() -> Value {
    serde_json::from_str(include_str!("../../../mappings/actions.json")).unwrap()
}

fn matches(pattern: &str, source: &str, name: &str) -> bool {
    ActionPattern::parse(pattern).unwrap().matches(source, name)
}

/// All names that an event answers to, in lower case: prefix or source, `:`, a name.
fn names_of(source: &str, name: &str) -> Vec<String> {
    let table = table();
    let service = source.trim_end_matches(".amazonaws.com").to_lowercase();
    let mut prefixes = vec![service.clone()];
    for (prefix, sources) in table["prefixes"].as_object().unwrap() {
        if sources.get(format!("{service}.amazonaws.com")).is_some() {
            prefixes.push(prefix.clone());
        }
    }
    let mut short = name.to_lowercase();
    for length in [8, 10] {
        let date = short.len().checked_sub(length).and_then(|start| short.get(start..));
        let is_date = date.is_some_and(|date| {
            date.starts_with("20")
                && date.replace('_', "").len() == 8
                && date.replace('_', "").bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_date {
            short.truncate(short.len() - length);
            break;
        }
    }
    let mut found = Vec::new();
    for prefix in &prefixes {
        found.push(format!("{prefix}:{}", name.to_lowercase()));
        found.push(format!("{prefix}:{short}"));
        for (action, events) in table["actions"].as_object().unwrap() {
            let has_event =
                events.as_object().unwrap().keys().any(|event| event.to_lowercase() == short);
            let (of, action) = action.split_once(':').unwrap();
            if of == prefix && has_event {
                found.extend(
                    prefixes.iter().map(|prefix| format!("{prefix}:{}", action.to_lowercase())),
                );
            }
        }
    }
    found
}

#[test]
fn every_case_of_the_vectors_is_as_expected() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/data/vectors/globs.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let pattern = ActionPattern::parse(case["pattern"].as_str().unwrap());
        if case["error"] == true {
            assert!(pattern.is_err(), "{case}");
            continue;
        }
        let source = case["eventSource"].as_str().unwrap();
        let name = case["eventName"].as_str().unwrap();
        assert_eq!(pattern.unwrap().matches(source, name), case["match"] == true, "{case}");
    }
}

#[test]
fn names_are_compared_without_regard_to_case() {
    assert!(matches("S3:GETOBJECT", "s3.amazonaws.com", "GetObject"));
    assert!(matches("s3.AmazonAWS.com:get*", "S3.amazonaws.com", "getobject"));
    assert!(matches("CloudWatch:put*", "monitoring.amazonaws.com", "PutMetricAlarm"));
}

#[test]
fn a_service_is_named_by_its_prefix_or_its_event_source() {
    for pattern in ["lex:*", "models.lex:*", "models.lex.amazonaws.com:*", "*lex:*"] {
        assert!(matches(pattern, "models.lex.amazonaws.com", "GetBots"), "{pattern}");
    }
    assert!(matches("s3:*", "s3.amazonaws.com.cn", "GetObject"));
    assert!(matches("s3.amazonaws.com.cn:*", "s3.amazonaws.com", "GetObject"));
    assert!(!matches("lex:*", "flexible.amazonaws.com", "GetBots"));
    assert!(matches("cloud*:PutMetricAlarm", "monitoring.amazonaws.com", "PutMetricAlarm"));
}

#[test]
fn dates_of_versions_may_be_left_out() {
    assert!(matches(
        "lambda:UpdateFunctionCode",
        "lambda.amazonaws.com",
        "UpdateFunctionCode20150331v2"
    ));
    assert!(matches("lambda:*2015*", "lambda.amazonaws.com", "UpdateFunctionCode20150331v2"));
    assert!(!matches("cloud9:CreateEnvironmentEC", "cloud9.amazonaws.com", "CreateEnvironmentEC2"));
}

#[test]
fn an_event_without_a_source_or_a_name_matches_only_what_matches_everything() {
    assert!(matches("*", "", ""));
    assert!(matches("*:*", "", ""));
    assert!(!matches("s3:*", "", "GetObject"));
    assert!(!matches("*:Get*", "s3.amazonaws.com", ""));
}

#[test]
fn a_text_without_a_colon_is_a_service_or_a_name() {
    assert!(matches("DeleteBucket", "s3.amazonaws.com", "DeleteBucket"));
    assert!(matches("Delete*", "ec2.amazonaws.com", "DeleteVpc"));
    assert!(matches("ListAllMyBuckets", "s3.amazonaws.com", "ListBuckets"));
    assert!(matches("s3", "s3.amazonaws.com", "DeleteBucket"));
    assert!(matches("signin.amazonaws.com", "signin.amazonaws.com", "ConsoleLogin"));
    assert!(matches("signin", "signin.amazonaws.com", "ConsoleLogin"));
    assert!(!matches("s3", "iam.amazonaws.com", "S3"));
}

#[test]
fn invalid_patterns_are_refused_at_their_place() {
    for (pattern, offset) in [
        ("", 0),
        ("  ", 0),
        (":GetObject", 0),
        (" :x", 1),
        ("s3:", 3),
        ("s3:Get:x", 6),
        ("arn:aws:s3:::x", 7),
    ] {
        let error = ActionPattern::parse(pattern).unwrap_err();
        assert_eq!(error.offset, offset, "{pattern}: {error}");
    }
}

#[test]
fn one_source_or_name_is_pushed_down_only_if_there_is_no_other() {
    let source = |patterns: &[&str]| ActionFilter::parse(patterns).unwrap().single_source();
    let name = |patterns: &[&str]| ActionFilter::parse(patterns).unwrap().single_event_name();
    assert_eq!(source(&["s3:Get*", "S3:Put*"]).as_deref(), Some("s3.amazonaws.com"));
    assert_eq!(source(&["cloudwatch:*"]).as_deref(), Some("monitoring.amazonaws.com"));
    assert_eq!(source(&["mq:*"]), None);
    assert_eq!(source(&["s3:*", "iam:*"]), None);
    assert_eq!(source(&["s*:*"]), None);
    assert_eq!(source(&[]), None);
    assert_eq!(name(&["s3:deletebucket"]), Some("DeleteBucket"));
    assert_eq!(name(&["*:ConsoleLogin"]), Some("ConsoleLogin"));
    assert_eq!(name(&["s3:ListAllMyBuckets"]), None);
    assert_eq!(name(&["lambda:CreateFunction"]), None);
    assert_eq!(name(&["s3:NoSuchAction"]), None);
    assert_eq!(name(&["s3:Delete*"]), None);
}

#[test]
fn patterns_that_find_less_than_expected_are_warned_about() {
    let kinds = |pattern: &str| -> Vec<ActionWarningKind> {
        let warnings = ActionFilter::parse(&[pattern]).unwrap().warnings();
        warnings.into_iter().map(|warning| warning.kind).collect()
    };
    for usual in [
        "s3:DeleteBucket",
        "s3:ListAllMyBuckets",
        "*",
        "*:*",
        "*:Delete*",
        "signin:ConsoleLogin",
        "cloudwatch:*",
        "lambda:CreateFunction20150331",
        "cloudfront:CreateDistribution",
        "dynamodb:*",
        "s3:Get*",
        "monitoring.amazonaws.com:Put*",
        "apigateway:POST",
        "iam:[CD]*User",
        "ec2:?tartInstances",
        "*:CreateFunction2015*",
        "*:*Bucket",
    ] {
        assert_eq!(kinds(usual), [], "{usual}");
    }
    let similar = |pattern: &str| match kinds(pattern).as_slice() {
        [
            ActionWarningKind::UnknownAction { similar }
            | ActionWarningKind::UnknownService { similar },
        ] => similar.clone(),
        other => panic!("{pattern}: {other:?}"),
    };
    assert!(similar("s3:DeleteBuckets").contains(&"s3:DeleteBucket".to_owned()));
    assert!(similar("iam:CreateUsr").contains(&"iam:CreateUser".to_owned()));
    assert!(similar("*:DeleteBuckt").contains(&"*:DeleteBucket".to_owned()));
    assert!(similar("dynamdb:*").contains(&"dynamodb:*".to_owned()));
    assert!(similar("s3:Gett*").len() <= 3);
    assert!(similar("*:Delet[!e]*").len() <= 3);
    assert!(similar("[!e]c2:*").len() <= 3);
    let bare = kinds("s3.Get*");
    assert!(
        bare.iter().any(|kind| matches!(kind, ActionWarningKind::UnknownAction { similar }
        if similar[0] == "s3:Get*")),
        "{bare:?}"
    );
    assert!(matches!(kinds("iam:PassRole").as_slice(), [ActionWarningKind::NeverLogged { .. }]));
    assert_eq!(kinds("s3:BypassGovernanceRetention"), [ActionWarningKind::NoApiCall]);
    for data in [
        "s3:GetObject",
        "lambda:InvokeFunction",
        "dynamodb:PutItem",
        "s3:*Object",
        "sqs:SendMessage",
    ] {
        assert_eq!(kinds(data), [ActionWarningKind::DataEvents], "{data}");
    }
    assert_eq!(kinds("s3:[z-a]*"), [ActionWarningKind::MatchesNothing]);
    assert_eq!(kinds("DeleteBucket"), [ActionWarningKind::AnyService]);
    assert_eq!(kinds("s3"), [ActionWarningKind::AnyAction]);
    assert!(kinds("s3:Get[").contains(&ActionWarningKind::OpenBracket));
}

#[test]
fn what_is_no_action_is_refused_with_what_was_meant() {
    for (text, suggestion) in [
        ("", Some("write 's3:Get*'")),
        ("s3:", Some("write 's3:*'")),
        (":Get*", Some("write '*:Get*'")),
        (":", None),
        ("s3:Get*,ec2:*", Some("write 's3:Get*' 'ec2:*'")),
        ("s3:Get*, ec2:*", Some("write 's3:Get*' 'ec2:*'")),
        ("s3 Get*", Some("write 's3:Get*'")),
        ("GetObject PutObject", Some("write 'GetObject' 'PutObject'")),
        ("s3:Get:x", None),
    ] {
        let error = ActionPattern::parse(text).unwrap_err();
        assert_eq!(error.suggestion.as_deref(), suggestion, "{text}");
    }
}

#[test]
fn the_actions_of_an_event_are_those_of_iam() {
    let actions = |source: &str, name: &str| -> Vec<String> {
        let actions = actions_of_event(source, name);
        actions.into_iter().map(|action| action.name).collect()
    };
    assert_eq!(actions("s3.amazonaws.com", "ListBuckets"), ["s3:ListAllMyBuckets"]);
    assert_eq!(
        actions("monitoring.amazonaws.com", "PutMetricAlarm"),
        ["cloudwatch:PutMetricAlarm"]
    );
    assert_eq!(
        actions("lambda.amazonaws.com", "CreateFunction20150331"),
        ["lambda:CreateFunction"]
    );
    assert_eq!(actions("lambda.amazonaws.com", "Invoke"), ["lambda:InvokeFunction"]);
    assert_eq!(actions("kms.amazonaws.com", "ReEncrypt"), ["kms:ReEncryptFrom", "kms:ReEncryptTo"]);
    assert_eq!(
        actions("autoscaling.amazonaws.com", "RegisterScalableTarget"),
        ["application-autoscaling:RegisterScalableTarget"]
    );
    assert_eq!(actions("s3.amazonaws.com", "CopyObject"), ["s3:GetObject", "s3:PutObject"]);
    assert_eq!(actions("signin.amazonaws.com", "ConsoleLogin"), Vec::<String>::new());
    assert_eq!(actions("", ""), Vec::<String>::new());
    let unknown = actions_of_event("example.amazonaws.com", "DoSomething");
    assert_eq!(unknown[0].name, "example:DoSomething");
    assert_eq!(unknown[0].permission, None);
}

proptest! {
    #[test]
    fn a_pattern_finds_an_event_exactly_if_one_of_its_names_matches(
        event in prop_oneof![
            Just(("s3.amazonaws.com", "ListBuckets")), Just(("s3.amazonaws.com", "CopyObject")),
            Just(("monitoring.amazonaws.com", "PutMetricAlarm")), Just(("mq.amazonaws.com", "CreateBroker")),
            Just(("amazonmq.amazonaws.com", "CreateBroker")), Just(("lambda.amazonaws.com", "Invoke")),
            Just(("cloudfront.amazonaws.com", "CreateDistribution2020_05_31")),
            Just(("lambda.amazonaws.com", "CreateFunction20150331")), Just(("ec2.amazonaws.com", "RunInstances")),
            Just(("signin.amazonaws.com", "ConsoleLogin")), Just(("autoscaling.amazonaws.com", "PutScalingPolicy")),
            Just(("apigateway.amazonaws.com", "CreateRestApi")), Just(("apigateway.amazonaws.com", "GetRestApi")),
        ],
        from in 0_usize..20, cut in 0_usize..20, star in any::<bool>(), which in 0_usize..50,
    ) {
        let (source, name) = event;
        let names = names_of(source, name);
        // A name of the event, with a star in place of a piece of it.
        let own = &names[which % names.len()];
        let (service, action) = own.split_once(':').unwrap();
        let from = from.min(action.len());
        let pattern = format!("{service}:{}{}{}", &action[..from], if star { "*" } else { "" },
            &action[(from + cut).min(action.len())..]);
        prop_assume!(!pattern.ends_with(':'));
        let glob = crate::filter::glob::Glob::new(&pattern);
        prop_assert_eq!(
            matches(&pattern, source, name),
            names.iter().any(|name| glob.matches(name)),
            "{} {} {}", pattern, source, name
        );
    }
}
