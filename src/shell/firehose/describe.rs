//! What can be asked before a record is sent: who we are to the service, and how a delivery stream stands.
//!
//! Knows one answer of the service beside those to puts. Called by `check --online`, and by the daemon at its start.

use std::time::SystemTime;

use crate::model::verdict::{Retry, RetryReason, Verdict};

use super::Destination;
use super::sent::Sent;
use super::verdicts::{MAX_CODE_BYTES, judge, kept};

/// A delivery stream, as the service describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The state of the delivery stream: `ACTIVE` when it takes records.
    pub status: String,
    /// Where records come from: `DirectPut` for a delivery stream that takes them from clients.
    pub kind: String,
    /// The state of server-side encryption: `ENABLED`, `DISABLED`, and the ways between.
    pub encryption: String,
    /// The account that the delivery stream belongs to; empty when its ARN does not say.
    pub account: String,
}

/// By whom requests are signed. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ID of the access key that requests are signed with.
    pub access_key_id: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where requests go: scheme, host and port.
    pub endpoint: String,
    /// When the credentials end; they are renewed before.
    pub expires: Option<SystemTime>,
}

impl Destination {
    /// The credentials that the standard chain, or the role, gives.
    ///
    /// # Errors
    /// What is missing: a region, or credentials.
    pub async fn identity(&self) -> Result<Identity, Retry> {
        let reached = self.way.known().await?;
        let (access_key_id, expires) = match &reached.access {
            Some(access) => {
                let credentials = access.credentials.credentials().await?;
                (credentials.access_key_id().to_owned(), credentials.expiry())
            }
            None => ("embedded".to_owned(), None),
        };
        Ok(Identity {
            access_key_id,
            region: reached.located.region.clone(),
            endpoint: reached.endpoint.clone(),
            expires,
        })
    }

    /// Asks the service for the delivery stream. Needs `firehose:DescribeDeliveryStream`.
    ///
    /// # Errors
    /// As a put would fail, with the service's code.
    pub async fn describe(&self) -> Result<Described, Retry> {
        let reached = self.way.known().await?;
        if let Some(access) = &reached.access {
            access.may_send(&reached.endpoint).await?;
        }
        let name = &self.route.stream.delivery_stream;
        let call = reached.client.describe_delivery_stream().delivery_stream_name(name);
        let limit = self.route.stream.request_timeout;
        let Ok(answer) = tokio::time::timeout(limit, call.send()).await else {
            return Err(Retry::new(RetryReason::Network, "Timeout", "no answer in time"));
        };
        match answer {
            Ok(output) => {
                let stream = output.delivery_stream_description();
                let encryption = stream.and_then(|stream| stream.delivery_stream_encryption_configuration());
                let said = |text: &str| kept(text, MAX_CODE_BYTES);
                Ok(Described {
                    status: said(stream.map_or("", |stream| stream.delivery_stream_status().as_str())),
                    kind: said(stream.map_or("", |stream| stream.delivery_stream_type().as_str())),
                    encryption: said(
                        encryption
                            .and_then(|encryption| encryption.status())
                            .map_or("DISABLED", |status| status.as_str()),
                    ),
                    account: said(
                        stream
                            .and_then(|stream| stream.delivery_stream_arn().split(':').nth(4))
                            .unwrap_or_default(),
                    ),
                })
            }
            Err(error) => Err(match reached.placed(judge(&error, &mut Sent::new(&[]))) {
                Verdict::Retry(why) => why,
                Verdict::Rejected { code, message, answer } => {
                    Retry { answer, ..Retry::new(RetryReason::Setup, code, message) }
                }
                Verdict::Delivered { .. } => unreachable!("an error accepts nothing"),
            }),
        }
    }
}
