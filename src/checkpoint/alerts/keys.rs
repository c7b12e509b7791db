//! Keys of the memory of alerts: hashes of names and values.
//!
//! Input: texts. Output: 16 bytes of a SHA-256 hash.
//! Invariant: two different lists of texts have different keys: nobody can construct a user name whose group is that of another.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::filter::{jmespath::Expression, rule::Rule};

/// A key: short, because there are millions, and long enough that no two are equal by chance or intent.
pub(in crate::checkpoint) type Key = [u8; 16];

/// Returns the key of a list of texts of a kind.
pub(in crate::checkpoint) fn key(kind: &str, parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in [kind].iter().chain(parts) {
        // The length separates the parts.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    std::array::from_fn(|position| digest[position])
}

/// Returns the first half of a key, where a group has few values.
pub(in crate::checkpoint) fn short(key: &Key) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|position| key[position]))
}

/// Returns a key in hexadecimal digits.
pub(in crate::checkpoint) fn hexadecimal(key: &Key) -> String {
    format!("{:032x}", u128::from_be_bytes(*key))
}

/// Returns the expressions of `first_seen`, as they are part of keys; empty without them.
pub(in crate::checkpoint) fn first_seen_by(rule: &Rule) -> String {
    rule.grouping.first_seen.as_ref().map_or_else(String::new, |first_seen| {
        first_seen.by.iter().map(Expression::text).collect::<Value>().to_string()
    })
}

/// Returns the key of a combination of a rule.
pub(in crate::checkpoint) fn combination_key(
    rule: &Rule,
    first_seen_by: &str,
    combination: &Value,
) -> Key {
    key("combination", &[&rule.name, first_seen_by, &combination.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_are_separated() {
        assert_ne!(key("a", &["b", "c"]), key("a", &["bc", ""]));
        assert_ne!(key("a", &["b"]), key("b", &["b"]));
        assert_eq!(hexadecimal(&key("a", &["b"])).len(), 32);
    }
}
