//! A disk in memory that behaves as badly as real ones may.
//!
//! What was not synced is, after a power cut, lost, kept or torn: each 512-byte sector, each change
//! of a length and each new name for itself. [`SimulatedDisk::reboot`] tells what one such cut
//! leaves, on a disk of its own, so a run can be cut at every step without being repeated.
//! Every call that changes something is a step; steps can be made to fail.

use super::{Access, DiskFile, Entry, Filesystem};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Clones share the disk.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Changes of names that no sync has reached, oldest first.
    renames: Vec<Change>,
    step: u64,
    power_fails_at: u64,
    fails_at: u64,
    short_writes: bool,
    space_bytes: usize,
    images: Option<Vec<(u64, SimulatedDisk)>>,
    random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Clone, Debug)]
enum Change {
    Make(PathBuf, Node),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What reads see.
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Not yet synced, oldest first.
    pending: Vec<Pending>,
    locked: bool,
}

#[derive(Clone, Debug)]
enum Pending {
    Sector(usize, Box<[u8; SECTOR]>),
    Length(usize),
    Cut(usize),
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(Vec::new(), BTreeMap::new(), seed)
    }

    fn with(files: Vec<File>, names: BTreeMap<PathBuf, Node>, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            files,
            durable_names: names.clone(),
            names,
            renames: Vec::new(),
            step: 0,
            power_fails_at: u64::MAX,
            fails_at: u64::MAX,
            short_writes: false,
            space_bytes: usize::MAX,
            images: None,
            random: Random(seed),
        })))
    }

    /// Steps made so far.
    pub(crate) fn steps(&self) -> u64 {
        self.0.lock().step
    }

    /// From this step on nothing works.
    pub(crate) fn power_fails_at(&self, step: u64) {
        self.0.lock().power_fails_at = step;
    }

    /// This one step reports an error. A write may have been done in part; what a sync should
    /// have made durable may be lost although later syncs succeed, as on Linux.
    pub(crate) fn fails_at(&self, step: u64) {
        self.0.lock().fails_at = step;
    }

    /// Writes stop anywhere and say so.
    pub(crate) fn writes_are_short(&self) {
        self.0.lock().short_writes = true;
    }

    /// All files together can have this many bytes.
    pub(crate) fn has_space(&self, bytes: usize) {
        self.0.lock().space_bytes = bytes;
    }

    /// From now on, keeps what a power cut before each step would leave.
    pub(crate) fn keep_images(&self) {
        self.0.lock().images = Some(Vec::new());
    }

    /// (steps made before the cut, what it left).
    pub(crate) fn take_images(&self) -> Vec<(u64, Self)> {
        self.0.lock().images.take().unwrap_or_default()
    }

    /// What a power cut leaves now. This disk goes on as if nothing had happened.
    pub(crate) fn reboot(&self) -> Self {
        self.0.lock().after_power_cut()
    }

    /// Changes bits behind the back of everybody.
    pub(crate) fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let mut disk = self.0.lock();
        let file = disk.file(path).expect("a file of the test");
        let file = &mut disk.files[file];
        file.now[offset] ^= mask;
        file.durable.clone_from(&file.now);
        file.pending.clear();
    }

    /// All bytes of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        let disk = self.0.lock();
        let file = disk.file(path).expect("a file of the test");
        disk.files[file].now.clone()
    }

    /// Makes or replaces a file, durably.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.0.lock();
        let node = Node::File(disk.files.len());
        let (now, durable) = (bytes.to_vec(), bytes.to_vec());
        disk.files.push(File { now, durable, ..File::default() });
        disk.names.insert(path.into(), node);
        disk.durable_names.insert(path.into(), node);
    }
}

impl Disk {
    /// Counts a step. `Err(true)`: the power fails during it; `Err(false)`: it fails alone.
    fn step(&mut self) -> Result<(), bool> {
        if self.images.is_some() {
            let image = (self.step, self.after_power_cut());
            self.images.as_mut().expect("just seen").push(image);
        }
        self.step += 1;
        if self.step > self.power_fails_at {
            return Err(true);
        }
        if self.step - 1 == self.fails_at { Err(false) } else { Ok(()) }
    }

    /// A step that is done as a whole or not at all.
    fn simple_step(&mut self) -> io::Result<()> {
        self.step().map_err(|_| failure())
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.renames.push(change);
    }

    fn after_power_cut(&mut self) -> SimulatedDisk {
        // Some cuts lose everything, some nothing, most a little of both.
        let kept_of_8 = [0, 8, 4, 1, 7][self.random.below(5)];
        let mut random = Random(self.random.next());
        let mut names = self.durable_names.clone();
        for change in &self.renames {
            if random.below(8) < kept_of_8 {
                change.apply(&mut names);
            }
        }
        let folders: Vec<PathBuf> = names.keys().cloned().collect();
        names.retain(|path, _| match path.parent() {
            None => true,
            Some(folder) => folder.as_os_str().is_empty() || folders.iter().any(|f| f == folder),
        });
        let mut kept = Vec::new();
        for node in names.values_mut() {
            let Node::File(file) = node else { continue };
            let bytes = self.files[*file].after_power_cut(&mut random, kept_of_8);
            *file = kept.len();
            kept.push(File { durable: bytes.clone(), now: bytes, ..File::default() });
        }
        SimulatedDisk::with(kept, names, random.next())
    }

