//! What an answer of S3 means.
//!
//! In: an error of the SDK's client. Out: what to do [`Next`], and a [`Refusal`] that says it to a person.
//! Absent on purpose: doing it. See `bucket`.

use std::{error::Error as StdError, fmt};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::address::{arn, objects_arn};
use crate::aws::{self, Partition, Trouble};

/// Where S3 names the Region of a bucket.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// What S3 answered instead of what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// In words for a person, with what to do.
    pub why: String,
    /// What was answered, if anything was asked.
    pub answer: Option<aws::Refusal>,
    /// The permission that is missing: action and resource.
    pub missing: Option<Missing>,
    /// Whom it is about.
    pub reach: Reach,
}

/// A permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// As policies spell it: `s3:ListBucket`.
    pub action: &'static str,
    /// The resource's ARN, as policies spell it.
    pub resource: String,
}

/// What else would be refused in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing: it is about this object or folder.
    This,
    /// Other objects of the bucket, perhaps: a permission is missing.
    Perhaps,
    /// Other requests, if none of them gets through meanwhile: there was no answer.
    Way,
    /// Every request: credentials, clock, the bucket's name.
    All,
}

/// What is to be done about a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The bucket is in another Region, which may be named.
    Elsewhere(Option<String>),
    /// Too much is asked for at once.
    Slower,
    /// It may go better the next time.
    Again,
    /// There was no answer: the network may be back soon.
    Outlast,
    /// It will not go better now.
    Never,
}

/// What a request was for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The bucket.
    pub(super) bucket: &'a str,
    /// The Region that was asked.
    pub(super) region: &'a str,
    /// Whether the caller pays.
    pub(super) requester_pays: bool,
    /// The key that was to be fetched, or the prefix that was to be listed.
    pub(super) what: What<'a>,
}

/// The two things that are asked of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    List(&'a str),
    Get(&'a str),
}

/// What is known about a failed request, whatever it was for.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    said: aws::Refusal,
    region: Option<String>,
    /// Whether it began well, and broke off.
    cut: bool,
}

