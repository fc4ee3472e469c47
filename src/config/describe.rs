//! What a configuration amounts to, in lines for people.
//!
//! Knows how to say it; looks nothing up: which files match is the subcommand's to add.
//!
//! Called by `standpipe check`. No value comes out that could hold a credential: URLs are shown without what
//! stands before an `@`.

use std::fmt::{self, Write};

use super::units::{show_duration, show_size};
use super::{Aws, Config, LogFormat, Source, Stream};
use crate::model::audit::KEEP_DAYS;
use crate::model::limits::{LINES_PER_RECORD, RECORD_BYTES, TIME_KEY};
use crate::model::route::{ByPath, NameGlob, Route};
use crate::model::settings::{
    Adaptive, Api, Audit, Compression, Encryption, Envelope, Format, Grouping, Multiline, Newline, OnDrain,
    Order, Oversize, Packing, Runtime, SourceSettings, Spread, StartAt, StreamSettings, TimeFormat, Until,
};

pub(super) fn describe(config: &Config) -> String {
    let mut lines = String::new();
    write(&mut lines, config).expect("writing to a string cannot fail");
    lines
}

fn write(out: &mut String, config: &Config) -> fmt::Result {
    let settings = &config.settings;
    for file in &config.included.files {
        writeln!(out, "with {}", file.display())?;
    }
    for entry in &config.included.unmatched {
        writeln!(out, "no file is included by {entry}: none matches")?;
    }
    if config.reload_on_change {
        writeln!(out, "read again when it changes")?;
    }
    writeln!(out, "state directory {}", config.state_dir.display())?;
    for (source, source_settings) in config.sources.iter().zip(&settings.sources) {
        write_source(out, source, source_settings, &config.streams)?;
    }
    for (stream, stream_settings) in config.streams.iter().zip(&settings.streams) {
        write_stream(out, stream, stream_settings)?;
    }
    match config.health.listen {
        Some(address) => writeln!(out, "health on http://{address}")?,
        None => writeln!(out, "health off")?,
    }
    if !config.health.hosts.is_empty() {
        writeln!(out, "  also asked as {}", config.health.hosts.join(", "))?;
    }
    if let Some(lag) = config.health.max_lag {
        writeln!(out, "not ready while a line is later than {}", show_duration(lag))?;
    }
    let format = match config.log.format {
        LogFormat::Auto => "text on a terminal and in the journal, json otherwise",
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    writeln!(out, "log {format}, from level {}", config.log.level)?;
    writeln!(
        out,
        "checkpoint every {} or {}",
        show_duration(settings.checkpoint.interval),
        show_size(settings.checkpoint.max_bytes)
    )?;
    writeln!(
        out,
        "memory {} for all files, {} for each",
        show_size(settings.memory.buffer),
        show_size(settings.memory.buffer_per_file)
    )?;
    writeln!(out, "watches in {} directories at the most", config.max_watches)?;
    let until = match settings.until {
        Until::Drained => "",
        Until::EndOfFiles => ", at the end of the files",
    };
    let partial = match settings.on_drain {
        OnDrain::KeepPartialLines => "stay in their files",
        OnDrain::ShipPartialLines => "are shipped",
    };
    let timeout = show_duration(config.shutdown_timeout);
    writeln!(out, "shutdown within {timeout}{until}; lines without their newline {partial}")
}

/// Which links are followed.
fn links(source: &Source) -> String {
    let targets: Vec<_> = source.link_targets.iter().map(|target| target.display().to_string()).collect();
    match (source.follow_symlinks, &targets[..]) {
        (false, _) => "skipped".to_owned(),
        (true, []) => "followed".to_owned(),
        (true, targets) => format!("followed into {}", targets.join(" or ")),
    }
}

fn write_source(
    out: &mut String,
    source: &Source,
    settings: &SourceSettings,
    streams: &[Stream],
) -> fmt::Result {
    write_route(out, source, settings, streams)?;
    for pattern in &source.patterns {
        let kind = match (pattern.file(), pattern.recurses()) {
            (Some(_), _) => "file",
            (None, true) => "glob, at any depth",
            (None, false) => "glob",
        };
        writeln!(out, "  path {} ({kind})", pattern.text())?;
    }
    write_left_out(out, source, settings)?;
    let start = match settings.start_at {
        StartAt::Beginning => "beginning",
        StartAt::End => "end",
    };
    let newline = match settings.newline {
        Newline::Append => "with",
        Newline::Strip => "without",
    };
    writeln!(out, "  from the {start}, records {newline} newline, symbolic links {}", links(source))?;
    if let Format::Json(envelope) = &settings.format {
        let merged = if envelope.merge { ", JSON objects merged" } else { "" };
        write!(out, "  lines in JSON, of host {}{merged}", envelope.host)?;
        for (key, value) in &envelope.fields {
            write!(out, ", {key} {value}")?;
        }
        writeln!(out)?;
        write_told(out, envelope)?;
    }
    match settings.runtime {
        None => {}
        Some(Runtime::Cri) => writeln!(out, "  lines taken out of what a CRI runtime wrote, parts joined")?,
        Some(Runtime::Docker) => writeln!(out, "  lines taken out of Docker's JSON, parts joined")?,
    }
    if let Some(Multiline { grouping, max_lines, timeout }) = &settings.multiline {
        let timeout = show_duration(*timeout);
        match grouping {
            Grouping::Start(start) => write!(out, "  a record begins where {} matches", start.text())?,
            Grouping::Traces(preset) => write!(out, "  a stack trace of {} is one record", preset.label())?,
        }
        writeln!(out, ": up to {max_lines} lines, complete after {timeout}")?;
    }
    if settings.max_message_bytes != RECORD_BYTES || settings.oversize != Oversize::Split {
        let longest = show_size(settings.max_message_bytes as u64);
        let oversize = match settings.oversize {
            Oversize::Split => "sent in pieces",
            Oversize::Truncate => "cut off, which loses their ends",
            Oversize::DeadLetter => "put aside as dead letters",
        };
        writeln!(out, "  lines longer than {longest}, or than a record takes, are {oversize}")?;
    }
    writeln!(out, "  removed files are closed after {}", show_duration(settings.close_removed_after))
}

/// What is told of a line beside it, where that is not the default.
fn write_told(out: &mut String, envelope: &Envelope) -> fmt::Result {
    if let Some(fields) = &envelope.path_fields {
        let names = fields.names().collect::<Vec<_>>().join(", ");
        writeln!(out, "  {names} from the path, by {}", fields.text())?;
    }
    let format = match envelope.time_format {
        TimeFormat::Rfc3339 if *envelope.time_key == *TIME_KEY => return Ok(()),
        TimeFormat::Rfc3339 => "a text (RFC 3339)",
        TimeFormat::EpochMillis => "milliseconds since 1970",
    };
    writeln!(out, "  the time as {}, {format}", envelope.time_key)
}

fn write_left_out(out: &mut String, source: &Source, settings: &SourceSettings) -> fmt::Result {
    for glob in source.exclude.texts() {
        writeln!(out, "  without {glob}")?;
    }
    for pattern in &source.rotated {
        writeln!(out, "  rotated files also at {}", pattern.text())?;
    }
    for (what, patterns) in [("kept", &settings.filter.keep), ("dropped", &settings.filter.drop)] {
        for pattern in patterns {
            writeln!(out, "  lines {what} where {} matches", pattern.text())?;
        }
    }
    match settings.ignore_older {
        Some(older) => {
            writeln!(out, "  files not begun that were last written more than {} ago", show_duration(older))
        }
        None => Ok(()),
    }
}

fn write_route(
    out: &mut String,
    source: &Source,
    settings: &SourceSettings,
    streams: &[Stream],
) -> fmt::Result {
    match &settings.route {
        Route::To(stream) => writeln!(out, "source {} to stream {}", source.name, streams[stream.0].name),
        Route::ByPath(by_path) => write_template(out, source, by_path, streams),
    }
}

/// Streams that paths name.
fn write_template(out: &mut String, source: &Source, by_path: &ByPath, streams: &[Stream]) -> fmt::Result {
    let ByPath { template, allowed, default, max_streams, .. } = by_path;
    writeln!(out, "source {} to streams {} by path, up to {max_streams}", source.name, template.text())?;
    if !allowed.is_empty() {
        let allowed: Vec<_> = allowed.iter().map(NameGlob::text).collect();
        writeln!(out, "  only to {}", allowed.join(", "))?;
    }
    match default {
        Some(stream) => writeln!(out, "  other files to {}", streams[stream.0].name),
        None => writeln!(out, "  other files are not read"),
    }
}

fn write_stream(out: &mut String, stream: &Stream, settings: &StreamSettings) -> fmt::Result {
    write_delivery_streams(out, stream, &settings.spread)?;
    let (region, endpoint) = (stream.region_told(), stream.endpoint().map(without_user));
    let ca_file = stream.aws.ca_file.as_ref().map(|path| path.display().to_string());
    let reached = [
        ("region", region.as_deref()),
        ("profile", stream.aws.profile.as_deref()),
        ("role", stream.role_arn.as_deref()),
        ("endpoint", endpoint.as_deref()),
        ("certificates", ca_file.as_deref()),
    ];
    for (what, value) in reached {
        if let Some(value) = value {
            writeln!(out, "  {what} {value}")?;
        }
    }
    write_way(out, stream)?;
    let api = match settings.api {
        Api::PutRecord => "PutRecord",
        Api::Auto => "PutRecord or PutRecordBatch",
        Api::PutRecordBatch => "PutRecordBatch",
    };
    let order = match settings.order {
        Order::Free => "",
        Order::PerFile => ", in order for each file",
    };
    let timeout = show_duration(stream.request_timeout);
    writeln!(out, "  {api}, up to {} requests at once of {timeout} each{order}", settings.max_in_flight)?;
    let patience = settings.patience();
    if !patience.is_zero() {
        let patience = show_duration(patience);
        writeln!(out, "  a record waits up to {patience} for others to share its request")?;
    }
    write_packing(out, settings.packing)?;
    let quota = &settings.quota;
    let adaptive = match quota.adaptive {
        Adaptive::On => "adaptive",
        Adaptive::Off => "not adaptive",
    };
    writeln!(
        out,
        "  quota {} requests, {} records, {} a second; share {}, {adaptive}",
        quota.requests_per_second,
        quota.records_per_second,
        show_size(quota.bytes_per_second),
        quota.share
    )?;
    if settings.encryption == Encryption::Required {
        writeln!(out, "  only with server-side encryption")?;
    }
    if let Audit::On { max_bytes, .. } = &settings.audit {
        writeln!(out, "  RecordIds are kept for {KEEP_DAYS} days, up to {}", show_size(*max_bytes))?;
    }
    let (initial, max) = (show_duration(settings.retry.initial), show_duration(settings.retry.max));
    let stuck_after = show_duration(settings.retry.stuck_after);
    writeln!(
        out,
        "  retries after {initial} to {max}; a record that fails alone is put aside after {stuck_after}"
    )
}

/// Where a stream goes.
fn write_delivery_streams(out: &mut String, stream: &Stream, spread: &Spread) -> fmt::Result {
    let named = |lane: Stream| match lane.region.filter(|region| stream.region.as_ref() != Some(region)) {
        Some(region) => format!("{} in {region}", lane.delivery_stream),
        None => lane.delivery_stream,
    };
    let lanes: Vec<_> = stream.lanes().map(named).collect();
    let streams = if lanes.len() == 1 { "stream" } else { "streams" };
    writeln!(out, "stream {} to delivery {streams} {}", stream.name, lanes.join(", "))?;
    if lanes.len() > 1 {
        write_spread(out, spread)?;
    }
    Ok(())
}

/// When files change between delivery streams.
fn write_spread(out: &mut String, spread: &Spread) -> fmt::Result {
    match spread.spread_after {
        Some(after) => {
            writeln!(
                out,
                "  files of one that takes nothing for {} go on at the others",
                show_duration(after)
            )?;
        }
        None => writeln!(out, "  files of one that takes nothing wait for it")?,
    }
    match spread.failover_after {
        Some(after) => {
            let after = show_duration(after);
            writeln!(out, "  to another region once none of the first region takes anything for {after}")
        }
        None => Ok(()),
    }
}

/// How lines share records.
fn write_packing(out: &mut String, packing: Packing) -> fmt::Result {
    let Packing::On { bytes, delay, compression } = packing else { return Ok(()) };
    let (bytes, delay) = (show_size(bytes as u64), show_duration(delay));
    match compression {
        Compression::None => write!(out, "  records of up to {bytes} or {LINES_PER_RECORD} lines")?,
        Compression::Gzip => write!(out, "  records of up to {bytes} once compressed by gzip")?,
    }
    writeln!(out, ", collected for {delay}")
}

/// What is said of the way to AWS beside places and names.
fn write_way(out: &mut String, stream: &Stream) -> fmt::Result {
    let Aws { external_id, session_name, session_duration, .. } = &*stream.aws;
    if stream.role_arn.is_some() {
        write!(out, "  session {session_name}")?;
        if let Some(duration) = session_duration {
            write!(out, " of {}", show_duration(*duration))?;
        }
        if external_id.is_some() {
            write!(out, ", with an external ID")?;
        }
        writeln!(out)?;
    }
    for (what, is_used) in
        [("FIPS", stream.aws.use_fips), ("dual-stack (IPv4 and IPv6)", stream.aws.use_dualstack)]
    {
        if let Some(is_used) = is_used {
            writeln!(out, "  {what} endpoints {}", if is_used { "are used" } else { "are not used" })?;
        }
    }
    if stream.aws.imds_timeout.is_some() || stream.aws.imds_attempts.is_some() {
        let (timeout, attempts) = (show_duration(stream.aws.imds_timeout()), stream.aws.imds_attempts());
        writeln!(out, "  instance metadata asked up to {attempts} times, {timeout} each")?;
    }
    Ok(())
}

fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(user)) if scheme < user => format!("{}{}", &url[..scheme + 3], &url[user + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn describe(text: &str) -> String {
        let config = Config::from_text(Path::new("c.toml"), text, &|_| None);
        config.expect("valid").describe()
    }

    #[test]
    fn what_is_configured_is_told_in_plain_lines() {
        let told = describe(
            r#"
            [[source]]
            name = "app"
            paths = ["/var/log/app/*.log", "/var/log/**/x", "/var/log/syslog"]
            exclude = ["*.gz"]
            rotated = ["/var/old/*.log*"]
            stream = "app-logs"
            [stream.app-logs]
            region = "eu-central-1"
            endpoint_url = "https://user:secret@firehose.example"
            ordered = true
            require_encryption = true
            "#,
        );
        assert_eq!(
            told,
            "\
state directory /var/lib/standpipe
source app to stream app-logs
  path /var/log/app/*.log (glob)
  path /var/log/**/x (glob, at any depth)
  path /var/log/syslog (file)
  without *.gz
  rotated files also at /var/old/*.log*
  from the beginning, records with newline, symbolic links skipped
  removed files are closed after 10s
stream app-logs to delivery stream app-logs
  region eu-central-1
  endpoint https://firehose.example
  PutRecord, up to 64 requests at once of 30s each, in order for each file
  quota 1000 requests, 1000 records, 1MiB a second; share 0.9, adaptive
  only with server-side encryption
  retries after 100ms to 30s; a record that fails alone is put aside after 10m
health on http://127.0.0.1:9909
log text on a terminal and in the journal, json otherwise, from level info
checkpoint every 1s or 1MiB
memory 64MiB for all files, 8MiB for each
watches in 8192 directories at the most
shutdown within 25s; lines without their newline stay in their files
"
        );
    }

    #[test]
    fn what_stands_in_json_records_is_told() {
        let told = describe(
            r#"
            [[source]]
            paths = ["/a"]
            stream = "s"
            format = "json"
            merge_json = true
            path_fields = "kubernetes"
            time_key = "@timestamp"
            time_format = "epoch_ms"
            fields = { env = "prod" }
            "#,
        );
        for line in [
            "  lines in JSON, of host localhost, JSON objects merged, env \"prod\"",
            "  namespace, pod, pod_uid, container, container_id from the path, by kubernetes",
            "  the time as @timestamp, milliseconds since 1970",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
        }
    }

    #[test]
    fn what_was_changed_is_told() {
        let told = describe(
            r#"
            source = [{ paths = ["/a"], stream = "s", start_at = "end", follow_symlinks = true, append_newline = false, multiline = "node" }]
            health = { listen = "off" }
            log = { format = "json", level = "debug" }
            shutdown = { ship_partial_lines = true }
            [stream.s]
            api = "put_record_batch"
            linger = "20ms"
            quota = { adaptive = false, bytes_per_second = 3000000 }
            "#,
        );
        for line in [
            "  from the end, records without newline, symbolic links followed",
            "  PutRecordBatch, up to 64 requests at once of 30s each",
            "  a record waits up to 20ms for others to share its request",
            "  quota 2000 requests, 5000 records, 3MB a second; share 0.9, not adaptive",
            "  a stack trace of Node.js is one record: up to 500 lines, complete after 2s",
            "health off",
            "log json, from level debug",
            "shutdown within 25s; lines without their newline are shipped",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
        }
    }

    #[test]
    fn several_delivery_streams_are_told_and_when_files_change_between_them() {
        let told = describe(
            r#"
            source = [{ paths = ["/a"], stream = "s" }]
            [stream.s]
            region = "eu-west-1"
            failover_after = "5m"
            delivery_streams = ["one", "two", { name = "one", region = "us-east-1" }]
            "#,
        );
        for line in [
            "stream s to delivery streams one, two, one in us-east-1",
            "  files of one that takes nothing for 1m go on at the others",
            "  to another region once none of the first region takes anything for 5m",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
        }
    }

    #[test]
    fn how_lines_share_records_is_told() {
        for (compression, told) in [
            ("none", "  records of up to 1000KiB or 500 lines, collected for 1s"),
            ("gzip", "  records of up to 1000KiB once compressed by gzip, collected for 1s"),
        ] {
            let text = describe(&format!(
                "source = [{{ paths = [\"/a\"], stream = \"s\" }}]\n\
                 [stream.s]\npacking = \"on\"\ncompression = \"{compression}\"\n"
            ));
            assert!(text.lines().any(|line| line == told), "{told}\nis not in\n{text}");
        }
    }
}
