//! Fills pages of one level of the tree, from left to right.
//!
//! The content of one or several neighbouring old pages goes in, changed or not; pages come out,
//! first under the numbers of the old ones, so that their parent often need not change.
//!
//! - What fits one page becomes one page.
//! - New cells in one piece are somebody appending: pages are filled to the brim up to their end,
//!   and what follows gets a page of its own. So runs of rising keys leave full pages behind,
//!   wherever in the tree they are.
//! - Otherwise the cells are spread evenly.

use std::collections::VecDeque;

use super::page::{
    BRANCH_CELL_BYTES, CHAIN_BYTES, HEADER_BYTES, Kind, LEAF_CELL_BYTES, Page, PageBuilder,
    PageNumber, SLOT_BYTES, Value, common_prefix, encode_chain, u32_at,
};
use super::redo::Staging;
use super::storage::PageFile;
use super::{DATA, Damage, IndexError};

/// A page as its parent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// Not above any key of the child, above all keys of the one before.
    pub(super) separator: Vec<u8>,
    pub(super) page: PageNumber,
    /// The parent does not have it yet.
    pub(super) new: bool,
}

pub(super) struct Packer {
    kind: Kind,
    page_bytes: usize,
    /// Keys and values of the cells, one after the other.
    arena: Vec<u8>,
    /// How many bytes have gone from the front of `arena`.
    gone: usize,
    cells: Vec<Cell>,
    key_bytes: usize,
    value_bytes: usize,
    /// Old pages whose content is here; to be used again.
    owned: VecDeque<PageNumber>,
    /// The separator of the first of them.
    lower: Vec<u8>,
    /// The last key written since `lower` was set.
    written: Option<Vec<u8>>,
    /// A key came that was not above the one before: no page is made of that.
    disordered: bool,
    out: Vec<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    at: usize,
    key: usize,
    value: usize,
    elsewhere: bool,
    new: bool,
}

impl Packer {
    pub(super) fn new(kind: Kind, page_bytes: usize) -> Self {
        Self {
            kind,
            page_bytes,
            arena: Vec::new(),
            gone: 0,
            cells: Vec::new(),
            key_bytes: 0,
            value_bytes: 0,
            owned: VecDeque::new(),
            lower: Vec::new(),
            written: None,
            disordered: false,
            out: Vec::new(),
        }
    }

