//! krafka against the broker: see `tests/clients/python/scenarios.py` for the scenarios and the environment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use krafka::admin::{ConfigResource, NewTopic};
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRecord};
use krafka::producer::Producer;
use krafka::{Compression, Kafka, Record};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const CODEC_RECORDS: usize = 200;
const IDEMPOTENT_RECORDS: usize = 300;
const DEADLINE: Duration = Duration::from_secs(40);

fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

async fn connect(bootstrap: &str) -> Result<Kafka> {
    let (user, password) = (env("LG_USER")?, env("LG_PASSWORD")?);
    let security = match env("LG_MECHANISM")?.as_str() {
        "SCRAM-SHA-512" => AuthConfig::sasl_scram_sha512(user, password),
        _ => AuthConfig::sasl_scram_sha256(user, password),
    };
    let security = security.with_tls(TlsConfig::new().with_ca_cert(env("LG_CA")?));
    // krafka gives up on its first connection where the others try again.
    let end = Instant::now() + DEADLINE;
    loop {
        match Kafka::builder(env(bootstrap)?).client_id("krafka").security(security.clone()).connect().await {
            Ok(kafka) => return Ok(kafka),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn topic(name: &str) -> Result<String> {
    Ok(env("LG_PREFIX")? + name)
}

async fn read(kafka: &Kafka, topic: &str, count: usize) -> Result<(Vec<ConsumerRecord>, i64)> {
    let consumer = kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest).build().await?;
    consumer.assign(topic, vec![0]).await?;
    consumer.seek_to_beginning(topic, 0).await?;
    let mut seen = Vec::new();
    let end = Instant::now() + DEADLINE;
    while seen.len() < count && Instant::now() < end {
        seen.extend(consumer.poll(Duration::from_millis(200)).await?);
    }
    let high = consumer.fetch_watermarks(topic, 0).await?.1;
    consumer.close().await?;
    Ok((seen, high))
}

async fn codecs() -> Result<()> {
    let kafka = connect("LG_BOOTSTRAP").await?;
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (name, codec) in codecs {
        let topic = topic(&format!("codec-{name}"))?;
        let producer = kafka.producer().compression(codec).linger(Duration::from_millis(50)).build().await?;
        let value = |i: usize| format!("value-{i}-{}", "x".repeat(200));
        let mut acks = Vec::new();
        for i in 0..CODEC_RECORDS {
            let record = Record::new(&topic, value(i)).key(format!("key-{i}")).partition(0);
            acks.push(producer.enqueue(record.header("h", i.to_string()).header("h", "again")).await?);
        }
        for ack in acks {
            ensure!(ack.await?.is_persisted(), "a record was not stored");
        }
        producer.close().await?;
        let (seen, _) = read(&kafka, &topic, CODEC_RECORDS).await?;
        ensure!(seen.len() == CODEC_RECORDS, "{} records of {name}", seen.len());
        for (i, record) in seen.iter().enumerate() {
            ensure!(record.key_str() == Some(&format!("key-{i}")), "{name}: record {i} has key {:?}", record.key_str());
            ensure!(record.value_str() == Some(&value(i)), "{name}: record {i} has another value");
            let headers = [Some(Bytes::from(i.to_string())), Some(Bytes::from("again"))];
            ensure!(record.headers_by_key("h") == [headers[0].as_ref(), headers[1].as_ref()], "{name}: headers of {i}");
        }
    }
    Ok(())
}

/// A group member in a task of its own; a record counts once it is committed.
struct Member {
    consumer: Arc<Consumer>,
    values: Arc<Mutex<Vec<usize>>>,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Member {
    async fn join(name: &str) -> Result<Self> {
        // Members that share a connection pool share one connection to the coordinator, where a waiting JoinGroup of one
        // holds up the other's: each has its own, as two processes would.
        let consumer = connect("LG_BOOTSTRAP")
            .await?
            .consumer(name)
            .enable_auto_commit(false)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .session_timeout(Duration::from_secs(10))
            .heartbeat_interval(Duration::from_millis(300))
            .build()
            .await?;
        let (consumer, values, stop) = (Arc::new(consumer), Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (own, seen, stopping, topic) = (consumer.clone(), values.clone(), stop.clone(), name.to_owned());
        let task = tokio::spawn(async move {
            own.subscribe([topic]).await?;
            while !stopping.is_cancelled() {
                let records = own.poll(Duration::from_millis(100)).await?;
                if !records.is_empty() {
                    own.commit().await?;
                    let values: Result<Vec<usize>> =
                        records.iter().map(|r| Ok(r.value_str().context("a value")?.parse()?)).collect();
                    seen.lock().await.extend(values?);
                }
            }
            own.close().await?;
            Ok(())
        });
        Ok(Self { consumer, values, stop, task })
    }

    async fn count(&self) -> usize {
        self.values.lock().await.len()
    }

    async fn assigned(&self) -> usize {
        self.consumer.assignment().await.values().map(Vec::len).sum()
    }

    async fn leave(self) -> Result<Vec<usize>> {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await???;
        Ok(std::mem::take(&mut *self.values.lock().await))
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        ensure!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn produce(producer: &Producer, topic: &str, range: std::ops::Range<usize>) -> Result<()> {
    let mut acks = Vec::new();
    for i in range {
        acks.push(producer.enqueue(Record::new(topic, i.to_string()).partition((i % 4) as i32)).await?);
    }
    for ack in acks {
        ensure!(ack.await?.is_persisted(), "a record was not stored");
    }
    Ok(())
}

async fn group() -> Result<()> {
    let kafka = connect("LG_BOOTSTRAP").await?;
    let topic = topic("group")?;
    let producer = kafka.producer().build().await?;
    produce(&producer, &topic, 0..100).await?;
    let a = Member::join(&topic).await?;
    until("A has 100 records", async || a.count().await >= 100).await?;
    let b = Member::join(&topic).await?;
    until("both have two partitions", async || (a.assigned().await, b.assigned().await) == (2, 2)).await?;
    produce(&producer, &topic, 100..200).await?;
    until("all 200 records are there", async || a.count().await + b.count().await >= 200).await?;
    let mut values = b.leave().await?;
    ensure!(values.len() == 50, "B has {} records", values.len());
    until("A has all partitions again", async || a.assigned().await == 4).await?;
    values.extend(a.leave().await?);
    values.sort_unstable();
    ensure!(values.into_iter().eq(0..200), "lost or repeated records");
    produce(&producer, &topic, 200..240).await?;
    let c = Member::join(&topic).await?;
    until("C has 40 records", async || c.count().await >= 40).await?;
    let mut values = c.leave().await?;
    values.sort_unstable();
    ensure!(values.into_iter().eq(200..240), "did not resume from the commits");
    Ok(())
}

async fn idempotent() -> Result<()> {
    let kafka = connect("LG_CUT").await?;
    let topic = topic("idempotent")?;
    let producer = kafka.producer().linger(Duration::from_millis(5)).build().await?;
    let mut acks = Vec::new();
    for i in 0..IDEMPOTENT_RECORDS {
        acks.push(producer.enqueue(Record::new(&topic, i.to_string()).partition(0)).await?);
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    for ack in acks {
        ensure!(ack.await?.is_persisted(), "a record was not stored");
    }
    let (seen, high) = read(&connect("LG_BOOTSTRAP").await?, &topic, IDEMPOTENT_RECORDS).await?;
    for (i, record) in seen.iter().enumerate() {
        ensure!(record.value_str() == Some(&i.to_string()), "record {i} is {:?}", record.value_str());
    }
    ensure!(
        (seen.len(), high) == (IDEMPOTENT_RECORDS, IDEMPOTENT_RECORDS as i64),
        "{} records, end {high}",
        seen.len()
    );
    Ok(())
}

async fn admin() -> Result<()> {
    let kafka = connect("LG_BOOTSTRAP").await?;
    let admin = kafka.admin();
    let topic = topic("admin")?;
    let new = NewTopic::new(&topic, 2, 1)?.with_config("retention.ms", "60000");
    for (_, made) in admin.create_topics([new], Default::default()).await? {
        made?;
    }
    for (_, made) in admin.create_partitions([(topic.as_str(), 3)], Default::default()).await? {
        made?;
    }
    until("there are three partitions", async || {
        let described = admin.describe_topics([topic.as_str()], Default::default()).await;
        described.is_ok_and(|mut topics| {
            topics.remove(&topic).is_some_and(|topic| topic.is_ok_and(|topic| topic.partitions.len() == 3))
        })
    })
    .await?;
    let configs = admin.describe_configs([ConfigResource::topic(&topic)], Default::default()).await?;
    ensure!(format!("{configs:?}").contains("60000"), "the config is not there: {configs:?}");
    ensure!(admin.describe_cluster(Default::default()).await?.brokers.len() == 1, "one broker");
    for (_, deleted) in admin.delete_topics([topic.as_str()], Default::default()).await? {
        deleted?;
    }
    until("the topic is gone", async || {
        let listed = admin.list_topics(Default::default()).await;
        listed.is_ok_and(|topics| !format!("{topics:?}").contains(&topic))
    })
    .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut failed = false;
    for scenario in std::env::args().skip(1) {
        let started = Instant::now();
        let outcome = match scenario.as_str() {
            "admin" => admin().await,
            "codecs" => codecs().await,
            "group" => group().await,
            "idempotent" => idempotent().await,
            other => (|| bail!("no such scenario: {other}"))(),
        };
        failed |= outcome.is_err();
        let verdict = serde_json::json!({
            "scenario": scenario,
            "ok": outcome.is_ok(),
            "detail": outcome.err().map(|error| format!("{error:#}")),
            "seconds": started.elapsed().as_secs_f64(),
        });
        println!("{verdict}");
    }
    std::process::exit(i32::from(failed));
}
