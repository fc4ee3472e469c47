//! One daemon, as a table of 80 columns.
//!
//! Knows `/status` and which of its rows are wanted. Does not know a terminal.

use std::fmt::Write as _;

use crate::shell::http::status::{File, Place, Status, Stream};
use crate::shell::http::trouble::Trouble;

use super::shown::{bar, byte_rate, bytes, duration, shortened, shown};
use super::wanted::Wanted;

/// Everything that is wanted, the most urgent first.
pub(super) fn table(status: &Status, wanted: &Wanted) -> String {
    let mut out = String::new();
    write_table(&mut out, status, wanted).expect("writing to a string cannot fail");
    out
}

fn write_table(out: &mut String, status: &Status, wanted: &Wanted) -> std::fmt::Result {
    let state = if status.ready { "ready" } else { "NOT READY" };
    writeln!(out, "standpipe {}  up {}  {state}", shown(&status.version), duration(status.uptime_seconds))?;
    let Place { host, config } = &status.summary.place;
    let place =
        [Some(host.as_str()), config.as_deref()].into_iter().flatten().filter(|text| !text.is_empty());
    let place: Vec<_> = place.map(shown).collect();
    if !place.is_empty() {
        writeln!(out, "{}", place.join("  "))?;
    }
    for reason in status.reasons.iter().take(wanted.most()) {
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
    let (streams, more) = wanted.of(&status.streams, |stream| &stream.name);
    for stream in streams {
        write_stream(out, stream, wanted.most())?;
    }
    write_more(out, more)?;
    writeln!(out, "\n{:<36} {:>7} {:>11} {:>9} {:>11}", "SOURCE", "FILES", "LAG", "LATE", "READ")?;
    let (sources, more) = wanted.of(&status.sources, |source| &source.name);
    for source in sources {
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
    write_more(out, more)?;
    write_files(out, &status.files, wanted)?;
    let (unread, more) = wanted.of(&status.unread, |unread| &unread.path);
    if !unread.is_empty() {
        writeln!(out, "\nNOT READ")?;
        for unread in unread {
            writeln!(out, "  {}: {}", shown(&unread.path), shown(&unread.reason))?;
        }
        write_more(out, more + usize::try_from(status.unread_beyond).unwrap_or(usize::MAX / 2))?;
    }
    Ok(())
}

fn write_stream(out: &mut String, stream: &Stream, most: usize) -> std::fmt::Result {
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
    for one in stream.delivery_streams.iter().take(most) {
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
    for stuck in stream.stuck.iter().take(most) {
        let age = duration(stuck.age_seconds);
        writeln!(out, "  stuck for {age}: {} at {}", shortened(&stuck.path, 42), stuck.offset)?;
        writeln!(out, "    {}: {}", shown(&stuck.code), shown(&stuck.message))?;
    }
    for letter in stream.dead_letter_codes.iter().take(most) {
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
fn write_files(out: &mut String, files: &[File], wanted: &Wanted) -> std::fmt::Result {
    writeln!(out, "\n{:<42} {:>14} {:>10} {:>9}", "FILE", "ACKNOWLEDGED", "LAG", "LATE")?;
    let mut files: Vec<&File> = files.iter().filter(|file| wanted.has(&file.path)).collect();
    files.sort_by(|a, b| (b.lag_bytes, &a.path).cmp(&(a.lag_bytes, &b.path)));
    for file in files.iter().take(wanted.most()) {
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
    if let Some(more) = files.len().checked_sub(wanted.most()).filter(|more| *more > 0) {
        writeln!(out, "… and {more} more with less lag")?;
    }
    Ok(())
}

fn write_more(out: &mut String, more: usize) -> std::fmt::Result {
    match more {
        0 => Ok(()),
        more => writeln!(out, "… and {more} more"),
    }
}
