//! What a stream did lately, for whoever asks how it stands.
//!
//! Knows what was sent and when the service took or refused something last. Decides nothing.

use crate::engine::port::Put;
use crate::model::time::Instant;
use crate::model::verdict::{Retry, RetryReason, Verdict};
use crate::rules::judge::{failure, is_delivered, refusal};
use crate::rules::meter::{Amount, Meter};

use super::sizes_of;

/// What one stream did lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    pub(super) sent: Meter,
    /// When the service took a record last.
    pub(super) delivered_at: Option<Instant>,
    /// When the service said last that it was too much.
    pub(super) throttled_at: Option<Instant>,
    /// The last failure, and when that was.
    pub(super) last_error: Option<(Instant, Retry)>,
}

impl Activity {
    /// A request leaves.
    pub(super) fn sends(&mut self, put: &Put, now: Instant) {
        let (records, bytes) = (put.records.len() as u64, sizes_of(put.records.iter()));
        self.sent.note(Amount { requests: 1, records, bytes }, now);
    }

    /// A request was answered.
    pub(super) fn note_answer(&mut self, verdicts: &[Verdict], now: Instant) {
        if verdicts.iter().any(is_delivered) {
            self.delivered_at = Some(now);
        }
        if verdicts.iter().filter_map(failure).any(|why| why.reason == RetryReason::Throttled) {
            self.throttled_at = Some(now);
        }
    }

    /// A request with records of files was answered: what of it failed.
    pub(super) fn note_error(&mut self, verdicts: &[Verdict], now: Instant) {
        let why = verdicts.iter().find_map(|verdict| failure(verdict).cloned());
        if let Some(why) = why.or_else(|| verdicts.iter().find_map(refusal)) {
            self.last_error = Some((now, why));
        }
    }
}
