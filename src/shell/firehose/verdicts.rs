//! What an answer of the service means for each record that was sent.
//!
//! Knows HTTP statuses, messages and the shape of answers; `codes` knows error codes. Knows no client, no quota and no
//! file. Called by `firehose` for each answer.
//!
//! *Invariant:* a record counts as delivered only with the RecordId that the service gave it; an answer that does
//! not fit its request is never an acknowledgement, and one that names no error code is about no record. What is kept of
//! a code and a message is short, in one line, and nothing of what was sent.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_firehose::error::{ProvideErrorMetadata, SdkError};

use crate::model::record_id::{Answer, RecordId};
use crate::model::text::{cut, plain};
use crate::model::verdict::{Encrypted, Retry, RetryReason, Verdict};
use crate::shell::aws::cause;

use super::codes::{self, About};
use super::sent::{MAX_MESSAGE_BYTES, Sent};
use super::wire::{BatchAnswer, Entry};

/// The most of an error code that is kept, in bytes: the service's own have at most 50.
pub(super) const MAX_CODE_BYTES: usize = 100;

/// What an answer to one record means; its RecordId is kept, with the time, where that is wanted.
pub(super) fn accepted(id: Option<&str>, encrypted: Option<bool>, kept_at: Option<i64>) -> Verdict {
    match id {
        Some(id) if !id.is_empty() => {
            delivered(encrypted, kept_at.map(|unix_ms| RecordId::alone(id, unix_ms)))
        }
        _ => no_record_id(),
    }
}

fn delivered(encrypted: Option<bool>, id: Option<RecordId>) -> Verdict {
    let encrypted = if encrypted == Some(true) { Encrypted::Yes } else { Encrypted::No };
    Verdict::Delivered { encrypted, id }
}

fn no_record_id() -> Verdict {
    ambiguous("the answer has no RecordId")
}

/// A batch's answer, entry by entry; one that does not fit the request says nothing about any record. RecordIds are kept,
/// with the time, where that is wanted.
pub(super) fn judge_entries(
    answer: Option<BatchAnswer>,
    count: usize,
    sent: &mut Sent<'_>,
    kept_at: Option<i64>,
) -> Vec<Verdict> {
    let Some(BatchAnswer { failed_put_count, encrypted, entries, ids }) = answer else {
        return vec![ambiguous("the answer was not read"); count];
    };
    let failed = entries.iter().filter(|entry| matches!(entry, Entry::Failed { .. })).count();
    let claimed = usize::try_from(failed_put_count).ok();
    if entries.len() != count || claimed != Some(failed) {
        let message = format!(
            "{} entries and FailedPutCount {failed_put_count} for {count} records, {failed} of them with an ErrorCode",
            entries.len(),
        );
        return vec![ambiguous(&message); count];
    }
    let ids = kept_at.map(|unix_ms| Arc::new(Answer { texts: ids, unix_ms }));
    let id = |start, end| ids.as_ref().map(|answer| RecordId::of(answer, (start, end)));
    let judged = entries.iter().map(|entry| match entry {
        Entry::Accepted(start, end) => delivered(encrypted, id(*start, *end)),
        Entry::Failed { code, message } => judge_code(code, message, 400, sent),
        Entry::Nothing => no_record_id(),
    });
    judged.collect()
}

pub(super) fn judge<E>(error: &SdkError<E>, sent: &mut Sent<'_>) -> Verdict
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            match answer.err().meta().code() {
                Some(code) => {
                    judge_code(code, answer.err().meta().message().unwrap_or_default(), status, sent)
                }
                None => judge_status(status),
            }
        }
        SdkError::ResponseError(answer) => match answer.raw().status().as_u16() {
            status @ 400.. => judge_status(status),
            status => ambiguous(&format!("status {status}: {}", sent.clean(&causes(error)))),
        },
        SdkError::TimeoutError(_) => late(),
        // Neither a connection nor a handshake in time: whichever of the limits it was that ended it.
        SdkError::DispatchFailure(failure) if failure.is_timeout() => late(),
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
                false => retry(RetryReason::Network, "Connection", &cause(error)),
            }
        }
        _ => ambiguous(&sent.clean(&causes(error))),
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

/// By the service's error code; an unknown one by its HTTP status. What nobody knows passes, or is waited for.
fn judge_code(code: &str, message: &str, status: u16, sent: &mut Sent<'_>) -> Verdict {
    let about = codes::about(code);
    let said = (named(code, about, sent), sent.clean(message));
    let reason = match (about, status) {
        (Some(About::Rate), _) | (None, 429) => RetryReason::Throttled,
        (Some(About::Way), _) | (None, 408) => RetryReason::Network,
        (Some(About::Service), _) | (_, 500..) => RetryReason::Server,
        (Some(About::Setup), _) | (_, 401 | 403 | 407) => RetryReason::Setup,
        (Some(About::Record), 400..) => return judge_refusal(message, &said),
        (None, 400..) => RetryReason::Server,
        _ => return ambiguous(&format!("{} with status {status}: {}", said.0, said.1)),
    };
    retry(reason, &said.0, &said.1)
}

