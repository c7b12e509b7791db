//! Calls that hand out credentials: `AssumeRole`, `GetSessionToken`, `SwitchRole`, `CreateAccessKey`, …
//!
//! Input: an event. Output: who received which credential from whom.
//! A call that crosses accounts is recorded in both of them, and only the account of the caller knows the caller's name;
//! `sharedEventID` joins the two. Calls without a known name are recognized by the credentials in their response.
//! Invariant: calls that failed hand out nothing.

use jiff::Timestamp;
use serde_json::Value;

use super::credential_use::bounded;
use crate::filter::{event_header::has_error, principal::Identity, time_bounds::event_time};

/// Memory of an issuance beside itself: its place in maps and indices, and the credential in a tree.
const NODE_BYTES: usize = 512;

/// A call that handed out a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issuance {
    /// The id that the events of all accounts share, or the event id.
    pub(super) shared_id: String,
    pub(super) event_id: String,
    /// Name of the event.
    pub(super) name: String,
    pub(super) time: Option<Timestamp>,
    pub(super) address: String,
    pub(super) user_agent: String,
    pub(super) caller: Caller,
    pub(super) issued: Issued,
    /// What a user of Identity Center asked for.
    pub(super) permission_set: Option<PermissionSet>,
}

/// A permission set that a user of Identity Center asked credentials for. The event names neither the key nor the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PermissionSet {
    pub(super) account: String,
    /// Name of the permission set, which the name of the role begins with.
    pub(super) name: String,
    /// Id of the user in the identity store; empty in older events.
    pub(super) user_id: String,
    /// Name of the user, which the session has; empty in newer events.
    pub(super) user_name: String,
}

/// Who asked for a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    // The order of the fields decides which copy of a call is kept: a copy with more knowledge compares greater.
    pub(super) access_key: String,
    pub(super) arn: String,
    pub(super) principal_id: String,
    pub(super) kind: String,
    pub(super) principal: String,
    pub(super) account: String,
}

/// The credential that was handed out, as far as the call names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Issued {
    pub(super) access_key: String,
    /// ARN of the session.
    pub(super) arn: String,
    /// Unique id of the session: `AROAEXAMPLE:alice`.
    pub(super) principal_id: String,
    pub(super) source_identity: String,
    /// Serial number of the second factor.
    pub(super) mfa: String,
}

impl Issuance {
    /// Returns what an event handed out.
    pub(super) fn of_event(event: &Value, identity: &Identity<'_>) -> Option<Self> {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        if has_error(event) {
            return None;
        }
        let mut permission_set = None;
        let (issued, caller) = match (text("eventSource"), text("eventName")) {
            ("signin.amazonaws.com", "SwitchRole") => switched(event, identity),
            ("signin.amazonaws.com", "ConsoleLogin") => {
                (signed_in(identity)?, Caller::of_user(identity))
            }
            ("iam.amazonaws.com", "CreateAccessKey") => (created(event)?, Caller::new(identity)),
            ("sso.amazonaws.com" | "signin.amazonaws.com", "GetRoleCredentials" | "Federate") => {
                permission_set = Some(PermissionSet::of_event(event, identity)?);
                (Issued::default(), Caller::new(identity))
            }
            _ => (of_response(event)?, Caller::new(identity)),
        };
        let event_id = bounded(text("eventID")).into_owned();
        Some(Self {
            shared_id: match text("sharedEventID") {
                "" if event_id.is_empty() => format!("{}/{}", text("eventTime"), issued.access_key),
                "" => event_id.clone(),
                shared_id => bounded(shared_id).into_owned(),
            },
            event_id,
            name: bounded(text("eventName")).into_owned(),
            time: event_time(event),
            address: bounded(text("sourceIPAddress")).into_owned(),
            user_agent: bounded(text("userAgent")).into_owned(),
            caller,
            issued,
            permission_set,
        })
    }

    /// Returns the memory that it takes, about, with what a chain adds to it.
    pub(super) fn bytes(&self) -> usize {
        let Self { shared_id, event_id, name, address, user_agent, caller, issued, .. } = self;
        let Caller { access_key, arn, principal_id, kind, principal, account } = caller;
        let of_caller = [access_key, arn, principal_id, kind, principal, account];
        let Issued { access_key, arn, principal_id, source_identity, mfa } = issued;
        let of_issued = [access_key, arn, principal_id, source_identity, mfa];
        let of_event = [shared_id, shared_id, event_id, name, address, user_agent];
        let set = self.permission_set.iter();
        let of_set = set.flat_map(|set| [&set.account, &set.name, &set.user_id, &set.user_name]);
        let texts = of_event.into_iter().chain(of_caller).chain(of_set);
        // The owner of the credential is made from these once more.
        let bytes: usize = texts.map(String::capacity).sum::<usize>()
            + of_issued.map(String::capacity).iter().sum::<usize>() * 2;
        bytes + size_of::<Self>() + NODE_BYTES
    }

    /// Adds what the record of another account contains about the same call.
    pub(super) fn merge(&mut self, other: Self) {
        let Self { caller, issued, .. } = &other;
        if *caller > self.caller {
            let issued = self.issued.clone();
            *self = other;
            self.issued.add_missing(issued);
        } else {
            let issued = issued.clone();
            self.issued.add_missing(issued);
        }
    }
}

