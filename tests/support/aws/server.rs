//! The server that all fakes of AWS share: it reads a request, notes it, and does what the handler says.
//!
//! In: a handler from [`Request`] to [`Response`], and faults by script. Out: a URL, and what was called.
//! Absent on purpose: what a service answers, and its quota.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

/// A request as a service sees it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query; percent-encoded as it came.
    pub(crate) path: String,
    /// The part behind `?`; percent-encoded as it came.
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the decoded query parameter; empty if it has no value.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        pair(self.query.as_bytes(), name)
    }

    /// Returns the decoded field of a form body (the query protocol of STS and EC2).
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        pair(&self.body, name)
    }

    /// Returns the body as JSON; `Null` if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Returns a part of the signature's scope: key, day, Region, service.
    fn scope(&self, part: usize) -> Option<&str> {
        let rest = self.header("authorization")?.split_once("Credential=")?.1;
        rest.split([',', ' ']).next()?.split('/').nth(part)
    }

    /// Returns the access key that signed, if anybody did.
    pub(crate) fn access_key(&self) -> Option<&str> {
        self.scope(0)
    }

    /// Returns the Region that was signed for.
    pub(crate) fn region(&self) -> Option<&str> {
        self.scope(2)
    }

    /// Returns the service that was signed for.
    pub(crate) fn service(&self) -> Option<&str> {
        self.scope(3)
    }

    /// Returns the operation, as the API reference names it.
    pub(crate) fn action(&self) -> String {
        if let Some(target) = self.header("x-amz-target") {
            return target.rsplit('.').next().unwrap_or_default().to_owned();
        }
        if let Some(action) = self.form("Action").filter(|_| self.method == "POST") {
            return action;
        }
        if self.service() == Some("s3") {
            return self.action_of_s3().to_owned();
        }
        // rest-json: `/listRegions`.
        let mut name = self.path.trim_start_matches('/').to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        name
    }

    /// Tells S3's reading operations apart. Path style: `/bucket/key`.
    fn action_of_s3(&self) -> &'static str {
        let has_key =
            self.path.trim_start_matches('/').split_once('/').is_some_and(|it| !it.1.is_empty());
        match (self.method.as_str(), has_key) {
            ("GET", true) => "GetObject",
            ("HEAD", true) => "HeadObject",
            ("HEAD", false) => "HeadBucket",
            ("GET", false) if self.parameter("location").is_some() => "GetBucketLocation",
            ("GET", false) if self.path == "/" => "ListBuckets",
            ("GET", false) => "ListObjectsV2",
            _ => "Unknown",
        }
    }
}

fn pair(text: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(text).find(|(key, _)| key == name).map(|it| it.1.into_owned())
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// No byte of an answer, and the connection is closed.
    Reset,
    /// No byte of an answer, and the connection stays.
    Hang,
    /// So many bytes of the body, then the connection is closed.
    Cut(usize),
    /// So many bytes of the body, then nothing more, and the connection stays.
    Stall(usize),
}

/// What a service answers.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    after: Duration,
    end: End,
}

impl Response {
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![(CONTENT_TYPE.to_string(), kind.to_owned())];
        Self { status, headers, body: body.into(), after: Duration::ZERO, end: End::Whole }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/x-amz-json-1.1", body.to_string())
    }

    pub(crate) fn xml(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/xml", body.into())
    }

    /// An error as awsJson services say it.
    pub(crate) fn json_error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &serde_json::json!({"__type": code, "message": message}))
    }

    /// An error as query services (STS) say it.
    pub(crate) fn xml_error(status: u16, code: &str, message: &str) -> Self {
        Self::xml(
            status,
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1-2-3</RequestId></ErrorResponse>"
            ),
        )
    }

    pub(crate) fn reset() -> Self {
        Self { end: End::Reset, ..Self::new(200, "", "") }
    }

    pub(crate) fn hang() -> Self {
        Self { end: End::Hang, ..Self::new(200, "", "") }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Answers only after this time.
    pub(crate) fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }

    /// Closes the connection after so many bytes of the body.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.end = End::Cut(bytes);
        self
    }

    /// Says nothing more after so many bytes of the body.
    pub(crate) fn stall_after(mut self, bytes: usize) -> Self {
        self.end = End::Stall(bytes);
        self
    }
}

