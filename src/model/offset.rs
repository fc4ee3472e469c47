//! Places in a file, in bytes.
//!
//! A bare `u64` could be a size, a count or a place; these cannot be confused.

use std::fmt;

/// A place in one incarnation of a file: how many bytes come before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The beginning of a file.
    pub const ZERO: Self = Self(0);

    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes before this place.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The place `len` bytes further on.
    pub const fn plus(self, len: u64) -> Self {
        Self(self.0 + len)
    }

    /// The place `len` bytes earlier, but not before the beginning.
    pub const fn minus(self, len: u64) -> Self {
        Self(self.0.saturating_sub(len))
    }

    /// Bytes from `earlier` to here; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    start: Offset,
    end: Offset,
}

impl Span {
    /// # Panics
    /// When `end` lies before `start`.
    pub fn new(start: Offset, end: Offset) -> Self {
        assert!(start <= end, "a span ends after it starts: {start}..{end}");
        Self { start, end }
    }

    pub const fn start(self) -> Offset {
        self.start
    }

    pub const fn end(self) -> Offset {
        self.end
    }

    /// Bytes covered.
    pub const fn len(self) -> u64 {
        self.end.since(self.start)
    }

    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}
