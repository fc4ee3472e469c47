//! The health endpoint: what probes, Prometheus and people ask the daemon.
//!
//! Knows HTTP and the words of the answers. Holds no state of the daemon: it asks for a [`Snapshot`] over
//! a bounded channel, and what has no answer in time is answered with 503. A port that is taken is logged and tried
//! again; shipping does not wait for it.
//!
//! *Invariant:* whatever clients do, it costs a bounded number of connections, bytes and seconds, and the daemon
//! one message each at most; an answer that holds everything is written once a snapshot, and shared by all who ask.

#![expect(clippy::disallowed_methods, reason = "connections have time limits")]

mod connections;
pub mod events;
mod history;
mod hosts;
mod metrics;
mod page;
mod pieces;
mod readiness;
pub mod snapshot;
mod state;
pub mod status;
pub mod trouble;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::engine::Detail;
use crate::model::text::{plain_json, plain_path};

use self::hosts::Hosts;
use self::pieces::Pieces;
pub use self::readiness::{advice, in_one_line};
use self::snapshot::{Counted, Page, Snapshot};
use self::status::{Files, Place, Query};

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
    /// Asks for the state of everything at this moment, with so much of it.
    Snapshot(Detail, oneshot::Sender<Arc<Snapshot>>),
    /// Asks for what has been counted.
    Counted(oneshot::Sender<Counted>),
}

/// So many files are written at once: it takes some milliseconds.
const MAX_WRITTEN_AT_ONCE: usize = 1_000;

/// How many threads write answers that name more files, at the most.
const MAX_WRITERS: usize = 2;

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
    pub async fn snapshot(&self, detail: Detail) -> Option<Arc<Snapshot>> {
        self.ask(|asker| Question::Snapshot(detail, asker)).await
    }

    /// What has been counted; `None` when the daemon does not say.
    pub async fn counted(&self) -> Option<Counted> {
        self.ask(Question::Counted).await
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

/// Serves health and metrics on `listen` until the future is dropped; a taken port is tried again. Where nobody but this
/// machine can ask, it is asked by an address, as `localhost`, or by one of `names`, in small letters.
pub async fn serve(listen: SocketAddr, names: Vec<String>, handle: Handle, config: Option<PathBuf>) {
    let listener = bind(listen).await;
    let mut tasks = JoinSet::new();
    let (seen, points) = watch::channel(history::Points::default());
    tasks.spawn(history::watch(handle.clone(), seen));
    let hosts = if listen.ip().is_loopback() { Hosts::Own(names) } else { Hosts::All };
    let place = Place {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        config: config.as_deref().map(plain_path),
    };
    let writers = Arc::new(Semaphore::new(MAX_WRITERS));
    let router = Router { handle, points, hosts: Arc::new(hosts), place: Arc::new(place), writers };
    connections::serve(listener, tasks, move |request| answer(request, router.clone())).await;
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
    hosts: Arc<Hosts>,
    place: Arc<Place>,
    /// Turns of those who write on threads of their own.
    writers: Arc<Semaphore>,
}

type Answer = Response<Pieces>;

async fn answer(request: Request<Incoming>, router: Router) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if !router.hosts.allow(&request) {
        let why = "asked by a name that is not this endpoint's: use an address, localhost, or a name of `health.hosts`\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    match request.uri().path() {
        "/livez" => match router.handle.is_alive().await {
            true => text(StatusCode::OK, "alive\n"),
            false => stuck(),
        },
        "/" => {
            let document = Bytes::from_static(page::PAGE.as_bytes());
            let mut page = body(StatusCode::OK, "text/html; charset=utf-8", document);
            page.headers_mut().insert("content-security-policy", page::policy());
            page
        }
        "/icon.svg" => body(StatusCode::OK, "image/svg+xml", Bytes::from_static(page::ICON.as_bytes())),
        "/history" => {
            let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse().ok());
            body(StatusCode::OK, JSON, router.points.borrow().since(since.unwrap_or(0.0)))
        }
        "/metrics" => match wants_open_metrics(request.headers().get_all(ACCEPT).iter()) {
            true => of_snapshot(&router, Page::OpenMetrics).await,
            false => of_snapshot(&router, Page::Metrics).await,
        },
        "/status" => match request.uri().query() {
            Some("files=0") => of_snapshot(&router, Page::Brief).await,
            _ => of_snapshot(&router, Page::Status).await,
        },
        "/files" => {
            let query = Query::of(request.uri().query().unwrap_or_default());
            let Some(snapshot) = router.handle.snapshot(Detail::Files).await else { return stuck() };
            let files = snapshot.status.files.count();
            write(&router, files, move || Bytes::from(json(&Files::of(&snapshot, &query)))).await
        }
        "/config" => {
            let Some(snapshot) = router.handle.snapshot(Detail::Sums).await else { return stuck() };
            let effective = snapshot.about.config.effective.as_bytes().to_vec();
            body(StatusCode::OK, TEXT, Bytes::from(effective))
        }
        "/readyz" => of_snapshot(&router, Page::Ready).await,
        "/healthz" => of_snapshot(&router, Page::Health).await,
        _ => {
            let there = "not here; there are /, /livez, /readyz, /healthz, /metrics, /status, /files, /history and /config\n";
            text(StatusCode::NOT_FOUND, there)
        }
    }
}

