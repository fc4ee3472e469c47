//! As much of a text as fits.
//!
//! Knows how much room there is. Does not know what stands around the text.
//!
//! *Invariant:* what was written is measured, and taken back where it is too long: nothing says beforehand how long a text
//! becomes.

use super::quoting::put_escaped;

/// How much is written before it is measured, in bytes.
const STEP_BYTES: usize = 16 * 1024;

/// Writes as much of the beginning of `text` as a JSON string of up to `room` bytes holds; returns how much that is, in
/// bytes. What is behind it in `text` does not matter.
pub(super) fn text_within(object: &mut Vec<u8>, text: &str, room: usize) -> usize {
    let end = object.len() + room.saturating_sub(1);
    object.push(b'"');
    let (mut taken, mut step) = (0, STEP_BYTES);
    while taken < text.len() {
        // At last, one character by itself.
        let is_one = step < 4;
        let to = match is_one {
            true => text.ceil_char_boundary(taken + 1),
            false => text.floor_char_boundary(taken + step),
        };
        let before = object.len();
        put_escaped(object, &text[taken..to]);
        if object.len() <= end {
            taken = to;
            continue;
        }
        object.truncate(before);
        if is_one {
            break;
        }
        step /= 2;
    }
    object.push(b'"');
    taken
}

/// How many bytes fit in base64 where `taken` of `max_bytes` are taken.
pub(super) fn base64_within(max_bytes: usize, taken: usize) -> usize {
    max_bytes.saturating_sub(taken) / 4 * 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_much_as_fits_is_written_and_no_character_more(
            text in "([a-z\"\u{1}é\u{1f600}]|a{40}){0,60}", room in 2_usize..200,
        ) {
            let mut object = b"{".to_vec();
            let taken = text_within(&mut object, &text, room);
            let written = std::str::from_utf8(&object[1..]).expect("a text");
            prop_assert!(written.len() <= room);
            prop_assert_eq!(&serde_json::from_str::<String>(written).expect("JSON"), &text[..taken]);
            if let Some(next) = text[taken..].chars().next() {
                let more = serde_json::to_string(&text[..taken + next.len_utf8()]).expect("JSON");
                prop_assert!(more.len() > room, "one more would fit");
            }
        }
    }

    #[test]
    fn long_texts_fill_the_room() {
        for unit in ["a", "\"", "\u{1}", "\u{1f600}"] {
            let (mut object, text) = (Vec::new(), unit.repeat(100_000));
            text_within(&mut object, &text, 90_000);
            assert!((89_994..=90_000).contains(&object.len()), "{unit:?}: {}", object.len());
        }
    }
}
