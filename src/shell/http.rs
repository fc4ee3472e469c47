//! The health endpoint: what probes, Prometheus and people ask the daemon.
//!
//! Knows sockets, HTTP and the words of the answers. Holds no state of the daemon: it asks for a [`Snapshot`] over
//! a bounded channel, and what has no answer in time is answered with 503. A port that is taken is logged and tried
//! again; shipping does not wait for it.
//!
//! *Invariant:* whatever clients do, it costs a bounded number of connections, bytes and seconds, and the daemon
//! one message each at most.

#![expect(clippy::disallowed_methods, reason = "connections have time limits")]

mod history;
mod metrics;
mod page;
mod readiness;
pub mod snapshot;
pub mod status;
pub mod trouble;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info};

use crate::model::text::plain_json;

pub use self::readiness::{advice, in_one_line};
use self::snapshot::Snapshot;

/// The most connections at once. When one more comes, the oldest is closed: a probe finds room also while somebody
/// holds connections open.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to send the head of a request, also of the next one on its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one connection may live. Scrapers open the next without noticing.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

/// How long the daemon's loop may take to answer before it counts as stuck. A turn takes microseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long until a taken port is tried again.
const BIND_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Questions that may wait for the daemon.
const QUESTIONS: usize = 16;

/// One question to the daemon.
#[derive(Debug)]
pub enum Question {
    /// Asks whether the daemon's loop turns.
    Alive(oneshot::Sender<()>),
    /// Asks for the state of everything at this moment.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
}

/// The side of the questions that asks.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Question>);

/// The two ends of the questions: for the endpoint, and for the daemon.
pub fn handle() -> (Handle, mpsc::Receiver<Question>) {
    let (sender, receiver) = mpsc::channel(QUESTIONS);
    (Handle(sender), receiver)
}

impl Handle {
    /// Whether the daemon's loop turns.
    pub async fn is_alive(&self) -> bool {
        self.ask(Question::Alive).await.is_some()
    }

    /// How everything stands; `None` when the daemon does not say.
    pub async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.ask(Question::Snapshot).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let asked = async {
            self.0.send(question(sender)).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok()?
    }
}

/// Serves health and metrics on `listen` until the future is dropped; a taken port is tried again.
pub async fn serve(listen: SocketAddr, handle: Handle) {
    let listener = bind(listen).await;
    let mut connections = JoinSet::new();
    let (seen, points) = watch::channel(history::Points::default());
    connections.spawn(history::watch(handle.clone(), seen));
    let router = Router { handle, points };
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => oldest_first.retain(|connection| !connection.is_finished()),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    if oldest_first.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(connection(socket, router.clone())));
                }
                // Out of descriptors, most likely: the queue of the socket keeps who waits.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

/// The listening socket, when it can be had.
async fn bind(listen: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                info!(address = %listener.local_addr().unwrap_or(listen), "health endpoint listens");
                return listener;
            }
            Err(error) => {
                if !told {
                    error!(
                        address = %listen, %error,
                        "the health endpoint cannot listen; shipping goes on, and it is tried again. \
                         `health.listen` names another address, or \"off\""
                    );
                }
                told = true;
                tokio::time::sleep(BIND_AGAIN_AFTER).await;
            }
        }
    }
}

/// What every answer is made from.
#[derive(Clone, Debug)]
struct Router {
    handle: Handle,
    points: watch::Receiver<history::Points>,
}

async fn connection(socket: TcpStream, router: Router) {
    // Without it answers are slower, not wrong.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| answer(request, router.clone()));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    // What fails here is the client's: it went away, or spoke no HTTP.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, router: Router) -> Result<Answer, Infallible> {
    let handle = &router.handle;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    let path = request.uri().path();
    if path == "/livez" {
        return Ok(match handle.is_alive().await {
            true => text(StatusCode::OK, "alive\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "stuck: the daemon's loop does not turn\n"),
        });
    }
    match path {
        "/" => {
            let mut page = body(StatusCode::OK, "text/html; charset=utf-8", page::PAGE.to_owned());
            page.headers_mut().insert("content-security-policy", page::policy());
            return Ok(page);
        }
        "/history" => {
            let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse().ok());
            return Ok(json(StatusCode::OK, &router.points.borrow().since(since.unwrap_or(0.0))));
        }
        "/readyz" | "/healthz" | "/status" | "/metrics" => {}
        _ => {
            let there = "not here; there are /, /livez, /readyz, /healthz, /metrics, /status and /history\n";
            return Ok(text(StatusCode::NOT_FOUND, there));
        }
    }
    let Some(snapshot) = handle.snapshot().await else {
        return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "stuck: the daemon's loop does not turn\n"));
    };
    Ok(match path {
        "/metrics" => {
            let open = wants_open_metrics(request.headers().get_all(ACCEPT).iter());
            let (kind, page) = metrics::page(&snapshot, open);
            body(StatusCode::OK, kind, page)
        }
        "/status" => json(StatusCode::OK, &status::Status::of(&snapshot)),
        path => {
            let reasons = readiness::reasons(&snapshot);
            let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            match path {
                "/readyz" => json(code, &status::Ready::of(reasons)),
                _ => json(code, &status::Health::of(&snapshot, reasons)),
            }
        }
    })
}

/// Whether the client prefers OpenMetrics, as Prometheus says it since 2.5.
fn wants_open_metrics<'a>(accept: impl Iterator<Item = &'a HeaderValue>) -> bool {
    accept
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim_start().starts_with("application/openmetrics-text"))
}

fn json<T: serde::Serialize>(code: StatusCode, value: &T) -> Answer {
    let mut page = serde_json::to_string_pretty(value).expect("it has text keys and finite numbers");
    page.push('\n');
    body(code, "application/json", plain_json(page))
}

fn text(code: StatusCode, page: &'static str) -> Answer {
    body(code, "text/plain; charset=utf-8", page.to_owned())
}

fn body(code: StatusCode, kind: &'static str, page: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(page)));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_for_those_who_ask() {
        let asks = |accept: &'static str| wants_open_metrics([HeaderValue::from_static(accept)].iter());
        assert!(asks("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        assert!(asks("text/plain, application/openmetrics-text"));
        assert!(!asks("text/plain;version=0.0.4"));
        assert!(!asks("*/*"));
    }
}
