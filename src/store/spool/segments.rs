//! The files of a spool. Only the ones used last are open.

use crate::store::fs::{Access, DiskFile, Filesystem};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `tmp_storage`. Segments have numbers, never used again.
pub(super) struct Segments {
    fs: Arc<dyn Filesystem>,
    folder: PathBuf,
    has_folder: bool,
    last: u64,
    /// The one used last at the end.
    open: Vec<(u64, Arc<dyn DiskFile>)>,
}

impl Segments {
    /// Removes what an earlier run left in `folder`.
    pub(super) fn open(fs: Arc<dyn Filesystem>, folder: PathBuf) -> io::Result<Self> {
        let entries = match fs.list(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        for entry in entries.iter().filter(|entry| !entry.is_folder && is_segment(&entry.name)) {
            fs.remove(&folder.join(&entry.name))?;
        }
        Ok(Self { fs, folder, has_folder: false, last: 0, open: Vec::new() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a new segment, empty.
    pub(super) fn create(&mut self) -> io::Result<(u64, Arc<dyn DiskFile>)> {
        if !self.has_folder {
            self.fs.create_folder(&self.folder)?;
            self.has_folder = true;
        }
        self.last += 1;
        let file = self.fs.open(&self.path(self.last), Access::Create)?;
        self.keep(self.last, &file);
        Ok((self.last, file))
    }

    /// The file of a segment that is there.
    pub(super) fn file(&mut self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = match self.open.iter().position(|(open, _)| *open == number) {
            Some(at) => self.open.remove(at).1,
            None => self.fs.open(&self.path(number), Access::Write)?,
        };
        self.keep(number, &file);
        Ok(file)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.open.retain(|(open, _)| *open != number);
        let path = self.path(number);
        if let Err(e) = self.fs.remove(&path) {
            tracing::warn!(path = %path.display(), error = %e, "cannot remove a file of the temp store");
        }
    }

    fn keep(&mut self, number: u64, file: &Arc<dyn DiskFile>) {
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((number, Arc::clone(file)));
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.{EXTENSION}"))
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Whether a segment may have this name.
fn is_segment(name: &str) -> bool {
    let number = name.strip_suffix(EXTENSION).and_then(|rest| rest.strip_suffix('.'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

const EXTENSION: &str = "spool";

/// Files open at a time. Opening one costs some microseconds, far less than a page is worth; file
/// descriptors are for connections.
const OPEN_MAX: usize = 64;