impl Issued {
    fn add_missing(&mut self, other: Self) {
        let pairs = [
            (&mut self.access_key, other.access_key),
            (&mut self.arn, other.arn),
            (&mut self.principal_id, other.principal_id),
            (&mut self.source_identity, other.source_identity),
            (&mut self.mfa, other.mfa),
        ];
        for (own, other) in pairs {
            if own.is_empty() {
                *own = other;
            }
        }
    }
}

impl Caller {
    fn new(identity: &Identity<'_>) -> Self {
        let text = |text: Option<&str>| bounded(text.unwrap_or_default()).into_owned();
        Self {
            access_key: text(identity.access_key),
            arn: text(identity.arn),
            principal_id: text(identity.principal_id),
            kind: text(identity.kind),
            principal: bounded(&identity.short()).into_owned(),
            account: text(identity.account),
        }
    }

    /// Returns a user who signed in with a password, and not with an access key.
    fn of_user(identity: &Identity<'_>) -> Self {
        Self { access_key: String::new(), ..Self::new(identity) }
    }

    /// Returns a caller of whom only the ARN is known.
    fn of_arn(arn: &str) -> Self {
        let identity = Identity { arn: Some(arn), ..Identity::default() };
        Self { kind: String::new(), ..Self::new(&identity) }
    }
}

/// Returns a text below an event, `None` if it is empty or something else.
fn find<'a>(event: &'a Value, path: &[&str]) -> Option<&'a str> {
    let value = path.iter().try_fold(event, |value, key| value.get(*key))?;
    value.as_str().filter(|text| !text.is_empty())
}

fn owned(text: Option<&str>) -> String {
    bounded(text.unwrap_or_default()).into_owned()
}

/// Returns the credentials in the response of STS and of services with calls of their own, such as Cognito.
fn of_response(event: &Value) -> Option<Issued> {
    let response = event.get("responseElements")?;
    // Roles Anywhere returns a list with one element.
    let response = response.get("credentialSet").and_then(|set| set.get(0)).unwrap_or(response);
    let key = find(response, &["credentials", "accessKeyId"])
        .or_else(|| find(response, &["roleCredentials", "accessKeyId"]));
    let user = response.get("assumedRoleUser").or_else(|| response.get("federatedUser"));
    let of_user = |key| user.and_then(|user| find(user, &[key]));
    let parameters = event.get("requestParameters").unwrap_or(&Value::Null);
    if key.is_none() && user.is_none() && find(parameters, &["roleSessionName"]).is_none() {
        return None;
    }
    Some(Issued {
        access_key: owned(key),
        arn: of_user("arn").map_or_else(|| requested_arn(parameters), |arn| owned(Some(arn))),
        principal_id: owned(of_user("assumedRoleId").or_else(|| of_user("federatedUserId"))),
        source_identity: owned(
            find(parameters, &["sourceIdentity"]).or_else(|| find(response, &["sourceIdentity"])),
        ),
        mfa: owned(find(parameters, &["serialNumber"])),
    })
}

