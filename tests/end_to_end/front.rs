//! What may stand between the daemon and the service: a server, a TLS server or a proxy that misbehaves as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The service answers.
    Pass,
    /// The service answers, and then the connection is closed without a word.
    PassAndClose,
    /// This, and nothing of it reaches the service.
    Answer(String),
    /// The service answers; a byte of it comes every 20 ms.
    Dribble,
    /// The service answers; only the head of it comes.
    HangAfterHead,
}

type Rule = Arc<Mutex<Box<dyn FnMut(&str) -> Act + Send>>>;

/// A server before the service, on the level of requests.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    rule: Rule,
    /// With which certificate it answers; `None`: without TLS.
    tls: Arc<Mutex<Option<Arc<ServerConfig>>>>,
    /// Connections that did not begin with a TLS handshake though they should have.
    pub(crate) plain: Arc<AtomicU64>,
    pub(crate) requests: Arc<AtomicU64>,
}

impl Front {
    /// Everything passes, until [`Front::rule`] says otherwise.
    pub(crate) fn before(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Self {
            address: listener.local_addr().unwrap(),
            rule: Arc::new(Mutex::new(Box::new(|_: &str| Act::Pass))),
            tls: Arc::default(),
            plain: Arc::default(),
            requests: Arc::default(),
        };
        let (rule, tls) = (Arc::clone(&front.rule), Arc::clone(&front.tls));
        let (plain, requests) = (Arc::clone(&front.plain), Arc::clone(&front.requests));
        spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (rule, requests) = (Arc::clone(&rule), Arc::clone(&requests));
                let tls = tls.lock().unwrap().clone();
                let plain = Arc::clone(&plain);
                spawn(move || match tls {
                    None => converse(stream, service, &rule, &requests),
                    Some(config) => {
                        let mut first = [0];
                        if stream.peek(&mut first).is_ok_and(|count| count == 1) && first[0] != 0x16 {
                            plain.fetch_add(1, Ordering::SeqCst);
                        }
                        let tls = ServerConnection::new(config).unwrap();
                        converse(StreamOwned::new(tls, stream), service, &rule, &requests);
                    }
                });
            }
        });
        front
    }

    /// What happens with requests from now on; each is handed to it with head and body.
    pub(crate) fn rule(&self, rule: impl FnMut(&str) -> Act + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Speaks TLS with this certificate from the next connection on.
    pub(crate) fn tls(&self, config: ServerConfig) {
        *self.tls.lock().unwrap() = Some(Arc::new(config));
    }
}

/// Answers one connection's requests until somebody ends it.
fn converse<S: Read + Write>(stream: S, service: SocketAddr, rule: &Rule, requests: &AtomicU64) {
    let mut client = BufReader::new(stream);
    let mut upstream = None;
    while let Some(request) = message(&mut client) {
        requests.fetch_add(1, Ordering::SeqCst);
        let act = (rule.lock().unwrap())(&request);
        let answer = match &act {
            Act::Answer(answer) => answer.clone(),
            Act::Pass | Act::PassAndClose | Act::Dribble | Act::HangAfterHead => {
                let server =
                    upstream.get_or_insert_with(|| BufReader::new(TcpStream::connect(service).unwrap()));
                server.get_mut().write_all(request.as_bytes()).unwrap();
                let Some(answer) = message(server) else { return };
                answer
            }
        };
        let client = client.get_mut();
        let head = answer.find("\r\n\r\n").map_or(answer.len(), |end| end + 4);
        let sent = match act {
            Act::Dribble => answer.bytes().try_for_each(|byte| {
                sleep(Duration::from_millis(20));
                client.write_all(&[byte])?;
                client.flush()
            }),
            Act::HangAfterHead => {
                let sent = client.write_all(&answer.as_bytes()[..head]).and_then(|()| client.flush());
                // Until it gives up.
                let _ = client.read(&mut [0]);
                sent
            }
            Act::Pass | Act::PassAndClose | Act::Answer(_) => {
                client.write_all(answer.as_bytes()).and_then(|()| client.flush())
            }
        };
        if sent.is_err() || matches!(act, Act::PassAndClose) {
            return;
        }
    }
}

/// One request or answer, with its body; `None` at the end.
fn message(stream: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    let mut len = 0;
    loop {
        let from = text.len();
        if stream.read_line(&mut text).ok()? == 0 {
            return None;
        }
        let line = &text[from..];
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            len = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    Some(text + std::str::from_utf8(&body).unwrap())
}

/// What a proxy does with who asks it for a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tunnel {
    /// It wants to know who asks.
    Unauthorized,
    /// It hangs up.
    Dead,
    Open,
}

/// A proxy for tunnels.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    tunnel: Arc<Mutex<Tunnel>>,
    pub(crate) asked: Arc<AtomicU64>,
}

impl Proxy {
    /// Whatever it is asked for, its tunnels lead to `target`.
    pub(crate) fn to(target: SocketAddr, tunnel: Tunnel) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tunnel, asked) = (Arc::new(Mutex::new(tunnel)), Arc::<AtomicU64>::default());
        let proxy = Self { address, tunnel: Arc::clone(&tunnel), asked: Arc::clone(&asked) };
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                asked.fetch_add(1, Ordering::SeqCst);
                let tunnel = *tunnel.lock().unwrap();
                spawn(move || serve(client, target, tunnel));
            }
        });
        proxy
    }

    pub(crate) fn is_now(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap() = tunnel;
    }
}

fn serve(mut client: TcpStream, target: SocketAddr, tunnel: Tunnel) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    match tunnel {
        Tunnel::Dead => {}
        Tunnel::Unauthorized => {
            let _ = message(&mut reader);
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
            let _ = client.write_all(answer.as_bytes());
        }
        Tunnel::Open => {
            if message(&mut reader).is_none_or(|request| !request.starts_with("CONNECT ")) {
                return;
            }
            let mut server = TcpStream::connect(target).unwrap();
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            spawn(move || std::io::copy(&mut back, &mut to));
            let _ = std::io::copy(&mut reader, &mut server);
        }
    }
}
