//! The redo file: every page of a checkpoint lies there, complete and synced, before the first one
//! is overwritten in db.data.
//!
//! ```text
//! db.redo (little-endian)
//!     0  8  89 4D 51 52 0D 0A 1A 0A
//!     8  u64 checkpoint number
//!    16  u32 page images; 20 u32 bytes of the free list; 24 u32 page size
//!    28  u32 CRC-32 of bytes 0-27
//!  4096  page images, the meta page first, each with its own number and checksum
//!        the free list as in db.free
//! ```
//!
//! Images go there while the tree is being changed, so one of any size needs little memory.
//! They and the free list are synced before the header is written, and the header fits one disk
//! sector. Hence:
//!
//! | header | means |
//! |---|---|
//! | of the checkpoint in the meta page | nothing to do; what follows may be half of the next one |
//! | of the next checkpoint | it is complete: copy it to db.data. If it is not, the disk lost it |

use std::sync::Arc;

use super::free::FreeList;
use super::meta::Meta;
use super::page::{Page, PageBuilder, PageNumber, u32_at, u64_at};
use super::pages::{Image, Overlay, Pages};
use super::storage::PageFile;
use super::{DATA, Damage, FREE, IndexError, REDO};

/// Where image `slot` lies.
pub(super) fn image_offset(slot: u32, page_bytes: usize) -> u64 {
    IMAGES_AT + u64::from(slot) * page_bytes as u64
}

/// A checkpoint being made: pages taken, given back and written to db.redo. Nothing that a reader
/// or a crash could see changes before [`Staging::commit`]; dropping it undoes all.
pub(super) struct Staging<'a, F> {
    pages: &'a Pages<F>,
    pub(super) checkpoint: u64,
    pub(super) free: FreeList,
    pub(super) page_count: u32,
    images: Overlay,
    /// Pages in memory that are not in db.redo yet.
    waiting: Vec<PageNumber>,
    waiting_max: usize,
    growth_pages: u32,
}

