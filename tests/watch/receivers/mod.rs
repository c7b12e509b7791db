//! The receivers of alerts, against strict fakes of their services, real engines and moto.

mod engines;
mod faults;
mod local;
mod services;
mod topics;

use std::{ffi::OsString, path::Path};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use trailload::{
    aws::Clock,
    event::{Alert, Severity},
    sink::alert::{
        ActionsFile, AlertMessage, DeliveryError, MessageContext, Receiver, ReceiverContext,
        SecretLookup,
    },
};

/// The secret in all variables.
const SECRET: &str = "hunter2-0123456789";

/// A key of the length that PagerDuty's have.
const ROUTING_KEY: &str = "hunter2xhunter2xhunter2xhunter2x";

/// Returns the context of a run without AWS and without an engine.
fn context() -> ReceiverContext {
    ReceiverContext { clock: Clock::new(jiff::Timestamp::now), session: None, engine: None }
}

/// Returns the receiver of the first action in an action file.
fn receiver_in(yaml: &str, context: &ReceiverContext) -> Receiver {
    let file = ActionsFile::parse(yaml);
    assert_eq!(file.errors, Vec::new(), "{yaml}");
    let variable = |name: &str| match name {
        "SECRET" => Some(OsString::from(SECRET)),
        "ROUTING_KEY" => Some(OsString::from(ROUTING_KEY)),
        _ => None,
    };
    let lookup = SecretLookup { variable: &variable, folder: Path::new("/") };
    Receiver::new(&file.actions[0], &lookup, context).unwrap()
}

fn receiver(yaml: &str) -> Receiver {
    receiver_in(yaml, &context())
}

/// Returns an event of a minute ago.
fn event() -> Value {
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    json!({
        "eventVersion": "1.09", "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": "ec2.amazonaws.com", "eventName": "AuthorizeSecurityGroupIngress", "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.9", "userAgent": "console.ec2.amazonaws.com",
        "eventID": "6f1e0a6e-0c55-4f27-a111-1d4b9f0a7b11", "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "userName": "alice", "arn": "arn:aws:iam::111122223333:user/alice"},
        "requestParameters": {"groupId": "sg-0123", "ipPermissions": {"items": [{"fromPort": 22}]}}
    })
}

/// Returns the event with text that services, shells and terminals interpret, in every field that messages show.
fn hostile_event(text: &str) -> Value {
    let mut event = event();
    for pointer in [
        "/eventName",
        "/eventSource",
        "/awsRegion",
        "/sourceIPAddress",
        "/userAgent",
        "/eventID",
        "/recipientAccountId",
        "/userIdentity/userName",
        "/userIdentity/arn",
        "/requestParameters/groupId",
    ] {
        *event.pointer_mut(pointer).unwrap() = json!(text);
    }
    event["errorCode"] = json!(text);
    event["errorMessage"] = json!(text);
    event
}

/// Texts that have broken one service or another.
fn hostile_texts() -> Vec<String> {
    vec![
        "<!channel> <@U123> <https://evil.example|click> & *b* _i_ ~s~ `c` ```d``` :fire:"
            .to_owned(),
        "%%%\n# [x](https://evil.example) @all @pagerduty-prod\n%%%".to_owned(),
        "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\u{202e}\u{0}\u{fffe}\u{ffff}\u{200b}".to_owned(),
        "\"}, \"injected\": {\"a\": \"${jndi:ldap://evil}\" $(reboot) `id` '; --".to_owned(),
        "&".repeat(20_000),
        "<".repeat(1_499),
        "👩‍👩‍👧‍👦".repeat(5_000),
        "ä".repeat(4_001),
        String::new(),
        " ".repeat(300),
    ]
}

/// Returns an alert on an event; the number makes its id.
fn alert(number: u64, event: &Value) -> Alert {
    Alert {
        id: format!("{number:032x}"),
        group_id: "fedcba9876543210fedcba9876543210".to_owned(),
        rule: "ec2.amazonaws.com: security group open to the world".to_owned(),
        severity: Severity::High,
        description: Some("Close the port, then ask who needs it.".to_owned()),
        group: [(
            "detail.userIdentity.arn".to_owned(),
            json!("arn:aws:iam::111122223333:user/alice"),
        )]
        .into_iter()
        .collect(),
        combination: Map::new(),
        time: event["eventTime"].as_str().and_then(|time| time.parse().ok()),
        events: 5,
        actions: Vec::new(),
        event_id: event["eventID"].as_str().unwrap_or_default().to_owned(),
        event: Bytes::from(event.to_string()),
    }
}

fn message(number: u64, event: &Value) -> AlertMessage {
    AlertMessage::new(&alert(number, event), &MessageContext::default())
}

/// Delivers an alert, and checks that an error shows no secret and nothing that a terminal interprets.
async fn deliver(receiver: &Receiver, message: &AlertMessage) -> Result<(), DeliveryError> {
    let delivered = receiver.deliver(message).await;
    if let Err(error) = &delivered {
        let shown = format!("{error} {error:?} {receiver:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!error.cause.contains(char::is_control), "{shown}");
    }
    delivered
}
