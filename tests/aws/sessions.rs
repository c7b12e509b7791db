//! Roles, and sessions that expire while many clients use them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;
use trailload::aws::{Clock, Error, ErrorKind, Role, ServiceError, Session, discovery};

use crate::support::aws::{
    KEY, Service, cloud, given, options,
    server::{Response, Server},
    sts::Sts,
};

const READER: &str = "arn:aws:iam::444455556666:role/reader";

fn start(sts: &Arc<Sts>) -> Server {
    let lookup: Service = Box::new(|_| Response::json(200, &json!({"Events": []})));
    let list: Service = Box::new(|_| Response::json(200, &json!({"Accounts": []})));
    let bucket: Service = Box::new(|_| {
        Response::xml(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    });
    cloud(sts, vec![("cloudtrail", lookup), ("organizations", list), ("s3", bucket)])
}

async fn session(server: &Server) -> Session {
    Session::load(&options(server)).await.unwrap()
}

fn reader() -> Role {
    Role::new(READER, None).unwrap()
}

/// Sends a request with each of eight clients at once.
async fn eight(session: &Session) -> Vec<Result<(), ServiceError>> {
    let mut lanes = JoinSet::new();
    for number in 0..8 {
        let client = session.cloudtrail(["eu-west-1", "us-east-1"][number % 2]);
        lanes.spawn(async move {
            let sent = client.lookup_events().send().await;
            sent.map(|_| ()).map_err(|error| ServiceError::from_sdk(&error))
        });
    }
    lanes.join_all().await
}

#[tokio::test]
async fn a_role_is_assumed_once_for_all_clients() {
    let sts = Arc::new(Sts::new());
    sts.role(READER, Some("word"));
    let server = start(&sts);
    let role = Role::new(READER, Some("word".to_owned())).unwrap();
    let assumed = session(&server).await.assume_role(&role);
    assert_eq!(assumed.account().as_deref(), Some("444455556666"));
    assert!(eight(&assumed).await.iter().all(Result::is_ok));
    assert_eq!(server.count("AssumeRole"), 1);
    let identity = assumed.identity().await.unwrap();
    assert_eq!(identity.arn, "arn:aws:sts::444455556666:assumed-role/reader/trailload");
    assert_eq!(identity.account, "444455556666");
    assumed.identity().await.unwrap();
    assert_eq!(server.count("GetCallerIdentity"), 1);
}

#[tokio::test]
async fn a_denied_role_and_the_action_are_named() {
    let sts = Arc::new(Sts::new());
    sts.role(READER, Some("word"));
    let server = start(&sts);
    let assumed = session(&server).await.assume_role(&reader());
    let error = assumed.identity().await.unwrap_err();
    assert!(matches!(error, Error::AssumeRole { .. }));
    assert!(error.to_string().contains(READER), "{error}");
    assert!(error.hint().unwrap().contains("trust policy"));
    // A lane sees the same, though only in the chain of its error.
    let refusal = eight(&assumed).await.remove(0).unwrap_err();
    let denied = ErrorKind::AccessDenied { action: Some("sts:AssumeRole".to_owned()) };
    assert_eq!(refusal.kind, denied, "{refusal:?}");
    assert_eq!(refusal.code.as_deref(), Some("AccessDenied"));
    assert_eq!(server.count("AssumeRole"), 1, "asked once for all that wait");
}

#[tokio::test]
async fn an_expired_session_is_renewed_once_for_eight_clients() {
    let sts = Arc::new(Sts::new());
    sts.role(READER, None);
    let server = start(&sts);
    let assumed = session(&server).await.assume_role(&reader());
    assert!(eight(&assumed).await.iter().all(Result::is_ok));
    for expiry in 1..=3 {
        sts.end_sessions();
        let lanes = eight(&assumed).await;
        assert!(lanes.iter().all(Result::is_ok), "{lanes:?}");
        assert_eq!(server.count("AssumeRole"), 1 + expiry);
    }
    sts.end_sessions();
    discovery::organization_accounts(&assumed).await.unwrap();
    sts.end_sessions();
    assumed.s3("eu-west-1").list_objects_v2().bucket("b").send().await.unwrap();
    assert_eq!(server.count("AssumeRole"), 6, "whoever meets it first");
}

/// Returns a session of the role, and a function that advances its clock by a number of seconds.
async fn with_a_clock(server: &Server) -> (Session, impl Fn(i64)) {
    let seconds = Arc::new(AtomicI64::new(0));
    let mut options = options(server);
    let theirs = Arc::clone(&seconds);
    options.clock = Clock::new(move || {
        Timestamp::now() + SignedDuration::from_secs(theirs.load(Ordering::Relaxed))
    });
    let session = Session::load(&options).await.unwrap().assume_role(&reader());
    (session, move |later| seconds.store(later, Ordering::Relaxed))
}

#[tokio::test]
async fn a_session_is_renewed_before_it_expires() {
    let sts = Arc::new(Sts::new());
    sts.role(READER, None);
    let server = start(&sts);
    let (assumed, set) = with_a_clock(&server).await;
    for (later, sessions) in [(0, 1), (3_000, 1), (3_595, 2), (3_596, 2)] {
        set(later);
        assert!(eight(&assumed).await.iter().all(Result::is_ok));
        assert_eq!(server.count("AssumeRole"), sessions, "after {later} s");
    }
}

#[tokio::test]
async fn a_failure_to_renew_early_has_no_effect() {
    let sts = Arc::new(Sts::new());
    sts.role(READER, None);
    let server = start(&sts);
    let (assumed, set) = with_a_clock(&server).await;
    assumed.identity().await.unwrap();
    // The hour is nearly over, and STS is ill.
    for _ in 0..3 {
        server.next("AssumeRole", Response::xml_error(500, "InternalFailure", "ill"));
    }
    set(3_560);
    let lanes = eight(&assumed).await;
    assert!(lanes.iter().all(Result::is_ok), "{lanes:?}");
    assert_eq!(server.count("AssumeRole"), 4, "one good, one of three attempts for all lanes");
    set(3_580);
    assert!(eight(&assumed).await.iter().all(Result::is_ok));
    assert_eq!(server.count("AssumeRole"), 5, "and it is tried again");
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_fails_after_few_attempts() {
    let sts = Arc::new(Sts::new());
    let server = start(&sts);
    let mut options = options(&server);
    sts.role(READER, None);
    // Somebody put the keys of a session into the environment, and it ends.
    let session = session(&server).await.assume_role(&reader());
    let provider = session.credentials_provider();
    let keys = provider.provide_credentials().await.unwrap();
    options.credentials = Some(given(Credentials::new(
        keys.access_key_id(),
        keys.secret_access_key(),
        keys.session_token().map(str::to_owned),
        None,
        "test",
    )));
    let pasted = Session::load(&options).await.unwrap();
    pasted.identity().await.unwrap();
    sts.end_sessions();
    server.forget();
    for lane in eight(&pasted).await {
        let refusal = lane.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::ExpiredToken, "{refusal:?}");
        assert!(refusal.kind.hint().unwrap().contains("sso login"));
    }
    assert!(server.requests().len() <= 8, "each lane asked once at most");
    let error = discovery::organization_accounts(&pasted).await.unwrap_err();
    assert_eq!(error.service_error().unwrap().kind, ErrorKind::ExpiredToken, "{error:?}");
}

#[tokio::test]
async fn an_unknown_access_key_fails_at_once() {
    let sts = Arc::new(Sts::new());
    let server = start(&sts);
    let mut options = options(&server);
    options.credentials = Some(given(Credentials::new("AKIAUNKNOWN", "s", None, None, "test")));
    let session = Session::load(&options).await.unwrap();
    let error = session.identity().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    assert_eq!(error.service_error().unwrap().kind, ErrorKind::InvalidCredentials);
    assert!(error.hint().unwrap().contains("get-caller-identity"));
}

#[tokio::test]
async fn roles_are_assumed_with_the_callers_key_even_from_a_role() {
    let (first, second) = (READER, "arn:aws:iam::555566667777:role/deep");
    let sts = Arc::new(Sts::new());
    sts.role(first, None);
    sts.role(second, None);
    let server = start(&sts);
    let deep = session(&server)
        .await
        .assume_role(&reader())
        .assume_role(&Role::new(second, None).unwrap());
    assert_eq!(deep.identity().await.unwrap().account, "555566667777");
    let signers: Vec<String> =
        server.requests().iter().map(|it| it.access_key().unwrap().to_owned()).collect();
    assert_eq!(signers, [KEY, "ASIA0000000000000001", "ASIA0000000000000002"]);
}
