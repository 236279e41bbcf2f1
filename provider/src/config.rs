//! The provider block: its schema, and how it becomes connection settings.

use std::time::Duration;

use lockgate_client::{AdminUser, Profile, SaslMechanism, SaslSettings, Secret, Settings, TlsSettings};
use tonic::async_trait;

use crate::cluster::LiveCluster;
use crate::session::{Connect, Connection, Timeouts};
use crate::tfplugin::{Attribute, AttributePath, Diagnostic, Diagnostics, Schema, Type, Value};

/// The attributes that together say which cluster it is. One unknown among them makes all of it unknown.
const CONNECTION: [&str; 4] = ["cluster", "bootstrap_servers", "tls", "sasl"];

/// How long one server may take, whatever the limit for reaching the cluster as a whole.
const ONE_SERVER: Duration = Duration::from_secs(10);

pub(crate) fn schema() -> Schema {
    let text = |name, description| Attribute::optional(name, Type::String, description);
    let tls = vec![
        text(
            "ca_pem",
            "The CA that signed the brokers' certificates, as PEM text (`LOCKGATE_TLS_CA_PEM`). It or `ca_file` is needed \
             with `tls`.",
        ),
        text("ca_file", "Path of a PEM file with that CA, instead of `ca_pem` (`LOCKGATE_TLS_CA_FILE`)."),
        text(
            "client_cert_pem",
            "Client certificate, as PEM text, for brokers that ask for one (`LOCKGATE_TLS_CLIENT_CERT_PEM`).",
        ),
        text(
            "client_cert_file",
            "Path of a PEM file with that certificate, instead of `client_cert_pem` (`LOCKGATE_TLS_CLIENT_CERT_FILE`).",
        ),
        text("client_key_pem", "Key of the client certificate, as PEM text (`LOCKGATE_TLS_CLIENT_KEY_PEM`).")
            .sensitive(),
        text(
            "client_key_file",
            "Path of a PEM file with that key, instead of `client_key_pem` (`LOCKGATE_TLS_CLIENT_KEY_FILE`).",
        ),
        text(
            "server_name",
            "The name that the brokers' certificates must carry, when it is not the host that is dialled \
             (`LOCKGATE_TLS_SERVER_NAME`). May stand beside `cluster`.",
        ),
    ];
    let sasl = vec![
        text(
            "mechanism",
            "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512` (`LOCKGATE_SASL_MECHANISM`). Default `SCRAM-SHA-512`.",
        ),
        text("username", "Name of the user that the provider logs in as (`LOCKGATE_SASL_USERNAME`)."),
        text("password", "Password of that user (`LOCKGATE_SASL_PASSWORD`).").sensitive(),
    ];
    let timeouts = vec![
        text(
            "connect",
            "How long one attempt to reach the cluster may take: a whole number with the unit `ms`, `s`, `m` or `h` \
             (`LOCKGATE_TIMEOUT_CONNECT`). Default `30s`.",
        ),
        text(
            "ready",
            "How long an apply waits for the cluster to be ready, as when the same apply makes it, \
             with the same units (`LOCKGATE_TIMEOUT_READY`). Default `10m`.",
        ),
    ];
    Schema::new(
        "Topics, ACLs and users of a Lockgate cluster, or of any Kafka cluster. Name the cluster by its URL, or by its servers \
         with `tls` and `sasl`. What the block leaves out comes from environment variables.",
        vec![
            text(
                "cluster",
                "The cluster's URL: `file://` and the absolute path of a broker's data folder on this machine, such as \
                 `file:///var/lib/lockgate` (`LOCKGATE_CLUSTER`). CA, addresses and the provider's credential are found \
                 there. Excludes `sasl`, and `tls` but for `server_name`.",
            ),
            Attribute::optional(
                "bootstrap_servers",
                Type::string_list(),
                "Servers to begin with, each as `host:port` (`LOCKGATE_BOOTSTRAP_SERVERS`, separated by commas). May stand \
                 beside `cluster`, to reach it through a tunnel.",
            ),
            Attribute::nested(
                "tls",
                tls,
                "TLS towards `bootstrap_servers`. Without it connections to them are plaintext.",
            ),
            Attribute::nested(
                "sasl",
                sasl,
                "Who the provider is, for `bootstrap_servers`. Without it no user logs in.",
            ),
            Attribute::nested("timeouts", timeouts, "How long things may take."),
        ],
    )
}

