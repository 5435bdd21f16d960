//! Bytes on their way to a socket.
//!
//! Small things are copied one behind the other; a large body is spliced in as it is, so that a
//! vectored write sends it without a copy:
//!
//! ```text
//! copied   |written|.........x........x....|
//! spliced                    body 1   body 2
//! ```

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// What is left to write on one connection.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    copied: Vec<u8>,
    /// How much of `copied` has been written.
    written: usize,
    spliced: VecDeque<Splice>,
    /// Sum of the lengths in `spliced`.
    spliced_bytes: usize,
}

/// Bytes that go out when `copied[..at]` has.
#[derive(Debug)]
struct Splice {
    at: usize,
    bytes: Bytes,
}

/// A place to come back to with [`WriteBuffer::roll_back`]; good until the next `advance`.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    copied: usize,
    spliced: usize,
    len: usize,
}

impl WriteBuffer {
    /// Bytes still to write.
    pub fn len(&self) -> usize {
        self.copied.len() - self.written + self.spliced_bytes
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `bytes` to the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Where copied bytes go, for those who produce them in place. Only to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Puts `bytes` at the end without copying them.
    pub fn splice(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.spliced_bytes += bytes.len();
            self.spliced.push_back(Splice { at: self.copied.len(), bytes });
        }
    }

    /// Moves all of `other` to the end, leaving it empty.
    pub fn append_buffer(&mut self, other: &mut Self) {
        let base = self.copied.len();
        self.copied.extend_from_slice(&other.copied[other.written..]);
        for splice in other.spliced.drain(..) {
            self.spliced_bytes += splice.bytes.len();
            let at = base + splice.at - other.written;
            self.spliced.push_back(Splice { at, ..splice });
        }
        other.clear();
    }

    /// What is left to write, in one piece. What was copied before the first splice stays where it is.
    pub fn into_vec(mut self) -> Vec<u8> {
        let Some(first) = self.spliced.front() else {
            self.copied.drain(..self.written);
            return self.copied;
        };
        let first = first.at;
        let (mut from, behind) = (first, self.copied.split_off(first));
        self.copied.drain(..self.written);
        self.copied.reserve(behind.len() + self.spliced_bytes);
        for splice in &self.spliced {
            self.copied.extend_from_slice(&behind[from - first..splice.at - first]);
            self.copied.extend_from_slice(&splice.bytes);
            from = splice.at;
        }
        self.copied.extend_from_slice(&behind[from - first..]);
        self.copied
    }

    /// The same, shared.
    pub fn into_bytes(self) -> Bytes {
        self.into_vec().into()
    }

    /// What is left to write, in order; a piece may be empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.written;
        let spliced = self.spliced.iter().flat_map(move |splice| {
            let copied = &self.copied[from..splice.at];
            from = splice.at;
            [copied, &splice.bytes]
        });
        let last = self.spliced.back().map_or(self.written, |splice| splice.at);
        spliced.chain(std::iter::once(&self.copied[last..]))
    }

    /// The end as it is now.
    pub fn mark(&self) -> Mark {
        Mark { copied: self.copied.len(), spliced: self.spliced.len(), len: self.len() }
    }

    /// How many bytes were added since `mark`.
    pub fn len_since(&self, mark: Mark) -> usize {
        self.len() - mark.len
    }

    /// Overwrites what was copied right after `mark`.
    ///
    /// # Panics
    /// If fewer than `N` bytes were copied since.
    pub fn patch<const N: usize>(&mut self, mark: Mark, bytes: [u8; N]) {
        self.copied[mark.copied..mark.copied + N].copy_from_slice(&bytes);
    }

    /// Drops everything added since `mark`.
    pub fn roll_back(&mut self, mark: Mark) {
        self.copied.truncate(mark.copied);
        for splice in self.spliced.drain(mark.spliced..) {
            self.spliced_bytes -= splice.bytes.len();
        }
    }

    /// Fills `slices` with what to write next, in order; returns how many were filled.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let pieces = self.pieces().filter(|piece| !piece.is_empty());
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `written` bytes: they have been written.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, mut written: usize) {
        assert!(written <= self.len(), "more written than there was");
        while written > 0 {
            let until = self.spliced.front().map_or(self.copied.len(), |splice| splice.at);
            let step = written.min(until - self.written);
            self.written += step;
            written -= step;
            if written == 0 {
                break;
            }
            let Some(splice) = self.spliced.front_mut() else { break };
            let step = written.min(splice.bytes.len());
            bytes::Buf::advance(&mut splice.bytes, step);
            self.spliced_bytes -= step;
            written -= step;
            if splice.bytes.is_empty() {
                self.spliced.pop_front();
            }
        }
        if self.is_empty() {
            self.clear();
        } else if self.written > KEPT_BYTES && self.written > self.copied.len() / 2 {
            self.copied.drain(..self.written);
            self.spliced.iter_mut().for_each(|splice| splice.at -= self.written);
            self.written = 0;
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.written = 0;
        self.copied.clear();
        self.copied.shrink_to(KEPT_BYTES);
        self.spliced.clear();
        self.spliced_bytes = 0;
    }
}

/// All of it is yet to be written.
impl From<Vec<u8>> for WriteBuffer {
    fn from(copied: Vec<u8>) -> Self {
        Self { copied, ..Self::default() }
    }
}

/// How much memory an empty buffer may keep.
const KEPT_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// What is left, as a socket would see it.
    fn content(buffer: &WriteBuffer) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 256];
        let filled = buffer.chunks(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn roll_back_leaves_what_was_there_before() {
        let mut buffer = WriteBuffer::default();
        buffer.append(b"ab");
        buffer.splice(Bytes::from_static(b"cd"));
        let mark = buffer.mark();
        buffer.append(b"ef");
        buffer.splice(Bytes::from_static(b"gh"));
        assert_eq!(buffer.len_since(mark), 4);
        buffer.roll_back(mark);
        assert_eq!((content(&buffer), buffer.len()), (b"abcd".to_vec(), 4));
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back() {
        let mut buffer = WriteBuffer::default();
        buffer.append(&vec![0; 1 << 20]);
        buffer.advance(1 << 20);
        assert!(buffer.is_empty() && buffer.copied.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn written_bytes_do_not_pile_up_while_there_is_more_to_write() {
        let mut buffer = WriteBuffer::default();
        buffer.append(&[0; 1000]);
        for _ in 0..1000 {
            buffer.append(&[0; 1000]);
            buffer.splice(Bytes::from_static(b"x"));
            buffer.advance(1001);
        }
        assert!(buffer.copied.capacity() < 4 * KEPT_BYTES);
    }

    proptest! {
        /// Bytes come out in the order they went in, however they went in and are written.
        #[test]
        fn bytes_keep_their_order(steps in vec((0..4u8, vec(any::<u8>(), 0..40)), 0..40)) {
            let (mut buffer, mut model) = (WriteBuffer::default(), Vec::new());
            for (what, bytes) in steps {
                match what {
                    0 => buffer.append(&bytes),
                    1 => buffer.splice(Bytes::from(bytes.clone())),
                    2 => {
                        let mut other = WriteBuffer::default();
                        other.append(b"..");
                        other.splice(Bytes::from(bytes.clone()));
                        other.advance(2);
                        buffer.append_buffer(&mut other);
                    }
                    _ => {
                        let written = bytes.len().min(model.len());
                        buffer.advance(written);
                        model.drain(..written);
                        continue;
                    }
                }
                model.extend(bytes);
                prop_assert_eq!(buffer.len(), model.len());
            }
            prop_assert_eq!(content(&buffer), model);
        }
    }
}
