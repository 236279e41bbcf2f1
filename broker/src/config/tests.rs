use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::*;

/// Loads a file with this content; the file's path in messages becomes `FILE`.
fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("the file is written");
    let path = file.path().display().to_string();
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load(Some(file.path()), env)
        .map_err(|error| error.problems.into_iter().map(|problem| problem.replace(&path, "FILE")).collect())
}

/// The only problem of a file.
fn problem(text: &str) -> String {
    let problems = load_text(text, &[]).expect_err("the configuration was accepted");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].clone()
}

#[test]
fn nothing_is_a_valid_configuration() {
    assert_eq!(load(None, []).expect("defaults are valid"), Config::default());
    assert_eq!(load_text("", &[]), Ok(Config::default()));
}

#[test]
fn the_example_in_docs_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lockgate.toml");
    let config = load(Some(&path), []).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.listeners[0].advertised.as_deref(), Some("broker.example.com:9093"));
}

/// The indented blocks of docs/security.md that are settings: alone each of them is a valid file.
#[test]
fn the_examples_in_the_page_on_security_load() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = std::fs::read_to_string(path).expect("docs/security.md exists");
    let mut blocks = vec![String::new()];
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some(setting) => *blocks.last_mut().expect("one") += &format!("{setting}\n"),
            None if line.is_empty() => blocks.last_mut().expect("one").push('\n'),
            None => blocks.push(String::new()),
        }
    }
    let settings: Vec<_> = blocks.iter().filter(|block| block.contains("[[") || block.contains(" = ")).collect();
    assert_eq!(settings.len(), 4, "certificates, certificates with SASL, tokens, authenticating again");
    for block in settings {
        load_text(block, &[]).unwrap_or_else(|problems| panic!("{problems:?} in\n{block}"));
    }
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let error = load(Some(Path::new("/no/such.toml")), []).expect_err("there is no file");
    assert!(error.to_string().starts_with("/no/such.toml: cannot be read"), "{error}");
    assert!(problem("node_id = 1\nnode_id =").starts_with("FILE line 2: is not TOML"));
}

#[test]
fn unknown_keys_name_the_nearest() {
    assert_eq!(
        problem("[limits]\nconections = 5"),
        "FILE: `limits.conections` is not a setting; the nearest one is `limits.connections`"
    );
    assert_eq!(
        problem("[[listeners]]\nname = 'a'\n[[listeners]]\nbnd = '127.0.0.1:1'"),
        "FILE: `listeners.1.bnd` is not a setting; the nearest one is `listeners.bind`".replace(".bind", ".1.bind")
    );
    assert_eq!(
        problem("[topic_defaults]\n'retention.s' = '1'"),
        "FILE: `topic_defaults.retention.s` is not a topic config; the nearest one is `retention.ms`"
    );
}

