//! A file that is written past the page cache (`O_DIRECT`).
//!
//! A sync of what is in the page cache copies it there, marks pages, and starts to write when the
//! sync is called. Past the cache the disk has it when the write returns, and the sync only empties
//! the disk's own cache: a fifth of the time less for one message, a third for a hundred, and half
//! the CPU. Whole blocks are written: the bytes of the last one are kept here, and are the beginning
//! of the next write.

use super::DiskFile;
use super::buffer::SPARE;
use super::real::RealFile;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Reads and other calls go through the cache; the kernel drops from it what is written here.
pub(super) struct DirectFile {
    cached: RealFile,
    direct: File,
    end: Mutex<End>,
}

/// The end of what was written last.
struct End {
    /// Where the block begins in which it is; `None`: it is not known what is there.
    block: Option<u64>,
    /// How much of the block is known, bytes.
    length: usize,
    bytes: [u8; BLOCK_BYTES],
}

impl Default for End {
    fn default() -> Self {
        Self { block: None, length: 0, bytes: [0; BLOCK_BYTES] }
    }
}

impl DirectFile {
    /// `path` once more past the cache, if the file system says that it can do that.
    pub(super) fn open(cached: RealFile, path: &Path) -> Result<Self, RealFile> {
        let open = || {
            let wanted = StatxFlags::DIOALIGN;
            let about = rustix::fs::statx(&cached.0, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
            let is_fine = |align: u32| (1..=BLOCK_BYTES as u32).contains(&align);
            let can = StatxFlags::from_bits_retain(about.stx_mask).contains(wanted)
                && is_fine(about.stx_dio_mem_align)
                && is_fine(about.stx_dio_offset_align);
            let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
            can.then(|| rustix::fs::open(path, flags, Mode::empty()).ok()).flatten()
        };
        match open() {
            Some(direct) => Ok(Self { cached, direct: direct.into(), end: Mutex::default() }),
            None => Err(cached),
        }
    }

    /// Makes `end` that of the bytes before `offset`.
    fn seek(&self, end: &mut End, offset: u64) -> io::Result<()> {
        let length = (offset % BLOCK_BYTES as u64) as usize;
        let block = offset - length as u64;
        if end.block != Some(block) || end.length != length {
            end.block = None;
            super::read_exact_at(&self.cached, &mut end.bytes[..length], block)?;
            (end.block, end.length) = (Some(block), length);
        }
        Ok(())
    }
}

impl fmt::Debug for DirectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectFile").field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl DiskFile for DirectFile {
    fn length(&self) -> io::Result<u64> {
        self.cached.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.cached.read_at(into, offset)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut end = self.end.lock();
        let end = &mut *end;
        if let [part] = parts
            && is_aligned(part, offset)
        {
            end.block = None;
            return self.direct.write_at(part, offset);
        }
        self.seek(end, offset)?;
        let known = end.length;
        let wanted: usize = known + parts.iter().map(|part| part.len()).sum::<usize>();
        let length = wanted.min(WRITE_BYTES_MAX);
        let whole = length.next_multiple_of(BLOCK_BYTES);
        let mut buffer = SPARE.lend(whole)?;
        let bytes = buffer.bytes_mut(whole);
        let (start, behind) = bytes.split_at_mut(known);
        start.copy_from_slice(&end.bytes[..known]);
        let (mut free, rest) = behind.split_at_mut(length - known);
        rest.fill(0);
        for part in parts {
            let n = part.len().min(free.len());
            let (to, behind) = free.split_at_mut(n);
            to.copy_from_slice(&part[..n]);
            free = behind;
        }
        let block = end.block.take().unwrap_or(offset);
        let written = self.direct.write_at(bytes, block)?.min(length);
        if written == length {
            let kept = length - length % BLOCK_BYTES;
            end.length = length - kept;
            end.bytes[..end.length].copy_from_slice(&bytes[kept..length]);
            end.block = Some(block + kept as u64);
        }
        SPARE.give_back(buffer);
        Ok(written.saturating_sub(known))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.cached.allocate(length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.cached.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.cached.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.cached.try_lock()
    }
}

/// Whether `bytes` are whole blocks which the disk can take from their place.
fn is_aligned(bytes: &[u8], offset: u64) -> bool {
    let is_whole = |number: usize| number.is_multiple_of(BLOCK_BYTES);
    is_whole(bytes.as_ptr().addr())
        && is_whole(bytes.len())
        && offset.is_multiple_of(BLOCK_BYTES as u64)
}

/// Every disk and file system of today is content with this alignment.
const BLOCK_BYTES: usize = 4096;
/// One write is not longer, so that the buffer is not either.
const WRITE_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::{Access, Filesystem, read_exact_at, write_all_at};
    use super::*;
    use crate::store::fs::real::RealFilesystem;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Beside this program, for many a temporary folder is in memory.
    fn folder() -> tempfile::TempDir {
        let program = std::env::current_exe().unwrap();
        tempfile::tempdir_in(program.parent().unwrap()).unwrap()
    }

