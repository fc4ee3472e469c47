//! Where log lines go: standard error, as text or JSON, through a thread of their own.
//!
//! Knows the writer and the format, and lets no word of others steer who reads. A reader that does not read (a pipe that is full, a terminal that is stopped) holds
//! up that thread and nothing else: lines that find no room are dropped and counted, and the count is logged when there
//! is room again.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use tracing::field::Field;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};

use crate::config::{Log, LogFormat};
use crate::model::text::{plain, plain_json};

/// Lines that may wait for the writer: some megabytes.
const LINES: usize = 16_384;

/// Starts logging for this process. `RUST_LOG` wins over the configured level. What waits is written when the guard is
/// dropped, within a second.
///
/// # Errors
/// When `RUST_LOG` is not understood, or logging was started before.
pub(super) fn start(log: &Log) -> io::Result<WorkerGuard> {
    let other = |error: &dyn std::error::Error| io::Error::other(error.to_string());
    let filter = match std::env::var_os("RUST_LOG").filter(|value| !value.is_empty()) {
        Some(_) => EnvFilter::try_from_default_env()
            .map_err(|error| io::Error::other(format!("RUST_LOG: {error}")))?,
        // The SDK speaks of its own retries and connections, and of each place where it found no region or credentials,
        // which says nothing that our lines do not.
        None => EnvFilter::try_new(format!("warn,aws_config=error,standpipe={}", log.level))
            .map_err(|error| other(&error))?,
    };
    let terminal = io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let dropped = Arc::default();
    let output = Output { to: io::stderr(), json, dropped: Arc::clone(&dropped), told: 0 };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES).thread_name("log").finish(output);
    dropped.get_or_init(|| writer.error_counter());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(terminal);
    // The journal has the time of each line already.
    let started = match (json, is_journal()) {
        (true, false) => builder.json().flatten_event(true).try_init(),
        (true, true) => builder.json().flatten_event(true).without_time().try_init(),
        (false, false) => builder.fmt_fields(plain_fields()).try_init(),
        (false, true) => builder.fmt_fields(plain_fields()).without_time().try_init(),
    };
    started.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(guard)
}

/// The fields of a line of text: the message, and each other one with its name. What steers a terminal, or would begin
/// another line, is seen instead: paths, errors and messages are the words of others.
fn plain_fields() -> impl for<'to> FormatFields<'to> + Send + Sync + 'static {
    let write = |to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = plain(format!("{value:?}"));
        match (field.name(), to.has_ansi_escapes()) {
            ("message", _) => write!(to, "{value}"),
            (name, true) => write!(to, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            (name, false) => write!(to, "{name}={value}"),
        }
    };
    debug_fn(write).delimited(" ")
}

/// Standard error, behind a line that tells how many were dropped before, if any were.
#[derive(Debug)]
struct Output<W> {
    to: W,
    json: bool,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// How many of them were told.
    told: usize,
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.told {
            let lines = dropped - self.told;
            let message = "log lines were dropped: standard error was not read";
            if self.json {
                writeln!(self.to, "{{\"level\":\"WARN\",\"message\":\"{message}\",\"lines\":{lines}}}")?;
            } else {
                writeln!(self.to, " WARN {message} lines={lines}")?;
            }
            self.told = dropped;
        }
        // Of a line of text the fields are plain; the escapes of JSON leave out what is no ASCII.
        if self.json && line.iter().any(|byte| *byte >= 0x7f) {
            let plain = plain_json(String::from_utf8_lossy(line).into_owned());
            return self.to.write_all(plain.as_bytes()).map(|()| line.len());
        }
        self.to.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether standard error leads to systemd's journal: `$JOURNAL_STREAM` names the file that it is.
fn is_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let own = rustix::fs::fstat(io::stderr()).ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    own.is_some_and(|own| *own == *named)
}
