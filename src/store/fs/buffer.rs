//! Memory that a disk takes as it is.

use memmap2::{Advice, MmapMut, MmapOptions};
use parking_lot::Mutex;
use std::io;

/// Bytes that begin at a page, all zero at first. Much is one piece to the disk where the kernel has a huge
/// page for it, not one for each page: a write of 130 KiB takes a sixth less. What was never
/// written to takes no memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: MmapMut,
    start: usize,
    length: usize,
}

/// The memory of a write that is over, for the next one of whatever file.
pub(super) static SPARE: Spare = Spare(Mutex::new(None));

/// Keeps one buffer, the largest.
pub(super) struct Spare(Mutex<Option<Buffer>>);

impl Buffer {
    /// At least `length` bytes.
    ///
    /// # Errors
    /// When there is no memory.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        if length < HUGE_MIN {
            let memory = MmapOptions::new().len(length.max(1).next_power_of_two()).map_anon()?;
            return Ok(Self { length: memory.len(), start: 0, memory });
        }
        let length = length.next_multiple_of(HUGE_BYTES);
        let memory = MmapOptions::new().len(length + HUGE_BYTES).map_anon()?;
        let start = memory.as_ptr().align_offset(HUGE_BYTES).min(HUGE_BYTES);
        // Without huge pages it is as good as any other memory.
        drop(memory.advise_range(Advice::HugePage, start, length));
        Ok(Self { memory, start, length })
    }

    /// The first `length` bytes.
    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        &self.memory[self.start..self.start + length]
    }

    /// The same, to be written to.
    pub(super) fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + length]
    }
}

impl Spare {
    /// One of at least `length` bytes, with anything in it.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn lend(&self, length: usize) -> io::Result<Buffer> {
        let spare = self.0.lock().take().filter(|spare| spare.length >= length);
        spare.map_or_else(|| Buffer::new(length), Ok)
    }

    pub(super) fn give_back(&self, buffer: Buffer) {
        let mut spare = self.0.lock();
        if spare.as_ref().is_none_or(|spare| spare.length < buffer.length) {
            *spare = Some(buffer);
        }
    }
}

/// On x86 and most others.
const HUGE_BYTES: usize = 2 << 20;
/// For less a huge page would be a waste.
const HUGE_MIN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_page_and_is_zero() {
        for length in [0, 1, 4096, 5000, HUGE_MIN, 300 << 10, HUGE_BYTES + 1] {
            let mut buffer = Buffer::new(length).unwrap();
            assert!(buffer.bytes(length).as_ptr().addr().is_multiple_of(4096));
            assert!(buffer.bytes(length).iter().all(|byte| *byte == 0), "{length}");
            buffer.bytes_mut(length).fill(1);
        }
    }

    #[test]
    fn the_largest_one_is_kept_and_lent_again() {
        let spare = Spare(Mutex::new(None));
        let buffers = [100 << 10, 3 << 20, 4096].map(|length| Buffer::new(length).unwrap());
        let largest = buffers[1].bytes(1).as_ptr();
        buffers.into_iter().for_each(|buffer| spare.give_back(buffer));
        let again = spare.lend(1).unwrap();
        assert_eq!(again.bytes(1).as_ptr(), largest);
        assert_ne!(spare.lend(1).unwrap().bytes(1).as_ptr(), largest, "it is lent");
        spare.give_back(again);
        assert!(spare.lend(5 << 20).unwrap().length >= 5 << 20);
    }
}
