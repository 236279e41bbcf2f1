//! The real terraform, with the provider that was just built, in a folder of its own.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::broker::binary;
use crate::state_server::StateServer;
use crate::until;

/// Longest run of one command, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

const REQUIRED: &str =
    "terraform {\n  required_providers {\n    lockgate = {\n      source = \"lockgate/lockgate\"\n    }\n  }\n}\n";

/// A working folder of terraform.
pub struct Terraform {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    patience: Duration,
}

/// What a command said. The text is what a person sees, without colours.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Said {
    pub fn succeeded(self) -> Result<Self> {
        ensure!(self.code == 0, "terraform ended with {}\n{}", self.code, self.text);
        Ok(self)
    }

    /// The text with every run of white space as one space: terraform wraps lines as it likes.
    pub fn flat(&self) -> String {
        self.text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    }

    pub fn says(&self, sentence: &str) -> Result<()> {
        ensure!(self.flat().contains(sentence), "terraform does not say {sentence:?}, but\n{}", self.text);
        Ok(())
    }

    /// Fails unless the command failed with just this many errors, one of which says so.
    pub fn refused(&self, errors: usize, sentence: &str) -> Result<()> {
        let found = self.text.lines().filter(|line| line.contains("Error: ")).count();
        ensure!(self.code == 1 && found == errors, "{found} errors, exit code {}\n{}", self.code, self.text);
        self.says(sentence)
    }
}

/// A command that runs, in a process group of its own as in a person's shell. It is killed when dropped.
pub struct Running {
    child: Child,
    output: tempfile::NamedTempFile,
    patience: Duration,
}

