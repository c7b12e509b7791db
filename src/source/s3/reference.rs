//! Objects that a notification names, and what their keys show.
//!
//! Input: bucket and key, as a notification contains them. Output: an [`ObjectReference`], and its [`KeyContent`].
//! Not here: the notification (see `source::message`), and fetching (see `fetcher`).

use super::{
    layout::{self, DIGEST_FOLDER},
    objects::s3_uri,
};

/// An object that a notification names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectReference {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The size in bytes, if the notification contains it.
    pub size: Option<u64>,
    /// The `ETag` without quotes, if the notification contains it.
    pub etag: Option<String>,
    /// The Region of the bucket, if the notification contains it.
    pub region: Option<String>,
}

/// What an object holds, as far as its key shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyContent<'k> {
    /// Perhaps events: the content decides.
    MayBeEvents,
    /// A digest file of CloudTrail.
    Digest,
    /// The permission test of a service.
    PermissionTest,
    /// Nothing: the object stands for a folder.
    Folder,
    /// Logs of another service, whose folder has this name.
    OtherService(&'k str),
}

impl ObjectReference {
    /// Returns the S3 URI.
    pub fn uri(&self) -> String {
        s3_uri(&self.bucket, &self.key)
    }
}

impl<'k> KeyContent<'k> {
    /// Returns what the object of this key holds, as far as the key shows it.
    pub fn of_key(key: &'k str) -> Self {
        let name = key.rsplit('/').next().unwrap_or_default();
        if name.is_empty() {
            return Self::Folder;
        }
        let kind = name.split('_').nth(1).unwrap_or_default();
        match layout::other_service(key) {
            Some(DIGEST_FOLDER) => Self::Digest,
            _ if kind == DIGEST_FOLDER => Self::Digest,
            _ if layout::is_permission_test(name) => Self::PermissionTest,
            Some(service) => Self::OtherService(service),
            None => Self::MayBeEvents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_what_is_surely_no_events() {
        let logs = "p/AWSLogs/o-exampleorgid/111122223333";
        for (key, expected) in [
            ("CloudTrail/eu-west-1/2024/01/02/x.json.gz", KeyContent::MayBeEvents),
            ("CloudTrail-Insight/eu-west-1/2024/01/02/x.json.gz", KeyContent::MayBeEvents),
            ("CloudTrail-Digest/eu-west-1/2024/01/02/x.json.gz", KeyContent::Digest),
            ("Config/eu-west-1/x.json.gz", KeyContent::OtherService("Config")),
            ("Config/ConfigWritabilityCheckFile", KeyContent::PermissionTest),
            ("vpcflowlogs/eu-west-1/x.gz", KeyContent::OtherService("vpcflowlogs")),
            ("CloudTrail/", KeyContent::Folder),
        ] {
            assert_eq!(KeyContent::of_key(&format!("{logs}/{key}")), expected, "{key}");
        }
        assert_eq!(KeyContent::of_key("mine/events.json"), KeyContent::MayBeEvents);
        assert_eq!(KeyContent::of_key("AWSLogs/Config/AWSLogs/1/x.json"), KeyContent::MayBeEvents);
        let digest =
            "elsewhere/111122223333_CloudTrail-Digest_eu-west-1_trail_eu-west-1_2024.json.gz";
        assert_eq!(KeyContent::of_key(digest), KeyContent::Digest);
    }
}
