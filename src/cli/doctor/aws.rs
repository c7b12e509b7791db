//! Checks access to AWS: credentials, clock, accounts and their Regions, buckets.

use std::{ops::ControlFlow, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Doctor, Severity, pass};
use crate::{
    aws::{self, ErrorKind, Session, clock::is_excessive_skew},
    cli::{
        failure::{self, Failure},
        plan::aws::EngineAuth,
        sources::{
            accounts, bucket_options, nothing_done,
            queues::{OpenedQueue, open_queue, queue_session},
        },
    },
    report::format,
    shutdown::shutdown_channel,
    source::{
        self, S3Source, SourceEvent, for_each_event,
        queue::{AcknowledgementProblems, QueueAttributes, QueueClient},
        s3::{Address, S3Options},
    },
};

/// Number of Regions probed at the same time.
const MAX_CONCURRENT_REGIONS: usize = 8;

/// Memory for objects fetched as a probe; one object is enough.
const PROBE_MEMORY_BYTES: u64 = 64 << 10;

/// Number of errors shown for one bucket.
const MAX_ERRORS_SHOWN: usize = 3;

impl Doctor<'_> {
    /// Runs the checks of AWS; returns the session, which may also sign requests to the engine.
    pub(super) async fn aws(&mut self) -> Result<Option<Session>, Failure> {
        let sources = &self.reading.sources;
        let signs = self.load.is_some_and(|load| load.engine_auth == EngineAuth::SigV4);
        if !sources.uses_aws() && !signs {
            return Ok(None);
        }
        let session = match accounts::new_session(&self.reading.aws, &self.pending).await {
            Ok(session) => session,
            Err(failure) => return self.report_problem(Severity::Failure, &failure).map(|()| None),
        };
        // Signing does not require access to STS.
        let severity = if sources.uses_aws() { Severity::Failure } else { Severity::Warning };
        let key = session.access_key_id().await;
        match session.identity().await {
            Ok(identity) => {
                pass("credentials", &format!("account {}, {}", identity.account, identity.arn))?;
            }
            Err(error) if sources.lookup.is_none() && key.is_ok() => {
                let error =
                    error.service_error().map_or_else(|| error.to_string(), ToString::to_string);
                pass(
                    "credentials",
                    &format!(
                        "access key {}; its account is unknown ({error}), which reading buckets does not require",
                        key.unwrap_or_default()
                    ),
                )?;
            }
            Err(error) => {
                self.report_problem(severity, &error.into())?;
                return Ok(signs.then_some(session));
            }
        }
        self.clock(&session)?;
        if sources.lookup.is_some() {
            self.accounts(&session).await?;
        }
        if sources.has_buckets() {
            self.buckets(&session).await?;
        }
        if sources.has_queues() {
            self.queues(&session).await?;
        }
        Ok(Some(session))
    }

    fn clock(&mut self, session: &Session) -> Result<(), Failure> {
        match session.clock_skew() {
            Some(ahead) if is_excessive_skew(ahead) => {
                let failure = Failure::action_required(format!(
                    "the clock of this machine is {}",
                    describe_clock(ahead)
                ));
                let advice = ErrorKind::ClockSkew { ahead: None }.hint().unwrap_or_default();
                self.report_problem(Severity::Warning, &failure.hint(advice))
            }
            Some(ahead) => pass("clock", &describe_clock(ahead)),
            None => Ok(()),
        }
    }

    async fn accounts(&mut self, session: &Session) -> Result<(), Failure> {
        let resolved = match accounts::try_resolve_accounts(&self.reading.aws, session).await {
            Ok(resolved) => resolved,
            Err(failure) => return self.report_problem(Severity::Failure, &failure),
        };
        let none = resolved.accounts.is_empty();
        for (_, error) in resolved.failed {
            self.report_problem(
                if none { Severity::Failure } else { Severity::Warning },
                &error.into(),
            )?;
        }
        for account in &resolved.accounts {
            let name = format!("account {}", account.identity.account);
            let regions = format::plural(account.regions.len() as u64, "Region");
            pass(&name, &format!("as {}, {regions}", account.identity.arn))?;
            if let Some(warning) = &account.warning {
                let failure = Failure::action_required(format!("{name}: {warning}"));
                let fix = failure::allow("ec2:DescribeRegions", "*");
                self.report_problem(Severity::Warning, &failure.hint(fix))?;
            }
        }
        self.regions(&resolved.accounts).await
    }

    /// Probes each Region once.
    async fn regions(&mut self, accounts: &[accounts::ResolvedAccount]) -> Result<(), Failure> {
        let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_REGIONS));
        let (mut tasks, mut number) = (JoinSet::new(), 0_usize);
        for account in accounts {
            for region in &account.regions {
                let (session, region) = (account.session.clone(), region.clone());
                let (slots, now) = (Arc::clone(&slots), self.now);
                let listed = account.warning.is_none();
                tasks.spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    let error = probe_region(&session, &region, now).await.err();
                    let account = session.account().unwrap_or_default();
                    RegionProbe { number, account, region, listed, error }
                });
                number += 1;
            }
        }
        let mut probes = tasks.join_all().await;
        probes.sort_by_key(|probe| probe.number);
        for of_account in probes.chunk_by(|probe, next| probe.account == next.account) {
            self.account(of_account)?;
        }
        Ok(())
    }

    /// Reports the Regions of an account: one line for those that can be read, and one for each problem.
    fn account(&mut self, probes: &[RegionProbe]) -> Result<(), Failure> {
        let Some(RegionProbe { account, .. }) = probes.first() else { return Ok(()) };
        let name = format!("account {account}");
        let regions = |is: fn(&RegionProbe) -> bool| {
            let regions =
                probes.iter().filter(|probe| is(probe)).map(|probe| probe.region.as_str());
            Some(regions.collect::<Vec<_>>().join(", ")).filter(|regions| !regions.is_empty())
        };
        if let Some(regions) = regions(|probe| probe.error.is_none()) {
            self.any_source_readable = true;
            pass(&name, &format!("the event history can be read in {regions}"))?;
        }
        if let Some(regions) = regions(RegionProbe::is_busy) {
            self.any_source_readable = true;
            let why = "another client is using up the quota at the moment";
            pass(&name, &format!("the event history can be read in {regions}; {why}"))?;
        }
        if let Some(regions) = regions(RegionProbe::is_off) {
            pass(&name, &format!("skipped, because not enabled: {regions}"))?;
        }
        for probe in probes.iter().filter(|probe| !probe.is_busy() && !probe.is_off()) {
            let Some(error) = &probe.error else { continue };
            let mut failure = Failure::from(aws::Error::Request {
                account: Some(account.clone()),
                service: "cloudtrail",
                action: "LookupEvents",
                region: probe.region.clone(),
                source: Box::new(error.clone()),
            });
            if matches!(error.kind, ErrorKind::AccessDenied { .. }) {
                failure.hint = Some(failure::allow("cloudtrail:LookupEvents", "*"));
            }
            self.report_problem(Severity::Warning, &failure)?;
        }
        Ok(())
    }

    async fn buckets(&mut self, session: &Session) -> Result<(), Failure> {
        let targets =
            match accounts::bucket_targets(&self.reading.aws, &self.reading.sources, session).await
            {
                Ok(targets) => targets,
                Err(failure) => return self.report_problem(Severity::Failure, &failure),
            };
        for (_, address) in targets.targets {
            let (session, accounts) = (targets.session.clone(), targets.accounts.clone());
            let options = S3Options {
                memory_bytes: PROBE_MEMORY_BYTES,
                reload: self.reading.reload,
                ..bucket_options(&self.reading.aws, self.reading.range, session.region(), accounts)
            };
            let client = Box::new(move |region: &str| session.s3(region));
            let closed = Box::new(|_: &str| None);
            let targets = vec![(0, address.clone())];
            let source = S3Source::new(targets, options, client, nothing_done(), closed, self.now);
            self.bucket(&address, probe_bucket(source).await)?;
        }
        Ok(())
    }

    fn bucket(&mut self, address: &Address, probe: BucketProbe) -> Result<(), Failure> {
        let name = address.to_string();
        for failure in probe.errors.iter().take(MAX_ERRORS_SHOWN) {
            self.report_problem(Severity::Warning, failure)?;
        }
        if let Some(object) = probe.object {
            self.any_source_readable = true;
            pass(&name, &format!("can be listed and read, for example {object}"))
        } else if probe.errors.is_empty() {
            self.any_source_readable = true;
            let why = probe.nothing.unwrap_or_else(|| "there is nothing to load".to_owned());
            pass(&name, &format!("can be listed; {why}"))
        } else {
            Ok(())
        }
    }
}

