//! Parses `s3://bucket/prefix` and the ARNs of buckets and access points.
//!
//! Input: an argument of the command line. Output: an [`Address`], or an [`AddressError`] that names the accepted
//! forms.
//! Invariant: partition and Region of an ARN are kept. An access point is addressed by its ARN in place of a bucket
//! name, as in the AWS CLI and SDKs.

use std::fmt;

use crate::{aws::AwsPartition, redact};

/// The scheme of an S3 URI.
const URI_SCHEME: &str = "s3://";

/// Length of a bucket name in bytes, by the S3 naming rules.
const BUCKET_NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Maximum length of an object key in bytes.
const MAX_KEY_BYTES: usize = 1_024;

/// Suffix of an access point alias, which can be used as a bucket name.
const ACCESS_POINT_ALIAS_SUFFIX: &str = "-s3alias";

/// A bucket, or a prefix within one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The bucket name, or the ARN of an access point.
    pub bucket: String,
    /// The key prefix as given, without leading slashes. Empty for the whole bucket.
    pub prefix: String,
    /// The partition, if an ARN names it.
    pub partition: Option<AwsPartition>,
}

/// Why an argument is not a valid bucket address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not start with `s3://`.
    #[error("a bucket address starts with s3://")]
    MissingScheme,
    /// The bucket name is empty.
    #[error("the bucket name is missing: expected s3://BUCKET or s3://BUCKET/PREFIX")]
    MissingBucket,
    /// An ARN of another resource.
    #[error(
        "expected the ARN of a bucket (arn:aws:s3:::BUCKET/PREFIX), an access point \
         (arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME), or a trail (arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME)"
    )]
    UnsupportedArn,
    /// A Multi-Region Access Point, which requires SigV4A signatures.
    #[error(
        "Multi-Region Access Points are not supported: use the bucket, or an access point of one Region"
    )]
    MultiRegion,
    /// The bucket name violates the naming rules.
    #[error("invalid bucket name {0}: expected 3 to 63 characters of a-z, 0-9, dots and hyphens")]
    InvalidBucketName(String),
    /// The prefix is longer than a key may be.
    #[error("the prefix exceeds the maximum key length of {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// The prefix contains a wildcard, which S3 does not support.
    #[error(
        "wildcards are not supported: use a prefix, and select with --accounts, --regions or --from"
    )]
    Wildcard,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    ///
    /// Returns [`AddressError`] if it is not valid.
    pub fn parse(word: &str) -> Result<Self, AddressError> {
        let rest = word.strip_prefix(URI_SCHEME);
        if let Some(arn) = rest.or(Some(word)).filter(|rest| rest.starts_with("arn:")) {
            return Self::from_arn(arn);
        }
        let rest = rest.ok_or(AddressError::MissingScheme)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(AddressError::MissingBucket);
        }
        if !is_bucket_name(bucket) {
            let name =
                if bucket.contains([':', '@']) { redact::url(bucket) } else { bucket.into() };
            return Err(AddressError::InvalidBucketName(name));
        }
        Self::new(bucket.to_owned(), prefix, None)
    }

    fn from_arn(arn: &str) -> Result<Self, AddressError> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [_, partition, service, region, account, resource] = parts[..] else {
            return Err(AddressError::UnsupportedArn);
        };
        let partition = AwsPartition::from_name(partition).ok_or(AddressError::UnsupportedArn)?;
        let place = format!("arn:{partition}:{service}:{region}:{account}");
        if let ("s3", "", "") = (service, region, account) {
            let (bucket, prefix) = resource.split_once('/').unwrap_or((resource, ""));
            if !is_bucket_name(bucket) {
                return Err(AddressError::UnsupportedArn);
            }
            return Self::new(bucket.to_owned(), strip_policy_wildcard(prefix), Some(partition));
        }
        let (kind, rest) = resource.split_once(['/', ':']).ok_or(AddressError::UnsupportedArn)?;
        let (outpost, rest) = match (service, kind) {
            ("s3" | "s3-object-lambda", "accesspoint") => (String::new(), rest),
            ("s3-outposts", "outpost") => {
                let (outpost, rest) =
                    rest.split_once(['/', ':']).ok_or(AddressError::UnsupportedArn)?;
                let rest = rest.strip_prefix("accesspoint").ok_or(AddressError::UnsupportedArn)?;
                (
                    format!("outpost/{outpost}/"),
                    rest.strip_prefix(['/', ':']).ok_or(AddressError::UnsupportedArn)?,
                )
            }
            _ => return Err(AddressError::UnsupportedArn),
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if region.is_empty() {
            return Err(AddressError::MultiRegion);
        }
        if !is_bucket_name(name) || account.is_empty() {
            return Err(AddressError::UnsupportedArn);
        }
        // The ARN of an object contains this segment.
        let prefix = prefix.strip_prefix("object/").unwrap_or(prefix);
        let prefix = if prefix == "object" { "" } else { prefix };
        Self::new(
            format!("{place}:{outpost}accesspoint/{name}"),
            strip_policy_wildcard(prefix),
            Some(partition),
        )
    }

    fn new(
        bucket: String,
        prefix: &str,
        partition: Option<AwsPartition>,
    ) -> Result<Self, AddressError> {
        let prefix = prefix.trim_start_matches('/');
        if prefix.len() > MAX_KEY_BYTES {
            return Err(AddressError::TooLong);
        }
        if prefix.ends_with('*') {
            return Err(AddressError::Wildcard);
        }
        Ok(Self { bucket, prefix: prefix.to_owned(), partition })
    }

    /// Returns whether an argument is meant as a bucket address.
    pub fn is_address(word: &str) -> bool {
        word.starts_with(URI_SCHEME) || word.starts_with("arn:")
    }

    /// Returns whether the bucket name is the alias of an access point; aliases cannot be used in policies.
    pub fn is_access_point_alias(&self) -> bool {
        self.bucket.ends_with(ACCESS_POINT_ALIAS_SUFFIX)
    }
}

