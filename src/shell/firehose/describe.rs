//! What can be asked before a record is sent: who we are to the service, and how a delivery stream stands.
//!
//! Knows one answer of the service beside those to puts. Called by `check --online`, and by the daemon at its start.

use std::time::SystemTime;

use aws_sdk_firehose::config::ProvideCredentials;

use crate::model::verdict::{Retry, RetryReason, Verdict};

use super::Destination;
use super::verdicts::{causes, judge};

/// A delivery stream, as the service describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The state of the delivery stream: `ACTIVE` when it takes records.
    pub status: String,
    /// Where records come from: `DirectPut` for a delivery stream that takes them from clients.
    pub kind: String,
    /// The state of server-side encryption: `ENABLED`, `DISABLED`, and the ways between.
    pub encryption: String,
}

/// By whom requests are signed. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ID of the access key that requests are signed with.
    pub access_key_id: String,
    /// The region that requests are signed for; `None` when none is set.
    pub region: Option<String>,
    /// When the credentials end; they are renewed before.
    pub expires: Option<SystemTime>,
}

impl Destination {
    /// The credentials that the standard chain, or the role, gives.
    ///
    /// # Errors
    /// What each provider of the chain says, on one line.
    pub async fn identity(&self) -> Result<Identity, String> {
        let Some(provider) = &self.credentials else {
            return Err("no credentials provider".to_owned());
        };
        let credentials = provider.provide_credentials().await.map_err(|error| causes(&error))?;
        Ok(Identity {
            access_key_id: credentials.access_key_id().to_owned(),
            region: self.client.config().region().map(ToString::to_string),
            expires: credentials.expiry(),
        })
    }

    /// Asks the service for the delivery stream. Needs `firehose:DescribeDeliveryStream`.
    ///
    /// # Errors
    /// As a put would fail, with the service's code.
    pub async fn describe(&self) -> Result<Described, Retry> {
        if let Some(missing) = &self.missing {
            return Err(missing.clone());
        }
        let call = self.client.describe_delivery_stream().delivery_stream_name(&*self.delivery_stream);
        let limit = self.route.stream.request_timeout;
        let Ok(answer) = tokio::time::timeout(limit, call.send()).await else {
            return Err(Retry {
                reason: RetryReason::Network,
                code: "Timeout".into(),
                message: "no answer in time".into(),
            });
        };
        match answer {
            Ok(output) => {
                let stream = output.delivery_stream_description();
                let encryption = stream.and_then(|stream| stream.delivery_stream_encryption_configuration());
                Ok(Described {
                    status: stream.map_or("", |stream| stream.delivery_stream_status().as_str()).to_owned(),
                    kind: stream.map_or("", |stream| stream.delivery_stream_type().as_str()).to_owned(),
                    encryption: encryption
                        .and_then(|encryption| encryption.status())
                        .map_or("DISABLED", |status| status.as_str())
                        .to_owned(),
                })
            }
            Err(error) => Err(match judge(&error) {
                Verdict::Retry(why) => why,
                Verdict::Rejected { code, message } => Retry { reason: RetryReason::Setup, code, message },
                Verdict::Delivered { .. } => unreachable!("an error accepts nothing"),
            }),
        }
    }
}
