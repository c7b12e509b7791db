//! Parses the addresses of queues: `sqs://` with a name, an account and a name, a URL or an ARN.
//!
//! Input: an argument of the command line. Output: a [`QueueAddress`], or a [`QueueAddressError`] that names the accepted forms.
//! Invariant: account, Region and partition are known if the address contains them; nothing is guessed.
//! Not here: whether the queue exists.

use std::fmt;

use url::Url;

use crate::{
    aws::{AwsPartition, role::is_account_id},
    redact,
};

/// The scheme of a queue's address.
const SCHEME: &str = "sqs://";

/// Length of a queue name, by the rules of SQS.
const MAX_NAME_LENGTH: usize = 80;

/// The end of the name of a FIFO queue.
const FIFO_SUFFIX: &str = ".fifo";

/// A queue, as the user named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueAddress {
    /// The name.
    pub name: String,
    /// The account, if the address contains it.
    pub account: Option<String>,
    /// The Region, if the address contains it.
    pub region: Option<String>,
    /// The partition, if an ARN or the Region shows it.
    pub partition: Option<AwsPartition>,
    /// The URL, if the address is one.
    pub url: Option<Url>,
}

/// Why an argument is not a valid address of a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueAddressError {
    /// The name is missing.
    #[error("the name of the queue is missing: expected {FORMS}")]
    MissingName,
    /// The name violates the naming rules.
    #[error(
        "invalid queue name {0}: expected at most {MAX_NAME_LENGTH} characters of a-z, A-Z, 0-9, hyphens and underscores, and .fifo at the end for a FIFO queue"
    )]
    InvalidName(String),
    /// It is none of the accepted forms.
    #[error("expected {FORMS}")]
    UnknownForm,
}

/// The accepted forms, for messages.
const FORMS: &str = "sqs://NAME, sqs://ACCOUNT/NAME, sqs://https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, or the ARN of a queue";

impl QueueAddress {
    /// Returns whether an argument is meant as the address of a queue.
    pub fn is_address(word: &str) -> bool {
        word.starts_with(SCHEME) || is_queue_arn(word)
    }

    /// Parses an address.
    ///
    /// # Errors
    ///
    /// Returns [`QueueAddressError`] if it is not valid.
    pub fn parse(word: &str) -> Result<Self, QueueAddressError> {
        let rest = word.strip_prefix(SCHEME).unwrap_or(word);
        if rest.starts_with("arn:") {
            return Self::from_arn(rest);
        }
        if rest.starts_with("https://") || rest.starts_with("http://") {
            return Self::from_url(rest);
        }
        match rest.trim_end_matches('/').split_once('/') {
            None => Self::new(rest.trim_end_matches('/'), None),
            Some((account, name)) if is_account_id(account) => Self::new(name, Some(account)),
            // A URL without its scheme.
            Some((host, _)) if host.contains(['.', ':']) => {
                Self::from_url(&format!("https://{rest}"))
            }
            Some(_) => Err(QueueAddressError::UnknownForm),
        }
    }

    fn from_arn(arn: &str) -> Result<Self, QueueAddressError> {
        let parts: Vec<&str> = arn.split(':').collect();
        let [_, partition, "sqs", region, account, name] = parts[..] else {
            return Err(QueueAddressError::UnknownForm);
        };
        let partition = AwsPartition::from_name(partition).ok_or(QueueAddressError::UnknownForm)?;
        if !is_account_id(account) || AwsPartition::from_region(region) != Some(partition) {
            return Err(QueueAddressError::UnknownForm);
        }
        let named = Self::new(name, Some(account))?;
        Ok(Self { region: Some(region.to_owned()), partition: Some(partition), ..named })
    }

