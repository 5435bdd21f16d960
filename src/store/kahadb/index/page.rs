//! One page: how its bytes are laid out, checked and read.
//!
//! ```text
//! all pages                       leaf and branch behind the header
//!  0  u32 CRC-32 of the rest      +--------+--------+-------+----------------+-------+-----+
//!  4  u32 page number             | header | prefix | slots | free           | cells | ... |
//!  8  u64 checkpoint number       +--------+--------+-------+----------------+-------+-----+
//! 16  u8  kind                     24 bytes          u16 each, in key order; each is the offset
//! 17  u8  prefix length                              of its cell
//! 18  u16 count                   prefix: what all keys of the page begin with
//! 20  u32 next                    cell: the rest of a key, and what belongs to it
//! 24  ...
//!
//! kind         count            next                     cell
//! 1 leaf       rows             -                        u8 rest length, u16 value length,
//!                                                        rest, value
//! 2 branch     children - 1     child below the first    u8 rest length, u32 child, rest
//!                               separator
//! 3 overflow   bytes here       next page, 0 = last      (bytes from 24)
//! 4 meta       bytes here       -                        (bytes from 24)
//! ```
//!
//! A value length of 0xFFFF means that the value is elsewhere: in place of the value stand u32 its
//! length and u32 the first page of its overflow chain.
//! A separator is at most the first key of its child and above the last key before it.
//!
//! A page is checked once, when it comes from the disk: checksum, number, and that every offset in
//! it stays inside. What reads a [`Page`] may rely on that.

use std::cmp::Ordering;

/// Pages are known by their place in the file: page p begins at p x page size. 0 is the meta page.
pub(super) type PageNumber = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf = 1,
    Branch = 2,
    Overflow = 3,
    Meta = 4,
}

/// A checked page, never changed: a newer one takes its place.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Box<[u8]>,
    kind: Kind,
}

/// What a leaf has for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Here(&'a [u8]),
    /// In a chain of overflow pages.
    Chain {
        bytes: u32,
        first: PageNumber,
    },
}

impl Page {
    /// Accepts `bytes` as page `number`, or says what is wrong with them.
    pub(super) fn check(bytes: Box<[u8]>, number: PageNumber) -> Result<Self, &'static str> {
        if crc32fast::hash(&bytes[4..]) != u32_at(&bytes, 0) {
            return Err("bad checksum");
        }
        if u32_at(&bytes, 4) != number {
            return Err("this is another page's content");
        }
        let kind = match bytes[16] {
            1 => Kind::Leaf,
            2 => Kind::Branch,
            3 => Kind::Overflow,
            4 => Kind::Meta,
            _ => return Err("unknown kind"),
        };
        let page = Self { bytes, kind };
        if page.stays_inside() { Ok(page) } else { Err("a length or offset leaves the page") }
    }

    fn stays_inside(&self) -> bool {
        let size = self.bytes.len();
        match self.kind {
            Kind::Overflow | Kind::Meta => HEADER_BYTES + self.count() <= size,
            Kind::Leaf | Kind::Branch => {
                let cells = self.slots_at() + 2 * self.count();
                cells <= size && (0..self.count()).all(|i| self.cell_stays_inside(i, cells))
            }
        }
    }

    fn cell_stays_inside(&self, index: usize, first: usize) -> bool {
        let at = self.cell_at(index);
        let fixed = if self.kind == Kind::Leaf { LEAF_CELL_BYTES } else { BRANCH_CELL_BYTES };
        if at < first || at + fixed > self.bytes.len() {
            return false;
        }
        let value = match (self.kind, u16_at(&self.bytes, at + 1)) {
            (Kind::Leaf, ELSEWHERE) => CHAIN_BYTES,
            (Kind::Leaf, bytes) => usize::from(bytes),
            _ => 0,
        };
        at + fixed + usize::from(self.bytes[at]) + value <= self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn number(&self) -> PageNumber {
        u32_at(&self.bytes, 4)
    }

    /// The checkpoint that wrote the page.
    pub(super) fn checkpoint(&self) -> u64 {
        u64_at(&self.bytes, 8)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Rows of a leaf, separators of a branch, bytes of others.
    pub(super) fn count(&self) -> usize {
        usize::from(u16_at(&self.bytes, 18))
    }

    pub(super) fn next(&self) -> PageNumber {
        u32_at(&self.bytes, 20)
    }

    /// The content of an overflow or meta page.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..HEADER_BYTES + self.count()]
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.slots_at()]
    }

    /// The key of cell `index` without the prefix.
    pub(super) fn rest(&self, index: usize) -> &[u8] {
        let at = self.cell_at(index);
        let from = at + self.fixed_bytes();
        &self.bytes[from..from + usize::from(self.bytes[at])]
    }

    /// Puts the key of cell `index` into `key`.
    pub(super) fn key_into(&self, index: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(self.prefix());
        key.extend_from_slice(self.rest(index));
    }

    /// The value of row `index` of a leaf.
    pub(super) fn value(&self, index: usize) -> Value<'_> {
        let at = self.cell_at(index);
        let from = at + LEAF_CELL_BYTES + usize::from(self.bytes[at]);
        match u16_at(&self.bytes, at + 1) {
            ELSEWHERE => Value::Chain {
                bytes: u32_at(&self.bytes, from),
                first: u32_at(&self.bytes, from + 4),
            },
            bytes => Value::Here(&self.bytes[from..from + usize::from(bytes)]),
        }
    }

    /// Child `index` of a branch, from 0 to `count` inclusive.
    pub(super) fn child(&self, index: usize) -> PageNumber {
        match index.checked_sub(1) {
            None => self.next(),
            Some(cell) => u32_at(&self.bytes, self.cell_at(cell) + 1),
        }
    }

    /// How many keys of the page are below `key`, and whether the next one equals it.
    pub(super) fn search(&self, key: &[u8]) -> (usize, bool) {
        let prefix = self.prefix();
        let shared = prefix.len().min(key.len());
        match prefix[..shared].cmp(&key[..shared]) {
            Ordering::Less => return (self.count(), false),
            Ordering::Greater => return (0, false),
            Ordering::Equal if shared < prefix.len() => return (0, false),
            Ordering::Equal => {}
        }
        let rest = &key[shared..];
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.rest(middle).cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// Which child of a branch is responsible for `key`.
    pub(super) fn child_index(&self, key: &[u8]) -> usize {
        let (below, found) = self.search(key);
        below + usize::from(found)
    }

    fn slots_at(&self) -> usize {
        HEADER_BYTES + usize::from(self.bytes[17])
    }

    fn cell_at(&self, index: usize) -> usize {
        usize::from(u16_at(&self.bytes, self.slots_at() + 2 * index))
    }

    fn fixed_bytes(&self) -> usize {
        if self.kind == Kind::Leaf { LEAF_CELL_BYTES } else { BRANCH_CELL_BYTES }
    }
}

