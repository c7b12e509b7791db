//! The conditions of a search that have options of their own: `--errors-only`, `--principal`, `--resource`, `--ip`, …
//!
//! Input: their values, then events. Output: whether all conditions hold. Of several values of one condition, one has to
//! match.
//! Invariant: what [`Selectors::admits`] rules out from the header alone, [`Selectors::matches`] rules out as well.
//!
//! | condition | holds if |
//! |---|---|
//! | errors | `errorCode` or `errorMessage` is a text that is not empty |
//! | read-only, write-only | `readOnly` is `true`, `false`; an event without it is neither |
//! | principal | the short principal matches, or one of `arn`, `userName`, `principalId`, `sessionContext.sessionIssuer.arn`, `….userName` |
//! | resource | an identifier matches (see `resource`) |
//! | address | `sourceIPAddress` is an address in the range; the name of a service is in none |
//! | access key | `userIdentity.accessKeyId` is this id |

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use thiserror::Error;

use super::{
    event_header::{EventHeader, has_error, read_only},
    glob::Glob,
    principal::Identity,
    resource::ResourcePattern,
};

/// Which kind of calls is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Calls that only read.
    Read,
    /// Calls that can change something.
    Write,
}

/// The conditions that have options of their own. All of them have to hold; without one, every event matches.
#[derive(Clone, Debug, Default)]
pub struct Selectors {
    /// Whether only calls that failed are searched for.
    pub errors_only: bool,
    /// Which kind of calls is searched for; both if `None`.
    pub calls: Option<CallKind>,
    /// Patterns for who made the call.
    pub principals: Vec<Glob>,
    /// Patterns for what the call was about.
    pub resources: Vec<ResourcePattern>,
    /// Where the call came from.
    pub addresses: Vec<AddressRange>,
    /// The access key that signed the call.
    pub access_keys: Vec<AccessKeyId>,
}

impl Selectors {
    /// Returns whether there is no condition.
    pub fn is_empty(&self) -> bool {
        !self.errors_only
            && self.calls.is_none()
            && self.principals.is_empty()
            && self.resources.is_empty()
            && self.addresses.is_empty()
            && self.access_keys.is_empty()
    }

    /// Returns whether an event with this header can match.
    pub fn admits(&self, header: &EventHeader<'_>) -> bool {
        (!self.errors_only || header.has_error != Some(false))
            && self.calls.is_none_or(|calls| {
                header.read_only.is_none_or(|read_only| read_only == (calls == CallKind::Read))
            })
            && header.source_ip_address.is_none_or(|address| self.matches_address(address))
    }

    /// Returns whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        (!self.errors_only || has_error(event))
            && self.calls.is_none_or(|calls| read_only(event) == Some(calls == CallKind::Read))
            && self
                .matches_address(event.get("sourceIPAddress").and_then(Value::as_str).unwrap_or(""))
            && self.matches_identity(event)
            && (self.resources.is_empty()
                || self.resources.iter().any(|pattern| pattern.matches(event)))
    }

    fn matches_address(&self, address: &str) -> bool {
        self.addresses.is_empty()
            || address
                .trim()
                .parse()
                .is_ok_and(|address| self.addresses.iter().any(|range| range.contains(address)))
    }

    fn matches_identity(&self, event: &Value) -> bool {
        if self.access_keys.is_empty() && self.principals.is_empty() {
            return true;
        }
        let identity = Identity::of_event(event);
        let has_key = |key: &AccessKeyId| identity.access_key == Some(key.as_str());
        (self.access_keys.is_empty() || self.access_keys.iter().any(has_key))
            && (self.principals.is_empty()
                || self.principals.iter().any(|glob| matches_principal(glob, &identity)))
    }
}

/// Returns whether a pattern matches one of the names of an identity.
pub(crate) fn matches_principal(glob: &Glob, identity: &Identity<'_>) -> bool {
    let names = [
        identity.arn,
        identity.user_name,
        identity.principal_id,
        identity.issuer_arn,
        identity.issuer_name,
    ];
    glob.matches(&identity.short()) || names.into_iter().flatten().any(|name| glob.matches(name))
}

/// The text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not an address either.
    #[error(
        "expected an address (203.0.113.7, 2001:db8::7) or a range (203.0.113.0/24, 2001:db8::/32)"
    )]
    Address,
    /// The number behind `/` is not the length of a prefix.
    #[error("expected the length of the prefix behind '/', from 0 to {0}")]
    Prefix(u8),
}

/// An address or a range of addresses. An IPv4 address that is written as an IPv6 address equals the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Returns whether the range contains an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let Some((address, prefix)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| AddressError::Address)?;
            return Ok(Self(address.to_canonical().into()));
        };
        let address: IpAddr = address.parse().map_err(|_| AddressError::Address)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|length| is_number && *length <= longest);
        let prefix = prefix.ok_or(AddressError::Prefix(longest))?;
        let range = IpNet::new(address, prefix).map_err(|_| AddressError::Prefix(longest))?;
        Ok(Self(canonical(range).trunc()))
    }
}

/// Returns the range of IPv4 addresses, if a range of IPv6 addresses contains nothing else.
fn canonical(range: IpNet) -> IpNet {
    /// Bits before the IPv4 address in `::ffff:a.b.c.d`.
    const MAPPED_BITS: u8 = 96;
    let (IpAddr::V4(address), IpNet::V6(_)) = (range.addr().to_canonical(), range) else {
        return range;
    };
    let length = range.prefix_len().checked_sub(MAPPED_BITS);
    length.and_then(|length| Ipv4Net::new(address, length).ok()).map_or(range, IpNet::V4)
}

