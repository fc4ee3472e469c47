//! A way to a delivery stream that is looked for in the background, until there is one.
//!
//! Knows when to look again. Does not know what a way is made of.
//!
//! *Invariant:* whoever waits for a way learns of each attempt, so that nobody waits for ever for what only a person can
//! mend.

#![expect(
    clippy::disallowed_methods,
    reason = "the search goes on beside whoever waits for it, and ends with them"
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::verdict::{Retry, RetryReason};
use crate::shell::aws::Ends;

use super::{Reached, Route};

/// How long after a failure a way is looked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A way, or the search for one.
#[derive(Clone, Debug)]
pub(super) struct Way {
    found: watch::Receiver<Option<Result<Arc<Reached>, Retry>>>,
    /// The search ends with the last of those who wait.
    _search: Arc<Ends>,
}

impl Way {
    /// Begins to look.
    pub(super) fn look(route: Arc<Route>) -> Self {
        let (sender, found) = watch::channel(None);
        let search = tokio::spawn(async move {
            loop {
                let reached = route.reach().await.map(Arc::new);
                let is_there = reached.is_ok();
                sender.send_replace(Some(reached));
                if is_there {
                    // Those who wait may come later.
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Self { found, _search: Arc::new(Ends(search.abort_handle())) }
    }

    /// The way, or why there is none; `None` before the first attempt has ended.
    pub(super) fn now(&self) -> Option<Result<Arc<Reached>, Retry>> {
        self.found.borrow().clone()
    }

    /// The way, if there is one now.
    pub(super) fn found(&self) -> Option<Arc<Reached>> {
        self.now()?.ok()
    }

    /// The way, or why there is none, as soon as the first attempt has ended.
    ///
    /// # Errors
    /// What is missing.
    pub(super) async fn known(&self) -> Result<Arc<Reached>, Retry> {
        let mut found = self.found.clone();
        match found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone()) {
            Some(known) => known,
            None => Err(Retry::new(RetryReason::Setup, "MissingCredentials", "stopping")),
        }
    }

    /// The way, once there is one.
    pub(super) async fn there(&self) -> Arc<Reached> {
        let mut found = self.found.clone();
        let there = found.wait_for(|found| matches!(found, Some(Ok(_)))).await;
        match there.ok().and_then(|found| found.clone()) {
            Some(Ok(reached)) => reached,
            Some(Err(_)) | None => std::future::pending().await,
        }
    }
}
