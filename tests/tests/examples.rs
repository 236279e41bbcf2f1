//! Every example of the provider's documentation, applied with the real terraform to a real broker. An example that is added
//! is found by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclFilter, AclOperation, AclResourceType, QuotaAlteration, QuotaEntity};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options, free_ports};
use lockgate_tests::operator::{Operator, login_of};
use lockgate_tests::program::workspace;
use lockgate_tests::proxy::Proxy;
use lockgate_tests::requests::{commit, produce};
use lockgate_tests::terraform::{Said, Terraform};
use lockgate_tests::wire::{Connection, tls_config};

/// The name by which a broker with mutual TLS knows the provider.
const CERTIFICATE_NAME: &str = "terraform";

/// For every variable that an example declares.
const SECRET: &str = "correct horse battery staple";

/// The broker of all examples, and what else they name.
struct Scene {
    broker: Broker,
    operator: Operator,
    certificates: tempfile::TempDir,
    mtls_port: u16,
    tunnel: Proxy,
}

impl Scene {
    fn set() -> Result<Self> {
        let certificates = client_certificate()?;
        let [mtls_port, tunnel_port] = free_ports();
        let options = Options {
            top: vec![format!("super_users = [\"User:admin\", \"User:terraform\", \"User:CN={CERTIFICATE_NAME}\"]")],
            listener: vec![
                format!("[[listeners]]\nname = \"certificates\"\nbind = \"127.0.0.1:{mtls_port}\""),
                format!("advertised = \"localhost:{mtls_port}\"\nprotocol = \"SSL\""),
                "client_certificates = \"required\"".to_owned(),
                format!("client_ca_file = {:?}", certificates.path().join("ca.pem")),
            ],
            ..Options::default()
        };
        let broker = Broker::start(&options)?;
        let operator = Operator::of(&broker)?;
        let tunnel = Proxy::start(tunnel_port, broker.address(), std::time::Duration::from_secs(3600))?;
        Ok(Self { broker, operator, certificates, mtls_port, tunnel })
    }

    /// The example with this broker's places in it. Nothing else may be left of what stands for a place.
    fn here(&self, example: &Path) -> Result<String> {
        let text = std::fs::read_to_string(example)?;
        let path = |path: &Path| path.display().to_string();
        let certificate = |file: &str| path(&self.certificates.path().join(file));
        let text = [
            ("/var/lib/lockgate", path(self.broker.data())),
            ("broker-1.example:9093", self.broker.bootstrap()),
            ("broker-2.example:9093", self.broker.bootstrap()),
            ("broker-1.example:9094", format!("localhost:{}", self.mtls_port)),
            ("127.0.0.1:19093", self.tunnel.bootstrap().replace("localhost", "127.0.0.1")),
            ("broker-1.example", "localhost".to_owned()),
            ("/etc/kafka/ca.pem", path(&self.broker.ca_path())),
            ("/etc/kafka/terraform.pem", certificate("terraform.pem")),
            ("/etc/kafka/terraform.key", certificate("terraform.key")),
        ]
        .into_iter()
        .fold(text, |text, (place, here)| text.replace(place, &here));
        let code = text.lines().filter(|line| !line.starts_with('#'));
        for line in code {
            ensure!(!line.contains(".example") && !line.contains("/etc/"), "{}: {line}", example.display());
        }
        Ok(text)
    }

