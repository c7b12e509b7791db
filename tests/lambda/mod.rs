//! AWS Lambda: the program as `bootstrap`, with a strict fake of the runtime API.
//!
//! `shapes` shows that every kind of trigger is understood, `failures` what is delivered again, `runtime_faults` that faults of the
//! runtime API end the process, `shared` what several sandboxes share, `records` what the engine keeps about them, `start` what is wrong
//! at the start, `template` that what is deployed fits the program.

mod failures;
mod function;
mod records;
mod runtime;
mod runtime_faults;
mod shapes;
mod shared;
mod start;
mod template;

use serde_json::{Value, json};

/// A batch of a queue.
fn batch(bodies: &[(&str, String)]) -> Value {
    let record = |(id, body): &(&str, String)| {
        json!({
            "messageId": id, "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a", "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183", "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:trail", "awsRegion": "us-east-1",
        })
    };
    json!({ "Records": bodies.iter().map(record).collect::<Vec<_>>() })
}

/// An event as EventBridge delivers it.
fn envelope(record: &Value) -> Value {
    json!({
        "version": "0", "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.iam", "account": "111122223333", "time": record["eventTime"], "region": "us-east-1",
        "resources": [], "detail": record,
    })
}

/// A notification of S3 about new objects of the bucket `logs`.
fn notification(keys: &[&str]) -> Value {
    let record = |key: &&str| {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2024-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put", "userIdentity": { "principalId": "AWS:1" },
            "requestParameters": { "sourceIPAddress": "198.51.100.1" }, "responseElements": { "x-amz-request-id": "1" },
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "1",
                "bucket": { "name": "logs", "ownerIdentity": { "principalId": "1" }, "arn": "arn:aws:s3:::logs" },
                "object": { "key": key.replace('=', "%3D"), "sequencer": "0055AED6DCD90281E5" },
            },
        })
    };
    json!({ "Records": keys.iter().map(record).collect::<Vec<_>>() })
}

/// What SNS makes of a message.
fn wrapped(message: &Value) -> Value {
    json!({
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:trail", "Message": message.to_string(),
        "Timestamp": "2024-01-01T00:00:00.000Z", "SignatureVersion": "1", "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/1.pem", "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/",
    })
}

/// An event of SNS for a function.
fn topic(message: &Value) -> Value {
    json!({ "Records": [{
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:aws:sns:us-east-1:111122223333:trail:1",
        "Sns": wrapped(message),
    }] })
}
