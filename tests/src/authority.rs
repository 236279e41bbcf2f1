//! A certificate authority for clients.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// Signs clients, and has its certificate in a file as the broker's `client_ca_file` wants it.
pub struct Authority {
    folder: tempfile::TempDir,
    params: CertificateParams,
    key: KeyPair,
}

/// A client's certificate and key, in PEM.
pub struct Identity {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
    /// A file with both, as Kafka's Java clients take them for a key store.
    pub store: PathBuf,
}

impl Authority {
    /// All have the same name, so that a broker tells them apart by their keys alone.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        std::fs::write(folder.path().join("authority.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { folder, params, key })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn certificate_path(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A client whose subject is this common name.
    pub fn client(&self, name: &str) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        let store = self.folder.path().join(format!("{name}.pem"));
        std::fs::write(&store, key.serialize_pem() + &certificate.pem())?;
        Ok(Identity { certificate, key, store })
    }
}
