//! The calls on files that stores make, and nothing else, so that a test can cut the power.
//!
//! [`real`] passes them to the kernel. [`overlay`] reads a disk and writes nothing to it.
//! `simulated` is a disk in memory for tests: it loses, keeps or tears whatever was not synced.
//!
//! What callers may rely on after a power cut is only this: bytes and length of a file as of its
//! last [`DiskFile::sync`], and names as of the last [`Filesystem::sync_folder`]. Later changes are
//! there or not, each 512-byte sector and each name for itself; a rename is never half done.

pub(crate) mod buffer;
mod direct;
pub mod overlay;
pub mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A place that has files.
pub trait Filesystem: fmt::Debug + Send + Sync {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is written from front to back and synced after every write, with as little
    /// between it and the disk as there can be. What is behind a write may become zero, up to the
    /// next multiple of 4 KiB, of which the file's length is one too.
    fn open_log(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, access)
    }

    /// What is in `folder`, in no order. Names that are not UTF-8 are left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// Makes `folder` and those above it; no error if it is there.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Replaces `to` if it is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder; an error if there is something in it.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes the names in `folder` durable: files made, renamed into it and removed.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. It has no position: each call says where.
pub trait DiskFile: fmt::Debug + Send + Sync {
    fn length(&self) -> io::Result<u64>;

    /// Reads what is there, up to `into.len()` bytes; 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes a prefix of `parts`, which may be short, and tells how much.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the file at least `length` bytes long, with blocks behind them; new bytes are zero.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file to `length` bytes; no effect if it is not longer.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes everything written so far durable, with the length that it needs (`fdatasync`).
    /// After an error nothing is known about any of it, whatever later calls say.
    fn sync(&self) -> io::Result<()>;

    /// Takes the exclusive lock for as long as the file stays open; false if another has it.
    fn try_lock(&self) -> io::Result<bool>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    /// Read and write; an error if it is there already.
    Create,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Bytes; 0 for a folder.
    pub length: u64,
    pub is_folder: bool,
}

/// Makes `folder` and those above it, so that they are there after a power cut. One that is there is
/// made durable as well: a killed process may have made it a moment ago.
pub fn make_folder(fs: &dyn Filesystem, folder: &Path) -> io::Result<()> {
    let named = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    let is_missing =
        |folder: &&Path| matches!(fs.list(folder), Err(e) if e.kind() == io::ErrorKind::NotFound);
    let missing = named.take_while(is_missing).count();
    fs.create_folder(folder)?;
    for folder in folder.ancestors().take(missing.max(1)) {
        match folder.parent() {
            Some(parent) if parent.as_os_str().is_empty() => fs.sync_folder(Path::new("."))?,
            Some(parent) => fs.sync_folder(parent)?,
            None => {}
        }
    }
    Ok(())
}

/// Fills `into` from `offset`; `UnexpectedEof` if the file is shorter.
pub fn read_exact_at(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes all of `parts` one after the other from `offset`.
pub fn write_all_at(
    file: &dyn DiskFile,
    mut parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0); // drops empty ones in front
    while !parts.is_empty() {
        match file.write_at(parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut parts, n);
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
