//! Finds out what answers at an address, before a single event is sent there.
//!
//! In: the answer to `GET /`. Out: which engine it is, or an error that says what answered instead.
//! Holds: an address counts as an engine's only if it answers as Elasticsearch or OpenSearch do, in their own or in a
//! managed form. The exceptions:
//!
//! | answer | taken for an engine |
//! |---|---|
//! | 403 | if it then answers about templates as an engine does: a user may be allowed to write and not to ask this |
//! | `{}` | on this machine, or signed: endpoints that know `_bulk` and little else |
//! | 404, 405 | signed: a service of AWS with a name of its own |
//! | 405 that names Elasticsearch | if it then answers about templates as an engine does: a node may lack the module for `GET /` |
//! | none is asked for | a collection of OpenSearch Serverless has no `GET /` |

use serde_json::Value;

use super::calls::{Calls, Said};
use super::client::{Client, Method};
use super::{Description, Flavour, SERVERLESS};
use crate::sink::{Cause, Error, Unreachable};

/// What Elasticsearch and OpenSearch say of themselves at their root.
const TAGLINES: [&str; 2] =
    ["You Know, for Search", "The OpenSearch Project: https://opensearch.org/"];

/// Signs of what answered that are shown: enough to recognize it.
const WORDS: usize = 80;

/// Bytes of an answer that are looked at for words: titles stand at the beginning.
const LOOKED_AT: usize = 4 << 10;

/// What answers, and how sure that is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) description: Description,
    pub(super) proof: Proof,
}

/// Whether it was shown that an engine answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was, or one of the exceptions holds.
    Given,
    /// The next answer has to show it. Holds what was said instead.
    Owed(Cause),
}

impl Identity {
    /// Returns what a collection is, which does not say so itself.
    pub(super) fn collection() -> Self {
        Self::of(Flavour::OpenSearch, Some(SERVERLESS.to_owned()))
    }

    fn of(flavour: Flavour, version: Option<String>) -> Self {
        Self { description: Description { flavour, version }, proof: Proof::Given }
    }

    fn owed(cause: Cause) -> Self {
        Self { proof: Proof::Owed(cause), ..Self::of(Flavour::Unknown, None) }
    }
}

/// Asks the engine what it is; the first contact, so a failure here is not waited out.
///
/// # Errors
///
/// Returns [`Error`] if nobody answers, if we are not let in, or if what answers is no engine.
pub(super) async fn identify(calls: &Calls<'_>) -> Result<Identity, Error> {
    let url = calls.address().to_owned();
    match calls.client.knock().await {
        Ok(()) => {}
        Err(source @ Cause::Redirect { .. }) => return Err(Error::Redirected { url, source }),
        Err(source) => {
            let how = match source {
                Cause::Connection { how, .. } => how,
                _ => Unreachable::Other,
            };
            return Err(Error::Connect { url, how, source });
        }
    }
    let action = "asking for its version";
    let said = match calls.call(Method::Get, "", None, action).await {
        // 403 is only about this question; an account for writing may not be allowed to ask it.
        Err(Error::Denied { status: 403, source, .. }) => return Ok(forbidden(calls, source)),
        said => said?,
    };
    match judge(&said, calls.client) {
        Some(mut identity) => {
            let Description { flavour, version } = &mut identity.description;
            if *flavour == Flavour::Elasticsearch && version.is_none() {
                *version = version_of_node(calls).await;
            }
            Ok(identity)
        }
        None => Err(Error::NoEngine { url, source: stranger(&said, calls.client) }),
    }
}

fn forbidden(calls: &Calls<'_>, source: Cause) -> Identity {
    if calls.client.is_signed() {
        return Identity::of(Flavour::Unknown, None);
    }
    Identity::owed(source)
}

/// Returns what answered, if it is an engine or one of the exceptions.
fn judge(said: &Said, client: &Client) -> Option<Identity> {
    let about = &said.json;
    if let Some(flavour) = flavour(said) {
        let version = about["version"]["number"].as_str().map(str::to_owned);
        return Some(Identity::of(flavour, version));
    }
    if said.status == 405 && said.elasticsearch {
        // A node without the module that answers there. It says so below a path that is wrong, too.
        return Some(Identity {
            proof: Proof::Owed(said.cause()),
            ..Identity::of(Flavour::Elasticsearch, None)
        });
    }
    let excepted = match said.status {
        200..=299 => is_empty(about) && (client.is_local() || client.is_signed()),
        404 | 405 => client.is_signed(),
        _ => false,
    };
    excepted.then(|| Identity::of(Flavour::Unknown, None))
}

