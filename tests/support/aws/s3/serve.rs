//! Connections, and the faults that happen on them.

use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::super::super::wire::{self, Request};
use super::{Away, Bucket, Call, Fault, Shared, State, etag, listing};

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state().over {
            return;
        }
        let (Ok(stream), theirs) = (stream, Arc::clone(shared)) else { continue };
        shared.connections.fetch_add(1, SeqCst);
        std::thread::spawn(move || serve(stream, &theirs));
    }
}

/// Serves one connection until the client closes it or a fault does.
fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = wire::read_head(&mut reader) {
        let wanted = Wanted::of(&request);
        let get = wanted.action == "GetObject";
        if get {
            shared.under_way.fetch_add(1, SeqCst);
        }
        let sent = answer(shared, &request, &wanted).is_some_and(|answer| {
            std::thread::sleep(answer.latency);
            let bytes = answer.bytes(request.method == "HEAD");
            writer.write_all(&bytes).is_ok() && !answer.closes()
        });
        if get {
            shared.under_way.fetch_sub(1, SeqCst);
        }
        if !sent {
            return;
        }
    }
}

/// What a request asks for.
struct Wanted {
    action: &'static str,
    bucket: String,
    key: String,
}

impl Wanted {
    fn of(request: &Request) -> Self {
        // To a proxy the whole address is told; the bucket is then the first part of the host's name.
        let proxied = request.path.strip_prefix("http://").and_then(|url| {
            let (host, key) = url.split_once('/')?;
            Some((host.split('.').next()?, key))
        });
        let path = request.path.trim_start_matches('/');
        let plain = || path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = proxied.unwrap_or_else(plain);
        let action = match (request.method.as_str(), key, request.query.as_str()) {
            ("HEAD", "", _) => "HeadBucket",
            ("HEAD", ..) => "HeadObject",
            ("GET", "", query) if query.split('&').any(|part| part == "list-type=2") => {
                "ListObjectsV2"
            }
            ("GET", "", query) if query.split('&').any(|part| part.starts_with("location")) => {
                "GetBucketLocation"
            }
            ("GET", key, _) if !key.is_empty() => "GetObject",
            _ => "Unknown",
        };
        let key = match action {
            "ListObjectsV2" => request.parameter("prefix").unwrap_or_default(),
            _ => key.to_owned(),
        };
        Self { action, bucket: bucket.to_owned(), key }
    }
}

/// An answer, as it will go over the wire.
#[derive(Default)]
struct Answer {
    status: u16,
    headers: String,
    body: Arc<Vec<u8>>,
    /// From which byte of the body on.
    from: usize,
    /// Bytes that are sent of what is announced.
    cut: Option<usize>,
    latency: Duration,
}

impl Answer {
    fn error(status: u16, code: &str, message: &str, more: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
             {more}<RequestId>FAKE0001</RequestId><HostId>fake</HostId></Error>"
        );
        let headers = "content-type: application/xml\r\nx-amz-request-id: FAKE0001\r\n".to_owned();
        Self { status, headers, body: Arc::new(body.into_bytes()), ..Self::default() }
    }

    fn bytes(&self, without_body: bool) -> Vec<u8> {
        let body = &self.body[self.from..];
        let mut bytes = format!(
            "HTTP/1.1 {} Answer\r\ncontent-length: {}\r\n{}\r\n",
            self.status,
            body.len(),
            self.headers
        )
        .into_bytes();
        if !without_body {
            bytes.extend_from_slice(&body[..self.cut.unwrap_or(body.len()).min(body.len())]);
        }
        bytes
    }

    fn closes(&self) -> bool {
        self.cut.is_some()
    }
}

/// Decides the answer; `None` to reset the connection.
fn answer(shared: &Shared, request: &Request, wanted: &Wanted) -> Option<Answer> {
    let mut state = shared.state();
    let under_way = shared.under_way.load(SeqCst);
    let (answer, latency) = if let Some(bucket) = state.buckets.get_mut(&wanted.bucket) {
        (bucket.answer(request, wanted, under_way), bucket.latency)
    } else {
        let said = "The specified bucket does not exist";
        (Ok(Some(Answer::error(404, "NoSuchBucket", said, ""))), Duration::ZERO)
    };
    let answer = answer.unwrap_or_else(|complaint| {
        state.complaints.push(format!("{complaint} (in {} {})", wanted.action, wanted.key));
        Some(Answer::error(400, "InvalidArgument", &complaint, ""))
    });
    note(&mut state, wanted, answer.as_ref().map_or(0, |answer| answer.status));
    answer.map(|mut answer| {
        answer.latency = answer.latency.max(latency);
        answer
    })
}

fn note(state: &mut State, wanted: &Wanted, status: u16) {
    let Wanted { action, bucket, key } = wanted;
    state.calls.push(Call { action, bucket: bucket.clone(), key: key.clone(), status });
}

