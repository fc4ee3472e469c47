//! What an answer says when its verdicts are looked at together.
//!
//! Knows verdicts in the order of a request's records. Does not know the records, nor what becomes of them: whose fault
//! a failure is says the ladder, and what the stream does about it the circuit breaker. The engine's streams ask it.
//!
//! *Invariant:* a record that was accepted is never part of a failure: an answer with one tells its records apart.

use std::sync::Arc;

use crate::model::verdict::{Encrypted, RequestEnd, Retry, RetryReason, Verdict};

/// What happened to all records of a group alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole<'v> {
    Refused,
    Failed(&'v Retry),
}

/// Whether an answer does not tell the records of a group apart: all are refused, or fail for one reason that is evidence.
pub fn as_a_whole(verdicts: &[Verdict]) -> Option<Whole<'_>> {
    if verdicts.len() < 2 {
        return None;
    }
    if verdicts.iter().all(|verdict| refusal(verdict).is_some()) {
        return Some(Whole::Refused);
    }
    let first = failure(&verdicts[0]).filter(|why| why.is_evidence())?;
    let is_like_the_first = |verdict: &Verdict| {
        failure(verdict).is_some_and(|why| (why.reason, &why.code) == (first.reason, &first.code))
    };
    verdicts.iter().all(is_like_the_first).then_some(Whole::Failed(first))
}

/// Why the stream as a whole does not take records, if the answer says so: every record is to be sent again, or, where
/// refusals `hold` the stream, none was accepted.
pub fn of_the_stream(verdicts: &[Verdict], refusals_hold: bool) -> Option<Retry> {
    if end_of(verdicts) == RequestEnd::Failed {
        return verdicts.iter().find_map(failure).cloned();
    }
    let none_accepted = !verdicts.iter().any(is_delivered);
    verdicts.iter().find_map(refusal).filter(|_| refusals_hold && none_accepted)
}

/// Whether the record was accepted.
pub fn is_delivered(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered { .. })
}

/// Whether the record was accepted, and is not kept under encryption.
pub fn is_plain(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered { encrypted: Encrypted::No, .. })
}

/// Why the record is sent again, where that is not for what it is.
pub fn failure(verdict: &Verdict) -> Option<&Retry> {
    match verdict {
        Verdict::Retry(why) => Some(why),
        Verdict::Delivered { .. } | Verdict::Rejected { .. } => None,
    }
}

/// Why the record was refused for what it is.
pub fn refusal(verdict: &Verdict) -> Option<Retry> {
    match verdict {
        Verdict::Rejected { code, message, answer } => {
            let why = Retry::new(RetryReason::Rejected, Arc::clone(code), Arc::clone(message));
            Some(Retry { answer: answer.clone(), ..why })
        }
        Verdict::Delivered { .. } | Verdict::Retry(_) => None,
    }
}

/// How the request ended.
pub fn end_of(verdicts: &[Verdict]) -> RequestEnd {
    let count = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| is(verdict)).count();
    let failed = count(|verdict| failure(verdict).is_some());
    let refused = count(|verdict| refusal(verdict).is_some());
    match (failed, refused) {
        (0, 0) => RequestEnd::Delivered,
        (failed, _) if failed == verdicts.len() => RequestEnd::Failed,
        (_, refused) if refused == verdicts.len() => RequestEnd::Rejected,
        _ => RequestEnd::Partial,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retry(reason: RetryReason, code: &str) -> Retry {
        Retry::new(reason, code, "why")
    }

    /// One verdict a letter: accepted, accepted and encrypted, throttled, failed in two ways, wrongly set up, refused.
    fn verdict(letter: char) -> Verdict {
        match letter {
            'a' => Verdict::Delivered { encrypted: Encrypted::No, id: None },
            'e' => Verdict::Delivered { encrypted: Encrypted::Yes, id: None },
            't' => Verdict::Retry(retry(RetryReason::Throttled, "ServiceUnavailableException")),
            's' => Verdict::Retry(retry(RetryReason::Server, "InternalFailure")),
            'n' => Verdict::Retry(retry(RetryReason::Network, "Timeout")),
            'c' => Verdict::Retry(retry(RetryReason::Setup, "ResourceNotFoundException")),
            'r' => Verdict::Rejected {
                code: "InvalidArgumentException".into(),
                message: "why".into(),
                answer: None,
            },
            other => panic!("no verdict {other}"),
        }
    }

    fn verdicts(letters: &str) -> Vec<Verdict> {
        letters.chars().map(verdict).collect()
    }

    #[test]
    fn an_answer_is_looked_at_as_a_whole() {
        use RequestEnd::{Delivered, Failed, Partial, Rejected};
        let (none, server, network, throttled, refused) =
            ("", "InternalFailure", "Timeout", "ServiceUnavailableException", "InvalidArgumentException");
        // Verdicts, the end, what happened to all alike, and what is said of the stream while refusals do not hold it,
        // and while they do.
        let table = [
            ("a", Delivered, none, none, none),
            ("aea", Delivered, none, none, none),
            ("s", Failed, none, server, server),
            ("ss", Failed, server, server, server),
            ("sn", Failed, none, server, server),
            ("ns", Failed, none, network, network),
            ("tt", Failed, none, throttled, throttled),
            ("ts", Failed, none, throttled, throttled),
            ("cc", Failed, none, "ResourceNotFoundException", "ResourceNotFoundException"),
            ("r", Rejected, none, none, refused),
            ("rr", Rejected, "refused", none, refused),
            ("ra", Partial, none, none, none),
            ("rs", Partial, none, none, refused),
            ("as", Partial, none, none, none),
        ];
        for (letters, end, alike, stream, held) in table {
            let verdicts = verdicts(letters);
            assert_eq!(end_of(&verdicts), end, "{letters}");
            let whole = match as_a_whole(&verdicts) {
                None => none.to_owned(),
                Some(Whole::Refused) => "refused".to_owned(),
                Some(Whole::Failed(why)) => why.code.to_string(),
            };
            assert_eq!(whole, alike, "{letters}");
            for (holds, expected) in [(false, stream), (true, held)] {
                let said =
                    of_the_stream(&verdicts, holds).map_or(none.to_owned(), |why| why.code.to_string());
                assert_eq!(said, expected, "{letters}, held by refusals: {holds}");
            }
        }
        assert!(is_plain(&verdict('a')) && !is_plain(&verdict('e')) && is_delivered(&verdict('e')));
    }

    proptest! {
        #[test]
        fn an_answer_with_an_acceptance_is_no_failure_of_the_whole(letters in "[aetsncr]{1,8}", holds: bool) {
            let verdicts = verdicts(&letters);
            if verdicts.iter().any(is_delivered) {
                prop_assert_eq!(as_a_whole(&verdicts), None);
                prop_assert_eq!(of_the_stream(&verdicts, holds), None);
                prop_assert!(matches!(end_of(&verdicts), RequestEnd::Delivered | RequestEnd::Partial));
            } else {
                prop_assert_ne!(end_of(&verdicts), RequestEnd::Delivered);
            }
            prop_assert!(as_a_whole(&verdicts).is_none() || verdicts.len() > 1, "one record is no group");
        }
    }
}
