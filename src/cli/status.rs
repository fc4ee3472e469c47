//! `standpipe status`: how a running daemon stands, as a table for people.
//!
//! Knows `/status` and a terminal. Whatever answers at the port is believed nothing: it is read to a bounded length within a
//! bounded time, its numbers are amounts, and its texts cannot steer the terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::model::text::{cut, plain, plain_json};
use crate::shell::http::status::{File, Status, Stream};
use crate::shell::http::trouble::Trouble;

use super::{DONE, FAILED, USAGE, runtime};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often `--watch` asks.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most that an answer may hold, in bytes: more than a hundred thousand files.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The most entries of a kind in the table; of files the latest ones. `--json` has all.
const MAX_LISTED: usize = 40;

/// The most of a text that is shown, in bytes: a daemon keeps less of what a service says.
const MAX_TEXT_BYTES: usize = 4096;

/// Clears the screen and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows how a running daemon stands: streams, lag, files
///
/// Asks the health endpoint of the daemon. Exits 0 when it is ready, 1 when it is not or does not answer.
#[derive(Args, Clone, Debug)]
pub(super) struct StatusArgs {
    /// Where the daemon answers: `health.listen` as a URL
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9909")]
    url: String,
    /// Prints what /status says, as JSON
    #[arg(long)]
    json: bool,
    /// Asks again each second, until interrupted
    #[arg(long)]
    watch: bool,
}

/// Why there is nothing to show.
#[derive(Debug, Error)]
enum Failure {
    #[error("--url: {0:?} is not of the form http://HOST:PORT")]
    Url(String),
    #[error(
        "nothing answers at {address}: {source}; is the daemon running, and is this its `health.listen`?"
    )]
    Connect { address: String, source: io::Error },
    #[error("{address} does not answer like a standpipe daemon: {why}")]
    Answer { address: String, why: String },
    #[error("{address} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{0}")]
    Runtime(#[from] io::Error),
}

pub(super) fn status(args: &StatusArgs) -> u8 {
    let shown = runtime().map_err(Failure::from).and_then(|runtime| runtime.block_on(show(args)));
    match shown {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(failure) => {
            complain!("{failure}");
            if matches!(failure, Failure::Url(_)) { USAGE } else { FAILED }
        }
    }
}

