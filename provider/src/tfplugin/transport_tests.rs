//! The real transport end to end: a client as Terraform is one (self-signed P-521 CA certificate, TLS 1.3, gRPC on a unix
//! socket) against the server, and clients that must be refused.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use hyper_util::rt::TokioIo;
use p521::ecdsa::signature::Signer as _;
use p521::ecdsa::{Signature, SigningKey, VerifyingKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureAlgorithm, SignatureScheme};
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, async_trait};

use super::proto::health::HealthCheckRequest;
use super::proto::health::health_client::HealthClient;
use super::proto::plugin::Empty;
use super::proto::plugin::grpc_controller_client::GrpcControllerClient;
use super::proto::plugin::grpc_stdio_client::GrpcStdioClient;
use super::proto::tfplugin6::provider_client::ProviderClient;
use super::proto::tfplugin6::{
    ApplyResourceChangeRequest, ClientCapabilities, GetProviderSchemaRequest, ImportResourceStateRequest,
    PlanResourceChangeRequest, UpgradeResourceStateRequest, ValidateConfigRequest,
};
use super::serve::serve_on;
use super::tls::Identity;
use super::{
    Applied, Attribute, DataSource, Diagnostic, Diagnostics, Planned, Private, Provider, ReadOutcome, Resource, Schema,
    Type, Value, wire,
};

/// A resource that keeps what it is given.
struct Note;

#[async_trait]
impl Resource for Note {
    fn type_name(&self) -> &'static str {
        "test_note"
    }

    fn schema(&self) -> Schema {
        Schema::new(
            "A note.",
            vec![
                Attribute::required("text", Type::String, "What it says."),
                Attribute::optional("secret", Type::String, "A secret.").sensitive().write_only(),
                Attribute::computed("length", Type::Number, "Its length."),
            ],
        )
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    async fn plan(&self, _: &mut Planned, _: &Private) -> Diagnostics {
        Diagnostics::new()
    }

    async fn plan_destroy(&self, _: &Value, _: &Private) -> Diagnostics {
        Diagnostic::error("Protected", "Notes stay.").into()
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome {
        ReadOutcome { state: Some(state), private, ..ReadOutcome::default() }
    }

    async fn create(&self, mut planned: Value, config: Value) -> Applied {
        assert_eq!(config.attr("secret"), &Value::from("hush"), "apply sees the write-only value");
        let length = planned.attr("text").as_str().map_or(0, str::len);
        planned.set_attr("length", Value::from(i64::try_from(length).expect("a small text")));
        let mut private = Private::default();
        private.set("made", "here");
        Applied { state: Some(planned), private, ..Applied::default() }
    }

    async fn update(&self, _: Value, planned: Value, _: Value, private: Private) -> Applied {
        Applied { state: Some(planned), private, ..Applied::default() }
    }

    async fn delete(&self, _: Value, _: Private) -> Applied {
        Applied::default()
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        Ok(Value::object([("text", Value::from(id))]))
    }
}

struct Notes;

#[async_trait]
impl Provider for Notes {
    fn schema(&self) -> Schema {
        Schema::new("Notes.", vec![])
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    async fn configure(&self, _: Value) -> Diagnostics {
        Diagnostics::new()
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::new(Note)]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        Vec::new()
    }

    fn stop(&self) {}
}

/// Terraform's side: its key, and the certificate that the plugin is told of.
struct Terraform {
    key: SigningKey,
    certificate: Vec<u8>,
}

impl Terraform {
    fn new(seed: u8) -> Self {
        let mut scalar = [seed; 66];
        scalar[0] = 0;
        let key = SigningKey::from_slice(&scalar).expect("below the order of the curve");
        let certificate = certificate(&key);
        Self { key, certificate }
    }

    fn pem(&self) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// A client that shows this certificate and signs with `key`.
    fn client(&self, key: &SigningKey, server: &Identity) -> TlsConnector {
        let certificate = CertificateDer::from(self.certificate.clone());
        let identity = CertifiedKey::new(vec![certificate], Arc::new(P521Key(key.clone())));
        let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ExactServer(server.certificate.clone())))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a small certificate").to_be_bytes();
    [&[tag, 0x82], length.as_slice(), content].concat()
}

