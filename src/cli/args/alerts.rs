//! Options about alerts, which `watch` and `load --rules` share.

use std::path::PathBuf;

use super::time::Age;
use crate::checkpoint::shared_alerts::AlertStateAddress;

/// Which alerts are sent, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = "Alert options")]
pub struct AlertArgs {
    /// Send alerts by the actions that this file defines (YAML) [default: print alerts to standard
    /// output]
    #[arg(long, value_name = "FILE")]
    pub actions: Option<PathBuf>,
    /// Record alerts for events older than this without sending them [default: 24h]
    #[arg(long, value_name = "AGE")]
    pub alert_max_age: Option<Age>,
    /// Keep an alert as a dead letter if its receiver is unreachable or fails for this long
    /// [default: 2m]
    #[arg(long, value_name = "AGE")]
    pub deliver_within: Option<Age>,
    /// Share which alerts were sent with other processes, in this DynamoDB table:
    /// 'dynamodb://TABLE[?region=REGION]' [default: $TRAILLOAD_ALERT_STATE, or the checkpoint alone]
    #[arg(long, value_name = "TABLE")]
    pub alert_state: Option<AlertStateAddress>,
}