/// A code by the name that is kept of it: any text can stand where a code is expected.
fn named(code: &str, about: Option<About>, sent: &mut Sent<'_>) -> String {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    match about {
        // One of those that are listed, and so nothing of a record.
        Some(_) => code.to_owned(),
        None if code.bytes().all(is_part) && sent.clean(code) == *cut(code, MAX_MESSAGE_BYTES) => {
            code.to_owned()
        }
        None => "Unnamed".to_owned(),
    }
}

/// A refusal of an argument is about a record, unless its message speaks of the delivery stream.
fn judge_refusal(message: &str, (code, clean): &(String, String)) -> Verdict {
    if let Some(source) = foreign_source(message) {
        let why =
            format!("the delivery stream's source is {source}, so that it takes no direct puts ({clean})");
        return retry(RetryReason::Setup, code, &why);
    }
    if message.to_ascii_lowercase().contains("'deliverystreamname'") {
        return retry(RetryReason::Setup, code, clean);
    }
    Verdict::Rejected {
        code: kept(code, MAX_CODE_BYTES).into(),
        message: kept(clean, MAX_MESSAGE_BYTES).into(),
        answer: None,
    }
}

/// Where a delivery stream takes its data from that says "This operation is not permitted on KinesisStreamAsSource
/// delivery stream type.".
fn foreign_source(message: &str) -> Option<&'static str> {
    let is_about_type = message.contains("not permitted") && message.contains("delivery stream type");
    is_about_type.then(|| match message {
        _ if message.contains("KinesisStreamAsSource") => "a Kinesis data stream",
        _ if message.contains("MSKAsSource") => "an Amazon MSK topic",
        _ if message.contains("DatabaseAsSource") => "a database",
        _ => "another one than DirectPut",
    })
}

/// An answer that names no error code comes from something before the service (a proxy, a gateway, a captive portal),
/// and is about no record and no permission at the service.
fn judge_status(status: u16) -> Verdict {
    let message = format!("an answer with status {status} and no error code");
    let reason = match status {
        401 | 407 => RetryReason::Setup,
        429 => RetryReason::Throttled,
        500.. => RetryReason::Server,
        400.. => RetryReason::Ambiguous,
        _ => return ambiguous(&message),
    };
    retry(reason, &status.to_string(), &message)
}

fn ambiguous(message: &str) -> Verdict {
    retry(RetryReason::Ambiguous, "Ambiguous", message)
}

fn retry(reason: RetryReason, code: &str, message: &str) -> Verdict {
    let (code, message) = (kept(code, MAX_CODE_BYTES), kept(message, MAX_MESSAGE_BYTES));
    Verdict::Retry(Retry::new(reason, code, message))
}

