use std::fs;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::trust;

struct Place {
    folder: TempDir,
    trust: Arc<Trust>,
}

/// With the real time, since rustls checks certificates against it.
fn place() -> Place {
    let folder = TempDir::new().expect("a folder");
    let trust = trust::ensure(&folder.path().join("data"), &["broker.example.com".to_owned()], Arc::new(SystemClock));
    Place { folder, trust: Arc::new(trust.expect("the folder can be used")) }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self, settings: TlsSettings) -> Result<Arc<ServerTls>, TlsError> {
        ServerTls::new(settings, self.trust.clone(), Arc::new(SystemClock))
    }
}

/// An authority of the users' own.
struct UserAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl UserAuthority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "users");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, common_name: &str, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, "apps");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate, key)
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(trusted: &CertificateDer<'static>, identity: Option<Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
        None => builder.with_no_client_auth(),
    }
}

/// A handshake in memory; the server's side of it, when both are content.
fn handshake(server: Arc<ServerConfig>, client: ClientConfig, name: &str) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("into memory");
        server.read_tls(&mut bytes.as_slice()).expect("from memory");
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).expect("into memory");
        client.read_tls(&mut bytes.as_slice()).expect("from memory");
        client.process_new_packets()?;
    }
    Ok(server)
}

#[test]
fn the_own_certificate_serves_every_name_of_the_broker() {
    let place = place();
    let tls = place.tls(TlsSettings::default()).expect("TLS");
    for name in ["localhost", "127.0.0.1", "::1", "broker.example.com"] {
        let trusting = client(place.trust.authority_certificate(), None);
        handshake(tls.config(), trusting, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(handshake(tls.config(), client(place.trust.authority_certificate(), None), "other.example.com").is_err());
    let stranger = UserAuthority::new();
    assert!(handshake(tls.config(), client(stranger.certificate.der(), None), "localhost").is_err());
}

#[test]
fn the_own_certificate_is_renewed_at_two_thirds_of_its_life() {
    let folder = TempDir::new().expect("a folder");
    let clock = Arc::new(ManualClock::at(SystemClock.now_ms()));
    let trust = Arc::new(trust::ensure(folder.path(), &[], clock.clone()).expect("the folder can be used"));
    let tls = ServerTls::new(TlsSettings::default(), trust, clock.clone()).expect("TLS");
    let first = tls.config();
    let life_ms = trust::CERTIFICATE_LIFE.whole_milliseconds() as i64;
    clock.advance(life_ms / 3 * 2 - 1000);
    assert!(!tls.reload_if_stale().expect("nothing to do"));
    assert!(Arc::ptr_eq(&first, &tls.config()));
    clock.advance(2000);
    assert!(tls.reload_if_stale().expect("renewed"));
    assert!(!Arc::ptr_eq(&first, &tls.config()));
    assert!(!tls.reload_if_stale().expect("nothing to do"));
}

#[test]
fn changed_files_are_taken_and_broken_ones_are_not() {
    let place = place();
    let authority = UserAuthority::new();
    let (certificate_file, key_file) = (place.path("server.pem"), place.path("server.key"));
    let write = |name: &str| {
        let (certificate, key) = authority.issue("server", &[name]);
        fs::write(&certificate_file, certificate.pem()).expect("written");
        fs::write(&key_file, key.serialize_pem()).expect("written");
    };
    write("one.example.com");
    let files = Some((certificate_file.clone(), key_file.clone()));
    let tls = place.tls(TlsSettings { files, ..TlsSettings::default() }).expect("TLS");
    let reaches = |name: &str| handshake(tls.config(), client(authority.certificate.der(), None), name).is_ok();
    assert!(reaches("one.example.com"));

    write("two.example.com");
    assert!(tls.reload_if_stale().expect("reread"));
    assert!(reaches("two.example.com") && !reaches("one.example.com"));

    fs::write(&certificate_file, "garbage").expect("written");
    let error = tls.reload().expect_err("garbage must not be taken").to_string();
    assert!(error.contains("server.pem"), "{error}");
    assert!(reaches("two.example.com"), "what was in use stays in use");

    let (certificate, _) = authority.issue("server", &["three.example.com"]);
    fs::write(&certificate_file, certificate.pem()).expect("written");
    tls.reload().expect_err("the key is another certificate's");
    assert!(reaches("two.example.com"));
}

#[test]
fn client_certificates_make_principals_when_their_own_authority_signed_them() {
    let place = place();
    let authority = UserAuthority::new();
    fs::write(place.path("clients.pem"), authority.certificate.pem()).expect("written");
    let mapping = MappingRules::parse(&["RULE:^CN=(.*?),OU=apps$/$1/U"]).expect("valid");
    let identity = |authority: &UserAuthority| {
        let (certificate, key) = authority.issue("orders", &[]);
        Some((vec![certificate.der().clone()], PrivateKeyDer::from(key)))
    };
    for required in [false, true] {
        let clients = Some((place.path("clients.pem"), required));
        let tls = place.tls(TlsSettings { files: None, clients, mapping: mapping.clone() }).expect("TLS");
        let connect =
            |identity| handshake(tls.config(), client(place.trust.authority_certificate(), identity), "localhost");
        let server = connect(identity(&authority)).expect("a known client");
        assert_eq!(tls.principal(server.peer_certificates()), Some(Principal::user("ORDERS")));

        assert!(connect(identity(&UserAuthority::new())).is_err(), "a stranger's authority");
        match connect(None) {
            Ok(server) => {
                assert!(!required);
                assert_eq!(tls.principal(server.peer_certificates()), Some(Principal::anonymous()));
            }
            Err(_) => assert!(required),
        }
        // A broker's own certificate, with its key stolen, is nobody's.
        let stolen = place.trust.issue().expect("issued");
        assert!(connect(Some((vec![stolen.certificate], stolen.key))).is_err());
        // A subject that no rule fits.
        let (unmapped, _) = UserAuthority::new().issue("x", &[]);
        let strict =
            TlsSettings { mapping: MappingRules::parse(&["RULE:^CN=y$/y/"]).expect("valid"), ..Default::default() };
        let strict = place.tls(strict).expect("TLS");
        assert_eq!(strict.principal(Some(&[unmapped.der().clone()])), None);
    }
}

#[test]
fn the_clusters_authority_is_never_one_for_clients() {
    let place = place();
    let bundle = place.path("data/public/ca.pem");
    let clients = Some((bundle, false));
    let refused = place.tls(TlsSettings { clients, ..TlsSettings::default() });
    assert!(matches!(refused.err(), Some(TlsError::ClusterAuthority(_))));
}

#[test]
fn half_a_setting_is_refused() {
    let listener = Listener { certificate_file: Some("server.pem".into()), ..Listener::default() };
    assert!(matches!(TlsSettings::of(&listener), Err(TlsError::HalfPair)));
    let listener = Listener { client_certificates: ClientCertificates::Required, ..Listener::default() };
    assert!(matches!(TlsSettings::of(&listener), Err(TlsError::NoClientAuthority)));
    let place = place();
    let files = Some((place.path("missing.pem"), place.path("missing.key")));
    let missing = place.tls(TlsSettings { files, ..TlsSettings::default() });
    assert!(matches!(missing.err(), Some(TlsError::Read { path, .. }) if path.ends_with("missing.pem")));
}

/// That `rustls` reads the same time as the clock that certificates are made with.
#[test]
fn certificates_are_valid_now() {
    let now = UnixTime::now().as_secs() as i64;
    assert!((now - SystemClock.now_ms() / 1000).abs() < 5);
}
