//! Connections to the endpoint: how many there are, and how long each may do what.
//!
//! Knows sockets and time. Does not know requests: each is handed on. When there is one connection too many, that one is
//! closed whose last request is the longest ago, which is also that of whoever never asked: a probe finds room while
//! somebody holds connections open.
//!
//! *Invariant:* whatever a client does or leaves undone, its connection ends within [`Limits::whole`].

#![expect(clippy::disallowed_methods, reason = "connections have time limits")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::pieces::{Pieces, Unread};

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;

/// The most bytes of different answers that connections hold which do not read theirs, unless it is one alone.
const MAX_UNREAD_BYTES: usize = 32 * 1024 * 1024;

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

/// How long a connection may do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long a client may take to send the head of a request, also of the next one: a connection without a request is
    /// closed after so long.
    pub(super) head: Duration,
    /// How long after a request the next one has to begin, whatever is under way: the time in which an answer is to be taken.
    pub(super) answer: Duration,
    /// How long one connection may live. Scrapers open the next without noticing.
    pub(super) whole: Duration,
}

/// The limits that hold.
pub(super) const LIMITS: Limits = Limits {
    head: Duration::from_secs(30),
    answer: Duration::from_secs(60),
    whole: Duration::from_secs(300),
};

/// One connection that is open.
#[derive(Debug)]
struct Open {
    task: AbortHandle,
    asked: Asked,
}

/// When a connection was last asked something, in the order of all connections.
#[derive(Clone, Debug)]
struct Asked {
    clock: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    /// The large answer that is being written.
    unread: Unread,
    /// Told of each large answer.
    answered: Arc<Notify>,
}

impl Asked {
    /// A connection that is as good as asked now, so that it finds the time to.
    fn new(clock: &Arc<AtomicU64>, answered: &Arc<Notify>) -> Self {
        let (clock, answered) = (Arc::clone(clock), Arc::clone(answered));
        let asked = Self { clock, last: Arc::default(), unread: Unread::default(), answered };
        asked.note();
        asked
    }

