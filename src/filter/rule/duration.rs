//! Durations in rules: `90s`, `60m`, `24h`, `14d`, `2w`.
//!
//! Input: text. Output: a duration.
//! Invariant: a duration is longer than zero and at most a year.

use std::time::Duration;

/// The longest duration: alert memory keeps what it covers.
const MAX: Duration = Duration::from_hours(366 * 24);

/// Parses a duration such as `60m` or `14d`.
///
/// # Errors
///
/// Returns what is expected instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let expected = || format!("`{text}` is not a duration such as 90s, 60m, 24h or 14d");
    let unit = text.chars().last().ok_or_else(expected)?;
    let count: u64 = text
        .strip_suffix(unit)
        .and_then(|count| count.trim_end().parse().ok())
        .ok_or_else(expected)?;
    let seconds_per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(expected()),
    };
    match count.checked_mul(seconds_per_unit).map(Duration::from_secs) {
        Some(Duration::ZERO) => Err("a duration of 0 has no effect".to_owned()),
        Some(duration) if duration <= MAX => Ok(duration),
        _ => Err(format!("`{text}` is longer than 366 days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_to_weeks() {
        for (text, seconds) in
            [("90s", 90), ("60m", 3_600), ("24h", 86_400), ("14d", 1_209_600), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "-5m", "1.5h", "5M", "0m", "400d", "99999999999999999999d", "5é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
