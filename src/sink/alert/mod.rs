//! Where alerts are sent: the action file, the message, and the receivers.
//!
//! ```text
//!  actions.yml ─▶ ActionsFile ─▶ Action ─▶ Receiver ─deliver─▶ Datadog, Slack, PagerDuty, SNS, webhook,
//!                                  │                            command, index, file, standard output
//!  Alert ─▶ AlertMessage ──────────┴─render─▶ what `--dry-run` shows
//! ```
//!
//! Input: an [`Alert`](crate::event::Alert) and an action. Output: nothing once the receiver has acknowledged it, or a
//! [`DeliveryError`].
//! Invariant: nothing in an event can make a message invalid, exceed a limit of a service, mention anybody or control a terminal;
//! no secret is in a message, an error, or the output of `Debug`.
//! Not here: order, waits and retries (see `pipeline::alert`), and what was delivered (see `checkpoint::alerts`).
//!
//! | files | responsible for |
//! |---|---|
//! | `actions_file` `settings` `secret_text` `throttle` | the action file |
//! | `message` `compact_json` `console_link` `text_limit` `rendered` | what a person reads |
//! | `datadog` `slack` `pagerduty` `sns` `webhook` `command` `index` `file` `stdout` | the settings, the messages and the delivery of each kind |
//! | `http` `json_template` `placeholders` `delivery_error` | what several kinds share |

mod actions_file;
mod command;
mod compact_json;
mod console_link;
mod datadog;
mod delivery_error;
mod file;
mod http;
mod index;
mod json_template;
mod message;
mod pagerduty;
mod placeholders;
mod rendered;
mod secret_text;
mod settings;
mod slack;
mod sns;
mod stdout;
#[cfg(test)]
mod tests;
mod text_limit;
mod throttle;
mod webhook;

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use reqwest::header::HeaderValue;

pub use self::{
    actions_file::ActionsFile,
    command::CommandSettings,
    datadog::DatadogSettings,
    delivery_error::{DeliveryError, OutputFailure, RetryAdvice},
    file::FileSettings,
    index::IndexSettings,
    message::{AlertDocument, AlertMessage, Fact, MessageContext},
    pagerduty::PagerDutySettings,
    rendered::Rendered,
    secret_text::{SecretLookup, SecretText},
    slack::SlackSettings,
    sns::{SnsSettings, TopicAccess},
    stdout::StdoutSettings,
    throttle::ThrottleLimit,
    webhook::WebhookSettings,
};
use self::{
    datadog::DatadogReceiver, file::FileReceiver, index::IndexReceiver,
    pagerduty::PagerDutyReceiver, slack::SlackReceiver, sns::SnsReceiver, webhook::WebhookReceiver,
};
use super::Target;
use crate::{
    aws::{Clock, Session},
    filter::yaml::{DefinitionError, TextPosition},
    redact::Secret,
};

/// An action: where alerts are sent, and how.
#[derive(Clone, Debug)]
pub struct Action {
    /// The name that rules use.
    pub name: String,
    /// Kind and settings.
    pub settings: ActionSettings,
    /// The most messages in a time; each kind has its own default.
    pub throttle: Option<ThrottleLimit>,
    /// Where the action starts in its file.
    pub position: TextPosition,
}

/// The settings of an action, by kind.
#[derive(Clone, Debug)]
pub enum ActionSettings {
    /// A program on this machine.
    Command(CommandSettings),
    /// The events API of Datadog.
    Datadog(DatadogSettings),
    /// A file on this machine.
    File(FileSettings),
    /// An index of an engine.
    Index(IndexSettings),
    /// The Events API v2 of PagerDuty.
    PagerDuty(PagerDutySettings),
    /// An incoming webhook of Slack.
    Slack(SlackSettings),
    /// A topic of SNS.
    Sns(SnsSettings),
    /// Standard output.
    Stdout(StdoutSettings),
    /// Any HTTP server.
    Webhook(Box<WebhookSettings>),
}

impl ActionSettings {
    /// Returns the name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Datadog(_) => "datadog",
            Self::File(_) => "file",
            Self::Index(_) => "index",
            Self::PagerDuty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Sns(_) => "sns",
            Self::Stdout(_) => "stdout",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Returns the limit that the service documents for a sender.
    fn default_throttle(&self) -> Option<ThrottleLimit> {
        let per =
            |messages, seconds| Some(ThrottleLimit { messages, per: Duration::from_secs(seconds) });
        match self {
            // "1 per second", with short bursts.
            Self::Slack(_) => per(1, 1),
            // 120 events a minute and integration key.
            Self::PagerDuty(_) => per(120, 60),
            _ => None,
        }
    }
}

