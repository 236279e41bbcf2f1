//! Hostile input: whatever comes over the wire, the broker stays up, its memory stays bounded, and an honest client
//! notices nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use lockgate_tests::batch::{Batch, HEAD, seal};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{PRODUCE, fetch, produce, produce_request, produced};
use lockgate_tests::samples::samples;
use lockgate_tests::wire::{Connection, tls_config};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What all of the abuse in one test may add to the broker's resident memory (bytes).
const MEMORY: u64 = 128 << 20;

/// The honest client's measure is time, so nothing else may take the processors.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Errors that say of a batch that it is wrong.
const REFUSALS: [ResponseError; 8] = [
    ResponseError::CorruptMessage,
    ResponseError::InvalidRecord,
    ResponseError::InvalidRequest,
    ResponseError::InvalidTxnState,
    ResponseError::TransactionalIdAuthorizationFailed,
    ResponseError::UnsupportedForMessageFormat,
    ResponseError::UnsupportedCompressionType,
    ResponseError::MessageTooLarge,
];

/// A broker under abuse, with an honest client at work on it.
struct Siege {
    broker: Broker,
    honest: JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
    round_trips: Arc<AtomicU64>,
    before: u64,
    peak: u64,
}

impl Siege {
    fn begin() -> Result<Self> {
        let mut limits = getrlimit(Resource::Nofile);
        limits.current = limits.maximum;
        setrlimit(Resource::Nofile, Rlimit { current: limits.current, maximum: limits.maximum })?;
        let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
        Operator::of(&broker)?.topic("honest", 1, &[])?;
        let mut connection =
            Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(&broker)?)?;
        let (stop, round_trips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, count) = (stop.clone(), round_trips.clone());
        let honest = thread::spawn(move || {
            let mut next = 0;
            while !stopping.load(Ordering::Relaxed) {
                let value = format!("honest {next}");
                let started = Instant::now();
                let offset = produce(&mut connection, "honest", 0, Batch::of([value.clone()]).encode().freeze())?;
                ensure!(offset == next, "offset {offset} instead of {next}");
                let fetched = fetch(&mut connection, "honest", 0, offset, 1000)?;
                let batches = lockgate_tests::batch::parse(fetched.records).0;
                let values = batches.first().and_then(|batch| batch.values()).unwrap_or_default();
                ensure!(values == [Bytes::from(value)], "offset {offset} has {values:?}");
                ensure!(started.elapsed() < Duration::from_secs(5), "a round trip took {:?}", started.elapsed());
                next += 1;
                count.store(next as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        let before = broker.usage()?.resident_bytes;
        Ok(Self { broker, honest, stop, round_trips, before, peak: before })
    }

    fn look(&mut self) -> Result<()> {
        ensure!(self.broker.is_running(), "the broker is gone\n{}", self.broker.log_tail());
        self.peak = self.peak.max(self.broker.usage()?.resident_bytes);
        Ok(())
    }

    /// The honest client still works, and memory stayed within `bound` bytes more than before.
    fn end(mut self, bound: u64) -> Result<()> {
        self.look()?;
        let done = self.round_trips.load(Ordering::Relaxed);
        lockgate_tests::until(Duration::from_secs(10), "the honest client goes on", || {
            (self.round_trips.load(Ordering::Relaxed) > done + 2 || self.honest.is_finished()).then_some(())
        })?;
        self.stop.store(true, Ordering::Relaxed);
        self.honest.join().map_err(|_| anyhow::anyhow!("the honest client panicked"))?.context("the honest client")?;
        println!("resident memory {} MiB, at most {} MiB", self.before >> 20, self.peak >> 20);
        ensure!(self.peak <= self.before + bound, "resident memory grew from {} to {} bytes", self.before, self.peak);
        ensure!(!self.broker.log_text().contains("panicked"), "something panicked\n{}", self.broker.log_tail());
        let status = self.broker.stop()?;
        ensure!(status.success(), "the broker stopped with {status}");
        Ok(())
    }
}

/// Sends bytes on a connection of their own and reads whatever comes until the broker closes or `patience` is over.
fn throw(address: SocketAddr, bytes: &[u8], patience: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    let mut answer = Vec::new();
    // The broker may close before everything is sent; that is an answer too.
    if stream.write_all(bytes).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        let mut buffer = [0; 4096];
        while let Ok(size @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..size]);
        }
    }
    Ok(answer)
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(body.len() + 4);
    framed.put_i32(body.len() as i32);
    framed.extend_from_slice(body);
    framed
}

