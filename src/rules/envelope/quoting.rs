//! Texts and numbers as JSON writes them.
//!
//! Most of what a record says is a line's text, of which next to nothing needs an escape: it is looked at in steps, and
//! copied at once. Knows JSON's tokens. Does not know what is said.
//!
//! *Invariant:* the bytes are those that serde_json writes.

/// How much of a text is looked at in one step, in bytes: as wide as a processor compares at once, or two or four times.
const STEP_BYTES: usize = 32;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What stands behind the backslash, by the byte: nothing where the byte stands for itself, `u` where its number follows.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Writes a text, with its quotes.
pub(super) fn put_text(object: &mut Vec<u8>, text: &str) {
    object.push(b'"');
    put_escaped(object, text);
    object.push(b'"');
}

/// Writes a text as it stands between quotes.
pub(super) fn put_escaped(object: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    let mut copied = 0;
    let (mut at, mut end) = (0, 0);
    while at < text.len() {
        if at == end {
            end = text.len().min(at + STEP_BYTES);
            if let Some(step) = text[at..].first_chunk()
                && stands_for_itself(step)
            {
                at = end;
                continue;
            }
        }
        let byte = text[at];
        let escape = ESCAPES[usize::from(byte)];
        at += 1;
        if escape == 0 {
            continue;
        }
        object.extend_from_slice(&text[copied..at - 1]);
        copied = at;
        match escape {
            b'u' => object.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]),
            _ => object.extend_from_slice(&[b'\\', escape]),
        }
    }
    object.extend_from_slice(&text[copied..]);
}

/// Whether no byte needs an escape. All are looked at: so a compiler looks at many at once.
fn stands_for_itself(step: &[u8; STEP_BYTES]) -> bool {
    !step.iter().fold(false, |needs, byte| needs | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

fn digit(value: u8) -> u8 {
    DIGITS[usize::from(value)]
}

/// Writes a number.
pub(super) fn put_decimal(object: &mut Vec<u8>, number: u64) {
    put_digits::<10>(object, number);
}

/// Writes a number in hexadecimal digits.
pub(super) fn put_hex(object: &mut Vec<u8>, number: u64) {
    put_digits::<16>(object, number);
}

fn put_digits<const BASE: u64>(object: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut from) = ([0; 20], 20);
    loop {
        from -= 1;
        digits[from] = DIGITS[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            return object.extend_from_slice(&digits[from..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(put: impl Fn(&mut Vec<u8>)) -> String {
        let mut object = Vec::new();
        put(&mut object);
        String::from_utf8(object).expect("JSON is UTF-8")
    }

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_json_writes_it(
            text in "([a-z]{0,70}|[\0-\u{1f}\"\\\\\u{7f}]|\\PC|\u{e9}\u{1f600}){0,40}", plain in any::<String>(),
        ) {
            for text in [text, plain] {
                prop_assert_eq!(put(|object| put_text(object, &text)), serde_json::to_string(&text).expect("JSON"));
            }
        }

        #[test]
        fn a_number_is_written_as_the_library_writes_it(number: u64, shift in 0_u32..64) {
            for number in [number >> shift, u64::MAX, 0] {
                prop_assert_eq!(put(|object| put_decimal(object, number)), number.to_string());
                prop_assert_eq!(put(|object| put_hex(object, number)), format!("{number:x}"));
            }
        }
    }

    #[test]
    fn each_byte_is_escaped_wherever_it_stands() {
        for byte in (0..128_u8).map(char::from) {
            for before in 0..2 * STEP_BYTES {
                let text = format!("{}{byte}{}", "-".repeat(before), "\u{e9}".repeat(STEP_BYTES));
                assert_eq!(
                    put(|object| put_text(object, &text)),
                    serde_json::to_string(&text).expect("JSON")
                );
            }
        }
    }
}
