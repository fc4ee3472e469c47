//! The configuration as typed: which keys there are, and what each may hold by itself.
//!
//! Knows ranges and spellings; does not know defaults, nor how values stand to one another: that is judged in
//! `build`, when everything has been read.

mod aws;
mod health;
mod include;
mod json;
mod multiline;
mod routing;
mod spread;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use self::aws::AwsTable;
use self::aws::{region, role_arn};
pub(super) use self::health::HealthTable;
pub(super) use self::include::IncludeGlob;
pub use self::include::{Contents, Included};
pub(super) use self::json::JsonTable;
pub(super) use self::multiline::MultilineTable;
pub(super) use self::routing::RoutingTable;
pub(super) use self::spread::{Entry, SpreadTable};
use super::LogFormat;
use super::audit::AuditTable;
use super::fault::{Faults, Place};
use super::walk::{Section, Typed, Walk};
use crate::model::limits::RECORD_BYTES;
use crate::model::route::is_stream_name;
use crate::model::settings::{Api, Compression, Oversize, Runtime, StartAt, StartPattern};
use crate::rules::pattern::{ExcludeGlob, Pattern};

/// The least that one file may buffer: the largest record twice, so that one can be read while one is under way.
const MIN_BUFFER: u64 = 2 * 1024 * 1024;
const _: () = assert!(MIN_BUFFER >= 2 * RECORD_BYTES as u64, "the largest record fits twice");

/// Far above what a machine has or a stream takes; keeps sums of sizes below 2^64.
const MAX_BYTES: u64 = 1 << 40;
/// Above, a line waits in its file longer than a rotator may leave it there.
const MAX_PACK_DELAY: Duration = Duration::from_secs(60);
/// Above, a request has long been as large as the quota lets it be, or there is next to nothing to send.
const MAX_LINGER: Duration = Duration::from_secs(1);
/// Below, a truncated line says nothing.
const MIN_LINE_BYTES: u64 = 16;
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;
/// Older files are of another machine.
const MAX_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A whole file. `None` is absent or a fault that has been reported.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) state_dir: Option<Typed<PathBuf>>,
    pub(super) aws: AwsTable,
    pub(super) sources: Vec<SourceTable>,
    pub(super) streams: Vec<StreamTable>,
    pub(super) health: HealthTable,
    pub(super) log: LogTable,
    pub(super) checkpoint_interval: Option<Typed<Duration>>,
    pub(super) checkpoint_max_bytes: Option<Typed<u64>>,
    pub(super) memory: MemoryTable,
    pub(super) shutdown_timeout: Option<Typed<Duration>>,
    pub(super) ship_partial_lines: Option<Typed<bool>>,
    pub(super) reload_on_change: Option<Typed<bool>>,
    pub(super) include: Option<Vec<Typed<IncludeGlob>>>,
    /// What was read for that.
    pub(super) included: Included,
    /// Where the file as a whole is; `None` when there is no file.
    pub(super) file: Option<Place>,
}

#[derive(Debug, Default)]
pub(super) struct LogTable {
    pub(super) format: Option<Typed<LogFormat>>,
    pub(super) level: Option<Typed<&'static str>>,
}

#[derive(Debug, Default)]
pub(super) struct MemoryTable {
    pub(super) buffer: Option<Typed<u64>>,
    pub(super) buffer_per_file: Option<Typed<u64>>,
    pub(super) max_watches: Option<Typed<u32>>,
}

#[derive(Debug)]
pub(super) struct SourceTable {
    pub(super) name: Option<Typed<String>>,
    pub(super) paths: Option<Vec<Typed<Pattern>>>,
    pub(super) files: FilesTable,
    pub(super) stream: Option<Typed<String>>,
    pub(super) routing: RoutingTable,
    pub(super) append_newline: Option<Typed<bool>>,
    pub(super) json: JsonTable,
    pub(super) max_line_bytes: Option<Typed<u64>>,
    pub(super) oversize: Option<Typed<Oversize>>,
    pub(super) parse: Option<Typed<Option<Runtime>>>,
    pub(super) multiline: MultilineTable,
    pub(super) keep_lines: Option<Vec<Typed<StartPattern>>>,
    pub(super) drop_lines: Option<Vec<Typed<StartPattern>>>,
}

/// Which of the files that `paths` match are read, from where, and until when: keys of a source.
#[derive(Debug, Default)]
pub(super) struct FilesTable {
    pub(super) exclude: Option<Vec<Typed<ExcludeGlob>>>,
    pub(super) rotated: Option<Vec<Typed<Pattern>>>,
    pub(super) start_at: Option<Typed<StartAt>>,
    pub(super) ignore_older: Option<Typed<Duration>>,
    pub(super) follow_symlinks: Option<Typed<bool>>,
    pub(super) link_targets: Option<Vec<Typed<PathBuf>>>,
    pub(super) close_removed_after: Option<Typed<Duration>>,
}