impl Doctor<'_> {
    /// Checks each queue. No message is received, because each receive counts towards the dead-letter queue. A queue that cannot be
    /// opened ends a run, whatever other sources it has.
    async fn queues(&mut self, session: &Session) -> Result<(), Failure> {
        let session = match queue_session(&self.reading.aws, session).await {
            Ok(session) => session,
            Err(failure) => return self.report_problem(Severity::Failure, &failure),
        };
        for (_, address) in &self.reading.sources.queues {
            let name = address.to_string();
            match open_queue(&session, address).await {
                Ok(OpenedQueue { client, attributes }) => {
                    match attributes {
                        Ok(attributes) => self.queue(&name, &attributes)?,
                        // The load assumes a visibility timeout.
                        Err(error) => self.report_problem(Severity::Warning, &error.into())?,
                    }
                    self.acknowledging(&name, &client).await?;
                }
                Err(error) => self.report_problem(Severity::Failure, &error.into())?,
            }
        }
        Ok(())
    }

    fn queue(&mut self, name: &str, attributes: &QueueAttributes) -> Result<(), Failure> {
        pass(name, &attributes.to_string())?;
        for weakness in attributes.weaknesses() {
            let failure = Failure::action_required(format!("{name}: {weakness}"));
            self.report_problem(Severity::Warning, &failure.hint(weakness.advice()))?;
        }
        if let Some(key) = &attributes.kms_key {
            let why = format!(
                "messages are encrypted with {key}, which the reader must be allowed to use (kms:Decrypt)"
            );
            pass(name, &why)?;
        }
        Ok(())
    }

    /// Checks whether messages of a queue may be deleted, extended and released.
    async fn acknowledging(&mut self, name: &str, queue: &QueueClient) -> Result<(), Failure> {
        let failure = |error| -> Failure {
            source::Error::Queue { name: name.to_owned(), source: Box::new(error) }.into()
        };
        let AcknowledgementProblems { deleting, extending } =
            queue.acknowledgement_problems().await;
        let passed = match (deleting.is_none(), extending.is_none()) {
            (true, true) => "messages can be deleted, extended and released",
            (true, false) => "messages can be deleted",
            (false, true) => "messages can be extended and released",
            (false, false) => "",
        };
        if !passed.is_empty() {
            let untried = "receiving is not tried, because each receive counts";
            pass(name, &format!("{passed}; {untried}"))?;
        }
        match deleting {
            None => self.any_source_readable = true,
            Some(error) => self.report_problem(Severity::Failure, &failure(error))?,
        }
        extending.map_or(Ok(()), |error| self.report_problem(Severity::Warning, &failure(error)))
    }
}

