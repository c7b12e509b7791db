//! The names of CloudTrail's fields, for columns whose names are in lower case, as in Athena and Glue.
//!
//! Input: a name in any case. Output: the name as CloudTrail writes it, and the type of its column.
//! Not here: the keys below `requestParameters` and similar fields. The text of the column has them unchanged.

/// The type of a column, or of a member of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum ColumnType {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A timestamp.
    Timestamp,
    /// JSON with any keys.
    Json,
    /// An object with these members.
    Object(&'static [FieldName]),
    /// A list of objects with these members.
    List(&'static [FieldName]),
}

/// A field of a CloudTrail record.
#[derive(Debug)]
pub(super) struct FieldName {
    /// Its name as CloudTrail writes it.
    pub(super) name: &'static str,
    /// The type of its column.
    pub(super) column_type: ColumnType,
}

const fn text(name: &'static str) -> FieldName {
    FieldName { name, column_type: ColumnType::Text }
}

const fn typed(name: &'static str, column_type: ColumnType) -> FieldName {
    FieldName { name, column_type }
}

/// The members of a record (AWS CloudTrail user guide, "CloudTrail record contents").
pub(super) static RECORD: &[FieldName] = &[
    text("eventVersion"),
    typed("userIdentity", ColumnType::Object(IDENTITY)),
    typed("eventTime", ColumnType::Timestamp),
    text("eventSource"),
    text("eventName"),
    text("awsRegion"),
    text("sourceIPAddress"),
    text("userAgent"),
    text("errorCode"),
    text("errorMessage"),
    typed("requestParameters", ColumnType::Json),
    typed("responseElements", ColumnType::Json),
    typed("additionalEventData", ColumnType::Json),
    text("requestID"),
    text("eventID"),
    typed("readOnly", ColumnType::Bool),
    typed("resources", ColumnType::List(RESOURCE)),
    text("eventType"),
    text("apiVersion"),
    typed("managementEvent", ColumnType::Bool),
    text("recipientAccountId"),
    typed("serviceEventDetails", ColumnType::Json),
    text("sharedEventID"),
    text("vpcEndpointId"),
    text("vpcEndpointAccountId"),
    text("eventCategory"),
    typed("addendum", ColumnType::Object(ADDENDUM)),
    text("sessionCredentialFromConsole"),
    typed("edgeDeviceDetails", ColumnType::Json),
    typed("tlsDetails", ColumnType::Object(TLS)),
    typed("insightDetails", ColumnType::Json),
    typed("eventContext", ColumnType::Json),
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
    typed("sessionContext", ColumnType::Object(SESSION)),
    text("identityProvider"),
    text("credentialId"),
    typed("onBehalfOf", ColumnType::Object(BEHALF)),
    typed("inScopeOf", ColumnType::Object(SCOPE)),
];

static SESSION: &[FieldName] = &[
    typed("attributes", ColumnType::Object(ATTRIBUTES)),
    typed("sessionIssuer", ColumnType::Object(ISSUER)),
    typed("webIdFederationData", ColumnType::Object(FEDERATION)),
    text("ec2RoleDelivery"),
    text("sourceIdentity"),
    text("assumedRoot"),
];

static ISSUER: &[FieldName] =
    &[text("type"), text("principalId"), text("arn"), text("accountId"), text("userName")];

static ATTRIBUTES: &[FieldName] = &[text("mfaAuthenticated"), text("creationDate")];

static FEDERATION: &[FieldName] =
    &[text("federatedProvider"), typed("attributes", ColumnType::Json)];

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

/// Returns the field among `names` whose name is `key`, ignoring case.
pub(super) fn find(names: &'static [FieldName], key: &[u8]) -> Option<&'static FieldName> {
    names.iter().find(|name| name.name.as_bytes().eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &'static [FieldName], deep: u32) {
        for (at, name) in names.iter().enumerate() {
            let lower = name.name.to_lowercase();
            assert_eq!(find(names, lower.as_bytes()).unwrap().name, name.name);
            let same = names.iter().filter(|other| other.name.eq_ignore_ascii_case(name.name));
            assert_eq!(same.count(), 1, "{} {at}", name.name);
            if let (ColumnType::Object(below) | ColumnType::List(below), 1..) =
                (name.column_type, deep)
            {
                check(below, deep - 1);
            }
        }
    }

    #[test]
    fn every_name_is_found_and_unique() {
        check(RECORD, 4);
        assert!(find(RECORD, b"region").is_none());
        assert_eq!(find(RECORD, b"SOURCEIPADDRESS").unwrap().name, "sourceIPAddress");
    }
}
