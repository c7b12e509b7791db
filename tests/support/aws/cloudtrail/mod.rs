//! A fake CloudTrail on loopback, asked by the real SDK client.
//!
//! In: LookupEvents, signed. The access key is taken for the account, the Region is the one signed for.
//! Out: what the [`Model`] says, after the latency asked for; or a fault scripted at the [`Server`].

pub(crate) mod model;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::server::{Request, Response, Server};
pub(crate) use model::{Model, Reply};

/// The service; it ends when this is dropped.
pub(crate) struct FakeCloudTrail {
    model: Arc<Mutex<Model>>,
    /// Carries, notes calls, and does scripted faults.
    pub(crate) server: Server,
}

impl FakeCloudTrail {
    /// Starts the service; its clock starts now.
    pub(crate) fn start(model: Model, latency: Duration) -> Self {
        let model = Arc::new(Mutex::new(model));
        let (theirs, began) = (Arc::clone(&model), Instant::now());
        let server = Server::start(move |request| {
            let at = began.elapsed().as_secs_f64();
            answer(&mut theirs.lock().unwrap(), request, at).after(latency)
        });
        Self { model, server }
    }

    /// Returns the model, to change what happens or to see what was asked.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }
}

fn answer(model: &mut Model, request: &Request, at: f64) -> Response {
    let (Some(account), Some(region)) = (request.access_key(), request.region()) else {
        return Response::json_error(400, "MissingAuthenticationToken", "not signed");
    };
    if request.action() != "LookupEvents" || request.service() != Some("cloudtrail") {
        return Response::json_error(400, "UnknownOperationException", &request.action());
    }
    match model.lookup(account, region, &request.json(), at) {
        Reply::Page(page) => Response::json(200, &page),
        Reply::Error(code, why) => Response::json_error(400, code, &why),
    }
}