    /// The pages of this level, when all is flushed.
    pub(super) fn into_children(self) -> Vec<Child> {
        self.out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether what waits is worth a page of its own.
    pub(super) fn is_worth_a_page(&self) -> bool {
        self.cost() >= self.page_bytes / 4
    }

    /// The content of the page behind `separator` follows; `page` is `None` if there was none.
    pub(super) fn begin(&mut self, separator: &[u8], page: Option<PageNumber>) {
        if self.cells.is_empty() {
            self.lower.clear();
            self.lower.extend_from_slice(separator);
        }
        self.owned.extend(page);
    }

    /// Takes an old page as it is. Nothing may be waiting.
    pub(super) fn keep(&mut self, child: Child) {
        self.reset();
        self.out.push(child);
    }

    /// Forgets what waits: it is a page as it was, to be kept.
    pub(super) fn discard(&mut self) {
        self.owned.clear();
    }

    /// The last finished page, to be joined with what waits.
    pub(super) fn last(&self) -> Option<&Child> {
        self.out.last()
    }

    /// Whether `page` and what waits go into one page. `separator` is that of `page`.
    pub(super) fn fits_with(&self, page: &Page, separator: &[u8]) -> bool {
        let mut other = Self::new(self.kind, self.page_bytes);
        other.copy(page, separator);
        let (Some(a), Some(b)) = (self.ends(), other.ends()) else { return true };
        let prefix = common_prefix(a.0.min(b.0), a.1.max(b.1));
        let count = self.cells.len() + other.cells.len();
        let keys = self.key_bytes + other.key_bytes - count * prefix;
        let cells = count * self.fixed_bytes() + self.value_bytes + other.value_bytes;
        HEADER_BYTES + prefix + keys + cells <= self.page_bytes
    }

    /// Puts the content of the last finished page before what waits.
    pub(super) fn join_last<F: PageFile>(
        &mut self,
        page: &Page,
        staging: &mut Staging<'_, F>,
    ) -> Result<(), IndexError> {
        let Some(last) = self.out.pop() else { return Ok(()) };
        let (cells, arena, gone) = (
            std::mem::take(&mut self.cells),
            std::mem::take(&mut self.arena),
            std::mem::take(&mut self.gone),
        );
        let owned = std::mem::take(&mut self.owned);
        self.reset();
        self.begin(&last.separator, Some(last.page));
        self.owned.extend(owned);
        self.copy(page, &last.separator);
        for cell in cells {
            let key = cell.at - gone;
            let (key, value) = arena[key..key + cell.key + cell.value].split_at(cell.key);
            self.push(&[], key, value, cell.elsewhere, cell.new, staging)?;
        }
        Ok(())
    }

    /// Takes all of an old page; it fits, or is the only thing here.
    pub(super) fn copy(&mut self, page: &Page, separator: &[u8]) {
        match self.kind {
            Kind::Branch => {
                self.add(&[], separator, &page.child(0).to_le_bytes(), false, false);
                for i in 0..page.count() {
                    let child = page.child(i + 1).to_le_bytes();
                    self.add(page.prefix(), page.rest(i), &child, false, false);
                }
            }
            _ => self.copy_rows(page, 0, page.count()),
        }
    }

    /// Takes rows `from..to` of an old leaf.
    pub(super) fn copy_rows(&mut self, page: &Page, from: usize, to: usize) {
        for i in from..to {
            match page.value(i) {
                Value::Here(value) => self.add(page.prefix(), page.rest(i), value, false, false),
                Value::Chain { bytes, first } => {
                    let value = encode_chain(bytes, first);
                    self.add(page.prefix(), page.rest(i), &value, true, false);
                }
            }
        }
    }

    /// Takes one cell; writes a page when there is plenty.
    pub(super) fn push<F: PageFile>(
        &mut self,
        prefix: &[u8],
        rest: &[u8],
        value: &[u8],
        elsewhere: bool,
        new: bool,
        staging: &mut Staging<'_, F>,
    ) -> Result<(), IndexError> {
        self.add(prefix, rest, value, elsewhere, new);
        if self.cells.len().is_multiple_of(CHECK_EVERY) && self.cost() > PLENTY * self.page_bytes {
            let full = self.take(self.cells.len(), usize::MAX);
            self.write(full, staging)?;
        }
        Ok(())
    }

    fn add(&mut self, prefix: &[u8], rest: &[u8], value: &[u8], elsewhere: bool, new: bool) {
        let (at, key) = (self.gone + self.arena.len(), prefix.len() + rest.len());
        self.arena.extend_from_slice(prefix);
        self.arena.extend_from_slice(rest);
        if let Some(last) = self.cells.last()
            && self.key(last) >= &self.arena[at - self.gone..]
        {
            self.disordered = true;
            self.arena.truncate(at - self.gone);
            return;
        }
        self.arena.extend_from_slice(value);
        self.key_bytes += key;
        self.value_bytes += value.len();
        self.cells.push(Cell { at, key, value: value.len(), elsewhere, new });
    }

    /// Writes all that waits and gives back the old pages that are not needed any more.
    pub(super) fn flush<F: PageFile>(
        &mut self,
        staging: &mut Staging<'_, F>,
    ) -> Result<(), IndexError> {
        if self.take(self.cells.len(), usize::MAX) < self.cells.len() {
            self.write_appended(staging)?;
        }
        while !self.cells.is_empty() {
            let mut some = self.take(self.cells.len(), usize::MAX);
            if some < self.cells.len() {
                let cost = self.cost();
                some = self.take(some, cost / cost.div_ceil(self.page_bytes).max(2));
            }
            self.write(some, staging)?;
        }
        for page in std::mem::take(&mut self.owned) {
            staging.release(page)?;
        }
        self.reset();
        Ok(())
    }

    /// If the new cells are in one piece, writes everything up to their end.
    fn write_appended<F: PageFile>(
        &mut self,
        staging: &mut Staging<'_, F>,
    ) -> Result<(), IndexError> {
        let Some(first) = self.cells.iter().position(|cell| cell.new) else { return Ok(()) };
        let run = self.cells[first..].iter().take_while(|cell| cell.new).count();
        let mut end = first + run;
        if self.cells[end..].iter().any(|cell| cell.new) {
            return Ok(());
        }
        while end > 0 {
            let full = self.take(end, usize::MAX);
            if full == end && self.take(self.cells.len(), usize::MAX) == self.cells.len() {
                break; // the rest goes well with it
            }
            self.write(full, staging)?;
            end -= full;
        }
        Ok(())
    }

    /// How many cells fill a page up to `target` bytes, or as far as they go; of the first `limit`.
    fn take(&self, limit: usize, target: usize) -> usize {
        let mut cost = Cost { packer: self, first: None, prefix: 0, count: 0, bytes: 0 };
        for (i, cell) in self.cells[..limit].iter().enumerate() {
            let size = if i == 0 && self.kind == Kind::Branch { 0 } else { cost.with(cell) };
            if size > self.page_bytes {
                return i;
            }
            if size >= target {
                return i + 1;
            }
        }
        limit
    }

    /// Writes the first `count` cells as one page.
    fn write<F: PageFile>(
        &mut self,
        count: usize,
        staging: &mut Staging<'_, F>,
    ) -> Result<(), IndexError> {
        let (number, new) = match self.owned.pop_front() {
            Some(page) => (page, false),
            None => (staging.allocate()?, true),
        };
        if self.disordered {
            return Err(
                Damage { file: DATA, page: Some(number), reason: "keys out of order" }.into()
            );
        }
        let stored = usize::from(self.kind == Kind::Branch);
        let (first, last) = (self.key(&self.cells[0]), self.key(&self.cells[count - 1]));
        let separator = match &self.written {
            None => self.lower.clone(),
            Some(_) if self.kind == Kind::Branch => first.to_vec(),
            // As much of the key as tells it from the one before.
            Some(before) => first[..common_prefix(before, first) + 1].to_vec(),
        };
        let prefix = match self.cells.get(stored).filter(|_| stored < count) {
            Some(cell) => common_prefix(self.key(cell), last),
            None => 0,
        };
        let mut page = PageBuilder::new(self.page_bytes, self.kind, &last[..prefix]);
        if self.kind == Kind::Branch {
            page.next(u32_at(self.value(&self.cells[0]), 0));
        }
        for cell in &self.cells[stored..count] {
            match self.kind {
                Kind::Branch => page.branch(self.key(cell), u32_at(self.value(cell), 0)),
                _ => page.row(self.key(cell), self.value(cell), cell.elsewhere),
            }
        }
        self.written = Some(last.to_vec());
        staging.put(number, page)?;
        self.out.push(Child { separator, page: number, new });
        self.drop_front(count);
        Ok(())
    }

    fn drop_front(&mut self, count: usize) {
        for cell in self.cells.drain(..count) {
            self.key_bytes -= cell.key;
            self.value_bytes -= cell.value;
        }
        let keep_from = self.cells.first().map_or(self.arena.len(), |cell| cell.at - self.gone);
        self.arena.drain(..keep_from);
        self.gone += keep_from;
    }

    fn reset(&mut self) {
        self.cells.clear();
        self.arena.clear();
        self.gone = 0;
        self.key_bytes = 0;
        self.value_bytes = 0;
        self.owned.clear();
        self.written = None;
        self.disordered = false;
    }

    /// Bytes of a page, if there were one so big, with all that waits.
    fn cost(&self) -> usize {
        let Some((first, last)) = self.ends() else { return 0 };
        let prefix = common_prefix(first, last);
        let fixed = self.cells.len() * self.fixed_bytes();
        let keys = self.key_bytes - self.cells.len() * prefix;
        HEADER_BYTES + prefix + fixed + keys + self.value_bytes
    }

    /// The first and the last key that waits.
    fn ends(&self) -> Option<(&[u8], &[u8])> {
        Some((self.key(self.cells.first()?), self.key(self.cells.last()?)))
    }

    /// Bytes of a cell besides its key and, in a leaf, its value.
    fn fixed_bytes(&self) -> usize {
        match self.kind {
            // The child counts among the values.
            Kind::Branch => SLOT_BYTES + BRANCH_CELL_BYTES - size_of::<PageNumber>(),
            _ => SLOT_BYTES + LEAF_CELL_BYTES,
        }
    }

    fn key(&self, cell: &Cell) -> &[u8] {
        &self.arena[cell.at - self.gone..][..cell.key]
    }

    fn value(&self, cell: &Cell) -> &[u8] {
        &self.arena[cell.at - self.gone + cell.key..][..cell.value]
    }
}

/// The size of a page as cells come to it.
struct Cost<'a> {
    packer: &'a Packer,
    first: Option<&'a [u8]>,
    prefix: usize,
    count: usize,
    /// Without the page header and with whole keys.
    bytes: usize,
}

impl Cost<'_> {
    fn with(&mut self, cell: &Cell) -> usize {
        let key = &self.packer.arena[cell.at - self.packer.gone..][..cell.key];
        match self.first {
            None => (self.first, self.prefix) = (Some(key), cell.key),
            Some(first) => self.prefix = common_prefix(&first[..self.prefix], key),
        }
        self.count += 1;
        self.bytes += self.packer.fixed_bytes() + cell.key + cell.value;
        HEADER_BYTES + self.prefix + self.bytes - self.count * self.prefix
    }
}

/// A value in overflow pages, as a cell has it, is never longer than one that is here.
const _: () = assert!(CHAIN_BYTES < HEADER_BYTES);

/// How many cells come before the packer looks whether there is plenty.
const CHECK_EVERY: usize = 16;
/// Pages' worth of cells at which one is written.
const PLENTY: usize = 4;
