//! The service over HTTP.
//!
//! Knows heads, statuses and paths: the API at `/`, the control of tests below `/_standpipe/`. Asks the driver for each
//! answer, and writes out what the driver says, also when that is a fault. Started by `Server`.
//!
//! *Invariant:* with keys, nothing of a request is decoded or asked for that these keys did not sign; and bodies take room
//! as they come, not as they are announced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::access::{Access, Control};
use super::api::{self, Call};
use super::auth::{Claim, Keys};
use super::driver::{Gone, Handle};
use super::faults::FaultPlan;
use super::json::json_bytes;
use super::limits::{BODIES_BYTES, BODY_BYTES};
use super::listener::Line;
use super::refusal::{Kind, Refusal};
use super::request::{Operation, Put};
use super::service::{Answer, ResponseMode};

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What every request needs.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    handle: Handle,
    /// What requests have to be signed with; `None`: with anything.
    keys: Option<Arc<Keys>>,
    /// True once the server stops.
    stop: watch::Receiver<bool>,
    /// Room for request bodies, in bytes.
    room: Arc<Semaphore>,
    /// How long a body may take to come.
    body_timeout: Duration,
    /// Requests so far: their number is their ID.
    requests: Arc<AtomicU64>,
}

/// The routes of the service.
pub(super) fn routes(
    handle: Handle,
    access: &Access,
    body_timeout: Duration,
    stop: watch::Receiver<bool>,
) -> Router {
    let router = Endpoint {
        handle,
        keys: access.keys.clone().map(Arc::new),
        stop,
        room: Arc::new(Semaphore::new(BODIES_BYTES)),
        body_timeout,
        requests: Arc::new(AtomicU64::new(0)),
    };
    let control = Router::new()
        .route("/_standpipe/stats", get(stats))
        .route("/_standpipe/faults", get(faults).post(plan_faults))
        .route("/_standpipe/flush", post(flush))
        .layer(from_fn_with_state(router.clone(), guard));
    let api = Router::new().route("/", post(serve));
    match access.control {
        Control::Served => api.merge(control).with_state(router),
        Control::Absent => api.with_state(router),
    }
}

/// Lets a request to the control paths through that is small, whole, and signed where there are keys.
async fn guard(State(router): State<Endpoint>, request: Request, next: Next) -> Response {
    match router.controlled(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refused(&refusal),
    }
}

async fn serve(
    State(router): State<Endpoint>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let number = router.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = router.answer(&line, request).await.unwrap_or_else(|refusal| refused(&refusal));
    let id = HeaderValue::try_from(format!("00000000-0000-0000-0000-{number:012x}"))
        .expect("hexadecimal digits are a valid header");
    response.headers_mut().insert("x-amzn-RequestId", id);
    response
}

impl Endpoint {
    async fn answer(&self, line: &Line, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let target = target(&head.headers)?.to_owned();
        let claim = self.claim(&head.headers).await?;
        let call = {
            // The body is let go of as soon as it is decoded, so that no fault or latency holds its room.
            let (body, _room) = self.read(&head.headers, body).await?;
            self.verify(&claim, &head, &body)?;
            Call::parse(&target, &body)?
        };
        let handle = &self.handle;
        let body = match call {
            Call::Put(put) => return self.put(line, put).await,
            Call::Describe { name } => {
                api::describe_output(&handle.ask(move |service, at| service.describe(&name, at)).await??)
            }
            Call::List { after, limit } => {
                let (names, more) =
                    handle.ask(move |service, _| service.list(after.as_deref(), limit)).await?;
                api::list_output(&names, more)
            }
            Call::Create { name } => {
                let output = api::create_output(&name);
                handle.ask(move |service, at| service.create(&name, at)).await??;
                output
            }
            Call::Delete { name } => {
                handle.ask(move |service, at| service.delete(&name, at)).await??;
                b"{}".to_vec()
            }
        };
        Ok(ok(body, AMZ_JSON))
    }

