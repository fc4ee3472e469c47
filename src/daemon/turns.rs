//! Turns of the loop, and when others on its thread have theirs.
//!
//! Knows how long the loop has turned. Does not know what it does.
//!
//! *Invariant:* however many results there are, the runtime listens to connections every few milliseconds.

use std::time::{Duration, Instant as Clock};

/// How long the loop turns without a word to the runtime. Left to itself it goes on for as long as there are results, 128 turns at a
/// time, and each takes in several: while a hundred thousand files were opened, `/livez` waited most of a second.
const TURNS_FOR: Duration = Duration::from_millis(5);

/// How long the loop has turned.
#[derive(Debug)]
pub(super) struct Turns {
    since: Clock,
}

impl Turns {
    pub(super) fn begin() -> Self {
        Self { since: Clock::now() }
    }

    /// One more: the runtime hears who has come, if it is time.
    pub(super) async fn next(&mut self) {
        if self.since.elapsed() > TURNS_FOR {
            tokio::task::yield_now().await;
            self.since = Clock::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_loop_that_always_has_something_to_do_lets_connections_be_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut heard = tokio::spawn(async move { listener.accept().await.map(drop) });
            let _connection = TcpStream::connect(address).unwrap();
            let mut turns = Turns::begin();
            // Nothing else is awaited: without its turns the listener is never asked.
            while !heard.is_finished() {
                turns.next().await;
            }
            (&mut heard).await.unwrap().unwrap();
        });
    }
}
