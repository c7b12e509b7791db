//! Notifications of S3 and CloudTrail: which object each of them names.
//!
//! Input: an object that has the members of a notification. Output: a [`Notice`].
//! Invariant: a notification of a created object without its bucket or key is [`Notice::Incomplete`].

use std::ops::Range;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::{
    Ignorable,
    fields::{Fields, Malformed, string},
};
use crate::source::s3::{KeyContent, ObjectReference};

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// An object was created that may contain events.
    Object(ObjectReference),
    /// Nothing has to be done.
    Ignorable(Ignorable),
    /// An object was created that contains logs of another service.
    OtherService(String),
    /// The bucket or the key is missing.
    Incomplete,
}

impl Notice {
    /// Returns what the creation of an object means.
    pub(super) fn of_created(object: ObjectReference) -> Self {
        match KeyContent::of_key(&object.key) {
            KeyContent::MayBeEvents if object.bucket.is_empty() => Self::Incomplete,
            KeyContent::MayBeEvents => Self::Object(object),
            KeyContent::Digest => Self::Ignorable(Ignorable::Digest),
            KeyContent::PermissionTest => Self::Ignorable(Ignorable::PermissionTest),
            KeyContent::Folder => Self::Ignorable(Ignorable::Folder),
            KeyContent::OtherService(name) => Self::OtherService(name.to_owned()),
        }
    }
}

/// Reads a record of an S3 event notification: `eventName`, `awsRegion`, and `s3` at a range.
pub(super) fn s3_record(text: &Bytes, record: &Fields<'_>, s3: Range<usize>) -> Notice {
    let name = record.string("eventName").unwrap_or_default();
    // Services that are compatible with S3 write the prefix that filters have.
    let name = name.strip_prefix("s3:").unwrap_or(&name);
    if !name.is_empty() && !name.starts_with("ObjectCreated") {
        return Notice::Ignorable(Ignorable::ObjectEvent(name.to_owned()));
    }
    let region = record.string("awsRegion");
    object(text, s3, region).map_or(Notice::Incomplete, |mut found| {
        found.key = form_decoded(&found.key);
        Notice::of_created(found)
    })
}

/// Reads an event that S3 sent to EventBridge, whose `detail` is at a range.
pub(super) fn s3_event(text: &Bytes, event: &Fields<'_>, detail: Range<usize>) -> Notice {
    match event.string("detail-type").as_deref() {
        Some("Object Created") => {
            let found = object(text, detail, event.string("region"));
            found.map_or(Notice::Incomplete, Notice::of_created)
        }
        other => {
            Notice::Ignorable(Ignorable::ObjectEvent(other.unwrap_or("without a type").to_owned()))
        }
    }
}

/// Reads `bucket` and `object` of the object at a range.
fn object(text: &Bytes, within: Range<usize>, region: Option<String>) -> Option<ObjectReference> {
    let fields = Fields::read(text, within.start, &[b"bucket", b"object"]).ok()?;
    let bucket = Fields::read(text, fields.object("bucket")?.start, &[b"name"]).ok()?;
    let names: [&[u8]; 4] = [b"key", b"size", b"eTag", b"etag"];
    let object = Fields::read(text, fields.object("object")?.start, &names).ok()?;
    let etag = object.string("eTag").or_else(|| object.string("etag"));
    Some(ObjectReference {
        bucket: bucket.string("name")?,
        key: object.string("key")?,
        size: object.number("size"),
        etag: etag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty()),
        region,
    })
}

/// The objects that a notification of CloudTrail names: one key, or a list of them.
pub(super) struct DeliveredKeys<'t> {
    pub(super) text: &'t Bytes,
    pub(super) bucket: String,
    pub(super) keys: Range<usize>,
}

impl DeliveredKeys<'_> {
    /// Calls `each` with what each key means.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if the list cannot be read to its end.
    pub(super) fn for_each(&self, mut each: impl FnMut(Notice)) -> Result<(), Malformed> {
        let Self { text, bucket, keys } = self;
        let notice = |range: Range<usize>| match text[range.start] {
            b'"' => Notice::of_created(ObjectReference {
                bucket: bucket.clone(),
                key: string(text, range),
                size: None,
                etag: None,
                region: None,
            }),
            _ => Notice::Incomplete,
        };
        if text[keys.start] != b'[' {
            each(notice(keys.clone()));
            return Ok(());
        }
        let mut items = super::fields::Items::new(text, keys.start);
        while let Some(item) = items.next_item()? {
            each(notice(item));
        }
        Ok(())
    }
}

/// Decodes a key as S3 encodes it in notifications: `+` is a space.
fn form_decoded(key: &str) -> String {
    if !key.contains(['%', '+']) {
        return key.to_owned();
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}
