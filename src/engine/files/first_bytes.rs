//! What a file begins with while nothing of it was taken in: neither its length nor a position says that it was written anew.
//!
//! *Invariant:* only what was written counts: a place that was set aside and holds NULs may be filled in.

use xxhash_rust::xxh3::xxh3_128;

/// The first bytes of a file as a read found them, none of which was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct FirstBytes {
    /// In bytes.
    len: usize,
    hash: u128,
}

impl FirstBytes {
    pub(super) const NOTHING: Self = Self { len: 0, hash: 0 };

    /// What a read found from the first byte on.
    pub(in crate::engine) fn of(bytes: &[u8]) -> Self {
        match memchr::memchr(0, bytes).unwrap_or(bytes.len()) {
            0 => Self::NOTHING,
            len => Self { len, hash: xxh3_128(&bytes[..len]) },
        }
    }

    /// Whether a file that begins with `bytes` now holds something else in the place of these. Where there is less, that
    /// says enough.
    pub(in crate::engine) fn was_replaced_by(&self, bytes: &[u8]) -> bool {
        self.len > 0 && bytes.get(..self.len).is_some_and(|same| xxh3_128(same) != self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_bytes_in_the_place_of_those_that_were_written_replace_them() {
        for (before, now, is_replaced) in [
            ("", "", false),
            ("", "a", false),
            ("ab", "ab", false),
            ("ab", "abc", false),
            ("ab", "a", false),
            ("ab", "cd", true),
            ("ab", "acc", true),
            ("ab\0\0", "abcd", false),
            ("ab\0\0", "cbcd", true),
            ("\0\0", "ab", false),
        ] {
            let first = FirstBytes::of(before.as_bytes());
            assert_eq!(first.was_replaced_by(now.as_bytes()), is_replaced, "{before:?} {now:?}");
        }
    }
}
