//! Strangers, from outside: who names files, who answers as the service, and who else runs on the machine.
//!
//! Each file has one kind of stranger, who does what a stranger can: `names` chooses what is printed, `process` reaches
//! the ports, `service` answers requests, `tenant` has a stream beside others', `writer` makes names by the thousand. Each test says how many inputs it tried.
#![expect(clippy::disallowed_methods, reason = "processes, files and sockets are what is tested")]
#![expect(clippy::unwrap_used, reason = "a test's helpers are as good as the test")]

#[path = "../aws/fakes.rs"]
#[expect(dead_code, reason = "shared with the tests of the way to AWS, which use all of it")]
mod fakes;
mod names;
mod process;
mod service;
mod tenant;
#[path = "../end_to_end/world.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod world;
mod writer;

/// Whether a character steers a terminal or turns writing around: an opinion of these tests, beside the daemon's own.
fn steers(character: char) -> bool {
    let bidirectional =
        "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}";
    let separators = "\u{2028}\u{2029}";
    character != '\n'
        && (character.is_control() || bidirectional.contains(character) || separators.contains(character))
}

/// What was printed or served, which must be lines of text that steer nothing, and none that a stranger began.
#[track_caller]
fn assert_plain(what: &str, printed: &[u8]) -> String {
    let text = match std::str::from_utf8(printed) {
        Ok(text) => text.to_owned(),
        Err(error) => panic!("{what}: {error}: {printed:?}"),
    };
    let found: String = text.chars().filter(|character| steers(*character)).collect();
    assert!(found.is_empty(), "{what} has {found:?}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{what} has a forged line: {text}");
    text
}
