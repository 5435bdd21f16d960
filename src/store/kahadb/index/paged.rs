//! The index on disk: opening, checkpoints, readers.

use std::sync::Arc;

use super::changes::{Changes, Sorted};
use super::free::FreeList;
use super::meta::{Mark, Meta, Record};
use super::page::{Page, PageNumber};
use super::pages::{Overlay, Pages};
use super::pass::Pass;
use super::redo::{Header, Staging, copy_home, cut};
use super::storage::{PageFile, PageStorage};
use super::{
    DATA, Damage, FREE, Index, IndexError, KEY_BYTES_MAX, Opened, Options, REDO, Reader, Stats,
    Verdict, Version, Visit, verify,
};

/// `db.data` with its companions. The only writer; readers are made by [`Index::reader`].
pub struct PagedIndex<S: PageStorage> {
    pages: Arc<Pages<S::File>>,
    meta: Meta,
    free: FreeList,
    options: Options,
    /// Page images written since opening.
    written: u64,
}

/// Reads a [`PagedIndex`] from any thread.
pub struct PagedReader<S: PageStorage> {
    pages: Arc<Pages<S::File>>,
}

impl<S: PageStorage> Index for PagedIndex<S> {
    type Place = S;
    type Reader = PagedReader<S>;

    fn open(storage: &S, options: Options) -> Result<Opened<Self>, IndexError> {
        options.assert_sane();
        match Self::load(storage, options) {
            Err(IndexError::Damaged(damage)) => Ok(Opened::Damaged(damage)),
            Ok(index) if index.meta.checkpoint == 0 => Ok(Opened::Fresh(index)),
            Ok(index) => {
                let record = index.meta.record.clone();
                Ok(match record.mark {
                    Mark::Clean => Opened::Clean(index, record),
                    Mark::InUse => Opened::Replay(index, record),
                    Mark::Building => Opened::Damaged(Damage {
                        file: DATA,
                        page: None,
                        reason: "an earlier rebuild did not end",
                    }),
                })
            }
            Err(other) => Err(other),
        }
    }

    fn reader(&self) -> PagedReader<S> {
        PagedReader { pages: Arc::clone(&self.pages) }
    }

    fn apply(&mut self, changes: &mut dyn Changes, record: &Record) -> Result<Version, IndexError> {
        self.settle()?;
        let view = self.pages.view(self.pages.version());
        let waiting = (self.options.cache_bytes / 4 / self.options.page_bytes).max(WAITING_MIN);
        let growth = self.options.growth_pages;
        let mut staging = Staging::new(&self.pages, &self.meta, self.free.clone(), waiting, growth);
        let mut pass = Pass {
            view,
            staging: &mut staging,
            changes: Sorted::new(changes, self.options.key_bytes_max()),
            page_bytes: self.options.page_bytes,
            rows: self.meta.rows,
        };
        let (root, height) = pass.run()?;
        let rows = pass.rows;
        let nothing_changed = staging.is_empty() && root == self.meta.root;
        if nothing_changed && *record == self.meta.record && self.meta.checkpoint > 0 {
            return Ok(self.pages.version());
        }
        let mut meta = Meta { root, height, rows, record: record.clone(), ..self.meta.clone() };
        let (images, free) = staging.commit(&mut meta)?;
        self.written += images.len() as u64;
        let version = version_of(&meta);
        (self.meta, self.free) = (meta, free);
        self.pages.publish(version, Some(Arc::new(images)));
        Ok(version)
    }

    fn settle(&mut self) -> Result<(), IndexError> {
        self.pages.must_run()?;
        let Some(images) = self.pages.overlay() else { return Ok(()) };
        let checkpoint = self.meta.checkpoint;
        let replaced = images.iter().map(|(&number, image)| (number, image.page.clone()));
        self.pages.cache.settle(checkpoint, replaced.filter(|(number, _)| *number != 0));
        copy_home(&self.pages, &images, &self.free.encode(checkpoint))
            .inspect_err(|_| self.pages.stop())?;
        self.pages.publish(version_of(&self.meta), None);
        // Not earlier: until then readers may take pages from there.
        cut(&self.pages)
    }

