//! The address of a table: `dynamodb://TABLE[?region=REGION]`.
//!
//! Input: the text of an option. Output: an [`AlertStateAddress`].
//! Invariant: what is displayed is parsed to the same address.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::aws::AwsPartition;

/// How every address starts.
const SCHEME: &str = "dynamodb://";

/// A table with the state of alerts that several processes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertStateAddress {
    /// The name of the table.
    pub table: String,
    /// Its Region, if it is not that of the AWS settings.
    pub region: Option<String>,
}

/// Why a text is not the address of a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// It starts in another way.
    #[error("expected dynamodb://TABLE, such as dynamodb://trailload-alerts?region=eu-west-1")]
    Scheme,
    /// The name is not that of a table.
    #[error(
        "`{0}` is not the name of a table: 3 to 255 letters, digits, hyphens, underscores and dots"
    )]
    Table(String),
    /// The name of the Region is not one.
    #[error("`{0}` is not a Region")]
    Region(String),
    /// A parameter is not known.
    #[error("`{0}` is not known; the only parameter is region, as in ?region=eu-west-1")]
    Parameter(String),
}

impl FromStr for AlertStateAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidAddress::Scheme)?;
        let (table, query) = rest.split_once('?').unwrap_or((rest, ""));
        let table = table.strip_suffix('/').unwrap_or(table);
        let is_name = (3..=255).contains(&table.len())
            && table.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name {
            return Err(InvalidAddress::Table(table.to_owned()));
        }
        let mut region = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("region", name)) if AwsPartition::from_region(name).is_some() => {
                    region = Some(name.to_owned());
                }
                Some(("region", name)) => return Err(InvalidAddress::Region(name.to_owned())),
                _ => return Err(InvalidAddress::Parameter(parameter.to_owned())),
            }
        }
        Ok(Self { table: table.to_owned(), region })
    }
}

impl fmt::Display for AlertStateAddress {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{SCHEME}{}", self.table)?;
        match &self.region {
            Some(region) => write!(to, "?region={region}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_is_parsed() {
        for (text, table, region) in [
            ("dynamodb://alerts", "alerts", None),
            ("dynamodb://a.b_c-1?region=eu-west-1", "a.b_c-1", Some("eu-west-1")),
        ] {
            let address: AlertStateAddress = text.parse().unwrap();
            assert_eq!((address.table.as_str(), address.region.as_deref()), (table, region));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_part() {
        for (text, part) in [
            ("alerts", "expected dynamodb://"),
            ("sqs://alerts", "expected dynamodb://"),
            ("dynamodb://", "is not the name of a table"),
            ("dynamodb://a/b", "`a/b` is not the name"),
            ("dynamodb://alerts?region=moon", "`moon` is not a Region"),
            ("dynamodb://alerts?ttl=1", "`ttl=1` is not known"),
        ] {
            let error = text.parse::<AlertStateAddress>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
