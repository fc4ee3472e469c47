//! Whether the configuration on disk is another one than the daemon knows.
//!
//! Knows how often it is looked at, and what counts as another: its content, and that of what it includes, whichever files,
//! links or modes that is behind. Does not know what is done about it. No hint of the kernel is needed, so that none can be
//! lost.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cli::contents;
use crate::config::{Config, Contents};

use super::{RunArgs, overrides};

/// How long it is between two looks: a few small files are read then.
const EVERY: Duration = Duration::from_secs(1);

/// What stands in the configuration's files; `None` while its own cannot be read.
type Found = Option<Contents>;

/// The looks at the configuration's files, and what they found.
#[derive(Debug)]
pub(super) struct ContentWatch {
    args: RunArgs,
    /// What was taken or refused last.
    known: Found,
    /// What the last look found, where that is something else.
    candidate: Option<Found>,
    /// The look that is under way. Only one ever is: it may hang.
    look: Option<JoinHandle<Found>>,
}

impl ContentWatch {
    pub(super) fn new(args: &RunArgs, started_with: &Config) -> Self {
        let known = Some(started_with.included.contents);
        Self { args: args.clone(), known, candidate: None, look: None }
    }

    /// Takes what `config` was made of for known.
    pub(super) fn took(&mut self, config: &Config) {
        self.known = Some(config.included.contents);
        self.candidate = None;
    }

    /// Resolves when two looks in a row found the same, and not what is known: a file that is being written, or is away for a
    /// moment, is none. What they found is known from then on. May be dropped at any time: a look that is under way goes on.
    pub(super) async fn changed(&mut self) {
        loop {
            let look = match &mut self.look {
                Some(look) => look,
                None => {
                    pause().await;
                    self.look.insert(begin_look(self.args.clone()))
                }
            };
            let found = match look.await {
                Ok(found) => found,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            self.look = None;
            if found == self.known {
                self.candidate = None;
            } else if self.candidate == Some(found) {
                self.candidate = None;
                self.known = found;
                return;
            } else {
                self.candidate = Some(found);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nobody tells when a file changes")]
async fn pause() {
    tokio::time::sleep(EVERY).await;
}

#[expect(clippy::disallowed_methods, reason = "what may hang is done beside the loop")]
fn begin_look(args: RunArgs) -> JoinHandle<Found> {
    tokio::task::spawn_blocking(move || contents(args.config.as_ref(), &overrides(&args)))
}