    fn from_url(text: &str) -> Result<Self, QueueAddressError> {
        let url = Url::parse(text).map_err(|_| QueueAddressError::UnknownForm)?;
        let host = url.host_str().unwrap_or_default();
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(QueueAddressError::UnknownForm);
        }
        let path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
        let (name, folders) = path.split_last().ok_or(QueueAddressError::MissingName)?;
        let account = folders.last().copied().filter(|part| is_account_id(part));
        let is_region = |part: &&str| AwsPartition::from_region(part).is_some();
        // Emulators have the Region in the path.
        let in_path = folders.iter().copied().find(is_region);
        let region = host.split('.').find(is_region).or(in_path).or_else(|| legacy_region(host));
        let named = Self::new(name, account)?;
        Ok(Self {
            partition: region.and_then(AwsPartition::from_region),
            region: region.map(str::to_owned),
            url: Some(url),
            ..named
        })
    }

    fn new(name: &str, account: Option<&str>) -> Result<Self, QueueAddressError> {
        if name.is_empty() {
            return Err(QueueAddressError::MissingName);
        }
        let plain = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.len() > MAX_NAME_LENGTH || plain.is_empty() || !plain.bytes().all(is_plain) {
            let shown = if name.contains([':', '@']) { redact::url(name) } else { name.to_owned() };
            return Err(QueueAddressError::InvalidName(shown));
        }
        Ok(Self {
            name: name.to_owned(),
            account: account.map(str::to_owned),
            region: None,
            partition: None,
            url: None,
        })
    }

    /// Returns whether it is a FIFO queue.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }

    /// Returns the endpoint that the URL names, unless it is the one that the SDK uses for the Region.
    pub fn endpoint(&self) -> Option<String> {
        let url = self.url.as_ref()?;
        let host = url.host_str().unwrap_or_default();
        let usual = self
            .region
            .as_ref()
            .zip(self.partition)
            .map(|(region, partition)| format!("sqs.{region}.{}", partition.dns_suffix()));
        let is_usual = url.scheme() == "https"
            && (usual.as_deref() == Some(host) || legacy_region(host).is_some());
        (!is_usual).then(|| url.origin().ascii_serialization())
    }

    /// Returns the ARN, with placeholders for what the address does not contain.
    pub fn arn(&self, region: Option<&str>, partition: AwsPartition) -> String {
        let region = self.region.as_deref().or(region).unwrap_or("REGION");
        let account = self.account.as_deref().unwrap_or("ACCOUNT");
        format!("arn:{}:sqs:{region}:{account}:{}", self.partition.unwrap_or(partition), self.name)
    }
}

impl fmt::Display for QueueAddress {
    /// Writes the address with its scheme, as the user may write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, &self.url) {
            (_, Some(url)) => write!(f, "{SCHEME}{url}"),
            (Self { account: Some(account), region: Some(region), name, partition, .. }, _) => {
                let partition = partition.unwrap_or(AwsPartition::Aws);
                write!(f, "arn:{partition}:sqs:{region}:{account}:{name}")
            }
            (Self { account: Some(account), name, .. }, _) => write!(f, "{SCHEME}{account}/{name}"),
            (Self { name, .. }, _) => write!(f, "{SCHEME}{name}"),
        }
    }
}

/// Returns whether a text is the ARN of a queue.
fn is_queue_arn(word: &str) -> bool {
    let mut parts = word.splitn(4, ':');
    parts.next() == Some("arn") && parts.nth(1) == Some("sqs")
}

