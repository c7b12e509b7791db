//! Checks a SigV4 signature as AWS does: from the request as it came, and the secret.
//!
//! Written from the published rules, not with the library that signs, so that a mistake of either shows.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::wire::{Request, percent_decoded};

const BLOCK: usize = 64;

/// The parts of an `Authorization` header.
struct Claim<'r> {
    access_key: &'r str,
    scope: &'r str,
    signed: Vec<&'r str>,
    signature: &'r str,
}

/// Says what is wrong with the signature of a request, by the secret of its access key.
pub(crate) fn check(request: &Request, access_key: &str, secret: &str) -> Result<(), String> {
    let claim = claim(request.header("authorization").ok_or("the request is not signed")?)
        .ok_or("the Authorization header makes no sense")?;
    if claim.access_key != access_key {
        return Err(format!("{} is no access key", claim.access_key));
    }
    for name in ["host", "x-amz-date"] {
        if !claim.signed.contains(&name) {
            return Err(format!("{name} is not signed"));
        }
    }
    let payload = hex(&Sha256::digest(&request.body));
    if request.header("x-amz-content-sha256").is_some_and(|sent| sent != payload) {
        return Err("the body is not the one that was signed".to_owned());
    }
    let date = request.header("x-amz-date").ok_or("x-amz-date is missing")?;
    let expected = sign(request, &claim, date, &payload, secret);
    if expected == claim.signature {
        Ok(())
    } else {
        Err(format!("signed {}, expected {expected}", claim.signature))
    }
}

/// Returns access key, day, Region and service of a request's signature.
pub(crate) fn scope(request: &Request) -> Vec<String> {
    let claim = request.header("authorization").and_then(claim);
    claim.map_or_else(Vec::new, |claim| {
        std::iter::once(claim.access_key).chain(claim.scope.split('/')).map(str::to_owned).collect()
    })
}

fn claim(header: &str) -> Option<Claim<'_>> {
    let parts: BTreeMap<&str, &str> = header
        .strip_prefix("AWS4-HMAC-SHA256 ")?
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let (access_key, scope) = parts.get("Credential")?.split_once('/')?;
    let signed = parts.get("SignedHeaders")?.split(';').collect();
    Some(Claim { access_key, scope, signed, signature: parts.get("Signature")? })
}

fn sign(request: &Request, claim: &Claim<'_>, date: &str, payload: &str, secret: &str) -> String {
    // AWS decodes what came and encodes it by its own rules: a raw `,` is signed as `%2C`.
    let pairs = request.query.split('&').filter(|pair| !pair.is_empty());
    let mut query: Vec<String> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}={}", encoded(name), encoded(value))
        })
        .collect();
    query.sort_unstable();
    let headers: Vec<String> = claim
        .signed
        .iter()
        .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default().trim()))
        .collect();
    let headers = headers.concat();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{}\n{payload}",
        request.method,
        request.path.split('/').map(encoded).collect::<Vec<_>>().join("/"),
        query.join("&"),
        claim.signed.join(";"),
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}\n{}",
        claim.scope,
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let key = claim
        .scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, text.as_bytes()))
}

/// Encodes a part of a path or a query as AWS does before it compares signatures.
fn encoded(part: &str) -> String {
    let letter = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    percent_decoded(part).bytes().map(letter).collect()
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// The example that AWS publishes (`get-vanilla` of its test suite), and what becomes of it when it is changed.
#[test]
fn the_published_vector_is_accepted_and_nothing_else() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
        SignedHeaders=host;x-amz-date, \
        Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let headers = [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", authorization),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut request = Request {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: Vec::new(),
    };
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    assert_eq!(check(&request, "AKIDEXAMPLE", secret), Ok(()));
    assert_eq!(scope(&request)[2..4], ["us-east-1", "service"]);
    assert!(check(&request, "AKIDEXAMPLE", "another").is_err());
    assert!(check(&request, "AKIDOTHER", secret).is_err());
    request.body = b"x".to_vec();
    assert!(check(&request, "AKIDEXAMPLE", secret).is_err());
}
