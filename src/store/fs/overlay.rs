//! A disk that is only read: what is written stays in memory, over files that stay as they are.
//!
//! Programs that change what they open can so be run on files of which nothing may change. All is
//! forgotten with the [`Overlay`]; memory is taken for what is written, block by block.

use super::{Access, DiskFile, Entry, Filesystem};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// A [`Filesystem`] over another one, which it never changes.
#[derive(Debug)]
pub struct Overlay {
    below: Arc<dyn Filesystem>,
    names: Mutex<BTreeMap<PathBuf, Name>>,
}

/// What a path is, where that differs from below or somebody knows it.
#[derive(Debug)]
enum Name {
    /// Open, perhaps, and not changed through this path.
    Read(Weak<OverlaidFile>),
    Written(Arc<OverlaidFile>),
    Folder,
    Gone,
}

impl Overlay {
    pub fn new(below: Arc<dyn Filesystem>) -> Self {
        Self { below, names: Mutex::default() }
    }

    /// The file at `path` as it is now, kept from now on if it `will_change`.
    fn file(&self, path: &Path, will_change: bool) -> io::Result<Arc<OverlaidFile>> {
        let mut names = self.names.lock();
        let known = match names.get(path) {
            Some(Name::Written(file)) => return Ok(Arc::clone(file)),
            Some(Name::Gone) => return Err(io::ErrorKind::NotFound.into()),
            Some(Name::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Name::Read(file)) => file.upgrade(),
            None => None,
        };
        let file = match known {
            Some(file) => file,
            None => Arc::new(OverlaidFile::over(self.below.open(path, Access::Read)?)?),
        };
        let name = match will_change {
            true => Name::Written(Arc::clone(&file)),
            false => Name::Read(Arc::downgrade(&file)),
        };
        names.insert(path.to_owned(), name);
        Ok(file)
    }

