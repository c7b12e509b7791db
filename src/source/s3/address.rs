//! Reads `s3://bucket/prefix`.

use std::fmt;

/// What an address begins with.
const SCHEME: &str = "s3://";

/// Bytes of a bucket's name, by S3's rules.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Bytes of a key at most, by S3's rules.
const MOST_KEY_BYTES: usize = 1_024;

/// A bucket, or a folder or an object of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The bucket's name.
    pub bucket: String,
    /// What the keys begin with: as typed, without slashes at its front. Empty for the whole bucket.
    pub prefix: String,
}

/// Why a word is no address of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It begins with something else.
    #[error("an address of a bucket begins with s3://")]
    Scheme,
    /// Nothing between the slashes.
    #[error("the bucket's name is missing: write s3://bucket or s3://bucket/prefix")]
    NoBucket,
    /// An ARN, where the name is enough.
    #[error("it names a bucket by its ARN: write s3://{0}")]
    Arn(String),
    /// The address of a web page.
    #[error("{0} is no bucket name: 3 to 63 of a-z, 0-9, dots, hyphens (s3://bucket/prefix)")]
    Name(String),
    /// Longer than keys can be.
    #[error("the prefix is longer than the {MOST_KEY_BYTES} bytes that a key may have")]
    Long,
    /// A pattern, which S3 does not know.
    #[error(
        "S3 knows no patterns: name a folder, and narrow it with --accounts, --regions, --from"
    )]
    Pattern,
}

impl Address {
    /// Reads an address as typed.
    ///
    /// # Errors
    ///
    /// Returns [`Wrong`] if it is none, with what to write.
    pub fn parse(word: &str) -> Result<Self, Wrong> {
        let rest = word.strip_prefix(SCHEME).ok_or(Wrong::Scheme)?;
        if let Some(arn) = rest.strip_prefix("arn:") {
            let name = arn.rsplit(':').next().unwrap_or_default();
            return Err(Wrong::Arn(name.to_owned()));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_start_matches('/');
        if bucket.is_empty() {
            return Err(Wrong::NoBucket);
        }
        if !is_bucket(bucket) {
            return Err(Wrong::Name(bucket.to_owned()));
        }
        if prefix.len() > MOST_KEY_BYTES {
            return Err(Wrong::Long);
        }
        if prefix.ends_with('*') {
            return Err(Wrong::Pattern);
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Returns whether a word is meant as the address of a bucket.
    pub fn is_meant_by(word: &str) -> bool {
        word.starts_with(SCHEME)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Returns whether a bucket may be called so. Names from before 2018 may hold capitals and underscores.
fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    NAME_BYTES.contains(&name.len()) && name.bytes().all(plain)
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
    fn what_is_no_address_says_what_to_write() {
        let wrong = |word| Address::parse(word).unwrap_err();
        assert_eq!(wrong("S3://trail"), Wrong::Scheme);
        assert_eq!(wrong("s3:///AWSLogs"), Wrong::NoBucket);
        assert_eq!(wrong("s3://arn:aws:s3:::trail"), Wrong::Arn("trail".to_owned()));
        assert_eq!(wrong("s3://ab/x"), Wrong::Name("ab".to_owned()));
        assert_eq!(wrong("s3://a b c/x"), Wrong::Name("a b c".to_owned()));
        assert_eq!(wrong("s3://trail/2024*"), Wrong::Pattern);
        assert_eq!(wrong(&format!("s3://trail/{}", "a".repeat(1_025))), Wrong::Long);
    }
}
