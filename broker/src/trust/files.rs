//! The files of the trust layout: complete or absent, whatever interrupts the writing.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::TrustError;

/// Larger than any file of the layout.
const MAX_FILE: u64 = 1 << 20;
const TEMPORARY: &str = ".tmp";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Public,
    Secret,
}

impl Access {
    fn file_mode(self) -> u32 {
        match self {
            Access::Public => 0o644,
            Access::Secret => 0o600,
        }
    }

    fn folder_mode(self) -> u32 {
        match self {
            Access::Public => 0o755,
            Access::Secret => 0o700,
        }
    }
}

/// The folder that holds the layout.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    #[cfg(test)]
    pub(super) steps_left: Option<std::sync::atomic::AtomicUsize>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            #[cfg(test)]
            steps_left: None,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the folder if it is missing, and forgets what an interrupted write left in it.
    pub(super) fn folder(&self, name: &str, access: Access) -> Result<(), TrustError> {
        let path = self.path(name);
        let make = || -> io::Result<()> {
            self.step()?;
            DirBuilder::new().recursive(true).mode(access.folder_mode()).create(&path)?;
            self.step()?;
            sync_folder_of(&path)?;
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') && name.ends_with(TEMPORARY) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        make().map_err(|source| TrustError::io("make the folder", &path, source))?;
        self.warn_if_open(&path, access);
        Ok(())
    }

    /// The file's content; `None` when there is no file.
    pub(super) fn read(&self, name: &str, access: Access) -> Result<Option<String>, TrustError> {
        let path = self.path(name);
        let mut content = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut content));
        match read {
            Ok(_) => {
                self.warn_if_open(&path, access);
                Ok(Some(content))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TrustError::io("read", &path, source)),
        }
    }

    /// Writes the file unless there is one. Returns what is there afterwards.
    pub(super) fn create(&self, name: &str, access: Access, content: &str) -> Result<String, TrustError> {
        let path = self.path(name);
        let created = self.write_temporary(&path, access, content).and_then(|temporary| {
            self.step()?;
            // A link, unlike a rename, never replaces a file that somebody else made first.
            let linked = match fs::hard_link(&temporary, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            };
            self.step()?;
            fs::remove_file(&temporary)?;
            linked?;
            self.sync_parent(&path)
        });
        created.map_err(|source| TrustError::io("write", &path, source))?;
        self.read(name, access)?.ok_or_else(|| {
            TrustError::io("read", &path, io::Error::new(io::ErrorKind::NotFound, "it vanished after it was written"))
        })
    }

    /// Writes the file, in place of the one that is there, unless that says the same already.
    pub(super) fn replace(&self, name: &str, access: Access, content: &str) -> Result<(), TrustError> {
        let path = self.path(name);
        if self.read(name, access)?.as_deref() == Some(content) {
            return Ok(());
        }
        let replaced = self.write_temporary(&path, access, content).and_then(|temporary| {
            self.step()?;
            fs::rename(&temporary, &path)?;
            self.sync_parent(&path)
        });
        replaced.map_err(|source| TrustError::io("write", &path, source))
    }

    fn write_temporary(&self, path: &Path, access: Access, content: &str) -> io::Result<PathBuf> {
        self.step()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{:016x}{TEMPORARY}", rand::random::<u64>()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(access.file_mode()).open(&temporary)?;
        // Past the umask: what is public must be readable for clients under other users.
        file.set_permissions(Permissions::from_mode(access.file_mode()))?;
        self.step()?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        sync_folder_of(path)
    }

    fn warn_if_open(&self, path: &Path, access: Access) {
        let open = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0);
        if access == Access::Secret && open {
            tracing::warn!(path = %path.display(), "every user of this machine may read this secret; take the rights of others away (chmod o-rwx)");
        }
    }

    /// Where a test interrupts.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = &self.steps_left {
            use std::sync::atomic::Ordering;
            if left.load(Ordering::Relaxed) == 0 {
                return Err(io::Error::other("interrupted"));
            }
            left.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Makes an entry durable. The parent of a lone relative name is the working folder.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
