//! The parts of `userIdentity` that the short principal of a document is made of.
//!
//! Input: the ranges that a scan recorded, or the tree of a record. Output: the principal.
//! Invariant: both paths, and a search that evaluates the record itself, find the same principal.

use std::ops::Range;

use super::tree::Tree;
use crate::filter::principal::{Identity, ShortPrincipal};

/// A part of the identity. A byte, because every path that a worker knows has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum IdentityPart {
    Kind,
    Arn,
    UserName,
    PrincipalId,
    Account,
    AccessKey,
    InvokedBy,
    IssuerArn,
    IssuerName,
    OnBehalfOf,
}

/// All parts in the order of their numbers, with their paths below `userIdentity`.
const PARTS: [(IdentityPart, &[&str]); 10] = [
    (IdentityPart::Kind, &["type"]),
    (IdentityPart::Arn, &["arn"]),
    (IdentityPart::UserName, &["userName"]),
    (IdentityPart::PrincipalId, &["principalId"]),
    (IdentityPart::Account, &["accountId"]),
    (IdentityPart::AccessKey, &["accessKeyId"]),
    (IdentityPart::InvokedBy, &["invokedBy"]),
    (IdentityPart::IssuerArn, &["sessionContext", "sessionIssuer", "arn"]),
    (IdentityPart::IssuerName, &["sessionContext", "sessionIssuer", "userName"]),
    (IdentityPart::OnBehalfOf, &["onBehalfOf", "userId"]),
];

/// The member of a record that holds the identity.
const IDENTITY: &str = "userIdentity";

impl IdentityPart {
    /// Returns the part at a path, with all keys joined by dots.
    pub(super) fn at(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(IDENTITY)?.strip_prefix('.')?;
        let is_it = |keys: &[&str]| rest.split('.').eq(keys.iter().copied());
        PARTS.iter().find(|(_, keys)| is_it(keys)).map(|(part, _)| *part)
    }
}

/// Where the parts are in a text; empty ranges for those that are missing.
#[derive(Debug, Default)]
pub(super) struct IdentityRanges([Range<usize>; PARTS.len()]);

impl IdentityRanges {
    #[inline]
    pub(super) fn set(&mut self, part: IdentityPart, range: Range<usize>) {
        self.0[part as usize] = range;
    }

    /// Returns the principal, given the record and where it starts in the scanned text.
    pub(super) fn principal<'t>(&self, record: &'t str, start: usize) -> ShortPrincipal<'t> {
        principal_of(|part| {
            let Range { start: from, end } = self.0[part as usize];
            record.get(from.checked_sub(start)?..end.checked_sub(start)?)
        })
    }
}

/// The texts of the parts; empty for those that are missing.
#[derive(Debug, Default)]
pub(super) struct IdentityTexts([String; PARTS.len()]);

impl IdentityTexts {
    /// Returns the texts of a record.
    pub(super) fn of_record(record: &Tree<'_>) -> Self {
        let text = |keys: &[&str]| {
            let identity = record.get(IDENTITY.as_bytes())?;
            let value = keys.iter().try_fold(identity, |value, key| value.get(key.as_bytes()))?;
            Some(String::from_utf8_lossy(&value.as_text()?).into_owned())
        };
        Self(PARTS.map(|(_, keys)| text(keys).unwrap_or_default()))
    }

    /// Returns the principal.
    pub(super) fn principal(&self) -> ShortPrincipal<'_> {
        principal_of(|part| Some(self.0[part as usize].as_str()))
    }
}

fn principal_of<'t>(text: impl Fn(IdentityPart) -> Option<&'t str>) -> ShortPrincipal<'t> {
    let text = |part: IdentityPart| text(part).filter(|text| !text.is_empty());
    let identity = Identity {
        kind: text(IdentityPart::Kind),
        arn: text(IdentityPart::Arn),
        user_name: text(IdentityPart::UserName),
        principal_id: text(IdentityPart::PrincipalId),
        account: text(IdentityPart::Account),
        access_key: text(IdentityPart::AccessKey),
        invoked_by: text(IdentityPart::InvokedBy),
        issuer_arn: text(IdentityPart::IssuerArn),
        issuer_name: text(IdentityPart::IssuerName),
        on_behalf_of: text(IdentityPart::OnBehalfOf),
    };
    identity.short_principal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_paths() {
        for (number, (part, keys)) in PARTS.iter().enumerate() {
            assert_eq!(*part as usize, number);
            let found = IdentityPart::at(&format!("userIdentity.{}", keys.join(".")));
            assert_eq!(found, Some(*part));
        }
        for path in
            ["userIdentity", "userIdentity.", "type", "userIdentity.arnx", "userIdentityXtype"]
        {
            assert_eq!(IdentityPart::at(path), None, "{path}");
        }
    }
}