/// The text is not the id of an access key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccessKeyError {
    /// It is empty or contains something else than letters and digits.
    #[error("expected the id of an access key, such as AKIAIOSFODNN7EXAMPLE")]
    Id,
    /// It has the form of a secret access key.
    #[error(
        "this looks like a secret access key; expected the id of one, such as AKIAIOSFODNN7EXAMPLE"
    )]
    Secret,
}

/// The id of an access key: `AKIA…` for a long-term one, `ASIA…` for one of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccessKeyId {
    type Err = AccessKeyError;

    fn from_str(text: &str) -> Result<Self, AccessKeyError> {
        /// Length of a secret access key, which is base64.
        const SECRET_LENGTH: usize = 40;
        let text = text.trim();
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.len() == SECRET_LENGTH
            && !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        {
            return Err(AccessKeyError::Secret);
        }
        if text.is_empty() || !text.bytes().all(is_id) {
            return Err(AccessKeyError::Id);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addresses(ranges: &[&str]) -> Selectors {
        let addresses = ranges.iter().map(|range| range.parse().unwrap()).collect();
        Selectors { addresses, ..Selectors::default() }
    }

    fn from(address: &str) -> Value {
        json!({"sourceIPAddress": address})
    }

    #[test]
    fn addresses_match_ranges_of_both_versions() {
        for (range, address, matches) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.70", false),
            ("203.0.113.7/24", "203.0.113.255", true),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:DB8::/32", "2001:db8:1::7", true),
            ("2001:db8::1", "2001:0db8:0:0::1", true),
            ("203.0.113.7", "::ffff:203.0.113.7", true),
            ("::ffff:203.0.113.0/120", "203.0.113.9", true),
            ("::ffff:203.0.113.7", "203.0.113.7", true),
            ("0.0.0.0/0", "ec2.amazonaws.com", false),
            ("0.0.0.0/0", "AWS Internal", false),
            ("0.0.0.0/0", "", false),
        ] {
            let selectors = addresses(&[range]);
            assert_eq!(selectors.matches(&from(address)), matches, "{range} {address}");
            let header = EventHeader { source_ip_address: Some(address), ..EventHeader::default() };
            assert_eq!(selectors.admits(&header), matches, "{range} {address}");
        }
        assert!(addresses(&["192.0.2.1", "10.0.0.0/8"]).matches(&from("10.1.2.3")));
        assert!(!addresses(&["10.0.0.0/8"]).matches(&json!({})));
        assert!(!addresses(&["10.0.0.0/8"]).matches(&json!({"sourceIPAddress": 7})));
    }

    #[test]
    fn invalid_addresses_and_keys_are_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0.0",
            "example.com",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "010.0.0.1",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
        assert_eq!(
            "AKIAIOSFODNN7EXAMPLE".parse::<AccessKeyId>().unwrap().as_str(),
            "AKIAIOSFODNN7EXAMPLE"
        );
        assert_eq!("".parse::<AccessKeyId>(), Err(AccessKeyError::Id));
        assert_eq!("AKIA*".parse::<AccessKeyId>(), Err(AccessKeyError::Id));
        assert_eq!(
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".parse::<AccessKeyId>(),
            Err(AccessKeyError::Secret)
        );
    }

    #[test]
    fn errors_are_codes_or_messages() {
        let selectors = Selectors { errors_only: true, ..Selectors::default() };
        for (event, matches) in [
            (json!({"errorCode": "AccessDenied"}), true),
            (json!({"errorMessage": "Failed authentication"}), true),
            (json!({"errorCode": null}), false),
            (json!({"errorCode": ""}), false),
            (json!({}), false),
        ] {
            assert_eq!(selectors.matches(&event), matches, "{event}");
            assert_eq!(selectors.admits(&EventHeader::of_event(&event)), matches, "{event}");
        }
    }

    #[test]
    fn an_event_without_read_only_is_of_neither_kind() {
        for (event, read, write) in [
            (json!({"readOnly": true}), true, false),
            (json!({"readOnly": "false"}), false, true),
            (json!({"readOnly": null}), false, false),
            (json!({}), false, false),
        ] {
            for (calls, matches) in [(CallKind::Read, read), (CallKind::Write, write)] {
                let selectors = Selectors { calls: Some(calls), ..Selectors::default() };
                assert_eq!(selectors.matches(&event), matches, "{event} {calls:?}");
                assert!(!matches || selectors.admits(&EventHeader::of_event(&event)), "{event}");
            }
        }
    }

    #[test]
    fn a_principal_has_several_names() {
        let event = json!({"userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:alice", "accessKeyId": "ASIAEXAMPLE",
            "arn": "arn:aws:sts::111122223333:assumed-role/Admin/alice",
            "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/Admin", "userName": "Admin"}},
        }});
        let principal = |pattern: &str| {
            Selectors { principals: vec![Glob::new(pattern)], ..Selectors::default() }
                .matches(&event)
        };
        for pattern in [
            "role/Admin/alice",
            "*ALICE",
            "arn:aws:sts::*",
            "AROAEXAMPLE:*",
            "Admin",
            "arn:aws:iam::111122223333:role/Admin",
            "role/admin/*",
        ] {
            assert!(principal(pattern), "{pattern}");
        }
        for pattern in ["alice", "user/*", "role/Admin", ""] {
            assert!(!principal(pattern), "{pattern}");
        }
        let key = |id: &str| {
            Selectors { access_keys: vec![id.parse().unwrap()], ..Selectors::default() }
                .matches(&event)
        };
        assert!(key("ASIAEXAMPLE"));
        assert!(!key("AKIAEXAMPLE"));
        assert!(
            !Selectors { principals: vec![Glob::new("*x")], ..Selectors::default() }
                .matches(&json!({}))
        );
    }
}
