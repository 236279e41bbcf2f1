use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicUsize;

use tempfile::TempDir;

use super::*;
use crate::catalog::memory_log::MemoryLog;
use crate::clock::ManualClock;

/// In 2026, so that certificates are in their life.
const NOW_MS: i64 = 1_790_000_000_000;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(NOW_MS))
}

fn start(folder: &TempDir) -> Trust {
    ensure(folder.path(), &[], clock()).expect("the folder can be used")
}

/// Every file with its content, below `folder`.
fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for part in ["public", "admin", "private"] {
        for entry in fs::read_dir(folder.join(part)).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            found.insert(path.clone(), fs::read_to_string(path).expect("text"));
        }
    }
    found
}

fn mode(folder: &TempDir, name: &str) -> u32 {
    fs::metadata(folder.path().join(name)).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_first_start_makes_the_layout_and_the_next_one_keeps_it() {
    let folder = TempDir::new().expect("a folder");
    let first = start(&folder);
    assert!(first.created());
    first.publish_bootstrap(&["localhost:9093".to_owned()]).expect("written");
    let before = contents(folder.path());
    let second = start(&folder);
    assert!(!second.created());
    assert_eq!(second.cluster_id(), first.cluster_id());
    assert_eq!(second.authority_certificate(), first.authority_certificate());
    second.publish_bootstrap(&["localhost:9093".to_owned()]).expect("written");
    assert_eq!(contents(folder.path()), before);
    assert_eq!(before.len(), 6, "{:?}", before.keys());
}

#[test]
fn secrets_are_for_their_owner_only() {
    let folder = TempDir::new().expect("a folder");
    start(&folder).publish_bootstrap(&[]).expect("written");
    for secret in ["private/ca.pem", "admin/admin.json", "admin/terraform.json", "admin/client.properties"] {
        assert_eq!(mode(&folder, secret), 0o600, "{secret}");
    }
    for secret in ["private", "admin"] {
        assert_eq!(mode(&folder, secret), 0o700, "{secret}");
    }
    for public in ["public/cluster.json", "public/ca.pem"] {
        assert_eq!(mode(&folder, public), 0o644, "{public}");
    }
    let public: String = fs::read_to_string(folder.path().join("public/ca.pem")).expect("text");
    assert!(!public.contains("PRIVATE KEY"));
}

#[test]
fn an_interrupted_first_start_goes_on_from_every_step() {
    let mut steps = 0;
    loop {
        let folder = TempDir::new().expect("a folder");
        let mut files = Files::new(folder.path());
        files.steps_left = Some(AtomicUsize::new(steps));
        let interrupted = ensure_in(files, &[], clock())
            .and_then(|trust| trust.publish_bootstrap(&["localhost:1".to_owned()]).map(|()| trust));
        let before = contents(folder.path());
        let trust = start(&folder);
        assert_eq!(trust.created(), !before.contains_key(&trust.client_properties()), "after {steps} steps");
        trust.publish_bootstrap(&["localhost:2".to_owned()]).expect("written");
        let after = contents(folder.path());
        assert_eq!(after.len(), 6, "after {steps} steps: {:?}", after.keys());
        // What was complete stays: somebody may have read it already.
        for (path, text) in before.iter().filter(|(path, _)| !path.to_string_lossy().ends_with(".tmp")) {
            let rewritten = path.ends_with("cluster.json") || path.ends_with("client.properties");
            assert!(rewritten || after.get(path) == Some(text), "after {steps} steps: {}", path.display());
        }
        if let Some(text) = before.get(&folder.path().join("public/cluster.json")) {
            assert!(text.contains(trust.cluster_id()), "after {steps} steps");
        }
        if interrupted.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "only {steps} steps were interrupted");
}

#[test]
fn two_brokers_that_start_at_once_agree() {
    let folder = TempDir::new().expect("a folder");
    for part in ["public", "admin", "private"] {
        fs::create_dir_all(folder.path().join(part)).expect("made");
    }
    let (one, two) = (Files::new(folder.path()), Files::new(folder.path()));
    let first = one.create(AUTHORITY, Access::Secret, "first").expect("created");
    let second = two.create(AUTHORITY, Access::Secret, "second").expect("created");
    assert_eq!((first.as_str(), second.as_str()), ("first", "first"));
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn damage_is_named_and_never_replaced() {
    for (name, text) in
        [("private/ca.pem", "garbage"), ("public/cluster.json", "{"), ("admin/admin.json", "{\"username\": 1}")]
    {
        let folder = TempDir::new().expect("a folder");
        start(&folder);
        fs::write(folder.path().join(name), text).expect("written");
        let error = ensure(folder.path(), &[], clock()).map(|_| ()).expect_err("damage must stop the start");
        assert!(matches!(&error, TrustError::Damaged { path, .. } if path.ends_with(name)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(name)).expect("text"), text);
    }
}

#[test]
fn a_bundle_with_two_authorities_stays_and_a_foreign_one_is_replaced() {
    let folder = TempDir::new().expect("a folder");
    let trust = start(&folder);
    let path = folder.path().join(CA_BUNDLE);
    let other = Authority::read(&Authority::generate("other", NOW_MS).expect("made")).expect("readable");
    let both = format!("{}{}", pem_of(other.certificate()), pem_of(trust.authority_certificate()));
    fs::write(&path, &both).expect("written");
    start(&folder);
    assert_eq!(fs::read_to_string(&path).expect("text"), both);
    fs::write(&path, pem_of(other.certificate())).expect("written");
    start(&folder);
    assert_eq!(fs::read_to_string(&path).expect("text"), pem_of(trust.authority_certificate()));
}

#[test]
fn bootstrap_addresses_reach_clients_in_both_files() {
    let folder = TempDir::new().expect("a folder");
    let trust = start(&folder);
    trust.publish_bootstrap(&["broker:9093".to_owned(), "other:9094".to_owned()]).expect("written");
    let cluster: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join(CLUSTER)).expect("text")).expect("JSON");
    assert_eq!(cluster["bootstrap_servers"], serde_json::json!(["broker:9093", "other:9094"]));
    assert_eq!(cluster["cluster_id"].as_str().map(str::len), Some(22));
    let admin: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("admin/admin.json")).expect("text")).expect("JSON");
    assert_eq!((&admin["username"], &admin["mechanism"]), (&"admin".into(), &"SCRAM-SHA-512".into()));
    assert!(admin["next"].is_null());
    let password = admin["current"]["password"].as_str().expect("a password");
    assert_eq!(password.len(), PASSWORD_CHARACTERS);
    let properties = fs::read_to_string(trust.client_properties()).expect("text");
    for line in [
        "bootstrap.servers=broker:9093,other:9094",
        "security.protocol=SASL_SSL",
        "sasl.mechanism=SCRAM-SHA-512",
        "sasl.username=admin",
        &format!("sasl.password={password}"),
        &format!("ssl.ca.location={}", folder.path().join(CA_BUNDLE).display()),
    ] {
        assert!(properties.lines().any(|found| found == line), "{line}");
    }
}