impl<'a, F: PageFile> Staging<'a, F> {
    /// `waiting_max` pages are held in memory at most, so about that many are written at a time.
    pub(super) fn new(
        pages: &'a Pages<F>,
        meta: &Meta,
        free: FreeList,
        waiting_max: usize,
        growth_pages: u32,
    ) -> Self {
        Self {
            pages,
            checkpoint: meta.checkpoint + 1,
            free,
            page_count: meta.page_count,
            images: Overlay::new(),
            waiting: Vec::new(),
            waiting_max,
            growth_pages,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// A page to write to: the lowest free one, or a new one at the end.
    pub(super) fn allocate(&mut self) -> Result<PageNumber, IndexError> {
        if let Some(page) = self.free.take() {
            return Ok(page);
        }
        let page = self.page_count;
        self.page_count = page.checked_add(1).ok_or(IndexError::Full)?;
        Ok(page)
    }

    /// `page` holds nothing from this checkpoint on.
    pub(super) fn release(&mut self, page: PageNumber) -> Result<(), IndexError> {
        if page == 0 || page >= self.page_count || !self.free.give(page) {
            let reason = "used twice, or used and free";
            return Err(Damage { file: DATA, page: Some(page), reason }.into());
        }
        Ok(())
    }

    /// Makes `page` the new content of `number`.
    pub(super) fn put(&mut self, number: PageNumber, page: PageBuilder) -> Result<(), IndexError> {
        let page = Arc::new(page.finish(number, self.checkpoint));
        let slot = self.images.len() as u32 + 1; // 0 is the meta page's
        let image = self.images.entry(number).or_insert(Image { slot, page: None });
        if image.page.replace(page).is_none() {
            self.waiting.push(number);
        }
        if self.waiting.len() >= self.waiting_max {
            self.write_waiting()?;
            for number in self.waiting.drain(..) {
                if let Some(image) = self.images.get_mut(&number) {
                    image.page = None;
                }
            }
        }
        Ok(())
    }

    /// The page `number` if this checkpoint wrote it.
    pub(super) fn get(&self, number: PageNumber) -> Result<Option<Arc<Page>>, IndexError> {
        match self.images.get(&number) {
            None => Ok(None),
            Some(Image { page: Some(page), .. }) => Ok(Some(Arc::clone(page))),
            Some(image) => Ok(Some(Arc::new(self.pages.read_image(image.slot, number)?))),
        }
    }

    /// Makes everything durable, with `meta` as the meta page. An error before the last step leaves
    /// the index as it was.
    pub(super) fn commit(mut self, meta: &mut Meta) -> Result<(Overlay, FreeList), IndexError> {
        let free = self.free.encode(self.checkpoint);
        meta.checkpoint = self.checkpoint;
        meta.page_count = self.page_count;
        meta.free_crc = super::free::crc_of(&free);
        let page = Arc::new(meta.encode(self.pages.page_bytes));
        self.images.insert(0, Image { slot: 0, page: Some(page) });
        self.waiting.push(0);
        self.write_waiting()?;
        let images = self.images.len() as u32;
        let redo = &self.pages.redo;
        io("write", REDO, redo.write_at(&free, image_offset(images, self.pages.page_bytes)))?;
        self.make_room(free.len() as u64)?;
        self.pages.or_stop("sync", REDO, redo.sync())?;
        let header = Header { checkpoint: self.checkpoint, images, free_bytes: free.len() as u32 };
        let header = header.encode(self.pages.page_bytes);
        self.pages.or_stop("write", REDO, redo.write_at(&header, 0))?;
        self.pages.or_stop("sync", REDO, redo.sync())?;
        Ok((self.images, self.free))
    }

    /// Takes the disk space that copying will need, so that it cannot meet a full disk half way.
    fn make_room(&self, free_bytes: u64) -> Result<(), IndexError> {
        let data = &self.pages.data;
        let needed = u64::from(self.page_count) * self.pages.page_bytes as u64;
        let step = u64::from(self.growth_pages) * self.pages.page_bytes as u64;
        if io("measure", DATA, data.len())? < needed {
            io("grow", DATA, data.set_len(needed.next_multiple_of(step)))?;
            self.pages.or_stop("sync", DATA, data.sync())?;
        }
        if io("measure", FREE, self.pages.free.len())? < free_bytes {
            let length = free_bytes.next_multiple_of(FREE_STEP_BYTES);
            io("grow", FREE, self.pages.free.set_len(length))?;
        }
        // A later checkpoint, which makes things go, shall need no more on a full disk.
        let reserve = (step / RESERVE_SHARE).min(KEEP_BYTES);
        if io("measure", REDO, self.pages.redo.len())? < reserve {
            let reserved = io("grow", REDO, self.pages.redo.set_len(reserve));
            return reserved.or_else(|error| if error.is_full() { Ok(()) } else { Err(error) });
        }
        Ok(())
    }

    fn write_waiting(&mut self) -> Result<(), IndexError> {
        let mut images: Vec<&Image> =
            self.waiting.iter().filter_map(|number| self.images.get(number)).collect();
        images.sort_unstable_by_key(|image| image.slot);
        let page_bytes = self.pages.page_bytes;
        let mut runs = Runs::new(page_bytes, |slot, bytes: &[u8]| {
            io("write", REDO, self.pages.redo.write_at(bytes, image_offset(slot, page_bytes)))
        });
        for image in images {
            if let Some(page) = &image.page {
                runs.push(image.slot, page.bytes())?;
            }
        }
        runs.flush()
    }
}

/// Copies a committed checkpoint to its place: pages in order, the free list, and, when those are
/// durable, the meta page. Any error stops the index; opening it again does this again.
pub(super) fn copy_home<F: PageFile>(
    pages: &Pages<F>,
    images: &Overlay,
    free: &[u8],
) -> Result<(), IndexError> {
    let write = |number, bytes: &[u8]| {
        let offset = u64::from(number) * pages.page_bytes as u64;
        pages.or_stop("write", DATA, pages.data.write_at(bytes, offset))
    };
    let mut order: Vec<(PageNumber, &Image)> =
        images.iter().map(|(&n, image)| (n, image)).collect();
    order.sort_unstable_by_key(|(number, _)| *number);
    let mut runs = Runs::new(pages.page_bytes, write);
    for (number, image) in order.iter().filter(|(number, _)| *number != 0) {
        match &image.page {
            Some(page) => runs.push(*number, page.bytes())?,
            None => runs.push(*number, pages.read_image(image.slot, *number)?.bytes())?,
        }
    }
    runs.flush()?;
    pages.or_stop("write", FREE, pages.free.write_at(free, 0))?;
    pages.or_stop("sync", DATA, pages.data.sync())?;
    pages.or_stop("sync", FREE, pages.free.sync())?;
    if let Some(Image { page: Some(meta), .. }) = images.get(&0) {
        write(0, meta.bytes())?;
    }
    pages.or_stop("sync", DATA, pages.data.sync())
}

/// Does not keep the images of a big checkpoint for ever. Nobody may need them any more; if the
/// power goes and the cut is lost, only its space is.
pub(super) fn cut<F: PageFile>(pages: &Pages<F>) -> Result<(), IndexError> {
    if io("measure", REDO, pages.redo.len())? > KEEP_BYTES {
        pages.or_stop("cut", REDO, pages.redo.set_len(KEEP_BYTES))?;
    }
    Ok(())
}

/// What the first sector of db.redo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) checkpoint: u64,
    images: u32,
    free_bytes: u32,
}

impl Header {
    fn encode(self, page_bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.checkpoint.to_le_bytes());
        out.extend_from_slice(&self.images.to_le_bytes());
        out.extend_from_slice(&self.free_bytes.to_le_bytes());
        out.extend_from_slice(&(page_bytes as u32).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// The header of `redo`; `None` if none was ever written.
    pub(super) fn read<F: PageFile>(
        redo: &F,
        page_bytes: usize,
    ) -> Result<Option<Self>, IndexError> {
        if io("measure", REDO, redo.len())? < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        io("read", REDO, redo.read_at(&mut bytes, 0))?;
        if bytes == [0; HEADER_BYTES] {
            return Ok(None);
        }
        let header = Self {
            checkpoint: u64_at(&bytes, 8),
            images: u32_at(&bytes, 16),
            free_bytes: u32_at(&bytes, 20),
        };
        if header.encode(page_bytes) != bytes {
            return Err(damage("its header is unreadable"));
        }
        Ok(Some(header))
    }

    /// Reads the whole checkpoint: its meta page, its other pages' places and its free list.
    pub(super) fn load<F: PageFile>(
        self,
        redo: &F,
        page_bytes: usize,
    ) -> Result<(Meta, Overlay, FreeList), IndexError> {
        let end = image_offset(self.images, page_bytes) + u64::from(self.free_bytes);
        if end > io("measure", REDO, redo.len())? {
            return Err(damage("it is shorter than its header says"));
        }
        let mut images = Overlay::new();
        let mut meta = None;
        for slot in 0..self.images {
            let mut bytes = vec![0; page_bytes].into_boxed_slice();
            io("read", REDO, redo.read_at(&mut bytes, image_offset(slot, page_bytes)))?;
            let number = u32_at(&bytes, 4);
            let page = Page::check(bytes, number).map_err(damage)?;
            if page.checkpoint() != self.checkpoint || (number == 0) != (slot == 0) {
                return Err(damage("an image of another checkpoint"));
            }
            let mut image = Image { slot, page: None };
            if slot == 0 {
                meta = Some(Meta::decode(&page, page_bytes).map_err(damage)?);
                image.page = Some(Arc::new(page));
            }
            if images.insert(number, image).is_some() {
                return Err(damage("two images of one page"));
            }
        }
        let meta = meta.ok_or_else(|| damage("it has no meta page"))?;
        if images.keys().any(|&number| number >= meta.page_count) {
            return Err(damage("an image of a page behind the end"));
        }
        let mut free = vec![0; self.free_bytes as usize];
        io("read", REDO, redo.read_at(&mut free, image_offset(self.images, page_bytes)))?;
        let free = FreeList::decode(&free, self.checkpoint, meta.page_count)
            .ok_or_else(|| damage("its free list is unreadable"))?;
        Ok((meta, images, free))
    }
}

/// Joins neighbouring pages into longer writes.
struct Runs<W> {
    write: W,
    page_bytes: usize,
    first: u32,
    bytes: Vec<u8>,
}

impl<W: FnMut(u32, &[u8]) -> Result<(), IndexError>> Runs<W> {
    fn new(page_bytes: usize, write: W) -> Self {
        Self { write, page_bytes, first: 0, bytes: Vec::new() }
    }

