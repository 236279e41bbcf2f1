//! Whether the store honours conditional writes. All fencing rests on them, and some stores take the condition and
//! overwrite nevertheless, so a broker asks before it uses one.

use std::fmt::Display;

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use thiserror::Error as ThisError;
use uuid::Uuid;

use super::url::Bucket;

/// Why a store is not used: one sentence.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub enum ProbeError {
    #[error(
        "{url}: the object store {what}, so two brokers could write the same data; use one that honours conditional writes"
    )]
    Dishonest { url: String, what: &'static str },
    #[error(
        "{url}: {doing} failed ({reason}); check that the address is right and that this broker may read and write there"
    )]
    Failed { url: String, doing: &'static str, reason: String },
}

/// What the probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The store's clock when the probe object was written (ms since 1970, to the second).
    pub store_ms: i64,
}

/// Creates, replaces and deletes an object below the prefix, with and without the right to.
pub async fn probe(bucket: &Bucket) -> Result<Probed, ProbeError> {
    let path = bucket.path(&format!("probe/{}", Uuid::new_v4()));
    let probe = Probe { bucket, path: &path };
    let probed = probe.run().await;
    // It is in nobody's way when it stays.
    if let Err(error) = bucket.store.delete(&path).await {
        tracing::debug!(%path, %error, "the probe object stays");
    }
    probed
}

struct Probe<'a> {
    bucket: &'a Bucket,
    path: &'a Path,
}

/// How a conditional write ended.
enum Outcome {
    Done(UpdateVersion),
    Refused,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Probed, ProbeError> {
        let [first, second, third, fourth] = ["1", "2", "3", "4"].map(|n| format!("{n} {}", Uuid::new_v4()));
        let created = match self.put(&first, PutMode::Create, "creating an object").await? {
            Outcome::Done(version) => version,
            Outcome::Refused => return Err(self.dishonest("says that an object exists which was never made")),
        };
        if let Outcome::Done(_) = self.put(&second, PutMode::Create, "creating an object again").await? {
            return Err(self.dishonest("overwrites an object that was to be made only if absent"));
        }
        let store_ms = self.expect(&first, "overwrites an object that was to be made only if absent").await?;
        if self.bucket.local {
            return Ok(Probed { store_ms });
        }
        let stale = created.clone();
        match self.put(&third, PutMode::Update(created), "replacing an object that is unchanged").await? {
            Outcome::Done(_) => {}
            Outcome::Refused => return Err(self.dishonest("refuses to replace an object that is unchanged")),
        }
        self.expect(&third, "does not keep what it said it had replaced").await?;
        if let Outcome::Done(_) = self.put(&fourth, PutMode::Update(stale), "replacing an object that changed").await? {
            return Err(self.dishonest("overwrites an object that was to be replaced only if unchanged"));
        }
        self.expect(&third, "overwrites an object that was to be replaced only if unchanged").await?;
        Ok(Probed { store_ms })
    }

    /// A refusal may be the answer to an earlier attempt of the same request, whose answer was lost: what is stored
    /// then carries this write's stamp.
    async fn put(&self, stamp: &str, mode: PutMode, doing: &'static str) -> Result<Outcome, ProbeError> {
        let put = self.bucket.store.put_opts(self.path, PutPayload::from(stamp.to_owned()), mode.into()).await;
        match put {
            Ok(put) => Ok(Outcome::Done(put.into())),
            // Some stores call an object that changed, or is gone, not found.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }) => {
                match self.stored().await? {
                    (stored, version, _) if stored == stamp => Ok(Outcome::Done(version)),
                    _ => Ok(Outcome::Refused),
                }
            }
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                Err(self.dishonest("does not know conditional writes"))
            }
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Fails unless this stamp is stored. Returns when it was written (ms since 1970).
    async fn expect(&self, stamp: &str, otherwise: &'static str) -> Result<i64, ProbeError> {
        let (stored, _, written_ms) = self.stored().await?;
        if stored == stamp { Ok(written_ms) } else { Err(self.dishonest(otherwise)) }
    }

    async fn stored(&self) -> Result<(String, UpdateVersion, i64), ProbeError> {
        let failed = |error: Error| self.failed("reading an object back", error);
        let got = self.bucket.store.get(self.path).await.map_err(failed)?;
        let written_ms = got.meta.last_modified.timestamp_millis();
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let bytes = got.bytes().await.map_err(failed)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), version, written_ms))
    }

    fn dishonest(&self, what: &'static str) -> ProbeError {
        ProbeError::Dishonest { url: self.bucket.url.clone(), what }
    }

    fn failed(&self, doing: &'static str, reason: impl Display) -> ProbeError {
        ProbeError::Failed { url: self.bucket.url.clone(), doing, reason: reason.to_string() }
    }
}
