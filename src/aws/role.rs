//! Roles to assume, one by one or by a template for many accounts.
//!
//! Absent on purpose: whether a role exists; only STS knows.

use super::{Error, Partition};

/// Where the account goes in a [`Template`].
pub const ACCOUNT: &str = "{account}";

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    arn: String,
    account: String,
    partition: Partition,
    /// The word that the role's trust policy asks for, against confused deputies.
    pub external_id: Option<String>,
    /// What the session is called in the role's own CloudTrail; [`SESSION`] if nothing else is wished.
    pub session: String,
}

/// The name of our sessions.
pub const SESSION: &str = "trailload";

impl Role {
    /// Reads an ARN.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRole`] for anything but a role's ARN.
    pub fn new(arn: &str, external_id: Option<String>) -> Result<Self, Error> {
        let no_role = || Error::NoRole(arn.to_owned());
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(no_role);
        let (prefix, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let partition = Partition::of_name(partition).ok_or_else(no_role)?;
        let name = resource.strip_prefix("role/").unwrap_or_default();
        let well_formed = prefix == "arn"
            && service == "iam"
            && region.is_empty()
            && is_account(account)
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
            session: SESSION.to_owned(),
        })
    }

    /// Returns the ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Returns the account that the role lives in.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns the partition that the role lives in.
    pub fn partition(&self) -> Partition {
        self.partition
    }
}

/// A role's ARN in which `{account}` may stand for the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Reads a template, or a plain ARN.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRole`] if no account could make it a role's ARN.
    pub fn new(text: &str) -> Result<Self, Error> {
        let template = Self(text.to_owned());
        template.role("000000000000", None).map_err(|_| Error::NoRole(text.to_owned()))?;
        Ok(template)
    }

    /// Returns the text, its gap as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it needs an account to become a role.
    pub fn needs_account(&self) -> bool {
        self.0.contains(ACCOUNT)
    }

    /// Returns the role in `account`; a template without a gap is always the same role.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoRole`] if `account` is not 12 digits and there is a gap for it.
    pub fn role(&self, account: &str, external_id: Option<String>) -> Result<Role, Error> {
        Role::new(&self.0.replace(ACCOUNT, account), external_id)
    }
}

/// Returns whether a text is an account's number.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_account_and_partition() {
        let role = Role::new("arn:aws-cn:iam::111122223333:role/audit/reader", None).unwrap();
        assert_eq!(role.account(), "111122223333");
        assert_eq!(role.partition(), Partition::China);
    }

    #[test]
    fn what_is_no_role_is_named() {
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
    fn a_template_makes_one_role_an_account() {
        let template = Template::new("arn:aws:iam::{account}:role/reader-{account}").unwrap();
        assert!(template.needs_account());
        let role = template.role("444455556666", Some("word".to_owned())).unwrap();
        assert_eq!(role.arn(), "arn:aws:iam::444455556666:role/reader-444455556666");
        assert_eq!(role.external_id.as_deref(), Some("word"));
        assert!(template.role("4444", None).is_err());
    }

    #[test]
    fn a_template_without_a_gap_is_a_role() {
        let template = Template::new("arn:aws:iam::111122223333:role/reader").unwrap();
        assert!(!template.needs_account());
        assert_eq!(template.role("444455556666", None).unwrap().account(), "111122223333");
        assert!(Template::new("arn:aws:iam::{account}:role/{name}").is_err());
    }
}
