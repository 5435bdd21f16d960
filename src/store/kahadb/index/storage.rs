//! What the index asks of a disk: three named files, positioned reads and writes, syncs.
//!
//! Nothing here is buffered. A write that returned is seen by later reads; it survives a power cut
//! only after a `sync` of its file that returned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

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

/// A folder of the operating system.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// `path` must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PageStorage for Folder {
    type File = File;

    fn open(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        absent_is_fine(std::fs::rename(self.path.join(from), self.path.join(to)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        absent_is_fine(std::fs::remove_file(self.path.join(name)))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl PageFile for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = PageFile::len(self)?;
        if len <= now {
            return Self::set_len(self, len);
        }
        match rustix::fs::fallocate(self, FallocateFlags::empty(), now, len - now) {
            // Some network file systems cannot reserve blocks.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Self::set_len(self, len),
            other => Ok(other?),
        }
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
