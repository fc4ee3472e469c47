//! The yardstick: the SDK's `PutRecord` and nothing else, as many at once as standpipe sends.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use tokio::task::JoinSet;

const AT_ONCE: u64 = 64;

/// `URL CALLS BYTES`
pub fn run(args: &[String]) {
    let [url, calls, bytes] = args else { panic!("sdk-alone URL CALLS BYTES") };
    let (calls, bytes): (u64, usize) = (calls.parse().unwrap(), bytes.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKID", "secret", None, None, "bench"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    let client = Client::from_conf(config);
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for worker in 0..AT_ONCE {
            let client = client.clone();
            tasks.spawn(async move {
                for _ in (worker..calls).step_by(AT_ONCE as usize) {
                    let record = Record::builder().data(Blob::new(vec![b'x'; bytes])).build().unwrap();
                    client.put_record().delivery_stream_name("bench").record(record).send().await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}