/// Every way in which one valid frame is made wrong.
fn mutations(frame: &[u8], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let body = &frame[4..];
    let mut all = Vec::new();
    for cut in 0..body.len().min(80) {
        all.push(with_length(&body[..cut]));
        all.push(frame[..cut].to_vec());
    }
    for length in [-1, i32::MIN, i32::MAX, 0, 1, body.len() as i32 + 1, body.len() as i32 - 1, 100 << 20] {
        let mut wrong = frame.to_vec();
        wrong[..4].copy_from_slice(&length.to_be_bytes());
        all.push(wrong);
    }
    for at in 8..body.len().min(90) {
        // As an array's count, a string's length, a compact count.
        for huge in
            [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xfe], &[0x7f, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x07]]
        {
            let mut wrong = body.to_vec();
            let end = (at + huge.len()).min(wrong.len());
            wrong[at..end].copy_from_slice(&huge[..end - at]);
            all.push(with_length(&wrong));
        }
    }
    for _ in 0..20 {
        let mut wrong = body.to_vec();
        for _ in 0..rng.random_range(1..6) {
            // Key and version stay, so that the body is what gets decoded.
            let at = rng.random_range(4..wrong.len());
            wrong[at] = rng.random();
        }
        all.push(with_length(&wrong));
    }
    all
}

#[test]
fn frames_made_wrong() -> Result<()> {
    let _turn = one_at_a_time();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut siege = Siege::begin()?;
    let address = siege.broker.plaintext_address();
    let apis = Connection::plain(address)?.api_versions()?;
    ensure!(apis.len() >= 30, "only {} APIs are offered", apis.len());
    let mut thrown = 0;
    for &(key, min, max) in &apis {
        let first = if key == 0 { 3 } else { min };
        let mut versions = vec![first, max];
        versions.dedup();
        for version in versions {
            let frames = samples(key, version);
            ensure!(!frames.is_empty(), "there is no sample of API {key} version {version}");
            for wrong in frames.iter().flat_map(|frame| mutations(frame, &mut rng)) {
                throw(address, &wrong, Duration::from_millis(200))?;
                thrown += 1;
                if thrown % 50 == 0 {
                    siege.look()?;
                }
            }
        }
    }
    println!("{thrown} frames");
    siege.end(MEMORY)
}

#[test]
fn versions_that_are_not_served() -> Result<()> {
    let _turn = one_at_a_time();
    let mut siege = Siege::begin()?;
    let address = siege.broker.plaintext_address();
    let apis = Connection::plain(address)?.api_versions()?;
    for &(key, min, max) in &apis {
        for version in [min - 1, max + 1, -1, i16::MAX, i16::MIN] {
            let mut body = BytesMut::new();
            body.put_i16(key);
            body.put_i16(version);
            body.put_i32(7);
            body.put_i16(-1);
            body.put_slice(&[0; 20]);
            let answer = throw(address, &with_length(&body), Duration::from_secs(2))?;
            let refused = (min..=max).contains(&version) || key == 18 || answer.is_empty();
            ensure!(refused, "API {key} version {version} is answered: {answer:?}");
        }
    }
    for key in (-5..200).filter(|key| !apis.iter().any(|api| api.0 == *key)) {
        let answer =
            throw(address, &with_length(&[&key.to_be_bytes()[..], &[0; 20]].concat()), Duration::from_secs(2))?;
        ensure!(answer.is_empty(), "unknown API {key} is answered");
    }
    // ApiVersions alone answers an unknown version, in version 0, so that old and new can meet.
    let body = [&18i16.to_be_bytes()[..], &77i16.to_be_bytes(), &7i32.to_be_bytes(), &[0xff, 0xff]].concat();
    let answer = throw(address, &with_length(&body), Duration::from_secs(2))?;
    ensure!(answer.len() > 14 && answer[4..10] == [0, 0, 0, 7, 0, 35], "ApiVersions 77 is answered with {answer:?}");
    siege.look()?;
    siege.end(MEMORY)
}