/// Returns the ARN of the root user or of the session that a request asks for.
fn requested_arn(parameters: &Value) -> String {
    match find(parameters, &["targetPrincipal"]) {
        Some(arn) if arn.starts_with("arn:") => return owned(Some(arn)),
        Some(account) => return owned(Some(&format!("arn:aws:iam::{account}:root"))),
        None => {}
    }
    let role = find(parameters, &["roleArn"]);
    let Some((role, session)) = role.zip(find(parameters, &["roleSessionName"])) else {
        return String::new();
    };
    let mut parts = role.splitn(6, ':');
    let (partition, account) = (parts.nth(1).unwrap_or("aws"), parts.nth(2).unwrap_or_default());
    let name = role.rsplit('/').next().unwrap_or(role);
    bounded(&format!("arn:{partition}:sts::{}:assumed-role/{name}/{session}", account.trim()))
        .into_owned()
}

/// Returns the session that a user of the console switched to.
fn switched(event: &Value, identity: &Identity<'_>) -> (Issued, Caller) {
    let data = event.get("additionalEventData").unwrap_or(&Value::Null);
    let arn_of = |key| find(data, &[key]).filter(|arn| arn.starts_with("arn:"));
    let issued = Issued {
        arn: owned(arn_of("SwitchTo").or(identity.arn)),
        principal_id: owned(identity.principal_id),
        ..Issued::default()
    };
    let caller = arn_of("SwitchFrom").map_or_else(|| Caller::new(identity), Caller::of_arn);
    (issued, caller)
}

/// Returns the session of a user who signed in; the sessions of roles come from other calls.
fn signed_in(identity: &Identity<'_>) -> Option<Issued> {
    matches!(identity.kind, Some("IAMUser" | "Root")).then(|| Issued {
        arn: owned(identity.arn),
        principal_id: owned(identity.principal_id),
        ..Issued::default()
    })
}

fn created(event: &Value) -> Option<Issued> {
    let key = find(event, &["responseElements", "accessKey", "accessKeyId"])?;
    Some(Issued { access_key: owned(Some(key)), ..Issued::default() })
}

/// What the names of the roles of permission sets start with; behind the name of the set stand `_` and a random number.
const PERMISSION_SET_ROLE: &str = "AWSReservedSSO_";

impl PermissionSet {
    /// Returns what a user of Identity Center asked for. `None` if that is an application.
    fn of_event(event: &Value, identity: &Identity<'_>) -> Option<Self> {
        let of_details = |snake: &str, camel: &str| {
            let members = ["serviceEventDetails", "requestParameters"].into_iter();
            members
                .filter_map(|member| event.get(member))
                .find_map(|details| find(details, &[snake]).or_else(|| find(details, &[camel])))
        };
        let user = identity.user_name.or_else(|| find(event, &["additionalEventData", "UserName"]));
        Some(Self {
            account: owned(Some(of_details("account_id", "accountId")?)),
            name: owned(Some(of_details("role_name", "roleName")?)),
            user_id: owned(identity.on_behalf_of),
            user_name: owned(user),
        })
    }

    /// Returns the permission set of a session; its user has the name of the session.
    pub(super) fn of_session(arn: &str, user_id: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (account, resource) = (parts.nth(4)?, parts.next()?);
        let (role, session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
        let (name, _) = role.strip_prefix(PERMISSION_SET_ROLE)?.rsplit_once('_')?;
        Some(Self {
            account: account.to_owned(),
            name: name.to_owned(),
            user_id: user_id.to_owned(),
            user_name: session.to_owned(),
        })
    }

    /// Returns whether a session can be the one that was asked for: of its user, one name is enough.
    pub(super) fn may_have_issued(&self, session: &Self) -> bool {
        let agree = |one: &str, other: &str| {
            one.is_empty() || other.is_empty() || one.eq_ignore_ascii_case(other)
        };
        self.account == session.account
            && self.name == session.name
            && agree(&self.user_id, &session.user_id)
            && agree(&self.user_name, &session.user_name)
    }
}
