//! Which `db-N.log` files there are: made, opened, dropped.
//!
//! A file gets its name when all of it was written and synced, so one that is called `db-N.log` is
//! whole and appending to it changes neither its length nor where its blocks are.
//!
//! | name | |
//! |---|---|
//! | `db-<N>.log` | a journal file; one that is not needed yet has a zero first block |
//! | `db-<N>.tmp` | is being made; rubbish after a crash |
//! | `db-<N>.spare` | is not needed any more, to be written again; rubbish after a restart |
//! | `db-2147483647.log` | a folder. A Java broker takes it for the last journal file and stops before it touches anything; without it, it would delete ours one by one |

use super::error::JournalError;
use super::format::{BLOCK_BYTES, FIRST_BATCH, FileHeader, FileStart};
use super::record::DropAction;
use super::writer::SyncPolicy;
use crate::store::kahadb::fs::buffer::Buffer;
use crate::store::kahadb::fs::{
    Access, DiskFile, Filesystem, make_folder, read_exact_at, write_all_at,
};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct FilesOptions {
    pub folder: PathBuf,
    /// Length of a file, bytes; rounded up to whole blocks, at least two.
    pub file_bytes: u32,
    /// Where archived files go.
    pub archive: PathBuf,
    pub sync: SyncPolicy,
}

/// The journal's folder. One per store; the store's lock is held by the caller.
#[derive(Debug)]
pub struct Files {
    fs: Arc<dyn Filesystem>,
    folder: PathBuf,
    archive: PathBuf,
    file_bytes: u64,
    sync: SyncPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number to bytes.
    lengths: BTreeMap<u32, u64>,
    readers: HashMap<u32, Arc<dyn DiskFile>>,
    spares: Vec<PathBuf>,
}

/// A file that is ready to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) length: u64,
}

