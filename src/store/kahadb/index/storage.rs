//! What the index asks of a disk: three named files, positioned reads and writes, syncs.
//!
//! Nothing here is buffered. A write that returned is seen by later reads; it survives a power cut
//! only after a `sync` of its file that returned.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::kahadb::fs::{Access, DiskFile, Filesystem, read_exact_at, write_all_at};

/// One open file.
pub trait PageFile: Send + Sync + 'static {
    /// Fills `into` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`, growing the file as needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far durable, the length included. Never retried after an error.
    fn sync(&self) -> io::Result<()>;

    /// Bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file, or grows it with blocks that are really there: a later write into them does
    /// not meet a full disk.
    fn set_len(&self, len: u64) -> io::Result<()>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// One folder.
pub trait PageStorage: Send + Sync + 'static {
    type File: PageFile;

    /// Opens `name` for reading and writing; creates it empty if it is not there.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Renames `from`, replacing `to`; no error if `from` is not there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes `name`; no error if it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of a [`Filesystem`].
#[derive(Clone, Debug)]
pub struct Folder {
    fs: Arc<dyn Filesystem>,
    path: PathBuf,
    syncs: bool,
}

/// A file in a [`Folder`].
#[derive(Debug)]
pub struct FolderFile {
    file: Arc<dyn DiskFile>,
    syncs: bool,
}

impl Folder {
    /// `path` must exist. Without `syncs` the files survive a killed process but not a power cut:
    /// `enableIndexDiskSyncs="false"`.
    pub fn new(fs: Arc<dyn Filesystem>, path: impl Into<PathBuf>, syncs: bool) -> Self {
        Self { fs, path: path.into(), syncs }
    }
}

impl PageStorage for Folder {
    type File = FolderFile;

    fn open(&self, name: &str) -> io::Result<FolderFile> {
        let path = self.path.join(name);
        let file = match self.fs.open(&path, Access::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.fs.open(&path, Access::Create),
            other => other,
        }?;
        Ok(FolderFile { file, syncs: self.syncs })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        absent_is_fine(self.fs.rename(&self.path.join(from), &self.path.join(to)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        absent_is_fine(self.fs.remove(&self.path.join(name)))
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs { self.fs.sync_folder(&self.path) } else { Ok(()) }
    }
}

impl PageFile for FolderFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact_at(&*self.file, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all_at(&*self.file, &mut [IoSlice::new(bytes)], offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs { self.file.sync() } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len < self.file.length()? { self.file.truncate(len) } else { self.file.allocate(len) }
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
