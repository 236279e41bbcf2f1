//! Object stores that misbehave on demand.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a conditional write meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Honesty {
    Honest,
    /// Create-if-absent overwrites.
    CreateOverwrites,
    /// Replace-if-unchanged overwrites.
    UpdateOverwrites,
    /// A condition that does not hold is refused, but the object is replaced all the same.
    RefusesAndWrites,
    /// Conditional writes are done, and then said to have failed: the answer to the first attempt was lost.
    LosesAnswers,
    /// Conditions are not known.
    Unknown,
}

/// A store in memory that can be slow, stand still, fail, and lie.
#[derive(Debug)]
pub(super) struct TestStore {
    inner: InMemory,
    honesty: Honesty,
    delay: Mutex<Duration>,
    /// Requests wait while this is set.
    held: watch::Sender<bool>,
    failing: AtomicBool,
    pub(super) puts: AtomicUsize,
}

impl TestStore {
    pub(super) fn new(honesty: Honesty) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            honesty,
            delay: Mutex::new(Duration::ZERO),
            held: watch::Sender::new(false),
            failing: AtomicBool::new(false),
            puts: AtomicUsize::new(0),
        })
    }

    pub(super) fn slow(delay: Duration) -> Arc<Self> {
        let store = Self::new(Honesty::Honest);
        *store.delay.lock() = delay;
        store
    }

    pub(super) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    pub(super) fn fail(&self, fail: bool) {
        self.failing.store(fail, Ordering::SeqCst);
    }

    async fn meet(&self) -> Result<()> {
        let mut held = self.held.subscribe();
        _ = held.wait_for(|held| !held).await;
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match self.failing.load(Ordering::SeqCst) {
            true => Err(Error::Generic { store: "test", source: "made to fail".into() }),
            false => Ok(()),
        }
    }
}

impl fmt::Display for TestStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TestStore")
    }
}

#[async_trait]
impl ObjectStore for TestStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        use object_store::PutMode::{Create, Overwrite, Update};
        self.meet().await?;
        self.puts.fetch_add(1, Ordering::SeqCst);
        let overwrite = PutOptions { mode: Overwrite, ..options.clone() };
        let conditional = !matches!(options.mode, Overwrite);
        match (self.honesty, &options.mode) {
            (Honesty::CreateOverwrites, Create) | (Honesty::UpdateOverwrites, Update(_)) => {
                self.inner.put_opts(location, payload, overwrite).await
            }
            (Honesty::RefusesAndWrites, _) if conditional => {
                let put = self.inner.put_opts(location, payload.clone(), options).await;
                if put.is_err() {
                    self.inner.put_opts(location, payload, overwrite).await?;
                }
                put
            }
            (Honesty::LosesAnswers, _) if conditional => {
                self.inner.put_opts(location, payload, options).await?;
                let source = "it is there by now".into();
                Err(Error::Precondition { path: location.to_string(), source })
            }
            (Honesty::Unknown, _) if conditional => Err(Error::NotImplemented {
                operation: "conditional put".to_owned(),
                implementer: "TestStore".to_owned(),
            }),
            _ => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.meet().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet().await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.meet().await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meet().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meet().await?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// Bytes of all objects below a path.
pub(super) async fn stored_bytes(store: &dyn ObjectStore, below: &Path) -> u64 {
    let mut objects = store.list(Some(below));
    let mut bytes = 0;
    while let Some(object) = objects.next().await {
        bytes += object.map_or(0, |object| object.size);
    }
    bytes
}
