//! Trails: where CloudTrail delivers an account's events to.

/// A trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Its name.
    pub name: String,
    /// Its ARN, which is unique.
    pub arn: String,
    /// Where it was made; only there it can be changed.
    pub home: String,
    /// The bucket it delivers to.
    pub bucket: String,
    /// What stands before `AWSLogs/` in the keys, without a slash at the end; `None` if nothing.
    pub prefix: Option<String>,
    /// It covers all accounts of an organization.
    pub organization: bool,
    /// It covers all Regions.
    pub all_regions: bool,
}
