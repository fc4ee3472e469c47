//! Noise: bytes that no program writes to a log, such as what `shred` writes over a file.
//!
//! *Invariant:* text is no noise, in UTF-8 or any encoding in which a letter of ASCII is that one byte, with colours or
//! without.

/// Of how many bytes one may be a control character in what is text all the same.
const CONTROLS_SELDOM: usize = 32;

/// How many bytes it takes to tell.
const MIN_BYTES: usize = 16;

/// Whether these bytes are noise. Of random ones every ninth is a control character that no log has.
pub fn is_noise(bytes: &[u8]) -> bool {
    let is_control = |byte: &&u8| matches!(byte, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F | 0x7F);
    let controls = bytes.iter().filter(is_control).count();
    bytes.len() >= MIN_BYTES && controls * CONTROLS_SELDOM > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_and_zeros_are_noise_and_text_is_none() {
        let mut state = 1_u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(4_096)
        .collect();
        assert!(random.chunks(256).all(is_noise));
        assert!(is_noise(&[0; 256]));
        let latin = b"2026-11-29 12:00:00 caf\xe9 ge\xf6ffnet\r\n\tat line 5\n".repeat(9);
        let coloured = b"\x1b[32mINFO\x1b[0m \x1b[1mstarted\x1b[0m\n".repeat(9);
        for text in [&latin[..], &coloured, "запись 1\n".repeat(30).as_bytes(), b"", b"x\n\0"] {
            assert!(!is_noise(text), "{:?}", String::from_utf8_lossy(text));
        }
    }
}
