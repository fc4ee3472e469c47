//! `/metrics`: every name, its help and where its value comes from, in one table.
//!
//! Knows names. Keeps no counter: the engine counts, and each answer is written from one snapshot, so that values
//! that belong together are of the same moment. prometheus-client writes OpenMetrics, and the classic text format, which
//! older scrapers and `promtool check metrics` read.
//!
//! *Invariant:* labels are names from the configuration, words of ours, and error codes that we list: a path, or the text of
//! a message or an error, is never one, nor is a code that a service made up.

mod daemon;
mod out;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::engine::StreamStatus;
use crate::engine::report::{Loss, OversizeCounts, Rotation, SourceCounts, StreamCounts};
use crate::model::message::Unmerged;
use crate::model::operation::Operation;
use crate::model::verdict::RetryReason;
use crate::shell::firehose;

use self::out::{Labels, Out};
use super::snapshot::{Snapshot, StreamAbout};

pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of `/metrics`: OpenMetrics when `open`, else the classic format.
pub(super) fn page(snapshot: &Arc<Snapshot>, open: bool) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(Arc::clone(snapshot))));
    let mut page = String::new();
    let encode = if open { text::encode } else { prometheus_text::encode };
    encode(&mut page, &registry).expect("writing to a string cannot fail");
    page
}

#[derive(Debug)]
struct Page(Arc<Snapshot>);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = &*self.0;
        let mut out = Out { encoder };
        source_counters(&mut out, snapshot)?;
        source_outcomes(&mut out, snapshot)?;
        source_gauges(&mut out, snapshot)?;
        stream_counters(&mut out, snapshot)?;
        stream_gauges(&mut out, snapshot)?;
        stream_histograms(&mut out, snapshot)?;
        daemon::write(&mut out, snapshot)
    }
}

fn source_counters(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counts = &snapshot.status.counts.sources;
    let each = |value: fn(&SourceCounts) -> u64| -> Vec<(Labels<'_>, u64)> {
        let named = snapshot.about.sources.iter().zip(counts);
        named.map(|(name, counts)| (vec![("source", &**name)], value(counts))).collect()
    };
    out.counter(
        "standpipe_lines_read",
        "Lines of files that were read, each once, also those of which nothing is sent",
        each(|counts| counts.lines_read),
    )?;
    out.counter(
        "standpipe_bytes_read",
        "Bytes of files read, up to the last complete line",
        each(|counts| counts.bytes_read),
    )?;
    out.counter(
        "standpipe_empty_lines_skipped",
        "Empty lines of which append_newline = false leaves nothing to send",
        each(|counts| counts.empty_lines),
    )?;
    out.counter(
        "standpipe_nul_bytes_skipped",
        "NUL bytes at the beginning of files",
        each(|counts| counts.nul_bytes),
    )?;
    out.counter(
        "standpipe_partial_lines_shipped",
        "Last lines that were shipped without a newline of their own",
        each(|counts| counts.partial_lines_shipped),
    )?;
    out.counter(
        "standpipe_dropped_lines",
        "Lines that `keep_lines` and `drop_lines` leave out",
        each(|counts| counts.dropped_lines),
    )?;
    out.counter(
        "standpipe_unparsed_lines",
        "Lines that were shipped as they are, because they are not what `parse` says",
        each(|counts| counts.unparsed_lines),
    )?;
    Ok(())
}

/// Counters of sources that have one more label.
fn source_outcomes(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counts = &snapshot.status.counts.sources;
    let split = |label: &'static str, values: fn(&SourceCounts) -> Vec<(&'static str, u64)>| {
        let named = snapshot.about.sources.iter().zip(counts);
        named
            .flat_map(|(name, counts)| {
                let values = values(counts).into_iter();
                values.map(move |(word, value)| (vec![("source", &**name), (label, word)], value))
            })
            .collect::<Vec<_>>()
    };
    out.counter(
        "standpipe_oversize_lines",
        "Lines longer than max_line_bytes or a record, each once, by what was done",
        split("action", |counts| {
            let OversizeCounts { split, truncated, dead_lettered } = counts.oversize;
            vec![("split", split), ("truncate", truncated), ("dead_letter", dead_lettered)]
        }),
    )?;
    out.counter(
        "standpipe_unmerged_lines",
        "Lines that are JSON objects and were quoted, though merge_json merges such lines, by why",
        split("reason", |counts| {
            Unmerged::ALL.map(|why| (why.label(), of(&counts.unmerged_lines, &why))).into()
        }),
    )?;
    out.counter(
        "standpipe_abandoned_bytes",
        "Bytes that vanished before they could be read, or were cut off: lost",
        split("reason", |counts| {
            Loss::ALL.map(|why| (why.label(), of(&counts.abandoned_bytes, &why))).into()
        }),
    )?;
    out.counter(
        "standpipe_rotations",
        "Files that were renamed, also to names that no source matches, removed (no name is left), truncated, or found as a copy",
        split("kind", |counts| Rotation::ALL.map(|kind| (kind.label(), of(&counts.rotations, &kind))).into()),
    )?;
    Ok(())
}

fn source_gauges(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let lags = snapshot.lags();
    let late = |value: &dyn Fn(&super::snapshot::Lag) -> f64| -> Vec<(Labels<'_>, f64)> {
        let named = snapshot.about.sources.iter().zip(&lags);
        named.map(|(name, lag)| (vec![("source", &**name)], value(lag))).collect()
    };
    out.gauge("standpipe_files_watched", "Files that are followed", late(&|lag| lag.files as f64))?;
    out.gauge(
        "standpipe_lag_bytes",
        "Bytes in files that are not acknowledged",
        late(&|lag| lag.bytes as f64),
    )?;
    out.gauge(
        "standpipe_oldest_unacknowledged_seconds",
        "How long the oldest line that is not acknowledged has been seen to be there",
        late(&|lag| lag.oldest.as_secs_f64()),
    )
}