fn flavour(said: &Said) -> Option<Flavour> {
    let about = &said.json;
    // An engine answers so below a path that is wrong, too: only a good answer shows that it is the root.
    if !(200..=299).contains(&said.status) {
        return None;
    }
    let has_version = about["version"]["number"].is_string();
    let is_opensearch =
        about["version"]["distribution"] == "opensearch" || about["tagline"] == TAGLINES[1];
    if has_version && is_opensearch {
        return Some(Flavour::OpenSearch);
    }
    // Behind a proxy that takes out headers it is known by what it says.
    let is_cluster = about["cluster_name"].is_string() && about["cluster_uuid"].is_string();
    let is_elasticsearch = has_version && (about["tagline"] == TAGLINES[0] || is_cluster);
    (is_elasticsearch || said.elasticsearch).then_some(Flavour::Elasticsearch)
}

fn is_empty(about: &Value) -> bool {
    about.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Returns what answered instead of an engine, for a person.
fn stranger(said: &Said, client: &Client) -> Cause {
    let kind = if said.kind.is_empty() { "no type" } else { &said.kind };
    let text = String::from_utf8_lossy(&said.body);
    let words = if client.is_echo(&text) { String::new() } else { words(&said.body) };
    let reason = match (said.body.is_empty(), words.as_str()) {
        (true, _) => "an empty answer".to_owned(),
        (false, "") => format!("an answer of {} bytes of {kind}", said.body.len()),
        (false, words) => format!("an answer of {kind}: \"{words}\""),
    };
    Cause::Garbage { status: said.status, reason }
}

/// Returns the first words of a page or a text, without markup and what could steer a terminal.
pub(super) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]);
    let mut plain = String::new();
    let mut inside = false;
    for sign in text.chars() {
        match sign {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                plain.push(' ');
            }
            _ if inside => {}
            sign if sign.is_whitespace() || sign.is_control() => plain.push(' '),
            sign if steers(sign) => {}
            sign => plain.push(sign),
        }
    }
    let mut words = String::new();
    for word in plain.split(' ').filter(|word| !word.is_empty()) {
        let gap = if words.is_empty() { "" } else { " " };
        if words.chars().count() + word.chars().count() >= WORDS {
            let left = WORDS.saturating_sub(words.chars().count());
            words.extend(gap.chars().chain(word.chars()).take(left));
            words.push('…');
            break;
        }
        words.push_str(gap);
        words.push_str(word);
    }
    words
}