#[test]
fn wrong_types_name_their_key() {
    assert!(problem("node_id = 'one'").starts_with("FILE: `node_id`: invalid type"));
    assert!(problem("[[listeners]]\nprotocol = 'TLS'").starts_with("FILE: `listeners.0.protocol`: unknown variant"));
    assert!(problem("[limits]\nconnections = -1").starts_with("FILE: `limits.connections`: invalid value"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = load_text(
        "data = '/file'\n[[listeners]]\nname = 'one'\n",
        &[
            ("LOCKGATE_DATA", "/env"),
            ("LOCKGATE_LIMITS__CONNECTIONS", "7"),
            ("LOCKGATE_HTTP__ENABLED", "false"),
            ("LOCKGATE_LISTENERS__0__BIND", "127.0.0.1:1"),
            ("LOCKGATE_LISTENERS__1__NAME", "two"),
            ("LOCKGATE_LISTENERS__1__BIND", "127.0.0.1:2"),
            ("LOCKGATE_LISTENERS__1__MECHANISMS", "SCRAM-SHA-512, PLAIN"),
            ("LOCKGATE_TOPIC_DEFAULTS__RETENTION_MS", "5"),
            ("LOCKGATE_CLUSTER", "not a setting, but the command line's"),
            ("PATH", "/bin"),
        ],
    );
    let config = config.expect("valid");
    assert_eq!(config.data, Path::new("/env"));
    assert_eq!(config.limits.connections, 7);
    assert!(!config.http.enabled);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!((config.listeners[0].name.as_str(), config.listeners[0].bind.port()), ("one", 1));
    assert_eq!(config.listeners[1].mechanisms, [SaslMechanism::ScramSha512, SaslMechanism::Plain]);
    assert_eq!(config.topic_defaults["retention.ms"], "5");
}

#[test]
fn wrong_variables_are_named() {
    for (variable, value, sentence) in [
        ("LOCKGATE_NODE_ID", "x", "environment variable LOCKGATE_NODE_ID: `node_id` wants a whole number, not \"x\""),
        (
            "LOCKGATE_LIMITS__CONECTIONS",
            "1",
            "environment variable LOCKGATE_LIMITS__CONECTIONS: `limits.conections` is not a setting; the nearest one is \
             `limits.connections`",
        ),
        (
            "LOCKGATE_LISTENERS__3__NAME",
            "a",
            "environment variable LOCKGATE_LISTENERS__3__NAME: `listeners.3` does not exist; the next index is 0",
        ),
        ("LOCKGATE_NODE_ID", "-1", "environment variable LOCKGATE_NODE_ID: `node_id` may not be negative"),
    ] {
        assert_eq!(load_text("", &[(variable, value)]), Err(vec![sentence.to_owned()]));
    }
}

#[test]
fn plain_without_tls_has_to_be_named() {
    let plaintext = "[[listeners]]\nprotocol = 'SASL_PLAINTEXT'\n";
    let config = load_text(plaintext, &[]).expect("valid");
    assert_eq!(config.listeners[0].mechanisms, [SaslMechanism::ScramSha512, SaslMechanism::ScramSha256]);
    let config = load_text(&format!("{plaintext}mechanisms = ['PLAIN']"), &[]).expect("valid");
    assert_eq!(config.listeners[0].mechanisms, [SaslMechanism::Plain]);
}

#[test]
fn every_rule_is_one_sentence() {
    for (text, sentence) in [
        ("listeners = []", "`listeners` is empty, so nobody could connect"),
        ("super_users = ['admin']", "`super_users` holds \"admin\", which does not have the form User:name"),
        ("default_partitions = 0", "`default_partitions` is from 1 to 10000"),
        ("[[listeners]]\nmechanisms = []", "`listeners.0.mechanisms` is empty, so nobody could log in"),
        ("[[listeners]]\nname = 'a b'", "`listeners.0.name` consists of ASCII letters, digits, '-' and '_'"),
        ("[[listeners]]\n[[listeners]]\nbind = '127.0.0.1:1'", "`listeners.1.name` is also the name of listener 0"),
        (
            "[[listeners]]\n[[listeners]]\nname = 'b'\nbind = '0.0.0.0:9093'\nadvertised = 'h:1'",
            "`listeners.1.bind` 0.0.0.0:9093 collides with listener `clients` on 127.0.0.1:9093",
        ),
        (
            "[[listeners]]\nclient_certificates = 'required'",
            "`listeners.0.client_ca_file` is missing; client certificates need the authorities that sign them",
        ),
        (
            "[[listeners]]\nprotocol = 'PLAINTEXT'\nclient_certificates = 'optional'\nclient_ca_file = 'x'",
            "`listeners.0.client_certificates` needs a protocol with TLS: SASL_SSL or SSL",
        ),
        (
            "[[listeners]]\ncertificate_file = 'x'",
            "`listeners.0.key_file` is missing; certificate_file needs its private key",
        ),
        ("[[listeners]]\nkey_file = 'x'", "`listeners.0.certificate_file` is missing; key_file needs its certificate"),
        (
            "[[listeners]]\nbind = '0.0.0.0:9093'",
            "`listeners.0.advertised` is missing; clients cannot be told to connect to 0.0.0.0",
        ),
        ("[[listeners]]\nadvertised = 'host'", "`listeners.0.advertised` \"host\" does not have the form host:port"),
        (
            "[[listeners]]\nprincipal_mapping_rules = ['CN']",
            "`listeners.0.principal_mapping_rules` cannot be used: the rule `CN` is neither DEFAULT nor \
             RULE:pattern/replacement/ with L or U after it",
        ),
        ("[http]\nbind = '10.0.0.1:1'\ntoken_file = 'x'", "`http.tls` must be true, since 10.0.0.1:1 is not loopback"),
        (
            "[http]\nbind = '10.0.0.1:1'\ntls = true",
            "`http.token_file` is missing, and needed since 10.0.0.1:1 is not loopback",
        ),
        (
            "[http]\nbind = '127.0.0.1:9093'",
            "`http.bind` 127.0.0.1:9093 collides with listener `clients` on 127.0.0.1:9093",
        ),
        ("[limits]\nrequest_bytes = 1", "`limits.request_bytes` is from 65536 to 1073741824"),
        ("[limits]\nidle_seconds = 0", "`limits.idle_seconds` must be at least 1"),
        (
            "[topic_defaults]\n'retention.ms' = '-5'",
            "`topic_defaults.retention.ms` is refused: Invalid value -5 for configuration retention.ms: Value must be at \
             least -1",
        ),
    ] {
        assert_eq!(problem(text), format!("FILE: {sentence}"));
    }
    oauthbearer_rules();
    assert!(problem("[log]\nlevel = 'lockgate=loud'").starts_with("FILE: `log.level` is not a level or filter"));
}

fn oauthbearer_rules() {
    assert_eq!(
        problem("[oauthbearer]\njwks = 'keys.json'"),
        "FILE: `oauthbearer.jwks` has no effect unless a listener's mechanisms name OAUTHBEARER"
    );
    let good = [("jwks", "'https://issuer/keys'"), ("issuer", "'https://issuer'"), ("audiences", "['lockgate']")];
    let text = |key: &str, value: &str| {
        let mut text = "[[listeners]]\nmechanisms = ['OAUTHBEARER']\n[oauthbearer]\n".to_owned();
        for (known, default) in good.iter().filter(|(known, _)| *known != key) {
            text += &format!("{known} = {default}\n");
        }
        if !value.is_empty() {
            text += &format!("{key} = {value}\n");
        }
        text
    };
    let config = load_text(&text("scopes", "['kafka']"), &[]).expect("valid");
    assert_eq!(config.oauthbearer.principal_claim, "sub");
    for (key, value, sentence) in [
        ("jwks", "", "is missing; OAUTHBEARER needs the issuer's key set"),
        (
            "jwks",
            "'http://issuer/keys'",
            "must begin with https://, since issuer is not loopback: keys would come unprotected",
        ),
        ("jwks", "'https://u:p@issuer/'", "holds a user name or password, which would show in logs"),
        ("issuer", "", "is missing; without it any issuer with these keys would do"),
        ("audiences", "[]", "is empty or holds an empty name; tokens that were issued for other services would do"),
        ("scopes", "['a b']", "holds a scope that is not a single word"),
        ("principal_claim", "''", "names no claim"),
        ("scope_claim", "''", "names no claim"),
        ("clock_skew_seconds", "301", "is at most 300: tokens would outlive their expiry by more"),
        ("refresh_seconds", "0", "must be at least 1"),
        (
            "keep_seconds",
            "1",
            "must be at least oauthbearer.refresh_seconds, or keys are too old before they are read again",
        ),
        ("algorithms", "['none']", "is not a setting; the nearest one is `oauthbearer.audiences`"),
    ] {
        let problem = problem(&text(key, value));
        assert!(problem.starts_with(&format!("FILE: `oauthbearer.{key}` {}", &sentence[..14])), "{problem}");
        assert!(key == "algorithms" || problem.ends_with(sentence), "{problem}");
    }
    assert_eq!(
        problem(&text("jwks", "'keys.json'\nca_file = 'ca.pem'")),
        "FILE: `oauthbearer.ca_file` has no effect unless jwks is an https:// URL"
    );
}

#[test]
fn several_problems_are_told_together() {
    let problems = load_text("node_id = -1\nlisteners = []", &[]).expect_err("two rules are broken");
    assert_eq!(problems.len(), 2);
}

#[test]
fn advertised_addresses() {
    assert_eq!(host_and_port("broker-1.example.com:9093"), Ok(("broker-1.example.com", 9093)));
    assert_eq!(host_and_port("[2001:db8::1]:9093"), Ok(("2001:db8::1", 9093)));
    for bad in
        ["", ":1", "host:", "host:0", "host:70000", "2001:db8::1:9093", "[host]:1", "a b:1", "0.0.0.0:1", "[::]:1"]
    {
        assert!(host_and_port(bad).is_err(), "{bad:?} was accepted");
    }
}
