//! How many messages an action sends in a time: `30/m`.
//!
//! Input: text. Output: a [`ThrottleLimit`], or what is expected instead.
//! Not here: the waits (see `pipeline::alert::delivery`).

use std::{fmt, str::FromStr, time::Duration};

/// The most messages in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimit {
    /// Number of messages, at least 1.
    pub messages: u32,
    /// The time.
    pub per: Duration,
}

/// The most messages of a limit: the times of that many are remembered.
const MAX_MESSAGES: u32 = 100_000;

/// The units of time, with their names.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for ThrottleLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a limit such as 1/s, 30/m, 100/h or 10/5m");
        let (messages, per) = text.split_once('/').ok_or_else(expected)?;
        let messages = messages.trim().parse().map_err(|_| expected())?;
        let per = per.trim();
        let digits = per.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = per.split_at(digits);
        let count: u64 =
            if count.is_empty() { 1 } else { count.parse().map_err(|_| expected())? };
        let (_, seconds) =
            UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or_else(expected)?;
        if !(1..=MAX_MESSAGES).contains(&messages) || !(1..=1_000).contains(&count) {
            return Err(expected());
        }
        Ok(Self { messages, per: Duration::from_secs(count * seconds) })
    }
}

impl fmt::Display for ThrottleLimit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.per.as_secs().max(1);
        let (name, unit) = UNITS
            .into_iter()
            .rev()
            .find(|(_, unit)| seconds.is_multiple_of(*unit))
            .unwrap_or(UNITS[0]);
        match seconds / unit {
            1 => write!(to, "{}/{name}", self.messages),
            count => write!(to, "{}/{count}{name}", self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_messages_in_a_time() {
        for (text, messages, seconds) in [
            ("1/s", 1, 1),
            ("30/m", 30, 60),
            (" 5 / h", 5, 3_600),
            ("2/10s", 2, 10),
            ("1/d", 1, 86_400),
        ] {
            let limit: ThrottleLimit = text.parse().unwrap();
            assert_eq!(limit, ThrottleLimit { messages, per: Duration::from_secs(seconds) });
            assert_eq!(limit.to_string(), text.replace(' ', ""));
        }
        for text in
            ["", "1", "0/s", "1/", "1/y", "-1/s", "1/0s", "1.5/s", "999999999/s", "1/99999d"]
        {
            assert!(text.parse::<ThrottleLimit>().unwrap_err().contains("30/m"), "{text}");
        }
    }
}
