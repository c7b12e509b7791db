//! Messages that the services accept, whatever is in the event.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    ROUTING_KEY, SECRET, alert, deliver, event, hostile_event, hostile_texts, message, receiver,
};
use crate::support::{alert_services::AlertService, hostile, samples::Samples};
use trailload::{
    event::Severity,
    sink::alert::{AlertMessage, MessageContext, Receiver},
};

/// Starts a service of each kind with a receiver for it.
fn services() -> Vec<(AlertService, Receiver)> {
    let slack = AlertService::slack("/services/T0/B0/hunter2-0123456789");
    let datadog = [AlertService::datadog(SECRET), AlertService::datadog(SECRET)];
    let pagerduty = AlertService::pagerduty(ROUTING_KEY);
    let webhook = AlertService::webhook();
    let receivers = [
        receiver(&format!(
            "a: {{kind: slack, url: \"{}/services/T0/B0/${{SECRET}}\"}}",
            slack.url()
        )),
        receiver(&format!(
            "a: {{kind: datadog, api_key: \"${{SECRET}}\", version: v1, endpoint: \"{}\"}}",
            datadog[0].url()
        )),
        receiver(&format!(
            "a: {{kind: datadog, api_key: \"${{SECRET}}\", tags: [team:security], endpoint: \"{}\"}}",
            datadog[1].url()
        )),
        receiver(&format!(
            "a: {{kind: pagerduty, routing_key: \"${{ROUTING_KEY}}\", endpoint: \"{}\"}}",
            pagerduty.url()
        )),
        receiver(&format!(
            "a: {{kind: webhook, url: \"{}/hook\", body: {{text: \"${{rule}} by ${{principal}}\", all: \"${{@}}\"}}}}",
            webhook.url()
        )),
    ];
    let [v1, v2] = datadog;
    [slack, v1, v2, pagerduty, webhook].into_iter().zip(receivers).collect()
}

#[tokio::test]
async fn services_accept_any_event() {
    let mut events = vec![json!({}), json!(null), json!([]), event()];
    events.extend(hostile_texts().iter().map(|text| hostile_event(text)));
    for (service, receiver) in services() {
        for (number, event) in events.iter().enumerate() {
            let delivered = deliver(&receiver, &message(number as u64, event)).await;
            assert_eq!(delivered, Ok(()), "event {number}");
        }
        assert_eq!(service.accepted().len(), events.len());
    }
}

#[tokio::test]
async fn services_accept_any_rule_and_group() {
    for (_, receiver) in services() {
        for (number, text) in hostile_texts().into_iter().enumerate() {
            let mut alert = alert(number as u64, &event());
            alert.severity = Severity::ALL[number % Severity::ALL.len()];
            alert.rule.clone_from(&text);
            alert.description = Some(text.clone());
            alert.group = (0..60).map(|number| (format!("{number}{text}"), json!(text))).collect();
            let message = AlertMessage::new(&alert, &MessageContext::default());
            assert_eq!(deliver(&receiver, &message).await, Ok(()), "text {number}");
        }
    }
}

#[tokio::test]
async fn services_accept_records_that_no_sane_service_would_write() {
    for (service, receiver) in services() {
        let records = hostile::all();
        for (number, record) in records.iter().enumerate() {
            let mut alert = alert(number as u64, &event());
            alert.event = Bytes::from(record.bytes.clone());
            let message = AlertMessage::new(&alert, &MessageContext::default());
            assert_eq!(deliver(&receiver, &message).await, Ok(()), "{}", record.name);
        }
        assert_eq!(service.accepted().len(), records.len());
    }
}

#[tokio::test]
async fn services_accept_real_events() {
    let samples = Samples::shipped();
    for (service, receiver) in services() {
        for (number, line) in samples.lines().iter().step_by(29).enumerate() {
            let event: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(
                deliver(&receiver, &message(number as u64, &event)).await,
                Ok(()),
                "{event}"
            );
        }
        assert!(service.accepted().len() > 20);
    }
}

