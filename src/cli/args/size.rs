//! Parses sizes: `256MiB`, `5 MB`, `1048576`.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The value is not a size; the message states what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a size such as 256MiB, 1GiB, 500MB or 1048576 (bytes)")]
pub struct SizeError;

/// The units of a size. `kB` and the like are powers of 1,000; `KiB` and single letters are powers of 1,024.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// Creates a size from a number of MiB.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
}

impl FromStr for ByteCount {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| SizeError)?;
        let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SizeError)?;
        number.checked_mul(*bytes).map(Self).ok_or(SizeError)
    }
}

impl fmt::Display for ByteCount {
    /// Writes the exact size in the largest unit that gives a whole number.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(to, "{}{unit}", self.0 >> shift);
            }
        }
        write!(to, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_many_spellings() {
        let table = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("17B", 17),
            ("64k", 64 << 10),
            ("64KB", 64_000),
            ("64KiB", 64 << 10),
            ("5MB", 5_000_000),
            ("5 MiB", 5 << 20),
            ("256MiB", 256 << 20),
            ("256mib", 256 << 20),
            ("256M", 256 << 20),
            ("1GiB", 1 << 30),
            ("2g", 2 << 30),
            ("1TB", 1_000_000_000_000),
        ];
        for (typed, bytes) in table {
            assert_eq!(typed.parse(), Ok(ByteCount(bytes)), "{typed}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for typed in
            ["", "MiB", "-1", "+1", "1.5GiB", "1,000", "5 m b", "5PiB", "5é", "99999999999GiB"]
        {
            assert_eq!(typed.parse::<ByteCount>(), Err(SizeError), "{typed}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_would_be_typed() {
        let table =
            [(0, "0"), (1_000, "1000"), (5 << 20, "5MiB"), (1 << 30, "1GiB"), (1_536, "1536")];
        for (bytes, shown) in table {
            assert_eq!(ByteCount(bytes).to_string(), shown);
            assert_eq!(shown.parse(), Ok(ByteCount(bytes)));
        }
    }
}
