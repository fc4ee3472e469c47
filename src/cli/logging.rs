//! Where log lines go: standard error, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for this process. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// When `RUST_LOG` is not understood, or logging was started before.
pub(super) fn start(log: &Log) -> io::Result<()> {
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
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(terminal);
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    started.map_err(|error| io::Error::other(error.to_string()))
}
