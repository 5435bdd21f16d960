//! A small disk, mounted for one test.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Runs `test` with a folder on a disk of so many MiB. It runs in another process, with mounts of
/// its own, so nothing is left behind however it ends. `name` is the test's.
pub(crate) fn with_disk(name: &str, mebibytes: u32, test: fn(&Disk)) {
    if env::var_os(INSIDE).is_some() {
        return test(&Disk::mount(mebibytes));
    }
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let mut inside = Command::new("unshare");
    inside.arg(flags).arg(env::current_exe().unwrap());
    inside.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let output = inside.output().unwrap_or_else(|e| {
        panic!("this test needs `unshare {flags}` (util-linux) to mount a small disk: {e}")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "inside `unshare {flags}`: {}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

const INSIDE: &str = "BROKER_TEST_HAS_OWN_MOUNTS";

pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]);
        let output = mount.arg(folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "this test needs a small disk, but: {error}");
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Somebody else takes all the space that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        let piece = [1; 4096];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => return,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// And gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It would go with the process; but the folder could not.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}
