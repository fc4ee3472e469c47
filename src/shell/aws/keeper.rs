//! Credentials that are kept, renewed before they end, and shared by all who would ask for the same.
//!
//! Knows when to ask again: when a fifth of the lifetime is left, when a file was replaced, when the service refused what
//! was given, and within seconds after a failure. Goes on with the old credentials for as long as they are valid. Does not
//! know where they come from: `sources` does.
//!
//! *Invariant:* whoever sends never waits for a renewal while there are credentials, and is never the reason for one
//! request to a provider a request to the service.

#![expect(clippy::disallowed_methods, reason = "when to ask again, and the task that does")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_firehose::config::{Credentials, ProvideCredentials};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{info, warn};

use crate::model::verdict::{Retry, RetryReason};

use super::files::look_at;
use super::sources::{Fetched, Sources};
use super::stamp::Stamp;
use super::values::usable;

/// How long one attempt to get credentials may take altogether.
const FETCH_PATIENCE: Duration = Duration::from_secs(60);
/// How long after a failure credentials are asked for again; at the first failures sooner.
const AFTER_FAILURE: Duration = Duration::from_secs(4);
/// The least time between two requests for credentials.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// How old credentials become that do not say when they end.
const WITHOUT_END: Duration = Duration::from_secs(15 * 60);
/// How long credentials are used that are over on arrival by this machine's clock, before others are asked for: the
/// service decides, and refuses them sooner if it has to.
const OVER_ON_ARRIVAL: Duration = Duration::from_secs(60);
/// How often files are looked at, and the wall clock.
const TICK: Duration = Duration::from_secs(1);
/// How long whoever was refused waits for other credentials.
const REFUSED_PATIENCE: Duration = Duration::from_secs(2);

/// Credentials of one origin, for whoever asks.
#[derive(Clone, Debug)]
pub(in crate::shell) struct Keeper {
    standing: watch::Receiver<Standing>,
    wake: Arc<Notify>,
    _task: Arc<Ends>,
}

/// How it stands with credentials.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Counts the attempts that came to an end.
    attempts: u64,
    /// `None` until the first attempt has ended.
    known: Option<Result<Credentials, Retry>>,
}

/// A task that ends with the last of those who hold this.
#[derive(Debug)]
pub(in crate::shell) struct Ends(pub(in crate::shell) AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// Begins to ask for credentials, in one of `tasks`.
    pub(super) fn start(sources: Sources, tasks: &mut JoinSet<()>) -> Self {
        let (sender, standing) = watch::channel(Standing::default());
        let wake = Arc::new(Notify::new());
        let task = tasks.spawn(tend(sources, sender, Arc::clone(&wake)));
        Self { standing, wake, _task: Arc::new(Ends(task)) }
    }

    /// The credentials that are known, once it is known whether there are any.
    ///
    /// # Errors
    /// Why there are none, as the last attempt had it.
    pub(in crate::shell) async fn credentials(&self) -> Result<Credentials, Retry> {
        let mut standing = self.standing.clone();
        let known = standing.wait_for(|standing| standing.known.is_some()).await;
        match known.ok().and_then(|standing| standing.known.clone()) {
            Some(known) => known,
            // The task has ended, because this process does.
            None => Err(missing("no credentials: stopping")),
        }
    }

    /// Credentials for a request. Where the last attempt found none, another one is made and waited for, a little: what
    /// was mended counts at the next try.
    ///
    /// # Errors
    /// Why there are none, as the last attempt had it.
    pub(in crate::shell) async fn for_a_try(&self) -> Result<Credentials, Retry> {
        let known = self.credentials().await;
        if known.is_ok() {
            return known;
        }
        let mut standing = self.standing.clone();
        let before = standing.borrow_and_update().attempts;
        self.wake.notify_one();
        let next = standing.wait_for(|standing| standing.attempts > before);
        // The last reason is as good as the next.
        let _ = tokio::time::timeout(REFUSED_PATIENCE, next).await.is_ok();
        self.credentials().await
    }

    /// Why there are no credentials now; `None` when there are, or when nobody knows yet.
    pub(in crate::shell) fn missing(&self) -> Option<Retry> {
        self.standing.borrow().known.as_ref()?.as_ref().err().cloned()
    }

    /// Whether the first attempt has ended.
    pub(in crate::shell) fn is_known(&self) -> bool {
        self.standing.borrow().known.is_some()
    }

    /// Waits until there are credentials.
    pub(in crate::shell) async fn found(&self) {
        let mut standing = self.standing.clone();
        let is_there = |standing: &Standing| matches!(standing.known, Some(Ok(_)));
        let is_gone = standing.wait_for(is_there).await.is_err();
        if is_gone {
            std::future::pending::<()>().await;
        }
    }

    /// Other credentials than those of `access_key_id`, which the service has refused; `None` when there are no others
    /// before long.
    pub(in crate::shell) async fn other_than(&self, access_key_id: &str) -> Option<Credentials> {
        let mut standing = self.standing.clone();
        let before = standing.borrow_and_update().attempts;
        let other = |standing: &Standing| match &standing.known {
            Some(Ok(known)) if known.access_key_id() != access_key_id => Some(known.clone()),
            Some(_) | None => None,
        };
        if let Some(known) = other(&self.standing.borrow()) {
            return Some(known);
        }
        self.wake.notify_one();
        let next = standing.wait_for(|standing| standing.attempts > before);
        let next = tokio::time::timeout(REFUSED_PATIENCE, next).await.ok()?.ok()?;
        other(&next)
    }
}

impl ProvideCredentials for Keeper {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.credentials().await.map_err(|why| CredentialsError::not_loaded(why.message.to_string()))
        })
    }
}

