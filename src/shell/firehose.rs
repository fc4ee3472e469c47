//! The delivery stream at the service: the only room that names its SDK.
//!
//! Knows clients and requests; `verdicts` and `codes` know what each kind of answer means, `describe` what can be asked
//! beforehand. Sends each request once, with the SDK's own retries off: when to try again is decided by the rules, which
//! know the quota. Knows neither files nor queues. Called by the daemon for each `Put`.
//!
//! *Invariant:* a record counts as delivered only with the RecordId that the service gave it; an answer that does
//! not fit its request is never an acknowledgement.

#![expect(clippy::disallowed_methods, reason = "measures how long an answer took, and says when it came")]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::{
    Credentials, IdentityCache, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use bytes::Bytes;

use crate::config::{Located, Stream};
use crate::model::operation::Operation;
use crate::model::verdict::{Outcome, Retry, RetryReason, Verdict};
use crate::shell::aws::{Access, Connections, Found};

use self::placed::{host_of, number_of};
use self::sent::Sent;
use self::verdicts::{accepted, judge, judge_entries, late};
use self::way::Way;
use self::wire::{OnePass, ReadsMany};

pub use self::codes::label;
pub use self::describe::{Described, Identity};

mod codes;
mod describe;
mod placed;
mod sent;
mod verdicts;
mod way;
mod wire;

/// How long a connection may take to be made: a black hole must not hold a request for its whole time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One delivery stream, with the way that leads to it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// By which it is reached again.
    route: Arc<Route>,
    way: Way,
}

/// Where a delivery stream's region, credentials and endpoint come from.
#[derive(Debug)]
struct Route {
    stream: Stream,
    origin: Origin,
}

/// What leads to delivery streams: an account at AWS, or this process itself.
#[derive(Clone)]
pub enum Origin {
    /// The account that the environment and the configuration give access to.
    Aws(Access),
    /// The embedded delivery stream of this process.
    Embedded {
        /// The URL of the embedded delivery stream.
        endpoint_url: String,
        /// What the embedded delivery stream takes requests of.
        access_key: String,
        secret_key: String,
    },
}

/// A client of the service, and what is asked beside it before something is sent.
#[derive(Clone, Debug)]
struct Reached {
    client: Client,
    located: Arc<Located>,
    /// `None` for the embedded delivery stream, whose keys nobody renews.
    access: Option<Found>,
    /// Where requests go, for a person; without user and password.
    endpoint: String,
}

impl fmt::Debug for Origin {
    /// Without the secret.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(access) => to.debug_tuple("Aws").field(access).finish(),
            Self::Embedded { endpoint_url, .. } => {
                to.debug_struct("Embedded").field("endpoint_url", endpoint_url).finish_non_exhaustive()
            }
        }
    }
}

impl Origin {
    /// Ends what was begun to find ways: no child process is left behind.
    pub async fn close(&self) {
        if let Self::Aws(access) = self {
            access.close().await;
        }
    }
}

impl Destination {
    /// Begins to look for the way: region, credentials and endpoint from the stream's settings and the SDK's standard
    /// chain. Returns at once; requests wait for it.
    pub fn connect(stream: &Stream, origin: &Origin) -> Self {
        Self::by(Arc::new(Route { stream: stream.clone(), origin: origin.clone() }))
    }

    /// A new way to this delivery stream, with region and settings as the standard chain has them now. Credentials that
    /// are shared stay so.
    pub fn connect_again(&self) -> Self {
        Self::by(Arc::clone(&self.route))
    }

    /// The region that requests go to; `None` when it is not known, or not yet.
    pub fn region(&self) -> Option<String> {
        self.way.found().map(|reached| reached.located.region.clone())
    }

    /// Where requests go; `None` when it is not known, or not yet.
    pub fn place(&self) -> Option<Arc<Located>> {
        self.way.found().map(|reached| Arc::clone(&reached.located))
    }