    /// A folder with the example, its variables, and the broker in the environment.
    fn stage(&self, example: &Path) -> Result<Terraform> {
        let text = self.here(example)?;
        let mut terraform =
            if text.contains("required_providers") { Terraform::complete(&text) } else { Terraform::new(&text) }?;
        terraform.set("LOCKGATE_CLUSTER", &format!("file://{}", self.broker.data().display()));
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("variable \"").and_then(|rest| rest.split('"').next()) {
                terraform.set(&format!("TF_VAR_{name}"), SECRET);
            }
        }
        Ok(terraform)
    }

    /// Applies an example as it stands; a second plan has nothing to do, and no secret is in the state.
    fn apply(&self, example: &Path) -> Result<Terraform> {
        let terraform = self.stage(example)?;
        terraform.apply()?;
        terraform.plans_nothing()?;
        ensure!(!terraform.state()?.contains(SECRET), "a secret is in the state");
        Ok(terraform)
    }

    /// What the examples of data sources look at: a topic, a user with a right, and a group that has read a part.
    fn populate(&self) -> Result<()> {
        self.operator.topic("orders", 1, &[])?;
        self.operator.user("billing", SECRET)?;
        self.operator.allow("billing", AclResourceType::Topic, "orders", &[AclOperation::Read])?;
        let (address, tls) = (self.broker.address(), tls_config(&self.broker.ca_path())?);
        let mut connection = Connection::login(address, tls, &login_of(&self.broker, "admin")?)?;
        produce(&mut connection, "orders", 0, Batch::of(["first", "second"]).encode().freeze())?;
        commit(&mut connection, "billing", "orders", 1)
    }

    /// Deletes all topics, ACLs, users and quotas that examples have made.
    fn clear(&self) -> Result<()> {
        let (operator, admin) = (&self.operator, self.operator.admin());
        let topics = operator.wait(admin.list_topics())?;
        let names: Vec<&str> = topics.iter().filter(|t| !t.internal).map(|t| t.name.as_str()).collect();
        for result in operator.wait(admin.delete_topics(&names))?.into_values() {
            result?;
        }
        for result in operator.wait(admin.delete_acls(&[AclFilter::default()]))? {
            result?;
        }
        let users = operator.wait(admin.describe_users(None))?;
        let own = ["admin", "terraform"];
        let mut deletions = Vec::new();
        for (name, credentials) in users.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            let credentials = credentials.as_ref().map_err(Clone::clone)?;
            deletions.extend(credentials.iter().map(|credential| (name.as_str(), credential.mechanism)));
        }
        for result in operator.wait(admin.alter_users(Vec::new(), &deletions))?.into_values() {
            result?;
        }
        let quotas = operator.wait(admin.list_quotas(&QuotaEntity::default(), false))?;
        let removals = quotas.into_iter().map(|quota| QuotaAlteration {
            entity: quota.entity,
            changes: quota.values.into_keys().map(|key| (key, None)).collect(),
        });
        for (_, result) in operator.wait(admin.alter_quotas(&removals.collect::<Vec<_>>(), false))? {
            result?;
        }
        Ok(())
    }
}

/// An authority and a client certificate of it, as files.
fn client_certificate() -> Result<tempfile::TempDir> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate()?;
    let certificate = authority.self_signed(&key)?;
    let issuer = rcgen::Issuer::from_params(&authority, &key);
    let mut client = rcgen::CertificateParams::new(Vec::new())?;
    client.distinguished_name = rcgen::DistinguishedName::new();
    client.distinguished_name.push(rcgen::DnType::CommonName, CERTIFICATE_NAME);
    let client_key = rcgen::KeyPair::generate()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("ca.pem"), certificate.pem())?;
    std::fs::write(folder.path().join("terraform.pem"), client.signed_by(&client_key, &issuer)?.pem())?;
    std::fs::write(folder.path().join("terraform.key"), client_key.serialize_pem())?;
    Ok(folder)
}

fn examples() -> PathBuf {
    workspace().join("provider/examples")
}

/// What is in a folder, by name.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A provider block, which is used to read the cluster.
fn provider(scene: &Scene, example: &Path) -> Result<()> {
    let mut terraform = scene.stage(example)?;
    let text = scene.here(example)?;
    let password = login_of(&scene.broker, "terraform")?.password;
    terraform.set("TF_VAR_kafka_password", &password);
    // What the block leaves out comes from what the comments export, and from nothing else.
    terraform.set("LOCKGATE_CLUSTER", "");
    for export in text.lines().filter_map(|line| line.strip_prefix("# export ")) {
        let (name, value) = export.split_once('=').context("an export has a value")?;
        terraform.set(name, if value == "..." { &password } else { value });
    }
    let id = "output \"id\" {\n  value = data.lockgate_cluster.this.id\n}\n";
    terraform.write("use.tf", &format!("data \"lockgate_cluster\" \"this\" {{}}\n\n{id}"))?;
    terraform.apply()?;
    let found = terraform.run(&["output", "-raw", "id"])?.succeeded()?.text;
    let cluster: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(scene.broker.data().join("public/cluster.json"))?)?;
    ensure!(Some(found.trim()) == cluster["cluster_id"].as_str(), "{found:?} is not the cluster {cluster}");
    ensure!(!terraform.state()?.contains(&password), "the password is in the state");
    Ok(())
}

