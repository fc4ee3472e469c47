//! Texts that somebody else wrote, made fit for a terminal, a line of the log, a label or a page.
//!
//! Knows which characters steer what shows them, and how each is spelt so that it is seen instead. Names of files, messages
//! of the service, lines of logs: whoever chose them must not move a cursor, forge a line, or turn the writing around.
//! Whatever prints a text of others asks here; the page, which is no Rust, has the same ranges.
//!
//! *Invariant:* what is returned is valid text without any character of [`STEERING`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// Characters that steer, or that nobody sees, as ranges with both ends: the controls C0, DEL and C1, marks that turn the
/// writing around, separators of lines, and what takes no room at all.
pub const STEERING: [(char, char); 13] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200b}'),
    ('\u{200e}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{2069}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// Whether a character steers what shows it, or cannot be seen.
pub fn steers(character: char) -> bool {
    // Most text is this, and is asked for each of its characters.
    let is_plain_ascii = matches!(character, ' '..='~');
    !is_plain_ascii && STEERING.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

/// A text of others in one line: what steers stands as Rust would write it (`\n`, `\u{1b}`), and so do bytes that are no
/// UTF-8 (`\xff`). A backslash stays as it is, so that a text that was made plain before is left alone.
pub fn plain(text: impl AsRef<[u8]>) -> String {
    spelt(text.as_ref(), steers)
}

/// Bytes of others (the content of a log) as [`plain`] shows them, but with each backslash doubled: no two contents look
/// the same.
pub fn exact(bytes: &[u8]) -> String {
    spelt(bytes, |character| character == '\\' || steers(character))
}

/// The path of a file as [`plain`] shows it.
pub fn plain_path(path: &Path) -> String {
    plain(path.as_os_str().as_encoded_bytes())
}

/// A text of several lines, each of which [`plain`] shows: for what is made of lines of ours.
pub fn plain_lines(text: &str) -> String {
    spelt(text.as_bytes(), |character| character != '\n' && steers(character))
}

/// At most `max_bytes` of a text, with a mark where the rest was.
pub fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    match text.len() > max_bytes {
        true => {
            let end = text.floor_char_boundary(max_bytes.saturating_sub(MARK.len()));
            Cow::Owned(format!("{}{MARK}", &text[..end]))
        }
        false => Cow::Borrowed(text),
    }
}

/// A JSON document that says the same, without a character that steers. Its strings alone can hold some, where JSON has an
/// escape for each; ends of lines between its parts stay.
pub fn plain_json(document: String) -> String {
    let is_left = |character: char| character != '\n' && steers(character);
    if !document.chars().any(is_left) {
        return document;
    }
    let mut text = String::with_capacity(document.len() + 64);
    for character in document.chars() {
        match is_left(character) {
            true => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(text, "\\u{unit:04x}").expect("writing to a string cannot fail");
                }
            }
            false => text.push(character),
        }
    }
    text
}

fn spelt(bytes: &[u8], is_spelt: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_spelt(character) {
                true => text.extend(character.escape_default()),
                false => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    text
}

/// Scheme, host and port of a URL: its user, path and query may be secrets.
pub fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_a_url_nothing_is_told_that_may_be_a_secret() {
        for (url, expected) in [
            ("http://u:pass@x:1/s3cr3t?token=1", "http://x:1"),
            ("https://vpce-1.amazonaws.com", "https://vpce-1.amazonaws.com"),
            ("http://x?t=a@b", "http://x"),
            ("x/y", "x"),
            ("http://[::1]:9/p", "http://[::1]:9"),
        ] {
            assert_eq!(super::origin(url), expected);
        }
    }

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_is_seen_instead() {
        let table: [(&[u8], &str); 9] = [
            (b"GET \"/\" 'x' 200\n", r#"GET "/" 'x' 200\n"#),
            (b"\x1b]0;title\x07\x1b[2J\r\t\0\x7f", r"\u{1b}]0;title\u{7}\u{1b}[2J\r\t\u{0}\u{7f}"),
            ("a\u{9b}2J\u{85}".as_bytes(), r"a\u{9b}2J\u{85}"),
            (b"\xff\xc3(\xe2\x82", r"\xff\xc3(\xe2\x82"),
            ("\u{202e}grün \u{200b}\u{2028}\u{2029}".as_bytes(), r"\u{202e}grün \u{200b}\u{2028}\u{2029}"),
            (
                "\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}".as_bytes(),
                r"\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
            ),
            ("e\u{301} नमस्ते 👩\u{200d}🚒".as_bytes(), "e\u{301} नमस्ते 👩\u{200d}🚒"),
            ("\u{feff}\u{e0041}".as_bytes(), r"\u{feff}\u{e0041}"),
            (br"C:\x", r"C:\x"),
        ];
        for (bytes, expected) in table {
            assert_eq!(plain(bytes), expected);
        }
        assert_eq!(exact(b"C:\\x\n"), r"C:\\x\n");
        assert_eq!(plain_lines("a\nb\r\u{1b}"), "a\nb\\r\\u{1b}");
    }

    #[test]
    fn json_says_the_same_without_what_steers() {
        let said = "\u{7f}\u{9b}\u{202e}\u{2028}\u{e0041}\n\u{1b} grün";
        let document = format!("{:#}\n", serde_json::json!({ "path": said }));
        let plain = plain_json(document);
        assert!(plain.chars().all(|character| character == '\n' || !steers(character)), "{plain}");
        let read: serde_json::Value = serde_json::from_str(&plain).expect("it is JSON still");
        assert_eq!(read["path"], said);
    }

    #[test]
    fn what_is_cut_is_within_its_bytes_and_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("üüüü", 6), "ü…");
        assert_eq!(cut("üüü", 2), "…");
    }

    proptest! {
        #[test]
        fn whatever_bytes_there_are_nothing_steers_and_twice_is_once(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let once = plain(&bytes);
            prop_assert!(!once.chars().any(steers));
            prop_assert_eq!(plain(&once), once);
        }

        #[test]
        fn no_two_contents_look_the_same(one in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            prop_assert_eq!(one == other, exact(&one) == exact(&other));
        }

        #[test]
        fn every_character_is_either_shown_or_spelt(character in any::<char>()) {
            let text = plain(character.to_string());
            prop_assert_eq!(text == character.to_string(), !steers(character));
            prop_assert!(steers(character) || !character.is_control());
        }
    }
}
