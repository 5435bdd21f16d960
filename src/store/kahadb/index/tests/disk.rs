//! A disk in memory that dies: what was not synced is lost, kept or torn, sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::storage::{PageFile, PageStorage};

/// What happens to un-synced sectors when the power goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Lost,
    Kept,
    /// Each for itself.
    Torn(u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inner: Arc<Mutex<Inner>>,
}

pub(super) struct DiskFile {
    name: String,
    disk: Disk,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Content>,
    /// Changes so far: creations, writes, syncs, lengths.
    steps: u64,
    /// The step at which the power goes.
    die_at: Option<u64>,
    /// The step that fails once, with the power on.
    fail_at: Option<u64>,
    dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Un-synced writes, in order.
    pending: Vec<(usize, Vec<u8>)>,
    /// Whether the folder was synced since the file was created.
    exists: bool,
}

impl Disk {
    pub(super) fn dies_at(&self, step: u64) {
        self.inner.lock().die_at = Some(step);
    }

    pub(super) fn fails_at(&self, step: u64) {
        self.inner.lock().fail_at = Some(step);
    }

    pub(super) fn steps(&self) -> u64 {
        self.inner.lock().steps
    }

    /// The power comes back: a new disk with what survived.
    pub(super) fn reboot(&self, fate: Fate) -> Self {
        let inner = self.inner.lock();
        let mut random = Random(match fate {
            Fate::Torn(seed) => seed,
            _ => 1,
        });
        let mut keep = move || match fate {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Torn(_) => random.next().is_multiple_of(2),
        };
        let mut files = BTreeMap::new();
        for (name, file) in &inner.files {
            if file.exists || keep() {
                let bytes = file.survive(&mut keep);
                let (now, durable) = (bytes.clone(), bytes);
                let file = Content { now, durable, pending: Vec::new(), exists: true };
                files.insert(name.clone(), file);
            }
        }
        let inner = Inner { files, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.inner.lock().files.keys().cloned().collect()
    }

    pub(super) fn file_len(&self, name: &str) -> usize {
        self.inner.lock().files[name].now.len()
    }

    /// Changes bytes behind everybody's back.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner.lock();
        let file = inner.files.get_mut(name).expect("an existing file");
        change(&mut file.now);
        file.durable = file.now.clone();
        file.pending.clear();
    }
}

impl Content {
    fn survive(&self, keep: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if self.now.len() != bytes.len() && keep() {
            bytes.resize(self.now.len(), 0);
        }
        for (offset, data) in &self.pending {
            let mut at = 0;
            while at < data.len() {
                let sector_end = (offset + at + SECTOR) / SECTOR * SECTOR - offset;
                let end = sector_end.min(data.len());
                if keep() && !self.now.is_empty() {
                    if bytes.len() < offset + end {
                        bytes.resize(offset + end, 0);
                    }
                    bytes[offset + at..offset + end].copy_from_slice(&data[at..end]);
                }
                at = end;
            }
        }
        bytes
    }
}

impl Inner {
    /// One more change; an error if it must not return.
    fn step(&mut self) -> io::Result<()> {
        self.alive()?;
        self.steps += 1;
        if self.die_at == Some(self.steps) {
            self.dead = true;
        }
        if self.fail_at == Some(self.steps) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl DiskFile {
    fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let inner = &mut *self.disk.inner.lock();
        inner.step()?;
        let file = inner.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let result = change(file);
        inner.alive()?; // the power went while this was under way
        Ok(result)
    }
}

impl PageFile for DiskFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.inner.lock();
        inner.alive()?;
        let file = inner.files.get(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let offset = offset as usize;
        let bytes = file.now.get(offset..offset + into.len());
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|file| {
            let offset = offset as usize;
            let end = offset + bytes.len();
            if file.now.len() < end {
                file.now.resize(end, 0);
            }
            file.now[offset..end].copy_from_slice(bytes);
            file.pending.push((offset, bytes.to_vec()));
        })
    }

    /// Durable only if it returns; if the power goes meanwhile, all is open.
    fn sync(&self) -> io::Result<()> {
        let inner = &mut *self.disk.inner.lock();
        inner.step()?;
        inner.alive()?;
        let file = inner.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let (length, pending) = (file.now.len(), std::mem::take(&mut file.pending));
        file.durable.resize(length, 0);
        for (offset, bytes) in pending {
            let end = (offset + bytes.len()).min(length);
            if offset < end {
                file.durable[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.inner.lock();
        inner.alive()?;
        Ok(inner.files.get(&self.name).ok_or(io::ErrorKind::NotFound)?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| file.now.resize(len as usize, 0))
    }
}

impl PageStorage for Disk {
    type File = DiskFile;

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        let mut inner = self.inner.lock();
        if !inner.files.contains_key(name) {
            inner.step()?;
            inner.files.insert(name.to_owned(), Content::default());
        }
        inner.alive()?;
        Ok(DiskFile { name: name.to_owned(), disk: self.clone() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.step()?;
        if let Some(file) = inner.files.remove(from) {
            inner.files.insert(to.to_owned(), file);
        }
        inner.alive()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.step()?;
        inner.files.remove(name);
        inner.alive()
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.step()?;
        inner.alive()?;
        for file in inner.files.values_mut() {
            file.exists = true;
        }
        Ok(())
    }
}

/// A small generator: tests need many numbers, the same ones for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

const SECTOR: usize = 512;
