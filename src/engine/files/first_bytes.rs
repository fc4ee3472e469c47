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

    /// Whether these are all that `content` says.
    pub(in crate::engine) fn are_all_of(&self, content: &[u8]) -> bool {
        self.len > 0 && self.len == content.len() && xxh3_128(content) == self.hash
    }

    /// Whether `content` begins with these.
    pub(in crate::engine) fn begin(&self, content: &[u8]) -> bool {
        self.len > 0 && content.get(..self.len).is_some_and(|first| xxh3_128(first) == self.hash)
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
    fn they_are_all_of_what_says_no_more_and_begin_what_says_more() {
        for (before, content, are_all, begin) in [
            ("", "", false, false),
            ("", "a", false, false),
            ("ab", "ab", true, true),
            ("ab", "abc", false, true),
            ("ab", "a", false, false),
            ("ab", "ac", false, false),
            ("ab", "acc", false, false),
            ("ab\0", "ab\0", false, true),
        ] {
            let first = FirstBytes::of(before.as_bytes());
            let found = (first.are_all_of(content.as_bytes()), first.begin(content.as_bytes()));
            assert_eq!(found, (are_all, begin), "{before:?} {content:?}");
        }
    }

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
