//! Why the service says no.
//!
//! One kind for each error that the embedded delivery stream answers with, its name on the wire and its HTTP
//! status. Knows nothing of HTTP beyond the status. Made by every room that judges, written out by `http`.

use std::borrow::Cow;

/// One error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which of the service's errors this is.
    pub kind: Kind,
    /// The explanation for a person. Never a record's content.
    pub message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The refusal above a quota; the words are the service's.
    pub(super) fn slow_down() -> Self {
        Self::new(Kind::ServiceUnavailable, "Slow down.")
    }
}

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ResourceNotFound,
    ResourceInUse,
    LimitExceeded,
    InvalidArgument,
    InvalidKmsResource,
    ServiceUnavailable,
    Serialization,
    Validation,
    UnknownOperation,
    RequestTooLarge,
    RequestTimeout,
    MissingAuthentication,
    IncompleteSignature,
    InvalidSignature,
    UnrecognizedClient,
    AccessDenied,
    ExpiredToken,
    Internal,
}

impl Kind {
    /// The name of the refusal on the wire: `__type` in the body, `x-amzn-ErrorType` in the head, `ErrorCode` in a
    /// batch.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::LimitExceeded => "LimitExceededException",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::InvalidKmsResource => "InvalidKMSResourceException",
            Self::ServiceUnavailable => "ServiceUnavailableException",
            Self::Serialization => "SerializationException",
            Self::Validation => "ValidationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::RequestTooLarge => "RequestEntityTooLargeException",
            Self::RequestTimeout => "RequestTimeoutException",
            Self::MissingAuthentication => "MissingAuthenticationTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::AccessDenied => "AccessDeniedException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::Internal => "InternalFailure",
        }
    }

    /// The HTTP status of the refusal.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::ServiceUnavailable => 503,
            Self::Internal => 500,
            Self::RequestTooLarge => 413,
            Self::RequestTimeout => 408,
            Self::MissingAuthentication => 403,
            Self::ResourceNotFound
            | Self::ResourceInUse
            | Self::LimitExceeded
            | Self::InvalidArgument
            | Self::InvalidKmsResource
            | Self::Serialization
            | Self::Validation
            | Self::UnknownOperation
            | Self::IncompleteSignature
            | Self::InvalidSignature
            | Self::UnrecognizedClient
            | Self::AccessDenied
            | Self::ExpiredToken => 400,
        }
    }
}
