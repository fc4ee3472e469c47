//! Which lines of a file belong together.
//!
//! Knows what an operator chooses from. How lines are told to belong together is for `rules::gather` to say.

use std::time::Duration;

use super::StartPattern;

/// Which lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    pub grouping: Grouping,
    /// The most lines of one message.
    pub max_lines: usize,
    /// How long the last message of a file waits for more lines.
    pub timeout: Duration,
}

/// By what lines are told to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// A message begins where it matches.
    Start(StartPattern),
    /// A stack trace is one message, and so is any other line.
    Traces(Preset),
}

/// The language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    Java,
    Python,
    Go,
    Ruby,
    Node,
    Rust,
}

impl Preset {
    /// Each as the configuration spells it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("java", Self::Java),
        ("python", Self::Python),
        ("go", Self::Go),
        ("ruby", Self::Ruby),
        ("node", Self::Node),
        ("rust", Self::Rust),
    ];

    /// As programmers spell it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Java => "Java",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Ruby => "Ruby",
            Self::Node => "Node.js",
            Self::Rust => "Rust",
        }
    }
}
