//! What AWS has to grant: credentials, the clock, accounts with their Regions, buckets.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Doctor, Harm, good};
use crate::{
    aws::{self, Access, Trouble, trouble::is_skew},
    cli::{
        enter,
        exit::Exit,
        failure::{self, Failure},
        gather::{bucket_options, nothing_done},
    },
    report::figures,
    source::{Buckets, Found, Source as _, s3::Address},
};

/// Regions that are asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Memory for objects that are fetched to see whether they can be: a few, for one is enough.
const TASTED_BYTES: u64 = 64 << 10;

/// Objects and folders of a bucket that are told if they cannot be read.
const REFUSALS_SHOWN: usize = 3;

impl Doctor<'_> {
    /// Looks at all that AWS has to grant; returns who signs requests to the engine.
    pub(super) async fn aws(&mut self) -> Result<Option<Access>, Failure> {
        let words = &self.plan.words;
        if !words.is_aws() && !self.plan.aws_auth {
            return Ok(None);
        }
        let caller = match enter::access(&self.plan.cloud, &self.waits).await {
            Ok(caller) => caller,
            Err(failure) => return self.bad(Harm::Stops, &failure).map(|()| None),
        };
        // Who only signs need not be known to STS.
        let harm = if words.is_aws() { Harm::Stops } else { Harm::Lessens };
        let key = caller.access_key().await;
        match caller.identity().await {
            Ok(who) => good("credentials", &format!("account {}, {}", who.account, who.arn))?,
            Err(error) if words.lookup.is_none() && key.is_ok() => {
                let refusal =
                    error.refusal().map_or_else(|| error.to_string(), ToString::to_string);
                good(
                    "credentials",
                    &format!(
                        "access key {}; whose it is STS does not say ({refusal}), and reading buckets does not need it",
                        key.unwrap_or_default()
                    ),
                )?;
            }
            Err(error) => {
                self.bad(harm, &error.into())?;
                return Ok(self.plan.aws_auth.then_some(caller));
            }
        }
        self.clock(&caller)?;
        if words.lookup.is_some() {
            self.accounts(&caller).await?;
        }
        if words.has_buckets() {
            self.buckets(&caller).await?;
        }
        Ok(Some(caller))
    }

    fn clock(&mut self, caller: &Access) -> Result<(), Failure> {
        match caller.clock_ahead() {
            Some(ahead) if is_skew(ahead) => {
                let failure = Failure::person(format!("this machine's clock is {}", told(ahead)));
                let advice = Trouble::ClockSkew { ahead: None }.advice().unwrap_or_default();
                self.bad(Harm::Lessens, &failure.hint(advice))
            }
            Some(ahead) => good("clock", &told(ahead)),
            None => Ok(()),
        }
    }

    async fn accounts(&mut self, caller: &Access) -> Result<(), Failure> {
        let entered = match enter::all_accounts(&self.plan.cloud, caller).await {
            Ok(entered) => entered,
            Err(failure) => return self.bad(Harm::Stops, &failure),
        };
        let none = entered.accounts.is_empty();
        for (_, error) in entered.refused {
            self.bad(if none { Harm::Stops } else { Harm::Lessens }, &error.into())?;
        }
        for account in &entered.accounts {
            let name = format!("account {}", account.identity.account);
            let regions = figures::counted(account.regions.len() as u64, "Region");
            good(&name, &format!("as {}, {regions}", account.identity.arn))?;
            if let Some(warning) = &account.warning {
                let failure = Failure::person(format!("{name}: {warning}"));
                let fix = failure::allow("ec2:DescribeRegions", "*");
                self.bad(Harm::Lessens, &failure.hint(fix))?;
            }
        }
        self.regions(&entered.accounts).await
    }

    /// Asks each Region once.
    async fn regions(&mut self, accounts: &[enter::Account]) -> Result<(), Failure> {
        let slots = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let (mut tasks, mut number) = (JoinSet::new(), 0_usize);
        for account in accounts {
            for region in &account.regions {
                let (access, region) = (account.access.clone(), region.clone());
                let (slots, now) = (Arc::clone(&slots), self.now);
                let listed = account.warning.is_none();
                tasks.spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    let refusal = ask(&access, &region, now).await.err();
                    let account = access.account().unwrap_or_default();
                    Asked { number, account, region, listed, refusal }
                });
                number += 1;
            }
        }
        let mut asked = tasks.join_all().await;
        asked.sort_by_key(|one| one.number);
        for of_one in asked.chunk_by(|one, next| one.account == next.account) {
            self.account(of_one)?;
        }
        Ok(())
    }

    /// Tells of the Regions of an account: one line for those that answer as they should, one for each other.
    fn account(&mut self, asked: &[Asked]) -> Result<(), Failure> {
        let Some(Asked { account, .. }) = asked.first() else { return Ok(()) };
        let name = format!("account {account}");
        let regions = |is: fn(&Asked) -> bool| {
            let regions = asked.iter().filter(|one| is(one)).map(|one| one.region.as_str());
            Some(regions.collect::<Vec<_>>().join(", ")).filter(|regions| !regions.is_empty())
        };
        if let Some(regions) = regions(|one| one.refusal.is_none()) {
            self.tasted = true;
            good(&name, &format!("the event history can be read in {regions}"))?;
        }
        if let Some(regions) = regions(Asked::is_busy) {
            self.tasted = true;
            let why = "somebody else uses the quota just now";
            good(&name, &format!("the event history can be read in {regions}; {why}"))?;
        }
        if let Some(regions) = regions(Asked::is_off) {
            good(&name, &format!("not enabled, and passed over: {regions}"))?;
        }
        for one in asked.iter().filter(|one| !one.is_busy() && !one.is_off()) {
            let Some(refusal) = &one.refusal else { continue };
            let mut failure = Failure::from(aws::Error::Call {
                account: Some(account.clone()),
                service: "cloudtrail",
                action: "LookupEvents",
                region: one.region.clone(),
                source: Box::new(refusal.clone()),
            });
            if matches!(refusal.trouble, Trouble::Denied { .. }) {
                failure.hint = Some(failure::allow("cloudtrail:LookupEvents", "*"));
            }
            self.bad(Harm::Lessens, &failure)?;
        }
        Ok(())
    }

    async fn buckets(&mut self, caller: &Access) -> Result<(), Failure> {
        let shelves = match enter::shelves(&self.plan.cloud, &self.plan.words, caller).await {
            Ok(shelves) => shelves,
            Err(failure) => return self.bad(Harm::Stops, &failure),
        };
        for (_, address) in shelves.targets {
            let (access, accounts) = (shelves.access.clone(), shelves.accounts.clone());
            let options = bucket_options(self.plan, access.region(), accounts, TASTED_BYTES);
            let client = Box::new(move |region: &str| access.s3(region));
            let closed = Box::new(|_: &str| None);
            let targets = vec![(0, address.clone())];
            let source = Buckets::new(targets, options, client, nothing_done(), closed, self.now);
            let tasted = tokio::task::spawn_blocking(move || taste(source)).await;
            let tasted = tasted.map_err(|error| Failure::of(Exit::Person, &error))?;
            self.bucket(&address, tasted)?;
        }
        Ok(())
    }

    fn bucket(&mut self, address: &Address, tasted: Tasted) -> Result<(), Failure> {
        let name = address.to_string();
        for failure in tasted.refused.iter().take(REFUSALS_SHOWN) {
            self.bad(Harm::Lessens, failure)?;
        }
        if let Some(object) = tasted.object {
            self.tasted = true;
            good(&name, &format!("can be listed and read, for example {object}"))
        } else if tasted.refused.is_empty() {
            self.tasted = true;
            let why = tasted.nothing.unwrap_or_else(|| "there is nothing to load".to_owned());
            good(&name, &format!("can be listed; {why}"))
        } else {
            Ok(())
        }
    }
}

