//! Which source, and which delivery stream: places in the settings.
//!
//! Knows nothing else.

/// Index of a source in [`Settings::sources`](super::settings::Settings::sources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub usize);

/// Index of a stream in [`Settings::streams`](super::settings::Settings::streams).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub usize);