impl Running {
    /// What it has said so far.
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.output.path())?).into_owned())
    }

    /// Waits until it has said something this many times, or fails when it ends before.
    pub fn until_said(&mut self, phrase: &str, times: usize) -> Result<()> {
        let enough = until(PATIENCE, phrase, || {
            let ended = self.child.try_wait().ok().flatten().is_some();
            let enough = self.text().is_ok_and(|text| text.matches(phrase).count() >= times);
            (ended || enough).then_some(enough && !ended)
        });
        ensure!(enough?, "terraform ended before it said {phrase:?} {times} times\n{}", self.text()?);
        Ok(())
    }

    /// Ctrl-C, which the whole group gets: terraform, and the provider too.
    pub fn interrupt(&self) -> Result<()> {
        Ok(kill_process_group(self.pid()?, Signal::INT)?)
    }

    /// SIGKILL to the providers that it has started. Returns how many there were.
    pub fn kill_providers(&self) -> Result<usize> {
        let own = self.child.id().to_string();
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc")? {
            let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
            // "PID (NAME) STATE PARENT …", with the first 15 characters of the name.
            let Some((before, after)) = stat.rsplit_once(") ") else { continue };
            let is_provider = before.ends_with("(terraform-provi");
            if is_provider && after.split(' ').nth(1) == Some(&own) {
                let pid = before.split(' ').next().context("no process id")?.parse()?;
                kill_process(Pid::from_raw(pid).context("process id 0")?, Signal::KILL)?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    pub fn wait(mut self) -> Result<Said> {
        let ended = until(self.patience, "the command ends", || self.child.try_wait().ok().flatten());
        let text = self.text()?;
        let code = ended.with_context(|| text.clone())?.code().unwrap_or(-1);
        Ok(Said { code, text })
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("process id 0")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), self.pid()) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

impl Terraform {
    /// A folder with this configuration; the provider's source is named already.
    pub fn new(config: &str) -> Result<Self> {
        let terraform = Self::empty()?;
        terraform.write("required.tf", REQUIRED)?;
        terraform.write("main.tf", config)?;
        Ok(terraform)
    }

    /// A folder that gets its provider by `terraform init`, from a mirror in a folder.
    pub fn with_mirror(mirror: &Path, config: &str) -> Result<Self> {
        let terraform = Self::new(config)?;
        let rc = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n");
        std::fs::write(terraform.rc(), rc)?;
        Ok(terraform)
    }

    /// A folder with this configuration, which names the provider's source itself.
    pub fn complete(config: &str) -> Result<Self> {
        let terraform = Self::empty()?;
        terraform.write("main.tf", config)?;
        Ok(terraform)
    }

    /// The same with the state on a server. A backend takes `terraform init`, which goes by no override, so the provider is
    /// installed from a mirror.
    pub fn with_state_at(server: &StateServer, config: &str) -> Result<Self> {
        let terraform = Self::new(config)?;
        terraform.write("backend.tf", &server.backend())?;
        let provider = terraform.provider();
        let folder = provider.parent().context("a binary lies in a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::copy(binary("terraform-provider-lockgate")?, &provider)?;
        let mirror = terraform.folder.path().join("mirror");
        let rc = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n");
        std::fs::write(terraform.rc(), rc)?;
        terraform.run(&["init"])?.succeeded()?;
        Ok(terraform)
    }

    /// The provider's binary in the mirror.
    pub fn provider(&self) -> PathBuf {
        let machine = if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" };
        let folder = self.folder.path().join("mirror/registry.terraform.io/lockgate/lockgate/0.0.1");
        folder.join(machine).join("terraform-provider-lockgate")
    }

    /// How long each of the commands that follow may take.
    pub fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A folder with a copy of the `.tf` files of another.
    pub fn copy_of(example: &Path) -> Result<Self> {
        let terraform = Self::empty()?;
        for entry in std::fs::read_dir(example).with_context(|| example.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tf") {
                let name = path.file_name().context("a file has a name")?;
                std::fs::copy(&path, terraform.folder.path().join(name))?;
            }
        }
        Ok(terraform)
    }

    fn empty() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockgate-tf-").tempdir()?;
        let terraform = Self { folder, variables: Vec::new(), patience: PATIENCE };
        let provider = binary("terraform-provider-lockgate")?;
        let folder = provider.parent().context("a binary lies in a folder")?;
        // With an override terraform takes the binary as it is, without `init` and without a registry.
        let rc =
            format!("provider_installation {{\n  dev_overrides {{\n    \"lockgate/lockgate\" = {folder:?}\n  }}\n}}\n");
        std::fs::write(terraform.rc(), rc)?;
        Ok(terraform)
    }

    fn rc(&self) -> PathBuf {
        self.folder.path().join("terraform.rc")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(file), text)?)
    }

    pub fn remove(&self, file: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.path().join(file))?)
    }

    /// Sets an environment variable for the commands that follow.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Throws the state away, as if nothing had been applied from here.
    pub fn lose_state(&self) -> Result<()> {
        self.remove("terraform.tfstate")
    }

    /// Addresses and attributes of all resources in the state.
    pub fn resources(&self) -> Result<BTreeMap<String, serde_json::Value>> {
        let state: serde_json::Value = serde_json::from_str(&self.state()?)?;
        let mut found = BTreeMap::new();
        for resource in state["resources"].as_array().context("a state has resources")? {
            let address = format!("{}.{}", resource["type"].as_str().unwrap_or_default(), resource["name"]);
            for instance in resource["instances"].as_array().into_iter().flatten() {
                found.insert(format!("{address}[{}]", instance["index_key"]), instance["attributes"].clone());
            }
        }
        Ok(found)
    }

    /// The stored state.
    pub fn state(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("terraform.tfstate"))?)
    }

    pub fn run(&self, args: &[&str]) -> Result<Said> {
        self.start(args)?.wait()
    }

    /// Starts a command of terraform.
    pub fn start(&self, args: &[&str]) -> Result<Running> {
        self.spawn("terraform", args)
    }

    /// Runs a file of the folder as a shell script.
    pub fn script(&self, file: &str) -> Result<Said> {
        self.spawn("sh", &["-eu", file])?.wait()
    }

    fn spawn(&self, program: &str, args: &[&str]) -> Result<Running> {
        let output = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("TF_CLI_CONFIG_FILE", self.rc())
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("TF_CLI_ARGS", "-no-color")
            .process_group(0)
            .stdin(Stdio::null());
        // Both streams append to one file, so that the text is in the order in which it was said.
        let both = std::fs::File::options().append(true).open(output.path())?;
        command.stdout(both.try_clone()?).stderr(both);
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("LOCKGATE_") || name.starts_with("TF_VAR_"))
        {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().with_context(|| format!("{program} could not be started: is it installed?"))?;
        Ok(Running { child, output, patience: self.patience })
    }

    pub fn apply(&self) -> Result<Said> {
        self.run(&["apply", "-auto-approve"])?.succeeded()
    }

    /// The output values, by name.
    pub fn outputs(&self) -> Result<serde_json::Value> {
        let said = self.run(&["output", "-json"])?.succeeded()?;
        let outputs: serde_json::Map<_, _> = serde_json::from_str(&said.text)?;
        Ok(outputs.into_iter().map(|(name, output)| (name, output["value"].clone())).collect())
    }

    /// Fails unless a plan has just this to do, such as `1 to add, 0 to change, 0 to destroy`.
    pub fn plans(&self, changes: &str) -> Result<Said> {
        let said = self.run(&["plan"])?.succeeded()?;
        said.says(&format!("Plan: {changes}."))?;
        Ok(said)
    }

    /// Forgets a resource and imports it again.
    pub fn imports(&self, address: &str, id: &str) -> Result<()> {
        self.run(&["state", "rm", address])?.succeeded()?;
        self.run(&["import", address, id])?.succeeded().map(drop)
    }

    /// How pipelines look for drift. (With several sensitive attributes Terraform 1.11 tells of drift by chance.)
    pub fn finds_no_drift(&self) -> Result<()> {
        self.run(&["plan", "-refresh-only", "-detailed-exitcode"])?.succeeded()?.says("No changes")
    }

    /// Fails unless a plan has nothing to do.
    pub fn plans_nothing(&self) -> Result<()> {
        let said = self.run(&["plan", "-detailed-exitcode"])?;
        ensure!(said.code == 0, "the plan is not empty\n{}", said.text);
        Ok(())
    }
}
