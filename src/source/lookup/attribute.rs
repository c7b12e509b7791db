//! Chooses the one attribute of LookupEvents that a search is sent with.
//!
//! Input: a [`Query`]. Output: the attribute that is expected to leave the fewest events, if any.
//! Invariant: LookupEvents returns every event that the query accepts; the search evaluates all conditions again. An
//! attribute compares exactly, so a condition is sent only if it is exact as well and means the same value:
//!
//! | attribute | sent for |
//! |---|---|
//! | `EventId` | `$.eventID == "…"` |
//! | `AccessKeyId` | one `--access-key`, or `$.userIdentity.accessKeyId == "…"` |
//! | `Username` | `$.userIdentity.userName == "…"` together with `$.userIdentity.type == "IAMUser"`: of other types, it is the name of a session, or not documented |
//! | `EventName` | actions that lead to one name in one spelling, or `$.eventName == "…"` |
//! | `EventSource` | actions that lead to one source, or `$.eventSource == "…"` |
//! | `ReadOnly` | `--read-only`, `--write-only`, or `$.readOnly == true` |
//!
//! Not sent: `--principal`, which compares several fields without regard to case; and `ResourceName`, because which
//! resources LookupEvents knows of an event is not documented. Several values of an attribute are not sent as several
//! passes either: all share one quota, and a pass without an attribute reads each event once.

use aws_sdk_cloudtrail::types::LookupAttributeKey;

use super::LookupFilter;
use crate::filter::{
    literal::Literal,
    match_expression::{MatchExpression, Operator, Path},
    query::Query,
    selectors::CallKind,
};

/// Services of which other services and consoles read all the time, so that most of their events only read: there,
/// `ReadOnly=false` leaves fewer events than `EventSource`.
const MOSTLY_READ: [&str; 8] = [
    "autoscaling.amazonaws.com",
    "ec2.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "kms.amazonaws.com",
    "logs.amazonaws.com",
    "s3.amazonaws.com",
    "ssm.amazonaws.com",
    "sts.amazonaws.com",
];

/// Returns the attribute to send with the requests of a search; `None` if none can be sent without losing events.
pub fn lookup_filter_for(query: &Query) -> Option<LookupFilter> {
    by_event_id(query)
        .or_else(|| by_access_key(query))
        .or_else(|| by_user(query))
        .or_else(|| by_event_name(query))
        .or_else(|| by_source_or_kind(query))
}

fn by_event_id(query: &Query) -> Option<LookupFilter> {
    new_filter(&LookupAttributeKey::EventId, required_text(query, &["eventID"])?)
}

fn by_access_key(query: &Query) -> Option<LookupFilter> {
    let selected = match query.selectors.access_keys.as_slice() {
        [key] => Some(key.as_str()),
        _ => None,
    };
    let key = selected.or_else(|| required_text(query, &["userIdentity", "accessKeyId"]))?;
    new_filter(&LookupAttributeKey::AccessKeyId, key)
}

fn by_user(query: &Query) -> Option<LookupFilter> {
    if required_text(query, &["userIdentity", "type"]) != Some("IAMUser") {
        return None;
    }
    let name = required_text(query, &["userIdentity", "userName"])?;
    new_filter(&LookupAttributeKey::Username, name)
}

fn by_event_name(query: &Query) -> Option<LookupFilter> {
    let name = query.actions.single_event_name();
    let name = name.or_else(|| required_text(query, &["eventName"]))?;
    new_filter(&LookupAttributeKey::EventName, name)
}

fn by_source_or_kind(query: &Query) -> Option<LookupFilter> {
    let kind = kind_of_calls(query);
    let source = query.actions.single_source();
    let source = source.or_else(|| required_text(query, &["eventSource"]).map(str::to_owned));
    let by_kind = || match kind? {
        CallKind::Read => Some(LookupFilter::read_only()),
        CallKind::Write => Some(LookupFilter::write_only()),
    };
    match source {
        Some(source)
            if kind != Some(CallKind::Write) || !MOSTLY_READ.contains(&source.as_str()) =>
        {
            new_filter(&LookupAttributeKey::EventSource, &source).or_else(by_kind)
        }
        _ => by_kind(),
    }
}

/// Returns the kind of all calls that the query accepts, if they are of one.
fn kind_of_calls(query: &Query) -> Option<CallKind> {
    query.selectors.calls.or_else(|| match required_literal(query, &["readOnly"])? {
        Literal::Bool(true) => Some(CallKind::Read),
        Literal::Bool(false) => Some(CallKind::Write),
        _ => None,
    })
}

