//! The instance metadata service: the last place where credentials and a region are looked for.
//!
//! Knows where it is, how long it is waited for, and what its silence means. Does not know other places.

use std::time::Duration;

use aws_config::imds::client::ImdsResponseRetryClassifier;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::{self, Client};
use aws_config::provider_config::ProviderConfig;
use aws_sdk_firehose::config::{Credentials, ProvideCredentials};
use aws_smithy_runtime_api::client::retries::classifiers::SharedRetryClassifier;

use crate::config::Aws;

use super::environment::Environment;
use super::explain::root;

const DEFAULT_HOST: &str = "http://169.254.169.254";
const DEFAULT_HOST_V6: &str = "http://[fd00:ec2::254]";
const REGION_PATH: &str = "/latest/meta-data/placement/region";

/// How to ask the instance metadata service.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    endpoint: String,
    timeout: Duration,
    attempts: u32,
    is_disabled: bool,
}

impl Metadata {
    /// What the configuration says comes before the environment, and that before the profile.
    pub(super) fn of(aws: &Aws, environment: &Environment, of_profile: Option<&str>) -> Self {
        let seconds = environment.get("AWS_METADATA_SERVICE_TIMEOUT").and_then(|text| text.parse().ok());
        let seconds = seconds.filter(|seconds: &f64| (0.1..=60.0).contains(seconds));
        let attempts =
            environment.get("AWS_METADATA_SERVICE_NUM_ATTEMPTS").and_then(|text| text.parse().ok());
        let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
        let default = if mode.eq_ignore_ascii_case("ipv6") { DEFAULT_HOST_V6 } else { DEFAULT_HOST };
        let named = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").or(of_profile);
        let is_disabled = environment.get("AWS_EC2_METADATA_DISABLED");
        Self {
            endpoint: named.unwrap_or(default).to_owned(),
            timeout: aws
                .imds_timeout
                .or(seconds.map(Duration::from_secs_f64))
                .unwrap_or_else(|| aws.imds_timeout()),
            attempts: aws
                .imds_attempts
                .or(attempts.filter(|attempts| (1..=100).contains(attempts)))
                .unwrap_or_else(|| aws.imds_attempts()),
            is_disabled: is_disabled.is_some_and(|text| text.eq_ignore_ascii_case("true")),
        }
    }

    /// The credentials of the instance's role.
    ///
    /// # Errors
    /// Why there are none, with the host.
    pub(super) async fn credentials(&self, config: &ProviderConfig) -> Result<Credentials, String> {
        let client = self.client(config)?;
        let provider = ImdsCredentialsProvider::builder().configure(config).imds_client(client).build();
        provider.provide_credentials().await.map_err(|error| self.why(&error))
    }

    /// The region that the instance is in.
    ///
    /// # Errors
    /// Why it is not known, with the host.
    pub(super) async fn region(&self, config: &ProviderConfig) -> Result<String, String> {
        let client = self.client(config)?;
        let region = client.get(REGION_PATH).await.map_err(|error| self.why(&error))?;
        Ok(region.as_ref().to_owned())
    }

    fn client(&self, config: &ProviderConfig) -> Result<Client, String> {
        if self.is_disabled {
            return Err("instance metadata is switched off (AWS_EC2_METADATA_DISABLED)".to_owned());
        }
        let again = ImdsResponseRetryClassifier::default().with_retry_connect_timeouts(true);
        let whole = self.timeout * self.attempts + Duration::from_secs(1) * self.attempts;
        let client = imds::Client::builder()
            .configure(config)
            .connect_timeout(self.timeout)
            .read_timeout(self.timeout)
            // An attempt may fetch a token first; the two limits above are of each request.
            .operation_attempt_timeout(whole)
            .operation_timeout(whole)
            .max_attempts(self.attempts)
            .retry_classifier(SharedRetryClassifier::new(again))
            .endpoint(&self.endpoint)
            .map_err(|error| {
                format!("the instance metadata endpoint {} is no URL: {error}", self.endpoint)
            })?;
        Ok(client.build())
    }

    /// What the silence of the service means, or its answer.
    fn why(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let host = self.endpoint.trim_start_matches("http://").trim_end_matches('/');
        let root = root(error);
        let said = root.to_ascii_lowercase();
        if said.contains("timeout") || said.contains("timed out") {
            let (timeout, attempts) = (self.timeout, self.attempts);
            return format!(
                "the instance metadata service at {host} did not answer within {timeout:?} ({attempts} attempts): in a \
                 container on EC2 its hop limit is probably 1"
            );
        }
        if said.contains("404") {
            return format!("the instance metadata service at {host} knows no role of this instance");
        }
        format!("the instance metadata service at {host} cannot be used: {root}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::environment;
    use super::*;

    #[test]
    fn the_configuration_says_how_long_metadata_is_waited_for() {
        let named = environment(&[
            ("AWS_METADATA_SERVICE_TIMEOUT", "5"),
            ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "4"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"),
        ]);
        let own =
            Aws { imds_timeout: Some(Duration::from_secs(1)), imds_attempts: Some(2), ..Aws::default() };
        for (aws, environment, expected) in [
            (&Aws::default(), &environment(&[]), (2, 3, DEFAULT_HOST)),
            (&Aws::default(), &named, (5, 4, DEFAULT_HOST_V6)),
            (&own, &named, (1, 2, DEFAULT_HOST_V6)),
        ] {
            let of = Metadata::of(aws, environment, None);
            assert_eq!((of.timeout.as_secs(), of.attempts, of.endpoint.as_str()), expected);
        }
    }
}
