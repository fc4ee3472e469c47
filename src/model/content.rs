//! A digest over all of a file's content up to a position: what shows that a copy is one.
//!
//! Likeness is no proof: programs write the same header into each of their files, and whoever may write into a log
//! directory can make a file that begins and ends like another. The digest is a chain over blocks of
//! [`BLOCK_BYTES`], each hashed with the digest before it (xxh3, 128 bits), so that it goes on from where it stopped, also
//! after a restart. What lies behind the last whole block is shorter than a window, and compared as one.
//!
//! Knows bytes. Does not know files, nor who may have written them: who can write the log itself can write anything, and
//! other users' files are no copies.

use xxhash_rust::xxh3::xxh3_128;

use super::identity::{Hash, WINDOW_BYTES};

/// How much is hashed at a time, in bytes: no more than a window, which proves what lies behind the last block.
pub const BLOCK_BYTES: usize = WINDOW_BYTES;

/// The digest of a file's content from its first byte to the end of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// In bytes; a multiple of [`BLOCK_BYTES`].
    to: u64,
    hash: Hash,
}

impl Digest {
    /// The digest before the first byte.
    pub const fn beginning() -> Self {
        Self { to: 0, hash: Hash::of(0) }
    }

    /// A digest as it was stored; `None` when it does not end with a block.
    pub const fn from_parts(to: u64, hash: u128) -> Option<Self> {
        if to.is_multiple_of(BLOCK_BYTES as u64) { Some(Self { to, hash: Hash::of(hash) }) } else { None }
    }

    /// How many bytes it covers.
    pub const fn to(self) -> u64 {
        self.to
    }

    pub const fn hash(self) -> u128 {
        self.hash.whole()
    }

    /// How many bytes the digest up to `position` covers: the whole blocks before it.
    pub const fn end_before(position: u64) -> u64 {
        position - position % BLOCK_BYTES as u64
    }

    /// Takes in the whole blocks of `bytes`, which follow; returns how many bytes that were.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let mut linked = [0; 16 + BLOCK_BYTES];
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            let (before, content) = linked.split_at_mut(16);
            before.copy_from_slice(&self.hash().to_le_bytes());
            content.copy_from_slice(block);
            self.hash = Hash::of(xxh3_128(&linked));
        }
        let taken = bytes.len() - rest.len();
        self.to += taken as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(content: &[u8]) -> Digest {
        let mut digest = Digest::beginning();
        let _ = digest.push(content);
        digest
    }

    proptest! {
        #[test]
        fn it_is_that_of_the_content_however_that_came(
            content in proptest::collection::vec(any::<u8>(), 0..3000),
            steps in proptest::collection::vec(0usize..1000, 0..9),
        ) {
            let mut digest = Digest::beginning();
            for step in steps {
                let from = usize::try_from(digest.to()).expect("small");
                let _ = digest.push(&content[from..content.len().min(from + step)]);
            }
            let covered = usize::try_from(digest.to()).expect("small");
            prop_assert_eq!(digest, of(&content[..covered]));
            prop_assert_eq!(of(&content).to(), Digest::end_before(content.len() as u64));
            prop_assert_eq!(Digest::from_parts(digest.to(), digest.hash()), Some(digest));
        }

        #[test]
        fn any_byte_changes_it(
            content in proptest::collection::vec(any::<u8>(), BLOCK_BYTES..3000),
            at: proptest::sample::Index,
        ) {
            let covered = content.len() - content.len() % BLOCK_BYTES;
            let mut other = content.clone();
            other[at.index(covered)] ^= 1;
            prop_assert_ne!(of(&content), of(&other));
        }
    }

    #[test]
    fn what_ends_within_a_block_is_no_digest() {
        assert_eq!(Digest::from_parts(100, 7), None);
        assert!(Digest::from_parts(2560, 7).is_some());
    }
}
