//! How far hints can be relied on.

/// Whether every change in the watched directories brings a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// Every directory that matters is watched.
    Full,
    /// Some directory cannot be watched: surveys must do.
    Partial,
}
