//! Whom a policy is for: the role or user whose permissions a call used.
//!
//! Input: an event. Output: a role for all its sessions, a user, another account; or why no policy is needed.

use std::fmt;

use serde_json::Value;

use crate::filter::principal::Identity;

/// A role, user or account that a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grantee {
    /// Short principal without a session: `role/Admin`.
    pub(super) principal: String,
    /// ARN to attach the policy to; empty if it is not known.
    pub(super) arn: String,
}

/// Why calls need no policy of their caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoPolicy {
    /// The root user may do everything.
    Root,
    /// A service made the call with its own permissions.
    Service,
    /// The caller had no credentials of IAM: a sign-in, or a request for credentials.
    WithoutCredentials,
}

impl fmt::Display for NoPolicy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Root => "the root user, who needs no policy",
            Self::Service => "AWS services, which have permissions of their own",
            Self::WithoutCredentials => "callers without credentials of IAM",
        })
    }
}

/// Returns whom a policy for this event is for.
pub(super) fn grantee(event: &Value) -> Result<Grantee, NoPolicy> {
    let identity = Identity::of_event(event);
    match identity.kind {
        Some("Root") => return Err(NoPolicy::Root),
        Some("AWSService") => return Err(NoPolicy::Service),
        Some("SAMLUser" | "WebIdentityUser" | "IdentityCenterUser" | "Directory") => {
            return Err(NoPolicy::WithoutCredentials);
        }
        Some("Unknown") if identity.arn.is_none() => return Err(NoPolicy::WithoutCredentials),
        None if identity.arn.is_none() => {
            let is_service = identity.invoked_by.is_some();
            return Err(if is_service { NoPolicy::Service } else { NoPolicy::WithoutCredentials });
        }
        _ => {}
    }
    let arn = match (identity.issuer_arn, identity.arn) {
        (Some(issuer), _) => issuer.to_owned(),
        (None, Some(arn)) => role_of_session(arn).unwrap_or_else(|| arn.to_owned()),
        (None, None) => String::new(),
    };
    if arn.ends_with(":root") && identity.kind != Some("AWSAccount") {
        return Err(NoPolicy::Root);
    }
    let short = identity.short();
    if short == "anonymous" {
        return Err(NoPolicy::WithoutCredentials);
    }
    Ok(Grantee { principal: principal(&short, &arn), arn })
}

/// Returns the short principal without the session.
fn principal(short: &str, arn: &str) -> String {
    let mut parts = short.splitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some("role"), Some(role)) => format!("role/{role}"),
        // The permissions of a federated user are those of the user who asked for its credentials.
        (Some("federated"), _) if arn.contains(":user/") => {
            format!("user/{}", arn.rsplit('/').next().unwrap_or(arn))
        }
        _ => short.to_owned(),
    }
}

/// Returns the ARN of the role of a session. The path of the role is not known.
fn role_of_session(arn: &str) -> Option<String> {
    let (before, session) = arn.split_once(":assumed-role/")?;
    let (role, _) = session.split_once('/').unwrap_or((session, ""));
    let mut parts = before.splitn(5, ':');
    let (partition, account) = (parts.nth(1)?, parts.nth(2)?);
    Some(format!("arn:{partition}:iam::{account}:role/{role}"))
}
