//! The first table: records in and out, with and without TLS, beside a floor program. CPU per GiB is the figure that
//! compares; MiB/s on a machine shared with the load generator mostly measures the generator.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::floor;
use super::measure::{Cost, fill_page_cache, median, mib};
use crate::batch::Batch;
use crate::broker::{Broker, Options, Usage, binary, usage_of};
use crate::operator::{Operator, admin_login};
use crate::requests::{FETCH, PRODUCE, fetch_request, produce_request, produced};
use crate::wire::{Connection, Login, check, frame, tls_config};

/// Bytes of one batch, about what a busy client sends.
const BATCH: usize = 512 << 10;
/// Requests under way at once.
const WINDOW: usize = 8;
const RUNS: usize = 3;

/// `mib`: of records, for each workload.
pub(super) fn run(mib: usize) -> Result<()> {
    Bench::set(mib)?.run()
}

struct Bench {
    mib: usize,
    folder: tempfile::TempDir,
    broker: Broker,
    operator: Operator,
    tls: Arc<ClientConfig>,
    login: Login,
    certificate: [String; 2],
    start_up: Duration,
    idle: Usage,
}

/// One line of the table: the medians of its runs.
struct Figures {
    mib_per_second: f64,
    cpu_per_gib: f64,
}

impl Bench {
    fn set(mib: usize) -> Result<Self> {
        let started = Instant::now();
        let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
        let start_up = started.elapsed();
        std::thread::sleep(Duration::from_secs(1));
        let idle = broker.usage()?;
        let folder = tempfile::tempdir()?;
        let certificate = own_certificate(folder.path())?;
        let (operator, login) = (Operator::of(&broker)?, admin_login(&broker)?);
        let tls = tls_config(&broker.ca_path())?;
        Ok(Self { mib, folder, broker, operator, tls, login, certificate, start_up, idle })
    }

    fn run(mut self) -> Result<()> {
        println!(
            "start to ready {:.0} ms (goal 100), idle {:.1} MiB resident (goal 25), binary {:.1} MiB stripped (goal 40)\n",
            self.start_up.as_secs_f64() * 1e3,
            mib(self.idle.resident_bytes),
            stripped()?
        );
        println!(
            "{:<26} {:>12} {:>12} {:>9} {:>9} {:>8}",
            "workload", "floor MiB/s", "broker MiB/s", "floor", "broker", "ratio"
        );
        println!("{:<26} {:>12} {:>12} {:>9} {:>9} {:>8}", "", "", "", "CPU s/GiB", "CPU s/GiB", "");
        for record in [100, 1024] {
            let mut speeds = [(0.0, 0.0); 2];
            for tls in [false, true] {
                let produce = self.compare("produce", record, tls, 1.6)?;
                let fetch = self.compare("fetch", record, tls, 1.5)?;
                speeds[usize::from(tls)] = (produce, fetch);
            }
            let [plain, tls] = speeds;
            println!(
                "TLS of plaintext, {record} B: produce {:.2}, fetch {:.2} (goal 0.6)\n",
                tls.0 / plain.0,
                tls.1 / plain.1
            );
        }
        println!("\nresident after the run {:.1} MiB\n", mib(self.broker.usage()?.resident_bytes));
        Ok(())
    }

