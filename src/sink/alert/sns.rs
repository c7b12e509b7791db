//! Alerts to an SNS topic, standard or FIFO.
//!
//! Input: an [`AlertMessage`]. Output: a `Publish` request with the message as text or JSON, and attributes by which subscriptions
//! can filter.
//! Invariant: message and attributes are within the limit of the service, in characters that SQS accepts; an event that does not fit
//! is left out, its id and the command that finds it are not. Repetitions of an alert are dropped by a FIFO topic.

use aws_sdk_sns::{Client, types::MessageAttributeValue};

use super::{
    AlertMessage, DeliveryError, ReceiverContext, Rendered, RetryAdvice,
    settings::{Read, Settings},
    stdout::{FORMATS, MessageFormat},
    text_limit::TextLimit,
};
use crate::{
    aws::{AwsPartition, ErrorKind, Role, ServiceError, role::is_account_id},
    filter::yaml::{DefinitionError, TextPosition, YamlNode},
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 5] = ["topic_arn", "role_arn", "external_id", "format", "endpoint"];

/// Largest message with its attributes, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// Longest subject is less than 100 characters.
const MAX_SUBJECT: TextLimit = TextLimit::utf16(99);

/// Longest value of an attribute. Subscriptions filter by short values.
const MAX_ATTRIBUTE: TextLimit = TextLimit::bytes(256);

/// Type of the attributes.
const ATTRIBUTE_TYPE: &str = "String";

/// End of the name of a FIFO topic.
const FIFO_SUFFIX: &str = ".fifo";

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnsSettings {
    topic: Topic,
    role: Option<Role>,
    format: MessageFormat,
    endpoint: Option<String>,
}

/// Who publishes to which topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicAccess<'a> {
    /// The ARN of the topic.
    pub topic_arn: &'a str,
    /// The ARN of the role that is assumed for it; `None` for the credentials of the run.
    pub role_arn: Option<&'a str>,
}

/// The ARN of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topic {
    arn: String,
    region: String,
}

impl Topic {
    /// Parses `arn:PARTITION:sns:REGION:ACCOUNT:NAME`.
    fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return None;
        };
        let name = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_valid = AwsPartition::from_name(partition).is_some()
            && AwsPartition::from_region(region).is_some()
            && is_account_id(account)
            && is_name;
        is_valid.then(|| Self { arn: arn.to_owned(), region: (*region).to_owned() })
    }

    fn is_fifo(&self) -> bool {
        self.arn.ends_with(FIFO_SUFFIX)
    }
}

impl SnsSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "sns", &[&KEYS])?;
        let example = "topic_arn: arn:aws:sns:eu-west-1:111122223333:alerts";
        let arn =
            settings.text("topic_arn")?.ok_or_else(|| settings.missing("topic_arn", example))?;
        let place = |key: &str| settings.get(key).map_or(node.position, |node| node.position);
        let topic = Topic::parse(&arn).ok_or_else(|| {
            DefinitionError::new(place("topic_arn"), format!("`{arn}` is not the ARN of a topic"))
                .suggest(format!("write `{example}`"))
        })?;
        let external_id = settings.text("external_id")?;
        if external_id.is_some() && settings.get("role_arn").is_none() {
            return Err(
                settings.missing("role_arn", "role_arn: arn:aws:iam::111122223333:role/alerts")
            );
        }
        let role = match settings.text("role_arn")? {
            Some(arn) => Some(
                Role::new(&arn, external_id)
                    .map_err(|error| DefinitionError::new(place("role_arn"), error.to_string()))?,
            ),
            None => None,
        };
        Ok(Self {
            topic,
            role,
            format: settings.one_of("format", &FORMATS)?.unwrap_or(MessageFormat::Text),
            endpoint: settings.endpoint()?,
        })
    }

    pub(super) fn access(&self) -> TopicAccess<'_> {
        TopicAccess { topic_arn: &self.topic.arn, role_arn: self.role.as_ref().map(Role::arn) }
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        let publication = self.publication(message);
        let mut body = serde_json::json!({
            "TopicArn": self.topic.arn,
            "Subject": publication.subject,
            "Message": publication.message,
            "MessageAttributes": publication.attributes.iter().map(|(name, value)| {
                (name.to_string(), serde_json::json!({"DataType": ATTRIBUTE_TYPE, "StringValue": value}))
            }).collect::<serde_json::Map<_, _>>(),
        });
        if let Some(fifo) = publication.fifo {
            body["MessageGroupId"] = fifo.group.into();
            body["MessageDeduplicationId"] = fifo.deduplication.into();
        }
        Rendered::local("publish to", self.topic.arn.clone(), body)
    }

    /// Returns what is published.
    fn publication(&self, message: &AlertMessage) -> Publication {
        let alert = message.alert();
        let attributes: Vec<(&'static str, String)> = [
            ("severity", Some(alert.severity.name())),
            ("rule", Some(alert.rule.as_str())),
            ("account", message.account()),
            ("region", message.event_text("/awsRegion")),
            ("event_source", message.event_text("/eventSource")),
            ("event_name", message.event_text("/eventName")),
            ("alert_id", Some(alert.id.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, attribute(value?)?)))
        .collect();
        let used: usize = attributes
            .iter()
            .map(|(name, value)| name.len() + ATTRIBUTE_TYPE.len() + value.len())
            .sum();
        let subject = format!("[{}] {}", alert.severity.name(), message.rule());
        Publication {
            subject: MAX_SUBJECT.cut(&accepted(&subject)).into_owned(),
            message: self.body(message, MAX_BYTES - used),
            attributes,
            fifo: self.topic.is_fifo().then(|| FifoIds {
                group: alert.group_id.clone(),
                deduplication: alert.id.clone(),
            }),
        }
    }

    /// Returns the message in at most this many bytes.
    fn body(&self, message: &AlertMessage, max_bytes: usize) -> String {
        let limit = TextLimit::bytes(max_bytes);
        match self.format {
            MessageFormat::Json => {
                let complete = accepted_json(&message.document().to_json());
                if complete.len() <= max_bytes {
                    return complete;
                }
                let short = accepted_json(&message.document().without_event().to_json());
                if short.len() <= max_bytes {
                    return short;
                }
                // Only a group or a description can be this large.
                let alert = message.alert();
                serde_json::json!({
                    "id": alert.id, "group_id": alert.group_id, "severity": alert.severity,
                    "rule": TextLimit::bytes(1_000).cut(&message.rule()),
                    "message": message.headline(), "event_id": TextLimit::bytes(1_000).cut(&alert.event_id),
                    "search_command": message.search_command(),
                })
                .to_string()
            }
            MessageFormat::Text => {
                let event = String::from_utf8_lossy(&message.alert().event).into_owned();
                let text = format!("{}\nEvent\n{event}\n", message.to_text());
                limit.cut(&accepted(&text)).into_owned()
            }
        }
    }
}

