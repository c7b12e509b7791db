//! Signature Version 4, written down once more from AWS's description: what the loader signs is checked against
//! this, and not against the library that signed it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::server::Request;

/// Returns the signature that came with a request, and the one it should have.
pub(crate) fn both(request: &Request, secret: &str) -> (String, String) {
    let header = request.header("authorization").unwrap();
    let field = |name: &str| {
        let rest = header.split_once(&format!("{name}=")).unwrap().1;
        rest.split([',', ' ']).next().unwrap().to_owned()
    };
    let (credential, names) = (field("Credential"), field("SignedHeaders"));
    let scope = credential.split_once('/').unwrap().1;
    let time = request.header("x-amz-date").unwrap();
    let canonical = hex(&Sha256::digest(canonical(request, &names)));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    (field("Signature"), hex(&hmac(&key, text.as_bytes())))
}

fn canonical(request: &Request, names: &str) -> String {
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for name in names.split(';') {
        let value = request.header(name).unwrap();
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(text, "{name}:{value}").unwrap();
    }
    write!(text, "\n{names}\n{}", hex(&Sha256::digest(&request.body))).unwrap();
    text
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|it| it ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