impl Files {
    /// Looks at `options.folder`, which is made if it is not there. Refuses the folder of a Java
    /// broker without changing anything.
    pub fn open(fs: Arc<dyn Filesystem>, options: FilesOptions) -> Result<Self, JournalError> {
        let FilesOptions { folder, file_bytes, archive, sync } = options;
        let file_bytes = u64::from(file_bytes).next_multiple_of(BLOCK_BYTES as u64);
        let file_bytes = file_bytes.clamp(2 * BLOCK_BYTES as u64, FILE_BYTES_MAX);
        let state = Mutex::new(State::default());
        let files = Self { fs, folder, archive, file_bytes, sync, state };
        let folder = &files.folder;
        files.make_folder(folder)?;
        let entries = files.fs.list(folder).map_err(JournalError::io("list", folder))?;
        let mut lengths = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_folder) {
            if let Some(number) = number_in(&entry.name, ".log") {
                files.refuse_java(number, &entry.name)?;
                lengths.insert(number, entry.length);
            }
        }
        files.state.lock().lengths = lengths;
        let rubbish = |name: &str| [".tmp", ".spare"].iter().any(|e| number_in(name, e).is_some());
        for entry in entries.iter().filter(|entry| rubbish(&entry.name)) {
            let path = folder.join(&entry.name);
            files.fs.remove(&path).map_err(JournalError::io("remove", &path))?;
        }
        files.keep_java_out()?;
        // Names that a killed process made may not have reached the disk yet.
        files.sync_folder(folder)?;
        Ok(files)
    }

    pub fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("db-{number}.log"))
    }

    /// Numbers of the files, ascending, with those that are not needed yet.
    pub fn numbers(&self) -> Vec<u32> {
        self.state.lock().lengths.keys().copied().collect()
    }

    /// Bytes of a file; none if it is not there.
    pub fn length(&self, number: u32) -> Option<u64> {
        self.state.lock().lengths.get(&number).copied()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.state.lock().lengths.values().sum()
    }

    /// Bytes of the files before this one.
    pub fn bytes_before(&self, number: u32) -> u64 {
        self.state.lock().lengths.range(..number).map(|(_, bytes)| bytes).sum()
    }

    /// Makes durable what a killed process wrote and did not sync, which can only be at the end.
    pub fn sync_end(&self) -> Result<(), JournalError> {
        for number in self.numbers().into_iter().rev().take(2) {
            let sync = self.writer(number)?.sync();
            sync.map_err(JournalError::io("sync", &self.path(number)))?;
        }
        Ok(())
    }

    pub(super) fn next_after(&self, number: u32) -> Option<u32> {
        let state = self.state.lock();
        state.lengths.range(number.checked_add(1)?..).next().map(|(n, _)| *n)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file to read from. Stays readable after the file was dropped.
    pub(super) fn reader(&self, number: u32) -> Result<Arc<dyn DiskFile>, JournalError> {
        if let Some(file) = self.state.lock().readers.get(&number) {
            return Ok(file.clone());
        }
        let path = self.path(number);
        let file = self.fs.open(&path, Access::Read).map_err(JournalError::io("open", &path))?;
        let mut state = self.state.lock();
        if state.readers.len() >= READERS_MAX {
            state.readers.clear();
        }
        state.readers.insert(number, file.clone());
        Ok(file)
    }

    pub(super) fn writer(&self, number: u32) -> Result<Arc<dyn DiskFile>, JournalError> {
        let path = self.path(number);
        self.open_to_write(&path, Access::Write).map_err(JournalError::io("open", &path))
    }

    /// What is not synced at once is better kept in memory until it is.
    fn open_to_write(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        match self.sync {
            SyncPolicy::Always => self.fs.open_log(path, access),
            SyncPolicy::Periodic(_) | SyncPolicy::Never => self.fs.open(path, access),
        }
    }

    pub(super) fn first_block(&self, number: u32) -> Result<Vec<u8>, JournalError> {
        let length = self.length(number).unwrap_or(0).min(BLOCK_BYTES as u64);
        let mut block = vec![0; length as usize];
        read_exact_at(&*self.reader(number)?, &mut block, 0)
            .map_err(JournalError::io("read", &self.path(number)))?;
        Ok(block)
    }

    /// Makes `db-<number>.log` ready to be appended to; what it contains is not in the log.
    /// Without space, it is as if this had not been called.
    ///
    /// `turn` is called before each write of [`FILL_BYTES`], and behind the last, with how much of the file
    /// is written and how much will be; it waits until more may be, or says why nothing may.
    pub(super) fn prepare(
        &self,
        number: u32,
        turn: impl FnMut(u64, u64) -> Result<(), JournalError>,
    ) -> Result<Prepared, JournalError> {
        let path = self.path(number);
        let spare = match self.length(number) {
            Some(length) if length == self.new_length(number) => {
                return Ok(Prepared { number, file: self.writer(number)?, length });
            }
            Some(_) => {
                self.fs.remove(&path).map_err(JournalError::io("remove", &path))?;
                let mut state = self.state.lock();
                state.lengths.remove(&number);
                state.readers.remove(&number);
                None
            }
            None => self.state.lock().spares.pop(),
        };
        let (temporary, is_new) = match spare {
            Some(spare) => (spare, false),
            None => (path.with_extension("tmp"), true),
        };
        let length = self.new_length(number);
        let file = match self.fill(&temporary, is_new.then_some(length), turn) {
            Ok(file) => file,
            // A file of this name may be another broker's by now.
            Err(error @ JournalError::Fenced(_)) => return Err(error),
            Err(error) => {
                drop(self.fs.remove(&temporary)); // its space is wanted, and it would go at start
                return Err(match error.is_full() {
                    true => JournalError::NoSpace { folder: self.folder.clone() },
                    false => error,
                });
            }
        };
        self.fs.rename(&temporary, &path).map_err(JournalError::io("rename", &temporary))?;
        self.sync_folder(&self.folder)?;
        self.state.lock().lengths.insert(number, length);
        Ok(Prepared { number, file, length })
    }

    /// Bytes of a new file. The first one of a store is short, for its start waits until all of it
    /// is written; the next one is made meanwhile.
    fn new_length(&self, number: u32) -> u64 {
        if number == 1 { self.file_bytes.min(FIRST_FILE_BYTES) } else { self.file_bytes }
    }

    /// Writes a whole new file of this length, or the first block of a used one, with zeros.
    fn fill(
        &self,
        path: &Path,
        new: Option<u64>,
        mut turn: impl FnMut(u64, u64) -> Result<(), JournalError>,
    ) -> Result<Arc<dyn DiskFile>, JournalError> {
        let access = if new.is_some() { Access::Create } else { Access::Write };
        let file = self.open_to_write(path, access).map_err(JournalError::io("create", path))?;
        if let Some(length) = new {
            file.allocate(length).map_err(JournalError::io("allocate", path))?;
        }
        let length = new.unwrap_or(BLOCK_BYTES as u64);
        let zeros = Buffer::new(FILL_BYTES).map_err(JournalError::io("write", path))?;
        for offset in (0..length).step_by(FILL_BYTES) {
            turn(offset, length)?;
            let piece = (length - offset).min(FILL_BYTES as u64) as usize;
            write_all_at(&*file, &mut [IoSlice::new(zeros.bytes(piece))], offset)
                .map_err(JournalError::io("write", path))?;
        }
        turn(length, length)?;
        file.sync().map_err(JournalError::io("sync", path))?;
        Ok(file)
    }

    /// Lengthens a prepared file for a record that needs one of its own.
    pub(super) fn lengthen(&self, file: &mut Prepared, length: u64) -> Result<(), JournalError> {
        let path = self.path(file.number);
        let action = file.file.allocate(length).map_err(JournalError::io("allocate", &path));
        action.map_err(|error| match error.is_full() {
            true => JournalError::NoSpace { folder: self.folder.clone() },
            false => error,
        })?;
        file.length = length;
        self.state.lock().lengths.insert(file.number, length);
        Ok(())
    }

    /// What the log before a file ended with, as its header says; none if it has no sound one.
    pub fn chain_of(&self, number: u32) -> Result<Option<u32>, JournalError> {
        match FileHeader::decode(&self.first_block(number)?) {
            FileStart::Ours(header) if header.number == number => Ok(Some(header.chain)),
            _ => Ok(None),
        }
    }

    /// Drops files that nobody needs. The record that says so was synced before.
    pub fn drop_files(&self, numbers: &[u32], action: DropAction) -> Result<(), JournalError> {
        if action == DropAction::Archive {
            self.make_folder(&self.archive)?;
        }
        for number in numbers {
            let path = self.path(*number);
            let mut state = self.state.lock();
            state.readers.remove(number);
            let Some(length) = state.lengths.remove(number) else { continue };
            let reusable = length == self.file_bytes && state.spares.len() < SPARES_MAX;
            let to = match action {
                DropAction::Archive => Some(self.archive.join(format!("db-{number}.log"))),
                DropAction::Recycle if reusable => Some(path.with_extension("spare")),
                DropAction::Recycle | DropAction::Delete => None,
            };
            drop(state);
            match &to {
                Some(to) => self.fs.rename(&path, to).map_err(JournalError::io("move", &path))?,
                None => self.fs.remove(&path).map_err(JournalError::io("remove", &path))?,
            }
            if action == DropAction::Recycle {
                self.state.lock().spares.extend(to);
            }
        }
        if action == DropAction::Archive {
            self.sync_folder(&self.archive)?;
        }
        self.sync_folder(&self.folder)
    }

    /// Removes the files that are kept to be written again: their space is wanted.
    pub fn remove_spares(&self) -> Result<(), JournalError> {
        let spares = std::mem::take(&mut self.state.lock().spares);
        if spares.is_empty() {
            return Ok(());
        }
        for spare in spares {
            self.fs.remove(&spare).map_err(JournalError::io("remove", &spare))?;
        }
        self.sync_folder(&self.folder)
    }

    fn make_folder(&self, folder: &Path) -> Result<(), JournalError> {
        make_folder(&*self.fs, folder).map_err(JournalError::io("create", folder))
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), JournalError> {
        self.fs.sync_folder(folder).map_err(JournalError::io("sync", folder))
    }

    fn refuse_java(&self, number: u32, name: &str) -> Result<(), JournalError> {
        let path = self.path(number);
        let file = self.fs.open(&path, Access::Read).map_err(JournalError::io("open", &path))?;
        let mut start = [0; JAVA_BATCH.len()];
        let end = file.length().map_err(JournalError::io("measure", &path))?;
        let there = &mut start[..end.min(JAVA_BATCH.len() as u64) as usize];
        read_exact_at(&*file, there, 0).map_err(JournalError::io("read", &path))?;
        if *there == JAVA_BATCH || there.starts_with(&JAVA_END) {
            let (folder, file) = (self.folder.clone(), name.to_owned());
            return Err(JournalError::JavaStore { folder, file });
        }
        Ok(())
    }

    /// What keeps it out is the folder's name, which is durable with the next sync of the journal's folder; the
    /// text in it is for people.
    fn keep_java_out(&self) -> Result<(), JournalError> {
        let guard = self.folder.join(JAVA_STOPPER);
        self.fs.create_folder(&guard).map_err(JournalError::io("create", &guard))?;
        let path = guard.join("README");
        match self.fs.open(&path, Access::Create) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => {
                let file = made.map_err(JournalError::io("create", &path))?;
                write_all_at(&*file, &mut [IoSlice::new(README.as_bytes())], 0)
                    .map_err(JournalError::io("write", &path))
            }
        }
    }
}

