//! The way to AWS: credentials, region, certificates, proxies.
//!
//! Knows where each of them comes from and when it is looked for again. The SDK finds credentials and signs; what it does
//! badly is wrapped here: values that nobody trimmed, failures that it remembers, files that it reads once. Does not know
//! delivery streams: `firehose` sends.
//!
//! *Invariant:* nothing here is a reason to end the process, and nobody waits here who could go on.

mod connections;
mod environment;
mod explain;
mod files;
mod imds;
mod keeper;
mod process;
mod profile;
mod regions;
mod resolve;
mod sources;
mod stamp;
mod trust;
mod values;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use aws_config::SdkConfig;
use aws_sdk_firehose::config::Credentials;
use tokio::task::JoinSet;
use tracing::warn;

use crate::config::{self, Located};
use crate::model::verdict::{Retry, RetryReason};

pub(in crate::shell) use self::connections::Connections;
use self::environment::Environment;
use self::keeper::Keeper;
use self::profile::Profiles;
use self::sources::Sources;

pub(in crate::shell) use self::explain::root as cause;
pub(in crate::shell) use self::keeper::Ends;
pub use self::resolve::{Reach, hint};

/// What the ways of all streams share: the environment as it was at the start, and credentials of equal settings.
#[derive(Clone, Debug)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    environment: Arc<Environment>,
    notes: Vec<String>,
    /// What was told of regions, so that it is told once.
    told: Mutex<BTreeSet<String>>,
    keepers: Mutex<HashMap<Settings, Weak<Keeper>>>,
    tasks: Mutex<JoinSet<()>>,
    /// The region that the instance metadata service said.
    of_metadata: tokio::sync::Mutex<Option<Asked>>,
}

/// An answer of the instance metadata service, and when it came.
#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    region: Result<String, String>,
}

/// What credentials depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Settings {
    aws: Arc<config::Aws>,
    role_arn: Option<String>,
    region: String,
}

/// A way that was found: what a client of the service is made from.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Settings of the environment and the profile.
    pub(super) sdk: SdkConfig,
    /// Where requests go, and by whose word.
    pub(super) located: Arc<Located>,
    pub(super) credentials: Arc<Keeper>,
    connections: Connections,
}

impl Found {
    /// The credentials that the next request to `endpoint` is signed with.
    ///
    /// # Errors
    /// What is missing for a request to make sense.
    pub(super) async fn may_send(&self, endpoint: &str) -> Result<Credentials, Retry> {
        let trust = self.connections.refresh().await;
        if let (Err(why), false) = (trust, endpoint.starts_with("http://")) {
            return Err(Retry::new(RetryReason::Setup, "BadCertificates", why));
        }
        self.credentials.for_a_try().await
    }

    /// A request that began then got no answer in time: those that follow use other connections.
    pub(super) fn leave_connections_of(&self, began: Instant) {
        self.connections.leave_those_of(began);
    }

    /// Where requests go: the URL that is named, else that of the service in this region.
    pub(super) fn endpoint(&self) -> String {
        if let Some(url) = &self.located.endpoint_url {
            return url.clone();
        }
        let china = if self.located.region.starts_with("cn-") { ".cn" } else { "" };
        let fips = if self.sdk.use_fips() == Some(true) { "-fips" } else { "" };
        match self.sdk.use_dual_stack() {
            Some(true) if china.is_empty() => {
                format!("https://firehose{fips}.{}.api.aws", self.located.region)
            }
            Some(true) => {
                format!("https://firehose{fips}.{}.api.amazonwebservices.com.cn", self.located.region)
            }
            Some(false) | None => {
                format!("https://firehose{fips}.{}.amazonaws.com{china}", self.located.region)
            }
        }
    }
}

impl Access {
    /// The access that the environment of this process gives.
    pub fn of_process() -> Self {
        let (environment, untidy) = Environment::of(&|name| std::env::var_os(name));
        let untidy = untidy.into_iter().map(|name| {
            format!("{name} has blanks, ends of lines or the like around its value: they are left out")
        });
        let proxies = connections::malformed_proxies(&environment);
        let notes = untidy.chain(proxies).chain(switches(&environment)).collect();
        Self(Arc::new(Shared {
            environment: Arc::new(environment),
            notes,
            told: Mutex::default(),
            keepers: Mutex::default(),
            tasks: Mutex::default(),
            of_metadata: tokio::sync::Mutex::default(),
        }))
    }

    /// What is wrong with the environment and does not keep anything from being sent.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Finds the way of one stream.
    ///
    /// # Errors
    /// What is missing, in one sentence.
    pub(super) async fn find(&self, stream: &config::Stream) -> Result<Found, Retry> {
        resolve::find(&self.0, stream).await
    }

    /// Where the requests of one stream go, as far as that is known without credentials; and what is wrong with the
    /// certificates that their connections trust.
    pub async fn locate(
        &self,
        stream: &config::Stream,
        reach: Reach,
    ) -> (Option<Arc<Located>>, Option<String>) {
        match resolve::look(&self.0, stream, reach).await {
            Ok(looked) => (looked.located.ok().map(|(located, _)| located), looked.trust.err()),
            Err(_) => (None, None),
        }
    }

    /// Ends all that was begun here: no child process is left behind.
    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// Says of each switch that is neither on nor off.
fn switches(environment: &Environment) -> Vec<String> {
    let note = |name: &str| {
        let value = environment.get(name)?;
        let is_clear = ["true", "false"].iter().any(|known| value.eq_ignore_ascii_case(known));
        (!is_clear).then(|| format!("{name} is `{value}`, which has no effect: write true or false"))
    };
    ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"].into_iter().filter_map(note).collect()
}

impl Shared {
    /// Tells what is odd and keeps nothing from being sent, once.
    fn tell_once(&self, message: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(message.clone()) {
            warn!("{message}");
        }
    }

    /// The credentials of these settings, for all who have the same.
    fn keeper(&self, settings: Settings, connections: &Connections, read: &Profiles) -> Arc<Keeper> {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|_, keeper| keeper.strong_count() > 0);
        if let Some(keeper) = keepers.get(&settings).and_then(Weak::upgrade) {
            return keeper;
        }
        let sources = Sources {
            environment: Arc::clone(&self.environment),
            aws: Arc::clone(&settings.aws),
            role_arn: settings.role_arn.clone(),
            region: settings.region.clone(),
            connections: connections.clone(),
            contents: read.contents(),
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave their places.
        while tasks.try_join_next().is_some() {}
        let keeper = Arc::new(Keeper::start(sources, &mut tasks));
        keepers.insert(settings, Arc::downgrade(&keeper));
        keeper
    }
}
