//! The cluster's certificate authority. It signs brokers only; no client listener trusts it for clients.

use std::collections::BTreeSet;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

/// Validity of the authority, and how far before now certificates begin, for clocks that are behind.
const AUTHORITY_LIFE: Duration = Duration::days(3650);
const BACKDATE: Duration = Duration::hours(1);
/// A broker's certificate is short-lived, since there is no revocation; the broker renews it itself.
pub const CERTIFICATE_LIFE: Duration = Duration::days(7);

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate that the authority signed, with its key.
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    /// When to ask for the next one: two thirds through its life (milliseconds since 1970).
    pub renew_at_ms: i64,
}

impl Authority {
    /// Key and certificate in one PEM text, so that one is never there without the other.
    pub(super) fn generate(cluster_id: &str, now_ms: i64) -> Result<String, rcgen::Error> {
        let key = KeyPair::generate()?;
        let now = instant(now_ms);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("Lockgate CA {cluster_id}"));
        params.not_before = now - BACKDATE;
        params.not_after = now + AUTHORITY_LIFE;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
    }

    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("it holds no certificate that can be read: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("it holds no private key that can be read: {error}"))?;
        let key = KeyPair::try_from(&key).map_err(|error| format!("its private key cannot be used: {error}"))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| format!("its certificate cannot be used: {error}"))?;
        Ok(Self { issuer, certificate })
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A server certificate with a new key.
    pub(super) fn issue(&self, names: &BTreeSet<String>, now_ms: i64) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let now = instant(now_ms);
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = name("Lockgate broker");
        params.not_before = now - BACKDATE;
        params.not_after = now + CERTIFICATE_LIFE;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let renew_at_ms = now_ms + CERTIFICATE_LIFE.whole_milliseconds() as i64 / 3 * 2;
        Ok(Issued { certificate, key: key.into(), renew_at_ms })
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// A clock that shows nonsense gives the epoch; the certificate is then not valid, which clients report.
fn instant(now_ms: i64) -> OffsetDateTime {
    let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000);
    now.ok().filter(|now| (1970..9000).contains(&now.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH + Duration::days(1))
}
