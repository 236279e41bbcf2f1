//! Small ext4 file systems in files, so that a disk can be full, stand still, or lose its power.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;

/// Size of the disk inside the disk.
const INNER_BYTES: u64 = 256 << 20;

/// A mounted file system; unmounted when dropped.
pub struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes a file system of that size in `folder`.
    pub fn make(folder: &Path, name: &str, bytes: u64) -> Result<Self> {
        let image = folder.join(format!("{name}.img"));
        std::fs::File::create(&image)?.set_len(bytes)?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", path(&image)?])?;
        Self::mount(&image, folder.join(name))
    }

    /// Mounts an image that is there already.
    pub fn mount(image: &Path, mount: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&mount)?;
        run("mount", &["-o", "loop", path(image)?, path(&mount)?])?;
        Ok(Self { image: image.to_owned(), mount })
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// While frozen, nothing reaches the file system's own disk, but what is on it can be read.
    pub fn freeze(&self) -> Result<Frozen> {
        run("fsfreeze", &["-f", path(&self.mount)?])?;
        Ok(Frozen { mount: self.mount.clone() })
    }

    pub fn image(&self) -> &Path {
        &self.image
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Ok(mount) = path(&self.mount) {
            // A process that was just killed may hold the file system for a moment; lazily, it goes when that ends.
            let _ = run("umount", &["-l", mount]);
        }
    }
}

/// Thaws when dropped.
pub struct Frozen {
    mount: PathBuf,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Ok(mount) = path(&self.mount) {
            let _ = run("fsfreeze", &["-u", mount]);
        }
    }
}

/// A disk inside a disk: while the outer one is frozen, the inner one takes writes into memory but cannot flush them,
/// and a copy of its image is what a power cut leaves.
pub struct Rig {
    // Unmounted in this order.
    inner: Volume,
    outer: Volume,
    folder: tempfile::TempDir,
    cuts: usize,
}

impl Rig {
    /// `None`, said aloud, where nothing can be mounted.
    pub fn build() -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let outer = match Volume::make(folder.path(), "outer", 2 << 30) {
            Ok(outer) => outer,
            Err(error) => {
                println!("SKIPPED: no file system can be mounted here: {error:#}");
                return Ok(None);
            }
        };
        let inner = Volume::make(outer.path(), "inner", INNER_BYTES)?;
        Ok(Some(Self { inner, outer, folder, cuts: 0 }))
    }

    /// Where a broker can keep its data.
    pub fn data(&self) -> PathBuf {
        self.inner.path().join("data")
    }

    /// From now on nothing on the inner disk becomes durable.
    pub fn hold_flushes(&self) -> Result<Frozen> {
        self.outer.freeze()
    }

    /// Kills the broker and swaps the inner disk for what a power cut at this moment would have left of it. The broker
    /// starts on that next time.
    pub fn cut_power(&mut self, broker: &mut Broker, frozen: Frozen) -> Result<()> {
        self.cuts += 1;
        let left = self.folder.path().join(format!("left-{}.img", self.cuts));
        let (from, to) = (self.inner.image().to_owned(), left.clone());
        run("cp", &["--sparse=always", path(&from)?, path(&to)?])?;
        let mut process = broker.kill_later()?;
        // The process may sit in a flush, which ends only now.
        drop(frozen);
        process.wait()?;
        let image = self.outer.path().join(format!("inner-{}.img", self.cuts));
        run("cp", &["--sparse=always", path(&left)?, path(&image)?])?;
        std::fs::remove_file(&left)?;
        let mount = self.outer.path().join(format!("inner-{}", self.cuts));
        // The old disk goes when it is overwritten here; its image is no longer needed.
        self.inner = Volume::mount(&image, mount)?;
        std::fs::remove_file(from)?;
        broker.use_data(&self.data())
    }
}
fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
