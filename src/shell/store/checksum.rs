//! Checksums over fields: SQLite has none of its own.

use xxhash_rust::xxh3::xxh3_64;

/// Hashes fields so that no two different rows feed it the same bytes: what varies in length says its length.
#[derive(Default)]
pub(super) struct Checksum(Vec<u8>);

impl Checksum {
    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.number(bytes.len() as u64);
        this.0.extend_from_slice(bytes);
        this
    }

    /// By its bits, as SQLite stores it.
    pub(super) fn finish(self) -> i64 {
        xxh3_64(&self.0).cast_signed()
    }
}
