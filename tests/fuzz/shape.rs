//! `targets/shape.rs`, driven by libFuzzer.
#![no_main]

#[path = "targets/shape.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
