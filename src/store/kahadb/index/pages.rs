//! Reading pages: which of the three places has the right one, and whether it is what it should be.
//!
//! ```text
//! read page p for version v
//!   1. overlay of v     what the checkpoint of v wrote and is not in db.data yet
//!   2. cache
//!   3. db.data
//! ```
//!
//! A reader names the version it reads. A page that is newer than that version, or half
//! overwritten, means that later checkpoints have gone over it: the reader starts again with the
//! current version. If there is no later one, the same is damage.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::cache::Cache;
use super::page::{Kind, Page, PageNumber};
use super::redo::image_offset;
use super::storage::PageFile;
use super::{DATA, Damage, IndexError, REDO, Version};

/// The open files, and what their readers share.
pub(super) struct Pages<F> {
    pub(super) data: F,
    pub(super) redo: F,
    pub(super) free: F,
    pub(super) page_bytes: usize,
    pub(super) cache: Cache,
    published: RwLock<Published>,
    stopped: AtomicBool,
}

/// What new readers read.
#[derive(Clone)]
struct Published {
    version: Version,
    /// Pages of that version that are not in db.data yet.
    overlay: Option<Arc<Overlay>>,
}

/// The pages a checkpoint wrote.
pub(super) type Overlay = HashMap<PageNumber, Image>;

/// A page on its way to db.data.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Its place in db.redo.
    pub(super) slot: u32,
    /// Unless memory was short.
    pub(super) page: Option<Arc<Page>>,
}

/// The tree as it was at one version.
pub(super) struct View<'a, F> {
    pages: &'a Pages<F>,
    pub(super) version: Version,
    overlay: Option<Arc<Overlay>>,
}

impl<F: PageFile> Pages<F> {
    pub(super) fn new(
        [data, redo, free]: [F; 3],
        page_bytes: usize,
        cache_bytes: usize,
        version: Version,
        overlay: Option<Arc<Overlay>>,
    ) -> Self {
        Self {
            data,
            redo,
            free,
            page_bytes,
            cache: Cache::new(cache_bytes / page_bytes),
            published: RwLock::new(Published { version, overlay }),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.published.read().version
    }

    pub(super) fn overlay(&self) -> Option<Arc<Overlay>> {
        self.published.read().overlay.clone()
    }

    /// Lets readers see `version`.
    pub(super) fn publish(&self, version: Version, overlay: Option<Arc<Overlay>>) {
        *self.published.write() = Published { version, overlay };
    }

    pub(super) fn view(&self, version: Version) -> View<'_, F> {
        let published = self.published.read().clone();
        let overlay = published.overlay.filter(|_| published.version == version);
        View { pages: self, version, overlay }
    }

    /// Runs one step after which the files cannot be trusted if it fails.
    pub(super) fn or_stop<T>(
        &self,
        action: &'static str,
        file: &'static str,
        result: io::Result<T>,
    ) -> Result<T, IndexError> {
        result.map_err(|source| {
            self.stop();
            IndexError::Io { action, file, source }
        })
    }

    /// Nothing is written any more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn must_run(&self) -> Result<(), IndexError> {
        if self.stopped.load(Ordering::Relaxed) { Err(IndexError::Stopped) } else { Ok(()) }
    }

    /// Reads page `number` from db.data, past the cache.
    pub(super) fn read_home(&self, number: PageNumber) -> Result<Page, IndexError> {
        self.read_file(&self.data, DATA, u64::from(number) * self.page_bytes as u64, number)
    }

    /// Reads page `number` from its place in db.redo.
    pub(super) fn read_image(&self, slot: u32, number: PageNumber) -> Result<Page, IndexError> {
        self.read_file(&self.redo, REDO, image_offset(slot, self.page_bytes), number)
    }

    fn read_file(
        &self,
        file: &F,
        name: &'static str,
        offset: u64,
        number: PageNumber,
    ) -> Result<Page, IndexError> {
        let damaged = |reason| Damage { file: name, page: Some(number), reason }.into();
        let mut bytes = vec![0; self.page_bytes].into_boxed_slice();
        match file.read_at(&mut bytes, offset) {
            Ok(()) => Page::check(bytes, number).map_err(damaged),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(damaged("behind the end")),
            Err(source) => Err(IndexError::Io { action: "read", file: name, source }),
        }
    }
}

impl<F: PageFile> View<'_, F> {
    /// The page at `level` of the tree: 1 is a leaf, above are branches.
    pub(super) fn node(&self, number: PageNumber, level: u8) -> Result<Arc<Page>, IndexError> {
        self.expect(number, if level == 1 { Kind::Leaf } else { Kind::Branch })
    }

    /// The overflow page `number`.
    pub(super) fn chain(&self, number: PageNumber) -> Result<Arc<Page>, IndexError> {
        self.expect(number, Kind::Overflow)
    }

    fn expect(&self, number: PageNumber, kind: Kind) -> Result<Arc<Page>, IndexError> {
        let page = self.read(number)?;
        if page.kind() == kind { Ok(page) } else { Err(self.flaw(number, "of the wrong kind")) }
    }

    fn read(&self, number: PageNumber) -> Result<Arc<Page>, IndexError> {
        if let Some(page) = self.read_overlay(number)? {
            return Ok(page);
        }
        let cached = self.pages.cache.get(number);
        let is_cached = cached.is_some();
        let page = match cached {
            Some(page) => page,
            None => Arc::new(self.pages.read_home(number).map_err(|e| self.unless_superseded(e))?),
        };
        if page.checkpoint() > self.version.checkpoint {
            return Err(self.flaw(number, "written by a checkpoint that never ended"));
        }
        if !is_cached {
            self.pages.cache.keep(Arc::clone(&page), self.version.checkpoint);
        }
        Ok(page)
    }

    fn read_overlay(&self, number: PageNumber) -> Result<Option<Arc<Page>>, IndexError> {
        let Some(image) = self.overlay.as_ref().and_then(|overlay| overlay.get(&number)) else {
            return Ok(None);
        };
        if let Some(page) = &image.page {
            return Ok(Some(Arc::clone(page)));
        }
        match self.pages.read_image(image.slot, number) {
            Ok(page) if page.checkpoint() == self.version.checkpoint => Ok(Some(Arc::new(page))),
            // The next checkpoint uses db.redo only when all of this one is in db.data.
            _ if self.pages.overlay().is_none() || self.is_superseded() => Ok(None),
            Ok(_) => Err(self.flaw(number, "another checkpoint's page in its place in db.redo")),
            Err(e) => Err(e),
        }
    }

    /// What is wrong with page `number`; nothing, if it is only too new for this view.
    pub(super) fn flaw(&self, number: PageNumber, reason: &'static str) -> IndexError {
        self.unless_superseded(Damage { file: DATA, page: Some(number), reason }.into())
    }

    fn unless_superseded(&self, error: IndexError) -> IndexError {
        match error {
            IndexError::Damaged(_) if self.is_superseded() => IndexError::Superseded,
            other => other,
        }
    }

    fn is_superseded(&self) -> bool {
        self.pages.version() != self.version
    }
}
