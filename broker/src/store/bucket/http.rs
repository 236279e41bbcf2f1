//! object_store's requests through the HTTP client and the TLS that the broker has anyway (reqwest on rustls and ring).
//!
//! Its own connector would bring a second reqwest with a second crypto library.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::{Body, Client, Request, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

/// For one whole request. Slower ones are given up and tried again: the largest are parts of some MiB.
const REQUEST: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(3);
/// Of the instance's metadata service, which is near or not there at all.
const CONNECT_METADATA: Duration = Duration::from_secs(1);

/// Makes clients for object_store.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // object_store marks the clients that ask the metadata service with this one setting.
        let metadata = options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref() == Some("1s");
        let connect = if metadata { CONNECT_METADATA } else { CONNECT };
        let client = client(connect)
            .map_err(|reason| object_store::Error::Generic { store: "HTTP", source: Box::from(reason) })?;
        Ok(HttpClient::new(Service(client)))
    }
}

/// A client that trusts the authorities of this machine.
pub(super) fn client(connect: Duration) -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    // Without any, endpoints without TLS can still be reached, and others fail with an error that says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .use_preconfigured_tls(tls)
        .timeout(REQUEST)
        .connect_timeout(connect)
        // A signature holds for one address only.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no HTTP client can be made: {error}"))
}

#[derive(Debug)]
struct Service(Client);

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => Body::from(bytes.clone()),
            None => Body::wrap(body),
        });
        let response = self.0.execute(request).await.map_err(failed)?;
        let response: hyper::Response<Body> = response.into();
        let (parts, body) = response.into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(failed))))
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        kind_of_cause(&error)
    };
    // object_store names the address itself where it holds nothing secret.
    HttpError::new(kind, error.without_url())
}

/// Decides what is tried again, so a connection that broke has to be told from a wrong answer.
fn kind_of_cause(error: &reqwest::Error) -> HttpErrorKind {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            } else if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::TimedOut => return HttpErrorKind::Timeout,
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return HttpErrorKind::Interrupted,
                _ => {}
            }
        }
        cause = error.source();
    }
    HttpErrorKind::Unknown
}