/// The result of probing one Region.
struct RegionProbe {
    /// Position in the output.
    number: usize,
    account: String,
    region: String,
    /// Whether AWS listed the Region as enabled for the account.
    listed: bool,
    error: Option<aws::ServiceError>,
}

impl RegionProbe {
    fn is_busy(&self) -> bool {
        self.error.as_ref().is_some_and(|probe| matches!(probe.kind, ErrorKind::Throttled))
    }

    /// Returns whether the Region is disabled and was only probed because AWS did not list the enabled ones.
    fn is_off(&self) -> bool {
        let is_off = |probe: &aws::ServiceError| matches!(probe.kind, ErrorKind::RegionNotEnabled);
        !self.listed && self.error.as_ref().is_some_and(is_off)
    }
}

/// Requests one event of the last hour from a Region.
async fn probe_region(
    session: &Session,
    region: &str,
    now: Timestamp,
) -> Result<(), aws::ServiceError> {
    let second = aws_smithy_types::DateTime::from_secs;
    let request = session
        .cloudtrail(region)
        .lookup_events()
        .start_time(second(now.as_second() - 3_600))
        .end_time(second(now.as_second()))
        .max_results(1);
    request.send().await.map(|_| ()).map_err(|error| aws::ServiceError::from_sdk(&error))
}

/// The result of probing a bucket.
#[derive(Default)]
struct BucketProbe {
    /// An object that could be read.
    object: Option<String>,
    /// Errors before the first object was read.
    errors: Vec<Failure>,
    /// Why the bucket has nothing to load, if that is not an error.
    nothing: Option<String>,
}

/// Reads from a bucket until the first object is fetched.
async fn probe_bucket(source: S3Source) -> BucketProbe {
    let (_trigger, shutdown) = shutdown_channel();
    let mut probe = BucketProbe::default();
    let read = for_each_event(Box::new(source), shutdown, |_, event| {
        match event {
            SourceEvent::Input(input) => probe.object = Some(input.name),
            SourceEvent::Failed(error) => probe.errors.push(error.into()),
            SourceEvent::Unreadable { name, why, .. } => {
                let failure = Failure::action_required(format!("cannot read {name}: {why}"));
                let fix = "allow what 'trailload policy' prints for the same options";
                probe.errors.push(failure.hint(fix));
            }
            SourceEvent::Skipped { why, .. } => probe.nothing = Some(why),
            _ => {}
        }
        if probe.object.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await;
    if let Err(error) = read {
        probe.errors.push(error.into());
    }
    probe
}

/// Describes the difference between the clock and that of AWS.
fn describe_clock(ahead: SignedDuration) -> String {
    let apart = format::duration(ahead.unsigned_abs());
    match ahead.as_secs() {
        0 => "agrees with that of AWS".to_owned(),
        1.. => format!("{apart} ahead of that of AWS"),
        _ => format!("{apart} behind that of AWS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_by_its_side() {
        for (seconds, text) in [
            (0, "agrees with that of AWS"),
            (90, "1 min 30 s ahead of that of AWS"),
            (-90, "1 min 30 s behind that of AWS"),
        ] {
            assert_eq!(describe_clock(SignedDuration::from_secs(seconds)), text);
        }
    }
}
