//! Fakes of AWS services on loopback: real HTTP, asked by the real SDK clients.
//!
//! [`server`] carries; each other file knows one service, and [`cloud`] joins them behind one address. Point a
//! client at `Server::url`, or the program by `AWS_ENDPOINT_URL`.

pub(crate) mod account;
pub(crate) mod cloudtrail;
pub(crate) mod ec2;
pub(crate) mod organizations;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod sqs;
pub(crate) mod sts;

use std::{sync::Arc, time::Duration};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use trailload::aws::{Clock, SessionOptions, Timeouts};

use server::{Request, Response, Server};
use sts::Sts;

/// The key of the user that every fake knows from the start.
pub(crate) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
/// Its secret.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// Its account.
pub(crate) const ACCOUNT: &str = "111122223333";

/// A service behind the common address.
pub(crate) type Service = Box<dyn Fn(&Request) -> Response + Send + Sync>;

/// Starts STS, and other services by their signing names, behind one address.
pub(crate) fn cloud(sts: &Arc<Sts>, services: Vec<(&'static str, Service)>) -> Server {
    Server::start(desk(sts, services))
}

/// Joins STS and other services by their signing names. STS knows who is calling: the others are asked only in the
/// name of somebody whose session holds.
pub(crate) fn desk(sts: &Arc<Sts>, services: Vec<(&'static str, Service)>) -> Service {
    let sts = Arc::clone(sts);
    Box::new(move |request| {
        let service = request.service().unwrap_or("sts").to_owned();
        if service == "sts" {
            return sts.answer(request);
        }
        if let Err(refused) = sts.caller(request) {
            return refused.said_by(&service);
        }
        match services.iter().find(|(name, _)| *name == service) {
            Some((_, answer)) => answer(request),
            None => Response::json_error(400, "UnknownOperationException", &service),
        }
    })
}

/// Options of an access that acts as the user, at fakes behind one address, and is quick to give up.
pub(crate) fn options(server: &Server) -> SessionOptions {
    let mut options = SessionOptions::new(Clock::new(jiff::Timestamp::now));
    options.region = Some("us-east-1".to_owned());
    options.credentials = Some(given(Credentials::new(KEY, SECRET, None, None, "test")));
    options.timeouts = Timeouts {
        connect: Duration::from_secs(1),
        read: Duration::from_secs(5),
        attempt: Duration::from_secs(5),
        credentials: Duration::from_secs(10),
        initial_backoff: Duration::from_millis(10),
    };
    for service in ["cloudtrail", "s3", "sts", "ec2", "account", "organizations"] {
        options.endpoints.insert(service.to_owned(), server.url());
    }
    options
}

/// Credentials as an access takes them.
pub(crate) fn given(credentials: Credentials) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(credentials)
}
