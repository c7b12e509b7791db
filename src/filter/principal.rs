//! The short principal of an event: who made the call, in a form that fits into a column.
//!
//! Input: `userIdentity` of an event. Output: a kind and a name, such as `user/alice`.
//! Invariant: a pure function of the event that is never empty, so that it can be a field of an index.
//!
//! | identity | short principal |
//! |---|---|
//! | IAM user | `user/alice` |
//! | session of a role | `role/Admin/alice@example.com` |
//! | root user | `root` |
//! | federated user (`GetFederationToken`) | `federated/alice` |
//! | SAML, web identity | `saml/alice`, `web/repo:example/app` |
//! | Identity Center, directory | `identity-center/USERID`, `directory/alice` |
//! | AWS service | `service/ec2` |
//! | other account | `account/111122223333` |
//! | no credentials, nothing known | `anonymous`, `unknown` |
//!
//! An identity whose type is none of these has the principal of its ARN, or `unknown/NAME`.

use std::{borrow::Cow, fmt};

use serde_json::Value;

/// Account id of requests to S3 without credentials.
const ANONYMOUS_ACCOUNT: &str = "ANONYMOUS_PRINCIPAL";

/// The short principal of every root user.
const ROOT: ShortPrincipal<'static> = ShortPrincipal::kind("root");

/// Returns the short principal of an event.
pub fn short_principal(event: &Value) -> Cow<'_, str> {
    Identity::of_event(event).short()
}

/// A short principal, as the parts that `/` joins: a kind, and for most kinds a name and the name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortPrincipal<'a> {
    kind: &'static str,
    name: Option<&'a str>,
    session: Option<&'a str>,
}

impl<'a> ShortPrincipal<'a> {
    /// Returns the principal of an identity of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self::kind("unknown");

    /// Returns a principal that is a kind and nothing else.
    const fn kind(kind: &'static str) -> Self {
        Self { kind, name: None, session: None }
    }

    /// Returns the texts that make up the principal when they are joined.
    pub(crate) fn texts(self) -> impl Iterator<Item = &'a str> {
        let below = [self.name, self.session].into_iter().flatten();
        std::iter::once(self.kind).chain(below.flat_map(|part| ["/", part]))
    }
}

impl fmt::Display for ShortPrincipal<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.texts().try_for_each(|text| to.write_str(text))
    }
}

/// The members of `userIdentity` that identify a principal; those that are not a text, or an empty one, are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity<'a> {
    /// `type`: `IAMUser`, `AssumedRole`, …
    pub(crate) kind: Option<&'a str>,
    /// `arn` of the user or session.
    pub(crate) arn: Option<&'a str>,
    /// `userName`.
    pub(crate) user_name: Option<&'a str>,
    /// `principalId`: the unique id, for a session with `:` and the name of the session.
    pub(crate) principal_id: Option<&'a str>,
    /// `accountId`.
    pub(crate) account: Option<&'a str>,
    /// `accessKeyId`.
    pub(crate) access_key: Option<&'a str>,
    /// `invokedBy`: the service that made the call.
    pub(crate) invoked_by: Option<&'a str>,
    /// `sessionContext.sessionIssuer.arn`: the role or user that issued the session.
    pub(crate) issuer_arn: Option<&'a str>,
    /// `sessionContext.sessionIssuer.userName`.
    pub(crate) issuer_name: Option<&'a str>,
    /// `onBehalfOf.userId`: the user of Identity Center.
    pub(crate) on_behalf_of: Option<&'a str>,
}

impl<'a> Identity<'a> {
    /// Returns the identity of an event.
    pub(crate) fn of_event(event: &'a Value) -> Self {
        event.get("userIdentity").map(Self::new).unwrap_or_default()
    }

    /// Returns the identity that a `userIdentity` holds.
    pub(crate) fn new(identity: &'a Value) -> Self {
        let text = |value: &'a Value, key: &str| {
            value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        let issuer =
            identity.get("sessionContext").and_then(|session| session.get("sessionIssuer"));
        Self {
            kind: text(identity, "type"),
            arn: text(identity, "arn"),
            user_name: text(identity, "userName"),
            principal_id: text(identity, "principalId"),
            account: text(identity, "accountId"),
            access_key: text(identity, "accessKeyId"),
            invoked_by: text(identity, "invokedBy"),
            issuer_arn: issuer.and_then(|issuer| text(issuer, "arn")),
            issuer_name: issuer.and_then(|issuer| text(issuer, "userName")),
            on_behalf_of: identity.get("onBehalfOf").and_then(|user| text(user, "userId")),
        }
    }