/// A page being written.
pub(super) struct PageBuilder {
    bytes: Vec<u8>,
    kind: Kind,
    count: u16,
    prefix: usize,
    /// Where the lowest cell begins.
    cells_at: usize,
}

impl PageBuilder {
    /// An empty page of `size` bytes; `prefix` begins all its keys.
    pub(super) fn new(size: usize, kind: Kind, prefix: &[u8]) -> Self {
        let mut bytes = vec![0; size];
        bytes[16] = kind as u8;
        bytes[17] = u8::try_from(prefix.len()).expect("keys are at most 255 bytes");
        bytes[HEADER_BYTES..HEADER_BYTES + prefix.len()].copy_from_slice(prefix);
        Self { bytes, kind, count: 0, prefix: prefix.len(), cells_at: size }
    }

    /// Sets the leftmost child of a branch, the next page of an overflow page.
    pub(super) fn next(&mut self, page: PageNumber) {
        self.bytes[20..24].copy_from_slice(&page.to_le_bytes());
    }

    /// The content of an overflow or meta page.
    pub(super) fn payload(&mut self, payload: &[u8]) {
        self.count = u16::try_from(payload.len()).expect("pages are at most 32 KiB");
        self.bytes[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
    }

    /// Appends a cell with the whole `key`. `value` is what [`encode_chain`] made if `elsewhere`.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8], elsewhere: bool) {
        let length = if elsewhere { ELSEWHERE } else { value.len() as u16 };
        let rest = &key[self.prefix..];
        let at = self.cell(LEAF_CELL_BYTES + rest.len() + value.len(), rest.len());
        let cell = &mut self.bytes[at + 1..];
        cell[..2].copy_from_slice(&length.to_le_bytes());
        cell[2..2 + rest.len()].copy_from_slice(rest);
        cell[2 + rest.len()..2 + rest.len() + value.len()].copy_from_slice(value);
    }

    /// Appends a separator and the child that begins there.
    pub(super) fn branch(&mut self, separator: &[u8], child: PageNumber) {
        let rest = &separator[self.prefix..];
        let at = self.cell(BRANCH_CELL_BYTES + rest.len(), rest.len());
        let cell = &mut self.bytes[at + 1..];
        cell[..4].copy_from_slice(&child.to_le_bytes());
        cell[4..4 + rest.len()].copy_from_slice(rest);
    }

    /// Room for a cell, its slot and its first byte.
    fn cell(&mut self, bytes: usize, rest: usize) -> usize {
        let slot = HEADER_BYTES + self.prefix + 2 * usize::from(self.count);
        self.cells_at -= bytes;
        assert!(slot + 2 <= self.cells_at, "a page was filled beyond its size");
        self.bytes[slot..slot + 2].copy_from_slice(&(self.cells_at as u16).to_le_bytes());
        self.bytes[self.cells_at] = rest as u8;
        self.count += 1;
        self.cells_at
    }

    /// The finished page.
    pub(super) fn finish(mut self, number: PageNumber, checkpoint: u64) -> Page {
        self.bytes[4..8].copy_from_slice(&number.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&checkpoint.to_le_bytes());
        self.bytes[18..20].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&crc.to_le_bytes());
        Page { bytes: self.bytes.into_boxed_slice(), kind: self.kind }
    }
}

/// What a leaf keeps of a value in overflow pages.
pub(super) fn encode_chain(bytes: u32, first: PageNumber) -> [u8; CHAIN_BYTES] {
    let mut cell = [0; CHAIN_BYTES];
    cell[..4].copy_from_slice(&bytes.to_le_bytes());
    cell[4..].copy_from_slice(&first.to_le_bytes());
    cell
}

/// How many bytes `a` and `b` have in common at the beginning.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(super) const HEADER_BYTES: usize = 24;
pub(super) const SLOT_BYTES: usize = 2;
/// Rest length and value length.
pub(super) const LEAF_CELL_BYTES: usize = 3;
/// Rest length and child.
pub(super) const BRANCH_CELL_BYTES: usize = 5;
pub(super) const CHAIN_BYTES: usize = 8;
/// The value length of a value in overflow pages.
const ELSEWHERE: u16 = u16::MAX;