/// What is kept of a text that somebody else wrote: its beginning, in one line that steers nothing.
pub(super) fn kept(text: &str, max_bytes: usize) -> String {
    // What is spelt out is longer than it was.
    cut(&plain(&*cut(text, max_bytes)), max_bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn judge(code: &str, message: &str, status: u16) -> Verdict {
        judge_code(code, message, status, &mut Sent::new(&[]))
    }

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
            ("RequestThrottledException", 400, "throttled"),
            ("ProvisionedThroughputExceededException", 400, "throttled"),
            ("KMSThrottlingException", 400, "throttled"),
            ("TooMany", 429, "throttled"),
            ("RequestAbortedException", 400, "network"),
            ("RequestTimeoutException", 400, "network"),
            ("RequestTimeout", 408, "network"),
            ("SomethingNew", 408, "network"),
            ("InternalFailure", 500, "server"),
            ("InternalFailure", 400, "server"),
            ("SomethingNew", 502, "server"),
            ("InvalidArgumentException", 500, "server"),
            ("SomethingNew", 400, "server"),
            ("ResourceInUseException", 400, "server"),
            ("MisdirectedRequest", 421, "server"),
            ("ResourceNotFoundException", 400, "setup"),
            ("InvalidKMSResourceException", 400, "setup"),
            ("KMSDisabledException", 400, "setup"),
            ("AccessDeniedException", 400, "setup"),
            ("ExpiredTokenException", 400, "setup"),
            ("SomethingNew", 403, "setup"),
            ("InvalidArgumentException", 400, "refused"),
            ("ValidationException", 400, "refused"),
            ("SerializationException", 400, "refused"),
            ("RequestEntityTooLargeException", 413, "refused"),
            ("SomethingNew", 200, "ambiguous"),
        ];
        for (code, status, expected) in rows {
            assert_eq!(reason(&judge(code, "", status)), expected, "{code} with {status}");
        }
    }

    #[test]
    fn an_answer_without_error_code_is_neither_an_acknowledgement_nor_about_a_record_or_permission() {
        let rows = [
            (200, "ambiguous"),
            (301, "ambiguous"),
            (400, "ambiguous"),
            (403, "ambiguous"),
            (404, "ambiguous"),
            (413, "ambiguous"),
            (401, "setup"),
            (407, "setup"),
            (429, "throttled"),
            (503, "server"),
        ];
        for (status, expected) in rows {
            assert_eq!(reason(&judge_status(status)), expected, "{status}");
        }
    }

    #[test]
    fn a_refusal_that_speaks_of_the_delivery_stream_is_about_no_record() {
        let rows = [
            ("This operation is not permitted on KinesisStreamAsSource delivery stream type.", "setup"),
            ("This operation is not permitted on MSKAsSource delivery stream type.", "setup"),
            (
                "1 validation error detected: Value 'a/b' at 'deliveryStreamName' failed to satisfy constraint",
                "setup",
            ),
            ("1 validation error detected: Value at 'record.data' failed to satisfy constraint", "refused"),
            ("Record size 1024001 is above the limit", "refused"),
        ];
        for (message, expected) in rows {
            assert_eq!(reason(&judge("InvalidArgumentException", message, 400)), expected, "{message}");
        }
        let Verdict::Retry(why) = judge("InvalidArgumentException", rows[0].0, 400) else {
            panic!("it is no record's fault");
        };
        assert!(why.message.contains("a Kinesis data stream") && why.message.contains("no direct puts"));
    }

    #[test]
    fn what_the_service_says_is_kept_in_one_line_of_bounded_length() {
        let said = "first\n2026-11-25T00:00:00Z ERROR forged \x1b[31mred".to_owned() + &"m".repeat(200_000);
        let Verdict::Rejected { code, message, .. } = judge("InvalidArgumentException", &said, 400) else {
            panic!("a refusal")
        };
        assert_eq!(&*code, "InvalidArgumentException");
        assert!((MAX_MESSAGE_BYTES - 2..=MAX_MESSAGE_BYTES).contains(&message.len()), "{}", message.len());
        assert!(message.starts_with(r"first\n2026-11-25T00:00:00Z ERROR forged \u{1b}[31mred"), "{message}");
        let wide = "\u{202e}".repeat(2_000);
        let Verdict::Retry(why) = judge(&"C".repeat(200_000), &wide, 400) else {
            panic!("a code that nobody knows")
        };
        assert!(why.code.len() <= MAX_CODE_BYTES, "{}", why.code);
        assert!(why.message.len() <= MAX_MESSAGE_BYTES && why.message.starts_with(r"\u{202e}\u{202e}"));
    }

    #[test]
    fn no_code_and_no_message_repeats_what_was_sent() {
        let records =
            [Bytes::from_static(b"user=alice password=hunter2\n"), Bytes::from_static(b"hunter2hunter2\n")];
        let mut sent = Sent::new(&records);
        let rows = [
            (
                "InvalidArgumentException",
                "The record user=alice password=hunter2 is bad.",
                "InvalidArgumentException",
            ),
            ("ServiceUnavailableException", "No: hunter2hunter2", "ServiceUnavailableException"),
            ("user=alice password=hunter2", "No.", "Unnamed"),
            ("hunter2hunter2", "No.", "Unnamed"),
            ("a code with blanks", "No.", "Unnamed"),
            ("com.example.service:Odd-Code_1", "No.", "com.example.service:Odd-Code_1"),
        ];
        for (code, message, expected) in rows {
            let (code, message) = match judge_code(code, message, 400, &mut sent) {
                Verdict::Rejected { code, message, .. } | Verdict::Retry(Retry { code, message, .. }) => {
                    (code, message)
                }
                Verdict::Delivered { .. } => panic!("an error accepts nothing"),
            };
            assert_eq!(&*code, expected);
            assert!(!message.contains("hunter2") && !code.contains("hunter2"), "{code}: {message}");
        }
    }

    fn batch(failed_put_count: i32, entries: Vec<Entry>) -> Vec<&'static str> {
        let answer = BatchAnswer { failed_put_count, encrypted: None, entries, ids: String::new() };
        judge_entries(Some(answer), 2, &mut Sent::new(&[]), None).iter().map(reason).collect()
    }

    #[test]
    fn a_batch_is_judged_entry_by_entry() {
        let failed = Entry::Failed { code: "ServiceUnavailableException".to_owned(), message: String::new() };
        assert_eq!(batch(1, vec![Entry::Accepted(0, 0), failed]), ["delivered", "throttled"]);
    }

    #[test]
    fn a_batch_whose_answer_does_not_fit_is_ambiguous_as_a_whole() {
        let fits = || vec![Entry::Accepted(0, 0), Entry::Accepted(0, 0)];
        for (failed, entries) in [(0, fits()[..1].to_vec()), (1, fits()), (-1, fits())] {
            assert_eq!(batch(failed, entries), ["ambiguous", "ambiguous"]);
        }
        assert_eq!(batch(0, vec![Entry::Nothing, Entry::Nothing]), ["ambiguous", "ambiguous"]);
        let unread: Vec<_> = judge_entries(None, 2, &mut Sent::new(&[]), None).iter().map(reason).collect();
        assert_eq!(unread, ["ambiguous", "ambiguous"]);
    }
}