/// Returns the Region of a host name that SQS used until 2016, which queues still have in their URLs.
fn legacy_region(host: &str) -> Option<&str> {
    let host = host.strip_suffix("queue.amazonaws.com")?;
    match host.strip_suffix('.') {
        Some(region) => AwsPartition::from_region(region).map(|_| region),
        None => host.is_empty().then_some("us-east-1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    #[test]
    fn every_form_is_parsed() {
        let account = Some("111122223333");
        let cases: &[(&str, Parts<'_>)] = &[
            ("sqs://trail-events", ("trail-events", None, None, None)),
            ("sqs://trail.fifo", ("trail.fifo", None, None, None)),
            ("sqs://111122223333/trail", ("trail", account, None, None)),
            (
                "sqs://arn:aws-cn:sqs:cn-north-1:111122223333:trail",
                ("trail", account, Some("cn-north-1"), None),
            ),
            (
                "arn:aws:sqs:eu-west-1:111122223333:trail.fifo",
                ("trail.fifo", account, Some("eu-west-1"), None),
            ),
            (
                "sqs://https://sqs.eu-west-1.amazonaws.com/111122223333/trail",
                ("trail", account, Some("eu-west-1"), None),
            ),
            (
                "sqs://sqs.eu-west-1.amazonaws.com/111122223333/trail/",
                ("trail", account, Some("eu-west-1"), None),
            ),
            (
                "sqs://https://sqs.cn-north-1.amazonaws.com.cn/111122223333/trail",
                ("trail", account, Some("cn-north-1"), None),
            ),
            (
                "sqs://https://eu-west-1.queue.amazonaws.com/111122223333/trail",
                ("trail", account, Some("eu-west-1"), None),
            ),
            (
                "sqs://https://queue.amazonaws.com/111122223333/trail",
                ("trail", account, Some("us-east-1"), None),
            ),
            (
                "sqs://https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com/111122223333/trail",
                (
                    "trail",
                    account,
                    Some("us-east-1"),
                    Some("https://vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com"),
                ),
            ),
            (
                "sqs://https://sqs-fips.us-gov-west-1.amazonaws.com/111122223333/trail",
                (
                    "trail",
                    account,
                    Some("us-gov-west-1"),
                    Some("https://sqs-fips.us-gov-west-1.amazonaws.com"),
                ),
            ),
            (
                "sqs://http://localhost:4566/000000000000/trail",
                ("trail", Some("000000000000"), None, Some("http://localhost:4566")),
            ),
            (
                "sqs://http://localhost:4566/queue/eu-west-1/000000000000/trail",
                ("trail", Some("000000000000"), Some("eu-west-1"), Some("http://localhost:4566")),
            ),
            (
                "sqs://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/trail",
                (
                    "trail",
                    Some("000000000000"),
                    Some("us-east-1"),
                    Some("https://sqs.us-east-1.localhost.localstack.cloud:4566"),
                ),
            ),
        ];
        for (word, (name, account, region, endpoint)) in cases {
            assert!(QueueAddress::is_address(word), "{word}");
            let address = QueueAddress::parse(word).unwrap();
            assert_eq!(address.name, *name, "{word}");
            assert_eq!(address.account.as_deref(), *account, "{word}");
            assert_eq!(address.region.as_deref(), *region, "{word}");
            assert_eq!(address.endpoint().as_deref(), *endpoint, "{word}");
            assert_eq!(QueueAddress::parse(&address.to_string()), Ok(address), "{word}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for word in [
            "sqs://",
            "sqs://a b",
            "sqs://.fifo",
            "sqs://a.b",
            "sqs://a/b",
            "sqs://a/b/c",
            "sqs://https://sqs.eu-west-1.amazonaws.com/",
            "sqs://https://me:hush@sqs.eu-west-1.amazonaws.com/111122223333/trail",
            "sqs://https://sqs.eu-west-1.amazonaws.com/111122223333/trail?Action=SendMessage",
            "sqs://arn:aws:sns:eu-west-1:111122223333:trail",
            "arn:aws:sqs:cn-north-1:111122223333:trail",
            "arn:aws:sqs:eu-west-1::trail",
        ] {
            let error = QueueAddress::parse(word).unwrap_err().to_string();
            assert!(error.contains("expected") && !error.contains("hush"), "{word}: {error}");
        }
        let long = format!("sqs://{}", "a".repeat(81));
        assert!(matches!(QueueAddress::parse(&long), Err(QueueAddressError::InvalidName(_))));
        assert!(!QueueAddress::is_address("s3://trail"));
        assert!(!QueueAddress::is_address("arn:aws:s3:::trail"));
    }

    #[test]
    fn an_arn_has_placeholders_for_what_is_unknown() {
        let arn = |word: &str| {
            QueueAddress::parse(word).unwrap().arn(Some("eu-west-1"), AwsPartition::Aws)
        };
        assert_eq!(arn("sqs://trail"), "arn:aws:sqs:eu-west-1:ACCOUNT:trail");
        let whole = "arn:aws-cn:sqs:cn-north-1:111122223333:trail";
        assert_eq!(arn(whole), whole);
    }
}
