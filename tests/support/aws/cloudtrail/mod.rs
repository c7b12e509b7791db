//! A fake CloudTrail on loopback, asked by the real SDK client.
//!
//! In: LookupEvents, signed by somebody whom STS knows, for the Region that was signed for. Out: what the [`Model`]
//! says, after the latency asked for. Faults are scripted at the server that carries it.

pub(crate) mod model;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Service;
use super::server::{Request, Response};
use super::sts::Sts;
pub(crate) use model::{Model, Reply};

/// The service.
pub(crate) struct CloudTrail {
    model: Mutex<Model>,
    began: Instant,
    latency: Duration,
    /// Pages that are answered.
    answered: AtomicUsize,
}

impl CloudTrail {
    /// Opens the service; its clock starts now.
    pub(crate) fn new(model: Model, latency: Duration) -> Arc<Self> {
        let answered = AtomicUsize::new(usize::MAX);
        Arc::new(Self { model: Mutex::new(model), began: Instant::now(), latency, answered })
    }

    /// Leaves all requests without an answer once so many pages were answered.
    pub(crate) fn answer_only(&self, pages: usize) {
        self.answered.store(pages, SeqCst);
    }

    /// Returns the model, to change what happens or to see what was asked.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Returns the time on its clock: seconds since it opened.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Returns the service, to be put behind an address under the name `cloudtrail`.
    pub(crate) fn service(self: &Arc<Self>, sts: &Arc<Sts>) -> Service {
        let (this, sts) = (Arc::clone(self), Arc::clone(sts));
        Box::new(move |request| match sts.caller(request) {
            Ok(caller) => this.answer(&caller.account, request),
            Err(refused) => refused.said_by("cloudtrail"),
        })
    }

    fn answer(&self, account: &str, request: &Request) -> Response {
        if request.action() != "LookupEvents" {
            return Response::json_error(400, "UnknownOperationException", &request.action());
        }
        let region = request.region().unwrap_or_default();
        let at = self.seconds();
        let mut model = self.model();
        let response = match model.lookup(account, region, &request.json(), at) {
            Reply::Page(page) => {
                let response = Response::json(200, &page);
                let is_held = model.granted() > self.answered.load(SeqCst);
                if is_held { response.stall_after(0) } else { response }
            }
            Reply::Error(code, why) => Response::json_error(400, code, &why),
        };
        response.after(self.latency)
    }
}
