//! What became of a record that was sent.

use std::sync::Arc;
use std::time::Duration;

use super::record_id::RecordId;

/// What the service's answer means for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted: the service returned a RecordId.
    Delivered {
        encrypted: Encrypted,
        /// `None` where nobody keeps it.
        id: Option<RecordId>,
    },
    /// Not accepted, or not known to be: to be sent again.
    Retry(Retry),
    /// Refused for what it is: for the dead letters, if the stream takes others.
    Rejected {
        code: Arc<str>,
        message: Arc<str>,
        /// Who was asked, and which answer said so.
        answer: Option<Answer>,
    },
}

impl Verdict {
    /// Whether somebody has to mend configuration, permission, key or credentials first.
    pub fn is_for_setup(&self) -> bool {
        matches!(self, Self::Retry(why) if why.reason == RetryReason::Setup)
    }
}

/// Whether the service says that it keeps the record under server-side encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypted {
    Yes,
    /// The service said no, or nothing.
    No,
}

/// Why a record is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub reason: RetryReason,
    /// The service's error code, or ours for a failure before it.
    pub code: Arc<str>,
    /// What happened, for a person. Never the record's content.
    pub message: Arc<str>,
    /// Who was asked, and which answer said so: what the service's support asks for. `None` where nobody was asked.
    pub answer: Option<Answer>,
}

/// One request of which something came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number that the service gave the request; `None` where what answered gave none, as a proxy.
    pub request_id: Option<Arc<str>>,
    /// Where it was sent to; without user and password.
    pub endpoint: Arc<str>,
}

/// Codes of requests that are refused for who signs them, and ours for those that nobody can sign.
const OF_CREDENTIALS: [&str; 10] = [
    "MissingCredentials",
    "MissingRegion",
    "BadCertificates",
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "ExpiredToken",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "InvalidSignature",
    "SignatureDoesNotMatch",
];

impl Retry {
    /// A failure of which no answer of the service tells.
    pub fn new(reason: RetryReason, code: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self { reason, code: code.into(), message: message.into(), answer: None }
    }

    /// The number that the service gave the request, if it answered.
    pub fn request_id(&self) -> Option<&str> {
        self.answer.as_ref()?.request_id.as_deref()
    }

    /// Where the request was sent to, if one was.
    pub fn endpoint(&self) -> Option<&str> {
        self.answer.as_ref().map(|answer| &*answer.endpoint)
    }

    /// Whether the failure is evidence of anything but a rate or a setup that has to change.
    pub fn is_evidence(&self) -> bool {
        match self.reason {
            RetryReason::Server | RetryReason::Network | RetryReason::Ambiguous | RetryReason::Rejected => {
                true
            }
            RetryReason::Throttled | RetryReason::Setup => false,
        }
    }

    /// Whether other credentials would mend it. Those are looked for all the time, so that a try costs next to nothing.
    pub fn is_for_credentials(&self) -> bool {
        let name = self.code.strip_suffix("Exception").unwrap_or(&self.code);
        self.reason == RetryReason::Setup && OF_CREDENTIALS.contains(&name)
    }

    /// Nothing is answered, and no request has been given up for it yet.
    pub fn silent() -> Self {
        let message = "nothing was answered for long, though no request has been given up yet";
        Self::new(RetryReason::Network, "Timeout", message)
    }

    /// Nothing is sent again for this reason; nothing is sent at all.
    pub fn not_encrypted() -> Self {
        let message =
            "the service does not keep records under server-side encryption, and `require_encryption` is set";
        Self::new(RetryReason::Setup, "NotEncrypted", message)
    }
}

/// The kinds of failure that are told apart when waiting and when reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryReason {
    /// The delivery stream's throughput was exceeded (`ServiceUnavailableException`: "Slow down.").
    Throttled,
    /// The service failed (500, 503).
    Server,
    /// No answer in time, or no connection.
    Network,
    /// An answer that does not fit the request: never taken for an acknowledgement.
    Ambiguous,
    /// Configuration, permission, key or credentials: it passes when somebody mends it.
    Setup,
    /// Refused for what was sent; whether that is the record's fault or the stream's is not known yet.
    Rejected,
}

impl RetryReason {
    pub const ALL: [Self; 6] =
        [Self::Throttled, Self::Server, Self::Network, Self::Ambiguous, Self::Setup, Self::Rejected];

    /// As it appears in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Network => "network",
            Self::Ambiguous => "ambiguous",
            Self::Setup => "setup",
            Self::Rejected => "rejected",
        }
    }
}

/// One request's end, as the engine learns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One verdict a record, in the request's order.
    pub verdicts: Vec<Verdict>,
    /// From sending to the answer.
    pub took: Duration,
}

/// How a request ended, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestEnd {
    /// Every record was accepted.
    Delivered,
    /// Some were.
    Partial,
    /// None was, and all are sent again.
    Failed,
    /// None was, and all were refused for what they are.
    Rejected,
}

impl RequestEnd {
    /// As it appears in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}
