//! Reading the tree: one key, or rows in key order.

use std::sync::Arc;

use super::page::{Page, PageNumber, Value};
use super::pages::View;
use super::storage::PageFile;
use super::{IndexError, VALUE_BYTES_MAX, Visit};

impl<F: PageFile> View<'_, F> {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let mut number = self.version.root;
        for level in (2..=self.version.height).rev() {
            let page = self.node(number, level)?;
            number = page.child(page.child_index(key));
        }
        if self.version.height == 0 {
            return Ok(None);
        }
        let leaf = self.node(number, 1)?;
        match leaf.search(key) {
            (row, true) => self.value(&leaf, row).map(Some),
            _ => Ok(None),
        }
    }

    /// Shows `visit` the rows from `from` on, up to `to` exclusive, until it breaks.
    pub(super) fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), IndexError> {
        let mut key = Vec::new();
        let mut leaves = Leaves::new(self, from);
        let mut first = true;
        while let Some(leaf) = leaves.next()? {
            let start = if first { leaf.search(from).0 } else { 0 };
            first = false;
            for row in start..leaf.count() {
                leaf.key_into(row, &mut key);
                if to.is_some_and(|to| key.as_slice() >= to) {
                    return Ok(());
                }
                let flow = match leaf.value(row) {
                    Value::Here(value) => visit(&key, value),
                    Value::Chain { bytes, first } => visit(&key, &self.read_chain(bytes, first)?),
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn value(&self, leaf: &Page, row: usize) -> Result<Vec<u8>, IndexError> {
        match leaf.value(row) {
            Value::Here(value) => Ok(value.to_vec()),
            Value::Chain { bytes, first } => self.read_chain(bytes, first),
        }
    }

    fn read_chain(&self, bytes: u32, first: PageNumber) -> Result<Vec<u8>, IndexError> {
        let bytes = bytes as usize;
        let (mut value, mut number) = (Vec::new(), first);
        while number != 0 && bytes <= VALUE_BYTES_MAX {
            let page = self.chain(number)?;
            if page.count() == 0 || value.len() + page.count() > bytes {
                break;
            }
            value.extend_from_slice(page.payload());
            number = page.next();
        }
        if number == 0 && value.len() == bytes {
            Ok(value)
        } else {
            Err(self.flaw(first, "an overflow chain of another length than its row says"))
        }
    }
}

/// The leaves from the one responsible for a key on. Keeps the path, as leaves do not know their
/// neighbours.
struct Leaves<'a, F> {
    view: &'a View<'a, F>,
    from: &'a [u8],
    /// Branches from the root down, and which child of each comes next.
    path: Vec<(Arc<Page>, usize)>,
    started: bool,
}

impl<'a, F: PageFile> Leaves<'a, F> {
    fn new(view: &'a View<'a, F>, from: &'a [u8]) -> Self {
        Self { view, from, path: Vec::new(), started: false }
    }

    fn next(&mut self) -> Result<Option<Arc<Page>>, IndexError> {
        let height = self.view.version.height;
        let mut number = if self.started {
            match self.next_child() {
                Some(child) => child,
                None => return Ok(None),
            }
        } else if height == 0 {
            return Ok(None);
        } else {
            self.view.version.root
        };
        while self.path.len() + 1 < usize::from(height) {
            let page = self.view.node(number, height - self.path.len() as u8)?;
            let child = if self.started { 0 } else { page.child_index(self.from) };
            number = page.child(child);
            self.path.push((page, child + 1));
        }
        self.started = true;
        self.view.node(number, 1).map(Some)
    }

    fn next_child(&mut self) -> Option<PageNumber> {
        loop {
            let (page, child) = self.path.last_mut()?;
            if *child <= page.count() {
                let number = page.child(*child);
                *child += 1;
                return Some(number);
            }
            self.path.pop();
        }
    }
}