/// A self-signed P-521 certificate that is marked as a CA, as Terraform makes one for each plugin.
fn certificate(key: &SigningKey) -> Vec<u8> {
    let ecdsa_sha512 = der(0x30, &der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4]));
    let algorithm = [der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), der(0x06, &[0x2b, 0x81, 4, 0, 0x23])].concat();
    let point = VerifyingKey::from(key).to_encoded_point(false);
    let public_key = der(0x30, &[der(0x30, &algorithm), der(0x03, &[&[0], point.as_bytes()].concat())].concat());
    let common_name = [der(0x06, &[0x55, 4, 3]), der(0x0c, b"localhost")].concat();
    let name = der(0x30, &der(0x31, &der(0x30, &common_name)));
    let validity = der(0x30, &[der(0x17, b"200101000000Z"), der(0x17, b"490101000000Z")].concat());
    let basic_constraints =
        [der(0x06, &[0x55, 0x1d, 0x13]), der(0x01, &[0xff]), der(0x04, &der(0x30, &der(0x01, &[0xff])))].concat();
    let extensions = der(0xa3, &der(0x30, &der(0x30, &basic_constraints)));
    let version = der(0xa0, &der(0x02, &[2]));
    let serial = der(0x02, &[1]);
    let body = [version, serial, ecdsa_sha512.clone(), name.clone(), validity, name, public_key, extensions].concat();
    let body = der(0x30, &body);
    let signature: Signature = key.sign(&body);
    let signature = der(0x03, &[&[0], signature.to_der().as_bytes()].concat());
    der(0x30, &[body, ecdsa_sha512, signature].concat())
}

#[derive(Clone)]
struct P521Key(SigningKey);

impl std::fmt::Debug for P521Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P521Key")
    }
}

impl rustls::sign::SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512).then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for P521Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature: Signature = self.0.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

