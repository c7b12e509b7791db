//! AWS partitions, which share neither accounts nor credentials, and their Regions.
//!
//! Input: a Region name or an ARN. Output: an [`AwsPartition`] with its name, DNS suffix and Regions.
//! Invariant: every Region in the table belongs to the partition that its name is mapped to.
//! Deliberately absent: Regions newer than the public list of late 2025, from which the table was made. Their names are
//! still recognized, and `DescribeRegions` returns them.

use std::fmt;

/// A group of Regions with its own accounts and credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AwsPartition {
    /// The public Regions (`aws`).
    Aws,
    /// China: Beijing and Ningxia (`aws-cn`).
    China,
    /// GovCloud (US) (`aws-us-gov`).
    GovCloud,
    /// The AWS European Sovereign Cloud (`aws-eusc`).
    Europe,
    /// Isolated Regions in the US (`us-iso-…`).
    Iso,
    /// Isolated Regions in the US, secret (`us-isob-…`).
    IsoB,
    /// Isolated Regions in Europe (`eu-isoe-…`).
    IsoE,
    /// Isolated Regions in the US (`us-isof-…`).
    IsoF,
}

/// Properties of a partition.
struct PartitionInfo {
    partition: AwsPartition,
    name: &'static str,
    prefixes: &'static [&'static str],
    dns_suffix: &'static str,
    global: &'static str,
    control: &'static str,
    regions: &'static [&'static str],
}

const PARTITIONS: [PartitionInfo; 8] = [
    // The first prefix that matches decides; `aws` is last, because its prefixes match other partitions, too.
    PartitionInfo {
        partition: AwsPartition::China,
        name: "aws-cn",
        prefixes: &["cn-"],
        dns_suffix: "amazonaws.com.cn",
        global: "cn-north-1",
        control: "cn-northwest-1",
        regions: &["cn-north-1", "cn-northwest-1"],
    },
    PartitionInfo {
        partition: AwsPartition::GovCloud,
        name: "aws-us-gov",
        prefixes: &["us-gov-"],
        dns_suffix: "amazonaws.com",
        global: "us-gov-west-1",
        control: "us-gov-west-1",
        regions: &["us-gov-east-1", "us-gov-west-1"],
    },
    PartitionInfo {
        partition: AwsPartition::Europe,
        name: "aws-eusc",
        prefixes: &["eusc-"],
        dns_suffix: "amazonaws.eu",
        global: "eusc-de-east-1",
        control: "eusc-de-east-1",
        regions: &["eusc-de-east-1"],
    },
    PartitionInfo {
        partition: AwsPartition::Iso,
        name: "aws-iso",
        prefixes: &["us-iso-"],
        dns_suffix: "c2s.ic.gov",
        global: "us-iso-east-1",
        control: "us-iso-east-1",
        regions: &["us-iso-east-1", "us-iso-west-1"],
    },
    PartitionInfo {
        partition: AwsPartition::IsoB,
        name: "aws-iso-b",
        prefixes: &["us-isob-"],
        dns_suffix: "sc2s.sgov.gov",
        global: "us-isob-east-1",
        control: "us-isob-east-1",
        regions: &["us-isob-east-1"],
    },
    PartitionInfo {
        partition: AwsPartition::IsoE,
        name: "aws-iso-e",
        prefixes: &["eu-isoe-"],
        dns_suffix: "cloud.adc-e.uk",
        global: "eu-isoe-west-1",
        control: "eu-isoe-west-1",
        regions: &["eu-isoe-west-1"],
    },
    PartitionInfo {
        partition: AwsPartition::IsoF,
        name: "aws-iso-f",
        prefixes: &["us-isof-"],
        dns_suffix: "csp.hci.ic.gov",
        global: "us-isof-south-1",
        control: "us-isof-south-1",
        regions: &["us-isof-east-1", "us-isof-south-1"],
    },
    PartitionInfo {
        partition: AwsPartition::Aws,
        name: "aws",
        prefixes: &["af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-"],
        dns_suffix: "amazonaws.com",
        global: "us-east-1",
        control: "us-east-1",
        regions: &[
            "af-south-1",
            "ap-east-1",
            "ap-east-2",
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-south-2",
            "ap-southeast-1",
            "ap-southeast-2",
            "ap-southeast-3",
            "ap-southeast-4",
            "ap-southeast-5",
            "ap-southeast-6",
            "ap-southeast-7",
            "ca-central-1",
            "ca-west-1",
            "eu-central-1",
            "eu-central-2",
            "eu-north-1",
            "eu-south-1",
            "eu-south-2",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "il-central-1",
            "me-central-1",
            "me-south-1",
            "mx-central-1",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
    },
];

impl AwsPartition {
    /// Returns the partition of a Region; `None` if the text has not the form of a Region name.
    pub fn from_region(region: &str) -> Option<Self> {
        if !looks_like_region(region) {
            return None;
        }
        let info = PARTITIONS
            .iter()
            .find(|info| info.prefixes.iter().any(|prefix| region.starts_with(prefix)));
        // An unknown prefix is a new geographic area of the public Regions.
        Some(info.map_or(Self::Aws, |info| info.partition))
    }

    /// Returns the partition with this name, as in ARNs.
    pub fn from_name(name: &str) -> Option<Self> {
        PARTITIONS.iter().find(|info| info.name == name).map(|info| info.partition)
    }

    /// Returns the partition of an ARN.
    pub fn from_arn(arn: &str) -> Option<Self> {
        Self::from_name(arn.strip_prefix("arn:")?.split(':').next()?)
    }

    /// Returns the name of the partition, as in ARNs.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Returns the DNS suffix of its endpoints.
    pub fn dns_suffix(self) -> &'static str {
        self.info().dns_suffix
    }

    /// Returns the Region in which CloudTrail records the events of global services (IAM, sign-in, CloudFront).
    pub fn global_region(self) -> &'static str {
        self.info().global
    }

    /// Returns the Region that hosts the Organizations and Account Management APIs of the partition.
    pub fn control_region(self) -> &'static str {
        self.info().control
    }

    /// Returns the Regions known to this build, sorted.
    pub fn regions(self) -> &'static [&'static str] {
        self.info().regions
    }

    fn info(self) -> &'static PartitionInfo {
        PARTITIONS
            .iter()
            .find(|info| info.partition == self)
            .expect("the table has an entry for every partition, as a test checks")
    }
}

