//! What the daemon says of itself: its state, its configuration, its program and its process.
//!
//! Knows names. What the process takes is asked of the kernel as the answer is written.

use std::fmt;

use super::out::Out;
use super::process::Process;
use crate::engine::report::Counts;
use crate::shell::http::readiness;
use crate::shell::http::snapshot::Snapshot;

/// Writes all of it.
pub(super) fn write(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    counters(out, snapshot)?;
    gauges(out, snapshot)?;
    about(out, snapshot)?;
    process(out, Process::now(), snapshot)
}

fn counters(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counts: &Counts = &snapshot.status.counts;
    let one = |value: u64| [(Vec::new(), value)];
    out.counter("standpipe_checkpoint_commits", "Saves of the state that came through", one(counts.commits))?;
    out.counter("standpipe_checkpoint_failures", "Saves that failed", one(counts.commit_failures))?;
    out.counter(
        "standpipe_config_reloads",
        "Configurations that took effect since the start, and those that could not be used",
        [
            (vec![("outcome", "applied")], counts.reloads),
            (vec![("outcome", "refused")], counts.reloads_refused),
        ],
    )?;
    out.counter(
        "standpipe_watch_overflows",
        "Times that inotify's queue overflowed and everything was looked at",
        one(counts.watch_overflows),
    )?;
    out.counter(
        "standpipe_duplicated_bytes",
        "Bytes of files that were sent again though the service may have taken them, by why",
        [(vec![("reason", "handed_on")], counts.handed_on_bytes)],
    )
}

fn gauges(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let status = &snapshot.status;
    let level = |value: f64| [(Vec::new(), value)];
    out.gauge(
        "standpipe_checkpoint_age_seconds",
        "How long the oldest progress that is not on disk has waited",
        level(snapshot.age(status.unsaved_since).as_secs_f64()),
    )?;
    out.gauge(
        "standpipe_buffered_bytes",
        "Memory charged for what was read and is not acknowledged",
        level(status.buffered_bytes as f64),
    )?;
    out.gauge(
        "standpipe_dead_letter_bytes",
        "What dead letters take on disk, in bytes",
        level(status.dead_letter_bytes as f64),
    )?;
    out.gauge(
        "standpipe_files_unread",
        "Files that a source names or matches and that cannot be read",
        level(snapshot.unread() as f64),
    )?;
    let ready = readiness::reasons(snapshot).is_empty();
    out.gauge("standpipe_ready", "1 when /readyz answers 200", level(f64::from(u8::from(ready))))
}

/// What runs here, and with which configuration.
fn about(out: &mut Out<'_>, snapshot: &Snapshot) -> fmt::Result {
    let config = &snapshot.about.config;
    out.gauge(
        "standpipe_config_hash_info",
        "1, with a hash of the configuration's files, as they were read, as a label",
        [(vec![("hash", &*config.hash)], 1.0)],
    )?;
    out.gauge(
        "standpipe_config_last_reload_seconds",
        "When the configuration that is in effect was taken in, in seconds since 1970",
        [(Vec::new(), config.since.as_secs_f64())],
    )?;
    let (version, commit) = match env!("STANDPIPE_VERSION").split_once(" (") {
        Some((version, commit)) => (version, commit.trim_end_matches(')')),
        None => (env!("STANDPIPE_VERSION"), ""),
    };
    out.gauge(
        "standpipe_build_info",
        "1, with the version as labels",
        [(vec![("version", version), ("commit", commit)], 1.0)],
    )
}

/// What every exporter says of its process, under the names that every exporter uses.
fn process(out: &mut Out<'_>, process: Process, snapshot: &Snapshot) -> fmt::Result {
    let known = |value: Option<u64>| value.map(|value| (Vec::new(), value as f64));
    out.seconds("process_cpu_seconds", "Time on processors, in seconds", process.cpu)?;
    out.gauge("process_open_fds", "Open descriptors", known(process.open_fds))?;
    out.gauge("process_max_fds", "How many descriptors may be open", known(process.max_fds))?;
    out.gauge(
        "process_virtual_memory_bytes",
        "Memory that is mapped, in bytes",
        known(process.virtual_bytes),
    )?;
    out.gauge("process_resident_memory_bytes", "Memory in use, in bytes", known(process.resident_bytes))?;
    out.gauge("process_threads", "Threads", known(process.threads))?;
    out.gauge(
        "process_start_time_seconds",
        "When the daemon began, in seconds since 1970",
        [(Vec::new(), snapshot.about.began.as_secs_f64())],
    )
}