/// A way that only a person, or time, can mend.
pub(super) fn missing(message: &str) -> Retry {
    Retry::new(RetryReason::Setup, "MissingCredentials", message)
}

/// What is kept between two attempts.
#[derive(Debug, Default)]
struct Kept {
    credentials: Option<Credentials>,
    /// Whether the credentials were over by this machine's clock when they came.
    was_over: bool,
    failures: u32,
    /// Which parts of the credentials were told not to be tidy.
    untidy: Vec<&'static str>,
}

impl Kept {
    fn is_valid(&self) -> bool {
        let ends = |credentials: &Credentials| credentials.expiry();
        match self.credentials.as_ref().map(ends) {
            None => false,
            Some(None) => true,
            Some(Some(_)) if self.was_over => true,
            Some(Some(end)) => end > SystemTime::now(),
        }
    }

    /// Takes credentials in. Returns how long they are good for.
    fn take(&mut self, credentials: Credentials, is_fixed: bool) -> Option<Duration> {
        let left = credentials.expiry().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        self.was_over = left.is_some_and(|left| left.is_zero());
        if self.was_over {
            warn!(
                expired = %credentials.expiry().map(humantime::format_rfc3339_seconds).map(|at| at.to_string()).unwrap_or_default(),
                "the credentials are over on arrival by this machine's clock: set the clock; they are used as they are"
            );
        }
        self.failures = 0;
        self.credentials = Some(credentials);
        match left {
            Some(left) if left.is_zero() => Some(OVER_ON_ARRIVAL),
            Some(left) => Some((left * 4 / 5).max(MIN_PAUSE)),
            None if is_fixed => None,
            None => Some(WITHOUT_END),
        }
    }

    fn tell_untidy(&mut self, untidy: &[&'static str]) {
        if untidy != self.untidy {
            self.untidy = untidy.to_vec();
            for part in untidy {
                warn!(
                    part,
                    "the provider's credentials have blanks, ends of lines or the like around a part: they are left out"
                );
            }
        }
    }

    /// A failure, with how long to wait before the next attempt.
    fn fail(&mut self, why: &str) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 && self.is_valid() {
            warn!(why, "credentials cannot be renewed; those at hand are used until they end");
        }
        MIN_PAUSE.saturating_mul(1 << self.failures.min(4).saturating_sub(1)).min(AFTER_FAILURE)
    }
}

/// Asks for credentials, again and again.
async fn tend(sources: Sources, sender: watch::Sender<Standing>, wake: Arc<Notify>) {
    let mut kept = Kept::default();
    let mut files = Vec::new();
    loop {
        let began = Instant::now();
        // Before they are read: a file that is replaced meanwhile has another stamp then.
        let before = look_at(&files).await;
        let fetched =
            tokio::time::timeout(FETCH_PATIENCE, sources.fetch()).await.unwrap_or_else(|_| Fetched {
                result: Err(format!("no credentials came within {FETCH_PATIENCE:?}")),
                files: Vec::new(),
                is_fixed: false,
            });
        let stamps = if files == fetched.files { before } else { look_at(&fetched.files).await };
        files = fetched.files;
        let found = fetched
            .result
            .and_then(|given| usable(&given).map_err(|why| format!("the credentials cannot be used: {why}")));
        let pause = match found {
            Ok(found) => {
                let had_failed = kept.failures > 0;
                kept.tell_untidy(&found.untidy);
                let pause = kept.take(found.credentials.clone(), fetched.is_fixed);
                if had_failed {
                    info!(access_key = found.credentials.access_key_id(), "credentials are there again");
                }
                publish(&sender, Ok(found.credentials));
                pause
            }
            Err(why) => {
                let pause = kept.fail(&why);
                let standing = match (&kept.credentials, kept.is_valid()) {
                    (Some(old), true) => Ok(old.clone()),
                    (Some(_) | None, _) => Err(missing(&why)),
                };
                publish(&sender, standing);
                Some(pause)
            }
        };
        let until = Pause { until: pause.map(|pause| began + pause), no_sooner: began + MIN_PAUSE };
        until.wait(&wake, &files, stamps, &sender, &kept).await;
    }
}

fn publish(sender: &watch::Sender<Standing>, known: Result<Credentials, Retry>) {
    sender.send_modify(|standing| {
        standing.attempts += 1;
        standing.known = Some(known);
    });
}

/// The time until the next attempt.
struct Pause {
    /// `None` for credentials that stay.
    until: Option<Instant>,
    no_sooner: Instant,
}

impl Pause {
    /// Waits until it is time, somebody was refused, a file was replaced, or what is kept has ended.
    async fn wait(
        &self,
        wake: &Notify,
        files: &[std::path::PathBuf],
        mut stamps: Option<Vec<Stamp>>,
        sender: &watch::Sender<Standing>,
        kept: &Kept,
    ) {
        loop {
            let now = Instant::now();
            if self.until.is_some_and(|until| until <= now) {
                return;
            }
            let next = self.until.map_or(now + TICK, |until| until.min(now + TICK));
            tokio::select! {
                biased;
                () = wake.notified() => {
                    tokio::time::sleep_until(self.no_sooner.into()).await;
                    return;
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
            if !files.is_empty() {
                let now = look_at(files).await;
                if let (Some(before), Some(now)) = (&stamps, &now)
                    && before != now
                {
                    return;
                }
                stamps = now.or(stamps);
            }
            let is_over = kept.failures > 0 && kept.credentials.is_some() && !kept.is_valid();
            if is_over && matches!(sender.borrow().known, Some(Ok(_))) {
                // The next attempt says why there are no others.
                return;
            }
        }
    }
}
