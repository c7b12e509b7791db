//! `ListObjectsV2`: pages of keys, in the order of their bytes.

use std::fmt::Write as _;

use super::super::super::wire::Request;
use super::{Bucket, etag};

/// The most that one page holds.
const PAGE: usize = 1_000;

/// Returns a page, or what is wrong with the request.
pub(super) fn page(name: &str, bucket: &Bucket, request: &Request) -> Result<String, String> {
    let given = |name| request.parameter(name).unwrap_or_default();
    let (prefix, delimiter) = (given("prefix"), given("delimiter"));
    if !matches!(delimiter.as_str(), "" | "/") {
        return Err(format!("a delimiter that nobody needs: {delimiter}"));
    }
    let most = match given("max-keys").as_str() {
        "" => PAGE,
        most => most.parse::<usize>().map_err(|_| format!("max-keys {most}"))?.min(PAGE),
    };
    let url = given("encoding-type") == "url";
    let shown = |key: &str| if url { encoded(key) } else { escaped(key) };

    let mut at = bucket.position(&prefix);
    if let Some(after) = request.parameter("start-after") {
        at = at.max(bucket.position(&(after + "\0")));
    }
    if let Some(token) = request.parameter("continuation-token") {
        let from = token.strip_prefix("next-").and_then(unhex);
        at = bucket.position(&from.ok_or("The continuation token provided is incorrect")?);
    }
    let (mut entries, mut taken, mut next) = (String::new(), 0, None);
    while at < bucket.count() {
        let key = bucket.key(at);
        if !key.starts_with(&prefix) {
            break;
        }
        if taken == most {
            next = Some(key);
            break;
        }
        taken += 1;
        let rest = &key[prefix.len()..];
        if let Some(slash) = rest.find('/').filter(|_| delimiter == "/") {
            let folder = &key[..=prefix.len() + slash];
            let entry = shown(folder);
            let _ = write!(entries, "<CommonPrefixes><Prefix>{entry}</Prefix></CommonPrefixes>");
            // The character behind the slash.
            at = bucket.position(&format!("{}0", &folder[..folder.len() - 1]));
        } else {
            let body = bucket.body_at(at, &key);
            let _ = write!(
                entries,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified>\
                 <ETag>{}</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                shown(&key),
                bucket.modified(at),
                etag(&body).replace('"', "&quot;"),
                body.len()
            );
            at += 1;
        }
    }
    let token = next.map_or_else(String::new, |key| {
        let hex: String = key.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        format!("<NextContinuationToken>next-{hex}</NextContinuationToken>")
    });
    let encoding = if url { "<EncodingType>url</EncodingType>" } else { "" };
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{name}</Name>\
         <Prefix>{}</Prefix>{token}<KeyCount>{taken}</KeyCount><MaxKeys>{most}</MaxKeys>\
         <IsTruncated>{}</IsTruncated>{encoding}{entries}</ListBucketResult>",
        shown(&prefix),
        !token.is_empty(),
    ))
}

/// Encodes as S3 does for `encoding-type=url`.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => text.push('+'),
            _ if byte.is_ascii_alphanumeric() || b"-._*/".contains(&byte) => {
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

fn escaped(key: &str) -> String {
    key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unhex(text: &str) -> Option<String> {
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}
