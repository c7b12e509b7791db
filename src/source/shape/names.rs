//! The names of CloudTrail's fields, for rows in which they lost their capitals.
//!
//! Athena and Glue know lower-case names only. In: a name, whatever its capitals, spaces and underscores. Out: the name
//! as CloudTrail writes it, and what its column holds.
//! Absent on purpose: what is below `requestParameters` and its like. Its keys are in the text of the column, as they were.

/// What a column, or a member of one, holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holds {
    /// Text that stays as it is.
    Text,
    /// `true` or `false`.
    Flag,
    /// A time.
    Time,
    /// JSON whose keys are nobody's business here.
    Json,
    /// An object with these members.
    Object(&'static [Name]),
    /// A list of objects with these members.
    List(&'static [Name]),
}

/// A field of a CloudTrail record.
#[derive(Debug)]
pub(super) struct Name {
    /// As CloudTrail writes it.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) holds: Holds,
}

const fn text(name: &'static str) -> Name {
    Name { name, holds: Holds::Text }
}

const fn of(name: &'static str, holds: Holds) -> Name {
    Name { name, holds }
}

/// The members of a record (AWS CloudTrail user guide, "CloudTrail record contents").
pub(super) static RECORD: &[Name] = &[
    text("eventVersion"),
    of("userIdentity", Holds::Object(IDENTITY)),
    of("eventTime", Holds::Time),
    text("eventSource"),
    text("eventName"),
    text("awsRegion"),
    text("sourceIPAddress"),
    text("userAgent"),
    text("errorCode"),
    text("errorMessage"),
    of("requestParameters", Holds::Json),
    of("responseElements", Holds::Json),
    of("additionalEventData", Holds::Json),
    text("requestID"),
    text("eventID"),
    of("readOnly", Holds::Flag),
    of("resources", Holds::List(RESOURCE)),
    text("eventType"),
    text("apiVersion"),
    of("managementEvent", Holds::Flag),
    text("recipientAccountId"),
    of("serviceEventDetails", Holds::Json),
    text("sharedEventID"),
    text("vpcEndpointId"),
    text("vpcEndpointAccountId"),
    text("eventCategory"),
    of("addendum", Holds::Object(ADDENDUM)),
    text("sessionCredentialFromConsole"),
    of("edgeDeviceDetails", Holds::Json),
    of("tlsDetails", Holds::Object(TLS)),
    of("insightDetails", Holds::Json),
    of("eventContext", Holds::Json),
];

static IDENTITY: &[Name] = &[
    text("type"),
    text("principalId"),
    text("arn"),
    text("accountId"),
    text("invokedBy"),
    text("accessKeyId"),
    text("userName"),
    text("userId"),
    of("sessionContext", Holds::Object(SESSION)),
    text("identityProvider"),
    text("credentialId"),
    of("onBehalfOf", Holds::Object(BEHALF)),
    of("inScopeOf", Holds::Object(SCOPE)),
];

static SESSION: &[Name] = &[
    of("attributes", Holds::Object(ATTRIBUTES)),
    of("sessionIssuer", Holds::Object(ISSUER)),
    of("webIdFederationData", Holds::Object(FEDERATION)),
    text("ec2RoleDelivery"),
    text("sourceIdentity"),
    text("assumedRoot"),
];

static ISSUER: &[Name] =
    &[text("type"), text("principalId"), text("arn"), text("accountId"), text("userName")];

static ATTRIBUTES: &[Name] = &[text("mfaAuthenticated"), text("creationDate")];

static FEDERATION: &[Name] = &[text("federatedProvider"), of("attributes", Holds::Json)];

static BEHALF: &[Name] = &[text("userId"), text("identityStoreArn")];

static SCOPE: &[Name] =
    &[text("sourceArn"), text("sourceAccount"), text("issuerType"), text("credentialsIssuedTo")];

static RESOURCE: &[Name] = &[text("ARN"), text("ARNPrefix"), text("accountId"), text("type")];

static ADDENDUM: &[Name] =
    &[text("reason"), text("updatedFields"), text("originalRequestID"), text("originalEventID")];

static TLS: &[Name] = &[
    text("tlsVersion"),
    text("cipherSuite"),
    text("clientProvidedHostHeader"),
    text("keyExchange"),
];

/// Returns the field among `names` that is meant by `key`, whatever its capitals.
pub(super) fn named(names: &'static [Name], key: &[u8]) -> Option<&'static Name> {
    names.iter().find(|name| name.name.as_bytes().eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &'static [Name], deep: u32) {
        for (at, name) in names.iter().enumerate() {
            let lower = name.name.to_lowercase();
            assert_eq!(named(names, lower.as_bytes()).unwrap().name, name.name);
            let same = names.iter().filter(|other| other.name.eq_ignore_ascii_case(name.name));
            assert_eq!(same.count(), 1, "{} {at}", name.name);
            if let (Holds::Object(below) | Holds::List(below), 1..) = (name.holds, deep) {
                all(below, deep - 1);
            }
        }
    }

    #[test]
    fn every_name_is_found_and_is_there_once() {
        all(RECORD, 4);
        assert!(named(RECORD, b"region").is_none());
        assert_eq!(named(RECORD, b"SOURCEIPADDRESS").unwrap().name, "sourceIPAddress");
    }
}