    /// Whether one was made from the other by [`Destination::connect_again`].
    pub fn is_same_way_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.route, &other.route)
    }

    /// Waits until it is known whether there is a way, and credentials on it.
    pub async fn known(&self) {
        if let Ok(reached) = self.way.known().await
            && let Some(access) = &reached.access
        {
            // Either answer is one.
            let _ = access.credentials.credentials().await;
        }
    }

    /// Waits until there is a way, with its region.
    pub async fn located(&self) {
        self.way.there().await;
    }

    /// Waits until there is a way, and credentials on it.
    pub async fn ready(&self) {
        let reached = self.way.there().await;
        if let Some(access) = &reached.access {
            access.credentials.found().await;
        }
    }

    /// What is missing for any request to make sense; `None` when nothing is known to be.
    pub fn missing(&self) -> Option<Retry> {
        let reached = match self.way.now() {
            None => {
                return Some(not_yet(
                    "where to send to, and by whom requests are signed, is being looked for",
                ));
            }
            Some(Err(missing)) => return Some(missing),
            Some(Ok(reached)) => reached,
        };
        let credentials = &reached.access.as_ref()?.credentials;
        if credentials.is_known() {
            credentials.missing()
        } else {
            Some(not_yet("credentials are asked for, and have not come yet"))
        }
    }

    fn by(route: Arc<Route>) -> Self {
        let way = Way::look(Arc::clone(&route));
        Self { route, way }
    }

    /// Sends one request and says what became of each record. It may take `longer` than is configured.
    pub async fn put(&self, operation: Operation, records: Vec<Bytes>, longer: Duration) -> Outcome {
        let began = Instant::now();
        let count = records.len();
        let limit = self.route.stream.request_timeout + longer;
        let put = async {
            match self.way.known().await {
                Ok(reached) => self.put_by(&reached, operation, records).await,
                Err(missing) => vec![Verdict::Retry(missing); count],
            }
        };
        let verdicts = tokio::time::timeout(limit, put).await.unwrap_or_else(|_| {
            if let Some(access) = self.way.found().and_then(|reached| reached.access.clone()) {
                access.leave_connections_of(began);
            }
            // Where credentials are waited for, that is the reason, and not the service.
            let placed = || self.way.found().map_or_else(late, |reached| reached.placed(late()));
            vec![self.missing().map_or_else(placed, Verdict::Retry); count]
        });
        Outcome { verdicts, took: began.elapsed() }
    }

    /// Sends a request; once more with other credentials, if there are others than those that were refused.
    async fn put_by(&self, reached: &Reached, operation: Operation, records: Vec<Bytes>) -> Vec<Verdict> {
        let count = records.len();
        let Some(access) = &reached.access else {
            return self.send(reached, operation, &records).await;
        };
        let signed_by = match access.may_send(&reached.endpoint).await {
            Ok(credentials) => credentials,
            Err(missing) => return vec![Verdict::Retry(missing); count],
        };
        let verdicts = self.send(reached, operation, &records).await;
        let is_refused = |verdict: &Verdict| match verdict {
            Verdict::Retry(why) => why.is_for_credentials(),
            Verdict::Delivered { .. } | Verdict::Rejected { .. } => false,
        };
        // A request that is refused for who signs it has taken no record.
        if verdicts.iter().all(is_refused)
            && access.credentials.other_than(signed_by.access_key_id()).await.is_some()
        {
            return self.send(reached, operation, &records).await;
        }
        verdicts
    }

    async fn send(&self, reached: &Reached, operation: Operation, records: &[Bytes]) -> Vec<Verdict> {
        let verdicts = match operation {
            Operation::PutRecord => self.put_record(reached, records).await,
            Operation::PutRecordBatch => self.put_record_batch(reached, records).await,
        };
        verdicts.into_iter().map(|verdict| reached.placed(verdict)).collect()
    }

    /// The time in milliseconds since 1970, where RecordIds are kept with it.
    fn keeps_ids_at(&self) -> Option<i64> {
        let unix_ms = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        self.route.stream.audit.is_on().then(unix_ms)
    }

    async fn put_record(&self, reached: &Reached, records: &[Bytes]) -> Vec<Verdict> {
        let count = records.len();
        let call = reached.client.put_record().delivery_stream_name(&self.route.stream.delivery_stream);
        let data = records.first().expect("a request has at least one record");
        let verdict = match call.record(record(data)).send().await {
            Ok(output) => accepted(Some(output.record_id()), output.encrypted(), self.keeps_ids_at()),
            Err(error) => {
                let number = error.raw_response().and_then(number_of);
                reached.numbered(judge(&error, &mut Sent::new(records)), number.as_ref())
            }
        };
        vec![verdict; count]
    }

    async fn put_record_batch(&self, reached: &Reached, records: &[Bytes]) -> Vec<Verdict> {
        let count = records.len();
        let call = reached
            .client
            .put_record_batch()
            .delivery_stream_name(&self.route.stream.delivery_stream)
            .set_records(Some(records.iter().map(record).collect()));
        let reads = ReadsMany::new(&self.route.stream.audit);
        let result = call.customize().interceptor(reads.clone()).send().await;
        let (verdicts, number) = match result {
            Ok(_) => {
                let (answer, number) = reads.take();
                (judge_entries(answer, count, &mut Sent::new(records), self.keeps_ids_at()), number)
            }
            Err(error) => {
                let verdict = judge(&error, &mut Sent::new(records));
                (vec![verdict; count], error.raw_response().and_then(number_of))
            }
        };
        verdicts.into_iter().map(|verdict| reached.numbered(verdict, number.as_ref())).collect()
    }
}