    /// `place` is a page number or slot; they come in ascending order.
    fn push(&mut self, place: u32, page: &[u8]) -> Result<(), IndexError> {
        let next = self.first as usize + self.bytes.len() / self.page_bytes;
        if place as usize != next || self.bytes.len() >= RUN_BYTES_MAX {
            self.flush()?;
            self.first = place;
        }
        self.bytes.extend_from_slice(page);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        if !self.bytes.is_empty() {
            (self.write)(self.first, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

fn damage(reason: &'static str) -> IndexError {
    Damage { file: REDO, page: None, reason }.into()
}

fn io<T>(
    action: &'static str,
    file: &'static str,
    result: std::io::Result<T>,
) -> Result<T, IndexError> {
    result.map_err(|source| IndexError::Io { action, file, source })
}

const MAGIC: [u8; 8] = *b"\x89MQR\r\n\x1a\n";
const HEADER_BYTES: usize = 32;
const IMAGES_AT: u64 = 4096;
const RUN_BYTES_MAX: usize = 1 << 20;
/// What db.free grows by, bytes.
const FREE_STEP_BYTES: u64 = 4096;
/// Of the step in which db.data grows, db.redo has so much at least.
const RESERVE_SHARE: u64 = 4;
/// db.redo is cut to this after a bigger checkpoint.
const KEEP_BYTES: u64 = 16 << 20;
