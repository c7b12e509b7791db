//! One signed request to a service for which we carry no SDK crate.
//!
//! In: a [`Question`]. Out: the body of the answer, or a [`Refusal`].
//! Holds: the same manners as the SDK's clients: limits on time, few repetitions, an expired session asked for
//! again, the clock compared.
//! Absent on purpose: what is in the body.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;

use super::{Access, Refusal, Trouble, access::ATTEMPTS, answer};

/// What to ask, and where.
#[derive(Debug)]
pub(super) struct Question {
    /// As in signatures and IAM: `ec2`, `account`, `organizations`.
    pub(super) service: &'static str,
    /// Where it is asked, and signed for.
    pub(super) region: String,
    /// Begins with a slash.
    pub(super) path: &'static str,
    /// Names in lower case; `content-type` must be among them.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// What is posted.
    pub(super) body: String,
}

impl Access {
    /// Asks, again if that may help, and returns the body of the answer.
    pub(super) async fn ask(&self, question: &Question) -> Result<Bytes, Refusal> {
        let waiting = self.waits().begin(question.service, &question.region);
        let mut attempt = 1;
        loop {
            let refusal = match self.ask_once(question).await {
                Ok(body) => {
                    waiting.answered();
                    return Ok(body);
                }
                Err(refusal) => refusal,
            };
            let again = matches!(
                refusal.trouble,
                Trouble::Throttled | Trouble::Transient | Trouble::Expired
            );
            if !again || attempt == ATTEMPTS {
                waiting.answered();
                return Err(refusal);
            }
            waiting.failed(refusal.to_string());
            pause(self.timeouts().pause, attempt).await;
            attempt += 1;
        }
    }

    async fn ask_once(&self, question: &Question) -> Result<Bytes, Refusal> {
        let credentials = self.keeper().credentials().await;
        let credentials = credentials.map_err(|error| Refusal::of_credentials(&error))?;
        let request = self.signed(question, &credentials)?;
        let limit = self.timeouts().attempt;
        let answered = tokio::time::timeout(limit, self.send(request)).await;
        let late = || format!("no answer within {} s", limit.as_secs_f64());
        let (mut response, body) =
            answered.map_err(|_| Refusal::without_answer(Trouble::Transient, late()))??;
        if response.status().is_success() {
            return Ok(body);
        }
        self.measure(&mut response);
        let said = answer::read(|name| response.headers().get(name), &body);
        let refusal = Refusal::of_response(&response, said);
        if refusal.trouble == Trouble::Expired {
            self.keeper().refuse(credentials.access_key_id());
        }
        Err(refusal)
    }

    fn signed(&self, question: &Question, by: &Credentials) -> Result<HttpRequest, Refusal> {
        let broken = |what: &dyn std::fmt::Display| {
            Refusal::without_answer(Trouble::Invalid, format!("could not make the request: {what}"))
        };
        let url = self.url(question);
        let host = url::Url::parse(&url).map_err(|error| broken(&error))?;
        let host = &host[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = HttpRequest::new(SdkBody::from(question.body.as_str()));
        request.set_method("POST").map_err(|error| broken(&error))?;
        request.set_uri(url.as_str()).map_err(|error| broken(&error))?;
        for (name, value) in question.headers.iter().copied().chain([("host", host)]) {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let identity = by.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&question.region)
            .name(question.service)
            .time(self.clock().now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| broken(&error))?
            .into();
        let headers = question.headers.iter().copied().chain([("host", host)]);
        let body = SignableBody::Bytes(question.body.as_bytes());
        let signable = SignableRequest::new("POST", url.as_str(), headers, body)
            .map_err(|error| broken(&error))?;
        let (signature, _) =
            sign(signable, &parameters).map_err(|error| broken(&error))?.into_parts();
        for (name, value) in signature.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }

    fn url(&self, question: &Question) -> String {
        let given = self.endpoint(question.service);
        let host = || {
            let suffix = self.partition().suffix();
            format!("https://{}.{}.{suffix}", question.service, question.region)
        };
        let base = given.unwrap_or_else(host);
        format!("{}{}", base.trim_end_matches('/'), question.path)
    }

    async fn send(&self, request: HttpRequest) -> Result<(HttpResponse, Bytes), Refusal> {
        let timeouts = self.timeouts();
        let limits = HttpConnectorSettings::builder()
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.read)
            .build();
        let sent = self.connections().connector(&limits).call(request).await;
        let mut response = sent.map_err(|error| Refusal::of_way(&error))?;
        let body = ByteStream::new(response.take_body()).collect().await;
        let body = body.map_err(|error| Refusal::of_way(&error))?;
        Ok((response, body.into_bytes()))
    }
}

#[expect(clippy::disallowed_methods, reason = "between two attempts, as the SDK's clients do")]
async fn pause(first: Duration, attempt: u32) {
    let longest = first * 2_u32.pow(attempt - 1);
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}
