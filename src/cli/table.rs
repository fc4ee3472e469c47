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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word_and_numbers_stand_right() {
        let rows = [["path", "offset"], ["/a", "7"], ["/abc", "1234567"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "path   offset\n/a          7\n/abc  1234567\n");
    }
}
