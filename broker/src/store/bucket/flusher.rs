//! Flushing on demand: a moment after the first write, so that others share the request, and not more often than the
//! flush interval allows, because every flush is a paid request.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::config::{FlushOptions, FlushType};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;

/// Runs until the shard is given up. One flush is under way at a time.
pub(super) async fn run(shared: Arc<Shared>, db: Db, linger: Duration, interval: Duration, stop: CancellationToken) {
    let mut last: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.dirty.notified() => {}
        }
        let lingered = Instant::now() + linger;
        let due = last.map_or(lingered, |last| lingered.max(last + interval));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(due) => {}
        }
        last = Some(Instant::now());
        if let Err(error) = db.flush_with_options(FlushOptions { flush_type: FlushType::Wal }).await {
            shared.fail(&format!("flushing failed: {error}"));
            return;
        }
    }
}