    fn note(&self) {
        self.last.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    fn note_answer(&self, answer: Response<Pieces>) -> Response<Pieces> {
        let (parts, pieces) = answer.into_parts();
        let (pieces, is_large) = pieces.noted(&self.unread);
        if is_large {
            self.answered.notify_one();
        }
        Response::from_parts(parts, pieces)
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// Takes connections from `listener` for ever, beside `tasks` that go on with them, and has `answer` answer each request.
pub(super) async fn serve<A, F>(listener: TcpListener, mut tasks: JoinSet<()>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Pieces>> + Send + 'static,
{
    let (clock, answered) = (Arc::<AtomicU64>::default(), Arc::<Notify>::default());
    let mut open: Vec<Open> = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = tasks.join_next() => open.retain(|connection| !connection.task.is_finished()),
            () = answered.notified() => close_slow(&mut open),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    if open.len() >= MAX_CONNECTIONS {
                        make_room(&mut open);
                    }
                    let asked = Asked::new(&clock, &answered);
                    let task = tasks.spawn(connection(socket, LIMITS, asked.clone(), answer.clone()));
                    open.push(Open { task, asked });
                }
                // Out of descriptors, most likely: the queue of the socket keeps who waits.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

/// Closes the connection whose last request is the longest ago.
fn make_room(open: &mut Vec<Open>) {
    let longest = open.iter().enumerate().min_by_key(|(_, connection)| connection.asked.last());
    if let Some((place, _)) = longest {
        open.swap_remove(place).task.abort();
    }
}

/// Closes those who do not read what is no longer new, the oldest answer first, until the others hold little enough.
fn close_slow(open: &mut Vec<Open>) {
    // By its place, each answer that is held: how large it is, and when it was last asked for.
    let mut held = BTreeMap::<usize, (usize, u64)>::new();
    for connection in &*open {
        if let Some((place, len)) = connection.asked.unread.page() {
            let (_, last) = held.entry(place).or_insert((len, 0));
            *last = connection.asked.last().max(*last);
        }
    }
    let mut bytes: usize = held.values().map(|(len, _)| len).sum();
    while bytes > MAX_UNREAD_BYTES && held.len() > 1 {
        let oldest = held.iter().min_by_key(|(_, (_, last))| *last).map(|(place, (len, _))| (*place, *len));
        let Some((oldest, len)) = oldest else { return };
        held.remove(&oldest);
        bytes -= len;
        open.retain(|connection| {
            let is_slow = connection.asked.unread.page().is_some_and(|(place, _)| place == oldest);
            if is_slow {
                connection.task.abort();
            }
            !is_slow
        });
    }
}

async fn connection<A, F>(socket: TcpStream, limits: Limits, asked: Asked, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Pieces>> + Send + 'static,
{
    // Without it answers are slower, not wrong.
    let _ = socket.set_nodelay(true);
    let of_service = asked.clone();
    let service = service_fn(move |request| {
        of_service.note();
        let (answering, asked) = (answer(request), of_service.clone());
        async move { Ok::<_, Infallible>(asked.note_answer(answering.await)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let in_time = async {
        tokio::pin!(serving);
        loop {
            let before = asked.last();
            // What fails here is the client's: it went away, or spoke no HTTP.
            let ended = tokio::time::timeout(limits.answer, &mut serving).await;
            if ended.is_ok() || asked.last() == before {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(limits.whole, in_time).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use bytes::Bytes;

    use super::*;

    /// Limits of which one is short and the others are as good as none.
    fn only(change: impl FnOnce(&mut Limits)) -> Limits {
        let hour = Duration::from_secs(3600);
        let mut limits = Limits { head: hour, answer: hour, whole: hour };
        change(&mut limits);
        limits
    }

    /// Serves one connection, on which a client sends `said` and then neither says nor reads anything more; ends when the
    /// server has closed it.
    async fn stalled(limits: Limits, said: &'static str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(said.as_bytes()).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let large = Bytes::from(vec![b'x'; 64 * 1024 * 1024]);
        let answer = move |_| {
            let large = large.clone();
            async move { Response::new(Pieces::from(large)) }
        };
        connection(socket, limits, Asked::new(&Arc::default(), &Arc::default()), answer).await;
        // Closed with or without what did not fit into the buffers of the kernel.
        let _ = client.read_to_end(&mut Vec::new());
    }

    #[tokio::test]
    async fn each_way_to_hold_a_connection_has_its_end() {
        let short = Duration::from_millis(50);
        let get = "GET / HTTP/1.1\r\nHost: localhost\r\n";
        let ways = [
            ("nothing is said", only(|limits| limits.head = short), String::new()),
            ("half a head", only(|limits| limits.head = short), get.to_owned()),
            ("an answer that is not read", only(|limits| limits.answer = short), format!("{get}\r\n")),
            (
                "a body that does not come",
                only(|limits| limits.answer = short),
                format!("{get}Content-Length: 9\r\n\r\n"),
            ),
            ("anything", only(|limits| limits.whole = short), format!("{get}\r\n")),
        ];
        let count = ways.len();
        for (what, limits, said) in ways {
            let ended = tokio::time::timeout(Duration::from_secs(60), stalled(limits, said.leak())).await;
            assert!(ended.is_ok(), "{what}: the connection stays open");
        }
        eprintln!("{count} ways to hold a connection");
    }

    #[tokio::test]
    async fn room_is_made_by_the_connection_whose_last_request_is_the_longest_ago() {
        let clock = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        let mut open: Vec<_> = (0..4)
            .map(|_| Open {
                task: tasks.spawn(std::future::pending::<()>()),
                asked: Asked::new(&clock, &Arc::default()),
            })
            .collect();
        let asked: Vec<_> = open.iter().map(|connection| connection.asked.clone()).collect();
        // The first that came is asked again; so is the third.
        asked[0].note();
        asked[2].note();
        let mut closed = Vec::new();
        while !open.is_empty() {
            make_room(&mut open);
            let left: Vec<_> = open.iter().map(|connection| connection.asked.last()).collect();
            closed.extend(
                (0..4)
                    .filter(|place| !left.contains(&asked[*place].last()) && !closed.contains(place))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(closed, [1, 3, 0, 2]);
    }

    #[tokio::test]
    async fn who_does_not_read_an_old_answer_is_closed_before_many_are_held() {
        let (clock, mut tasks) = (Arc::<AtomicU64>::default(), JoinSet::new());
        let page = || Pieces::from(Bytes::from(vec![0; MAX_UNREAD_BYTES / 3]));
        let (mut open, mut bodies) = (Vec::new(), Vec::new());
        let mut read = |page: &Pieces, open: &mut Vec<Open>| {
            let asked = Asked::new(&clock, &Arc::default());
            let (body, is_large) = page.shared().noted(&asked.unread);
            assert!(is_large);
            bodies.push(body);
            open.push(Open { task: tasks.spawn(std::future::pending::<()>()), asked });
            close_slow(open);
        };
        let pages: Vec<_> = (0..4).map(|_| page()).collect();
        for page in &pages[..3] {
            read(page, &mut open);
            read(page, &mut open);
        }
        assert_eq!(open.len(), 6, "as much as may be held, by however many");
        // The first of those with the oldest page asks again.
        open[0].asked.note();
        read(&pages[3], &mut open);
        let places: Vec<_> = open.iter().filter_map(|connection| connection.asked.unread.page()).collect();
        assert_eq!(open.len(), 5, "those with the second page are gone: {places:?}");
        assert!(!places.contains(&pages[1].place()), "{places:?}");
        drop(bodies);
        close_slow(&mut open);
        assert!(open.iter().all(|connection| connection.asked.unread.page().is_none()));
        assert_eq!(open.len(), 5, "who has read stays");
    }
}