impl fmt::Display for AwsPartition {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// Returns true for the form of a Region name: two or three words and a number, such as `us-gov-east-1`.
fn looks_like_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let Some((number, rest)) = words.split_last() else { return false };
    (2..=3).contains(&rest.len())
        && matches!(number.len(), 1 | 2)
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && rest.iter().all(|word| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [AwsPartition; 8] = [
        AwsPartition::Aws,
        AwsPartition::China,
        AwsPartition::GovCloud,
        AwsPartition::Europe,
        AwsPartition::Iso,
        AwsPartition::IsoB,
        AwsPartition::IsoE,
        AwsPartition::IsoF,
    ];

    #[test]
    fn every_partition_has_a_consistent_entry() {
        for partition in ALL {
            assert!(partition.regions().is_sorted());
            assert!(partition.regions().contains(&partition.global_region()), "{partition}");
            assert!(partition.regions().contains(&partition.control_region()), "{partition}");
            assert_eq!(AwsPartition::from_name(partition.name()), Some(partition));
            for region in partition.regions() {
                assert_eq!(AwsPartition::from_region(region), Some(partition), "{region}");
            }
        }
    }

    #[test]
    fn a_region_newer_than_this_build_is_public() {
        assert_eq!(AwsPartition::from_region("ap-northwest-12"), Some(AwsPartition::Aws));
        assert_eq!(AwsPartition::from_region("za-central-1"), Some(AwsPartition::Aws));
    }

    #[test]
    fn other_texts_have_no_partition() {
        for text in
            ["", "all", "us-east", "us-east-1a", "US-EAST-1", "us_east_1", "-east-1", "a-b-c-d-1"]
        {
            assert_eq!(AwsPartition::from_region(text), None, "{text}");
        }
    }
}
