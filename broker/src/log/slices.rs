//! Bytes of slices, read where they lie: in memory or in files, the latter away from the async workers.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::store::{Piece, Slice, StoreError};

/// All bytes of a slice in one piece.
pub async fn read_slice(slice: Slice) -> Result<Bytes, StoreError> {
    match slice.pieces.as_slice() {
        [] => return Ok(Bytes::new()),
        [Piece::Memory(bytes)] => return Ok(bytes.clone()),
        _ => {}
    }
    away(move || read_slice_blocking(&slice)).await
}

/// The same for threads that may block.
pub fn read_slice_blocking(slice: &Slice) -> Result<Bytes, StoreError> {
    let mut bytes = BytesMut::zeroed(slice.len());
    let mut at = 0;
    for piece in &slice.pieces {
        let into = &mut bytes[at..at + piece.len()];
        match piece {
            Piece::Memory(memory) => into.copy_from_slice(memory),
            Piece::File(range) => range.file.read_exact_at(into, range.position).map_err(|error| {
                StoreError::Rejected(format!("cannot read {} bytes of a segment: {error}", range.len).into())
            })?,
        }
        at += piece.len();
    }
    Ok(bytes.freeze())
}

/// Runs something slow on a thread of its own kind.
pub(super) async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Rejected(Arc::from(format!("a blocking task ended early: {error}")))),
    }
}
