//! What CloudTrail's LookupEvents does: strict on quota, tokens, order and bounds. Pure: the clock is handed in.
//!
//! In: who asks (access key and Region), the JSON of a request, and the time. Out: a [`Reply`].
//! Holds: events are newest first, in whole seconds; events of one second come in an order of their own in each
//! query; a token works with the parameters it was made for, and with nothing else.
//! Absent on purpose: HTTP. The tests beside the code ask without it, under a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

/// Seconds of 90 days.
const HISTORY: i64 = 90 * 86_400;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) second: i64,
    pub(crate) number: u32,
}

impl Event {
    fn name(&self) -> &'static str {
        ["DescribeInstances", "GetObject", "PutObject", "AssumeRole"][self.number as usize % 4]
    }

    fn user(&self) -> String {
        format!("user-{}", self.number % 7)
    }

    fn read_only(&self) -> bool {
        self.number % 4 < 2
    }

    fn attribute(&self, key: &str) -> Option<String> {
        match key {
            "EventId" => Some(self.id.clone()),
            "EventName" => Some(self.name().to_owned()),
            "ReadOnly" => Some(self.read_only().to_string()),
            "Username" => Some(self.user()),
            "EventSource" => Some("ec2.amazonaws.com".to_owned()),
            _ => None,
        }
    }

    fn wire(&self, account: &str, region: &str) -> Value {
        let record = json!({
            "eventVersion": "1.11", "eventID": self.id, "eventTime": time(self.second),
            "eventName": self.name(), "eventSource": "ec2.amazonaws.com", "awsRegion": region,
            "readOnly": self.read_only(), "recipientAccountId": account, "eventType": "AwsApiCall",
            "managementEvent": true, "sourceIPAddress": "192.0.2.1",
            "userIdentity": { "type": "IAMUser", "userName": self.user() },
        });
        json!({
            "EventId": self.id, "EventName": self.name(), "ReadOnly": self.read_only().to_string(),
            "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "EventTime": self.second,
            "EventSource": "ec2.amazonaws.com", "Username": self.user(),
            "Resources": [{ "ResourceType": null, "ResourceName": format!("r-{}", self.number % 3) }],
            "CloudTrailEvent": record.to_string(),
        })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200.
    Page(Value),
    /// 400, with code and message.
    Error(&'static str, String),
}

/// Code and message.
type Refusal = (&'static str, String);

#[derive(Debug)]
struct Token {
    /// Everything else of the request it belongs to.
    query: Value,
    left: Arc<Vec<Event>>,
    offset: usize,
    made: f64,
}

#[derive(Clone, Debug)]
struct Bucket {
    tokens: f64,
    at: f64,
    /// When the next request of others comes.
    others: f64,
}

/// Returns an id as AWS gives them. It ends with the account and begins with the number; the Region is in between.
fn id(account: &str, region: &str, insight: bool, number: u32) -> String {
    let mix = |mixed: u32, byte| mixed.wrapping_mul(131).wrapping_add(u32::from(byte));
    let place = region.bytes().fold(u32::from(insight), mix);
    let [a, b] = [place >> 16, place & 0xffff];
    format!("{number:08x}-{a:04x}-4{:03x}-8{:03x}-{account:0>12}", b >> 8, b & 0xff)
}

/// What was asked in one account and Region.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) granted: usize,
    pub(crate) throttled: usize,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

/// All accounts and Regions.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Epoch second at time 0.
    pub(crate) now: i64,
    /// Requests a second; nobody is throttled if 0.
    pub(crate) quota: f64,
    /// Requests a second of others in each place.
    pub(crate) others: f64,
    /// Seconds until a token is not known any more.
    pub(crate) token_life: Option<f64>,
    /// Every so many-th page is empty although more follows.
    pub(crate) empty_every: Option<usize>,
    /// Regions that nobody may ask.
    pub(crate) denied: Vec<String>,
    /// Regions that are not enabled.
    pub(crate) disabled: Vec<String>,
    /// By account, Region, and whether they are Insights.
    pub(crate) events: BTreeMap<(String, String, bool), Vec<Event>>,
    tokens: BTreeMap<String, Token>,
    tokens_made: usize,
    buckets: BTreeMap<(String, String), Bucket>,
    asked: BTreeMap<(String, String), Asked>,
}

impl Model {
    /// Returns a service without events, at that epoch second, with AWS's quota.
    pub(crate) fn new(now: i64) -> Self {
        Self { now, quota: 2.0, ..Self::default() }
    }

    /// Puts `count` events evenly into `from..=to`. Ids tell account, Region and number.
    pub(crate) fn put(&mut self, account: &str, region: &str, from: i64, to: i64, count: u32) {
        self.put_as(account, region, false, from, to, count);
    }

    /// Puts Insights events.
    pub(crate) fn put_insights(&mut self, account: &str, region: &str, at: i64, count: u32) {
        self.put_as(account, region, true, at, at + i64::from(count), count);
    }

    fn put_as(
        &mut self,
        account: &str,
        region: &str,
        insight: bool,
        from: i64,
        to: i64,
        count: u32,
    ) {
        let events =
            self.events.entry((account.to_owned(), region.to_owned(), insight)).or_default();
        let first = u32::try_from(events.len()).unwrap();
        for number in 0..count {
            let second = from + (to - from + 1) * i64::from(number) / i64::from(count);
            let number = first + number;
            let id = id(account, region, insight, number);
            events.push(Event { id, second, number });
        }
        events.sort_by_key(|event| event.second);
    }

    /// Returns the ids of one account and Region within those seconds.
    pub(crate) fn ids_in(&self, place: (&str, &str), from: i64, to: i64) -> BTreeSet<String> {
        let key = (place.0.to_owned(), place.1.to_owned(), false);
        let all = self.events.get(&key).into_iter().flatten();
        all.filter(|event| (from..=to).contains(&event.second))
            .map(|event| event.id.clone())
            .collect()
    }

    /// Returns all events of those seconds, everywhere.
    pub(crate) fn ids(&self, from: i64, to: i64) -> BTreeSet<String> {
        let all = self.events.values().flatten();
        all.filter(|event| (from..=to).contains(&event.second))
            .map(|event| event.id.clone())
            .collect()
    }

    /// Returns what was asked in each account and Region.
    pub(crate) fn asked(&self) -> &BTreeMap<(String, String), Asked> {
        &self.asked
    }

    /// Returns how many requests were granted, everywhere.
    pub(crate) fn granted(&self) -> usize {
        self.asked.values().map(|asked| asked.granted).sum()
    }

    /// Answers a request that comes at `at` seconds.
    pub(crate) fn lookup(&mut self, account: &str, region: &str, body: &Value, at: f64) -> Reply {
        let place = (account.to_owned(), region.to_owned());
        if self.denied.iter().any(|it| it == region) {
            let message = format!(
                "User: arn:aws:iam::{account}:user/u is not authorized to perform: cloudtrail:LookupEvents because no identity-based policy allows the cloudtrail:LookupEvents action"
            );
            return Reply::Error("AccessDeniedException", message);
        }
        if self.disabled.iter().any(|it| it == region) {
            let message = "The security token included in the request is invalid.".to_owned();
            return Reply::Error("UnrecognizedClientException", message);
        }
        let granted = self.take_token(&place, at);
        let asked = self.asked.entry(place).or_default();
        if asked.granted + asked.throttled == 0 {
            asked.first = at;
        }
        asked.last = at;
        if !granted {
            asked.throttled += 1;
            return Reply::Error("ThrottlingException", "Rate exceeded".to_owned());
        }
        asked.granted += 1;
        let number = asked.granted;
        self.answer(account, region, body, at, number)
            .unwrap_or_else(|(code, why)| Reply::Error(code, why))
    }

    fn take_token(&mut self, place: &(String, String), at: f64) -> bool {
        if self.quota == 0.0 {
            return true;
        }
        let (quota, others) = (self.quota, self.others);
        let bucket =
            self.buckets.entry(place.clone()).or_insert(Bucket { tokens: 1.0, at, others: at });
        let fill = |bucket: &mut Bucket, to: f64| {
            bucket.tokens = (bucket.tokens + (to - bucket.at).max(0.0) * quota).min(2.0);
            bucket.at = bucket.at.max(to);
        };
        while others > 0.0 && bucket.others <= at {
            let then = bucket.others;
            fill(bucket, then);
            if bucket.tokens >= 1.0 {
                bucket.tokens -= 1.0;
            }
            bucket.others += 1.0 / others;
        }
        fill(bucket, at);
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    fn answer(
        &mut self,
        account: &str,
        region: &str,
        body: &Value,
        at: f64,
        number: usize,
    ) -> Result<Reply, Refusal> {
        let mut query = body.clone();
        let fields = query.as_object_mut().unwrap();
        let token = fields.remove("NextToken").and_then(|it| it.as_str().map(str::to_owned));
        fields.insert("place".to_owned(), json!([account, region]));
        let (left, offset) = match token {
            None => (Arc::new(self.select(account, region, body, at)?), 0),
            Some(token) => self.follow(&token, &query, at)?,
        };
        let most = body["MaxResults"].as_u64().unwrap_or(50);
        if !(1..=50).contains(&most) {
            return Err(("InvalidMaxResultsException", "1 to 50".to_owned()));
        }
        let empty = self.empty_every.is_some_and(|every| number.is_multiple_of(every));
        let most = if empty { 0 } else { usize::try_from(most).unwrap() };
        let end = (offset + most).min(left.len());
        let page: Vec<Value> =
            left[offset..end].iter().map(|event| event.wire(account, region)).collect();
        let mut reply = json!({ "Events": page });
        if end < left.len() {
            self.tokens_made += 1;
            let token = format!("token-{}", self.tokens_made);
            self.tokens.insert(token.clone(), Token { query, left, offset: end, made: at });
            reply["NextToken"] = json!(token);
        }
        Ok(Reply::Page(reply))
    }

    fn follow(
        &mut self,
        token: &str,
        query: &Value,
        at: f64,
    ) -> Result<(Arc<Vec<Event>>, usize), Refusal> {
        let invalid = || ("InvalidNextTokenException", format!("token {token} is not valid"));
        let known = self.tokens.get(token).ok_or_else(invalid)?;
        let old = self.token_life.is_some_and(|life| at - known.made > life);
        if known.query != *query || old {
            return Err(invalid());
        }
        Ok((Arc::clone(&known.left), known.offset))
    }

    /// Returns all events that a query selects, newest first.
    fn select(
        &self,
        account: &str,
        region: &str,
        body: &Value,
        at: f64,
    ) -> Result<Vec<Event>, Refusal> {
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
        let horizon = self.now + at as i64 - HISTORY;
        let bound = |name: &str| body[name].as_i64().or(body[name].as_f64().map(whole));
        let from = bound("StartTime").unwrap_or(horizon);
        let to = bound("EndTime").unwrap_or(i64::MAX);
        if from > to || from < horizon {
            return Err(("InvalidTimeRangeException", format!("{from} to {to}")));
        }
        let insight = match body["EventCategory"].as_str() {
            None => false,
            Some("insight") => true,
            Some(other) => return Err(("InvalidEventCategoryException", other.to_owned())),
        };
        let none = Vec::new();
        let attributes = body["LookupAttributes"].as_array().unwrap_or(&none);
        if attributes.len() > 1 {
            return Err(("InvalidLookupAttributesException", "only one is allowed".to_owned()));
        }
        let selected = |event: &&Event| {
            (from..=to).contains(&event.second)
                && attributes.iter().all(|it| {
                    event.attribute(it["AttributeKey"].as_str().unwrap()).as_deref()
                        == it["AttributeValue"].as_str()
                })
        };
        let key = (account.to_owned(), region.to_owned(), insight);
        let all = self.events.get(&key).into_iter().flatten();
        let mut events: Vec<Event> = all.filter(selected).cloned().collect();
        // Events of one second are in an order of their own in each query.
        let salt = u32::try_from((to ^ from) & 0xffff).unwrap();
        events.sort_by_key(|event| {
            (-event.second, (event.number ^ salt).wrapping_mul(2_654_435_761))
        });
        Ok(events)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn time(second: i64) -> String {
    jiff::Timestamp::from_second(second).unwrap().to_string()
}