impl Answer {
    /// Reads an error of the client.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let raw = error.raw_response();
        let header = raw.and_then(|raw| raw.headers().get(REGION_HEADER)).map(str::to_owned);
        let body = raw.and_then(|raw| raw.body().bytes()).unwrap_or_default();
        Self {
            said: aws::Refusal::of(error),
            region: header.or_else(|| region_in(body)),
            cut: false,
        }
    }

    /// An answer that did not come within our own patience.
    pub(super) fn silence() -> Self {
        Self::broken("no answer in time".to_owned())
    }

    /// A body that ended or broke off too early.
    pub(super) fn cut(got: u64, of: u64, how: impl fmt::Display) -> Self {
        let cut = Self::broken(format!("the body broke off after {got} of {of} bytes ({how})"));
        Self { cut: true, ..cut }
    }

    fn broken(message: String) -> Self {
        let trouble = Trouble::Transient;
        let said = aws::Refusal { trouble, status: None, code: None, message, request: None };
        Self { said, region: None, cut: false }
    }

    /// Returns what to do.
    pub(super) fn next(&self) -> Next {
        let elsewhere = || Next::Elsewhere(self.region.clone());
        match (self.said.status.unwrap_or(0), self.code()) {
            (301 | 307, _) | (_, "PermanentRedirect" | "TemporaryRedirect") => elsewhere(),
            (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                elsewhere()
            }
            // An answer to HEAD has no body, and so no code.
            (400, "" | "BadRequest") if self.region.is_some() => elsewhere(),
            (503, _) | (_, "KMS.ThrottlingException") => Next::Slower,
            _ => match self.said.trouble {
                Trouble::Throttled => Next::Slower,
                Trouble::Transient if self.is_silence() => Next::Outlast,
                // The door asks for new credentials meanwhile.
                Trouble::Transient | Trouble::Expired => Next::Again,
                _ => Next::Never,
            },
        }
    }

    /// Says it to a person.
    pub(super) fn refusal(self, wish: Wish<'_>, tries: u32) -> Refusal {
        let missing = self.missing(wish);
        let mut why = self.why(wish, missing.as_ref());
        if tries > 1 {
            why = format!("{why}; asked {tries} times");
        }
        let reach = match &self.said.trouble {
            trouble if trouble.is_everywhere() || self.is_of_nothing() => Reach::All,
            _ if missing.is_some() || self.code().starts_with("KMS.") => Reach::Perhaps,
            Trouble::Transient if self.is_silence() => Reach::Way,
            _ => Reach::This,
        };
        Refusal { why, answer: Some(self.said), missing, reach }
    }

    /// Returns whether there is no such bucket or access point.
    fn is_of_nothing(&self) -> bool {
        matches!(self.code(), "NoSuchBucket" | "NoSuchAccessPoint")
    }

    fn is_silence(&self) -> bool {
        self.said.status.is_none() && !self.cut
    }

    fn code(&self) -> &str {
        self.said.code.as_deref().unwrap_or_default()
    }

    /// Returns whether it is the key's policy that refused. S3 has one code for both, so the text decides.
    fn is_about_key(&self) -> bool {
        self.code().starts_with("KMS.") || self.said.message.contains("kms:")
    }

    fn missing(&self, wish: Wish<'_>) -> Option<Missing> {
        let denied = matches!(self.code(), "AccessDenied" | "AllAccessDisabled" | "Forbidden" | "");
        if self.said.status != Some(403) || !denied {
            return None;
        }
        let partition = Partition::of_region(wish.region).unwrap_or(Partition::Aws);
        Some(match wish.what {
            What::Get(_) if self.is_about_key() => Missing {
                action: "kms:Decrypt",
                resource: self.key_arn().unwrap_or("the bucket's key").to_owned(),
            },
            What::Get(key) => {
                let resource = objects_arn(wish.bucket, &all_logs(key), partition);
                Missing { action: "s3:GetObject", resource }
            }
            What::List(_) => {
                Missing { action: "s3:ListBucket", resource: arn(wish.bucket, partition) }
            }
        })
    }

    /// Returns the key's ARN, if the message names it.
    fn key_arn(&self) -> Option<&str> {
        let said = &self.said.message;
        let starts = said.match_indices("arn:aws").map(|(at, _)| &said[at..]);
        let mut arns = starts.map(|arn| arn.split([' ', '"', ',']).next().unwrap_or(arn));
        arns.find(|arn| arn.contains(":kms:"))
    }

    fn why(&self, wish: Wish<'_>, missing: Option<&Missing>) -> String {
        let (bucket, said) = (wish.bucket, &self.said);
        if let Some(Missing { action, resource }) = missing {
            let payer = if wish.requester_pays || *action == "kms:Decrypt" {
                ""
            } else {
                ", or --requester-pays if its owner wants that"
            };
            let message = &said.message;
            let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
            return format!("access denied{message}: it takes {action} on {resource}{payer}");
        }
        let get = matches!(wish.what, What::Get(_));
        match (self.code(), said.status) {
            ("NoSuchBucket", _) => format!("there is no bucket called {bucket}"),
            ("NoSuchAccessPoint", _) => format!("there is no access point {bucket}"),
            ("NoSuchKey", _) => "it was deleted after it was listed".to_owned(),
            ("", Some(404)) if get => "it was deleted after it was listed".to_owned(),
            ("PreconditionFailed", _) | ("", Some(412)) => {
                "it was replaced after it was listed; the next run reads the new one".to_owned()
            }
            ("InvalidObjectState", _) => {
                "it is archived (Glacier): restore it first, then run this again".to_owned()
            }
            ("SlowDown", _) => "S3 asked to slow down, again and again".to_owned(),
            (_, None) => said.message.clone(),
            _ => match said.trouble.advice() {
                // It is about the way there, and we got there.
                _ if said.trouble == Trouble::Transient => format!("S3 answered {said}"),
                Some(advice) => format!("S3 answered {said}; {advice}"),
                None => format!("S3 answered {said}"),
            },
        }
    }
}