/// A Region that was asked for events.
struct Asked {
    /// Its place in the order of asking.
    number: usize,
    account: String,
    region: String,
    /// Whether AWS listed it for the account.
    listed: bool,
    refusal: Option<aws::Refusal>,
}

impl Asked {
    fn is_busy(&self) -> bool {
        self.refusal.as_ref().is_some_and(|one| matches!(one.trouble, Trouble::Throttled))
    }

    /// Returns whether it was only tried, because nobody lists them, and is off.
    fn is_off(&self) -> bool {
        let is_off = |one: &aws::Refusal| matches!(one.trouble, Trouble::RegionNotEnabled);
        !self.listed && self.refusal.as_ref().is_some_and(is_off)
    }
}

/// Asks a Region for one event of the last hour.
async fn ask(access: &Access, region: &str, now: Timestamp) -> Result<(), aws::Refusal> {
    let second = aws_smithy_types::DateTime::from_secs;
    let request = access
        .cloudtrail(region)
        .lookup_events()
        .start_time(second(now.as_second() - 3_600))
        .end_time(second(now.as_second()))
        .max_results(1);
    request.send().await.map(|_| ()).map_err(|error| aws::Refusal::of(&error))
}

/// What came of a first look into a bucket.
#[derive(Default)]
struct Tasted {
    /// An object that was read.
    object: Option<String>,
    /// What was refused before.
    refused: Vec<Failure>,
    /// Why there is nothing, if that is no mistake.
    nothing: Option<String>,
}

/// Loads from a bucket until the first object is here.
fn taste(mut source: Buckets) -> Tasted {
    let mut tasted = Tasted::default();
    let listed = source.list(&mut |_, found| {
        match found {
            Found::Input(input) => tasted.object = Some(input.name),
            Found::Failed(error) => tasted.refused.push(error.into()),
            Found::Lost { name, why, .. } => {
                let failure = Failure::person(format!("could not read {name}: {why}"));
                let fix = "'trailload policy' with the same options prints what has to be allowed";
                tasted.refused.push(failure.hint(fix));
            }
            Found::Skipped { why, .. } => tasted.nothing = Some(why),
            _ => {}
        }
        tasted.object.is_none()
    });
    if let Err(error) = listed {
        tasted.refused.push(error.into());
    }
    tasted
}

/// Says how far a clock is from AWS's.
fn told(ahead: SignedDuration) -> String {
    let apart = figures::duration(ahead.unsigned_abs());
    match ahead.as_secs() {
        0 => "agrees with AWS's".to_owned(),
        1.. => format!("{apart} ahead of AWS's"),
        _ => format!("{apart} behind AWS's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_by_its_side() {
        for (seconds, text) in [
            (0, "agrees with AWS's"),
            (90, "1 min 30 s ahead of AWS's"),
            (-90, "1 min 30 s behind AWS's"),
        ] {
            assert_eq!(told(SignedDuration::from_secs(seconds)), text);
        }
    }
}
