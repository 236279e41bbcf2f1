//! A catalog log for tests: it lasts as long as the process.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::{CatalogError, CatalogLog};

#[derive(Default)]
pub(crate) struct MemoryLog(Mutex<Vec<(i64, Bytes)>>);

impl CatalogLog for MemoryLog {
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'_, Result<i64, CatalogError>> {
        let mut log = self.0.lock();
        let first = log.last().map_or(0, |(offset, _)| offset + 1);
        log.extend((first..).zip(records));
        ready(Ok(first)).boxed()
    }

    fn read(&self) -> BoxFuture<'_, Result<Vec<(i64, Bytes)>, CatalogError>> {
        ready(Ok(self.0.lock().clone())).boxed()
    }

    fn forget_before(&self, offset: i64) -> BoxFuture<'_, Result<(), CatalogError>> {
        self.0.lock().retain(|(found, _)| *found >= offset);
        ready(Ok(())).boxed()
    }
}
