//! Where log lines go: standard error, as text or JSON, through a thread of their own.
//!
//! Knows the writer and the format, and lets no word of others steer who reads. A reader that does not read (a pipe that is full, a terminal that is stopped) holds
//! up that thread and nothing else: lines that find no room are dropped and counted, and the count is logged when there
//! is room again.

mod advice;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use indicatif::ProgressBar;
use tracing::field::Field;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, FormatEvent, FormatFields, JsonFields, Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Log, LogFormat};
use crate::model::text::{plain, plain_json};

use advice::Advised;

/// Lines that may wait for the writer: some megabytes.
const LINES: usize = 16_384;

/// Starts logging for this process. `RUST_LOG` wins over the configured level. What waits is written when the guard is
/// dropped, within a second. Lines are written above `bar`, which is drawn again below them.
///
/// # Errors
/// When `RUST_LOG` is not understood, or logging was started before.
pub(super) fn start(log: &Log, bar: Option<ProgressBar>) -> io::Result<WorkerGuard> {
    let other = |error: &dyn std::error::Error| io::Error::other(error.to_string());
    let filter = match std::env::var_os("RUST_LOG").filter(|value| !value.is_empty()) {
        Some(_) => EnvFilter::try_from_default_env()
            .map_err(|error| io::Error::other(format!("RUST_LOG: {error}")))?,
        // The SDK speaks of its own retries and connections, and of each place where it found no region or credentials,
        // which says nothing that our lines do not.
        None => EnvFilter::try_new(format!("warn,aws_config=error,standpipe={}", log.level))
            .map_err(|error| other(&error))?,
    };
    let (terminal, journal) = (io::stderr().is_terminal(), is_journal());
    let json = match log.format {
        LogFormat::Auto => !terminal && !journal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let dropped = Arc::default();
    let output = Output { to: io::stderr(), json, journal, bar, dropped: Arc::clone(&dropped), told: 0 };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES).thread_name("log").finish(output);
    dropped.get_or_init(|| writer.error_counter());
    let writer = Lines { to: writer, journal };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    let objects = format::format().json().flatten_event(true);
    // The journal has the time of each line already.
    let started = match (json, journal) {
        (true, false) => builder.fmt_fields(JsonFields::new()).event_format(Advised(objects)).try_init(),
        (true, true) => {
            builder.fmt_fields(JsonFields::new()).event_format(Advised(objects.without_time())).try_init()
        }
        (false, _) => builder.fmt_fields(plain_fields()).event_format(Text { time: !journal }).try_init(),
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

/// A line of text: when, how grave, whose words if they are not ours, the message and its fields.
struct Text {
    time: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "a log line says when it was written")]
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (dim, end) = if to.has_ansi_escapes() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        if self.time {
            write!(to, "{dim}{}{end} ", humantime::format_rfc3339_millis(SystemTime::now()))?;
        }
        let level = *event.metadata().level();
        let colour = match level {
            _ if dim.is_empty() => "",
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[34m",
        };
        write!(to, "{colour}{level:>5}{end} ")?;
        match event.metadata().target().split("::").next() {
            Some(env!("CARGO_PKG_NAME")) | None => {}
            Some(library) => write!(to, "{dim}{library}:{end} ")?,
        }
        context.format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}

/// Writers for one line each, which in systemd's journal begins with its priority, as `sd-daemon(3)` has it.
#[derive(Debug)]
struct Lines {
    to: NonBlocking,
    journal: bool,
}

impl<'to> MakeWriter<'to> for Lines {
    type Writer = Line;

    fn make_writer(&'to self) -> Line {
        Line { to: self.to.clone(), priority: "" }
    }

    fn make_writer_for(&'to self, metadata: &Metadata<'_>) -> Line {
        let priority = if self.journal { priority(*metadata.level()) } else { "" };
        Line { to: self.to.clone(), priority }
    }
}

/// What a line of `level` begins with in systemd's journal.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Takes one line, whole.
#[derive(Debug)]
struct Line {
    to: NonBlocking,
    priority: &'static str,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.priority.is_empty() {
            return self.to.write(line);
        }
        self.to.write_all(&[self.priority.as_bytes(), line].concat()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Standard error, behind a line that tells how many were dropped before, if any were.
#[derive(Debug)]
struct Output<W> {
    to: W,
    json: bool,
    /// Standard error is systemd's journal.
    journal: bool,
    /// What stands in the last row of the terminal.
    bar: Option<ProgressBar>,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// How many of them were told.
    told: usize,
}

impl<W: Write> Output<W> {
    fn put(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.told {
            let lines = dropped - self.told;
            let message = "log lines were dropped: standard error was not read";
            let advice = "See why what reads them is slow or stands still, or write fewer (`[log] level`)";
            let priority = if self.journal { priority(Level::WARN) } else { "" };
            if self.json {
                writeln!(
                    self.to,
                    "{priority}{{\"level\":\"WARN\",\"message\":\"{message}\",\"lines\":{lines},\"advice\":\"{advice}\"}}"
                )?;
            } else {
                writeln!(self.to, "{priority} WARN {message} lines={lines}")?;
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
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.bar.clone() {
            Some(bar) => bar.suspend(|| self.put(line)),
            None => self.put(line),
        }
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