/// What a provider block comes to.
pub(crate) enum Configured {
    /// Something in it is known only after apply.
    Unknown,
    Known(Box<Settings>, Timeouts),
}

/// Checks what can be checked without the environment.
pub(crate) fn validate(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for key in ["connect", "ready"] {
        let found = config.attr("timeouts").attr(key).as_str();
        if let Some(problem) = found.and_then(|text| parse_duration(text).err()) {
            let path = AttributePath::root("timeouts").attribute(key);
            diagnostics.push(Diagnostic::error(format!("Invalid timeouts.{key}"), problem).at(path));
        }
    }
    if let Some(Err(problem)) = config.attr("sasl").attr("mechanism").as_str().map(str::parse::<SaslMechanism>) {
        let path = AttributePath::root("sasl").attribute("mechanism");
        diagnostics.push(Diagnostic::error("Invalid sasl.mechanism", format!("{problem}.")).at(path));
    }
    // The settings know which of them exclude each other.
    let block = block_settings(config);
    if let Err(error) = block.or(Settings::default()) {
        let path = AttributePath::root("cluster");
        diagnostics.push(Diagnostic::error("Conflicting settings in the provider block", error.to_string()).at(path));
    }
    diagnostics
}

/// Puts block and environment together.
pub(crate) fn configure(config: &Value, env: impl Fn(&str) -> Option<String>) -> Result<Configured, Diagnostic> {
    let refused = |sentence: String| Diagnostic::error("Invalid provider configuration", sentence);
    let timeouts = timeouts(config.attr("timeouts"), &env)?;
    // An unknown setting never falls back to the environment: that might be another cluster.
    if CONNECTION.iter().any(|name| !config.attr(name).is_wholly_known()) {
        return Ok(Configured::Unknown);
    }
    let from_env = Settings::from_env(env).map_err(|e| refused(e.to_string()))?;
    let settings = block_settings(config).or(from_env).map_err(|e| refused(e.to_string()))?;
    if settings.is_empty() {
        let sentence = "No cluster is named. Set cluster in the provider block (or LOCKGATE_CLUSTER), or bootstrap_servers \
                        (or LOCKGATE_BOOTSTRAP_SERVERS) with tls and sasl.";
        return Err(refused(sentence.to_owned()));
    }
    let settings = Settings {
        admin_user: AdminUser::Terraform,
        connect_timeout: Some(timeouts.connect.min(ONE_SERVER)),
        ..settings
    };
    Ok(Configured::Known(Box::new(settings), timeouts))
}

fn block_settings(config: &Value) -> Settings {
    let text = |value: &Value, name: &str| value.attr(name).as_str().map(str::to_owned);
    let (tls, sasl) = (config.attr("tls"), config.attr("sasl"));
    let servers = config.attr("bootstrap_servers").as_list();
    Settings {
        cluster: text(config, "cluster"),
        bootstrap_servers: servers.map(|list| list.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect()),
        tls: tls.as_map().map(|_| TlsSettings {
            ca_pem: text(tls, "ca_pem"),
            ca_file: text(tls, "ca_file").map(Into::into),
            client_cert_pem: text(tls, "client_cert_pem"),
            client_cert_file: text(tls, "client_cert_file").map(Into::into),
            client_key_pem: text(tls, "client_key_pem").map(Secret::from),
            client_key_file: text(tls, "client_key_file").map(Into::into),
            server_name: text(tls, "server_name"),
        }),
        sasl: sasl.as_map().map(|_| SaslSettings {
            mechanism: sasl.attr("mechanism").as_str().and_then(|text| text.parse().ok()),
            username: text(sasl, "username"),
            password: text(sasl, "password").map(Secret::from),
        }),
        ..Settings::default()
    }
}

fn timeouts(block: &Value, env: &impl Fn(&str) -> Option<String>) -> Result<Timeouts, Diagnostic> {
    let one = |key: &str, variable: &str, default: Duration| {
        let value = block.attr(key);
        let text = match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None if value.is_unknown() || block.is_unknown() => None,
            None => env(variable).filter(|text| !text.is_empty()),
        };
        text.map_or(Ok(default), |text| {
            parse_duration(&text).map_err(|problem| {
                let path = AttributePath::root("timeouts").attribute(key);
                Diagnostic::error(format!("Invalid timeouts.{key}"), problem).at(path)
            })
        })
    };
    let usual = Timeouts::default();
    Ok(Timeouts {
        connect: one("connect", "LOCKGATE_TIMEOUT_CONNECT", usual.connect)?,
        ready: one("ready", "LOCKGATE_TIMEOUT_READY", usual.ready)?,
    })
}