    /// A request to the control paths, whole.
    async fn controlled(&self, request: Request) -> Result<Request, Refusal> {
        let (head, body) = request.into_parts();
        let claim = match self.keys {
            Some(_) => Some(self.claim(&head.headers).await?),
            None => None,
        };
        let (body, _room) = self.read(&head.headers, body).await?;
        if let Some(claim) = claim {
            self.verify(&claim, &head, &body)?;
        }
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// Who claims to have signed: a client without the right key's name or time is not read any further.
    async fn claim(&self, headers: &HeaderMap) -> Result<Claim, Refusal> {
        let claim = Claim::read(headers)?;
        if let Some(keys) = &self.keys {
            let at = self.handle.ask(|_, at| at).await?;
            claim.verify_head(keys, at.unix_time)?;
        }
        Ok(claim)
    }

    fn verify(&self, claim: &Claim, head: &Parts, body: &[u8]) -> Result<(), Refusal> {
        self.keys.as_deref().map_or(Ok(()), |keys| claim.verify(keys, head, body))
    }

    /// The whole body, with the room it takes.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|announced: u64| announced > BODY_BYTES as u64) {
            return Err(too_large());
        }
        let late = |_| Refusal::new(Kind::RequestTimeout, "The body of the request did not come in time.");
        tokio::time::timeout(self.body_timeout, self.collect(body)).await.map_err(late)?
    }

    /// Takes room for each piece when it has come: who announces much and sends nothing holds up nobody.
    async fn collect(&self, mut body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let (mut whole, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let gone = |_| Refusal::new(Kind::Serialization, "The body of the request broke off.");
            let Ok(piece) = frame.map_err(gone)?.into_data() else { continue };
            if whole.len() + piece.len() > BODY_BYTES {
                return Err(too_large());
            }
            let bytes = u32::try_from(piece.len()).expect("a body that is read has less than 4 GiB");
            let more = Arc::clone(&self.room).try_acquire_many_owned(bytes);
            let more = more.map_err(|_| Refusal::slow_down())?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), room))
    }

    async fn put(&self, line: &Line, put: Put) -> Result<Response, Refusal> {
        let operation = put.operation;
        let answer = self.handle.put(put).await?;
        self.pause(answer.latency).await;
        self.act_out(line, operation, answer).await
    }

    /// Answers as the service says, or as a fault has it.
    async fn act_out(&self, line: &Line, operation: Operation, answer: Answer) -> Result<Response, Refusal> {
        let Answer { result, mode, .. } = answer;
        match mode {
            ResponseMode::Proper => Ok(ok(api::put_output(operation, &result?), AMZ_JSON)),
            ResponseMode::Reset => Ok(reset(line)),
            ResponseMode::Hang => {
                self.stopped().await;
                Ok(reset(line))
            }
            ResponseMode::Html => {
                let page = "<!DOCTYPE html><html><body><h1>Welcome to the guest network</h1></body></html>";
                Ok(ok(page.into(), HTML))
            }
            ResponseMode::Redirect => {
                let location = HeaderValue::from_static("http://127.0.0.1:1/login");
                Ok((StatusCode::FOUND, [(LOCATION, location)]).into_response())
            }
            ResponseMode::Truncated => {
                let mut body = api::put_output(operation, &result?);
                body.truncate(body.len() / 2);
                Ok(ok(body, AMZ_JSON))
            }
            ResponseMode::Short => {
                let mut accepted = result?;
                accepted.verdicts.pop();
                Ok(ok(api::put_output(operation, &accepted), AMZ_JSON))
            }
        }
    }

    /// Waits for the latency, or until the server stops.
    async fn pause(&self, latency: Duration) {
        if !latency.is_zero() {
            let _ = tokio::time::timeout(latency, self.stopped()).await;
        }
    }

    async fn stopped(&self) {
        // An error means that the server is gone: stopped, too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

fn too_large() -> Refusal {
    Refusal::new(Kind::RequestTooLarge, format!("A request of more than {BODY_BYTES} bytes is not read."))
}

/// What the request is for.
fn target(headers: &HeaderMap) -> Result<&str, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = text("content-type").is_some_and(|kind| kind.starts_with("application/x-amz-json-1.1"));
    text("x-amz-target")
        .filter(|_| is_ours)
        .ok_or_else(|| Refusal::new(Kind::UnknownOperation, "Not a request of JSON 1.1 with a target."))
}

async fn stats(State(router): State<Endpoint>) -> Result<Response, Gone> {
    Ok(ok(router.handle.ask(|service, _| json_bytes(&service.report())).await?, JSON))
}

async fn faults(State(router): State<Endpoint>) -> Result<Response, Gone> {
    Ok(ok(router.handle.ask(|service, _| json_bytes(service.current_plan())).await?, JSON))
}

/// Takes another plan; answers with it as it was understood.
async fn plan_faults(State(router): State<Endpoint>, body: Bytes) -> Result<Response, Gone> {
    let plan: Result<FaultPlan, String> = serde_json::from_slice(&body).map_err(|error| error.to_string());
    match plan.and_then(|plan| plan.check().map(|()| plan)) {
        Ok(plan) => {
            let body = json_bytes(&plan);
            router.handle.ask(|service, _| service.plan(plan)).await?;
            Ok(ok(body, JSON))
        }
        Err(fault) => Ok((StatusCode::BAD_REQUEST, fault).into_response()),
    }
}

/// Answers when everything accepted so far is at the destination.
async fn flush(State(router): State<Endpoint>) -> Result<Response, Gone> {
    router.handle.flush().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn ok(body: Vec<u8>, kind: HeaderValue) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.kind.status()).expect("every kind has a valid status");
    let kind = HeaderValue::from_static(refusal.kind.code());
    let mut response = (status, [(CONTENT_TYPE, AMZ_JSON)], api::refusal_output(refusal)).into_response();
    response.headers_mut().insert("x-amzn-ErrorType", kind);
    response
}

/// Nobody gets to see this answer: writing it fails.
fn reset(line: &Line) -> Response {
    line.cut();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

impl From<Gone> for Refusal {
    fn from(_: Gone) -> Self {
        Self::new(Kind::ServiceUnavailable, "The service is shutting down.")
    }
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        refused(&self.into())
    }
}
