//! Mutual TLS with the one Terraform process that started this plugin.
//!
//! Terraform's client certificate is self-signed, marked as a CA, and on the curve P-521. The usual verifier cannot take it: it
//! refuses a CA as an end entity, and ring has no P-521. So the client is known by its exact certificate, which came through
//! the environment, and the signature that proves it holds the key is checked here. Client authentication is never off.

use std::sync::Arc;

use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("PLUGIN_CLIENT_CERT is not a PEM certificate: {0}")]
    ClientCertificate(#[from] rustls::pki_types::pem::Error),
    #[error("could not make a certificate for this process: {0}")]
    OwnCertificate(#[from] rcgen::Error),
    #[error("could not set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The TLS side of the server, with the certificate that the handshake line announces.
pub(super) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificate: CertificateDer<'static>,
}

impl Identity {
    /// Makes a key and certificate for this process alone, that trusts only the given client.
    pub(super) fn for_client(client_certificate_pem: &str) -> Result<Self, TlsError> {
        let client = CertificateDer::from_pem_slice(client_certificate_pem.as_bytes())?;
        let (certificate, key) = own_certificate()?;
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(OneClient { certificate: client.into_owned(), provider: Arc::clone(&provider) });
        // TLS 1.3 only: there a signature scheme names its curve, so there is one way to sign with P-521.
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), certificate })
    }
}

/// Terraform trusts exactly this certificate, as a root and as the server "localhost".
fn own_certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose as Use, IsCa, KeyUsagePurpose};
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![Use::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certificate.der().clone(), key))
}

/// Accepts the one certificate that Terraform announced, and only with a valid signature by its key.
#[derive(Debug)]
struct OneClient {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for OneClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("plugins speak TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signed.scheme == SignatureScheme::ECDSA_NISTP521_SHA512 {
            verify_p521(message, certificate, signed.signature())
        } else {
            verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = vec![SignatureScheme::ECDSA_NISTP521_SHA512];
        schemes.extend(self.provider.signature_verification_algorithms.supported_schemes());
        schemes
    }
}

fn verify_p521(message: &[u8], certificate: &[u8], signature: &[u8]) -> Result<HandshakeSignatureValid, rustls::Error> {
    let encoding = || rustls::Error::from(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| encoding())?;
    let key =
        VerifyingKey::from_sec1_bytes(&certificate.public_key().subject_public_key.data).map_err(|_| encoding())?;
    Signature::from_der(signature)
        .and_then(|signature| key.verify(message, &signature))
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| CertificateError::BadSignature.into())
}
