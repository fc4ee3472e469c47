//! Compressed files, told by their first bytes.
//!
//! Knows how the formats begin that rotators write. Does not know names: a name says nothing of what is in a file.
//!
//! *Invariant:* what is named here begins no text: each beginning holds a control character, bytes that are no UTF-8, or
//! ten characters that nobody writes first.

/// How a file of each format begins, with `None` for a byte that may be any, and what the format is called.
const BEGINNINGS: [(&[Option<u8>], &str); 4] = [
    // RFC 1952: two bytes, and the only method that there is.
    (&[Some(0x1f), Some(0x8b), Some(8)], "gzip"),
    // RFC 8878.
    (&[Some(0x28), Some(0xb5), Some(0x2f), Some(0xfd)], "zstd"),
    // "BZh", the size of a block, and the digits of pi before the first one.
    (
        &[
            Some(b'B'),
            Some(b'Z'),
            Some(b'h'),
            None,
            Some(0x31),
            Some(0x41),
            Some(0x59),
            Some(0x26),
            Some(0x53),
            Some(0x59),
        ],
        "bzip2",
    ),
    (&[Some(0xfd), Some(b'7'), Some(b'z'), Some(b'X'), Some(b'Z'), Some(0)], "xz"),
];

/// What a file that begins with `head` is compressed with.
pub fn compression(head: &[u8]) -> Option<&'static str> {
    let begins = |beginning: &[Option<u8>]| {
        head.len() >= beginning.len()
            && beginning.iter().zip(head).all(|(wanted, byte)| wanted.is_none_or(|wanted| wanted == *byte))
    };
    BEGINNINGS.iter().find(|(beginning, _)| begins(beginning)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_beginnings_and_text_is_none_of_them() {
        let table: [(&[u8], Option<&str>); 9] = [
            (b"\x1f\x8b\x08\0\0\0\0\0", Some("gzip")),
            (b"\x28\xb5\x2f\xfd\x04", Some("zstd")),
            (b"BZh91AY&SY\x9a", Some("bzip2")),
            (b"\xfd7zXZ\0\0", Some("xz")),
            (b"\x1f\x8b", None),
            (b"BZh91 is a line\n", None),
            (b"7zXZ\n", None),
            (b"", None),
            (b"\0\0\x1f\x8b\x08", None),
        ];
        for (head, expected) in table {
            assert_eq!(compression(head), expected, "{head:?}");
        }
    }
}
