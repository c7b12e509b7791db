//! What an answer of S3 means.

/// What S3 answered instead of what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// In words for a person, with what to do.
    pub why: String,
    /// S3's code for it, if it gave one.
    pub code: Option<String>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What support asks for.
    pub request_id: Option<String>,
    /// The permission that is missing: action and resource.
    pub missing: Option<Missing>,
}

/// A permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// As policies spell it: `s3:ListBucket`.
    pub action: &'static str,
    /// The resource's ARN, as policies spell it.
    pub resource: String,
}