#[derive(Debug)]
pub(super) struct StreamTable {
    pub(super) name: Typed<String>,
    pub(super) spread: SpreadTable,
    pub(super) region: Option<Typed<String>>,
    pub(super) role_arn: Option<Typed<String>>,
    pub(super) endpoint_url: Option<Typed<String>>,
    pub(super) api: Option<Typed<Api>>,
    pub(super) linger: Option<Typed<Duration>>,
    pub(super) packing: PackingTable,
    pub(super) max_in_flight: Option<Typed<u32>>,
    pub(super) ordered: Option<Typed<bool>>,
    pub(super) require_encryption: Option<Typed<bool>>,
    pub(super) audit: AuditTable,
    pub(super) quota: QuotaTable,
    pub(super) retry: RetryTable,
    pub(super) request_timeout: Option<Typed<Duration>>,
}

/// How lines share records: keys of a stream.
#[derive(Debug)]
pub(super) struct PackingTable {
    /// Whether they do.
    pub(super) packing: Option<Typed<bool>>,
    pub(super) pack_bytes: Option<Typed<u64>>,
    pub(super) pack_delay: Option<Typed<Duration>>,
    pub(super) compression: Option<Typed<Compression>>,
}

#[derive(Debug)]
pub(super) struct QuotaTable {
    pub(super) requests_per_second: Option<Typed<u32>>,
    pub(super) records_per_second: Option<Typed<u32>>,
    pub(super) bytes_per_second: Option<Typed<u64>>,
    pub(super) share: Option<Typed<f64>>,
    pub(super) adaptive: Option<Typed<bool>>,
}

#[derive(Debug)]
pub(super) struct RetryTable {
    pub(super) initial: Option<Typed<Duration>>,
    pub(super) max: Option<Typed<Duration>>,
    pub(super) stuck_after: Option<Typed<Duration>>,
}

/// Reads `text`; `None` when it is not TOML.
pub(super) fn read(
    name: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<Document> {
    let (document, _) = Walk::new(&name.display().to_string(), text, env, faults).document(document)?;
    Some(document)
}

/// What an included file adds.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) sources: Vec<SourceTable>,
    pub(super) streams: Vec<StreamTable>,
}

