//! Random expressions on random events: on the parts that an expression requires, its result is that on the event.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{super::Expression, property::expression_of};
use crate::filter::{
    event_part::{EventPart, Extent, tests::pruned},
    eventbridge::{EventView, FIELDS},
};

/// Events with the members that EventBridge derives its fields from, and others.
fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-1_i8..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    });
    let name = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "a",
        "b",
        "eventSource",
        "eventID",
        "recipientAccountId",
        "userIdentity",
        "awsRegion",
    ]);
    prop::collection::btree_map(name.prop_map(str::to_owned), value, 0..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn any_expression() -> impl Strategy<Value = String> {
    expression_of(prop_oneof![
        8 => "detail\\.[abc]",
        4 => "detail\\.[abc]\\.[abc]",
        4 => prop::sample::select(&FIELDS[..]).prop_map(|field| format!("\"{field}\"")),
        1 => Just("detail.userIdentity.accountId".to_owned()),
        2 => prop_oneof!["[abc]", Just("@".to_owned())],
        2 => Just("'a'".to_owned()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, ..ProptestConfig::default() })]

    #[test]
    fn an_expression_is_as_true_on_its_parts_as_on_the_event(
        text in any_expression(), event in any_event(),
    ) {
        let Ok(expression) = Expression::parse(&text) else { return Ok(()) };
        let Some(parts) = expression.required_parts() else { return Ok(()) };
        let copy = pruned(&event, &parts);
        prop_assert_eq!(
            expression.is_true(EventView::new(&copy)),
            expression.is_true(EventView::new(&event)),
            "{} on {} and {}", text, copy, event
        );
    }

    #[test]
    fn an_expression_has_the_same_value_on_its_parts_as_on_the_event(
        text in any_expression(), event in any_event(),
    ) {
        let Ok(expression) = Expression::parse(&text) else { return Ok(()) };
        let Some(parts) = expression.value_parts() else { return Ok(()) };
        let copy = pruned(&event, &parts);
        let value = |event| expression.evaluate(EventView::new(event)).map(|node| node.to_value());
        prop_assert_eq!(value(&copy), value(&event), "{} on {} and {}", text, copy, event);
    }
}

#[test]
fn parts_are_as_small_as_the_expression_allows() {
    let value = |path: &[&str]| EventPart::value(path.iter().copied());
    let kind = |path: &[&str]| EventPart { extent: Extent::Kind, ..value(path) };
    for (text, parts) in [
        ("detail.userIdentity.type == 'Root'", Some(vec![kind(&["userIdentity", "type"])])),
        (
            "detail.eventName == 'A' && contains(detail.requestParameters.policy, '*')",
            Some(vec![kind(&["eventName"]), kind(&["requestParameters", "policy"])]),
        ),
        ("detail.requestParameters != null", Some(vec![value(&["requestParameters"])])),
        ("detail.requestParameters != `null`", Some(vec![kind(&["requestParameters"])])),
        ("detail.requestParameters", Some(vec![kind(&["requestParameters"])])),
        ("!(detail.requestParameters)", Some(vec![value(&["requestParameters"])])),
        ("detail.resources[?type == 'x'].ARN | [0]", Some(vec![kind(&["resources"])])),
        (
            "(detail.a || detail.b).c == `1`",
            Some(vec![value(&["a"]), kind(&["a", "c"]), kind(&["b", "c"])]),
        ),
        ("detail.[a, b] | [0]", Some(vec![value(&["a"]), value(&["b"])])),
        (
            "account == '1'",
            Some(vec![kind(&["recipientAccountId"]), kind(&["userIdentity", "accountId"])]),
        ),
        (
            "source == 'aws.s3' && region != 'x'",
            Some(vec![kind(&["eventSource"]), kind(&["awsRegion"])]),
        ),
        ("detail", Some(vec![])),
        ("version == '0' || resources || flat.a", Some(vec![])),
        ("length(keys(detail)) > `3`", None),
        ("detail.* | [0]", None),
        ("contains(to_string(@), 'x')", None),
        ("detail == `{}`", None),
    ] {
        assert_eq!(Expression::parse(text).unwrap().required_parts(), parts, "{text}");
    }
}

#[test]
fn an_expression_with_too_many_origins_requires_the_event() {
    let text = ["(a || b)"; 12].join(" | ");
    assert_eq!(Expression::parse(&format!("detail | {text}")).unwrap().required_parts(), None);
}
