//! `standpipe status`: how a running daemon stands, as a table for people.
//!
//! Knows `/status` and a terminal. Whatever answers at the port is believed nothing: it is read to a bounded length within a
//! bounded time, its numbers are amounts, and its texts cannot steer the terminal.

mod addresses;
mod ask;
mod discover;
mod fleet;
mod shown;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::model::text::plain_json;
use crate::shell::http::status::{File, Place, Status, Stream};
use crate::shell::http::trouble::Trouble;

use super::{DONE, FAILED, runtime};

pub(super) use self::addresses::addresses;
pub(super) use self::ask::Failure;
use self::discover::Name;
pub(super) use self::shown::duration;
use self::shown::{bar, byte_rate, bytes, shortened, shown};

/// How often `--watch` asks.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most entries of a kind in the table; of files the latest ones. `--json` has all.
const MAX_LISTED: usize = 40;

/// Clears the screen and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows how a running daemon stands: streams, lag, files
///
/// Asks the health endpoint of the daemon. Exits 0 when it is ready, 1 when it is not or does not answer. With several
/// --url, or with --discover, each daemon has a row, and delivery streams have the sums.
#[derive(Args, Clone, Debug)]
pub(super) struct StatusArgs {
    /// Configuration file of the daemon, for its `health.listen` [default: /etc/standpipe/standpipe.toml, where it can be read;
    /// else 127.0.0.1:9909 is asked]
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Where the daemon answers, such as http://127.0.0.1:9909; may be given several times
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Asks every daemon behind a name in DNS, such as dns:standpipe.logging.svc or dns:standpipe:9909: that of a headless
    /// service stands for all of its pods. With --watch the name is looked up again each time
    #[arg(long, value_name = "dns:NAME", value_parser = discover::parse, conflicts_with_all = ["url", "config"])]
    discover: Vec<Name>,
    /// Prints what /status says, as JSON; of several daemons an array
    #[arg(long)]
    json: bool,
    /// Asks again each second, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn status(args: &StatusArgs) -> u8 {
    let known = match args.discover.is_empty() {
        true => addresses(args.config.as_ref(), &args.url),
        false => Ok(Vec::new()),
    };
    let addresses = match known {
        Ok(addresses) => addresses,
        Err(code) => return code,
    };
    let shown = runtime().map_err(Failure::from).and_then(|runtime| runtime.block_on(show(args, &addresses)));
    match shown {
        Ok(true) => DONE,
        Ok(false) => FAILED,
        Err(failure) => {
            complain!("{failure}");
            FAILED
        }
    }
}

/// What each daemon says of itself.
///
/// # Errors
/// The first failure of any.
pub(super) fn ask_each(addresses: &[String]) -> Result<Vec<Status>, Failure> {
    let ask = async {
        let mut answers = Vec::with_capacity(addresses.len());
        for address in addresses {
            answers.push(read(address, &ask::status(address).await?)?);
        }
        Ok(answers)
    };
    runtime()?.block_on(ask)
}

