//! Which stores the probe lets pass.

use futures_util::FutureExt;

use super::super::probe::{ProbeError, Probed, probe};
use super::super::url::{Bucket, ClusterUrl};
use super::stores::{Honesty, TestStore, stored_bytes};
use super::{bucket_on, in_memory};
use crate::clock::{Clock, SystemClock};

async fn probed(honesty: Honesty) -> Result<Probed, ProbeError> {
    probe(&bucket_on(TestStore::new(honesty))).await
}

fn is_dishonest(probed: Result<Probed, ProbeError>, says: &str) -> bool {
    matches!(&probed, Err(error @ ProbeError::Dishonest { .. }) if error.to_string().contains(says))
}

#[tokio::test]
async fn honest_stores_pass_and_nothing_stays() {
    let bucket = in_memory();
    let probed = probe(&bucket).await.expect("an honest store passes");
    assert!((probed.store_ms - SystemClock.now_ms()).abs() < 10_000, "the store's clock is told");
    assert_eq!(stored_bytes(&*bucket.store, &bucket.prefix).await, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let url: ClusterUrl = format!("file://{}", folder.path().display()).parse().expect("a URL");
    let directory: Bucket = url.open().now_or_never().expect("at once").expect("opened");
    probe(&directory).await.expect("a directory passes");
}

#[tokio::test]
async fn a_store_that_takes_conditions_and_overwrites_is_refused() {
    assert!(is_dishonest(probed(Honesty::CreateOverwrites).await, "made only if absent"));
    assert!(is_dishonest(probed(Honesty::UpdateOverwrites).await, "replaced only if unchanged"));
    assert!(is_dishonest(probed(Honesty::RefusesAndWrites).await, "made only if absent"));
    assert!(is_dishonest(probed(Honesty::Unknown).await, "does not know conditional writes"));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_lie() {
    probed(Honesty::LosesAnswers).await.expect("what is stored carries the stamp of the write that was refused");
}

#[tokio::test]
async fn a_store_that_fails_is_said_to_fail() {
    let store = TestStore::new(Honesty::Honest);
    store.fail(true);
    let error = probe(&bucket_on(store)).await.expect_err("it failed");
    assert!(matches!(&error, ProbeError::Failed { .. }));
    assert!(error.to_string().starts_with("memory://cluster: creating an object failed"), "{error}");
}