impl Action {
    /// Returns what would be sent for a message at a time.
    pub fn render(&self, message: &AlertMessage, now: Timestamp) -> Rendered {
        match &self.settings {
            ActionSettings::Command(settings) => settings.render(message),
            ActionSettings::Datadog(settings) => settings.render(message, now),
            ActionSettings::File(settings) => settings.render(message),
            ActionSettings::Index(settings) => settings.render(message),
            ActionSettings::PagerDuty(settings) => settings.render(message),
            ActionSettings::Slack(settings) => settings.render(message),
            ActionSettings::Sns(settings) => settings.render(message),
            ActionSettings::Stdout(settings) => settings.render(message),
            ActionSettings::Webhook(settings) => settings.render(message),
        }
    }

    /// Returns whether its receiver needs an AWS session.
    pub fn needs_session(&self) -> bool {
        match &self.settings {
            ActionSettings::Sns(_) => true,
            ActionSettings::Index(settings) => settings.is_signed(),
            _ => false,
        }
    }

    /// Returns whether its receiver needs the engine of the run.
    pub fn needs_engine(&self) -> bool {
        matches!(&self.settings, ActionSettings::Index(settings) if settings.needs_engine())
    }

    /// Returns which topic of SNS alerts are published to, and by whom.
    pub fn topic(&self) -> Option<TopicAccess<'_>> {
        match &self.settings {
            ActionSettings::Sns(settings) => Some(settings.access()),
            _ => None,
        }
    }

    /// Returns the URL of an engine of its own to which requests are signed, unless it comes from a variable or a file.
    pub fn signed_url(&self) -> Option<&str> {
        match &self.settings {
            ActionSettings::Index(settings) if settings.is_signed() => settings.literal_url(),
            _ => None,
        }
    }

    /// Returns the longest time that a delivery takes before it fails.
    pub fn time_limit(&self) -> Duration {
        match &self.settings {
            ActionSettings::Command(settings) => settings.timeout,
            ActionSettings::Datadog(settings) => settings.http.timeout,
            ActionSettings::PagerDuty(settings) => settings.http.timeout,
            ActionSettings::Slack(settings) => settings.http.timeout,
            ActionSettings::Webhook(settings) => settings.http.timeout,
            // Up to three requests: two about the template.
            ActionSettings::Index(settings) => settings.timeout * 3,
            // The client makes up to three attempts of a minute; one is enough for a service that works.
            ActionSettings::Sns(_) => Duration::from_mins(1),
            ActionSettings::File(_) | ActionSettings::Stdout(_) => Duration::from_secs(30),
        }
    }

    /// Checks the files that the settings name, other than those with secrets.
    ///
    /// # Errors
    ///
    /// If certificates cannot be read. Relative paths start from `folder`.
    pub fn check_files(&self, folder: &Path) -> Result<(), DefinitionError> {
        let certificates = match &self.settings {
            ActionSettings::Datadog(settings) => settings.http.ca_file(),
            ActionSettings::Index(settings) => settings.ca_file(),
            ActionSettings::PagerDuty(settings) => settings.http.ca_file(),
            ActionSettings::Slack(settings) => settings.http.ca_file(),
            ActionSettings::Webhook(settings) => settings.http.ca_file(),
            _ => None,
        };
        match certificates {
            Some(path) => http::certificates(&folder.join(path))
                .map(drop)
                .map_err(|problem| DefinitionError::new(self.position, problem)),
            None => Ok(()),
        }
    }

    /// Returns what deliveries on this machine would fail for, and another machine may have.
    pub fn local_warnings(&self) -> Vec<String> {
        match &self.settings {
            ActionSettings::Command(settings) => settings.warning().into_iter().collect(),
            ActionSettings::File(settings) => settings.warning().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Returns what is valid and probably not meant.
    fn warnings(&self) -> Vec<DefinitionError> {
        let secrets = match &self.settings {
            ActionSettings::Datadog(settings) => settings.secrets(),
            ActionSettings::Index(settings) => settings.secrets(),
            ActionSettings::PagerDuty(settings) => settings.secrets(),
            ActionSettings::Slack(settings) => settings.secrets(),
            ActionSettings::Webhook(settings) => settings.secrets(),
            _ => Vec::new(),
        };
        if !secrets.iter().any(|secret| secret.is_literal()) {
            return Vec::new();
        }
        let message = format!("the action `{}` contains a secret in plain text", self.name);
        let fix = "write \"${NAME_OF_A_VARIABLE}\", or {file: PATH} for a file with the secret";
        vec![DefinitionError::new(self.position, message).suggest(fix)]
    }
}

/// What receivers share.
#[derive(Clone, Debug)]
pub struct ReceiverContext {
    /// The clock of signatures and time limits.
    pub clock: Clock,
    /// The AWS session, for actions that [need](Action::needs_session) one.
    pub session: Option<Session>,
    /// The engine of the run, for actions that [need](Action::needs_engine) one.
    pub engine: Option<Target>,
}

/// Delivers alerts for an action.
#[derive(Debug)]
pub struct Receiver {
    kind: ReceiverKind,
    context: ReceiverContext,
}

#[derive(Debug)]
enum ReceiverKind {
    Command(CommandSettings),
    Datadog(Box<DatadogReceiver>),
    File(FileReceiver),
    Index(Box<IndexReceiver>),
    PagerDuty(Box<PagerDutyReceiver>),
    Slack(Box<SlackReceiver>),
    Sns(Box<SnsReceiver>),
    Stdout(StdoutSettings),
    Webhook(Box<WebhookReceiver>),
}

impl Receiver {
    /// Creates the receiver of an action: resolves its secrets, and sends nothing.
    ///
    /// # Errors
    ///
    /// If a secret or a certificate is missing or not valid, or the context lacks what the action needs.
    pub fn new(
        action: &Action,
        lookup: &SecretLookup<'_>,
        context: &ReceiverContext,
    ) -> Result<Self, DefinitionError> {
        let position = action.position;
        let kind = match &action.settings {
            ActionSettings::Command(settings) => ReceiverKind::Command(settings.clone()),
            ActionSettings::Datadog(settings) => {
                ReceiverKind::Datadog(Box::new(DatadogReceiver::new(settings, lookup, position)?))
            }
            ActionSettings::File(settings) => ReceiverKind::File(FileReceiver::new(settings)),
            ActionSettings::Index(settings) => ReceiverKind::Index(Box::new(IndexReceiver::new(
                settings, lookup, context, position,
            )?)),
            ActionSettings::PagerDuty(settings) => ReceiverKind::PagerDuty(Box::new(
                PagerDutyReceiver::new(settings, lookup, position)?,
            )),
            ActionSettings::Slack(settings) => {
                ReceiverKind::Slack(Box::new(SlackReceiver::new(settings, lookup, position)?))
            }
            ActionSettings::Sns(settings) => {
                ReceiverKind::Sns(Box::new(SnsReceiver::new(settings, context, position)?))
            }
            ActionSettings::Stdout(settings) => ReceiverKind::Stdout(settings.clone()),
            ActionSettings::Webhook(settings) => {
                ReceiverKind::Webhook(Box::new(WebhookReceiver::new(settings, lookup, position)?))
            }
        };
        Ok(Self { kind, context: context.clone() })
    }

    /// Delivers an alert once, and returns when the receiver has acknowledged it. Dropping the future gives up the attempt.
    ///
    /// # Errors
    ///
    /// Returns a [`DeliveryError`] with whether another attempt is worth making.
    pub async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        match &self.kind {
            ReceiverKind::Command(settings) => settings.deliver(message).await,
            ReceiverKind::Datadog(receiver) => receiver.deliver(message, &self.context).await,
            ReceiverKind::File(receiver) => receiver.deliver(message).await,
            ReceiverKind::Index(receiver) => receiver.deliver(message).await,
            ReceiverKind::PagerDuty(receiver) => receiver.deliver(message, &self.context).await,
            ReceiverKind::Slack(receiver) => receiver.deliver(message, &self.context).await,
            ReceiverKind::Sns(receiver) => receiver.deliver(message).await,
            ReceiverKind::Stdout(settings) => settings.deliver(message).await,
            ReceiverKind::Webhook(receiver) => receiver.deliver(message, &self.context).await,
        }
    }
}

/// Returns a secret as the value of a header that no log shows.
fn header_value(
    secret: &Secret,
    key: &str,
    position: TextPosition,
) -> Result<HeaderValue, DefinitionError> {
    let mut value = HeaderValue::from_str(secret.expose().trim()).map_err(|_| {
        let message = format!("`{key}` has a character that HTTP headers cannot have");
        DefinitionError::new(position, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
