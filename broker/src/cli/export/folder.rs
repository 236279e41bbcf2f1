//! The folder that an export goes to: it never loses what somebody else wrote there.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::super::failure::{Failure, Outcome};
use super::page::IMPORTS_FILE;
use super::{acls, provider_block, quotas, topics, users};

/// Every file that an export writes.
const FILES: [&str; 6] = [provider_block::FILE, topics::FILE, acls::FILE, users::FILE, quotas::FILE, IMPORTS_FILE];

pub(super) struct Folder {
    path: PathBuf,
    force: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf, force: bool) -> Self {
        Self { path, force }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Fails when a file is there that would have to be overwritten.
    pub(super) fn check(&self) -> Outcome {
        let found: Vec<&str> = FILES.into_iter().filter(|file| self.path.join(file).exists()).collect();
        if self.force || found.is_empty() { Ok(()) } else { Err(self.exists(&found.join(", "))) }
    }

    pub(super) fn write(&self, file: &str, text: &str) -> Outcome {
        let path = self.path.join(file);
        let failed = |error| Failure::File(format!("The file {} cannot be written", path.display()), error);
        std::fs::create_dir_all(&self.path)
            .map_err(|error| Failure::File(format!("The folder {} cannot be made", self.path.display()), error))?;
        let opened = if self.force { File::create(&path) } else { File::create_new(&path) };
        match opened {
            Ok(mut opened) => opened.write_all(text.as_bytes()).map_err(failed),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(self.exists(file)),
            Err(error) => Err(failed(error)),
        }
    }

    fn exists(&self, files: &str) -> Failure {
        Failure::Text(format!(
            "{} holds {files} already. Name another folder, or overwrite with --force.",
            self.path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_unless_forced() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("new/folder");
        let folder = |force| Folder::new(path.clone(), force);
        folder(false).write("acls.tf", "first").expect("written");
        for refusal in [folder(false).check(), folder(false).write("acls.tf", "second")] {
            let sentence = refusal.expect_err("it is there").to_string();
            assert!(sentence.contains("holds acls.tf already") && sentence.contains("--force"), "{sentence}");
        }
        let read = || std::fs::read_to_string(path.join("acls.tf")).expect("readable");
        assert_eq!(read(), "first");
        folder(true).check().expect("forced");
        folder(true).write("acls.tf", "second").expect("written");
        assert_eq!(read(), "second");
    }

    #[test]
    fn files_of_others_are_no_hindrance() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("backend.tf"), "").expect("written");
        Folder::new(dir.path().to_owned(), false).check().expect("nothing would be overwritten");
    }
}