    fn stats(&self) -> Stats {
        let (cached_pages, cache_hits, cache_misses) = self.pages.cache.counts();
        Stats {
            checkpoint: self.meta.checkpoint,
            rows: self.meta.rows,
            height: self.meta.height,
            pages: self.meta.page_count,
            free_pages: self.free.pages(),
            page_bytes: self.options.page_bytes,
            cached_pages,
            cache_hits,
            cache_misses,
            written_pages: self.written,
            file_bytes: [&self.pages.data, &self.pages.redo, &self.pages.free]
                .iter()
                .filter_map(|file| file.len().ok())
                .sum(),
        }
    }
}

impl<S: PageStorage> PagedIndex<S> {
    /// Reads every page of the tree past the cache and compares everything that can be compared.
    ///
    /// Copies a checkpoint home first if one is waiting.
    pub fn verify(&mut self) -> Result<Verdict, IndexError> {
        self.settle()?;
        let (verdict, used) = verify::walk(&self.pages, &self.meta)?;
        Ok(verify::compare_free(verdict, &used, &self.free))
    }

    /// Puts the files of an index out of the way, so that the next `open` finds none. With `suffix`
    /// they are renamed (`db.data.<suffix>`), else removed.
    pub fn discard(storage: &S, suffix: Option<&str>) -> Result<(), IndexError> {
        // The data file goes last: without the others it is damaged, never taken for good.
        for file in [REDO, FREE, DATA] {
            let result = match suffix {
                Some(suffix) => storage.rename(file, &format!("{file}.{suffix}")),
                None => storage.remove(file),
            };
            result.map_err(|source| IndexError::Io { action: "remove", file, source })?;
        }
        storage.sync().map_err(|source| IndexError::Io { action: "sync", file: DATA, source })
    }

    /// Opens the files, finishes a checkpoint that was committed, and finds the free list.
    fn load(storage: &S, options: Options) -> Result<Self, IndexError> {
        let open = |file| {
            storage.open(file).map_err(|source| IndexError::Io { action: "open", file, source })
        };
        let files = [open(DATA)?, open(REDO)?, open(FREE)?];
        storage.sync().map_err(|source| IndexError::Io { action: "sync", file: DATA, source })?;
        let page_bytes = options.page_bytes;
        let home = read_meta(&files[0], page_bytes)?;
        let header = Header::read(&files[1], page_bytes)?;
        let (meta, recovered) = match (home, header) {
            (Home::Nothing, None) => (Meta::fresh(), None),
            (Home::Meta(meta), Some(header)) if header.checkpoint <= meta.checkpoint => {
                (meta, None)
            }
            (Home::Meta(meta), Some(header)) if header.checkpoint != meta.checkpoint + 1 => {
                return Err(damage(REDO, "it belongs to a later state of db.data"));
            }
            (_, Some(header)) => {
                let (meta, images, free) = header.load(&files[1], page_bytes)?;
                (meta, Some((images, free)))
            }
            (Home::Meta(_), None) => return Err(damage(REDO, "it is missing or empty")),
            (Home::Bad(reason), None) => {
                return Err(Damage { file: DATA, page: Some(0), reason }.into());
            }
        };
        let bytes = u64::from(meta.page_count) * page_bytes as u64;
        if meta.checkpoint > 0 && length(&files[0], DATA)? < bytes {
            return Err(damage(DATA, "it is shorter than its meta page says"));
        }
        Self::recover(files, options, meta, recovered)
    }