    fn bytes_used(&self) -> usize {
        let file = |node: &Node| match node {
            Node::File(file) => self.files[*file].now.len(),
            Node::Folder => 0,
        };
        self.names.values().map(file).sum()
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Make(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Move(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }

    /// The folder whose sync makes it durable.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Make(path, _) | Self::Move(_, path) | Self::Remove(path) => path.parent(),
        }
    }
}

impl File {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.grow(end);
        self.now[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let mut content = Box::new([0; SECTOR]);
            let there = &self.now[sector * SECTOR..self.now.len().min((sector + 1) * SECTOR)];
            content[..there.len()].copy_from_slice(there);
            self.pending.push(Pending::Sector(sector, content));
        }
    }

    fn grow(&mut self, length: usize) {
        if length > self.now.len() {
            self.now.resize(length, 0);
            self.pending.push(Pending::Length(length));
        }
    }

    fn after_power_cut(&self, random: &mut Random, kept_of_8: usize) -> Vec<u8> {
        let mut length = self.durable.len();
        let mut bytes = self.durable.clone();
        for pending in &self.pending {
            if random.below(8) >= kept_of_8 {
                continue;
            }
            match pending {
                Pending::Length(grown) => length = length.max(*grown),
                Pending::Cut(cut) => {
                    length = length.min(*cut);
                    bytes.truncate(*cut);
                }
                Pending::Sector(sector, content) => {
                    let start = sector * SECTOR;
                    bytes.resize(bytes.len().max(start + SECTOR), 0);
                    bytes[start..start + SECTOR].copy_from_slice(&**content);
                }
            }
        }
        bytes.resize(length, 0);
        bytes
    }
}

