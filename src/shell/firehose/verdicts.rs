//! What an answer of the service means for each record that was sent.
//!
//! Knows error codes, HTTP statuses and the shape of answers. Knows no client, no quota and no file. Called by
//! `firehose` for each answer.
//!
//! *Invariant:* a record counts as delivered only with the RecordId that the service gave it; an answer that does
//! not fit its request is never an acknowledgement.

use std::error::Error;

use aws_sdk_firehose::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;

use crate::model::verdict::{Encrypted, Retry, RetryReason, Verdict};

/// Error codes that pass once somebody mends configuration, permission, key, credentials or clock.
const SETUP_CODES: &[&str] = &[
    "ResourceNotFoundException",
    "InvalidKMSResourceException",
    "InvalidSourceException",
    "AccessDenied",
    "AccessDeniedException",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "UnknownOperationException",
];

/// Error codes of a delivery stream whose throughput is exceeded.
const THROTTLE_CODES: &[&str] = &[
    "ServiceUnavailableException",
    "ServiceUnavailable",
    "LimitExceededException",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
];

pub(super) fn accepted(id: Option<&str>, encrypted: Option<bool>) -> Verdict {
    match id {
        Some(id) if !id.is_empty() => {
            let encrypted = if encrypted == Some(true) { Encrypted::Yes } else { Encrypted::No };
            Verdict::Delivered { encrypted }
        }
        _ => ambiguous("the answer has no RecordId"),
    }
}

/// A batch's answer, entry by entry; one that does not fit the request says nothing about any record.
pub(super) fn judge_entries(output: &PutRecordBatchOutput, count: usize) -> Vec<Verdict> {
    let entries = output.request_responses();
    let failed = entries.iter().filter(|entry| entry.error_code().is_some()).count();
    let claimed = usize::try_from(output.failed_put_count()).ok();
    if entries.len() != count || claimed != Some(failed) {
        let message = format!(
            "{} entries and FailedPutCount {} for {count} records, {failed} of them with an ErrorCode",
            entries.len(),
            output.failed_put_count()
        );
        return vec![ambiguous(&message); count];
    }
    entries
        .iter()
        .map(|entry| match entry.error_code() {
            Some(code) => judge_code(code, entry.error_message().unwrap_or_default(), 400),
            None => accepted(entry.record_id(), output.encrypted()),
        })
        .collect()
}

pub(super) fn judge<E>(error: &SdkError<E>) -> Verdict
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            match answer.err().meta().code() {
                Some(code) => judge_code(code, answer.err().meta().message().unwrap_or_default(), status),
                None => judge_status(status),
            }
        }
        SdkError::ResponseError(answer) => match answer.raw().status().as_u16() {
            status @ (401 | 403 | 407 | 500..) => judge_status(status),
            status => ambiguous(&format!("status {status}: {}", causes(error))),
        },
        SdkError::TimeoutError(_) => late(),
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            let causes = causes(error);
            match causes.to_ascii_lowercase().contains("credential") {
                true => retry(
                    RetryReason::Setup,
                    "MissingCredentials",
                    &format!(
                        "no usable AWS credentials ({causes}): set them in the environment, a profile, or the role of \
                         this host or pod"
                    ),
                ),
                false => retry(RetryReason::Network, "Connection", &causes),
            }
        }
        _ => ambiguous(&causes(error)),
    }
}

/// No answer came in time.
pub(super) fn late() -> Verdict {
    retry(RetryReason::Network, "Timeout", "no answer in time")
}

/// The messages of an error and its causes, from the outermost to the root.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut below = error.source();
    while let Some(layer) = below {
        let words = layer.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // Some repeat what is below them.
        if said.last().is_none_or(|above| !above.ends_with(&words)) {
            said.push(words);
        }
        below = layer.source();
    }
    if said.is_empty() { error.to_string() } else { said.join(": ") }
}

/// By the service's error code; an unknown one by its HTTP status.
fn judge_code(code: &str, message: &str, status: u16) -> Verdict {
    if THROTTLE_CODES.contains(&code) {
        retry(RetryReason::Throttled, code, message)
    } else if SETUP_CODES.contains(&code) || matches!(status, 401 | 403 | 407) {
        retry(RetryReason::Setup, code, message)
    } else if matches!(code, "InternalFailure" | "InternalServerError" | "InternalServiceError")
        || status >= 500
    {
        retry(RetryReason::Server, code, message)
    } else if (400..500).contains(&status) && !matches!(status, 408 | 429) {
        Verdict::Rejected { code: code.into(), message: message.into() }
    } else {
        ambiguous(&format!("{code} with status {status}: {message}"))
    }
}

