//! The ways to a cluster: its URL, explicit servers with a password or a certificate, and a tunnel.

use std::time::Duration;

use anyhow::{Result, bail};
use lockgate_tests::authority::Authority;
use lockgate_tests::broker::{Broker, Options, free_ports};
use lockgate_tests::operator::admin_login;
use lockgate_tests::proxy::Proxy;

/// How the provider block names the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `cluster = "file://…"`: everything else is found there.
    Cluster,
    /// Servers, a CA and a password.
    Password,
    /// Servers, a CA and a client certificate.
    Certificate,
    /// The cluster's URL and one address that is not the one the broker advertises.
    Tunnel,
}

/// A broker, and what keeps the way to it open.
pub(crate) struct Way {
    pub(crate) broker: Broker,
    /// The provider block.
    pub(crate) block: String,
    _tunnel: Option<Proxy>,
    _authority: Option<Authority>,
}

impl Access {
    pub(crate) const ALL: [Access; 4] = [Access::Cluster, Access::Password, Access::Certificate, Access::Tunnel];

    /// The way that this run of the tests takes: `LOCKGATE_ACCESS`, or the cluster's URL.
    pub(crate) fn of_this_run() -> Result<Self> {
        let named = std::env::var("LOCKGATE_ACCESS").unwrap_or_else(|_| "cluster".to_owned());
        match Self::ALL.into_iter().find(|access| format!("{access:?}").eq_ignore_ascii_case(&named)) {
            Some(access) => Ok(access),
            None => bail!("LOCKGATE_ACCESS={named} is none of {:?}", Self::ALL),
        }
    }

    pub(crate) fn open(self) -> Result<Way> {
        match self {
            Access::Cluster => Way::plain(Options::default(), |broker| Ok(url(broker))),
            Access::Password => Way::plain(Options::default(), |broker| {
                let admin = admin_login(broker)?;
                let sasl = format!(
                    "mechanism = \"SCRAM-SHA-512\"\n    username  = {:?}\n    password  = {:?}",
                    admin.user, admin.password
                );
                Ok(servers(broker, "", &format!("  sasl = {{\n    {sasl}\n  }}\n")))
            }),
            Access::Certificate => certificate(),
            Access::Tunnel => tunnel(),
        }
    }
}

impl Way {
    fn plain(options: Options, block: impl FnOnce(&Broker) -> Result<String>) -> Result<Self> {
        let broker = Broker::start(&options)?;
        let block = provider(&block(&broker)?);
        Ok(Self { broker, block, _tunnel: None, _authority: None })
    }
}

fn provider(settings: &str) -> String {
    format!("provider \"lockgate\" {{\n{settings}}}\n")
}

fn url(broker: &Broker) -> String {
    format!("  cluster = \"file://{}\"\n", broker.data().display())
}

/// Explicit servers, with more lines in `tls` and behind it.
fn servers(broker: &Broker, tls: &str, more: &str) -> String {
    let (server, ca) = (broker.bootstrap(), broker.ca_path());
    format!("  bootstrap_servers = [{server:?}]\n  tls = {{\n    ca_file = {ca:?}\n{tls}  }}\n{more}")
}

/// Who has a certificate of this authority is who it says, and the one that terraform gets is a super user.
fn certificate() -> Result<Way> {
    let authority = Authority::new()?;
    let client = authority.client("pipeline")?;
    let (certificate_path, key_path) = (authority.folder().join("client.pem"), authority.folder().join("client.key"));
    std::fs::write(&certificate_path, client.certificate.pem())?;
    std::fs::write(&key_path, client.key.serialize_pem())?;

    let [port] = free_ports();
    let listener = format!(
        "\n[[listeners]]\nname = \"mutual\"\nbind = \"127.0.0.1:{port}\"\nadvertised = \"localhost:{port}\"\n\
         protocol = \"SSL\"\nclient_certificates = \"required\"\nclient_ca_file = {:?}\n\
         principal_mapping_rules = [\"RULE:^CN=([^,]*)$/$1/\"]",
        authority.certificate_path()
    );
    let options = Options {
        top: vec!["super_users = [\"User:admin\", \"User:terraform\", \"User:pipeline\"]".to_owned()],
        listener: vec![listener],
        ..Options::default()
    };
    let way = Way::plain(options, |broker| {
        let tls = format!("    client_cert_file = {certificate_path:?}\n    client_key_file  = {key_path:?}\n");
        let own = servers(broker, &tls, "");
        Ok(own.replace(&broker.bootstrap(), &format!("localhost:{port}")))
    })?;
    Ok(Way { _authority: Some(authority), ..way })
}

/// What the broker advertises is not there; one port of this machine leads to it.
fn tunnel() -> Result<Way> {
    let [nowhere, port] = free_ports();
    let broker = Broker::start(&Options { cut_advertised: Some(nowhere), ..Options::default() })?;
    let tunnel = Proxy::start(port, broker.cut_address(), Duration::from_secs(3600))?;
    let settings = format!(
        "{}  bootstrap_servers = [\"127.0.0.1:{port}\"]\n  tls = {{\n    server_name = \"localhost\"\n  }}\n",
        url(&broker)
    );
    Ok(Way { broker, block: provider(&settings), _tunnel: Some(tunnel), _authority: None })
}
