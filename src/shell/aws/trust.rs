//! Which certificates are trusted, and where they are read from.
//!
//! Knows the places in their order, and what makes a file of certificates useless. Blocks: called on threads that may.
//!
//! *Invariant:* the SDK's TLS aborts on a certificate that it cannot read, so only those that can be are handed on.

#![expect(clippy::disallowed_methods, reason = "files belong to the shells")]

use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::TrustStore;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::Aws;

use super::environment::Environment;
use super::stamp::Stamp;

/// Where distributions keep the platform's certificates in one file; where there is none, the SDK looks for itself.
const PLATFORM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of certificates that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// What names the file, as the operator wrote it; `None` for the platform's own.
    named_by: Option<String>,
    path: Option<PathBuf>,
}

/// What a file of certificates had when it was read.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    pub(super) stamp: Option<Stamp>,
    /// The certificates, or why there are none.
    pub(super) store: Result<TrustStore, String>,
}

impl Trust {
    /// The file that is named: by the configuration, the environment or the profile, in AWS's own order.
    pub(super) fn choose(aws: &Aws, environment: &Environment, of_profile: Option<&str>) -> Self {
        let named = |by: &str, path: PathBuf| Self { named_by: Some(by.to_owned()), path: Some(path) };
        let variable = |name: &str| environment.get(name).map(|path| named(name, PathBuf::from(path)));
        aws.ca_file
            .clone()
            .map(|path| named("ca_file", path))
            .or_else(|| variable("AWS_CA_BUNDLE"))
            .or_else(|| of_profile.map(|path| named("ca_bundle", PathBuf::from(path))))
            .or_else(|| variable("SSL_CERT_FILE"))
            .unwrap_or_else(|| Self {
                named_by: None,
                path: PLATFORM.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned),
            })
    }

    /// No file at all.
    pub(super) fn none() -> Self {
        Self { named_by: None, path: None }
    }

    /// What tells whether the file was replaced; `None` where there is none.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.path.as_deref().map(Stamp::of)
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Certificates {
        let stamp = self.stamp();
        let Some(path) = &self.path else {
            return Certificates { stamp, store: Ok(TrustStore::default()) };
        };
        let read = pem(path);
        let store = match (&self.named_by, read) {
            (_, Ok(pem)) => Ok(TrustStore::empty().with_pem_certificate(pem)),
            // The SDK may know another place.
            (None, Err(_)) => Ok(TrustStore::default()),
            (Some(by), Err(why)) => Err(format!("{by} {} {why}", path.display())),
        };
        Certificates { stamp, store }
    }
}

/// The certificates of a file that can be trusted, as PEM.
fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut known = RootCertStore::empty();
    let mut pem = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes).flatten() {
        if known.add(certificate.clone()).is_ok() {
            pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
            for line in STANDARD.encode(&certificate).as_bytes().chunks(64) {
                pem.extend_from_slice(line);
                pem.push(b'\n');
            }
            pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
        }
    }
    match (bytes.is_empty(), pem.is_empty()) {
        (true, _) => Err("is empty".to_owned()),
        (false, true) => Err("has no certificate in it (PEM)".to_owned()),
        (false, false) => Ok(pem),
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::environment;
    use super::*;

    fn path_of(trust: &Trust) -> Option<&str> {
        trust.path.as_deref().and_then(Path::to_str)
    }

    #[test]
    fn the_configuration_comes_before_the_environment_and_the_profile() {
        let all = environment(&[("AWS_CA_BUNDLE", "/bundle"), ("SSL_CERT_FILE", "/ssl")]);
        let ssl = environment(&[("SSL_CERT_FILE", "/ssl")]);
        let own = Aws { ca_file: Some("/own".into()), ..Aws::default() };
        let none = Aws::default();
        assert_eq!(path_of(&Trust::choose(&own, &all, Some("/profile"))), Some("/own"));
        assert_eq!(path_of(&Trust::choose(&none, &all, Some("/profile"))), Some("/bundle"));
        assert_eq!(path_of(&Trust::choose(&none, &ssl, Some("/profile"))), Some("/profile"));
        assert_eq!(path_of(&Trust::choose(&none, &ssl, None)), Some("/ssl"));
        assert_eq!(Trust::choose(&none, &environment(&[]), None).named_by, None);
    }

    #[test]
    fn a_file_that_is_missing_empty_or_without_a_certificate_is_told_by_its_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let read = || {
            let aws = Aws { ca_file: Some(path.clone()), ..Aws::default() };
            Trust::choose(&aws, &environment(&[]), None).read().store.err().unwrap_or_default()
        };
        let shown = path.display();
        assert!(read().starts_with(&format!("ca_file {shown} cannot be read: ")), "{}", read());
        std::fs::write(&path, "").expect("written");
        assert_eq!(read(), format!("ca_file {shown} is empty"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["hello\n", broken] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(read(), format!("ca_file {shown} has no certificate in it (PEM)"));
        }
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&path, broken.to_owned() + &own.cert.pem()).expect("written");
        assert_eq!(read(), "", "what can be read is trusted");
    }
}
