//! Error responses of AWS and connection errors, and how they are classified.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trailload::aws::{Clock, Error, ErrorKind, ServiceError, Session, discovery};

use crate::support::aws::{
    options,
    server::{Response, Server},
};

async fn session(server: &Server) -> Session {
    Session::load(&options(server)).await.unwrap()
}

async fn look_up(session: &Session) -> Result<usize, ServiceError> {
    let sent = session.cloudtrail("eu-west-1").lookup_events().send().await;
    sent.map(|page| page.events().len()).map_err(|error| ServiceError::from_sdk(&error))
}

/// Returns the error of the CloudTrail client for a response, and the number of its attempts.
async fn met(answer: Response) -> (ServiceError, usize) {
    let server = Server::start(move |_| answer.clone());
    let refusal = look_up(&session(&server).await).await.unwrap_err();
    (refusal, server.count("LookupEvents"))
}

#[tokio::test]
async fn every_lookup_error_has_its_kind() {
    let denied = "User: arn:aws:iam::111122223333:user/loader is not authorized to perform: \
                  cloudtrail:LookupEvents with an explicit deny in a service control policy";
    let lookup = || ErrorKind::AccessDenied { action: Some("cloudtrail:LookupEvents".to_owned()) };
    let old = "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z";
    let early = "Signature not yet current: 20260101T010000Z is still later than 20260101T000500Z";
    let table = [
        (400, "ThrottlingException", "Rate exceeded", ErrorKind::Throttled, 1),
        (400, "InvalidNextTokenException", "", ErrorKind::InvalidNextToken, 1),
        (400, "InvalidTimeRangeException", "", ErrorKind::InvalidTimeRange, 1),
        (400, "InvalidMaxResultsException", "", ErrorKind::InvalidRequest, 1),
        (400, "InvalidLookupAttributesException", "", ErrorKind::InvalidRequest, 1),
        (400, "InvalidEventCategoryException", "", ErrorKind::InvalidRequest, 1),
        (400, "OperationNotPermittedException", "", ErrorKind::Unsupported, 1),
        (400, "UnsupportedOperationException", "", ErrorKind::Unsupported, 1),
        (400, "AccessDeniedException", denied, lookup(), 1),
        (400, "AccessDeniedException", "no", ErrorKind::AccessDenied { action: None }, 1),
        (400, "UnrecognizedClientException", "", ErrorKind::RegionNotEnabled, 1),
        (400, "MissingAuthenticationTokenException", "", ErrorKind::InvalidCredentials, 1),
        (400, "IncompleteSignature", "", ErrorKind::InvalidCredentials, 1),
        // With a clock that agrees, a signature is wrong because the secret is.
        (400, "InvalidSignatureException", "does not match", ErrorKind::InvalidCredentials, 1),
        (403, "SignatureDoesNotMatch", "does not match", ErrorKind::InvalidCredentials, 1),
        (500, "InternalFailure", "", ErrorKind::Transient, 3),
        (503, "ServiceUnavailable", "", ErrorKind::Transient, 3),
        (400, "SomethingNewException", "what", ErrorKind::Other, 1),
    ];
    for (status, code, message, trouble, asked) in table {
        let (refusal, count) = met(Response::json_error(status, code, message)).await;
        assert_eq!(refusal.kind, trouble, "{code}");
        assert_eq!(refusal.code.as_deref(), Some(code));
        assert_eq!(refusal.status, Some(status), "{code}");
        assert_eq!(count, asked, "{code}");
        assert!(refusal.to_string().starts_with(&format!("{status} {code}")), "{refusal}");
    }
    for (code, message) in [
        ("InvalidSignatureException", old),
        ("InvalidSignatureException", early),
        ("SignatureDoesNotMatch", old),
    ] {
        let (refusal, _) = met(Response::json_error(400, code, message)).await;
        assert!(matches!(refusal.kind, ErrorKind::ClockSkew { .. }), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_code_may_have_a_namespace() {
    let body = json!({"__type": "com.amazonaws.cloudtrail#AccessDeniedException", "Message": "no"});
    let (refusal, _) = met(Response::json(400, &body).header("x-amzn-requestid", "r-1")).await;
    assert_eq!(refusal.kind, ErrorKind::AccessDenied { action: None });
    assert_eq!(refusal.to_string(), "400 AccessDeniedException: no (request r-1)");
}

#[tokio::test]
async fn an_error_of_a_gateway_is_transient() {
    let page = Response::new(502, "text/html", "<html><body>Bad gateway</body></html>");
    let (refusal, asked) = met(page).await;
    assert_eq!((refusal.kind, refusal.status, asked), (ErrorKind::Transient, Some(502), 3));
}

#[tokio::test]
async fn a_reset_and_an_incomplete_body_are_retried() {
    let page = json!({"Events": [{"EventId": "1"}]});
    for fault in [Response::reset(), Response::json(200, &page).cut_after(7)] {
        let server = Server::start({
            let page = page.clone();
            move |_| Response::json(200, &page)
        });
        server.next("LookupEvents", fault);
        assert_eq!(look_up(&session(&server).await).await.unwrap(), 1);
        assert_eq!(server.count("LookupEvents"), 2);
    }
    for fault in [Response::reset(), Response::json(200, &page).cut_after(7)] {
        let (refusal, asked) = met(fault).await;
        assert_eq!((refusal.kind, asked), (ErrorKind::Transient, 3), "{}", refusal.message);
    }
}

#[tokio::test]
async fn every_request_has_a_time_limit() {
    let whole = Response::json(200, &json!({"Events": []}));
    for fault in [Response::hang(), whole.stall_after(3)] {
        let server = Server::start(move |_| fault.clone());
        let mut options = options(&server);
        options.timeouts.attempt = Duration::from_millis(150);
        let session = Session::load(&options).await.unwrap();
        let start = Instant::now();
        let refusal = look_up(&session).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Transient, "{refusal}");
        assert_eq!(server.count("LookupEvents"), 3);
        // Our own signed calls have the same limit.
        let error = discovery::organization_accounts(&session).await.unwrap_err();
        assert_eq!(error.service_error().unwrap().kind, ErrorKind::Transient, "{error}");
        assert!(error.service_error().unwrap().message.contains("no response within 0.15 s"));
        let error = session.identity().await.unwrap_err();
        assert_eq!(error.service_error().unwrap().kind, ErrorKind::Transient, "{error}");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_refused_connection_is_transient() {
    let server = Server::start(|_| Response::reset());
    let options = options(&server);
    drop(server);
    let session = Session::load(&options).await.unwrap();
    let refusal = look_up(&session).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Transient);
    assert!(refusal.message.to_lowercase().contains("connect"), "{refusal}");
    let error = discovery::organization_accounts(&session).await.unwrap_err();
    assert!(error.service_error().unwrap().message.to_lowercase().contains("connect"), "{error:?}");
}

#[tokio::test]
async fn a_clock_skew_is_part_of_the_error() {
    // What a service says when it only sees that the signature is wrong; its date tells the rest.
    let answer = Response::json_error(400, "InvalidSignatureException", "does not match");
    for (hours, word) in [(1, "ahead of"), (-1, "behind")] {
        let server = Server::start({
            let answer = answer.clone();
            move |_| answer.clone()
        });
        let mut options = options(&server);
        let wrong = SignedDuration::from_hours(hours);
        options.clock = Clock::new(move || Timestamp::now() + wrong);
        let session = Session::load(&options).await.unwrap();
        let refusal = look_up(&session).await.unwrap_err();
        let ErrorKind::ClockSkew { ahead: Some(ahead) } = refusal.kind else {
            panic!("{refusal:?}");
        };
        assert!((ahead - wrong).abs() < SignedDuration::from_mins(1), "{ahead}");
        let text = refusal.to_string();
        assert!(text.contains(word) && text.contains("clock"), "{text}");
        assert!(refusal.kind.hint().unwrap().contains("clock"));
        assert!((session.clock_skew().unwrap() - wrong).abs() < SignedDuration::from_mins(1));
        // Also where we sign ourselves.
        let error = discovery::organization_accounts(&session).await.unwrap_err();
        assert!(
            matches!(error.service_error().unwrap().kind, ErrorKind::ClockSkew { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn every_response_updates_the_clock_skew() {
    let server = Server::start(|_| Response::json(200, &json!({"Events": []})));
    let session = session(&server).await;
    assert_eq!(session.clock_skew(), None);
    look_up(&session).await.unwrap();
    assert!(session.clock_skew().unwrap().abs() < SignedDuration::from_mins(1));
}

#[tokio::test]
async fn s3_errors_are_classified() {
    let table = [
        (503, "SlowDown", ErrorKind::Throttled, 1),
        (500, "InternalError", ErrorKind::Transient, 3),
        (404, "NoSuchBucket", ErrorKind::NotFound, 1),
        (403, "AccessDenied", ErrorKind::AccessDenied { action: None }, 1),
        (403, "InvalidAccessKeyId", ErrorKind::InvalidCredentials, 1),
        (403, "SignatureDoesNotMatch", ErrorKind::InvalidCredentials, 1),
        (403, "RequestTimeTooSkewed", ErrorKind::ClockSkew { ahead: None }, 1),
        (400, "InvalidToken", ErrorKind::InvalidCredentials, 1),
    ];
    for (status, code, trouble, asked) in table {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        let server = Server::start(move |_| {
            Response::new(status, "application/xml", body.clone()).header("x-amz-request-id", "r")
        });
        let client = session(&server).await.s3("eu-west-1");
        let refusal = client.list_objects_v2().bucket("trail").send().await;
        let mut refusal = ServiceError::from_sdk(&refusal.unwrap_err());
        if let ErrorKind::ClockSkew { ahead } = &mut refusal.kind {
            *ahead = None;
        }
        assert_eq!(refusal.kind, trouble, "{code}");
        assert_eq!(refusal.request_id.as_deref(), Some("r"));
        assert_eq!(server.count("ListObjectsV2"), asked, "{code}");
        assert_eq!(server.requests()[0].path, "/trail/", "path style");
    }
}

#[tokio::test]
async fn an_error_names_the_account_once_it_is_known() {
    let sts = std::sync::Arc::new(crate::support::aws::sts::Sts::new());
    let server = crate::support::aws::cloud(&sts, Vec::new());
    let session = session(&server).await;
    let before = discovery::organization_accounts(&session).await.unwrap_err();
    assert!(matches!(before, Error::Request { account: None, .. }));
    session.identity().await.unwrap();
    let after = discovery::organization_accounts(&session).await.unwrap_err();
    assert!(
        after.to_string().starts_with("account 111122223333: organizations:ListAccounts"),
        "{after}"
    );
}
