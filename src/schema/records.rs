//! Events that no API model describes: sign-in events, events that services log on their own, Insights events, and calls of APIs
//! without a public model. Network activity events (`AwsVpceEvent`) have the fields of the call that went through an endpoint.
//!
//! Facts from AWS's documentation and from published events: names and fields. Input: a source and a name. Output: the
//! fields of such an event, below the member of the record that holds them.
//!
//! Not here: the fields that every record has.

/// An event that no API model describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// `eventSource` without `.amazonaws.com`.
    pub source: &'static str,
    /// `eventName`.
    pub name: &'static str,
    /// `eventType`.
    pub event_type: &'static str,
    /// When it is logged.
    pub summary: &'static str,
    /// Paths from the record, each with the type of its value.
    pub fields: &'static [(&'static str, &'static str)],
}

const CONSOLE_SIGN_IN: &str = "AwsConsoleSignIn";
const SERVICE_EVENT: &str = "AwsServiceEvent";
const CONSOLE_ACTION: &str = "AwsConsoleAction";
const API_CALL: &str = "AwsApiCall";
const INSIGHT: &str = "AwsCloudTrailInsight";

/// The events, sorted by source and name.
pub const EVENTS: &[EventFacts] = &[
    EventFacts {
        source: "appstream",
        name: "CreateImage",
        event_type: SERVICE_EVENT,
        summary: "Amazon AppStream 2.0 created an image",
        fields: &[
            ("serviceEventDetails.ImageBuilderSupported", "string"),
            ("serviceEventDetails.ImageCreatedTime", "string"),
            ("serviceEventDetails.ImageDisPlayName", "string"),
            ("serviceEventDetails.ImageName", "string"),
            ("serviceEventDetails.ImagePlatform", "string"),
            ("serviceEventDetails.PublicBaseImageReleasedDate", "string"),
        ],
    },
    EventFacts {
        source: "backup",
        name: "BackupJobCompleted",
        event_type: SERVICE_EVENT,
        summary: "a backup job ended",
        fields: &[
            ("serviceEventDetails.backupJobId", "string"),
            ("serviceEventDetails.backupVaultArn", "string"),
            ("serviceEventDetails.backupVaultName", "string"),
            ("serviceEventDetails.bytesTransferred", "long"),
            ("serviceEventDetails.completionDate.seconds", "long"),
            ("serviceEventDetails.creationDate.seconds", "long"),
            ("serviceEventDetails.iamRoleArn", "string"),
            ("serviceEventDetails.recoveryPointArn", "string"),
            ("serviceEventDetails.resourceArn", "string"),
            ("serviceEventDetails.resourceType", "string"),
            ("serviceEventDetails.state", "string"),
        ],
    },
    EventFacts {
        source: "billingconsole",
        name: "SetContactAddress",
        event_type: CONSOLE_ACTION,
        summary: "the contact address of the account was changed in the console",
        fields: &[
            ("requestParameters.addressLine1", "string"),
            ("requestParameters.addressLine2", "string"),
            ("requestParameters.city", "string"),
            ("requestParameters.countryCode", "string"),
            ("requestParameters.fullName", "string"),
            ("requestParameters.map.addressLine1", "string"),
            ("requestParameters.map.addressLine2", "string"),
            ("requestParameters.map.addressLine3", "string"),
            ("requestParameters.map.city", "string"),
            ("requestParameters.map.company", "string"),
            ("requestParameters.map.countryCode", "string"),
            ("requestParameters.map.districtOrCounty", "string"),
            ("requestParameters.map.fullName", "string"),
            ("requestParameters.map.phoneNumber", "string"),
            ("requestParameters.map.postalCode", "string"),
            ("requestParameters.map.state", "string"),
            ("requestParameters.map.website", "string"),
            ("requestParameters.phoneNumber", "string"),
            ("requestParameters.postalCode", "string"),
            ("requestParameters.website", "string"),
        ],
    },
    EventFacts {
        source: "cloudtrail",
        name: "Insight",
        event_type: INSIGHT,
        summary: "CloudTrail Insights detected unusual activity, and when it ended; the record itself has no eventSource and no eventName",
        fields: &[
            ("insightDetails.errorCode", "string"),
            ("insightDetails.eventName", "string"),
            ("insightDetails.eventSource", "string"),
            ("insightDetails.insightContext.attributions.attribute", "string"),
            ("insightDetails.insightContext.attributions.baseline.average", "double"),
            ("insightDetails.insightContext.attributions.baseline.value", "string"),
            ("insightDetails.insightContext.attributions.insight.average", "double"),
            ("insightDetails.insightContext.attributions.insight.value", "string"),
            ("insightDetails.insightContext.statistics.baseline.average", "double"),
            ("insightDetails.insightContext.statistics.baselineDuration", "integer"),
            ("insightDetails.insightContext.statistics.insight.average", "double"),
            ("insightDetails.insightContext.statistics.insightDuration", "integer"),
            ("insightDetails.insightType", "string"),
            ("insightDetails.state", "string"),
        ],
    },
    EventFacts {
        source: "codecommit",
        name: "GitPull",
        event_type: SERVICE_EVENT,
        summary: "a Git client read from a repository",
        fields: &[
            ("additionalEventData.capabilities", "string"),
            ("additionalEventData.dataTransferred", "boolean"),
            ("additionalEventData.protocol", "string"),
            ("additionalEventData.repositoryId", "string"),
            ("additionalEventData.repositoryName", "string"),
            ("additionalEventData.shallow", "boolean"),
        ],
    },
    EventFacts {
        source: "codecommit",
        name: "GitPush",
        event_type: SERVICE_EVENT,
        summary: "a Git client wrote to a repository",
        fields: &[
            ("additionalEventData.capabilities", "string"),
            ("additionalEventData.dataTransferred", "boolean"),
            ("additionalEventData.protocol", "string"),
            ("additionalEventData.repositoryId", "string"),
            ("additionalEventData.repositoryName", "string"),
            ("requestParameters.references.commit", "string"),
            ("requestParameters.references.ref", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "CreateManagedAccount",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower created an account",
        fields: &[
            ("serviceEventDetails.createManagedAccountStatus.account.accountId", "string"),
            ("serviceEventDetails.createManagedAccountStatus.account.accountName", "string"),
            ("serviceEventDetails.createManagedAccountStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.createManagedAccountStatus.message", "string"),
            (
                "serviceEventDetails.createManagedAccountStatus.organizationalUnit.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.createManagedAccountStatus.organizationalUnit.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.createManagedAccountStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.createManagedAccountStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "DeregisterOrganizationalUnit",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower deregistered an organizational unit",
        fields: &[
            (
                "serviceEventDetails.deregisterOrganizationalUnitStatus.completedTimestamp",
                "timestamp",
            ),
            ("serviceEventDetails.deregisterOrganizationalUnitStatus.message", "string"),
            (
                "serviceEventDetails.deregisterOrganizationalUnitStatus.organizationalUnit.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.deregisterOrganizationalUnitStatus.organizationalUnit.organizationalUnitName",
                "string",
            ),
            (
                "serviceEventDetails.deregisterOrganizationalUnitStatus.requestedTimestamp",
                "timestamp",
            ),
            ("serviceEventDetails.deregisterOrganizationalUnitStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "DisableGuardrail",
        event_type: SERVICE_EVENT,
        summary: "a control of AWS Control Tower was switched off for an organizational unit",
        fields: &[
            ("serviceEventDetails.disableGuardrailStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.disableGuardrailStatus.guardrails.guardrailBehavior", "string"),
            ("serviceEventDetails.disableGuardrailStatus.guardrails.guardrailId", "string"),
            ("serviceEventDetails.disableGuardrailStatus.message", "string"),
            (
                "serviceEventDetails.disableGuardrailStatus.organizationalUnits.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.disableGuardrailStatus.organizationalUnits.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.disableGuardrailStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.disableGuardrailStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "EnableGuardrail",
        event_type: SERVICE_EVENT,
        summary: "a control of AWS Control Tower was switched on for an organizational unit",
        fields: &[
            ("serviceEventDetails.enableGuardrailStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.enableGuardrailStatus.guardrails.guardrailBehavior", "string"),
            ("serviceEventDetails.enableGuardrailStatus.guardrails.guardrailId", "string"),
            ("serviceEventDetails.enableGuardrailStatus.message", "string"),
            (
                "serviceEventDetails.enableGuardrailStatus.organizationalUnits.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.enableGuardrailStatus.organizationalUnits.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.enableGuardrailStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.enableGuardrailStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "RegisterOrganizationalUnit",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower registered an organizational unit",
        fields: &[
            (
                "serviceEventDetails.registerOrganizationalUnitStatus.completedTimestamp",
                "timestamp",
            ),
            ("serviceEventDetails.registerOrganizationalUnitStatus.message", "string"),
            (
                "serviceEventDetails.registerOrganizationalUnitStatus.organizationalUnit.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.registerOrganizationalUnitStatus.organizationalUnit.organizationalUnitName",
                "string",
            ),
            (
                "serviceEventDetails.registerOrganizationalUnitStatus.requestedTimestamp",
                "timestamp",
            ),
            ("serviceEventDetails.registerOrganizationalUnitStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "SetupLandingZone",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower set up a landing zone",
        fields: &[
            ("serviceEventDetails.setupLandingZoneStatus.accounts.accountId", "string"),
            ("serviceEventDetails.setupLandingZoneStatus.accounts.accountName", "string"),
            ("serviceEventDetails.setupLandingZoneStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.setupLandingZoneStatus.message", "string"),
            (
                "serviceEventDetails.setupLandingZoneStatus.organizationalUnits.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.setupLandingZoneStatus.organizationalUnits.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.setupLandingZoneStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.setupLandingZoneStatus.rootOrganizationalId", "string"),
            ("serviceEventDetails.setupLandingZoneStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "UpdateLandingZone",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower updated the landing zone",
        fields: &[
            ("serviceEventDetails.updateLandingZoneStatus.accounts.accountId", "string"),
            ("serviceEventDetails.updateLandingZoneStatus.accounts.accountName", "string"),
            ("serviceEventDetails.updateLandingZoneStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.updateLandingZoneStatus.message", "string"),
            (
                "serviceEventDetails.updateLandingZoneStatus.organizationalUnits.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.updateLandingZoneStatus.organizationalUnits.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.updateLandingZoneStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.updateLandingZoneStatus.rootOrganizationalId", "string"),
            ("serviceEventDetails.updateLandingZoneStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "controltower",
        name: "UpdateManagedAccount",
        event_type: SERVICE_EVENT,
        summary: "AWS Control Tower updated an account",
        fields: &[
            ("serviceEventDetails.updateManagedAccountStatus.account.accountId", "string"),
            ("serviceEventDetails.updateManagedAccountStatus.account.accountName", "string"),
            ("serviceEventDetails.updateManagedAccountStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.updateManagedAccountStatus.message", "string"),
            (
                "serviceEventDetails.updateManagedAccountStatus.organizationalUnit.organizationalUnitId",
                "string",
            ),
            (
                "serviceEventDetails.updateManagedAccountStatus.organizationalUnit.organizationalUnitName",
                "string",
            ),
            ("serviceEventDetails.updateManagedAccountStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.updateManagedAccountStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "ec2",
        name: "BidEvictedEvent",
        event_type: SERVICE_EVENT,
        summary: "Spot Instances were interrupted",
        fields: &[("serviceEventDetails.instanceIdSet", "string")],
    },
    EventFacts {
        source: "ec2",
        name: "SharedSnapshotVolumeCreated",
        event_type: SERVICE_EVENT,
        summary: "another account created a volume from a shared snapshot",
        fields: &[("serviceEventDetails.snapshotId", "string")],
    },
    EventFacts {
        source: "ecr",
        name: "PolicyExecutionEvent",
        event_type: SERVICE_EVENT,
        summary: "a lifecycle policy deleted images",
        fields: &[
            ("serviceEventDetails.lifecycleEventImageActions.lifecycleEventImage.digest", "string"),
            (
                "serviceEventDetails.lifecycleEventImageActions.lifecycleEventImage.tagList",
                "string",
            ),
            ("serviceEventDetails.lifecycleEventImageActions.rulePriority", "integer"),
            ("serviceEventDetails.lifecycleEventPolicy.policyId", "string"),
            ("serviceEventDetails.repositoryName", "string"),
        ],
    },
    EventFacts {
        source: "elasticfilesystem",
        name: "NewClientConnection",
        event_type: SERVICE_EVENT,
        summary: "a client mounted a file system",
        fields: &[
            ("serviceEventDetails.permissions.ClientMount", "boolean"),
            ("serviceEventDetails.permissions.ClientRootAccess", "boolean"),
            ("serviceEventDetails.permissions.ClientWrite", "boolean"),
            ("serviceEventDetails.sourceIpAddress", "string"),
        ],
    },
    EventFacts {
        source: "kms",
        name: "DeleteExpiredKeyMaterial",
        event_type: SERVICE_EVENT,
        summary: "AWS KMS deleted imported key material that had expired",
        fields: &[("serviceEventDetails.keyId", "string")],
    },
    EventFacts {
        source: "kms",
        name: "DeleteKey",
        event_type: SERVICE_EVENT,
        summary: "AWS KMS deleted a key after its waiting period",
        fields: &[("serviceEventDetails.keyId", "string")],
    },
    EventFacts {
        source: "kms",
        name: "RotateKey",
        event_type: SERVICE_EVENT,
        summary: "AWS KMS rotated a key",
        fields: &[("serviceEventDetails.keyId", "string")],
    },
    EventFacts {
        source: "kms",
        name: "SynchronizeMultiRegionKey",
        event_type: API_CALL,
        summary: "AWS KMS copied the properties of a multi-Region key to its replicas",
        fields: &[("responseElements.keyId", "string")],
    },
    EventFacts {
        source: "organizations",
        name: "CloseAccountResult",
        event_type: SERVICE_EVENT,
        summary: "closing a member account ended",
        fields: &[
            ("serviceEventDetails.closeAccountStatus.accountId", "string"),
            ("serviceEventDetails.closeAccountStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.closeAccountStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.closeAccountStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "organizations",
        name: "CreateAccountResult",
        event_type: SERVICE_EVENT,
        summary: "creating a member account ended",
        fields: &[
            ("serviceEventDetails.createAccountStatus.accountId", "string"),
            ("serviceEventDetails.createAccountStatus.accountName", "string"),
            ("serviceEventDetails.createAccountStatus.completedTimestamp", "timestamp"),
            ("serviceEventDetails.createAccountStatus.id", "string"),
            ("serviceEventDetails.createAccountStatus.requestedTimestamp", "timestamp"),
            ("serviceEventDetails.createAccountStatus.state", "string"),
        ],
    },
    EventFacts {
        source: "s3",
        name: "JobCreated",
        event_type: SERVICE_EVENT,
        summary: "an S3 Batch Operations job was created",
        fields: &[
            ("serviceEventDetails.failureCodes", "string"),
            ("serviceEventDetails.jobArn", "string"),
            ("serviceEventDetails.jobEventId", "string"),
            ("serviceEventDetails.jobId", "string"),
            ("serviceEventDetails.status", "string"),
            ("serviceEventDetails.statusChangeReason", "string"),
        ],
    },
    EventFacts {
        source: "s3",
        name: "JobStatusChanged",
        event_type: SERVICE_EVENT,
        summary: "the status of an S3 Batch Operations job changed",
        fields: &[
            ("serviceEventDetails.failureCodes", "string"),
            ("serviceEventDetails.jobArn", "string"),
            ("serviceEventDetails.jobEventId", "string"),
            ("serviceEventDetails.jobId", "string"),
            ("serviceEventDetails.status", "string"),
            ("serviceEventDetails.statusChangeReason", "string"),
        ],
    },
    EventFacts {
        source: "secretsmanager",
        name: "EndSecretVersionDelete",
        event_type: SERVICE_EVENT,
        summary: "AWS Secrets Manager deleted a version of a secret",
        fields: &[("additionalEventData.ARN", "string"), ("additionalEventData.Name", "string")],
    },
    EventFacts {
        source: "secretsmanager",
        name: "StartSecretVersionDelete",
        event_type: SERVICE_EVENT,
        summary: "AWS Secrets Manager started to delete a version of a secret",
        fields: &[("additionalEventData.ARN", "string"), ("additionalEventData.Name", "string")],
    },
    EventFacts {
        source: "signin",
        name: "CheckMfa",
        event_type: CONSOLE_SIGN_IN,
        summary: "a second factor was asked for at sign-in",
        fields: &[
            ("additionalEventData.MfaType", "string"),
            ("responseElements.CheckMfa", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "ConsoleLogin",
        event_type: CONSOLE_SIGN_IN,
        summary: "someone signed in to the console, or failed to; then there is an errorMessage",
        fields: &[
            ("additionalEventData.LoginTo", "string"),
            ("additionalEventData.MFAIdentifier", "string"),
            ("additionalEventData.MFAUsed", "string"),
            ("additionalEventData.MobileVersion", "string"),
            ("additionalEventData.SamlProviderArn", "string"),
            ("responseElements.ConsoleLogin", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "CredentialChallenge",
        event_type: SERVICE_EVENT,
        summary: "IAM Identity Center asked for a credential",
        fields: &[
            ("additionalEventData.AuthWorkflowID", "string"),
            ("additionalEventData.CredentialType", "string"),
            ("serviceEventDetails.CredentialChallenge", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "CredentialVerification",
        event_type: SERVICE_EVENT,
        summary: "IAM Identity Center verified a credential",
        fields: &[
            ("additionalEventData.AuthWorkflowID", "string"),
            ("additionalEventData.CredentialType", "string"),
            ("serviceEventDetails.CredentialVerification", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "EmailUpdated",
        event_type: CONSOLE_SIGN_IN,
        summary: "the email address of the root user was changed",
        fields: &[("responseElements.EmailUpdated", "string")],
    },
    EventFacts {
        source: "signin",
        name: "ExitRole",
        event_type: CONSOLE_SIGN_IN,
        summary: "someone returned from a role in the console",
        fields: &[
            ("additionalEventData.RedirectTo", "string"),
            ("additionalEventData.SwitchFrom", "string"),
            ("responseElements.ExitRole", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "GetSigninToken",
        event_type: CONSOLE_SIGN_IN,
        summary: "a federated user asked for a token to sign in to the console with",
        fields: &[
            ("additionalEventData.MFAUsed", "string"),
            ("additionalEventData.MobileVersion", "string"),
            ("responseElements.GetSigninToken", "string"),
            ("responseElements.credentials.accessKeyId", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "PasswordRecoveryCompleted",
        event_type: CONSOLE_SIGN_IN,
        summary: "the password of the root user was reset",
        fields: &[("responseElements.PasswordRecoveryCompleted", "string")],
    },
    EventFacts {
        source: "signin",
        name: "PasswordRecoveryRequested",
        event_type: CONSOLE_SIGN_IN,
        summary: "a reset of the password of the root user was requested",
        fields: &[("responseElements.PasswordRecoveryRequested", "string")],
    },
    EventFacts {
        source: "signin",
        name: "PasswordUpdated",
        event_type: CONSOLE_SIGN_IN,
        summary: "the password of the root user was changed",
        fields: &[("responseElements.PasswordUpdated", "string")],
    },
    EventFacts {
        source: "signin",
        name: "RenewRole",
        event_type: CONSOLE_SIGN_IN,
        summary: "the session of a role in the console was renewed",
        fields: &[
            ("additionalEventData.RedirectTo", "string"),
            ("responseElements.RenewRole", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "SwitchRole",
        event_type: CONSOLE_SIGN_IN,
        summary: "someone switched to a role in the console",
        fields: &[
            ("additionalEventData.DisplayName", "string"),
            ("additionalEventData.RedirectTo", "string"),
            ("additionalEventData.SwitchFrom", "string"),
            ("responseElements.SwitchRole", "string"),
        ],
    },
    EventFacts {
        source: "signin",
        name: "UserAuthentication",
        event_type: SERVICE_EVENT,
        summary: "a user signed in through IAM Identity Center",
        fields: &[
            ("additionalEventData.AuthWorkflowID", "string"),
            ("additionalEventData.CredentialType", "string"),
            ("additionalEventData.LoginTo", "string"),
            ("serviceEventDetails.UserAuthentication", "string"),
        ],
    },
    EventFacts {
        source: "sso",
        name: "Authenticate",
        event_type: SERVICE_EVENT,
        summary: "a user signed in to the access portal",
        fields: &[("serviceEventDetails", "string")],
    },
    EventFacts {
        source: "sso",
        name: "Federate",
        event_type: SERVICE_EVENT,
        summary: "a user of the access portal opened an account or application",
        fields: &[
            ("serviceEventDetails.account_id", "string"),
            ("serviceEventDetails.role_name", "string"),
        ],
    },
    EventFacts {
        source: "sso",
        name: "Logout",
        event_type: SERVICE_EVENT,
        summary: "a user signed out of the access portal",
        fields: &[("serviceEventDetails", "string")],
    },
    EventFacts {
        source: "sso-directory",
        name: "AddMemberToGroup",
        event_type: API_CALL,
        summary: "a user was added to a group of the directory of IAM Identity Center",
        fields: &[
            ("requestParameters.groupId", "string"),
            ("requestParameters.identityStoreId", "string"),
            ("requestParameters.member.memberId", "string"),
        ],
    },
    EventFacts {
        source: "sso-directory",
        name: "CreateGroup",
        event_type: API_CALL,
        summary: "a group was created in the directory of IAM Identity Center",
        fields: &[
            ("requestParameters.description", "string"),
            ("requestParameters.displayName", "string"),
            ("requestParameters.identityStoreId", "string"),
            ("responseElements.group.displayName", "string"),
            ("responseElements.group.groupId", "string"),
            ("responseElements.group.meta.createdAt", "timestamp"),
            ("responseElements.group.meta.createdBy", "string"),
            ("responseElements.group.meta.updatedAt", "timestamp"),
            ("responseElements.group.meta.updatedBy", "string"),
        ],
    },
    EventFacts {
        source: "sso-directory",
        name: "CreateUser",
        event_type: API_CALL,
        summary: "a user was created in the directory of IAM Identity Center",
        fields: &[
            ("requestParameters.active", "boolean"),
            ("requestParameters.identityStoreId", "string"),
            ("requestParameters.passwordMode", "string"),
            ("requestParameters.userName", "string"),
            ("responseElements.user.active", "boolean"),
            ("responseElements.user.userId", "string"),
            ("responseElements.user.userName", "string"),
        ],
    },
];

/// Returns the events of a source, given its name without `.amazonaws.com`.
pub fn events(source: &str) -> impl Iterator<Item = &'static EventFacts> {
    EVENTS.iter().filter(move |event| event.source == source)
}

/// Returns the event of a source with this name; case does not matter.
pub fn event(source: &str, name: &str) -> Option<&'static EventFacts> {
    EVENTS.iter().find(|event| event.source == source && event.name.eq_ignore_ascii_case(name))
}