    fn log(path: &Path) -> Arc<dyn DiskFile> {
        RealFilesystem.open_log(path, Access::Write).unwrap()
    }

    fn write(file: &dyn DiskFile, bytes: &[u8], offset: u64) {
        let (front, back) = bytes.split_at(bytes.len() / 3);
        write_all_at(file, &mut [IoSlice::new(front), IoSlice::new(back)], offset).unwrap();
    }

    /// And what follows does not take the block for known that was there before.
    #[test]
    fn whole_blocks_are_written_from_their_place() {
        let folder = folder();
        let path = folder.path().join("x");
        let mut expected = vec![9; 8 * BLOCK_BYTES];
        std::fs::write(&path, &expected).unwrap();
        let file = log(&path);
        let mut blocks = Buffer::new(2 * BLOCK_BYTES).unwrap();
        let blocks = blocks.bytes_mut(2 * BLOCK_BYTES);
        blocks.fill(5);
        assert!(is_aligned(blocks, 0) && !is_aligned(blocks, 100) && !is_aligned(&blocks[1..], 0));
        write(&*file, &[7; 300], 0);
        write_all_at(&*file, &mut [IoSlice::new(blocks)], 0).unwrap();
        write(&*file, &[8; 300], 300);
        file.sync().unwrap();
        expected[..2 * BLOCK_BYTES].fill(5);
        expected[300..600].fill(8);
        let mut read = vec![0; expected.len()];
        read_exact_at(&*file, &mut read, 0).unwrap();
        if format!("{file:?}").starts_with("DirectFile") {
            expected[600..BLOCK_BYTES].fill(0);
        }
        assert!(read == expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        /// One piece behind the other, now and then by another handle, as after a restart.
        #[test]
        fn what_is_written_is_read_back(
            start in 0_usize..9000,
            pieces in prop::collection::vec((1_usize..20_000, any::<bool>()), 1..20),
            long in 0_usize..3_000_000,
        ) {
            let folder = folder();
            let path = folder.path().join("x");
            let mut expected = vec![9; 4 << 20];
            std::fs::write(&path, &expected).unwrap();
            let mut file = log(&path);
            let mut at = start;
            for (n, (length, reopens)) in pieces.into_iter().chain([(long, false)]).enumerate() {
                let bytes: Vec<u8> = (0..length).map(|i| (i + n) as u8).collect();
                if reopens {
                    file = log(&path);
                }
                write(&*file, &bytes, at as u64);
                expected[at..at + length].copy_from_slice(&bytes);
                at += length;
                if format!("{file:?}").starts_with("DirectFile") {
                    let block_end = at.next_multiple_of(BLOCK_BYTES);
                    expected[at..block_end].fill(0);
                }
                let mut read = vec![0; expected.len()];
                read_exact_at(&*file, &mut read, 0).unwrap();
                prop_assert!(read == expected, "after piece {n}, which ends at {at}");
            }
            file.sync().unwrap();
        }
    }
}
