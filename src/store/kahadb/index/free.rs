//! Which pages hold nothing, and the file that remembers them.
//!
//! ```text
//! db.free (little-endian)
//!  0  8  89 4D 51 46 0D 0A 1A 0A
//!  8  u64 checkpoint number
//! 16  u32 number of ranges
//! 20  u32 CRC-32 of all but these four bytes
//! 24  per range, ascending: u32 first page, u32 pages
//! ```
//!
//! The list is written with every checkpoint, so a crash leaks no page. The meta page knows its
//! checksum; a list that does not match is made again by walking the tree.

use std::collections::BTreeMap;

use super::page::{PageNumber, u32_at, u64_at};

/// Free pages as disjoint ranges that do not touch: first page -> pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FreeList {
    ranges: BTreeMap<PageNumber, u32>,
    pages: u32,
}

impl FreeList {
    /// Takes the lowest free page: the file stays dense at its front.
    pub(super) fn take(&mut self) -> Option<PageNumber> {
        let (first, pages) = self.ranges.pop_first()?;
        if pages > 1 {
            self.ranges.insert(first + 1, pages - 1);
        }
        self.pages -= 1;
        Some(first)
    }

    /// Gives `page` back; false if it was free already.
    pub(super) fn give(&mut self, page: PageNumber) -> bool {
        let before = self.ranges.range(..=page).next_back().map(|(&first, &pages)| (first, pages));
        if before.is_some_and(|(first, pages)| page - first < pages) {
            return false;
        }
        let (mut first, mut pages) = (page, 1);
        if let Some((start, length)) = before.filter(|(start, length)| start + length == page) {
            (first, pages) = (start, length + 1);
        }
        if let Some(length) = page.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            pages += length;
        }
        self.ranges.insert(first, pages);
        self.pages += 1;
        true
    }

    /// How many pages are free.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PageNumber> + '_ {
        self.ranges.iter().flat_map(|(&first, &pages)| first..first + pages)
    }

    pub(super) fn encode(&self, checkpoint: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(FREE_HEADER_BYTES + 8 * self.ranges.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&checkpoint.to_le_bytes());
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for (first, pages) in &self.ranges {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&pages.to_le_bytes());
        }
        let crc = crc_of(&out);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what `encode` wrote for `checkpoint` into a file of `page_count` pages. Bytes behind
    /// it are ignored. `None` if it is anything else.
    pub(super) fn decode(bytes: &[u8], checkpoint: u64, page_count: u32) -> Option<Self> {
        if bytes.len() < FREE_HEADER_BYTES || !bytes.starts_with(&MAGIC) {
            return None;
        }
        let end = FREE_HEADER_BYTES + 8 * u32_at(bytes, 16) as usize;
        let bytes = bytes.get(..end)?;
        if u64_at(bytes, 8) != checkpoint || u32_at(bytes, 20) != crc_of(bytes) {
            return None;
        }
        let mut list = Self::default();
        let mut from = 1; // the lowest page that the next range may begin with
        for range in bytes[FREE_HEADER_BYTES..].chunks_exact(8) {
            let (first, pages) = (u32_at(range, 0), u32_at(range, 4));
            let end = first.checked_add(pages)?;
            if first < from || pages == 0 || end > page_count {
                return None;
            }
            list.ranges.insert(first, pages);
            list.pages += pages;
            from = end.saturating_add(1);
        }
        Some(list)
    }
}

/// The checksum that an encoded list carries.
pub(super) fn crc_of(list: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&list[..20]);
    hasher.update(&list[FREE_HEADER_BYTES..]);
    hasher.finalize()
}

const MAGIC: [u8; 8] = *b"\x89MQF\r\n\x1a\n";
pub(super) const FREE_HEADER_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_list_behaves_like_a_set(
            steps in prop::collection::vec(prop::option::of(1u32..60), 0..200),
        ) {
            let (mut list, mut model) = (FreeList::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Some(page) => prop_assert_eq!(list.give(page), model.insert(page)),
                    None => prop_assert_eq!(list.take(), model.pop_first()),
                }
                prop_assert_eq!(list.pages() as usize, model.len());
            }
            prop_assert!(list.iter().eq(model.iter().copied()));
            let bytes = list.encode(7);
            prop_assert_eq!(FreeList::decode(&bytes, 7, 60), Some(list));
            prop_assert_eq!(FreeList::decode(&bytes, 8, 60), None);
        }

        #[test]
        fn a_damaged_list_is_refused(at: prop::sample::Index, flip in 1u8..) {
            let mut list = FreeList::default();
            for page in [3, 4, 9] {
                list.give(page);
            }
            let mut bytes = list.encode(1);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(FreeList::decode(&bytes, 1, 100), None);
        }
    }
}
