//! UTC dates from a count of time since 1970.
//!
//! Knows the Gregorian calendar and no clock. Called by `destination`, which names files by it.

use std::time::Duration;

/// `2026-11-05-13-07-09-123456`: date, time and microseconds, of fixed width, so that text sorts as time does.
///
/// `unix_time` without leap seconds, as the system clock counts. Of fixed width up to the year 9999.
pub(super) fn stamp(unix_time: Duration) -> String {
    let seconds = unix_time.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = unix_time.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{micros:06}")
}

/// Year, month and day of the day that begins `days` days after 1970-01-01.
///
/// Counted in years that begin on the first of March: the leap day is then the last of its year, and the days
/// before a month are a straight line (153 days in any five months from March or August on).
fn civil(days: u64) -> (u64, u64, u64) {
    const FROM_0000_03_01_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;

    let days = days + FROM_0000_03_01_TO_1970;
    let cycle = days / DAYS_IN_400_YEARS;
    let day = days % DAYS_IN_400_YEARS;
    // Every 4 years are a day longer, but for every 100, but for the whole 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * cycle + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (10_956, (1999, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_782, (2024, 2, 29)),
            (20_762, (2026, 11, 5)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let length = |year: u64, month: u64| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..182_622 {
            assert_eq!(civil(days), (year, month, day));
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_stamp_has_a_fixed_width() {
        let at = Duration::new(1_793_884_029, 7_000);
        assert_eq!(stamp(at), "2026-11-05-13-07-09-000007");
        assert_eq!(stamp(Duration::ZERO), "1970-01-01-00-00-00-000000");
    }
}
