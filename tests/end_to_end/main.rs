//! The real binary, from outside: files, signals, a service over HTTP, and what arrives there.
//!
//! `world` has the processes and the arithmetic of what arrived; each other file has one subject. Whatever waits,
//! waits for a condition, with patience for a machine that does much else. Seeds are printed; `STANDPIPE_SEED` sets
//! them.
#![expect(clippy::disallowed_methods, reason = "processes, files and sockets are what is tested")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

mod audit;
mod blame;
mod check;
mod configuration;
mod crash;
mod envelope;
mod exits;
mod faults;
mod files;
mod front;
mod hangs;
mod health;
mod input;
mod joined;
mod logs;
mod network;
mod once;
mod packing;
mod preview;
mod rotation;
mod shapes;
mod shipping;
mod spreading;
mod templates;
mod thin;
mod world;
