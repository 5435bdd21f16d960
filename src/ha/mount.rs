//! Whether a file system is this machine's own.

use rustix::fs::fstatfs;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Who can reach a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Only this machine, whose kernel keeps the locks.
    Local,
    /// Other machines too, or nobody knows.
    Shared,
    /// As [`Self::Shared`], and its locks are not bound to the life of their holder.
    Nfs3,
}

/// What kind of file system `file` is on.
pub(super) fn sharing(file: &File) -> io::Result<Sharing> {
    // The type of `f_type` is another one on each architecture; its value has 32 bits.
    let kind = fstatfs(file)?.f_type as u32;
    if LOCAL.contains(&kind) {
        return Ok(Sharing::Local);
    }
    if kind == NFS {
        let device = file.metadata()?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if is_nfs3(&mounts, &device) {
            return Ok(Sharing::Nfs3);
        }
    }
    Ok(Sharing::Shared)
}

/// Whether `device`, `major:minor`, is mounted by version 3 of NFS or older, of which the kernel calls the
/// type `nfs`; that of version 4 is `nfs4`.
fn is_nfs3(mountinfo: &str, device: &str) -> bool {
    mountinfo.lines().any(|line| {
        // "36 35 0:52 / /mnt rw,noatime shared:1 - nfs server:/export rw,vers=3"
        let Some((mount, file_system)) = line.split_once(" - ") else { return false };
        mount.split(' ').nth(2) == Some(device) && file_system.split(' ').next() == Some("nfs")
    })
}

/// ext2 to ext4, XFS, Btrfs, tmpfs, ramfs, overlayfs, ZFS, F2FS, bcachefs, ReiserFS, JFS.
const LOCAL: [u32; 11] = [
    0x0000_ef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
    0x5265_4973,
    0x3153_464a,
];

const NFS: u32 = 0x6969;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_of_nfs_is_told_from_version_4() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            36 22 0:52 / /mnt/old rw,noatime shared:9 - nfs server:/old rw,vers=3,hard\n\
            37 22 0:53 / /mnt/new rw - nfs4 server:/new rw,vers=4.2\n\
            nonsense\n\n - \n";
        assert!(is_nfs3(mounts, "0:52"));
        assert!(!is_nfs3(mounts, "0:53"));
        assert!(!is_nfs3(mounts, "8:1"));
        assert!(!is_nfs3("", "8:1"));
    }

    #[test]
    fn a_file_on_tmpfs_or_disk_can_be_examined() {
        sharing(&tempfile::tempfile().unwrap()).unwrap();
    }
}