/// An answer that names no error code comes from something before the service: a proxy, a captive portal.
fn judge_status(status: u16) -> Verdict {
    let message = format!("an answer with status {status} and no error code");
    match status {
        401 | 403 | 407 => retry(RetryReason::Setup, &status.to_string(), &message),
        429 => retry(RetryReason::Throttled, "429", &message),
        500.. => retry(RetryReason::Server, &status.to_string(), &message),
        _ => ambiguous(&message),
    }
}

fn ambiguous(message: &str) -> Verdict {
    retry(RetryReason::Ambiguous, "Ambiguous", message)
}

fn retry(reason: RetryReason, code: &str, message: &str) -> Verdict {
    Verdict::Retry(Retry { reason, code: code.into(), message: message.into() })
}

#[cfg(test)]
mod tests {
    use aws_sdk_firehose::types::PutRecordBatchResponseEntry;

    use super::*;

    fn reason(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Delivered { .. } => "delivered",
            Verdict::Rejected { .. } => "refused",
            Verdict::Retry(why) => why.reason.label(),
        }
    }

    /// N2 and N6.
    #[test]
    fn each_error_code_has_its_verdict() {
        let rows = [
            ("ServiceUnavailableException", 503, "throttled"),
            ("InternalFailure", 500, "server"),
            ("SomethingNew", 502, "server"),
            ("ResourceNotFoundException", 400, "setup"),
            ("InvalidKMSResourceException", 400, "setup"),
            ("AccessDeniedException", 400, "setup"),
            ("ExpiredTokenException", 400, "setup"),
            ("SomethingNew", 403, "setup"),
            ("InvalidArgumentException", 400, "refused"),
            ("SomethingNew", 400, "refused"),
            ("SomethingNew", 200, "ambiguous"),
        ];
        for (code, status, expected) in rows {
            assert_eq!(reason(&judge_code(code, "", status)), expected, "{code} with {status}");
        }
    }

    #[test]
    fn an_answer_without_error_code_is_never_an_acknowledgement() {
        for (status, expected) in [(200, "ambiguous"), (301, "ambiguous"), (403, "setup"), (503, "server")] {
            assert_eq!(reason(&judge_status(status)), expected, "{status}");
        }
    }

    fn entry(id: Option<&str>, code: Option<&str>) -> PutRecordBatchResponseEntry {
        PutRecordBatchResponseEntry::builder()
            .set_record_id(id.map(str::to_owned))
            .set_error_code(code.map(str::to_owned))
            .build()
    }

    fn batch(failed: i32, entries: Vec<PutRecordBatchResponseEntry>) -> PutRecordBatchOutput {
        PutRecordBatchOutput::builder()
            .failed_put_count(failed)
            .set_request_responses(Some(entries))
            .build()
            .expect("an output with both fields is complete")
    }

    #[test]
    fn a_batch_is_judged_entry_by_entry() {
        let output =
            batch(1, vec![entry(Some("id"), None), entry(None, Some("ServiceUnavailableException"))]);
        let verdicts: Vec<_> = judge_entries(&output, 2).iter().map(reason).collect();
        assert_eq!(verdicts, ["delivered", "throttled"]);
    }

    #[test]
    fn a_batch_whose_answer_does_not_fit_is_ambiguous_as_a_whole() {
        let fits = || vec![entry(Some("id"), None), entry(Some("id"), None)];
        for output in [batch(0, fits()[..1].to_vec()), batch(1, fits()), batch(-1, fits())] {
            let verdicts: Vec<_> = judge_entries(&output, 2).iter().map(reason).collect();
            assert_eq!(verdicts, ["ambiguous", "ambiguous"]);
        }
        let nameless = batch(0, vec![entry(Some(""), None), entry(None, None)]);
        let verdicts: Vec<_> = judge_entries(&nameless, 2).iter().map(reason).collect();
        assert_eq!(verdicts, ["ambiguous", "ambiguous"]);
    }
}