    fn is_there(&self, path: &Path) -> io::Result<bool> {
        match self.file(path, false) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Filesystem for Overlay {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        if access != Access::Create {
            return Ok(self.file(path, access == Access::Write)?);
        }
        if self.is_there(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(OverlaidFile::default());
        self.names.lock().insert(path.to_owned(), Name::Written(Arc::clone(&file)));
        Ok(file)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let names = self.names.lock();
        let mut entries = match self.below.list(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && names.contains_key(folder) => {
                Vec::new()
            }
            other => other?,
        };
        entries.retain(|entry| {
            !matches!(names.get(&folder.join(&entry.name)), Some(Name::Written(_) | Name::Gone))
        });
        let here = names.iter().filter(|(path, _)| path.parent() == Some(folder));
        for (path, name) in here {
            let (length, is_folder) = match name {
                Name::Written(file) => (file.length()?, false),
                Name::Folder => (0, true),
                Name::Read(_) | Name::Gone => continue,
            };
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                entries.push(Entry { name: name.to_owned(), length, is_folder });
            }
        }
        Ok(entries)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        for folder in folder.ancestors() {
            match self.below.list(folder) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.names.lock().insert(folder.to_owned(), Name::Folder);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from, true)?;
        let mut names = self.names.lock();
        names.insert(from.to_owned(), Name::Gone);
        names.insert(to.to_owned(), Name::Written(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        drop(self.file(path, false)?);
        self.names.lock().insert(path.to_owned(), Name::Gone);
        Ok(())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.names.lock().insert(folder.to_owned(), Name::Gone);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct OverlaidFile {
    below: Option<Arc<dyn DiskFile>>,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    length: u64,
    /// Before it, what was not written is as below; behind it, zero.
    below_length: u64,
    /// By block number.
    written: HashMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

/// Part of one block: its number, where in it, how many bytes.
fn piece(offset: u64, bytes: usize) -> (u64, usize, usize) {
    let at = (offset % BLOCK_BYTES as u64) as usize;
    (offset / BLOCK_BYTES as u64, at, bytes.min(BLOCK_BYTES - at))
}

impl OverlaidFile {
    fn over(below: Arc<dyn DiskFile>) -> io::Result<Self> {
        let length = below.length()?;
        let content = Content { length, below_length: length, written: HashMap::new() };
        Ok(Self { below: Some(below), content: Mutex::new(content) })
    }

    /// Fills `into` from below, with zeros where nothing is.
    fn read_below(&self, content: &Content, into: &mut [u8], offset: u64) -> io::Result<()> {
        into.fill(0);
        let Some(below) = &self.below else { return Ok(()) };
        let there = content.below_length.saturating_sub(offset).min(into.len() as u64) as usize;
        super::read_exact_at(&**below, &mut into[..there], offset)
    }
}

impl DiskFile for OverlaidFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().length)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let bytes = content.length.saturating_sub(offset).min(into.len() as u64) as usize;
        if content.written.is_empty() {
            self.read_below(&content, &mut into[..bytes], offset)?;
            return Ok(bytes);
        }
        let mut done = 0;
        while done < bytes {
            let at = offset + done as u64;
            let (number, from, length) = piece(at, bytes - done);
            let part = &mut into[done..done + length];
            match content.written.get(&number) {
                Some(block) => part.copy_from_slice(&block[from..from + length]),
                None => self.read_below(&content, part, at)?,
            }
            done += length;
        }
        Ok(bytes)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut content = self.content.lock();
        let mut at = offset;
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let (number, from, length) = piece(at, rest.len());
                if !content.written.contains_key(&number) {
                    let mut block = Box::new([0; BLOCK_BYTES]);
                    self.read_below(&content, &mut block[..], number * BLOCK_BYTES as u64)?;
                    content.written.insert(number, block);
                }
                if let Some(block) = content.written.get_mut(&number) {
                    block[from..from + length].copy_from_slice(&rest[..length]);
                }
                (rest, at) = (&rest[length..], at + length as u64);
            }
        }
        content.length = content.length.max(at);
        Ok((at - offset) as usize)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        content.length = content.length.max(length);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        if length >= content.length {
            return Ok(());
        }
        content.length = length;
        content.below_length = content.below_length.min(length);
        let (last, from, _) = piece(length, 0);
        content.written.retain(|number, _| *number < last || (*number == last && from > 0));
        if let Some(block) = content.written.get_mut(&last) {
            block[from..].fill(0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl fmt::Debug for OverlaidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlaidFile").field("below", &self.below).finish_non_exhaustive()
    }
}

const BLOCK_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::real::RealFilesystem;
    use super::super::{read_exact_at, write_all_at};
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn content(file: &dyn DiskFile) -> Vec<u8> {
        let mut bytes = vec![0xEE; file.length().unwrap() as usize];
        read_exact_at(file, &mut bytes, 0).unwrap();
        bytes
    }

    fn names(fs: &Overlay, folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs.list(folder).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_below_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("new/c"));
        fs::write(&a, "as it was").unwrap();
        let fs = Overlay::new(Arc::new(RealFilesystem));
        let reader = fs.open(&a, Access::Read).unwrap();
        let writer = fs.open(&a, Access::Write).unwrap();
        write_all_at(&*writer, &mut [IoSlice::new(b"is")], 0).unwrap();
        assert_eq!(content(&*reader), b"is it was", "readers see what is written");
        assert!(fs.open(&a, Access::Create).is_err());
        fs.rename(&a, &b).unwrap();
        assert!(fs.open(&a, Access::Read).is_err());
        assert_eq!(names(&fs, folder.path()), ["b"]);
        fs.create_folder(c.parent().unwrap()).unwrap();
        fs.open(&c, Access::Create).unwrap();
        assert_eq!(names(&fs, c.parent().unwrap()), ["c"]);
        assert_eq!(names(&fs, folder.path()), ["b", "new"]);
        fs.remove(&b).unwrap();
        assert!(fs.remove(&b).is_err());
        fs.open(&b, Access::Create).unwrap().allocate(3).unwrap();
        assert_eq!(content(&*fs.open(&b, Access::Read).unwrap()), [0; 3]);

        assert_eq!(fs::read(&a).unwrap(), b"as it was");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn a_file_is_what_was_written_over_what_was_there(
            start in prop::collection::vec(any::<u8>(), 0..10_000),
            steps in prop::collection::vec((0..4_u8, 0..12_000_usize, 1..6000_usize), 0..20),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, &start).unwrap();
            let fs = Overlay::new(Arc::new(RealFilesystem));
            let file = fs.open(&path, Access::Write).unwrap();
            let mut model = start.clone();
            for (i, (step, at, bytes)) in steps.into_iter().enumerate() {
                match step {
                    0 => file.truncate(at as u64).unwrap(),
                    1 => file.allocate(at as u64).unwrap(),
                    _ => {
                        let new = vec![i as u8 + 1; bytes];
                        let mut parts = [IoSlice::new(&new[..bytes / 2]), IoSlice::new(&new[bytes / 2..])];
                        write_all_at(&*file, &mut parts, at as u64).unwrap();
                    }
                }
                match step {
                    0 => model.truncate(at),
                    1 => model.resize(model.len().max(at), 0),
                    _ => {
                        model.resize(model.len().max(at + bytes), 0);
                        model[at..at + bytes].fill(i as u8 + 1);
                    }
                }
                prop_assert!(content(&*file) == model);
            }
            prop_assert_eq!(fs::read(&path).unwrap(), start);
        }
    }
}
