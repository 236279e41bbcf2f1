//! The issuer's keys as they are known now: read at the start, again every so often, and when a token names a key that is
//! not known, though not more often than every few seconds. While they cannot be read, the known ones serve for a time.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::fetch::{FetchError, Source};
use super::jwk::{Algorithm, Key, KeySet};
use crate::clock::Clock;
use crate::limits;

struct Known {
    keys: KeySet,
    /// When they were last read, milliseconds since 1970.
    read_ms: i64,
}

/// The keys of one issuer. One per broker.
pub struct Keys {
    source: Source,
    clock: Arc<dyn Clock>,
    refresh: Duration,
    keep_ms: i64,
    known: ArcSwapOption<Known>,
    /// When somebody last tried to read them. Held while they are read, so that one reads for all who wait.
    attempt_ms: Mutex<Option<i64>>,
}

impl Keys {
    /// A file has to be there; an endpoint may come later.
    pub async fn open(
        source: Source,
        refresh: Duration,
        keep: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FetchError> {
        let keep_ms = keep.as_millis().min(i64::MAX as u128) as i64;
        let keys =
            Self { source, clock, refresh, keep_ms, known: ArcSwapOption::empty(), attempt_ms: Mutex::default() };
        if keys.source.is_file() {
            keys.refresh().await?;
        }
        Ok(keys)
    }

    /// Keys that may have made a signature. Empty when there are none, or what is known is too old.
    pub async fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
        let found = self.look(id, algorithm);
        if !found.is_empty() {
            return found;
        }
        self.refresh_for(id, algorithm).await;
        self.look(id, algorithm)
    }

    /// When the keys were last read, milliseconds since 1970.
    pub fn read_ms(&self) -> Option<i64> {
        self.known.load().as_ref().map(|known| known.read_ms)
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
        match self.known.load().as_ref() {
            Some(known) if self.clock.now_ms().saturating_sub(known.read_ms) <= self.keep_ms => {
                known.keys.candidates(id, algorithm).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whoever can reach the port can name keys that do not exist, hence the pause.
    async fn refresh_for(&self, id: Option<&str>, algorithm: Algorithm) {
        let mut attempt_ms = self.attempt_ms.lock().await;
        let now_ms = self.clock.now_ms();
        let recent = attempt_ms.is_some_and(|at| now_ms.abs_diff(at) < limits::JWKS_PAUSE_MS);
        if recent || !self.look(id, algorithm).is_empty() {
            return;
        }
        *attempt_ms = Some(now_ms);
        let _ = self.read().await;
    }

    async fn refresh(&self) -> Result<(), FetchError> {
        let mut attempt_ms = self.attempt_ms.lock().await;
        *attempt_ms = Some(self.clock.now_ms());
        self.read().await
    }

    async fn read(&self) -> Result<(), FetchError> {
        match self.source.read().await {
            Ok(keys) => {
                let changed = self.known.load().as_ref().is_none_or(|known| known.keys != keys);
                if changed {
                    tracing::info!(source = %self.source, keys = keys.len(), "the token issuer's keys were read");
                }
                self.known.store(Some(Arc::new(Known { keys, read_ms: self.clock.now_ms() })));
                Ok(())
            }
            Err(error) => {
                let kept_seconds = self.keep_ms / 1000;
                tracing::warn!(
                    source = %self.source, %error, kept_seconds,
                    "the token issuer's keys cannot be read; those that are known serve until they are too old"
                );
                Err(error)
            }
        }
    }

    /// Keeps the keys fresh until cancelled. After a failure it tries again sooner.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let every = if self.source.is_file() { limits::JWKS_FILE_INTERVAL.min(self.refresh) } else { self.refresh };
        while let Some(outcome) = stop.run_until_cancelled(self.refresh()).await {
            let pause = if outcome.is_ok() { every } else { limits::JWKS_RETRY.min(every) };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}
