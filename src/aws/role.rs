//! Role ARNs, and templates that yield one role per account.
//!
//! Input: an ARN or a template, as the user typed it. Output: [`Role`], [`RoleTemplate`].
//! Invariant: a [`Role`] has a well-formed ARN.
//! Deliberately absent: whether a role exists, which only STS knows.

use super::{error::Error, partition::AwsPartition};

/// Placeholder for the account ID in a [`RoleTemplate`].
pub const ACCOUNT_PLACEHOLDER: &str = "{account}";

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    arn: String,
    account: String,
    partition: AwsPartition,
    /// External ID that the role's trust policy requires, against the confused deputy problem.
    pub external_id: Option<String>,
    /// Role session name, which appears in CloudTrail; [`DEFAULT_SESSION_NAME`] by default.
    pub session_name: String,
}

/// The default role session name.
pub const DEFAULT_SESSION_NAME: &str = "trailload";

impl Role {
    /// Parses a role ARN.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidRoleArn`] for any other text.
    pub fn new(arn: &str, external_id: Option<String>) -> Result<Self, Error> {
        let no_role = || Error::InvalidRoleArn(arn.to_owned());
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(no_role);
        let (prefix, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let partition = AwsPartition::from_name(partition).ok_or_else(no_role)?;
        let name = resource.strip_prefix("role/").unwrap_or_default();
        let well_formed = prefix == "arn"
            && service == "iam"
            && region.is_empty()
            && is_account_id(account)
            && !name.is_empty()
            && !name.ends_with('/')
            && name.chars().all(|letter| letter.is_ascii_graphic() && !"{}".contains(letter));
        if !well_formed {
            return Err(no_role());
        }
        Ok(Self {
            arn: arn.to_owned(),
            account: account.to_owned(),
            partition,
            external_id,
            session_name: DEFAULT_SESSION_NAME.to_owned(),
        })
    }

    /// Returns the ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Returns the account ID in the ARN.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns the partition in the ARN.
    pub fn partition(&self) -> AwsPartition {
        self.partition
    }
}

/// A role ARN in which [`ACCOUNT_PLACEHOLDER`] may stand for the account ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleTemplate(String);

impl RoleTemplate {
    /// Parses a template or a role ARN.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidRoleArn`] if the text is not a role ARN for any account.
    pub fn new(text: &str) -> Result<Self, Error> {
        let template = Self(text.to_owned());
        template
            .for_account("000000000000", None)
            .map_err(|_| Error::InvalidRoleArn(text.to_owned()))?;
        Ok(template)
    }

    /// Returns the text with its placeholders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the template contains a placeholder.
    pub fn has_placeholder(&self) -> bool {
        self.0.contains(ACCOUNT_PLACEHOLDER)
    }

    /// Returns the role for `account`; without a placeholder it is the same for every account.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidRoleArn`] if the template has a placeholder and `account` is not an account ID.
    pub fn for_account(&self, account: &str, external_id: Option<String>) -> Result<Role, Error> {
        Role::new(&self.0.replace(ACCOUNT_PLACEHOLDER, account), external_id)
    }
}

/// Returns true for an account ID: 12 digits.
pub fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_contains_account_and_partition() {
        let role = Role::new("arn:aws-cn:iam::111122223333:role/audit/reader", None).unwrap();
        assert_eq!(role.account(), "111122223333");
        assert_eq!(role.partition(), AwsPartition::China);
    }

    #[test]
    fn an_invalid_arn_is_quoted_in_the_error() {
        for text in [
            "",
            "arn",
            "reader",
            "arn:aws:iam::111122223333:user/reader",
            "arn:aws:iam::1111:role/reader",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/reader/",
            "arn:aws:iam:us-east-1:111122223333:role/reader",
            "arn:aws:sts::111122223333:assumed-role/reader/me",
            "arn:somewhere:iam::111122223333:role/reader",
            "arn:aws:iam::{account}:role/reader",
        ] {
            let error = Role::new(text, None).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_template_yields_one_role_per_account() {
        let template = RoleTemplate::new("arn:aws:iam::{account}:role/reader-{account}").unwrap();
        assert!(template.has_placeholder());
        let role = template.for_account("444455556666", Some("word".to_owned())).unwrap();
        assert_eq!(role.arn(), "arn:aws:iam::444455556666:role/reader-444455556666");
        assert_eq!(role.external_id.as_deref(), Some("word"));
        assert!(template.for_account("4444", None).is_err());
    }

    #[test]
    fn a_template_without_placeholder_is_one_role() {
        let template = RoleTemplate::new("arn:aws:iam::111122223333:role/reader").unwrap();
        assert!(!template.has_placeholder());
        assert_eq!(template.for_account("444455556666", None).unwrap().account(), "111122223333");
        assert!(RoleTemplate::new("arn:aws:iam::{account}:role/{name}").is_err());
    }
}
