//! What becomes of an alert that a service does not accept.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use trailload::sink::alert::{DeliveryError, RetryAdvice};

use super::{ROUTING_KEY, SECRET, deliver, event, message, receiver};
use crate::support::{
    alert_services::AlertService,
    aws::server::{Response, Server},
};

fn slack(url: &str) -> String {
    format!("a: {{kind: slack, url: \"{url}/services/${{SECRET}}\", timeout: 2s}}")
}

/// Returns the error of a delivery to a Slack that responds like this.
async fn error(response: Response) -> DeliveryError {
    let server = Server::start(|_| Response::new(500, "text/plain", "not scripted"));
    server.next("*", response);
    deliver(&receiver(&slack(&server.url())), &message(1, &event())).await.unwrap_err()
}

#[tokio::test]
async fn a_response_decides_about_another_attempt() {
    let text = |status, body: &'static str| Response::new(status, "text/plain", body);
    let after = RetryAdvice::After;
    for (response, retry, cause) in [
        (
            text(400, "invalid_blocks"),
            RetryAdvice::Never,
            "127.0.0.1: 400 Bad Request: invalid_blocks",
        ),
        (
            text(403, "invalid_token"),
            RetryAdvice::Never,
            "copy it from the settings of the Slack app",
        ),
        (text(404, "channel_not_found"), RetryAdvice::Never, "create another webhook"),
        (text(410, "channel_is_archived"), RetryAdvice::Never, "the channel is archived"),
        (
            text(429, "rate_limited").header("retry-after", "7"),
            after(Duration::from_secs(7)),
            "429",
        ),
        (text(429, "rate_limited"), after(Duration::from_secs(1)), "429"),
        (text(429, "").header("retry-after", "999999"), after(Duration::from_hours(1)), "429"),
        (text(503, "").header("retry-after", "3"), after(Duration::from_secs(3)), "503"),
        (
            text(500, "rollup_error"),
            RetryAdvice::Backoff,
            "500 Internal Server Error: rollup_error",
        ),
        (
            text(502, "<html><h1>Bad\u{1b}[2J gateway</h1>"),
            RetryAdvice::Backoff,
            "502 Bad Gateway: Bad",
        ),
        (Response::reset(), RetryAdvice::Backoff, "127.0.0.1: "),
        (Response::hang(), RetryAdvice::Backoff, "127.0.0.1: no response within 2 s"),
        (
            text(302, "").header("location", "https://evil.example/?hunter2-0123456789"),
            RetryAdvice::Never,
            "redirects to https://evil.example/, and redirects are not followed",
        ),
    ] {
        let error = error(response).await;
        assert_eq!(error.retry, retry, "{error}");
        assert!(error.cause.contains(cause), "{error}");
    }
}

#[tokio::test]
async fn retry_after_can_be_a_date() {
    let at = jiff::Timestamp::now() + Duration::from_mins(2);
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let error = error(Response::new(429, "text/plain", "").header("retry-after", date)).await;
    let RetryAdvice::After(wait) = error.retry else { panic!("{error:?}") };
    assert!((100..=121).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_service_that_repeats_the_secret_does_not_get_it_into_the_cause() {
    let body = format!("no such hook: services/{SECRET} ({SECRET})");
    let error = error(Response::new(404, "text/plain", body)).await;
    assert!(error.cause.contains("(hidden)"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let error = deliver(&receiver(&slack(&url)), &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Backoff);
    assert!(error.cause.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_wrong_key_is_named_and_not_tried_again() {
    let datadog = AlertService::datadog("another key");
    let yaml =
        format!("a: {{kind: datadog, api_key: \"${{SECRET}}\", endpoint: \"{}\"}}", datadog.url());
    let error = deliver(&receiver(&yaml), &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Never);
    assert!(error.cause.contains("403 Forbidden") && error.cause.contains("`site`"), "{error}");
    let pagerduty = AlertService::pagerduty("x");
    let yaml = format!(
        "a: {{kind: pagerduty, routing_key: {ROUTING_KEY}, endpoint: \"{}\"}}",
        pagerduty.url()
    );
    let error = deliver(&receiver(&yaml), &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Never);
    assert!(error.cause.contains("'routing_key' is missing or invalid"), "{error}");
    pagerduty.server.next("*", Response::new(429, "application/json", "{}"));
    let error = deliver(&receiver(&yaml), &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::After(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_response_that_never_ends_costs_no_more_than_the_time_limit() {
    let server = Server::start(|_| {
        Response::new(500, "text/plain", "x".repeat(100_000)).stall_after(10_000)
    });
    let started = Instant::now();
    let error = deliver(&receiver(&slack(&server.url())), &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Backoff);
    assert!(started.elapsed() < Duration::from_secs(10));
}
