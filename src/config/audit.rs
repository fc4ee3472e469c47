//! Which RecordIds are kept: keys of a stream.
//!
//! Knows defaults and limits; does not know where RecordIds are kept.

use super::walk::{Section, Typed};
use crate::model::settings::Audit;

/// RecordIds of about a million and a half records at the service, which are some 200 bytes long there.
pub(super) const DEFAULT_BYTES: u64 = 256 << 20;

/// The least room, in bytes: below, one save could bring more than there is room for.
const MIN_BYTES: u64 = 16 << 20;

/// The most room, in bytes: far above what a machine has for it.
const MAX_BYTES: u64 = 1 << 40;

/// The keys as typed.
#[derive(Debug)]
pub(super) struct AuditTable {
    /// Whether any are kept.
    pub(super) audit: Option<Typed<bool>>,
    pub(super) audit_bytes: Option<Typed<u64>>,
}

impl AuditTable {
    pub(super) fn of(stream: &mut Section<'_, '_, '_>) -> Self {
        Self { audit: stream.switch("audit"), audit_bytes: stream.size("audit_bytes", MIN_BYTES, MAX_BYTES) }
    }
}

/// What the two keys come to.
pub(super) fn resolve(audit: Option<bool>, bytes: Option<u64>) -> Audit {
    match audit {
        Some(true) => Audit::On { max_bytes: bytes.unwrap_or(DEFAULT_BYTES) },
        Some(false) | None => Audit::Off,
    }
}
