//! Keeping brokers out of a store while it is read.

use super::{LockError, ofd_lock};
use std::fs::File;
use std::io;
use std::path::Path;

/// A share in the lock of a store: there may be several, but no master meanwhile. Nothing is
/// written for it, so the store may lie on a disk that is only readable.
#[derive(Debug)]
pub struct ReadLock {
    /// None if there is no lock file: no broker was ever there.
    _file: Option<File>,
}

impl ReadLock {
    /// Tries once to get a share in the lock in `folder`; none while a broker has it.
    ///
    /// # Errors
    /// When it cannot be told whether somebody has it.
    pub fn try_lock(folder: &Path) -> Result<Option<Self>, LockError> {
        let path = folder.join("lock");
        let failed =
            |action| move |source| LockError::Io { action, path: folder.join("lock"), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Self { _file: None })),
            Err(e) => return Err(failed("open")(e)),
        };
        let had = ofd_lock::try_lock_shared(&file).map_err(failed("lock"))?;
        Ok(had.then_some(Self { _file: Some(file) }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attempt, Locker, SharedFile};
    use super::*;

    #[test]
    fn readers_share_and_keep_masters_out() {
        let folder = tempfile::tempdir().unwrap();
        let try_read = || ReadLock::try_lock(folder.path()).unwrap();
        assert!(try_read().is_some(), "nobody was ever here");
        assert!(!folder.path().join("lock").exists());
        let mut broker = SharedFile::new(folder.path());
        let Attempt::Acquired { lock, .. } = broker.try_lock().unwrap() else { panic!("locked") };
        assert!(try_read().is_none());
        drop(lock);
        let (first, second) = (try_read(), try_read());
        assert!(first.is_some() && second.is_some());
        assert!(matches!(broker.try_lock().unwrap(), Attempt::Locked));
        drop((first, second));
        assert!(matches!(broker.try_lock().unwrap(), Attempt::Acquired { .. }));
    }
}
