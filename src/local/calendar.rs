//! UTC dates in the names of files.
//!
//! Knows no clock. Called by `destination`, which names files by it.

use std::time::{Duration, UNIX_EPOCH};

/// The last microsecond that has a date of fixed width: the end of the year 9999.
const LAST: Duration = Duration::new(253_402_300_799, 999_999_000);

/// `2026-11-05-13-07-09-123456`: date, time and microseconds, of fixed width, so that text sorts as time does.
///
/// `unix_time` without leap seconds, as the system clock counts; what is later than the year 9999 is its last microsecond.
pub(super) fn stamp(unix_time: Duration) -> String {
    let time = humantime::format_rfc3339_micros(UNIX_EPOCH + unix_time.min(LAST)).to_string();
    time.trim_end_matches('Z').replace(['T', ':', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_a_fixed_width() {
        for (unix_time, expected) in [
            (Duration::new(1_793_884_029, 7_000), "2026-11-05-13-07-09-000007"),
            (Duration::ZERO, "1970-01-01-00-00-00-000000"),
            (Duration::from_secs(951_782_400), "2000-02-29-00-00-00-000000"),
            (Duration::from_secs(4_107_542_400), "2100-03-01-00-00-00-000000"),
            (LAST, "9999-12-31-23-59-59-999999"),
            (LAST + Duration::from_secs(1), "9999-12-31-23-59-59-999999"),
            (Duration::MAX, "9999-12-31-23-59-59-999999"),
        ] {
            assert_eq!(stamp(unix_time), expected);
        }
    }
}
