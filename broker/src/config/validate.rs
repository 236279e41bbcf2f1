//! Rules that types cannot express.

use std::net::{IpAddr, SocketAddr};

use tracing_subscriber::EnvFilter;

use super::load::Origin;
use super::{ClientCertificates, Config, Listener, SaslMechanism};
use crate::auth::mapping::MappingRules;
use crate::auth::token;
use crate::catalog::topic_config::{self, TOPIC_CONFIGS, TopicDefaults};
use crate::group::Assignor;
use crate::limits;

/// Every broken rule, as a sentence that begins with the place and the key.
pub(super) fn problems(config: &Config, origin: &Origin) -> Vec<String> {
    let mut found = Problems { origin, sentences: Vec::new() };
    general(config, &mut found);
    for (index, listener) in config.listeners.iter().enumerate() {
        protection(index, listener, &mut found);
        addresses(index, listener, &config.listeners[..index], &mut found);
    }
    oauthbearer(config, &mut found);
    http(config, &mut found);
    bounds(config, &mut found);
    topic_defaults(config, &mut found);
    found.sentences
}

struct Problems<'a> {
    origin: &'a Origin,
    sentences: Vec<String>,
}

impl Problems<'_> {
    fn unless(&mut self, holds: bool, key: &str, sentence: impl AsRef<str>) {
        if !holds {
            self.sentences.push(format!("{} {}", self.origin.of(key), sentence.as_ref()));
        }
    }
}

fn general(config: &Config, found: &mut Problems) {
    found.unless(!config.data.as_os_str().is_empty(), "data", "names no folder");
    found.unless(config.node_id >= 0, "node_id", "may not be negative");
    let partitions = 1..=limits::PARTITIONS_PER_TOPIC;
    let most = limits::PARTITIONS_PER_TOPIC;
    found.unless(partitions.contains(&config.default_partitions), "default_partitions", format!("is from 1 to {most}"));
    for user in &config.super_users {
        let named = user.strip_prefix("User:").is_some_and(|name| !name.is_empty() && name != "*");
        found.unless(named, "super_users", format!("holds {user:?}, which does not have the form User:name"));
    }
    found.unless(!config.listeners.is_empty(), "listeners", "is empty, so nobody could connect");
    let filter = EnvFilter::builder().parse(&config.log.level);
    if let Err(error) = filter {
        found.unless(false, "log.level", format!("is not a level or filter: {error}"));
    }
}

fn protection(index: usize, listener: &Listener, found: &mut Problems) {
    let key = |name: &str| format!("listeners.{index}.{name}");
    let name_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let named = !listener.name.is_empty() && listener.name.bytes().all(name_valid);
    found.unless(named, &key("name"), "consists of ASCII letters, digits, '-' and '_'");
    let (tls, sasl) = (listener.protocol.tls(), listener.protocol.sasl());
    found.unless(!sasl || !listener.mechanisms.is_empty(), &key("mechanisms"), "is empty, so nobody could log in");
    let repeated =
        (1..listener.mechanisms.len()).any(|at| listener.mechanisms[..at].contains(&listener.mechanisms[at]));
    found.unless(!repeated, &key("mechanisms"), "names a mechanism twice");
    let certificates = listener.client_certificates != ClientCertificates::None;
    found.unless(tls || !certificates, &key("client_certificates"), "needs a protocol with TLS: SASL_SSL or SSL");
    let authority = listener.client_ca_file.is_some();
    found.unless(
        !certificates || authority,
        &key("client_ca_file"),
        "is missing; client certificates need the authorities that sign them",
    );
    found.unless(
        certificates || !authority,
        &key("client_ca_file"),
        "has no effect unless client_certificates is \"optional\" or \"required\"",
    );
    if let Err(error) = MappingRules::parse(&listener.principal_mapping_rules) {
        found.unless(false, &key("principal_mapping_rules"), format!("cannot be used: {error}"));
    }
    let (certificate, private_key) = (listener.certificate_file.is_some(), listener.key_file.is_some());
    found.unless(!certificate || private_key, &key("key_file"), "is missing; certificate_file needs its private key");
    found.unless(certificate || !private_key, &key("certificate_file"), "is missing; key_file needs its certificate");
    found.unless(tls || !certificate, &key("certificate_file"), "needs a protocol with TLS: SASL_SSL or SSL");
}

