//! Alerts in an index of real engines.

use serde_json::{Value, json};
use trailload::sink::{
    Target,
    alert::{Receiver, ReceiverContext, RetryAdvice},
};

use super::{context, deliver, event, hostile_event, hostile_texts, message, receiver_in};
use crate::support::real::{Corner, Engine};

fn receiver(corner: &Corner, index: &str) -> Receiver {
    let engine = Some(Target::new(corner.url().parse().unwrap(), corner.prefix()));
    receiver_in(
        &format!("a: {{kind: index, index: {index}}}"),
        &ReceiverContext { engine, ..context() },
    )
}

#[tokio::test]
async fn an_alert_is_indexed_once_with_a_template_of_its_own() {
    for engine in Engine::ALL {
        let corner = Corner::of(engine);
        let index = format!("{}-alerts", corner.prefix());
        let texts = hostile_texts();
        for _ in 0..2 {
            let receiver = receiver(&corner, &index);
            for (number, text) in texts.iter().enumerate() {
                let message = message(number as u64, &hostile_event(text));
                assert_eq!(deliver(&receiver, &message).await, Ok(()), "{engine:?} {number}");
            }
        }
        corner.ask("POST", &format!("/{index}/_refresh"), &Value::Null);
        let count = corner.ask("GET", &format!("/{index}/_count"), &Value::Null);
        assert_eq!(count["count"], texts.len(), "{engine:?}");
        let mapping = corner.ask("GET", &format!("/{index}/_mapping"), &Value::Null);
        let properties = &mapping[&index]["mappings"]["properties"];
        assert_eq!(properties["@timestamp"]["type"], "date");
        assert_eq!(properties["event"]["enabled"], json!(false), "the event adds no fields");
        let query = json!({"query": {"bool": {"filter": [
            {"term": {"severity": "high"}}, {"term": {"id": format!("{:032x}", 3)}},
            {"range": {"@timestamp": {"gte": "now-1h"}}}]}}});
        let found = corner.ask("POST", &format!("/{index}/_search"), &query);
        assert_eq!(found["hits"]["hits"][0]["_source"]["event"]["userAgent"], texts[3]);
        corner.ask("DELETE", &format!("/{index}"), &Value::Null);
        corner.ask("DELETE", &format!("/_index_template/{index}"), &Value::Null);
    }
}

#[tokio::test]
async fn an_index_that_blocks_writes_is_tried_again() {
    let corner = Corner::of(Engine::OpenSearch3);
    let index = format!("{}-alerts", corner.prefix());
    let receiver = receiver(&corner, &index);
    deliver(&receiver, &message(1, &event())).await.unwrap();
    corner.ask("PUT", &format!("/{index}/_settings"), &json!({"index.blocks.write": true}));
    let error = deliver(&receiver, &message(2, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Backoff, "{error}");
    corner.ask("PUT", &format!("/{index}/_settings"), &json!({"index.blocks.write": false}));
    deliver(&receiver, &message(2, &event())).await.unwrap();
    corner.ask("DELETE", &format!("/{index}"), &Value::Null);
    corner.ask("DELETE", &format!("/_index_template/{index}"), &Value::Null);
}
