//! What the service's error codes are about: the rate, the way, the setup, or a record.
//!
//! Knows codes by name, with and without `Exception`. Does not know statuses, messages or answers: `verdicts` does.
//!
//! *Invariant:* only codes that name the record's own bytes are about a record; whatever is in no list is about none.

/// What an error code is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Too much was asked for in too short a time.
    Rate,
    /// The request did not get through in time, or was given up on the way.
    Way,
    /// The service failed.
    Service,
    /// Configuration, permission, key, credentials or clock: somebody has to mend it.
    Setup,
    /// The bytes of a record, or of the request that carries it.
    Record,
}

/// Codes of a stream, or of the key or account behind it, whose throughput is exceeded: those of the service, and those
/// that the SDK's own classifier (`aws_runtime::retries::classifiers::THROTTLING_ERRORS`) names.
const RATE: &[&str] = &[
    "ServiceUnavailable",
    "LimitExceeded",
    "ClientLimitExceeded",
    "Throttling",
    "Throttled",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequests",
    "ProvisionedThroughputExceeded",
    "BandwidthLimitExceeded",
    "TransactionInProgress",
    "PriorRequestNotComplete",
    "EC2Throttled",
    "KMSThrottling",
    "SlowDown",
];

/// Codes that pass by themselves: among them those that the SDK's own classifier names transient.
const WAY: &[&str] = &["RequestTimeout", "RequestAborted"];

const SERVICE: &[&str] =
    &["InternalFailure", "InternalServer", "InternalServerError", "InternalServiceError"];

const SETUP: &[&str] = &[
    "ResourceNotFound",
    "InvalidKMSResource",
    "InvalidSource",
    "InvalidStreamState",
    "AccessDenied",
    "AccountProblem",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidSignature",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "UnknownOperation",
    "KMSAccessDenied",
    "KMSDisabled",
    "KMSInvalidState",
    "KMSNotFound",
    "KMSOptInRequired",
];

const RECORD: &[&str] = &[
    "InvalidArgument",
    "InvalidParameter",
    "InvalidParameterValue",
    "InvalidParameterCombination",
    "MissingParameter",
    "Validation",
    "ValidationError",
    "Serialization",
    "EntityTooLarge",
    "PayloadTooLarge",
    "RequestEntityTooLarge",
    "RequestTooLarge",
    "RecordTooLarge",
];

/// Codes of our own that a dead letter may have.
const OWN: &[&str] =
    &["Oversize", "RecordLimit", "Ambiguous", "Connection", "Timeout", "MissingCredentials", "NotEncrypted"];

/// What a metric calls a code: the code itself where it is in a list here, a status without a code, and else `other`. What a
/// service makes up is never a label.
pub fn label(code: &str) -> &str {
    let is_status = code.len() == 3 && code.bytes().all(|digit| digit.is_ascii_digit());
    match about(code) {
        Some(_) => code,
        None if is_status || OWN.contains(&code) => code,
        None => "other",
    }
}

/// What `code` is about; `None` for a code that nobody has listed.
pub(super) fn about(code: &str) -> Option<About> {
    let lists = [
        (RATE, About::Rate),
        (WAY, About::Way),
        (SERVICE, About::Service),
        (SETUP, About::Setup),
        (RECORD, About::Record),
    ];
    let name = code.strip_suffix("Exception").unwrap_or(code);
    lists.into_iter().find(|(codes, _)| codes.contains(&name)).map(|(_, about)| about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_of_a_closed_set() {
        let own = ["InvalidArgumentException", "InvalidArgument", "Oversize", "413", "Timeout"];
        assert!(own.iter().all(|code| label(code) == *code));
        for made_up in
            ["", "Odd", "InvalidArgumentExceptionException", "41", "4130", "invalidargument", "a b", "other"]
        {
            assert_eq!(label(made_up), "other", "{made_up}");
        }
    }

    /// N2 and N6. The service's own codes, those of the SDK's classifiers, and those of the common errors of AWS.
    #[test]
    fn each_code_is_about_one_thing() {
        let rows = [
            ("ServiceUnavailableException", Some(About::Rate)),
            ("ServiceUnavailable", Some(About::Rate)),
            ("ThrottlingException", Some(About::Rate)),
            ("Throttling", Some(About::Rate)),
            ("ThrottledException", Some(About::Rate)),
            ("RequestThrottled", Some(About::Rate)),
            ("RequestThrottledException", Some(About::Rate)),
            ("TooManyRequestsException", Some(About::Rate)),
            ("ProvisionedThroughputExceededException", Some(About::Rate)),
            ("BandwidthLimitExceeded", Some(About::Rate)),
            ("LimitExceededException", Some(About::Rate)),
            ("RequestLimitExceeded", Some(About::Rate)),
            ("TransactionInProgressException", Some(About::Rate)),
            ("PriorRequestNotComplete", Some(About::Rate)),
            ("EC2ThrottledException", Some(About::Rate)),
            ("KMSThrottlingException", Some(About::Rate)),
            ("SlowDown", Some(About::Rate)),
            ("RequestTimeout", Some(About::Way)),
            ("RequestTimeoutException", Some(About::Way)),
            ("RequestAborted", Some(About::Way)),
            ("RequestAbortedException", Some(About::Way)),
            ("InternalFailure", Some(About::Service)),
            ("InternalServerException", Some(About::Service)),
            ("InternalServerError", Some(About::Service)),
            ("ResourceNotFoundException", Some(About::Setup)),
            ("InvalidKMSResourceException", Some(About::Setup)),
            ("InvalidSourceException", Some(About::Setup)),
            ("AccessDeniedException", Some(About::Setup)),
            ("ExpiredTokenException", Some(About::Setup)),
            ("KMSAccessDeniedException", Some(About::Setup)),
            ("InvalidArgumentException", Some(About::Record)),
            ("ValidationException", Some(About::Record)),
            ("ValidationError", Some(About::Record)),
            ("SerializationException", Some(About::Record)),
            ("RequestEntityTooLargeException", Some(About::Record)),
            ("EntityTooLarge", Some(About::Record)),
            ("ConcurrentModificationException", None),
            ("ResourceInUseException", None),
            ("MalformedHttpRequestException", None),
            ("SomethingNew", None),
            ("Exception", None),
            ("", None),
        ];
        for (code, expected) in rows {
            assert_eq!(about(code), expected, "{code}");
        }
    }
}
