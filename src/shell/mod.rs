//! Floor 3: the shells, one for each part of the world that the daemon touches.
//!
//! *Invariant:* a shell decides nothing: it does what it is asked and says what it saw.

pub mod files;
pub mod firehose;
pub mod store;
pub mod watch;
