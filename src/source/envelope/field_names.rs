//! The names of CloudTrail's fields, for rows in which they lost their capitals.
//!
//! Athena and Glue know lower-case names only. In: a name, whatever its capitals, spaces and underscores. Out: the name
//! as CloudTrail writes it, and what its column holds.
//! Absent on purpose: what is below `requestParameters` and its like. Its keys are in the text of the column, as they were.

/// What a column, or a member of one, holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum ColumnType {
    /// Text that stays as it is.
    Text,
    /// `true` or `false`.
    Flag,
    /// A time.
    Time,
    /// JSON whose keys are nobody's business here.
    Json,
    /// An object with these members.
    Object(&'static [FieldName]),
    /// A list of objects with these members.
    List(&'static [FieldName]),
}

/// A field of a CloudTrail record.
#[derive(Debug)]
pub(super) struct FieldName {
    /// As CloudTrail writes it.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) holds: ColumnType,
}

const fn text(name: &'static str) -> FieldName {
    FieldName { name, holds: ColumnType::Text }
}

const fn of(name: &'static str, holds: ColumnType) -> FieldName {
    FieldName { name, holds }
}

/// The members of a record (AWS CloudTrail user guide, "CloudTrail record contents").
pub(super) static RECORD: &[FieldName] = &[
    text("eventVersion"),
    of("userIdentity", ColumnType::Object(IDENTITY)),
    of("eventTime", ColumnType::Time),
    text("eventSource"),
    text("eventName"),
    text("awsRegion"),
    text("sourceIPAddress"),
    text("userAgent"),
    text("errorCode"),
    text("errorMessage"),
    of("requestParameters", ColumnType::Json),
    of("responseElements", ColumnType::Json),
    of("additionalEventData", ColumnType::Json),
    text("requestID"),
    text("eventID"),
    of("readOnly", ColumnType::Flag),
    of("resources", ColumnType::List(RESOURCE)),
    text("eventType"),
    text("apiVersion"),
    of("managementEvent", ColumnType::Flag),
    text("recipientAccountId"),
    of("serviceEventDetails", ColumnType::Json),
    text("sharedEventID"),
    text("vpcEndpointId"),
    text("vpcEndpointAccountId"),
    text("eventCategory"),
    of("addendum", ColumnType::Object(ADDENDUM)),
    text("sessionCredentialFromConsole"),
    of("edgeDeviceDetails", ColumnType::Json),
    of("tlsDetails", ColumnType::Object(TLS)),
    of("insightDetails", ColumnType::Json),
    of("eventContext", ColumnType::Json),
];

static IDENTITY: &[FieldName] = &[
    text("type"),
    text("principalId"),
    text("arn"),
    text("accountId"),
    text("invokedBy"),
    text("accessKeyId"),
    text("userName"),
    text("userId"),
    of("sessionContext", ColumnType::Object(SESSION)),
    text("identityProvider"),
    text("credentialId"),
    of("onBehalfOf", ColumnType::Object(BEHALF)),
    of("inScopeOf", ColumnType::Object(SCOPE)),
];

static SESSION: &[FieldName] = &[
    of("attributes", ColumnType::Object(ATTRIBUTES)),
    of("sessionIssuer", ColumnType::Object(ISSUER)),
    of("webIdFederationData", ColumnType::Object(FEDERATION)),
    text("ec2RoleDelivery"),
    text("sourceIdentity"),
    text("assumedRoot"),
];

static ISSUER: &[FieldName] =
    &[text("type"), text("principalId"), text("arn"), text("accountId"), text("userName")];

static ATTRIBUTES: &[FieldName] = &[text("mfaAuthenticated"), text("creationDate")];

static FEDERATION: &[FieldName] = &[text("federatedProvider"), of("attributes", ColumnType::Json)];

static BEHALF: &[FieldName] = &[text("userId"), text("identityStoreArn")];

static SCOPE: &[FieldName] =
    &[text("sourceArn"), text("sourceAccount"), text("issuerType"), text("credentialsIssuedTo")];

static RESOURCE: &[FieldName] = &[text("ARN"), text("ARNPrefix"), text("accountId"), text("type")];

static ADDENDUM: &[FieldName] =
    &[text("reason"), text("updatedFields"), text("originalRequestID"), text("originalEventID")];

static TLS: &[FieldName] = &[
    text("tlsVersion"),
    text("cipherSuite"),
    text("clientProvidedHostHeader"),
    text("keyExchange"),
];

/// Returns the field among `names` that is meant by `key`, whatever its capitals.
pub(super) fn named(names: &'static [FieldName], key: &[u8]) -> Option<&'static FieldName> {
    names.iter().find(|name| name.name.as_bytes().eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &'static [FieldName], deep: u32) {
        for (at, name) in names.iter().enumerate() {
            let lower = name.name.to_lowercase();
            assert_eq!(named(names, lower.as_bytes()).unwrap().name, name.name);
            let same = names.iter().filter(|other| other.name.eq_ignore_ascii_case(name.name));
            assert_eq!(same.count(), 1, "{} {at}", name.name);
            if let (ColumnType::Object(below) | ColumnType::List(below), 1..) = (name.holds, deep) {
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