#[tokio::test]
async fn first_users_are_installed_once_and_changed_passwords_stay() {
    let folder = TempDir::new().expect("a folder");
    let trust = start(&folder);
    let catalog = Catalog::load(Box::new(MemoryLog::default())).await.expect("an empty log");
    trust.install_users(&catalog).await.expect("installed");
    let users = catalog.image().users.clone();
    assert_eq!(users.keys().collect::<Vec<_>>(), ["admin", "terraform"]);
    for (user, credentials) in users.iter() {
        assert_eq!(credentials.len(), 2, "{user} has both mechanisms");
    }
    let admin = &trust.first_users[0];
    let stored = &users["admin"][&ScramMechanism::Sha256];
    let salted =
        ScramMechanism::Sha256.salted_password(admin.current.password.as_bytes(), &stored.salt, stored.iterations);
    let derived = ScramCredential::from_salted(ScramMechanism::Sha256, &salted, stored.salt.clone(), stored.iterations);
    assert_eq!(*stored, derived);

    let version = catalog.image().version;
    trust.install_users(&catalog).await.expect("nothing to do");
    assert_eq!(catalog.image().version, version);
}

#[test]
fn names_that_no_certificate_can_carry_are_left_out() {
    let names =
        certificate_names(&["[::1]", "0.0.0.0", "broker-1.example.com", "bad name", "", "10.1.2.3"].map(str::to_owned));
    for name in ["localhost", "127.0.0.1", "::1", "broker-1.example.com", "10.1.2.3"] {
        assert!(names.contains(name), "{name}");
    }
    for name in ["0.0.0.0", "bad name", "", "[::1]"] {
        assert!(!names.contains(name), "{name}");
    }
}

#[test]
fn a_cluster_id_can_stand_on_a_command_line() {
    let ids: Vec<_> = std::iter::repeat_with(new_cluster_id).take(1000).collect();
    assert!(ids.iter().all(|id| id.len() == 22 && !id.starts_with('-')), "{ids:?}");
}
