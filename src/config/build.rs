//! The configuration as needed: flags over the file over defaults, and a judgement on the whole.
//!
//! Knows what the parts must be beside one another. What a value may be by itself was judged when it was read, so
//! a value that is missing here is either absent or reported already.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Faults, Place};
use super::pattern::absolute;
use super::sources::{self, Sources};
use super::streams::Streams;
use super::typed::{Document, absolute_dir};
use super::units::show_size;
use super::{Config, Log, LogFormat, Overrides, Stream, Surroundings};
use crate::model::settings::{CheckpointSettings, MemorySettings, OnDrain, Order, Settings, Until};

const STATE_DIR: &str = "/var/lib/standpipe";
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9909);
const LOG_LEVEL: &str = "info";
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
const CHECKPOINT_MAX_BYTES: u64 = 1024 * 1024;
const BUFFER: u64 = 64 * 1024 * 1024;
const BUFFER_PER_FILE: u64 = 8 * 1024 * 1024;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// The configuration, if nothing is wrong; what is, is added to `faults`.
pub(super) fn build(
    mut document: Document,
    overrides: &Overrides,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<Config> {
    let of_command_line = sources::of_command_line(overrides, around, faults);
    // The file's own sources are judged also when the command line replaces them: a file is right or wrong by
    // itself.
    let mut sources = Sources::new(std::mem::take(&mut document.sources), faults);
    let streams = Streams {
        tables: &document.streams,
        aws: &document.aws,
        order: if overrides.local.is_some() {
            Order::PerFile
        } else {
            Order::Free
        },
    };
    if !faults.about("source") {
        let also = of_command_line.as_ref().and_then(|table| table.stream.as_ref());
        streams.refuse_unused(sources.streams.iter().chain(also), faults);
    }
    if let Some(table) = of_command_line {
        sources = Sources::new(vec![table], faults);
    } else if sources.sources.is_empty() {
        refuse_nothing_to_do(document.file.as_ref(), faults);
    }
    let (mut reached, stream_settings) = streams.resolve(&sources.streams, faults);
    if overrides.local.is_some() {
        reached.iter_mut().for_each(keep_local);
    }
    let state_dir = state_dir(&document, overrides, around, faults);
    let settings = Settings {
        sources: sources.settings,
        streams: stream_settings,
        checkpoint: CheckpointSettings {
            interval: document
                .checkpoint_interval
                .as_ref()
                .map_or(CHECKPOINT_INTERVAL, |typed| typed.value),
            max_bytes: document
                .checkpoint_max_bytes
                .as_ref()
                .map_or(CHECKPOINT_MAX_BYTES, |typed| typed.value),
        },
        memory: memory(&document, faults),
        until: if overrides.once {
            Until::EndOfFiles
        } else {
            Until::Drained
        },
        on_drain: match document.ship_partial_lines.is_some_and(|ship| ship.value) {
            true => OnDrain::ShipPartialLines,
            false => OnDrain::KeepPartialLines,
        },
    };
    Some(Config {
        state_dir: state_dir?,
        sources: sources.sources,
        streams: reached,
        health: document.listen.map_or(Some(HEALTH), |listen| listen.value),
        log: Log {
            format: document.log_format.map_or(LogFormat::Auto, |format| format.value),
            level: document
                .log_level
                .map_or(LOG_LEVEL, |level| level.value)
                .to_owned(),
        },
        shutdown_timeout: document
            .shutdown_timeout
            .map_or(SHUTDOWN_TIMEOUT, |timeout| timeout.value),
        settings,
    })
}

/// Takes from a stream what leads to AWS: the embedded delivery stream needs no account, and a role or a profile
/// would be looked up on the network.
fn keep_local(stream: &mut Stream) {
    stream.region = None;
    stream.profile = None;
    stream.role_arn = None;
    stream.endpoint_url = None;
}

/// The flag, then `--local`, then the file, then systemd, then the default.
///
/// `--local` comes before the file: its positions are of lines that never reached AWS, and in the daemon's own
/// state they would keep the daemon from sending them.
fn state_dir(
    document: &Document,
    overrides: &Overrides,
    around: &Surroundings<'_>,
    faults: &mut Faults,
) -> Option<PathBuf> {
    let mut of_flag = |flag: &str, dir: &Path| {
        if dir.as_os_str().is_empty() {
            faults.push(Place::CommandLine, flag, "is empty; name a directory");
            return None;
        }
        Some(absolute(dir, around.current_dir))
    };
    let local = overrides.local.as_ref().map(|local| of_flag("--local", local));
    if let Some(dir) = &overrides.state_dir {
        return of_flag("--state-dir", dir);
    }
    if let Some(local) = local {
        return Some(local?.join("state"));
    }
    if let Some(typed) = &document.state_dir {
        return Some(typed.value.clone());
    }
    // systemd separates several directories by colons; the first is the unit's first.
    let of_systemd = (around.env)("STATE_DIRECTORY").unwrap_or_default();
    match of_systemd.split(':').next().filter(|dir| !dir.is_empty()) {
        None => Some(PathBuf::from(STATE_DIR)),
        Some(dir) => match absolute_dir(dir) {
            Ok(dir) => Some(dir),
            Err(message) => {
                faults.push(Place::Environment, "STATE_DIRECTORY", message);
                None
            }
        },
    }
}

fn memory(document: &Document, faults: &mut Faults) -> MemorySettings {
    let (buffer, per_file) = (&document.buffer, &document.buffer_per_file);
    let memory = MemorySettings {
        buffer: buffer.as_ref().map_or(BUFFER, |typed| typed.value),
        buffer_per_file: per_file.as_ref().map_or(BUFFER_PER_FILE, |typed| typed.value),
    };
    if memory.buffer < memory.buffer_per_file
        && !faults.about("memory")
        && let Some(typed) = per_file.as_ref().or(buffer.as_ref())
    {
        faults.add(typed.fault(format!(
            "buffer_per_file, {}, is above buffer, {}, which all files share; set buffer_per_file <= buffer",
            show_size(memory.buffer_per_file),
            show_size(memory.buffer)
        )));
    }
    memory
}

/// Reports that there is no source, unless what there is has been reported already.
fn refuse_nothing_to_do(file: Option<&Place>, faults: &mut Faults) {
    match file {
        Some(file) if !faults.about("source") => {
            faults.push(
                file.clone(),
                "source",
                "there is none; write a [[source]] with paths and stream",
            );
        }
        Some(_) => {}
        None => {
            let message = "there is neither a PATH nor a configuration file; name one of them";
            faults.push(Place::CommandLine, "PATH", message);
        }
    }
}
