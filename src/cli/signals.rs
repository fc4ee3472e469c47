//! SIGTERM and SIGINT: the first asks to stop, the second ends the process at once. SIGHUP asks for the configuration
//! to be read again.

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

/// Each SIGHUP from now on; several that come at once may count as one.
pub(super) struct Hangups(Signals);

/// # Errors
/// When the handler cannot be installed, or no runtime is there.
pub(super) fn hangups() -> io::Result<Hangups> {
    Signals::new([SIGHUP]).map(Hangups)
}

impl Hangups {
    /// Resolves at the next SIGHUP.
    pub(super) async fn next(&mut self) {
        let next = std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context));
        if next.await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