#[test]
fn garbage_before_tls_and_before_authentication() -> Result<()> {
    let _turn = one_at_a_time();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut siege = Siege::begin()?;
    let address = siege.broker.address();
    for round in 0..300 {
        let mut garbage = vec![0u8; rng.random_range(1..5000)];
        rng.fill(&mut garbage[..]);
        match round % 4 {
            // The first bytes of a handshake, of HTTP, and of a plaintext Kafka request.
            0 => garbage.splice(..0, [0x16, 3, 1, 0x10, 0, 1]).for_each(drop),
            1 => garbage.splice(..0, *b"GET / HTTP/1.1\r\n").for_each(drop),
            2 => garbage.splice(..0, [0, 0, 0, 30, 0, 18, 0, 0, 0, 0, 0, 1]).for_each(drop),
            _ => {}
        }
        throw(address, &garbage, Duration::from_millis(200))?;
    }
    siege.look()?;
    let tls = tls_config(&siege.broker.ca_path())?;
    for (key, version) in [(3, 9), (0, 9), (1, 12), (19, 5), (22, 4), (10, 3)] {
        let mut connection = Connection::tls(address, tls.clone())?;
        let frame = samples(key, version).into_iter().next().context("a sample")?;
        connection.send_raw(&frame)?;
        ensure!(connection.read_frame().is_err(), "API {key} is answered before authentication");
    }
    for (key, version) in [(18, 3), (17, 1), (36, 2)] {
        for frame in samples(key, version) {
            for wrong in mutations(&frame, &mut rng).into_iter().step_by(3) {
                let mut connection = Connection::tls(address, tls.clone())?;
                connection.set_patience(Duration::from_millis(30))?;
                let _ = connection.send_raw(&wrong).is_ok() && connection.read_frame().is_ok();
            }
            siege.look()?;
        }
    }
    // A frame larger than the bound before authentication is refused by its length alone.
    let mut connection = Connection::tls(address, tls)?;
    connection.send_raw(&(65i32 << 10).to_be_bytes())?;
    ensure!(connection.read_frame().is_err(), "a frame of 65 KiB is waited for before authentication");
    siege.end(MEMORY)
}

#[test]
fn slow_senders_hold_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let mut siege = Siege::begin()?;
    let address = siege.broker.plaintext_address();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address)?;
        // 90 MiB are announced each time, 18 GiB in all.
        stream.write_all(&(90i32 << 20).to_be_bytes())?;
        stream.write_all(&[0, 0, 0, 9])?;
        slow.push(stream);
    }
    for _ in 0..40 {
        for stream in &mut slow {
            let _ = stream.write_all(&[0]);
        }
        siege.look()?;
        thread::sleep(Duration::from_millis(50));
    }
    // Some send a good deal before they stop.
    let piece = vec![0; 256 << 10];
    for stream in &mut slow[..20] {
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        for _ in 0..8 {
            let _ = stream.write_all(&piece);
        }
        siege.look()?;
    }
    siege.end(MEMORY)
}

/// Requests that are only claimed take nothing from honest ones, large ones included.
#[test]
fn claimed_requests_hold_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let mut siege = Siege::begin()?;
    let address = siege.broker.plaintext_address();
    let mut claimants = Vec::new();
    for _ in 0..1500 {
        let mut stream = TcpStream::connect(address)?;
        // The largest request there may be, 146 GiB in all, and its first bytes.
        stream.write_all(&(100i32 << 20).to_be_bytes())?;
        stream.write_all(&[0, 0, 0, 9])?;
        claimants.push(stream);
    }
    siege.look()?;
    Operator::of(&siege.broker)?.topic("large", 1, &[("max.message.bytes", "33554432")])?;
    let mut honest = Connection::plain(address)?;
    let value = Bytes::from(vec![7; 16 << 20]);
    for next in 0..4 {
        let began = Instant::now();
        let offset = produce(&mut honest, "large", 0, Batch::of([value.clone()]).encode().freeze())?;
        ensure!(offset == next, "offset {offset} instead of {next}");
        ensure!(began.elapsed() < Duration::from_secs(5), "16 MiB took {:?}", began.elapsed());
        siege.look()?;
    }
    // Who claims and sends nothing is gone after a while.
    let last = claimants.last_mut().context("many")?;
    last.set_read_timeout(Some(Duration::from_secs(20)))?;
    let ended = match last.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    ensure!(ended, "a claimant is waited for, or half a request is answered");
    siege.look()?;
    siege.end(MEMORY)
}

#[test]
fn thousands_of_idle_connections() -> Result<()> {
    let _turn = one_at_a_time();
    let mut siege = Siege::begin()?;
    let tls = tls_config(&siege.broker.ca_path())?;
    let mut idle = Vec::new();
    for number in 0..3000 {
        // Some never say a word, most stop after the handshake.
        if number % 4 == 0 {
            idle.push(Connection::plain(siege.broker.address())?);
        } else {
            idle.push(Connection::tls(siege.broker.address(), tls.clone()).with_context(|| number.to_string())?);
        }
        if number % 100 == 0 {
            siege.look()?;
        }
    }
    siege.look()?;
    drop(idle);
    // 64 KiB for each.
    siege.end(3000 * (64 << 10))
}

