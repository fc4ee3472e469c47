//! Sizes and durations as people write them, both ways.
//!
//! Knows units, not limits: which size is too large is for the key that has it to say.

use std::time::Duration;

/// Bytes in each unit, the largest first within its family; letters of either case are understood.
const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];

/// What [`parse_size`] reads, as a regular expression of JSON Schema.
pub(super) const SIZE_PATTERN: &str = r"^\s*[0-9]+\s*([bB]|[kKmMgGtT][iI]?[bB])?\s*$";

/// What [`parse_duration`] reads, as a regular expression of JSON Schema.
pub(super) const DURATION_PATTERN: &str = concat!(
    r"^0$|^(\s*[0-9]+\s*(\.\s*[0-9]+\s*)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|",
    r"minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y))+\s*$",
);

/// Bytes of a size such as `64MiB`, `5MB`, `512B` or `1024`; `None` when it is not one, or above 2^64.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        1
    } else {
        let mut units = BINARY.iter().chain(&DECIMAL);
        units.find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size in the largest unit that shows it exactly, binary units first.
pub(super) fn show_size(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(*factor);
    match BINARY.iter().find(exact).or_else(|| DECIMAL.iter().find(exact)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A duration such as `250ms`, `5s` or `1m 30s`; `None` when it is not one.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// A duration in the words that [`parse_duration`] reads.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_has_a_decimal_or_binary_unit_or_none() {
        let table = [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("512B", Some(512)),
            ("1000KiB", Some(1_024_000)),
            ("5MB", Some(5_000_000)),
            ("64 MiB", Some(67_108_864)),
            ("64mib", Some(67_108_864)),
            ("2gb", Some(2_000_000_000)),
            ("1TiB", Some(1 << 40)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("+1", None),
            ("1.5MiB", None),
            ("5M", None),
            ("64MiBs", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("16777216TiB", None),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_exact_unit() {
        let table = [
            (0, "0B"),
            (1, "1B"),
            (1024, "1KiB"),
            (1_024_000, "1000KiB"),
            (5_000_000, "5MB"),
            (8 << 20, "8MiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn durations_are_read_as_they_are_shown() {
        for text in ["250ms", "5s", "1m", "1m 30s", "0s", "1h"] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(show_duration(duration), text);
        }
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration("5 parsecs"), None);
        assert_eq!(parse_duration("-5s"), None);
    }

    #[test]
    fn the_patterns_of_the_schema_match_what_is_read() {
        let [size, duration] =
            [SIZE_PATTERN, DURATION_PATTERN].map(|text| regex::Regex::new(text).expect(text));
        for text in [
            "0", "1024", "512B", "1000KiB", " 64 mib ", "2gb", "1TiB", "", "MiB", "-1", "1.5MiB", "5M",
            "1iB", "64MiBs",
        ] {
            assert_eq!(size.is_match(text), parse_size(text).is_some(), "{text:?}");
        }
        for text in [
            "0",
            "0s",
            "250ms",
            "1m 30s",
            "1h30m",
            " 5 s ",
            "1.5s",
            "2days 4hrs",
            "3M",
            "1y",
            "",
            "5",
            "s",
            "-5s",
            "5 parsecs",
            "1,5s",
            "5S",
            "0 ",
        ] {
            assert_eq!(duration.is_match(text), parse_duration(text).is_some(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_size_is_read_back_as_it_was_shown(bytes: u64) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
    }
}
