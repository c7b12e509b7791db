//! What is known to hold CloudTrail events and cannot be read: its name, and what to do.

use std::fmt;

/// A shape that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum UnsupportedInput {
    /// Columns in Parquet.
    Parquet,
    /// Columns in ORC.
    Orc,
    /// Rows in Avro.
    Avro,
    /// A document of Elastic's AWS integration that did not keep the event.
    Ecs,
    /// An event that Security Lake turned into OCSF.
    Ocsf,
    /// Rows of columns, without the one that tells events apart.
    NoId,
    /// A result of the API of Athena.
    AthenaPage,
}

impl fmt::Display for UnsupportedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => {
                "a Parquet file, which is not read; export it as JSON, with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Orc => {
                "an ORC file, which is not read; export it as JSON, with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Avro => {
                "an Avro file, which is not read; export it as JSON, with Athena: UNLOAD (SELECT …) TO 's3://…' WITH (format = 'JSON')"
            }
            Self::Ecs => {
                "a document of Elastic's AWS integration without event.original, from which the event cannot be restored; load the trail's own files"
            }
            Self::Ocsf => {
                "an event in the form of OCSF (Security Lake), from which CloudTrail's cannot be restored; load the trail's own files"
            }
            Self::NoId => {
                "part of a CloudTrail event without its ID, by which it would be known again; query the column eventID too, or @message or eventJson, which hold all of the event"
            }
            Self::AthenaPage => {
                "an answer of 'aws athena get-query-results'; load the CSV file in the query's result location"
            }
        })
    }
}
