//! What a checkpoint's row holds beside its position, as blobs with a checksum of their own.
//!
//! *Invariant:* what is read back is what was written with this very row, or nothing; the position stays in any case.

use rusqlite::Row;

use crate::model::checkpoint::{Checkpoint, Proof};

use super::checksum::Checksum;

/// Blobs that a row may be without.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) settled: Option<Vec<u8>>,
    pub(super) proof: Option<Vec<u8>>,
}

impl Extras {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        Self { settled: None, proof: checkpoint.proof.map(encode_proof) }
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
        checkpoint.proof = self.proof.and_then(|blob| decode_proof(&blob));
    }
}

fn encode_proof(Proof { to, digest }: Proof) -> Vec<u8> {
    [to.to_le_bytes().as_slice(), &digest].concat()
}

/// `None` unless the blob is as long as a proof.
fn decode_proof(blob: &[u8]) -> Option<Proof> {
    let (to, digest) = blob.split_first_chunk()?;
    Some(Proof { to: u64::from_le_bytes(*to), digest: digest.try_into().ok()? })
}
