//! SIGTERM and SIGINT: the first asks to stop, the second ends the process at once. SIGHUP asks to stop where it comes because
//! the terminal was closed that the process was started in, and for the configuration to be read again where somebody sent it.

use std::fs::{self, File};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_core::Stream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals;

/// Resolves at the first signal. A second one ends the process with 0: what is not delivered is not checkpointed.
///
/// # Errors
/// When the handlers cannot be installed, or no runtime is there.
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set.
        flag::register_conditional_shutdown(signal, 0, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(async move {
        match Signals::new([SIGTERM, SIGINT]) {
            // One that came before anybody listened has left its mark.
            Ok(_) if asked.load(Ordering::SeqCst) => tracing::info!("asked to stop while starting"),
            Ok(mut signals) => {
                let next = std::future::poll_fn(|context| Pin::new(&mut signals).poll_next(context));
                if let Some(signal) = next.await {
                    tracing::info!(signal, "signal received; a second one ends the process at once");
                }
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be read: only a second one will end the process");
                std::future::pending::<()>().await;
            }
        }
    })
}

/// Resolves when somebody asks to stop, or what the process was started in is closed.
pub(super) async fn either(stop: impl Future<Output = ()>, closed: Option<impl Future<Output = ()>>) {
    let Some(closed) = closed else { return stop.await };
    tokio::select! {
        biased;
        () = stop => {}
        () = closed => {}
    }
}

/// Each SIGHUP from now on that somebody sent; several that come at once may count as one.
pub(super) struct Hangups {
    signals: Signals,
    terminal: Terminal,
}

/// What SIGHUP asks for from now on: the configuration to be read again, and the end of the process. The second resolves once the
/// terminal is closed.
///
/// # Errors
/// When the handler cannot be installed, or no runtime is there.
pub(super) fn hangups() -> io::Result<(Hangups, impl Future<Output = ()>)> {
    // Before a handler takes the place of what is to be asked about.
    let terminal = Terminal::of_process();
    let listen = |terminal| io::Result::Ok(Hangups { signals: Signals::new([SIGHUP])?, terminal });
    let (sent, mut any) = (listen(terminal.clone())?, listen(terminal)?);
    let closed = async move {
        while !any.terminal.is_closed() {
            any.receive().await;
        }
        tracing::info!("the terminal was closed that this was started in");
    };
    Ok((sent, closed))
}

impl Hangups {
    /// Resolves at the next SIGHUP that somebody sent.
    pub(super) async fn next(&mut self) {
        self.receive().await;
        while self.terminal.is_closed() {
            self.receive().await;
        }
    }

    /// Resolves at the next SIGHUP.
    async fn receive(&mut self) {
        let next = std::future::poll_fn(|context| Pin::new(&mut self.signals).poll_next(context));
        if next.await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The terminal whose end is that of the process: none for a service, and none behind `nohup` or `setsid`.
#[derive(Clone, Debug)]
struct Terminal(Option<Arc<File>>);

impl Terminal {
    /// The terminal that this process was started in.
    #[expect(
        clippy::disallowed_methods,
        reason = "a terminal is a file, and what is ignored is asked of the kernel"
    )]
    fn of_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if ignores_hangups(&status) {
            return Self(None);
        }
        Self(File::open("/dev/tty").ok().map(Arc::new))
    }

    /// Whether the terminal is there no more. Its descriptors are told before the signal is sent.
    fn is_closed(&self) -> bool {
        self.0.as_ref().is_some_and(|terminal| rustix::termios::tcgetattr(terminal).is_err())
    }
}

/// Whether whoever started this process had it ignore SIGHUP, by what the kernel says of the process.
fn ignores_hangups(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|signals| u64::from_str_radix(signals.trim(), 16).ok());
    ignored.is_some_and(|signals| signals >> (SIGHUP - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangups_are_ignored_where_the_kernel_says_so() {
        for (ignored, expected) in
            [("0000000000000001", true), ("0000000000001005", true), ("0000000000001000", false), ("", false)]
        {
            let status =
                format!("Name:\tstandpipe\nSigBlk:\t0000000000000001\nSigIgn:\t{ignored}\nSigCgt:\t1\n");
            assert_eq!(ignores_hangups(&status), expected, "{ignored}");
        }
        assert!(!ignores_hangups(""));
    }
}
