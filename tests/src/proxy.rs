//! A TCP proxy that cuts every connection now and then, without a word, as a bad network does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// Times between two cuts, as parts of the period: clients retry at regular times, and must not keep meeting the cuts.
const IRREGULAR: [f64; 4] = [1.0, 1.7, 0.7, 2.3];

/// Runs until dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    stopped: AtomicBool,
    cutting: AtomicBool,
    cuts: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on `port`; while switched on, cuts all connections about every `period`.
    pub fn start(port: u16, target: SocketAddr, period: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            cutting: AtomicBool::new(false),
            cuts: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, target, &accepting));
        let cutting = shared.clone();
        thread::spawn(move || {
            for factor in IRREGULAR.iter().cycle() {
                if cutting.stopped.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(period.mul_f64(*factor));
                if cutting.cutting.load(Ordering::Relaxed) {
                    cutting.cut();
                }
            }
        });
        Ok(Self { port, shared })
    }

    pub fn bootstrap(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn set_cutting(&self, on: bool) {
        self.shared.cutting.store(on, Ordering::Relaxed);
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.cut();
    }
}

impl Shared {
    fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().expect("no panic under the lock"));
        // Each connection has two streams.
        self.cuts.fetch_add(open.len() / 2, Ordering::Relaxed);
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    while !shared.stopped.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let _ = client.set_nonblocking(false);
        let Ok(server) = TcpStream::connect(target) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { continue };
        if let (Ok(a), Ok(b)) = (client.try_clone(), server.try_clone()) {
            shared.open.lock().expect("no panic under the lock").extend([a, b]);
        }
        thread::spawn(move || pump(client, server2));
        thread::spawn(move || pump(server, client2));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
