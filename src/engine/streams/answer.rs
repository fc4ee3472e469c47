//! What an answer says when its verdicts are looked at together.
//!
//! Knows verdicts in the order of a request's records. Does not know the records, nor what becomes of them.

use std::sync::Arc;

use crate::engine::report::RequestEnd;
use crate::model::verdict::{Encrypted, Retry, RetryReason, Verdict};
use crate::rules::ladder;

/// What happened to all records of a group alike.
pub(super) enum Whole<'v> {
    Refused,
    Failed(&'v Retry),
}

/// Whether an answer does not tell the records of a group apart: all are refused, or fail for one reason that is evidence.
pub(super) fn as_a_whole(verdicts: &[Verdict]) -> Option<Whole<'_>> {
    if verdicts.len() < 2 {
        return None;
    }
    if verdicts.iter().all(|verdict| refusal(verdict).is_some()) {
        return Some(Whole::Refused);
    }
    let first = failure(&verdicts[0]).filter(|why| ladder::is_evidence(why))?;
    let is_like_the_first = |verdict: &Verdict| {
        failure(verdict).is_some_and(|why| (why.reason, &why.code) == (first.reason, &first.code))
    };
    verdicts.iter().all(is_like_the_first).then_some(Whole::Failed(first))
}

pub(super) fn is_delivered(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered { .. })
}

pub(super) fn is_plain(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered { encrypted: Encrypted::No })
}

pub(super) fn failure(verdict: &Verdict) -> Option<&Retry> {
    match verdict {
        Verdict::Retry(why) => Some(why),
        Verdict::Delivered { .. } | Verdict::Rejected { .. } => None,
    }
}

pub(super) fn refusal(verdict: &Verdict) -> Option<Retry> {
    match verdict {
        Verdict::Rejected { code, message } => Some(Retry {
            reason: RetryReason::Rejected,
            code: Arc::clone(code),
            message: Arc::clone(message),
        }),
        Verdict::Delivered { .. } | Verdict::Retry(_) => None,
    }
}

pub(super) fn end_of(verdicts: &[Verdict], retries: usize) -> RequestEnd {
    match (retries, verdicts.iter().filter(|verdict| refusal(verdict).is_some()).count()) {
        (0, 0) => RequestEnd::Delivered,
        (retries, _) if retries == verdicts.len() => RequestEnd::Failed,
        (_, rejected) if rejected == verdicts.len() => RequestEnd::Rejected,
        _ => RequestEnd::Partial,
    }
}