impl SimulatedDisk {
    fn open_file(
        &self,
        path: &Path,
        access: Access,
        is_log: bool,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let mut disk = self.0.lock();
        let file = match (disk.file(path), access) {
            (Err(e), Access::Create) if e.kind() == io::ErrorKind::NotFound => {
                disk.simple_step()?;
                let file = disk.files.len();
                disk.files.push(File::default());
                disk.change(Change::Make(path.into(), Node::File(file)));
                file
            }
            (Ok(_), Access::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (found, _) => found?,
        };
        let (disk, lock) = (self.clone(), Mutex::new(false));
        Ok(Arc::new(SimulatedFile { disk, file, is_log, lock }))
    }
}

impl Filesystem for SimulatedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(path, access, false)
    }

    fn open_log(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(path, access, true)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let disk = self.0.lock();
        let entries = disk.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entry = |(path, node): (&PathBuf, &Node)| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            match node {
                Node::File(f) => {
                    Entry { name, length: disk.files[*f].now.len() as u64, is_folder: false }
                }
                Node::Folder => Entry { name, length: 0, is_folder: true },
            }
        };
        if !disk.names.contains_key(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(entries.map(entry).collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if disk.names.contains_key(folder) {
            return Ok(());
        }
        disk.simple_step()?;
        for folder in folder.ancestors() {
            if !disk.names.contains_key(folder) {
                disk.change(Change::Make(folder.into(), Node::Folder));
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.simple_step()?;
        disk.file(from)?;
        disk.change(Change::Move(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.simple_step()?;
        disk.file(path)?;
        disk.change(Change::Remove(path.into()));
        Ok(())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.simple_step()?;
        if disk.names.keys().any(|name| name != folder && name.starts_with(folder)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change(Change::Remove(folder.into()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.simple_step()?;
        let Disk { renames, durable_names, .. } = &mut *disk;
        let folder = if folder == Path::new(".") { Path::new("") } else { folder };
        renames.retain(|change| {
            let here = change.folder() == Some(folder);
            if here {
                change.apply(durable_names);
            }
            !here
        });
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    /// Whether the rest of the last block of a write becomes zero.
    is_log: bool,
    /// Whether this handle has the file's lock.
    lock: Mutex<bool>,
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.file].now.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.0.lock();
        let bytes = &disk.files[self.file].now;
        let start = bytes.len().min(offset as usize);
        let n = into.len().min(bytes.len() - start);
        into[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.0.lock();
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        let mut bytes = parts.concat();
        let outcome = disk.step();
        if disk.short_writes || outcome.is_err() {
            let cut = disk.random.below(bytes.len()) + 1;
            bytes.truncate(cut);
        }
        let (offset, old) = (offset as usize, disk.files[self.file].now.len());
        let grown_max = old + disk.space_bytes.saturating_sub(disk.bytes_used());
        if offset + bytes.len() > old {
            bytes.truncate(grown_max.saturating_sub(offset));
        }
        if bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = bytes.len();
        if self.is_log {
            let block_end = (offset + written).next_multiple_of(LOG_BLOCK).min(old);
            bytes.resize(written.max(block_end.saturating_sub(offset)), 0);
        }
        disk.files[self.file].write(&bytes, offset);
        outcome.map_err(|_| failure())?;
        Ok(written)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.0.lock();
        disk.simple_step()?;
        let more = (length as usize).saturating_sub(disk.files[self.file].now.len());
        if disk.bytes_used() + more > disk.space_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.files[self.file].grow(length as usize);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.0.lock();
        disk.simple_step()?;
        let file = &mut disk.files[self.file];
        if (length as usize) < file.now.len() {
            file.now.truncate(length as usize);
            file.pending.push(Pending::Cut(length as usize));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.0.lock();
        let outcome = disk.step();
        let Disk { files, random, .. } = &mut *disk;
        let file = &mut files[self.file];
        match outcome {
            Ok(()) => file.durable = file.after_power_cut(random, 8),
            Err(true) => return Err(failure()),
            Err(false) => file.durable = file.after_power_cut(random, 4),
        }
        file.pending.clear(); // after a failure, too: the kernel takes the pages for clean
        outcome.map_err(|_| failure())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut disk = self.disk.0.lock();
        let locked = &mut disk.files[self.file].locked;
        let mut ours = self.lock.lock();
        *ours |= !std::mem::replace(locked, true);
        Ok(*ours)
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if *self.lock.lock() {
            self.disk.0.lock().files[self.file].locked = false;
        }
    }
}

fn failure() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// A small generator (splitmix64), so that a seed is all a failing test has to print.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// What a disk writes as a whole or not at all, bytes.
const SECTOR: usize = 512;
/// What is written to a log ends with whole blocks of so many bytes.
const LOG_BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::write_all_at;
    use super::*;

    fn write(file: &dyn DiskFile, byte: u8, length: usize, offset: u64) -> io::Result<()> {
        write_all_at(file, &mut [IoSlice::new(&vec![byte; length])], offset)
    }

    #[test]
    fn only_synced_bytes_under_synced_names_survive_for_sure() {
        let (folder, path) = (Path::new("d"), Path::new("d/f"));
        let (mut unnamed, mut lost, mut kept, mut torn) = (0, 0, 0, 0);
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            disk.create_folder(folder).unwrap();
            disk.sync_folder(Path::new("")).unwrap();
            let file = disk.open(path, Access::Create).unwrap();
            write(&*file, 1, 2000, 0).unwrap();
            file.sync().unwrap();
            unnamed += u32::from(disk.reboot().open(path, Access::Read).is_err());
            disk.sync_folder(folder).unwrap();
            write(&*file, 2, 1500, 0).unwrap();
            let after = disk.reboot().content(path);
            assert!(after[1536..] == [1; 464] && after.iter().all(|b| matches!(b, 1 | 2)));
            match after.iter().filter(|b| **b == 2).count() {
                0 => lost += 1,
                1500 => kept += 1,
                _ => torn += 1,
            }
            file.sync().unwrap();
            assert_eq!(disk.reboot().content(path)[..1500], [2; 1500]);
        }
        assert!(unnamed > 20 && lost > 20 && kept > 20 && torn > 20);
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let path = Path::new("f");
        let mut lost = 0;
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            disk.put(path, &[1; 4096]);
            let file = disk.open(path, Access::Write).unwrap();
            write(&*file, 2, 4096, 0).unwrap();
            disk.fails_at(disk.steps());
            file.sync().unwrap_err();
            file.sync().unwrap();
            assert_eq!(disk.content(path), [2; 4096], "the page cache has it");
            lost += u32::from(disk.reboot().content(path) != [2; 4096]);
        }
        assert!(lost > 25);
    }

    #[test]
    fn space_ends_and_locks_exclude() {
        let disk = SimulatedDisk::new(1);
        disk.has_space(1000);
        disk.put(Path::new("f"), &[]);
        let file = disk.open(Path::new("f"), Access::Write).unwrap();
        assert_eq!(file.allocate(1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let full = write(&*file, 1, 1500, 0).unwrap_err();
        assert_eq!((full.kind(), file.length().unwrap()), (io::ErrorKind::StorageFull, 1000));
        assert!(file.try_lock().unwrap());
        let other = disk.open(Path::new("f"), Access::Write).unwrap();
        assert!(!other.try_lock().unwrap());
        drop(file);
        assert!(other.try_lock().unwrap());
        disk.power_fails_at(disk.steps());
        assert!(other.sync().is_err() && other.sync().is_err());
    }
}