    /// Returns the short principal as a text.
    pub(crate) fn short(&self) -> Cow<'a, str> {
        let short = self.short_principal();
        match short.name {
            None => Cow::Borrowed(short.kind),
            Some(_) => Cow::Owned(short.to_string()),
        }
    }

    /// Returns the short principal.
    pub(crate) fn short_principal(&self) -> ShortPrincipal<'a> {
        let name = self.user_name.or(self.principal_id);
        let short = match self.kind {
            Some("Root") => Some(ROOT),
            Some("IAMUser") => self.user(),
            Some("AssumedRole" | "Role") => self.role(),
            Some("FederatedUser") => self.of_arn().or_else(|| named("federated", name)),
            Some("SAMLUser") => named("saml", name),
            Some("WebIdentityUser") => named("web", name),
            Some("IdentityCenterUser") => named("identity-center", self.on_behalf_of.or(name)),
            Some("Directory") => named("directory", name),
            Some("AWSService") => self.service(),
            Some("AWSAccount") => self.account(),
            _ => None,
        };
        short
            .or_else(|| self.of_arn())
            .or_else(|| named("unknown", name))
            .or_else(|| self.service())
            .or_else(|| self.account())
            .unwrap_or(ShortPrincipal::UNKNOWN)
    }

    fn user(&self) -> Option<ShortPrincipal<'a>> {
        named("user", self.user_name)
            .or_else(|| self.of_arn())
            .or_else(|| named("user", self.principal_id))
    }

    /// Returns the role and the session; without an ARN they are put together from what is there.
    fn role(&self) -> Option<ShortPrincipal<'a>> {
        self.of_arn().or_else(|| {
            let session = self.principal_id.and_then(|id| id.split_once(':')).map(|(_, name)| name);
            let role = self.issuer_name.or_else(|| Some(last_part(self.issuer_arn?)));
            match (role, session) {
                (Some(role), Some(session)) => {
                    Some(ShortPrincipal { kind: "role", name: Some(role), session: Some(session) })
                }
                (role, session) => {
                    named("role", role.or(session).or(self.user_name).or(self.principal_id))
                }
            }
        })
    }

    fn service(&self) -> Option<ShortPrincipal<'a>> {
        named(
            "service",
            self.invoked_by
                .map(|service| service.strip_suffix(".amazonaws.com").unwrap_or(service)),
        )
    }

    fn account(&self) -> Option<ShortPrincipal<'a>> {
        match self.account {
            Some(ANONYMOUS_ACCOUNT) => Some(ShortPrincipal::kind("anonymous")),
            account => named("account", account),
        }
    }

    /// Returns the principal that the ARN names, if it is of a known form.
    fn of_arn(&self) -> Option<ShortPrincipal<'a>> {
        let resource = self.arn?.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
        if resource == "root" {
            return Some(ROOT);
        }
        let (kind, name) = resource.split_once('/')?;
        match kind {
            "user" => named("user", Some(last_part(name))),
            "role" => named("role", Some(last_part(name))),
            "assumed-role" => named("role", Some(name)),
            "federated-user" => named("federated", Some(name)),
            _ => None,
        }
    }
}

/// Returns `KIND/NAME`, if there is a name.
fn named<'a>(kind: &'static str, name: Option<&'a str>) -> Option<ShortPrincipal<'a>> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(ShortPrincipal { kind, name: Some(name), session: None })
}

