//! The suite that every store passes.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::super::probe::probe;
use super::super::url::{Bucket, ClusterUrl};
use super::super::{BucketStore, Shard};
use super::{environment, in_memory, settings};
use crate::store::Store;
use crate::store::conformance::{self, Place};

const SHARDS: u32 = 2;

/// A cluster URL for the tests that need a real store; they write below its prefix.
const URL: &str = "LOCKGATE_TEST_URL";

/// Partitions are spread over two shards by their topics.
struct Sharded {
    bucket: Bucket,
    _folder: Option<TempDir>,
}

impl Place for Sharded {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        async move {
            let store = BucketStore::new(Arc::new(|id: crate::store::PartitionId| {
                Some((id.topic.as_u128() % u128::from(SHARDS)) as u32)
            }));
            let environment = environment(settings());
            for number in 0..SHARDS {
                let shard = Shard::open(&self.bucket, number, None, environment.clone()).await;
                store.insert(shard.unwrap_or_else(|error| panic!("{error}")));
            }
            store as Arc<dyn Store>
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_in_memory() {
    conformance::run(|| Sharded { bucket: in_memory(), _folder: None }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_in_a_directory() {
    conformance::run(|| {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let url: ClusterUrl = format!("file://{}", folder.path().display()).parse().expect("a URL");
        let bucket = url.open().now_or_never().expect("a directory is asked nothing").expect("opened");
        Sharded { bucket, _folder: Some(folder) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LOCKGATE_TEST_URL, a cluster URL below which it may write"]
async fn conforms_at_a_url() {
    let url: ClusterUrl = std::env::var(URL).expect(URL).parse().unwrap_or_else(|error| panic!("{error}"));
    let bucket = url.open().await.unwrap_or_else(|error| panic!("{error}"));
    probe(&bucket).await.unwrap_or_else(|error| panic!("{error}"));
    conformance::run(|| {
        let prefix = bucket.path(&uuid::Uuid::new_v4().to_string());
        Sharded { bucket: Bucket { prefix, ..bucket.clone() }, _folder: None }
    })
    .await;
}
