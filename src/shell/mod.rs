//! Floor 3: the shells, each around one part of the outside world.

pub mod store;
