//! One broker process, made from the release binary, in a folder of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// How long a start or stop may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test sets beyond the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Data folder; one inside the broker's temporary folder when absent.
    pub data: Option<PathBuf>,
    /// Another listener like the first, whose advertised port is this one (a proxy's).
    pub cut_advertised: Option<u16>,
    /// A plaintext listener on which everyone is a super user.
    pub plaintext: bool,
    /// Keep at most this much of the volume free of client records (bytes).
    pub reserve_bytes: Option<u64>,
    /// Lines for the `[limits]` table.
    pub limits: Vec<String>,
    /// Lines for the `[groups]` table.
    pub groups: Vec<String>,
    /// Lines for the top of the config file.
    pub top: Vec<String>,
    /// Lines for the listener with TLS and SASL.
    pub listener: Vec<String>,
    /// Lines for the end of the config file: tables of their own.
    pub tables: Vec<String>,
}

/// A broker that is killed when dropped.
pub struct Broker {
    child: Option<Child>,
    folder: tempfile::TempDir,
    data: PathBuf,
    port: u16,
    cut_port: u16,
    plain_port: u16,
    http_port: u16,
    starts: usize,
}

/// Figures of a process from `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub resident_bytes: u64,
    pub cpu_seconds: f64,
}

impl Broker {
    /// Starts a broker on an empty folder and waits until it is ready.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockgate-test-").tempdir()?;
        let data = options.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let [port, cut_port, plain_port, http_port] = free_ports();
        let mut broker = Self { child: None, folder, data, port, cut_port, plain_port, http_port, starts: 0 };
        std::fs::write(broker.config_path(), broker.config(options))?;
        broker.start_again()?;
        Ok(broker)
    }

    fn config(&self, options: &Options) -> String {
        let mut text = format!("data = {:?}\n", self.data);
        text += &format!("reserve_bytes = {}\n", options.reserve_bytes.unwrap_or(64 << 20));
        if options.plaintext {
            text += "super_users = [\"User:admin\", \"User:terraform\", \"User:ANONYMOUS\"]\n";
        }
        for line in &options.top {
            text += &format!("{line}\n");
        }
        text += &format!("\n[[listeners]]\nname = \"clients\"\nbind = \"127.0.0.1:{}\"\n", self.port);
        text += &format!("advertised = \"localhost:{}\"\nprotocol = \"SASL_SSL\"\n", self.port);
        for line in &options.listener {
            text += &format!("{line}\n");
        }
        if let Some(advertised) = options.cut_advertised {
            text += &format!("\n[[listeners]]\nname = \"cut\"\nbind = \"127.0.0.1:{}\"\n", self.cut_port);
            text += &format!("advertised = \"localhost:{advertised}\"\nprotocol = \"SASL_SSL\"\n");
        }
        if options.plaintext {
            text += &format!("\n[[listeners]]\nname = \"plain\"\nbind = \"127.0.0.1:{}\"\n", self.plain_port);
            text += &format!("advertised = \"localhost:{}\"\nprotocol = \"PLAINTEXT\"\n", self.plain_port);
        }
        text += &format!("\n[http]\nbind = \"127.0.0.1:{}\"\n\n[limits]\n", self.http_port);
        for line in options.limits.iter().chain(&options.tables) {
            text += &format!("{line}\n");
        }
        text += "\n[groups]\n";
        for line in &options.groups {
            text += &format!("{line}\n");
        }
        text
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("lockgate.toml")
    }

    /// Starts the process (again, on the same data and ports) and returns how long it took to be ready.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.child.is_none(), "the broker runs already");
        let binary = binary("lockgate")?;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let started = Instant::now();
        let child = Command::new(&binary)
            .arg("serve")
            .arg("--config")
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", binary.display()))?;
        self.child = Some(child);
        self.starts += 1;
        self.wait_ready()?;
        Ok(started.elapsed())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let http = self.http_port;
        let mut ended = None;
        let child = self.child.as_mut().context("no process")?;
        until(PATIENCE, "the broker becomes ready", || {
            ended = child.try_wait().ok().flatten();
            (ended.is_some() || http_get(http, "/readyz").is_ok_and(|(status, _)| status == 200)).then_some(())
        })
        .with_context(|| self.log_tail())?;
        if let Some(status) = ended {
            self.child = None;
            anyhow::bail!("the broker ended with {status} instead of becoming ready\n{}", self.log_tail());
        }
        Ok(())
    }

    /// SIGKILL; returns once the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no process")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGKILL without waiting: a process that is blocked on its disk ends only when the disk answers.
    pub fn kill_later(&mut self) -> Result<Child> {
        let mut child = self.child.take().context("no process")?;
        child.kill()?;
        Ok(child)
    }

    /// SIGTERM; returns how the process ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("no process")?;
        kill_process(pid(&child)?, Signal::TERM)?;
        let ended = until(PATIENCE, "the broker stops", || child.try_wait().ok().flatten());
        if ended.is_err() {
            child.kill()?;
        }
        ended.with_context(|| self.log_tail())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Address of the listener with TLS and SASL.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Address that the proxy forwards to.
    pub fn cut_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.cut_port))
    }

    pub fn plaintext_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.plain_port))
    }

    pub fn bootstrap(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Moves on to another data folder; takes effect at the next start.
    pub fn use_data(&mut self, data: &Path) -> Result<()> {
        let text = std::fs::read_to_string(self.config_path())?;
        std::fs::write(self.config_path(), text.replace(&format!("{:?}", self.data), &format!("{data:?}")))?;
        self.data = data.to_owned();
        Ok(())
    }

    pub fn ca_path(&self) -> PathBuf {
        self.data.join("public/ca.pem")
    }

    pub fn metrics(&self) -> Result<String> {
        let (status, body) = http_get(self.http_port, "/metrics")?;
        ensure!(status == 200, "/metrics answers {status}");
        Ok(body)
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("lockgate.log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read(self.log_path()).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// The end of the broker's log, for failures.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        format!("the broker's log ends with:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    pub fn usage(&self) -> Result<Usage> {
        usage_of(self.child.as_ref().context("no process")?.id())
    }

    /// File descriptors that the process has open.
    pub fn open_files(&self) -> Result<usize> {
        let id = self.child.as_ref().context("no process")?.id();
        Ok(std::fs::read_dir(format!("/proc/{id}/fd"))?.count())
    }
}

/// What a process uses now, and has used so far.
pub fn usage_of(pid: u32) -> Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    // utime and stime are fields 14 and 15 of the line, 11 and 12 after the name; a tick is 10 ms on Linux.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Usage { resident_bytes: kib << 10, cpu_seconds: ticks as f64 / 100.0 })
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(child.id())?).context("process id 0")
}

/// A binary of this workspace, beside the test's own; `LOCKGATE_BIN` names another folder.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("LOCKGATE_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let exe = std::env::current_exe()?;
            let folder = exe.parent().context("a binary lies in a folder")?;
            let folder =
                if folder.ends_with("deps") { folder.parent().context("deps lies in a folder")? } else { folder };
            folder.to_owned()
        }
    };
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is missing: cargo build --release --bins", path.display());
    Ok(path)
}

/// Ports that nothing listens on, below the range from which the kernel takes ports for outgoing connections, so that
/// the clients of a running test cannot take them while a broker restarts.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    std::array::from_fn(|_| {
        loop {
            let port = rand::rng().random_range(11_000..32_000);
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                held.push(listener);
                return port;
            }
        }
    })
}

fn http_get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("no status line")?.parse()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}
