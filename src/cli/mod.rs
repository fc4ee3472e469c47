//! cli

pub mod local;