impl Bucket {
    /// Returns the answer, `None` to reset, or what no client should send.
    fn answer(
        &mut self,
        request: &Request,
        wanted: &Wanted,
        under_way: usize,
    ) -> Result<Option<Answer>, String> {
        let signed = request.header("authorization").ok_or("it is not signed")?;
        let scope = signed.split_once("Credential=").map(|(_, rest)| rest.split('/'));
        let region = scope.and_then(|mut scope| scope.nth(2)).ok_or("its scope is not readable")?;
        if region != self.region {
            return Ok(Some(self.away(region, wanted.action == "HeadBucket")));
        }
        let payer = request.header("x-amz-request-payer");
        if self.requester_pays && payer != Some("requester") {
            return Ok(Some(Answer::error(403, "AccessDenied", "Access Denied", "")));
        }
        match wanted.action {
            "HeadBucket" => Ok(Some(self.found())),
            "GetBucketLocation" => {
                let region = self.region;
                let body = format!("<LocationConstraint>{region}</LocationConstraint>");
                Ok(Some(Answer { body: Arc::new(body.into_bytes()), ..self.found() }))
            }
            "ListObjectsV2" => self.list(request, wanted),
            "GetObject" | "HeadObject" => self.get(request, wanted, under_way),
            _ => Err(format!("unknown: {} {}?{}", request.method, request.path, request.query)),
        }
    }

    fn found(&self) -> Answer {
        let headers = format!("x-amz-bucket-region: {}\r\n", self.region);
        Answer { status: 200, headers, ..Answer::default() }
    }

    fn away(&self, asked: &str, head: bool) -> Answer {
        let region = self.region;
        let header = format!("x-amz-bucket-region: {region}\r\n");
        let mut answer = match self.away {
            Away::Redirect | Away::Silent => Answer::error(
                301,
                "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint.",
                "",
            ),
            Away::Malformed => Answer::error(
                400,
                "AuthorizationHeaderMalformed",
                &format!("the region '{asked}' is wrong; expecting '{region}'"),
                &format!("<Region>{region}</Region>"),
            ),
        };
        if head || self.away != Away::Silent {
            answer.headers += &header;
        }
        answer
    }

    fn list(&mut self, request: &Request, wanted: &Wanted) -> Result<Option<Answer>, String> {
        if let Some(fault) = self.list_faults.pop_front() {
            return Ok(refused(&fault));
        }
        if self.denied.contains(&wanted.key) {
            return Ok(refused(&Fault::denied()));
        }
        let body = Arc::new(listing::page(&wanted.bucket, self, request)?.into_bytes());
        let headers = "content-type: application/xml\r\n".to_owned();
        Ok(Some(Answer { status: 200, headers, body, ..Answer::default() }))
    }

    fn get(
        &mut self,
        request: &Request,
        wanted: &Wanted,
        under_way: usize,
    ) -> Result<Option<Answer>, String> {
        if under_way > self.most_at_once {
            return Ok(refused(&Fault::SlowDown));
        }
        let fault =
            self.faults.get_mut(&wanted.key).and_then(std::collections::VecDeque::pop_front);
        let fault = fault.or_else(|| self.always.get(&wanted.key).cloned());
        if let Some(fault @ (Fault::SlowDown | Fault::Refused(..) | Fault::Reset)) = &fault {
            return Ok(refused(fault));
        }
        let Some(body) = self.body(&wanted.key) else { return Ok(refused(&Fault::deleted())) };
        let etag = etag(&body);
        if request.header("if-match").is_some_and(|wanted| wanted != etag) {
            let said = "At least one of the pre-conditions you specified did not hold";
            return Ok(Some(Answer::error(412, "PreconditionFailed", said, "")));
        }
        let mut headers = format!("etag: {etag}\r\ncontent-encoding: gzip\r\n");
        let (mut from, mut status) = (0, 200);
        if let Some(range) = request.header("range")
            && !matches!(fault, Some(Fault::Whole))
        {
            let start = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
            from = start.and_then(|start| start.parse().ok()).ok_or("a range nobody needs")?;
            if from >= body.len() {
                return Err(format!("a range behind the end: {range}"));
            }
            status = 206;
            let _ = write!(
                headers,
                "content-range: bytes {from}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            );
        }
        let cut = if let Some(Fault::Cut(bytes)) = fault { Some(bytes) } else { None };
        let latency = if let Some(Fault::Late(time)) = fault { time } else { Duration::ZERO };
        Ok(Some(Answer { status, headers, body, from, cut, latency }))
    }
}

/// Returns a refusal; `None` to reset.
fn refused(fault: &Fault) -> Option<Answer> {
    match fault {
        Fault::SlowDown => {
            Some(Answer::error(503, "SlowDown", "Please reduce your request rate.", ""))
        }
        Fault::Refused(status, code, said) => Some(Answer::error(*status, code, said, "")),
        _ => None,
    }
}
