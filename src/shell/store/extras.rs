//! What a checkpoint's row holds beside its position, as blobs with a checksum of their own.
//!
//! *Invariant:* what is read back is what was written with this very row, or nothing; the position stays in any case.

use rusqlite::Row;

use crate::model::checkpoint::{Checkpoint, Proof};
use crate::model::identity::Window;
use crate::model::offset::{Offset, Span};
use crate::model::settled::Settled;

use super::checksum::Checksum;

/// A position and a digest.
const PROOF_BYTES: usize = 24;
const BOTH_BYTES: usize = PROOF_BYTES + 8;

/// Blobs that a row may be without.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) settled: Option<Vec<u8>>,
    pub(super) proof: Option<Vec<u8>>,
}

impl Extras {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let settled = Some(&checkpoint.settled).filter(|settled| !settled.is_empty());
        Self {
            settled: settled.map(encode_settled),
            proof: encode_proof(checkpoint.proof, checkpoint.seen_bytes),
        }
    }

    /// What a row holds in `columns` (settled, proof, checksum), whose own checksum is `row_checksum`. `None` when that
    /// was not written so.
    pub(super) fn read(row: &Row<'_>, columns: [usize; 3], row_checksum: i64) -> Option<Self> {
        let [settled, proof, checksum] = columns;
        let extras = Self { settled: row.get(settled).ok()?, proof: row.get(proof).ok()? };
        let stored: Option<i64> = row.get(checksum).ok()?;
        (stored == extras.checksum(row_checksum)).then_some(extras)
    }

    /// Chained to the row's own checksum, so that blobs of another row, or of another time, do not fit.
    pub(super) fn checksum(&self, row_checksum: i64) -> Option<i64> {
        if self.settled.is_none() && self.proof.is_none() {
            return None;
        }
        let blob = |checksum: Checksum, blob: &Option<Vec<u8>>| match blob {
            Some(blob) => checksum.bytes(b"blob").bytes(blob),
            None => checksum.bytes(b"none"),
        };
        let checksum = Checksum::default().number(row_checksum.cast_unsigned());
        Some(blob(blob(checksum, &self.settled), &self.proof).finish())
    }

    pub(super) fn give_to(self, checkpoint: &mut Checkpoint) {
        let settled = self.settled.and_then(|blob| decode_settled(checkpoint.offset, &blob));
        checkpoint.settled = settled.unwrap_or_default();
        (checkpoint.proof, checkpoint.seen_bytes) =
            self.proof.map(|blob| decode_proof(&blob)).unwrap_or_default();
    }
}

/// The window, its length first, and then the ranges.
fn encode_settled(settled: &Settled) -> Vec<u8> {
    let window = settled.window();
    let mut blob = window.len().to_le_bytes().to_vec();
    blob.extend_from_slice(&window.hash().to_be_bytes());
    for range in settled.ranges() {
        blob.extend_from_slice(&range.start().bytes().to_le_bytes());
        blob.extend_from_slice(&range.end().bytes().to_le_bytes());
    }
    blob
}

/// `None` unless the blob holds ranges that can lie beyond `frontier`.
fn decode_settled(frontier: Offset, blob: &[u8]) -> Option<Settled> {
    let (len, blob) = blob.split_first_chunk()?;
    let (hash, blob) = blob.split_first_chunk()?;
    let window = Window::from_parts(u16::from_le_bytes(*len), u128::from_be_bytes(*hash));
    let mut ranges = Vec::new();
    for range in blob.chunks(16) {
        let (start, end) = range.split_first_chunk()?;
        let (start, end) = (u64::from_le_bytes(*start), u64::from_le_bytes(end.try_into().ok()?));
        ranges.push((start <= end).then(|| Span::new(Offset::new(start), Offset::new(end)))?);
    }
    Settled::try_new(frontier, ranges, window)
}

/// The proof, and how far the file was known to reach (8 bytes, lowest first): each may be left out.
fn encode_proof(proof: Option<Proof>, seen_bytes: u64) -> Option<Vec<u8>> {
    let mut blob = Vec::new();
    if let Some(Proof { to, digest }) = proof {
        blob.extend_from_slice(&to.to_le_bytes());
        blob.extend_from_slice(&digest);
    }
    if seen_bytes > 0 {
        blob.extend_from_slice(&seen_bytes.to_le_bytes());
    }
    Some(blob).filter(|blob| !blob.is_empty())
}

/// Nothing of a blob that is neither, nor both.
fn decode_proof(blob: &[u8]) -> (Option<Proof>, u64) {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    let proof = |bytes: &[u8]| {
        let digest = bytes[8..].try_into().ok()?;
        Some(Proof { to: number(&bytes[..8]), digest })
    };
    match blob.len() {
        PROOF_BYTES => (proof(blob), 0),
        8 => (None, number(blob)),
        BOTH_BYTES => (proof(&blob[..PROOF_BYTES]), number(&blob[PROOF_BYTES..])),
        _ => (None, 0),
    }
}
