//! Names the form in which the records of an input are stored.

/// The form in which an input's records are stored: that of the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputFormat {
    /// Nothing.
    #[default]
    Empty,
    /// `{"Records":[…]}`, a log file of a trail.
    Records,
    /// A bare list.
    Array,
    /// One object.
    Object,
    /// Objects one after another, on a line each or not.
    Objects,
    /// A response of LookupEvents.
    Lookup,
    /// EventBridge events.
    EventBridge,
    /// A subscription, an export or a query result of CloudWatch Logs.
    Logs,
    /// Messages of SNS and SQS, and the batches that Lambda is called with.
    Messages,
    /// Base64 records of a stream: Kinesis, and failed deliveries of Firehose.
    Stream,
    /// Documents of an index, or entries of another store.
    Documents,
    /// Rows with columns.
    Columns,
    /// JSON strings with JSON in them, one after another.
    Strings,
    /// Nothing that is CloudTrail.
    Foreign,
}
