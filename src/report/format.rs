//! Formats numbers for people: thousands separators, sizes with units, durations.
//!
//! Input: numbers. Output: text.
//! Deliberately not here: JSON output, which contains plain numbers.

use std::time::Duration;

/// Units of sizes, each 1,024 times the previous one.
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Formats a count with thousands separators: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun: `1 file`, `2 files`.
pub fn plural(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Formats a size with one decimal and its unit; sizes below 1,024 as whole bytes.
pub fn bytes(bytes: u64) -> String {
    let mut size = as_f64(bytes);
    let mut unit = 0;
    // 1,023.95 would be rounded to 1024.0, so the next unit starts slightly earlier.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// Formats a duration in its two largest units: `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64().min(59.9)),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", count(seconds / 86_400), seconds % 86_400 / 3_600),
    }
}

/// Returns the rate per second, or 0 if no time has passed.
pub fn per_second(number: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { as_f64(number) / time.as_secs_f64() }
}

/// Rounds a rate to a whole number, for [`count()`] and [`bytes()`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and rates are never negative"
)]
pub fn round(rate: f64) -> u64 {
    rate.round() as u64
}

/// Converts a count to a float. Exact up to 2^53; larger counts are shown with few digits.
#[expect(clippy::cast_precision_loss, reason = "large counts are shown with few digits")]
pub fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let table = [
            (0, "0"),
            (7, "7"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (number, text) in table {
            assert_eq!(count(number), text);
        }
        assert_eq!(plural(1, "file"), "1 file");
        assert_eq!(plural(2_000, "file"), "2,000 files");
    }

    #[test]
    fn sizes_have_units() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (256 << 20, "256.0 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (number, text) in table {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn times_read_well() {
        let table = [
            (0, "0.0 s"),
            (4_200, "4.2 s"),
            (59_990, "59.9 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_rate_without_time_is_nothing() {
        assert_eq!(round(per_second(100, Duration::ZERO)), 0);
        assert_eq!(round(per_second(100, Duration::from_millis(500))), 200);
        assert_eq!(round(f64::INFINITY), u64::MAX);
    }
}
