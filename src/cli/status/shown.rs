//! Numbers and texts as a table shows them.
//!
//! Knows units and widths. Does not know what it shows.
//!
//! *Invariant:* no text steers the terminal.

use crate::model::text::{cut, plain};

/// The most of a text that is shown, in bytes: a daemon keeps less of what a service says.
const MAX_TEXT_BYTES: usize = 4096;

pub(super) fn bar(part: f64, width: usize) -> String {
    let filled = (part.clamp(0.0, 1.0) * width as f64).floor() as usize;
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}

/// In binary units, three digits.
pub(super) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Bytes a second in the units of a quota: 5,000,000 are "5.0 MB".
pub(super) fn byte_rate(bytes: f64) -> String {
    scaled(bytes.floor(), 1000.0, ["B", "kB", "MB", "GB", "TB"])
}

fn scaled(mut value: f64, step: f64, units: [&str; 5]) -> String {
    let mut unit = 0;
    while value >= 1000.0 && unit < units.len() - 1 {
        value /= step;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// The two largest units.
pub(in crate::cli) fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 if seconds < 0.0005 => "-".to_owned(),
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} d", whole / 86_400),
    }
}

/// A text of whoever answers, in one line of bounded length.
pub(super) fn shown(text: &str) -> String {
    plain(&*cut(text, MAX_TEXT_BYTES))
}

/// At most `width` characters: the end of a path says more than its beginning.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let text = shown(text);
    let long = text.chars().count();
    match long > width {
        true => format!("…{}", text.chars().skip(long - width + 1).collect::<String>()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_have_two_or_three_digits() {
        let sizes =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (500 << 20, "500 MiB")];
        for (size, expected) in sizes {
            assert_eq!(bytes(size), expected);
        }
        let rates = [(0.0, "0 B"), (999.9, "999 B"), (1e3, "1.0 kB"), (4.5e6, "4.5 MB"), (5e8, "500 MB")];
        for (rate, expected) in rates {
            assert_eq!(byte_rate(rate), expected);
        }
        let times =
            [(0.0, "-"), (0.25, "0.2 s"), (59.9, "59 s"), (600.0, "10 min"), (7200.0, "2 h"), (2e6, "23 d")];
        for (time, expected) in times {
            assert_eq!(duration(time), expected);
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal_and_a_long_one_keeps_its_end() {
        assert_eq!(shortened("a\x1b[2Jb\n", 20), r"a\u{1b}[2Jb\n");
        assert_eq!(shortened("/var/log/app/a.log", 10), "…app/a.log");
        assert_eq!(shortened("/a", 10), "/a");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0.999, 4), "███░");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(7.0, 4), "████");
    }
}
