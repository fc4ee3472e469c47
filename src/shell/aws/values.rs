//! Values that people and other programs wrote: keys, tokens, regions, names of roles.
//!
//! Knows what may stand around a value (blanks, ends of lines, a byte order mark) and what may stand in it. Does not
//! know where it came from.
//!
//! *Invariant:* keys and tokens are visible ASCII: the SDK makes a header of them, and aborts on anything else.

use aws_sdk_firehose::config::Credentials;

use crate::model::text::{cut, plain};

/// `text` without what an editor, a shell or a template left around it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|char: char| char.is_whitespace() || char.is_control() || char == '\u{feff}')
}

/// Whether `text` can stand in a header as a whole: visible ASCII, and not empty.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Text that somebody else wrote, on one line of at most `max_bytes`: runs of blanks and ends of lines are one blank.
pub(super) fn on_one_line(text: &str, max_bytes: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&plain(&*cut(&words, max_bytes)), max_bytes).into_owned()
}

/// Credentials that can be signed with.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) credentials: Credentials,
    /// Which parts had something around them that is left out.
    pub(super) untidy: Vec<&'static str>,
}

/// Trims what a provider gave.
///
/// # Errors
/// The part that is missing, or that no header can carry.
pub(super) fn usable(given: &Credentials) -> Result<Usable, String> {
    let mut untidy = Vec::new();
    let mut part = |name: &'static str, text: &str, is_sent: bool| {
        let value = trimmed(text);
        if value.len() != text.len() {
            untidy.push(name);
        }
        match value {
            "" => Err(format!("the {name} is empty")),
            value if !is_sent || is_visible(value) => Ok(value.to_owned()),
            _ => Err(format!("the {name} has a blank, a control character or a letter beyond ASCII inside")),
        }
    };
    let access_key = part("access key ID", given.access_key_id(), true)?;
    // Signed with, and never sent.
    let secret = part("secret access key", given.secret_access_key(), false)?;
    let token = match given.session_token() {
        Some(token) if !trimmed(token).is_empty() => Some(part("session token", token, true)?),
        Some(_) => {
            untidy.push("session token");
            None
        }
        None => None,
    };
    let credentials = if untidy.is_empty() {
        given.clone()
    } else {
        Credentials::new(access_key, secret, token, given.expiry(), "standpipe")
    };
    Ok(Usable { credentials, untidy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_value_is_left_out() {
        for around in [" ", "\n", "\r\n", "\r", "\t", "\u{feff}", "\u{a0}", "\0", "\n \u{feff}"] {
            assert_eq!(trimmed(&format!("{around}AKID{around}")), "AKID", "{around:?}");
        }
    }

    #[test]
    fn credentials_are_trimmed_and_what_no_header_carries_is_refused() {
        let of = |key: &str, secret: &str, token: Option<&str>| {
            usable(&Credentials::new(key, secret, token.map(str::to_owned), None, "test"))
        };
        let tidy = of("AKID", "secret", None).expect("usable");
        assert!(tidy.untidy.is_empty());
        let trimmed = of("AKID\n", " secret\r", Some("\u{feff}token\n")).expect("usable");
        assert_eq!(trimmed.untidy, ["access key ID", "secret access key", "session token"]);
        let credentials = trimmed.credentials;
        assert_eq!((credentials.access_key_id(), credentials.secret_access_key()), ("AKID", "secret"));
        assert_eq!(credentials.session_token(), Some("token"));
        assert_eq!(of("AKID", "secret", Some("\n")).expect("usable").credentials.session_token(), None);
        for (key, secret, token) in [
            ("", "secret", None),
            ("AK\nID", "secret", None),
            ("AKID", " ", None),
            ("AKID", "s", Some("tök")),
        ] {
            of(key, secret, token).expect_err(key);
        }
    }

    #[test]
    fn a_text_of_many_lines_becomes_one() {
        assert_eq!(on_one_line("a\n\n b\u{1b}[31m\tc", 100), r"a b\u{1b}[31m c");
        assert_eq!(on_one_line("abcde", 4), "a…");
    }
}
