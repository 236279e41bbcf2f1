//! Small ext4 file systems in files, so that a disk can be full, stand still, or lose its power.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        run("fsfreeze", &["-f", path(&self.mount)?])?;
        Ok(Frozen { volume: self })
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
pub struct Frozen<'a> {
    volume: &'a Volume,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Ok(mount) = path(&self.volume.mount) {
            let _ = run("fsfreeze", &["-u", mount]);
        }
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