/// The number in `db-<number><extension>`.
fn number_in(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_prefix("db-")?.strip_suffix(extension)?;
    let number: u32 = digits.parse().ok()?;
    // Not +1, 007, 0, or a number beyond ours.
    (number.to_string() == digits && (1..=FILE_NUMBER_MAX).contains(&number)).then_some(number)
}

/// A KahaDB file begins with the header of a batch ...
const JAVA_BATCH: [u8; 16] = *b"\x00\x00\x00\x1C\x02WRITE BATCH";
/// ... or with the mark that ends one.
const JAVA_END: [u8; 5] = *b"-qMa4";
pub(in crate::store::kahadb) const JAVA_STOPPER: &str = "db-2147483647.log";
const README: &str = "\
This folder is the store of a message broker that is not ActiveMQ. ActiveMQ would take the db-*.log
files beside it for damaged ones of its own and delete them. This entry stops it before it does.
";
/// The last number that Java does not take for the folder above.
pub(super) const FILE_NUMBER_MAX: u32 = i32::MAX as u32 - 1;
/// The longest file whose every offset an LSN can hold, bytes.
pub(super) const FILE_BYTES_MAX: u64 = (u32::MAX - FIRST_BATCH + 1) as u64;
/// How many dropped files are kept to be written again.
const SPARES_MAX: usize = 4;
/// How much of a new file one write fills. What is committed meanwhile waits behind it on the disk, and
/// many small ones are more work than a large one.
const FILL_BYTES: usize = 512 << 10;
/// Some hundred messages: as long as the next file takes to make.
const FIRST_FILE_BYTES: u64 = 1 << 20;
/// How many files are open for reading; a journal can have thousands.
const READERS_MAX: usize = 64;