/// Returns what stands behind the last `/`.
fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

    use flate2::read::GzDecoder;
    use serde_json::json;

    use super::*;

    fn short(identity: &Value) -> String {
        short_principal(&json!({"userIdentity": identity})).into_owned()
    }

    pub(crate) fn corpus() -> Vec<Value> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
        let mut events = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let mut text = String::new();
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            GzDecoder::new(file).read_to_string(&mut text).unwrap();
            events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        events
    }

    #[test]
    fn every_type_of_identity_has_a_short_principal() {
        for (identity, expected) in [
            (
                json!({"type": "IAMUser", "userName": "alice", "arn": "arn:aws:iam::111122223333:user/ops/alice"}),
                "user/alice",
            ),
            (
                json!({"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/ops/alice"}),
                "user/alice",
            ),
            (json!({"type": "IAMUser", "principalId": "AIDAEXAMPLE"}), "user/AIDAEXAMPLE"),
            (
                json!({"type": "Root", "arn": "arn:aws:iam::111122223333:root", "userName": "my-alias"}),
                "root",
            ),
            (
                json!({"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/Admin/alice@example.com"}),
                "role/Admin/alice@example.com",
            ),
            (
                json!({"type": "AssumedRole", "arn": "arn:aws-cn:sts::111122223333:assumed-role/Admin/x"}),
                "role/Admin/x",
            ),
            (
                json!({"type": "AssumedRole", "principalId": "AROAEXAMPLE:i-0123", "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/path/Web"}}}),
                "role/Web/i-0123",
            ),
            (
                json!({"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"userName": "Web"}}}),
                "role/Web",
            ),
            (json!({"type": "AssumedRole", "principalId": "AROAEXAMPLE:x"}), "role/x"),
            (json!({"type": "Role", "arn": "arn:aws:iam::111122223333:role/path/Web"}), "role/Web"),
            (
                json!({"type": "FederatedUser", "arn": "arn:aws:sts::111122223333:federated-user/alice"}),
                "federated/alice",
            ),
            (
                json!({"type": "FederatedUser", "principalId": "111122223333:alice"}),
                "federated/111122223333:alice",
            ),
            (
                json!({"type": "SAMLUser", "principalId": "SAMPLE=:alice", "userName": "alice@example.com"}),
                "saml/alice@example.com",
            ),
            (
                json!({"type": "WebIdentityUser", "principalId": "accounts.google.com:app:1", "userName": "repo:example/app:ref:refs/heads/main", "identityProvider": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}),
                "web/repo:example/app:ref:refs/heads/main",
            ),
            (
                json!({"type": "IdentityCenterUser", "accountId": "111122223333", "onBehalfOf": {"userId": "544894e8-80c1", "identityStoreArn": "arn:aws:identitystore::111122223333:identitystore/d-9067642ac7"}}),
                "identity-center/544894e8-80c1",
            ),
            (json!({"type": "Directory", "userName": "corp\\alice"}), "directory/corp\\alice"),
            (json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}), "service/ec2"),
            (json!({"type": "AWSService", "invokedBy": "AWS Internal"}), "service/AWS Internal"),
            (
                json!({"type": "AWSAccount", "accountId": "111122223333", "principalId": "AIDAEXAMPLE"}),
                "account/111122223333",
            ),
            (
                json!({"type": "AWSAccount", "accountId": "ANONYMOUS_PRINCIPAL", "principalId": ""}),
                "anonymous",
            ),
            (
                json!({"type": "Unknown", "userName": "alice", "principalId": "111122223333"}),
                "unknown/alice",
            ),
            (json!({"type": "Unknown"}), "unknown"),
            (
                json!({"accountId": "111122223333", "invokedBy": "AWS Internal"}),
                "service/AWS Internal",
            ),
            (json!({"invokedBy": "kms.amazonaws.com"}), "service/kms"),
            (
                json!({"type": "NewType", "arn": "arn:aws:iam::111122223333:user/alice"}),
                "user/alice",
            ),
            (json!({"type": 7, "userName": ["alice"]}), "unknown"),
            (json!("alice"), "unknown"),
            (json!(null), "unknown"),
        ] {
            assert_eq!(short(&identity), expected, "{identity}");
        }
        assert_eq!(short_principal(&json!({})), "unknown");
    }

    #[test]
    fn every_public_event_has_a_short_principal_of_a_known_form() {
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        for event in corpus() {
            let short = short_principal(&event);
            let (kind, name) = short.split_once('/').unwrap_or((&short, "-"));
            assert!(!name.is_empty(), "{event}");
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let known = [
            "account",
            "anonymous",
            "directory",
            "federated",
            "identity-center",
            "role",
            "root",
            "saml",
            "service",
            "unknown",
            "user",
            "web",
        ];
        for kind in kinds.keys() {
            assert!(known.contains(&kind.as_str()), "{kinds:?}");
        }
        // Events without any identity, and those of test suites with invented types.
        assert!(kinds["unknown"] < 100, "{kinds:?}");
        assert!(kinds["user"] > 2_000 && kinds["role"] > 1_000 && kinds["root"] > 50, "{kinds:?}");
    }
}
