//! What comes of comparing two open files.
//!
//! Knows bytes. Does not know what follows of it.

/// How far two files say the same, from where they were compared on.
///
/// The file is read before the other: what it has beyond the other was not in the other then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// How many bytes are the same.
    pub bytes: usize,
    pub then: Then,
}

/// What comes behind the bytes that two files share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// As much as was asked for was compared.
    More,
    /// The file ends; the other may go on.
    Ends,
    /// The other ends before the file does.
    OtherEnds,
    /// Another byte.
    Differs,
}

impl Likeness {
    /// How far `file` says what `other` says, where `len` bytes of each were asked for.
    pub fn of(file: &[u8], other: &[u8], len: usize) -> Self {
        let bytes = file.iter().zip(other).take_while(|(one, other)| one == other).count();
        let then = match () {
            () if bytes == len => Then::More,
            () if bytes == file.len() => Then::Ends,
            () if bytes == other.len() => Then::OtherEnds,
            () => Then::Differs,
        };
        Self { bytes, then }
    }
}