/// Returns the text that a field must equal.
fn required_text<'query>(query: &'query Query, path: &[&str]) -> Option<&'query str> {
    required_literal(query, path)?.as_text()
}

/// Returns the value that a field must equal.
fn required_literal<'query>(query: &'query Query, path: &[&str]) -> Option<&'query Literal> {
    let is_wanted = |expression: &&MatchExpression| {
        expression.operator() == Some(Operator::Equal)
            && expression.path().and_then(Path::names).is_some_and(|names| names == path)
    };
    query.matches.iter().find(is_wanted).and_then(MatchExpression::literal)
}

/// Returns the filter, if LookupEvents accepts the value.
fn new_filter(key: &LookupAttributeKey, value: &str) -> Option<LookupFilter> {
    format!("{}={value}", key.as_str()).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::filter::{
        action::ActionFilter, glob::Glob, query::Observations, selectors::Selectors,
    };

    fn query(actions: &[&str], matches: &[&str]) -> Query {
        Query {
            actions: ActionFilter::parse(actions).unwrap(),
            matches: matches.iter().map(|text| MatchExpression::parse(text).unwrap()).collect(),
            ..Query::default()
        }
    }

    fn sent(query: &Query) -> String {
        lookup_filter_for(query).map(|filter| filter.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_most_selective_attribute_is_sent() {
        for (actions, matches, expected) in [
            (&[][..], &[][..], ""),
            (&["*"], &[], ""),
            (&["*:Delete*"], &[], ""),
            (&["s3:Get*"], &[], "EventSource=s3.amazonaws.com"),
            (&["s3:Get*", "s3:Put*"], &[], "EventSource=s3.amazonaws.com"),
            (&["s3:Get*", "iam:*"], &[], ""),
            (&["cloudwatch:*"], &[], "EventSource=monitoring.amazonaws.com"),
            (&["iam:createuser"], &[], "EventName=CreateUser"),
            // Several names of events belong to the action.
            (&["lambda:CreateFunction"], &[], "EventSource=lambda.amazonaws.com"),
            (&["s3:ListAllMyBuckets"], &[], "EventSource=s3.amazonaws.com"),
            (&[], &[r#"$.eventName == "CreateUser""#], "EventName=CreateUser"),
            (&[], &[r#"eventName == "CreateUser""#], "EventName=CreateUser"),
            (&[], &[r#"$.eventName != "CreateUser""#], ""),
            (&[], &[r#"$.eventName regex "CreateUser""#], ""),
            (&[], &[r#"$..eventName == "CreateUser""#], ""),
            (&[], &[r#"$.eventName == """#], ""),
            (&[], &["$.readOnly == false"], "ReadOnly=false"),
            (&["s3:*"], &["$.readOnly == false"], "ReadOnly=false"),
            (&["iam:*"], &["$.readOnly == false"], "EventSource=iam.amazonaws.com"),
            (&[], &[r#"$.userIdentity.userName == "alice""#], ""),
            (
                &["iam:CreateUser"],
                &[r#"$.userIdentity.userName == "alice""#, r#"$.userIdentity.type == "IAMUser""#],
                "Username=alice",
            ),
            (
                &["iam:CreateUser"],
                &[r#"$.userIdentity.accessKeyId == "AKIAIOSFODNN7EXAMPLE""#],
                "AccessKeyId=AKIAIOSFODNN7EXAMPLE",
            ),
            (
                &["iam:CreateUser"],
                &[r#"$.eventID == "de6b4a57-bb34-4a36-9ee5-6d6a1e0a2a9a""#],
                "EventId=de6b4a57-bb34-4a36-9ee5-6d6a1e0a2a9a",
            ),
        ] {
            assert_eq!(sent(&query(actions, matches)), expected, "{actions:?} {matches:?}");
        }
        let mut by_key = query(&["s3:*"], &[]);
        by_key.selectors.access_keys = vec!["AKIAIOSFODNN7EXAMPLE".parse().unwrap()];
        assert_eq!(sent(&by_key), "AccessKeyId=AKIAIOSFODNN7EXAMPLE");
        by_key.selectors.access_keys.push("ASIAIOSFODNN7EXAMPLE".parse().unwrap());
        assert_eq!(sent(&by_key), "EventSource=s3.amazonaws.com");
        let mut by_kind = query(&[], &[]);
        by_kind.selectors.calls = Some(CallKind::Read);
        assert_eq!(sent(&by_kind), "ReadOnly=true");
    }

    /// The attribute of an event, as the documentation of LookupEvents describes it.
    fn attribute(event: &Value, key: &str) -> Option<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let identity = &event["userIdentity"];
        match key {
            "EventId" => text(&event["eventID"]),
            "EventName" => text(&event["eventName"]),
            "EventSource" => text(&event["eventSource"]),
            "ReadOnly" => event["readOnly"].as_bool().map(|read_only| read_only.to_string()),
            "AccessKeyId" => text(&identity["accessKeyId"]),
            "Username" => match identity["type"].as_str()? {
                "IAMUser" => text(&identity["userName"]),
                "AssumedRole" => identity["arn"].as_str()?.rsplit('/').next().map(str::to_owned),
                "Root" => Some("root".to_owned()),
                _ => None,
            },
            other => panic!("{other} is not sent"),
        }
    }

    fn any_event() -> impl Strategy<Value = Value> {
        let call = prop::sample::select(vec![
            ("s3", "GetBucketAcl"),
            ("s3", "ListBuckets"),
            ("s3", "DeleteBucket"),
            ("iam", "CreateUser"),
            ("iam", "ListUsers"),
            ("lambda", "CreateFunction20150331"),
            ("lambda", "CreateFunction"),
            ("monitoring", "PutMetricAlarm"),
            ("cloudfront", "CreateDistribution2020_05_31"),
            ("signin", "ConsoleLogin"),
            ("glacier", "CreateVault"),
        ]);
        let identity = prop::sample::select(vec![
            json!({ "type": "IAMUser", "userName": "alice", "accessKeyId": "AKIAIOSFODNN7EXAMPLE" }),
            json!({ "type": "IAMUser", "userName": "Alice" }),
            json!({
                "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/alice/bob",
                "userName": "alice", "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
            }),
            json!({ "type": "Root", "userName": "alice" }),
            json!({ "type": "SAMLUser", "userName": "alice" }),
            Value::Null,
        ]);
        let read_only = prop::sample::select(vec![json!(true), json!(false), Value::Null]);
        (call, identity, read_only).prop_map(|((service, name), identity, read_only)| {
            json!({
                "eventSource": format!("{service}.amazonaws.com"), "eventName": name,
                "userIdentity": identity, "readOnly": read_only, "eventID": "1",
            })
        })
    }

    fn any_query() -> impl Strategy<Value = Query> {
        let action = prop::sample::select(vec![
            "s3:*",
            "s3:Get*",
            "S3:ListAllMyBuckets",
            "s3:deletebucket",
            "iam:*",
            "iam:CreateUser",
            "lambda:CreateFunction",
            "lambda:*",
            "cloudwatch:*",
            "monitoring:Put*",
            "*:Delete*",
            "CreateUser",
            "*:CreateUser",
            "cloudfront:CreateDistribution",
            "signin:*",
            "s?:*",
            "CreateFunction",
            "glacier:CreateVault",
            "CreateFunction20150331",
        ]);
        let condition = prop::sample::select(vec![
            r#"$.eventName == "CreateUser""#,
            r#"$.eventSource == "s3.amazonaws.com""#,
            r#"$.eventID == "1""#,
            r#"$.userIdentity.userName == "alice""#,
            r#"$.userIdentity.type == "IAMUser""#,
            r#"$.userIdentity.type == "AssumedRole""#,
            r#"$.userIdentity.accessKeyId == "AKIAIOSFODNN7EXAMPLE""#,
            "$.userIdentity.accessKeyId == null",
            "$.readOnly == false",
            "$.readOnly != false",
            "$.readOnly == null",
        ]);
        let calls = prop::sample::select(vec![None, Some(CallKind::Read), Some(CallKind::Write)]);
        let key = prop::sample::select(vec![
            vec![],
            vec!["AKIAIOSFODNN7EXAMPLE"],
            vec!["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
        ]);
        let principal = prop::sample::select(vec![None, Some("alice"), Some("user/alice")]);
        let actions = prop::collection::vec(action, 0..3);
        let conditions = prop::collection::vec(condition, 0..3);
        (actions, conditions, calls, key, principal).prop_map(
            |(actions, conditions, calls, keys, principal)| Query {
                selectors: Selectors {
                    calls,
                    access_keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
                    principals: principal.into_iter().map(Glob::new).collect(),
                    ..Selectors::default()
                },
                ..query(&actions, &conditions)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn the_attribute_excludes_no_event_that_the_query_accepts(
            query in any_query(),
            event in any_event(),
        ) {
            let Some(filter) = lookup_filter_for(&query) else { return Ok(()) };
            if query.matches(&event, &mut Observations::default()) {
                let value = attribute(&event, filter.key.as_str());
                prop_assert_eq!(value.as_deref(), Some(filter.value.as_str()), "{}", filter);
            }
        }
    }
}
