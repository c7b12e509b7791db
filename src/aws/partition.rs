//! Partitions: parts of AWS that share neither accounts nor credentials.
//!
//! Names, suffixes and Regions are AWS's public list (as of late 2025). The secret partitions have no list
//! of Regions here; their users ask `DescribeRegions`.

use std::fmt;

/// A part of AWS with its own accounts, credentials and Regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// The public cloud.
    Aws,
    /// China (Beijing and Ningxia).
    China,
    /// GovCloud (US).
    GovCloud,
    /// The European Sovereign Cloud.
    Europe,
    /// The isolated Regions of the US (`us-iso-…`).
    Iso,
    /// The isolated Regions of the US, secret (`us-isob-…`).
    IsoB,
    /// The isolated Regions of Europe (`eu-isoe-…`).
    IsoE,
    /// The isolated Regions of the US (`us-isof-…`).
    IsoF,
}

/// What is known about a partition.
struct Facts {
    partition: Partition,
    name: &'static str,
    prefixes: &'static [&'static str],
    suffix: &'static str,
    global: &'static str,
    control: &'static str,
    regions: &'static [&'static str],
}

const FACTS: [Facts; 8] = [
    // First those with a telling prefix; what is left and looks like a Region is public.
    Facts {
        partition: Partition::China,
        name: "aws-cn",
        prefixes: &["cn-"],
        suffix: "amazonaws.com.cn",
        global: "cn-north-1",
        control: "cn-northwest-1",
        regions: &["cn-north-1", "cn-northwest-1"],
    },
    Facts {
        partition: Partition::GovCloud,
        name: "aws-us-gov",
        prefixes: &["us-gov-"],
        suffix: "amazonaws.com",
        global: "us-gov-west-1",
        control: "us-gov-west-1",
        regions: &["us-gov-east-1", "us-gov-west-1"],
    },
    Facts {
        partition: Partition::Europe,
        name: "aws-eusc",
        prefixes: &["eusc-"],
        suffix: "amazonaws.eu",
        global: "eusc-de-east-1",
        control: "eusc-de-east-1",
        regions: &["eusc-de-east-1"],
    },
    Facts {
        partition: Partition::Iso,
        name: "aws-iso",
        prefixes: &["us-iso-"],
        suffix: "c2s.ic.gov",
        global: "us-iso-east-1",
        control: "us-iso-east-1",
        regions: &["us-iso-east-1", "us-iso-west-1"],
    },
    Facts {
        partition: Partition::IsoB,
        name: "aws-iso-b",
        prefixes: &["us-isob-"],
        suffix: "sc2s.sgov.gov",
        global: "us-isob-east-1",
        control: "us-isob-east-1",
        regions: &["us-isob-east-1"],
    },
    Facts {
        partition: Partition::IsoE,
        name: "aws-iso-e",
        prefixes: &["eu-isoe-"],
        suffix: "cloud.adc-e.uk",
        global: "eu-isoe-west-1",
        control: "eu-isoe-west-1",
        regions: &["eu-isoe-west-1"],
    },
    Facts {
        partition: Partition::IsoF,
        name: "aws-iso-f",
        prefixes: &["us-isof-"],
        suffix: "csp.hci.ic.gov",
        global: "us-isof-south-1",
        control: "us-isof-south-1",
        regions: &["us-isof-east-1", "us-isof-south-1"],
    },
    Facts {
        partition: Partition::Aws,
        name: "aws",
        prefixes: &["af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-"],
        suffix: "amazonaws.com",
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

impl Partition {
    /// Returns the partition that a Region belongs to; `None` if the text does not look like a Region.
    pub fn of_region(region: &str) -> Option<Self> {
        if !looks_like_region(region) {
            return None;
        }
        let facts = FACTS
            .iter()
            .find(|facts| facts.prefixes.iter().any(|prefix| region.starts_with(prefix)));
        // A part of the world that is newer than this build is in the public cloud.
        Some(facts.map_or(Self::Aws, |facts| facts.partition))
    }

    /// Returns the partition by the name that ARNs have second.
    pub fn of_name(name: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.name == name).map(|facts| facts.partition)
    }

    /// Returns the partition of an ARN.
    pub fn of_arn(arn: &str) -> Option<Self> {
        Self::of_name(arn.strip_prefix("arn:")?.split(':').next()?)
    }

    /// Returns its name, as in ARNs.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns what its host names end with.
    pub fn suffix(self) -> &'static str {
        self.facts().suffix
    }

    /// Returns the Region that the events of global services (IAM, sign-in, CloudFront) are recorded in.
    pub fn global_region(self) -> &'static str {
        self.facts().global
    }

    /// Returns the Region in which Organizations and Account Management answer for the whole partition.
    pub fn control_region(self) -> &'static str {
        self.facts().control
    }

    /// Returns the Regions known when this was built, sorted.
    pub fn regions(self) -> &'static [&'static str] {
        self.facts().regions
    }

    fn facts(self) -> &'static Facts {
        FACTS
            .iter()
            .find(|facts| facts.partition == self)
            .expect("a test sees to it that every partition has its facts")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// Returns whether a text has the form of a Region: `xx-word-1`, or one word more.
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

    const ALL: [Partition; 8] = [
        Partition::Aws,
        Partition::China,
        Partition::GovCloud,
        Partition::Europe,
        Partition::Iso,
        Partition::IsoB,
        Partition::IsoE,
        Partition::IsoF,
    ];

    #[test]
    fn every_partition_has_facts_that_agree() {
        for partition in ALL {
            assert!(partition.regions().is_sorted());
            assert!(partition.regions().contains(&partition.global_region()), "{partition}");
            assert!(partition.regions().contains(&partition.control_region()), "{partition}");
            assert_eq!(Partition::of_name(partition.name()), Some(partition));
            for region in partition.regions() {
                assert_eq!(Partition::of_region(region), Some(partition), "{region}");
            }
        }
    }

    #[test]
    fn a_region_newer_than_this_build_is_public() {
        assert_eq!(Partition::of_region("ap-northwest-12"), Some(Partition::Aws));
        assert_eq!(Partition::of_region("za-central-1"), Some(Partition::Aws));
    }

    #[test]
    fn what_is_no_region_is_none() {
        for text in
            ["", "all", "us-east", "us-east-1a", "US-EAST-1", "us_east_1", "-east-1", "a-b-c-d-1"]
        {
            assert_eq!(Partition::of_region(text), None, "{text}");
        }
    }
}
