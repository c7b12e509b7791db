//! Compares targets: host, port, path and index prefix.
//!
//! Input: targets as text, without scheme and credentials. Output: whether two texts denote the same target.
//! Invariant: all loopback addresses are the same host.

/// The name of the local machine in a target, whichever loopback address was given.
pub const LOCALHOST: &str = "localhost";

/// Returns the canonical name of a host: `localhost` for a loopback address, and the host itself otherwise.
pub fn canonical_host(host: &str) -> &str {
    match host.trim_matches(['[', ']']) {
        "127.0.0.1" | "::1" | LOCALHOST => LOCALHOST,
        _ => host,
    }
}

/// Returns whether two targets of the form `HOST:PORT/PATH PREFIX` are the same.
pub(super) fn is_same_target(one: &str, other: &str) -> bool {
    parts(one) == parts(other)
}

/// Returns host, port with path, and prefix.
fn parts(target: &str) -> (&str, &str, &str) {
    let (address, prefix) = target.split_once(' ').unwrap_or((target, ""));
    let end = address.find('/').unwrap_or(address.len());
    let colon = address[..end].rfind(':').unwrap_or(end);
    let (host, rest) = address.split_at(colon);
    (canonical_host(host), rest.trim_end_matches('/'), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_one_host() {
        for (one, other, same) in [
            ("localhost:9200 cloudtrail", "127.0.0.1:9200 cloudtrail", true),
            ("[::1]:9200 cloudtrail", "localhost:9200 cloudtrail", true),
            ("localhost:9200// cloudtrail", "localhost:9200 cloudtrail", true),
            ("localhost:9200/es a", "127.0.0.1:9200/es a", true),
            ("localhost:9200 a", "localhost:9201 a", false),
            ("localhost:9200 a", "localhost:9200 b", false),
            ("localhost:9200/es a", "localhost:9200 a", false),
            ("host:9200 a", "localhost:9200 a", false),
            ("[2001:db8::1]:9200 a", "[2001:db8::2]:9200 a", false),
        ] {
            assert_eq!(is_same_target(one, other), same, "{one} {other}");
        }
    }
}
