//! The provider with very many resources, timed beside as many `terraform_data` in the same run: those cost what terraform
//! itself costs. Requests are counted by the broker, memory is read from `/proc`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::broker::{Broker, Options};
use crate::state_server::StateServer;
use crate::terraform::Terraform;

/// Longest of one terraform command, with tens of thousands of resources on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Topics whose configs the provider asks for in one request.
const PAGE: usize = 1_000;
/// Topics that a broker keeps for itself.
const INTERNAL: usize = 2;
/// Requests in which the cluster is asked whether it would take a topic of the one kind that is made here.
const QUESTIONS: u64 = 8;
/// Most that the provider may have resident (bytes).
const RESIDENT: u64 = 300 << 20;

/// What one terraform command took, with the provider and without.
#[derive(Debug)]
pub struct Phase {
    pub name: &'static str,
    pub floor_seconds: f64,
    pub seconds: f64,
    /// Greatest of the provider.
    pub resident_bytes: u64,
    /// Of the broker during the command (s).
    pub broker_cpu_seconds: f64,
    /// What the broker answered during the command, by API.
    pub requests: BTreeMap<String, u64>,
}

impl Phase {
    pub fn ratio(&self) -> f64 {
        self.seconds / self.floor_seconds
    }
}

const PHASES: [(&str, &[&str]); 3] = [
    ("apply", &["apply", "-auto-approve"]),
    ("refresh", &["plan", "-refresh-only", "-detailed-exitcode"]),
    ("plan", &["plan", "-detailed-exitcode"]),
];

/// So many topics and as many ACLs: made, refreshed, and planned without a change.
pub fn measure(objects: usize, parallelism: usize) -> Result<Vec<Phase>> {
    let broker = Broker::start(&Options::default())?;
    let floor = terraform(&floor(objects))?;
    let ours = terraform(&ours(&broker, objects))?;
    let mut phases = Vec::new();
    for (name, args) in PHASES {
        let parallelism = format!("-parallelism={parallelism}");
        let args: Vec<_> = args.iter().copied().chain([parallelism.as_str()]).collect();
        let (floor_seconds, _) = timed(&floor, &args)?;
        let (before, cpu) = (requests(&broker)?, broker.usage()?.cpu_seconds);
        let (seconds, resident_bytes) = timed(&ours, &args)?;
        let requests = requests(&broker)?.into_iter().map(|(api, count)| {
            let new = count - before.get(&api).copied().unwrap_or(0);
            (api, new)
        });
        let requests = requests.filter(|(_, count)| *count > 0).collect();
        let broker_cpu_seconds = broker.usage()?.cpu_seconds - cpu;
        phases.push(Phase { name, floor_seconds, seconds, resident_bytes, broker_cpu_seconds, requests });
    }
    Ok(phases)
}

/// The goal for the requests that create so many objects.
pub fn most_creates(objects: usize, parallelism: usize) -> u64 {
    (2 * objects).div_ceil(parallelism) as u64
}

/// Fails unless the provider asked for as little as it should, with at most `most` requests of a kind that create, and stayed
/// small.
pub fn check_requests(phases: &[Phase], objects: usize, most: u64) -> Result<()> {
    for phase in phases {
        let asked = |api: &str| phase.requests.get(api).copied().unwrap_or(0);
        let resident = phase.resident_bytes;
        ensure!((1..RESIDENT).contains(&resident), "{}: the provider had {resident} bytes resident", phase.name);
        if phase.name == "apply" {
            for api in ["CreateTopics", "CreateAcls"] {
                // In plan and apply each, the first workers also ask whether the cluster would take such a topic.
                let questions = if api == "CreateTopics" { QUESTIONS } else { 0 };
                ensure!((1..=most + questions).contains(&asked(api)), "{api} was asked for {} times", asked(api));
            }
        } else {
            // The broker's own topics are in the pages, too.
            let pages = (objects.div_ceil(PAGE) as u64, (objects + INTERNAL).div_ceil(PAGE) as u64);
            let once = (1, 1);
            let wanted =
                [("Metadata", once), ("DescribeConfigs", pages), ("DescribeAcls", once), ("CreateTopics", (0, 0))];
            for (api, (least, most)) in wanted {
                let count = asked(api);
                ensure!((least..=most).contains(&count), "{}: {api} was asked for {count} times", phase.name);
            }
        }
    }
    Ok(())
}

fn terraform(config: &str) -> Result<Terraform> {
    let mut terraform = Terraform::with_state_at(&StateServer::start()?, config)?;
    terraform.patience(PATIENCE);
    Ok(terraform)
}

fn floor(objects: usize) -> String {
    format!(
        r#"
resource "terraform_data" "topic" {{
  count = {objects}
  input = {{
    name       = "orders.${{count.index}}"
    partitions = 1
    config     = {{ "retention.ms" = "86400000" }}
  }}
}}

resource "terraform_data" "acl" {{
  count = {objects}
  input = {{
    principal     = "User:u${{count.index}}"
    resource_type = "Topic"
    resource_name = "orders.${{count.index}}"
    operations    = ["Read"]
  }}
}}
"#
    )
}

fn ours(broker: &Broker, objects: usize) -> String {
    format!(
        r#"
provider "lockgate" {{
  cluster = "file://{}"
}}

resource "lockgate_topic" "topic" {{
  count      = {objects}
  name       = "orders.${{count.index}}"
  partitions = 1
  config     = {{ "retention.ms" = "86400000" }}
}}

resource "lockgate_acl" "acl" {{
  count         = {objects}
  principal     = "User:u${{count.index}}"
  resource_type = "Topic"
  resource_name = "orders.${{count.index}}"
  operations    = ["Read"]
}}
"#,
        broker.data().display()
    )
}

/// Seconds of a command, and the most that its provider had resident.
fn timed(terraform: &Terraform, args: &[&str]) -> Result<(f64, u64)> {
    let (done, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = std::thread::spawn({
        let (done, peak, provider) = (done.clone(), peak.clone(), terraform.provider());
        move || {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident(&provider), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let begun = Instant::now();
    let said = terraform.run(args);
    let seconds = begun.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let _ = watcher.join();
    said?.succeeded()?;
    Ok((seconds, peak.load(Ordering::Relaxed)))
}

/// Peak of the process that runs this binary (bytes), 0 when there is none.
fn resident(binary: &Path) -> u64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|p| std::fs::read_link(p.path().join("exe")).is_ok_and(|exe| exe == binary));
    let peak = ours.filter_map(|p| {
        let status = std::fs::read_to_string(p.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    peak.max().unwrap_or(0) << 10
}

/// Requests that the broker has answered, by API.
fn requests(broker: &Broker) -> Result<BTreeMap<String, u64>> {
    let metrics = broker.metrics()?;
    let mut requests = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("lockgate_requests_total{api=\"")) {
        let (Some((api, _)), Some((_, count))) = (line.split_once('"'), line.rsplit_once(' ')) else { continue };
        *requests.entry(api.to_owned()).or_default() += count.parse::<f64>()? as u64;
    }
    Ok(requests)
}
