//! The file `lock` in a store's folder, as ActiveMQ's `shared-file-locker` has it.
//!
//! The lock is that of [`ofd_lock`]: it and the one of a Java broker exclude each other. The file says who
//! took it last, big-endian, and is never truncated or deleted:
//!
//! | offset | field |
//! |---|---|
//! | 0 | i64: when, ms since the epoch (a Java broker writes this one too) |
//! | 8 | u64 generation: 1 more than that of the holder before; 0 = it was a Java broker |
//!
//! A lock is not enough where the file can be deleted, or a file system can forget locks: so a holder looks
//! again whether the path still leads to its file, whether it still has the lock, and whether the mark in
//! the file is still its own.

use super::mount::{self, Sharing};
use super::{Attempt, HeldLock, LockError, Locker, ofd_lock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Locks `lock` in a folder.
#[derive(Debug)]
pub struct SharedFile {
    path: PathBuf,
    /// What is known since the first try.
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    sharing: Sharing,
    /// The file another one had locked.
    waited_for: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

impl SharedFile {
    /// The lock file in `folder`, which is created if need be.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("lock"), seen: None }
    }

    /// Opens the file; the first time the folder is made and its file system looked at. Not later: a
    /// slave whose file system was unmounted must not lock an empty folder in its place.
    fn open(&mut self) -> Result<File, LockError> {
        if self.seen.is_none()
            && let Some(folder) = self.path.parent()
        {
            fs::create_dir_all(folder).map_err(failed("create the folder of", &self.path))?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(failed("open", &self.path))?;
        if self.seen.is_none() {
            let sharing = mount::sharing(&file).map_err(failed("examine", &self.path))?;
            if sharing == Sharing::Nfs3 {
                tracing::warn!(
                    "{} is on NFS version 3, which keeps the lock of a broker that has crashed and may \
                     never give it to another: use NFS version 4",
                    self.name()
                );
            }
            self.seen = Some(Seen { sharing, waited_for: None });
        }
        Ok(file)
    }
}

impl Locker for SharedFile {
    fn name(&self) -> String {
        format!("Database {}", self.path.display())
    }

    fn try_lock(&mut self) -> Result<Attempt, LockError> {
        loop {
            let file = self.open()?;
            let id = id_of(&file.metadata().map_err(failed("examine", &self.path))?);
            let had = ofd_lock::try_lock(&file).map_err(failed("lock", &self.path))?;
            let seen = self.seen.as_mut();
            if !had {
                if let Some(seen) = seen {
                    seen.waited_for = Some(id);
                }
                return Ok(Attempt::Locked);
            }
            // Between opening and locking the path may have got another file.
            if !leads_to(&self.path, id)? {
                continue;
            }
            // On a local file system a lock is free only when its holder has closed the file. Elsewhere the
            // server may have taken it from one that still runs, and everywhere a new file is not the one
            // that the holder before has locked.
            let settle = seen.is_some_and(|seen| {
                seen.waited_for.is_some_and(|before| before != id || seen.sharing != Sharing::Local)
            });
            let mark = mark(&file).map_err(failed("write", &self.path))?;
            let lock = Held { path: self.path.clone(), file, id, mark };
            return Ok(Attempt::Acquired { lock: Box::new(lock), settle });
        }
    }
}

/// Who took the lock.
type Mark = [u8; 16];

/// Writes the mark of a new holder into the file it has locked.
fn mark(file: &File) -> io::Result<Mark> {
    let last = if file.metadata()?.len() < size_of::<Mark>() as u64 {
        0
    } else {
        generation(&read_mark(file)?)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut mark = Mark::default();
    let (when, number) = mark.split_at_mut(8);
    when.copy_from_slice(&now.to_be_bytes());
    number.copy_from_slice(&last.wrapping_add(1).max(1).to_be_bytes());
    file.write_all_at(&mark, 0)?;
    file.sync_all()?;
    Ok(mark)
}

fn read_mark(file: &File) -> io::Result<Mark> {
    let mut mark = Mark::default();
    file.read_exact_at(&mut mark, 0)?;
    Ok(mark)
}

fn generation(mark: &Mark) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *mark;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    id: FileId,
    mark: Mark,
}

impl HeldLock for Held {
    fn generation(&self) -> u64 {
        generation(&self.mark)
    }

    fn check(&self) -> Result<(), LockError> {
        let path = || self.path.clone();
        if !leads_to(&self.path, self.id)? {
            return Err(LockError::Replaced { path: path() });
        }
        // Locking what is locked changes nothing. Should the file system have lost the lock, this gets it
        // again, and makes a network file system forget what it remembers of the file. Hence the mark after it.
        if !ofd_lock::try_lock(&self.file).map_err(failed("lock", &self.path))? {
            return Err(LockError::Taken { path: path() });
        }
        match read_mark(&self.file) {
            Ok(mark) if mark == self.mark => Ok(()),
            Ok(_) => Err(LockError::Overwritten { path: path() }),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(LockError::Overwritten { path: path() })
            }
            Err(e) => Err(failed("read", &self.path)(e)),
        }
    }
}

fn id_of(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Whether `path` is the file with this id.
fn leads_to(path: &Path, id: FileId) -> Result<bool, LockError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(id_of(&metadata) == id),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(failed("examine", path)(e)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LockError {
    move |source| LockError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, fcntl_lock};

    fn acquire(locker: &mut SharedFile) -> (Box<dyn HeldLock>, bool) {
        match locker.try_lock().unwrap() {
            Attempt::Acquired { lock, settle } => (lock, settle),
            Attempt::Locked => panic!("locked"),
        }
    }

    fn is_locked(locker: &mut SharedFile) -> bool {
        matches!(locker.try_lock().unwrap(), Attempt::Locked)
    }

    /// A lock as `java.nio.channels.FileChannel.tryLock` takes it.
    fn java_lock(path: &Path) -> Option<File> {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let locked = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
        locked.is_ok().then_some(file)
    }

    #[test]
    fn one_broker_holds_the_lock_and_each_holder_has_a_higher_generation() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("a/store");
        let (mut first, mut second) = (SharedFile::new(&store), SharedFile::new(&store));
        let (lock, settle) = acquire(&mut first);
        assert_eq!((lock.generation(), settle), (1, false));
        assert!(is_locked(&mut second));
        lock.check().unwrap();
        drop(lock);
        let (lock, settle) = acquire(&mut second);
        assert_eq!((lock.generation(), settle), (2, false));
        lock.check().unwrap();
        assert_eq!(fs::read(store.join("lock")).unwrap().len(), 16);
    }

    #[test]
    fn a_java_broker_and_this_one_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, 1_700_000_000_000_i64.to_be_bytes()).unwrap();
        let mut locker = SharedFile::new(folder.path());
        let java = java_lock(&path).unwrap();
        assert!(is_locked(&mut locker));
        drop(java);
        let (lock, _) = acquire(&mut locker);
        assert_eq!(lock.generation(), 1);
        assert!(java_lock(&path).is_none());
        drop(lock);
        assert!(java_lock(&path).is_some());
    }

    #[test]
    fn a_lock_file_that_is_deleted_replaced_or_written_by_another_is_a_lost_lock() {
        type Damage = fn(&Path);
        let replace: Damage = |path| {
            let other = path.with_extension("new");
            fs::copy(path, &other).unwrap();
            fs::rename(&other, path).unwrap();
        };
        let write: Damage = |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&7_u64.to_be_bytes(), 8).unwrap();
        };
        let truncate: Damage = |path| drop(File::create(path).unwrap());
        let delete: Damage = |path| fs::remove_file(path).unwrap();
        for (damage, expected) in [
            (delete, "is gone, or is another file"),
            (replace, "is gone, or is another file"),
            (write, "has written its mark"),
            (truncate, "has written its mark"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (lock, _) = acquire(&mut SharedFile::new(folder.path()));
            lock.check().unwrap();
            damage(&folder.path().join("lock"));
            let error = lock.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn whoever_waited_for_a_file_that_was_replaced_gives_its_holder_time_to_notice() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, _) = acquire(&mut SharedFile::new(folder.path()));
        let mut slave = SharedFile::new(folder.path());
        assert!(is_locked(&mut slave));
        fs::remove_file(folder.path().join("lock")).unwrap();
        let (own, settle) = acquire(&mut slave);
        assert!(settle);
        own.check().unwrap();
        lock.check().unwrap_err();
    }

    #[test]
    fn a_slave_does_not_make_a_folder_that_has_vanished() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let (lock, _) = acquire(&mut SharedFile::new(&store));
        let mut slave = SharedFile::new(&store);
        assert!(is_locked(&mut slave));
        fs::remove_dir_all(&store).unwrap();
        slave.try_lock().unwrap_err();
        assert!(!store.exists());
        lock.check().unwrap_err();
    }

    #[test]
    fn a_damaged_generation_is_counted_on_from() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), [0xff; 40]).unwrap();
        let (lock, _) = acquire(&mut SharedFile::new(folder.path()));
        assert_eq!(lock.generation(), 1);
        lock.check().unwrap();
    }
}
