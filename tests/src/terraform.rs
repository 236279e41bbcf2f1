//! The real terraform, with the provider that was just built, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

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

impl Terraform {
    /// A folder with this configuration; the provider's source is named already.
    pub fn new(config: &str) -> Result<Self> {
        let terraform = Self::empty()?;
        terraform.write("required.tf", REQUIRED)?;
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

    /// The stored state.
    pub fn state(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("terraform.tfstate"))?)
    }

    pub fn run(&self, args: &[&str]) -> Result<Said> {
        let output = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("terraform");
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("TF_CLI_CONFIG_FILE", self.rc())
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("TF_CLI_ARGS", "-no-color")
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
        let mut child = command.spawn().context("terraform could not be started: is it installed?")?;
        let ended = until(self.patience, "terraform ends", || child.try_wait().ok().flatten());
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = String::from_utf8_lossy(&std::fs::read(output.path())?).into_owned();
        let code = ended.with_context(|| text.clone())?.code().unwrap_or(-1);
        Ok(Said { code, text })
    }

    pub fn apply(&self) -> Result<Said> {
        self.run(&["apply", "-auto-approve"])?.succeeded()
    }

    /// Fails unless a plan has nothing to do.
    pub fn plans_nothing(&self) -> Result<()> {
        let said = self.run(&["plan", "-detailed-exitcode"])?;
        ensure!(said.code == 0, "the plan is not empty\n{}", said.text);
        Ok(())
    }
}
