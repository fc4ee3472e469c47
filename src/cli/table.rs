//! Lines of words under one another, for people.

/// Rows as columns that are as wide as their widest word; the first row is the heading. Numbers stand right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|word| word.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let is_number = |column: usize| {
        let mut words = rows.iter().skip(1).filter_map(|row| row.get(column)).peekable();
        words.peek().is_some() && words.all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let right: Vec<_> = (0..columns).map(is_number).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, word) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - word.chars().count());
            line.push_str(if column > 0 { "  " } else { "" });
            match right[column] {
                true => line.extend([padding.as_str(), word]),
                false => line.extend([word.as_str(), &padding]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text of others (a path, a message of the service) that cannot move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Bytes of others (the content of a log) in one line of text that shows each of them and cannot move a terminal's cursor
/// or turn its writing around: what is no printable character stands as Rust would write it.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                // Quotes need no mark, since none stand around.
                '\'' | '"' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word_and_numbers_stand_right() {
        let rows = [["path", "offset"], ["/a", "7"], ["/abc", "1234567"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "path   offset\n/a          7\n/abc  1234567\n");
        assert_eq!(plain("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn whatever_bytes_there_are_stand_in_one_line_of_printable_text() {
        let table: [(&[u8], &str); 6] = [
            (b"GET \"/\" 'x' 200\n", r#"GET "/" 'x' 200\n"#),
            (b"\x1b]0;title\x07\x1b[2J\r\t\0", r"\u{1b}]0;title\u{7}\u{1b}[2J\r\t\0"),
            ("a\u{9b}2J\u{85}".as_bytes(), r"a\u{9b}2J\u{85}"),
            (b"\xff\xc3(\xe2\x82", r"\xff\xc3(\xe2\x82"),
            ("\u{202e}grün \u{200b}\u{2028}".as_bytes(), r"\u{202e}grün \u{200b}\u{2028}"),
            (br"C:\x", r"C:\\x"),
        ];
        for (bytes, expected) in table {
            assert_eq!(escaped(bytes), expected);
        }
        let all: Vec<u8> = (0..=255).collect();
        assert!(escaped(&all).chars().all(|character| !character.is_control()));
    }
}