/// Removes the wildcard of an ARN copied from a policy: `logs/*` stands for the folder `logs/`.
fn strip_policy_wildcard(prefix: &str) -> &str {
    match prefix.strip_suffix('*') {
        Some(folder) if folder.is_empty() || folder.ends_with('/') => folder,
        _ => prefix,
    }
}

/// Returns the Region of an access point ARN; `None` for a bucket name.
pub(super) fn access_point_region(bucket: &str) -> Option<&str> {
    bucket.strip_prefix("arn:")?.split(':').nth(2)
}

/// Returns the ARN of a bucket or access point, as used in policies.
pub fn bucket_arn(bucket: &str, partition: AwsPartition) -> String {
    if bucket.starts_with("arn:") {
        return bucket.to_owned();
    }
    format!("arn:{partition}:s3:::{bucket}")
}

/// Returns the ARN of the objects that match a key pattern, as used in policies.
pub fn objects_arn(bucket: &str, keys: &str, partition: AwsPartition) -> String {
    let object = if bucket.starts_with("arn:") { "object/" } else { "" };
    format!("{}/{object}{keys}", bucket_arn(bucket, partition))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{URI_SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Returns whether a bucket name is valid. Names from before 2018 may contain capitals and underscores.
fn is_bucket_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    BUCKET_NAME_BYTES.contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_typed() {
        for (word, bucket, prefix) in [
            ("s3://trail", "trail", ""),
            ("s3://trail/", "trail", ""),
            ("s3://trail//logs/", "trail", "logs/"),
            ("s3://my.trail-1/a/AWSLogs/123456789012", "my.trail-1", "a/AWSLogs/123456789012"),
        ] {
            let address = Address::parse(word).unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix));
        }
        assert_eq!(Address::parse("s3://trail//a").unwrap().to_string(), "s3://trail/a");
    }

    #[test]
    fn arns_are_taken_as_they_are() {
        let point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/my-ap";
        let outpost =
            "arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-01ac/accesspoint/my-ap";
        for (word, bucket, prefix) in [
            ("arn:aws:s3:::trail", "trail", ""),
            ("arn:aws:s3:::trail/*", "trail", ""),
            ("arn:aws-us-gov:s3:::trail/AWSLogs/*", "trail", "AWSLogs/"),
            ("s3://arn:aws-cn:s3:::trail/AWSLogs/", "trail", "AWSLogs/"),
            (point, point, ""),
            (&point.replace("t/my", "t:my"), point, ""),
            (&format!("s3://{point}/a/b"), point, "a/b"),
            (&format!("{point}/object/a/*"), point, "a/"),
            (&format!("{point}/object"), point, ""),
            (&format!("{outpost}/a/"), outpost, "a/"),
        ] {
            let address = Address::parse(word).unwrap();
            assert_eq!(
                (address.bucket.as_str(), address.prefix.as_str()),
                (bucket, prefix),
                "{word}"
            );
            assert_eq!(Address::parse(&address.to_string()).unwrap().bucket, bucket);
        }
        let gov = Address::parse("arn:aws-us-gov:s3:::trail").unwrap();
        assert_eq!(gov.partition, Some(AwsPartition::GovCloud));
        assert_eq!(
            (access_point_region(point), access_point_region("trail")),
            (Some("eu-west-1"), None)
        );
        assert_eq!(objects_arn(point, "a/*", AwsPartition::Aws), format!("{point}/object/a/*"));
        assert_eq!(objects_arn("trail", "a/*", AwsPartition::China), "arn:aws-cn:s3:::trail/a/*");
        assert!(
            Address::parse("s3://my-ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias")
                .unwrap()
                .is_access_point_alias()
        );
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        let wrong = |word| Address::parse(word).unwrap_err();
        assert_eq!(wrong("S3://trail"), AddressError::MissingScheme);
        assert_eq!(wrong("s3:///AWSLogs"), AddressError::MissingBucket);
        for arn in [
            "arn:aws:iam::111122223333:role/r",
            "arn:aws:s3",
            "s3://arn:x:s3:::trail",
            "arn:aws:s3:::",
        ] {
            assert_eq!(wrong(arn), AddressError::UnsupportedArn, "{arn}");
        }
        let many = "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap";
        assert_eq!(wrong(many), AddressError::MultiRegion);
        assert_eq!(wrong("arn:aws:s3:::trail/2024*"), AddressError::Wildcard);
        assert_eq!(wrong("s3://ab/x"), AddressError::InvalidBucketName("ab".to_owned()));
        assert_eq!(wrong("s3://a b c/x"), AddressError::InvalidBucketName("a b c".to_owned()));
        assert_eq!(wrong("s3://trail/2024*"), AddressError::Wildcard);
        assert_eq!(wrong(&format!("s3://trail/{}", "a".repeat(1_025))), AddressError::TooLong);
    }
}