/// Terraform trusts exactly the certificate of the handshake line.
#[derive(Debug)]
struct ExactServer(CertificateDer<'static>);

impl ServerCertVerifier for ExactServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(end_entity, &self.0, "the server shows the certificate that it announced");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Dials the plugin's socket.
#[derive(Clone)]
struct Dial {
    tls: TlsConnector,
    socket: std::path::PathBuf,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<UnixStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { tls, socket } = self.clone();
        Box::pin(async move {
            let stream = UnixStream::connect(socket).await?;
            let name = ServerName::try_from("localhost").expect("a DNS name");
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// A running plugin and the way to it.
pub(super) struct Plugin {
    terraform: Terraform,
    identity: Identity,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Plugin {
    fn start() -> Self {
        Self::serving(Notes)
    }

    pub(super) fn serving(provider: impl Provider) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let terraform = Terraform::new(7);
        let identity = Identity::for_client(&terraform.pem()).expect("a good certificate");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("plugin.sock")).expect("a free path");
        let stop = CancellationToken::new();
        let (served, token) =
            (Identity { config: identity.config.clone(), certificate: identity.certificate.clone() }, stop.clone());
        let server = tokio::spawn(async move {
            serve_on(listener, &served, provider, token).await.expect("serves until it is stopped");
        });
        Self { terraform, identity, folder, stop, server }
    }

    async fn dial(&self, tls: TlsConnector) -> Result<Channel, tonic::transport::Error> {
        let socket = self.folder.path().join("plugin.sock");
        Endpoint::from_static("http://localhost").connect_with_connector(Dial { tls, socket }).await
    }

    async fn channel(&self) -> Channel {
        let tls = self.terraform.client(&self.terraform.key, &self.identity);
        self.dial(tls).await.expect("the announced client is let in")
    }

    pub(super) async fn provider(&self) -> ProviderClient<Channel> {
        const LIMIT: usize = 64 * 1024 * 1024;
        ProviderClient::new(self.channel().await).max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT)
    }
}

/// Whether a client gets as far as an answered call. In TLS 1.3 a refused client learns of it on its first read.
async fn gets_through(plugin: &Plugin, tls: TlsConnector) -> bool {
    match plugin.dial(tls).await {
        Ok(channel) => {
            HealthClient::new(channel).check(HealthCheckRequest { service: "plugin".to_owned() }).await.is_ok()
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn only_the_announced_client_with_its_key_is_let_in() {
    let plugin = Plugin::start();
    let terraform = &plugin.terraform;
    let stranger = Terraform::new(9);
    assert!(gets_through(&plugin, terraform.client(&terraform.key, &plugin.identity)).await, "Terraform itself");
    assert!(!gets_through(&plugin, stranger.client(&stranger.key, &plugin.identity)).await, "another certificate");
    assert!(!gets_through(&plugin, terraform.client(&stranger.key, &plugin.identity)).await, "a stolen certificate");

    let mut anonymous = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ExactServer(plugin.identity.certificate.clone())))
        .with_no_client_auth();
    anonymous.alpn_protocols = vec![b"h2".to_vec()];
    assert!(!gets_through(&plugin, TlsConnector::from(Arc::new(anonymous))).await, "no certificate");
}

#[tokio::test]
async fn a_message_far_above_four_mebibytes_goes_both_ways() {
    let plugin = Plugin::start();
    let mut provider = plugin.provider().await;
    let kind = Note.schema().value_type();
    let text = "x".repeat(20 * 1024 * 1024);
    let planned = Value::object([("text", Value::from(text.as_str())), ("length", Value::Unknown)]);
    let config = Value::object([("text", Value::from(text.as_str())), ("secret", Value::from("hush"))]);
    let response = provider
        .apply_resource_change(ApplyResourceChangeRequest {
            type_name: "test_note".to_owned(),
            prior_state: Some(wire::encode(&Value::Null, &kind).expect("null")),
            planned_state: Some(wire::encode(&planned, &kind).expect("fits its type")),
            config: Some(wire::encode(&config, &kind).expect("fits its type")),
            planned_private: Vec::new(),
        })
        .await
        .expect("a large message passes")
        .into_inner();
    let state = wire::decode(response.new_state.as_ref(), &kind).expect("fits its type");
    assert_eq!(state.attr("length"), &Value::from(20 * 1024 * 1024));
    assert_eq!(Private::decode(&response.private).expect("ours").get("made"), Some("here"));
}

#[tokio::test]
async fn schema_plan_import_and_upgrade_answer_as_terraform_expects() {
    let plugin = Plugin::start();
    let mut provider = plugin.provider().await;
    let kind = Note.schema().value_type();
    let null = wire::encode(&Value::Null, &kind).expect("null");

    let schema = provider.get_provider_schema(GetProviderSchemaRequest {}).await.expect("a schema").into_inner();
    let capabilities = schema.server_capabilities.expect("announced");
    assert!(capabilities.plan_destroy && capabilities.get_provider_schema_optional);
    assert!(schema.resource_schemas.contains_key("test_note"));

    let destroy = PlanResourceChangeRequest {
        type_name: "test_note".to_owned(),
        prior_state: Some(wire::encode(&Value::object([("text", Value::from("a"))]), &kind).expect("fits")),
        proposed_new_state: Some(null.clone()),
        config: Some(null),
        prior_private: b"{\"k\":\"v\"}".to_vec(),
    };
    let planned = provider.plan_resource_change(destroy).await.expect("planned").into_inner();
    assert_eq!(planned.diagnostics[0].summary, "Protected");
    assert_eq!(planned.planned_private, b"{\"k\":\"v\"}");

    let import = ImportResourceStateRequest { type_name: "test_note".to_owned(), id: "n".to_owned() };
    let imported = provider.import_resource_state(import).await.expect("imported").into_inner().imported_resources;
    let state = wire::decode(imported[0].state.as_ref(), &kind).expect("fits its type");
    assert_eq!(state.attr("text"), &Value::from("n"));

    let raw_state = Some(super::proto::tfplugin6::RawState { json: br#"{"text":"t"}"#.to_vec() });
    let newer = UpgradeResourceStateRequest { type_name: "test_note".to_owned(), version: 1, raw_state };
    let upgraded = provider.upgrade_resource_state(newer.clone()).await.expect("answered").into_inner();
    assert!(upgraded.diagnostics[0].detail.contains("Upgrade the provider"));
    let same = UpgradeResourceStateRequest { version: 0, ..newer };
    let upgraded = provider.upgrade_resource_state(same).await.expect("answered").into_inner();
    let state = wire::decode(upgraded.upgraded_state.as_ref(), &kind).expect("fits its type");
    assert_eq!(state.attr("text"), &Value::from("t"));
}

#[tokio::test]
async fn a_write_only_value_is_refused_where_it_would_reach_the_state() {
    let plugin = Plugin::start();
    let mut provider = plugin.provider().await;
    let kind = Note.schema().value_type();
    let config = Value::object([("text", Value::from("t")), ("secret", Value::from("hush"))]);
    for (able, complaints) in [(false, 1), (true, 0)] {
        let request = ValidateConfigRequest {
            type_name: "test_note".to_owned(),
            config: Some(wire::encode(&config, &kind).expect("fits its type")),
            client_capabilities: Some(ClientCapabilities {
                deferral_allowed: false,
                write_only_attributes_allowed: able,
            }),
        };
        let answer = provider.validate_resource_config(Request::new(request)).await.expect("answered").into_inner();
        assert_eq!(answer.diagnostics.len(), complaints);
    }
}

#[tokio::test]
async fn the_hosts_shutdown_ends_streams_and_server() {
    let plugin = Plugin::start();
    let channel = plugin.channel().await;
    let mut output = GrpcStdioClient::new(channel.clone()).stream_stdio(Empty {}).await.expect("a stream").into_inner();
    assert!(!plugin.stop.is_cancelled());
    GrpcControllerClient::new(channel).shutdown(Empty {}).await.expect("shuts down");
    let end = output.message().await;
    assert!(matches!(end, Ok(None) | Err(_)), "nothing is ever printed: {end:?}");
    tokio::time::timeout(std::time::Duration::from_secs(5), plugin.server)
        .await
        .expect("the server ends in time")
        .expect("the server did not panic");
}