/// The first example of a resource, and both ways to import what it has made.
fn resource(scene: &Scene, folder: &Path) -> Result<()> {
    let terraform = scene.apply(&folder.join("resource.tf"))?;
    let only_imports = |said: &Said| said.says("0 added,").and_then(|()| said.says("0 destroyed"));
    terraform.lose_state()?;
    terraform.write("import.sh", &scene.here(&folder.join("import.sh"))?)?;
    terraform.script("import.sh")?.succeeded()?;
    only_imports(&terraform.apply()?).context("import.sh")?;
    terraform.plans_nothing()?;
    terraform.lose_state()?;
    terraform.write("import.tf", &scene.here(&folder.join("import-by-string-id.tf"))?)?;
    let said = terraform.apply()?;
    only_imports(&said).and_then(|()| said.says("1 imported,")).context("import-by-string-id.tf")?;
    terraform.plans_nothing()
}

/// A further example of a resource. Some need something to be there before.
fn further(scene: &Scene, example: &Path) -> Result<()> {
    let first = example.with_file_name("resource.tf");
    let exists = |name: &str| -> Result<bool> {
        let topics = scene.operator.wait(scene.operator.admin().list_topics())?;
        Ok(topics.iter().any(|topic| topic.name == name))
    };
    match example.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "adopt.tf" => {
            let id = scene.operator.topic("payments", 2, &[("cleanup.policy", "compact")])?;
            let terraform = scene.apply(example)?;
            let state = terraform.state()?;
            ensure!(state.contains(&lockgate_client::admin::TopicId(id.into_bytes()).to_string()), "{state}");
        }
        "remove.tf" => {
            let terraform = scene.apply(&first)?;
            terraform.run(&["destroy", "-auto-approve"])?.refused(1, "has deletion_protection on")?;
            terraform.write("main.tf", &scene.here(example)?)?;
            terraform.apply()?.says("0 added, 1 changed, 0 destroyed")?;
            terraform.write("main.tf", "")?;
            terraform.apply()?.says("0 added, 0 changed, 1 destroyed")?;
            ensure!(!exists("orders")?, "the topic is still there");
        }
        "forget.tf" => {
            let terraform = scene.apply(&first)?;
            terraform.write("main.tf", &scene.here(example)?)?;
            terraform.apply()?.says("0 added, 0 changed, 0 destroyed")?;
            ensure!(terraform.resources()?.is_empty() && exists("orders")?, "the topic is gone, or still managed");
        }
        _ => drop(scene.apply(example)?),
    }
    Ok(())
}

#[test]
fn every_example_applies_as_it_stands() -> Result<()> {
    let scene = Scene::set()?;
    for example in listed(&examples().join("provider"))? {
        provider(&scene, &example).with_context(|| example.display().to_string())?;
    }
    for folder in listed(&examples().join("resources"))? {
        resource(&scene, &folder).with_context(|| folder.display().to_string())?;
        scene.clear()?;
        for example in listed(&folder)? {
            let name = example.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.ends_with(".tf") || ["resource.tf", "import-by-string-id.tf"].contains(&name) {
                continue;
            }
            further(&scene, &example).with_context(|| example.display().to_string())?;
            scene.clear()?;
        }
    }
    for kind in ["data-sources", "functions"].map(|kind| examples().join(kind)) {
        for folder in if kind.is_dir() { listed(&kind)? } else { Vec::new() } {
            for example in listed(&folder)? {
                scene.populate()?;
                scene.apply(&example).with_context(|| example.display().to_string())?;
                scene.clear()?;
            }
        }
    }
    Ok(())
}

/// What terraform itself sees of the provider has pages and examples: resources, data sources and functions alike.
#[test]
fn whatever_terraform_sees_has_a_page_and_an_example() -> Result<()> {
    let terraform = Terraform::new("")?;
    let said = terraform.run(&["providers", "schema", "-json"])?.succeeded()?;
    let json = &said.text[said.text.find('{').context("no JSON")?..];
    let schemas: serde_json::Value = serde_json::from_str(json.lines().next().context("no JSON")?)?;
    let schemas = &schemas["provider_schemas"]["registry.terraform.io/lockgate/lockgate"];
    let mut seen = 0;
    for (key, folder, first) in [
        ("resource_schemas", "resources", "resource.tf"),
        ("data_source_schemas", "data-sources", "data-source.tf"),
        ("functions", "functions", "function.tf"),
    ] {
        for name in schemas[key].as_object().into_iter().flatten().map(|(name, _)| name) {
            let example = examples().join(folder).join(name).join(first);
            ensure!(example.is_file(), "{} is missing", example.display());
            let page = name.strip_prefix("lockgate_").unwrap_or(name);
            let page = workspace().join("provider/docs").join(folder).join(page).with_extension("md");
            ensure!(page.is_file(), "{} is missing", page.display());
            seen += 1;
        }
    }
    ensure!(seen >= 14, "terraform sees only {seen} things: {schemas}");
    Ok(())
}
