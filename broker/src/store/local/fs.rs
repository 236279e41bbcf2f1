//! The one layer through which the local store touches files, so that tests can put a simulated disk under it.
//!
//! Nothing here is durable until it is synced: bytes by [`DataFile::sync_data`], names (creates, renames, removals)
//! by [`FileSystem::sync_dir`], either by [`Volume::sync`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{Advice, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use crate::store::{FileRange, Piece, Space};

/// Largest page of the systems this runs on (arm64 and ppc64 may use 64 KiB).
const LARGEST_PAGE: u64 = 64 << 10;

/// Names and folders.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes the folder and those above it; it may exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, in no order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file, or empties the one that exists.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DataFile>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>>;
    /// Atomic; replaces a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// The folder must be empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes all creates, renames and removals in the folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on a data folder; `WouldBlock` when it is held.
    fn volume(&self, data: &Path) -> io::Result<Arc<dyn Volume>>;
}

/// The file system under a data folder, with the folder's lock.
pub trait Volume: Send + Sync + 'static {
    /// Makes everything written before durable: bytes and names.
    fn sync(&self) -> io::Result<()>;
    fn space(&self) -> io::Result<Space>;
    /// Gives the lock back; `sync` and `space` still work.
    fn unlock(&self);
}

/// One open file.
pub trait DataFile: Send + Sync + 'static {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Writes the parts one after the other from `position`.
    fn write_at(&self, position: u64, parts: [&[u8]; 2]) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file. With `cached`, fails with `WouldBlock`
    /// where the bytes would have to come from the disk.
    fn read_at(&self, position: u64, buffer: &mut [u8], cached: bool) -> io::Result<usize>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Forgets cached bytes from `position` on that need no writing, so that reads see what the disk holds.
    fn drop_cache(&self, position: u64) -> io::Result<()>;
    /// A part of the file to be sent.
    fn piece(&self, position: u64, len: usize) -> io::Result<Piece>;
}

/// Fills the buffer or fails with `UnexpectedEof`.
pub(super) fn read_exact_at(file: &dyn DataFile, position: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file.read_at(position, buffer, false)? {
        read if read == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The whole file; `limit` bounds the memory.
pub(super) fn read_whole(file: &dyn DataFile, limit: u64) -> io::Result<Vec<u8>> {
    let len = file.size()?;
    if len > limit {
        return Err(io::Error::other(format!("the file has {len} bytes, more than the {limit} expected")));
    }
    let mut bytes = vec![0; len as usize];
    read_exact_at(file, 0, &mut bytes)?;
    Ok(bytes)
}

/// Files of the operating system.
pub struct RealFs;

impl FileSystem for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // Records are nobody else's business on this machine.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        // Names that are not UTF-8 are none of ours.
        Ok(fs::read_dir(path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(Arc::new(file))))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DataFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(Arc::new(file))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn volume(&self, data: &Path) -> io::Result<Arc<dyn Volume>> {
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(data.join(".lock"))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Arc::new(RealVolume { folder: File::open(data)?, lock: Mutex::new(Some(lock)) }))
    }
}

struct RealVolume {
    /// Open from before the first write: syncfs reports only errors that came after its descriptor was opened.
    folder: File,
    lock: Mutex<Option<File>>,
}

impl Volume for RealVolume {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.folder)?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }

    fn unlock(&self) {
        self.lock.lock().take();
    }
}

struct RealFile(Arc<File>);

impl DataFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, position: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        let [head, rest] = parts;
        let total = head.len() + rest.len();
        let mut done = 0;
        while done < total {
            let at = position + done as u64;
            let (head, rest) = (head.get(done..).unwrap_or(&[]), &rest[done.saturating_sub(head.len())..]);
            match rustix::io::pwritev(&*self.0, &[IoSlice::new(head), IoSlice::new(rest)], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8], cached: bool) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let (at, rest) = (position + done as u64, &mut buffer[done..]);
            let read = match cached {
                true => rustix::io::preadv2(&*self.0, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT),
                false => rustix::io::pread(&*self.0, rest, at),
            };
            match read {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                // Some file systems cannot answer from the cache alone.
                Err(Errno::OPNOTSUPP) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn drop_cache(&self, position: u64) -> io::Result<()> {
        // The kernel keeps a page of which only a part is named.
        let position = position - position % LARGEST_PAGE;
        Ok(rustix::fs::fadvise(&*self.0, position, None, Advice::DontNeed)?)
    }

    fn piece(&self, position: u64, len: usize) -> io::Result<Piece> {
        Ok(Piece::File(FileRange { file: self.0.clone(), position, len }))
    }
}
