//! The machine's files.

use super::direct::DirectFile;
use super::{Access, DiskFile, Entry, Filesystem};
use crate::ha::ofd_lock;
use rustix::fs::FallocateFlags;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Passes every call to the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFilesystem;

impl Filesystem for RealFilesystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile::open(path, access)?))
    }

    fn open_log(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(match DirectFile::open(RealFile::open(path, access)?, path) {
            Ok(direct) => Arc::new(direct),
            Err(cached) => Arc::new(cached),
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match fs::metadata(entry.path()) {
                Ok(meta) => meta,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // removed meanwhile
                Err(e) => return Err(e),
            };
            let is_folder = meta.is_dir();
            entries.push(Entry { name, length: if is_folder { 0 } else { meta.len() }, is_folder });
        }
        Ok(entries)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[derive(Debug)]
pub(super) struct RealFile(pub(super) File);

impl RealFile {
    fn open(path: &Path, access: Access) -> io::Result<Self> {
        Ok(Self(match access {
            Access::Read => File::open(path)?,
            Access::Write => File::options().read(true).write(true).open(path)?,
            Access::Create => File::options().read(true).write(true).create_new(true).open(path)?,
        }))
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let parts = parts.get(..PARTS_MAX).unwrap_or(parts);
        Ok(rustix::io::pwritev(&self.0, parts, offset)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // Some network and FUSE file systems cannot; then space is taken by the writes.
            Err(rustix::io::Errno::OPNOTSUPP) if self.length()? < length => self.0.set_len(length),
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if length < self.length()? { self.0.set_len(length) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        ofd_lock::try_lock(&self.0)
    }
}

/// Linux refuses more (`IOV_MAX`).
const PARTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::{read_exact_at, write_all_at};
    use super::*;

    #[test]
    fn files_are_made_written_renamed_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (fs, deep) = (RealFilesystem, folder.path().join("a/b"));
        fs.create_folder(&deep).unwrap();
        fs.create_folder(&deep).unwrap();
        let file = fs.open(&deep.join("x"), Access::Create).unwrap();
        assert!(fs.open(&deep.join("x"), Access::Create).is_err());
        file.allocate(8192).unwrap();
        let many: Vec<[u8; 3]> = (0..3000_u32).map(|i| [i as u8; 3]).collect();
        let mut parts: Vec<IoSlice<'_>> = many.iter().map(|p| IoSlice::new(p)).collect();
        write_all_at(&*file, &mut parts, 100).unwrap();
        file.sync().unwrap();
        let mut back = vec![0; 9000];
        read_exact_at(&*file, &mut back, 100).unwrap();
        assert_eq!(back, many.concat());
        assert!(read_exact_at(&*file, &mut back, 101).is_err(), "behind the end");
        fs.rename(&deep.join("x"), &deep.join("y")).unwrap();
        fs.sync_folder(&deep).unwrap();
        let entry = Entry { name: "y".into(), length: 9100, is_folder: false };
        assert_eq!(fs.list(&deep).unwrap(), [entry]);
        file.truncate(10_000).unwrap();
        assert_eq!(file.length().unwrap(), 9100);
        file.truncate(9000).unwrap();
        assert_eq!(file.length().unwrap(), 9000);
        assert!(file.try_lock().unwrap());
        assert!(!fs.open(&deep.join("y"), Access::Write).unwrap().try_lock().unwrap());
        fs.remove(&deep.join("y")).unwrap();
        assert_eq!(fs.list(&deep).unwrap(), []);
    }
}