fn stream_counters(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counts = || snapshot.about.streams.iter().zip(&snapshot.status.counts.streams);
    let each = |value: fn(&StreamCounts) -> u64| -> Vec<(Labels<'_>, u64)> {
        counts().map(|(about, counts)| (vec![("stream", &*about.name)], value(counts))).collect()
    };
    out.counter(
        "standpipe_records_delivered",
        "Records that the service acknowledged",
        each(|counts| counts.records_delivered),
    )?;
    out.counter(
        "standpipe_bytes_delivered",
        "Bytes of acknowledged records, before base64",
        each(|counts| counts.bytes_delivered),
    )?;
    out.counter(
        "standpipe_billed_bytes",
        "Bytes of acknowledged records, each rounded up to 5 KiB as the service bills them",
        each(|counts| counts.billed_bytes),
    )?;
    out.counter(
        "standpipe_encrypted_records",
        "Acknowledged records that the service keeps under server-side encryption, by what it says",
        each(|counts| counts.records_encrypted),
    )?;
    let requests = counts().flat_map(|(about, counts)| {
        counts.requests.iter().map(|((operation, end), count)| {
            let labels =
                vec![("stream", &*about.name), ("operation", label(*operation)), ("outcome", end.label())];
            (labels, *count)
        })
    });
    out.counter("standpipe_requests", "Requests, by how they ended", requests)?;
    let retries = counts().flat_map(|(about, counts)| {
        RetryReason::ALL
            .map(|why| (vec![("stream", &*about.name), ("reason", why.label())], of(&counts.retries, &why)))
    });
    out.counter("standpipe_retries", "Records that were sent again, by why", retries)?;
    out.counter(
        "standpipe_throttled",
        "Requests of which the service throttled a record",
        each(|counts| counts.throttled),
    )?;
    let dead = counts().flat_map(|(about, counts)| {
        let mut dead = BTreeMap::<&str, u64>::new();
        for (code, count) in &counts.dead_letters {
            *dead.entry(firehose::label(code)).or_default() += count;
        }
        dead.into_iter().map(|(code, count)| (vec![("stream", &*about.name), ("reason", code)], count))
    });
    out.counter("standpipe_dead_letters", "Records that the service will never accept, by error code", dead)
}

fn stream_gauges(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let now = |value: fn(&StreamStatus) -> f64| -> Vec<(Labels<'_>, f64)> {
        snapshot.streams().map(|(about, stream)| (vec![("stream", &*about.name)], value(stream))).collect()
    };
    out.gauge("standpipe_in_flight_requests", "Requests under way", now(|stream| stream.in_flight as f64))?;
    out.gauge(
        "standpipe_waiting_records",
        "Records that were read and are in no request",
        now(|stream| stream.waiting as f64),
    )?;
    out.gauge(
        "standpipe_stream_held",
        "1 while the stream's service accepts nothing",
        now(|stream| f64::from(u8::from(stream.held.is_some()))),
    )?;
    out.gauge(
        "standpipe_stuck_records",
        "Records that have failed alone for long, though others pass",
        now(|stream| stream.stuck_records as f64),
    )?;
    out.gauge("standpipe_adaptive_factor", "What throttling left of the rate", now(|stream| stream.factor))?;
    let used = |(about, stream): (&'_ StreamAbout, &'_ StreamStatus)| {
        [("requests", stream.used.requests), ("records", stream.used.records), ("bytes", stream.used.bytes)]
            .map(|(quota, used)| (about.name.to_string(), quota, used))
    };
    let used: Vec<_> = snapshot.streams().flat_map(used).collect();
    out.gauge(
        "standpipe_rate_limit_ratio",
        "Use of each full quota in the last second; of several delivery streams, the fullest one's",
        used.iter().map(|(name, quota, used)| (vec![("stream", &**name), ("quota", *quota)], *used)),
    )?;
    stream_info(out, snapshot)
}

fn stream_info(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let lanes = snapshot.streams().flat_map(|(about, stream)| {
        let used = stream.lanes.iter().filter(|lane| lane.is_used);
        used.map(move |lane| {
            let region = snapshot.regions[lane.lane].as_deref().unwrap_or_default();
            let delivery_stream = &*about.lanes[lane.lane.place].delivery_stream;
            (vec![("stream", &*about.name), ("delivery_stream", delivery_stream), ("region", region)], 1.0)
        })
    });
    out.gauge("standpipe_stream_info", "1, for each delivery stream that a stream's files go to", lanes)
}

fn stream_histograms(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counts = || snapshot.about.streams.iter().zip(&snapshot.status.counts.streams);
    let took = counts().flat_map(|(about, counts)| {
        counts
            .request_took
            .iter()
            .map(|(operation, took)| (vec![("stream", &*about.name), ("operation", label(*operation))], took))
    });
    out.histogram("standpipe_request_seconds", "From sending a request to its end", took)?;
    out.histogram(
        "standpipe_delivery_delay_seconds",
        "From reading a line to its acknowledgement",
        counts().map(|(about, counts)| (vec![("stream", &*about.name)], &counts.delivery_took)),
    )
}

/// What was counted; what never happened is shown as 0, so that its first time is seen as an increase.
fn of<K: Ord>(counts: &BTreeMap<K, u64>, key: &K) -> u64 {
    counts.get(key).copied().unwrap_or(0)
}

const fn label(operation: Operation) -> &'static str {
    match operation {
        Operation::PutRecord => "put_record",
        Operation::PutRecordBatch => "put_record_batch",
    }
}