impl Refusal {
    /// Something that was not refused, and is not there.
    pub(super) fn absent(why: String) -> Self {
        Self { why, answer: None, missing: None, reach: Reach::This }
    }
}

/// Returns the pattern for all logs beside a key: what a policy would name.
fn all_logs(key: &str) -> String {
    let logs = super::layout::LOGS;
    match key.find(&format!("{logs}/")) {
        Some(at) => format!("{}{logs}/*", &key[..at]),
        None => "*".to_owned(),
    }
}

/// Returns the Region that the body of an error names.
fn region_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!region.is_empty() && region.bytes().all(plain)).then(|| region.to_owned())
}

/// Returns the first cause of an error: the outer ones are the SDK's names for it.
pub(super) fn first_cause(error: &(dyn StdError + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| StdError::source(*error));
    chain.last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish<'_> = Wish {
        bucket: "trail",
        region: "eu-west-1",
        requester_pays: false,
        what: What::Get("a/AWSLogs/123456789012/CloudTrail/x.json.gz"),
    };

    fn answer(status: u16, code: &str, message: &str) -> Answer {
        let mut answer = Answer::broken(message.to_owned());
        answer.said.trouble = match code {
            "SlowDown" => Trouble::Throttled,
            "InternalError" => Trouble::Transient,
            "ExpiredToken" => Trouble::Expired,
            _ => Trouble::Other,
        };
        answer.said.status = Some(status);
        answer.said.code = (!code.is_empty()).then(|| code.to_owned());
        answer
    }

    #[test]
    fn codes_decide_what_is_next() {
        for (status, code, next) in [
            (503, "SlowDown", Next::Slower),
            (503, "", Next::Slower),
            (500, "InternalError", Next::Again),
            (301, "PermanentRedirect", Next::Elsewhere(None)),
            (400, "AuthorizationHeaderMalformed", Next::Elsewhere(None)),
            (400, "ExpiredToken", Next::Again),
            (400, "InvalidArgument", Next::Never),
            (403, "AccessDenied", Next::Never),
            (404, "NoSuchKey", Next::Never),
            (412, "PreconditionFailed", Next::Never),
        ] {
            assert_eq!(answer(status, code, "").next(), next, "{status} {code}");
        }
        assert_eq!(Answer::cut(3, 5, "reset").next(), Next::Again);
        assert_eq!(Answer::silence().next(), Next::Outlast);
        assert_eq!(Answer::silence().refusal(WISH, 3).reach, Reach::Way);
    }

    #[test]
    fn a_denial_names_what_is_missing() {
        let get = answer(403, "AccessDenied", "Access Denied").refusal(WISH, 1);
        let missing = get.missing.unwrap();
        assert_eq!(missing.action, "s3:GetObject");
        assert_eq!(missing.resource, "arn:aws:s3:::trail/a/AWSLogs/*");
        assert_eq!(get.reach, Reach::Perhaps);

        let china = Wish { region: "cn-north-1", what: What::List("a/"), ..WISH };
        let list = answer(403, "AccessDenied", "Access Denied").refusal(china, 1);
        assert_eq!(list.missing.unwrap().resource, "arn:aws-cn:s3:::trail");

        let said = "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform: \
                    kms:Decrypt on resource: arn:aws:kms:eu-west-1:123456789012:key/k because no policy";
        let key = answer(403, "AccessDenied", said).refusal(WISH, 1).missing.unwrap();
        assert_eq!(key.action, "kms:Decrypt");
        assert_eq!(key.resource, "arn:aws:kms:eu-west-1:123456789012:key/k");
    }

    #[test]
    fn the_region_is_read_from_the_body_where_the_header_is_lost() {
        let body = b"<Error><Code>x</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(region_in(body).as_deref(), Some("eu-west-1"));
        assert_eq!(region_in(b"<Region>a b</Region>"), None);
    }
}