    /// Prints a line and returns the broker's MiB/s.
    fn compare(&mut self, work: &str, record: usize, tls: bool, goal: f64) -> Result<f64> {
        let topic = format!("bench-{record}-{tls}");
        if work == "produce" {
            self.operator.topic(&topic, 1, &[])?;
        }
        fill_page_cache(self.folder.path())?;
        let (mut floors, mut brokers) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            floors.push(if work == "produce" { self.floor_produce(record, tls)? } else { self.floor_fetch(tls)? });
            brokers.push(if work == "produce" { self.produce(&topic, record, tls)? } else { self.fetch(&topic, tls)? });
        }
        let [floor, broker] = [floors, brokers].map(|runs| median(runs, |run| run.cpu_per_gib));
        let name = format!("{work} {record} B{}", if tls { ", TLS" } else { "" });
        println!(
            "{name:<26} {:>12.0} {:>12.0} {:>9.2} {:>9.2} {:>7.2}x (goal {goal})",
            floor.mib_per_second,
            broker.mib_per_second,
            floor.cpu_per_gib,
            broker.cpu_per_gib,
            broker.cpu_per_gib / floor.cpu_per_gib
        );
        Ok(broker.mib_per_second)
    }

    fn connect(&self, tls: bool) -> Result<Connection> {
        if tls {
            Connection::login(self.broker.address(), self.tls.clone(), &self.login)
        } else {
            Connection::plain(self.broker.plaintext_address())
        }
    }

    fn produce(&self, topic: &str, record: usize, tls: bool) -> Result<Figures> {
        let request = produce_request(topic, 0, -1, batch(record));
        let bytes = frame(&request, PRODUCE, 1)?;
        let mut connection = self.connect(tls)?;
        self.measure(|| {
            let (mut sent, total) = (0, (self.mib << 20) / BATCH);
            for answered in 0..total {
                while sent < total && sent < answered + WINDOW {
                    connection.send_raw(&bytes)?;
                    sent += 1;
                }
                let (code, _) = produced(&connection.answer::<ProduceRequest>(PRODUCE, 1)?)?;
                ensure!(code == 0, "produce answers with error {code}");
            }
            Ok((self.mib << 20) as u64)
        })
    }

    fn fetch(&self, topic: &str, tls: bool) -> Result<Figures> {
        let mut connection = self.connect(tls)?;
        self.measure(|| {
            let (mut offset, mut got) = (0, 0u64);
            while got < (self.mib << 20) as u64 {
                let request = fetch_request(topic, 0, offset, 0, floor::FETCH as i32);
                let correlation = connection.send(&request, FETCH)?;
                let answer = connection.answer::<FetchRequest>(FETCH, correlation)?;
                let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
                let partition = partition.context("a fetch answer without a partition")?;
                check(partition.error_code, "Fetch")?;
                let records = partition.records.clone().unwrap_or_default();
                got += records.len() as u64;
                offset = after_last(&records).with_context(|| {
                    format!(
                        "no batch in {} bytes at {offset}, high watermark {}",
                        records.len(),
                        partition.high_watermark
                    )
                })?;
            }
            Ok(got)
        })
    }

    fn measure(&self, work: impl FnOnce() -> Result<u64>) -> Result<Figures> {
        let (bytes, cost) = Cost::of(&self.broker, work)?;
        Ok(figures(bytes, cost.elapsed, cost.cpu))
    }

    fn floor_produce(&self, record: usize, tls: bool) -> Result<Figures> {
        let batch = batch(record);
        let request = frame(&produce_request("floor", 0, -1, batch.clone()), PRODUCE, 1)?;
        let start =
            request.windows(64).position(|bytes| bytes == &batch[..64]).context("the batch is in its frame")? - 4;
        let mut group = (WINDOW as u32).to_be_bytes().to_vec();
        (0..WINDOW).for_each(|_| group.extend_from_slice(&request));
        let folder = self.folder.path().to_string_lossy().into_owned();
        let program = Floor::start(
            &["produce", &folder, &start.to_string(), &batch.len().to_string()],
            tls.then_some(&self.certificate),
        )?;
        let groups = (self.mib << 20) / BATCH / WINDOW;
        program.measure(tls.then_some(&self.certificate), |stream| {
            let mut answers = [0; 64 * WINDOW];
            for _ in 0..groups {
                stream.write_all(&group)?;
                stream.flush()?;
                stream.read_exact(&mut answers)?;
            }
            Ok((groups * WINDOW * BATCH) as u64)
        })
    }

    fn floor_fetch(&self, tls: bool) -> Result<Figures> {
        let path = self.folder.path().join("floor-fetch");
        if !path.exists() {
            let mut file = File::create(&path)?;
            let piece = vec![7; 1 << 20];
            (0..256).try_for_each(|_| file.write_all(&piece))?;
        }
        let program = Floor::start(&["fetch", &path.to_string_lossy()], tls.then_some(&self.certificate))?;
        program.measure(tls.then_some(&self.certificate), |stream| {
            let mut piece = vec![0; floor::FETCH];
            for _ in 0..(self.mib << 20) / floor::FETCH {
                stream.write_all(&[0; 4])?;
                stream.flush()?;
                stream.read_exact(&mut piece)?;
            }
            Ok((self.mib << 20) as u64)
        })
    }
}

/// The floor as a process of its own, so that its CPU can be told from ours.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(args: &[&str], tls: Option<&[String; 2]>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").args(args).args(tls.into_iter().flatten()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut port)?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port.trim().parse()?)) })
    }

    fn measure(&self, tls: Option<&[String; 2]>, work: impl FnOnce(&mut dyn Stream) -> Result<u64>) -> Result<Figures> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some([certificate, _]) => {
                let client = ClientConnection::new(tls_config(Path::new(certificate))?, "localhost".try_into()?)?;
                Box::new(StreamOwned::new(client, socket))
            }
        };
        let (before, started) = (usage_of(self.child.id())?, Instant::now());
        let bytes = work(&mut *stream)?;
        Ok(figures(bytes, started.elapsed(), usage_of(self.child.id())?.cpu_seconds - before.cpu_seconds))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn figures(bytes: u64, elapsed: Duration, cpu: f64) -> Figures {
    Figures { mib_per_second: mib(bytes) / elapsed.as_secs_f64(), cpu_per_gib: cpu / (mib(bytes) / 1024.0) }
}

fn batch(record: usize) -> Bytes {
    let value = Bytes::from(vec![b'x'; record]);
    Batch::of(std::iter::repeat_n(value, BATCH / record)).encode().freeze()
}

/// The offset behind the last whole batch.
fn after_last(records: &[u8]) -> Option<i64> {
    let (mut at, mut next) = (0, None);
    while let Some(head) = records.get(at..at + 61) {
        let size = 12 + i32::from_be_bytes(head[8..12].try_into().ok()?) as usize;
        if at + size > records.len() {
            break;
        }
        let delta = i32::from_be_bytes(head[23..27].try_into().ok()?);
        next = Some(i64::from_be_bytes(head[..8].try_into().ok()?) + i64::from(delta) + 1);
        at += size;
    }
    next
}

fn own_certificate(folder: &Path) -> Result<[String; 2]> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let paths = ["floor.pem", "floor.key"].map(|name| folder.join(name).to_string_lossy().into_owned());
    std::fs::write(&paths[0], made.cert.pem())?;
    std::fs::write(&paths[1], made.signing_key.serialize_pem())?;
    Ok(paths)
}

fn stripped() -> Result<f64> {
    let file = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip").arg("-o").arg(file.path()).arg(binary("lockgate")?).status()?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(mib(file.path().metadata()?.len()))
}