/// A batch that is right, then made wrong at one place, with its CRC made right again unless that is what is wrong.
fn lies() -> Vec<(&'static str, BytesMut)> {
    let honest = || Batch::of(["one", "two", "three"]).encode();
    let put = |at: usize, bytes: &[u8], reseal: bool| {
        let mut batch = honest();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        if reseal {
            seal(&mut batch);
        }
        batch
    };
    let mut lies = vec![
        ("a count of 4", put(57, &4i32.to_be_bytes(), true)),
        ("a count of 2", put(57, &2i32.to_be_bytes(), true)),
        ("a count of 0", put(57, &0i32.to_be_bytes(), true)),
        ("a negative count", put(57, &(-1i32).to_be_bytes(), true)),
        ("a huge count", put(57, &i32::MAX.to_be_bytes(), true)),
        ("a larger last offset delta", put(23, &9i32.to_be_bytes(), true)),
        ("a smaller last offset delta", put(23, &1i32.to_be_bytes(), true)),
        ("a negative last offset delta", put(23, &(-1i32).to_be_bytes(), true)),
        ("a larger size", put(8, &1000i32.to_be_bytes(), false)),
        ("a smaller size", put(8, &60i32.to_be_bytes(), false)),
        ("a negative size", put(8, &(-5i32).to_be_bytes(), false)),
        ("a huge size", put(8, &i32::MAX.to_be_bytes(), false)),
        ("the control bit", put(21, &0x20i16.to_be_bytes(), true)),
        ("the transactional bit without a transaction", put(21, &0x10i16.to_be_bytes(), true)),
        ("codec 5", put(21, &5i16.to_be_bytes(), true)),
        ("codec 7", put(21, &7i16.to_be_bytes(), true)),
        ("gzip that is none", put(21, &1i16.to_be_bytes(), true)),
        ("snappy that is none", put(21, &2i16.to_be_bytes(), true)),
        ("lz4 that is none", put(21, &3i16.to_be_bytes(), true)),
        ("zstd that is none", put(21, &4i16.to_be_bytes(), true)),
        ("magic 1", put(16, &[1], false)),
        ("magic 3", put(16, &[3], false)),
        ("a wrong CRC", put(HEAD + 3, &[0xee], false)),
        ("a producer id without an epoch", put(43, &5i64.to_be_bytes(), true)),
        ("a record that is larger than the batch", put(HEAD, &[0x7e], true)),
        ("a record with a negative size", put(HEAD, &[0x01], true)),
    ];
    lies.push(("half a batch", {
        let half = honest();
        BytesMut::from(&half[..half.len() / 2])
    }));
    lies.push(("two batches", BytesMut::from(&[&honest()[..], &honest()[..]].concat()[..])));
    lies.push(("nothing at all", BytesMut::new()));
    lies.push(("a gzip bomb", bomb()));
    lies
}

/// A gigabyte of zeroes in a megabyte.
fn bomb() -> BytesMut {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeroes = vec![0; 1 << 20];
    for _ in 0..150 {
        gzip.write_all(&zeroes).expect("memory takes everything");
    }
    let mut batch = Batch::of(Vec::<Bytes>::new()).encode();
    batch.extend_from_slice(&gzip.finish().expect("memory takes everything"));
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[21..23].copy_from_slice(&1i16.to_be_bytes());
    batch[23..27].copy_from_slice(&0i32.to_be_bytes());
    batch[57..61].copy_from_slice(&1i32.to_be_bytes());
    seal(&mut batch);
    batch
}

#[test]
fn batches_whose_header_lies() -> Result<()> {
    let _turn = one_at_a_time();
    let mut siege = Siege::begin()?;
    Operator::of(&siege.broker)?.topic("lies", 1, &[])?;
    let mut connection = Connection::plain(siege.broker.plaintext_address())?;
    for (stored, (lie, batch)) in lies().into_iter().enumerate() {
        let answer = connection.call(&produce_request("lies", 0, -1, batch.freeze()), PRODUCE).context(lie)?;
        let (code, _) = produced(&answer)?;
        let error = ResponseError::try_from_code(code).with_context(|| format!("{lie} is taken"))?;
        ensure!(REFUSALS.contains(&error), "{lie} is answered with {error:?}");
        // A good batch behind it gets the next offset: nothing was stored.
        let offset = produce(&mut connection, "lies", 0, Batch::of(["truth"]).encode().freeze())?;
        ensure!(offset == stored as i64, "after {lie}: offset {offset} instead of {stored}");
        siege.look()?;
    }
    siege.end(MEMORY)
}
