//! `targets/split.rs`, driven by libFuzzer.
#![no_main]

#[path = "targets/split.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
