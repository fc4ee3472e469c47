//! The delivery stream at the service: the only room that names its SDK.
//!
//! Knows clients and requests; `verdicts` and `codes` know what each kind of answer means, `describe` what can be asked
//! beforehand. Sends each request once, with the SDK's own retries off: when to try again is decided by the rules, which
//! know the quota. Knows neither files nor queues. Called by the daemon for each `Put`.
//!
//! *Invariant:* a record counts as delivered only with the RecordId that the service gave it; an answer that does
//! not fit its request is never an acknowledgement.

#![expect(clippy::disallowed_methods, reason = "measures how long an answer took")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use bytes::Bytes;

use crate::config::Stream;
use crate::model::limits::base64_len;
use crate::model::operation::Operation;
use crate::model::verdict::{Outcome, Retry, RetryReason, Verdict};

use self::verdicts::{accepted, judge, judge_entries, late};

pub use self::describe::{Described, Identity};

mod codes;
mod describe;
mod verdicts;

/// How long a connection may take to be made: a black hole must not hold a request for its whole time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A request gets a second more for so many bytes on the wire: a link of that speed carries what is sent at once.
const WIRE_BYTES_PER_SECOND: f64 = 20_000.0;

/// One delivery stream, with the client that reaches it.
#[derive(Clone, Debug)]
pub struct Destination {
    client: Client,
    delivery_stream: Arc<str>,
    /// What is missing for any request to make sense.
    missing: Option<Retry>,
    /// By which it is reached again.
    route: Arc<Route>,
    credentials: Option<SharedCredentialsProvider>,
}

/// Where a delivery stream's region, credentials and endpoint come from.
#[derive(Debug)]
struct Route {
    stream: Stream,
    embedded: Option<Embedded>,
}

/// How to reach the embedded delivery stream of this process.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The URL of the embedded delivery stream.
    pub endpoint_url: String,
}

impl Destination {
    /// Resolves region, credentials and endpoint from the stream's settings and the SDK's standard chain.
    ///
    /// The SDK keeps a profile that it read for ever, and credentials that do not say when they end for a quarter of
    /// an hour. So whoever is refused for them, asks for [`Destination::connect_again`].
    pub async fn connect(stream: &Stream, embedded: Option<&Embedded>) -> Self {
        Self::by(Arc::new(Route { stream: stream.clone(), embedded: embedded.cloned() })).await
    }

    /// A new way to this delivery stream, with region and credentials as the standard chain has them now.
    pub async fn connect_again(&self) -> Self {
        Self::by(Arc::clone(&self.route)).await
    }

    /// The region that requests go to; `None` when none is set.
    pub fn region(&self) -> Option<String> {
        self.client.config().region().map(ToString::to_string)
    }

    /// Whether one was made from the other by [`Destination::connect_again`].
    pub fn is_same_way_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.route, &other.route)
    }

    async fn by(route: Arc<Route>) -> Self {
        let Route { stream, embedded } = &*route;
        let connect =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT.min(stream.request_timeout)).build();
        let timeouts = connect
            .to_builder()
            .operation_attempt_timeout(stream.request_timeout)
            .operation_timeout(stream.request_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if embedded.is_some() {
            loader = loader
                // Whatever proxy the environment names: it is another process's business.
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .region(Region::from_static("us-east-1"))
                .credentials_provider(Credentials::new("embedded", "embedded", None, None, "embedded"));
        } else {
            if let Some(region) = &stream.region {
                loader = loader.region(Region::new(region.clone()));
            }
            if let Some(profile) = &stream.profile {
                loader = loader.profile_name(profile);
            }
        }
        let mut sdk = loader.load().await;
        if let (Some(role), None) = (&stream.role_arn, embedded) {
            let role = aws_config::sts::AssumeRoleProvider::builder(role.clone())
                .session_name("standpipe")
                .configure(&sdk)
                .build()
                .await;
            let role = SharedCredentialsProvider::new(role);
            sdk = sdk.into_builder().credentials_provider(role).build();
        }
        let missing = sdk.region().is_none().then(|| Retry {
            reason: RetryReason::Setup,
            code: "MissingRegion".into(),
            message: "no region: set region in [aws], or AWS_REGION, or a profile with one".into(),
        });
        let delivery_stream = stream.delivery_stream.as_str().into();
        let credentials = sdk.credentials_provider();
        // How long a request may take depends on its size, which the client does not know.
        let mut client = aws_sdk_firehose::config::Builder::from(&sdk).timeout_config(connect);
        // Of this client alone: a role's credentials come from another service.
        let url = embedded.as_ref().map(|embedded| &embedded.endpoint_url).or(stream.endpoint_url.as_ref());
        if let Some(url) = url {
            client = client.endpoint_url(url);
        }
        Self { client: Client::from_conf(client.build()), delivery_stream, missing, route, credentials }
    }

    /// Sends one request and says what became of each record.
    pub async fn put(&self, operation: Operation, records: Vec<Bytes>) -> Outcome {
        let began = Instant::now();
        let count = records.len();
        let limit = time_limit(self.route.stream.request_timeout, &records);
        let put = async {
            match (&self.missing, operation) {
                (Some(missing), _) => vec![Verdict::Retry(missing.clone()); count],
                (None, Operation::PutRecord) => self.put_record(records).await,
                (None, Operation::PutRecordBatch) => self.put_record_batch(records).await,
            }
        };
        let verdicts = tokio::time::timeout(limit, put).await.unwrap_or_else(|_| vec![late(); count]);
        Outcome { verdicts, took: began.elapsed() }
    }

    async fn put_record(&self, records: Vec<Bytes>) -> Vec<Verdict> {
        let count = records.len();
        let call = self.client.put_record().delivery_stream_name(&*self.delivery_stream);
        let data = records.into_iter().next().expect("a request has at least one record");
        let verdict = match call.record(record(&data)).send().await {
            Ok(output) => accepted(Some(output.record_id()), output.encrypted()),
            Err(error) => judge(&error),
        };
        vec![verdict; count]
    }

    async fn put_record_batch(&self, records: Vec<Bytes>) -> Vec<Verdict> {
        let count = records.len();
        let call = self
            .client
            .put_record_batch()
            .delivery_stream_name(&*self.delivery_stream)
            .set_records(Some(records.iter().map(record).collect()));
        drop(records);
        match call.send().await {
            Ok(output) => judge_entries(&output, count),
            Err(error) => vec![judge(&error); count],
        }
    }
}

/// How long a request may take: a thin link carries a large one late, and it would be sent again for ever.
fn time_limit(request_timeout: Duration, records: &[Bytes]) -> Duration {
    let wire_bytes: usize = records.iter().map(|data| base64_len(data.len())).sum();
    request_timeout + Duration::from_secs_f64(wire_bytes as f64 / WIRE_BYTES_PER_SECOND)
}

fn record(data: &Bytes) -> Record {
    Record::builder().data(Blob::new(data.to_vec())).build().expect("a record with data is complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_may_take_a_second_longer_for_each_20_kilobytes() {
        let request_timeout = Duration::from_secs(30);
        let limit = |bytes: usize| time_limit(request_timeout, &[Bytes::from(vec![0; bytes])]).as_secs();
        assert_eq!([limit(100), limit(15_000), limit(900_000)], [30, 31, 90]);
    }
}