/// Returns whether a sign changes the direction of text, or is not seen.
fn steers(sign: char) -> bool {
    matches!(sign, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

/// Asks the node itself, for engines that do not answer at their root. Good to know, but not needed.
async fn version_of_node(calls: &Calls<'_>) -> Option<String> {
    let path = "_nodes/_local/none?filter_path=nodes.*.version";
    let said = calls.call(Method::Get, path, None, "asking a node for its version").await.ok()?;
    let version = said.json["nodes"].as_object()?.values().next()?["version"].as_str()?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sink::{Credentials, Target};
    use crate::waits::Waits;

    fn said(status: u16, body: &str) -> Said {
        Said {
            status,
            json: serde_json::from_str(body).unwrap_or_default(),
            elasticsearch: false,
            kind: "application/json".to_owned(),
            body: body.to_owned().into(),
        }
    }

    fn client(url: &str) -> Client {
        let mut target = Target::new(url.parse().unwrap(), "t");
        target.credentials =
            Credentials::Basic { username: "me".to_owned(), password: "hush".to_owned() };
        Client::new(&target, Waits::default()).unwrap()
    }

    fn judged(said: &Said) -> Option<(Flavour, Option<String>)> {
        judge(said, &client("http://search.example"))
            .map(|it| (it.description.flavour, it.description.version))
    }

    #[test]
    fn engines_are_known_in_all_their_forms() {
        let tagline = "You Know, for Search";
        let table = [
            (
                json!({ "version": { "number": "3.8.0", "distribution": "opensearch" } }),
                Flavour::OpenSearch,
            ),
            (
                json!({ "version": { "number": "7.10.2" }, "tagline": TAGLINES[1] }),
                Flavour::OpenSearch,
            ),
            (
                json!({ "version": { "number": "9.5.3", "build_flavor": "default" }, "tagline": tagline }),
                Flavour::Elasticsearch,
            ),
            (
                json!({ "version": { "number": "8.11.0", "build_flavor": "serverless" }, "tagline": tagline }),
                Flavour::Elasticsearch,
            ),
            (
                json!({ "name": "a", "cluster_name": "1:d", "cluster_uuid": "u", "version": { "number": "7.4.2" } }),
                Flavour::Elasticsearch,
            ),
        ];
        for (about, flavour) in table {
            let number = about["version"]["number"].as_str().map(str::to_owned);
            assert_eq!(judged(&said(200, &about.to_string())), Some((flavour, number)), "{about}");
        }
        let silent = |status| Said { elasticsearch: true, ..said(status, "{}") };
        assert_eq!(judged(&silent(200)), Some((Flavour::Elasticsearch, None)));
        assert_eq!(judged(&silent(404)), None, "a wrong path below an engine");
        let mute = judge(&silent(405), &client("http://search.example")).unwrap();
        assert_eq!(mute.description.flavour, Flavour::Elasticsearch);
        assert!(matches!(mute.proof, Proof::Owed(_)), "the next answer has to show it");
    }

    #[test]
    fn whatever_else_answers_is_no_engine() {
        for (status, body) in [
            (200, "<html><title>Welcome to nginx!</title></html>"),
            (200, ""),
            (200, "null"),
            (200, "[]"),
            (200, "\"ok\""),
            (200, "{}"),
            (200, r#"{"version":"1.2.3"}"#),
            (200, r#"{"version":{"number":"1.2.3"}}"#),
            (200, r#"{"version":{"number":3},"tagline":"You Know, for Search"}"#),
            (200, r#"{"name":"registry","tagline":"You Know, for Search"}"#),
            (204, ""),
            (404, r#"{"error":"not found"}"#),
            (404, "404 page not found"),
            (400, r#"{"version":{"number":"8.0.0"},"tagline":"You Know, for Search"}"#),
        ] {
            assert_eq!(judged(&said(status, body)), None, "{status} {body}");
        }
    }

    #[test]
    fn an_empty_object_is_enough_on_this_machine_only() {
        for (url, known) in [("http://127.0.0.1:9200", true), ("http://search.example", false)] {
            assert_eq!(judge(&said(200, "{}"), &client(url)).is_some(), known, "{url}");
        }
    }

    #[test]
    fn what_answered_is_named_and_never_shows_the_credentials() {
        let page = "<html><head><title>Welcome to nginx!</title></head>\n<body>\u{1b}[31m\u{202e}If you see";
        let page = Said { kind: "text/html".to_owned(), ..said(200, page) };
        let here = client("http://search.example");
        assert_eq!(
            stranger(&page, &here).to_string(),
            "200: an answer of text/html: \"Welcome to nginx! [31mIf you see\""
        );
        // `me:hush`, as the header holds it.
        let echo = said(200, r#"{"headers":{"authorization":"Basic bWU6aHVzaA=="}}"#);
        assert_eq!(
            stranger(&echo, &here).to_string(),
            "200: an answer of 50 bytes of application/json"
        );
        let nothing = Said { kind: String::new(), ..said(200, "") };
        assert_eq!(stranger(&nothing, &here).to_string(), "200: an empty answer");
    }

    #[test]
    fn words_are_few() {
        assert_eq!(words(b"<p>a</p> b\r\n\tc"), "a b c");
        let long = words("x".repeat(5_000).as_bytes());
        assert_eq!(long.chars().count(), WORDS + 1);
        assert!(long.ends_with('…'));
        assert_eq!(words("word ".repeat(100).as_bytes()).chars().last(), Some('…'));
    }
}