    fn recover(
        files: [S::File; 3],
        options: Options,
        meta: Meta,
        recovered: Option<(Overlay, FreeList)>,
    ) -> Result<Self, IndexError> {
        let (overlay, free) = recovered.unzip();
        let version = version_of(&meta);
        let (page_bytes, cache_bytes) = (options.page_bytes, options.cache_bytes);
        let pages = Pages::new(files, page_bytes, cache_bytes, version, overlay.map(Arc::new));
        let stored = if meta.checkpoint == 0 { Some(FreeList::default()) } else { free };
        let mut index = Self {
            pages: Arc::new(pages),
            meta,
            free: stored.clone().unwrap_or_default(),
            options,
            written: 0,
        };
        if let Some(images) = index.pages.overlay() {
            let (checkpoint, pages) = (index.meta.checkpoint, images.len());
            tracing::info!(checkpoint, pages, "the index ends an interrupted checkpoint");
        }
        index.settle()?;
        if stored.is_none() {
            index.free = index.load_free()?;
        }
        Ok(index)
    }

    /// The list in db.free, or what the tree does not use.
    fn load_free(&self) -> Result<FreeList, IndexError> {
        let file = &self.pages.free;
        // No list is longer than one range for every second page.
        let bytes_max = 24 + 4 * u64::from(self.meta.page_count) + 8;
        let mut bytes = vec![0; length(file, FREE)?.min(bytes_max) as usize];
        file.read_at(&mut bytes, 0).map_err(|source| IndexError::Io {
            action: "read",
            file: FREE,
            source,
        })?;
        let list = FreeList::decode(&bytes, self.meta.checkpoint, self.meta.page_count);
        if let Some(list) = list.filter(|list| {
            super::free::crc_of(&list.encode(self.meta.checkpoint)) == self.meta.free_crc
        }) {
            return Ok(list);
        }
        tracing::warn!(file = FREE, "the list of free pages is unreadable; looking at all pages");
        let (verdict, used) = verify::walk(&self.pages, &self.meta)?;
        match verdict.damage.into_iter().next() {
            Some(damage) => Err(damage.into()),
            None => Ok(used.unused()),
        }
    }
}

impl<S: PageStorage> Reader for PagedReader<S> {
    fn version(&self) -> Version {
        self.pages.version()
    }

    fn get(&self, at: Version, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.pages.view(at).get(key)
    }

    fn range(
        &self,
        at: Version,
        from: &[u8],
        to: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), IndexError> {
        self.pages.view(at).range(from, to, visit)
    }
}

impl<S: PageStorage> Clone for PagedReader<S> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages) }
    }
}

impl Options {
    /// The longest key that two of which always fit a page.
    pub fn key_bytes_max(&self) -> usize {
        KEY_BYTES_MAX.min(self.page_bytes / 16)
    }

    fn assert_sane(&self) {
        let sizes = self.page_bytes.is_power_of_two() && (512..=32768).contains(&self.page_bytes);
        assert!(sizes && self.growth_pages > 0, "these page sizes are constants of the caller");
    }
}

/// What page 0 of db.data has.
enum Home {
    /// Zeros, or no page at all: no checkpoint ever got there.
    Nothing,
    Bad(&'static str),
    Meta(Meta),
}

fn read_meta<F: PageFile>(data: &F, page_bytes: usize) -> Result<Home, IndexError> {
    if length(data, DATA)? < page_bytes as u64 {
        return Ok(Home::Nothing);
    }
    let mut bytes = vec![0; page_bytes].into_boxed_slice();
    data.read_at(&mut bytes, 0).map_err(|source| IndexError::Io {
        action: "read",
        file: DATA,
        source,
    })?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok(Home::Nothing);
    }
    let number: PageNumber = 0;
    let meta = Page::check(bytes, number).and_then(|page| Meta::decode(&page, page_bytes));
    Ok(meta.map_or_else(Home::Bad, Home::Meta))
}

fn version_of(meta: &Meta) -> Version {
    Version { checkpoint: meta.checkpoint, root: meta.root, height: meta.height }
}

fn damage(file: &'static str, reason: &'static str) -> IndexError {
    Damage { file, page: None, reason }.into()
}

fn length<F: PageFile>(file: &F, name: &'static str) -> Result<u64, IndexError> {
    file.len().map_err(|source| IndexError::Io { action: "measure", file: name, source })
}

/// Page images are written to db.redo in portions of at least this many.
const WAITING_MIN: usize = 8;
