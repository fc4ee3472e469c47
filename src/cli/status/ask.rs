//! Asks a daemon how it stands.
//!
//! Whatever answers at the port is believed nothing: it is read to a bounded length within a bounded time.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

/// How long the daemon may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most that an answer may hold, in bytes: more than a hundred thousand files.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub(in crate::cli) enum Failure {
    #[error("--url: {0:?} is not of the form http://HOST:PORT")]
    Url(String),
    #[error(
        "nothing answers at {address}: {source}; is the daemon running, and is this its `health.listen`?"
    )]
    Connect { address: String, source: io::Error },
    #[error(
        "--discover: {name}: {why}; is it the name of a headless service, and is this machine in its network?"
    )]
    Name { name: String, why: String },
    #[error("{address} does not answer like a standpipe daemon: {why}")]
    Answer { address: String, why: String },
    #[error("{address} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{0}")]
    Runtime(#[from] io::Error),
}

/// What the daemon at `address` says of itself, within the time that it has.
pub(super) async fn status(address: &str) -> Result<Bytes, Failure> {
    let asked = tokio::time::timeout(TIMEOUT, ask(address)).await;
    asked.unwrap_or_else(|_| Err(Failure::Timeout { address: address.to_owned() }))
}

/// Host and port of `url`.
pub(super) fn address(url: &str) -> Result<String, Failure> {
    let wrong = || Failure::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if address.is_empty() || address.contains(['@', ' ']) || !path.is_empty() {
        return Err(wrong());
    }
    let port = address.rsplit_once(':').map(|(_, port)| port);
    match port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(port) if port.parse::<u16>().is_ok() => Ok(address.to_owned()),
        Some(_) => Err(wrong()),
        None => Ok(format!("{address}:80")),
    }
}

async fn ask(address: &str) -> Result<Bytes, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Answer { address: address.to_owned(), why: why.to_string() };
    let socket = TcpStream::connect(address)
        .await
        .map_err(|source| Failure::Connect { address: address.to_owned(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| wrong(&error))?;
    let request = Request::get("/status")
        .header(HOST, address)
        .body(Empty::<Bytes>::new())
        .map_err(|error| wrong(&error))?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(|error| wrong(&error))?;
        if !answer.status().is_success() {
            return Err(wrong(&answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Ok(body.map_err(|error| wrong(&error))?.to_bytes())
    };
    // The connection moves the bytes; it ends by itself when the answer is complete.
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_from_a_plain_url_only() {
        let good = [
            ("http://127.0.0.1:9909", "127.0.0.1:9909"),
            ("http://127.0.0.1:9909/", "127.0.0.1:9909"),
            ("http://[::1]:9909", "[::1]:9909"),
            ("http://standpipe", "standpipe:80"),
        ];
        for (url, expected) in good {
            assert_eq!(address(url).expect("it is plain"), expected);
        }
        for url in [
            "https://a:1",
            "127.0.0.1:9909",
            "http://",
            "http://a:1/metrics",
            "http://u@a:1",
            "http://a:99999",
            "http://a:",
        ] {
            assert!(matches!(address(url), Err(Failure::Url(_))), "{url}");
        }
    }
}
