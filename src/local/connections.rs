//! Connections to the service: how many there are, how long each may do what, and how they end.
//!
//! Knows sockets, heads and time. Does not know the API: what comes in by an open door goes to the routes. When there is one
//! connection too many, that one is closed whose last request is the longest ago and answered.
//!
//! *Invariant:* a client that sends half of a head, or no head at all, is gone within `TimeLimits::head`.
#![expect(
    clippy::disallowed_methods,
    reason = "connections have tasks and time limits, and end with the server"
)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::doors::Doors;
use super::limits::TimeLimits;
use super::listener::{Connection, Line};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 1_024;

/// One connection that is open.
#[derive(Debug)]
struct Open {
    task: AbortHandle,
    usage: Arc<Usage>,
}

/// How a connection is used.
#[derive(Debug, Default)]
struct Usage {
    /// When the last request began, in the order of all connections.
    last: AtomicU64,
    /// Requests that are not answered yet.
    under_way: AtomicUsize,
}

/// Serves connections until `stop`, then waits for the requests under way.
pub(super) async fn serve(
    tcp: TcpListener,
    routes: Router,
    doors: Doors,
    limits: TimeLimits,
    mut stop: watch::Receiver<bool>,
) {
    let door = Door { routes: TowerToHyperService::new(routes), doors, limits, clock: Arc::default() };
    let of_connections = stop.clone();
    let mut tasks = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = tasks.join_next() => open.retain(|connection| !connection.task.is_finished()),
            accepted = tcp.accept(), if has_room(&open) => match accepted {
                Ok((socket, _)) => {
                    if open.len() >= MAX_CONNECTIONS {
                        make_room(&mut open);
                    }
                    // Answers are small, and the client waits for them. Without it they are slower, not wrong.
                    let _ = socket.set_nodelay(true);
                    let usage = Arc::<Usage>::default();
                    door.note(&usage);
                    let connection = connection(Connection::new(socket), door.clone(), Arc::clone(&usage), of_connections.clone());
                    open.push(Open { task: tasks.spawn(connection), usage });
                }
                // Out of descriptors, most likely: the queue of the socket keeps who waits.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(tcp);
    while tasks.join_next().await.is_some() {}
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped: stopped, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_idle(connection: &Open) -> bool {
    connection.usage.under_way.load(Ordering::Relaxed) == 0
}

fn has_room(open: &[Open]) -> bool {
    open.len() < MAX_CONNECTIONS || open.iter().any(is_idle)
}

/// Closes the connection without a request under way whose last one is the longest ago.
fn make_room(open: &mut Vec<Open>) {
    let idle = open.iter().enumerate().filter(|(_, connection)| is_idle(connection));
    let longest = idle.min_by_key(|(_, connection)| connection.usage.last.load(Ordering::Relaxed));
    if let Some((place, _)) = longest {
        open.swap_remove(place).task.abort();
    }
}

/// What every connection needs.
#[derive(Clone, Debug)]
struct Door {
    routes: TowerToHyperService<Router>,
    doors: Doors,
    limits: TimeLimits,
    clock: Arc<AtomicU64>,
}

impl Door {
    fn note(&self, usage: &Usage) {
        usage.last.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    async fn answer(&self, mut request: Request<Incoming>, line: Line) -> Response {
        if let Some(why) = self.doors.refusal(&request) {
            return (StatusCode::FORBIDDEN, why).into_response();
        }
        request.extensions_mut().insert(ConnectInfo(line));
        match self.routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

async fn connection(connection: Connection, door: Door, usage: Arc<Usage>, mut stop: watch::Receiver<bool>) {
    let line = connection.line();
    let service = service_fn(|request| {
        door.note(&usage);
        let under_way = UnderWay::begin(&usage);
        let answering = door.answer(request, line.clone());
        async move {
            let answer = answering.await;
            drop(under_way);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(door.limits.head)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(serving);
    // What fails here is the client's: it went away, or spoke no HTTP.
    tokio::select! {
        biased;
        () = stopped(&mut stop) => {}
        _ = &mut serving => return,
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

/// A request that is not answered yet, until this is dropped: also when its client goes away.
#[derive(Debug)]
struct UnderWay<'a>(&'a Usage);

impl<'a> UnderWay<'a> {
    fn begin(usage: &'a Usage) -> Self {
        usage.under_way.fetch_add(1, Ordering::Relaxed);
        Self(usage)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
