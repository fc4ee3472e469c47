//! State that survives, seen from outside: the real binary, its state directory, and an embedded delivery stream.

#![expect(clippy::disallowed_methods, reason = "files and processes are what is tested")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]
#![expect(unreachable_pub, reason = "the rooms of a test are for that test alone")]

mod commands;
mod control;
mod faults;
mod golden;
mod kills;
mod process;
mod reload;
mod stage;
mod strace;
