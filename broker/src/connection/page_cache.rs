//! Reads that never make an async worker wait for a disk: what is cached is read at once, the rest on a blocking thread.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::store::FileRange;

/// Distance between the bytes that are probed for being cached; the kernel reads ahead at least this much.
const PROBE_STEP: u64 = 128 << 10;

/// Returns when the range is (most likely) in the page cache.
pub(super) async fn warm(range: &FileRange) -> io::Result<()> {
    let end = range.position + range.len as u64;
    let mut probes = (range.position..end).step_by(PROBE_STEP as usize).chain(end.checked_sub(1));
    if probes.all(|position| cached(range, position)) {
        return Ok(());
    }
    let range = range.clone();
    blocking(move || {
        let mut scratch = vec![0; range.len.min(PROBE_STEP as usize)];
        let mut done = 0;
        while done < range.len {
            let wanted = (range.len - done).min(scratch.len());
            range.file.read_exact_at(&mut scratch[..wanted], range.position + done as u64)?;
            done += wanted;
        }
        Ok(())
    })
    .await
}

/// Fills the first `range.len` bytes of `buffer`, and hands it back.
pub(super) async fn read(range: FileRange, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut filled = 0;
    while filled < range.len {
        let position = range.position + filled as u64;
        let mut slices = [IoSliceMut::new(&mut buffer[filled..range.len])];
        match preadv2(&*range.file, &mut slices, position, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                return blocking(move || {
                    range.file.read_exact_at(&mut buffer[filled..range.len], position)?;
                    Ok(buffer)
                })
                .await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(buffer)
}

/// A file system that cannot tell counts as uncached.
fn cached(range: &FileRange, position: u64) -> bool {
    let mut byte = [0];
    preadv2(&*range.file, &mut [IoSliceMut::new(&mut byte)], position, ReadWriteFlags::NOWAIT).is_ok()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
