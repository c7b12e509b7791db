//! Messages about CloudTrail: what the body of a queue message, or the payload of an event trigger, contains.
//!
//! ```text
//!  S3 ─▶ SQS                     objects, keys form-encoded
//!  S3 ─▶ SNS ─▶ SQS              the same, as text in `Message`, or as it is with raw message delivery
//!  S3 ─▶ EventBridge ─▶ SQS      an object, key not encoded
//!  CloudTrail ─▶ SNS ─▶ SQS      objects: `s3Bucket` and a list of keys
//!  CloudTrail ─▶ EventBridge ─▶  an event, in `detail`
//! ```
//!
//! Input: a body: text of any origin. Output: a [`Message`].
//! Invariant: pure, and never panics. Memory is bounded by a multiple of the body: what is decoded of it has at most
//! [`MAX_DECODED_BYTES`]. An object or event in a body is found, or the body is
//! [`Message::Foreign`] or [`Message::Invalid`].
//! Not here: whether a text really contains events: the [`Decoder`](super::Decoder) that reads it finds them, in all forms
//! that files have, and reports what is not CloudTrail.
//!
//! | file | responsible for |
//! |---|---|
//! | `walk` | what is wrapped in what: SNS, SQS, EventBridge, Lambda, lists, lines, base64, gzip |
//! | `notification` | which object a notification names, and which need nothing to be done |
//! | `fields` | the members of an object by name |

mod fields;
mod notification;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use bytes::Bytes;

use super::s3::ObjectReference;

/// What is decoded of a body at most, in all its layers together: a body of SQS has at most 1 MiB, one of Lambda 6 MB.
/// Compressed text beyond it is left to the decoder, which reads it in pieces.
pub const MAX_DECODED_BYTES: usize = 8 << 20;

/// What a message contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something to read.
    Work(Work),
    /// Nothing to read, and that is as expected: the message can be deleted.
    Ignorable(Ignorable),
    /// A part of it cannot be read, and may be about events. The message must not be taken as complete.
    Invalid {
        /// Why it cannot be read, as shown to the user.
        reason: String,
    },
    /// Nothing that this program knows. The message is not its own.
    Foreign {
        /// What it is instead, as shown to the user.
        reason: String,
    },
}

/// What has to be read for a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Text that may contain events, one JSON value after the other, for a [`Decoder`](super::Decoder).
    pub events: Option<Bytes>,
    /// Objects that may contain events, each once.
    pub objects: Vec<ObjectReference>,
}

/// A message for which nothing has to be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignorable {
    /// `s3:TestEvent`, which S3 sends when a notification is configured.
    TestEvent,
    /// The text that CloudTrail sends when a topic is configured.
    ValidationMessage,
    /// A delivery check of CloudWatch Logs.
    ControlMessage,
    /// An event of an object that was not created, by its name, such as `ObjectRemoved:Delete`.
    ObjectEvent(String),
    /// A new digest file of CloudTrail.
    Digest,
    /// A new object in which a service tests its permission.
    PermissionTest,
    /// A new object that stands for a folder.
    Folder,
    /// A list without entries.
    Empty,
}

impl fmt::Display for Ignorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TestEvent => "s3:TestEvent",
            Self::ValidationMessage => "validation message of CloudTrail",
            Self::ControlMessage => "control message of CloudWatch Logs",
            Self::ObjectEvent(name) => return write!(f, "notification {name}"),
            Self::Digest => "digest file",
            Self::PermissionTest => "permission test of a service",
            Self::Folder => "folder",
            Self::Empty => "list without entries",
        })
    }
}

impl Message {
    /// Returns what a body contains.
    pub fn parse(body: &Bytes) -> Self {
        walk::walk(body)
    }
}