/// Reads the `text` of an included file; `None` when it is not TOML.
pub(super) fn read_part(
    name: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<Part> {
    let (part, _) = Walk::new(&name.display().to_string(), text, env, faults).document(|root| {
        root.confine(
            "has no place in an included file; write [[source]] and [stream.NAME] here, and the rest in the file that \
             includes it",
        );
        Part {
            sources: root.tables("source", source),
            streams: root.table("stream", |streams| streams.named_tables(stream)),
        }
    })?;
    Some(part)
}

pub(super) fn document(root: &mut Section<'_, '_, '_>) -> Document {
    Document {
        file: Some(root.place().clone()),
        state_dir: root.parsed("state_dir", absolute_dir),
        include: root.list("include", IncludeGlob::parse),
        reload_on_change: root.switch("reload_on_change"),
        aws: root.table("aws", aws::table),
        sources: root.tables("source", source),
        streams: root.table("stream", |streams| streams.named_tables(stream)),
        ..sections(root)
    }
}

/// The tables of few keys that stand alone.
fn sections(root: &mut Section<'_, '_, '_>) -> Document {
    let health = root.table("health", health::table);
    let log = root.table("log", |log| {
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        let levels = ["off", "error", "warn", "info", "debug", "trace"].map(|level| (level, level));
        LogTable { format: log.choice("format", &formats), level: log.choice("level", &levels) }
    });
    let (checkpoint_interval, checkpoint_max_bytes) = root.table("checkpoint", |checkpoint| {
        let interval = checkpoint.duration("interval", Duration::from_millis(10), HOUR);
        (interval, checkpoint.size("max_bytes", 1, MAX_BYTES))
    });
    let memory = root.table("memory", |memory| MemoryTable {
        buffer: memory.size("buffer", MIN_BUFFER, MAX_BYTES),
        buffer_per_file: memory.size("buffer_per_file", MIN_BUFFER, MAX_BYTES),
        max_watches: memory.count("max_watches", 0, 10_000_000),
    });
    let (shutdown_timeout, ship_partial_lines) = root.table("shutdown", |shutdown| {
        let timeout = shutdown.duration("timeout", Duration::ZERO, DAY);
        (timeout, shutdown.switch("ship_partial_lines"))
    });
    Document {
        health,
        log,
        checkpoint_interval,
        checkpoint_max_bytes,
        memory,
        shutdown_timeout,
        ship_partial_lines,
        ..Document::default()
    }
}

fn source(source: &mut Section<'_, '_, '_>) -> SourceTable {
    source.require("paths", "name the files, paths = [\"/var/log/app/*.log\"]");
    source.require("stream", "name the delivery stream that the lines go to");
    SourceTable {
        name: source.parsed("name", not_empty),
        paths: source.list("paths", |text| Pattern::parse(text).map_err(|fault| fault.to_string())),
        files: files(source),
        stream: source.parsed("stream", routing::stream_or_template),
        routing: routing::table(source),
        append_newline: source.switch("append_newline"),
        json: json::table(source),
        max_line_bytes: source.size("max_line_bytes", MIN_LINE_BYTES, MAX_LINE_BYTES),
        oversize: source.choice(
            "oversize",
            &[
                ("split", Oversize::Split),
                ("truncate", Oversize::Truncate),
                ("dead_letter", Oversize::DeadLetter),
            ],
        ),
        parse: source.choice(
            "parse",
            &[("none", None), ("cri", Some(Runtime::Cri)), ("docker", Some(Runtime::Docker))],
        ),
        multiline: multiline::read(source),
        keep_lines: source.list("keep_lines", start_pattern),
        drop_lines: source.list("drop_lines", start_pattern),
    }
}

fn files(source: &mut Section<'_, '_, '_>) -> FilesTable {
    FilesTable {
        exclude: source.list("exclude", |text| ExcludeGlob::parse(text).map_err(|fault| fault.to_string())),
        rotated: source.list("rotated", |text| Pattern::parse(text).map_err(|fault| fault.to_string())),
        start_at: source.choice("start_at", &[("beginning", StartAt::Beginning), ("end", StartAt::End)]),
        ignore_older: source.duration("ignore_older", Duration::from_secs(1), MAX_AGE),
        follow_symlinks: source.switch("follow_symlinks"),
        link_targets: source.list("link_targets", absolute_dir),
        close_removed_after: source.duration("close_removed_after", Duration::ZERO, DAY),
    }
}

fn start_pattern(text: &str) -> Result<StartPattern, String> {
    StartPattern::try_new(text).map_err(|fault| no_expression(text, &fault))
}

/// What is wrong with a regular expression.
fn no_expression(text: &str, fault: &regex::Error) -> String {
    // Its last line says what is wrong; those before it draw where.
    let fault = fault.to_string();
    let what = fault.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("`{text}` is not a regular expression: {what}; correct it")
}

fn stream(name: Typed<String>, stream: &mut Section<'_, '_, '_>) -> StreamTable {
    let apis = [Api::PutRecord, Api::Auto, Api::PutRecordBatch].map(|api| (api.label(), api));
    StreamTable {
        name,
        spread: spread::table(stream),
        region: stream.parsed("region", region),
        role_arn: stream.parsed("role_arn", role_arn),
        endpoint_url: stream.parsed("endpoint_url", url),
        api: stream.choice("api", &apis),
        linger: stream.duration("linger", Duration::ZERO, MAX_LINGER),
        packing: packing(stream),
        max_in_flight: stream.count("max_in_flight", 1, 10_000),
        ordered: stream.switch("ordered"),
        require_encryption: stream.switch("require_encryption"),
        audit: AuditTable::of(stream),
        quota: stream.table("quota", quota),
        retry: stream.table("retry", retry),
        request_timeout: stream.duration("request_timeout", Duration::from_millis(10), HOUR),
    }
}

fn packing(stream: &mut Section<'_, '_, '_>) -> PackingTable {
    PackingTable {
        packing: stream.choice("packing", &[("on", true), ("off", false)]),
        pack_bytes: stream.size("pack_bytes", 1, RECORD_BYTES as u64),
        pack_delay: stream.duration("pack_delay", Duration::from_millis(1), MAX_PACK_DELAY),
        compression: stream
            .choice("compression", &[("none", Compression::None), ("gzip", Compression::Gzip)]),
    }
}

fn quota(quota: &mut Section<'_, '_, '_>) -> QuotaTable {
    QuotaTable {
        requests_per_second: quota.count("requests_per_second", 1, u32::MAX),
        records_per_second: quota.count("records_per_second", 1, u32::MAX),
        bytes_per_second: quota.size("bytes_per_second", 1, MAX_BYTES),
        share: quota.share("share"),
        adaptive: quota.switch("adaptive"),
    }
}

fn retry(retry: &mut Section<'_, '_, '_>) -> RetryTable {
    let least = Duration::from_millis(1);
    RetryTable {
        initial: retry.duration("initial", least, HOUR),
        max: retry.duration("max", least, HOUR),
        stuck_after: retry.duration("stuck_after", Duration::from_secs(1), 7 * DAY),
    }
}

/// A delivery stream's name by the service's rule for it, up to 64 of `a-zA-Z0-9_.-` (API reference, `PutRecord`).
pub(super) fn stream_name(text: &str) -> Result<String, String> {
    if is_stream_name(text) {
        Ok(text.to_owned())
    } else if let Some((region, name)) = delivery_stream_arn(text) {
        Err(format!(
            "`{text}` is an ARN; write its name, \"{name}\", and `region = \"{region}\"` in the stream's table"
        ))
    } else {
        Err(format!("`{text}` is not a delivery stream's name; write 1 to 64 of a-z A-Z 0-9 _ . -"))
    }
}

/// The region and the name in a delivery stream's ARN.
fn delivery_stream_arn(text: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "firehose", region, _, name] => Some((region, name.strip_prefix("deliverystream/")?)),
        _ => None,
    }
}

pub(super) fn absolute_dir(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err(format!("`{text}` is not absolute; write the whole path, from / on"))
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("is empty; write a name or leave the key out".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(text.to_owned()),
        // Not shown: a URL may hold a password.
        Some(_) | None => Err("is not a URL; write it as \"https://HOST:PORT\"".to_owned()),
    }
}
