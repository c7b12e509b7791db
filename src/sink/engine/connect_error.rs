//! Classifies errors of the HTTP client by their causes' types, not by their messages.

use std::error::Error;
use std::io;

use crate::error::chain_through_io;
use crate::sink::cause::ConnectError;

/// Returns why a connection failed.
pub(in crate::sink) fn classify(error: &(dyn Error + 'static)) -> ConnectError {
    // Without an I/O error in the chain the connection ended within a response.
    let mut found = ConnectError::ConnectionClosed;
    for cause in chain_through_io(error) {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return classify_tls(tls);
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            found = match io.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::ConnectionRefused,
                io::ErrorKind::TimedOut => ConnectError::TimedOut,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => ConnectError::ConnectionClosed,
                _ if found == ConnectError::ConnectionClosed => ConnectError::Other,
                _ => found,
            };
        }
    }
    found
}

fn classify_tls(error: &rustls::Error) -> ConnectError {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => ConnectError::UnknownIssuer,
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented => {
            ConnectError::InvalidCertificate
        }
        Tls::InvalidMessage(_) => ConnectError::NotTls,
        _ => ConnectError::Other,
    }
}

/// Returns the innermost cause of an error.
pub(in crate::sink) fn root_cause<'a>(
    error: &'a (dyn Error + 'static),
) -> &'a (dyn Error + 'static) {
    chain_through_io(error).last().unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_tls_error_is_found() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(classify(&wrapped), ConnectError::UnknownIssuer);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&refused), ConnectError::ConnectionRefused);
    }
}
