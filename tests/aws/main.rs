//! The way to AWS, from outside: the real binary among fakes of STS, instance metadata, container agents, a proxy and an
//! authority of the project's own.
//!
//! `fakes` has the services, `stage` the daemon and its surroundings; each other file has one subject.
#![expect(clippy::disallowed_methods, reason = "processes, files and sockets are what is tested")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

mod certificates;
mod checking;
mod fakes;
mod providers;
mod proxies;
mod renewals;
mod stage;
mod start;
mod values;
#[path = "../end_to_end/world.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod world;
