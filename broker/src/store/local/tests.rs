//! The local store on real files.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::fs::RealFs;
use super::{Durability, LocalSettings, LocalStore};
use crate::clock::ManualClock;
use crate::store::Store;
use crate::store::conformance::{self, Place};

fn settings(folder: &TempDir) -> LocalSettings {
    LocalSettings { path: folder.path().join("data"), durability: Durability::Fsync, reserve_bytes: 0 }
}

fn open(settings: LocalSettings) -> Arc<LocalStore> {
    LocalStore::open(settings, Arc::new(RealFs), Arc::new(ManualClock::at(1_000_000))).expect("the folder is free")
}

struct OnFiles(TempDir, Durability);

impl Place for OnFiles {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        let settings = LocalSettings { durability: self.1, ..settings(&self.0) };
        async move { open(settings) as Arc<dyn Store> }.boxed()
    }
}

fn temp() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

#[tokio::test]
async fn conforms() {
    conformance::run(|| OnFiles(temp(), Durability::Fsync)).await;
}

#[tokio::test]
async fn conforms_in_page_cache_mode() {
    conformance::run(|| OnFiles(temp(), Durability::PageCache)).await;
}