#[tokio::test]
async fn every_message_says_what_who_where_and_how_to_find_it() {
    for (service, receiver) in services() {
        deliver(&receiver, &message(1, &event())).await.unwrap();
        let body = service.accepted()[0].to_string();
        for part in [
            "ec2:AuthorizeSecurityGroupIngress",
            "user/alice",
            "arn:aws:iam::111122223333:user/alice",
            "203.0.113.9",
            "console.ec2.amazonaws.com",
            "111122223333",
            "eu-west-1",
            "sg-0123",
            "security group open to the world",
            "https://eu-west-1.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-1#/events/6f1e0a6e-0c55-4f27-a111-1d4b9f0a7b11",
            "trailload search --match '$.eventID == ",
        ] {
            assert!(body.contains(part), "{part} is missing in {body}");
        }
    }
}

#[tokio::test]
async fn keys_are_the_same_for_every_attempt_and_every_alert_of_a_group() {
    let mut keys = Vec::new();
    for (service, receiver) in services() {
        deliver(&receiver, &message(1, &event())).await.unwrap();
        deliver(&receiver, &message(1, &event())).await.unwrap();
        deliver(&receiver, &message(2, &event())).await.unwrap();
        for body in service.accepted() {
            let found = ["/dedup_key", "/aggregation_key", "/data/attributes/aggregation_key"]
                .into_iter()
                .find_map(|pointer| body.pointer(pointer)?.as_str().map(str::to_owned));
            keys.extend(found);
        }
    }
    assert_eq!(keys.len(), 9);
    keys.dedup();
    assert_eq!(keys, ["fedcba9876543210fedcba9876543210"]);
}

#[tokio::test]
async fn a_webhook_is_signed_and_can_be_verified() {
    let webhook = AlertService::webhook();
    let yaml = format!(
        "a:\n  kind: webhook\n  method: PUT\n  url: {}/hook?x=1\n  headers: {{Authorization: \"Bearer ${{SECRET}}\", X-Team: security}}\n  signing_secret: ${{SECRET}}\n",
        webhook.url()
    );
    let receiver = receiver(&yaml);
    deliver(&receiver, &message(7, &event())).await.unwrap();
    let request = webhook.server.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.query.as_str()),
        ("PUT", "/hook", "x=1")
    );
    let header = |name: &str| request.header(name).unwrap().to_owned();
    let id = format!("{:032x}", 7);
    assert_eq!((header("idempotency-key"), header("webhook-id")), (id.clone(), id.clone()));
    assert_eq!(
        (header("authorization"), header("x-team")),
        (format!("Bearer {SECRET}"), "security".to_owned())
    );
    let time = header("webhook-timestamp");
    let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(&request.body);
    let expected = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
    let body = request.json();
    assert_eq!((&body["event"], &body["severity"]), (&event_of(&body), &json!("high")));
}

fn event_of(body: &Value) -> Value {
    let mut event = event();
    event["eventTime"] = body["event"]["eventTime"].clone();
    event
}

#[tokio::test]
async fn a_template_stays_valid_json_whatever_is_inserted() {
    let webhook = AlertService::webhook();
    let yaml = format!(
        "a:\n  kind: webhook\n  url: {}\n  body: '{{\"summary\": \"[${{severity}}] ${{rule}}: ${{event.userAgent}}\", \"n\": \"${{events}}\", \"gone\": \"${{event.no.such}}\"}}'\n",
        webhook.url()
    );
    let receiver = receiver(&yaml);
    for (number, text) in hostile_texts().into_iter().enumerate() {
        let mut event = event();
        event["userAgent"] = json!(text);
        deliver(&receiver, &message(number as u64, &event)).await.unwrap();
        let body = webhook.accepted().pop().unwrap();
        let rule = "ec2.amazonaws.com: security group open to the world";
        assert_eq!(
            body,
            json!({"summary": format!("[high] {rule}: {text}"), "n": 5, "gone": null})
        );
    }
}