/// `500ms`, `30s`, `10m`, `1h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(millis)) {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(format!("{text:?} is not a time; write it as 500ms, 30s, 10m or 1h.")),
    }
}

/// Connects with settings that are complete.
pub(crate) struct Connector {
    pub(crate) settings: Settings,
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self) -> lockgate_client::Result<Connection> {
        let profile = Profile::from_settings(self.settings.clone()).await?;
        let admin = lockgate_client::Admin::connect(profile.clone()).await?;
        let cluster = admin.describe_cluster().await?;
        if let Some(promised) = profile.cluster_id().filter(|id| *id != cluster.cluster_id) {
            return Err(lockgate_client::Error::Settings(format!(
                "{} is the cluster {promised}, but the servers {} are the cluster {}. Check bootstrap_servers, or what is \
                 under the URL.",
                self.target(),
                profile.servers().join(", "),
                cluster.cluster_id
            )));
        }
        Ok(Connection {
            bootstrap_servers: profile.servers().to_vec(),
            ca_pem: profile.ca_pem().map(str::to_owned),
            admin: std::sync::Arc::new(LiveCluster::new(admin).await?),
            cluster,
        })
    }

    fn target(&self) -> String {
        let servers = || self.settings.bootstrap_servers.clone().unwrap_or_default().join(", ");
        self.settings.cluster.clone().unwrap_or_else(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_env(_: &str) -> Option<String> {
        None
    }

    fn known(config: &Value, env: impl Fn(&str) -> Option<String>) -> (Settings, Timeouts) {
        match configure(config, env).expect("a good block") {
            Configured::Known(settings, timeouts) => (*settings, timeouts),
            Configured::Unknown => panic!("nothing is unknown"),
        }
    }

    #[test]
    fn a_url_alone_is_enough_and_takes_terraforms_credential() {
        let block = Value::object([("cluster", Value::from("file:///data"))]);
        let (settings, timeouts) = known(&block, no_env);
        assert_eq!(settings.cluster.as_deref(), Some("file:///data"));
        assert_eq!(settings.admin_user, AdminUser::Terraform);
        assert_eq!(timeouts, Timeouts::default());
    }

    #[test]
    fn the_block_wins_over_the_environment_as_a_group() {
        let env = |name: &str| {
            let value = match name {
                "LOCKGATE_CLUSTER" => "file:///env",
                "LOCKGATE_TIMEOUT_READY" => "3m",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let servers = Value::List(vec![Value::from("b1:9092")]);
        let (settings, timeouts) = known(&Value::object([("bootstrap_servers", servers)]), env);
        assert_eq!((settings.cluster, timeouts.ready), (None, Duration::from_secs(180)));
        let (settings, _) = known(&Value::object::<String>([]), env);
        assert_eq!(settings.cluster.as_deref(), Some("file:///env"));
    }

    #[test]
    fn an_unknown_setting_never_falls_back_to_the_environment() {
        let env = |name: &str| (name == "LOCKGATE_CLUSTER").then(|| "file:///env".to_owned());
        let inside = Value::object([("ca_pem", Value::Unknown)]);
        for (name, value) in [("cluster", Value::Unknown), ("tls", inside)] {
            let block = Value::object([(name, value)]);
            assert!(matches!(configure(&block, env), Ok(Configured::Unknown)), "{name}");
        }
    }

    #[test]
    fn nothing_named_says_what_to_name() {
        let error = configure(&Value::object::<String>([]), no_env).err().expect("no cluster");
        assert!(error.detail.contains("LOCKGATE_CLUSTER"), "{}", error.detail);
    }

    #[test]
    fn a_url_beside_sasl_and_bad_values_are_found_at_validation() {
        let sasl = Value::object([("username", Value::from("u")), ("mechanism", Value::from("GSSAPI"))]);
        let timeouts = Value::object([("ready", Value::from("ten minutes"))]);
        let block = Value::object([("cluster", Value::from("file:///d")), ("sasl", sasl), ("timeouts", timeouts)]);
        let diagnostics = validate(&block);
        let paths: Vec<_> = diagnostics.iter().map(|d| d.path.clone().expect("a path").to_string()).collect();
        assert_eq!(paths, ["timeouts.ready", "sasl.mechanism", "cluster"]);
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "30", "s", "0s", "1.5m", "10 m", "99999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
