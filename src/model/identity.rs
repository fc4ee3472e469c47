//! Which file, and which life of it.
//!
//! A name says nothing: rotation renames files, and file systems hand the inode of a deleted file to the next
//! one (ext4 did so 19 times of 19). What is compared instead: device, inode and birth time, a fingerprint of
//! the beginning, and the window of bytes just before a known offset.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

/// How much of a file's beginning a fingerprint covers at most, in bytes.
pub const HEAD_BYTES: usize = 1024;

/// How much before an offset a window covers at most, in bytes: a few lines, so that their time stamps differ.
pub const WINDOW_BYTES: usize = 256;

/// What the kernel says a file is (`statx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
    /// Birth time in nanoseconds since 1970; `None` where the file system keeps none (NFS, some FUSE).
    pub birth_nanos: Option<i64>,
}

/// One life of one file's content in one stream: it ends when the file is truncated or another takes its place.
///
/// Numbered upwards in the state database and never given twice, also after a crash: a number that is below what is
/// reserved in the database may be named in records before anything else is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// So many numbers of incarnations are reserved at a time: as many files may come while nothing can be saved.
pub const RESERVED_AT_ONCE: u64 = 4096;

/// Which file an incarnation began in. It stays what it was when a copy of the file goes on with the incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub device: u64,
    pub inode: u64,
}

impl From<Identity> for Origin {
    fn from(identity: Identity) -> Self {
        Self { device: identity.device, inode: identity.inode }
    }
}

/// When an incarnation was seen by the wall clock, which birth times are told by, in nanoseconds since 1970; and whose its
/// file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    /// The first look at its file.
    pub first_nanos: i64,
    /// The last read that found its content.
    pub last_nanos: i64,
    /// The user ID that its file belonged to: only this user's files, and root's, may be generations or copies of it.
    pub owner: u32,
}

/// A time since 1970, in nanoseconds: as birth times are told.
pub fn unix_nanos(unix_time: Duration) -> i64 {
    i64::try_from(unix_time.as_nanos()).unwrap_or(i64::MAX)
}

/// A hash of 128 bits, kept as two halves: what is known of each file holds several, and an integer of 128 bits takes
/// half as much again for its place in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hash {
    high: u64,
    low: u64,
}

impl Hash {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are cut apart")]
    pub(super) const fn of(whole: u128) -> Self {
        Self { high: (whole >> 64) as u64, low: whole as u64 }
    }

    pub(super) const fn whole(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

/// A hash of the first bytes of a file, up to [`HEAD_BYTES`], with how many they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    len: u16,
    hash: Hash,
}

impl Fingerprint {
    /// The fingerprint of a file that begins with `head`; what lies beyond [`HEAD_BYTES`] is ignored.
    pub fn of(head: &[u8]) -> Self {
        let head = &head[..head.len().min(HEAD_BYTES)];
        let len = u16::try_from(head.len()).expect("HEAD_BYTES fits in 16 bits");
        Self { len, hash: Hash::of(xxh3_128(head)) }
    }

    /// What nothing is known of: every file begins so.
    pub fn none() -> Self {
        Self::of(&[])
    }

    /// A fingerprint as it was stored.
    pub const fn from_parts(len: u16, hash: u128) -> Self {
        Self { len, hash: Hash::of(hash) }
    }

    /// Bytes covered.
    pub const fn len(self) -> u16 {
        self.len
    }

    /// Whether it covers no byte, and so says nothing.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    pub const fn hash(self) -> u128 {
        self.hash.whole()
    }

    /// Whether a file that begins with `head` may be this one, grown or not: compared as a prefix.
    pub fn matches(self, head: &[u8]) -> bool {
        head.get(..usize::from(self.len)).is_some_and(|prefix| xxh3_128(prefix) == self.hash())
    }
}

/// A hash of the bytes just before an offset, up to [`WINDOW_BYTES`], with how many they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    len: u16,
    hash: Hash,
}

impl Window {
    /// The window at the end of `before`.
    pub fn at_end_of(before: &[u8]) -> Self {
        let bytes = &before[before.len().saturating_sub(WINDOW_BYTES)..];
        let len = u16::try_from(bytes.len()).expect("WINDOW_BYTES fits in 16 bits");
        Self { len, hash: Hash::of(xxh3_128(bytes)) }
    }

    /// A window as it was stored.
    pub const fn from_parts(len: u16, hash: u128) -> Self {
        Self { len, hash: Hash::of(hash) }
    }

    /// Bytes covered.
    pub const fn len(self) -> u16 {
        self.len
    }

    /// Whether it covers no byte: only at the beginning of a file.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    pub const fn hash(self) -> u128 {
        self.hash.whole()
    }

    /// Whether `before`, the bytes in front of the offset, end in this window.
    pub fn matches(self, before: &[u8]) -> bool {
        before
            .len()
            .checked_sub(usize::from(self.len))
            .is_some_and(|from| xxh3_128(&before[from..]) == self.hash())
    }
}

/// Of a file of which nothing is known: it matches every file.
impl Default for Fingerprint {
    fn default() -> Self {
        Self::of(&[])
    }
}

/// At the beginning of a file, where no byte comes before.
impl Default for Window {
    fn default() -> Self {
        Self::at_end_of(&[])
    }
}