impl Route {
    /// Finds the way.
    async fn reach(&self) -> Result<Reached, Retry> {
        let connect = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(self.stream.request_timeout))
            .build();
        let access = match &self.origin {
            Origin::Embedded { endpoint_url, access_key, secret_key } => {
                let keys = Credentials::new(access_key, secret_key, None, None, "embedded");
                return Ok(embedded(endpoint_url, keys, connect));
            }
            Origin::Aws(access) => access.find(&self.stream).await?,
        };
        let mut client = aws_sdk_firehose::config::Builder::from(&access.sdk)
            // When to try again is the rules' to say.
            .retry_config(RetryConfig::disabled())
            // How long a request may take depends on its size, which the client does not know.
            .timeout_config(connect)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(OnePass)
            // Credentials are kept, and renewed, by `access`.
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(SharedCredentialsProvider::new((*access.credentials).clone()));
        // Of this client alone: a role's credentials come from another service.
        client.set_endpoint_url(access.located.endpoint_url.clone());
        let endpoint = host_of(&access.endpoint());
        if let (Some(true), true) = (access.sdk.use_fips(), access.located.endpoint_url.is_some()) {
            return Err(Retry::new(
                RetryReason::Setup,
                "InvalidConfiguration",
                format!("FIPS endpoints are asked for, and {endpoint} as the endpoint: leave one out"),
            ));
        }
        let located = Arc::clone(&access.located);
        Ok(Reached { client: Client::from_conf(client.build()), located, access: Some(access), endpoint })
    }
}

/// The way to this process's own delivery stream. Whatever proxy the environment names: it is another process's business.
fn embedded(endpoint_url: &str, keys: Credentials, timeouts: TimeoutConfig) -> Reached {
    let region = "us-east-1";
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version_latest()
        .http_client(Connections::local())
        .region(Region::from_static(region))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(OnePass)
        .endpoint_url(endpoint_url)
        .credentials_provider(keys);
    Reached {
        client: Client::from_conf(config.build()),
        located: Arc::new(Located { region: region.to_owned(), by: "run --local", endpoint_url: None }),
        access: None,
        endpoint: host_of(endpoint_url),
    }
}

fn not_yet(message: &str) -> Retry {
    Retry::new(RetryReason::Setup, "MissingCredentials", message)
}

fn record(data: &Bytes) -> Record {
    Record::builder()
        .data(Blob::from_maybe_shared(data.clone()))
        .build()
        .expect("a record with data is complete")
}
