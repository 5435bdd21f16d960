//! Reading everything, believing nothing.

use super::free::FreeList;
use super::meta::Meta;
use super::page::{Kind, Page, PageNumber, Value};
use super::pages::Pages;
use super::pass::children_of;
use super::storage::PageFile;
use super::{DATA, Damage, IndexError, VALUE_BYTES_MAX};

/// What a look at the whole index found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub rows: u64,
    /// Readable pages, the meta page included.
    pub pages: u32,
    /// Pages neither used nor free: lost until the next rebuild, no danger to any data.
    pub leaked_pages: u32,
    /// The first [`DAMAGE_MAX`] pieces of damage.
    pub damage: Vec<Damage>,
}

/// More than this many pieces of damage are not listed.
pub const DAMAGE_MAX: usize = 1000;

/// Which pages were met.
pub(super) struct Used {
    bits: Vec<u64>,
    pages: u32,
}

impl Used {
    fn new(pages: u32) -> Self {
        Self { bits: vec![0; (pages as usize).div_ceil(64)], pages }
    }

    /// False if `page` was met before, or cannot be.
    fn insert(&mut self, page: PageNumber) -> bool {
        if page >= self.pages || self.contains(page) {
            return false;
        }
        self.bits[page as usize / 64] |= 1 << (page % 64);
        true
    }

    fn contains(&self, page: PageNumber) -> bool {
        self.bits[page as usize / 64] & (1 << (page % 64)) != 0
    }

    /// All the others.
    pub(super) fn unused(&self) -> FreeList {
        let mut free = FreeList::default();
        for page in (1..self.pages).filter(|&page| !self.contains(page)) {
            free.give(page);
        }
        free
    }
}

/// Walks the whole tree of `meta`, reading from the disk.
pub(super) fn walk<F: PageFile>(
    pages: &Pages<F>,
    meta: &Meta,
) -> Result<(Verdict, Used), IndexError> {
    let mut used = Used::new(meta.page_count);
    used.insert(0);
    let verdict = Verdict { pages: 1, ..Verdict::default() };
    let mut walk = Walk { pages, meta, used, verdict };
    if meta.height > 0 {
        walk.node(meta.root, meta.height, &[], None)?;
    }
    if walk.verdict.damage.is_empty() && walk.verdict.rows != meta.rows {
        walk.damage(0, "the number of rows is another than the meta page says");
    }
    Ok((walk.verdict, walk.used))
}

/// Adds what the free list gets wrong.
pub(super) fn compare_free(mut verdict: Verdict, used: &Used, free: &FreeList) -> Verdict {
    for page in free.iter().filter(|&page| page == 0 || used.contains(page)) {
        let reason = "used and free";
        verdict.damage.push(Damage { file: DATA, page: Some(page), reason });
    }
    let free_pages = u64::from(free.pages());
    let used_pages: u64 = used.bits.iter().map(|bits| u64::from(bits.count_ones())).sum();
    let leaked = u64::from(used.pages).saturating_sub(free_pages + used_pages);
    verdict.leaked_pages = leaked as u32;
    verdict.damage.truncate(DAMAGE_MAX);
    verdict
}

struct Walk<'a, F> {
    pages: &'a Pages<F>,
    meta: &'a Meta,
    used: Used,
    verdict: Verdict,
}

impl<F: PageFile> Walk<'_, F> {
    fn node(
        &mut self,
        number: PageNumber,
        level: u8,
        lower: &[u8],
        upper: Option<&[u8]>,
    ) -> Result<(), IndexError> {
        let kind = if level == 1 { Kind::Leaf } else { Kind::Branch };
        let Some(page) = self.read(number, kind)? else { return Ok(()) };
        self.keys(&page, lower, upper);
        if level == 1 {
            self.verdict.rows += page.count() as u64;
            for row in 0..page.count() {
                if let Value::Chain { bytes, first } = page.value(row) {
                    self.chain(first, bytes)?;
                }
            }
            return Ok(());
        }
        let mut children = children_of(&page, lower).into_iter().peekable();
        while let Some(child) = children.next() {
            let next = children.peek().map(|next| next.separator.as_slice());
            self.node(child.page, level - 1, &child.separator, next.or(upper))?;
        }
        Ok(())
    }

    /// Keys rise and stay inside what the parent says.
    fn keys(&mut self, page: &Page, lower: &[u8], upper: Option<&[u8]>) {
        let (mut before, mut key) = (None, Vec::new());
        for i in 0..page.count() {
            page.key_into(i, &mut key);
            if before.as_ref().is_some_and(|before| *before >= key) {
                self.damage(page.number(), "keys out of order");
            }
            if key.as_slice() < lower || upper.is_some_and(|upper| key.as_slice() >= upper) {
                self.damage(page.number(), "a key that belongs into another page");
            }
            before = Some(key.clone());
        }
    }

    fn chain(&mut self, first: PageNumber, bytes: u32) -> Result<(), IndexError> {
        let (mut number, mut left) = (first, bytes as usize);
        while number != 0 && left <= VALUE_BYTES_MAX {
            let Some(page) = self.read(number, Kind::Overflow)? else { return Ok(()) };
            if page.count() == 0 || page.count() > left {
                break;
            }
            left -= page.count();
            number = page.next();
        }
        if left != 0 || number != 0 {
            self.damage(first, "an overflow chain of another length than its row says");
        }
        Ok(())
    }

    /// A page that is met for the first time and is what it should be; else its damage is noted.
    fn read(&mut self, number: PageNumber, kind: Kind) -> Result<Option<Page>, IndexError> {
        if number == 0 || !self.used.insert(number) {
            self.damage(number, "referred to twice, or behind the end");
            return Ok(None);
        }
        match self.pages.read_home(number) {
            Ok(page) if page.checkpoint() > self.meta.checkpoint => {
                self.damage(number, "written by a checkpoint that never ended");
            }
            Ok(page) if page.kind() != kind => self.damage(number, "of the wrong kind"),
            Ok(page) => {
                self.verdict.pages += 1;
                return Ok(Some(page));
            }
            Err(IndexError::Damaged(damage)) => self.damage(number, damage.reason),
            Err(other) => return Err(other),
        }
        Ok(None)
    }

    fn damage(&mut self, page: PageNumber, reason: &'static str) {
        if self.verdict.damage.len() < DAMAGE_MAX {
            self.verdict.damage.push(Damage { file: DATA, page: Some(page), reason });
        }
    }
}