type Handler = Box<dyn Fn(&Request) -> Response + Send + Sync>;

struct Shared {
    handler: Handler,
    requests: Mutex<Vec<Request>>,
    script: Mutex<Vec<(String, Response)>>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Vec<(String, Response)>> {
        self.script.lock().unwrap()
    }

    fn answer(&self, request: Request) -> Response {
        let action = request.action();
        let scripted = {
            let mut script = self.script();
            let place = script.iter().position(|(name, _)| *name == action || name == "*");
            place.map(|place| script.remove(place).1)
        };
        let answer = scripted.unwrap_or_else(|| (self.handler)(&request));
        self.requests.lock().unwrap().push(request);
        answer
    }
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    shared: Arc<Shared>,
    port: u16,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Server {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Server({})", self.url())
    }
}

impl Server {
    /// Starts to listen. The handler may be called by several connections at once; it must not wait.
    pub(crate) fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            script: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let (tell, told) = std::sync::mpsc::channel();
        runtime.handle().spawn(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            accept(listener, theirs).await;
        });
        Self { shared, port: told.recv().unwrap(), runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers the next call of `action` (`*`: of any) like this instead; in the order of the script.
    pub(crate) fn next(&self, action: &str, answer: Response) {
        self.shared.script().push((action.to_owned(), answer));
    }

    /// Forgets the answers that were put and not given yet.
    pub(crate) fn heal(&self) {
        self.shared.script().clear();
    }

    /// Returns every request so far, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Returns service and action of every request so far, as IAM names them.
    pub(crate) fn calls(&self) -> Vec<(String, String)> {
        let requests = self.shared.requests.lock().unwrap();
        let name = |request: &Request| {
            (request.service().unwrap_or("unsigned").to_owned(), request.action())
        };
        requests.iter().map(name).collect()
    }

    /// Forgets the requests so far, so that a server may run for ever.
    pub(crate) fn forget(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// Returns how often an action was called.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.calls().iter().filter(|(_, name)| name == action).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let serve = service_fn(move |request| serve(Arc::clone(&shared), request));
            // What goes wrong on a connection is the client's to notice: that is what faults are for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Ending>, io::Error> {
    let answer = shared.answer(read(request).await?);
    wait(answer.after).await;
    match answer.end {
        End::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        End::Hang => return std::future::pending().await,
        End::Whole | End::Cut(_) | End::Stall(_) => {}
    }
    let mut reply = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        reply = reply.header(name, value);
    }
    if !answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        reply = reply.header(CONTENT_LENGTH, answer.body.len());
    }
    let body = Ending { rest: Some(answer.body), end: answer.end, flushed: false };
    reply.body(body).map_err(io::Error::other)
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, io::Error> {
    let (head, body) = request.into_parts();
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await.map_err(io::Error::other)?.to_bytes(),
    })
}

#[expect(clippy::disallowed_methods, reason = "a slow service is what the test asked for")]
async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// A body that ends as the script says.
struct Ending {
    rest: Option<Bytes>,
    end: End,
    flushed: bool,
}

impl Body for Ending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let end = self.end;
        match (self.rest.take(), end) {
            (Some(whole), End::Cut(bytes) | End::Stall(bytes)) => {
                Poll::Ready(Some(Ok(Frame::data(whole.slice(..bytes.min(whole.len()))))))
            }
            (Some(whole), _) => Poll::Ready(Some(Ok(Frame::data(whole)))),
            (None, End::Cut(_)) if !self.flushed => {
                // A failing body takes with it what is not on the wire yet: let that happen first.
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            (None, End::Cut(_)) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            (None, End::Stall(_)) => Poll::Pending,
            (None, _) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The header says the length; a wrong hint would make hyper complete or refuse the body itself.
        SizeHint::default()
    }
}