fn oauthbearer(config: &Config, found: &mut Problems) {
    let settings = &config.oauthbearer;
    let offers =
        |listener: &Listener| listener.protocol.sasl() && listener.mechanisms.contains(&SaslMechanism::OauthBearer);
    if !config.listeners.iter().any(offers) {
        let unused = "has no effect unless a listener's mechanisms name OAUTHBEARER";
        return found.unless(settings.jwks.is_none(), "oauthbearer.jwks", unused);
    }
    let jwks = settings.jwks.as_deref().unwrap_or_default();
    found.unless(!jwks.is_empty(), "oauthbearer.jwks", "is missing; OAUTHBEARER needs the issuer's key set");
    if token::is_url(jwks) {
        let problem = token::url_problem(jwks);
        found.unless(problem.is_none(), "oauthbearer.jwks", problem.unwrap_or_default());
    } else {
        let unused = "has no effect unless jwks is an https:// URL";
        found.unless(settings.ca_file.is_none(), "oauthbearer.ca_file", unused);
    }
    let issuer = settings.issuer.as_ref().is_some_and(|issuer| !issuer.is_empty());
    found.unless(issuer, "oauthbearer.issuer", "is missing; without it any issuer with these keys would do");
    let audience = !settings.audiences.is_empty() && settings.audiences.iter().all(|audience| !audience.is_empty());
    let reason = "is empty or holds an empty name; tokens that were issued for other services would do";
    found.unless(audience, "oauthbearer.audiences", reason);
    let word = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    found.unless(settings.scopes.iter().all(word), "oauthbearer.scopes", "holds a scope that is not a single word");
    found.unless(!settings.principal_claim.is_empty(), "oauthbearer.principal_claim", "names no claim");
    found.unless(!settings.scope_claim.is_empty(), "oauthbearer.scope_claim", "names no claim");
    let most = limits::CLOCK_SKEW_SECONDS;
    found.unless(
        settings.clock_skew_seconds <= most,
        "oauthbearer.clock_skew_seconds",
        format!("is at most {most}: tokens would outlive their expiry by more"),
    );
    found.unless(settings.refresh_seconds > 0, "oauthbearer.refresh_seconds", "must be at least 1");
    found.unless(
        settings.keep_seconds >= settings.refresh_seconds,
        "oauthbearer.keep_seconds",
        "must be at least oauthbearer.refresh_seconds, or keys are too old before they are read again",
    );
}

fn addresses(index: usize, listener: &Listener, earlier: &[Listener], found: &mut Problems) {
    let key = |name: &str| format!("listeners.{index}.{name}");
    if let Some(advertised) = &listener.advertised {
        let problem = host_and_port(advertised).err();
        found.unless(problem.is_none(), &key("advertised"), problem.unwrap_or_default());
    } else {
        found.unless(
            !listener.bind.ip().is_unspecified(),
            &key("advertised"),
            format!("is missing; clients cannot be told to connect to {}", listener.bind.ip()),
        );
    }
    for (other_index, other) in earlier.iter().enumerate() {
        let taken = format!("is also the name of listener {other_index}");
        found.unless(listener.name != other.name, &key("name"), taken);
        let bound = format!("{} collides with listener `{}` on {}", listener.bind, other.name, other.bind);
        found.unless(!collide(listener.bind, other.bind), &key("bind"), bound);
    }
}

/// Whether binding both fails. Port 0 never collides: the system chooses.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    // A listener on [::] takes IPv4 as well.
    let takes_all = |address: IpAddr| address.is_unspecified() && (same_family || address.is_ipv6());
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || takes_all(one.ip()) || takes_all(other.ip()))
}

/// Splits `host:port`; an IPv6 address stands in brackets.
pub fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    let form = || format!("{text:?} does not have the form host:port");
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(form)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or_else(form)?;
            inner.parse::<std::net::Ipv6Addr>().map_err(|_| form())?;
            inner
        }
        None => host,
    };
    let bracketed = text.starts_with('[');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || host.len() > limits::HOST_NAME || (!bracketed && !host.bytes().all(plain)) {
        return Err(form());
    }
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(format!("{text:?} is not an address that clients can connect to"));
    }
    Ok((host, port))
}

