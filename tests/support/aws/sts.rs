//! A fake of STS: users, roles, and sessions that end.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    ACCOUNT, KEY,
    server::{Request, Response},
};

/// Of a session, if nobody ends it.
const LIFE: Duration = Duration::from_hours(1);

/// STS, and with it the knowledge of who is who.
#[derive(Debug)]
pub(crate) struct Sts(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By access key.
    callers: BTreeMap<String, Caller>,
    /// By ARN: the external id that is asked for.
    roles: BTreeMap<String, Option<String>>,
    given: usize,
}

/// Somebody with an access key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account: String,
    pub(crate) arn: String,
    token: Option<String>,
    until: Option<Instant>,
}

/// Why nobody is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unsigned,
    Unknown,
    Expired,
}

impl Refused {
    /// Returns the answer in a service's own words.
    pub(crate) fn said_by(self, service: &str) -> Response {
        let (xml, json, message) = match self {
            Self::Unsigned => (
                "MissingAuthenticationToken",
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Self::Unknown => (
                "InvalidClientTokenId",
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Self::Expired => (
                "ExpiredToken",
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
        };
        match service {
            "sts" | "ec2" => Response::xml_error(403, xml, message),
            "s3" => Response::xml(
                400,
                format!("<Error><Code>{xml}</Code><Message>{message}</Message></Error>"),
            ),
            _ => Response::json_error(400, json, message),
        }
    }
}

impl Sts {
    /// Knows one user, and no role.
    pub(crate) fn new() -> Self {
        let sts =
            Self(Mutex::new(State { callers: BTreeMap::new(), roles: BTreeMap::new(), given: 0 }));
        sts.user(KEY, &format!("arn:aws:iam::{ACCOUNT}:user/loader"));
        sts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Adds a user with a key of their own.
    pub(crate) fn user(&self, key: &str, arn: &str) {
        let account = arn.split(':').nth(4).unwrap().to_owned();
        let caller = Caller { account, arn: arn.to_owned(), token: None, until: None };
        self.state().callers.insert(key.to_owned(), caller);
    }

    /// Adds a session that somebody else has begun, and that does not end by itself.
    pub(crate) fn session(&self, key: &str, token: &str, arn: &str) {
        self.user(key, arn);
        let mut state = self.state();
        let caller = state.callers.get_mut(key).unwrap();
        caller.token = Some(token.to_owned());
    }

    /// Adds a role that may be assumed, by those who know the external id.
    pub(crate) fn role(&self, arn: &str, external_id: Option<&str>) {
        self.state().roles.insert(arn.to_owned(), external_id.map(str::to_owned));
    }

    /// Ends all sessions, whatever they said.
    pub(crate) fn end_sessions(&self) {
        for caller in self.state().callers.values_mut().filter(|caller| caller.token.is_some()) {
            caller.until = Some(Instant::now());
        }
    }

    /// Returns who signed a request.
    pub(crate) fn caller(&self, request: &Request) -> Result<Caller, Refused> {
        let key = request.access_key().ok_or(Refused::Unsigned)?;
        let caller = self.state().callers.get(key).cloned().ok_or(Refused::Unknown)?;
        if caller.token.as_deref() != request.header("x-amz-security-token") {
            return Err(Refused::Unknown);
        }
        if caller.until.is_some_and(|until| until <= Instant::now()) {
            return Err(Refused::Expired);
        }
        Ok(caller)
    }

    /// Answers `GetCallerIdentity`, `AssumeRole` and `AssumeRoleWithWebIdentity`.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let action = request.action();
        if action == "AssumeRoleWithWebIdentity" {
            return match request.form("WebIdentityToken").as_deref() {
                Some("a-token") => self.begin(request, &action),
                _ => Response::xml_error(400, "InvalidIdentityToken", "not a token of ours"),
            };
        }
        let caller = match self.caller(request) {
            Ok(caller) => caller,
            Err(refused) => return refused.said_by("sts"),
        };
        match action.as_str() {
            "GetCallerIdentity" => identity(&caller),
            "AssumeRole" => self.assume(request, &caller),
            _ => Response::xml_error(400, "InvalidAction", &action),
        }
    }

    fn assume(&self, request: &Request, caller: &Caller) -> Response {
        let arn = request.form("RoleArn").unwrap_or_default();
        let asked = self.state().roles.get(&arn).cloned();
        if asked.is_none_or(|id| id.is_some() && id != request.form("ExternalId")) {
            let message = format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                caller.arn
            );
            return Response::xml_error(403, "AccessDenied", &message);
        }
        self.begin(request, "AssumeRole")
    }

    fn begin(&self, request: &Request, action: &str) -> Response {
        let mut state = self.state();
        state.given += 1;
        let arn = request.form("RoleArn").unwrap_or_default();
        let account = arn.split(':').nth(4).unwrap_or_default().to_owned();
        let role = arn.rsplit('/').next().unwrap_or_default();
        let name = request.form("RoleSessionName").unwrap_or_default();
        let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{name}");
        let (key, token) = (format!("ASIA{:016}", state.given), format!("token-{}", state.given));
        let end = Timestamp::now() + LIFE;
        let until = Some(Instant::now() + LIFE);
        let caller = Caller { account, arn: arn.clone(), token: Some(token.clone()), until };
        state.callers.insert(key.clone(), caller);
        let mut body = String::new();
        write!(
            body,
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>AROA:{name}</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{end:.3}</Expiration></Credentials>\
             </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
        )
        .unwrap();
        Response::xml(200, body)
    }
}

fn identity(caller: &Caller) -> Response {
    Response::xml(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <GetCallerIdentityResult><Arn>{}</Arn><UserId>AIDA</UserId><Account>{}</Account>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>",
            caller.arn, caller.account
        ),
    )
}