/// What is published.
struct Publication {
    subject: String,
    message: String,
    attributes: Vec<(&'static str, String)>,
    fifo: Option<FifoIds>,
}

/// The ids of a message to a FIFO topic.
struct FifoIds {
    group: String,
    deduplication: String,
}

/// Returns the value of an attribute; `None` if it would be empty.
fn attribute(value: &str) -> Option<String> {
    let value = crate::report::terminal::escape_unprintable(value.trim());
    let value = MAX_ATTRIBUTE.cut(&accepted(&value)).into_owned();
    (!value.is_empty()).then_some(value)
}

/// Replaces the characters that SQS does not accept, which are those that XML does not have.
fn accepted(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\t' | '\n' | '\r' => letter,
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            letter if letter < ' ' => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

/// Escapes the characters in JSON that SQS does not accept. JSON text has no control characters.
fn accepted_json(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// Publishes alerts.
#[derive(Debug)]
pub(super) struct SnsReceiver {
    settings: SnsSettings,
    client: Client,
}

impl SnsReceiver {
    pub(super) fn new(
        settings: &SnsSettings,
        context: &ReceiverContext,
        position: TextPosition,
    ) -> Read<Self> {
        let session = context.session.as_ref().ok_or_else(|| {
            DefinitionError::new(position, "the action `sns` needs AWS credentials")
        })?;
        let assumed = settings.role.as_ref().map(|role| session.assume_role(role));
        let session = assumed.as_ref().unwrap_or(session);
        let client = session.sns(&settings.topic.region, settings.endpoint.as_deref());
        Ok(Self { settings: settings.clone(), client })
    }

    pub(super) async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        let publication = self.settings.publication(message);
        let mut request = self
            .client
            .publish()
            .topic_arn(&self.settings.topic.arn)
            .subject(publication.subject)
            .message(publication.message);
        for (name, value) in publication.attributes {
            let value = MessageAttributeValue::builder()
                .data_type(ATTRIBUTE_TYPE)
                .string_value(value)
                .build()
                .map_err(|error| DeliveryError::permanent(error.to_string()))?;
            request = request.message_attributes(name, value);
        }
        if let Some(FifoIds { group, deduplication }) = publication.fifo {
            request = request.message_group_id(group).message_deduplication_id(deduplication);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(&ServiceError::from_sdk(&error))),
        }
    }

    fn error(&self, error: &ServiceError) -> DeliveryError {
        let cause = format!("{}: {error}", self.settings.topic.arn);
        let (retry, hint) = match &error.kind {
            // New credentials may be there with the next attempt.
            ErrorKind::Throttled | ErrorKind::Transient | ErrorKind::ExpiredToken => {
                (RetryAdvice::Backoff, None)
            }
            ErrorKind::AccessDenied { .. } => (
                RetryAdvice::Never,
                Some(
                    "allow sns:Publish on the topic, and kms:GenerateDataKey* and kms:Decrypt on its key",
                ),
            ),
            ErrorKind::NotFound => (RetryAdvice::Never, Some("check `topic_arn`")),
            ErrorKind::InvalidCredentials => {
                (RetryAdvice::Never, Some("check the AWS credentials"))
            }
            ErrorKind::ClockSkew { .. } => {
                (RetryAdvice::Never, Some("set the clock of this machine"))
            }
            _ => (RetryAdvice::Never, None),
        };
        let error = DeliveryError::new(retry, cause);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_a_region_and_a_name() {
        let topic = Topic::parse("arn:aws-cn:sns:cn-north-1:111122223333:alerts.fifo").unwrap();
        assert_eq!((topic.region.as_str(), topic.is_fifo()), ("cn-north-1", true));
        for arn in [
            "alerts",
            "arn:aws:sqs:eu-west-1:111122223333:alerts",
            "arn:aws:sns:eu-west-1:1:alerts",
            "arn:aws:sns:eu-west-1:111122223333:",
            "arn:aws:sns:eu-west-1:111122223333:a:b",
            "arn:aws:sns::111122223333:a",
        ] {
            assert_eq!(Topic::parse(arn), None, "{arn}");
        }
    }
}
