//! Names the forms of CloudTrail events from which no record can be restored, and what to load instead.

use std::fmt;

/// A form of CloudTrail events that is recognized but not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum UnsupportedInput {
    /// Columnar file in Parquet.
    Parquet,
    /// Columnar file in ORC.
    Orc,
    /// Rows in Avro.
    Avro,
    /// A document of Elastic's AWS integration that does not keep the original event.
    Ecs,
    /// An event that Security Lake converted to OCSF.
    Ocsf,
    /// Columns of an event without its event ID.
    NoEventId,
    /// A response of Athena's API.
    AthenaPage,
}

impl fmt::Display for UnsupportedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => {
                "Parquet is not supported; export the table as JSON, for example with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Orc => {
                "ORC is not supported; export the table as JSON, for example with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Avro => {
                "Avro is not supported; export the table as JSON, for example with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Ecs => {
                "a document of Elastic's AWS integration without event.original; the event cannot be restored from it; load the log files of the trail"
            }
            Self::Ocsf => {
                "an event converted to OCSF (Security Lake); the CloudTrail event cannot be restored from it; load the log files of the trail"
            }
            Self::NoEventId => {
                "part of a CloudTrail event without its event ID; add the column eventID to the query, or @message or eventJson, which hold the whole event"
            }
            Self::AthenaPage => {
                "a response of 'aws athena get-query-results'; load the CSV file in the query result location"
            }
        })
    }
}