/// Returns whether each daemon was ready when last asked.
#[expect(clippy::disallowed_methods, reason = "asks again after a while")]
async fn show(args: &StatusArgs, addresses: &[String]) -> Result<bool, Failure> {
    loop {
        let asked = match addresses {
            [] => discover::addresses(&args.discover).await.map(Some),
            _ => Ok(None),
        };
        let asked = match (asked, addresses) {
            (Ok(None), [address]) => one(args, address).await,
            (Ok(found), several) => Ok(fleet::show(found.as_deref().unwrap_or(several), args.json).await),
            (Err(failure), _) => Err(failure),
        };
        let (text, ready) = match asked {
            Ok(shown) => shown,
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

/// What is shown of one daemon, and whether it is ready.
async fn one(args: &StatusArgs, address: &str) -> Result<(String, bool), Failure> {
    let answer = ask::status(address).await?;
    let status = read(address, &answer)?;
    Ok(match args.json {
        true => (plain_json(String::from_utf8_lossy(&answer).into_owned()), status.ready),
        false => (table(&status), status.ready),
    })
}

fn read(address: &str, answer: &[u8]) -> Result<Status, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Answer { address: address.to_owned(), why: error.to_string() })
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
    let Place { host, config } = &status.summary.place;
    let place =
        [Some(host.as_str()), config.as_deref()].into_iter().flatten().filter(|text| !text.is_empty());
    let place: Vec<_> = place.map(shown).collect();
    if !place.is_empty() {
        writeln!(out, "{}", place.join("  "))?;
    }
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
        shortened(&stream.state.replace('_', " "), 16),
        stream.records_delivered,
        stream.in_flight_requests,
        stream.waiting_records,
    )?;
    if !stream.means.is_empty() {
        writeln!(out, "  {}", shown(&stream.means))?;
    }
    if let Some(advice) = &stream.advice {
        writeln!(out, "    -> {}", shown(advice))?;
    }
    for one in stream.delivery_streams.iter().take(MAX_LISTED) {
        let (name, state) = (shortened(&one.name, 36), shortened(&one.state.replace('_', " "), 16));
        writeln!(out, "  {name}  {state}  {} files, {} in flight", one.files, one.in_flight)?;
    }
    write_rates(out, stream)?;
    if stream.lag_bytes > 0 {
        writeln!(
            out,
            "  {} behind, the oldest line {}",
            bytes(stream.lag_bytes),
            duration(stream.lag_seconds)
        )?;
    }
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
    for letter in stream.dead_letter_codes.iter().take(MAX_LISTED) {
        let message = letter.message.as_deref().map(shown).unwrap_or_default();
        writeln!(out, "    {} {}: {message}", letter.count, shown(&letter.code))?;
    }
    if let Some(Trouble { code, message, advice, age_seconds, .. }) = &stream.last_error {
        writeln!(out, "  last error {} ago: {}: {}", duration(*age_seconds), shown(code), shown(message))?;
        writeln!(out, "    -> {}", shown(advice))?;
    }
    Ok(())
}

/// What left in the last second, of what may leave now, beside the quota.
fn write_rates(out: &mut String, stream: &Stream) -> std::fmt::Result {
    let Stream { rate, limit, quota, .. } = stream;
    let number = |value: f64| format!("{value:.0}");
    let size = |value: f64| byte_rate(value);
    let axes = [
        (
            "requests/s",
            rate.requests,
            limit.requests,
            number(rate.requests),
            number(limit.requests),
            number(quota.requests),
        ),
        (
            "records/s",
            rate.records,
            limit.records,
            number(rate.records),
            number(limit.records),
            number(quota.records),
        ),
        ("bytes/s", rate.bytes, limit.bytes, size(rate.bytes), size(limit.bytes), size(quota.bytes)),
    ];
    for (name, rate, most, now, limit, quota) in axes {
        let part = if most > 0.0 { rate / most } else { 0.0 };
        writeln!(out, "  {name:<11} {now:>9} of {limit:>9}  {} quota {quota}", bar(part, 24))?;
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

#[cfg(test)]
mod tests {
    use super::addresses::{DEFAULT_ADDRESS, reachable};
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_this_machine() {
        for (listen, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.0.0.1:3", "10.0.0.1:3"),
            ("127.0.0.1:9909", DEFAULT_ADDRESS),
        ] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), expected);
        }
    }

    #[test]
    fn sizes_and_durations_have_two_or_three_digits() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (500 << 20, "500 MiB")];
        for (size, expected) in sizes {
            assert_eq!(bytes(size), expected);
        }
        let rates = [(0.0, "0 B"), (999.9, "999 B"), (1e3, "1.0 kB"), (4.5e6, "4.5 MB"), (5e8, "500 MB")];
        for (rate, expected) in rates {
            assert_eq!(byte_rate(rate), expected);
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
