//! Open file description locks on whole files: `fcntl(F_OFD_SETLK)`.
//!
//! They conflict with the POSIX record locks that a Java `FileChannel` takes, which `flock`
//! (`std::fs::File::try_lock`) does not, and unlike those they belong to the open file: closing
//! another descriptor of the same file in this process does not give them up.
//! The kernel releases one when its file is closed, so also when the process dies.

#![allow(unsafe_code, reason = "no safe wrapper offers OFD locks; see `fcntl` below")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes the exclusive lock of `file` for as long as `file` stays open; false if another holds it.
///
/// `file` must be open for writing.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    refused_is_false(fcntl(file, libc::F_OFD_SETLK, &mut whole_file()))
}

/// Takes a shared lock of `file` for as long as `file` stays open; false if another holds the
/// exclusive one. `file` must be open for reading.
pub(crate) fn try_lock_shared(file: &File) -> io::Result<bool> {
    let mut lock = whole_file();
    lock.l_type = libc::F_RDLCK as libc::c_short;
    refused_is_false(fcntl(file, libc::F_OFD_SETLK, &mut lock))
}

/// Whether another open file holds a lock on `file`. Takes none itself, not even for a moment.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole_file();
    fcntl(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn refused_is_false(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// An exclusive lock from the first byte to the end, however far the file grows.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0, // the kernel insists on 0 for OFD locks
    }
}

fn fcntl(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open while `file` is borrowed, and both commands that this
        // module passes read and write exactly one `struct flock`, which `lock` borrows mutably.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) } != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_open_file_excludes_the_other_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = File::create(&path).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!is_locked(&reader).unwrap());
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        assert!(is_locked(&reader).unwrap());
        drop(reader); // would give up a classic POSIX lock
        assert!(is_locked(&second).unwrap());
        drop(first);
        assert!(!is_locked(&second).unwrap());
        assert!(try_lock(&second).unwrap());
    }
}
