//! The pid file: which process serves a data directory.
//!
//! Content: the process id in decimal and a newline. A running broker keeps the file locked, so
//! the lock, not the number, says whether it lives: a file that a killed broker left behind is
//! taken over, and a number that meanwhile names another process is never signalled.

use crate::ha::ofd_lock;
use rustix::process::Pid;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The pid file of this process: locked while it lives, removed on drop.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

/// A running broker, as its pid file shows it.
#[derive(Debug)]
pub(crate) struct Holder {
    /// None if the file does not name a process: its owner has locked it but not yet written it.
    pub(crate) pid: Option<Pid>,
    pub(crate) path: PathBuf,
    file: File,
}

/// What a look at a pid file found.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is no such file.
    Nothing,
    /// A file that no living broker holds.
    Stale,
    Running(Holder),
}

/// Why a pid file could not be taken or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    #[error("Broker is already running ({0})")]
    Held(Holder),
    #[error("cannot {action} the pid file '{path}'")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl PidFile {
    /// Creates or takes over the file at `path`, locks it and writes this process's id.
    pub(crate) fn acquire(path: &Path) -> Result<Self, PidFileError> {
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(at(path, "create"))?;
            if !ofd_lock::try_lock(&file).map_err(at(path, "lock"))? {
                return Err(PidFileError::Held(Holder::read(path, file)?));
            }
            // A broker that stops removes its file before it unlocks it: what was locked here may
            // by now be a file without a name.
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
                .map_err(at(path, "write"))?;
            return Ok(Self { path: path.to_owned(), file });
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            // If it stays, it stays as a stale file, which the next broker takes over.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Holder {
    fn read(path: &Path, mut file: File) -> Result<Self, PidFileError> {
        let mut text = Vec::new();
        file.rewind()
            .and_then(|()| (&file).take(PID_BYTES_MAX).read_to_end(&mut text))
            .map_err(at(path, "read"))?;
        // Zero and negative numbers would address whole process groups.
        let number =
            String::from_utf8_lossy(&text).trim().parse().ok().filter(|pid: &i32| *pid > 0);
        Ok(Self { pid: number.and_then(Pid::from_raw), path: path.to_owned(), file })
    }

    /// Whether the broker still holds its file.
    pub(crate) fn is_alive(&self) -> Result<bool, PidFileError> {
        ofd_lock::is_locked(&self.file).map_err(at(&self.path, "query"))
    }

    /// The process id as text; `unknown` without one.
    pub(crate) fn pid_text(&self) -> String {
        self.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.as_raw_nonzero().to_string())
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid '{}', pidfile '{}'", self.pid_text(), self.path.display())
    }
}

/// Finds out whether a broker runs, without disturbing one that is just starting.
pub(crate) fn look(path: &Path) -> Result<Found, PidFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(at(path, "open")(e)),
    };
    let holder = Holder::read(path, file)?;
    Ok(if holder.is_alive()? { Found::Running(holder) } else { Found::Stale })
}

/// Removes the file at `path` unless a broker holds it.
pub(crate) fn remove_stale(path: &Path) -> Result<(), PidFileError> {
    PidFile::acquire(path).map(drop)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> PidFileError {
    move |source| PidFileError::Io { action, path: path.to_owned(), source }
}

/// More than the longest process id and its newline: nothing else is read into memory.
const PID_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_names_its_holder_and_is_gone_after_the_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        assert!(matches!(look(&path).unwrap(), Found::Nothing));
        let held = PidFile::acquire(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let Err(PidFileError::Held(holder)) = PidFile::acquire(&path) else { panic!("not held") };
        assert_eq!(holder.pid_text(), std::process::id().to_string());
        assert!(matches!(look(&path).unwrap(), Found::Running(_)));
        drop(held);
        assert!(!holder.is_alive().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        fs::write(&path, "99999999999 and more than any pid").unwrap();
        assert!(matches!(look(&path).unwrap(), Found::Stale));
        let held = PidFile::acquire(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn only_positive_numbers_are_process_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        for (text, pid) in [("12\n", "12"), ("-1", "unknown"), ("0", "unknown"), ("", "unknown")] {
            fs::write(&path, text).unwrap();
            let holder = Holder::read(&path, File::open(&path).unwrap()).unwrap();
            assert_eq!(holder.pid_text(), pid);
        }
    }

    #[test]
    fn a_file_that_replaced_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        let held = PidFile::acquire(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(held);
        assert!(path.exists());
    }
}