/// Returns whether the daemon was ready when last asked.
#[expect(clippy::disallowed_methods, reason = "asks again after a while")]
async fn show(args: &StatusArgs) -> Result<bool, Failure> {
    let address = address(&args.url)?;
    loop {
        let asked = tokio::time::timeout(TIMEOUT, ask(&address)).await;
        let answer = asked.unwrap_or_else(|_| Err(Failure::Timeout { address: address.clone() }));
        let (text, ready) = match answer {
            Ok(answer) => {
                let status: Status = serde_json::from_slice(&answer)
                    .map_err(|error| Failure::Answer { address: address.clone(), why: error.to_string() })?;
                match args.json {
                    true => (plain_json(String::from_utf8_lossy(&answer).into_owned()), status.ready),
                    false => (table(&status), status.ready),
                }
            }
            // A daemon that restarts comes back.
            Err(failure) if args.watch => (format!("standpipe: {failure}\n"), false),
            Err(failure) => return Err(failure),
        };
        let mut out = io::stdout();
        let clear = if args.watch && out.is_terminal() { CLEAR } else { "" };
        let written = out.write_all(format!("{clear}{text}").as_bytes()).and_then(|()| out.flush());
        if !args.watch || written.is_err() {
            return Ok(ready);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Host and port of `url`.
fn address(url: &str) -> Result<String, Failure> {
    let wrong = || Failure::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if address.is_empty() || address.contains(['@', ' ']) || !path.is_empty() {
        return Err(wrong());
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { address.to_owned() } else { format!("{address}:80") })
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

/// Everything on one page of 80 columns.
fn table(status: &Status) -> String {
    let mut out = String::new();
    write_table(&mut out, status).expect("writing to a string cannot fail");
    out
}

fn write_table(out: &mut String, status: &Status) -> std::fmt::Result {
    let state = if status.ready { "ready" } else { "NOT READY" };
    writeln!(out, "standpipe {}  up {}  {state}", shown(&status.version), duration(status.uptime_seconds))?;
    for reason in status.reasons.iter().take(MAX_LISTED) {
        let stream =
            reason.stream.as_deref().map(|stream| format!("{}: ", shown(stream))).unwrap_or_default();
        writeln!(out, "  ! {stream}{}", shown(&reason.message))?;
        writeln!(out, "    -> {}", shown(&reason.advice))?;
    }
    if status.checkpoint.failures > 0 || status.checkpoint.age_seconds >= 5.0 {
        let checkpoint = &status.checkpoint;
        writeln!(
            out,
            "  state last complete {} ago, {} failed saves",
            duration(checkpoint.age_seconds),
            checkpoint.failures
        )?;
    }
    for stream in status.streams.iter().take(MAX_LISTED) {
        write_stream(out, stream)?;
    }
    write_more(out, status.streams.len())?;
    writeln!(out, "\n{:<36} {:>7} {:>11} {:>9} {:>11}", "SOURCE", "FILES", "LAG", "LATE", "READ")?;
    for source in status.sources.iter().take(MAX_LISTED) {
        writeln!(
            out,
            "{:<36} {:>7} {:>11} {:>9} {:>11}",
            shortened(&source.name, 36),
            source.files,
            bytes(source.lag_bytes),
            duration(source.lag_seconds),
            bytes(source.bytes_read),
        )?;
        if source.abandoned_bytes > 0 {
            writeln!(out, "  ! {} vanished before they could be read", bytes(source.abandoned_bytes))?;
        }
    }
    write_more(out, status.sources.len())?;
    write_files(out, &status.files)?;
    if !status.unread.is_empty() {
        writeln!(out, "\nNOT READ")?;
        for unread in status.unread.iter().take(MAX_LISTED) {
            writeln!(out, "  {}: {}", shown(&unread.path), shown(&unread.reason))?;
        }
        write_more(
            out,
            status.unread.len() + usize::try_from(status.unread_beyond).unwrap_or(usize::MAX / 2),
        )?;
    }
    Ok(())
}

fn write_stream(out: &mut String, stream: &Stream) -> std::fmt::Result {
    writeln!(
        out,
        "\nSTREAM {}  {}  {} delivered, {} in flight, {} waiting",
        shown(&stream.name),
        shortened(&stream.state, 16),
        stream.records_delivered,
        stream.in_flight_requests,
        stream.waiting_records,
    )?;
    let axes = [
        ("requests/s", stream.rate.requests, stream.quota.requests, stream.used.requests),
        ("records/s", stream.rate.records, stream.quota.records, stream.used.records),
    ];
    for (name, rate, quota, used) in axes {
        writeln!(out, "  {name:<11} {:>10.0} of {:>10.0}  {}", rate, quota, bar(used, 30))?;
    }
    writeln!(
        out,
        "  {:<11} {:>10} of {:>10}  {}",
        "bytes/s",
        bytes(stream.rate.bytes as u64),
        bytes(stream.quota.bytes as u64),
        bar(stream.used.bytes, 30)
    )?;
    if stream.adaptive_factor < 1.0 {
        writeln!(out, "  slowed to {:.0} % after throttling", stream.adaptive_factor * 100.0)?;
    }
    if stream.throttled > 0 || stream.dead_letters > 0 {
        let dead = stream.dead_letters;
        writeln!(out, "  {} requests throttled, {dead} dead letters", stream.throttled)?;
    }
    for stuck in stream.stuck.iter().take(MAX_LISTED) {
        let age = duration(stuck.age_seconds);
        writeln!(out, "  stuck for {age}: {} at {}", shortened(&stuck.path, 42), stuck.offset)?;
        writeln!(out, "    {}: {}", shown(&stuck.code), shown(&stuck.message))?;
    }
    if let Some(advice) = &stream.advice {
        writeln!(out, "  {}", shown(advice))?;
    }
    if let Some(Trouble { code, message, advice, age_seconds, .. }) = &stream.last_error {
        writeln!(out, "  last error {} ago: {}: {}", duration(*age_seconds), shown(code), shown(message))?;
        writeln!(out, "    -> {}", shown(advice))?;
    }
    Ok(())
}

/// The files that are latest, with how much of each is acknowledged.
fn write_files(out: &mut String, files: &[File]) -> std::fmt::Result {
    writeln!(out, "\n{:<42} {:>14} {:>10} {:>9}", "FILE", "ACKNOWLEDGED", "LAG", "LATE")?;
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by(|a, b| (b.lag_bytes, &a.path).cmp(&(a.lag_bytes, &b.path)));
    for file in files.iter().take(MAX_LISTED) {
        let part = if file.size == 0 { 1.0 } else { file.acknowledged as f64 / file.size as f64 };
        writeln!(
            out,
            "{:<42} {} {:>3.0}% {:>10} {:>9}{}",
            shortened(&file.path, 42),
            bar(part, 9),
            (part * 100.0).floor().min(100.0),
            bytes(file.lag_bytes),
            duration(file.lag_seconds),
            if file.state == "followed" {
                String::new()
            } else {
                format!("  {}", shortened(&file.state, 16))
            },
        )?;
    }
    if let Some(more) = files.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        writeln!(out, "… and {more} more with less lag")?;
    }
    Ok(())
}

/// How many of `count` are not in the table.
fn write_more(out: &mut String, count: usize) -> std::fmt::Result {
    match count.checked_sub(MAX_LISTED) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "… and {more} more"),
    }
}

fn bar(part: f64, width: usize) -> String {
    let filled = (part.clamp(0.0, 1.0) * width as f64).floor() as usize;
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}

/// In binary units, three digits.
fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// The two largest units.
fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 if seconds < 0.0005 => "-".to_owned(),
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// A text of whoever answers, in one line of bounded length.
fn shown(text: &str) -> String {
    plain(&*cut(text, MAX_TEXT_BYTES))
}

/// At most `width` characters: the end of a path says more than its beginning.
fn shortened(text: &str, width: usize) -> String {
    let text = shown(text);
    let long = text.chars().count();
    match long > width {
        true => format!("…{}", text.chars().skip(long - width + 1).collect::<String>()),
        false => text,
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
        for url in ["https://a:1", "127.0.0.1:9909", "http://", "http://a:1/metrics", "http://u@a:1"] {
            assert!(matches!(address(url), Err(Failure::Url(_))), "{url}");
        }
    }

    #[test]
    fn sizes_and_durations_have_two_or_three_digits() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (500 << 20, "500 MiB")];
        for (size, expected) in sizes {
            assert_eq!(bytes(size), expected);
        }
        let times =
            [(0.0, "-"), (0.25, "0.2 s"), (59.9, "59 s"), (600.0, "10 min"), (7200.0, "2 h"), (2e6, "23 d")];
        for (time, expected) in times {
            assert_eq!(duration(time), expected);
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal_and_a_long_one_keeps_its_end() {
        assert_eq!(shortened("a\x1b[2Jb\n", 20), r"a\u{1b}[2Jb\n");
        assert_eq!(shortened("/var/log/app/a.log", 10), "…app/a.log");
        assert_eq!(shortened("/a", 10), "/a");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0.999, 4), "███░");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(7.0, 4), "████");
    }
}
