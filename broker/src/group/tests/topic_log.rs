//! The coordinator over real partitions in a folder.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::catalog::{CATALOG_PARTITION, Catalog, CatalogRecord, PartitionLog, Topic, TopicName};
use crate::clock::{Clock, ManualClock};
use crate::group::{Coordinator, Identity, OFFSETS, OFFSETS_TOPIC, OffsetValue, Settings};
use crate::log::{LogConfig, Logs};
use crate::state_topic::TopicLog;
use crate::store::PartitionId;
use crate::store::local::{Durability, LocalSettings, LocalStore, fs::RealFs};

const PARTITIONS: i32 = 3;

struct Broker {
    catalog: Arc<Catalog>,
    logs: Arc<Logs>,
    coordinator: Arc<Coordinator>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Broker {
    async fn start(folder: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_000_000));
        let settings = LocalSettings { path: folder.to_owned(), durability: Durability::Fsync, reserve_bytes: 0 };
        let store = LocalStore::open(settings, Arc::new(RealFs), clock.clone()).expect("an open store");
        let logs = Logs::new(store, clock.clone());
        let config = Arc::new(LogConfig { internal: true, ..LogConfig::default() });
        logs.open(CATALOG_PARTITION, config, true).await.expect("the catalog's partition");
        let log = PartitionLog::new(logs.clone(), clock.clone());
        let catalog = Catalog::load(Box::new(log)).await.expect("a catalog");
        let known = catalog.image().topic(OFFSETS_TOPIC).map_or_else(Vec::new, |topic| {
            let id = |index| PartitionId { topic: topic.id, index };
            (0..topic.partitions).map(|index| (id(index), Arc::new(OFFSETS.log_config()))).collect()
        });
        logs.load(known, &[CATALOG_PARTITION]).await.expect("loaded partitions");
        let log = TopicLog::new(OFFSETS, catalog.clone(), logs.clone(), PARTITIONS);
        let coordinator = Coordinator::new(Settings::default(), clock, Arc::new(log), catalog.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&coordinator).run(stop.clone()));
        while coordinator.list().1.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        Self { catalog, logs, coordinator, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the coordinator stops in peace");
        self.logs.close().await.expect("closed logs");
    }

    /// Puts a new topic in the place of the one with this name, as when the broker died before anybody was told.
    async fn replace_topic(&self, name: &str) {
        let id = self.catalog.image().topic(name).map(|topic| topic.id);
        let name = TopicName::parse(name).expect("a name");
        let topic =
            Topic { id: Uuid::new_v4(), name, partitions: 3, replication_factor: 1, configs: Default::default() };
        let deleted = id.map(|id| CatalogRecord::TopicDeleted { id });
        let records = deleted.into_iter().chain([CatalogRecord::Topic(topic)]).collect();
        self.catalog.change(|_| Ok::<_, Infallible>((records, ()))).await.expect("changed");
    }

    async fn commit(&self, group: &str, offset: i64) -> Result<(), ResponseError> {
        let who = Identity { group: group.into(), generation: -1, member: "".into(), instance: None };
        let value = OffsetValue {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_timestamp: 1_000_000,
            expire_timestamp: None,
            topic_id: self.catalog.image().topic("t").map(|topic| topic.id),
        };
        let partitions = (0..3).map(|index| (("t".into(), index), value.clone()));
        self.coordinator.commit(&who, partitions.collect()).await
    }

    fn committed(&self, group: &str) -> Option<i64> {
        let offset = |offsets: &crate::group::Offsets| offsets.get("t", 2).map(|value| value.offset);
        self.coordinator.offsets(group, offset).expect("loaded")
    }
}

#[tokio::test]
async fn offsets_survive_a_restart_of_the_broker() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path()).await;
    let topic = broker.catalog.image().topic(OFFSETS_TOPIC).expect("made at start").clone();
    assert_eq!(topic.partitions, PARTITIONS);
    for number in 0..10 {
        broker.commit(&format!("group-{number}"), number).await.expect("committed");
        broker.commit(&format!("group-{number}"), number + 100).await.expect("committed");
    }
    let used = |index| {
        let partition = broker.logs.get(PartitionId { topic: topic.id, index }).expect("open");
        partition.bounds().log_end > 0
    };
    assert!((0..PARTITIONS).all(used), "groups are spread over the partitions");
    broker.coordinator.delete_group(&"group-9".into()).await.expect("deleted");
    broker.stop().await;

    let broker = Broker::start(folder.path()).await;
    assert_eq!(broker.catalog.image().topic(OFFSETS_TOPIC).map(|topic| topic.id), Some(topic.id));
    for number in 0..9 {
        assert_eq!(broker.committed(&format!("group-{number}")), Some(number + 100));
    }
    assert_eq!(broker.committed("group-9"), None);
    broker.stop().await;
}

#[tokio::test]
async fn a_new_topic_does_not_inherit_the_offsets_of_a_deleted_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(folder.path()).await;
    broker.replace_topic("t").await;
    broker.commit("g", 42).await.expect("committed");
    broker.stop().await;

    let broker = Broker::start(folder.path()).await;
    assert_eq!(broker.committed("g"), Some(42), "the topic is still the same");
    broker.replace_topic("t").await;
    broker.stop().await;

    let broker = Broker::start(folder.path()).await;
    while broker.committed("g").is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let ends = |broker: &Broker| {
        let topic = broker.catalog.image().topic(OFFSETS_TOPIC).expect("there").id;
        let end = |index| broker.logs.get(PartitionId { topic, index }).expect("open").bounds().log_end;
        (0..PARTITIONS).map(end).sum::<i64>()
    };
    let written = ends(&broker);
    broker.commit("other", 7).await.expect("committed");
    broker.stop().await;

    let broker = Broker::start(folder.path()).await;
    assert_eq!((broker.committed("g"), broker.committed("other")), (None, Some(7)));
    assert_eq!(ends(&broker), written + 3, "what was removed once is not removed again");
    broker.stop().await;
}