/// What is made from a snapshot, by whoever asks first.
async fn of_snapshot(router: &Router, page: Page) -> Answer {
    let detail = if page == Page::Status { Detail::Files } else { Detail::Sums };
    let Some(snapshot) = router.handle.snapshot(detail).await else { return stuck() };
    let reasons = || readiness::reasons(&snapshot);
    let written = |write: &dyn Fn() -> String| snapshot.written.page(page, write);
    let by_readiness = |page: Bytes| {
        let code = if reasons().is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        body(code, JSON, page)
    };
    match page {
        Page::Metrics => body(StatusCode::OK, metrics::CLASSIC, written(&|| metrics::page(&snapshot, false))),
        Page::OpenMetrics => body(StatusCode::OK, metrics::OPEN, written(&|| metrics::page(&snapshot, true))),
        Page::Status | Page::Brief => {
            let (place, files) = (Arc::clone(&router.place), snapshot.status.files.listed.len());
            let status = move || {
                let status = || json(&status::Status::of(&snapshot, &place, detail));
                snapshot.written.page(page, status)
            };
            write(router, files, status).await
        }
        Page::Ready => by_readiness(written(&|| json(&status::Ready::of(reasons())))),
        Page::Health => by_readiness(written(&|| json(&status::Health::of(&snapshot, reasons())))),
    }
}

/// Writes an answer that names so many files: on a thread of its own where they are many, since what writes a hundred thousand
/// rows keeps the daemon's loop from turning.
async fn write(router: &Router, files: usize, write: impl FnOnce() -> Bytes + Send + 'static) -> Answer {
    if files <= MAX_WRITTEN_AT_ONCE {
        return body(StatusCode::OK, JSON, write());
    }
    let Ok(turn) = Arc::clone(&router.writers).acquire_owned().await else { return stuck() };
    let written = tokio::task::spawn_blocking(move || {
        let page = write();
        drop(turn);
        page
    });
    match written.await {
        Ok(page) => body(StatusCode::OK, JSON, page),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Everything ends.
        Err(_) => stuck(),
    }
}

fn stuck() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "stuck: the daemon's loop does not turn\n")
}

/// Whether the client prefers OpenMetrics, as Prometheus says it since 2.5.
fn wants_open_metrics<'a>(accept: impl Iterator<Item = &'a HeaderValue>) -> bool {
    accept
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim_start().starts_with("application/openmetrics-text"))
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

fn json<T: serde::Serialize>(value: &T) -> String {
    let mut page = serde_json::to_string_pretty(value).expect("it has text keys and finite numbers");
    page.push('\n');
    plain_json(page)
}

fn text(code: StatusCode, page: &'static str) -> Answer {
    body(code, TEXT, Bytes::from_static(page.as_bytes()))
}

fn body(code: StatusCode, kind: &'static str, page: impl Into<Pieces>) -> Answer {
    let mut answer = Response::new(page.into());
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
