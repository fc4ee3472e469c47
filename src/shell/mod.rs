//! Floor 3: the shells, each around one part of the outside world.

pub mod aws;
pub mod control;
pub mod denied;
pub mod files;
pub mod firehose;
pub mod http;
pub mod store;
pub mod systemd;
pub mod watch;
