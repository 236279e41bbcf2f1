//! The floor that a broker is measured against: a program that does only what cannot be left out. For produce: receive a
//! frame, check the CRC, walk the records, write, flush, answer. For fetch: send a file with sendfile, or through TLS.

use std::fs::File;
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::batch::HEAD;

/// Receive in large pieces, TLS too.
const RECEIVE: usize = 256 << 10;
/// What an answer to a produce request weighs.
const ANSWER: [u8; 64] = [0; 64];
/// Bytes asked for at once when fetching: many batches, so that the broker's answers, which are whole batches, are about as
/// large as the floor's.
pub(super) const FETCH: usize = 4 << 20;

/// Serves until killed: `produce FOLDER START SIZE [CERT KEY]` or `fetch FILE [CERT KEY]`; prints its port first. `START` and
/// `SIZE` say where in each frame the record batch is.
pub(super) fn serve(args: &[String]) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    match args {
        [job, folder, start, size, tls @ ..] if job == "produce" => {
            let (tls, start) = (server_config(tls)?, start.parse::<usize>()?);
            let place = start..start + size.parse::<usize>()?;
            for (number, stream) in listener.incoming().enumerate() {
                let (stream, tls, place) = (stream?, tls.clone(), place.clone());
                let file = File::create(Path::new(folder).join(format!("floor-{number}.log")))?;
                spawn(move || with_tls(stream, tls, |stream| take_frames(stream, &file, place)));
            }
        }
        [job, file, tls @ ..] if job == "fetch" => {
            let tls = server_config(tls)?;
            for stream in listener.incoming() {
                let (stream, tls, file) = (stream?, tls.clone(), File::open(file)?);
                spawn(move || match tls {
                    None => send_file(stream, &file),
                    tls => with_tls(stream, tls, |stream| send_bytes(stream, &file)),
                });
            }
        }
        other => bail!("the floor cannot {other:?}"),
    }
    Ok(())
}

fn server_config(files: &[String]) -> Result<Option<Arc<ServerConfig>>> {
    let [certificate, key] = files else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(Some(Arc::new(config)))
}

fn spawn(work: impl FnOnce() -> Result<()> + Send + 'static) {
    thread::spawn(move || {
        if let Err(error) = work() {
            eprintln!("the floor gives way: {error:#}");
        }
    });
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

fn with_tls(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    work: impl FnOnce(&mut dyn Duplex) -> Result<()>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => work(&mut Buffered(BufReader::with_capacity(RECEIVE, stream))),
        Some(config) => {
            let socket = Buffered(BufReader::with_capacity(RECEIVE, stream));
            work(&mut StreamOwned::new(ServerConnection::new(config)?, socket))
        }
    }
}

/// Reads through a buffer, writes past it.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One group commit for every `GROUP` frames, as a client with that many in flight allows.
fn take_frames(stream: &mut dyn Duplex, mut file: &File, place: Range<usize>) -> Result<()> {
    let mut frame = Vec::new();
    loop {
        let mut group = [0; 4];
        if stream.read_exact(&mut group).is_err() {
            return Ok(());
        }
        let frames = u32::from_be_bytes(group);
        for _ in 0..frames {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            frame.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut frame)?;
            let batch = frame.get_mut(place.clone()).context("a short frame")?;
            check(batch)?;
            batch[..8].copy_from_slice(&1i64.to_be_bytes());
            let (head, rest) = batch.split_at(HEAD);
            let written = file.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)])?;
            ensure!(written == batch.len(), "a short write");
        }
        file.sync_data()?;
        for _ in 0..frames {
            stream.write_all(&ANSWER)?;
        }
        stream.flush()?;
    }
}

/// CRC, and a walk over the records by their sizes.
fn check(batch: &[u8]) -> Result<()> {
    let crc = u32::from_be_bytes(std::array::from_fn(|i| batch[17 + i]));
    ensure!(crc32c::crc32c(&batch[21..]) == crc, "a wrong CRC");
    let mut rest = &batch[HEAD..];
    let mut count = 0;
    while !rest.is_empty() {
        let (mut size, mut shift) = (0u64, 0);
        loop {
            let (&byte, tail) = rest.split_first().context("a cut record")?;
            rest = tail;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        rest = rest.get((size >> 1) as usize..).context("a cut record")?;
        count += 1;
    }
    let expected = i32::from_be_bytes(std::array::from_fn(|i| batch[57 + i]));
    ensure!(count == expected, "{count} records instead of {expected}");
    Ok(())
}

/// Each request is four bytes; each answer is the next `FETCH` bytes of the file.
fn send_file(mut stream: TcpStream, file: &File) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, mut position, size) = ([0; 4], 0u64, file.metadata()?.len());
    while stream.read_exact(&mut request).is_ok() {
        if position + FETCH as u64 > size {
            position = 0;
        }
        let end = position + FETCH as u64;
        while position < end {
            let left = (end - position) as usize;
            rustix::fs::sendfile(&stream, file, Some(&mut position), left)?;
        }
    }
    Ok(())
}

fn send_bytes(stream: &mut dyn Duplex, mut file: &File) -> Result<()> {
    let (mut request, mut piece) = ([0; 4], vec![0; RECEIVE]);
    while stream.read_exact(&mut request).is_ok() {
        let mut left = FETCH;
        while left > 0 {
            let size = file.read(&mut piece[..RECEIVE.min(left)])?;
            if size == 0 {
                io::Seek::rewind(&mut file)?;
                continue;
            }
            stream.write_all(&piece[..size])?;
            left -= size;
        }
        stream.flush()?;
    }
    Ok(())
}