fn http(config: &Config, found: &mut Problems) {
    let http = &config.http;
    if !http.enabled {
        return;
    }
    if !http.bind.ip().is_loopback() {
        found.unless(http.tls, "http.tls", format!("must be true, since {} is not loopback", http.bind));
        let token = http.token_file.is_some();
        found.unless(token, "http.token_file", format!("is missing, and needed since {} is not loopback", http.bind));
    }
    for listener in &config.listeners {
        let bound = format!("{} collides with listener `{}` on {}", http.bind, listener.name, listener.bind);
        found.unless(!collide(http.bind, listener.bind), "http.bind", bound);
    }
}

fn bounds(config: &Config, found: &mut Problems) {
    let limits = &config.limits;
    found.unless(limits.connections > 0, "limits.connections", "must be at least 1");
    found.unless(limits.connections_per_address > 0, "limits.connections_per_address", "must be at least 1");
    let least = limits::FRAME_BEFORE_AUTHENTICATION;
    let most = limits::REQUEST_BYTES_CEILING;
    let frame = (least..=most).contains(&limits.request_bytes);
    found.unless(frame, "limits.request_bytes", format!("is from {least} to {most}"));
    found.unless(
        limits.in_flight_bytes >= limits.request_bytes,
        "limits.in_flight_bytes",
        "must be at least limits.request_bytes, or the largest request never fits",
    );
    found.unless(limits.idle_seconds > 0, "limits.idle_seconds", "must be at least 1");
    found.unless(limits.stop_seconds > 0, "limits.stop_seconds", "must be at least 1");
    found.unless(config.maintenance_interval_ms > 0, "maintenance_interval_ms", "must be at least 1");
    let transactions = &config.transactions;
    found.unless(transactions.max_timeout_ms > 0, "transactions.max_timeout_ms", "must be at least 1");
    found.unless(transactions.id_expiration_ms > 0, "transactions.id_expiration_ms", "must be at least 1");
    let groups = &config.groups;
    found.unless(groups.max_size > 0, "groups.max_size", "must be at least 1");
    found.unless(
        groups.min_session_timeout_ms <= groups.max_session_timeout_ms,
        "groups.min_session_timeout_ms",
        "must not be above groups.max_session_timeout_ms",
    );
    found.unless(groups.offsets_retention_minutes > 0, "groups.offsets_retention_minutes", "must be at least 1");
    let interval = groups.offsets_retention_check_interval_ms;
    found.unless(interval > 0, "groups.offsets_retention_check_interval_ms", "must be at least 1");
    consumer_groups(config, found);
}

fn consumer_groups(config: &Config, found: &mut Problems) {
    let groups = &config.groups;
    found.unless(groups.consumer_max_size > 0, "groups.consumer_max_size", "must be at least 1");
    let interval = groups.consumer_heartbeat_interval_ms;
    found.unless(interval > 0, "groups.consumer_heartbeat_interval_ms", "must be at least 1");
    found.unless(
        interval < groups.consumer_session_timeout_ms,
        "groups.consumer_heartbeat_interval_ms",
        "must be below groups.consumer_session_timeout_ms, or no member lives long enough to send a heartbeat",
    );
    let refresh = groups.consumer_regex_refresh_interval_ms >= 10_000;
    found.unless(refresh, "groups.consumer_regex_refresh_interval_ms", "must be at least 10000");
    let assignors = &groups.consumer_assignors;
    found.unless(!assignors.is_empty(), "groups.consumer_assignors", "is empty, so nothing could be shared out");
    for name in assignors {
        let sentence = format!("holds {name:?}, which is not an assignor: there are \"uniform\" and \"range\"");
        found.unless(Assignor::parse(name).is_some(), "groups.consumer_assignors", sentence);
    }
}

fn topic_defaults(config: &Config, found: &mut Problems) {
    for (name, value) in &config.topic_defaults {
        let key = format!("topic_defaults.{name}");
        let nearest = TOPIC_CONFIGS.iter().min_by_key(|known| strsim::osa_distance(known.name, name));
        if topic_config::find(name).is_none() {
            let hint = nearest.map(|known| format!("; the nearest one is `{}`", known.name)).unwrap_or_default();
            found.unless(false, &key, format!("is not a topic config{hint}"));
        } else if let Err(message) = topic_config::validate(name, value) {
            found.unless(false, &key, format!("is refused: {message}"));
        }
    }
    let none = Default::default();
    let defaults = TopicDefaults { file: &config.topic_defaults, dynamic: &none };
    if let Err(message) = topic_config::validate_together(&none, &defaults) {
        found.unless(false, "topic_defaults", format!("is refused: {message}"));
    }
}
