//! The address of an event in the event history of the AWS console.
//!
//! Input: a Region and an event id. Output: a URL; `None` for partitions whose console has no public address.

use crate::aws::AwsPartition;

/// Returns the address of an event. The id must consist of letters, digits and hyphens, and the Region must have the form of one.
pub(super) fn console_link(region: &str, event_id: &str) -> Option<String> {
    let host = match AwsPartition::from_region(region)? {
        AwsPartition::Aws => "console.aws.amazon.com",
        AwsPartition::China => "console.amazonaws.cn",
        AwsPartition::GovCloud => "console.amazonaws-us-gov.com",
        AwsPartition::Europe => "console.amazonaws-eusc.eu",
        AwsPartition::Iso => "console.c2shome.ic.gov",
        AwsPartition::IsoB => "console.sc2shome.sgov.gov",
        AwsPartition::IsoE | AwsPartition::IsoF => return None,
    };
    Some(format!("https://{region}.{host}/cloudtrailv2/home?region={region}#/events/{event_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_console() {
        for (region, start) in [
            (
                "eu-west-1",
                "https://eu-west-1.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-1#/events/e-1",
            ),
            ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/cloudtrailv2/"),
            ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/cloudtrailv2/"),
            ("eusc-de-east-1", "https://eusc-de-east-1.console.amazonaws-eusc.eu/"),
        ] {
            assert!(console_link(region, "e-1").unwrap().starts_with(start), "{region}");
        }
        assert_eq!(console_link("us-isof-south-1", "e-1"), None);
        assert_eq!(console_link("../x", "e-1"), None);
    }
}
