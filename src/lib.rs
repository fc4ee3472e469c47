//! standpipe tails log files into Amazon Data Firehose: one line, one record, and no line lost.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod local;
pub mod model;
pub mod rules;
pub mod shell;
